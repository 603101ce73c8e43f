"""`ClusterSpec`: which workers are wanted, as plain data.

Covers the description and its derivation from the run's options. Does not cover starting anything
(`cluster.connect`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from mosaic.errors import ParameterError
from mosaic.options import RunOptions

ClusterKind = Literal["threads", "processes", "address"]


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """Workers that are wanted."""

    kind: ClusterKind
    """Threads of this process, processes of this machine, or a scheduler that runs already."""
    cores: int = 1
    """Cores of all local workers together."""
    memory_bytes: int = 2**31
    """Memory of all local workers together."""
    address: str = ""
    """Address of the scheduler, for the kind of that name."""
    scratch_folder: str | None = None
    """Folder on a local disk where workers may spill; the system's by default."""
    warm: bool = True
    """Whether workers load the kernels before their first task."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.kind == "address" and not self.address:
            raise ParameterError("a cluster of kind 'address' needs the address of its scheduler")
        if self.kind != "address" and self.address:
            raise ParameterError(
                f"a cluster of kind {self.kind!r} has no address, {self.address!r} was given"
            )
        if self.cores < 1 or self.memory_bytes < 1:
            raise ParameterError(
                f"a cluster needs cores and memory: {self.cores} cores, {self.memory_bytes} bytes were given"
            )

    @classmethod
    def from_options(cls, options: RunOptions) -> Self:
        """Describe the cluster that the options of a run ask for.

        Raises
        ------
        ParameterError
            For the scheduler ``serial``, which needs no cluster.
        """
        if options.scheduler == "serial":
            raise ParameterError("the scheduler 'serial' runs without a cluster")
        if options.scheduler in {"threads", "processes"}:
            kind: ClusterKind = "threads" if options.scheduler == "threads" else "processes"
            # The kernels of this machine are in the cache: a task loads those it needs in milliseconds.
            return cls(kind, cores=options.cores, memory_bytes=options.memory, warm=False)
        return cls("address", cores=options.cores, memory_bytes=options.memory, address=options.scheduler)
