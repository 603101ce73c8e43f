"""One run at a time in a job folder: a lock of the system on a disk, a lease in an object store.

A lease is an object that its holder writes anew every few seconds. Whoever finds one watches it by a clock of
his own, so that clocks that differ do no harm: a lease that changes is held, one that does not is a dead
holder's and is taken over.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mosaic.errors import OutputError
from mosaic.graph.cancel import withdraw
from mosaic.graph.store import output_error
from mosaic.places import Place, RemotePlace, get, put, put_new, remove
from mosaic.retries import MOST_TRIES, backoff_seconds, io_errors

RENEWAL_S = 4.0
"""Time between two renewals of a lease."""
PATIENCE_S = 20.0
"""A lease that did not change for so long is given up."""


@contextmanager
def lock_folder(folder: Place) -> Iterator[None]:
    """Hold the job folder for this run alone, making it if need be.

    Raises
    ------
    OutputError
        When the folder cannot be made, or another run holds it.
    """
    if isinstance(folder, Path):
        with _system_lock(folder):
            yield
        return
    lease = _Lease(folder)
    lease.acquire()
    try:
        yield
    finally:
        lease.release()


@contextmanager
def _system_lock(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / "lock").open("w")
    except OSError as error:
        raise output_error(error, folder) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(_in_use(folder)) from error
        yield


def _in_use(folder: Place, holder: str = "") -> str:
    return f"{folder} is in use by another run{holder}; wait for it or choose another output"


def _token_of(text: bytes) -> str:
    """Token of a lease; empty when there is none, or when it did not arrive whole."""
    try:
        return str(json.loads(text)["token"])
    except (ValueError, KeyError, TypeError):
        return ""


def _describe(text: bytes) -> str:
    """Who holds a lease, as far as it says."""
    if not _token_of(text):
        return ""
    holder = json.loads(text)
    return f" (process {holder['pid']} on {holder['host']})"


class _Lease:
    """The lock object of a job folder in an object store."""

    def __init__(self, folder: RemotePlace) -> None:
        self._folder = folder
        self._place = folder / "lock"
        self._token = uuid.uuid4().hex
        self._count = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def _text(self) -> bytes:
        self._count += 1
        holder = {"token": self._token, "host": platform.node(), "pid": os.getpid(), "count": self._count}
        return json.dumps(holder).encode()

    def acquire(self) -> None:
        """Take the lease, that of a dead holder too.

        Raises
        ------
        OutputError
            When another run holds it.
        """
        for n_tries in range(1, MOST_TRIES + 1):
            while not put_new(self._place, self._text()):
                self._watch()
            # A store that does not know conditions lets two writers through: the last one holds it.
            time.sleep(0.1)
            seen = self._read()
            if _token_of(seen) == self._token:
                self._thread.start()
                return
            if _token_of(seen):
                raise OutputError(_in_use(self._folder))
            remove(self._place)  # what was sent did not arrive, or not whole
            time.sleep(backoff_seconds(n_tries))
        raise OutputError(f"{self._place} cannot be written ({MOST_TRIES} times); check the object store")

    def _watch(self) -> None:
        """Wait until the lease is gone or was not renewed for a while, and remove it then."""
        first = self._read()
        deadline = time.monotonic() + PATIENCE_S
        while first:
            time.sleep(min(RENEWAL_S / 2, 0.5))
            seen = self._read()
            if seen != first:
                if not seen:
                    return
                raise OutputError(_in_use(self._folder, _describe(seen)))
            if time.monotonic() > deadline:
                remove(self._place)
                return

    def _read(self) -> bytes:
        try:
            return get(self._place)
        except FileNotFoundError:
            return b""

    def _is_own(self) -> bool:
        return _token_of(self._read()) == self._token

    def _renew(self) -> None:
        """Renew until stopped; tasks stop when the lease was taken, for another run has the folder then."""
        last = time.monotonic()
        passing: tuple[type[Exception], ...] = (*io_errors(), OutputError)
        while not self._stop.wait(RENEWAL_S):
            try:
                if not self._is_own():
                    withdraw(str(self._folder))
                    return
                put(self._place, self._text())
                last = time.monotonic()
            except passing:
                if time.monotonic() - last > PATIENCE_S:
                    withdraw(str(self._folder))
                    return

    def release(self) -> None:
        """Give the lease back."""
        self._stop.set()
        self._thread.join()
        if self._is_own():
            remove(self._place)
