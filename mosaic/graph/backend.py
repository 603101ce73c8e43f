"""Dask as the engine of the driver: futures that return small records, as many in flight as allowed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from queue import SimpleQueue

from distributed import Client, Future

from mosaic.graph import cancel
from mosaic.graph.driver import Backend, TaskKey
from mosaic.graph.progress import TaskRecord

QUEUED_PER_WORKER_THREAD = 2
"""Tasks submitted ahead for every worker thread, so that none waits for the driver."""


class DaskBackend:
    """Runs tasks on the workers of a Dask client.

    Parameters
    ----------
    client : Client
        Connected client.
    digest : str
        Identity of the job, part of every key.
    n_threads : int
        Threads that are expected once all workers are there; more may come.
    """

    def __init__(self, client: Client, digest: str, n_threads: int = 1) -> None:
        self._client = client
        self._digest = digest
        self._expected = n_threads
        self._pending: set[Future] = set()
        self._done: SimpleQueue[Future | None] = SimpleQueue()
        self._threads = sum(client.nthreads().values())

    @property
    def capacity(self) -> int:
        """Tasks that may be in flight: enough to keep busy whoever is there, and to call those who are not."""
        return max(self._expected, self._threads) * QUEUED_PER_WORKER_THREAD

    def submit(self, key: TaskKey, function: Callable[..., TaskRecord], arguments: Sequence[object]) -> None:
        """Send a task to the scheduler under a key that is the same in every run of the job."""
        name = f"mosaic-{key[0]}-{key[1]}-{self._digest}"
        future = self._client.submit(function, *arguments, key=name, pure=False)
        self._pending.add(future)
        future.add_done_callback(self._done.put)

    def next_done(self) -> TaskRecord | None:
        """Wait for any task and give its record, or raise its error."""
        future = self._done.get()
        if future is None:
            return None
        self._pending.discard(future)
        record: TaskRecord = future.result()
        return record

    def wake(self) -> None:
        """Make `next_done` return."""
        self._done.put(None)

    def withdraw(self, store: str) -> None:
        """Drop what has not started; what runs ends at its next strip."""
        self._client.cancel(list(self._pending), force=True)
        self._pending.clear()
        self._client.run(cancel.withdraw, store, on_error="ignore")


_: type[Backend] = DaskBackend
