"""Static mask: pixels far below the mode of their chip in any exposure.

A pixel of a chip is bad when it lies below ``mode - static_sig * stddev`` of its exposure, the
statistics being those of all pixels clipped three times at three sigma (DrizzlePac Handbook,
step 1). Data-quality flags play no part. NaN pixels compare false and stay good.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mosaic.steps.statistics import image_statistics
from mosaic.types import BoolArray, FloatArray


@dataclass(frozen=True, slots=True)
class LowPixels:
    """Outcome of the static test of one chip of one exposure."""

    is_low: BoolArray
    """Pixels below the threshold, shape of the chip."""
    threshold: float
    """Level below which a pixel is low, native units; NaN when there was not enough data."""


def find_low_pixels(sci: FloatArray, static_sig: float) -> LowPixels:
    """Find the pixels of a chip that are too low to be real.

    Parameters
    ----------
    sci : FloatArray, shape (ny, nx)
        Science pixels, native units, sky not subtracted.
    static_sig : float
        Number of standard deviations below the mode (``static_sig``).

    Returns
    -------
    LowPixels
        The mask and the threshold.
    """
    values = sci.ravel()
    finite = np.isfinite(values)
    if not finite.all():
        values = values[finite]
    found = image_statistics(
        values, "mode", nclip=3, lower_sigma=3.0, upper_sigma=3.0, lower=None, upper=None, binwidth=0.1
    )
    if found is None or found.n_bins < 2:
        return LowPixels(np.zeros(sci.shape, dtype=np.bool_), float("nan"))
    threshold = np.float32(found.mode - static_sig * found.stddev)
    return LowPixels(sci < threshold, float(threshold))
