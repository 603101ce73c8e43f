"""How a run is carried out: cores, memory, tiles, scheduler. None of it changes a pixel.

Covers the validated model `RunOptions` and what the machine offers. Does not cover the parameters
of the science (`mosaic.settings`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final, Literal

import psutil
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from mosaic.errors import ParameterError
from mosaic.parameters import describe_problems, join_problems
from mosaic.values import Memory, Side

LOCAL_SCHEDULERS: Final = ("threads", "processes", "serial")
"""Schedulers of this machine, which need no address."""
BATCH_SCHEDULERS: Final = ("slurm", "pbs", "sge", "lsf", "kubernetes")
"""Systems that are asked for workers."""
_DEFAULT_SHARE_OF_MEMORY: Final = 0.75
_CGROUP: Final = Path("/sys/fs/cgroup")


def count_cores() -> int:
    """Count the processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory() -> int:
    """Bytes that can be taken without swapping, within the limit of the container, if any."""
    available = int(psutil.virtual_memory().available)
    try:
        limit = int((_CGROUP / "memory.max").read_text(encoding="ascii"))
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return available
    return max(1, min(available, limit - used))


def _default_memory() -> int:
    """Three quarters of the available memory, bytes."""
    return int(_DEFAULT_SHARE_OF_MEMORY * available_memory())


def _check_scheduler(text: str) -> str:
    """Refuse a scheduler that is neither a local kind nor an address."""
    if text in {*LOCAL_SCHEDULERS, *BATCH_SCHEDULERS, "cluster"} or ":" in text:
        return text
    raise ValueError(
        f"it must be one of {', '.join(LOCAL_SCHEDULERS + BATCH_SCHEDULERS)}, cluster (as --cluster or the "
        "environment say), an address such as tls://host:8786, or module:factory"
    )


class RunOptions(BaseModel):
    """Resources and manners of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    cores: Side = Field(default_factory=count_cores, description="Processor cores to keep busy (>= 1).")
    memory: Memory = Field(
        default_factory=_default_memory,
        description="Bytes all workers together may use: '2GiB', '1.5 GB' or a number of bytes.",
    )
    tile: Annotated[int, Field(ge=16, le=65536)] = Field(
        default=1024, description="Side of an output tile, pixels."
    )
    scheduler: Annotated[str, AfterValidator(_check_scheduler)] = Field(
        default="threads",
        description="threads, processes, serial, slurm, pbs, sge, lsf, kubernetes, the address of a Dask "
        "scheduler, module:factory, or cluster: as `cluster` says.",
    )
    cluster: tuple[str, ...] = Field(
        default=(), description="What the cluster is like: TOML files and NAME=VALUE, later ones first."
    )
    on_error: Literal["stop", "skip"] = Field(
        default="stop", description="On an exposure that cannot be used: stop, or set it aside and go on."
    )
    restart: bool = Field(
        default=False, description="Discard what an earlier run left instead of continuing it."
    )
    keep_job: bool = Field(default=True, description="Keep the job folder after the products are written.")

    @model_validator(mode="before")
    @classmethod
    def _name_cluster(cls, values: dict[str, object]) -> dict[str, object]:
        """Whoever describes a cluster means to use it."""
        if values.get("cluster") and "scheduler" not in values:
            return {**values, "scheduler": "cluster"}
        return values

    @classmethod
    def resolve(cls, **names: object) -> RunOptions:
        """Options of the given names; those that are None take their default.

        Raises
        ------
        ParameterError
            Naming every option that is wrong.
        """
        try:
            return cls.model_validate({name: value for name, value in names.items() if value is not None})
        except ValidationError as error:
            raise ParameterError(join_problems(describe_problems(error))) from error

    @property
    def is_cluster(self) -> bool:
        """Whether the workers belong to a cluster rather than to this run."""
        return self.scheduler not in LOCAL_SCHEDULERS
