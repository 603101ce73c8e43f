"""What users may ask of the job service, and what they may not: submit, look, cancel, retry.

Covers roles, places, limits and the resolution of a request into what a job process runs. Knows nothing
of HTTP.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from cluster.jobs.model import (
    Grant,
    Job,
    JobRequest,
    Problem,
    check_alignment,
    check_options,
    check_parameters,
    parse_memory_size,
)
from cluster.jobs.places import Places, is_bucket
from cluster.jobs.runner import Capacity, Runner
from cluster.jobs.state import ACTIVE, IllegalTransitionError, JobEvent
from cluster.jobs.store import Filter, JobNotFoundError, JobStore, Submission
from cluster.jobs.tokens import Caller
from mosaic.errors import MosaicError, ParameterError
from mosaic.places import get, place_of, size_of
from mosaic.retries import io_errors
from mosaic.settings import Settings

LOG: Final = logging.getLogger("mosaic.jobs")
MOST_USERS: Final = 10_000
"""Users whose requests are counted at a time."""
MOST_REPORT_BYTES: Final = 64 << 20


class RefusedError(MosaicError):
    """Raised when the role of the caller does not allow what was asked for."""


class TooManyRequestsError(MosaicError):
    """Raised when submissions come faster than allowed: wait, then go on.

    Parameters
    ----------
    wait_s : float
        How long to wait, seconds.
    """

    def __init__(self, wait_s: float) -> None:
        self.wait_s = wait_s
        super().__init__(f"too many requests; wait {wait_s:.0f} s")


class InvalidRequestError(MosaicError):
    """Raised when a request cannot be carried out as it is.

    Parameters
    ----------
    problems : sequence of Problem
        Everything that is wrong.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{field}: {message}" for field, message in problems))


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """How the service is set up."""

    state: Path
    """Folder of its own state; jobs cannot read or write it."""
    input_roots: tuple[Path, ...]
    output_roots: tuple[Path, ...]
    capacity: Capacity
    buckets: frozenset[str] = frozenset()
    """Buckets that everybody may read."""
    output_buckets: tuple[str, ...] = ()
    """Buckets for products; below the name of a user only that user reads and writes."""
    scheduler: str = "threads"
    """Where tasks run: as for ``mosaic drizzle --scheduler``."""
    job_memory_bytes: int = 2 << 30
    """Memory of a job that asks for none."""
    keep_s: float = math.inf
    """How long after its end a job is kept in the list."""
    most_active_per_user: int = 1000
    submissions_per_minute: float = 120.0
    burst: int = 60
    """Submissions that may come at once."""
    dashboard: str = ""
    """Address of the Dask dashboard, shown on the page."""

    def __post_init__(self) -> None:
        """Refuse roots that would let jobs into the state of the service, and buckets that cannot be."""
        state = self.state.resolve()
        for root in (*self.input_roots, *self.output_roots):
            resolved = root.resolve()
            if not resolved.is_dir():
                raise ParameterError(f"root {root} is not a folder; make it first")
            if state == resolved or resolved in state.parents or state in resolved.parents:
                raise ParameterError(
                    f"root {root} and the state folder {self.state} lie within each other; separate them"
                )
        for bucket in (*self.buckets, *self.output_buckets):
            if not is_bucket(bucket):
                raise ParameterError(f"{bucket!r} is not the name of a bucket; give it without s3:// and key")
        if not self.output_roots and not self.output_buckets:
            raise ParameterError("no output root or bucket is given: jobs could write nowhere")


@dataclass(slots=True)
class RateLimit:
    """So many requests of each user at once, and so many a second from then on.

    Parameters
    ----------
    rate : float
        Requests a second.
    burst : int
        Requests at once.
    clock : callable, optional
        Seconds that only grow.
    """

    rate: float
    burst: int
    clock: Callable[[], float] = time.monotonic
    _levels: dict[str, tuple[float, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, user: str) -> None:
        """Count one request.

        Raises
        ------
        TooManyRequestsError
            When there were too many.
        """
        with self._lock:
            now = self.clock()
            level, then = self._levels.get(user, (float(self.burst), now))
            level = min(float(self.burst), level + (now - then) * self.rate)
            if level < 1.0:
                raise TooManyRequestsError((1.0 - level) / self.rate)
            if len(self._levels) > MOST_USERS:
                self._levels.clear()
            self._levels[user] = (level - 1.0, now)


class JobService:
    """The service behind the HTTP front.

    Parameters
    ----------
    config : ServiceConfig
        How it is set up.
    store : JobStore
        The list of jobs.
    runner : Runner
        Who runs them.
    """

    def __init__(self, config: ServiceConfig, store: JobStore, runner: Runner) -> None:
        self.config = config
        self.store = store
        self.runner = runner
        self._limit = RateLimit(config.submissions_per_minute / 60.0, config.burst)

    def check(self, caller: Caller, request: JobRequest) -> dict[str, Any]:
        """Resolve a request into what a job process runs, or say everything that is wrong with it.

        Raises
        ------
        InvalidRequestError
            Naming every part that is wrong.
        RefusedError
            When the priority is that of an operator.
        """
        if request.priority > 0 and not caller.is_operator:
            raise RefusedError("priority: above 0 is for operators")
        places = self.places_of(caller)
        settings, problems = check_parameters(request.parameters)
        problems += check_options(request)
        inputs = []
        for entry in request.inputs:
            try:
                inputs.append(places.resolve_input(entry))
            except ParameterError as error:
                problems.append(Problem("inputs", str(error)))
        output, parameters = "", dict[str, object](request.parameters)
        try:
            output = places.resolve_output(request.output)
        except ParameterError as error:
            problems.append(Problem("output", str(error)))
        try:
            parameters = places.resolve_parameters(parameters)
        except ParameterError as error:
            name, colon, text = str(error).partition(": ")
            problems.append(
                Problem(name if colon and name.isidentifier() else "parameters", text or str(error))
            )
        align: bool | dict[str, object] = False
        problems += check_alignment(request.align)
        try:
            align = places.resolve_alignment(request.align)
        except ParameterError as error:
            name, _, text = str(error).partition(": ")
            problems.append(Problem(f"align.{name}", text))
        if settings is not None:
            problems += _writes_to_inputs(settings, inputs, places)
        if not problems:
            problems += self._beyond_capacity(request)
        if problems or settings is None:
            raise InvalidRequestError(problems)
        grant = self._grant(request, settings.num_cores)
        options = {
            "cores": grant.cores,
            "memory": grant.memory_bytes,
            "tile": request.tile,
            "on_error": request.on_error,
            "restart": request.restart,
            "scheduler": self.config.scheduler,
        }
        return {
            "inputs": inputs,
            "output": output,
            "parameters": parameters,
            "align": align,
            "options": options,
        }

    def submit(self, caller: Caller, request: JobRequest, key: str | None = None) -> tuple[Job, bool]:
        """Put a job into the queue.

        Returns
        -------
        tuple of (Job, bool)
            The job, and whether it is new.

        Raises
        ------
        TooManyRequestsError, RefusedError, InvalidRequestError, ConflictError, LimitError
            As their names say.
        """
        self._limit.take(caller.owner)
        resolved = self.check(caller, request)
        places = self.places_of(caller)
        document = {
            "request": request.model_dump(mode="json"),
            "resolved": resolved,
            "places": places.document(),
        }
        grant = Grant(resolved["options"]["cores"], resolved["options"]["memory"])
        submission = Submission(caller.owner, request.priority, resolved["output"], grant, document, key)
        job, is_new = self.store.submit(submission, most_active=self.config.most_active_per_user)
        if is_new:
            self.store.folder_of(job.id).append("state", state=str(job.state), error="", attempts=0)
            self.runner.wake()
        return job, is_new

    def places_of(self, caller: Caller) -> Places:
        """Where jobs of a caller may read and write."""
        config = self.config
        owner = "" if caller.is_operator else caller.owner
        return Places(config.input_roots, config.output_roots, config.buckets, owner, config.output_buckets)

    def get(self, caller: Caller, job: str) -> Job:
        """Find a job the caller may see.

        Raises
        ------
        JobNotFoundError
            When there is none, or it belongs to somebody else: which of both is not told.
        """
        found = self.store.get(job)
        if not caller.is_operator and found.owner != caller.owner:
            raise JobNotFoundError(f"no job {job!r}; see the list of jobs")
        return found

    def read_report(self, job: Job) -> bytes | None:
        """Quality report that a run left; None when there is none, or none that can be read.

        It lies where the outcome of the job says, which counts only for places that its owner may write to.
        """
        folder = self.store.folder_of(job.id)
        outcome = folder.outcome or {}
        owner = Places.of_document(folder.read()["places"]).owner
        config = self.config
        places = Places((), config.output_roots, owner=owner, output_buckets=config.output_buckets)
        try:
            page = place_of(places.resolve_output(str(outcome.get("folder", "")))) / "report" / "report.html"
            if isinstance(page, Path) and Path(os.path.realpath(page)) != page:
                return None
            return get(page) if 0 < size_of(page) <= MOST_REPORT_BYTES else None
        except ParameterError as error:
            LOG.warning("job %s: no report: %s", job.id, error)
        except io_errors() as error:
            LOG.warning("job %s: its report cannot be read: %s", job.id, error)
        return None

    def find(self, caller: Caller, wanted: Filter) -> list[Job]:
        """Jobs the caller may see, newest first."""
        return self.store.find(wanted if caller.is_operator else replace(wanted, owner=caller.owner))

    def cancel(self, caller: Caller, job: str) -> Job:
        """Stop a job; asking twice is the same as once.

        Raises
        ------
        JobNotFoundError, IllegalTransitionError
            When there is no such job, or it has ended.
        """
        self.get(caller, job)
        changed = self.store.apply(job, JobEvent.CANCEL)
        self.runner.wake()
        return changed

    def retry(self, caller: Caller, job: str) -> Job:
        """Queue a failed or cancelled job again; it continues from what is finished.

        Raises
        ------
        JobNotFoundError, IllegalTransitionError, ConflictError
            When there is no such job, it did not fail, or its output is in use.
        """
        self._limit.take(caller.owner)
        found = self.get(caller, job)
        for other in self.store.find(Filter(states=sorted(ACTIVE), limit=-1)):
            if other.output == found.output and other.id != job:
                raise IllegalTransitionError(f"job {other.id} writes to {found.output}; wait for it")
        changed = self.store.apply(job, JobEvent.RETRY)
        self.runner.wake()
        return changed

    def delete(self, caller: Caller, job: str) -> None:
        """Forget a job that has ended; its products stay, and so does the job folder of the mosaic.

        Raises
        ------
        JobNotFoundError, IllegalTransitionError
            When there is no such job, or it has not ended.
        """
        self.get(caller, job)
        self.store.delete(job)
        LOG.info("job %s: deleted by %s", job, caller.owner)

    def _grant(self, request: JobRequest, num_cores: int | None) -> Grant:
        capacity = self.config.capacity
        memory = self.config.job_memory_bytes if request.memory is None else parse_memory_size(request.memory)
        cores = request.cores or num_cores or capacity.cores
        return Grant(min(cores, capacity.cores), min(memory, capacity.memory_bytes))

    def _beyond_capacity(self, request: JobRequest) -> list[Problem]:
        capacity = self.config.capacity
        problems = []
        if request.cores is not None and request.cores > capacity.cores:
            problems.append(
                Problem("cores", f"{request.cores} are more than the {capacity.cores} of the service")
            )
        if request.memory is not None and parse_memory_size(request.memory) > capacity.memory_bytes:
            problems.append(
                Problem("memory", f"more than the {capacity.memory_bytes >> 20} MiB of the service")
            )
        return problems


def _writes_to_inputs(settings: Settings, inputs: Sequence[str], places: Places) -> list[Problem]:
    """Refuse parameters that change the inputs, unless all of them lie where the user may write."""
    changes = {
        "dq_update": settings.dq_update == "inplace",
        "restore": settings.restore,
        "overwrite": settings.overwrite,
    }
    if not any(changes.values()):
        return []
    own = replace(places, input_roots=())
    is_own = not any("://" in entry or entry.startswith("@") for entry in inputs)
    try:
        for entry in inputs:
            own.resolve_input(entry)
    except ParameterError:
        is_own = False
    reason = "changes the inputs: allowed only for files in your own output folder"
    return [] if is_own else [Problem(name, reason) for name, is_set in changes.items() if is_set]
