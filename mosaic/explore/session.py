"""The job folders behind lazy datasets: made for one, kept while the process lives or until it is closed.

A dataset names its job folder in its attributes; what belongs to the folder in this process (the lock, the
inputs it was planned from) is found here. Jobs that differ in their final drizzle alone share everything
before it.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mosaic.errors import OutputError, ParameterError
from mosaic.graph.budget import Budget
from mosaic.graph.driver import finished_tasks, plan_tasks
from mosaic.graph.folder import open_folder
from mosaic.graph.job import Job
from mosaic.graph.lock import lock_folder
from mosaic.graph.plan import Plan
from mosaic.graph.progress import SilentObserver
from mosaic.inputs import read_inputs
from mosaic.options import RunOptions
from mosaic.parameters import load_settings
from mosaic.pipeline import ALIGN_FOLDER, align_inputs, budget_of, job_folder, make_plan, ready_kernels
from mosaic.places import Place

if TYPE_CHECKING:
    from mosaic.alignment.settings import AlignParameters

SHARED: Final = (
    "masks.zarr",
    "median.zarr",
    *(
        f"ledger/{phase}"
        for phase in (
            *("static", "static_mask", "static_solution", "sky", "sky_overlaps", "sky_solution"),
            *("weights", "weight_solution", "median", "cosmic_rays"),
        )
    ),
)
"""What of a job folder does not depend on the final drizzle."""


@dataclass(frozen=True)
class Session:
    """A job that is open for lazy datasets."""

    inputs: tuple[str, ...]
    """Inputs as the user named them."""
    parameters: Mapping[str, object]
    """Parameters as the user gave them."""
    options: RunOptions
    """Cores and memory."""
    job: Job
    """The job, its folder locked."""
    budget: Budget
    """Memory of its tasks."""
    warnings: tuple[str, ...]
    """What the user should know."""
    align: AlignParameters | None
    """Parameters of the alignment that comes first; None: there is none."""
    held: ExitStack
    """Lock of the folder, and the folder itself when it is private."""

    @property
    def name(self) -> str:
        """The job folder, by which datasets find their session."""
        return self.job.store


_OPEN: dict[str, Session] = {}
"""Sessions of this process by job folder."""


def find_session(name: str) -> Session:
    """Return the session of a dataset.

    Raises
    ------
    ParameterError
        When the dataset was not opened in this process, or was closed.
    """
    try:
        return _OPEN[name]
    except KeyError:
        raise ParameterError(
            f"{name or 'this dataset'} is not open for computing; open it with mosaic.open_mosaic(...)"
        ) from None


def open_session(
    inputs: tuple[str, ...],
    output: str,
    options: RunOptions,
    parameters: Mapping[str, object],
    base: Session | None = None,
    *,
    align: AlignParameters | None = None,
) -> Session:
    """Plan a job and hold its folder; nothing is computed yet.

    Parameters
    ----------
    inputs : tuple of str
        Exposures, as for `mosaic.drizzle`.
    output : str
        Root of the job folder ``<output>.mosaic``; empty: a private one that goes with the process.
    options : RunOptions
        Cores, memory, tiles; ``restart`` discards what the folder holds.
    parameters : mapping of str to object
        Parameters by DrizzlePac's names.
    base : Session, optional
        A session whose parameters differ in the final drizzle alone: what comes before it is shared with it.
    align : AlignParameters, optional
        Align the exposures first; the solution of `base` is taken over.

    Raises
    ------
    OutputError
        When another process works in the folder.
    MosaicError
        As `mosaic.plan` and `mosaic.drizzle` do.
    """
    settings = load_settings(None, (), **parameters)
    ready_kernels(settings, options, SilentObserver())
    with ExitStack() as stack:
        if not output:
            output = f"{stack.enter_context(tempfile.TemporaryDirectory(prefix='mosaic-explore-'))}/mosaic"
        read = read_inputs(inputs, output, settings, options, is_run=False)
        if align is not None:
            if base is not None:
                _share_alignment(base.job.folder, read.reader.job_folder)
            read, _found = align_inputs(read, align, options, SilentObserver())
        names, plan, notes = make_plan(read, options)
        folder = job_folder(names)
        held = _OPEN.get(str(folder))
        if held is not None:
            if held.job.plan.digest == plan.digest and not options.restart:
                return held
            raise OutputError(f"{folder} is open with other parameters; close that dataset first")
        stack.enter_context(lock_folder(folder))
        if base is not None:
            _share(base.job, plan, folder)
        job = open_folder(folder, plan, restart=options.restart)
        _forget_lost(job)
        budget = budget_of(job.plan, options)
        # Stacks wait for a median that nobody may ask for.
        budget = replace(budget, limits=replace(budget.limits, stack_cache_bytes=0))
        warnings = tuple(dict.fromkeys((*read.catalogue.notes, *notes, *read.reasons)))
        session = Session(inputs, dict(parameters), options, job, budget, warnings, align, stack.pop_all())
    _OPEN[session.name] = session
    return session


def close_session(name: str) -> None:
    """Give a job folder back; a private one is removed. Its datasets cannot compute any more."""
    session = _OPEN.pop(name, None)
    if session is not None:
        session.held.close()


def _share(base: Job, plan: Plan, folder: Place) -> None:
    """Let a new job folder use what another has or will have of the phases before the final drizzle."""
    if _before_final(plan) != _before_final(base.plan):
        raise ParameterError(
            "only parameters of the final drizzle (final_*) can differ from those of the base"
        )
    if not isinstance(folder, Path) or not isinstance(base.folder, Path):
        return  # no links in object stores: it is computed again
    if (folder / "plan.json").exists():
        return
    (folder / "ledger").mkdir(exist_ok=True)
    for name in SHARED:
        source = base.folder / name
        source.mkdir(parents=True, exist_ok=True)
        if not (folder / name).exists():
            (folder / name).symlink_to(source.absolute(), target_is_directory=True)


def _share_alignment(source: Place, target: Place) -> None:
    """Take over the solution of another job folder; it is used when exposures and parameters are the same."""
    from mosaic.alignment.products import SOLUTION_NAME  # noqa: PLC0415

    found = source / ALIGN_FOLDER / SOLUTION_NAME
    if isinstance(found, Path) and isinstance(target, Path) and found.exists():
        (target / ALIGN_FOLDER).mkdir(parents=True, exist_ok=True)
        shutil.copy(found, target / ALIGN_FOLDER)


def _before_final(plan: Plan) -> object:
    """All that the phases before the final drizzle depend on."""
    values = plan.settings.model_dump().items()
    settings = {name: value for name, value in values if not name.startswith("final_") and name != "context"}
    inputs = [(exposure.rootname, exposure.fingerprint) for exposure in plan.exposures]
    return settings, inputs, plan.separate.grid, plan.separate.tile


def _forget_lost(job: Job) -> None:
    """Take the records of tasks out of the ledger whose chunks are gone or damaged: they are done again."""
    tasks = plan_tasks(job)
    done = finished_tasks(job, tasks)
    for phase, members in tasks.items():
        recorded = job.ledger.read_phase(phase)
        for task in members:
            if task.name in recorded and task.key not in done:
                job.ledger.forget(phase, task.name)


@atexit.register
def _close_all() -> None:
    for name in tuple(_OPEN):
        close_session(name)


def sibling(
    session: Session, changes: Mapping[str, object], *, shares: bool, options: RunOptions | None = None
) -> Session:
    """Open a session on the same inputs with other parameters, in a private folder.

    Parameters
    ----------
    session : Session
        The session to start from.
    changes : mapping of str to object
        Parameters by name.
    shares : bool
        Whether only the final drizzle differs, so that everything before it is done once for both.
    options : RunOptions, optional
        Other cores, memory, tiles.
    """
    options = (options or session.options).model_copy(update={"restart": False})
    parameters = {**session.parameters, **changes}
    base = session if shares else None
    return open_session(session.inputs, "", options, parameters, base, align=session.align)
