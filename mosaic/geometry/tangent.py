"""The gnomonic (TAN) projection and spherical helpers, in float64.

Covers the tangent plane with LONPOLE = 180 degrees, which is all that calibrated Hubble images
use. Does not cover other projections. Formulas are arranged so that the relative error of an
offset from the tangent point stays at rounding level even for offsets far below a pixel.
"""

from __future__ import annotations

import math

import numpy as np

from mosaic.types import DoubleArray

PairXY = tuple[float, float]
Matrix2 = tuple[tuple[float, float], tuple[float, float]]


def sky_to_plane(ra_deg: DoubleArray, dec_deg: DoubleArray, crval_deg: PairXY) -> DoubleArray:
    """Project sky positions on the tangent plane.

    Parameters
    ----------
    ra_deg, dec_deg : ndarray of float64, shape (n,)
        Positions, degrees.
    crval_deg : (float, float)
        Tangent point, degrees.

    Returns
    -------
    ndarray of float64, shape (2, n)
        Standard coordinates xi, eta in degrees; NaN where a position is 90 degrees or more away.
    """
    delta_ra = np.deg2rad(ra_deg - crval_deg[0])
    dec = np.deg2rad(dec_deg)
    dec0 = math.radians(crval_deg[1])
    delta_dec = np.deg2rad(dec_deg - crval_deg[1])
    half_chord = 2.0 * np.cos(dec) * np.sin(0.5 * delta_ra) ** 2
    along = np.cos(delta_dec) - half_chord * math.cos(dec0)
    east = np.cos(dec) * np.sin(delta_ra)
    north = np.sin(delta_dec) + half_chord * math.sin(dec0)
    plane = np.stack([east, north])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.rad2deg(np.where(along > 0.0, plane / along, np.nan))


def plane_to_sky(
    xi_deg: DoubleArray, eta_deg: DoubleArray, crval_deg: PairXY
) -> tuple[DoubleArray, DoubleArray]:
    """Lift standard coordinates from the tangent plane to the sky: the inverse of `sky_to_plane`.

    Returns
    -------
    ra_deg, dec_deg : ndarray of float64
        RA in [0, 360), Dec in [-90, 90], degrees.
    """
    xi = np.deg2rad(xi_deg)
    eta = np.deg2rad(eta_deg)
    dec0 = math.radians(crval_deg[1])
    towards_pole = math.cos(dec0) - eta * math.sin(dec0)
    ra = np.mod(crval_deg[0] + np.rad2deg(np.arctan2(xi, towards_pole)), 360.0)
    dec = np.arctan2(math.sin(dec0) + eta * math.cos(dec0), np.hypot(xi, towards_pole))
    return ra, np.rad2deg(dec)


def tangent_basis(crval_deg: PairXY) -> DoubleArray:
    """Orthonormal axes (east, north, outward) at a sky position, as columns of a 3 x 3 matrix."""
    ra, dec = math.radians(crval_deg[0]), math.radians(crval_deg[1])
    return np.array(
        [
            [-math.sin(ra), -math.sin(dec) * math.cos(ra), math.cos(dec) * math.cos(ra)],
            [math.cos(ra), -math.sin(dec) * math.sin(ra), math.cos(dec) * math.sin(ra)],
            [0.0, math.cos(dec), math.sin(dec)],
        ],
    )


def spherical_midpoint(ra_deg: DoubleArray, dec_deg: DoubleArray) -> PairXY:
    """Direction of the mean unit vector, degrees: well defined across RA 0 and at the poles."""
    ra, dec = np.deg2rad(ra_deg), np.deg2rad(dec_deg)
    x = np.mean(np.cos(dec) * np.cos(ra))
    y = np.mean(np.cos(dec) * np.sin(ra))
    z = np.mean(np.sin(dec))
    mid_ra = np.rad2deg(np.arctan2(y, x)) % 360.0
    mid_dec = np.rad2deg(np.arctan2(z, np.sqrt(x * x + y * y)))
    return float(mid_ra), float(mid_dec)


def local_roll_deg(pa_v3_deg: float, dec_deg: float, v2_arcsec: float, v3_arcsec: float) -> float:
    """Orientation of the V3 axis at an aperture away from the telescope axis.

    Parameters
    ----------
    pa_v3_deg : float
        Position angle of V3 at the V1 axis, degrees.
    dec_deg : float
        Declination of the aperture, degrees.
    v2_arcsec, v3_arcsec : float
        Position of the aperture in the focal plane, arcsec.

    Returns
    -------
    float
        Position angle at the aperture, degrees.
    """
    roll, dec = math.radians(pa_v3_deg), math.radians(dec_deg)
    v2, v3 = math.radians(v2_arcsec / 3600.0), math.radians(v3_arcsec / 3600.0)
    sin2_v2, sin2_v3 = math.sin(v2) ** 2, math.sin(v3) ** 2
    sin_rho = math.sqrt(sin2_v2 + sin2_v3 - sin2_v2 * sin2_v3)
    if sin_rho == 0.0:
        return pa_v3_deg
    cos_rho = math.cos(math.asin(sin_rho))
    beta = math.asin(math.sin(v3) / sin_rho)
    gamma = math.asin(math.sin(v2) / sin_rho)
    beta = math.pi - beta if v2 < 0.0 else beta
    gamma = math.pi - gamma if v3 < 0.0 else gamma
    a = math.pi / 2.0 + roll - beta
    b = math.atan2(
        math.sin(a) * math.cos(dec),
        math.sin(dec) * sin_rho - math.cos(dec) * cos_rho * math.cos(a),
    )
    return math.degrees(math.pi - (gamma + b))
