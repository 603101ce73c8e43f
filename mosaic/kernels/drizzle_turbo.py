"""The turbo drizzle kernel: every input pixel is an axis-aligned box; local distortion is ignored.

The box has ``pixfrac / scale_ratio`` output pixels on a side, and its middle where the centre of the pixel
is mapped to. Pixels go in stretches (`mosaic.kernels.stretches`) where they can, else one by one with the
same bits. Arguments are those of `drizzle_square`. Reference: Fruchter & Hook 2002, PASP 114, 144.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from mosaic.kernels._compile import inlined, kernel, part
from mosaic.kernels.deposit import (
    BAND_ROWS,
    Target,
    columns_in_reach,
    count_present,
    deposit,
    deposit_pair,
    is_near,
    make_target,
    n_samples,
    nint,
)
from mosaic.kernels.exact_map import MapModel
from mosaic.kernels.pixmap import map_into, map_scratch
from mosaic.kernels.stretches import (
    ALONG,
    LENGTH,
    PAD,
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
    overlaps,
    whole_stretches,
)
from mosaic.kernels.vectors import N_LANES
from mosaic.types import BoolArray, DoubleArray, FloatArray, IntArray

_BOX_CELLS = 4
"""Pixels along each axis within which boxes of up to two pixels are dropped, two at a time."""


@part
def _box_overlaps(
    n: int, half: float, centre: DoubleArray, first_out: DoubleArray, overlap_out: DoubleArray
) -> None:
    """Lowest pixel that a box touches along one axis, and its overlaps with three pixels from there.

    ``overlap_out[c, k]`` is the length that box k has in common with pixel ``first_out[k] + c``.
    """
    for k in range(n):
        low, high = centre[k] - half, centre[k] + half
        first = np.floor(low + 0.5)
        first_out[k] = first
        overlap_out[0, k] = min(high, first + 0.5) - low
        overlap_out[1, k] = max(min(high, first + 1.5) - (first + 0.5), 0.0)
        overlap_out[2, k] = max(min(high, first + 2.5) - (first + 1.5), 0.0)


@part
def _find_plain(
    target: Target,
    n: int,
    half: float,
    columns: DoubleArray,
    rows: DoubleArray,
    value: FloatArray,
    weight: FloatArray,
    is_plain_out: BoolArray,
) -> None:
    """Tell which boxes are present, carry weight and lie well inside the tile."""
    left, right = float(target.x0), float(target.x1 - _BOX_CELLS)
    bottom, top = float(target.y0), float(target.y1 - _BOX_CELLS)
    for k in range(n):
        is_plain_out[k] = (
            (columns[k] >= left)
            & (columns[k] <= right)
            & (rows[k] >= bottom)
            & (rows[k] <= top)
            & (abs(value[k]) < np.inf)
            & (weight[k] > 0.0)
            & (half <= 1.0)
        )


@part
def _drop_box(
    target: Target, x: float, y: float, half: float, weight: float, value: float, variance: float
) -> bool:
    """Share out one box of any size wherever it lies; return whether it hit the tile."""
    left, right, low, high = x - half, x + half, y - half, y + half
    i0, i1 = max(nint(left), target.x0), min(nint(right), target.x1 - 1)
    j0, j1 = max(nint(low), target.y0), min(nint(high), target.y1 - 1)
    is_hit = False
    for j in range(j0, j1 + 1):
        dy = min(high, j + 0.5) - max(low, j - 0.5)
        if dy <= 0.0:
            continue
        for i in range(i0, i1 + 1):
            dx = min(right, i + 0.5) - max(left, i - 0.5)
            if dx > 0.0:
                deposit(target, j, i, dx * dy * weight, value, variance)
                is_hit = True
    return is_hit


Boxes: TypeAlias = tuple[DoubleArray, DoubleArray, DoubleArray, DoubleArray, DoubleArray]
"""Of boxes in a row: first column less the place in the row, first row, one past the last column less the
place, one past the last row, and 1 where the pixel is present, else 0."""


@part
def _find_boxes(
    n: int,
    half: float,
    xs: DoubleArray,
    ys: DoubleArray,
    values: DoubleArray,
    box: Boxes,
) -> None:
    """Find `n` boxes; see `Boxes`."""
    left, bottom, right, top, is_present = box
    for k in range(n):
        is_usable = (values[k] == values[k]) & (xs[k] == xs[k]) & (ys[k] == ys[k])
        is_present[k] = 1.0 if is_usable else 0.0
    for k in range(n):
        left[k] = np.floor((xs[k] - half) + 0.5) - float(k)
        bottom[k] = np.floor((ys[k] - half) + 0.5)
    for k in range(n):
        right[k] = (np.floor((xs[k] + half) + 0.5) + 1.0) - float(k)
        top[k] = np.floor((ys[k] + half) + 0.5) + 1.0


@inlined
def _drop_stretch(
    target: Target,
    k0: int,
    half: float,
    xs: DoubleArray,
    ys: DoubleArray,
    box: Boxes,
    given: Given,
    table: DoubleArray,
) -> int:
    """Share out a stretch of a row from k0; return how many boxes hit the tile, -1 if it is none."""
    left, right = lowest((box[0], k0)), highest((box[2], k0))
    bottom, top = lowest((box[1], k0)), highest((box[3], k0))
    judged = judge_stretch(target, k0, left, right, bottom, top)
    if judged < 1:
        return judged
    n_rows, n_columns = int(top - bottom), int(right - left)
    for lane in range(0, WIDTH, N_LANES):
        overlaps((xs, box[4], k0 + lane, lane, half, left + k0, 1.0, n_columns, table, PAD + lane))
        overlaps((ys, box[4], k0 + lane, lane, half, bottom, 0.0, n_rows, table, ALONG + PAD + lane))
    n_present = count_positive((box[4], k0))
    return deposit_stretch(
        target, bottom, left + k0, n_rows, n_columns, table, given, PAD + k0, n_present, True
    )


@part
def _drop_pixels(
    target: Target,
    k0: int,
    k1: int,
    half: float,
    xs: DoubleArray,
    ys: DoubleArray,
    columns: DoubleArray,
    rows: DoubleArray,
    across: DoubleArray,
    along: DoubleArray,
    is_plain: BoolArray,
    given: Given,
) -> int:
    """Share out the boxes k0 to k1 of a row one by one; return how many hit the tile."""
    n_hit = 0
    for k in range(k0, k1):
        w, d, spread = given[0][PAD + k], given[1][PAD + k], given[2][PAD + k]
        if not is_plain[k]:
            if not np.isnan(d) and is_near(target, xs[k], ys[k], half):
                n_hit += _drop_box(target, xs[k], ys[k], half, w, d, spread)
            continue
        n_hit += 1
        i, j = int(columns[k]), int(rows[k])
        a0, a1, a2 = across[0, k], across[1, k], across[2, k]
        for c in range(3 if along[2, k] > 0.0 else 2):
            dy = along[c, k]
            deposit_pair(target, j + c, i, a0 * dy, a1 * dy, w, d, spread)
            if a2 > 0.0:
                deposit_pair(target, j + c, i + 2, a2 * dy, 0.0, w, d, spread)
    return n_hit


@kernel
def drizzle_turbo(
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
    """Drizzle a window with the turbo kernel; see `drizzle_square` for the arguments."""
    target = make_target(tile_origin_yx, sum_out, weight_out, variance_out, touched_out, touched_bit)
    y0, x0 = chip_origin_yx
    ny, nx = value.shape
    half = 0.5 * pixfrac / scale_ratio
    norm = (scale_ratio / pixfrac) ** 2
    xs, ys = np.empty(nx + LENGTH + WIDTH), np.empty(nx + LENGTH + WIDTH)
    work, samples = map_scratch(model), np.empty((4, n_samples(nx)))
    boxes = np.empty((5, nx + LENGTH + WIDTH))
    box = (boxes[0], boxes[1], boxes[2], boxes[3], boxes[4])
    given = make_given(nx)
    table = aligned(TABLE)
    table[:] = 0.0
    columns, rows = np.empty(nx), np.empty(nx)
    across, along = np.empty((3, nx)), np.empty((3, nx))
    is_plain = np.empty(nx, np.bool_)
    n_hit = 0
    for band in range(0, ny, BAND_ROWS):
        stop = min(band + BAND_ROWS, ny)
        first, last = columns_in_reach(model, y0 + band, y0 + stop - 1, x0, nx, half, target, work, samples)
        for r in range(band, stop if first < last else band):
            n = last - first
            # Positions beyond the last pixel fill up its stretch.
            map_into(model, x0 + first, whole_stretches(n), 0.0, float(y0 + r), xs, ys, work)
            give(n, norm, value[r, first:], weight[r, first:], given)
            if target.has_variance:
                give_variance(n, variance[r, first:], given)
            _find_boxes(whole_stretches(n), half, xs, ys, given[1][PAD:], box)
            is_sorted = False
            for k0 in range(0, n, LENGTH):
                k1 = min(n, k0 + LENGTH)
                n_new = _drop_stretch(target, k0, half, xs, ys, box, given, table)
                if n_new < 0 and not is_sorted:
                    _box_overlaps(n, half, xs, columns, across)
                    _box_overlaps(n, half, ys, rows, along)
                    _find_plain(target, n, half, columns, rows, value[r, first:], weight[r, first:], is_plain)
                    is_sorted = True
                if n_new < 0:
                    n_new = _drop_pixels(
                        target, k0, k1, half, xs, ys, columns, rows, across, along, is_plain, given
                    )
                n_hit += n_new
    return int(count_present(value) - n_hit)
