"""Tasks at a time in one process: a worker with more threads than memory lets some of them wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TaskGate:
    """Counts the tasks of this process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._n_inside = 0

    @contextmanager
    def passing(self, limit: int) -> Iterator[None]:
        """Wait until fewer than `limit` tasks are inside, then be one of them; 0: no limit."""
        with self._changed:
            self._changed.wait_for(lambda: limit == 0 or self._n_inside < limit)
            self._n_inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._n_inside -= 1
                self._changed.notify_all()


TASK_GATE = TaskGate()
"""The gate of this process."""
