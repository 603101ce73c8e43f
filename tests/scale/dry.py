"""A whole job without a pixel: the real planner, job folder, ledger and driver, with tasks that pretend."""

from __future__ import annotations

import gc
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mosaic.exposure.model import Exposure
from mosaic.geometry.frames import resolve_grids
from mosaic.graph.budget import plan_budget
from mosaic.graph.driver import Driver, Task, finished_tasks, plan_tasks
from mosaic.graph.folder import open_folder
from mosaic.graph.job import Job, TaskLimits
from mosaic.graph.plan import Plan, plan_frames
from mosaic.graph.progress import SilentObserver
from mosaic.parameters import apply_step_gating, load_settings
from tests.scale.pretend import PretendBackend, SleepBackend
from tests.scale.survey import survey

LIMITS = TaskLimits(192 << 20, 1 << 20)


@dataclass
class Figures:
    """What was measured, in the order it was."""

    rows: list[tuple[str, float, str]] = field(default_factory=list)

    def add(self, name: str, value: float, unit: str) -> None:
        """Keep one figure and show it."""
        self.rows.append((name, value, unit))
        print(f"{name:42s} {value:14,.3f} {unit}", flush=True)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Processor time of a block: other programs on the machine do not count."""
        start = time.process_time()
        yield
        self.add(name, time.process_time() - start, "s")

    def memory(self, name: str) -> None:
        """Largest memory of this process so far."""
        self.add(name, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MiB")


def make_plan(n_exposures: int, *, tile: int = 1024, **survey_options: object) -> Plan:
    """Plan of a survey."""
    return plan_of(survey(n_exposures, **survey_options), tile)  # type: ignore[arg-type]


def plan_of(exposures: tuple[Exposure, ...], tile: int) -> Plan:
    """Plan of exposures that exist as metadata only."""
    settings, _notes = apply_step_gating(load_settings(None, (), runfile=""), len(exposures))
    chips = [chip for exposure in exposures for chip in exposure.chips]
    grids = resolve_grids([chip.wcs for chip in chips], settings)
    separate, final = plan_frames(chips, settings, grids, tile)
    return Plan(settings, exposures, separate, final, "0")


def run_dry(n_exposures: int, folder: Path, *, capacity: int = 2000, tile: int = 1024) -> Figures:
    """Plan and drive a job of many exposures, then find it finished; every figure is printed.

    Parameters
    ----------
    n_exposures : int
        Exposures of the survey.
    folder : Path
        Job folder, discarded and made anew.
    capacity : int
        Tasks in flight: two for each of 1,000 workers.
    tile : int
        Side of a tile, pixels.
    """
    figures = Figures()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make_plan(2)  # kernels loaded
    figures.memory("memory before")
    with figures.timed("plan"):
        plan = make_plan(n_exposures, tile=tile)
    shape = plan.final.grid.shape_yx
    figures.add("frame, x", shape.nx, "px")
    figures.add("frame, y", shape.ny, "px")
    figures.add("chips", len(plan.chips), "")
    figures.add("tiles", len(plan.final.chips_of_tile), "")
    figures.add("pairs of chip and tile", sum(map(len, plan.final.chips_of_tile.values())), "")
    figures.add("chips of the deepest tile", max(map(len, plan.final.chips_of_tile.values())), "")
    figures.memory("memory, plan made")
    budget = plan_budget(plan, granted_bytes=64 << 30, cores=1, separate_processes=True)
    figures.add("scratch stated", budget.scratch_bytes / 2**30, "GiB")
    figures.add("products stated", budget.product_bytes / 2**30, "GiB")
    with figures.timed("job folder and arrays made"):
        job = open_folder(folder, plan, restart=True)
    figures.add("plan.json", (folder / "plan.json").stat().st_size / 2**20, "MiB")
    del plan
    with figures.timed("plan read, as every worker does"):
        job = Job(folder, Plan.read(folder))
    _drive(figures, job, capacity)
    _resume(figures, folder)
    figures.memory("memory at most")
    return figures


def _drive(figures: Figures, job: Job, capacity: int) -> None:
    with figures.timed("tasks planned"):
        tasks = plan_tasks(job)
    n_tasks = sum(len(members) for members in tasks.values())
    figures.add("tasks", n_tasks, "")
    gc.collect()
    figures.memory("memory, tasks planned")
    backend = PretendBackend(job, capacity, with_chunks=True)
    driver = Driver(job, backend, LIMITS, SilentObserver())
    worker_cpu, start = _cpu_of(backend), time.process_time()
    driver.run(tasks, set())
    own = time.process_time() - start - worker_cpu()
    assert backend.n_done == n_tasks
    figures.add("tasks in flight at most", backend.most_in_flight, "")
    figures.add("driver, per task", 1e3 * own / n_tasks, "ms")
    figures.memory("memory, job driven")


def _cpu_of(backend: PretendBackend) -> object:
    """Processor time of the pretended workers: that of `next_done`, measured around it."""
    spent = [0.0]
    original = backend.next_done

    def next_done() -> object:
        start = time.process_time()
        record = original()
        spent[0] += time.process_time() - start
        return record

    backend.next_done = next_done  # type: ignore[assignment,method-assign]
    return lambda: spent[0]


def _resume(figures: Figures, folder: Path) -> None:
    job = Job(folder, Plan.read(folder))
    tasks: dict[str, list[Task]] = plan_tasks(job)
    start = time.perf_counter()
    with figures.timed("finished tasks found"):
        done = finished_tasks(job, tasks)
    figures.add("finished tasks found, wall", time.perf_counter() - start, "s")
    assert len(done) == sum(len(members) for members in tasks.values())


def run_dask(n_exposures: int, folder: Path, *, workers: int, seconds: float) -> Figures:
    """Drive a small job on a real Dask cluster of this machine whose tasks sleep."""
    from cluster.connect import open_workers  # noqa: PLC0415
    from cluster.spec import ClusterSpec  # noqa: PLC0415

    figures = Figures()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    job = open_folder(folder, make_plan(n_exposures), restart=True)
    tasks = plan_tasks(job)
    n_tasks = sum(len(members) for members in tasks.values())
    figures.add("tasks", n_tasks, "")
    figures.add("a task sleeps", 1e3 * seconds, "ms")
    spec = ClusterSpec(backend="local", cores=workers, warm=False)
    with open_workers(spec) as found:
        found.scale(n_tasks)
        backend = SleepBackend(found, job, seconds)
        start = time.perf_counter()
        Driver(job, backend, LIMITS, SilentObserver()).run(tasks, set())
        wall = time.perf_counter() - start
    figures.add("workers", workers, "")
    figures.add("tasks in flight at most", backend.most_in_flight, "")
    figures.add("wall, per task", 1e3 * wall / n_tasks, "ms")
    figures.add("of which no sleep explains", 1e3 * (wall / n_tasks - seconds / workers), "ms")
    return figures
