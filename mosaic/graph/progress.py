"""What a run tells while it works: plain records, one Protocol, no display."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class PhaseTotal:
    """How much work a phase holds."""

    name: str
    """Phase: static, sky, weights, median, cosmic_rays, final, export."""
    n_tasks: int
    """Tasks in the phase, finished ones included."""
    n_done: int = 0
    """Tasks that an earlier run of the same job already finished."""


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """What the ledger keeps of one finished task."""

    phase: str
    """Phase the task belongs to."""
    task: str
    """Name of the task within its phase: a chip or a tile."""
    seconds: float
    """Wall time of the task."""
    bytes_read: int
    """Input bytes read."""
    bytes_written: int
    """Bytes written before compression."""
    peak_rss: int
    """Peak resident memory of the process that did it, bytes."""
    checksums: dict[str, str] = field(default_factory=dict)
    """Checksum of every chunk the task wrote, by array and chunk."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Small results that later phases need (sky, weights, counts)."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes on disk of the chunks of every checksum."""


class Observer(Protocol):
    """Receives the progress of a run; every method returns at once."""

    def begin(self, phases: Sequence[PhaseTotal]) -> None:
        """Announce the phases of the run, in order."""

    def task_done(self, record: TaskRecord) -> None:
        """Report one finished task."""

    def memory(self, used_bytes: int, budget_bytes: int) -> None:
        """Report the memory in use by all processes of the run."""

    def message(self, level: str, text: str) -> None:
        """Pass on a line for the log; `level` is INFO, WARNING or ERROR."""

    def end(self, *, ok: bool) -> None:
        """Tell that the run is over."""


class SilentObserver:
    """Observer that shows nothing."""

    def begin(self, phases: Sequence[PhaseTotal]) -> None:
        """Ignore."""

    def task_done(self, record: TaskRecord) -> None:
        """Ignore."""

    def memory(self, used_bytes: int, budget_bytes: int) -> None:
        """Ignore."""

    def message(self, level: str, text: str) -> None:
        """Ignore."""

    def end(self, *, ok: bool) -> None:
        """Ignore."""


_: type[Observer] = SilentObserver
