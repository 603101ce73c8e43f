"""The result as Markdown, as JSON that several calls add to, and as lines on the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.parity.rows import Row

_HEAD = """# Parity with DrizzlePac

Written by `make parity` (`python -m tests.parity`); do not edit. Both programs combine the same exposures
with the same parameters; every product and intermediate is compared. DrizzlePac {version} runs with
num_cores=1 in an environment of its own.

Classes: **B** both interpolate the pixel map in a table with a node every 10 pixels (`stepsize=10`); the
difference left is float32 against float64 sums. **C** ours maps every pixel exactly (our default),
DrizzlePac uses its default table. **E** both map exactly (`stepsize=0`), held to the tolerances of C. All
three run with `peer_compat=true`: the noise model and the rounding of the reference, defects included.
Where a set is harder than the one the tolerances of C were measured on (brighter stars, more cosmic
rays), the row may instead reach 1.25 times what DrizzlePac's own table costs it (`stepsize=10`
against 1, "own"). Sigma is the robust scatter of the blank sky in the product of the reference.
"""


class Results:
    """Rows by case and class, kept in a file so that a later call replaces only what it ran."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: dict[str, Any] = {"cases": {}, "timing": None}
        if path.exists():
            self.content |= json.loads(path.read_text())

    def add(self, case: str, kind: str, rows: Sequence[Row], facts: Mapping[str, Any]) -> None:
        """Keep the rows of one comparison."""
        self.content["cases"].setdefault(case, {})[kind] = {
            "facts": dict(facts),
            "rows": [asdict(r) for r in rows],
        }
        self._save()

    def add_error(self, case: str, kind: str, error: str) -> None:
        """Keep the fact that a program failed."""
        self.add(case, kind, [Row(0, "run", "completes", error.splitlines()[-1][:160], passed=False)], {})

    def add_timing(self, timing: Mapping[str, Any]) -> None:
        """Keep a timing."""
        self.content["timing"] = dict(timing)
        self._save()

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.content, indent=1))

    @property
    def n_failed(self) -> int:
        """Rows that failed, over all cases."""
        return sum(
            row["passed"] is False
            for kinds in self.content["cases"].values()
            for entry in kinds.values()
            for row in entry["rows"]
        )

    def markdown(self, version: str, order: Sequence[str]) -> str:
        """Write everything as one document."""
        cases = self.content["cases"]
        names = [name for name in order if name in cases]
        parts = [_HEAD.format(version=version), "## Summary\n", *_summary(cases, names)]
        if self.content["timing"]:
            parts += ["\n## Time and memory\n", *_timing(self.content["timing"])]
        for name in names:
            if not name.startswith("sweep/"):
                parts += [f"\n## {name}", *_case(cases[name])]
        swept = [name for name in names if name.startswith("sweep/")]
        if swept:
            parts += ["\n## Parameter sweep (class B, small ACS/WFC set)\n", *_sweep(cases, swept)]
        stamp = datetime.now(tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
        return "\n".join([*parts, f"\nWritten {stamp}.", ""])


def _mark(passed: object) -> str:
    return "-" if passed is None else "pass" if passed else "**FAIL**"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _count(rows: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    judged = [row for row in rows if row["passed"] is not None]
    return sum(row["passed"] for row in judged), len(judged)


def _summary(cases: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    lines = ["| case | class | rows passed | failed rows |", "|---|---|---|---|"]
    for name in names:
        for kind, entry in cases[name].items():
            good, judged = _count(entry["rows"])
            failed = [f"{row['number']} {row['quantity']}" for row in entry["rows"] if row["passed"] is False]
            lines.append(f"| {name} | {kind} | {good}/{judged} | {_cell('; '.join(failed)) or 'none'} |")
    return lines


def _case(kinds: Mapping[str, Any]) -> list[str]:
    lines = []
    for kind, entry in kinds.items():
        facts = ", ".join(f"{name} {value}" for name, value in entry["facts"].items())
        lines += [f"\n### Class {kind}\n", facts + "\n"] if facts else [f"\n### Class {kind}\n"]
        lines += ["| # | quantity | tolerance | measured | |", "|---|---|---|---|---|"]
        lines += [
            f"| {row['number']} | {_cell(row['quantity'])} | {_cell(row['tolerance'])} "
            f"| {_cell(row['measured'])} | {_mark(row['passed'])} |"
            for row in entry["rows"]
        ]
    return lines


def _sweep(cases: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    lines = [
        "| parameters | rows passed | final sci | final wht | crmask | failed |",
        "|---|---|---|---|---|---|",
    ]
    for name in names:
        for entry in cases[name].values():
            rows = {row["number"]: row for row in entry["rows"]}
            good, judged = _count(entry["rows"])

            def shown(*numbers: int, rows: Mapping[int, Any] = rows) -> str:
                return next((_cell(rows[n]["measured"]) for n in numbers if n in rows), "-")

            failed = [
                f"{row['number']}: {row['measured']}" for row in entry["rows"] if row["passed"] is False
            ]
            lines.append(
                f"| {name.removeprefix('sweep/')} | {good}/{judged} | {shown(15, 0)} | {shown(16, 17)} "
                f"| {shown(13)} | {_cell('; '.join(failed)) or 'none'} |"
            )
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
    lines = [f"{case} [{kind}]: {good}/{len(judged)} rows pass"]
    lines += [
        f"  {_mark(row.passed).strip('*'):5s}{row.number:3d} {row.quantity}: {row.measured}"
        f"  [{row.tolerance}]"
        for row in rows
        if not only_failed or row.passed is False
    ]
    return lines
