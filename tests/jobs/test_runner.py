"""Processes of jobs: as many as fit, fairly, taken over by the next service, given up after three losses."""

from __future__ import annotations

import math
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster.jobs import runner as runner_module
from cluster.jobs.model import Grant
from cluster.jobs.runner import MOST_LOSSES, Capacity, Runner
from cluster.jobs.state import JobEvent, JobState
from cluster.jobs.store import JobStore, Submission
from tests.support.jobservice import wait_until

GIB = 1 << 30
PROCESS = """
import os, sys, time
from pathlib import Path
from cluster.jobs.jobfolder import JobBusyError, JobFolder
folder = JobFolder(Path(sys.argv[1]))
try:
    with folder.hold():
        if folder.outcome is not None:
            sys.exit(0)
        folder.append("attempt", pid=os.getpid())
        wanted = folder.read()["request"]
        if wanted == "die":
            print("about to die", flush=True)
            os.kill(os.getpid(), 9)
        while wanted == "wait" and not (folder.path / "go").exists():
            time.sleep(0.02)
        if wanted == "away" and not (folder.path / "go").exists():
            folder.append("away", text="the scheduler has no workers")
            sys.exit(75)
        if wanted == "fail":
            folder.finish({"ok": False, "error": "bad exposure"})
        else:
            folder.finish({"ok": True, "error": ""})
except JobBusyError:
    sys.exit(3)
"""
"""Stands for the process of a job: holds the folder as the real one does, and drizzles nothing."""


class Bench:
    """A store, and runners that are turned by hand."""

    def __init__(self, folder: Path) -> None:
        self.store = JobStore(folder)
        self.capacity = Capacity(4, 4 * GIB, 3, 2)
        self.runners: list[Runner] = []
        self.runner = self.new_runner()
        self._n = 0

    def new_runner(self) -> Runner:
        command = (sys.executable, "-c", PROCESS)
        made = Runner(self.store, self.capacity, lambda folder: [*command, str(folder)])
        self.runners.append(made)
        return made

    def close(self) -> None:
        """Let all processes end, those of replaced runners too."""
        for job in self.store.in_process():
            self.go(job.id)
        for runner in self.runners:
            for running in runner._running.values():
                if running.process is not None:
                    running.process.wait()
        self.store.close()

    def submit(
        self, request: str = "wait", owner: str = "vera", cores: int = 1, memory: int = GIB, priority: int = 0
    ) -> str:
        self._n += 1
        wanted = Submission(owner, priority, f"/out/{self._n}", Grant(cores, memory), {"request": request})
        return self.store.submit(wanted, most_active=100)[0].id

    def state(self, job: str) -> JobState:
        return self.store.get(job).state

    def running(self) -> list[str]:
        return [job.id for job in self.store.in_process()]

    def turn_until(self, *pairs: tuple[str, JobState]) -> None:
        def is_so() -> bool:
            self.runner.tick()
            return all(self.state(job) is wanted for job, wanted in pairs)

        wait_until(is_so, f"{pairs}")

    def held(self, job: str) -> int:
        """Wait for the process of a job to hold it, and return its number."""
        folder = self.store.folder_of(job)
        wait_until(lambda: folder.pid is not None, "process")
        assert folder.pid is not None
        return folder.pid

    def go(self, *jobs: str) -> None:
        for job in jobs:
            (self.store.folder_of(job).path / "go").touch()

    def attempts(self, job: str) -> int:
        return sum(line.event["kind"] == "attempt" for line in self.store.folder_of(job).events())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def test_a_job_runs_once_and_is_done_or_failed(bench: Bench) -> None:
    good, bad = bench.submit("work"), bench.submit("fail")
    bench.turn_until((good, JobState.DONE), (bad, JobState.FAILED))
    assert bench.store.get(good).done == 1.0
    assert bench.store.get(bad).error == "bad exposure"
    assert [bench.attempts(job) for job in (good, bad)] == [1, 1]


def test_jobs_at_a_time_are_limited_for_all_and_for_each_user(bench: Bench) -> None:
    vera = [bench.submit() for _ in range(3)]
    edwin = [bench.submit(owner="edwin") for _ in range(3)]
    bench.runner.tick()
    assert sorted(bench.running()) == sorted([vera[0], vera[1], edwin[0]])
    bench.go(vera[0])
    bench.turn_until((vera[0], JobState.DONE))
    # Both users have one each: the one who waited longest with the fewest before comes next.
    assert len(bench.running()) == 3


def test_users_take_turns_however_much_one_submits(bench: Bench) -> None:
    vera = [bench.submit("work") for _ in range(4)]
    edwin = bench.submit("work", owner="edwin")
    first = [job.id for job in bench.runner._fair_order(Counter())]
    assert first == [vera[0], edwin, *vera[1:]]
    urgent = bench.submit("work", owner="olga", priority=5)
    assert bench.runner._fair_order(Counter())[0].id == urgent


def test_cores_and_memory_are_never_promised_twice(bench: Bench) -> None:
    large = bench.submit(cores=3, memory=3 * GIB)
    second = bench.submit(cores=2, memory=GIB)
    small = bench.submit(cores=1, memory=GIB, owner="edwin")
    bench.runner.tick()
    assert large in bench.running()
    # Nothing overtakes a job that waits for room, or it would wait for ever.
    order = [job.id for job in bench.store.queue()]
    assert second in order
    bench.go(large)
    bench.turn_until((large, JobState.DONE))
    bench.runner.tick()
    assert sorted(bench.running()) == sorted([second, small])


def test_a_job_larger_than_the_rest_still_runs_alone(bench: Bench) -> None:
    huge = bench.submit("work", cores=99, memory=99 * GIB)
    bench.turn_until((huge, JobState.DONE))


def test_a_killed_process_is_followed_by_another_that_finishes(bench: Bench) -> None:
    job = bench.submit()
    bench.runner.tick()
    psutil.Process(bench.held(job)).send_signal(signal.SIGKILL)
    bench.go(job)
    bench.turn_until((job, JobState.DONE))
    assert (bench.runner.counters.losses, bench.runner.counters.retries) == (1, 1)
    assert bench.store.get(job).attempts == 2


def test_a_job_whose_processes_die_without_progress_fails_and_can_be_retried(bench: Bench) -> None:
    job = bench.submit("die")
    bench.turn_until((job, JobState.FAILED))
    assert bench.attempts(job) == MOST_LOSSES
    assert f"died {MOST_LOSSES} times" in bench.store.get(job).error
    assert "about to die" in bench.store.get(job).error
    bench.store.apply(job, JobEvent.RETRY)
    bench.turn_until((job, JobState.FAILED))
    assert bench.attempts(job) == 2 * MOST_LOSSES


def test_a_job_waits_for_workers_as_long_as_it_takes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "AWAY_S", 0.0)
    job = bench.submit("away")

    def has_tried_often() -> bool:
        bench.runner.tick()
        return bench.attempts(job) > MOST_LOSSES + 1

    wait_until(has_tried_often, "attempts")
    assert bench.store.get(job).error in {"", "waits for workers: the scheduler has no workers"}
    bench.go(job)
    bench.turn_until((job, JobState.DONE))
    assert bench.store.get(job).error == ""


def test_a_cancelled_process_is_asked_to_leave_and_a_retry_runs_again(bench: Bench) -> None:
    job = bench.submit()
    bench.runner.tick()
    pid = bench.held(job)
    bench.store.apply(job, JobEvent.CANCEL)
    bench.turn_until((job, JobState.CANCELLED))
    assert not psutil.pid_exists(pid)
    bench.store.apply(job, JobEvent.RETRY)
    bench.go(job)
    bench.turn_until((job, JobState.DONE))
    assert bench.store.get(job).attempts == 2


def test_another_service_adopts_what_runs_and_starts_it_no_second_time(bench: Bench) -> None:
    job = bench.submit()
    bench.runner.tick()
    bench.held(job)
    bench.runner = bench.new_runner()
    for _ in range(5):
        bench.runner.tick()
    assert bench.state(job) is JobState.RUNNING
    bench.go(job)
    bench.turn_until((job, JobState.DONE))
    assert bench.attempts(job) == bench.store.get(job).attempts == 1


def test_another_service_cancels_what_it_adopted(bench: Bench) -> None:
    job = bench.submit()
    bench.runner.tick()
    bench.held(job)
    bench.runner = bench.new_runner()
    bench.store.apply(job, JobEvent.CANCEL)
    bench.turn_until((job, JobState.CANCELLED))


def test_an_outcome_that_was_written_while_no_service_ran_counts(bench: Bench) -> None:
    job = bench.submit()
    bench.runner.tick()
    bench.held(job)
    bench.go(job)
    wait_until(lambda: not bench.store.folder_of(job).is_held, "end")
    bench.runner = bench.new_runner()
    bench.turn_until((job, JobState.DONE))
    assert bench.attempts(job) == 1


def test_a_wish_to_cancel_that_did_not_reach_the_list_is_fulfilled(bench: Bench) -> None:
    waiting = bench.submit()
    bench.store.folder_of(waiting).cancel()
    bench.runner = bench.new_runner()
    bench.runner.start()
    wait_until(lambda: bench.state(waiting) is JobState.CANCELLED, "cancelled")
    bench.runner.stop()
    assert bench.attempts(waiting) == 0


def test_jobs_that_ended_long_ago_are_forgotten_and_no_others(bench: Bench) -> None:
    done, running, cancelled = bench.submit("work"), bench.submit(), bench.submit(owner="edwin")
    bench.store.apply(cancelled, JobEvent.CANCEL)
    bench.turn_until((done, JobState.DONE), (running, JobState.RUNNING))
    for keep_s, left in ((math.inf, 3), (3600.0, 3), (-1.0, 1)):
        Runner(bench.store, bench.capacity, keep_s=keep_s).forget_old()
        assert sum(bench.store.counts().values()) == left
    assert bench.state(running) is JobState.RUNNING


def test_a_service_forgets_by_itself(bench: Bench) -> None:
    old = bench.submit("work")
    bench.turn_until((old, JobState.DONE))
    service = Runner(bench.store, bench.capacity, keep_s=-1.0)
    service.start()
    try:
        wait_until(lambda: sum(bench.store.counts().values()) == 0, "an empty list")
    finally:
        service.stop()


def test_a_stale_number_is_not_taken_for_the_process_of_a_job(bench: Bench) -> None:
    job = bench.submit()
    folder = bench.store.folder_of(job)
    with folder.hold():
        assert folder.pid == psutil.Process().pid
        note = folder.path / "process.json"
        note.write_text(f'{{"pid": {psutil.Process().pid}, "started": 1.0}}')
        assert folder.pid is None
    assert folder.pid is None
