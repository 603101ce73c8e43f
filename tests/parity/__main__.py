"""``python -m tests.parity``: compare mosaic with DrizzlePac and write docs/parity.md.

Quick by default (small simulated sets, the real exposures if they are there, every parameter once). Exit
status 0 when every row passes, 1 when one fails, 2 for bad usage.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.parity.cases import SELECTIONS, Case
from tests.parity.checklist import compare_runs
from tests.parity.measure import CommandError
from tests.parity.programs import REPOSITORY, Workshop, ensure_oracle
from tests.parity.report import Results, lines_of
from tests.parity.rows import Row, relax
from tests.parity.runs import Run
from tests.parity.timing import compare_times

# class -> (stepsize of ours, stepsize of DrizzlePac)
STEPS = {"B": (10, 10), "C": (0, 10), "E": (0, 0)}
VERSION = "3.11.0"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument(
        "select",
        nargs="*",
        help=f"selections ({', '.join(SELECTIONS)}) or patterns as 'sweep/turbo*'; default: quick",
    )
    parser.add_argument(
        "--oracle-python", type=Path, help="interpreter with DrizzlePac; default: make .parity-venv"
    )
    parser.add_argument("--work", type=Path, default=REPOSITORY / "build" / "parity", help="folder of runs")
    parser.add_argument("--sets", type=Path, help="folder of simulated sets, by name; default: WORK/sets")
    parser.add_argument(
        "--data", type=Path, default=REPOSITORY.parent / "shared" / "data", help="real exposures"
    )
    parser.add_argument("--classes", default="BCE", help="classes to compare, of those a case has")
    parser.add_argument("--oracle-only", action="store_true", help="run DrizzlePac and stop")
    parser.add_argument(
        "--self-test", action="store_true", help="compare DrizzlePac (stepsize=10) with itself (stepsize=1)"
    )
    parser.add_argument(
        "--timing", action="store_true", help="time whole jobs of both on four full ACS/WFC exposures"
    )
    parser.add_argument("--timing-case", default="acs-full", help="case whose set is timed")
    parser.add_argument("--repeats", type=int, default=1, help="repeats of the timing; the best counts")
    parser.add_argument("--report", type=Path, default=REPOSITORY / "docs" / "parity.md")
    parser.add_argument("--failed", action="store_true", help="print only the rows that fail")
    parser.add_argument("--list", action="store_true", help="list the cases and stop")
    return parser.parse_args(arguments)


def select_cases(wanted: Sequence[str]) -> list[Case]:
    """Return the cases of selections and name patterns, each once, in their own order."""
    known = {case.name: case for case in SELECTIONS["all"]}
    chosen: dict[str, Case] = {}
    for text in wanted:
        found = SELECTIONS.get(text) or [c for n, c in known.items() if fnmatch.fnmatchcase(n, text)]
        if not found:
            raise SystemExit(f"no case or selection is named {text!r}; see --list")
        chosen |= {case.name: case for case in found}
    return list(chosen.values())


def run_oracle(shop: Workshop, case: Case, classes: str) -> None:
    """Fill the cache of DrizzlePac runs of a case."""
    for stepsize in sorted({STEPS[kind][1] for kind in case.classes if kind in classes}, reverse=True):
        measured = shop.drizzlepac(case, stepsize=stepsize)[1]
        mib = measured.peak_pss_bytes / 2**20
        print(f"{case.name} stepsize={stepsize}: {measured.seconds:.1f} s, {mib:.0f} MiB", flush=True)


def compare_case(shop: Workshop, case: Case, classes: str, results: Results, *, only_failed: bool) -> None:
    """Run both programs on a case and fill its tables."""
    ours: dict[int, Run] = {}
    for kind in (kind for kind in case.classes if kind in classes):
        our_step, their_step = STEPS[kind]
        try:
            theirs, their_cost = shop.drizzlepac(case, stepsize=their_step)
            if our_step not in ours:
                ours[our_step], our_cost = shop.mosaic(
                    case,
                    f"step{our_step}",
                    stepsize=our_step,
                    peer_compat=True,
                    clean=False,
                    dq_update="copy",
                )
            rows = compare_runs(ours[our_step], theirs, kind, dict(case.parameters))
            if kind == "C" and any(row.passed is False and row.figures for row in rows):
                rows = relax(rows, self_test(shop, case))
        except (CommandError, FileNotFoundError) as error:
            results.add_error(case.name, kind, str(error))
            print(f"{case.name} [{kind}]: FAILED\n  {error}", flush=True)
            continue
        rows = [row for row in rows if row.number not in case.omitted]
        facts = {"DrizzlePac": f"{their_cost.seconds:.1f} s", "mosaic": f"{our_cost.seconds:.1f} s"}
        results.add(case.name, kind, rows, facts | ({"note": case.note} if case.note else {}))
        print("\n".join(lines_of(case.name, kind, rows, only_failed=only_failed)), flush=True)


def self_test(shop: Workshop, case: Case) -> list[Row]:
    """Compare the reference with itself, with a table in steps of 10 and of 1: proves the comparison."""
    coarse, fine = (shop.drizzlepac(case, stepsize=step)[0] for step in (10, 1))
    return compare_runs(coarse, fine, "C", dict(case.parameters))


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    if options.list:
        print("\n".join(f"{case.name:28s} {case.classes:4s} {case.exposures}" for case in SELECTIONS["all"]))
        return 0
    work = options.work.absolute()
    oracle = ensure_oracle(options.oracle_python, REPOSITORY / ".parity-venv")
    shop = Workshop(work, (options.sets or work / "sets").absolute(), options.data.absolute(), oracle)
    results = Results(work / "results.json")
    wanted = options.select or ([] if options.timing else ["quick"])
    for case in select_cases(wanted):
        if not shop.exposures(case.exposures, case.n_exposures):
            print(f"{case.name}: left out, its exposures are not there", flush=True)
        elif options.self_test:
            print("\n".join(lines_of(case.name, "self", self_test(shop, case), only_failed=options.failed)))
        elif options.oracle_only:
            run_oracle(shop, case, options.classes)
        else:
            compare_case(shop, case, options.classes, results, only_failed=options.failed)
    if options.self_test or options.oracle_only:
        return 0
    if options.timing:
        case = replace(select_cases([options.timing_case])[0], parameters={})
        results.add_timing(compare_times(shop, case, options.repeats))
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(results.markdown(VERSION, [case.name for case in SELECTIONS["all"]]))
    print(f"{results.n_failed} rows failed; {options.report}")
    return 1 if results.n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
