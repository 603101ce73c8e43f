"""How cost grows with the number of exposures and with the area of the mosaic, and what the driver takes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mosaic import pipeline
from tests.bench.contenders import (
    CORES,
    Outcome,
    Tools,
    describe_failure,
    find_oracle,
    read_through,
    run_drizzlepac,
    run_mosaic,
)
from tests.bench.sets import AREAS, COUNTS, QUICK, QUICK_COUNTS
from tests.parity.cases import Case
from tests.parity.measure import CommandError
from tests.parity.programs import REPOSITORY

MEMORY = "1GiB"
Keep = Callable[[dict[str, Any]], None]
Runner = Callable[[Tools, Case], Outcome]


def fixed_frame(exposures: tuple[Path, ...], folder: Path) -> dict[str, Any]:
    """Parameters of both frames such that they hold all exposures and do not depend on how many are used."""
    grid = pipeline.plan(list(map(str, exposures)), str(folder / "plan")).plan.final.grid
    x, y = (grid.shape_yx.nx - 1) / 2.0, (grid.shape_yx.ny - 1) / 2.0
    ra, dec = grid.pixel_to_sky(x, y)
    values = {
        "ra": float(ra),
        "dec": float(dec),
        "outnx": grid.shape_yx.nx,
        "outny": grid.shape_yx.ny,
        "scale": grid.scale_arcsec,
        "rot": grid.orientat_deg,
    }
    frame = {f"{step}_{name}": value for step in ("final", "driz_sep") for name, value in values.items()}
    return {"final_wcs": True, "driz_sep_wcs": True, **frame}


def _repeat(
    tools: Tools, case: Case, repeats: int, run: Runner, entry: dict[str, Any], keep: Callable[[], None]
) -> None:
    """Add runs to an entry until there are enough or one fails; the first is sampled for its memory."""
    for repeat in range(repeats):
        read_through(tools.shop.exposures(case.exposures, case.n_exposures))
        try:
            outcome = run(replace(tools, is_sampled=repeat == 0), case)
        except (CommandError, OSError) as error:
            entry["error"] = describe_failure(error)
            print(f"{case.name}: {error}", flush=True)
            keep()
            return
        entry["runs"].append(outcome.to_dict())
        cost = outcome.measured
        print(f"{case.name}: {cost.seconds:.1f} s, CPU {cost.cpu_seconds:.1f} s", flush=True)
        keep()


def measure_exposures(tools: Tools, repeats: int, keep: Keep, *, is_quick: bool) -> None:
    """Run mosaic within 1 GiB on more and more exposures of one field, on a frame that stays."""
    name = f"growth{QUICK if is_quick else ''}"
    exposures = tools.shop.exposures(name)
    folder = tools.shop.work / "plain" / name
    folder.mkdir(parents=True, exist_ok=True)
    parameters = fixed_frame(exposures, folder)
    shape = [parameters["final_outny"], parameters["final_outnx"]]
    content: dict[str, Any] = {"frame": shape, "memory": MEMORY, "rows": []}
    for n in QUICK_COUNTS if is_quick else COUNTS:
        row: dict[str, Any] = {"n": n, "runs": [], "error": None}
        content["rows"].append(row)
        case = Case(f"exposures-{n}", name, parameters, n_exposures=n)

        def run(tools: Tools, case: Case) -> Outcome:
            return run_mosaic(tools, case, CORES, "--memory", MEMORY)

        _repeat(tools, case, repeats, run, row, lambda: keep(content))


def measure_areas(tools: Tools, repeats: int, keep: Keep, *, is_quick: bool) -> None:
    """Run both on the same number of exposures, spread over a larger and larger mosaic."""
    reason = find_oracle(tools.oracle)[1]
    content: dict[str, Any] = {"rows": []}
    for fields in AREAS:
        name = f"area_{fields}{QUICK if is_quick else ''}"
        exposures = tools.shop.exposures(name)
        folder = tools.shop.work / "plain" / name
        folder.mkdir(parents=True, exist_ok=True)
        shape = pipeline.plan(list(map(str, exposures)), str(folder / "plan")).plan.final.grid.shape_yx
        programs: dict[str, dict[str, Any]] = {
            "mosaic": {"runs": [], "error": None},
            "DrizzlePac": {"runs": [], "error": reason},
        }
        content["rows"].append({"fields": fields, "frame": list(shape), "programs": programs})
        runners: dict[str, Runner] = {
            "mosaic": run_mosaic,
            "DrizzlePac": lambda tools, case: run_drizzlepac(tools, case, in_memory=False),
        }
        for program, run in runners.items():
            if programs[program]["error"] is None:
                # Two programs with the same parameters and no fixed frame: one case each.
                case = Case(f"area-{fields}-{program}", name)
                n = repeats if program == "mosaic" else 1
                _repeat(tools, case, n, run, programs[program], lambda: keep(content))
    if reason:
        print(f"area: DrizzlePac: left out: {reason}", flush=True)
    keep(content)


def measure_overhead(tools: Tools, repeats: int, keep: Keep, *, is_quick: bool) -> None:
    """Run mosaic on four ACS exposures with one core and with two."""
    content: dict[str, Any] = {"rows": []}
    for cores in (1, CORES):
        row: dict[str, Any] = {"cores": cores, "runs": [], "error": None}
        content["rows"].append(row)
        case = Case(f"overhead-{cores}", f"acs_full{QUICK if is_quick else ''}")
        row["n_parallel"] = planned_parallel(tools, case, cores)

        def run(tools: Tools, case: Case, cores: int = cores) -> Outcome:
            return run_mosaic(tools, case, cores)

        _repeat(tools, case, repeats, run, row, lambda: keep(content))


def planned_parallel(tools: Tools, case: Case, cores: int) -> int:
    """Tasks at a time, as `mosaic plan` says."""
    exposures = tools.shop.exposures(case.exposures, case.n_exposures)
    output = str(tools.shop.work / "plan")
    command = [sys.executable, "-m", "mosaic.cli", "plan", *map(str, exposures), "-o", output]
    command += ["--cores", str(cores)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    rows = [line for line in done.stdout.splitlines() if line.startswith("tasks at a time")]
    return int(rows[0].split()[-1])
