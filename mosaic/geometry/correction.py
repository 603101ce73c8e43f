"""A correction of pointing measured in one tangent plane, carried over to a chip.

Covers corrections that are affine in the pixels of a frame (a shift, rotation and scale, or the change
between two TAN systems of the same pixels) and their exact effect on CRVAL and CD of a chip. SIP, tables and
CRPIX of the chip stay as they are. Does not cover measuring the correction.

Two tangent-plane projections with an affine map between their planes make a homography of directions, a
3 x 3 matrix: the corrected CRVAL and the derivative there follow in closed form, where DrizzlePac takes
finite differences and iterates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from mosaic.errors import WcsError
from mosaic.geometry.tangent import Matrix2, PairXY, tangent_basis
from mosaic.geometry.wcs import cd_terms, header_number
from mosaic.types import DoubleArray


@dataclass(frozen=True, slots=True)
class LinearWcs:
    """A TAN system without distortion: FITS 1-based pixels, degrees."""

    crpix_xy: PairXY
    crval_deg: PairXY
    cd: Matrix2

    @classmethod
    def from_header(cls, header: fits.Header, key: str = "") -> LinearWcs:
        """Read the linear terms of the primary WCS or of an alternate; an absent CD element is zero.

        Raises
        ------
        WcsError
            When CRPIX, CRVAL or the matrix is absent or not finite.
        """
        names = ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2")
        values = {name: header_number(header, f"{name}{key.strip()}") for name in names}
        absent = [name for name, value in values.items() if value is None]
        matrix = cd_terms(header, key.strip())
        cd = [header_number(matrix, name) or 0.0 for name in ("CD1_1", "CD1_2", "CD2_1", "CD2_2")]
        if absent or cd[0] * cd[3] == cd[1] * cd[2]:
            what = ", ".join(absent) if absent else "the CD matrix"
            place = str(header.get("ROOTNAME", "WCS"))
            raise WcsError(place, f"{what} absent, singular or not finite", "restore its WCS")
        crpix1, crpix2, crval1, crval2 = (value or 0.0 for value in values.values())
        return cls((crpix1, crpix2), (crval1, crval2), ((cd[0], cd[1]), (cd[2], cd[3])))

    @property
    def cd_array(self) -> DoubleArray:
        """CD matrix, (2, 2), degrees per pixel."""
        return np.array(self.cd, dtype=np.float64)

    @property
    def orientat_deg(self) -> float:
        """Position angle of the y axis, east of north."""
        return math.degrees(math.atan2(self.cd[0][1], self.cd[1][1]))


def change_of_frame(old: LinearWcs, new: LinearWcs) -> DoubleArray:
    """Homography of directions that takes each pixel's place in one system to its place in another.

    Parameters
    ----------
    old, new : LinearWcs
        Two systems of the same pixels.

    Returns
    -------
    ndarray of float64, shape (3, 3)
        Takes unit vectors to vectors of any length.
    """
    inverse = np.linalg.inv(old.cd_array)
    offset = np.array(old.crpix_xy) - np.array(new.crpix_xy)
    return _homography(old, new, new.cd_array @ inverse, new.cd_array @ offset)


def measured_in_frame(reference: LinearWcs, matrix: NDArray[np.float64], shift_xy: PairXY) -> DoubleArray:
    """Homography of directions of a fit in the pixels of a reference frame.

    Parameters
    ----------
    reference : LinearWcs
        Frame in which the fit was made.
    matrix : ndarray of float64, shape (2, 2)
        F of the fit about the reference pixel: a place p is corrected to
        ``F^-T (p - crpix + crpix F - shift)`` with shifts as in DrizzlePac's shift files.
    shift_xy : pair of float
        Pixels of the reference frame.

    Returns
    -------
    ndarray of float64, shape (3, 3)
    """
    crpix = np.array(reference.crpix_xy)
    origin = np.array(shift_xy) - crpix @ matrix + crpix
    forward = np.linalg.inv(matrix).T
    cd = reference.cd_array
    # In offsets from CRPIX: q' = f q + f (crpix - origin) - crpix.
    offset = forward @ (crpix - origin) - crpix
    return _homography(reference, reference, cd @ forward @ np.linalg.inv(cd), cd @ offset)


def fit_matrix(rotation_deg: float, scale: float = 1.0) -> DoubleArray:
    """Matrix F of a rotation (degrees) and scale, as written in shift files."""
    angle = math.radians(rotation_deg)
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])


def correct_chip(crval_deg: PairXY, cd: Matrix2, change: DoubleArray) -> tuple[PairXY, Matrix2]:
    """Corrected CRVAL and CD of a chip.

    Parameters
    ----------
    crval_deg : pair of float
        CRVAL, degrees.
    cd : 2 x 2 tuple of float
        CD matrix, degrees per pixel.
    change : ndarray of float64, shape (3, 3)
        Homography of directions.

    Returns
    -------
    crval_deg : pair of float
    cd : 2 x 2 tuple of float
    """
    axes = tangent_basis(crval_deg)
    x, y, z = change @ axes[:, 2]
    crval = (math.degrees(math.atan2(y, x)) % 360.0, math.degrees(math.atan2(z, math.hypot(x, y))))
    local = tangent_basis(crval).T @ change @ axes
    corrected = (local[:2, :2] / local[2, 2]) @ np.array(cd, dtype=np.float64)
    (cd11, cd12), (cd21, cd22) = corrected.tolist()
    return crval, ((cd11, cd12), (cd21, cd22))


def _homography(
    old: LinearWcs, new: LinearWcs, matrix: NDArray[np.float64], offset: NDArray[np.float64]
) -> DoubleArray:
    """Directions to directions, given the affine map between the tangent planes, degrees."""
    plane = np.eye(3)
    plane[:2, :2] = matrix
    plane[:2, 2] = np.deg2rad(offset)
    turned: DoubleArray = tangent_basis(new.crval_deg) @ plane @ tangent_basis(old.crval_deg).T
    return turned
