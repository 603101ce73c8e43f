"""``python -m tests.parity``: compare mosaic with DrizzlePac and write docs/parity.md.

Quick by default (small simulated sets, the real exposures if they are there, every group of cases). Exit
status 0 when every row passes, 1 when one fails, 2 for bad usage. ``record`` as the only selection writes
the figures that `tests/parity/test_recorded.py` compares with.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from mosaic.errors import MosaicError, ParameterError
from tests.parity.bounds import Excuse, rows_hit
from tests.parity.cases import Case
from tests.parity.checklist import compare_runs
from tests.parity.groups import ALL, SELECTIONS
from tests.parity.measure import CommandError, Measured
from tests.parity.oracle import Oracle, ensure_oracle
from tests.parity.programs import REPOSITORY, Workshop
from tests.parity.recorded import write_record
from tests.parity.report import Results, lines_of
from tests.parity.rows import MINIMUM_REASON, Row, relax
from tests.parity.runs import Run
from tests.parity.timing import compare_times

STEPS = {"B": (10, 10), "C": (0, 10), "D": (10, 10), "E": (0, 0)}
"""Class -> stepsize of ours and of DrizzlePac."""
VERSION = "3.11.0"
_UNAVAILABLE = "not available in this version"
Oracled: TypeAlias = Future[tuple[Run, Measured]]


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument(
        "select",
        nargs="*",
        help=f"selections ({', '.join(SELECTIONS)}), patterns as 'kernels/turbo*', or record; default: quick",
    )
    parser.add_argument(
        "--oracle-python", type=Path, help="interpreter with DrizzlePac; default: make .parity-venv"
    )
    parser.add_argument("--work", type=Path, default=REPOSITORY / "build" / "parity", help="folder of runs")
    parser.add_argument("--sets", type=Path, help="folder of simulated sets, by name; default: WORK/sets")
    parser.add_argument(
        "--data", type=Path, default=REPOSITORY.parent / "shared" / "data", help="real exposures"
    )
    parser.add_argument("--classes", default="BCDE", help="classes to compare, of those a case has")
    parser.add_argument(
        "--self-test", action="store_true", help="compare DrizzlePac (stepsize=10) with itself (stepsize=0)"
    )
    parser.add_argument(
        "--timing", action="store_true", help="time whole jobs of both on four full ACS/WFC exposures"
    )
    parser.add_argument("--timing-case", default="acs-full", help="case whose set is timed")
    parser.add_argument("--repeats", type=int, default=1, help="repeats of the timing; the best counts")
    parser.add_argument("--report", type=Path, default=REPOSITORY / "docs" / "parity.md")
    parser.add_argument("--fresh", action="store_true", help="forget the rows of earlier calls")
    parser.add_argument("--failed", action="store_true", help="print only the rows that fail")
    parser.add_argument("--list", action="store_true", help="list the cases and stop")
    return parser.parse_args(arguments)


def select_cases(wanted: Sequence[str]) -> list[Case]:
    """Return the cases of selections and name patterns, each once, in their own order."""
    known = {case.name: case for case in ALL}
    chosen: dict[str, Case] = {}
    for text in wanted:
        found = SELECTIONS.get(text) or [c for n, c in known.items() if fnmatch.fnmatchcase(n, text)]
        if not found:
            raise SystemExit(f"no case or selection is named {text!r}; see --list")
        chosen |= {case.name: case for case in found}
    return list(chosen.values())


def steps_of(case: Case, kind: str) -> tuple[int, int]:
    """Return the step of the table of ours and of DrizzlePac; a case may set it itself."""
    given = case.parameters.get("stepsize")
    return STEPS[kind] if given is None else (given, given)


def rejects(case: Case) -> bool:
    """Whether cosmic rays are looked for: nothing else depends on `peer_compat`."""
    return bool(case.parameters.get("driz_cr", True)) and case.n_exposures != 1


def mended_by_default(case: Case) -> dict[int, Excuse]:
    """Rows that defects of the reference make differ from our default settings (class D)."""
    combine_type = str(case.parameters.get("combine_type", "minmed"))
    has_median = case.n_exposures != 1 and "minmed" in combine_type
    hit = rows_hit(MINIMUM_REASON, 11, 12, 13, 14) if has_median else {}
    return {**hit, **case.defects, **case.mended}


class Comparison:
    """Compares cases while DrizzlePac, in its own process, is busy with the ones to come."""

    def __init__(self, shop: Workshop, results: Results, classes: str, *, only_failed: bool) -> None:
        self.shop = shop
        self.results = results
        self.classes = classes
        self.only_failed = only_failed

    def run(self, cases: Sequence[Case]) -> None:
        """Compare all cases."""
        there = [case for case in cases if self._has_exposures(case)]
        with ThreadPoolExecutor(max_workers=1) as pool:
            coming = [
                {
                    step: pool.submit(self.shop.drizzlepac, case, stepsize=step)
                    for step in sorted({steps_of(case, kind)[1] for kind in self._kinds(case)}, reverse=True)
                }
                for case in there
            ]
            try:
                for case, futures in zip(there, coming, strict=True):
                    self._compare(case, futures)
                    self.results.save()
            finally:
                pool.shutdown(cancel_futures=True)

    def _has_exposures(self, case: Case) -> bool:
        try:
            there = bool(self.shop.exposures_of(case))
        except ParameterError as error:
            self.results.add_error(case.name, case.classes[0], str(error), f"not available: {error}")
            there = False
        if not there:
            print(f"{case.name}: left out, its exposures are not there", flush=True)
        return there

    def _kinds(self, case: Case) -> list[str]:
        return [kind for kind in case.classes if kind in self.classes]

    def _compare(self, case: Case, futures: dict[int, Oracled]) -> None:
        ours: dict[tuple[int, bool], tuple[Run, Measured]] = {}
        for kind in self._kinds(case):
            our_step, their_step = steps_of(case, kind)
            key = our_step, kind in "BC" or (kind == "E" and rejects(case))
            try:
                theirs, their_cost = futures[their_step].result()
                if key not in ours:
                    ours[key] = self._ours(case, *key)
                excuses = {**case.defects, **(mended_by_default(case) if kind == "D" else {})}
                rows = compare_runs(ours[key][0], theirs, kind, case.parameters, excuses)
                if kind == "C":
                    rows = relax(rows, *self._own(case, futures, ours))
            except (CommandError, MosaicError, FileNotFoundError, KeyError, ValueError) as error:
                # A product that lacks what is compared is a failure of its case, not the end of the suite.
                self._fail(case, kind, error)
                continue
            costs = {"DrizzlePac": their_cost, "mosaic": ours[key][1]}
            facts = {name: f"{cost.seconds:.1f} s" for name, cost in costs.items()}
            self.results.add(case.name, kind, rows, facts | ({"note": case.note} if case.note else {}))
            print("\n".join(lines_of(case.name, kind, rows, only_failed=self.only_failed)), flush=True)

    def _ours(self, case: Case, step: int, compat: bool) -> tuple[Run, Measured]:  # noqa: FBT001
        if case.script:
            return self.shop.mosaic_script(case)
        label = f"step{step}" + ("" if compat else "-default")
        return self.shop.mosaic(case, label, stepsize=step, peer_compat=compat, clean=False, dq_update="copy")

    def _own(
        self, case: Case, futures: dict[int, Oracled], ours: dict[tuple[int, bool], tuple[Run, Measured]]
    ) -> list[list[Row]]:
        """Compare each program with itself, with a table of step 10 and without one."""
        pairs = []
        if {0, 10} <= futures.keys():
            pairs.append((futures[10].result()[0], futures[0].result()[0]))
        if {(0, True), (10, True)} <= ours.keys():
            pairs.append((ours[10, True][0], ours[0, True][0]))
        return [compare_runs(coarse, fine, "C", case.parameters) for coarse, fine in pairs]

    def _fail(self, case: Case, kind: str, error: Exception) -> None:
        known = case.defects.get(0)
        is_expected = known is not None and isinstance(error, CommandError) and known.error in str(error)
        reason = known.reason if known is not None and is_expected else ""
        if _UNAVAILABLE in str(error):
            reason = f"not available: {error}"
        self.results.add_error(case.name, kind, str(error), reason)
        print(f"{case.name} [{kind}]: {'excused: ' + reason if reason else 'FAILED'}\n  {error}", flush=True)


def self_test(shop: Workshop, case: Case) -> list[Row]:
    """Compare the reference with itself, with a table of step 10 and without: proves the comparison."""
    coarse, fine = (shop.drizzlepac(case, stepsize=step)[0] for step in (10, 0))
    return compare_runs(coarse, fine, "C", case.parameters)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    if options.list:
        print("\n".join(f"{case.name:38s} {case.classes:4s} {case.exposures}" for case in ALL))
        return 0
    work = options.work.absolute()
    start = time.monotonic()
    with closing(Oracle(ensure_oracle(options.oracle_python, REPOSITORY / ".parity-venv"))) as oracle:
        shop = Workshop(work, (options.sets or work / "sets").absolute(), options.data.absolute(), oracle)
        if options.select == ["record"]:
            print(write_record(shop))
            return 0
        results = Results(work / f"{options.report.stem}.json", fresh=options.fresh)
        cases = select_cases(options.select or ([] if options.timing else ["quick"]))
        if options.self_test:
            for case in cases:
                print("\n".join(lines_of(case.name, "self", self_test(shop, case), only_failed=False)))
            return 0
        if options.timing:
            case = replace(select_cases([options.timing_case])[0], parameters={})
            results.add_timing(compare_times(shop, case, options.repeats))
        Comparison(shop, results, options.classes, only_failed=options.failed).run(cases)
    results.save()
    options.report.parent.mkdir(parents=True, exist_ok=True)
    notes = {case.name: case.note for case in ALL}
    options.report.write_text(results.markdown(VERSION, [case.name for case in ALL], notes))
    print(f"{results.n_failed} rows failed; {time.monotonic() - start:.0f} s; {options.report}")
    return 1 if results.n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
