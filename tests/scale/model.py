"""A cluster on paper: the real driver hands the tasks of a real plan to workers that exist as clocks only.

Durations come from tasks of a real job done again, as processor seconds per pixel of each phase, and from the
bytes that a task moves. A task waits for the scheduler (milliseconds each, one after the other), then for a
worker; the store serves all workers together at most so many bytes per second. Does not cover lost workers,
start-up, nor caches that are warm.
"""

from __future__ import annotations

import heapq
import json
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mosaic.graph.driver import Driver, TaskKey, plan_tasks
from mosaic.graph.job import Job, tile_of
from mosaic.graph.plan import Layer, Plan
from mosaic.graph.progress import SilentObserver, TaskRecord
from mosaic.graph.tasks import run_task
from tests.scale.dry import LIMITS
from tests.scale.pretend import NeverStopped, pretend_record

PHASES = ("static", "static_mask", "sky", "weights", "median", "cosmic_rays", "final")
READ_BYTES = {
    "static": 6,
    "static_mask": 0.125,
    "sky": 6.1,
    "weights": 2.2,
    "median": 6.2,
    "cosmic_rays": 8.5,
    "final": 6.3,
}
"""Bytes read per input pixel: SCI 4, DQ 2, a mask 1/8; the median where it is blotted."""
WRITE_BYTES = {"static": 0.125, "cosmic_rays": 0.125}
"""Bytes written per input pixel; tiles write 4, 12 with weight and context, per output pixel."""
TILE_BYTES = {"median": 4, "final": 12}


@dataclass(frozen=True)
class Costs:
    """Seconds of work per input pixel by phase, and of every task whatever its size."""

    per_pixel: dict[str, float]
    per_task: float


@dataclass(frozen=True)
class Cluster:
    """What the model knows of a cluster."""

    workers: int
    """Tasks at a time."""
    scheduler_s: float = 1.5e-3
    """Scheduler and driver, per task."""
    store_bytes_s: float = 20e9
    """The store to all workers together."""
    link_bytes_s: float = 300e6
    """The store to one worker at the most."""


@dataclass(frozen=True)
class Outcome:
    """What a simulated run took."""

    workers: int
    tile: int
    n_tasks: int
    wall_s: float
    """From the first task to the last."""
    work_s: float
    """Computing, summed over the workers."""
    moving_s: float
    """Reading and writing and waiting for the store, summed over the workers."""
    scheduler_s: float
    """The scheduler's time."""

    @property
    def efficiency(self) -> float:
        """Share of the workers' time that is computing."""
        return self.work_s / (self.wall_s * self.workers)


def measure_costs(folder: Path, n_each: int = 6) -> Costs:
    """Do tasks of a finished job again, one at a time: processor seconds per input pixel of each phase."""
    plan = Plan.read(folder)
    job = Job(folder, plan)
    work = Work(job)
    per_pixel = {}
    for phase in PHASES:
        names = sorted(job.ledger.read_phase(phase))
        run_task(str(folder), plan.identity, phase, names[0], LIMITS)
        seconds = pixels = 0.0
        for name in random.Random(1).sample(names, min(n_each, len(names))):
            start = time.process_time()
            run_task(str(folder), plan.identity, phase, name, LIMITS)
            seconds += time.process_time() - start
            pixels += work.pixels((phase, name))
        per_pixel[phase] = seconds / pixels
    return Costs(per_pixel, 0.01)


class Work:
    """Input pixels that every task of a job works on."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._chip = [chip.shape_yx.ny * chip.shape_yx.nx for chip in job.plan.chips]
        self._tiles = {
            name: self._share_out(layer)
            for name, layer in (("separate", job.plan.separate), ("final", job.plan.final))
        }

    def _share_out(self, layer: Layer) -> dict[int, float]:
        """Pixels of each tile: those of a chip are shared out by the area that its box has in common."""
        area = [(box.y1 - box.y0) * (box.x1 - box.x0) for box in layer.box_of_chip]
        pixels = {}
        for tile, chips in layer.chips_of_tile.items():
            y0, y1, x0, x1 = layer.window(tile)
            total = 0.0
            for index in chips:
                b = layer.box_of_chip[index]
                common = max(0, min(y1, b.y1) - max(y0, b.y0)) * max(0, min(x1, b.x1) - max(x0, b.x0))
                total += self._chip[index] * common / area[index]
            pixels[tile] = total
        return pixels

    def pixels(self, key: TaskKey) -> float:
        """Input pixels of a task."""
        phase, task = key
        if phase == "static_mask":
            return float(sum(self._chip[index] for index in self._job.static_groups[task]))
        if phase in {"weights", "median"}:
            return self._tiles["separate"][tile_of(task)]
        if phase == "final":
            return self._tiles["final"][tile_of(task)]
        return float(self._chip[self._job.chip_index[task]])

    def bytes(self, key: TaskKey) -> float:
        """Bytes that a task reads and writes."""
        phase, _task = key
        moved = self.pixels(key) * (READ_BYTES[phase] + WRITE_BYTES.get(phase, 0.0))
        if phase in TILE_BYTES:
            layer = self._job.plan.separate if phase == "median" else self._job.plan.final
            moved += TILE_BYTES[phase] * layer.tile**2
        return moved


class _MemoryLedger:
    """Records of a pretended job, in memory."""

    def __init__(self) -> None:
        self._records: dict[str, dict[str, TaskRecord]] = {}

    def write(self, record: TaskRecord) -> None:
        self._records.setdefault(record.phase, {})[record.task] = record

    def write_all(self, records: Iterable[TaskRecord]) -> None:
        for record in records:
            self.write(record)

    def require(self, phase: str, tasks: Iterable[str]) -> dict[str, TaskRecord]:
        held = self._records.get(phase, {})
        return {task: held[task] for task in tasks}

    def require_one(self, phase: str) -> TaskRecord:
        return self._records[phase]["all"]


class ClockBackend(NeverStopped):
    """Workers as clocks: the driver's calls move the time on."""

    def __init__(self, job: Job, work: Work, costs: Costs, cluster: Cluster) -> None:
        self.capacity = 2 * cluster.workers
        self.now = 0.0
        self.work_s = 0.0
        self.moving_s = 0.0
        self.n_done = 0
        self._job, self._work, self._costs, self._cluster = job, work, costs, cluster
        self._scheduler = 0.0
        self._store = 0.0
        self._workers = [0.0] * cluster.workers
        self._running: list[tuple[float, TaskKey]] = []

    def submit(self, key: TaskKey, function: Callable[..., TaskRecord], arguments: Sequence[object]) -> None:
        """Send a task through the scheduler to the worker that is free first."""
        self._scheduler = max(self._scheduler, self.now) + self._cluster.scheduler_s
        computing = self._costs.per_task + self._costs.per_pixel[key[0]] * self._work.pixels(key)
        n_bytes = self._work.bytes(key)
        start = max(self._scheduler, heapq.heappop(self._workers))
        # The store serves one after the other: no more than its rate, whoever asks.
        self._store = max(self._store, start) + n_bytes / self._cluster.store_bytes_s
        end = max(start + n_bytes / self._cluster.link_bytes_s, self._store) + computing
        moving = end - start - computing
        heapq.heappush(self._workers, end)
        heapq.heappush(self._running, (end, key))
        self.work_s += computing
        self.moving_s += moving

    def next_done(self) -> TaskRecord:
        """Move the time to the end of the task that ends first."""
        self.now, key = heapq.heappop(self._running)
        record = pretend_record(self._job, *key)
        self._job.ledger.write(record)
        self.n_done += 1
        return record


def simulate_run(plan: Plan, costs: Costs, cluster: Cluster) -> Outcome:
    """Carry out a plan on a cluster of clocks."""
    job = Job(Path("nowhere"), plan)
    job.ledger = _MemoryLedger()  # type: ignore[assignment]
    backend = ClockBackend(job, Work(job), costs, cluster)
    Driver(job, backend, LIMITS, SilentObserver()).run(plan_tasks(job), set())
    return Outcome(
        cluster.workers,
        plan.final.tile,
        backend.n_done,
        backend.now,
        backend.work_s,
        backend.moving_s,
        backend.n_done * cluster.scheduler_s,
    )


def write_costs(costs: Costs, path: Path) -> None:
    """Keep costs as JSON."""
    path.write_text(json.dumps(asdict(costs), indent=2) + "\n")


def read_costs(path: Path) -> Costs:
    """Read what `write_costs` wrote."""
    return Costs(**json.loads(path.read_text()))


def sweep(plan: Plan, costs: Costs, workers: Sequence[int], **cluster: float) -> list[Outcome]:
    """Simulate a plan on clusters of different sizes."""
    base = replace(Cluster(1), **cluster)  # type: ignore[arg-type]
    return [simulate_run(plan, costs, replace(base, workers=count)) for count in workers]
