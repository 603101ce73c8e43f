"""Stretches of an input row whose drops are shared out side by side, several pixels at a time.

A stretch is `LENGTH` neighbouring pixels whose drops, each moved back by its own place in the stretch, lie
within `MAX_CELLS` by `MAX_CELLS` output pixels: where the output is sampled about as finely as the chip and
its rows are hardly turned. Output pixel ``i + m`` then receives from pixel ``m - c`` of the stretch its share
in column c; with c descending the sums grow in the order of the input pixels, so the bits are those of
`mosaic.kernels.deposit.deposit` and `mosaic.kernels.overlap.cell_overlap` pixel by pixel.

Covers the shares of a stretch and their deposit. Does not cover where its drops are.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from mosaic.kernels._compile import inlined, kernel, part
from mosaic.kernels.deposit import Target, deposit
from mosaic.kernels.overlap import AREA_NOISE
from mosaic.kernels.vectors import INDEX, N_LANES, Code, Vector, intrinsic_of
from mosaic.types import DoubleArray, FloatArray

MAX_CELLS: Final = 4
"""Largest box of a stretch, rows and columns."""
LENGTH: Final = 13
"""Pixels of a stretch: with the columns of the last one they fill two vectors."""
WIDTH: Final = 2 * N_LANES
"""Columns that a stretch may touch."""
PAD: Final = N_LANES
"""Zeros before the first pixel of a plane of shares and after the last: no fewer than `MAX_CELLS` - 1."""
PLANE: Final = PAD + WIDTH + PAD
"""Distance of the planes of shares: that of row r and column c of the box is number 4 r + c."""
ALONG: Final = MAX_CELLS**2 * PLANE
"""Where, for separable drops, the planes of the rows begin; those of the columns are the first four."""
TABLE: Final = ALONG + MAX_CELLS * PLANE
"""Size of a table of shares."""

BLOCK: Final = 104
"""Pixels of a row worked on together: eight stretches."""
# Parts of the scratch of a block, each `BLOCK` numbers long; 0 to 7 hold x and y of the four corners.
SLOPES: Final = 8
HALF_RATES: Final = 12
ROW: Final = 16
OFFSET: Final = 17
SIGN: Final = 18
INVERSE: Final = 19
"""Inverse area; 0 for a pixel that is absent or has none."""

_LINE: Final = 64
"""Bytes of a line of the cache."""

Given: TypeAlias = tuple[DoubleArray, DoubleArray, DoubleArray]
"""Weights, values and variances of pixels of a row, the first one at `PAD`."""


def _generate_extreme(code: Code, *, is_least: bool) -> Any:  # noqa: ANN401
    """Smallest or largest of `LENGTH` numbers of an array from an index."""
    array, index = code.arguments
    choose = Vector.least if is_least else Vector.most
    found = choose(code.read(array, index), code.read(array, index, LENGTH - N_LANES))
    distance = N_LANES // 2
    while distance:
        found = choose(found, found.shifted(distance))
        distance //= 2
    return found.first()


lowest = intrinsic_of(types.float64, partial(_generate_extreme, is_least=True))
highest = intrinsic_of(types.float64, partial(_generate_extreme, is_least=False))


def _is_within(code: Code, lane: Any) -> Vector:  # noqa: ANN401
    """Which places of a vector belong to the stretch: it may end within it."""
    return code.constant(float(LENGTH)) > code.places(lane)


def _generate_count(code: Code) -> Any:  # noqa: ANN401
    """How many of `LENGTH` numbers of an array from an index are above zero."""
    array, index = code.arguments
    total = ir.Constant(INDEX, 0)
    for lane in range(0, WIDTH, N_LANES):
        marks = (code.read(array, index, lane) > 0.0).value
        bits = code.builder.bitcast(marks, ir.IntType(N_LANES))
        kept = code.builder.and_(bits, ir.Constant(bits.type, (1 << min(N_LANES, LENGTH - lane)) - 1))
        count = code.builder.ctpop(kept)
        total = code.builder.add(total, code.builder.zext(count, INDEX))
    return total


count_positive = intrinsic_of(types.int64, _generate_count)


def _generate_shares(code: Code) -> None:
    """Shares of `N_LANES` quadrilaterals in a row of cells: `mosaic.kernels.overlap.cell_overlap` for each.

    Arguments: `work` of a block (`mosaic.kernels.shares`) and the first of the pixels in it; its place in the
    stretch; row, and first column less the place in the block, of the cells; number of columns; table of
    shares and the place of the pixel in its plane of the first column.
    """
    work, k, lane, row, column, n_columns, table, out = code.arguments

    def given(number: int) -> Vector:
        return code.read(work, k, number * BLOCK)

    bottom = code.spread(row) - given(ROW)
    top = bottom + 1.0
    edges = []
    for e in range(4):
        f = (e + 1) % 4
        x0, y0, y1, slope = given(2 * e), given(2 * e + 1), given(2 * f + 1), given(SLOPES + e)
        ya, yb = top.least(bottom.most(y0)), top.least(bottom.most(y1))
        xa, xb = x0 + (ya - y0) * slope, x0 + (yb - y0) * slope
        edges.append((xb.least(xa), xa.most(xb), given(HALF_RATES + e), (yb - ya) * 0.5))
    sign = given(SIGN)
    is_within = _is_within(code, lane)
    inverse = is_within.choose(given(INVERSE), 0.0)
    before = code.variable(code.constant(0.0))
    boundary = code.variable(code.spread(column) - given(OFFSET))
    total = code.variable(code.constant(0.0))

    def add_up(areas: list[Vector]) -> None:
        total.set(sum(areas[1:], start=areas[0]))

    def write_share(index: Any) -> None:  # noqa: ANN401
        overlap = (total.get() - before.get()) * sign
        before.set(total.get())
        share = (overlap > AREA_NOISE).choose(overlap * inverse, 0.0)
        code.write(share, table, out, code.times(index, PLANE))

    def cut_edges(here: Vector) -> None:
        areas = []
        for low, high, half_rate, half_height in edges:
            p, q = here - high, (here - low).most(0.0)
            areas.append((p > 0.0).choose((p + q) * half_height, q * q * half_rate))
        add_up(areas)

    n_cut = code.builder.sub(n_columns, ir.Constant(INDEX, 1))
    with cgutils.for_range(code.builder, n_cut) as loop:
        here = boundary.get() + 1.0
        boundary.set(here)
        cut_edges(here)
        write_share(loop.index)
    # All edges lie left of the last boundary, unless the rounding of a clipped end has brought it there.
    here = boundary.get() + 1.0
    right = edges[0][1].most(edges[1][1]).most(edges[2][1].most(edges[3][1]))
    are_left = (here > right).or_not(is_within).all()
    with code.builder.if_else(are_left, likely=True) as (if_left, if_cut):
        with if_left:
            add_up([((here - high) + (here - low)) * height for low, high, _rate, height in edges])
        with if_cut:
            cut_edges(here)
    write_share(n_cut)


row_shares = intrinsic_of(types.void, _generate_shares)


def _generate_deposit(code: Code, *, is_separable: bool) -> None:
    """Deposit of shares in `N_LANES` pixels of a row: `mosaic.kernels.deposit.deposit` for each.

    Arguments: sums, weights, variances, touched of the tile and its bit, whether the latter two are wanted,
    and the pixel; number of columns; table and places in it of the first column and, for separable drops, of
    the row; weights, values and variances of the input and the place in them.
    """
    sums, weights, variances, touched, bit, has_variance, has_touched, *others = code.arguments
    at, n_columns, table, share_at, along_at, given_w, given_d, given_e, first = others
    build = code.builder
    total, before = code.variable(code.read(sums, at)), code.variable(code.read(weights, at))
    spread = code.variable(code.constant(0.0))
    with build.if_then(has_variance):
        spread.set(code.read(variances, at))
    met = code.variable(Vector(build, ir.Constant(ir.VectorType(ir.IntType(1), N_LANES), [0] * N_LANES)))
    with cgutils.for_range(build, n_columns) as loop:
        # The last column first: it holds the shares of the pixels that come first.
        column = build.sub(build.sub(n_columns, ir.Constant(INDEX, 1)), loop.index)
        share = code.read(table, share_at, code.times(column, PLANE - 1))
        back = build.neg(column)
        if is_separable:
            share = share * code.read(table, along_at, back)
        weight, value = share * code.read(given_w, first, back), code.read(given_d, first, back)
        product = weight * value
        is_new = before.get().is_zero()
        fresh = weight.is_zero().choose(value, product)
        has_share = share > 0.0
        total.set(has_share.choose(is_new.choose(fresh, total.get() + product), total.get()))
        before.set(has_share.choose(before.get() + weight, before.get()))
        met.set(Vector(build, build.or_(met.get().value, (weight > 0.0).value)))
        with build.if_then(has_variance):
            more = weight * weight * code.read(given_e, first, back)
            spread.set(has_share.choose(spread.get() + more, spread.get()))
    code.write(total.get(), sums, at)
    code.write(before.get(), weights, at)
    with build.if_then(has_variance):
        code.write(spread.get(), variances, at)
    with build.if_then(has_touched):
        place = code.place(touched, at, ir.IntType(32))
        old = Vector(build, build.load(place, align=4))
        new = Vector(build, build.or_(old.value, code.spread(bit).value))
        build.store(build.select(met.get().value, new.value, old.value), place, align=4)


_deposit = intrinsic_of(types.void, partial(_generate_deposit, is_separable=False))
_deposit_separable = intrinsic_of(types.void, partial(_generate_deposit, is_separable=True))


def _generate_overlaps(code: Code) -> None:
    """Lengths that `N_LANES` boxes have in common with a row of cells, along one axis; 0 for absent pixels.

    Arguments: the middles of the boxes, and above 0 which are present; the first box and its place in the
    stretch; half their size; the first cell of the stretch and its step from box to box; number of cells;
    table and the place of the first box in the plane of the first cell.
    """
    middles, present, k, lane, half, cell, step, n_cells, table, out = code.arguments
    middle, reach = code.read(middles, k), code.spread(half)
    low, high = middle - reach, middle + reach
    is_given = _is_within(code, lane).choose(code.read(present, k), 0.0) > 0.0
    below = code.variable(code.spread(cell) + code.places(lane) * code.spread(step) - 0.5)
    with cgutils.for_range(code.builder, n_cells) as loop:
        start = below.get()
        end = start + 1.0
        below.set(end)
        length = (high.least(end) - start.most(low)).most(0.0)
        code.write(is_given.choose(length, 0.0), table, out, code.times(loop.index, PLANE))


overlaps = intrinsic_of(types.void, _generate_overlaps)


def _generate_fetch(code: Code) -> None:
    """Ask for an element of an array, and its neighbours in memory, ahead of time.

    Arguments: the array and the index; nothing happens if that leads out of the array.
    """
    array, index = code.arguments
    code.fetch(array, index)


_fetch = intrinsic_of(types.void, _generate_fetch)


@kernel
def aligned(n: int) -> DoubleArray:
    """Room for `n` numbers that begins with a line of the cache, as then do vectors at multiples of eight."""
    room = np.empty(n + N_LANES - 1)
    first = -(room.ctypes.data // room.itemsize) % N_LANES
    return room[first : first + n]


@kernel
def make_given(n: int) -> Given:
    """Room for the weights, values and variances of `n` pixels."""
    size = PAD + n + LENGTH + WIDTH
    return np.zeros(size), np.zeros(size), np.zeros(size)


@part
def whole_stretches(n: int) -> int:
    """Number of pixels filled up to whole stretches."""
    return (n + LENGTH - 1) // LENGTH * LENGTH


@part
def give(n: int, norm: float, values: FloatArray, weights: FloatArray, given: Given) -> None:
    """Bring values and `norm` times weights to double precision; absent pixels fill up the last stretch."""
    # The pixels after these come next.
    for k in range(n, 2 * n, _LINE // weights.itemsize):
        _fetch((weights, k))
        _fetch((values, k))
    for k in range(n):
        given[0][PAD + k] = norm * np.float64(weights[k])
    for k in range(n):
        given[1][PAD + k] = np.float64(values[k])
    for k in range(n, whole_stretches(n)):
        given[1][PAD + k] = np.nan


@part
def give_variance(n: int, variances: FloatArray, given: Given) -> None:
    """Bring the variances of `n` pixels to double precision."""
    for k in range(n):
        given[2][PAD + k] = np.float64(variances[k])


@inlined
def judge_stretch(target: Target, k0: int, left: float, right: float, bottom: float, top: float) -> int:
    """Tell whether pixels are a stretch (else -1) whose box may touch the tile (1, else 0).

    Parameters
    ----------
    target : Target
        The tile.
    k0 : int
        Place of the first pixel.
    left, right : float
        First column, and one past the last, of their drops, each less the place of its pixel.
    bottom, top : float
        First row and one past the last.
    """
    # Written so that positions that are not finite make no stretch.
    if not (right - left <= MAX_CELLS and top - bottom <= MAX_CELLS):
        return -1
    is_near = (
        left + k0 < target.x1 and right + k0 + LENGTH > target.x0 and bottom < target.y1 and top > target.y0
    )
    return 1 if is_near else 0


@inlined
def _fetch_row(target: Target, at: int) -> None:
    """Ask for `WIDTH` pixels of the tile ahead of time; the first few belong to the stretch before, too."""
    for last in (at + N_LANES, at + WIDTH - 1):
        _fetch((target.sums, last))
        _fetch((target.weights, last))
        if target.has_variance:
            _fetch((target.variances, last))
    if target.has_touched:
        _fetch((target.touched, at + WIDTH - 1))


@inlined
def _add_stretch(
    target: Target,
    j: int,
    i: int,
    n_rows: int,
    n_columns: int,
    table: DoubleArray,
    given: Given,
    first: int,
    is_separable: bool,
) -> None:
    """Deposit a stretch all of whose rows and `WIDTH` columns lie in the tile."""
    weights, values, variances = given
    # The next row of the input reaches the row of the tile above these or the one below.
    for r in (-1, n_rows):
        _fetch_row(target, (j + r - target.y0) * target.weights.shape[1] + (i - target.x0))
    for r in range(n_rows):
        row = (j + r - target.y0) * target.weights.shape[1] + (i - target.x0)
        for lane in range(0, WIDTH, N_LANES):
            tile = (
                target.sums,
                target.weights,
                target.variances,
                target.touched,
                target.bit,
                target.has_variance,
                target.has_touched,
                row + lane,
            )
            pixels = (weights, values, variances, first + lane)
            if is_separable:
                along = ALONG + r * PLANE + PAD + lane
                _deposit_separable((*tile, n_columns, table, PAD + lane, along, *pixels))
            else:
                share = r * MAX_CELLS * PLANE + PAD + lane
                _deposit((*tile, n_columns, table, share, 0, *pixels))


@inlined
def _clip_stretch(
    target: Target,
    j: int,
    i: int,
    n_rows: int,
    n_columns: int,
    table: DoubleArray,
    given: Given,
    first: int,
    is_separable: bool,
) -> int:
    """Deposit a stretch of which a part lies in the tile; return how many pixels hit it."""
    n_hit = 0
    for m in range(LENGTH):
        is_hit = False
        lane = PAD + m
        for r in range(max(0, target.y0 - j), min(n_rows, target.y1 - j)):
            for c in range(max(0, target.x0 - i - m), min(n_columns, target.x1 - i - m)):
                if is_separable:
                    share = table[c * PLANE + lane] * table[ALONG + r * PLANE + lane]
                else:
                    share = table[(r * MAX_CELLS + c) * PLANE + lane]
                if share > 0.0:
                    weight, value = share * given[0][first + m], given[1][first + m]
                    deposit(target, j + r, i + m + c, weight, value, given[2][first + m])
                    is_hit = True
        n_hit += is_hit
    return n_hit


@inlined
def deposit_stretch(
    target: Target,
    bottom: float,
    column: float,
    n_rows: int,
    n_columns: int,
    table: DoubleArray,
    given: Given,
    first: int,
    n_present: int,
    is_separable: bool,
) -> int:
    """Deposit the shares of a stretch.

    Parameters
    ----------
    target : Target
        The tile.
    bottom, column : float
        First row, and first column of the first pixel, of the box.
    n_rows, n_columns : int
        Size of the box.
    table : ndarray of float64, shape (TABLE,)
        Shares.
    given : Given
        The pixels.
    first : int
        Place of the first pixel of the stretch in `given`.
    n_present : int
        How many pixels have shares.
    is_separable : bool
        Whether a share is the product of one for the column and one for the row.

    Returns
    -------
    int
        How many pixels hit the tile.
    """
    j, i = int(bottom), int(column)
    is_inside = target.x0 <= i and i + WIDTH <= target.x1 and target.y0 <= j and j + n_rows <= target.y1
    if is_inside:
        _add_stretch(target, j, i, n_rows, n_columns, table, given, first, is_separable)
        return n_present
    return _clip_stretch(target, j, i, n_rows, n_columns, table, given, first, is_separable)
