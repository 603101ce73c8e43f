"""What comes before and after drizzling, each in one pass: values and weights in, means and sums out.

`prepare_drops` covers weights that are the same for every good pixel (exposure time). Other weights need the
mask as an array and go through `mosaic.steps.drizzle.drop_values` and `mosaic.exposure.weights`, which
give the same bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mosaic.kernels._compile import kernel, part
from mosaic.types import ByteArray, DoubleArray, FloatArray


@part
def _clear_masked(packed: ByteArray, first_bit: int, weight: FloatArray) -> None:
    """Set the weights of a row to 0 where a bit is set; few bytes hold any."""
    for k in range(packed.shape[0]):
        byte = packed[k]
        if byte != 0:
            start = 8 * k - first_bit
            for x in range(max(0, start), min(start + 8, weight.shape[0])):
                if byte >> (x - start) & 1:
                    weight[x] = np.float32(0.0)


@kernel
def prepare_drops(
    sci: FloatArray,
    dq: NDArray[np.uint16],
    bad_bits: np.uint16,
    static: ByteArray,
    hits: ByteArray,
    first_bit: int,
    sky: np.float32,
    gain: np.float32,
    per_second: np.float32,
    area: np.float32,
    level: np.float32,
    value_out: FloatArray,
    weight_out: FloatArray,
) -> None:
    """Subtract, scale and mask the pixels of a window.

    Parameters
    ----------
    sci : float32, shape (ny, nx)
        Science pixels, native units.
    dq : uint16, shape (ny, nx)
        Flags; a pixel with any of `bad_bits` is masked.
    bad_bits : uint16
        Flags that mask.
    static, hits : uint8, shape (ny, n_bytes) or (0, 0)
        Static and cosmic-ray masks, bit-packed along x from the lowest bit; a set bit masks. Empty: no mask.
    first_bit : int
        Bit of the first byte of a row that belongs to the first pixel.
    sky, gain, per_second, area : float32
        Value = (sci - sky) * gain * per_second * area, rounded after each step.
    level : float32
        Weight of a good pixel.
    value_out, weight_out : float32, shape (ny, nx)
        Results.
    """
    ny, nx = sci.shape
    has_static = static.shape[0] > 0
    has_hits = hits.shape[0] > 0
    for y in range(ny):
        for x in range(nx):
            value = np.float32(sci[y, x] - sky)
            value = np.float32(value * gain)
            value = np.float32(value * per_second)
            value_out[y, x] = np.float32(value * area)
            weight_out[y, x] = level if dq[y, x] & bad_bits == 0 else np.float32(0.0)
        if has_static:
            _clear_masked(static[y], first_bit, weight_out[y])
        if has_hits:
            _clear_masked(hits[y], first_bit, weight_out[y])


@kernel
def finish_sums(
    total: DoubleArray, weight: DoubleArray, image_out: FloatArray, weight_out: FloatArray
) -> None:
    """Divide sums by weights once and round to float32.

    Parameters
    ----------
    total, weight : float64, shape (ny, nx)
        Accumulators; where the weight is zero the total is kept as it is.
    image_out, weight_out : float32, shape (ny, nx)
        Weighted mean and weight.
    """
    for y in range(total.shape[0]):
        for x in range(total.shape[1]):
            w = weight[y, x]
            image_out[y, x] = total[y, x] / w if w != 0.0 else total[y, x]
            weight_out[y, x] = w


@kernel
def sum_fixed_point(weight: FloatArray, floor: np.float32, scale: float) -> tuple[int, int]:
    """Add up the weights above a floor as integers, and count them.

    Parameters
    ----------
    weight : float32, shape (ny, nx)
        Weights.
    floor : float32
        Weights at or below are left out.
    scale : float
        Turns a weight into the number that is rounded to an integer.
    """
    total, count = 0, 0
    for y in range(weight.shape[0]):
        for x in range(weight.shape[1]):
            value = weight[y, x]
            is_covered = value > floor
            total += np.int64(np.rint(np.float64(value) * scale)) if is_covered else 0
            count += 1 if is_covered else 0
    return total, count


@kernel
def count_usable(sci: FloatArray, dq: NDArray[np.uint16], bad_bits: np.uint16) -> tuple[int, int]:
    """Count the finite, unmasked pixels of a window, and those that are not finite.

    Parameters
    ----------
    sci, dq, bad_bits
        As for `prepare_drops`.
    """
    n_usable = 0
    n_not_finite = 0
    for y in range(sci.shape[0]):
        for x in range(sci.shape[1]):
            is_finite = np.isfinite(sci[y, x])
            n_not_finite += 0 if is_finite else 1
            n_usable += 1 if is_finite & (dq[y, x] & bad_bits == 0) else 0
    return n_usable, n_not_finite
