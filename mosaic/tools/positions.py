"""Pixels to sky, sky to pixels, and pixels of one image to pixels of another, with full distortion.

Positions are FITS 1-based. The sky is found with `ChipWcs` rather than astropy.wcs: its tables and
polynomials are evaluated point by point in the same way for one position and for millions, and its inverse
stops for every point at the same residual, where astropy's gives up on all points when one diverges.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final, Literal

import numpy as np

from mosaic.errors import ParameterError
from mosaic.geometry.grid import default_grid
from mosaic.geometry.tangent import sky_to_plane
from mosaic.geometry.wcs import ChipWcs
from mosaic.tools.extensions import parse_image_name, read_science_wcs, read_wcs
from mosaic.types import DoubleArray

logger = logging.getLogger(__name__)

Fallback = Literal["nan", "linear"]
Direction = Literal["forward", "backward"]

CLOSE_PX: Final = 1e-10
"""Residual of the distorted position, pixels, below which an inverse is found."""
_LOST_PX: Final = 1e5
_MAX_ITERATIONS: Final = 60


def pixel_to_sky(wcs: ChipWcs, x: DoubleArray, y: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Sky positions of pixels.

    Parameters
    ----------
    wcs : ChipWcs
        Model of the image.
    x, y : ndarray of float64, shape (n,)
        FITS 1-based positions.

    Returns
    -------
    ra_deg, dec_deg : ndarray of float64, shape (n,)
        Degrees.
    """
    return wcs.pixel_to_sky(x - 1.0, y - 1.0)


def sky_to_pixel(
    wcs: ChipWcs, ra_deg: DoubleArray, dec_deg: DoubleArray, fallback: Fallback = "nan"
) -> tuple[DoubleArray, DoubleArray]:
    """Pixels of sky positions: every point is iterated on its own until its residual is below `CLOSE_PX`.

    Parameters
    ----------
    wcs : ChipWcs
        Model of the image.
    ra_deg, dec_deg : ndarray of float64, shape (n,)
        Degrees.
    fallback : {"nan", "linear"}
        What a point gets at which the distortion cannot be inverted: NaN, or the position without
        distortion, as DrizzlePac gives. Either is logged as a warning.

    Returns
    -------
    x, y : ndarray of float64, shape (n,)
        FITS 1-based positions, also outside the image.
    """
    if fallback not in {"nan", "linear"}:
        raise ParameterError(f"fallback={fallback!r} is neither 'nan' nor 'linear'")
    plane = sky_to_plane(
        np.asarray(ra_deg, dtype=np.float64), np.asarray(dec_deg, dtype=np.float64), wcs.crval_deg
    )
    (cd11, cd12), (cd21, cd22) = wcs.cd
    determinant = cd11 * cd22 - cd12 * cd21
    u = (cd22 * plane[0] - cd12 * plane[1]) / determinant
    v = (cd11 * plane[1] - cd21 * plane[0]) / determinant
    linear_x, linear_y = u + wcs.crpix_xy[0], v + wcs.crpix_xy[1]
    x, y = _undistort(wcs, u, v, linear_x, linear_y)
    is_lost = ~np.isfinite(x)
    if is_lost.any():
        n_lost = int(is_lost.sum())
        given = "the linear position" if fallback == "linear" else "NaN"
        logger.warning(
            "%d of %d positions: the distortion cannot be inverted, %s is given", n_lost, x.size, given
        )
        if fallback == "linear":
            x, y = np.where(is_lost, linear_x, x), np.where(is_lost, linear_y, y)
    return x, y


def _undistort(
    wcs: ChipWcs, u: DoubleArray, v: DoubleArray, start_x: DoubleArray, start_y: DoubleArray
) -> tuple[DoubleArray, DoubleArray]:
    """1-based positions whose distorted offsets from the reference pixel are (u, v); NaN where there is none.

    A point leaves the iteration when it is done, so that its result does not depend on its neighbours.
    """
    found_x, found_y = np.full(u.shape, np.nan), np.full(u.shape, np.nan)
    active = np.flatnonzero(np.isfinite(u) & np.isfinite(v))
    x, y = start_x[active], start_y[active]
    for _ in range(_MAX_ITERATIONS):
        with np.errstate(over="ignore", invalid="ignore"):
            distorted_u, distorted_v = wcs.distort(x - 1.0, y - 1.0)
        miss_u, miss_v = distorted_u - u[active], distorted_v - v[active]
        miss = np.hypot(miss_u, miss_v)
        x, y = x - miss_u, y - miss_v
        is_done = miss < CLOSE_PX
        found_x[active[is_done]], found_y[active[is_done]] = x[is_done], y[is_done]
        stays = ~is_done & (miss < _LOST_PX)
        active, x, y = active[stays], x[stays], y[stays]
        if not active.size:
            break
    return found_x, found_y


def default_frame(path: str) -> ChipWcs:
    """Undistorted frame of all SCI extensions of a file, as drizzling it alone makes it."""
    chips = read_science_wcs(path)
    grid = default_grid(chips)
    return replace(
        chips[0].without_distortion(),
        shape_yx=grid.shape_yx,
        crpix_xy=grid.crpix_xy,
        crval_deg=grid.crval_deg,
        cd=grid.cd,
    )


def pixel_to_pixel(
    inimage: str,
    outimage: str,
    x: DoubleArray,
    y: DoubleArray,
    direction: Direction = "forward",
) -> tuple[DoubleArray, DoubleArray]:
    """Pixels of one image at the sky positions of pixels of another; both distortions are applied.

    Parameters
    ----------
    inimage, outimage : str
        Images with extension; `outimage` blank: the undistorted frame of all SCI of `inimage`.
    x, y : ndarray of float64, shape (n,)
        FITS 1-based positions, in `inimage` for "forward", in `outimage` for "backward".
    direction : {"forward", "backward"}
        Which way; may be shortened to its first letter.

    Returns
    -------
    x, y : ndarray of float64, shape (n,)
        Positions in the other image; NaN where its distortion cannot be inverted.
    """
    if direction[:1].lower() not in {"f", "b"}:
        raise ParameterError(f"direction={direction!r} is neither 'forward' nor 'backward'")
    source = read_wcs(inimage)
    target = read_wcs(outimage) if outimage.strip() else default_frame(parse_image_name(inimage).path)
    if direction[:1].lower() == "b":
        source, target = target, source
    return sky_to_pixel(target, *pixel_to_sky(source, x, y))
