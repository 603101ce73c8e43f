"""Exposures are weighed field by field, and a median waits for its own exposures only."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mosaic.graph.budget import plan_budget
from mosaic.graph.driver import Driver, TaskKey, finished_tasks, plan_tasks
from mosaic.graph.folder import open_folder
from mosaic.graph.job import Job, tile_of, tile_task
from mosaic.graph.lazy import _task_nodes
from mosaic.graph.ledger import WEIGHT_SOLUTION, Ledger
from mosaic.graph.plan import Plan
from mosaic.graph.progress import SilentObserver, TaskRecord
from mosaic.graph.weighing import exposures_of_tiles, order_by_field, tiles_of_exposures
from tests.scale.dry import LIMITS, plan_of
from tests.scale.pretend import PretendBackend
from tests.scale.survey import survey

Exposures = dict[int, tuple[int, ...]]


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Two fields with a gap between them, visited in turns: one has the even exposures, one the odd."""
    row = survey(27, depth=3, chip_shape=(64, 160))[:9]
    pairs = zip(row[:3], row[6:], strict=True)
    return plan_of(tuple(exposure for pair in pairs for exposure in pair), 64)


def _field_of_tile(plan: Plan) -> dict[int, int]:
    fields = {tile: {i % 2 for i in members} for tile, members in exposures_of_tiles(plan).items()}
    assert all(len(found) == 1 for found in fields.values())
    return {tile: found.pop() for tile, found in fields.items()}


def _most_waiting(tiles: Exposures, order: Sequence[int]) -> int:
    """Separate drizzles kept at most, if each waits until all tiles of its exposures are weighed."""
    weighed: set[int] = set()
    most = 0
    for tile in order:
        weighed.add(tile)
        open_exposures = {i for other, members in tiles.items() if other not in weighed for i in members}
        waiting = [other for other in weighed if open_exposures.intersection(tiles[other])]
        most = max(most, sum(len(tiles[other]) for other in {*waiting, tile}))
    return most


def _raster(n_fields: int, side: int, step: int, *, seed: int | None = None) -> Exposures:
    """Tiles of n x n fields of two exposures, each `side` tiles wide, `step` apart; in any order of time."""
    fields = [(row, column) for row in range(n_fields) for column in range(n_fields)]
    times = list(range(2 * len(fields)))
    if seed is not None:
        random.Random(seed).shuffle(times)
    found: dict[int, list[int]] = {}
    for number, (row, column) in enumerate(fields):
        for y in range(row * step, row * step + side):
            for x in range(column * step, column * step + side):
                found.setdefault(1000 * y + x, []).extend(times[2 * number : 2 * number + 2])
    return {tile: tuple(sorted(members)) for tile, members in sorted(found.items())}


def test_a_field_is_weighed_to_its_end_before_the_next_is_begun(plan: Plan) -> None:
    fields = _field_of_tile(plan)
    order = [fields[tile_of(task.name)] for task in plan_tasks(Job(Path(), plan))["weights"]]
    assert len(order) == len(plan.separate.chips_of_tile)
    assert order == sorted(order)
    assert set(order) == {0, 1}


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_few_drizzles_wait_in_a_raster_whatever_the_order_of_visits(seed: int | None) -> None:
    tiles = _raster(6, 4, 3, seed=seed)
    order = order_by_field(tiles)
    assert sorted(order) == sorted(tiles)
    in_all = sum(map(len, tiles.values()))
    # A row of fields shares 18 tiles with the next; two fields of 16 tiles are open besides.
    assert _most_waiting(tiles, order) < (0.4 if seed is None else 0.55) * in_all


def test_along_a_strip_no_more_waits_than_two_fields() -> None:
    tiles = {tile: tuple(range(max(0, tile // 3 - 1), min(20, tile // 3 + 1))) for tile in range(63)}
    assert _most_waiting(tiles, order_by_field(tiles)) <= 2 * 6 * 2


def test_tiles_of_many_dithers_of_one_field_come_in_order() -> None:
    tiles = dict.fromkeys(range(16), tuple(range(100)))
    assert order_by_field(tiles) == list(range(16))


def test_of_a_field_the_tiles_come_first_that_wait_for_no_other() -> None:
    # Tiles 0 and 1 are shared with a field that is taken later.
    tiles: Exposures = {0: (0, 1), 1: (0, 1), 2: (0,), 3: (0,), 4: (1,)}
    assert order_by_field(tiles) == [2, 3, 0, 1, 4]


class _Watched(PretendBackend):
    """Keeps the order of submission; no tile is weighed while a median could be made."""

    def __init__(self, job: Job, capacity: int, done: set[TaskKey]) -> None:
        super().__init__(job, capacity, with_chunks=True)
        self.sent: list[TaskKey] = []
        self.solved_before: set[str] = set()
        self._medians = {task.key: task.after for task in plan_tasks(job)["median"] if task.key not in done}

    def submit(self, key: TaskKey, function: Any, arguments: Any) -> None:
        solved = {(WEIGHT_SOLUTION, name) for name in self._job.ledger.read_phase(WEIGHT_SOLUTION)}
        if not self.sent:
            self.solved_before = {name for _phase, name in solved}
        ready = {median for median, after in self._medians.items() if after <= solved}
        assert key[0] != "weights" or ready <= set(self.sent)
        assert key[0] != "median" or key in ready
        self.sent.append(key)
        super().submit(key, function, arguments)


def _drive(job: Job, capacity: int = 1) -> _Watched:
    tasks = plan_tasks(job)
    done = finished_tasks(job, tasks)
    backend = _Watched(job, capacity, done)
    Driver(job, backend, LIMITS, SilentObserver()).run(tasks, done)
    return backend


@pytest.mark.parametrize("capacity", [1, 2, 5])
def test_no_median_of_a_field_waits_for_another_field(plan: Plan, tmp_path: Path, capacity: int) -> None:
    backend = _drive(open_folder(tmp_path, plan, restart=True), capacity)
    fields = _field_of_tile(plan)
    tiles = [(phase, fields[tile_of(name)]) for phase, name in backend.sent if phase in {"weights", "median"}]
    of_first = [place for place, key in enumerate(tiles) if key == ("median", 0)]
    begun_before = [key for key in tiles[: of_first[0]] if key == ("weights", 1)]
    n_tiles = sum(field == 1 for field in fields.values())
    assert len(begun_before) < n_tiles
    if capacity == 1:
        assert begun_before == []
        assert ("weights", 1) not in tiles[: of_first[-1]]
        names = [phase for phase, _name in backend.sent]
        assert names.index("final") < len(names) - 1 - names[::-1].index("weights")


def _stamps(folder: Path) -> dict[str, int]:
    return {
        path.stem: path.stat().st_mtime_ns for path in (folder / "ledger" / WEIGHT_SOLUTION).glob("*.json")
    }


def _means(job: Job) -> dict[str, float]:
    return {name: record.facts["mean"] for name, record in job.ledger.read_phase(WEIGHT_SOLUTION).items()}


@pytest.fixture
def finished(plan: Plan, tmp_path: Path) -> Job:
    job = open_folder(tmp_path, plan, restart=True)
    _drive(job, 3)
    assert _means(job) == {exposure.rootname: 1024.0 * 500.0 for exposure in plan.exposures}
    return job


def test_killed_before_a_solution_a_run_goes_on_to_the_same(
    plan: Plan, tmp_path: Path, finished: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _means(finished)

    def die(_self: Ledger, records: Sequence[TaskRecord]) -> None:
        if records:
            raise KeyboardInterrupt

    folder = tmp_path / "other"
    folder.mkdir()
    monkeypatch.setattr(Ledger, "write_all", die)
    with pytest.raises(KeyboardInterrupt):
        _drive(open_folder(folder, plan, restart=True))
    monkeypatch.undo()
    again = open_folder(folder, plan, restart=False)
    weighed = set(again.ledger.read_phase("weights"))
    assert 0 < len(weighed) < len(plan.separate.chips_of_tile)
    assert _means(again) == {}
    backend = _drive(again)
    assert _means(again) == expected
    complete = {
        plan.exposures[i].rootname
        for i, tiles in tiles_of_exposures(exposures_of_tiles(plan)).items()
        if weighed.issuperset(map(tile_task, tiles))
    }
    assert backend.solved_before == complete != set()
    assert not weighed.intersection(name for phase, name in backend.sent if phase == "weights")


def test_solutions_are_written_again_only_where_they_differ(finished: Job, tmp_path: Path) -> None:
    before, means = _stamps(tmp_path), _means(finished)
    one, two = sorted(before)[:2]
    record = finished.ledger.read(WEIGHT_SOLUTION, one)
    assert record is not None
    finished.ledger.write(replace(record, facts={"mean": 1.0}))
    finished.ledger.forget(WEIGHT_SOLUTION, two)
    assert _drive(finished).sent == []
    after = _stamps(tmp_path)
    assert {name for name in before if after[name] != before[name]} == {one, two}
    assert _means(finished) == means
    # A tile that must be weighed again finds the same means.
    tile = next(iter(plan_tasks(finished)["weights"])).name
    finished.ledger.forget("weights", tile)
    assert _drive(finished).sent == [("weights", tile)]
    assert _stamps(tmp_path) == after


def test_a_lazy_median_asks_for_the_weights_of_its_own_exposures(plan: Plan) -> None:
    job = Job(Path(), plan)
    budget = plan_budget(plan, granted_bytes=4 << 30, cores=1, separate_processes=False)
    nodes = _task_nodes(job, budget)
    fields = _field_of_tile(plan)
    for key, node in nodes.items():
        if key[0] == "mosaic-median":
            weighed = {tile for solution in node[-1] for tile in _weighed(nodes, solution)}
            own = fields[tile_of(str(key[1]))]
            assert weighed
            assert {fields[tile] for tile in weighed} == {own}


def _weighed(nodes: dict[Any, Any], key: Any) -> list[int]:
    """Tiles that the mean weight of an exposure waits for."""
    return (
        [tile_of(name) for _phase, name, _digest in nodes[key][-1]]
        if key[0] == f"mosaic-{WEIGHT_SOLUTION}"
        else []
    )
