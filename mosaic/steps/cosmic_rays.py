"""Cosmic rays: pixels of a chip that differ from the blotted median by more than noise and gradient allow.

``|chip - blot| > scale * derivative + snr * noise`` with a strict test that must hold for the pixel or a
neighbour and a loose one for the pixel itself (DrizzlePac Handbook, step 6). All in electrons.

The noise is that of the difference: photons of the blot and read noise for the chip, and the background once
more for the median. `minmed` gives it, pixel by pixel, the value of one exposure or the middle of a few, the
lower ones preferred: it is about as noisy as the chip, and low. With the noise of the chip alone ten times as
many clean pixels of sky are flagged (docs/cosmic-rays.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mosaic.exposure.model import Chip, SkyLevel
from mosaic.kernels.crmask import cosmic_ray_band, cosmic_ray_halo
from mosaic.types import BoolArray, FloatArray


@dataclass(frozen=True, slots=True)
class CosmicRayParams:
    """Thresholds of the test."""

    snr: tuple[float, float]
    """Signal-to-noise of the strict and the loose test (``driz_cr_snr``)."""
    scale: tuple[float, float]
    """Derivative multipliers of the two tests (``driz_cr_scale``)."""
    grow: int
    """Side of the block by which a hit grows, pixels (``driz_cr_grow``)."""
    ctegrow: int
    """Length of the charge-transfer tail masked, pixels (``driz_cr_ctegrow``)."""
    peer_noise: bool
    """Reproduce DrizzlePac's noise, which divides electrons by the gain."""
    core: float = 0.0
    """Share of the height of a star in the median that is allowed besides (``driz_cr_core``)."""

    @property
    def halo(self) -> int:
        """Rows around a band that its mask depends on."""
        return int(cosmic_ray_halo(self.grow, self.ctegrow, self.core))


def blot_level(chip_sky: SkyLevel, *, addsky: bool, skyval: float) -> float:
    """Level that brings the blot back to the level of the chip (``blot_addsky``, ``blot_skyval``)."""
    return (chip_sky.subtracted or 0.0) if addsky else skyval


def blot_to_native(blot_e: FloatArray, chip: Chip, level: float) -> FloatArray:
    """Blotted median in the chip's native unit, level included, single precision."""
    return blot_e / np.float32(chip.to_electrons) + np.float32(level)


def flag_cosmic_rays(
    sci: FloatArray,
    blot: FloatArray,
    *,
    chip: Chip,
    band_y0: int,
    background: float,
    params: CosmicRayParams,
) -> BoolArray:
    """Flag the cosmic rays in a band of rows of a chip.

    Parameters
    ----------
    sci, blot : FloatArray, shape (rows, nx)
        Chip and blotted median, native units; the band with its halo, cut at the chip's edges.
    chip : Chip
        Gain, read noise and charge-transfer direction.
    band_y0 : int
        First row of the band in the chip.
    background : float
        Background of the noise model, native units.
    params : CosmicRayParams
        Thresholds.

    Returns
    -------
    BoolArray, shape (rows, nx)
        True = cosmic ray; rows of the halo are not to be used.
    """
    factor = np.float32(chip.to_electrons)
    out = np.zeros(sci.shape, dtype=np.uint8)
    cosmic_ray_band(
        sci * factor,
        blot * factor,
        band_y0,
        (chip.shape_yx.ny, chip.shape_yx.nx),
        float(np.float32(background) * factor),
        chip.gain,
        chip.read_noise_e,
        params.snr[0],
        params.snr[1],
        params.scale[0],
        params.scale[1],
        params.core,
        params.grow,
        params.ctegrow,
        chip.cte_direction,
        params.peer_noise,
        out,
    )
    return out.view(np.bool_)
