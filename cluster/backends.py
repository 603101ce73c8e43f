"""What starts workers: one function per system, found by its name in `BACKENDS`.

Every function returns a Dask cluster without workers yet (`scale_to` asks for them) or, where a scheduler
runs already, its address. dask-jobqueue and dask-kubernetes are imported when they are used.
"""

from __future__ import annotations

import importlib
import shlex
from types import MappingProxyType
from typing import Any, Final, Protocol

from distributed import LocalCluster, SpecCluster
from distributed.deploy import Cluster
from distributed.security import Security

from cluster.spec import ClusterSpec
from mosaic.errors import ClusterError, ParameterError
from mosaic.exposure.scratch import FOLDER_VARIABLE
from workers.memory import plan_layout
from workers.prepare import CACHE_VARIABLE, kernel_cache_folder
from workers.threads import THREAD_ENVIRONMENT

PRELOAD: Final = "workers.preload"
"""Prepares a worker before it says that it is there."""


class Backend(Protocol):
    """Starts a cluster, or finds one."""

    def __call__(self, spec: ClusterSpec) -> Cluster | str:
        """Return a Dask cluster, or the address of a scheduler."""


def start_cluster(spec: ClusterSpec) -> Cluster | str:
    """Start or find the cluster of a description.

    Raises
    ------
    ClusterError
        When it cannot be had.
    """
    return BACKENDS[spec.backend](spec)


def security_of(spec: ClusterSpec) -> Security | None:
    """Certificates of a description; None when there are none."""
    if not spec.has_tls:
        return None
    return Security(
        tls_ca_file=spec.tls_ca,
        tls_client_cert=spec.tls_cert,
        tls_client_key=spec.tls_key,
        tls_scheduler_cert=spec.tls_cert,
        tls_scheduler_key=spec.tls_key,
        tls_worker_cert=spec.tls_cert,
        tls_worker_key=spec.tls_key,
        require_encryption=True,
    )


def _environment(spec: ClusterSpec) -> dict[str, str]:
    """Environment of every worker."""
    scratch = {FOLDER_VARIABLE: spec.scratch} if spec.scratch else {}
    return {**THREAD_ENVIRONMENT, **scratch, **spec.environment}


def _local(spec: ClusterSpec) -> LocalCluster:
    """Processes of this machine; any free port serves their metrics, so that several runs go side by side."""
    layout = plan_layout(spec.cores, spec.memory, processes=True)
    return LocalCluster(
        n_workers=layout.n_workers,
        threads_per_worker=layout.n_threads,
        memory_limit=layout.memory_bytes,
        processes=True,
        dashboard_address=":0",
        local_directory=spec.scratch or None,
        env={CACHE_VARIABLE: str(kernel_cache_folder()), **_environment(spec)},
    )


def _address(spec: ClusterSpec) -> str:
    return spec.address


def _batch(spec: ClusterSpec) -> SpecCluster:
    """Jobs of a batch system, one worker process in each."""
    try:
        import dask_jobqueue  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise ClusterError(_missing(spec.backend, "jobqueue")) from error
    kind = getattr(dask_jobqueue, f"{spec.backend.upper()}Cluster")
    environment = {"MALLOC_TRIM_THRESHOLD_": "65536", **_environment(spec)}
    options: dict[str, Any] = {
        "cores": spec.worker_cores,
        "processes": 1,
        "memory": f"{spec.worker_memory}B",
        "walltime": spec.walltime,
        "queue": spec.queue or None,
        "local_directory": spec.scratch or None,
        "log_directory": spec.log_folder or None,
        "interface": spec.interface or None,
        "python": spec.python or None,
        "job_extra_directives": list(spec.directives),
        "job_script_prologue": [
            *(f"export {name}={shlex.quote(value)}" for name, value in environment.items()),
            *spec.prologue,
        ],
        "worker_extra_args": [*_lifetime(spec.walltime), "--preload", PRELOAD],
        "scheduler_options": {"dashboard_address": ":0"},
        # Certificates are made for this run and shared through the home folder unless some are given.
        "security": security_of(spec) or (None if spec.allow_plain else True),
        "protocol": "tcp://" if spec.allow_plain and not spec.has_tls else "tls://",
    }
    if spec.backend == "lsf":
        minutes = parse_walltime(spec.walltime) // 60
        options |= {
            "ncpus": spec.worker_cores,
            "mem": spec.worker_memory,
            "walltime": f"{minutes // 60:02d}:{minutes % 60:02d}",
        }
    options["project" if spec.backend in {"sge", "lsf"} else "account"] = spec.account or None
    return kind(**options)


def _lifetime(walltime: str) -> list[str]:
    """Let workers leave in good order before their time is up, and not all at once."""
    seconds = parse_walltime(walltime)
    margin = min(300, seconds // 5)
    return ["--lifetime", f"{seconds - margin}s", "--lifetime-stagger", f"{margin // 2}s"]


def parse_walltime(text: str) -> int:
    """Seconds of ``[days-]HH:MM[:SS]``; minutes, when there is one number only.

    Raises
    ------
    ParameterError
        When it is not a time.
    """
    days, _, clock = text.rpartition("-")
    try:
        parts = [int(part) for part in clock.split(":")]
        whole_days = int(days) if days else 0
    except ValueError as error:
        raise ParameterError(f"walltime = {text!r}: it must be a time such as 02:00:00") from error
    if len(parts) == 1:
        parts = [0, *parts]
    hours, minutes, seconds = (*parts, 0)[:3]
    total = ((whole_days * 24 + hours) * 60 + minutes) * 60 + seconds
    if total < 60:
        raise ParameterError(f"walltime = {text!r}: a worker needs a minute at least")
    return total


def _kubernetes(spec: ClusterSpec) -> Cluster:
    """Pods, managed by the Dask operator of the Kubernetes cluster."""
    try:
        from dask_kubernetes.operator import KubeCluster  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise ClusterError(_missing(spec.backend, "kubernetes")) from error
    return KubeCluster(
        namespace=spec.namespace or None, n_workers=0, custom_cluster_spec=kubernetes_document(spec)
    )


def kubernetes_document(spec: ClusterSpec) -> dict[str, Any]:
    """`DaskCluster` resource of a description, as the operator of Dask takes it."""
    from dask_kubernetes.operator import make_cluster_spec  # noqa: PLC0415 (an extra)

    size = {"memory": str(spec.worker_memory), "cpu": str(spec.worker_cores)}
    document: dict[str, Any] = make_cluster_spec(
        name="mosaic",
        image=spec.image,
        n_workers=0,
        resources={"limits": size, "requests": size},
        env={"MALLOC_TRIM_THRESHOLD_": "65536", **_environment(spec)},
    )
    container = document["spec"]["worker"]["spec"]["containers"][0]
    container["args"] = [
        *("dask", "worker", "--name", "$(DASK_WORKER_NAME)", "--dashboard", "--dashboard-address", "8788"),
        *("--nthreads", str(spec.worker_cores), "--memory-limit", str(spec.worker_memory)),
        *("--preload", PRELOAD),
        *(("--local-directory", spec.scratch) if spec.scratch else ()),
    ]
    return document


def _factory(spec: ClusterSpec) -> Cluster | str:
    """Whatever a callable of the user returns."""
    module, _, name = spec.factory.partition(":")
    try:
        make = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ParameterError(f"factory {spec.factory}: {error}; is its folder on PYTHONPATH?") from error
    made = make(**spec.arguments)
    if isinstance(made, str | Cluster):
        return made
    raise ParameterError(f"factory {spec.factory} returned a {type(made).__name__}, not a Dask cluster")


def _missing(backend: str, extra: str) -> str:
    return f"the cluster backend {backend!r} is not installed: pip install 'mosaic-hst[{extra}]'"


BACKENDS: Final[MappingProxyType[str, Backend]] = MappingProxyType(
    {
        "local": _local,
        "address": _address,
        "slurm": _batch,
        "pbs": _batch,
        "sge": _batch,
        "lsf": _batch,
        "kubernetes": _kubernetes,
        "factory": _factory,
    }
)
"""Backend of every name that `ClusterSpec.backend` may have."""
