"""Noise of the product as blocks of its sky show it, and as ERR reports it.

Covers gathering both tile by tile. Does not cover what drizzling should give (`mosaic.quality.correlation`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mosaic.quality.stars import MAD_TO_SIGMA, Level
from mosaic.types import BoolArray, FloatArray

BLOCK = 8
"""Side of the blocks, output pixels."""


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
