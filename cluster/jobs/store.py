"""The list of jobs: an index on SQLite over the job folders, from which it can be rebuilt.

Covers states, the queue, limits per user, and submissions that are sent twice. One process writes at a
time, under a lock of its own; every change is one transaction. Does not cover events and logs
(`cluster.jobs.jobfolder`).
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from cluster.jobs.jobfolder import JobFolder
from cluster.jobs.model import Grant, Job, is_job_id
from cluster.jobs.state import (
    ACTIVE,
    IN_PROCESS,
    IllegalTransitionError,
    JobEvent,
    JobState,
    next_state,
    require_over,
)
from mosaic.errors import MosaicError, StoreError

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS jobs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
  owner TEXT NOT NULL, state TEXT NOT NULL,
  priority INTEGER NOT NULL, output TEXT NOT NULL, created_s REAL NOT NULL, cores INTEGER NOT NULL,
  memory_bytes INTEGER NOT NULL, reserved_bytes INTEGER NOT NULL, started_s REAL, ended_s REAL,
  attempts INTEGER NOT NULL DEFAULT 0, losses INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '',
  done REAL NOT NULL DEFAULT 0, idempotency_key TEXT, body_hash TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS once ON jobs (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_state ON jobs (state, priority DESC, seq);
CREATE INDEX IF NOT EXISTS by_owner ON jobs (owner, seq DESC);
"""
_COLUMNS: Final = (
    "id, seq, owner, state, priority, output, created_s, cores, memory_bytes, reserved_bytes, started_s, "
    "ended_s, attempts, losses, error, done"
)
_CHANGEABLE: Final = frozenset(field.name for field in fields(Job)) - {"id", "seq", "owner", "state", "grant"}


_DELETED: Final = ".deleted-"
"""Begins the names of folders of jobs that are being deleted."""


class JobNotFoundError(MosaicError):
    """Raised when there is no such job, or it belongs to somebody else."""


class ConflictError(MosaicError):
    """Raised when a request contradicts what is there: change the request."""


class LimitError(MosaicError):
    """Raised when a user has too many jobs already: wait until some have ended."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What is put into the list."""

    owner: str
    priority: int
    output: str
    grant: Grant
    document: Mapping[str, Any]
    """What is written to the job folder: the request, and what the service made of it."""
    key: str | None = None
    """Submissions of one user with the same key are the same job."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs are wanted; newest first."""

    owner: str | None = None
    states: Sequence[JobState] = ()
    before: int | None = None
    """Sequence number below which jobs are wanted: the next page."""
    limit: int = 50


class JobStore:
    """Jobs in ``jobs.sqlite`` beside the folder ``jobs``.

    Parameters
    ----------
    folder : Path
        Where the service keeps its state.
    clock : callable, optional
        Seconds since 1970.

    Notes
    -----
    Folders of jobs that the file does not know, all of them when it is absent, are taken into the list.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self._clock = clock
        self._lock = threading.RLock()
        (folder / "jobs").mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / "jobs.sqlite"
        path.touch(mode=0o600)
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10.0)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.executescript(_SCHEMA)
        self.adopt()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def folder_of(self, job: str) -> JobFolder:
        """Folder of a job."""
        return JobFolder(self.folder / "jobs" / job)

    def submit(self, submission: Submission, *, most_active: int) -> tuple[Job, bool]:
        """Put a job into the queue.

        Parameters
        ----------
        submission : Submission
            What is to be done.
        most_active : int
            Jobs a user may have that have not ended.

        Returns
        -------
        tuple of (Job, bool)
            The job, and whether it is new.

        Raises
        ------
        ConflictError
            When another request came under the same key, or an active job writes to the same output.
        LimitError
            When the user has as many active jobs as allowed.
        """
        body = _hash(submission.document.get("request"))
        identity = secrets.token_hex(8)
        with _removed_on_error(self.folder_of(identity).path), self._transaction():
            known = self._find_key(submission.owner, submission.key)
            if known is not None:
                job, known_body = known
                if known_body != body:
                    raise ConflictError(f"another request came under this idempotency key: job {job.id}")
                return job, False
            self._require_room(submission, most_active)
            now = self._clock()
            # The folder first: a row without a folder would be a job that nobody can run.
            document = {
                **submission.document,
                "id": identity,
                "owner": submission.owner,
                "priority": submission.priority,
                "output": submission.output,
                "created": now,
                "cores": submission.grant.cores,
                "memory": submission.grant.memory_bytes,
                "key": submission.key,
            }
            self.folder_of(identity).create(document)
            self._insert(document, JobState.QUEUED)
            return self.get(identity), True

    def get(self, job: str) -> Job:
        """Find a job.

        Raises
        ------
        JobNotFoundError
            When there is none.
        """
        with self._lock:
            row = self._database.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (job,)).fetchone()  # noqa: S608
        if row is None:
            raise JobNotFoundError(f"no job {job!r}; see the list of jobs")
        return _to_job(row)

    def find(self, wanted: Filter) -> list[Job]:
        """Jobs, newest first."""
        clauses, values = ["1"], []
        if wanted.owner is not None:
            clauses.append("owner = ?")
            values.append(wanted.owner)
        if wanted.states:
            clauses.append(f"state IN ({', '.join('?' * len(wanted.states))})")
            values += [str(state) for state in wanted.states]
        if wanted.before is not None:
            clauses.append("seq < ?")
            values.append(str(wanted.before))
        query = f"SELECT {_COLUMNS} FROM jobs WHERE {' AND '.join(clauses)} ORDER BY seq DESC LIMIT ?"  # noqa: S608
        with self._lock:
            return [_to_job(row) for row in self._database.execute(query, (*values, wanted.limit))]

    def queue(self) -> list[Job]:
        """Queued jobs in the order in which they are due."""
        query = f"SELECT {_COLUMNS} FROM jobs WHERE state = ? ORDER BY priority DESC, seq"  # noqa: S608
        with self._lock:
            return [_to_job(row) for row in self._database.execute(query, (str(JobState.QUEUED),))]

    def in_process(self) -> list[Job]:
        """Jobs that a process works for, or should."""
        query = f"SELECT {_COLUMNS} FROM jobs WHERE state IN (?, ?) ORDER BY seq"  # noqa: S608
        with self._lock:
            return [_to_job(row) for row in self._database.execute(query, sorted(map(str, IN_PROCESS)))]

    def counts(self) -> dict[JobState, int]:
        """Jobs by state."""
        with self._lock:
            rows = self._database.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall()
        return {state: dict(rows).get(str(state), 0) for state in JobState}

    def apply(self, job: str, event: JobEvent, **changes: object) -> Job:
        """Let something happen to a job, in one transaction, and tell its events.

        Parameters
        ----------
        job : str
            Its identity.
        event : JobEvent
            What happens.
        **changes
            Other fields that change with it.

        Raises
        ------
        JobNotFoundError, IllegalTransitionError
            When there is no such job, or the event makes no sense in its state.
        """
        with self._transaction():
            before = self.get(job)
            state = next_state(before.state, event)
            now = self._clock()
            if event is JobEvent.START:
                changes |= {"started_s": now, "ended_s": None, "attempts": before.attempts + 1, "error": ""}
            if state not in ACTIVE:
                changes.setdefault("ended_s", now)
            if event is JobEvent.RETRY:
                changes |= {"ended_s": None, "error": "", "losses": 0}
                self.folder_of(job).reopen()
            if event is JobEvent.CANCEL:
                self.folder_of(job).cancel()
            self._update(job, {"state": str(state), **changes})
            after = self.get(job)
            # Before the change is seen: whoever sees that a job has ended has then all its events.
            self.folder_of(job).append(
                "state", state=str(after.state), error=after.error, attempts=after.attempts
            )
        return after

    def note(self, job: str, **changes: object) -> None:
        """Change fields of a job other than its state."""
        if unknown := changes.keys() - _CHANGEABLE:
            raise StoreError(f"a job has no {', '.join(sorted(unknown))} that could change; report this")
        with self._transaction():
            self._update(job, changes)

    def delete(self, job: str) -> None:
        """Forget a job that has ended, its folder included; products and the job folder of the mosaic stay.

        Raises
        ------
        JobNotFoundError, IllegalTransitionError
            When there is no such job, or it has not ended.
        """
        folder = self.folder_of(job)
        doomed = folder.path.with_name(f"{_DELETED}{job}")
        with ExitStack() as undo:
            self._delete_row(job, folder, doomed, undo)
            undo.pop_all()
        shutil.rmtree(doomed, ignore_errors=True)

    def _delete_row(self, job: str, folder: JobFolder, doomed: Path, undo: ExitStack) -> None:
        with self._transaction():
            require_over(self.get(job).state)
            if folder.is_held:
                raise IllegalTransitionError(
                    f"the process of job {job} has not left yet; try again in a moment"
                )
            # Out of the way first: a folder that the list does not know would be taken into it again.
            with suppress(FileNotFoundError):
                folder.path.rename(doomed)
                undo.callback(doomed.rename, folder.path)
            self._database.execute("DELETE FROM jobs WHERE id = ?", (job,))

    def ended_before(self, when_s: float) -> list[str]:
        """Jobs that ended before a time, oldest first."""
        active = sorted(map(str, ACTIVE))
        query = (
            f"SELECT id FROM jobs WHERE state NOT IN ({', '.join('?' * len(active))}) "  # noqa: S608
            "AND coalesce(ended_s, created_s) < ? ORDER BY seq"
        )
        with self._lock:
            return [str(row[0]) for row in self._database.execute(query, (*active, when_s))]

    def _finish_deleting(self) -> None:
        """Delete what an earlier process began to delete."""
        for path in (self.folder / "jobs").glob(f"{_DELETED}*"):
            with self._transaction():
                self._database.execute("DELETE FROM jobs WHERE id = ?", (path.name.removeprefix(_DELETED),))
            shutil.rmtree(path, ignore_errors=True)

    def adopt(self) -> int:
        """Take jobs into the list whose folders it does not know; what is known only here begins at zero.

        A submission that was interrupted before it was answered is one of them: sent again under the same key
        it is then the same job.

        Returns
        -------
        int
            Jobs found.
        """
        self._finish_deleting()
        with self._lock:
            known = {row[0] for row in self._database.execute("SELECT id FROM jobs")}
        found = []
        for path in (self.folder / "jobs").iterdir():
            if is_job_id(path.name) and path.name not in known:
                try:
                    found.append(JobFolder(path).read())
                except StoreError:
                    # A submission that was interrupted before anybody was told that it exists.
                    continue
        with self._transaction():
            for document in sorted(found, key=lambda entry: (entry["created"], entry["id"])):
                folder = self.folder_of(document["id"])
                state, error = _state_on_disk(folder)
                self._insert(document, state)
                self._update(
                    document["id"],
                    {"error": error, "done": float(state is JobState.DONE), **_times_on_disk(folder, state)},
                )
        return len(found)

    def _require_room(self, submission: Submission, most_active: int) -> None:
        active = sorted(map(str, ACTIVE))
        marks = ", ".join("?" * len(active))
        row = self._database.execute(
            f"SELECT id FROM jobs WHERE output = ? AND state IN ({marks})",  # noqa: S608
            (submission.output, *active),
        ).fetchone()
        if row is not None:
            raise ConflictError(
                f"job {row[0]} writes to {submission.output}; wait for it or choose another output"
            )
        (n_active,) = self._database.execute(
            f"SELECT count(*) FROM jobs WHERE owner = ? AND state IN ({marks})",  # noqa: S608
            (submission.owner, *active),
        ).fetchone()
        if n_active >= most_active:
            raise LimitError(
                f"{submission.owner} has {n_active} active jobs, as many as allowed; wait for some to end"
            )

    def _find_key(self, owner: str, key: str | None) -> tuple[Job, str] | None:
        if key is None:
            return None
        row = self._database.execute(
            f"SELECT {_COLUMNS}, body_hash FROM jobs WHERE owner = ? AND idempotency_key = ?",  # noqa: S608
            (owner, key),
        ).fetchone()
        return None if row is None else (_to_job(row[:-1]), row[-1])

    def _insert(self, document: Mapping[str, Any], state: JobState) -> None:
        self._database.execute(
            "INSERT INTO jobs (id, owner, state, priority, output, created_s, cores, memory_bytes, "
            "reserved_bytes, idempotency_key, body_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(document[name] for name in ("id", "owner")),
                str(state),
                *(
                    document[name]
                    for name in ("priority", "output", "created", "cores", "memory", "memory", "key")
                ),
                _hash(document.get("request")),
            ),
        )

    def _update(self, job: str, changes: Mapping[str, object]) -> None:
        if not changes:
            return
        names = ", ".join(f"{name} = ?" for name in changes)
        self._database.execute(f"UPDATE jobs SET {names} WHERE id = ?", (*changes.values(), job))  # noqa: S608

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            with ExitStack() as stack:
                stack.callback(self._roll_back)
                yield
                self._database.execute("COMMIT")

    def _roll_back(self) -> None:
        """Undo what was not committed, a commit that failed included."""
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")


@contextmanager
def _removed_on_error(folder: Path) -> Iterator[None]:
    """Remove a folder that nobody will be told of."""
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield
        stack.pop_all()


def _state_on_disk(folder: JobFolder) -> tuple[JobState, str]:
    """State that the files of a job prove, and its error."""
    outcome = folder.outcome
    if outcome is not None:
        return (JobState.DONE if outcome["ok"] else JobState.FAILED), str(outcome["error"])
    if folder.is_held:
        return (JobState.CANCELLING if folder.is_cancelled else JobState.RUNNING), ""
    return (JobState.CANCELLED if folder.is_cancelled else JobState.QUEUED), ""


def _times_on_disk(folder: JobFolder, state: JobState) -> dict[str, object]:
    """Times and attempts as the events tell them."""
    attempts = 0
    changes: dict[str, object] = {}
    offset = 0
    while lines := folder.events(offset):
        for line in lines:
            offset = line.end
            if line.event["kind"] == "attempt":
                attempts += 1
                changes["started_s"] = line.event["time"]
            if line.event["kind"] in {"end", "state"} and state not in ACTIVE:
                changes["ended_s"] = line.event["time"]
    return {**changes, "attempts": attempts}


def _hash(request: object) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def _to_job(row: Sequence[Any]) -> Job:
    head, grant, tail = row[:7], Grant(row[7], row[8]), row[9:]
    identity, seq, owner, state, priority, output, created = head
    return Job(identity, seq, owner, JobState(state), priority, output, created, grant, *tail)
