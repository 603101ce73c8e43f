"""What every drizzle kernel shares: the output tile, the deposit rule, the part of a window that matters.

Covers accumulation of one weighted value into one output pixel (`deposit`), the search for the
columns of a window that can reach a tile (`columns_in_reach`), and rounding. Does not cover the
shapes of the drops (`drizzle_square`, `drizzle_turbo`, `drizzle_simple`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mosaic.kernels._compile import inlined, kernel, part
from mosaic.kernels.exact_map import MapModel
from mosaic.kernels.pixmap import map_points_into
from mosaic.types import DoubleArray, FloatArray, IntArray

BAND_ROWS = 16
"""Input rows whose reach is decided together."""
_STRIDE = 32
"""Distance of the sample columns, input pixels."""
_SLACK = 2.0
"""Output pixels added to the box of a sampled cell: look-up tables bend the map by less between samples."""


class Target(NamedTuple):
    """The output tile that a kernel adds to, with its place in the output grid."""

    sums: DoubleArray
    """Sum of weight times value, (ny, nx)."""
    weights: DoubleArray
    """Sum of weights, (ny, nx)."""
    variances: DoubleArray
    """Sum of squared weight times variance, (ny, nx); (0, 0) when not wanted."""
    touched: IntArray
    """Bits of the chips that contributed, (ny, nx); (0, 0) when not wanted."""
    bit: np.int32
    """Bit of this chip."""
    has_variance: bool
    """Whether `variances` is wanted."""
    has_touched: bool
    """Whether `touched` is wanted."""
    y0: int
    """First row of the tile in the output grid."""
    y1: int
    """One past its last row."""
    x0: int
    """First column."""
    x1: int
    """One past the last column."""


@kernel
def make_target(
    tile_origin_yx: tuple[int, int],
    sum_out: DoubleArray,
    weight_out: DoubleArray,
    variance_out: DoubleArray,
    touched_out: IntArray,
    touched_bit: int,
) -> Target:
    """Gather the output arrays of a kernel call."""
    y0, x0 = tile_origin_yx
    return Target(
        sum_out,
        weight_out,
        variance_out,
        touched_out,
        np.int32(touched_bit),
        variance_out.shape[0] > 0,
        touched_out.shape[0] > 0,
        y0,
        y0 + weight_out.shape[0],
        x0,
        x0 + weight_out.shape[1],
    )


@inlined
def deposit(target: Target, j: int, i: int, weight: float, value: float, variance: float) -> None:
    """Add `value` with `weight` to the output pixel in absolute row `j`, column `i` (inside the tile).

    A pixel without weight takes the new value outright, so that a pixel seen only by masked
    input keeps the last masked value.
    """
    # Unsigned, so that no negative index has to be wrapped; selections instead of branches,
    # because whether a pixel is touched for the first time cannot be predicted.
    row, column = np.uint64(j - target.y0), np.uint64(i - target.x0)
    before = target.weights[row, column]
    total = target.sums[row, column]
    product = weight * value
    total = product if before == 0.0 else total + product
    target.sums[row, column] = value if before == 0.0 and weight == 0.0 else total
    target.weights[row, column] = before + weight
    if target.has_variance:
        target.variances[row, column] += weight * weight * variance
    if target.has_touched:
        target.touched[row, column] |= target.bit if weight > 0.0 else np.int32(0)


@inlined
def deposit_pair(
    target: Target,
    j: int,
    i: int,
    share0: float,
    share1: float,
    weight: float,
    value: float,
    variance: float,
) -> None:
    """What `deposit` does with positive `weight` times a share, for pixels (j, i) and (j, i + 1) at once.

    A share of zero changes nothing.
    """
    sums, weights = target.sums, target.weights
    row, column = np.uint64(j - target.y0), np.uint64(i - target.x0)
    after = column + np.uint64(1)
    product0, product1 = share0 * weight, share1 * weight
    before0, before1 = weights[row, column], weights[row, after]
    total0, total1 = sums[row, column], sums[row, after]
    # Everything is read before anything is written, so that both pixels can be worked on together.
    total0 = 0.0 if (before0 == 0.0) & (share0 > 0.0) else total0
    total1 = 0.0 if (before1 == 0.0) & (share1 > 0.0) else total1
    sums[row, column], sums[row, after] = total0 + product0 * value, total1 + product1 * value
    weights[row, column], weights[row, after] = before0 + product0, before1 + product1
    if target.has_variance:
        variances = target.variances
        variances[row, column] += product0 * product0 * variance
        variances[row, after] += product1 * product1 * variance
    if target.has_touched:
        touched = target.touched
        bits0, bits1 = touched[row, column], touched[row, after]
        touched[row, column] = bits0 | (target.bit if product0 > 0.0 else np.int32(0))
        touched[row, after] = bits1 | (target.bit if product1 > 0.0 else np.int32(0))


@part
def is_near(target: Target, x: float, y: float, reach: float) -> bool:
    """Whether a drop may touch the tile; False when the position is not finite."""
    return bool(
        x + reach > target.x0 - 1.0
        and x - reach < target.x1
        and y + reach > target.y0 - 1.0
        and y - reach < target.y1
    )


@inlined
def nint(x: float) -> int:
    """Nearest integer, halves away from zero."""
    return int(np.floor(x + 0.5)) if x >= 0.0 else -int(np.floor(0.5 - x))


@part
def count_present(value: FloatArray) -> int:
    """Count the pixels of a window that are no NaN; the others are absent."""
    n_present = 0
    for y in range(value.shape[0]):
        for x in range(value.shape[1]):
            n_present += 0 if np.isnan(value[y, x]) else 1
    return n_present


@part
def n_samples(nx: int) -> int:
    """Positions that `columns_in_reach` maps for windows of `nx` columns."""
    return 2 * ((nx - 1) // _STRIDE + 2)


@part
def columns_in_reach(
    model: MapModel,
    y_first: int,
    y_last: int,
    x_first: int,
    nx: int,
    reach: float,
    target: Target,
    work: DoubleArray,
    samples: DoubleArray,
) -> tuple[int, int]:
    """Columns of a band of input rows that can touch the tile.

    The band is mapped at its first and last row, every few columns; a stretch between samples is
    kept unless its box, widened by `reach` and a quarter of its size, stays clear of the tile.

    Parameters
    ----------
    model : MapModel
        The map of the chip.
    y_first, y_last : int
        First and last row of the band, absolute in the chip.
    x_first, nx : int
        First column, absolute in the chip, and number of columns.
    reach : float
        How far a drop extends from its mapped centre, output pixels.
    target : Target
        The tile.
    work : ndarray of float64
        A `map_scratch`, to work with.
    samples : ndarray of float64, shape (4, >= n_samples(nx))
        To work with.

    Returns
    -------
    first, last : int
        Half-open range of columns relative to `x_first`; empty (0, 0) when nothing is in reach.
    """
    n = (nx - 1) // _STRIDE + 2
    xs, ys, px, py = samples[0], samples[1], samples[2], samples[3]
    for k in range(n):
        column = float(x_first + min(k * _STRIDE, nx - 1))
        xs[k], ys[k] = column, float(y_first)
        xs[n + k], ys[n + k] = column, float(y_last)
    map_points_into(model, xs[: 2 * n], ys[: 2 * n], px, py, work)
    first, last = nx, 0
    for k in range(n - 1):
        left = min(px[k], px[k + 1], px[n + k], px[n + k + 1])
        right = max(px[k], px[k + 1], px[n + k], px[n + k + 1])
        low = min(py[k], py[k + 1], py[n + k], py[n + k + 1])
        high = max(py[k], py[k + 1], py[n + k], py[n + k + 1])
        slack = reach + _SLACK + 0.25 * max(right - left, high - low)
        # Written so that a position that is not finite keeps the stretch.
        if (
            right + slack < target.x0
            or left - slack > target.x1
            or high + slack < target.y0
            or low - slack > target.y1
        ):
            continue
        first = min(first, k * _STRIDE)
        last = max(last, min((k + 1) * _STRIDE, nx - 1) + 1)
    if first >= last:
        return 0, 0
    return first, last
