"""The whole flow, top to bottom: exposures in, science mosaic out."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mosaic.errors import ExposureError, OutputError, ParameterError
from mosaic.exposure.kept_masks import give_kept_masks
from mosaic.exposure.model import Exposure
from mosaic.exposure.sharing import share_copies
from mosaic.exposure.units import product_unit
from mosaic.finish import Finish
from mosaic.geometry.frames import RunGrids, resolve_grids
from mosaic.graph.budget import Budget, choose_tile, plan_budget, plan_cluster_budget
from mosaic.graph.cancel import CancelToken, release
from mosaic.graph.driver import (
    Backend,
    Driver,
    SerialBackend,
    ThreadBackend,
    finished_tasks,
    plan_tasks,
    widest_phase,
)
from mosaic.graph.folder import open_folder
from mosaic.graph.job import Job, forget_job_state, leave_job
from mosaic.graph.lock import lock_folder
from mosaic.graph.memory import MemoryWatch, bound_allocator
from mosaic.graph.plan import Plan, plan_frames
from mosaic.graph.progress import Observer, PhaseTotal, SilentObserver
from mosaic.graph.software import installed_version
from mosaic.headers.rulesets import find_rules_files
from mosaic.inputs import Inputs, read_inputs
from mosaic.options import RunOptions
from mosaic.outcome import PlanReport, Result, StepClock
from mosaic.parameters import apply_peer_quirks, apply_step_gating, load_settings
from mosaic.places import Place, RemotePlace, remove
from mosaic.products.delivery import deliver, folder_on_disk
from mosaic.products.naming import ExposureNames, ProductNames, resolve_product_names
from mosaic.provenance import format_toml, parameters_place, write_parameter_file
from mosaic.settings import Settings

if TYPE_CHECKING:
    from cluster.connect import Workers
    from mosaic.alignment.injob import JobAlignment
    from mosaic.alignment.settings import AlignChoice, AlignParameters

__all__ = [
    "ALIGN_FOLDER",
    "PlanReport",
    "Remap",
    "Result",
    "align_inputs",
    "budget_of",
    "drizzle",
    "job_folder",
    "make_plan",
    "plan",
    "ready_kernels",
]

ALIGN_FOLDER = "align"
"""Folder in the job folder with what an alignment found."""

Remap = Callable[[Sequence[Exposure], RunGrids], Sequence[Exposure]]
"""Replaces the coordinate maps of exposures, given both output frames."""


def plan(
    inputs: str | Sequence[str],
    output: str,
    *,
    options: RunOptions | None = None,
    settings: Settings | None = None,
    align: AlignChoice = None,
    **parameters: object,
) -> PlanReport:
    """Say what `drizzle` would do with the same arguments, without reading a pixel.

    Parameters and errors are those of `drizzle`.
    """
    options = options or RunOptions()
    settings = settings or load_settings(None, (), **parameters)
    aligning = resolve_alignment(align)
    read = read_inputs(inputs, output, settings, options, is_run=False)
    names, made, _notes = make_plan(read, options)
    with _open_workers(options) as workers:
        budget = budget_of(made, options, workers)
    return PlanReport(made, budget, names, read.catalogue.rejected, aligning is not None)


def drizzle(
    inputs: str | Sequence[str],
    output: str,
    *,
    options: RunOptions | None = None,
    observer: Observer | None = None,
    settings: Settings | None = None,
    remap: Remap | None = None,
    align: AlignChoice = None,
    cancel: CancelToken | None = None,
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
    align : bool, mapping or AlignParameters, optional
        Align the exposures first: True, or TweakReg's parameters by name. The inputs stay as they are; the
        solution is kept in the job folder, headerlets (``headerlet=True``) beside the products.
    cancel : CancelToken, optional
        Stops the run from another thread; the same call continues it.
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
        For an exposure that cannot be used or aligned, unless ``options.on_error`` is "skip".
    RunCancelledError
        When `cancel` was used.
    BudgetError, OutputError, PlanMismatchError, StoreError
        As their names say.
    """
    options = options or RunOptions()
    observer = observer or SilentObserver()
    cancel = cancel or CancelToken()
    settings = settings or load_settings(None, (), **parameters)
    start = time.perf_counter()
    aligning = resolve_alignment(align)
    bound_allocator()
    ready_kernels(settings, options, observer)
    with _open_workers(options, partial(observer.message, "WARNING")) as workers:
        run = _Run(options, observer, cancel, start, workers)
        return _drizzle_inputs(read_inputs(inputs, output, settings, options), aligning, run, remap)


def resolve_alignment(align: AlignChoice) -> AlignParameters | None:
    """Checked parameters of the alignment; None when none is wanted, which is known without its settings.

    Raises
    ------
    ParameterError
        As `mosaic.alignment.settings.resolve_align`.
    """
    if align is None or align is False:
        return None
    from mosaic.alignment.settings import resolve_align  # noqa: PLC0415

    return resolve_align(align)


def _drizzle_inputs(read: Inputs, aligning: AlignParameters | None, run: _Run, remap: Remap | None) -> Result:
    """Drizzle what can be drizzled, setting exposures aside one by one where that is asked for."""
    options, observer = run.options, run.observer
    while True:
        if not read.catalogue.exposures and (empty := read.write_empty_product()) is not None:
            observer.message("WARNING", f"wrote {empty} without pixels")
        try:
            run.cancel.raise_if_cancelled()
            if aligning is None:
                return _drizzle_catalogue(read, run, remap)
            return _align_and_drizzle(read, aligning, run, remap)
        except ExposureError as error:
            remaining = read.without(error)
            if options.on_error == "stop" or remaining is None:
                raise
            observer.message("WARNING", f"set aside: {error}")
            read = remaining
            run = replace(run, options=options.model_copy(update={"restart": True}))


def _align_and_drizzle(read: Inputs, aligning: AlignParameters, run: _Run, remap: Remap | None) -> Result:
    """Align, then drizzle with the WCS that was found; headerlets are products."""
    from mosaic.alignment.injob import write_job_headerlets  # noqa: PLC0415

    begun = time.perf_counter()
    read, alignment = align_inputs(read, aligning, run.options, run.observer)
    seconds = time.perf_counter() - begun
    result = _drizzle_catalogue(read, replace(run, start=run.start + seconds), remap)
    folder = result.job_folder.parent
    with folder_on_disk(folder) as local:
        written, notes = write_job_headerlets(alignment, aligning.align, local)
        headerlets = deliver(written, local, folder)
    for line in notes:
        run.observer.message("WARNING", line)
    return replace(
        result,
        products=(*result.products, *headerlets),
        timings=(("Alignment", seconds, ""), *result.timings),
        warnings=(*result.warnings, *notes),
        alignment=alignment.lines,
    )


def align_inputs(
    read: Inputs, aligning: AlignParameters, options: RunOptions, observer: Observer
) -> tuple[Inputs, JobAlignment]:
    """Give exposures the WCS that aligns them; those that cannot be aligned raise, or are set aside.

    Raises
    ------
    AlignmentError
        The first exposure that could not be aligned, unless ``options.on_error`` is "skip".
    MosaicError
        As `mosaic.alignment.injob.align_exposures`.
    """
    from mosaic.alignment import require_libraries  # noqa: PLC0415

    require_libraries()
    from mosaic.alignment.injob import align_exposures  # noqa: PLC0415

    while True:
        folder = read.reader.job_folder / ALIGN_FOLDER
        found = align_exposures(
            read.catalogue.exposures, aligning, options, folder, reuse=not options.restart
        )
        for line in found.lines:
            observer.message("INFO", f"alignment: {line}")
        if not found.failed:
            catalogue = replace(read.catalogue, exposures=found.exposures)
            return replace(read, catalogue=catalogue), found
        remaining = read.without(*found.failed)
        if options.on_error == "stop" or remaining is None:
            raise found.failed[0]
        for error in found.failed:
            observer.message("WARNING", f"set aside: {error}")
        read = remaining


@dataclass(frozen=True, slots=True)
class _Run:
    """How a run is carried out, and who is told."""

    options: RunOptions
    observer: Observer
    cancel: CancelToken
    start: float
    """When it began, by `time.perf_counter`."""
    workers: Workers | None
    """Workers of a cluster; None: those of this machine."""


def _drizzle_catalogue(read: Inputs, run: _Run, remap: Remap | None) -> Result:
    catalogue, options, observer = read.catalogue, run.options, run.observer
    names, made, notes = make_plan(read, options, remap)
    for line in (*catalogue.notes, *notes):
        observer.message("WARNING", line)
    budget = budget_of(made, options, run.workers)
    folder = job_folder(names)
    clock = StepClock(observer)
    with lock_folder(folder), MemoryWatch(observer, budget.granted_bytes) as watch, ExitStack() as held:
        if isinstance(folder, RemotePlace):
            shared = share_copies(made.exposures, read.reader.staging_dir, folder / "inputs")
            made = replace(made, exposures=shared)
        job = open_folder(folder, made, restart=options.restart)
        held.callback(leave_job, job.plan.identity)
        _write_parameters(job, names, read.settings, options)
        _require_disk(job.folder, budget)
        tasks = plan_tasks(job)
        done = finished_tasks(job, tasks)
        counts = {phase: sum(task.key in done for task in members) for phase, members in tasks.items()}
        observer.begin([PhaseTotal(phase, len(members), counts[phase]) for phase, members in tasks.items()])
        clock.add("Initialization", time.perf_counter() - run.start)
        reports = job.plan.settings.report and options.keep_job
        finish = Finish(job, names, clock, budget, tasks=tasks, done=done, with_report=reports)
        try:
            with finish:
                with _open_backend(run, budget, job, widest_phase(tasks, done)) as backend:
                    driver = Driver(job, backend, budget.limits, finish, run.cancel)
                    driver.run(tasks, done)
                forget_job_state()
                products, reported = finish.write(run.cancel)
        finally:
            release(job.store)
        forget_job_state()
        for level, line in reported.messages:
            observer.message(level, line)
    clock.add("Total", time.perf_counter() - run.start)
    observer.end(ok=True)
    if not options.keep_job:
        remove(job.folder)
    return Result(
        tuple(products),
        job.folder,
        clock.rows(),
        watch.peak_bytes,
        budget,
        catalogue.rejected,
        (*catalogue.notes, *notes, *driver.warnings, *reported.problems),
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
    exposures, peculiar = _as_peer(exposures, gated)
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
    made = Plan(gated, exposures, separate, final, installed_version("mosaic-hst"), header_rules)
    return names, made, [*quirks, *notes, *peculiar, *unit.notes]


def _as_peer(exposures: Sequence[Exposure], settings: Settings) -> tuple[tuple[Exposure, ...], list[str]]:
    """Exposures as DrizzlePac has them once it is known which steps are made (``peer_compat``).

    Without rejection it applies the masks that an earlier run left.
    """
    seen = tuple(exposures)
    if not settings.peer_compat or settings.driz_cr or not settings.driz_combine:
        return seen, []
    masked, notes = give_kept_masks(
        seen, Path.cwd(), lambda root, extver: ExposureNames(root).cosmic_ray_mask(extver)
    )
    return tuple(masked), notes


def _write_parameters(job: Job, names: ProductNames, settings: Settings, options: RunOptions) -> None:
    """Write the parameters as they were given, with their sources, so that the run can be repeated."""
    kept = job.folder / "parameters.toml"
    place = kept if options.keep_job else parameters_place(names.folder, names.stem)
    title = (
        f"parameters of {names.stem}, mosaic {job.plan.version}; used again with: mosaic drizzle -c {place}"
    )
    inputs = [exposure.path for exposure in job.plan.exposures]
    text = format_toml(settings, inputs, str(names.place(names.stem)), title)
    write_parameter_file(place, text)


def budget_of(made: Plan, options: RunOptions, workers: Workers | None = None) -> Budget:
    """Fit a plan into what a run grants: the options, or the workers of a cluster; see `plan_budget`."""
    if workers is not None:
        smallest = workers.smallest()
        return plan_cluster_budget(
            made,
            driver_bytes=options.memory,
            worker_bytes=smallest.memory_bytes,
            threads=smallest.n_threads,
        )
    return plan_budget(
        made,
        granted_bytes=options.memory,
        cores=options.cores,
        separate_processes=options.scheduler == "processes",
    )


def job_folder(names: ProductNames) -> Place:
    """Folder of the job that makes products of these names."""
    return names.place(f"{names.rootname}.mosaic")


def _require_disk(folder: Place, budget: Budget) -> None:
    needed = budget.scratch_bytes + budget.product_bytes
    if not isinstance(folder, Path):
        # Products are written on a disk and sent from there; the object store holds the rest.
        folder, needed = Path(tempfile.gettempdir()), budget.product_bytes
    free = shutil.disk_usage(folder).free
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
def _open_workers(options: RunOptions, say: Callable[[str], None] | None = None) -> Iterator[Workers | None]:
    """Workers of the cluster that was asked for; none when this machine does the work."""
    if not options.is_cluster:
        yield None
        return
    from cluster.connect import open_workers  # noqa: PLC0415
    from cluster.spec import ClusterSpec  # noqa: PLC0415

    with open_workers(ClusterSpec.from_options(options), say) as workers:
        yield workers


@contextmanager
def _open_backend(run: _Run, budget: Budget, job: Job, n_tasks: int) -> Iterator[Backend]:
    options = run.options
    if options.scheduler == "serial":
        yield SerialBackend()
        return
    if options.scheduler == "threads":
        with closing(ThreadBackend(budget.n_parallel)) as threads:
            yield threads
        return
    from cluster.connect import open_workers  # noqa: PLC0415
    from cluster.spec import ClusterSpec  # noqa: PLC0415
    from mosaic.graph.backend import DaskBackend  # noqa: PLC0415

    with ExitStack() as stack:
        workers = run.workers
        if workers is None:
            granted = options.model_copy(update={"cores": budget.n_parallel})
            workers = stack.enter_context(open_workers(ClusterSpec.from_options(granted)))
        workers.scale(n_tasks)
        yield stack.enter_context(closing(DaskBackend(workers, job.plan.identity, run.observer)))
