"""Clipped statistics in single precision, as DrizzlePac's sky and static-mask steps compute them.

Values are float32; sums are float64; clipping limits are passed on as float32 (spec of ImageStats: mean,
standard deviation, histogram mode and midpoint). Does not cover masks: callers pass the good values only.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mosaic.kernels._compile import kernel, part
from mosaic.types import DoubleArray, FloatArray

CountArray: TypeAlias = NDArray[np.int64]


_LANES = 256
"""Sums kept side by side: value k goes to sum k modulo this, so that many are added at a time in an order
that is the same on every machine."""
_GATHERED = 16
"""Values that are looked at together: few of them hold one that is gathered."""


@part
def _add_within(values: FloatArray, low: float, high: float, sums: DoubleArray, counts: CountArray) -> None:
    """Add the values in ``[low, high]`` and their number to the sums of their lanes."""
    for start in range(0, values.shape[0], _LANES):
        part = values[start : start + _LANES]
        for k in range(part.shape[0]):
            value = part[k]
            is_inside = (low <= value) & (value <= high)
            counts[k] += 1 if is_inside else 0
            sums[k] += value if is_inside else np.float32(0.0)


@part
def _add_squares_within(values: FloatArray, low: float, high: float, mean: float, sums: DoubleArray) -> None:
    """Add the squared deviations from `mean` of the values in ``[low, high]`` to the sums of their lanes."""
    for start in range(0, values.shape[0], _LANES):
        part = values[start : start + _LANES]
        for k in range(part.shape[0]):
            value = part[k]
            deviation = value - mean
            square = deviation * deviation
            sums[k] += square if (low <= value) & (value <= high) else np.float32(0.0)


@kernel
def moments_within(values: FloatArray, low: float, high: float) -> tuple[int, float, float]:
    """Number, mean and standard deviation of the values in ``[low, high]``.

    The mean is rounded to float32 and deviations are squared in float32, their sum is float64.

    Parameters
    ----------
    values : float32, shape (n,)
        Values.
    low, high : float32
        Inclusive limits.
    """
    sums, counts = np.zeros(_LANES), np.zeros(_LANES, np.int64)
    _add_within(values, low, high, sums, counts)
    count = counts.sum()
    if count == 0:
        return 0, 0.0, 0.0
    mean = np.float32(sums.sum() / count)
    if count == 1:
        return count, mean, 0.0
    sums[:] = 0.0
    _add_squares_within(values, low, high, mean, sums)
    return count, mean, np.float32(np.sqrt(sums.sum() / (count - 1)))


@kernel
def largest_below(values: FloatArray, low: float, high: float) -> float:
    """Largest value ``low <= value < high``; minus infinity when there is none."""
    lanes = np.full(_LANES, np.float32(-np.inf))
    for start in range(0, values.shape[0], _LANES):
        part = values[start : start + _LANES]
        for k in range(part.shape[0]):
            value = part[k]
            candidate = value if (low <= value) & (value < high) else np.float32(-np.inf)
            lanes[k] = max(lanes[k], candidate)
    return lanes.max()


@kernel
def range_within(values: FloatArray, low: float, high: float) -> tuple[float, float]:
    """Range that the histogram spans: it depends on the first value when that lies outside the limits.

    The smallest starts at the larger of `low` and the first value and only falls (likewise the largest), so
    that a first value below `low` makes the histogram start at `low` itself.
    """
    first = values[0]
    lowest = np.full(_LANES, max(low, first))
    highest = np.full(_LANES, min(high, first))
    for start in range(0, values.shape[0], _LANES):
        part = values[start : start + _LANES]
        for k in range(part.shape[0]):
            value = part[k]
            is_inside = (low <= value) & (value <= high)
            lowest[k] = value if is_inside & (value < lowest[k]) else lowest[k]
            highest[k] = value if is_inside & (value > highest[k]) else highest[k]
    return lowest.min(), highest.max()


@kernel
def fill_histogram(values: FloatArray, start: float, width: float, counts_out: CountArray) -> None:
    """Count the values in bins of `width` from `start`; index arithmetic in float32.

    The last bin begins at the largest value within the limits: values clipped just above are in it.

    Parameters
    ----------
    values : float32, shape (n,)
        Values.
    start, width : float32
        Lower edge of the first bin and the bin width.
    counts_out : int64, shape (n_bins,)
        Counts, added to.
    """
    n_bins = counts_out.shape[0]
    inverse = np.float32(np.float32(1.0) / width)
    end = np.float32(start + width * np.float32(n_bins))
    # One bin more, for all that belongs to none.
    counts, bins = np.zeros(n_bins + 1, np.int64), np.empty(_LANES, np.int64)
    for first in range(0, values.shape[0], _LANES):
        part = values[first : first + _LANES]
        for k in range(part.shape[0]):
            value = part[k]
            is_inside = (start <= value) & (value < end)
            index = int(np.float32(inverse * np.float32((value if is_inside else start) - start)))
            bins[k] = index if is_inside & (index < n_bins) else n_bins
        for k in range(part.shape[0]):
            counts[bins[k]] += 1
    counts_out += counts[:n_bins]


@kernel
def gather_within(
    values: FloatArray, lowest: float, low: float, high: float, near_out: FloatArray
) -> tuple[int, int]:
    """Collect the values in ``[low, high]`` in their order and count those in ``[lowest, low)``.

    Parameters
    ----------
    values : float32, shape (n,)
        Values.
    lowest, low, high : float32
        Limits.
    near_out : float32, shape (m,)
        The values within, at its front; filled no further than its last place but one.

    Returns
    -------
    int, int
        Number of the values below and of those within: more than m - 1 when they were too many.
    """
    n_below, n_near = 0, 0
    for start in range(0, values.shape[0], _GATHERED):
        part = values[start : start + _GATHERED]
        below, within = np.int32(0), np.int32(0)
        for k in range(part.shape[0]):
            value = part[k]
            below += np.int32((lowest <= value) & (value < low))
            within += np.int32((low <= value) & (value <= high))
        n_below += below
        if within > 0 and n_near + within < near_out.shape[0]:
            # Each is put at the end, and stays if it belongs there: nothing to guess for the processor.
            end = n_near
            for k in range(part.shape[0]):
                value = part[k]
                near_out[end] = value
                end += 1 if (low <= value) & (value <= high) else 0
        n_near += within
    return n_below, n_near


@part
def _ordered(bits: np.uint32) -> np.uint32:
    """Integer that orders like the float of these bits."""
    if bits & np.uint32(0x80000000):
        return np.uint32(~bits)
    return np.uint32(bits | np.uint32(0x80000000))


@kernel
def order_statistic(values: FloatArray, low: float, high: float, rank: int) -> tuple[float, int]:
    """Value of a rank (0 = smallest) among those within ``[low, high]``, exactly, and how many are smaller.

    The bits of a float, its sign turned into an offset, order like an integer: two counts of 16 bits
    each find the value without moving any other.

    Parameters
    ----------
    values : float32, shape (n,)
        Values, no NaN.
    low, high : float32
        Inclusive limits; more than `rank` values must lie within.
    rank : int
        Number of smaller values.
    """
    wanted = rank
    bits = values.view(np.uint32)
    counts = np.zeros(65536, dtype=np.int64)
    for k in range(values.shape[0]):
        if low <= values[k] <= high:
            counts[_ordered(bits[k]) >> np.uint32(16)] += 1
    upper = 0
    while rank >= counts[upper]:
        rank -= counts[upper]
        upper += 1
    counts[:] = 0
    for k in range(values.shape[0]):
        if low <= values[k] <= high:
            key = _ordered(bits[k])
            if key >> np.uint32(16) == upper:
                counts[key & np.uint32(0xFFFF)] += 1
    lower = 0
    while rank >= counts[lower]:
        rank -= counts[lower]
        lower += 1
    found = np.empty(1, dtype=np.uint32)
    key = np.uint32(upper << 16 | lower)
    found[0] = key ^ np.uint32(0x80000000) if key & np.uint32(0x80000000) else ~key
    return found.view(np.float32)[0], wanted - rank
