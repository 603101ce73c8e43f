"""Pixels that the sky is measured from: masked ones made NaN, the others collected along runs of rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mosaic.kernels._compile import kernel
from mosaic.types import ByteArray, FloatArray


@kernel
def blank_masked(
    sci: FloatArray,
    dq: NDArray[np.uint16],
    bad_bits: np.uint16,
    static: ByteArray,
    user: ByteArray,
    out: FloatArray,
) -> None:
    """Copy a band of full rows, masked pixels as NaN.

    Parameters
    ----------
    sci : float32, shape (ny, nx)
        Science pixels.
    dq : uint16, shape (ny, nx)
        Flags; a pixel with any of `bad_bits` is masked.
    bad_bits : uint16
        Flags that mask.
    static : uint8, shape (ny, n_bytes) or (0, 0)
        Static mask, bit-packed along x from the lowest bit; a set bit masks. Empty: no mask.
    user : uint8, shape (ny, nx) or (0, 0)
        Mask of the user: zero masks. Empty: no mask.
    out : float32, shape (ny, nx)
        Result.
    """
    ny, nx = sci.shape
    has_static = static.shape[0] > 0
    has_user = user.shape[0] > 0
    for y in range(ny):
        for x in range(nx):
            out[y, x] = sci[y, x] if dq[y, x] & bad_bits == 0 else np.float32(np.nan)
        if has_static:
            for k in range(static.shape[1]):
                if static[y, k] != 0:
                    for x in range(8 * k, min(8 * k + 8, nx)):
                        if static[y, k] >> (x & 7) & 1:
                            out[y, x] = np.float32(np.nan)
        if has_user:
            for x in range(nx):
                out[y, x] = out[y, x] if user[y, x] != 0 else np.float32(np.nan)


@kernel
def collect_finite(pixels: FloatArray, y0: int, spans: NDArray[np.int64], out: FloatArray) -> int:
    """Collect the finite pixels of runs, in their order.

    Parameters
    ----------
    pixels : float32, shape (ny, nx)
        Rows of a chip from row `y0` on.
    y0 : int
        Row of the chip that is the first of `pixels`.
    spans : int64, shape (n, 3)
        Row of the chip, first column, one past the last column.
    out : float32, shape (m,)
        The values, at its front; m is at least the number of pixels in the runs.

    Returns
    -------
    int
        Number of values.
    """
    n = 0
    for k in range(spans.shape[0]):
        row = spans[k, 0] - y0
        for x in range(spans[k, 1], spans[k, 2]):
            # Put down in any case, and kept if it is finite: nothing to guess for the processor.
            value = pixels[row, x]
            out[n] = value
            n += 1 if np.isfinite(value) else 0
    return n
