"""From a chip and an output grid to the numbers a kernel maps pixels with.

A tangent plane seen through another tangent plane is a projective map, so everything after the
distortion is one 3 x 3 matrix: ``H = T_out · D_out⁻¹ · R_outᵀ R_in · CD_in``. Covers TAN to TAN.
The kernels that evaluate a `MapModel` are in `mosaic.kernels.pixmap`.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from mosaic.errors import ParameterError
from mosaic.geometry.grid import OutputGrid
from mosaic.geometry.tangent import tangent_basis
from mosaic.geometry.wcs import ChipWcs
from mosaic.kernels.pixmap import MapModel
from mosaic.types import DoubleArray

_FAR_PX: Final = 1.0e9
"""Where a chip 90 degrees or more from the tangent point is mapped: out of any frame."""


def build_map_model(wcs: ChipWcs, grid: OutputGrid, stepsize: int = 0) -> MapModel:
    """Assemble the map from 0-based chip pixels to 0-based output pixels.

    Parameters
    ----------
    wcs : ChipWcs
        The chip.
    grid : OutputGrid
        The output frame.
    stepsize : int
        0: exact at every pixel. F > 0: bilinear in a table of exact positions with a node every
        F pixels, starting at FITS pixel 0 (DrizzlePac's `stepsize`).

    Raises
    ------
    ParameterError
        When `stepsize` is negative.
    """
    if stepsize < 0:
        raise ParameterError(f"stepsize={stepsize} must be 0 (exact) or a positive number of pixels")
    homography = build_homography(wcs, grid)
    if not _is_in_front(wcs, homography):
        homography = np.array([[0.0, 0.0, _FAR_PX], [0.0, 0.0, _FAR_PX], [0.0, 0.0, 1.0]])
    return MapModel(
        step=int(stepsize),
        crpix_xy=np.array(wcs.crpix_xy, dtype=np.float64),
        sip_a=_own(wcs.sip_a),
        sip_b=_own(wcs.sip_b),
        npol_x=_own(wcs.npol_x),
        npol_y=_own(wcs.npol_y),
        d2im_x=_own(wcs.d2im_x),
        d2im_y=_own(wcs.d2im_y),
        table_axes=_own(wcs.table_axes),
        homography=homography,
        nodes=_node_table(wcs, homography, stepsize) if stepsize else np.zeros((0, 0, 2)),
    )


def build_homography(wcs: ChipWcs, grid: OutputGrid) -> DoubleArray:
    """Matrix from (u, v, 1), the distorted offset from the reference pixel, to (X w, Y w, w), 0-based.

    ``w`` is the cosine-like height above the plane of the output: positive for every position less
    than 90 degrees from its tangent point.
    """
    to_plane_in = np.diag([0.0, 0.0, 1.0])
    to_plane_in[:2, :2] = np.array(wcs.cd) * math.radians(1.0)
    turn = tangent_basis(grid.crval_deg).T @ tangent_basis(wcs.crval_deg)
    to_pixel = np.diag([0.0, 0.0, 1.0])
    to_pixel[:2, :2] = np.linalg.inv(np.array(grid.cd)) * math.degrees(1.0)
    to_pixel[:2, 2] = grid.crpix_xy[0] - 1.0, grid.crpix_xy[1] - 1.0
    return np.ascontiguousarray(to_pixel @ turn @ to_plane_in)


def map_pixels(
    wcs: ChipWcs, grid: OutputGrid, x: DoubleArray, y: DoubleArray
) -> tuple[DoubleArray, DoubleArray]:
    """Exact 0-based output positions of 0-based chip positions, in numpy.

    Positions 90 degrees or more from the tangent point of the grid are NaN.
    """
    return _through(build_homography(wcs, grid), *wcs.distort(x, y))


def _is_in_front(wcs: ChipWcs, homography: DoubleArray) -> bool:
    """Whether all corners lie less than 90 degrees from the tangent point of the grid."""
    ny, nx = wcs.shape_yx
    u, v = wcs.distort(np.array([0.0, 0.0, nx - 1.0, nx - 1.0]), np.array([0.0, ny - 1.0, ny - 1.0, 0.0]))
    return bool(np.all(homography[2, 0] * u + homography[2, 1] * v + homography[2, 2] > 0.0))


def _node_table(wcs: ChipWcs, homography: DoubleArray, step: int) -> DoubleArray:
    """Exact output positions at FITS pixels 0, step, 2 step, …: (n_node_y, n_node_x, 2)."""
    ny, nx = wcs.shape_yx
    x1 = np.arange(nx // step + 2, dtype=np.float64) * step
    y1 = np.arange(ny // step + 2, dtype=np.float64) * step
    grid_y, grid_x = np.meshgrid(y1 - 1.0, x1 - 1.0, indexing="ij")
    return np.stack(_through(homography, *wcs.distort(grid_x, grid_y)), axis=-1)


def _through(homography: DoubleArray, u: DoubleArray, v: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    weight = homography[2, 0] * u + homography[2, 1] * v + homography[2, 2]
    weight = np.where(weight > 0.0, weight, np.nan)
    x = (homography[0, 0] * u + homography[0, 1] * v + homography[0, 2]) / weight
    y = (homography[1, 0] * u + homography[1, 1] * v + homography[1, 2]) / weight
    return x, y


def _own(values: DoubleArray) -> DoubleArray:
    """Writable C-contiguous copy: the only layout the kernels are compiled for."""
    return np.array(values, dtype=np.float64, order="C")
