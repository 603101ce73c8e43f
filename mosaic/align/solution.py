"""What an alignment found for one image, and the WCS that follows from it.

Covers the corrected linear WCS of a chip and the errors that go with it. Does not cover how a solution is
found (`solve`) or written (`headers`, `products`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mosaic.align.fitting import IDENTITY, Fit, Offset
from mosaic.geometry.grid import OutputGrid
from mosaic.geometry.tangent import Matrix2, PairXY, plane_to_sky, sky_to_plane
from mosaic.geometry.wcs import ChipWcs
from mosaic.types import DoubleArray

Status = Literal["reference", "aligned", "too_few_sources", "not_enough_matches", "ambiguous", "singular"]
_STEP_PX = 200.0


@dataclass(frozen=True, slots=True)
class Solution:
    """How one image lies in the reference frame."""

    path: str
    """The file."""
    status: Status
    """reference: it defines the frame; aligned: fitted; else why it was left alone."""
    reason: str = ""
    """Why it was not aligned, with the numbers and what to do."""
    fit: Fit = IDENTITY
    """Map from the reference to the image, pixels relative to the reference pixel of the frame."""
    offset: Offset | None = None
    """The first offset; None when it was given or not found."""
    n_matches: int = 0
    """Pairs found; the fit used ``fit.used`` of them."""
    reference_rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    """Rows of the reference catalogue of the pairs used; -1 where the other is an image."""
    image_rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    """Rows of the image's sources of the pairs used."""
    reference_xy: DoubleArray = field(default_factory=lambda: np.empty((0, 2)))
    """Reference positions of the pairs used, frame pixels relative to the reference pixel."""

    @property
    def is_good(self) -> bool:
        """Whether the image is in the reference frame now."""
        return self.status in {"reference", "aligned"}

    @property
    def n_used(self) -> int:
        """Pairs of the fit."""
        return int(self.image_rows.size)


def frame_positions(frame: OutputGrid, ra_deg: DoubleArray, dec_deg: DoubleArray) -> DoubleArray:
    """Positions (n, 2) in the reference frame, pixels relative to its reference pixel."""
    x, y = frame.sky_to_pixel(ra_deg, dec_deg)
    return np.stack([x - (frame.crpix_xy[0] - 1.0), y - (frame.crpix_xy[1] - 1.0)], axis=1)


def corrected_sky(
    frame: OutputGrid, fit: Fit, ra_deg: DoubleArray, dec_deg: DoubleArray
) -> tuple[DoubleArray, DoubleArray]:
    """Sky positions after the correction, degrees."""
    xy = fit.to_reference(frame_positions(frame, ra_deg, dec_deg))
    return frame.pixel_to_sky(xy[:, 0] + frame.crpix_xy[0] - 1.0, xy[:, 1] + frame.crpix_xy[1] - 1.0)


def corrected_wcs(wcs: ChipWcs, frame: OutputGrid, fit: Fit) -> tuple[PairXY, Matrix2]:
    """CRVAL and CD of a chip after the correction; CRPIX and distortion stay.

    The correction takes the tangent plane at the old CRVAL to that at the new one. Both planes and the frame
    are gnomonic, so the map is a homography that a chip cannot tell from its derivative at CRPIX; this is
    taken by the five-point formula.

    Returns
    -------
    crval_deg : (float, float)
        Degrees.
    cd : 2 x 2
        Degrees per pixel.
    """
    ra, dec = corrected_sky(frame, fit, np.array([wcs.crval_deg[0]]), np.array([wcs.crval_deg[1]]))
    crval = (float(ra[0]), float(dec[0]))
    cd = np.array(wcs.cd)
    steps = np.array([-1.0, -0.5, 0.5, 1.0]) * _STEP_PX
    offsets = np.concatenate([np.outer(steps, [1.0, 0.0]), np.outer(steps, [0.0, 1.0])])
    plane = offsets @ cd.T
    moved = corrected_sky(frame, fit, *plane_to_sky(plane[:, 0], plane[:, 1], wcs.crval_deg))
    new = sky_to_plane(*moved, crval).T.reshape(2, 4, 2)
    slopes = (8.0 * (new[:, 2] - new[:, 1]) - (new[:, 3] - new[:, 0])) / (6.0 * _STEP_PX)
    columns = slopes.T
    return crval, (
        (float(columns[0, 0]), float(columns[0, 1])),
        (float(columns[1, 0]), float(columns[1, 1])),
    )


def sky_rms_deg(frame: OutputGrid, fit: Fit) -> PairXY:
    """Standard deviations of the residuals to the east and north, true angle, degrees.

    From the covariance CD diag(rms²) CDᵀ, where DrizzlePac turns the vector (rms_x, rms_y) as if it were a
    displacement and leaves out cos(dec).
    """
    cd = np.array(frame.cd)
    covariance = cd @ np.diag(np.square(fit.rms_xy)) @ cd.T
    east, north = np.sqrt(np.diag(covariance))
    return float(east), float(north)
