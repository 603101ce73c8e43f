"""Clipped mean, median, mode or midpoint of pixel values.

The rules are those that DrizzlePac's sky and static-mask steps use (ImageStats): iterate limits of some
standard deviations around the mean, then report the statistic of the values within the last limits; the mode
comes from a parabola through the highest histogram bin, the midpoint from the cumulative histogram.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosaic.errors import ParameterError
from mosaic.kernels.clipstats import (
    fill_histogram,
    gather_within,
    largest_below,
    moments_within,
    order_statistic,
    range_within,
)
from mosaic.types import FloatArray

_SAMPLE_STEP = 65
"""One value of this many tells where the median lies; odd, so that it is no whole part of a row."""
_NEAR_SHARE = 16
"""At most one value of this many is looked at again."""

_TINY = np.float32(10.0) * np.finfo(np.float32).eps


@dataclass(frozen=True, slots=True)
class ClippedStatistics:
    """Statistics of the values within the last clipping limits."""

    n: int
    """Number of values."""
    mean: float
    """Mean."""
    stddev: float
    """Standard deviation (n - 1)."""
    value: float
    """The statistic that was asked for."""
    n_bins: int
    """Bins of the histogram; 0 when none was needed."""

    @property
    def mode(self) -> float:
        """The statistic, when it is the mode."""
        return self.value


def image_statistics(
    values: FloatArray,
    statistic: str,
    *,
    nclip: int,
    lower_sigma: float,
    upper_sigma: float,
    lower: float | None,
    upper: float | None,
    binwidth: float,
) -> ClippedStatistics | None:
    """Compute a clipped statistic; None when there is not enough data.

    Parameters
    ----------
    values : float32, shape (n,)
        Finite values.
    statistic : str
        mean, median, mode or midpt.
    nclip : int
        Clipping iterations.
    lower_sigma, upper_sigma : float
        Limits in standard deviations around the mean.
    lower, upper : float or None
        Absolute inclusive limits; none by default.
    binwidth : float
        Histogram bin in standard deviations (mode and midpt).

    Raises
    ------
    ParameterError
        For another statistic.
    """
    if statistic not in {"mean", "median", "mode", "midpt"}:
        raise ParameterError(f"skystat={statistic!r} is unknown; choose mean, median, mode or midpt")
    if values.size == 0:
        return None
    values = np.ascontiguousarray(values, dtype=np.float32)
    lowest = np.float32(-np.inf if lower is None else lower)
    highest = np.float32(np.inf if upper is None else upper)
    low, high = lowest, highest
    n, mean, stddev = moments_within(values, low, high)
    for _ in range(nclip):
        if n == 0:
            return None
        low = np.float32(max(lowest, mean - lower_sigma * stddev))
        high = np.float32(min(highest, mean + upper_sigma * stddev))
        n, mean, stddev = moments_within(values, low, high)
    if n == 0:
        return None
    if statistic == "mean":
        return ClippedStatistics(n, float(mean), float(stddev), float(mean), 0)
    if statistic == "median":
        return ClippedStatistics(n, float(mean), float(stddev), _median(values, low, high, n), 0)
    counts, start, width = _histogram(values, low, high, float(binwidth * stddev))
    value = (_mode if statistic == "mode" else _midpoint)(counts, start, width)
    return ClippedStatistics(n, float(mean), float(stddev), value, len(counts))


def _median(values: FloatArray, low: np.float32, high: np.float32, n: int) -> float:
    """Median of the `n` values within the limits; of an even number the float32 mean of the middle two."""
    rank = n // 2
    near, n_below = _values_around(values, low, high, rank, n)
    upper, n_smaller = order_statistic(near, low, high, rank - n_below)
    if n % 2 == 1:
        return float(upper)
    is_same = n_below + n_smaller < rank
    lower = upper if is_same else largest_below(near, low, np.float32(upper))
    return float(np.mean(np.array([lower, upper], dtype=np.float32)))


def _values_around(
    values: FloatArray, low: np.float32, high: np.float32, rank: int, n: int
) -> tuple[FloatArray, int]:
    """The values around a `rank` of the `n` within the limits, the one before it included.

    A sample tells where to look: within three standard deviations of the rank that it gives. Where that
    fails, all values are returned.

    Returns
    -------
    FloatArray, int
        Values, and how many of those within the limits are smaller than these.
    """
    sample = values[::_SAMPLE_STEP]
    sample = np.sort(sample[(low <= sample) & (sample <= high)])
    centre, margin = rank * sample.size // n, int(1.5 * np.sqrt(sample.size))
    if margin < centre < sample.size - margin:
        near = np.empty(values.size // _NEAR_SHARE, dtype=np.float32)
        n_below, n_near = gather_within(values, low, sample[centre - margin], sample[centre + margin], near)
        if n_near < near.size and n_below < rank < n_below + n_near:
            return near[:n_near], n_below
    return values, 0


def _histogram(
    values: FloatArray, low: np.float32, high: np.float32, width: float
) -> tuple[NDArray[np.int64], float, float]:
    """Counts, lower edge, and the bin width that the statistics are worked out with.

    The bins that are filled span the range exactly; the width used afterwards is the nominal one.
    """
    start, end = range_within(values, low, high)
    span = float(end) - float(start)
    if width < _TINY or span < _TINY or width > span:
        return np.array([values.size], dtype=np.int64), float(start), width
    n_bins = int(span / width) + 1
    counts = np.zeros(n_bins, dtype=np.int64)
    if n_bins > 1:
        fill_histogram(values, np.float32(start), np.float32(span / (n_bins - 1)), counts)
    return counts, float(start), width


def _mode(counts: NDArray[np.int64], start: float, width: float) -> float:
    n_bins = len(counts)
    if n_bins == 1:
        return start + 0.5 * width
    if n_bins == 2:
        if counts[0] == counts[1]:
            return start + width
        return start + (0.5 if counts[0] > counts[1] else 1.5) * width
    peak = int(np.argmax(counts))
    if peak in (0, n_bins - 1):
        return start + (peak + 0.5) * width
    before = float(counts[peak] - counts[peak - 1])
    after = float(counts[peak] - counts[peak + 1])
    shift = 0.5 * (before - after) / (before + after) if before + after != 0.0 else 0.0
    return start + (peak + 0.5 + shift) * width


def _midpoint(counts: NDArray[np.int64], start: float, width: float) -> float:
    share = np.cumsum(counts) / max(1, int(counts.sum()))
    crossing = int(np.searchsorted(share, 0.5))
    below = float(share[crossing - 1]) if crossing > 0 else 0.0
    step = float(share[crossing]) - below
    inside = (0.5 - below) / step if step > 0.0 else 0.5
    return start + (crossing + inside) * width
