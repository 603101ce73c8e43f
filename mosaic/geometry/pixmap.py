"""From a chip and an output grid to the numbers a kernel maps pixels with.

A tangent plane seen through another tangent plane is a projective map, so everything after the
distortion is one 3 x 3 matrix: ``H = T_out · D_out⁻¹ · R_outᵀ R_in · CD_in``. Covers TAN to TAN.
The kernels that evaluate a `MapModel` are in `mosaic.kernels.pixmap`.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

import numpy as np

from mosaic.errors import ParameterError
from mosaic.geometry.grid import OutputGrid
from mosaic.geometry.tangent import tangent_basis
from mosaic.geometry.wcs import ChipWcs
from mosaic.kernels.exact_map import MapModel
from mosaic.kernels.pixmap import map_row
from mosaic.types import DoubleArray, ShapeYX

PATCH_PX: Final = (64.0, 32.0, 16.0)
"""Sizes of the patches that are tried, largest first."""
PATCH_ERROR_PX: Final = 2.0e-9
"""Largest difference between a patch and the exact positions that is accepted, output pixels."""
_N_PROBED: Final = 12
"""Rows of a chip in which that difference is measured: spread so that no two lie alike in their patches."""
_FAR_PX: Final = 1.0e9
"""Where a chip 90 degrees or more from the tangent point is mapped: out of any frame."""


def build_map_model(
    wcs: ChipWcs, grid: OutputGrid, stepsize: int = 0, *, in_patches: bool = True
) -> MapModel:
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
    in_patches : bool
        Whether an exact model gets patches (`with_patches`), of use when whole rows are mapped.

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
    model = MapModel(
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
        cuts_x=np.zeros(0),
        cuts_y=np.zeros(0),
        bends_x=np.zeros(0),
        bends_y=np.zeros(0),
        bend_reach=0.0,
    )
    return with_patches(model, wcs.shape_yx) if in_patches and not stepsize else model


def with_patches(model: MapModel, shape_yx: ShapeYX) -> MapModel:
    """Give an exact model the largest patches whose cubics are as good as exact positions.

    The patches begin at the nodes of the look-up tables. A model for which no size in `PATCH_PX` keeps the
    error below `PATCH_ERROR_PX`, or whose tables have nodes closer than that, is returned as it is: every
    pixel is evaluated by itself.

    Parameters
    ----------
    model : MapModel
        Exact model without patches.
    shape_yx : ShapeYX
        Shape of the chip.
    """
    is_shifted = bool(model.d2im_x.any() or model.d2im_y.any())
    bends_x, bends_y = _table_nodes(model, (0, 1), 0), _table_nodes(model, (0, 1), 3)
    ends_x = _ends(np.concatenate([bends_x, _table_nodes(model, (2, 3), 0)]), shape_yx.nx)
    ends_y = _ends(np.concatenate([bends_y, _table_nodes(model, (2, 3), 3)]), shape_yx.ny)
    for size in PATCH_PX:
        if _are_close(ends_x, size) or _are_close(ends_y, size):
            continue
        patched = model._replace(
            cuts_x=_subdivided(ends_x, size),
            cuts_y=_subdivided(ends_y, size),
            bends_x=bends_x if is_shifted else np.zeros(0),
            bends_y=bends_y if is_shifted else np.zeros(0),
            bend_reach=float(max(np.abs(model.d2im_x).max(), np.abs(model.d2im_y).max()))
            if is_shifted
            else 0.0,
        )
        if _patch_error(model, patched, shape_yx) <= PATCH_ERROR_PX:
            return patched
    return model


def _ends(nodes: DoubleArray, n: int) -> DoubleArray:
    """Look-up nodes within a chip of `n` pixels along their axis, and its first and last pixel."""
    return np.unique(np.concatenate([[1.0], nodes[(nodes > 1.0) & (nodes < n)], [float(n)]]))


def _are_close(ends: DoubleArray, size: float) -> bool:
    """Whether look-up nodes lie closer on average than half a patch."""
    return len(ends) > 2 and len(ends) * size > 2.0 * ends[-1]


def _table_nodes(model: MapModel, tables: tuple[int, int], axis: int) -> DoubleArray:
    """FITS pixels of the nodes of look-up tables along an axis (0: x, 3: y, as in `table_axes`)."""
    arrays = (model.npol_x, model.npol_y, model.d2im_x, model.d2im_y)
    found = [np.zeros(0)]
    for table in tables:
        count = arrays[table].shape[1 if axis == 0 else 0]
        if arrays[table].size > 1:
            crpix, crval, cdelt = model.table_axes[table, axis : axis + 3]
            found.append(crval + (np.arange(count) + 1.0 - crpix) * cdelt)
    return np.unique(np.concatenate(found))


def _subdivided(ends: DoubleArray, length: float) -> DoubleArray:
    """Ends of patches no longer than `length` between given ends."""
    parts = [
        np.linspace(low, high, max(1, math.ceil((high - low) / length)), endpoint=False)
        for low, high in pairwise(ends)
    ]
    return np.concatenate([*parts, ends[-1:]])


def _patch_error(exact: MapModel, patched: MapModel, shape_yx: ShapeYX) -> float:
    """Largest difference between two models on rows spread over a chip, output pixels."""
    ny, nx = shape_yx
    planes = np.empty((4, nx + 1))
    worst = 0.0
    for row in np.unique(np.linspace(-0.5, ny - 0.5, _N_PROBED).round(2)):
        map_row(exact, 0, nx + 1, -0.5, float(row), planes[0], planes[1])
        map_row(patched, 0, nx + 1, -0.5, float(row), planes[2], planes[3])
        worst = max(worst, float(np.abs(planes[:2] - planes[2:]).max()))
    return worst


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
    """Writable and C-contiguous, the only layout the kernels are compiled for; a copy where it must be."""
    return np.require(values, np.float64, ["C_CONTIGUOUS", "WRITEABLE"])
