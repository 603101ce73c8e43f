"""Chip pixel to output pixel: the oracle is astropy.wcs."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, DistortionLookupTable, Sip
from numba import njit
from numpy.typing import NDArray

from mosaic.geometry.pixmap import with_patches
from mosaic.kernels.exact_map import BLOCK, MapModel
from mosaic.kernels.pixmap import map_into, map_points, map_row, map_scratch
from mosaic.types import DoubleArray, ShapeYX
from tests.support.maps import distorted_model

SHAPE_YX = (211, 347)


def _linear_wcs(
    crpix_xy: tuple[float, float], crval: tuple[float, float], cd: DoubleArray, *, sip: bool = False
) -> WCS:
    wcs = WCS(naxis=2)
    suffix = "-SIP" if sip else ""
    wcs.wcs.ctype = [f"RA---TAN{suffix}", f"DEC--TAN{suffix}"]
    wcs.wcs.crpix, wcs.wcs.crval, wcs.wcs.cd = crpix_xy, crval, cd
    wcs.wcs.set()
    return wcs


def _rotation(angle: float) -> DoubleArray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


def _tangent_axes(crval: tuple[float, float]) -> DoubleArray:
    """Rows: east, north and the tangent point itself, as unit vectors."""
    ra, dec = np.radians(crval)
    return np.array(
        [
            [-np.sin(ra), np.cos(ra), 0.0],
            [-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)],
            [np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)],
        ]
    )


def _plane(cd: DoubleArray) -> DoubleArray:
    """Intermediate pixel offsets -> tangent plane in radians, homogeneous."""
    plane = np.eye(3)
    plane[:2, :2] = np.radians(cd)
    return plane


def _homography(chip: WCS, grid: WCS) -> DoubleArray:
    to_pixel = np.array([[1.0, 0.0, grid.wcs.crpix[0] - 1.0], [0.0, 1.0, grid.wcs.crpix[1] - 1.0], [0, 0, 1]])
    turn = _tangent_axes(tuple(grid.wcs.crval)) @ _tangent_axes(tuple(chip.wcs.crval)).T
    return to_pixel @ np.linalg.inv(_plane(grid.wcs.cd)) @ turn @ _plane(chip.wcs.cd)


def _case(seed: int, *, d2im: str, npol: bool, dec: float = 41.0) -> tuple[WCS, WCS, MapModel]:
    """A chip with order-4 SIP and tables as astropy and as a map model see it, and an output grid."""
    rng = np.random.default_rng(seed)
    ny, nx = SHAPE_YX
    scale = 0.05 / 3600.0
    crpix = (nx / 2.0 + 3.0, ny / 2.0 - 5.0)
    chip = _linear_wcs(crpix, (150.0, dec), scale * _rotation(0.4) @ np.diag([-1.0, 1.02]), sip=True)
    grid = _linear_wcs((201.0, 140.5), (150.002, dec - 0.003), scale * np.diag([-1.0, 1.0]))
    a, b = np.zeros((5, 5)), np.zeros((5, 5))
    for p in range(5):
        for q in range(5 - p):
            if p + q >= 2:
                a[p, q], b[p, q] = rng.normal(size=2) * 3.0 / 300.0 ** (p + q)
    chip.sip = Sip(a, b, None, None, crpix)
    zero = np.zeros((1, 1))
    tables, axes = [zero.copy() for _ in range(4)], np.tile([1.0, 1.0, 1.0], (4, 2))
    lookups: list[DistortionLookupTable | None] = [None] * 4
    for t in range(4):
        is_d2im = t >= 2
        if (is_d2im and d2im == "none") or (not is_d2im and not npol):
            continue
        one_row = is_d2im and d2im == "row"
        spacing = (1.0, 1.0) if one_row else (23.0, 17.0)
        shape = (1, nx) if one_row else (int(ny / 17.0) - 1, int(nx / 23.0) + 2)
        table = rng.normal(0.0, 0.06, shape).astype(np.float32)
        # Ends before the chip does and begins inside it, so that clamping to the edge is seen too.
        crpix_t, crval_t = (1.0, 1.0), (1.0 if one_row else 9.5, 1.0 if one_row else 12.25)
        lookups[t] = DistortionLookupTable(table, crpix_t, crval_t, spacing)
        tables[t] = table.astype(np.float64)
        axes[t] = [crpix_t[0], crval_t[0], spacing[0], crpix_t[1], crval_t[1], spacing[1]]
    chip.cpdis1, chip.cpdis2, chip.det2im1, chip.det2im2 = lookups
    none = np.zeros(0)
    model = MapModel(
        0,
        np.array(crpix),
        a,
        b,
        *tables,
        axes,
        _homography(chip, grid),
        np.zeros((0, 0, 2)),
        none,
        none,
        none,
        none,
        0.0,
    )
    return chip, grid, model


def _astropy_map(chip: WCS, grid: WCS, x: DoubleArray, y: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    ra, dec = chip.all_pix2world(x, y, 0)
    px, py = grid.wcs_world2pix(ra, dec, 0)
    return np.asarray(px), np.asarray(py)


@pytest.mark.parametrize("d2im", ["none", "row", "nodes"])
@pytest.mark.parametrize("npol", ["no npol", "npol"])
@pytest.mark.parametrize("dec", [41.0, 89.9])
def test_exact_map_agrees_with_astropy(d2im: str, npol: str, dec: float) -> None:
    chip, grid, model = _case(3, d2im=d2im, npol=npol == "npol", dec=dec)
    nx = SHAPE_YX[1]
    x_out, y_out = np.empty(nx), np.empty(nx)
    # 1e-7 px is the project's budget; double precision on the sky leaves about 1e-8 px.
    for y, dx in ((0.0, 0.0), (37.5, -0.5), (110.0, 0.35), (SHAPE_YX[0] - 0.5, 0.5)):
        map_row(model, 0, nx, dx, y, x_out, y_out)
        px, py = _astropy_map(chip, grid, np.arange(nx) + dx, np.full(nx, y))
        np.testing.assert_allclose(x_out, px, rtol=0.0, atol=1e-7)
        np.testing.assert_allclose(y_out, py, rtol=0.0, atol=1e-7)


def test_scattered_points_agree_with_astropy() -> None:
    chip, grid, model = _case(5, d2im="nodes", npol=True)
    rng = np.random.default_rng(6)
    n = 2 * BLOCK + 7
    x, y = rng.uniform(-3.0, SHAPE_YX[1] + 2.0, n), rng.uniform(-3.0, SHAPE_YX[0] + 2.0, n)
    x_out, y_out = np.empty(n), np.empty(n)
    map_points(model, x, y, x_out, y_out)
    px, py = _astropy_map(chip, grid, x, y)
    np.testing.assert_allclose(x_out, px, rtol=0.0, atol=1e-7)
    np.testing.assert_allclose(y_out, py, rtol=0.0, atol=1e-7)


@pytest.mark.parametrize("step", [0, 10])
@pytest.mark.parametrize("patches", ["single pixels", "patches"])
def test_a_position_has_the_same_bits_in_every_segment_of_its_row(step: int, patches: str) -> None:
    shape = (90, 3 * BLOCK + 11)
    model = distorted_model(7, shape)
    if patches == "patches":
        model = with_patches(model, ShapeYX(*shape))
        assert model.cuts_x.size > 0
    if step:
        rng = np.random.default_rng(8)
        model = model._replace(step=step, nodes=rng.normal(size=(11, shape[1] // step + 2, 2)))
    nx = shape[1]
    x_all, y_all = np.empty(nx), np.empty(nx)
    map_row(model, 0, nx, 0.5, 41.5, x_all, y_all)
    for first, n in ((1, 17), (BLOCK - 3, 2 * BLOCK + 1), (nx - 1, 1)):
        x_part, y_part = np.empty(n), np.empty(n)
        map_row(model, first, n, 0.5, 41.5, x_part, y_part)
        np.testing.assert_array_equal(x_part, x_all[first : first + n])
        np.testing.assert_array_equal(y_part, y_all[first : first + n])
    shifted_x, shifted_y = np.empty(nx), np.empty(nx)
    map_row(model, 1, nx - 1, -0.5, 41.5, shifted_x, shifted_y)
    np.testing.assert_array_equal(shifted_x[: nx - 1], x_all[: nx - 1])
    # An offset that is not exact in binary: sums must not depend on where the segment begins.
    map_row(model, 0, nx, -0.35, 41.5, x_all, y_all)
    for first, n in ((1, 17), (63, 130), (nx - 40, 40)):
        x_part, y_part = np.empty(n), np.empty(n)
        map_row(model, first, n, -0.35, 41.5, x_part, y_part)
        np.testing.assert_array_equal(x_part, x_all[first : first + n])
        np.testing.assert_array_equal(y_part, y_all[first : first + n])


@njit
def _map_windows(
    model: MapModel,
    rows: DoubleArray,
    firsts: NDArray[np.int64],
    n: int,
    x_out: DoubleArray,
    y_out: DoubleArray,
) -> None:
    """Map a window of each of some rows with the same scratch."""
    work = map_scratch(model)
    for k in range(rows.shape[0]):
        map_into(model, firsts[k], n, -0.5, rows[k], x_out[k], y_out[k], work)


def test_a_position_has_the_same_bits_whatever_was_mapped_before() -> None:
    """Patches at hand are used again for rows and windows that they hold, and for no others."""
    shape = (200, 779)
    model = with_patches(distorted_model(7, shape), ShapeYX(*shape))
    assert model.cuts_y.size > 4
    rng = np.random.default_rng(11)
    rows, n = rng.integers(0, shape[0], 300) + rng.choice([0.0, 0.5], 300), 90
    rows[100:] = np.sort(rows[100:])
    firsts = rng.choice([0, 3, 120, 150, shape[1] - n], rows.size)
    x, y = np.empty((rows.size, n)), np.empty((rows.size, n))
    _map_windows(model, rows, firsts, n, x, y)
    for k in range(rows.size):
        x_alone, y_alone = np.empty(n), np.empty(n)
        map_row(model, firsts[k], n, -0.5, rows[k], x_alone, y_alone)
        np.testing.assert_array_equal(x[k], x_alone)
        np.testing.assert_array_equal(y[k], y_alone)


def test_node_table_is_bilinear_between_nodes_that_start_at_fits_pixel_zero() -> None:
    step, ny_nodes, nx_nodes = 10, 5, 7
    j, i = np.mgrid[:ny_nodes, :nx_nodes].astype(float)
    fits_x, fits_y = step * i, step * j
    # A function that bilinear interpolation reproduces, cross term included.
    nodes = np.stack(
        [3.0 + 1.25 * fits_x - 0.5 * fits_y + 0.01 * fits_x * fits_y, fits_y - 0.125 * fits_x], axis=-1
    )
    model = distorted_model(1, (40, 60))._replace(step=step, nodes=np.ascontiguousarray(nodes))
    x_out, y_out = np.empty(60), np.empty(60)
    map_row(model, 0, 60, -0.5, 17.25, x_out, y_out)
    x, y = np.arange(60) + 0.5, 18.25
    np.testing.assert_allclose(x_out, 3.0 + 1.25 * x - 0.5 * y + 0.01 * x * y, rtol=0.0, atol=1e-11)
    np.testing.assert_allclose(y_out, y - 0.125 * x, rtol=0.0, atol=1e-12)


def test_sip_header_and_model_mean_the_same_coefficients() -> None:
    """A_p_q multiplies u**p v**q: guards against a transposed coefficient array."""
    header = fits.Header(
        {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "CRPIX1": 20.0, "CRPIX2": 9.0}
        | {"CRVAL1": 10.0, "CRVAL2": 0.0, "CD1_1": -1e-5, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-5}
        | {"A_ORDER": 3, "B_ORDER": 2, "A_2_1": 1e-5, "A_0_2": 2e-4, "B_1_1": -3e-4}
    )
    wcs = WCS(header)
    a, b = np.zeros((4, 4)), np.zeros((3, 3))
    a[2, 1], a[0, 2], b[1, 1] = 1e-5, 2e-4, -3e-4
    model = distorted_model(1, (8, 8))._replace(
        crpix_xy=np.array([20.0, 9.0]),
        sip_a=a,
        sip_b=b,
        **{name: np.zeros((1, 1)) for name in ("npol_x", "npol_y", "d2im_x", "d2im_y")},
        homography=np.array([[1.0, 0.0, 19.0], [0.0, 1.0, 8.0], [0.0, 0.0, 1.0]]),
    )
    x_out, y_out = np.empty(40), np.empty(40)
    map_row(model, 0, 40, 0.0, 15.0, x_out, y_out)
    focal = wcs.sip_pix2foc(np.column_stack([np.arange(1.0, 41.0), np.full(40, 16.0)]), 1)
    # sip_pix2foc gives offsets from CRPIX.
    np.testing.assert_allclose(x_out, focal[:, 0] + 19.0, rtol=0.0, atol=1e-11)
    np.testing.assert_allclose(y_out, focal[:, 1] + 8.0, rtol=0.0, atol=1e-11)
