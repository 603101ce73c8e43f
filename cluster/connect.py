"""From a `ClusterSpec` to a Dask client whose workers are prepared.

Covers local threads, local processes and a scheduler that runs already. Does not cover batch
systems.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import dask
from distributed import Client, LocalCluster

from cluster.spec import ClusterSpec
from mosaic.errors import MosaicError
from workers.memory import MEMORY_CONFIG, plan_layout
from workers.plugin import CACHE_VARIABLE, MosaicWorker, kernel_cache_folder
from workers.threads import THREAD_ENVIRONMENT

CONNECT_TIMEOUT_S: Final = 30
"""How long an address may take to answer."""


class ClusterError(MosaicError):
    """Raised when a scheduler does not answer or has no workers: check the address, or start some."""


@contextmanager
def open_client(spec: ClusterSpec) -> Iterator[Client]:
    """Start or find the workers of a specification, prepare them, and close what was started.

    Processes are spawned: a script that asks for them needs the ``if __name__ == "__main__"`` guard.

    Yields
    ------
    distributed.Client
        Connected, with `workers.plugin.MosaicWorker` on every worker, present and future.
    """
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(_dask_config()))
        if spec.kind == "address":
            client = stack.enter_context(_connect(spec.address))
        else:
            cluster = stack.enter_context(_start_local(spec))
            client = stack.enter_context(Client(cluster, set_as_default=False))
        stack.enter_context(client.as_current())
        client.register_plugin(MosaicWorker(warm=spec.warm))
        yield client


def _dask_config() -> dict[str, object]:
    """Dask settings of our own."""
    return {
        **MEMORY_CONFIG,
        "distributed.scheduler.allowed-failures": 5,
        # Compute tasks hold the GIL only briefly, but a first compilation may be silent for long.
        "distributed.admin.tick.limit": "60s",
    }


def _start_local(spec: ClusterSpec) -> LocalCluster:
    """Workers on this machine; any free port serves their metrics, so that several runs go side by side."""
    layout = plan_layout(spec.cores, spec.memory_bytes, processes=spec.kind == "processes")
    environment = {**THREAD_ENVIRONMENT, CACHE_VARIABLE: str(kernel_cache_folder())}
    is_nannied = spec.kind == "processes"
    return LocalCluster(
        n_workers=layout.n_workers,
        threads_per_worker=layout.n_threads,
        memory_limit=layout.memory_bytes if is_nannied else 0,
        processes=is_nannied,
        dashboard_address=":0",
        local_directory=spec.scratch_folder,
        **({"env": environment} if is_nannied else {}),
    )


def _connect(address: str) -> Client:
    """Client of a scheduler that runs already, with at least one worker."""
    try:
        client = Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(f"no scheduler answers at {address}: {error}") from error
    if not client.scheduler_info(n_workers=1)["workers"]:
        client.close()
        raise ClusterError(
            f"the scheduler at {address} has no workers: start some with 'dask worker {address}'"
        )
    return client
