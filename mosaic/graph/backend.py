"""Dask as the engine of the driver: futures that return small records, as many in flight as allowed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distributed import Client, as_completed

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
    """

    def __init__(self, client: Client, digest: str) -> None:
        self._client = client
        self._digest = digest
        self._pending = as_completed()
        threads = sum(client.nthreads().values())
        self.capacity = max(1, threads * QUEUED_PER_WORKER_THREAD)

    def submit(self, key: TaskKey, function: Callable[..., TaskRecord], arguments: Sequence[object]) -> None:
        """Send a task to the scheduler under a key that is the same in every run of the job."""
        name = f"mosaic-{key[0]}-{key[1]}-{self._digest}"
        self._pending.add(self._client.submit(function, *arguments, key=name, pure=False))

    def next_done(self) -> TaskRecord:
        """Wait for any task and give its record, or raise its error."""
        record: TaskRecord = next(self._pending).result()
        return record


_: type[Backend] = DaskBackend
