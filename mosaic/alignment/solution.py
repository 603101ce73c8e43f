"""What an alignment found for one image, and the WCS that follows from it.

Covers the corrected linear WCS of a chip and the errors that go with it. Does not cover how a solution is
found (`solve`) or written (`headers`, `products`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mosaic.alignment.fitting import IDENTITY, Fit, Offset
from mosaic.geometry.correction import correct_chip
from mosaic.geometry.grid import OutputGrid
from mosaic.geometry.tangent import Matrix2, PairXY, tangent_basis
from mosaic.geometry.wcs import ChipWcs
from mosaic.solutions.corrections import FitFacts
from mosaic.types import DoubleArray

Status = Literal[
    "reference", "aligned", "too_few_sources", "not_enough_matches", "ambiguous", "singular", "not_written"
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Solution:
    """How one image lies in the reference frame."""

    path: str
    """The file."""
    status: Status
    """reference: it defines the frame; aligned: fitted; not_written: aligned, but its header could not be
    updated; else why it was left alone."""
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


def direction_change(cd: Matrix2, crval_deg: PairXY, fit: Fit) -> DoubleArray:
    """Correction as a homography of directions on the sky, (3, 3).

    In the tangent plane of the frame the correction is linear; its axes turn that into directions.

    Parameters
    ----------
    cd, crval_deg : 2 x 2 and pair of float
        Of the frame, degrees.
    fit : Fit
        The correction.
    """
    matrix, inverse = np.array(cd), np.linalg.inv(fit.matrix).T
    plane = np.eye(3)
    plane[:2, :2] = matrix @ inverse @ np.linalg.inv(matrix)
    plane[:2, 2] = -np.deg2rad(matrix @ inverse @ fit.offset_xy)
    axes = tangent_basis(crval_deg)
    change: DoubleArray = axes @ plane @ axes.T
    return change


def corrected_wcs(wcs: ChipWcs, frame: OutputGrid, fit: Fit) -> tuple[PairXY, Matrix2]:
    """CRVAL and CD of a chip after the correction; CRPIX and distortion stay.

    Through `mosaic.geometry.correction`, as it is written into headers.

    Returns
    -------
    crval_deg : (float, float)
        Degrees.
    cd : 2 x 2
        Degrees per pixel.
    """
    return correct_chip(wcs.crval_deg, wcs.cd, direction_change(frame.cd, frame.crval_deg, fit))


def fit_facts(frame: OutputGrid, solution: Solution) -> FitFacts:
    """What headers say of a fit; nothing for the image that defines the frame."""
    if solution.status != "aligned":
        return FitFacts()
    east, north = sky_rms_deg(frame, solution.fit)
    return FitFacts(rms_ra_deg=east, rms_dec_deg=north, nmatch=solution.n_used)


def sky_rms_deg(frame: OutputGrid, fit: Fit) -> PairXY:
    """Standard deviations of the residuals to the east and north, true angle, degrees.

    From the covariance CD diag(rms²) CDᵀ, where DrizzlePac turns the vector (rms_x, rms_y) as if it were a
    displacement and leaves out cos(dec).
    """
    cd = np.array(frame.cd)
    covariance = cd @ np.diag(np.square(fit.rms_xy)) @ cd.T
    east, north = np.sqrt(np.diag(covariance))
    return float(east), float(north)
