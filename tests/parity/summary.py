"""The first tables of the report: what was compared by subject, and what differs for which reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

Cases = Mapping[str, Any]

SUBJECTS: Final[Mapping[str, str]] = {
    "defaults": "all steps at their defaults, small simulated sets of every detector",
    "full": "four exposures of full size: ACS/WFC, WFC3/UVIS, WFC3/IR",
    "real": "exposures of the archive: WFC3/UVIS, ACS/HRC, NICMOS",
    "kernels": "every kernel with every pixfrac, scale and rotation in pairs",
    "separate": "separate drizzles: kernels, frames, bits, fill",
    "combine": "median: every type, thresholds, grow, numbers of exposures",
    "rejection": "blot interpolants, thresholds, growth, tails, flags",
    "weights": "EXP, ERR, IVM, maps of the user",
    "frames": "custom frames and reference images",
    "options": "sky, static mask, units, fill, groups, steps of the table",
    "places": "RA 0, poles, rolls, overlaps of one pixel, mosaics",
    "chips": "34 and 66 chips, sub-arrays, masked chips, NaN",
    "mixed": "several instruments in one run",
    "sky": "matched skies: statistics, groups, fields",
    "instruments": "STIS, NICMOS, WFPC2, a real WFPC2 exposure",
    "scripts": "scripts and a parameter file of users, unchanged but for the import",
    "pipeline": "runastrodriz of an association",
}
"""What each group of cases is about."""


def cell(text: str) -> str:
    """Text that does not end a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def number(value: float | None) -> str:
    """Figure with two digits."""
    return "-" if value is None else "0" if value == 0 else f"{value:.2g}"


def verdict(row: Mapping[str, Any]) -> str:
    """One word on a row."""
    if row["reason"] and row["passed"] is None:
        return "not available" if row["reason"].startswith("not available") else "peer defect"
    return {None: "-", True: "pass", False: "**FAIL**"}[row["passed"]]


def subject_of(case: str) -> str:
    """Subject of a case."""
    group, slash, _ = case.partition("/")
    if slash:
        return group
    return "full" if case.endswith("-full") else "real" if case.startswith("real-") else "defaults"


def by_subject(cases: Cases) -> list[str]:
    """Table of the subjects."""
    lines = [
        "| subject | what | cases | comparisons | rows | pass | FAIL | peer defect | not judged |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for subject, what in SUBJECTS.items():
        chosen = {name: kinds for name, kinds in cases.items() if subject_of(name) == subject}
        if not chosen:
            continue
        entries = [entry for kinds in chosen.values() for entry in kinds.values()]
        counts = Counter(verdict(row) for entry in entries for row in entry["rows"])
        shown = [counts[word] for word in ("pass", "**FAIL**", "peer defect")]
        rest = counts["-"] + counts["not available"]
        cells = [subject, what, len(chosen), len(entries), counts.total(), *shown, rest]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def _excused_rows(cases: Cases) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for name, kinds in cases.items():
        for kind, entry in kinds.items():
            for row in entry["rows"]:
                if verdict(row) == "peer defect":
                    yield name, kind, row


def excused(cases: Cases) -> list[str]:
    """Table of the reasons for which rows differ, with an example of the bound that holds them."""
    found: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for name, kind, row in _excused_rows(cases):
        found.setdefault(row["reason"], []).append((name, kind, row))
    lines = [
        "| reason | class | rows | cases | bound, and what was found in one of them |",
        "|---|---|---|---|---|",
    ]
    for reason, hits in sorted(found.items(), key=lambda item: _order(item[0])):
        kinds = "".join(sorted({kind for _, kind, _ in hits}))
        rows = ", ".join(map(str, sorted({row["number"] for _, _, row in hits})))
        names = list(dict.fromkeys(name for name, _, _ in hits))
        lines.append(f"| {cell(reason)} | {kinds} | {rows} | {_listed(names)} | {cell(_example(hits))} |")
    return lines


def _order(reason: str) -> tuple[int, str]:
    """Defects by their number, then decisions."""
    head = reason.partition(":")[0].partition(",")[0]
    return (int(head[2:]), reason) if head.startswith("D-") and head[2:].isdigit() else (1000, reason)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} cases, as {names[0]}"


def _example(hits: Sequence[tuple[str, str, Mapping[str, Any]]]) -> str:
    """Bound of the row that stands for the product if there is one."""
    order = (15, 11, 16, 17, 12, 9, 7, 8, 21, 23, 22)
    with_bound = [hit for hit in hits if hit[2].get("bound")]
    if not with_bound:
        return "the reference ends with an error"
    name, _, row = min(
        with_bound, key=lambda hit: order.index(hit[2]["number"]) if hit[2]["number"] in order else len(order)
    )
    return f"row {row['number']} of {name}: {row['bound']}"
