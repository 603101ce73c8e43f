"""A job of thousands of tasks that pretend: bounded in flight, in order, found again after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest

from mosaic.graph.driver import Driver, Task, TaskKey, finished_tasks, plan_tasks
from mosaic.graph.folder import open_folder
from mosaic.graph.job import Job
from mosaic.graph.ledger import WEIGHT_SOLUTION
from mosaic.graph.plan import Plan
from mosaic.graph.progress import SilentObserver, TaskRecord
from tests.scale.dry import LIMITS, make_plan
from tests.scale.pretend import PretendBackend


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Three hundred exposures with small chips."""
    return make_plan(300, tile=128, chip_shape=(64, 160))


class _Checked(PretendBackend):
    """Asserts that no task starts before what it needs is done; may die on the way."""

    def __init__(self, job: Job, capacity: int, tasks: dict[str, list[Task]], dies_after: int) -> None:
        super().__init__(job, capacity, with_chunks=True)
        self._after = {task.key: task.after for members in tasks.values() for task in members}
        self._dies_after = dies_after
        self.done: set[TaskKey] = set()

    def submit(self, key: TaskKey, function: object, arguments: object) -> None:
        for phase, name in self._after[key] - self.done:
            assert phase == WEIGHT_SOLUTION
            assert self._job.ledger.read(phase, name) is not None
        super().submit(key, function, arguments)  # type: ignore[arg-type]

    def next_done(self) -> TaskRecord:
        if self.n_done == self._dies_after:
            raise KeyboardInterrupt
        record = super().next_done()
        self.done.add((record.phase, record.task))
        return record


def _drive(job: Job, capacity: int, dies_after: int = -1) -> tuple[_Checked, set[TaskKey], set[TaskKey]]:
    """Driven backend, tasks found done before, all tasks."""
    tasks = plan_tasks(job)
    found = finished_tasks(job, tasks)
    backend = _Checked(job, capacity, tasks, dies_after)
    backend.done |= found
    every = {task.key for members in tasks.values() for task in members}
    if dies_after < 0:
        Driver(job, backend, LIMITS, SilentObserver()).run(tasks, set(found))
    else:
        with pytest.raises(KeyboardInterrupt):
            Driver(job, backend, LIMITS, SilentObserver()).run(tasks, set(found))
    return backend, found, every


def test_a_large_job_dies_and_goes_on_with_few_tasks_in_flight(plan: Plan, tmp_path: Path) -> None:
    job = open_folder(tmp_path, plan, restart=True)
    first, found, every = _drive(job, 13, dies_after=1500)
    assert found == set()
    assert len(every) > 1800
    again = open_folder(tmp_path, plan, restart=False)
    second, found, _ = _drive(again, 13)
    assert found == first.done
    assert second.done == every
    assert second.n_done == len(every) - 1500
    assert max(first.most_in_flight, second.most_in_flight) <= 13
    assert set(_drive(open_folder(tmp_path, plan, restart=False), 13)[1]) == every


def test_what_is_lost_or_cut_short_is_done_again(plan: Plan, tmp_path: Path) -> None:
    job = open_folder(tmp_path, plan, restart=True)
    _backend, _found, every = _drive(job, 64)
    tiles = sorted(plan.final.chips_of_tile)
    row, column = divmod(tiles[5], plan.final.n_columns)
    (tmp_path / f"mosaic.zarr/wht/c/{row}/{column}").unlink()
    row, column = divmod(tiles[9], plan.separate.n_columns)
    (tmp_path / f"median.zarr/median/c/{row}/{column}").write_bytes(b"")
    (tmp_path / "ledger" / "sky" / f"{plan.chips[7].rootname}_{plan.chips[7].extver}.json").unlink()
    lost = {
        ("final", f"t{tiles[5]:06d}"),
        ("median", f"t{tiles[9]:06d}"),
        ("sky", f"{plan.chips[7].rootname}_{plan.chips[7].extver}"),
    }
    assert every - finished_tasks(job, plan_tasks(job)) == lost


def test_mean_weights_are_those_of_all_tiles_together(plan: Plan, tmp_path: Path) -> None:
    job = open_folder(tmp_path, plan, restart=True)
    _drive(job, 64)
    # Every pretended tile weighs 68,719,476,736 = 2**36 units of unit / 2**26: a mean of 1024 units.
    every = range(len(plan.exposures))
    assert job.mean_weights(every) == [1024.0 * job.weight_unit(i) for i in every]
