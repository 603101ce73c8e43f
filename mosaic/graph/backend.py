"""Dask as the engine of the driver: futures that return small records, as many in flight as allowed.

Covers what to do when a task fails for a reason that passes, when a worker dies under a task, and when the
scheduler is lost: the ledger holds what is finished, so the rest is submitted again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol

from distributed import Client, Future
from distributed.scheduler import KilledWorker

from mosaic.errors import ClusterError
from mosaic.graph import cancel
from mosaic.graph.driver import Backend, TaskKey
from mosaic.graph.job import leave_job
from mosaic.graph.progress import Observer, TaskRecord
from mosaic.retries import MOST_TRIES, backoff_seconds, is_transient

QUEUED_PER_WORKER_THREAD = 2
"""Tasks submitted ahead for every worker thread, so that none waits for the driver."""
LOOK_S = 5.0
"""Time without a finished task after which the driver looks whether there are workers."""


class WorkerPool(Protocol):
    """Where workers come from, as far as a backend must know."""

    client: Client
    n_threads: int

    def reconnect(self) -> Client:
        """Return a new client after the scheduler was lost."""

    @property
    def wait_s(self) -> float:
        """Seconds without any worker after which a run gives up."""


@dataclass(frozen=True, slots=True)
class _Submission:
    """A task that was sent, and what it takes to send it again."""

    key: TaskKey
    function: Callable[..., TaskRecord]
    arguments: Sequence[object]
    n_tries: int = 1


class DaskBackend:
    """Runs tasks on the workers of a Dask client.

    Parameters
    ----------
    pool : WorkerPool
        Workers, and how to find them again.
    identity : str
        Identity of the job, part of every key.
    observer : Observer
        Told of what was done again, and why.
    """

    def __init__(self, pool: WorkerPool, identity: str, observer: Observer) -> None:
        self._pool = pool
        self._identity = identity
        self._observer = observer
        self._client = pool.client
        self._pending: dict[Future, _Submission] = {}
        self._done: SimpleQueue[Future | None] = SimpleQueue()
        self._later: list[tuple[float, _Submission]] = []
        self._admitted: tuple[str, str] = ("", "")
        self._without_workers_since: float | None = None

    @property
    def capacity(self) -> int:
        """Tasks that may be in flight: enough for all who are there and to call those who are not."""
        return max(1, self._pool.n_threads * QUEUED_PER_WORKER_THREAD)

    def submit(self, key: TaskKey, function: Callable[..., TaskRecord], arguments: Sequence[object]) -> None:
        """Send a task to the scheduler under a key that is the same whenever this job is continued."""
        self._send(_Submission(key, function, arguments))

    def _send(self, task: _Submission) -> None:
        # A task that failed is sent under a new key: the scheduler remembers the failure of the old one.
        again = f"-{task.n_tries}" if task.n_tries > 1 else ""
        name = f"mosaic-{task.key[0]}-{task.key[1]}-{self._identity}{again}"
        future = self._client.submit(task.function, *task.arguments, key=name, pure=False)
        self._pending[future] = task
        future.add_done_callback(self._done.put)

    def next_done(self) -> TaskRecord | None:
        """Wait for any task and give its record, or raise its error; None: look again."""
        self._send_delayed()
        wait_s = min([LOOK_S, *(max(0.0, due - time.monotonic()) for due, _task in self._later)])
        try:
            future = self._done.get(timeout=wait_s)
        except Empty:
            self._look_for_workers()
            return None
        if future is None:
            return None
        task = self._pending.pop(future, None)
        if task is None:  # of a connection that was lost
            return None
        self._without_workers_since = None
        if future.status == "finished":
            try:
                record: TaskRecord = future.result(timeout=LOOK_S)
            except (OSError, TimeoutError):  # the worker died with the record, which the ledger holds
                self._send(_again(task))
                return None
            return record
        if future.status == "error":
            self._answer_error(task, future.exception())
            return None
        self._pending[future] = task
        self._reconnect()
        return None

    def _send_delayed(self) -> None:
        now = time.monotonic()
        due = [task for when, task in self._later if when <= now]
        self._later = [entry for entry in self._later if entry[0] > now]
        for task in due:
            self._send(task)

    def _answer_error(self, task: _Submission, error: BaseException) -> None:
        """Try again after a while what may succeed then; raise everything else."""
        name = " ".join(task.key)
        if isinstance(error, KilledWorker):
            raise ClusterError(
                f"{name}: the workers that tried it died one after the other (last: "
                f"{error.last_worker.address}); look into their logs: most likely their memory limit is "
                "below what 'mosaic plan' states"
            ) from error
        if not is_transient(error) or task.n_tries >= MOST_TRIES:
            raise error
        pause = backoff_seconds(task.n_tries)
        self._observer.message("WARNING", f"{name}: {error}; tried again in {pause:.1f} s")
        self._later.append((time.monotonic() + pause, _again(task)))

    def _look_for_workers(self) -> None:
        """Find out why nothing finishes."""
        if self._client.status != "running":
            self._reconnect()
        elif self._client.nthreads():
            self._without_workers_since = None
            self._pool.n_threads = max(self._pool.n_threads, sum(self._client.nthreads().values()))
        else:
            now = time.monotonic()
            self._without_workers_since = self._without_workers_since or now
            if now - self._without_workers_since > self._pool.wait_s:
                raise ClusterError(
                    f"no worker for {self._pool.wait_s:.0f} s: start some, then run the same command to "
                    "continue"
                )

    def _reconnect(self) -> None:
        """Send everything again that was in flight when the scheduler was lost."""
        self._observer.message("WARNING", "the scheduler was lost; waiting for it to come back")
        lost, self._pending = list(self._pending.values()), {}
        self._client = self._pool.reconnect()
        if self._admitted[0]:
            self.admit(*self._admitted)
        self._observer.message("INFO", f"the scheduler is back; {len(lost)} tasks are sent again")
        for task in lost:
            self._send(task)

    def wake(self) -> None:
        """Make `next_done` return."""
        self._done.put(None)

    def admit(self, store: str, identity: str) -> None:
        """Let no worker finish a task of an earlier job in the same folder."""
        self._admitted = (store, identity)
        self._client.run(cancel.admit, store, identity, on_error="ignore")

    def withdraw(self, store: str) -> None:
        """Drop what has not started; what runs ends at its next strip."""
        self._admitted = ("", "")
        self._client.cancel(list(self._pending), force=True)
        self._pending.clear()
        with suppress(OSError, TimeoutError):
            self._client.run(cancel.withdraw, store, on_error="ignore")

    def close(self) -> None:
        """Forget what is in flight, after an error nobody wants it, and free the disks of the workers."""
        self._pending.clear()
        if self._client.status == "running":
            with suppress(OSError, TimeoutError):
                self._client.run(_leave_job, self._identity, wait=False, on_error="ignore")


async def _leave_job(identity: str) -> None:
    """Free the disk of a worker; only what is asynchronous is carried out without anybody waiting for it."""
    await asyncio.to_thread(leave_job, identity)


def _again(task: _Submission) -> _Submission:
    return _Submission(task.key, task.function, task.arguments, task.n_tries + 1)


_: type[Backend] = DaskBackend
