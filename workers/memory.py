"""Memory of workers: how a budget is divided among processes, and when Dask acts on its limits.

Covers the layout (processes, threads, bytes each) and Dask's thresholds. Does not cover how much a
task needs (`mosaic.graph.budget`).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

MINIMUM_PROCESS_BYTES: Final = 700 * 2**20
"""A process of its own needs this much: 280 MiB for libraries and kernels, the rest for data."""

MEMORY_CONFIG: Final = MappingProxyType(
    {
        "distributed.worker.memory.target": 0.6,
        "distributed.worker.memory.spill": 0.7,
        "distributed.worker.memory.pause": 0.8,
        "distributed.worker.memory.terminate": 0.95,
    }
)
"""Fractions of a worker's limit at which Dask moves data to disk, pauses, and restarts the worker."""


UNLIMITED_BYTES: Final = 4 << 30
"""What is taken for the memory of a worker that was started without a limit."""


def usable_memory(limit_bytes: int) -> int:
    """Memory that tasks may use of a worker's limit: Dask pauses it not far above."""
    return int(0.75 * (limit_bytes or UNLIMITED_BYTES))


@dataclass(frozen=True, slots=True)
class WorkerLayout:
    """How cores and memory are divided."""

    n_workers: int
    """Processes."""
    n_threads: int
    """Threads in each."""
    memory_bytes: int
    """Memory of each, bytes."""


def plan_layout(cores: int, memory_bytes: int, *, processes: bool) -> WorkerLayout:
    """Divide cores and memory: one process per core while each gets enough memory, else threads.

    Parameters
    ----------
    cores : int
        Cores to keep busy, at least 1.
    memory_bytes : int
        Memory of all workers together.
    processes : bool
        Whether more than one process is wanted at all.

    Notes
    -----
    Whether the memory suffices for the tasks is decided by the plan, not here.
    """
    n_workers = max(1, min(cores, memory_bytes // MINIMUM_PROCESS_BYTES)) if processes else 1
    # Threads are shared out so that no core stays idle; the last worker may have one too many.
    n_threads = -(-cores // n_workers)
    return WorkerLayout(n_workers, n_threads, memory_bytes // n_workers)
