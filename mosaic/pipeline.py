"""The whole flow, top to bottom: exposures in, science mosaic out."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from mosaic.errors import ExposureError, OutputError, ParameterError
from mosaic.exposure.model import Exposure
from mosaic.exposure.units import product_unit
from mosaic.geometry.frames import RunGrids, resolve_grids
from mosaic.graph.budget import Budget, choose_tile, plan_budget
from mosaic.graph.driver import Backend, Driver, SerialBackend, ThreadBackend, finished_tasks, plan_tasks
from mosaic.graph.folder import lock_folder, open_folder
from mosaic.graph.job import Job, forget_job_state
from mosaic.graph.memory import MemoryWatch, bound_allocator
from mosaic.graph.plan import Plan, plan_frames
from mosaic.graph.progress import Observer, PhaseTotal, SilentObserver, TaskRecord
from mosaic.headers.rulesets import find_rules_files
from mosaic.inputs import Inputs, read_inputs
from mosaic.options import RunOptions
from mosaic.parameters import apply_peer_quirks, apply_step_gating, load_settings
from mosaic.products.export import export_intermediates, export_products
from mosaic.products.naming import ProductNames, resolve_product_names
from mosaic.products.update import update_inputs, write_cleaned
from mosaic.provenance import format_toml, parameters_path, write_parameter_file
from mosaic.settings import Settings

Remap = Callable[[Sequence[Exposure], RunGrids], Sequence[Exposure]]
"""Replaces the coordinate maps of exposures, given both output frames."""

STEP_OF_PHASE = {
    "static": "Static Mask",
    "static_mask": "Static Mask",
    "sky": "Subtract Sky",
    "sky_overlaps": "Subtract Sky",
    "weights": "Separate Drizzle",
    "single": "Separate Drizzle",
    "median": "Create Median",
    "cosmic_rays": "Blot and Driz_CR",
    "final": "Final Drizzle",
}
"""DrizzlePac's name of the step that a phase belongs to (separate drizzle and median are one pass)."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run made."""

    products: tuple[Path, ...]
    """Product files, and intermediates when they were asked for."""
    job_folder: Path
    """Stores, ledger and plan."""
    timings: tuple[tuple[str, float, str], ...]
    """Step, seconds of work summed over its tasks (wall time for Initialization, Export and Total), note."""
    peak_memory_bytes: int
    """Largest memory of all processes of the run together, as seen by sampling."""
    budget: Budget
    """What was stated before the run."""
    rejected: tuple[ExposureError, ...] = ()
    """Exposures that were set aside, and why."""
    warnings: tuple[str, ...] = ()
    """What the user should know."""


@dataclass(frozen=True, slots=True)
class PlanReport:
    """What a run would do."""

    plan: Plan
    budget: Budget
    names: ProductNames
    rejected: tuple[ExposureError, ...]

    def as_rows(self) -> list[tuple[str, str]]:
        """Label and value, one row each."""
        final, separate = self.plan.final, self.plan.separate
        shape = final.grid.shape_yx
        mib = 1 << 20
        return [
            ("exposures", f"{len(self.plan.exposures)} with {len(self.plan.chips)} chips"),
            ("set aside", "; ".join(str(error) for error in self.rejected) or "none"),
            (
                "product",
                str(self.names.path(self.names.built if self.plan.settings.build else self.names.stem)),
            ),
            ("frame", f"{shape.nx} x {shape.ny} pixels of {final.grid.scale_arcsec:.6g} arcsec"),
            ("centre", "RA {:.7f} Dec {:+.7f}".format(*final.grid.crval_deg)),
            ("position angle of +y", f"{final.grid.orientat_deg:.4f} deg"),
            ("tiles", f"{len(final.chips_of_tile)} of {final.tile} px, median {len(separate.chips_of_tile)}"),
            ("tasks at a time", str(self.budget.n_parallel)),
            (
                "peak memory",
                f"{self.budget.peak_bytes / mib:.0f} MiB of {self.budget.granted_bytes / mib:.0f} MiB",
            ),
            ("scratch disk", f"{self.budget.scratch_bytes / mib:.0f} MiB"),
            ("product disk", f"{self.budget.product_bytes / mib:.0f} MiB"),
            ("estimated time", f"{estimate_seconds(self.plan, self.budget):.0f} s with compiled kernels"),
        ]


SECONDS_PER_INPUT_PIXEL = 4.5e-7
"""Work of all phases per input pixel with the default parameters, one core (measured)."""


def estimate_seconds(plan: Plan, budget: Budget) -> float:
    """Rough wall time of a run."""
    pixels = sum(chip.shape_yx.ny * chip.shape_yx.nx for chip in plan.chips)
    return 3.0 + pixels * SECONDS_PER_INPUT_PIXEL / budget.n_parallel


def plan(
    inputs: str | Sequence[str],
    output: str,
    *,
    options: RunOptions | None = None,
    settings: Settings | None = None,
    **parameters: object,
) -> PlanReport:
    """Say what `drizzle` would do with the same arguments, without reading a pixel.

    Parameters and errors are those of `drizzle`.
    """
    options = options or RunOptions()
    settings = settings or load_settings(None, (), **parameters)
    read = read_inputs(inputs, output, settings, options, is_run=False)
    names, made, _notes = make_plan(read, options)
    return PlanReport(made, budget_of(made, options), names, read.catalogue.rejected)


def drizzle(
    inputs: str | Sequence[str],
    output: str,
    *,
    options: RunOptions | None = None,
    observer: Observer | None = None,
    settings: Settings | None = None,
    remap: Remap | None = None,
    **parameters: object,
) -> Result:
    """Combine exposures into a mosaic: AstroDrizzle's steps, in parallel, within a memory budget.

    Parameters
    ----------
    inputs : str or sequence of str
        Exposures: files, globs, @lists, directories.
    output : str
        Root of the product names; the job folder is ``<root>.mosaic`` beside them.
    options : RunOptions, optional
        Cores, memory, scheduler, what to do with bad exposures.
    observer : Observer, optional
        Told of the progress.
    settings : Settings, optional
        Checked parameters; else `parameters` are used.
    remap : callable, optional
        Replaces the coordinate maps of the exposures, the frames being made from their own.
    **parameters
        Parameters by DrizzlePac's names.

    Returns
    -------
    Result
        Products, timings, peak memory, exposures set aside.

    Raises
    ------
    ParameterError
        For an unknown parameter or an impossible value.
    ExposureError
        For an exposure that cannot be used, unless ``options.on_error`` is "skip".
    BudgetError, OutputError, PlanMismatchError, StoreError
        As their names say.
    """
    options = options or RunOptions()
    observer = observer or SilentObserver()
    settings = settings or load_settings(None, (), **parameters)
    start = time.perf_counter()
    bound_allocator()
    ready_kernels(settings, options, observer)
    read = read_inputs(inputs, output, settings, options)
    while True:
        if not read.catalogue.exposures and (empty := read.write_empty_product()) is not None:
            observer.message("WARNING", f"wrote {empty} without pixels")
        try:
            return _drizzle_catalogue(read, options, observer, start, remap)
        except ExposureError as error:
            remaining = read.without(error)
            if options.on_error == "stop" or remaining is None:
                raise
            observer.message("WARNING", f"set aside: {error}")
            read = remaining
            options = options.model_copy(update={"restart": True})


def _drizzle_catalogue(
    read: Inputs, options: RunOptions, observer: Observer, start: float, remap: Remap | None
) -> Result:
    catalogue = read.catalogue
    names, made, notes = make_plan(read, options, remap)
    for line in (*catalogue.notes, *notes):
        observer.message("WARNING", line)
    budget = budget_of(made, options)
    clock = _StepClock(observer)
    with lock_folder(job_folder(names)), MemoryWatch(observer, budget.granted_bytes) as watch:
        job = open_folder(job_folder(names), made, restart=options.restart)
        _write_parameters(job, names, read.settings, options)
        _require_disk(job.folder, budget)
        tasks = plan_tasks(job)
        done = finished_tasks(job, tasks)
        counts = {phase: sum(task.key in done for task in members) for phase, members in tasks.items()}
        observer.begin([PhaseTotal(phase, len(members), counts[phase]) for phase, members in tasks.items()])
        clock.add("Initialization", time.perf_counter() - start)
        with _open_backend(options, budget, job) as backend:
            driver = Driver(job, backend, budget.limits, clock)
            driver.run(tasks, done)
        finishing = time.perf_counter()
        forget_job_state()
        products = export_products(job, names, budget.n_exports) if made.settings.driz_combine else []
        if not made.settings.clean:
            products += export_intermediates(job, names)
        products += write_cleaned(job, names)
        products += update_inputs(job, names)
        clock.add("Export", time.perf_counter() - finishing)
        reporting = time.perf_counter()
        remarks = _report(job, names, options, observer)
        clock.add("Report", time.perf_counter() - reporting)
    clock.add("Total", time.perf_counter() - start)
    observer.end(ok=True)
    if not options.keep_job:
        shutil.rmtree(job.folder)
    return Result(
        tuple(products),
        job.folder,
        clock.rows(),
        watch.peak_bytes,
        budget,
        catalogue.rejected,
        (*catalogue.notes, *notes, *driver.warnings, *remarks),
    )


def _report(job: Job, names: ProductNames, options: RunOptions, observer: Observer) -> list[str]:
    """Write the quality report into the job folder, tell what is bad, and return why there is none."""
    if not job.plan.settings.report or not options.keep_job:
        return []
    # Imported when used: pictures take their time to load.
    from mosaic.quality.report import report_job  # noqa: PLC0415

    report, problem = report_job(job, names.rootname)
    forget_job_state()
    if report is None:
        observer.message("WARNING", problem)
        return [problem]
    for check in report.with_verdict("bad"):
        observer.message("WARNING", f"{check.title}: {check.shown}; {check.advice}")
    n_bad, n_look = len(report.with_verdict("bad")), len(report.with_verdict("look"))
    page = job.folder / "report" / "report.html"
    observer.message("INFO", f"quality report {page}: {n_bad} bad, {n_look} worth a look")
    return []


class _StepClock(SilentObserver):
    """Adds up the seconds of each step, and passes everything on."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._seconds: dict[str, float] = {}

    def add(self, step: str, seconds: float) -> None:
        self._seconds[step] = self._seconds.get(step, 0.0) + seconds

    def task_done(self, record: TaskRecord) -> None:
        self.add(STEP_OF_PHASE[record.phase], record.seconds)
        self._observer.task_done(record)

    def rows(self) -> tuple[tuple[str, float, str], ...]:
        order = ["Initialization", *dict.fromkeys(STEP_OF_PHASE.values()), "Export", "Report", "Total"]
        return tuple(
            (step, self._seconds.get(step, 0.0), "" if step in self._seconds else "off or done before")
            for step in order
        )


def make_plan(
    read: Inputs, options: RunOptions, remap: Remap | None = None
) -> tuple[ProductNames, Plan, list[str]]:
    """Names of the products, the plan, and what the user should know, of inputs that were read.

    Raises
    ------
    ParameterError
        When no exposure is left, or the frame or the steps are impossible.
    """
    exposures, settings = read.catalogue.exposures, read.settings
    if not exposures:
        reasons = "; ".join(read.reasons)
        raise ParameterError(f"no exposure is left to drizzle{': ' + reasons if reasons else ''}")
    quirky, quirks = apply_peer_quirks(settings)
    gated, notes = apply_step_gating(quirky, len(exposures))
    grids = resolve_grids([chip.wcs for exposure in exposures for chip in exposure.chips], gated)
    exposures = tuple(exposures if remap is None else remap(exposures, grids))
    chips = tuple(chip for exposure in exposures for chip in exposure.chips)
    tile = choose_tile(options.tile, options.memory)
    separate, final = plan_frames(chips, gated, grids, tile)
    names = resolve_product_names(
        read.output,
        exposures[0].filename,
        instrument=exposures[0].instrument,
        n_exposures=len(exposures),
        association=read.product,
    )
    folder = Path.cwd() if gated.peer_compat else None
    files = find_rules_files(gated.rules_file, [exposure.instrument for exposure in exposures], folder)
    header_rules = tuple((file.name, file.text, file.instrument) for file in files)
    unit = product_unit(chips, gated.proc_unit, peer_compat=gated.peer_compat)
    made = Plan(gated, exposures, separate, final, version("mosaic-hst"), header_rules)
    return names, made, [*quirks, *notes, *unit.notes]


def _write_parameters(job: Job, names: ProductNames, settings: Settings, options: RunOptions) -> None:
    """Write the parameters as they were given, with their sources, so that the run can be repeated."""
    kept = job.folder / "parameters.toml"
    path = kept if options.keep_job else parameters_path(names.folder, names.stem)
    title = (
        f"parameters of {names.stem}, mosaic {job.plan.version}; used again with: mosaic drizzle -c {path}"
    )
    inputs = [exposure.path for exposure in job.plan.exposures]
    text = format_toml(settings, inputs, str(names.path(names.stem)), title)
    write_parameter_file(path, text)


def budget_of(made: Plan, options: RunOptions) -> Budget:
    """Fit a plan into what the options of a run grant; see `plan_budget`."""
    return plan_budget(
        made,
        granted_bytes=options.memory,
        cores=options.cores,
        separate_processes=options.scheduler not in {"threads", "serial"},
    )


def job_folder(names: ProductNames) -> Path:
    """Folder of the job that makes products of these names."""
    return names.path(f"{names.rootname}.mosaic")


def _require_disk(folder: Path, budget: Budget) -> None:
    free = shutil.disk_usage(folder).free
    needed = budget.scratch_bytes + budget.product_bytes
    if free < needed // 2:
        raise OutputError(
            f"disk full: {folder} has {free / 2**20:.0f} MiB free, this job takes up to "
            f"{needed / 2**20:.0f} MiB; "
            "free some space, choose another output folder, or do without the context image (context=False)"
        )


def ready_kernels(settings: Settings, options: RunOptions, observer: Observer) -> None:
    """Compile what the run needs, if this machine never did; the workers of a cluster do so themselves."""
    # The composition root of a run: only here and below are the packages of workers and clusters known.
    from workers.warmup import ensure_compiled, parts_of  # noqa: PLC0415

    if not options.is_cluster and ensure_compiled(parts_of(settings)):
        observer.message("INFO", "compiled the kernels for this machine, once")


@contextmanager
def _open_backend(options: RunOptions, budget: Budget, job: Job) -> Iterator[Backend]:
    if options.scheduler == "serial":
        yield SerialBackend()
        return
    if options.scheduler == "threads":
        with closing(ThreadBackend(budget.n_parallel)) as threads:
            yield threads
        return
    from cluster.connect import open_client  # noqa: PLC0415
    from cluster.spec import ClusterSpec  # noqa: PLC0415
    from mosaic.graph.backend import DaskBackend  # noqa: PLC0415

    granted = options.model_copy(update={"cores": budget.n_parallel})
    with open_client(ClusterSpec.from_options(granted)) as client:
        yield DaskBackend(client, job.plan.digest)
