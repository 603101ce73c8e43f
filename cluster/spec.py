"""`ClusterSpec`: which workers are wanted, as plain data.

Covers the description, where it is read from (TOML files, ``NAME=VALUE``, the environment, the options of a
run) and what is refused. Does not cover starting anything (`cluster.backends`, `cluster.connect`).
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import date, time
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from mosaic.errors import ParameterError
from mosaic.options import BATCH_SCHEDULERS, RunOptions
from mosaic.parameters import describe_problems, join_problems
from mosaic.values import Memory

BackendName = Literal["local", "address", "slurm", "pbs", "sge", "lsf", "kubernetes", "factory"]

ENVIRONMENT_PREFIX: Final = "MOSAIC_CLUSTER_"
"""``MOSAIC_CLUSTER_QUEUE`` sets `queue`, and so on; ``MOSAIC_CLUSTER`` names a TOML file."""
_ENCRYPTED: Final = frozenset({"tls", "wss"})
_LOCAL_HOSTS: Final = frozenset({"localhost", "localhost.localdomain"})
_MIB: Final = 1 << 20


class ClusterSpec(BaseModel):
    """Workers that are wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: BackendName = Field(description="What starts or finds the workers.")
    address: str = Field(default="", description="Address of a scheduler that runs already, tls://host:8786.")
    tls_ca: str = Field(default="", description="File of the certificate authority.")
    tls_cert: str = Field(default="", description="File of our certificate.")
    tls_key: str = Field(default="", description="File of our private key.")
    allow_plain: bool = Field(
        default=False,
        description="Accept an unencrypted connection to another machine: whoever reaches the port of a "
        "scheduler can run programs there.",
    )
    cores: Annotated[int, Field(ge=1)] = Field(default=1, description="Cores of all local workers together.")
    memory: Memory = Field(default=2048 * _MIB, description="Memory of all local workers together.")
    workers: Annotated[int, Field(ge=1)] | Literal["plan"] = Field(
        default="plan", description="Workers to start; 'plan': as many as the tasks of the plan keep busy."
    )
    max_workers: Annotated[int, Field(ge=1)] = Field(default=16, description="Most workers to start.")
    min_workers: Annotated[int, Field(ge=0)] = Field(default=0, description="Least workers when adaptive.")
    adaptive: bool = Field(
        default=False, description="Let the number of workers follow the work, between the two limits."
    )
    worker_cores: Annotated[int, Field(ge=1)] = Field(default=1, description="Cores of each worker.")
    worker_memory: Memory = Field(default=2048 * _MIB, description="Memory of each worker.")
    worker_wait_s: Annotated[float, Field(gt=0)] = Field(
        default=300.0, description="Seconds without any worker after which the run ends with an error."
    )
    scratch: str = Field(default="", description="Folder on a disk of the worker's own; empty: the system's.")
    warm: bool = Field(default=True, description="Load the kernels before the first task.")
    queue: str = Field(default="", description="Queue or partition of the batch system.")
    account: str = Field(default="", description="Account or project that pays.")
    walltime: str = Field(default="01:00:00", description="Time limit of a job of the batch system.")
    directives: tuple[str, ...] = Field(default=(), description="More lines for the head of a batch script.")
    prologue: tuple[str, ...] = Field(default=(), description="Commands before the worker starts.")
    python: str = Field(default="", description="Interpreter on the nodes; empty: the path of this one.")
    interface: str = Field(default="", description="Network interface of scheduler and workers.")
    log_folder: str = Field(default="", description="Where the batch system puts the output of jobs.")
    image: str = Field(default="mosaic-hst:latest", description="Container image of the pods.")
    namespace: str = Field(default="", description="Kubernetes namespace; empty: that of the context.")
    environment: dict[str, str] = Field(default_factory=dict, description="Environment of the workers.")
    factory: str = Field(default="", description="module:callable that returns a Dask cluster.")
    arguments: dict[str, JsonValue] = Field(default_factory=dict, description="Arguments of the factory.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Refuse what cannot be meant, and what would be dangerous."""
        if self.backend == "address" and not self.address:
            raise ValueError("backend 'address' needs the address of its scheduler")
        if self.backend != "address" and self.address:
            raise ValueError(f"backend {self.backend!r} has no address, {self.address!r} was given")
        if self.backend == "factory" and not is_factory(self.factory):
            raise ValueError(f"backend 'factory' needs factory = 'module:callable', not {self.factory!r}")
        if self.min_workers > self.max_workers:
            raise ValueError(f"min_workers {self.min_workers} is above max_workers {self.max_workers}")
        files = (self.tls_ca, self.tls_cert, self.tls_key)
        if any(files) and not all(files):
            raise ValueError("TLS needs tls_ca, tls_cert and tls_key together")
        if self.backend == "address":
            self._check_address()
        return self

    def _check_address(self) -> None:
        scheme, host = _scheme_and_host(self.address)
        if scheme in _ENCRYPTED:
            if not self.has_tls:
                raise ValueError(f"{self.address} is encrypted: name tls_ca, tls_cert and tls_key")
        elif not self.allow_plain and scheme != "inproc" and not is_loopback(host):
            raise ValueError(
                f"{self.address} is not encrypted and not on this machine: use tls:// with certificates, or "
                "set allow_plain=true where the network is closed to others"
            )

    @property
    def has_tls(self) -> bool:
        """Whether certificates were named."""
        return bool(self.tls_ca)

    @classmethod
    def resolve(cls, values: Mapping[str, object]) -> Self:
        """Check a description.

        Raises
        ------
        ParameterError
            Naming everything that is wrong with it.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ParameterError(f"cluster: {join_problems(describe_problems(error))}") from error

    @classmethod
    def from_options(cls, options: RunOptions, environ: Mapping[str, str] | None = None) -> Self:
        """Describe the cluster that the options of a run ask for.

        What is said later wins: the file that ``MOSAIC_CLUSTER`` names, the variables ``MOSAIC_CLUSTER_*``,
        the entries of ``options.cluster`` in their order, ``options.scheduler``.

        Raises
        ------
        ParameterError
            For schedulers that need no cluster, and for anything wrong in the description.
        """
        if options.scheduler in {"serial", "threads"}:
            raise ParameterError(f"the scheduler {options.scheduler!r} runs without a cluster")
        if options.scheduler == "processes":
            # The kernels of this machine are in the cache: a task loads those it needs in milliseconds.
            return cls(backend="local", cores=options.cores, memory=options.memory, warm=False)
        environ = os.environ if environ is None else environ
        values: dict[str, object] = {"cores": options.cores, "memory": options.memory}
        values |= read_environment(environ)
        values |= read_entries(options.cluster)
        values |= _from_scheduler(options.scheduler)
        return cls.resolve(values)


def _from_scheduler(scheduler: str) -> dict[str, object]:
    """What ``--scheduler`` says of a cluster."""
    if scheduler == "cluster":
        return {}
    if scheduler in BATCH_SCHEDULERS:
        return {"backend": scheduler}
    if is_factory(scheduler):
        return {"backend": "factory", "factory": scheduler}
    return {"backend": "address", "address": scheduler}


def is_factory(text: str) -> bool:
    """Whether a text names a callable, as ``package.module:function``."""
    return re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text) is not None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine and the connection cannot be overheard."""
    if host.lower() in _LOCAL_HOSTS:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _scheme_and_host(address: str) -> tuple[str, str]:
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    return parts.scheme.lower(), parts.hostname or ""


def read_entries(entries: Iterable[str]) -> dict[str, object]:
    """Values from TOML files and ``NAME=VALUE`` entries, later ones first.

    Raises
    ------
    ParameterError
        When a file cannot be read.
    """
    values: dict[str, object] = {}
    for entry in entries:
        name, is_setting, text = entry.partition("=")
        if is_setting and re.fullmatch(r"\s*\w+\s*", name):
            values[name.strip()] = _parse_value(text.strip())
        else:
            values |= _read_file(entry)
    return values


def read_environment(environ: Mapping[str, str]) -> dict[str, object]:
    """Values that the environment gives."""
    file = environ.get("MOSAIC_CLUSTER", "")
    values = _read_file(file) if file else {}
    for name, text in environ.items():
        if name.startswith(ENVIRONMENT_PREFIX):
            values[name.removeprefix(ENVIRONMENT_PREFIX).lower()] = _parse_value(text)
    return values


def _read_file(path: str) -> dict[str, object]:
    try:
        values = tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ParameterError(f"cluster file {path} cannot be read ({error})") from error
    # TOML has times of the day, which is how it reads an unquoted walltime.
    return {name: str(value) if isinstance(value, time) else value for name, value in values.items()}


def _parse_value(text: str) -> object:
    """Value as TOML reads it, else the text itself."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return text if isinstance(value, time | date) else value
