"""From a `ClusterSpec` to a Dask client whose workers are prepared and of the same versions as the driver."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import dask
from distributed import Client
from distributed.deploy import Cluster

from cluster.backends import security_of, start_cluster
from cluster.sizing import size_cluster
from cluster.spec import ClusterSpec
from mosaic.errors import ClusterError
from mosaic.graph.software import describe_differences, software_versions
from workers.memory import MEMORY_CONFIG, usable_memory
from workers.plugin import MosaicWorker

CONNECT_TIMEOUT_S: Final = 30
"""How long an address may take to answer, and then to have a worker."""
_PAUSE_S: Final = 0.2
_SAY_AFTER_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class WorkerSize:
    """What one worker offers."""

    n_threads: int
    """Tasks it takes at a time."""
    memory_bytes: int
    """Memory that tasks may use."""


class Workers:
    """Workers of a cluster that was started or found, as long as `open_workers` is entered.

    Parameters
    ----------
    spec : ClusterSpec
        What is wanted.
    cluster : Cluster or str
        What was started, or the address of a scheduler that runs already.
    say : callable, optional
        Told of what is waited for. Without it nobody knows, so that the wait is shorter.
    """

    def __init__(
        self, spec: ClusterSpec, cluster: Cluster | str, say: Callable[[str], None] | None = None
    ) -> None:
        self.spec = spec
        self._say = say
        self._cluster = cluster
        self.client: Client = self._connect(CONNECT_TIMEOUT_S)
        self.n_threads = spec.worker_cores
        """Threads expected once all workers are there."""

    @property
    def wait_s(self) -> float:
        """Seconds without any worker after which a run gives up."""
        return self.spec.worker_wait_s

    def _connect(self, timeout_s: float) -> Client:
        """Client with our plug-in; its workers have our versions."""
        place = self._cluster if isinstance(self._cluster, str) else self._cluster.scheduler_address
        try:
            client = Client(
                self._cluster,
                timeout=timeout_s,
                set_as_default=False,
                security=security_of(self.spec) if isinstance(self._cluster, str) else None,
            )
        except (OSError, TimeoutError, ValueError) as error:
            raise ClusterError(f"no scheduler answers at {place}: {error}") from error
        with ExitStack() as stack:
            stack.callback(client.close, timeout=2)
            self._check_software(client)
            # Registered under one name: what an earlier run left there is replaced.
            client.register_plugin(MosaicWorker(warm=self.spec.warm, software=software_versions()))
            stack.pop_all()
        return client

    def _check_software(self, client: Client) -> None:
        """Name every worker whose packages differ from ours."""
        found: dict[str, Any] = client.run(software_versions, on_error="return")
        problems: dict[str, str] = {}
        for worker, theirs in found.items():
            if isinstance(theirs, dict):
                differences = describe_differences(software_versions(), theirs)
            else:
                differences = f"no usable mosaic ({type(theirs).__name__}: {theirs})"
            if differences:
                problems.setdefault(differences, worker)
        if problems:
            text = "; ".join(f"worker {worker} has {what}" for what, worker in problems.items())
            raise ClusterError(f"{text}: install the same versions on all sides")

    def reconnect(self) -> Client:
        """Return a new client after the scheduler was lost, once one answers again and has a worker.

        Raises
        ------
        ClusterError
            When that takes longer than ``worker_wait_s``.
        """
        with suppress(Exception):  # whatever is left of a broken connection
            self.client.close(timeout=1)
        deadline = time.monotonic() + self.spec.worker_wait_s
        while True:
            try:
                self.client = self._connect(CONNECT_TIMEOUT_S)
                break
            except ClusterError as error:
                if time.monotonic() > deadline:
                    raise ClusterError(
                        f"the scheduler was lost and is not back after {self.spec.worker_wait_s:.0f} s "
                        f"({error}); start it, then run the same command to continue"
                    ) from error
                time.sleep(_PAUSE_S)
        self.require_workers(deadline - time.monotonic())
        return self.client

    def require_workers(self, wait_s: float) -> None:
        """Wait for the first worker.

        Raises
        ------
        ClusterError
            When none comes.
        """
        start = time.monotonic()
        was_said = self._say is None
        while not self.client.nthreads():
            waited = time.monotonic() - start
            address = self.client.scheduler.address
            remedy = "look into the logs of the jobs"
            if self.spec.backend == "address":
                remedy = f"start some with 'dask worker {address} --preload workers.preload'"
            if waited > wait_s:
                raise ClusterError(
                    f"the scheduler at {address} has no workers after {wait_s:.0f} s: {remedy}"
                )
            if waited > _SAY_AFTER_S and not was_said and self._say is not None:
                self._say(
                    f"the scheduler at {address} has no workers yet ({remedy}); waiting up to {wait_s:.0f} s"
                )
                was_said = True
            time.sleep(_PAUSE_S)

    def smallest(self) -> WorkerSize:
        """Size that tasks are planned for: of the worker with the least memory for each thread.

        Raises
        ------
        ClusterError
            When a cluster that is not ours to enlarge has no workers.
        """
        if self.spec.backend not in {"address", "factory", "local"}:
            return WorkerSize(self.spec.worker_cores, usable_memory(self.spec.worker_memory))
        self.require_workers(CONNECT_TIMEOUT_S if self._say is None else self.spec.worker_wait_s)
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        sizes = [WorkerSize(w["nthreads"], usable_memory(w["memory_limit"])) for w in workers]
        return min(sizes, key=lambda size: size.memory_bytes / size.n_threads)

    def scale(self, n_tasks: int) -> None:
        """Ask for the workers that a number of tasks keeps busy, and wait for the first."""
        present = sum(self.client.nthreads().values())
        if self.spec.backend in {"address", "local"} or isinstance(self._cluster, str):
            self.n_threads = max(1, present)
            return
        size = size_cluster(self.spec, n_tasks)
        if size.is_fixed:
            self._cluster.scale(size.n_workers)
        else:
            self._cluster.adapt(minimum=size.least, maximum=size.n_workers)
        self.n_threads = max(1, present, size.n_workers * self.spec.worker_cores)
        if size.least > 0:
            self.require_workers(self.spec.worker_wait_s)

    def close(self) -> None:
        """Leave the cluster."""
        with suppress(OSError, TimeoutError):
            self.client.close(timeout=5)


@contextmanager
def open_workers(spec: ClusterSpec, say: Callable[[str], None] | None = None) -> Iterator[Workers]:
    """Start or find the workers of a description, prepare them, and close what was started.

    Processes are spawned: a script that asks for them needs the ``if __name__ == "__main__"`` guard.

    Parameters
    ----------
    spec : ClusterSpec
        What is wanted.
    say : callable, optional
        As for `Workers`.

    Yields
    ------
    Workers
        With `workers.plugin.MosaicWorker` on every worker, present and future.

    Raises
    ------
    ClusterError
        When there is no scheduler, or a worker has other versions.
    """
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(_dask_config()))
        cluster = start_cluster(spec)
        if not isinstance(cluster, str):
            stack.enter_context(cluster)
        workers = Workers(spec, cluster, say)
        stack.callback(workers.close)
        yield workers


def _dask_config() -> dict[str, object]:
    """Dask settings of our own."""
    return {
        **MEMORY_CONFIG,
        "distributed.scheduler.allowed-failures": 5,
        # Compute tasks hold the GIL only briefly, but a first compilation may be silent for long.
        "distributed.admin.tick.limit": "60s",
    }
