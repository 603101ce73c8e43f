"""Combine a stack of images pixel by pixel: median, mean, minimum, sum, minmed.

Shared arguments: `stack` float32, shape (n, ny, nx); `is_bad` uint8 of the same shape, non-zero = leave out;
`nlow`, `nhigh` extreme values dropped; values below `lthresh` or not below `hthresh` are left out;
`from_last` fills pixels without any good value from the last image instead of 0; `out` float32 (ny, nx). Sums
are float64, the result is rounded to float32 once. Every pixel depends on its own column of the
stack alone, but for the growth of minmed.
"""

from __future__ import annotations

import numpy as np

from mosaic.kernels._compile import kernel
from mosaic.types import ByteArray, DoubleArray, FloatArray

INSERTION_LIMIT = 40
"""Up to this many values insertion sort is the fastest."""


@kernel
def sort_values(values: FloatArray, count: int) -> None:
    """Sort the first `count` values in place."""
    if count > INSERTION_LIMIT:
        values[:count].sort()
        return
    for i in range(1, count):
        value = values[i]
        j = i - 1
        while j >= 0 and values[j] > value:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value


@kernel
def gather_good(
    stack: FloatArray, is_bad: ByteArray, y: int, x: int, lthresh: float, hthresh: float, values: FloatArray
) -> int:
    """Collect the good values of one pixel and return their number."""
    count = 0
    for k in range(stack.shape[0]):
        value = stack[k, y, x]
        if is_bad[k, y, x] == 0 and value >= lthresh and value < hthresh:
            values[count] = value
            count += 1
    return count


@kernel
def middle(values: FloatArray, start: int, stop: int) -> float:
    """Median of the sorted values ``start <= i < stop``."""
    half = (start + stop) // 2
    if (stop - start) % 2 == 1:
        return float(values[half])
    return float(0.5 * (np.float64(values[half - 1]) + np.float64(values[half])))


@kernel
def combine_median(
    stack: FloatArray,
    is_bad: ByteArray,
    nlow: int,
    nhigh: int,
    lthresh: float,
    hthresh: float,
    from_last: bool,
    out: FloatArray,
) -> None:
    """Median of the good values; where `nlow` and `nhigh` leave none, both are lowered until one is left."""
    n, ny, nx = stack.shape
    values = np.empty(n, dtype=np.float32)
    for y in range(ny):
        for x in range(nx):
            count = gather_good(stack, is_bad, y, x, lthresh, hthresh, values)
            if count == 0:
                out[y, x] = stack[n - 1, y, x] if from_last else np.float32(0.0)
                continue
            sort_values(values, count)
            low, high = nlow, nhigh
            while count - low - high <= 0:
                low = max(0, low - 1)
                high = max(0, high - 1)
            out[y, x] = middle(values, low, count - high)


@kernel
def combine_mean(
    stack: FloatArray,
    is_bad: ByteArray,
    nlow: int,
    nhigh: int,
    lthresh: float,
    hthresh: float,
    from_last: bool,
    out: FloatArray,
) -> None:
    """Mean of the good values without the extremes; 0 where these are all there is."""
    n, ny, nx = stack.shape
    values = np.empty(n, dtype=np.float32)
    for y in range(ny):
        for x in range(nx):
            count = gather_good(stack, is_bad, y, x, lthresh, hthresh, values)
            if count == 0 and from_last:
                out[y, x] = stack[n - 1, y, x]
                continue
            left = count - nlow - nhigh
            if left <= 0:
                out[y, x] = 0.0
                continue
            sort_values(values, count)
            total = 0.0
            for k in range(nlow, count - nhigh):
                total += values[k]
            out[y, x] = total / left


@kernel
def combine_minimum(
    stack: FloatArray,
    is_bad: ByteArray,
    nlow: int,
    nhigh: int,
    lthresh: float,
    hthresh: float,
    from_last: bool,
    out: FloatArray,
) -> None:
    """Smallest good value but `nlow`; 0 where the extremes are all there is."""
    n, ny, nx = stack.shape
    values = np.empty(n, dtype=np.float32)
    for y in range(ny):
        for x in range(nx):
            count = gather_good(stack, is_bad, y, x, lthresh, hthresh, values)
            if count == 0 and from_last:
                out[y, x] = stack[n - 1, y, x]
            elif count - nlow - nhigh <= 0:
                out[y, x] = 0.0
            else:
                sort_values(values, count)
                out[y, x] = values[nlow]


@kernel
def combine_sum(stack: FloatArray, out: FloatArray) -> None:
    """Sum of all images; nothing is left out."""
    n, ny, nx = stack.shape
    for y in range(ny):
        for x in range(nx):
            total = 0.0
            for k in range(n):
                total += stack[k, y, x]
            out[y, x] = total


@kernel
def _median_without_highest(values: FloatArray, count: int, n_exposures: int) -> float:
    """Median that minmed starts from: of two exposures the mean, of more the median but the highest."""
    if count == 0:
        return 0.0
    if n_exposures == 2:
        total = 0.0
        for k in range(count):
            total += values[k]
        return total / count
    if count == 1:
        return float(values[0])
    return middle(values, 0, count - 1)


@kernel
def _box_has(flags: ByteArray, y: int, x: int, radius: int) -> bool:
    """Whether any flag is set within `radius` pixels, the image ending at its borders."""
    ny, nx = flags.shape
    for j in range(max(0, y - radius), min(ny, y + radius + 1)):
        for i in range(max(0, x - radius), min(nx, x + radius + 1)):
            if flags[j, i] != 0:
                return True
    return False


@kernel
def combine_minmed(
    stack: FloatArray,
    weights: FloatArray,
    is_bad: ByteArray,
    read_noise2: DoubleArray,
    background_rate: DoubleArray,
    nsigma1: float,
    nsigma2: float,
    grow: int,
    n_exposures: int,
    out: FloatArray,
) -> None:
    """Median, or the minimum where the median lies implausibly far above it (minmed).

    With counts ``median * W`` and ``minimum * W`` (W the summed weight), the minimum is taken where it is
    below the median by more than `nsigma1` times the noise, and within `grow` pixels of such a pixel by
    more than `nsigma2` times.

    Parameters
    ----------
    stack, weights : float32, shape (n, ny, nx)
        Images (electrons/s) and weight maps (s).
    is_bad : uint8, shape (n, ny, nx)
        Non-zero = leave out. The weights of bad pixels still count in the sum.
    read_noise2 : float64, shape (n,)
        Squared read noise of each exposure, electrons squared.
    background_rate : float64, shape (n,)
        Sky of each exposure, electrons/s.
    nsigma1, nsigma2 : float
        Thresholds.
    grow : int
        Radius of the second threshold, pixels.
    n_exposures : int
        Exposures of the run: of two, the mean takes the place of the median.
    out : float32, shape (ny, nx)
        Result; 0 where everything is bad.
    """
    n, ny, nx = stack.shape
    values = np.empty(n, dtype=np.float32)
    median = np.empty((ny, nx), dtype=np.float64)
    excess = np.empty((ny, nx), dtype=np.float64)
    rms = np.empty((ny, nx), dtype=np.float64)
    flags = np.zeros((ny, nx), dtype=np.uint8)
    for y in range(ny):
        for x in range(nx):
            count = 0
            total_weight = 0.0
            background = 0.0
            noise2 = 0.0
            for k in range(n):
                weight = np.float64(weights[k, y, x])
                total_weight += weight
                background += weight * background_rate[k]
                if is_bad[k, y, x] == 0:
                    noise2 += read_noise2[k]
                    values[count] = stack[k, y, x]
                    count += 1
            sort_values(values, count)
            centre = _median_without_highest(values, count, n_exposures)
            lowest = values[0] if count > 0 else np.float32(0.0)
            out[y, x] = lowest
            median[y, x] = centre
            counts = centre * total_weight
            excess[y, x] = counts - np.float64(lowest) * total_weight
            rms[y, x] = np.sqrt(max(counts + background + noise2, 0.0))
            flags[y, x] = excess[y, x] > nsigma1 * rms[y, x]
    for y in range(ny):
        for x in range(nx):
            limit = nsigma2 if grow > 0 and _box_has(flags, y, x, grow) else nsigma1
            if not excess[y, x] > limit * rms[y, x]:
                out[y, x] = median[y, x]
