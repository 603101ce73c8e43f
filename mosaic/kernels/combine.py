"""Combine a stack of images pixel by pixel: median, mean, minimum, sum, minmed.

Shared arguments: `stack` float32, shape (n, ny, nx); `is_bad` uint8 of the same shape, non-zero = leave out;
`nlow`, `nhigh` extreme values dropped; values below `lthresh` or not below `hthresh` are left out;
`from_last` fills pixels without any good value from the last image instead of 0; `out` float32 (ny, nx). Sums
are float64, the result is rounded to float32 once. Every pixel depends on its own column of the
stack alone, but for the growth of minmed.

Pixels are sorted `BLOCK` at a time by a network of exchanges: the same comparisons are made whatever the
values, so that one instruction serves several pixels. Values left out become infinite and
sort behind the good ones, whose number is known.
"""

from __future__ import annotations

import numpy as np

from mosaic.kernels._compile import kernel, part
from mosaic.kernels.flags import spread
from mosaic.types import ByteArray, DoubleArray, FloatArray, IntArray

BLOCK = 128
"""Pixels of a row that are sorted together."""

_LEFT_OUT = np.float32(np.inf)


@part
def _exchange(low: FloatArray, high: FloatArray) -> None:
    """Put the smaller of two values of every pixel into `low` and the larger into `high`."""
    for k in range(BLOCK):
        a, b = low[k], high[k]
        is_ordered = a < b
        low[k] = a if is_ordered else b
        high[k] = b if is_ordered else a


@kernel
def sorting_network(n: int) -> IntArray:
    """Exchanges that sort `n` values: Batcher's odd-even merge exchange (Knuth, 5.2.2 M).

    They stand in a table because a compiler that sees the rows of `sort_block` follow from its loops compares
    the ranges that these loops cover, finds that they overlap, and exchanges one pixel at a time.

    Returns
    -------
    int32, shape (m, 2)
        The smaller value goes to the first place, the larger one to the second.
    """
    top, n_levels = 1, 1
    while 2 * top < n:
        top *= 2
        n_levels += 1
    pairs = np.empty((n * n_levels * (n_levels + 1) // 4 + 1, 2), dtype=np.int32)
    count = 0
    p = top if n > 1 else 0
    while p > 0:
        q, r, d = top, 0, p
        while True:
            for i in range(n - d):
                if (i & p) == r:
                    pairs[count, 0], pairs[count, 1] = i, i + d
                    count += 1
            if q == p:
                break
            d, q, r = q - p, q // 2, p
        p //= 2
    return pairs[:count]


@part
def sort_block(block: FloatArray, network: IntArray) -> None:
    """Sort the values of every pixel.

    Parameters
    ----------
    block : float32, shape (n, BLOCK)
        Values of each pixel along the first axis; no NaN.
    network : int32, shape (m, 2)
        `sorting_network` of n values.
    """
    for e in range(network.shape[0]):
        _exchange(block[network[e, 0]], block[network[e, 1]])


@part
def gather_block(
    stack: FloatArray,
    is_bad: ByteArray,
    y: int,
    x: int,
    width: int,
    lthresh: float,
    hthresh: float,
    block_out: FloatArray,
    count_out: IntArray,
) -> None:
    """Collect the good values of `width` pixels of a row and their numbers; the others become infinite."""
    low, high = np.float32(lthresh), np.float32(hthresh)
    count_out[:] = 0
    block_out[:] = _LEFT_OUT
    for i in range(stack.shape[0]):
        values, bad, row = stack[i, y, x : x + width], is_bad[i, y, x : x + width], block_out[i]
        for k in range(width):
            value = values[k]
            good = (bad[k] == 0) & (value >= low) & (value < high)
            row[k] = value if good else _LEFT_OUT
            count_out[k] += np.int32(good)


@part
def middle(block: FloatArray, k: int, start: int, stop: int) -> float:
    """Median of the sorted values ``start <= i < stop`` of pixel `k` of a block."""
    half = (start + stop) // 2
    high = np.float64(block[half, k])
    if (stop - start) % 2 == 1:
        return high
    return 0.5 * (np.float64(block[half - 1, k]) + high)


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
    block, network = np.empty((n, BLOCK), dtype=np.float32), sorting_network(n)
    counts = np.empty(BLOCK, dtype=np.int32)
    for y in range(ny):
        for x in range(0, nx, BLOCK):
            width = min(BLOCK, nx - x)
            gather_block(stack, is_bad, y, x, width, lthresh, hthresh, block, counts)
            sort_block(block, network)
            for k in range(width):
                count = counts[k]
                if count == 0:
                    out[y, x + k] = stack[n - 1, y, x + k] if from_last else np.float32(0.0)
                    continue
                low, high = nlow, nhigh
                while count - low - high <= 0:
                    low = max(0, low - 1)
                    high = max(0, high - 1)
                out[y, x + k] = middle(block, k, low, count - high)


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
    block, network = np.empty((n, BLOCK), dtype=np.float32), sorting_network(n)
    counts = np.empty(BLOCK, dtype=np.int32)
    totals = np.empty(BLOCK, dtype=np.float64)
    for y in range(ny):
        for x in range(0, nx, BLOCK):
            width = min(BLOCK, nx - x)
            gather_block(stack, is_bad, y, x, width, lthresh, hthresh, block, counts)
            # Sorted even when nothing is dropped: the order of the sum is that of the values.
            sort_block(block, network)
            totals[:] = 0.0
            for i in range(nlow, n - nhigh):
                for k in range(BLOCK):
                    totals[k] += block[i, k] if i < counts[k] - nhigh else np.float32(0.0)
            for k in range(width):
                left = counts[k] - nlow - nhigh
                if counts[k] == 0 and from_last:
                    out[y, x + k] = stack[n - 1, y, x + k]
                else:
                    out[y, x + k] = totals[k] / left if left > 0 else 0.0


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
    block, network = np.empty((n, BLOCK), dtype=np.float32), sorting_network(n)
    counts = np.empty(BLOCK, dtype=np.int32)
    for y in range(ny):
        for x in range(0, nx, BLOCK):
            width = min(BLOCK, nx - x)
            gather_block(stack, is_bad, y, x, width, lthresh, hthresh, block, counts)
            sort_block(block, network)
            for k in range(width):
                if counts[k] == 0 and from_last:
                    out[y, x + k] = stack[n - 1, y, x + k]
                elif counts[k] - nlow - nhigh <= 0:
                    out[y, x + k] = 0.0
                else:
                    out[y, x + k] = block[nlow, k]


@kernel
def combine_sum(stack: FloatArray, out: FloatArray) -> None:
    """Sum of all images; nothing is left out."""
    n, ny, nx = stack.shape
    totals = np.empty(nx, dtype=np.float64)
    for y in range(ny):
        totals[:] = 0.0
        for i in range(n):
            for x in range(nx):
                totals[x] += stack[i, y, x]
        for x in range(nx):
            out[y, x] = totals[x]


@part
def _centre_block(block: FloatArray, counts: IntArray, n_exposures: int, centre_out: DoubleArray) -> None:
    """Median that minmed starts from: of two exposures the mean, of more the median but the highest."""
    if n_exposures == 2:
        centre_out[:] = 0.0
        for i in range(block.shape[0]):
            row = block[i]
            for k in range(BLOCK):
                centre_out[k] += row[k] if i < counts[k] else np.float32(0.0)
        for k in range(BLOCK):
            centre_out[k] = centre_out[k] / counts[k] if counts[k] > 0 else 0.0
        return
    for k in range(BLOCK):
        n_kept = max(counts[k] - 1, 1)
        # The middle value of an odd number is taken twice: the mean of the two is exact.
        lower, upper = np.float64(block[(n_kept - 1) >> 1, k]), np.float64(block[n_kept >> 1, k])
        centre_out[k] = 0.5 * (lower + upper) if counts[k] > 0 else 0.0


@part
def _noise_block(
    weights: FloatArray,
    is_bad: ByteArray,
    read_noise2: DoubleArray,
    background_rate: DoubleArray,
    y: int,
    x: int,
    width: int,
    weight_out: DoubleArray,
    background_out: DoubleArray,
    noise2_out: DoubleArray,
) -> None:
    """Sum weights, background electrons and squared read noise of `width` pixels of a row."""
    weight_out[:], background_out[:], noise2_out[:] = 0.0, 0.0, 0.0
    for i in range(weights.shape[0]):
        row, bad = weights[i, y, x : x + width], is_bad[i, y, x : x + width]
        rate, noise2 = background_rate[i], read_noise2[i]
        for k in range(width):
            weight = np.float64(row[k])
            weight_out[k] += weight
            background_out[k] += weight * rate
        for k in range(width):
            noise2_out[k] += noise2 if bad[k] == 0 else 0.0


@part
def _lowest_complete(
    stack: FloatArray,
    weights: FloatArray,
    is_bad: ByteArray,
    complete_weight: FloatArray,
    y: int,
    x: int,
    width: int,
    lowest_out: FloatArray,
    count_out: IntArray,
) -> None:
    """Smallest good value of at least the complete weight, infinite if there is none, and their number."""
    lowest_out[:] = _LEFT_OUT
    count_out[:] = 0
    for i in range(stack.shape[0]):
        values, bad = stack[i, y, x : x + width], is_bad[i, y, x : x + width]
        row, least = weights[i, y, x : x + width], complete_weight[i]
        for k in range(width):
            is_complete = (bad[k] == 0) & (row[k] >= least)
            value = values[k] if is_complete else _LEFT_OUT
            lowest_out[k] = min(lowest_out[k], value)
            count_out[k] += np.int32(is_complete)


@part
def _compare_block(
    lowest: FloatArray,
    centre: DoubleArray,
    weight: DoubleArray,
    background: DoubleArray,
    noise2: DoubleArray,
    nsigma1: float,
    nsigma2: float,
    is_above1_out: ByteArray,
    is_above2_out: ByteArray,
) -> None:
    """Tell for each pixel whether the median is above the minimum by more than each threshold allows."""
    for k in range(lowest.shape[0]):
        scaled = centre[k] * weight[k]
        excess = scaled - np.float64(lowest[k]) * weight[k]
        variance = scaled + background[k] + noise2[k]
        rms = np.sqrt(max(variance, 0.0))
        is_above1_out[k] = 1 if excess > nsigma1 * rms else 0
        is_above2_out[k] = 1 if excess > nsigma2 * rms else 0


@kernel
def combine_minmed(
    stack: FloatArray,
    weights: FloatArray,
    is_bad: ByteArray,
    read_noise2: DoubleArray,
    background_rate: DoubleArray,
    complete_weight: FloatArray,
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

    Next to a masked input pixel an output pixel holds what its other neighbours gave, at reduced weight: in
    a star, too little, and the minimum would seek out just that value. Where two or more values are
    complete, the minimum is taken of these alone; the median is that of all good values.

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
    complete_weight : float32, shape (n,)
        Weight from which a value of each exposure is complete; 0: every value is.
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
    block, network = np.empty((n, BLOCK), dtype=np.float32), sorting_network(n)
    counts = np.empty(BLOCK, dtype=np.int32)
    complete_lowest = np.empty(BLOCK, dtype=np.float32)
    complete_counts = np.empty(BLOCK, dtype=np.int32)
    centres = np.empty(BLOCK, dtype=np.float64)
    weight, background, noise2 = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    median = np.empty((ny, nx), dtype=np.float32)
    is_above1, is_above2 = np.empty((ny, nx), dtype=np.uint8), np.empty((ny, nx), dtype=np.uint8)
    near = np.zeros((ny, nx), dtype=np.uint8)
    for y in range(ny):
        for x in range(0, nx, BLOCK):
            width = min(BLOCK, nx - x)
            gather_block(stack, is_bad, y, x, width, -np.inf, np.inf, block, counts)
            sort_block(block, network)
            _centre_block(block, counts, n_exposures, centres)
            _noise_block(
                weights, is_bad, read_noise2, background_rate, y, x, width, weight, background, noise2
            )
            _lowest_complete(
                stack, weights, is_bad, complete_weight, y, x, width, complete_lowest, complete_counts
            )
            lowest = out[y, x : x + width]
            for k in range(width):
                least = block[0, k] if counts[k] > 0 else np.float32(0.0)
                lowest[k] = complete_lowest[k] if complete_counts[k] >= 2 else least
                median[y, x + k] = centres[k]
            above1, above2 = is_above1[y, x : x + width], is_above2[y, x : x + width]
            _compare_block(lowest, centres, weight, background, noise2, nsigma1, nsigma2, above1, above2)
    if grow > 0:
        spread(is_above1, grow, grow, near)
    for y in range(ny):
        for x in range(nx):
            takes_lowest = is_above2[y, x] if near[y, x] != 0 else is_above1[y, x]
            out[y, x] = out[y, x] if takes_lowest != 0 else median[y, x]
