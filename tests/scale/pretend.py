"""Tasks that only pretend: records made from the plan alone, and backends that hand them out."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence

from mosaic.graph.backend import DaskBackend, WorkerPool
from mosaic.graph.driver import Backend, TaskKey
from mosaic.graph.job import Job, tile_of
from mosaic.graph.ledger import Ledger
from mosaic.graph.progress import SilentObserver, TaskRecord
from mosaic.graph.verify import _chunk_files, with_sizes

_CRC = "00c0ffee"
_CHUNKS = {"median": ("median",), "cosmic_rays": ("cosmic_rays/0",), "final": ("sci", "wht")}


def pretend_record(job: Job, phase: str, task: str) -> TaskRecord:
    """Record of a task as large as a real one, with the facts that later phases ask for."""
    facts: dict[str, object] = {}
    if phase == "static":
        facts = {"n_usable": 8_000_000, "n_not_finite": 0, "threshold": -41.75, "n_low": 1234}
    elif phase == "sky":
        facts = {"chip": job.plan.chips[job.chip_index[task]].name, "sky": 40.0 + job.chip_index[task] % 7}
    elif phase == "weights":
        members = {job.plan.exposure_of_chip[i] for i in job.plan.separate.chips_of_tile[tile_of(task)]}
        facts = {str(exposure): [68_719_476_736 * 900_000, 900_000] for exposure in sorted(members)}
    checksums = dict.fromkeys(_CHUNKS.get(phase, ()), _CRC)
    seconds = 1.0 + zlib.crc32(f"{phase}{task}".encode()) / 2**32
    return TaskRecord(phase, task, seconds, 10**8, 3 << 30, 4 * 10**8, checksums, facts)


class NeverStopped:
    """What a backend needs for runs that are cancelled, which these are not."""

    def wake(self) -> None:
        """Nothing is waited for."""

    def admit(self, store: str, identity: str) -> None:
        """All tasks run in this process."""

    def withdraw(self, store: str) -> None:
        """Nobody cancels."""


class PretendBackend(NeverStopped):
    """Finishes tasks in another order than they were given, and keeps their records as workers do.

    Parameters
    ----------
    job : Job
        The job.
    capacity : int
        Tasks in flight, as many as a cluster would get.
    with_chunks : bool
        Whether small files stand for the chunks, so that the job can be found finished.
    """

    def __init__(self, job: Job, capacity: int, *, with_chunks: bool = False) -> None:
        self.capacity = capacity
        self.n_done = 0
        self.most_in_flight = 0
        self.seconds = 0.0
        self._job = job
        self._with_chunks = with_chunks
        self._waiting: list[TaskKey] = []

    def submit(self, key: TaskKey, function: Callable[..., TaskRecord], arguments: Sequence[object]) -> None:
        """Take a task."""
        del function
        assert (key[0], key[1]) == (arguments[2], arguments[3])
        self._waiting.append(key)
        self.most_in_flight = max(self.most_in_flight, len(self._waiting))

    def next_done(self) -> TaskRecord:
        """Finish any task; the time is counted as a worker's."""
        start = time.perf_counter()
        place = (self.n_done * 7919) % len(self._waiting)
        phase, task = self._waiting[place]
        self._waiting[place] = self._waiting[-1]
        self._waiting.pop()
        record = pretend_record(self._job, phase, task)
        if self._with_chunks:
            for name in record.checksums:
                for path in _chunk_files(self._job, record, name):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(b"\0")
            record = with_sizes(self._job, record)
        self._job.ledger.write(record)
        self.n_done += 1
        self.seconds += time.perf_counter() - start
        return record


class SleepBackend(DaskBackend):
    """Dask workers that sleep, then keep and return the record."""

    def __init__(self, workers: WorkerPool, job: Job, seconds: float) -> None:
        super().__init__(workers, job.plan.identity, SilentObserver())
        self._job = job
        self._seconds = seconds
        self.n_done = 0
        self._n_in_flight = 0
        self.most_in_flight = 0

    def submit(self, key: TaskKey, function: Callable[..., TaskRecord], arguments: Sequence[object]) -> None:
        """Send a task that sleeps."""
        del function
        record = pretend_record(self._job, *key)
        self._n_in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._n_in_flight)
        arguments = (self._job.store, self._job.plan.incarnation, record, self._seconds)
        super().submit(key, sleep_and_keep, arguments)

    def next_done(self) -> TaskRecord | None:
        """Wait for any task."""
        record = super().next_done()
        if record is not None:
            self._n_in_flight -= 1
            self.n_done += 1
        return record


def sleep_and_keep(folder: str, incarnation: str, record: TaskRecord, seconds: float) -> TaskRecord:
    """Do what a worker does besides the work: keep a record and return it."""
    from pathlib import Path  # noqa: PLC0415  (sent to workers)

    time.sleep(seconds)
    Ledger(Path(folder), incarnation).write(record)
    return record


_: type[Backend] = PretendBackend
