"""Starts, watches, stops and takes over the processes of jobs.

One thread turns the wheel. Everything it needs is in the store and the job folders, so that another
service can take over at any time: processes that live are adopted, jobs whose process died are continued
from their ledger. Does not cover what users may ask for (`cluster.jobs.service`).
"""

from __future__ import annotations

import logging
import math
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cluster.jobs.model import Job
from cluster.jobs.progress import Progress, Totals
from cluster.jobs.state import JobEvent, JobState
from cluster.jobs.store import JobStore
from mosaic.errors import MosaicError

LOG: Final = logging.getLogger("mosaic.jobs")
TICK_S: Final = 0.2
"""Time between two looks at the processes."""
GRACE_S: Final = 10.0
"""Time between asking a process to stop and ending it."""
AWAY_S: Final = 30.0
"""Time between two looks for workers that were not there."""
MOST_LOSSES: Final = 3
"""Processes that may die one after the other without finishing a task before the job has failed."""
FORGET_EVERY_S: Final = 600.0
"""Time between two looks for jobs that ended long ago."""
NOT_INHERITED: Final = ("MOSAIC_TOKEN",)
"""Environment that jobs do not get."""
ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Capacity:
    """What jobs may use together."""

    cores: int
    memory_bytes: int
    most_running: int
    """Jobs at a time."""
    most_running_per_user: int


@dataclass(slots=True)
class Running:
    """A job that a process works for."""

    process: subprocess.Popen[bytes] | None
    """The process, when this service started it; None: it was adopted."""
    spawned_s: float
    stop_s: float | None = None
    """When it was asked to stop."""


@dataclass(slots=True)
class Counters:
    """What happened since the service started."""

    retries: int = 0
    """Attempts after the first, whoever asked for them."""
    losses: int = 0
    """Processes that died."""
    totals: Totals = field(default_factory=Totals)
    """Work that was finished while this service watched."""


class Runner:
    """Keeps as many jobs going as fit.

    Parameters
    ----------
    store : JobStore
        The list of jobs.
    capacity : Capacity
        What they may use.
    command : callable, optional
        Job folder -> command line of its process.
    keep_s : float, optional
        How long after its end a job is kept in the list.
    """

    def __init__(
        self,
        store: JobStore,
        capacity: Capacity,
        command: Callable[[Path], list[str]] = lambda folder: [
            sys.executable,
            "-m",
            "cluster.jobs.run_one",
            str(folder),
        ],
        keep_s: float = math.inf,
    ) -> None:
        self.counters = Counters()
        self._keep_s = keep_s
        self._forget_s = 0.0
        self._store = store
        self._capacity = capacity
        self._command = command
        self._running: dict[str, Running] = {}
        self._progress: dict[str, Progress] = {}
        self._not_before: dict[str, float] = {}
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._turn, name="mosaic-jobs", daemon=True)

    def start(self) -> None:
        """Take over what an earlier service left, and begin."""
        for job in (*self._store.queue(), *self._store.in_process()):
            # Somebody asked it to stop, and the service died before it was in the list.
            if job.state is not JobState.CANCELLING and self._store.folder_of(job.id).is_cancelled:
                self._store.apply(job.id, JobEvent.CANCEL)
        for job in self._store.in_process():
            folder = self._store.folder_of(job.id)
            LOG.info("job %s: %s", job.id, "adopted" if folder.is_held else "its process is gone")
            self._running[job.id] = Running(None, 0.0)
        self._thread.start()

    def stop(self) -> None:
        """Stop turning; processes go on and are adopted by the next service."""
        self._is_stopping = True
        self._wake.set()
        self._thread.join()

    def wake(self) -> None:
        """Look at the queue at once."""
        self._wake.set()

    def progress_of(self, job: str) -> Progress:
        """How far a job is, up to its latest event."""
        with self._lock:
            is_watched = job in self._running
            progress = self._progress.get(job) or Progress()
            # Of jobs that are over nothing is kept: there may be thousands.
            if is_watched:
                self._progress[job] = progress
            self._follow(job, progress, is_watched=is_watched)
            return progress

    def speed(self) -> tuple[float, float]:
        """Tiles and pixels a second of all running jobs together."""
        now = time.time()
        with self._lock:
            speeds = [self._progress[job].speed(now) for job in self._running if job in self._progress]
        return sum(speed[0] for speed in speeds), sum(speed[1] for speed in speeds)

    def _turn(self) -> None:
        while not self._is_stopping:
            self._wake.wait(TICK_S)
            self._wake.clear()
            try:
                self.tick()
                if time.monotonic() >= self._forget_s:
                    self._forget_s = time.monotonic() + FORGET_EVERY_S
                    self.forget_old()
            except (OSError, MosaicError, sqlite3.Error):
                LOG.exception("could not look after the jobs; trying again")

    def tick(self) -> None:
        """Look at every process once, then start what fits."""
        with self._lock:
            for job in self._store.in_process():
                self._look_after(job)
            self._start_what_fits()

    def forget_old(self) -> None:
        """Delete the jobs that ended longer ago than they are kept."""
        if math.isinf(self._keep_s):
            return
        for job in self._store.ended_before(time.time() - self._keep_s):
            try:
                self._store.delete(job)
            except (OSError, MosaicError) as error:
                LOG.warning("job %s: not deleted, though it ended long ago: %s", job, error)
            else:
                LOG.info("job %s: deleted, for it ended more than %g days ago", job, self._keep_s / 86400.0)

    def _look_after(self, job: Job) -> None:
        running = self._running.setdefault(job.id, Running(None, 0.0))
        progress = self.progress_of(job.id)
        self._note_progress(job, progress)
        if self._is_alive(job.id, running):
            if job.state is JobState.CANCELLING:
                self._ask_to_stop(job.id, running)
            return
        self._end(job, progress)

    def _is_alive(self, job: str, running: Running) -> bool:
        folder = self._store.folder_of(job)
        if running.process is None:
            return folder.is_held
        # A process that found the job taken by another leaves at once: the other is adopted.
        return running.process.poll() is None or folder.is_held

    def _note_progress(self, job: Job, progress: Progress) -> None:
        changes: dict[str, object] = {}
        if round(progress.done, 3) != round(job.done, 3):
            changes["done"] = progress.done
        peak = progress.plan.get("peak_bytes")
        if peak is not None and job.reserved_bytes != min(peak, job.grant.memory_bytes):
            changes["reserved_bytes"] = min(int(peak), job.grant.memory_bytes)
        if progress.n_new_tasks and job.losses:
            changes["losses"] = 0
        if changes:
            self._store.note(job.id, **changes)

    def _end(self, job: Job, progress: Progress) -> None:
        """Conclude from the files how the process of a job ended."""
        folder = self._store.folder_of(job.id)
        outcome = folder.outcome
        folder.clear_work()
        self._running.pop(job.id)
        self._progress.pop(job.id, None)
        if outcome is not None and outcome["ok"]:
            self._store.apply(job.id, JobEvent.FINISH, done=1.0)
        elif outcome is not None:
            self._store.apply(job.id, JobEvent.FAIL, error=str(outcome["error"]))
        elif job.state is JobState.CANCELLING:
            self._store.apply(job.id, JobEvent.LOSE)
        else:
            self._lose(job, progress)
        LOG.info("job %s: %s", job.id, self._store.get(job.id).state)

    def _lose(self, job: Job, progress: Progress) -> None:
        self.counters.losses += 1
        if progress.away:
            # No fault of the job: it waits for workers as long as nobody cancels it.
            self._store.apply(job.id, JobEvent.LOSE, error=f"waits for workers: {progress.away}")
            self._not_before[job.id] = time.monotonic() + AWAY_S
            return
        losses = 1 if progress.n_new_tasks else job.losses + 1
        if losses >= MOST_LOSSES:
            lines = self._store.folder_of(job.id).log_tail(2000).strip().splitlines()
            last = f" (its last words: {lines[-1][:300]})" if lines else ""
            error = f"its process died {losses} times without finishing a task{last}; see the log, then retry"
            self._store.folder_of(job.id).finish({"ok": False, "error": error, "kind": "lost"})
            self._store.apply(job.id, JobEvent.FAIL, error=error, losses=losses)
            return
        self._store.apply(job.id, JobEvent.LOSE, losses=losses)
        self._not_before[job.id] = time.monotonic() + 2.0 ** (losses - 1) - 1.0

    def _start_what_fits(self) -> None:
        active = self._store.in_process()
        cores = sum(job.grant.cores for job in active)
        memory = sum(job.reserved_bytes for job in active)
        per_user = Counter(job.owner for job in active)
        for job in self._fair_order(per_user):
            if len(active) >= self._capacity.most_running:
                return
            if per_user[job.owner] >= self._capacity.most_running_per_user:
                continue
            if time.monotonic() < self._not_before.get(job.id, 0.0):
                continue
            fits = cores + job.grant.cores <= self._capacity.cores
            fits &= memory + job.grant.memory_bytes <= self._capacity.memory_bytes
            if active and not fits:
                # Smaller jobs behind it must not keep a large one waiting for ever.
                return
            self._spawn(job)
            active.append(job)
            cores += job.grant.cores
            memory += job.grant.memory_bytes
            per_user[job.owner] += 1

    def _fair_order(self, running: Counter[str]) -> list[Job]:
        """Queued jobs: by priority, then those of users with the fewest before them, then the oldest."""
        turns = Counter(running)
        keyed = []
        for job in self._store.queue():
            keyed.append((-job.priority, turns[job.owner], job.seq, job))
            turns[job.owner] += 1
        return [entry[3] for entry in sorted(keyed, key=lambda entry: entry[:3])]

    def _spawn(self, job: Job) -> None:
        folder = self._store.folder_of(job.id)
        if job.attempts:
            self.counters.retries += 1
        environment = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
        # The process has another working directory; it must find the same code.
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, (str(ROOT), os.environ.get("PYTHONPATH", "")))
        )
        self._store.apply(job.id, JobEvent.START, reserved_bytes=job.grant.memory_bytes)
        with folder.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  (our own module, no shell)
                self._command(folder.path),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder.path,
                env=environment,
                start_new_session=True,
            )
        self._running[job.id] = Running(process, time.monotonic())
        LOG.info("job %s: process %d", job.id, process.pid)

    def _ask_to_stop(self, job: str, running: Running) -> None:
        pid = self._store.folder_of(job).pid
        if pid is None and running.process is not None and running.process.poll() is None:
            pid = running.process.pid
        if pid is None:
            return
        now = time.monotonic()
        if running.stop_s is None:
            running.stop_s = now
            _signal_group(pid, signal.SIGTERM)
        elif now - running.stop_s > GRACE_S:
            _signal_group(pid, signal.SIGKILL)

    def _follow(self, job: str, progress: Progress, *, is_watched: bool) -> None:
        folder = self._store.folder_of(job)
        # What was finished before this service began to watch is not its throughput.
        is_new = is_watched and progress.offset > 0
        before = _copy(progress.totals)
        while lines := folder.events(progress.offset):
            for line in lines:
                progress.add(line.event)
                progress.offset = line.end
        if is_new or (is_watched and self._running[job].process is not None):
            self._count(before, progress.totals)

    def _count(self, before: Totals, after: Totals) -> None:
        totals = self.counters.totals
        totals.n_tasks += after.n_tasks - before.n_tasks
        totals.n_tiles += after.n_tiles - before.n_tiles
        totals.pixels += after.pixels - before.pixels
        totals.bytes_read += after.bytes_read - before.bytes_read
        totals.bytes_written += after.bytes_written - before.bytes_written


def _copy(totals: Totals) -> Totals:
    return Totals(totals.n_tasks, totals.n_tiles, totals.pixels, totals.bytes_read, totals.bytes_written)


def _signal_group(pid: int, number: signal.Signals) -> None:
    """Signal a process and those it started; it leads a session of its own."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
