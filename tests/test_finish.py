"""What needs no product is begun when the median and all masks are complete, and not before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from mosaic.finish import Finish
from mosaic.graph.driver import Task
from mosaic.graph.progress import SilentObserver, TaskRecord
from mosaic.outcome import StepClock

TASKS = {
    phase: [Task(phase, name) for name in names]
    for phase, names in {"weights": "ab", "median": "ab", "cosmic_rays": "xy", "final": "ab"}.items()
}


def _told_at(order: list[str], done: set[tuple[str, str]]) -> list[bool]:
    """Whether the end was begun, after each finished task."""
    settings = SimpleNamespace(driz_combine=False)
    job = cast("Any", SimpleNamespace(plan=SimpleNamespace(settings=settings)))
    budget = cast("Any", SimpleNamespace(reports_beside=True))
    clock = StepClock(SilentObserver())
    begun = []
    with Finish(job, cast("Any", None), clock, budget, tasks=TASKS, done=done, with_report=False) as finish:
        for entry in order:
            phase, _, task = entry.partition(" ")
            finish.task_done(TaskRecord(phase, task, 1.0, 0, 0, 0))
            begun.append(finish._made is not None)
    return begun


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        # The mask of a chip may be complete before a median that it is not blotted from.
        (["weights a", "median a", "cosmic_rays x", "final a", "weights b", "cosmic_rays y", "median b"], 6),
        (["weights b", "weights a", "median b", "median a", "cosmic_rays y", "cosmic_rays x", "final b"], 5),
    ],
)
def test_the_end_is_begun_after_the_last_task_before_the_final_drizzle(
    order: list[str], expected: int
) -> None:
    assert _told_at(order, set()) == [place >= expected for place in range(len(order))]


def test_tasks_of_an_earlier_run_are_not_waited_for() -> None:
    done = {("weights", "a"), ("weights", "b"), ("median", "a"), ("cosmic_rays", "x"), ("cosmic_rays", "y")}
    assert _told_at(["final a", "median b", "final b"], done) == [False, True, True]
    assert _told_at(["final a"], done | {("median", "b")}) == [False]
