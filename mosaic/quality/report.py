"""The quality report of a job: every check, its pictures, a page and a machine-readable record.

A brief report follows every run and samples tiles and exposures; a full one (`mosaic report`) looks at all
of them. Covers making and writing both. Does not cover single checks, which stand in the modules named after
what they judge.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from mosaic.errors import MosaicError, OutputError
from mosaic.exposure.cache import ROW_CACHE
from mosaic.graph.job import Job, forget_job_state, tile_tasks
from mosaic.graph.plan import PLAN_NAME, Plan
from mosaic.places import Place, place_of, size_of
from mosaic.products.delivery import deliver, folder_on_disk
from mosaic.products.partial import write_whole
from mosaic.quality.alignment import SAMPLING as SAMPLING_BIAS
from mosaic.quality.alignment import check_alignment
from mosaic.quality.charts import Chart, make_charts
from mosaic.quality.checks import VERDICTS, Check, Verdict, worst
from mosaic.quality.correlation import correlation_ratio
from mosaic.quality.html import render
from mosaic.quality.inputs import check_inputs, dither_phases, quadrants_of
from mosaic.quality.mosaic_checks import ProductPass, run_pass
from mosaic.quality.pictures import Picture, colour_picture, make_maps, make_pictures, thumbnail
from mosaic.quality.rejection import FlagCounts, check_rejection, count_flags, flagged_fractions
from mosaic.quality.shiftfit import Fit
from mosaic.quality.sky_checks import check_sky
from mosaic.quality.survey import Survey
from mosaic.quality.weight_checks import BOX_TO_FWHM2, check_sampling, check_stars, check_weights
from mosaic.quality.zoom import remove_zoom, write_zoom

_CACHE_BYTES = 64 << 20
_PRODUCT = re.compile(r"_(drz|drc|drw)(_(sci|wht|ctx))?\.fits$")
_WELL_SAMPLED_PX = 1.8
_FAULTS = (
    MosaicError, ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip
"""What a report may fail of without spoiling the run that it judges."""


@dataclass(frozen=True, slots=True)
class Report:
    """Outcome of all checks of a job."""

    title: str
    """Name of the job."""
    facts: tuple[tuple[str, str], ...]
    """What was run: label and value."""
    checks: tuple[Check, ...]
    """All checks."""
    fits: tuple[Fit, ...]
    """Shift of every exposure looked at."""
    pictures: tuple[Picture, ...]
    """Pictures."""
    charts: tuple[Chart, ...]
    """Charts."""
    seconds: float
    """Time it took."""
    is_full: bool
    """Whether every tile and exposure was looked at."""

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all."""
        return worst([check.verdict for check in self.checks])

    def with_verdict(self, verdict: Verdict) -> list[Check]:
        """Checks of one verdict."""
        return [check for check in self.checks if check.verdict == verdict]

    def as_json(self) -> str:
        """The report without its pictures."""
        counts = {verdict: len(self.with_verdict(verdict)) for verdict in VERDICTS}
        document = {
            "title": self.title,
            "verdict": self.verdict,
            "counts": counts,
            "full": self.is_full,
            "seconds": round(self.seconds, 3),
            "facts": dict(self.facts),
            "checks": [asdict(check) for check in self.checks],
            "alignment": [
                {
                    "exposure": fit.name,
                    "n": fit.n,
                    "shift_px": [round(float(v), 5) for v in fit.mean] if fit.n else None,
                    "rms_px": [round(float(v), 5) for v in fit.rms] if fit.n else None,
                }
                for fit in self.fits
            ],
        }
        return json.dumps(document, indent=1, allow_nan=False)


@dataclass(frozen=True, slots=True)
class ExposureChecks:
    """Checks that need the median and the masks of cosmic rays, but no product."""

    inputs: tuple[Check, ...]
    """Exposures themselves."""
    alignment: tuple[Check, ...]
    """Exposures beside the median."""
    fits: tuple[Fit, ...]
    """Shift of every exposure looked at."""
    flags: FlagCounts | None
    """Flags of cosmic rays on stars and elsewhere; None when none were looked for."""


def _check_exposures(survey: Survey) -> ExposureChecks:
    alignment, fits, stars = check_alignment(survey)
    flags = count_flags(survey, stars) if survey.job.plan.settings.driz_cr else None
    return ExposureChecks(tuple(check_inputs(survey)), tuple(alignment), tuple(fits), flags)


def look_ahead(job: Job) -> ExposureChecks | None:
    """Carry out what a brief report checks without the product; None when that fails, which is told later."""
    try:
        return _check_exposures(Survey(job, full=False))
    except _FAULTS:
        return None


def make_report(
    job: Job, title: str, *, full: bool, with_pictures: bool = True, early: ExposureChecks | None = None
) -> Report:
    """Carry out all checks on a finished job.

    Parameters
    ----------
    job : Job
        Finished.
    title : str
        Name for the heading.
    full : bool
        Whether to look at every tile and exposure instead of a sample.
    with_pictures : bool, optional
        Whether pictures are made.
    early : ExposureChecks, optional
        What `look_ahead` found, for a brief report.
    """
    start = time.perf_counter()
    previous = ROW_CACHE.max_bytes
    ROW_CACHE.resize(_CACHE_BYTES)
    try:
        survey = Survey(job, full=full)
        with ThreadPoolExecutor(1, thread_name_prefix="pictures") as beside:
            has_maps = with_pictures and job.plan.settings.driz_combine
            maps = beside.submit(make_maps, survey).result if has_maps else list
            checks, fits, found, flagged = _all_checks(survey, early)
            pictures = make_pictures(survey, found, flagged, maps) if with_pictures else []
        charts = make_charts(fits, dither_phases(survey), None if found is None else found.stars)
    finally:
        ROW_CACHE.resize(previous)
    seconds = time.perf_counter() - start
    facts = tuple(_facts(job, survey))
    return Report(title, facts, tuple(checks), fits, tuple(pictures), tuple(charts), seconds, full)


def _all_checks(
    survey: Survey, early: ExposureChecks | None
) -> tuple[list[Check], tuple[Fit, ...], ProductPass | None, list[float]]:
    settings = survey.job.plan.settings
    found = run_pass(survey) if settings.driz_combine else None
    exposures = early or _check_exposures(survey)
    shift = max((fit.length for fit in exposures.fits if fit.n >= 3), default=float("nan"))
    checks = [
        *exposures.inputs,
        *exposures.alignment,
        _sampling_bias(survey, found),
        *check_rejection(survey, exposures.flags, None if found is None else found.residuals, shift),
        *check_sky(survey, found),
        *check_weights(survey, found),
        *check_sampling(survey, found),
        *check_stars(survey, found),
    ]
    return checks, exposures.fits, found, flagged_fractions(survey) if settings.driz_cr else []


def _sampling_bias(survey: Survey, found: ProductPass | None) -> Check:
    if found is None or len(found.stars.fwhm) < 5:
        return SAMPLING_BIAS.unknown("too few stars in the product")
    plan = survey.job.plan
    ratio = plan.final.grid.scale_arcsec / plan.chips[0].idcscale_arcsec
    drop = survey.job.final.drop
    side = 0.0 if drop.effective_kernel == "point" else drop.pixfrac
    # Drops and output pixels are boxes that widened the stars of the exposures.
    own2 = (float(np.median(found.stars.fwhm)) * ratio) ** 2 - BOX_TO_FWHM2 * (side**2 + ratio**2)
    width = float(np.sqrt(max(own2, 0.0)))
    shown = f"stars of the exposures {width:.2f} px wide"
    if width >= _WELL_SAMPLED_PX:
        return SAMPLING_BIAS.of("ok", shown, width)
    quadrants = quadrants_of(dither_phases(survey))
    shown += f": undersampled, with phases in {quadrants} of 4 quadrants of a pixel"
    return SAMPLING_BIAS.of("ok" if quadrants >= 3 else "look", shown, width)


def _facts(job: Job, survey: Survey) -> list[tuple[str, str]]:
    plan = job.plan
    shape = plan.final.grid.shape_yx
    filters = sorted({exposure.filters for exposure in plan.exposures})
    detectors = sorted({f"{exposure.instrument}/{exposure.detector}" for exposure in plan.exposures})
    drop = job.final.drop
    ratio = job.scale_ratio(job.final, 0)
    noise_ratio = correlation_ratio(drop.pixfrac, ratio, drop.effective_kernel)
    n_tiles = len(plan.final.chips_of_tile)
    return [
        ("exposures", f"{len(plan.exposures)} ({', '.join(detectors)}; {', '.join(filters)})"),
        ("exposure time", f"{sum(e.chips[0].exptime_s for e in plan.exposures):.1f} s"),
        ("frame", f"{shape.nx} x {shape.ny} pixels of {plan.final.grid.scale_arcsec:.5g} arcsec"),
        ("drops", f"{drop.kernel}, pixfrac {drop.pixfrac:g}, scale ratio {ratio:.3g}"),
        (
            "noise ratio R",
            f"{noise_ratio:.3f} (errors of large apertures: times R)",
        ),
        ("looked at", f"{len(survey.tiles)} of {n_tiles} tiles, {len(survey.exposures)} exposures"),
        ("version", plan.version),
    ]


def write_report(report: Report, folder: Path, *, zoom: str = "") -> tuple[Path, Path]:
    """Write report.html and report.json into a folder, with the preview and a thumbnail beside them.

    Parameters
    ----------
    report : Report
        What was found.
    folder : Path
        Where to; made if absent.
    zoom : str, optional
        Address of the zoomable mosaic. Without one, what an earlier report left of it is removed.

    Raises
    ------
    OutputError
        When they cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}; choose another folder") from error
    if not zoom:
        remove_zoom(folder)
    for picture in report.pictures:
        if picture.name == "science":
            write_whole(folder / "preview.jpg", picture.data)
            write_whole(folder / "thumbnail.png", thumbnail(picture))
    page = render(report.title, report.facts, report.checks, report.pictures, report.charts, zoom=zoom)
    return (
        write_whole(folder / "report.html", page.encode()),
        write_whole(folder / "report.json", report.as_json().encode()),
    )


@contextmanager
def _report_folder(job: Job) -> Iterator[Path]:
    """Folder to write a report into; that of a job in an object store is sent there afterwards."""
    target = job.folder / "report"
    with folder_on_disk(target) as folder:
        yield folder
        deliver(sorted(path for path in folder.rglob("*") if path.is_file()), folder, target)


def report_job(job: Job, title: str, early: ExposureChecks | None = None) -> tuple[Report | None, str]:
    """Make and write the brief report of a run; a fault of the report is told, and spoils no run.

    Returns
    -------
    report : Report or None
        None when it could not be made.
    problem : str
        Why not.
    """
    try:
        report = make_report(job, title, full=False, early=early)
        with _report_folder(job) as folder:
            write_report(report, folder)
    except _FAULTS as error:
        return None, f"no quality report: {type(error).__name__}: {error}; the products are complete"
    return report, ""


def report_folder(
    root: str, *, full: bool = True, zoom: bool = True, colours: Sequence[str] = ()
) -> tuple[Report, Place]:
    """Make the report of a finished job from its folder.

    Parameters
    ----------
    root : str
        Root of the product names, the product, or the job folder itself.
    full : bool, optional
        Whether to look at every tile and exposure.
    zoom : bool, optional
        Whether to write the zoomable page as well.
    colours : sequence of str, optional
        Two more jobs in the same frame, which are green and blue of a colour picture.

    Raises
    ------
    OutputError
        When there is no finished job of that name.
    ParameterError
        When the frames of a colour picture differ.
    """
    forget_job_state()
    job = find_job(root)
    title = job.folder.name.removesuffix(".mosaic")
    report = make_report(job, title, full=full)
    if colours:
        jobs = [job, *(find_job(name) for name in colours)]
        picture = colour_picture(jobs, [j.folder.name.removesuffix(".mosaic") for j in jobs])
        report = replace(report, pictures=(picture, *report.pictures))
    with _report_folder(job) as folder:
        address = ""
        if zoom and job.plan.settings.driz_combine:
            address = write_zoom(Survey(job, full=full), folder, title).name
        write_report(report, folder, zoom=address)
    return report, job.folder / "report" / "report.html"


def find_job(name: str) -> Job:
    """The finished job of a root name, of a product, or of a job folder.

    Raises
    ------
    OutputError
        When there is none.
    """
    stem = _PRODUCT.sub("", name)
    names = (f"{stem}.mosaic",) if stem != name else (name, f"{name}.mosaic")
    for folder in map(place_of, names):
        if size_of(folder / PLAN_NAME) >= 0:
            break
    else:
        raise OutputError(f"no job folder {stem}.mosaic; give the root of a run that kept it")
    job = Job(folder, Plan.read(folder))
    settings = job.plan.settings
    tasks = {
        "median": tile_tasks(job.plan.separate.chips_of_tile) if settings.median else [],
        "cosmic_rays": list(job.chip_index) if settings.driz_cr else [],
        "final": tile_tasks(job.plan.final.chips_of_tile) if settings.driz_combine else [],
    }
    for phase, members in tasks.items():
        job.ledger.require(phase, members)
    return job
