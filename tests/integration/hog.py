"""Preload of a worker that takes more memory than it may once it works; see `MOSAIC_HOG`."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from distributed import Worker

_held: list[bytes] = []


def dask_setup(worker: Worker) -> None:
    """Take memory after the first tasks: every time, or once, if `MOSAIC_HOG` names a file that marks it."""
    limit = int(worker.memory_manager.memory_limit or 0)
    marker = os.environ["MOSAIC_HOG"]

    def take() -> None:
        while not worker.state.executing_count:
            time.sleep(0.01)
        if marker != "always":
            if Path(marker).exists():
                return
            Path(marker).touch()
        # Written to, so that it counts; all at once, so that the task at work does not end before.
        _held.append(b"x" * limit)

    threading.Thread(target=take, daemon=True).start()
