"""Tasks start when what they need is done, never before, and never twice."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from mosaic.graph.driver import PHASES, Task, TaskKey, _ReadyQueue


def _random_tasks(seed: int) -> list[Task]:
    chooser = random.Random(seed)
    tasks: list[Task] = []
    for phase in PHASES:
        earlier = [task.key for task in tasks]
        tasks += [
            Task(phase, f"t{i}", frozenset(chooser.sample(earlier, min(len(earlier), chooser.randint(0, 4)))))
            for i in range(chooser.randint(1, 6))
        ]
    return tasks


def _drain(tasks: Sequence[Task], done: set[TaskKey], seed: int) -> list[TaskKey]:
    chooser = random.Random(seed)
    queue = _ReadyQueue([task for task in tasks if task.key not in done], done)
    running: list[Task] = []
    order: list[TaskKey] = []
    finished = set(done)
    while queue.n_waiting or running:
        while len(running) < 3 and (task := queue.pop()) is not None:
            assert task.after <= finished
            running.append(task)
        task = running.pop(chooser.randrange(len(running)))
        finished.add(task.key)
        order.append(task.key)
        queue.finish(task.key)
    return order


@pytest.mark.parametrize("seed", range(8))
def test_every_task_runs_once_and_after_what_it_needs(seed: int) -> None:
    tasks = _random_tasks(seed)
    order = _drain(tasks, set(), seed)
    assert sorted(order) == sorted(task.key for task in tasks)


def test_finished_tasks_count_as_done_and_do_not_run() -> None:
    tasks = _random_tasks(3)
    done = {task.key for task in tasks if task.phase in PHASES[:3]}
    order = _drain(tasks, done, 1)
    assert sorted(order) == sorted(task.key for task in tasks if task.key not in done)


def test_later_phases_go_first() -> None:
    tasks = [Task("median", "t0"), Task("final", "t0"), Task("cosmic_rays", "c")]
    queue = _ReadyQueue(tasks, set())
    assert [queue.pop() for _ in tasks] == [tasks[1], tasks[2], tasks[0]]
    assert queue.pop() is None
