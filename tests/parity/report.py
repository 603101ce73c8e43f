"""The result as Markdown, as JSON that several calls add to, and as lines on the terminal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.parity.rows import Row
from tests.parity.summary import by_subject, cell, excused, number, verdict

_HEAD = """# Parity with DrizzlePac

Written by `make parity` (`python -m tests.parity`); do not edit. Both programs combine the same exposures
with the same parameters; every product and intermediate is compared. DrizzlePac {version} runs with
num_cores=1 in an environment of its own.

Classes: **B** both interpolate the pixel map in a table with a node every 10 pixels (`stepsize=10`), ours
with `peer_compat=true`: the noise model of the reference, defects included; the difference left is float32
against float64 sums. **D** as B with our own defaults: what depends on the cosmic rays found then differs
for the better (D-9, D-30), and row 13 asks that we flag all that the reference flags. **E** both map exactly
(`stepsize=0`): held to B, except that the reference blots through its table all the same. **C** ours maps
exactly (our default), DrizzlePac through its default table. Where a set is harder than the one the
tolerances of C were measured on, a row may instead reach what the table costs either program itself
(`stepsize=10` against 0, "own").

Scripts and the pipeline are run as they are by DrizzlePac, and with nothing but their import changed by
mosaic; they are held to class B.

Verdicts: *pass*; **FAIL**; *peer defect*: the row differs for a defect of the reference that is named
(D-numbers: `docs/compatibility.md`), inside a stated bound; *not available*: this version refuses the
parameter. Sigma is the robust scatter of the blank sky in the product of the reference. Figures of the groups
are given in units of their tolerance: 1 is just allowed, 0 is equal.
"""
_EXCUSED = """A row that differs for one of these reasons still has to stay inside a bound
(`tests/parity/bounds.py`): that of its number, or one that the case states because the defect does more.
Class B repeats what DrizzlePac does with `peer_compat`; what is left in it cannot be repeated
(`docs/compatibility.md` says why).
"""
_ROUNDING = """
Four tolerances have room for the rounding of the reference.

- Row 4 (1e-9 px otherwise): the reference goes from chip to product through degrees in double precision,
  native latitudes just below 90 deg (steps of 1.4e-14 deg, 1e-9 px of 0.05 arcsec) and coordinates on the
  sky. Against arithmetic of 40 digits it is off by 1.2e-9 px rms, 2.9e-9 px at most at right ascension
  0.2 deg and by 2.1e-9 px rms, 6.1e-9 px at most at 320 deg; ours by 3e-11 and 2e-10 px. Allowed on top:
  four steps at 90 deg and two of the coordinates.
- Rows 10, 16, 17 (1e-6 relative): a drop that reaches d pixels into an output pixel has a weight known to
  (error of row 4) / d. Allowed on top: twice that error, of the largest weight. Lanczos kernels look their
  value up in steps of 0.01 px: the same error puts some of the 98 look-ups per input pixel into the next
  step, and that many pixels may differ.
- Row 12 (5e-6 relative + 1e-3 e-): 16 or 36 values of the median make a blotted one; beside a bright core
  the difference of the core (row 11, 2e-6 relative) shows. The row is held to 5e-6 of the largest value
  within 3 px. A second row 12 blots the reference's own median with our code, and is held to the tolerance
  itself, but for the pixels whose position in single precision rounds the other way.
- Class C: what a table of step 10 costs a program was measured on one set; on others it is more, for the
  reference itself and for ours alike (own). Class E, where both do without, is held to the tolerances of B.
"""


class Results:
    """Rows by case and class, kept in a file so that a later call replaces only what it ran."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path = path
        self.content: dict[str, Any] = {"cases": {}, "timing": None}
        if path.exists() and not fresh:
            self.content |= json.loads(path.read_text())

    def add(self, case: str, kind: str, rows: Sequence[Row], facts: Mapping[str, Any]) -> None:
        """Keep the rows of one comparison."""
        kept = [asdict(row) | {"ratio": row.ratio} for row in rows]
        self.content["cases"].setdefault(case, {})[kind] = {"facts": dict(facts), "rows": kept}

    def add_error(self, case: str, kind: str, error: str, reason: str) -> None:
        """Keep the fact that a program failed; `reason` says why that is no failure of ours."""
        text = error.strip().splitlines()[-1][:160] if error.strip() else "no message"
        row = Row(0, "run", "completes", text, None if reason else False, reason=reason)
        self.add(case, kind, [row], {})

    def add_timing(self, timing: Mapping[str, Any]) -> None:
        """Keep a timing."""
        self.content["timing"] = dict(timing)

    def save(self) -> None:
        """Write everything kept to the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.content, indent=1))

    def _entries(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        for case, kinds in self.content["cases"].items():
            for kind, entry in kinds.items():
                for row in entry["rows"]:
                    yield case, kind, row

    @property
    def n_failed(self) -> int:
        """Rows that failed, over all cases."""
        return sum(row["passed"] is False for _, _, row in self._entries())

    def markdown(self, version: str, order: Sequence[str], notes: Mapping[str, str]) -> str:
        """Write everything as one document."""
        cases = {name: self.content["cases"][name] for name in order if name in self.content["cases"]}
        single = [name for name in cases if "/" not in name]
        groups = list(dict.fromkeys(name.partition("/")[0] for name in cases if "/" in name))
        parts = [_HEAD.format(version=version), "## Summary\n", *by_subject(cases), "", *_totals(cases)]
        absent = Counter(name.partition("/")[0] for name in order if name not in cases)
        if absent:
            listed = ", ".join(f"{name} ({n})" for name, n in absent.items())
            parts.append(f"\nNot in this table, because not run since it was made: {listed}.")
        parts += ["\n### What differs, and why\n", _EXCUSED, *excused(cases)]
        parts += ["\n### Worst figure of each row\n", *_worst(cases), _ROUNDING]
        if self.content["timing"]:
            parts += ["\n## Time and memory\n", *_timing(self.content["timing"])]
        parts += ["\n## All parameters at their defaults\n", *_group(cases, single, notes)]
        for group in groups:
            members = [name for name in cases if name.startswith(f"{group}/")]
            parts += [f"\n## {group.capitalize()}\n", *_group(cases, members, notes)]
        for name in single:
            parts += [f"\n## {name} in full", *_case(cases[name])]
        stamp = datetime.now(tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
        return "\n".join([*parts, f"\nWritten {stamp}.", ""])


def _totals(cases: Mapping[str, Any]) -> list[str]:
    lines = ["| class | cases | rows | pass | FAIL | peer defect | not available | not judged |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for kind in "BDEC":
        entries = [kinds[kind] for kinds in cases.values() if kind in kinds]
        counts = Counter(verdict(row) for entry in entries for row in entry["rows"])
        shown = (counts[name] for name in ("pass", "**FAIL**", "peer defect", "not available", "-"))
        lines.append(f"| {kind} | {len(entries)} | {counts.total()} | " + " | ".join(map(str, shown)) + " |")
    rows = sum(len(entry["rows"]) for kinds in cases.values() for entry in kinds.values())
    lines.append(f"\n{len(cases)} cases, {sum(map(len, cases.values()))} comparisons, {rows} rows.")
    return lines


def _worst(cases: Mapping[str, Any]) -> list[str]:
    worst: dict[tuple[int, str], tuple[float, str, Mapping[str, Any]]] = {}
    for case, kinds in cases.items():
        for kind, entry in kinds.items():
            for row in entry["rows"]:
                key = (row["number"], kind)
                ratio = row["ratio"]
                if row["passed"] is None or ratio is None:
                    continue
                if key not in worst or ratio > worst[key][0]:
                    worst[key] = (ratio, case, row)
    lines = [
        "| # | class | quantity | tolerance | worst figure | of tolerance | case |",
        "|---|---|---|---|---|---|---|",
    ]
    for row_number, kind in sorted(worst, key=lambda key: (key[0], "BDEC".index(key[1]))):
        ratio, case, row = worst[row_number, kind]
        lines.append(
            f"| {row_number} | {kind} | {cell(row['quantity'])} | {cell(row['tolerance'])} "
            f"| {cell(row['measured'])} | {number(ratio)} | {case} |"
        )
    return lines


_SHOWN = (
    (4,),
    (7, 8),
    (9,),
    (10,),
    (11,),
    (12,),
    (13,),
    (14,),
    (15,),
    (16, 17),
    (18,),
    (19,),
    (21,),
    (22, 23),
)


def _group(cases: Mapping[str, Any], names: Sequence[str], notes: Mapping[str, str]) -> list[str]:
    titles = ["/".join(map(str, numbers)) for numbers in _SHOWN]
    lines = ["| case | class | passed | " + " | ".join(titles) + " | verdict |"]
    lines.append("|---" * (len(titles) + 4) + "|")
    for name in names:
        for kind, entry in cases[name].items():
            rows = entry["rows"]
            cells = []
            for numbers in _SHOWN:
                found = [
                    row["ratio"] for row in rows if row["number"] in numbers and row["ratio"] is not None
                ]
                cells.append(number(max(found)) if found else "-")
            lines.append(
                f"| {name.partition('/')[2] or name} | {kind} | {_count(rows)} | "
                + " | ".join(cells)
                + f" | {_verdicts(rows)} |"
            )
    explained = [f"- {name.partition('/')[2] or name}: {notes[name]}." for name in names if notes.get(name)]
    return [*lines, "", *explained] if explained else lines


def _count(rows: Sequence[Mapping[str, Any]]) -> str:
    judged = [row for row in rows if row["passed"] is not None]
    return f"{sum(row['passed'] for row in judged)}/{len(judged)}"


def _verdicts(rows: Sequence[Mapping[str, Any]]) -> str:
    failed = [
        f"**FAIL** {row['number']}: {row['measured']} [{row['tolerance']}]"
        + (f" (excused up to: {row['bound']})" if row.get("bound") else "")
        for row in rows
        if row["passed"] is False
    ]
    reasons: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        if row["reason"] and row["passed"] is None:
            reasons.setdefault((verdict(row), row["reason"]), []).append(row["number"])
    failed += [
        f"{word} ({', '.join(map(str, dict.fromkeys(numbers)))}): {reason}"
        for (word, reason), numbers in reasons.items()
    ]
    return cell("; ".join(failed)) or "pass"


def _case(kinds: Mapping[str, Any]) -> list[str]:
    lines = []
    for kind, entry in kinds.items():
        facts = ", ".join(f"{name} {value}" for name, value in entry["facts"].items())
        lines += [f"\n### Class {kind}\n", facts + "\n"] if facts else [f"\n### Class {kind}\n"]
        lines += ["| # | quantity | tolerance | measured | |", "|---|---|---|---|---|"]
        lines += [
            f"| {row['number']} | {cell(row['quantity'])} | {cell(row['tolerance'])} "
            f"| {cell(row['measured'])} | {verdict(row)} |"
            for row in entry["rows"]
        ]
    return lines


def _timing(timing: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{timing['what']}; wall time of the whole command, imports included; best of {timing['repeats']}.\n",
        "| program | seconds | peak memory (PSS), MiB | peak memory (sum of RSS), MiB |",
        "|---|---|---|---|",
    ]
    for name, item in timing["programs"].items():
        lines.append(
            f"| {name} | {item['seconds']:.1f} | {item['peak_pss_bytes'] / 2**20:.0f} "
            f"| {item['peak_rss_bytes'] / 2**20:.0f} |"
        )
    lines.append(f"\nDrizzlePac / mosaic: {timing['ratio']:.2f}.")
    return lines


def lines_of(case: str, kind: str, rows: Sequence[Row], *, only_failed: bool) -> list[str]:
    """Terminal lines of one comparison."""
    judged = [row for row in rows if row.passed is not None]
    good = sum(row.passed is True for row in judged)
    defects = sum(bool(row.reason) and row.passed is None for row in rows)
    excused = f", {defects} peer defects" if defects else ""
    lines = [f"{case} [{kind}]: {good}/{len(judged)} rows pass{excused}"]
    lines += [
        f"  {verdict(asdict(row)).strip('*'):5s}{row.number:3d} {row.quantity}: {row.measured}"
        f"  [{row.tolerance}]" + (f" ({row.bound})" if row.bound else "")
        for row in rows
        if not only_failed or row.passed is False
    ]
    return lines
