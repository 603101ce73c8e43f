"""What comes before and after drizzling, each in one pass: values and weights in, weighted means out.

`prepare_drops` covers weights that are the same for every good pixel (exposure time). Other weights need the
mask as an array and go through `mosaic.steps.drizzle.drop_values` and `mosaic.exposure.weights`, which
give the same bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mosaic.kernels._compile import kernel
from mosaic.types import ByteArray, DoubleArray, FloatArray


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
        if has_static or has_hits:
            for x in range(nx):
                bit = x + first_bit
                masked = 0
                if has_static:
                    masked |= static[y, bit >> 3] >> (bit & 7)
                if has_hits:
                    masked |= hits[y, bit >> 3] >> (bit & 7)
                if masked & 1:
                    weight_out[y, x] = np.float32(0.0)


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
