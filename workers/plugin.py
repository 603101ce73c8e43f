"""The plug-in that prepares a Dask worker: threads, kernel cache, warm-up.

It is pickled to the worker, so importing this module loads neither numba nor the kernels.
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from distributed import Worker
from distributed.diagnostics.plugin import WorkerPlugin

from mosaic.graph.memory import bound_allocator
from workers.threads import limit_threads

CACHE_VARIABLE = "NUMBA_CACHE_DIR"
logger = logging.getLogger("mosaic.workers")


def kernel_cache_folder() -> Path:
    """Folder of compiled kernels on the local disk of the node, one per user.

    A shared disk is never used: two nodes with different processors would overwrite each other.
    """
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given)
    return Path(tempfile.gettempdir()) / f"mosaic-kernels-{os.getuid()}"


class MosaicWorker(WorkerPlugin):  # type: ignore[misc]  # distributed is not typed
    """Prepares a worker before its first task.

    Parameters
    ----------
    warm : bool
        Compile the kernels (or load them from the cache) at once instead of at the first task.
    """

    name = "mosaic-worker"
    idempotent = True

    def __init__(self, *, warm: bool = True) -> None:
        self.warm = warm

    def setup(self, worker: Worker) -> None:
        """Set the thread policy and the kernel cache, then warm up."""
        limit_threads()
        bound_allocator()
        folder = kernel_cache_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.environ.setdefault(CACHE_VARIABLE, str(folder))
        if self.warm:
            from workers.warmup import warm_up  # noqa: PLC0415 (numba must see the cache folder first)

            report = warm_up()
            logger.info(
                "%s: %d groups of kernels ready in %.1f s", worker.address, report.n_parts, report.seconds
            )

    def teardown(self, worker: Worker) -> None:
        """Leave nothing behind: the cache is meant to stay."""
        del worker
