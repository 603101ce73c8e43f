"""``python -m tests.bench``: time mosaic beside other programs and write docs/performance.md.

Cases: job-acs4, job-acs16, job-ir8 (whole jobs), kernels, exposures, area (growth), overhead, start; all
by default. What is measured is kept in WORK/results.json, so cases may be run one by one; --report-only
writes the page from it. A program that is absent or fails is named in the page and the rest goes on. Run it
on a quiet machine.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.bench import coldstart, growth, kernels
from tests.bench.contenders import (
    CONTENDERS,
    Tools,
    find_oracle,
    find_others,
    remove_ended,
    run_in_turn,
)
from tests.bench.jobs import JOBS
from tests.bench.plots import draw
from tests.bench.report import write
from tests.bench.results import Results, own_versions
from tests.bench.sets import KNOWN, QUICK
from tests.parity.oracle import Oracle
from tests.parity.programs import REPOSITORY, Workshop

REPEATS = 3


def run_job(tools: Tools, results: Results, options: argparse.Namespace, *, name: str) -> None:
    """Run the contenders of a whole job in turn; those not asked for keep their earlier figures."""
    job = JOBS[name]
    wanted = tuple(n for n in job.contenders if n in (options.contenders or CONTENDERS))
    before = results.case(name).get("rows", {})

    def keep(rows: dict[str, object]) -> None:
        merged = {**before, **rows}
        results.put(name, {"rows": {n: merged[n] for n in job.contenders if n in merged}})

    run_in_turn(tools, job.case(name, is_quick=options.quick), wanted, options.repeats, keep)


def run_kernels(tools: Tools, results: Results, options: argparse.Namespace) -> None:
    exposures = tools.shop.exposures(f"acs_full{QUICK if options.quick else ''}")
    oracle = find_oracle(tools.oracle)
    work = tools.shop.work / "kernels"
    results.put("kernels", kernels.measure(exposures, oracle, work, max(options.repeats, 3)))


def run_growth(
    tools: Tools, results: Results, options: argparse.Namespace, *, name: str, measure: Callable[..., None]
) -> None:
    measure(tools, options.repeats, lambda content: results.put(name, content), is_quick=options.quick)


def run_start(tools: Tools, results: Results, options: argparse.Namespace) -> None:
    results.put("start", coldstart.measure(tools, options.repeats))


CASES: dict[str, Callable[[Tools, Results, argparse.Namespace], None]] = {
    **{name: partial(run_job, name=name) for name in JOBS},
    "kernels": run_kernels,
    "exposures": partial(run_growth, name="exposures", measure=growth.measure_exposures),
    "area": partial(run_growth, name="area", measure=growth.measure_areas),
    "overhead": partial(run_growth, name="overhead", measure=growth.measure_overhead),
    "start": run_start,
}


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--repeats", type=int, help=f"rounds; default {REPEATS}, 1 with --quick")
    parser.add_argument(
        "--quick", action="store_true", help="small chips, to try the harness; no speed claims"
    )
    parser.add_argument(
        "--contenders", nargs="+", metavar="NAME", choices=CONTENDERS, help="of the whole jobs, only these"
    )
    parser.add_argument(
        "--oracle-python", type=Path, help="interpreter with DrizzlePac; default .parity-venv"
    )
    parser.add_argument("--others-python", type=Path, help="interpreter with reproject; default .bench-venv")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "build" / "bench", help="folder of runs")
    parser.add_argument("--sets", type=Path, help="folder of simulated sets, by name; default WORK/sets")
    parser.add_argument("--report", type=Path, help="the page; default docs/performance.md, WORK if --quick")
    parser.add_argument(
        "--report-only", action="store_true", help="write the page from what was measured before"
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.cases if name not in CASES]
    if unknown:
        parser.error(f"no case is named {', '.join(unknown)}; there are {', '.join(CASES)}")
    if options.repeats is None:
        options.repeats = 1 if options.quick else REPEATS
    if options.repeats < 1:
        parser.error(f"--repeats {options.repeats} must be at least 1")
    options.work = options.work.absolute()
    folder = options.work if options.quick else REPOSITORY / "docs"
    options.report = (options.report or folder / "performance.md").absolute()
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    work = options.work / "quick" if options.quick else options.work
    results = Results(work / "results.json")
    if not options.report_only:
        sets = (options.sets or options.work / "sets").absolute()
        oracle = find_oracle(options.oracle_python)[0]
        shop = Workshop(work, sets, sets / "absent", Oracle(oracle.absolute()), known=KNOWN)
        tools = Tools(shop, find_others(options.others_python))
        found = {n.split()[0]: c.version(tools) for n, c in CONTENDERS.items() if c.missing(tools) is None}
        results.describe(work, {**own_versions(REPOSITORY), **found})
        # Compiling belongs to the case `start` only.
        subprocess.run([sys.executable, "-m", "mosaic.cli", "warmup"], cwd=REPOSITORY, check=True)
        for name in options.cases or CASES:
            CASES[name](tools, results, options)
            remove_ended(work)
        shutil.rmtree(work / "plain", ignore_errors=True)
    images = draw(results.content["cases"], options.report.parent / "img")
    options.report.parent.mkdir(parents=True, exist_ok=True)
    names = [str(path.relative_to(options.report.parent)) for path in images]
    options.report.write_text(write(results.content, names, is_quick=options.quick))
    print(options.report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
