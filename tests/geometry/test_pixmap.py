"""The map model holds the exact chip-to-output map: astropy.wcs is the oracle."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from mosaic.errors import ParameterError
from mosaic.geometry.grid import CustomFrame, OutputGrid, custom_grid, default_grid
from mosaic.geometry.pixmap import build_map_model, map_pixels, with_patches
from mosaic.geometry.wcs import ChipWcs
from mosaic.kernels.pixmap import map_points, map_row
from mosaic.types import ShapeYX
from tests.support.exposures import write_exposure
from tests.support.maps import distorted_model


def _case(tmp_path: Path, **changes: Any) -> tuple[ChipWcs, OutputGrid, WCS, WCS]:
    path = write_exposure(tmp_path / "a_flc.fits", **changes)
    with fits.open(path) as hdul, warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        chip, oracle = ChipWcs.from_hdulist(hdul, 4), WCS(hdul[4].header, hdul)
        first = ChipWcs.from_hdulist(hdul, 1)
    grid = custom_grid(default_grid([first, chip]), CustomFrame(rot=12.0, scale=0.037))
    header = fits.Header([(key, value) for key, value, _ in grid.to_header_cards()])
    return chip, grid, oracle, WCS(header)


def _expected(oracle: WCS, frame: WCS, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack(frame.wcs_world2pix(*oracle.all_pix2world(x, y, 0), 0))


@pytest.mark.parametrize("crval", [(150.1, 2.2), (0.0, -72.0), (12.0, 89.99), (301.0, -90.0)])
def test_map_agrees_with_astropy_to_a_ten_millionth_of_a_pixel(
    tmp_path: Path, crval: tuple[float, float]
) -> None:
    chip, grid, oracle, frame = _case(tmp_path, crval=crval)
    rng = np.random.default_rng(5)
    ny, nx = chip.shape_yx
    x, y = rng.uniform(-1.0, nx, 4000), rng.uniform(-1.0, ny, 4000)
    expected = _expected(oracle, frame, x, y)
    # RA in degrees resolves 3e-14 x 3600 / 0.037 = 3e-9 pixel: the oracle itself is no better.
    np.testing.assert_allclose(np.stack(map_pixels(chip, grid, x, y)), expected, rtol=0.0, atol=1e-7)
    kernel = np.empty((2, x.size))
    map_points(build_map_model(chip, grid, 0), x, y, kernel[0], kernel[1])
    np.testing.assert_allclose(kernel, expected, rtol=0.0, atol=1e-7)


def test_positions_of_patches_are_as_exact_as_single_pixels() -> None:
    """Every pixel corner of a chip with all tables: rows and columns at look-up nodes among them."""
    ny, nx = shape = (150, 779)
    plain = distorted_model(7, shape)
    patched = with_patches(plain, ShapeYX(*shape))
    assert len(patched.cuts_x) > nx // 16
    assert len(patched.cuts_y) > ny // 16
    assert 0.0 < patched.bend_reach < 1.0
    exact, found = np.empty((2, nx + 1)), np.empty((2, nx + 1))
    for y in np.arange(ny + 1) - 0.5:
        map_row(plain, 0, nx + 1, -0.5, y, exact[0], exact[1])
        map_row(patched, 0, nx + 1, -0.5, y, found[0], found[1])
        np.testing.assert_allclose(found, exact, rtol=0.0, atol=1e-8)
    map_row(plain, 0, nx + 1, -0.5, 48.0, exact[0], exact[1])
    map_row(patched, 0, nx + 1, -0.5, 48.0, found[0], found[1])
    # FITS row 49 is a row of look-up nodes: evaluated pixel by pixel.
    np.testing.assert_array_equal(found, exact)


def test_patches_begin_at_look_up_nodes_and_agree_with_astropy(tmp_path: Path) -> None:
    chip, grid, oracle, frame = _case(tmp_path)
    ny, nx = chip.shape_yx
    model = build_map_model(chip, grid, 0)
    out = np.empty((2, nx))
    for y in (0.0, 0.3 * ny, ny - 1.0):
        map_row(model, 0, nx, 0.0, y, out[0], out[1])
        expected = _expected(oracle, frame, np.arange(nx, dtype=float), np.full(nx, y))
        np.testing.assert_allclose(out, expected, rtol=0.0, atol=1e-7)


def test_a_map_too_rough_for_patches_stays_exact() -> None:
    shape = ShapeYX(40, 300)
    rough = distorted_model(3, shape)
    rough.sip_a[4, 0] = 1e-5
    assert with_patches(rough, shape).cuts_x.size == 0
    by_column = distorted_model(3, shape)
    by_column.table_axes[:, [2, 5]] = 1.0
    assert with_patches(by_column, shape).cuts_x.size == 0


def test_table_holds_exact_positions_from_pixel_coordinate_zero(tmp_path: Path) -> None:
    chip, grid, oracle, frame = _case(tmp_path)
    model = build_map_model(chip, grid, 10)
    ny, nx = chip.shape_yx
    assert model.nodes.shape == (ny // 10 + 2, nx // 10 + 2, 2)
    rows, columns = np.indices(model.nodes.shape[:2])
    expected = _expected(oracle, frame, 10.0 * columns.ravel() - 1.0, 10.0 * rows.ravel() - 1.0)
    np.testing.assert_allclose(model.nodes.reshape(-1, 2).T, expected, rtol=0.0, atol=1e-7)


def test_table_of_step_one_is_exact_at_pixel_centres(tmp_path: Path) -> None:
    chip, grid, oracle, frame = _case(tmp_path)
    rows, columns = np.indices(chip.shape_yx).astype(float)
    kernel = np.empty((2, rows.size))
    map_points(build_map_model(chip, grid, 1), columns.ravel(), rows.ravel(), kernel[0], kernel[1])
    np.testing.assert_allclose(
        kernel, _expected(oracle, frame, columns.ravel(), rows.ravel()), rtol=0.0, atol=1e-7
    )


def test_model_owns_writable_contiguous_arrays(tmp_path: Path) -> None:
    chip, grid, _, _ = _case(tmp_path)
    for value in build_map_model(chip, grid, 5)[1:-1]:
        assert value.flags.c_contiguous
        assert value.flags.writeable
        assert value.dtype == np.float64


def test_a_chip_behind_the_sky_maps_far_outside(tmp_path: Path) -> None:
    chip, _, _, _ = _case(tmp_path, crval=(150.0, 2.0))
    (tmp_path / "far").mkdir()
    _, far_grid, _, _ = _case(tmp_path / "far", crval=(330.0, -2.0))
    out = np.empty((2, 4))
    map_points(build_map_model(chip, far_grid, 0), np.arange(4.0), np.arange(4.0), out[0], out[1])
    assert np.all(out > 1e8)
    assert np.isnan(map_pixels(chip, far_grid, np.arange(4.0), np.arange(4.0))).all()


def test_a_negative_step_is_refused(tmp_path: Path) -> None:
    chip, grid, _, _ = _case(tmp_path)
    with pytest.raises(ParameterError, match="stepsize=-1"):
        build_map_model(chip, grid, -1)
