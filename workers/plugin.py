"""The plug-in that prepares a Dask worker and turns away one whose packages differ from the driver's.

It is pickled to the worker, so importing this module loads neither numba nor the kernels.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from distributed import Worker
from distributed.diagnostics.plugin import WorkerPlugin

from mosaic.errors import ClusterError
from mosaic.graph.software import require_same_software
from workers.prepare import prepare_process

logger = logging.getLogger("mosaic.workers")


class MosaicWorker(WorkerPlugin):  # type: ignore[misc]  # distributed is not typed
    """Prepares a worker before its first task.

    Parameters
    ----------
    warm : bool
        Compile the kernels (or load them from the cache) at once instead of at the first task.
    software : mapping of str to str, optional
        Versions of the driver, which the worker must have too.
    """

    name = "mosaic-worker"
    idempotent = False

    def __init__(self, *, warm: bool = True, software: Mapping[str, str] | None = None) -> None:
        self.warm = warm
        self.software = dict(software or {})

    def setup(self, worker: Worker) -> None:
        """Check versions, set the policies of threads and memory and the kernel cache, then warm up.

        Raises
        ------
        ClusterError
            When packages differ; the worker leaves the cluster then.
        """
        if self.software:
            try:
                require_same_software(self.software, f"worker {worker.address}")
            except ClusterError as error:
                logger.error("%s", error)  # noqa: TRY400 (the driver shows what is wrong; no traceback)
                worker.loop.add_callback(worker.close, nanny=True, reason="mosaic: other versions")
                raise
        prepare_process(str(worker.address), warm=self.warm)

    def teardown(self, worker: Worker) -> None:
        """Leave nothing behind: the cache is meant to stay."""
        del worker
