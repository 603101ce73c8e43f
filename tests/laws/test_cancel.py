"""A run that is asked to stop does so between strips, keeps what is finished, and is continued."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mosaic import pipeline
from mosaic.errors import RunCancelledError
from mosaic.graph import tasks
from mosaic.graph.cancel import CancelToken
from mosaic.graph.progress import SilentObserver, TaskRecord
from mosaic.options import RunOptions
from tests.laws.conftest import GIB, assert_same_bits

Run = Callable[..., pipeline.Result]


class _Canceller(SilentObserver):
    """Asks the run to stop after a number of tasks of a phase."""

    def __init__(self, phase: str, n_tasks: int) -> None:
        self.token = CancelToken()
        self.records: list[TaskRecord] = []
        self._phase, self._left = phase, n_tasks

    def task_done(self, record: TaskRecord) -> None:
        self.records.append(record)
        self._left -= record.phase == self._phase
        if self._left == 0:
            self.token.cancel()


def _drizzle(exposures: list[str], folder: Path, scheduler: str, observer: _Canceller) -> pipeline.Result:
    options = RunOptions.resolve(scheduler=scheduler, memory=2 * GIB, tile=128, cores=2)
    return pipeline.drizzle(
        exposures,
        str(folder / "m"),
        options=options,
        observer=observer,
        cancel=observer.token,
        runfile="",
        final_err=True,
    )


def test_a_token_calls_back_once_and_at_once_when_late() -> None:
    token = CancelToken()
    calls: list[str] = []
    token.on_cancel(lambda: calls.append("early"))
    token.raise_if_cancelled()
    token.cancel()
    token.cancel()
    token.on_cancel(lambda: calls.append("late"))
    assert calls == ["early", "late"]
    with pytest.raises(RunCancelledError, match="the same command continues"):
        token.raise_if_cancelled()


@pytest.mark.parametrize("scheduler", ["serial", "threads", "processes"])
def test_a_cancelled_run_is_continued_to_the_same_bits(
    run: Run, exposures: list[str], tmp_path: Path, scheduler: str
) -> None:
    first = _Canceller("median", 2)
    with pytest.raises(RunCancelledError):
        _drizzle(exposures, tmp_path, scheduler, first)
    second = _Canceller("none", 1)
    continued = _drizzle(exposures, tmp_path, scheduler, second)
    done = {(record.phase, record.task) for record in first.records}
    assert done
    assert not done & {(record.phase, record.task) for record in second.records}
    assert_same_bits(run(), continued)


def test_a_task_stops_between_two_of_its_exposures(
    exposures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observer = _Canceller("none", 1)
    calls: list[int] = []
    original = tasks.drizzle_single

    def cancelling(*arguments: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            observer.token.cancel()
        return original(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(tasks, "drizzle_single", cancelling)
    with pytest.raises(RunCancelledError):
        _drizzle(exposures, tmp_path, "serial", observer)
    assert len(calls) == 2


def test_a_run_cancelled_beforehand_does_nothing(exposures: list[str], tmp_path: Path) -> None:
    observer = _Canceller("none", 1)
    observer.token.cancel()
    with pytest.raises(RunCancelledError):
        _drizzle(exposures, tmp_path, "serial", observer)
    assert not (tmp_path / "m.mosaic").exists()


def test_a_run_cancelled_while_it_writes_leaves_no_product(
    run: Run, exposures: list[str], tmp_path: Path
) -> None:
    observer = _Canceller("final", len(list((run().job_folder / "ledger" / "final").glob("*.json"))))
    with pytest.raises(RunCancelledError):
        _drizzle(exposures, tmp_path, "serial", observer)
    assert not list(tmp_path.glob("*.fits"))
    assert _drizzle(exposures, tmp_path, "serial", _Canceller("none", 1)).products
