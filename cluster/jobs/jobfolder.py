"""The folder of a job on disk: the truth from which everything else can be rebuilt.

``job.json`` (request), ``events.jsonl`` (what happened, one line each, only ever appended to),
``log.txt``, ``outcome.json`` (how it ended), ``cancel`` (somebody asked it to stop), ``lock`` (held by
its process as long as that lives), ``process.json`` (which process), ``preview.png``, ``work`` (scratch of a
process whose products are sent elsewhere). Does not cover what the lines mean (`cluster.jobs.progress`).
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil

from mosaic.errors import MosaicError, StoreError

MOST_BYTES_AT_ONCE: Final = 4 << 20
"""Bytes of the events that are read at a time."""
_LOCK_ATTEMPTS: Final = 20
_LOCK_PAUSE_S: Final = 0.05


class JobBusyError(MosaicError):
    """Raised when a process works for the job already: do not start another."""


class Line(NamedTuple):
    """One event of a job."""

    end: int
    """Offset in the file behind it: where to go on reading."""
    event: dict[str, Any]
    """What happened; ``kind`` and ``time`` are always there."""


class JobFolder:
    """Files of one job.

    Parameters
    ----------
    path : Path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "log.txt"
        self.preview = path / "preview.png"
        self.work = path / "work"
        self._events = path / "events.jsonl"

    def create(self, document: Mapping[str, Any]) -> None:
        """Make the folder and write what was asked for; nobody else may look into it."""
        self.path.mkdir(mode=0o700, parents=True)
        self._write("job.json", document)
        _flush_folder(self.path.parent)

    def read(self) -> dict[str, Any]:
        """What was asked for.

        Raises
        ------
        StoreError
            When the folder is not that of a job.
        """
        document = self._read("job.json")
        if document is None:
            raise StoreError(f"{self.path} holds no job.json; remove the folder")
        return document

    def append(self, kind: str, **facts: object) -> None:
        """Add an event. Lines of several processes do not mix: each is one write to the end of the file.

        Raises
        ------
        OSError
            When the disk is full.
        """
        line = json.dumps({"kind": kind, "time": round(time.time(), 3), **facts}).encode() + b"\n"
        handle = os.open(self._events, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(handle).st_size
            if size and not _is_line_start(handle, size):
                line = b"\n" + line
            if os.write(handle, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._events))
        finally:
            os.close(handle)

    def events(self, offset: int = 0, limit: int = MOST_BYTES_AT_ONCE) -> list[Line]:
        """Events behind an offset, as many as fit into `limit` bytes; a line that is not whole waits.

        A line that a killed process left unfinished is passed over.
        """
        try:
            with self._events.open("rb") as file:
                if offset and not _is_line_start(file.fileno(), offset):
                    offset = 0
                file.seek(offset)
                data = file.read(limit)
        except FileNotFoundError:
            return []
        lines = []
        for raw in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
            offset += len(raw)
            try:
                event = json.loads(raw)
            except ValueError:
                continue
            if isinstance(event, dict):
                lines.append(Line(offset, event))
        return lines

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Be the process of this job while the block lasts; the lock goes with the process, however it ends.

        Raises
        ------
        JobBusyError
            When another process is.
        """
        with (self.path / "lock").open("a") as handle:
            self._lock(handle.fileno())
            process = psutil.Process()
            self._write("process.json", {"pid": process.pid, "started": process.create_time()})
            yield

    def _lock(self, handle: int) -> None:
        # Somebody who only looks whether the lock is held has it for a moment: ask again.
        for left in range(_LOCK_ATTEMPTS, 0, -1):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if left == 1:
                    raise JobBusyError(f"job {self.path.name} has a process already") from error
                time.sleep(_LOCK_PAUSE_S)
            else:
                return

    @property
    def is_held(self) -> bool:
        """Whether a process works for the job."""
        try:
            with (self.path / "lock").open("r") as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except OSError:
                    return True
        except FileNotFoundError:
            pass
        return False

    @property
    def pid(self) -> int | None:
        """Process that holds the job; None when none does, or the note of an earlier one is still there."""
        document = self._read("process.json") if self.is_held else None
        if document is None:
            return None
        try:
            started = psutil.Process(int(document["pid"])).create_time()
        except psutil.Error:
            return None
        return int(document["pid"]) if started == document["started"] else None

    @property
    def outcome(self) -> dict[str, Any] | None:
        """How the latest attempt ended; None while it did not."""
        return self._read("outcome.json")

    def finish(self, outcome: Mapping[str, Any]) -> None:
        """Write how the attempt ended: from then on nobody starts another one unasked."""
        self._write("outcome.json", outcome)

    def reopen(self) -> None:
        """Forget how it ended and that it was cancelled, so that another attempt can begin."""
        for name in ("outcome.json", "cancel"):
            (self.path / name).unlink(missing_ok=True)

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked the job to stop."""
        return (self.path / "cancel").exists()

    def cancel(self) -> None:
        """Remember that somebody asked the job to stop."""
        (self.path / "cancel").touch()

    def clear_work(self) -> None:
        """Remove what a process left in its scratch folder."""
        shutil.rmtree(self.work, ignore_errors=True)

    def log_tail(self, n_bytes: int) -> str:
        """End of the log, whole lines."""
        try:
            with self.log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - n_bytes))
                data = file.read(n_bytes)
        except FileNotFoundError:
            return ""
        if size > n_bytes:
            data = data.partition(b"\n")[2]
        return data.decode("utf-8", "replace")

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            document = json.loads((self.path / name).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return document if isinstance(document, dict) else None

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        temporary = self.path / f".{name}.{os.getpid()}.tmp"
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path / name)
        _flush_folder(self.path)


def _flush_folder(path: Path) -> None:
    """Make the names in a folder survive a loss of power."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_line_start(handle: int, offset: int) -> bool:
    return os.pread(handle, 1, offset - 1) == b"\n"
