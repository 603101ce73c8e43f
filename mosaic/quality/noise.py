"""Correlated noise of drizzled images: the closed form, and what blocks of sky show.

Drizzling spreads each input pixel over several output pixels. The scatter of single output pixels is then
smaller than what large apertures deserve by the ratio R of A. Fruchter and R. Hook (2002, PASP 114, 144):
with ``r = pixfrac / scale`` (scale = output over input pixel), ``R = r / (1 - 1/(3r))`` for r >= 1 and
``1 / (1 - r/3)`` for r <= 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mosaic.quality.stars import MAD_TO_SIGMA, Level
from mosaic.types import BoolArray, FloatArray

BLOCK = 8
"""Side of the blocks, output pixels."""


def correlation_ratio(pixfrac: float, scale_ratio: float) -> float:
    """Noise of a large area over that expected from single pixels, closed form.

    Parameters
    ----------
    pixfrac : float
        Side of a drop, input pixels.
    scale_ratio : float
        Output pixel over input pixel.
    """
    r = max(pixfrac, 1e-6) / scale_ratio
    return r / (1.0 - 1.0 / (3.0 * r)) if r >= 1.0 else 1.0 / (1.0 - r / 3.0)


def block_ratio(pixfrac: float, scale_ratio: float, block: int) -> float:
    """The same for blocks of `block` pixels on a side instead of infinite ones, exact for square drops.

    Inputs whose drops lie at random phases give the noise a covariance that is the product of two trapezoids'
    autocorrelations, one along each axis; a block's variance is the sum over its pairs of pixels.
    """
    fine = 32
    drop = np.ones(max(1, round(fine * pixfrac / scale_ratio)))
    footprint = np.convolve(drop, np.ones(fine))
    full = np.correlate(footprint, footprint, mode="full")
    middle = full.size // 2
    lags = np.arange(block)
    places = middle + lags * fine
    covariance = np.where(places < full.size, full[np.minimum(places, full.size - 1)], 0.0)
    along = float((np.where(lags == 0, 1.0, 2.0) * (block - lags) * covariance).sum() / covariance[0])
    # R compares standard deviations of two axes: the square root of a square.
    return along / block


@dataclass(slots=True)
class NoiseSamples:
    """Sums over blocks and single pixels of sky, gathered tile by tile."""

    sigma: list[float] = field(default_factory=list)
    """Scatter of single pixels, by tile."""
    block_sigma: list[float] = field(default_factory=list)
    """Scatter of means of blocks, from differences of neighbours, by tile."""
    reported: list[float] = field(default_factory=list)
    """Median of the reported errors over the scatter of single pixels, by tile."""

    def add(self, image: FloatArray, is_sky: BoolArray, level: Level) -> None:
        """Add a tile: neighbouring blocks that are all sky are compared."""
        ny, nx = (size // BLOCK * BLOCK for size in image.shape)
        if min(ny, nx) < 4 * BLOCK:
            return
        shape = (ny // BLOCK, BLOCK, nx // BLOCK, BLOCK)
        whole: BoolArray = np.asarray(is_sky[:ny, :nx].reshape(shape).all(axis=(1, 3)))
        mean = np.where(is_sky, image, 0.0)[:ny, :nx].reshape(shape).mean(axis=(1, 3), dtype=np.float64)
        both = whole[:, 1:] & whole[:, :-1]
        difference = (mean[:, 1:] - mean[:, :-1])[both]
        if difference.size < 50:
            return
        self.sigma.append(level.sigma)
        self.block_sigma.append(MAD_TO_SIGMA * float(np.median(np.abs(difference))) / np.sqrt(2.0))

    @property
    def ratio(self) -> float:
        """Measured noise ratio for blocks; NaN without samples."""
        if not self.sigma:
            return float("nan")
        return float(np.median(np.array(self.block_sigma) * BLOCK / np.array(self.sigma)))
