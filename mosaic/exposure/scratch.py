"""Pixels of remote inputs on a disk of the machine: fetched once, read in every phase of a job.

Covers one folder per job, shared by the processes of a machine and removed when the last of them leaves it;
what a killed process left is removed by the next. The cache changes what a read costs and nothing else: a
disk that fills up, or cannot be written, only makes it smaller.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO

from mosaic.places import put

FOLDER_VARIABLE: Final = "MOSAIC_SCRATCH"
"""Names the folder for scratch files; the temporary folder of the system by default."""
_KEPT_FREE_BYTES: Final = 1 << 30
_KEPT_FREE_SHARE: Final = 0.05
_N_LOCKS: Final = 64


class Scratch:
    """Ranges of remote files, kept for one job at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._job = ""
        self._folder: Path | None = None
        self._holder: TextIO | None = None
        self._locks = [threading.Lock() for _ in range(_N_LOCKS)]

    def use(self, job: str) -> None:
        """Keep what is read from now on for a job; what was kept for another is given up."""
        with self._lock:
            if job == self._job:
                return
            self._leave()
            root = _root()
            if root is None:
                return
            _sweep(root)
            with suppress(OSError):
                self._holder = _hold(root / f"{job}.lock")
                (root / job).mkdir(exist_ok=True)
                self._job, self._folder = job, root / job

    def leave(self, job: str = "") -> None:
        """Give up what is kept for a job, or for any; it is removed when no other process uses it."""
        with self._lock:
            if job in {"", self._job}:
                self._leave()

    def _leave(self) -> None:
        if self._holder is not None and self._folder is not None:
            root = self._folder.parent
            self._holder.close()
            self._job, self._folder, self._holder = "", None, None
            _sweep(root)

    def read(self, url: str, start: int, count: int, fetch: Callable[[], bytes]) -> bytes:
        """Range of a remote file, from the disk if it was read before.

        Parameters
        ----------
        url : str
            The file, which does not change as long as the job lasts.
        start, count : int
            Bytes wanted; the same range is found again, not parts of it.
        fetch : callable
            Reads the range; a short answer is passed on and not kept.
        """
        folder = self._folder
        if folder is None:
            return fetch()
        name = f"{hashlib.sha256(url.encode()).hexdigest()[:24]}-{start}-{count}"
        place = folder / name
        # Threads that want the same range wait for the one that fetches it.
        with self._locks[hash(name) % _N_LOCKS]:
            with suppress(OSError):
                kept = place.read_bytes()
                if len(kept) == count:
                    return kept
            data = fetch()
            if len(data) == count:
                with suppress(OSError):
                    _keep(place, data)
        return data


def _keep(place: Path, data: bytes) -> None:
    """Write a file whole, as long as enough of the disk stays free."""
    total, _used, free = shutil.disk_usage(place.parent)
    if free - len(data) < max(_KEPT_FREE_BYTES, int(_KEPT_FREE_SHARE * total)):
        return
    put(place, data)


def _root() -> Path | None:
    """Folder of all jobs of this user; None when there cannot be one, or when it belongs to another user."""
    base = Path(os.environ.get(FOLDER_VARIABLE) or tempfile.gettempdir())
    folder = base / f"mosaic-scratch-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder if folder.stat().st_uid == os.getuid() else None
    except OSError:
        return None


def _hold(path: Path) -> TextIO:
    """Open and share the lock of a job folder; one that is being removed is not waited for but made anew."""
    while True:
        handle = path.open("a", encoding="ascii")
        fcntl.flock(handle, fcntl.LOCK_SH)
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(handle.fileno()).st_ino:
                return handle
        handle.close()


def _sweep(root: Path) -> None:
    """Remove the folders of jobs that no process of this machine works for."""
    for path in root.glob("*.lock"):
        with suppress(OSError), path.open("a", encoding="ascii") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink(missing_ok=True)


SCRATCH = Scratch()
"""The cache of this process."""
atexit.register(SCRATCH.leave)
