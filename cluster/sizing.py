"""How many workers a plan keeps busy: a fixed number, or limits between which the number follows the work."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.spec import ClusterSpec

TASKS_PER_THREAD = 4
"""Tasks of the widest phase that pay for starting a thread on another machine."""


@dataclass(frozen=True, slots=True)
class Size:
    """Workers to ask for."""

    n_workers: int
    """At the most."""
    least: int
    """At the least; the same as `n_workers` when the number is fixed."""

    @property
    def is_fixed(self) -> bool:
        """Whether the number does not follow the work."""
        return self.least == self.n_workers


def size_cluster(spec: ClusterSpec, n_tasks: int) -> Size:
    """Workers for a plan.

    Parameters
    ----------
    spec : ClusterSpec
        What is wanted.
    n_tasks : int
        Tasks of the widest phase that are still to be done.
    """
    if spec.workers == "plan":
        threads = -(-n_tasks // TASKS_PER_THREAD)
        wanted = max(1, -(-threads // spec.worker_cores))
    else:
        wanted = spec.workers
    most = min(wanted, spec.max_workers)
    return Size(most, min(spec.min_workers, most) if spec.adaptive else most)
