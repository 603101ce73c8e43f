"""Arithmetic and text of the figures: medians, ratios, targets, tables. Knows nothing of what was run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

ABSENT = "-"


def median(values: Sequence[float]) -> float | None:
    """Median of the repeats; None when there are none."""
    return statistics.median(values) if values else None


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    """Quotient; None where a side is missing or the denominator is 0."""
    if numerator is None or denominator is None or denominator == 0.0:
        return None
    return numerator / denominator


def increments(counts: Sequence[int], costs: Sequence[float]) -> list[float]:
    """Cost of one more unit between neighbouring counts: fixed costs drop out."""
    pairs = zip(pairwise(counts), pairwise(costs), strict=True)
    return [(c1 - c0) / (n1 - n0) for (n0, n1), (c0, c1) in pairs]


def straight_line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Intercept and slope of the least-squares line."""
    slope, intercept = np.polyfit(x, y, 1)
    return float(intercept), float(slope)


def change_of_increment(counts: Sequence[int], costs: Sequence[float]) -> float | None:
    """Relative change of the cost of one more unit from the lower half of the counts to the upper one.

    0 for any straight line; None when there are fewer than three counts.
    """
    if len(counts) < 3:
        return None
    picked = [0, len(counts) // 2, len(counts) - 1]
    low, high = increments([counts[i] for i in picked], [costs[i] for i in picked])
    return high / low - 1.0


def overhead(total: float, serial: float, work: float, n_parallel: int) -> float:
    """Share of a run's wall time in which neither tasks ran nor `serial` steps: scheduling and waiting.

    `work` is summed over all tasks; `n_parallel` of them run at a time.
    """
    return (total - serial - work / n_parallel) / total


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should reach."""

    label: str
    measured: float | None
    limit: float
    is_minimum: bool
    """The figure should be at least `limit`; else at most."""
    unit: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None when nothing was measured."""
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.is_minimum else self.measured <= self.limit

    def cells(self) -> list[str]:
        """Row of the table of targets."""
        sign = ">=" if self.is_minimum else "<="
        verdict = {None: "not measured", True: "met", False: "**missed**"}[self.is_met]
        return [self.label, f"{sign} {self.limit:g}{self.unit}", number(self.measured, self.unit), verdict]


def number(value: float | None, unit: str = "") -> str:
    """Three figures, more for large numbers; a dash for nothing."""
    if value is None:
        return ABSENT
    size = abs(value)
    text = f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
    return text + unit


def repeated(values: Sequence[float]) -> str:
    """Median of repeats with their range."""
    if len(values) < 2:
        return number(median(values))
    return f"{number(median(values))} ({number(min(values))} - {number(max(values))})"


def mebibytes(value: float | None) -> str:
    """Bytes as MiB; a dash for none or zero, which stands for not measured."""
    return f"{value / 2**20:.0f}" if value else ABSENT


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    clean = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [heads, ["---"] * len(heads), *clean]
    return [f"| {' | '.join(cells)} |" for cells in lines]
