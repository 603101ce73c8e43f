"""The square drizzle kernel: every input pixel is shared out by the exact area of its quadrilateral.

The corners ``(x ± pixfrac/2, y ± pixfrac/2)`` are mapped one by one; an output pixel receives the
weight times (area in common) / (area of the quadrilateral), so a pixel's weight is conserved
whatever the local distortion.

Work goes in blocks of pixels of one row. Steps over a block are plain loops without branches
(they vectorise); only the final scatter is pixel by pixel. Quadrilaterals of more than
`_MAX_CELLS` cells in either direction take the same arithmetic cell by cell.

Covers the square kernel alone. Reference: Fruchter & Hook 2002, PASP 114, 144.
"""

from __future__ import annotations

import numpy as np

from mosaic.kernels._compile import kernel
from mosaic.kernels.deposit import BAND_ROWS, Target, columns_in_reach, count_present, deposit, make_target
from mosaic.kernels.overlap import AREA_NOISE, area_left_of, cell_overlap, clip_edge, edge_slope
from mosaic.kernels.pixmap import MapModel, map_row
from mosaic.types import DoubleArray, FloatArray, IntArray

_MAX_CELLS = 4
_BLOCK = 128
# Scratch is one array cut at multiples of the block: constant distances let the compiler prove
# that the parts do not overlap.
# Parts 0 to 7 hold x and y of the four corners, parts 8 to 11 the slopes of the four edges.
_COLUMN = 12 * _BLOCK
_ROW = 13 * _BLOCK
_N_COLUMNS = 14 * _BLOCK
_N_ROWS = 15 * _BLOCK
_JACOBIAN = 16 * _BLOCK
_EDGES = 17 * _BLOCK
_SCRATCH = 33 * _BLOCK


@kernel
def _load_block(
    at: int,
    n: int,
    shift: int,
    x_tl: DoubleArray,
    y_tl: DoubleArray,
    x_tr: DoubleArray,
    y_tr: DoubleArray,
    x_bl: DoubleArray,
    y_bl: DoubleArray,
    x_br: DoubleArray,
    y_br: DoubleArray,
    work: DoubleArray,
) -> None:
    """Bring the corners of `n` pixels to the cell that holds their lowest x and y.

    Local coordinates are exact differences, so nothing depends on where the tile begins.
    """
    for k in range(n):
        work[k + 0 * _BLOCK] = x_tl[at + k]
        work[k + 1 * _BLOCK] = y_tl[at + k]
        work[k + 2 * _BLOCK] = x_tr[at + k + shift]
        work[k + 3 * _BLOCK] = y_tr[at + k + shift]
    for k in range(n):
        work[k + 4 * _BLOCK] = x_br[at + k + shift]
        work[k + 5 * _BLOCK] = y_br[at + k + shift]
        work[k + 6 * _BLOCK] = x_bl[at + k]
        work[k + 7 * _BLOCK] = y_bl[at + k]
    for axis in range(2):
        for k in range(n):
            p0, p1 = work[k + axis * _BLOCK], work[k + (2 + axis) * _BLOCK]
            p2, p3 = work[k + (4 + axis) * _BLOCK], work[k + (6 + axis) * _BLOCK]
            low01, high01 = (p0, p1) if p0 < p1 else (p1, p0)
            low23, high23 = (p2, p3) if p2 < p3 else (p3, p2)
            low = min(low23, low01)
            high = max(high23, high01)
            origin = np.floor(low + 0.5)
            work[k + (12 + axis) * _BLOCK] = origin
            work[k + (14 + axis) * _BLOCK] = np.floor(high + 0.5) - origin + 1.0
            work[k + axis * _BLOCK] = (p0 - origin) + 0.5
            work[k + (2 + axis) * _BLOCK] = (p1 - origin) + 0.5
            work[k + (4 + axis) * _BLOCK] = (p2 - origin) + 0.5
            work[k + (6 + axis) * _BLOCK] = (p3 - origin) + 0.5


@kernel
def _prepare_edges(n: int, work: DoubleArray) -> None:
    """Signed area of every quadrilateral and slopes of its edges."""
    for k in range(n):
        x0, y0 = work[k], work[k + _BLOCK]
        x1, y1 = work[k + 2 * _BLOCK], work[k + 3 * _BLOCK]
        x2, y2 = work[k + 4 * _BLOCK], work[k + 5 * _BLOCK]
        x3, y3 = work[k + 6 * _BLOCK], work[k + 7 * _BLOCK]
        work[k + _JACOBIAN] = 0.5 * ((x1 - x3) * (y0 - y2) - (x0 - x2) * (y1 - y3))
        work[k + 8 * _BLOCK] = edge_slope(x0, y0, x1, y1)
        work[k + 9 * _BLOCK] = edge_slope(x1, y1, x2, y2)
        work[k + 10 * _BLOCK] = edge_slope(x2, y2, x3, y3)
        work[k + 11 * _BLOCK] = edge_slope(x3, y3, x0, y0)


@kernel
def _block_areas(n: int, n_columns: int, n_rows: int, work: DoubleArray, areas: DoubleArray) -> None:
    """Signed areas of `n` quadrilaterals in each cell of their boxes, ``areas[(r * 4 + c) * BLOCK + k]``."""
    for r in range(n_rows):
        row = float(r)
        for e in range(4):
            start, end = 2 * e * _BLOCK, 2 * ((e + 1) % 4) * _BLOCK
            slope, out = (8 + e) * _BLOCK, _EDGES + 4 * e * _BLOCK
            for k in range(n):
                low, high, half_rate, half_height = clip_edge(
                    work[k + start], work[k + start + _BLOCK], work[k + end + _BLOCK], work[k + slope], row
                )
                work[k + out] = low
                work[k + out + _BLOCK] = high
                work[k + out + 2 * _BLOCK] = half_rate
                work[k + out + 3 * _BLOCK] = half_height
        for c in range(n_columns):
            here = (r * _MAX_CELLS + c) * _BLOCK
            boundary = float(c + 1)
            for k in range(n):
                total = area_left_of(
                    boundary,
                    work[k + _EDGES],
                    work[k + _EDGES + _BLOCK],
                    work[k + _EDGES + 2 * _BLOCK],
                    work[k + _EDGES + 3 * _BLOCK],
                )
                total += area_left_of(
                    boundary,
                    work[k + _EDGES + 4 * _BLOCK],
                    work[k + _EDGES + 5 * _BLOCK],
                    work[k + _EDGES + 6 * _BLOCK],
                    work[k + _EDGES + 7 * _BLOCK],
                )
                total += area_left_of(
                    boundary,
                    work[k + _EDGES + 8 * _BLOCK],
                    work[k + _EDGES + 9 * _BLOCK],
                    work[k + _EDGES + 10 * _BLOCK],
                    work[k + _EDGES + 11 * _BLOCK],
                )
                total += area_left_of(
                    boundary,
                    work[k + _EDGES + 12 * _BLOCK],
                    work[k + _EDGES + 13 * _BLOCK],
                    work[k + _EDGES + 14 * _BLOCK],
                    work[k + _EDGES + 15 * _BLOCK],
                )
                areas[here + k] = total


@kernel
def _extent(target: Target, n: int, work: DoubleArray) -> tuple[int, int]:
    """Largest number of columns and rows of the small boxes that touch the tile; (0, 0) if none does."""
    n_columns, n_rows = 0.0, 0.0
    for k in range(n):
        columns, rows = work[k + _N_COLUMNS], work[k + _N_ROWS]
        is_near = (
            work[k + _COLUMN] < target.x1
            and work[k + _COLUMN] + columns > target.x0
            and work[k + _ROW] < target.y1
            and work[k + _ROW] + rows > target.y0
        )
        if is_near and columns <= _MAX_CELLS and rows <= _MAX_CELLS:
            n_columns = max(n_columns, columns)
            n_rows = max(n_rows, rows)
    return int(n_columns), int(n_rows)


@kernel
def _scatter_small(
    target: Target,
    k: int,
    work: DoubleArray,
    areas: DoubleArray,
    weight: float,
    value: float,
    variance: float,
) -> bool:
    """Share out one pixel whose areas are tabulated; return whether it hit the tile."""
    i0, j0 = int(work[k + _COLUMN]), int(work[k + _ROW])
    first_c, last_c = max(target.x0 - i0, 0), min(target.x1 - i0, int(work[k + _N_COLUMNS]))
    first_r, last_r = max(target.y0 - j0, 0), min(target.y1 - j0, int(work[k + _N_ROWS]))
    jacobian = work[k + _JACOBIAN]
    sign = 1.0 if jacobian > 0.0 else -1.0
    inverse = 1.0 / (jacobian * sign)
    is_hit = False
    for r in range(first_r, last_r):
        here = r * _MAX_CELLS * _BLOCK + k
        before = areas[here + (first_c - 1) * _BLOCK] if first_c > 0 else 0.0
        for c in range(first_c, last_c):
            after = areas[here + c * _BLOCK]
            overlap = (after - before) * sign
            before = after
            if overlap > AREA_NOISE:
                deposit(target, j0 + r, i0 + c, overlap * inverse * weight, value, variance)
                is_hit = True
    return is_hit


@kernel
def _scatter_large(
    target: Target, k: int, work: DoubleArray, weight: float, value: float, variance: float
) -> bool:
    """Share out one pixel that covers many cells; return whether it hit the tile."""
    quad = (
        work[k],
        work[k + _BLOCK],
        work[k + 2 * _BLOCK],
        work[k + 3 * _BLOCK],
        work[k + 4 * _BLOCK],
        work[k + 5 * _BLOCK],
        work[k + 6 * _BLOCK],
        work[k + 7 * _BLOCK],
    )
    column, row = work[k + _COLUMN], work[k + _ROW]
    jacobian = work[k + _JACOBIAN]
    sign = 1.0 if jacobian > 0.0 else -1.0
    inverse = 1.0 / (jacobian * sign)
    # Limits are compared as floats: a box may exceed every integer.
    i_first, i_last = (
        int(max(column, float(target.x0))),
        int(min(column + work[k + _N_COLUMNS], float(target.x1))),
    )
    j_first, j_last = int(max(row, float(target.y0))), int(min(row + work[k + _N_ROWS], float(target.y1)))
    is_hit = False
    for j in range(j_first, j_last):
        for i in range(i_first, i_last):
            overlap = cell_overlap(quad, i - column, j - row) * sign
            if overlap > AREA_NOISE:
                deposit(target, j, i, overlap * inverse * weight, value, variance)
                is_hit = True
    return is_hit


@kernel
def _scatter_block(
    target: Target,
    n: int,
    y: int,
    x: int,
    value: FloatArray,
    weight: FloatArray,
    variance: FloatArray,
    work: DoubleArray,
    areas: DoubleArray,
) -> int:
    """Share out the pixels ``value[y, x:x + n]``; return how many hit the tile."""
    n_hit = 0
    spread = 0.0
    for k in range(n):
        d = np.float64(value[y, x + k])
        column, row = work[k + _COLUMN], work[k + _ROW]
        columns, rows = work[k + _N_COLUMNS], work[k + _N_ROWS]
        jacobian = work[k + _JACOBIAN]
        is_near = (
            column < target.x1 and column + columns > target.x0 and row < target.y1 and row + rows > target.y0
        )
        if not (is_near and np.isfinite(d) and np.isfinite(jacobian)) or jacobian == 0.0:
            continue
        if target.has_variance:
            spread = np.float64(variance[y, x + k])
        w = np.float64(weight[y, x + k])
        if columns <= _MAX_CELLS and rows <= _MAX_CELLS:
            n_hit += _scatter_small(target, k, work, areas, w, d, spread)
        else:
            n_hit += _scatter_large(target, k, work, w, d, spread)
    return n_hit


@kernel
def _drizzle_row(
    target: Target,
    shift: int,
    y: int,
    first: int,
    last: int,
    corners: DoubleArray,
    value: FloatArray,
    weight: FloatArray,
    variance: FloatArray,
    work: DoubleArray,
    areas: DoubleArray,
) -> int:
    """Drizzle ``value[y, first:last]`` from its corner rows; return how many pixels hit the tile.

    `corners` holds x and y of the upper left, upper right, lower left and lower right corners,
    shape (8, n); with `shift` 1 the right corner of a pixel is the left corner of the next.
    """
    n_hit = 0
    for at in range(0, last - first, _BLOCK):
        n = min(_BLOCK, last - first - at)
        _load_block(
            at,
            n,
            shift,
            corners[0],
            corners[1],
            corners[2],
            corners[3],
            corners[4],
            corners[5],
            corners[6],
            corners[7],
            work,
        )
        n_columns, n_rows = _extent(target, n, work)
        _prepare_edges(n, work)
        _block_areas(n, n_columns, n_rows, work, areas)
        n_hit += _scatter_block(target, n, y, first + at, value, weight, variance, work, areas)
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
        Window of the chip, in the unit of the output; a pixel that is not finite is absent.
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
    corners = np.empty((8, nx + 1))
    work, areas = np.empty(_SCRATCH), np.empty(_MAX_CELLS * _MAX_CELLS * _BLOCK)
    reach = 1.0 + pixfrac / scale_ratio
    n_hit = 0
    for band in range(0, ny, BAND_ROWS):
        stop = min(band + BAND_ROWS, ny)
        first, last = columns_in_reach(model, y0 + band, y0 + stop - 1, x0, nx, reach, target)
        if first >= last:
            continue
        column, n = x0 + first, last - first
        if is_shared:
            map_row(model, column, n + 1, -half, (y0 + band) - half, corners[0], corners[1])
        for r in range(band, stop):
            row = float(y0 + r)
            if is_shared:
                # The upper corners of the last row are the lower corners of this one, same bits.
                for k in range(n + 1):
                    corners[4, k], corners[5, k] = corners[0, k], corners[1, k]
                    corners[6, k], corners[7, k] = corners[0, k], corners[1, k]
                map_row(model, column, n + 1, -half, row + half, corners[0], corners[1])
                for k in range(n + 1):
                    corners[2, k], corners[3, k] = corners[0, k], corners[1, k]
            else:
                map_row(model, column, n, -half, row + half, corners[0], corners[1])
                map_row(model, column, n, half, row + half, corners[2], corners[3])
                map_row(model, column, n, -half, row - half, corners[4], corners[5])
                map_row(model, column, n, half, row - half, corners[6], corners[7])
            n_hit += _drizzle_row(
                target, 1 if is_shared else 0, r, first, last, corners, value, weight, variance, work, areas
            )
    return int(count_present(value) - n_hit)
