"""Prepares a worker that is started by hand: ``dask worker ADDRESS --preload workers.preload``.

The kernels are ready before the scheduler sends the first task. What must be in the environment before
libraries load is set when this module is imported, which Dask does first.
"""

from __future__ import annotations

from distributed import Worker

from workers.prepare import prepare_process
from workers.threads import limit_threads

limit_threads()


def dask_setup(worker: Worker) -> None:
    """Prepare the process of a worker; Dask calls this once while the worker starts."""
    prepare_process(str(worker.name), warm=True)
