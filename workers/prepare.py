"""What every worker process does once before its first task: threads, allocator, kernel cache, warm-up.

The plug-in and the preload both come here; the second of them finds everything done. Importing this module
loads neither numba nor the kernels, for both must find the cache folder set.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from pathlib import Path

from mosaic.graph.memory import bound_allocator
from workers.threads import limit_threads

CACHE_VARIABLE = "NUMBA_CACHE_DIR"
logger = logging.getLogger("mosaic.workers")
_lock = threading.Lock()
_warmed: set[int] = set()


def kernel_cache_folder() -> Path:
    """Folder of compiled kernels on the local disk of the node, one per user.

    A shared disk is never used: two nodes with different processors would overwrite each other.
    """
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given)
    return Path(tempfile.gettempdir()) / f"mosaic-kernels-{os.getuid()}"


def prepare_process(place: str, *, warm: bool) -> None:
    """Prepare this process for tasks; what was done before is not done again.

    Parameters
    ----------
    place : str
        What this process is, for the log.
    warm : bool
        Load the kernels (or compile them) at once instead of at the first task.
    """
    limit_threads()
    bound_allocator()
    folder = kernel_cache_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ.setdefault(CACHE_VARIABLE, str(folder))
    with _lock:
        if not warm or os.getpid() in _warmed:
            return
        from workers.warmup import warm_up  # noqa: PLC0415 (numba must see the cache folder first)

        report = warm_up()
        _warmed.add(os.getpid())
    logger.info("%s: %d groups of kernels ready in %.1f s", place, report.n_parts, report.seconds)
