"""Carry out a plan: phases in waves, ready tasks first, nothing more in flight than the workers can hold.

A task starts when the tasks it depends on are in the ledger; once the sky is solved there is no barrier. A
median waits for the mean weights of its own exposures, which the driver keeps as soon as their tiles are
weighed. Tasks that an earlier run finished are not done again. Does not cover where workers come from
(`Backend`).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Protocol

from mosaic.errors import PixelError, RunCancelledError, StoreError
from mosaic.graph.cancel import CancelToken, admit, withdraw
from mosaic.graph.job import Job, TaskLimits, chip_task, tile_task, tile_tasks
from mosaic.graph.ledger import WEIGHT_SOLUTION, WHOLE_JOB
from mosaic.graph.plan import BLOT_MARGIN, Plan
from mosaic.graph.progress import Observer, TaskRecord
from mosaic.graph.sky_tasks import sky_phases, solve_job_sky
from mosaic.graph.tasks import run_task
from mosaic.graph.verify import StoredSizes, is_intact, is_present
from mosaic.graph.weighing import Weighing, exposures_of_tiles, weight_tasks
from mosaic.types import Window

TaskKey = tuple[str, str]

PHASES = (
    "static", "static_mask", "sky", "sky_overlaps", "weights", "single", "median", "cosmic_rays", "final",
)  # fmt: skip
"""Phases that run as tasks, in order."""

COMPARED_BYTES = 2 << 30
"""Bytes of a phase up to which an earlier run is compared with its checksums before it is continued."""


@dataclass(frozen=True, slots=True)
class Task:
    """A unit of work and what must be finished before it."""

    phase: str
    name: str
    after: frozenset[TaskKey] = field(default_factory=frozenset)

    @property
    def key(self) -> TaskKey:
        """Identity of the task within the job."""
        return (self.phase, self.name)


class Backend(Protocol):
    """Runs tasks somewhere."""

    @property
    def capacity(self) -> int:
        """Tasks that may be in flight."""

    def submit(self, key: TaskKey, function: Callable[..., TaskRecord], arguments: Sequence[object]) -> None:
        """Start a task."""

    def next_done(self) -> TaskRecord | None:
        """Wait for a task to finish; its error is raised here. None: `wake` was called."""

    def wake(self) -> None:
        """Make `next_done` return; may be called from any thread."""

    def admit(self, store: str, identity: str) -> None:
        """Let other processes work for one job in its folder, and for none before it."""

    def withdraw(self, store: str) -> None:
        """Stop what runs for a job folder, and start nothing more."""


class SerialBackend:
    """Runs each task when its result is asked for, in this thread."""

    capacity = 1

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[..., TaskRecord], Sequence[object]]] = deque()

    def submit(self, key: TaskKey, function: Callable[..., TaskRecord], arguments: Sequence[object]) -> None:
        """Remember a task."""
        del key
        self._waiting.append((function, arguments))

    def next_done(self) -> TaskRecord:
        """Run the oldest task."""
        function, arguments = self._waiting.popleft()
        return function(*arguments)

    def wake(self) -> None:
        """Nothing waits: the task itself asks whether it is to stop."""

    def admit(self, store: str, identity: str) -> None:
        """All tasks run in this process, which knows already."""

    def withdraw(self, store: str) -> None:
        """Forget what was not run."""
        del store
        self._waiting.clear()


class ThreadBackend:
    """Runs tasks in threads of this process: the kernels leave the interpreter free.

    Parameters
    ----------
    n_threads : int
        Tasks at a time.
    """

    def __init__(self, n_threads: int) -> None:
        self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix="mosaic")
        self._done: SimpleQueue[Future[TaskRecord] | None] = SimpleQueue()
        self.capacity = n_threads

    def submit(self, key: TaskKey, function: Callable[..., TaskRecord], arguments: Sequence[object]) -> None:
        """Queue a task."""
        del key
        self._pool.submit(function, *arguments).add_done_callback(self._done.put)

    def next_done(self) -> TaskRecord | None:
        """Wait for any task."""
        future = self._done.get()
        return None if future is None else future.result()

    def wake(self) -> None:
        """Make `next_done` return."""
        self._done.put(None)

    def admit(self, store: str, identity: str) -> None:
        """All tasks run in this process, which knows already."""

    def withdraw(self, store: str) -> None:
        """Drop what has not started and wait for the rest, which ends at its next strip."""
        del store
        self.close()

    def close(self) -> None:
        """Drop what has not started and wait for the rest."""
        self._pool.shutdown(cancel_futures=True)


_: type[Backend] = SerialBackend
_also: type[Backend] = ThreadBackend


def plan_tasks(job: Job) -> dict[str, list[Task]]:
    """All tasks of a job by phase; phases that are switched off are absent."""
    plan, settings = job.plan, job.plan.settings
    chips = [chip_task(chip) for chip in plan.chips]
    tasks = {"static": [Task("static", chip) for chip in chips]}
    if settings.static:
        tasks["static_mask"] = [
            Task("static_mask", group, frozenset(("static", chips[i]) for i in members))
            for group, members in job.static_groups.items()
        ]
    needs = job.group_of_chip if settings.static else {}
    for phase in sky_phases(settings, len(plan.exposures)):
        tasks[phase] = [
            Task(phase, chip, frozenset({("static_mask", needs[i])} if i in needs else ()))
            for i, chip in enumerate(chips)
        ]
    if settings.median:
        if settings.median_newmasks:
            tasks["weights"] = [Task("weights", name) for name in weight_tasks(plan)]
        solved = [(WEIGHT_SOLUTION, exposure.rootname) for exposure in plan.exposures]
        tasks["median"] = [
            Task(
                "median",
                tile_task(tile),
                frozenset(solved[i] for i in members) if settings.median_newmasks else frozenset(),
            )
            for tile, members in exposures_of_tiles(plan).items()
        ]
    elif job.keeps_singles:
        tasks["single"] = [Task("single", name) for name in tile_tasks(plan.separate.chips_of_tile)]
    if settings.blot:
        medians = {tile: ("median", tile_task(tile)) for tile in plan.separate.chips_of_tile}
        needed = _median_tasks_of(plan, medians)
        tasks["cosmic_rays"] = [Task("cosmic_rays", *pair) for pair in zip(chips, needed, strict=True)]
    if settings.driz_combine:
        masks = [("cosmic_rays", chip) for chip in chips]
        tasks["final"] = [
            Task(
                "final",
                tile_task(tile),
                frozenset(masks[i] for i in members) if settings.driz_cr else frozenset(),
            )
            for tile, members in plan.final.chips_of_tile.items()
        ]
    return tasks


def _median_tasks_of(plan: Plan, keys: Mapping[int, TaskKey]) -> Iterator[frozenset[TaskKey]]:
    """Tasks of the median tiles that each chip is blotted from."""
    reach = int(BLOT_MARGIN) + 1
    for box in plan.separate.box_of_chip:
        grown = Window(box.y0 - reach, box.y1 + reach, box.x0 - reach, box.x1 + reach)
        yield frozenset(keys[tile] for tile in plan.separate.tiles_in(grown) if tile in keys)


def finished_tasks(job: Job, tasks: Mapping[str, Sequence[Task]]) -> set[TaskKey]:
    """Tasks of an earlier run whose chunks are still there, and intact as far as that is quick to tell.

    All chunks must be there in their size. Contents are compared for jobs of up to `COMPARED_BYTES`; those of
    larger ones are compared when they are exported.
    """
    done = set()
    sizes = StoredSizes(job, is_listed=True)
    for phase, members in tasks.items():
        records = job.ledger.read_phase(phase)
        is_quick = sum(record.bytes_written for record in records.values()) <= COMPARED_BYTES
        for task in members:
            record = records.get(task.name)
            if record is not None and is_present(sizes, record) and (not is_quick or is_intact(job, record)):
                done.add(task.key)
    return done


def widest_phase(tasks: Mapping[str, Sequence[Task]], done: set[TaskKey]) -> int:
    """Tasks still to be done in the phase that can keep the most workers busy."""
    return max((sum(task.key not in done for task in members) for members in tasks.values()), default=0)


class _ReadyQueue:
    """Tasks by readiness; later phases first, so that what was computed is used while it is at hand."""

    def __init__(self, tasks: Sequence[Task], done: set[TaskKey]) -> None:
        self._unmet: dict[TaskKey, int] = {}
        self._followers: dict[TaskKey, list[tuple[int, int, Task]]] = {}
        self._ready: list[tuple[int, int, Task]] = []
        self.n_waiting = len(tasks)
        for order, task in enumerate(tasks):
            entry = (-PHASES.index(task.phase), order, task)
            unmet = task.after - done
            self._unmet[task.key] = len(unmet)
            for key in unmet:
                self._followers.setdefault(key, []).append(entry)
            if not unmet:
                heapq.heappush(self._ready, entry)

    def pop(self) -> Task | None:
        """Take the next ready task, if there is one."""
        if not self._ready:
            return None
        self.n_waiting -= 1
        return heapq.heappop(self._ready)[2]

    def finish(self, key: TaskKey) -> None:
        """Release the tasks that waited for this one only."""
        for entry in self._followers.pop(key, ()):
            follower = entry[2].key
            self._unmet[follower] -= 1
            if self._unmet[follower] == 0:
                heapq.heappush(self._ready, entry)


class Driver:
    """Runs the phases of a job on a backend.

    Parameters
    ----------
    job : Job
        The job, its arrays created.
    backend : Backend
        Where tasks run.
    limits : TaskLimits
        Memory of each task.
    observer : Observer
        Told of every finished task.
    cancel : CancelToken, optional
        Asked before every task and while tasks are waited for.
    """

    def __init__(
        self,
        job: Job,
        backend: Backend,
        limits: TaskLimits,
        observer: Observer,
        cancel: CancelToken | None = None,
    ) -> None:
        self._job = job
        self._backend = backend
        self._limits = limits
        self._observer = observer
        self._cancel = cancel or CancelToken()
        self._weighing = Weighing(job)
        self.warnings: list[str] = []
        """What the user should know, once the run is over."""

    def run(self, tasks: Mapping[str, Sequence[Task]], done: set[TaskKey]) -> None:
        """Carry out everything that is not done yet.

        Raises
        ------
        RunCancelledError
            When the run was asked to stop; nothing works for it any longer then.
        MosaicError
            The first error of any task.
        """
        store = self._job.store
        admit(store, self._job.plan.identity)
        self._backend.admit(store, self._job.plan.identity)
        self._cancel.on_cancel(partial(_stop_tasks, store, self._backend))
        try:
            self._run(tasks, done)
        except RunCancelledError:
            self._backend.withdraw(store)
            raise

    def _run(self, tasks: Mapping[str, Sequence[Task]], done: set[TaskKey]) -> None:
        self._run_phases(tasks, ("static", "static_mask", "sky", "sky_overlaps"), done)
        summarise_static(self._job)
        self._solve_sky()
        weighed = [task.name for task in tasks.get("weights", ()) if task.key in done]
        done.update((WEIGHT_SOLUTION, name) for name in self._weighing.resume(weighed))
        self._run_phases(tasks, ("weights", "single", "median", "cosmic_rays", "final"), done)

    def _run_phases(
        self, tasks: Mapping[str, Sequence[Task]], phases: Iterable[str], done: set[TaskKey]
    ) -> None:
        waiting = [task for phase in phases for task in tasks.get(phase, ()) if task.key not in done]
        queue = _ReadyQueue(waiting, done)
        in_flight = 0
        while queue.n_waiting or in_flight:
            self._cancel.raise_if_cancelled()
            while in_flight < self._backend.capacity and (task := queue.pop()) is not None:
                arguments = (self._job.store, self._job.plan.identity, task.phase, task.name, self._limits)
                self._backend.submit(task.key, run_task, arguments)
                in_flight += 1
            if in_flight == 0:
                raise StoreError(f"{queue.n_waiting} tasks wait for tasks that nobody planned; report this")
            record = self._backend.next_done()
            if record is None:
                continue
            in_flight -= 1
            finished = [(record.phase, record.task)]
            if record.phase == "weights":
                finished += [(WEIGHT_SOLUTION, name) for name in self._weighing.add(record)]
            done.update(finished)
            for key in finished:
                queue.finish(key)
            self._observer.task_done(record)

    def _solve_sky(self) -> None:
        warnings = record_sky(self._job)
        self.warnings += warnings
        for line in warnings:
            self._observer.message("WARNING", line)


def record_sky(job: Job) -> tuple[str, ...]:
    """Solve for the sky of every chip, keep it in the ledger, and return what the user should know."""
    solution = solve_job_sky(job)
    facts = {name: [*astuple(level)] for name, level in solution.levels.items()}
    job.ledger.write(TaskRecord("sky_solution", WHOLE_JOB, 0.0, 0, 0, 0, facts={"levels": facts}))
    return tuple(solution.warnings)


def _stop_tasks(store: str, backend: Backend) -> None:
    """Stop the tasks of this process and wake the driver, which stops those of others."""
    withdraw(store)
    backend.wake()


def summarise_static(job: Job) -> None:
    """Gather what the first phase found of each chip in one record, and refuse exposures without any use.

    Raises
    ------
    PixelError
        Naming the first exposure without a single usable pixel.
    """
    records = job.ledger.require("static", [chip_task(chip) for chip in job.plan.chips])
    for exposure in job.plan.exposures:
        n_usable = sum(int(records[chip_task(chip)].facts["n_usable"]) for chip in exposure.chips)
        if n_usable == 0:
            bits = job.plan.settings.final_bits
            raise PixelError(
                exposure.rootname,
                f"no usable pixel: all are flagged or not finite (final_bits={bits!r})",
                "remove it from the list, or call more data-quality bits good",
            )
    counts = [int(record.facts["n_not_finite"]) for record in records.values()]
    job.ledger.write(TaskRecord("static_solution", WHOLE_JOB, 0.0, 0, 0, 0, facts={"n_not_finite": counts}))
