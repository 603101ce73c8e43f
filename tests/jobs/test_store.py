"""The list of jobs: what was acknowledged is there, once, whatever dies and whoever asks at the same time."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.jobs.jobfolder import JobFolder
from cluster.jobs.model import Grant
from cluster.jobs.state import IllegalTransitionError, JobEvent, JobState
from cluster.jobs.store import ConflictError, Filter, JobNotFoundError, JobStore, LimitError, Submission
from mosaic.errors import StoreError

SUBMITTER = """
import sys
from pathlib import Path
from cluster.jobs.model import Grant
from cluster.jobs.state import JobEvent
from cluster.jobs.store import JobStore, Submission
store = JobStore(Path(sys.argv[1]))
for number in range(int(sys.argv[2]), 100000):
    request = {"request": {"n": number}}
    wanted = Submission("vera", 0, f"/out/{number}", Grant(1, 1), request, f"key-{number}")
    job, _ = store.submit(wanted, most_active=10**6)
    print(number, job.id, flush=True)
    store.apply(job.id, JobEvent.START)
    print("started", job.id, flush=True)
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    made = JobStore(tmp_path / "state")
    yield made
    made.close()


def submission(
    output: str = "/out/a", owner: str = "vera", key: str | None = None, priority: int = 0, n: int = 0
) -> Submission:
    return Submission(owner, priority, output, Grant(2, 1 << 30), {"request": {"n": n}}, key)


def submit(store: JobStore, wanted: Submission, most_active: int = 100) -> str:
    return store.submit(wanted, most_active=most_active)[0].id


def test_a_submission_is_queued_with_its_request_on_disk(store: JobStore) -> None:
    job, is_new = store.submit(submission(n=7), most_active=1)
    assert is_new
    assert (job.state, job.owner, job.attempts, job.reserved_bytes) == (JobState.QUEUED, "vera", 0, 1 << 30)
    assert store.folder_of(job.id).read()["request"] == {"n": 7}
    assert store.folder_of(job.id).path.stat().st_mode & 0o077 == 0


def test_the_same_key_is_the_same_job_and_only_for_the_same_request_and_user(store: JobStore) -> None:
    first, _ = store.submit(submission(key="k"), most_active=10)
    again, is_new = store.submit(submission(key="k"), most_active=10)
    assert (again.id, is_new) == (first.id, False)
    with pytest.raises(ConflictError, match="another request came under this idempotency key"):
        store.submit(submission(key="k", n=1), most_active=10)
    other, is_new = store.submit(submission("/out/b", owner="edwin", key="k"), most_active=10)
    assert is_new
    assert other.id != first.id


def test_two_active_jobs_never_write_to_one_output(store: JobStore) -> None:
    first = submit(store, submission())
    with pytest.raises(ConflictError, match=f"job {first} writes to /out/a"):
        submit(store, submission(owner="edwin"))
    store.apply(first, JobEvent.CANCEL)
    assert submit(store, submission(owner="edwin")) != first


def test_a_user_has_no_more_active_jobs_than_allowed(store: JobStore) -> None:
    submit(store, submission("/out/a"), 2)
    second = submit(store, submission("/out/b"), 2)
    with pytest.raises(LimitError, match="vera has 2 active jobs"):
        submit(store, submission("/out/c"), 2)
    submit(store, submission("/out/d", owner="edwin"), 2)
    store.apply(second, JobEvent.CANCEL)
    submit(store, submission("/out/c"), 2)


def test_a_refused_submission_leaves_nothing(store: JobStore) -> None:
    submit(store, submission())
    before = sorted((store.folder / "jobs").iterdir())
    with pytest.raises(ConflictError):
        submit(store, submission())
    assert sorted((store.folder / "jobs").iterdir()) == before


def test_higher_priorities_come_first_and_then_the_oldest(store: JobStore) -> None:
    jobs = [submit(store, submission(f"/out/{n}", priority=p)) for n, p in enumerate((0, 5, 0, -3, 5))]
    assert [job.id for job in store.queue()] == [jobs[n] for n in (1, 4, 0, 2, 3)]


def test_pages_hold_every_job_once(store: JobStore) -> None:
    jobs = [submit(store, submission(f"/out/{n}")) for n in range(7)]
    found, before = [], None
    while page := store.find(Filter("vera", before=before, limit=3)):
        found += [job.id for job in page]
        before = page[-1].seq
    assert found == jobs[::-1]
    assert store.find(Filter("edwin")) == []
    assert store.find(Filter(states=(JobState.DONE,))) == []


def test_events_change_the_state_and_are_told(store: JobStore) -> None:
    job = submit(store, submission())
    assert store.apply(job, JobEvent.START).attempts == 1
    assert store.apply(job, JobEvent.LOSE, losses=1).state is JobState.QUEUED
    store.apply(job, JobEvent.START)
    failed = store.apply(job, JobEvent.FAIL, error="no such file")
    assert (failed.state, failed.error, failed.attempts) == (JobState.FAILED, "no such file", 2)
    assert failed.ended_s is not None
    with pytest.raises(IllegalTransitionError, match="a job that is failed cannot start"):
        store.apply(job, JobEvent.START)
    assert store.get(job) == failed
    retried = store.apply(job, JobEvent.RETRY)
    assert (retried.state, retried.error, retried.ended_s, retried.losses) == (JobState.QUEUED, "", None, 0)
    states = [line.event["state"] for line in store.folder_of(job).events()]
    assert states == ["running", "queued", "running", "failed", "queued"]


def test_only_known_fields_can_be_noted(store: JobStore) -> None:
    job = submit(store, submission())
    store.note(job, done=0.5)
    assert store.get(job).done == 0.5
    for name in ("state", "owner", "id = 'x' --"):
        with pytest.raises(StoreError, match="a job has no"):
            store.note(job, **{name: "done"})
    with pytest.raises(JobNotFoundError, match="no job 'nothing'"):
        store.get("nothing")


def test_many_who_submit_the_same_thing_at_once_get_one_job(store: JobStore) -> None:
    found: list[str] = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        found.append(submit(store, submission(key="once")))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert sum(store.counts().values()) == 1
    assert len(list((store.folder / "jobs").iterdir())) == 1


def test_kills_lose_no_acknowledged_job_and_make_none_twice(tmp_path: Path) -> None:
    """A submitter is killed after a random number of lines, eight times over."""
    chance = random.Random(3)
    acknowledged: dict[int, str] = {}
    started: set[str] = set()
    for _ in range(8):
        begin = max(acknowledged, default=-1) + 1
        process = subprocess.Popen(
            [sys.executable, "-c", SUBMITTER, str(tmp_path), str(begin)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert process.stdout is not None
        for _line in range(chance.randrange(1, 30)):
            read = process.stdout.readline().split()
            if read[0] == "started":
                started.add(read[1])
            else:
                acknowledged[int(read[0])] = read[1]
        process.send_signal(signal.SIGKILL)
        # Lines that were written before the kill were acknowledged, too.
        for line in process.communicate()[0].splitlines():
            head, _, tail = line.partition(" ")
            if len(tail) != 16:
                continue
            if head == "started":
                started.add(tail)
            elif head.isdigit():
                acknowledged[int(head)] = tail
    store = JobStore(tmp_path)
    jobs = store.find(Filter(limit=-1))
    store.close()
    by_id = {job.id: job for job in jobs}
    assert set(acknowledged.values()) <= by_id.keys()
    assert len({job.output for job in jobs}) == len(jobs)
    assert all(by_id[job].state is JobState.RUNNING for job in started)
    # A folder without a request belongs to a submission that was killed before anybody was told of it.
    assert {path.parent.name for path in (tmp_path / "jobs").glob("*/job.json")} == by_id.keys()


def test_the_list_is_made_anew_from_the_folders(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    jobs = [submit(store, submission(f"/out/{n}", key=f"k{n}", priority=n)) for n in range(4)]
    store.folder_of(jobs[1]).finish({"ok": True, "error": ""})
    store.folder_of(jobs[2]).finish({"ok": False, "error": "bad"})
    store.folder_of(jobs[3]).cancel()
    store.close()
    (tmp_path / "jobs.sqlite").unlink()
    for name in ("jobs.sqlite-wal", "jobs.sqlite-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "jobs" / ("f" * 16)).mkdir()
    store = JobStore(tmp_path)
    states = ["queued", "done", "failed", "cancelled"]
    assert [str(store.get(job).state) for job in jobs] == states
    assert [store.get(job).priority for job in jobs] == [0, 1, 2, 3]
    assert store.get(jobs[2]).error == "bad"
    assert store.submit(submission("/out/0", key="k0"), most_active=9) == (store.get(jobs[0]), False)
    assert sum(store.counts().values()) == 4
    store.close()


def test_a_folder_whose_row_was_not_written_is_the_job_that_comes_again(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    job = submit(store, submission(key="k"))
    store.close()
    with sqlite3.connect(tmp_path / "jobs.sqlite") as database:
        database.execute("DELETE FROM jobs")
    database.close()
    store = JobStore(tmp_path)
    assert store.submit(submission(key="k"), most_active=9)[0].id == job
    store.close()


def test_a_submission_that_cannot_be_written_leaves_no_folder(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(store, "_insert", fail)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        submit(store, submission())
    assert list((store.folder / "jobs").iterdir()) == []
    monkeypatch.undo()
    submit(store, submission())


def test_events_are_read_on_from_where_the_reader_was(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "job")
    folder.create({"id": "x"})
    assert folder.events() == []
    for number in range(5):
        folder.append("task", number=number, text="ü" * 50)
    first = folder.events(0, limit=1000)
    assert 0 < len(first) < 5
    rest = folder.events(first[-1].end)
    assert [line.event["number"] for line in (*first, *rest)] == [0, 1, 2, 3, 4]
    with (folder.path / "events.jsonl").open("ab") as file:
        file.write(b'{"kind": "task", "number": 5')
    assert folder.events(rest[-1].end) == []
    with (folder.path / "events.jsonl").open("ab") as file:
        file.write(b"\n" + json.dumps({"kind": "task", "number": 6}).encode() + b"\n")
    assert [line.event["number"] for line in folder.events(rest[-1].end)] == [6]
    # An offset that is no beginning of a line comes from somebody else's file: everything is told again.
    assert len(folder.events(3)) == 6


def test_the_log_is_cut_at_a_line(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    assert folder.log_tail(100) == ""
    folder.log.write_text("".join(f"line {number}\n" for number in range(100)))
    assert folder.log_tail(20) == "line 98\nline 99\n"
    assert folder.log_tail(10**6).startswith("line 0\n")


def end(store: JobStore, job: str) -> None:
    """Let a queued job run and fail."""
    store.apply(job, JobEvent.START)
    store.apply(job, JobEvent.FAIL, error="no such file")


def test_a_deleted_job_is_gone_with_its_folder_and_its_key(store: JobStore) -> None:
    jobs = [submit(store, submission(f"/out/{n}", key=f"k{n}")) for n in range(3)]
    with pytest.raises(IllegalTransitionError, match="a job that is queued cannot be deleted; cancel it"):
        store.delete(jobs[0])
    end(store, jobs[0])
    with store.folder_of(jobs[0]).hold(), pytest.raises(IllegalTransitionError, match="has not left yet"):
        store.delete(jobs[0])
    assert store.get(jobs[0]).state is JobState.FAILED
    store.delete(jobs[0])
    for ask in (store.get, store.delete):
        with pytest.raises(JobNotFoundError, match="no job"):
            ask(jobs[0])
    assert sorted(path.name for path in (store.folder / "jobs").iterdir()) == sorted(jobs[1:])
    assert submit(store, submission("/out/0", key="k0")) != jobs[0]


def test_a_deletion_that_fails_leaves_everything_and_one_that_is_killed_is_finished(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [submit(store, submission(f"/out/{n}")) for n in range(3)]
    for job in jobs:
        end(store, job)
    store._database.execute(
        "CREATE TRIGGER no BEFORE DELETE ON jobs BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    with pytest.raises(sqlite3.Error, match="disk full"):
        store.delete(jobs[0])
    assert store.get(jobs[0]).state is JobState.FAILED
    assert store.folder_of(jobs[0]).read()["output"] == "/out/0"
    store._database.execute("DROP TRIGGER no")
    # Killed before the list was changed, and before the folder was removed.
    store.folder_of(jobs[1]).path.rename(store.folder / "jobs" / f".deleted-{jobs[1]}")
    monkeypatch.setattr("cluster.jobs.store.shutil.rmtree", lambda *_args, **_kinds: None)
    store.delete(jobs[2])
    monkeypatch.undo()
    assert len(list((store.folder / "jobs").iterdir())) == 3
    again = JobStore(store.folder)
    assert [job.id for job in again.find(Filter())] == [jobs[0]]
    assert [path.name for path in (store.folder / "jobs").iterdir()] == [jobs[0]]
    again.close()


def test_jobs_are_old_by_their_end(tmp_path: Path) -> None:
    now = [1000.0]
    store = JobStore(tmp_path, clock=lambda: now[0])
    jobs = [submit(store, submission(f"/out/{n}")) for n in range(4)]
    now[0] = 2000.0
    end(store, jobs[0])
    now[0] = 3000.0
    store.apply(jobs[1], JobEvent.CANCEL)
    store.apply(jobs[2], JobEvent.START)
    assert store.ended_before(2000.0) == []
    assert store.ended_before(2001.0) == jobs[:1]
    assert store.ended_before(9999.0) == jobs[:2]
    store.close()
