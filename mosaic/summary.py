"""Text of the reports: the plan as two columns, the timing table at the end of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from mosaic.values import format_memory


class Summary(Protocol):
    """What of a result is shown."""

    @property
    def products(self) -> Sequence[object]:
        """Files written."""

    @property
    def timings(self) -> Sequence[tuple[str, float, str]]:
        """Step, seconds, note (aborted, skipped, off or empty)."""

    @property
    def rejected(self) -> Sequence[object]:
        """Exposures set aside, with the reason as their text."""

    @property
    def peak_memory_bytes(self) -> int:
        """Largest resident memory of all processes of the run together."""


def format_rows(rows: Sequence[tuple[str, str]]) -> str:
    """Two aligned columns."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in rows)


def format_summary(result: Summary) -> Iterator[str]:
    """Lines that end a run: exposures set aside, time per step, peak memory."""
    for rejected in result.rejected:
        yield f"set aside: {rejected}"
    yield from format_timings(result.timings)
    yield f"{'Peak memory':24s} {format_memory(result.peak_memory_bytes):>12s}"


def format_timings(timings: Sequence[tuple[str, float, str]]) -> Iterator[str]:
    """Table of steps, those that did not run included: work summed over all cores, total by the clock."""
    yield f"{'Step':24s} {'All cores':>12s}"
    for step, seconds, note in timings:
        label = "Total (wall clock)" if step == "Total" else step
        yield f"{label:24s} {seconds:10.2f} s{f'  ({note})' if note else ''}"
