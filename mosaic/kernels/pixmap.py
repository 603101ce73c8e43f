"""Rows of chip pixels to output pixels, inside the compiled kernels.

Positions are not evaluated pixel by pixel: between look-up nodes they are so smooth that a cubic in x and y
through sixteen exact positions of a patch of the chip stands for all of them. How large a patch may be is
found by measurement when a model is built; pixels and rows at a bend are evaluated exactly
(`mosaic.kernels.exact_map`).

Every position is an elementwise function of the absolute 0-based chip position, so it has the
same bits whichever row segment or window it is asked for in.
"""

from __future__ import annotations

import numpy as np

from mosaic.kernels._compile import kernel, part
from mosaic.kernels.exact_map import BLOCK, EXACT_SCRATCH, MapModel, U, V, map_block, map_given
from mosaic.types import DoubleArray

N_NODES = 4
"""Exact positions in a patch along each axis."""

# Scratch goes on where that of the exact map ends, in multiples of BLOCK for the same reason.
_X_NODES = EXACT_SCRATCH
_Y_NODES = EXACT_SCRATCH + BLOCK
_PLACES = EXACT_SCRATCH + 2 * BLOCK
# Which patches are at hand: their row, the first and one past the last column; then the patches themselves.
_ROW_AT_HAND = EXACT_SCRATCH + 3 * BLOCK
_FIRST_AT_HAND = _ROW_AT_HAND + 1
_STOP_AT_HAND = _ROW_AT_HAND + 2
_PATCHES = _ROW_AT_HAND + 8
_PATCH = 2 * N_NODES**2


@kernel
def map_scratch(model: MapModel) -> DoubleArray:
    """Numbers that `map_into` needs to work with; it finds the patches of its last row in them."""
    work = np.empty(_PATCHES + _PATCH * max(0, model.cuts_x.shape[0] - 1))
    work[_ROW_AT_HAND] = -1.0
    return work


@part
def _is_in_patches(model: MapModel, row: float) -> bool:
    """Whether patches hold for a row; not if it may cross from one row of NPOL nodes to the next."""
    if model.step > 0 or model.cuts_x.shape[0] < 2 or not model.cuts_y[0] <= row <= model.cuts_y[-1]:
        return False
    n_near = 0
    for k in range(model.bends_y.shape[0]):
        n_near += abs(row - model.bends_y[k]) <= model.bend_reach
    return n_near == 0


@part
def _first_cut(cuts: DoubleArray, at: float) -> int:
    """Index of the patch that holds the FITS position `at` along an axis; the outermost one beyond."""
    low, high = 0, cuts.shape[0] - 2
    while low < high:
        middle = (low + high + 1) // 2
        if cuts[middle] <= at:
            low = middle
        else:
            high = middle - 1
    return low


_OUTER = 0.9238795325112867
_INNER = 0.3826834323650898


@part
def _node(number: int) -> float:
    """Chebyshev nodes from -1 to 1."""
    size = _OUTER if number in (0, 3) else _INNER
    return size if number > 1 else -size


@part
def _cubic_through(p0: float, p1: float, p2: float, p3: float) -> tuple[float, float, float, float]:
    """Coefficients, constant first, of the cubic that has these values at the nodes."""
    outer2, inner2 = _OUTER * _OUTER, _INNER * _INNER
    scale = 1.0 / (outer2 - inner2)
    even_outer, even_inner = 0.5 * (p0 + p3), 0.5 * (p1 + p2)
    odd_outer, odd_inner = 0.5 * (p3 - p0) / _OUTER, 0.5 * (p2 - p1) / _INNER
    square = (even_outer - even_inner) * scale
    cube = (odd_outer - odd_inner) * scale
    return even_inner - inner2 * square, odd_inner - inner2 * cube, square, cube


@part
def _fit_patches(model: MapModel, j: int, first: int, stop: int, work: DoubleArray) -> None:
    """Fit the patches of row `j` in the columns from `first` to before `stop` and note that they are at hand.

    A patch runs from -1 to 1 along both axes in its own variables; its numbers are the coefficients of
    ``s**q * t**p`` at ``8 * q + p`` for x and 4 after that for y, with `s` along y and `t` along x.
    """
    centre_y = 0.5 * (model.cuts_y[j] + model.cuts_y[j + 1])
    half_y = 0.5 * (model.cuts_y[j + 1] - model.cuts_y[j])
    x_nodes, y_nodes = work[_X_NODES : _X_NODES + BLOCK], work[_Y_NODES : _Y_NODES + BLOCK]
    square = N_NODES * N_NODES
    for i in range(first, stop, BLOCK // square):
        count = min(BLOCK // square, stop - i)
        for k in range(count):
            centre_x = 0.5 * (model.cuts_x[i + k] + model.cuts_x[i + k + 1])
            half_x = 0.5 * (model.cuts_x[i + k + 1] - model.cuts_x[i + k])
            for q in range(N_NODES):
                for p in range(N_NODES):
                    work[square * k + N_NODES * q + p + U] = centre_x + _node(p) * half_x
                    work[square * k + N_NODES * q + p + V] = centre_y + _node(q) * half_y
        map_block(model, square * count, work, 0, x_nodes, y_nodes)
        for k in range(count):
            for axis in range(2):
                found = x_nodes if axis == 0 else y_nodes
                at = _PATCHES + _PATCH * (i - first + k) + N_NODES * axis
                for q in range(N_NODES):
                    n = square * k + N_NODES * q
                    along = _cubic_through(found[n], found[n + 1], found[n + 2], found[n + 3])
                    for p in range(N_NODES):
                        work[at + 8 * q + p] = along[p]
                for p in range(N_NODES):
                    n = at + p
                    across = _cubic_through(work[n], work[n + 8], work[n + 16], work[n + 24])
                    for q in range(N_NODES):
                        work[n + 8 * q] = across[q]
    work[_ROW_AT_HAND], work[_FIRST_AT_HAND], work[_STOP_AT_HAND] = float(j), float(first), float(stop)


@part
def _in_row(patch: DoubleArray, s: float, p: int) -> float:
    """Coefficient `p` of a patch in the row `s`."""
    return ((patch[p + 24] * s + patch[p + 16]) * s + patch[p + 8]) * s + patch[p]


@part
def _evaluate_patch(
    patch: DoubleArray,
    s: float,
    centre: float,
    rate: float,
    column: int,
    dx: float,
    x_out: DoubleArray,
    y_out: DoubleArray,
) -> None:
    """Positions of columns from `column` on in the row `s` of their patch."""
    a0, a1, a2, a3 = _in_row(patch, s, 0), _in_row(patch, s, 1), _in_row(patch, s, 2), _in_row(patch, s, 3)
    b0, b1, b2, b3 = _in_row(patch, s, 4), _in_row(patch, s, 5), _in_row(patch, s, 6), _in_row(patch, s, 7)
    # Counted from 0: an index that might be negative would keep the loop from being vectorised.
    for k in range(x_out.shape[0]):
        t = ((float(column + k) + dx) - centre) * rate
        x_out[k] = ((a3 * t + a2) * t + a1) * t + a0
        y_out[k] = ((b3 * t + b2) * t + b1) * t + b0


@part
def _map_patches(
    model: MapModel,
    column: int,
    dx: float,
    n: int,
    row: float,
    work: DoubleArray,
    x_out: DoubleArray,
    y_out: DoubleArray,
) -> None:
    """Map the FITS positions ``(column + k + dx, row)``, ``k = 0 … n - 1``, patch by patch."""
    cuts = model.cuts_x
    j = _first_cut(model.cuts_y, row)
    first = _first_cut(cuts, float(column) + dx)
    last = _first_cut(cuts, float(column + n - 1) + dx)
    is_at_hand = work[_ROW_AT_HAND] == j and work[_FIRST_AT_HAND] <= first and last < work[_STOP_AT_HAND]
    if not is_at_hand:
        _fit_patches(model, j, first, last + 1, work)
    begin = int(work[_FIRST_AT_HAND])
    low_y, high_y = model.cuts_y[j], model.cuts_y[j + 1]
    s = (row - 0.5 * (low_y + high_y)) * (2.0 / (high_y - low_y))
    k = 0
    for i in range(first, last + 1):
        low, high = cuts[i], cuts[i + 1]
        stop = n
        if i < last:
            stop = min(n, max(k, int(np.ceil(high - dx)) - column))
            # Decided by the positions themselves, which do not depend on where the window begins.
            while stop > k and float(column + stop - 1) + dx >= high:
                stop -= 1
            while stop < n and float(column + stop) + dx < high:
                stop += 1
        at = _PATCHES + _PATCH * (i - begin)
        middle, rate = 0.5 * (low + high), 2.0 / (high - low)
        patch, x_part, y_part = work[at : at + _PATCH], x_out[k:stop], y_out[k:stop]
        _evaluate_patch(patch, s, middle, rate, column + k, dx, x_part, y_part)
        k = stop


@part
def _mend_places(
    model: MapModel,
    n: int,
    column: int,
    dx: float,
    row: float,
    work: DoubleArray,
    x_out: DoubleArray,
    y_out: DoubleArray,
) -> None:
    """Evaluate exactly the `n` positions whose columns less `column` are kept from `_PLACES` on."""
    for m in range(n):
        work[m + U] = (float(column) + work[m + _PLACES]) + dx
        work[m + V] = row
    x, y = work[_X_NODES : _X_NODES + BLOCK], work[_Y_NODES : _Y_NODES + BLOCK]
    map_block(model, n, work, 0, x, y)
    for m in range(n):
        place = int(work[m + _PLACES])
        x_out[place], y_out[place] = x[m], y[m]


@part
def _mend_row(
    model: MapModel,
    column: int,
    dx: float,
    n: int,
    row: float,
    work: DoubleArray,
    x_out: DoubleArray,
    y_out: DoubleArray,
) -> None:
    """Evaluate exactly what the cubics do not hold for: bends, and positions beyond the patches.

    So near an NPOL node that is at a bend D2IM decides on which side of it a position is.
    """
    count = 0
    reach = model.bend_reach
    low, high = model.cuts_x[0], model.cuts_x[-1]
    n_bends = model.bends_x.shape[0]
    for m in range(-2, n_bends):
        # -2 and -1 stand for what lies before the first patch and after the last one.
        first, stop = 0, n
        if m == -2:
            stop = min(n, int(np.ceil(low - dx)) - column + 1)
        elif m == -1:
            first = max(0, int(np.floor(high - dx)) - column - 1)
        else:
            middle, margin = int(np.floor(model.bends_x[m] - dx)) - column, int(np.ceil(reach)) + 1
            first, stop = max(0, middle - margin), min(n, middle + margin + 1)
        for k in range(first, stop):
            at = float(column + k) + dx
            is_beyond = at < low or at > high
            if is_beyond if m < 0 else (not is_beyond and abs(at - model.bends_x[m]) <= reach):
                work[count + _PLACES] = float(k)
                count += 1
            if count == BLOCK:
                _mend_places(model, count, column, dx, row, work, x_out, y_out)
                count = 0
    if count > 0:
        _mend_places(model, count, column, dx, row, work, x_out, y_out)


@part
def map_into(
    model: MapModel,
    ix0: int,
    n: int,
    dx: float,
    y: float,
    x_out: DoubleArray,
    y_out: DoubleArray,
    work: DoubleArray,
) -> None:
    """What `map_row` does, with `map_scratch` to work with: best for rows that follow each other."""
    row = y + 1.0
    if _is_in_patches(model, row):
        _map_patches(model, ix0 + 1, dx, n, row, work, x_out, y_out)
        _mend_row(model, ix0 + 1, dx, n, row, work, x_out, y_out)
        return
    for at in range(0, n, BLOCK):
        count = min(BLOCK, n - at)
        first = ix0 + at + 1
        for k in range(count):
            work[k + U] = float(first + k) + dx
            work[k + V] = row
        map_given(model, count, work, at, x_out, y_out)


@kernel
def map_row(
    model: MapModel, ix0: int, n: int, dx: float, y: float, x_out: DoubleArray, y_out: DoubleArray
) -> None:
    """Map the chip positions ``(ix0 + k + dx, y)``, ``k = 0 … n - 1``, to output positions.

    Parameters
    ----------
    model : MapModel
        The map of the chip.
    ix0 : int
        Column of the first pixel, 0-based, absolute in the chip.
    n : int
        Number of positions.
    dx : float
        Offset from the pixel centres along x, pixels.
    y : float
        Row, 0-based, absolute in the chip; fractions allowed.
    x_out, y_out : ndarray of float64, shape (>= n,)
        0-based output positions.
    """
    map_into(model, ix0, n, dx, y, x_out, y_out, map_scratch(model))


@part
def map_points_into(
    model: MapModel,
    x: DoubleArray,
    y: DoubleArray,
    x_out: DoubleArray,
    y_out: DoubleArray,
    work: DoubleArray,
) -> None:
    """What `map_points` does, with `map_scratch` to work with."""
    n = x.shape[0]
    for at in range(0, n, BLOCK):
        count = min(BLOCK, n - at)
        for k in range(count):
            work[k + U] = x[at + k] + 1.0
            work[k + V] = y[at + k] + 1.0
        map_given(model, count, work, at, x_out, y_out)


@kernel
def map_points(
    model: MapModel, x: DoubleArray, y: DoubleArray, x_out: DoubleArray, y_out: DoubleArray
) -> None:
    """Map scattered chip positions to output positions.

    Parameters
    ----------
    model : MapModel
        The map of the chip.
    x, y : ndarray of float64, shape (n,)
        0-based chip positions.
    x_out, y_out : ndarray of float64, shape (n,)
        0-based output positions.
    """
    map_points_into(model, x, y, x_out, y_out, map_scratch(model))
