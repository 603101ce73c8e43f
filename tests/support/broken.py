"""Small runs that are healthy, or broken in one way, with the checks made on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from mosaic.graph.driver import Driver, SerialBackend, finished_tasks, plan_tasks
from mosaic.graph.folder import open_folder
from mosaic.graph.job import Job, forget_job_state
from mosaic.graph.lock import lock_folder
from mosaic.graph.plan import Plan
from mosaic.graph.progress import SilentObserver
from mosaic.inputs import read_inputs
from mosaic.options import RunOptions
from mosaic.parameters import load_settings
from mosaic.pipeline import budget_of, make_plan
from mosaic.quality.checks import Check
from mosaic.quality.report import Report, make_report
from mosaic.simulate import SimulatedSet, simulate

CHIP = (320, 448)
SERIAL = RunOptions(scheduler="serial", restart=True)

Checks = dict[str, Check]


def expose(folder: Path, **choices: Any) -> SimulatedSet:
    """Simulate a small field with enough stars for every check."""
    return simulate(folder, **{"chip_shape": CHIP, "n_stars": 80, "seed": 11} | choices)


def expose_once(folder: Path, base: SimulatedSet, program: str, **choices: Any) -> Path:
    """One more exposure of the sky of a set, of another visit."""
    sources = str(choices.pop("sources", base.sources))
    made = expose(folder, exposures=1, sources=sources, program=program, seed=77, **choices)
    return made.files[0]


def run(folder: Path, files: Sequence[Path], **parameters: Any) -> Job:
    """Drizzle into a job folder, without the files of the product, and open the finished job."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = load_settings(None, (), **parameters)
    read = read_inputs([str(path) for path in files], str(folder / "m"), settings, SERIAL)
    _names, plan, _notes = make_plan(read, SERIAL)
    store = folder / "m.mosaic"
    with lock_folder(store):
        job = open_folder(store, plan, restart=True)
        tasks = plan_tasks(job)
        driver = Driver(job, SerialBackend(), budget_of(plan, SERIAL).limits, SilentObserver())
        driver.run(tasks, finished_tasks(job, tasks))
    forget_job_state()
    return Job(store, Plan.read(store))


def report_of(job: Job) -> Report:
    """All checks of a job, without pictures."""
    made = make_report(job, "test", full=True, with_pictures=False)
    forget_job_state()
    return made


def checks_of(folder: Path, files: Sequence[Path], **parameters: Any) -> Checks:
    """Drizzle files and make all checks."""
    return {check.name: check for check in report_of(run(folder, files, **parameters)).checks}


def edited(
    path: Path, folder: Path, change: Callable[[fits.HDUList], None], *, rootname: str | None = None
) -> Path:
    """A changed copy of an exposure, under another root name if one is given."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (path.name if rootname is None else f"{rootname}_flc.fits")
    with fits.open(path, memmap=False) as hdus:
        if rootname is not None:
            hdus[0].header["ROOTNAME"] = rootname
            for hdu in hdus[1:]:
                if "ROOTNAME" in hdu.header:
                    hdu.header["ROOTNAME"] = rootname
        change(hdus)
        hdus.writeto(target, overwrite=True)
    return target


def science(hdus: fits.HDUList) -> list[fits.ImageHDU]:
    """The science extensions of an exposure."""
    return [hdu for hdu in hdus if hdu.name == "SCI"]


def moved(dx_px: float, dy_px: float, turn_deg: float = 0.0) -> Callable[[fits.HDUList], None]:
    """A change of the WCS: the sky appears shifted by native pixels, and turned about the first chip."""

    def change(hdus: fits.HDUList) -> None:
        chips = science(hdus)
        centre = np.array([chips[0].header["CRVAL1"], chips[0].header["CRVAL2"]])
        squeeze = np.array([np.cos(np.radians(centre[1])), 1.0])
        cos, sin = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
        turn = np.array([[cos, -sin], [sin, cos]])
        for hdu in chips:
            header = hdu.header
            cd = np.array([[header[f"CD{i}_{j}"] for j in (1, 2)] for i in (1, 2)])
            place = np.array([header["CRVAL1"], header["CRVAL2"]])
            place = centre + (turn @ ((place - centre) * squeeze) + cd @ (dx_px, dy_px)) / squeeze
            header["CRVAL1"], header["CRVAL2"] = place
            for (i, j), value in np.ndenumerate(turn @ cd):
                header[f"CD{i + 1}_{j + 1}"] = value

    return change


def sources_where(
    base: SimulatedSet, path: Path, change: Callable[[Table, np.random.Generator], Table]
) -> Path:
    """The source list of a set, changed."""
    table = change(Table.read(base.sources, format="ascii.ecsv"), np.random.default_rng(5))
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write(path, format="ascii.ecsv", overwrite=True)
    return path


def verdicts(checks: Checks) -> dict[str, str]:
    """Checks that are not well: name and verdict."""
    return {name: check.verdict for name, check in checks.items() if check.verdict in {"look", "bad"}}


def assert_complaints(checks: Checks, expected: dict[str, str], consequences: Sequence[str] = ()) -> None:
    """Checks complain as expected, and no others but those that must follow from the same fault."""
    found = verdicts(checks)
    assert {name: found.get(name) for name in expected} == expected
    others = {name: checks[name].shown for name in found if name not in expected and name not in consequences}
    assert not others
    for name in found:
        assert checks[name].advice
        assert checks[name].limit
