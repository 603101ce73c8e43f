"""The square drizzle kernel: every input pixel is shared out by the exact area of its quadrilateral.

The corners ``(x ± pixfrac/2, y ± pixfrac/2)`` are mapped one by one; an output pixel receives the
weight times (area in common) / (area of the quadrilateral), so a pixel's weight is conserved
whatever the local distortion.

Work goes in blocks of pixels of one row. Stretches of them whose quadrilaterals lie side by side are shared
out together (`mosaic.kernels.stretches`). Of others the shares are tabulated together
(`mosaic.kernels.shares`) and deposited pixel by pixel; quadrilaterals of more than `MAX_CELLS` cells in
either direction take the same arithmetic cell by cell. The bits do not depend on which way a pixel goes.

Covers the square kernel alone. Reference: Fruchter & Hook 2002, PASP 114, 144.
"""

from __future__ import annotations

import numpy as np

from mosaic.kernels._compile import inlined, kernel, part
from mosaic.kernels.deposit import (
    BAND_ROWS,
    Target,
    columns_in_reach,
    count_present,
    deposit,
    deposit_pair,
    make_target,
    n_samples,
)
from mosaic.kernels.exact_map import MapModel
from mosaic.kernels.overlap import AREA_NOISE, cell_overlap
from mosaic.kernels.pixmap import map_into, map_scratch
from mosaic.kernels.shares import (
    COLUMN,
    INVERSE,
    JACOBIAN,
    N_COLUMNS,
    N_ROWS,
    OFFSET,
    OFFSET_END,
    ROW,
    ROW_END,
    SCRATCH,
    IntpArray,
    extent,
    load_block,
    prepare_edges,
    tabulate_shares,
)
from mosaic.kernels.stretches import (
    BLOCK,
    LENGTH,
    MAX_CELLS,
    PAD,
    PLANE,
    TABLE,
    WIDTH,
    Given,
    aligned,
    count_positive,
    deposit_stretch,
    give,
    give_variance,
    highest,
    judge_stretch,
    lowest,
    make_given,
    row_shares,
    whole_stretches,
)
from mosaic.kernels.vectors import N_LANES
from mosaic.types import DoubleArray, FloatArray, IntArray


@part
def _scatter_small(
    target: Target,
    k: int,
    work: DoubleArray,
    shares: DoubleArray,
    slot: int,
    weight: float,
    value: float,
    variance: float,
) -> bool:
    """Share out one pixel whose shares are tabulated; return whether it hit the tile."""
    i0, j0 = int(work[k + COLUMN]), int(work[k + ROW])
    first_c, last_c = max(target.x0 - i0, 0), min(target.x1 - i0, int(work[k + N_COLUMNS]))
    first_r, last_r = max(target.y0 - j0, 0), min(target.y1 - j0, int(work[k + N_ROWS]))
    is_hit = False
    for r in range(first_r, last_r):
        for c in range(first_c, last_c):
            share = shares[(r * MAX_CELLS + c) * BLOCK + slot]
            if share > 0.0:
                deposit(target, j0 + r, i0 + c, share * weight, value, variance)
                is_hit = True
    return is_hit


@part
def _scatter_large(
    target: Target, k: int, work: DoubleArray, weight: float, value: float, variance: float
) -> bool:
    """Share out one pixel that covers many cells; return whether it hit the tile."""
    quad = (
        work[k],
        work[k + BLOCK],
        work[k + 2 * BLOCK],
        work[k + 3 * BLOCK],
        work[k + 4 * BLOCK],
        work[k + 5 * BLOCK],
        work[k + 6 * BLOCK],
        work[k + 7 * BLOCK],
    )
    column, row = work[k + COLUMN], work[k + ROW]
    jacobian = work[k + JACOBIAN]
    sign = 1.0 if jacobian > 0.0 else -1.0
    inverse = 1.0 / (jacobian * sign)
    # Limits are compared as floats: a box may exceed every integer.
    i_first, i_last = (
        int(max(column, float(target.x0))),
        int(min(column + work[k + N_COLUMNS], float(target.x1))),
    )
    j_first, j_last = int(max(row, float(target.y0))), int(min(row + work[k + N_ROWS], float(target.y1)))
    is_hit = False
    for j in range(j_first, j_last):
        for i in range(i_first, i_last):
            overlap = cell_overlap(quad, i - column, j - row) * sign
            if overlap > AREA_NOISE:
                deposit(target, j, i, overlap * inverse * weight, value, variance)
                is_hit = True
    return is_hit


@inlined
def _scatter_inside(
    target: Target,
    k: int,
    work: DoubleArray,
    shares: DoubleArray,
    slot: int,
    weight: float,
    value: float,
    variance: float,
) -> None:
    """What `_scatter_small` does with positive weight for a box well inside the tile: no test by cell."""
    row, column = int(work[k + ROW]), int(work[k + COLUMN])
    columns = work[k + N_COLUMNS]
    for r in range(int(work[k + N_ROWS])):
        here = r * MAX_CELLS * BLOCK + slot
        deposit_pair(target, row + r, column, shares[here], shares[here + BLOCK], weight, value, variance)
        if columns > 2.0:
            deposit_pair(
                target,
                row + r,
                column + 2,
                shares[here + 2 * BLOCK],
                shares[here + 3 * BLOCK] if columns > 3.0 else 0.0,
                weight,
                value,
                variance,
            )


@part
def _scatter_pixels(
    target: Target,
    k0: int,
    k1: int,
    given: Given,
    work: DoubleArray,
    areas: DoubleArray,
    wide_areas: DoubleArray,
    slots: IntpArray,
) -> int:
    """Share out the pixels k0 to k1 of a block one by one; return how many hit the tile."""
    n_hit = 0
    left, right = float(target.x0), float(target.x1 - MAX_CELLS)
    bottom, top = float(target.y0), float(target.y1 - MAX_CELLS)
    for k in range(k0, k1):
        w, d, spread = given[0][PAD + k], given[1][PAD + k], given[2][PAD + k]
        column, row = work[k + COLUMN], work[k + ROW]
        columns, rows = work[k + N_COLUMNS], work[k + N_ROWS]
        is_near = (
            column < target.x1 and column + columns > target.x0 and row < target.y1 and row + rows > target.y0
        )
        if not is_near or work[k + INVERSE] == 0.0:
            continue
        if columns > MAX_CELLS or rows > MAX_CELLS:
            n_hit += _scatter_large(target, k, work, w, d, spread)
            continue
        is_wide = columns > 2.0 or rows > 2.0
        is_inside = w > 0.0 and abs(d) < np.inf and left <= column <= right and bottom <= row <= top
        if is_inside and not is_wide:
            i, j = int(column), int(row)
            deposit_pair(target, j, i, areas[k], areas[k + BLOCK], w, d, spread)
            deposit_pair(target, j + 1, i, areas[k + 4 * BLOCK], areas[k + 5 * BLOCK], w, d, spread)
            n_hit += 1
        elif is_inside:
            _scatter_inside(target, k, work, wide_areas, slots[k], w, d, spread)
            n_hit += 1
        elif is_wide:
            n_hit += _scatter_small(target, k, work, wide_areas, slots[k], w, d, spread)
        else:
            n_hit += _scatter_small(target, k, work, areas, k, w, d, spread)
    return n_hit


@inlined
def _share_stretch(target: Target, k0: int, given: Given, work: DoubleArray, table: DoubleArray) -> int:
    """Share out a stretch of a block from k0; return how many pixels hit the tile, -1 if it is none."""
    left, right = lowest((work, k0 + OFFSET)), highest((work, k0 + OFFSET_END))
    bottom, top = lowest((work, k0 + ROW)), highest((work, k0 + ROW_END))
    judged = judge_stretch(target, k0, left, right, bottom, top)
    if judged < 1:
        return judged
    n_rows, n_columns = int(top - bottom), int(right - left)
    for r in range(n_rows):
        first = r * MAX_CELLS * PLANE + PAD
        for lane in range(0, WIDTH, N_LANES):
            row_shares((work, k0 + lane, lane, bottom + r, left, n_columns, table, first + lane))
    n_present = count_positive((work, k0 + INVERSE))
    return deposit_stretch(
        target, bottom, left + k0, n_rows, n_columns, table, given, PAD + k0, n_present, False
    )


@inlined
def _scatter_block(
    target: Target,
    n: int,
    given: Given,
    work: DoubleArray,
    wide: DoubleArray,
    areas: DoubleArray,
    wide_areas: DoubleArray,
    slots: IntpArray,
    table: DoubleArray,
) -> int:
    """Share out the pixels of a block; return how many hit the tile."""
    n_hit = 0
    is_tabulated = False
    for k0 in range(0, n, LENGTH):
        k1 = min(n, k0 + LENGTH)
        n_new = _share_stretch(target, k0, given, work, table)
        if n_new < 0 and not is_tabulated:
            n_columns, n_rows = extent(target, n, work)
            tabulate_shares(n, n_columns, n_rows, work, wide, areas, wide_areas, slots)
            is_tabulated = True
        if n_new < 0:
            n_new = _scatter_pixels(target, k0, k1, given, work, areas, wide_areas, slots)
        n_hit += n_new
    return n_hit


@part
def _drizzle_row(
    target: Target,
    shift: int,
    upper: int,
    lower: int,
    y: int,
    first: int,
    last: int,
    corners: DoubleArray,
    value: FloatArray,
    weight: FloatArray,
    variance: FloatArray,
    work: DoubleArray,
    wide: DoubleArray,
    areas: DoubleArray,
    wide_areas: DoubleArray,
    slots: IntpArray,
    given: Given,
    table: DoubleArray,
) -> int:
    """Drizzle ``value[y, first:last]`` from its corner rows; return how many pixels hit the tile.

    ``corners[upper]`` and ``corners[upper + 1]`` hold x and y of the upper left corners, likewise `lower`.
    With `shift` 1 the right corner of a pixel is the left corner of the next; else x and y of the right
    corners are in the two rows after those of the left ones.
    """
    n_hit = 0
    upper_right, lower_right = (upper, lower) if shift == 1 else (upper + 2, lower + 2)
    for at in range(0, last - first, BLOCK):
        n = min(BLOCK, last - first - at)
        whole = whole_stretches(n)
        load_block(
            whole,
            corners[upper, at:],
            corners[upper + 1, at:],
            corners[upper_right, at + shift :],
            corners[upper_right + 1, at + shift :],
            corners[lower, at:],
            corners[lower + 1, at:],
            corners[lower_right, at + shift :],
            corners[lower_right + 1, at + shift :],
            work,
        )
        x = first + at
        give(n, 1.0, value[y, x:], weight[y, x:], given)
        prepare_edges(whole, given[1][PAD:], work)
        if target.has_variance:
            give_variance(n, variance[y, x:], given)
        n_hit += _scatter_block(target, n, given, work, wide, areas, wide_areas, slots, table)
    return n_hit


@kernel
def drizzle_square(
    value: FloatArray,
    weight: FloatArray,
    variance: FloatArray,
    model: MapModel,
    chip_origin_yx: tuple[int, int],
    pixfrac: float,
    scale_ratio: float,
    tile_origin_yx: tuple[int, int],
    sum_out: DoubleArray,
    weight_out: DoubleArray,
    variance_out: DoubleArray,
    touched_out: IntArray,
    touched_bit: int,
) -> int:
    """Drizzle a window of a chip into a tile of the output grid.

    Parameters
    ----------
    value : ndarray of float32, shape (ny, nx)
        Window of the chip, in the unit of the output; NaN is an absent pixel, infinity one that spoils.
    weight : ndarray of float32, shape (ny, nx)
        Weight of each pixel; 0 = masked.
    variance : ndarray of float32, shape (ny, nx) or (0, 0)
        Variance of `value`; used only when `variance_out` is wanted.
    model : MapModel
        The map of the chip.
    chip_origin_yx : (int, int)
        First row and column of the window in the chip, 0-based.
    pixfrac : float
        Size of the drop, input pixels, > 0.
    scale_ratio : float
        Output over input pixel scale.
    tile_origin_yx : (int, int)
        First row and column of the tile in the output grid, 0-based.
    sum_out, weight_out : ndarray of float64, shape (my, mx)
        Running sums of weight times value and of weight.
    variance_out : ndarray of float64, shape (my, mx) or (0, 0)
        Running sum of squared weight times variance.
    touched_out : ndarray of int32, shape (my, mx) or (0, 0)
        Gets `touched_bit` where the pixel received positive weight.
    touched_bit : int
        Bit of this chip.

    Returns
    -------
    int
        Number of present input pixels that hit no pixel of the tile.
    """
    target = make_target(tile_origin_yx, sum_out, weight_out, variance_out, touched_out, touched_bit)
    y0, x0 = chip_origin_yx
    ny, nx = value.shape
    half = 0.5 * pixfrac
    is_shared = pixfrac == 1.0
    corners = np.empty((8, nx + 1 + LENGTH))
    work, wide = aligned(SCRATCH), aligned(SCRATCH)
    areas, wide_areas = aligned(MAX_CELLS**2 * BLOCK), aligned(MAX_CELLS**2 * BLOCK)
    map_work, samples = map_scratch(model), np.empty((4, n_samples(nx)))
    slots = np.empty(BLOCK, np.int64)
    given = make_given(BLOCK)
    table = aligned(TABLE)
    table[:] = 0.0
    reach = 1.0 + pixfrac / scale_ratio
    n_hit = 0
    for band in range(0, ny, BAND_ROWS):
        stop = min(band + BAND_ROWS, ny)
        first, last = columns_in_reach(
            model, y0 + band, y0 + stop - 1, x0, nx, reach, target, map_work, samples
        )
        if first >= last:
            continue
        # Positions beyond the last pixel fill up its stretch.
        column, n = x0 + first, whole_stretches(last - first)
        upper, lower = 0, 4
        if is_shared:
            map_into(
                model, column, n + 1, -half, (y0 + band) - half, corners[upper], corners[upper + 1], map_work
            )
        for r in range(band, stop):
            row = float(y0 + r)
            if is_shared:
                # The upper corners of the last row are the lower corners of this one, same bits.
                upper, lower = lower, upper
                map_into(
                    model, column, n + 1, -half, row + half, corners[upper], corners[upper + 1], map_work
                )
            else:
                map_into(model, column, n, -half, row + half, corners[upper], corners[upper + 1], map_work)
                map_into(model, column, n, half, row + half, corners[upper + 2], corners[upper + 3], map_work)
                map_into(model, column, n, -half, row - half, corners[lower], corners[lower + 1], map_work)
                map_into(model, column, n, half, row - half, corners[lower + 2], corners[lower + 3], map_work)
            n_hit += _drizzle_row(
                target,
                1 if is_shared else 0,
                upper,
                lower,
                r,
                first,
                last,
                corners,
                value,
                weight,
                variance,
                work,
                wide,
                areas,
                wide_areas,
                slots,
                given,
                table,
            )
    return int(count_present(value) - n_hit)
