"""Drizzle kernels whose drop depends on the mapped pixel centre alone.

point
    The whole weight goes to the nearest output pixel.
gaussian
    FWHM of `pixfrac` input pixels, truncated, not renormalised.
lanczos2, lanczos3
    Separable, from a table of 512 steps of 0.01 that is read one entry too far, as DrizzlePac does.
tophat
    Equal weight within ``pixfrac / (2 scale_ratio)``.

Covers the loops over input pixels; arguments are those of `drizzle_square`. Does not cover the
square and turbo kernels. Reference: Fruchter & Hook 2002, PASP 114, 144.
"""

from __future__ import annotations

import numpy as np

from mosaic.kernels._compile import kernel, part
from mosaic.kernels.deposit import (
    BAND_ROWS,
    Target,
    columns_in_reach,
    count_present,
    deposit,
    is_near,
    make_target,
    n_samples,
    nint,
)
from mosaic.kernels.exact_map import MapModel
from mosaic.kernels.pixmap import map_into, map_scratch
from mosaic.types import DoubleArray, FloatArray, IntArray

FWHM_PER_SIGMA = 2.3548
"""As DrizzlePac rounds it."""
LANCZOS_STEP = 0.01
"""Step of the Lanczos table, in units of the drop."""
LANCZOS_SIZE = 512
"""Entries of the Lanczos table."""


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
    work, samples = map_scratch(model), np.empty((4, n_samples(nx)))
    n_hit = 0
    spread = 0.0
    for band in range(0, ny, BAND_ROWS):
        stop = min(band + BAND_ROWS, ny)
        first, last = columns_in_reach(model, y0 + band, y0 + stop - 1, x0, nx, 0.5, target, work, samples)
        for r in range(band, stop if first < last else band):
            map_into(model, x0 + first, last - first, 0.0, float(y0 + r), xs, ys, work)
            for k in range(first, last):
                x, y = xs[k - first], ys[k - first]
                d = np.float64(value[r, k])
                if not (not np.isnan(d) and is_near(target, x, y, 0.5)):
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
    work, samples = map_scratch(model), np.empty((4, n_samples(nx)))
    n_hit = 0
    spread = 0.0
    for band in range(0, ny, BAND_ROWS):
        stop = min(band + BAND_ROWS, ny)
        first, last = columns_in_reach(model, y0 + band, y0 + stop - 1, x0, nx, half, target, work, samples)
        for r in range(band, stop if first < last else band):
            map_into(model, x0 + first, last - first, 0.0, float(y0 + r), xs, ys, work)
            for k in range(first, last):
                x, y = xs[k - first], ys[k - first]
                d = np.float64(value[r, k])
                if not (not np.isnan(d) and is_near(target, x, y, half)):
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
    work, samples = map_scratch(model), np.empty((4, n_samples(nx)))
    n_hit = 0
    spread = 0.0
    for band in range(0, ny, BAND_ROWS):
        stop = min(band + BAND_ROWS, ny)
        first, last = columns_in_reach(model, y0 + band, y0 + stop - 1, x0, nx, half, target, work, samples)
        for r in range(band, stop if first < last else band):
            map_into(model, x0 + first, last - first, 0.0, float(y0 + r), xs, ys, work)
            for k in range(first, last):
                x, y = xs[k - first], ys[k - first]
                d = np.float64(value[r, k])
                if not (not np.isnan(d) and is_near(target, x, y, half)):
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


@part
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
    work, samples = map_scratch(model), np.empty((4, n_samples(nx)))
    n_hit = 0
    spread = 0.0
    for band in range(0, ny, BAND_ROWS):
        stop = min(band + BAND_ROWS, ny)
        first, last = columns_in_reach(model, y0 + band, y0 + stop - 1, x0, nx, half, target, work, samples)
        for r in range(band, stop if first < last else band):
            map_into(model, x0 + first, last - first, 0.0, float(y0 + r), xs, ys, work)
            for k in range(first, last):
                x, y = xs[k - first], ys[k - first]
                d = np.float64(value[r, k])
                if not (not np.isnan(d) and is_near(target, x, y, half)):
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
