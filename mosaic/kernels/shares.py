"""Shares of the cells of the output grid in the quadrilaterals of a block of pixels of one row.

All steps over a block are plain loops without branches, so that several pixels are worked on at a
time. Covers quadrilaterals of up to `MAX_CELLS` cells in either direction. Does not cover where
the corners come from nor the deposit of the shares (`mosaic.kernels.drizzle_square`).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mosaic.kernels import stretches
from mosaic.kernels._compile import inlined, part
from mosaic.kernels.deposit import Target
from mosaic.kernels.overlap import AREA_NOISE, area_left_of, clip_edge, edge_rates
from mosaic.kernels.stretches import BLOCK, MAX_CELLS
from mosaic.types import DoubleArray

IntpArray: TypeAlias = NDArray[np.int64]

# Scratch is one array cut at multiples of the block: constant distances let the compiler prove
# that the parts do not overlap. Its first parts are those of `mosaic.kernels.stretches`.
ROW = stretches.ROW * BLOCK
OFFSET = stretches.OFFSET * BLOCK
_SIGN = stretches.SIGN * BLOCK
INVERSE = stretches.INVERSE * BLOCK
COLUMN = 20 * BLOCK
N_COLUMNS = 21 * BLOCK
N_ROWS = 22 * BLOCK
JACOBIAN = 23 * BLOCK
OFFSET_END = 24 * BLOCK
ROW_END = 25 * BLOCK
_BEFORE = 26 * BLOCK
_EDGES = 27 * BLOCK
SCRATCH = 39 * BLOCK


@inlined
def _bring_near(
    n: int,
    axis: int,
    origin_at: int,
    size_at: int,
    top_left: DoubleArray,
    top_right: DoubleArray,
    bottom_left: DoubleArray,
    bottom_right: DoubleArray,
    work: DoubleArray,
) -> None:
    """Subtract the lowest cell of each pixel along one axis from its corners, and keep it."""
    for k in range(n):
        p0, p1, p2, p3 = top_left[k], top_right[k], bottom_right[k], bottom_left[k]
        low01, high01 = (p0, p1) if p0 < p1 else (p1, p0)
        low23, high23 = (p2, p3) if p2 < p3 else (p3, p2)
        low = min(low23, low01)
        high = max(high23, high01)
        origin = np.floor(low + 0.5)
        work[k + origin_at] = origin
        work[k + size_at] = np.floor(high + 0.5) - origin + 1.0
        work[k + axis * BLOCK] = (p0 - origin) + 0.5
        work[k + (2 + axis) * BLOCK] = (p1 - origin) + 0.5
        work[k + (4 + axis) * BLOCK] = (p2 - origin) + 0.5
        work[k + (6 + axis) * BLOCK] = (p3 - origin) + 0.5


@part
def load_block(
    n: int,
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
    _bring_near(n, 0, COLUMN, N_COLUMNS, x_tl, x_tr, x_bl, x_br, work)
    _bring_near(n, 1, ROW, N_ROWS, y_tl, y_tr, y_bl, y_br, work)
    for k in range(n):
        offset = work[k + COLUMN] - float(k)
        work[k + OFFSET] = offset
        work[k + OFFSET_END] = offset + work[k + N_COLUMNS]
        work[k + ROW_END] = work[k + ROW] + work[k + N_ROWS]


@part
def prepare_edges(n: int, values: DoubleArray, work: DoubleArray) -> None:
    """Signed area of every quadrilateral, its inverse where the pixel has a value, and rates of its edges."""
    for k in range(n):
        x0, y0 = work[k], work[k + BLOCK]
        x1, y1 = work[k + 2 * BLOCK], work[k + 3 * BLOCK]
        x2, y2 = work[k + 4 * BLOCK], work[k + 5 * BLOCK]
        x3, y3 = work[k + 6 * BLOCK], work[k + 7 * BLOCK]
        jacobian = 0.5 * ((x1 - x3) * (y0 - y2) - (x0 - x2) * (y1 - y3))
        work[k + JACOBIAN] = jacobian
        work[k + _SIGN] = 1.0 if jacobian > 0.0 else -1.0
        size = abs(jacobian)
        is_usable = (values[k] == values[k]) & (size > 0.0) & (size < np.inf)
        work[k + INVERSE] = (1.0 if is_usable else 0.0) / (size if is_usable else 1.0)
        work[k + 8 * BLOCK], work[k + 12 * BLOCK] = edge_rates(x0, y0, x1, y1)
        work[k + 9 * BLOCK], work[k + 13 * BLOCK] = edge_rates(x1, y1, x2, y2)
        work[k + 10 * BLOCK], work[k + 14 * BLOCK] = edge_rates(x2, y2, x3, y3)
        work[k + 11 * BLOCK], work[k + 15 * BLOCK] = edge_rates(x3, y3, x0, y0)


@part
def _block_shares(n: int, n_columns: int, n_rows: int, work: DoubleArray, areas: DoubleArray) -> None:
    """Shares of `n` quadrilaterals in each cell of their boxes, ``areas[(r * 4 + c) * BLOCK + k]``."""
    for r in range(n_rows):
        row = float(r)
        for k in range(n):
            work[k + _BEFORE] = 0.0
        for e in range(4):
            start, end = 2 * e * BLOCK, 2 * ((e + 1) % 4) * BLOCK
            slope, out = (8 + e) * BLOCK, _EDGES + 3 * e * BLOCK
            for k in range(n):
                low, high, half_height = clip_edge(
                    work[k + start], work[k + start + BLOCK], work[k + end + BLOCK], work[k + slope], row
                )
                work[k + out] = low
                work[k + out + BLOCK] = high
                work[k + out + 2 * BLOCK] = half_height
        for c in range(n_columns):
            here = (r * MAX_CELLS + c) * BLOCK
            boundary = float(c + 1)
            for k in range(n):
                total = area_left_of(
                    boundary,
                    work[k + _EDGES],
                    work[k + _EDGES + BLOCK],
                    work[k + 12 * BLOCK],
                    work[k + _EDGES + 2 * BLOCK],
                )
                total += area_left_of(
                    boundary,
                    work[k + _EDGES + 3 * BLOCK],
                    work[k + _EDGES + 4 * BLOCK],
                    work[k + 13 * BLOCK],
                    work[k + _EDGES + 5 * BLOCK],
                )
                total += area_left_of(
                    boundary,
                    work[k + _EDGES + 6 * BLOCK],
                    work[k + _EDGES + 7 * BLOCK],
                    work[k + 14 * BLOCK],
                    work[k + _EDGES + 8 * BLOCK],
                )
                total += area_left_of(
                    boundary,
                    work[k + _EDGES + 9 * BLOCK],
                    work[k + _EDGES + 10 * BLOCK],
                    work[k + 15 * BLOCK],
                    work[k + _EDGES + 11 * BLOCK],
                )
                overlap = (total - work[k + _BEFORE]) * work[k + _SIGN]
                work[k + _BEFORE] = total
                areas[here + k] = overlap * work[k + INVERSE] if overlap > AREA_NOISE else 0.0


@part
def extent(target: Target, n: int, work: DoubleArray) -> tuple[int, int]:
    """Columns and rows to work out for the small boxes that touch the tile: 2 to 4, or 0 if none does."""
    # Counts instead of extremes: only sums of integers are worked out several at a time.
    n_near, columns3, columns4, rows3, rows4 = 0, 0, 0, 0, 0
    for k in range(n):
        column, row = work[k + COLUMN], work[k + ROW]
        columns, rows = work[k + N_COLUMNS], work[k + N_ROWS]
        is_near = (
            (column < target.x1)
            & (column + columns > target.x0)
            & (row < target.y1)
            & (row + rows > target.y0)
            & (columns <= MAX_CELLS)
            & (rows <= MAX_CELLS)
        )
        n_near += is_near
        columns3 += is_near & (columns > 2.0)
        columns4 += is_near & (columns > 3.0)
        rows3 += is_near & (rows > 2.0)
        rows4 += is_near & (rows > 3.0)
    if n_near == 0:
        return 0, 0
    return 2 + int(columns3 > 0) + int(columns4 > 0), 2 + int(rows3 > 0) + int(rows4 > 0)


@part
def _gather_wide(n: int, work: DoubleArray, wide: DoubleArray, slots: IntpArray) -> int:
    """Copy the small boxes of more than two columns or rows together; return how many there are.

    ``slots[k]`` is the place in `wide` of pixel k.
    """
    count = 0
    for k in range(n):
        columns, rows = work[k + N_COLUMNS], work[k + N_ROWS]
        if (columns > 2.0 or rows > 2.0) and columns <= MAX_CELLS and rows <= MAX_CELLS:
            slots[k] = count
            for place in range(16):
                wide[count + place * BLOCK] = work[k + place * BLOCK]
            wide[count + _SIGN] = work[k + _SIGN]
            wide[count + INVERSE] = work[k + INVERSE]
            count += 1
    return count


@part
def tabulate_shares(
    n: int,
    n_columns: int,
    n_rows: int,
    work: DoubleArray,
    wide: DoubleArray,
    areas: DoubleArray,
    wide_areas: DoubleArray,
    slots: IntpArray,
) -> None:
    """Shares of all small boxes of a block: in `areas` by pixel, in `wide_areas` by slot for the wide ones.

    Most boxes are two by two; the few others of a block are worked out by themselves.
    """
    _block_shares(n, min(n_columns, 2), min(n_rows, 2), work, areas)
    if n_columns > 2 or n_rows > 2:
        count = _gather_wide(n, work, wide, slots)
        _block_shares(count, n_columns, n_rows, wide, wide_areas)
