"""Stopping a run on request: the driver asks between tasks, tasks ask between strips and bands of rows.

Covers the token that a caller holds, and the job folders that this process must not work for any longer. A
worker learns of a cancelled run by a call of the driver, so that asking costs no input or output.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from mosaic.errors import RunCancelledError


class CancelToken:
    """Asks a run to stop; may be used from any thread, and more than once."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    @property
    def is_cancelled(self) -> bool:
        """Whether the run was asked to stop."""
        return self._event.is_set()

    def cancel(self) -> None:
        """Ask the run to stop: it raises `RunCancelledError` and can be continued later."""
        with self._lock:
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call a function once when the run is asked to stop, at once if it was already."""
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return
        callback()

    def raise_if_cancelled(self) -> None:
        """Leave the run if it was asked to stop.

        Raises
        ------
        RunCancelledError
            When it was.
        """
        if self._event.is_set():
            raise RunCancelledError("the run was cancelled; the same command continues it")


_admitted: dict[str, str] = {}


def admit(store: str, identity: str) -> None:
    """Let tasks of one job alone work for a job folder in this process, and none of those before it."""
    _admitted[store] = identity


def withdraw(store: str) -> None:
    """Let no task of this process work for a job folder any longer."""
    _admitted[store] = ""


def release(store: str) -> None:
    """Let any task of this process work for a job folder, once no run holds it."""
    _admitted.pop(store, None)


def raise_if_withdrawn(store: str, identity: str) -> None:
    """Leave a task whose run was cancelled or replaced.

    Raises
    ------
    RunCancelledError
        When it was.
    """
    if _admitted.get(store, identity) != identity:
        raise RunCancelledError(f"the run in {store} was cancelled; the same command continues it")
