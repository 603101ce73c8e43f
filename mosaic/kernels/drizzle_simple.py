"""Drizzle kernels whose drop depends on the mapped pixel centre alone.

turbo
    An axis-aligned box of ``pixfrac / scale_ratio`` output pixels; local distortion is ignored.
point
    The whole weight goes to the nearest output pixel.
gaussian
    FWHM of `pixfrac` input pixels, truncated, not renormalised.
lanczos2, lanczos3
    Separable, from a table of 512 steps of 0.01 that is read one entry too far, as DrizzlePac does.
tophat
    Equal weight within ``pixfrac / (2 scale_ratio)``.

Covers the loops over input pixels; arguments are those of `drizzle_square`. Does not cover the
square kernel. Reference: Fruchter & Hook 2002, PASP 114, 144.
"""

from __future__ import annotations

import numpy as np

from mosaic.kernels._compile import kernel
from mosaic.kernels.deposit import (
    BAND_ROWS,
    Target,
    columns_in_reach,
    count_present,
    deposit,
    deposit_pair,
    make_target,
    nint,
)
from mosaic.kernels.pixmap import MapModel, map_row
from mosaic.types import BoolArray, DoubleArray, FloatArray, IntArray

FWHM_PER_SIGMA = 2.3548
"""As DrizzlePac rounds it."""
_BOX_CELLS = 4
"""Pixels along each axis within which boxes of up to two pixels are dropped, two at a time."""
LANCZOS_STEP = 0.01
"""Step of the Lanczos table, in units of the drop."""
LANCZOS_SIZE = 512
"""Entries of the Lanczos table."""


@kernel
def _is_near(target: Target, x: float, y: float, reach: float) -> bool:
    """Whether a drop may touch the tile; False when the position is not finite."""
    return bool(
        x + reach > target.x0 - 1.0
        and x - reach < target.x1
        and y + reach > target.y0 - 1.0
        and y - reach < target.y1
    )


@kernel
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


@kernel
def _find_plain(
    target: Target,
    n: int,
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
        )


@kernel
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
    is_small = half <= 1.0
    xs, ys = np.empty(nx), np.empty(nx)
    columns, rows = np.empty(nx), np.empty(nx)
    across, along = np.empty((3, nx)), np.empty((3, nx))
    is_plain = np.empty(nx, np.bool_)
    n_hit = 0
    spread = 0.0
    for band in range(0, ny, BAND_ROWS):
        stop = min(band + BAND_ROWS, ny)
        first, last = columns_in_reach(model, y0 + band, y0 + stop - 1, x0, nx, half, target)
        for r in range(band, stop if first < last else band):
            n = last - first
            map_row(model, x0 + first, n, 0.0, float(y0 + r), xs, ys)
            _box_overlaps(n, half, xs, columns, across)
            _box_overlaps(n, half, ys, rows, along)
            _find_plain(target, n, columns, rows, value[r, first:], weight[r, first:], is_plain)
            for k in range(n):
                d = np.float64(value[r, first + k])
                w = norm * np.float64(weight[r, first + k])
                if target.has_variance:
                    spread = np.float64(variance[r, first + k])
                if not (is_small and is_plain[k]):
                    if not np.isnan(d) and _is_near(target, xs[k], ys[k], half):
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
    return int(count_present(value) - n_hit)


@kernel
def drizzle_point(
    value: FloatArray,
    weight: FloatArray,
    variance: FloatArray,
    model: MapModel,
    chip_origin_yx: tuple[int, int],
    pixfrac: float,  # noqa: ARG001  (a point has no size; all kernels share one argument list)
    scale_ratio: float,  # noqa: ARG001
    tile_origin_yx: tuple[int, int],
    sum_out: DoubleArray,
    weight_out: DoubleArray,
    variance_out: DoubleArray,
    touched_out: IntArray,
    touched_bit: int,
) -> int:
    """Drizzle a window with the point kernel; see `drizzle_square` for the arguments."""
    target = make_target(tile_origin_yx, sum_out, weight_out, variance_out, touched_out, touched_bit)
    y0, x0 = chip_origin_yx
    ny, nx = value.shape
    xs, ys = np.empty(nx), np.empty(nx)
    n_hit = 0
    spread = 0.0
    for band in range(0, ny, BAND_ROWS):
        stop = min(band + BAND_ROWS, ny)
        first, last = columns_in_reach(model, y0 + band, y0 + stop - 1, x0, nx, 0.5, target)
        for r in range(band, stop if first < last else band):
            map_row(model, x0 + first, last - first, 0.0, float(y0 + r), xs, ys)
            for k in range(first, last):
                x, y = xs[k - first], ys[k - first]
                d = np.float64(value[r, k])
                if not (not np.isnan(d) and _is_near(target, x, y, 0.5)):
                    continue
                i, j = nint(x), nint(y)
                if target.x0 <= i < target.x1 and target.y0 <= j < target.y1:
                    if target.has_variance:
                        spread = np.float64(variance[r, k])
                    deposit(target, j, i, np.float64(weight[r, k]), d, spread)
                    n_hit += 1
    return int(count_present(value) - n_hit)


@kernel
def drizzle_tophat(
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
    """Drizzle a window with the tophat kernel; see `drizzle_square` for the arguments."""
    target = make_target(tile_origin_yx, sum_out, weight_out, variance_out, touched_out, touched_bit)
    y0, x0 = chip_origin_yx
    ny, nx = value.shape
    half = 0.5 * pixfrac / scale_ratio
    xs, ys = np.empty(nx), np.empty(nx)
    n_hit = 0
    spread = 0.0
    for band in range(0, ny, BAND_ROWS):
        stop = min(band + BAND_ROWS, ny)
        first, last = columns_in_reach(model, y0 + band, y0 + stop - 1, x0, nx, half, target)
        for r in range(band, stop if first < last else band):
            map_row(model, x0 + first, last - first, 0.0, float(y0 + r), xs, ys)
            for k in range(first, last):
                x, y = xs[k - first], ys[k - first]
                d = np.float64(value[r, k])
                if not (not np.isnan(d) and _is_near(target, x, y, half)):
                    continue
                if target.has_variance:
                    spread = np.float64(variance[r, k])
                is_hit = False
                for j in range(max(nint(y - half), target.y0), min(nint(y + half), target.y1 - 1) + 1):
                    for i in range(max(nint(x - half), target.x0), min(nint(x + half), target.x1 - 1) + 1):
                        if (x - i) ** 2 + (y - j) ** 2 <= half * half:
                            deposit(target, j, i, np.float64(weight[r, k]), d, spread)
                            is_hit = True
                n_hit += is_hit
    return int(count_present(value) - n_hit)


@kernel
def gaussian_reach(pixfrac: float, scale_ratio: float) -> float:
    """Half width of the gaussian drop, output pixels."""
    return max(2.5 * pixfrac / (FWHM_PER_SIGMA * scale_ratio), 1.2 / scale_ratio)


@kernel
def drizzle_gaussian(
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
    """Drizzle a window with the gaussian kernel; see `drizzle_square` for the arguments."""
    target = make_target(tile_origin_yx, sum_out, weight_out, variance_out, touched_out, touched_bit)
    y0, x0 = chip_origin_yx
    ny, nx = value.shape
    half = gaussian_reach(pixfrac, scale_ratio)
    rate = 0.5 * (FWHM_PER_SIGMA * scale_ratio / pixfrac) ** 2
    norm = rate / np.pi
    profile = np.empty(int(2.0 * half) + 3)
    xs, ys = np.empty(nx), np.empty(nx)
    n_hit = 0
    spread = 0.0
    for band in range(0, ny, BAND_ROWS):
        stop = min(band + BAND_ROWS, ny)
        first, last = columns_in_reach(model, y0 + band, y0 + stop - 1, x0, nx, half, target)
        for r in range(band, stop if first < last else band):
            map_row(model, x0 + first, last - first, 0.0, float(y0 + r), xs, ys)
            for k in range(first, last):
                x, y = xs[k - first], ys[k - first]
                d = np.float64(value[r, k])
                if not (not np.isnan(d) and _is_near(target, x, y, half)):
                    continue
                i0, i1 = max(nint(x - half), target.x0), min(nint(x + half), target.x1 - 1)
                j0, j1 = max(nint(y - half), target.y0), min(nint(y + half), target.y1 - 1)
                w = np.float64(weight[r, k])
                if target.has_variance:
                    spread = np.float64(variance[r, k])
                for i in range(i0, i1 + 1):
                    profile[i - i0] = norm * np.exp(-rate * (x - i) ** 2)
                for j in range(j0, j1 + 1):
                    height = np.exp(-rate * (y - j) ** 2)
                    for i in range(i0, i1 + 1):
                        # The peer keeps the profile in single precision.
                        deposit(target, j, i, np.float64(np.float32(height * profile[i - i0])) * w, d, spread)
                n_hit += i0 <= i1 and j0 <= j1
    return int(count_present(value) - n_hit)


@kernel
def lanczos_table(order: int) -> DoubleArray:
    """Tabulate the Lanczos profile ``sinc(q) sinc(q / order)`` at ``q = 0.01 pi m``, single precision.

    Parameters
    ----------
    order : int
        2 or 3.

    Returns
    -------
    ndarray of float64, shape (512,)
        Profile; 1 at the centre, 0 beyond ``order * pi``.
    """
    table = np.zeros(LANCZOS_SIZE)
    table[0] = 1.0
    # The peer's step is a single-precision 0.01, which decides the sign of the last entry.
    step = np.float64(np.float32(LANCZOS_STEP))
    for m in range(1, LANCZOS_SIZE):
        q = np.float32(np.pi * m * step)
        if np.float64(q) < np.pi * order:
            scaled = np.float64(np.float32(q / np.float32(order)))
            profile = np.sin(np.float64(q)) / np.float64(q) * np.sin(scaled) / scaled
            table[m] = np.float64(np.float32(profile))
    return table


@kernel
def _lanczos_value(table: DoubleArray, distance: float, steps_per_px: float) -> float:
    """Profile at a distance; the entry after the nearest one is read, beyond the table it is 0."""
    # Kept as a quirk of the peer: the centre of the drop uses the entry at 0.01.
    index = nint(distance * steps_per_px) + 1
    return table[index] if index < LANCZOS_SIZE else 0.0


@kernel
def _drizzle_lanczos(
    order: int,
    value: FloatArray,
    weight: FloatArray,
    variance: FloatArray,
    model: MapModel,
    chip_origin_yx: tuple[int, int],
    pixfrac: float,
    scale_ratio: float,
    target: Target,
) -> int:
    """Drizzle a window with the Lanczos kernel of an order."""
    y0, x0 = chip_origin_yx
    ny, nx = value.shape
    half = order * pixfrac / scale_ratio
    steps_per_px = scale_ratio / (LANCZOS_STEP * pixfrac)
    table = lanczos_table(order)
    profile = np.empty(int(2.0 * half) + 3)
    xs, ys = np.empty(nx), np.empty(nx)
    n_hit = 0
    spread = 0.0
    for band in range(0, ny, BAND_ROWS):
        stop = min(band + BAND_ROWS, ny)
        first, last = columns_in_reach(model, y0 + band, y0 + stop - 1, x0, nx, half, target)
        for r in range(band, stop if first < last else band):
            map_row(model, x0 + first, last - first, 0.0, float(y0 + r), xs, ys)
            for k in range(first, last):
                x, y = xs[k - first], ys[k - first]
                d = np.float64(value[r, k])
                if not (not np.isnan(d) and _is_near(target, x, y, half)):
                    continue
                i0, i1 = max(nint(x - half), target.x0), min(nint(x + half), target.x1 - 1)
                j0, j1 = max(nint(y - half), target.y0), min(nint(y + half), target.y1 - 1)
                w = np.float64(weight[r, k])
                if target.has_variance:
                    spread = np.float64(variance[r, k])
                for i in range(i0, i1 + 1):
                    profile[i - i0] = _lanczos_value(table, abs(x - i), steps_per_px)
                for j in range(j0, j1 + 1):
                    height = _lanczos_value(table, abs(y - j), steps_per_px)
                    for i in range(i0, i1 + 1):
                        deposit(target, j, i, profile[i - i0] * height * w, d, spread)
                n_hit += i0 <= i1 and j0 <= j1
    return int(count_present(value) - n_hit)


@kernel
def drizzle_lanczos2(
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
    """Drizzle a window with the Lanczos kernel of order 2; see `drizzle_square` for the arguments."""
    target = make_target(tile_origin_yx, sum_out, weight_out, variance_out, touched_out, touched_bit)
    return int(
        _drizzle_lanczos(2, value, weight, variance, model, chip_origin_yx, pixfrac, scale_ratio, target)
    )


@kernel
def drizzle_lanczos3(
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
    """Drizzle a window with the Lanczos kernel of order 3; see `drizzle_square` for the arguments."""
    target = make_target(tile_origin_yx, sum_out, weight_out, variance_out, touched_out, touched_bit)
    return int(
        _drizzle_lanczos(3, value, weight, variance, model, chip_origin_yx, pixfrac, scale_ratio, target)
    )
