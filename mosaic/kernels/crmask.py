"""Cosmic-ray mask of a chip from its difference to the blotted median.

Arithmetic is float32 in DrizzlePac's order of operations, so that masks agree pixel by pixel. A
band of rows gives the rows of the whole chip's mask: borders are those of the chip, and the rows
within `cosmic_ray_halo` of an edge of the band that is not one of the chip are not to be used.

Covers the derivative, the two tests, growth and charge-transfer tail. Does not cover units, the
choice of the background, nor data-quality flags (`mosaic.steps.cosmic_rays`).

Shared arguments: `sci_e` (chip), `blot_e` (blotted median) and `derivative` are float32 of shape (rows, nx),
electrons; masks are uint8, 1 = the pixel has the property.
"""

from __future__ import annotations

import numpy as np

from mosaic.kernels._compile import kernel, part
from mosaic.kernels.flags import merge_row, spread
from mosaic.types import ByteArray, FloatArray

_ZERO = np.float32(0.0)
_STAR_SIGMA = np.float32(5.0)
"""Height in the median, in units of the noise, from which a peak may be a star."""


def cosmic_ray_halo(grow: int, ctegrow: int, core: float = 0.0) -> int:
    """Rows around a band that its mask depends on: neighbour, its derivative or height, growth or tail."""
    return 2 + int(core > 0.0) + max(grow // 2, ctegrow, 0)


@part
def _steepest(value: np.float32, neighbour: np.float32, so_far: np.float32) -> np.float32:
    """Larger of `so_far` and the step to a neighbour; NaN if either is."""
    step = abs(value - neighbour)
    return step if (step > so_far) | (step != step) else so_far  # noqa: PLR0124


@part
def _border_derivative(blot_e: FloatArray, i: int, x: int, row: int, full_ny: int) -> np.float32:
    """Derivative where some neighbours count as zero; `row` is the chip row of band row `i`."""
    rows, nx = blot_e.shape
    left = right = lower = upper = _ZERO
    if row <= full_ny - 2:
        if 1 <= x <= nx - 2:
            left = blot_e[i, x - 1]
        if x <= nx - 3:
            right = blot_e[i, x + 1]
    if x <= nx - 2:
        if 1 <= row <= full_ny - 2 and i > 0:
            lower = blot_e[i - 1, x]
        if row <= full_ny - 3 and i < rows - 1:
            upper = blot_e[i + 1, x]
    value = blot_e[i, x]
    steepest = _steepest(value, right, _steepest(value, left, _ZERO))
    return _steepest(value, upper, _steepest(value, lower, steepest))


@kernel
def derivative(blot_e: FloatArray, y_offset: int, full_ny: int, v_out: FloatArray) -> None:
    """Largest absolute step from a pixel to its four neighbours.

    In the first row and column and the last two of each, some neighbours count as zero, as DrizzlePac has
    it, which keeps cosmic rays from being found along the border.

    Parameters
    ----------
    blot_e : float32, shape (rows, nx)
        Blotted median, electrons.
    y_offset : int
        Row of the chip at ``blot_e[0]``.
    full_ny : int
        Rows of the chip.
    v_out : float32, shape (rows, nx)
        Derivative, electrons per pixel.
    """
    rows, nx = blot_e.shape
    for i in range(rows):
        row = i + y_offset
        inside = 1 <= row <= full_ny - 3 and 0 < i < rows - 1 and nx > 3
        first, stop = (1, nx - 2) if inside else (0, 0)
        for x in range(first, stop):
            value = blot_e[i, x]
            steepest = _steepest(value, blot_e[i, x - 1], _ZERO)
            steepest = _steepest(value, blot_e[i, x + 1], steepest)
            steepest = _steepest(value, blot_e[i - 1, x], steepest)
            v_out[i, x] = _steepest(value, blot_e[i + 1, x], steepest)
        for x in range(first):
            v_out[i, x] = _border_derivative(blot_e, i, x, row, full_ny)
        for x in range(stop, nx):
            v_out[i, x] = _border_derivative(blot_e, i, x, row, full_ny)


@kernel
def exceeds_noise(
    sci_e: FloatArray,
    blot_e: FloatArray,
    derivative: FloatArray,
    background_e: float,
    noise_gain: float,
    read_noise_e: float,
    snr1: float,
    snr2: float,
    scale1: float,
    scale2: float,
    strict_out: ByteArray,
    loose_out: ByteArray,
) -> None:
    """Whether ``|sci - blot| <= scale * derivative + snr * noise`` fails, for two pairs of limits.

    The noise is ``sqrt(gain * |blot + background| + read_noise**2) / gain``. NaN fails both tests.

    Parameters
    ----------
    background_e : float
        Added to the blot in the noise, electrons.
    noise_gain : float
        1 for data in electrons.
    read_noise_e : float
        Read noise, electrons.
    snr1, scale1, snr2, scale2 : float
        Strict and loose limits.
    strict_out, loose_out : uint8, shape (rows, nx)
        Pixels that fail.
    """
    background, gain = np.float32(background_e), np.float32(noise_gain)
    noise2 = np.float32(read_noise_e * read_noise_e)
    n1, n2 = np.float32(snr1), np.float32(snr2)
    m1, m2 = np.float32(scale1), np.float32(scale2)
    rows, nx = sci_e.shape
    for i in range(rows):
        for x in range(nx):
            model = blot_e[i, x]
            slope = derivative[i, x]
            difference = abs(sci_e[i, x] - model)
            noise = np.sqrt(gain * abs(model + background) + noise2)
            strict_out[i, x] = not difference <= m1 * slope + n1 * noise / gain
            loose_out[i, x] = not difference <= m2 * slope + n2 * noise / gain


@part
def _height(blot_e: FloatArray, i: int, x: int) -> np.float32:
    """Blot at a place above the faintest of the 5 x 5 pixels around it; NaN does not count."""
    rows, nx = blot_e.shape
    faintest = blot_e[i, x]
    for j in range(max(0, i - 2), min(rows, i + 3)):
        for k in range(max(0, x - 2), min(nx, x + 3)):
            value = blot_e[j, k]
            if value < faintest:  # noqa: PLR1730  (min would let a NaN in)
                faintest = value
    return blot_e[i, x] - faintest


@kernel
def spare_cores(
    sci_e: FloatArray,
    blot_e: FloatArray,
    derivative: FloatArray,
    background_e: float,
    noise_gain: float,
    read_noise_e: float,
    snr1: float,
    scale1: float,
    core: float,
    strict: ByteArray,
) -> None:
    """Take back in the strict test what the height of a star in the median may explain.

    A star narrower than a pixel or two puts far more of its light into one pixel when it lies in the middle
    than when it lies at a corner. The median mixes dithers of all phases and is low: at the centre of a
    star an exposure may exceed it by more than its derivative. The limit is therefore raised by `core`
    times the height of the median (`_height`), less what noise reaches (`_STAR_SIGMA`): nothing changes on
    the sky, nor on what is smooth over five pixels.

    Parameters
    ----------
    background_e, noise_gain, read_noise_e, snr1, scale1
        As `exceeds_noise` takes them.
    core : float
        Share of the height.
    strict : uint8, shape (rows, nx)
        Pixels that failed the strict test, changed in place.
    """
    background, gain, share = np.float32(background_e), np.float32(noise_gain), np.float32(core)
    noise2 = np.float32(read_noise_e * read_noise_e)
    n1, m1 = np.float32(snr1), np.float32(scale1)
    rows, nx = sci_e.shape
    for i in range(rows):
        for x in range(nx):
            if not strict[i, x]:
                continue
            model = blot_e[i, x]
            noise = np.sqrt(gain * abs(model + background) + noise2) / gain
            allowance = share * (_height(blot_e, i, x) - _STAR_SIGMA * noise)
            # Written so that a pixel without a value stays flagged.
            if allowance > _ZERO:
                difference = abs(sci_e[i, x] - model) - allowance
                strict[i, x] = not difference <= m1 * derivative[i, x] + n1 * noise


@part
def _mirrored(row: int, ny: int) -> int:
    """Row of the chip that stands at `row` when the chip is mirrored at its borders, edge pixel repeated."""
    row %= 2 * ny
    return row if row < ny else 2 * ny - 1 - row


@part
def _add_tails(
    mask: ByteArray, band_y0: int, full_ny: int, length: int, direction: int, out: ByteArray
) -> None:
    """Flag `length` pixels below (direction +1) or above (-1) each set pixel of `mask`."""
    rows = mask.shape[0]
    for i in range(rows):
        for distance in range(1, length + 1):
            j = _mirrored(band_y0 + i + direction * distance, full_ny) - band_y0
            if 0 <= j < rows:
                merge_row(mask[j], 0, out[i])


@kernel
def cosmic_ray_band(
    sci_e: FloatArray,
    blot_e: FloatArray,
    band_y0: int,
    full_shape_yx: tuple[int, int],
    background_e: float,
    gain: float,
    read_noise_e: float,
    snr1: float,
    snr2: float,
    scale1: float,
    scale2: float,
    core: float,
    grow: int,
    ctegrow: int,
    cte_direction: int,
    peer_noise: bool,
    out: ByteArray,
) -> None:
    """Flag the cosmic rays of a band of full rows of a chip.

    A pixel is hit when it fails the loose test and it or one of its eight neighbours fails the strict one.

    Parameters
    ----------
    band_y0 : int
        Row of the chip at ``sci_e[0]``.
    full_shape_yx : tuple of int
        Rows and columns of the chip.
    background_e : float
        What the noise model adds to the blot, electrons.
    gain : float
        Effective gain, used with `peer_noise` only.
    read_noise_e : float
        Read noise, electrons.
    snr1, snr2, scale1, scale2 : float
        Signal-to-noise and derivative factors of the strict and the loose test.
    core : float
        Share of the height of a star in the median that the strict test allows besides (`spare_cores`).
    grow : int
        Side of the block over which a hit grows: offsets ``-(grow - 1) // 2 … grow // 2`` along both axes.
    ctegrow : int
        Length of the charge-transfer tail of a hit, pixels.
    cte_direction : int
        +1: tails towards lower rows; -1: towards higher rows; 0: none.
    peer_noise : bool
        Divide by the gain as DrizzlePac does, although the data are electrons.
    out : uint8, shape (rows, nx)
        1 = cosmic ray.
    """
    rows, nx = sci_e.shape
    full_ny = full_shape_yx[0]
    slope = np.empty((rows, nx), np.float32)
    strict = np.empty((rows, nx), np.uint8)
    hit = np.empty((rows, nx), np.uint8)
    near = np.empty((rows, nx), np.uint8)
    noise_gain = gain if peer_noise else 1.0
    derivative(blot_e, band_y0, full_ny, slope)
    exceeds_noise(
        sci_e,
        blot_e,
        slope,
        background_e,
        noise_gain,
        read_noise_e,
        snr1,
        snr2,
        scale1,
        scale2,
        strict,
        hit,
    )
    if core > 0.0:
        spare_cores(
            sci_e,
            blot_e,
            slope,
            background_e,
            noise_gain,
            read_noise_e,
            snr1,
            scale1,
            core,
            strict,
        )
    spread(strict, 1, 1, near)
    for i in range(rows):
        for x in range(nx):
            hit[i, x] &= near[i, x]
    side = max(grow, 1)
    spread(hit, (side - 1) // 2, side // 2, out)
    if cte_direction != 0:
        _add_tails(hit, band_y0, full_ny, ctegrow, cte_direction, out)
