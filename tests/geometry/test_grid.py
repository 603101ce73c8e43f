"""Output frames follow the published rules; every expectation is evaluated with astropy.wcs."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from mosaic.errors import ParameterError
from mosaic.geometry.grid import CustomFrame, OutputGrid, custom_grid, default_grid, reference_grid
from mosaic.geometry.wcs import ChipWcs
from mosaic.types import ShapeYX
from tests.support.exposures import write_exposure


def _astropy(grid: OutputGrid) -> WCS:
    header = fits.Header()
    for keyword, value, comment in grid.to_header_cards():
        header[keyword] = (value, comment)
    return WCS(header)


def _tangent(cd: np.ndarray, crval: tuple[float, float], crpix: tuple[float, float]) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cd, wcs.wcs.crval, wcs.wcs.crpix = cd, crval, crpix
    wcs.wcs.set()
    return wcs


def _load(*paths: Path) -> tuple[list[ChipWcs], list[WCS]]:
    chips, oracles = [], []
    for path in paths:
        with fits.open(path) as hdul, warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            for index in (1, 4):
                chips.append(ChipWcs.from_hdulist(hdul, index))
                oracles.append(WCS(hdul[index].header, hdul))
    return chips, oracles


# Orientation of V3 at the aperture (257.152, 302.6 arcsec) for PA_V3 = 112.5, by declination: recorded
# from stwcs 1.7.7, the peer whose frames we reproduce.
ROLL_BY_DEC = {
    2.2: 112.50183754108681,
    -72.0: 112.34420917210987,
    89.0: 115.12333602518744,
    -30.0: 112.47082239398485,
}


def _expected_default(
    chips: list[ChipWcs], oracles: list[WCS]
) -> tuple[tuple[int, int], np.ndarray, np.ndarray, np.ndarray]:
    """Frame by the rules, with astropy doing all spherical work."""
    corners = np.vstack([oracle.calc_footprint() for oracle in oracles])
    ra, dec = np.deg2rad(corners.T)
    mean = np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)]).mean(axis=1)
    crval = (
        math.degrees(math.atan2(mean[1], mean[0])) % 360.0,
        math.degrees(math.asin(mean[2] / np.linalg.norm(mean))),
    )
    first = chips[0]
    angle = math.radians(ROLL_BY_DEC[first.crval_deg[1]] + first.idctheta)
    turned = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]) @ np.diag(
        [1.0, -1.0]
    )
    rot = math.atan2(turned[0, 1], turned[1, 1])
    cd = first.idcscale / 3600.0 * np.array([[-math.cos(rot), math.sin(rot)], [math.sin(rot), math.cos(rot)]])
    flat = _tangent(cd, crval, (0.0, 0.0)).wcs_world2pix(corners, 0)
    nx, ny = np.ceil(flat.max(axis=0) - flat.min(axis=0)).astype(int)
    centred = _tangent(cd, crval, (nx / 2.0, ny / 2.0))
    low = centred.wcs_world2pix(corners, 0).min(axis=0)
    new_crval = centred.wcs_pix2world([[nx / 2.0 + low[0], ny / 2.0 + low[1]]], 1)[0]
    return (ny, nx), np.array([nx / 2.0, ny / 2.0]), new_crval, cd


@pytest.mark.parametrize("crval", [(150.1, 2.2), (0.0005, -72.0), (200.0, 89.0), (5.6, -30.0)])
def test_default_frame_follows_the_rules(tmp_path: Path, crval: tuple[float, float]) -> None:
    first = write_exposure(tmp_path / "a_flc.fits", crval=crval)
    second = write_exposure(
        tmp_path / "b_flc.fits", crval=(crval[0] + 0.0007, crval[1] - 0.0003), roll_deg=61.0
    )
    chips, oracles = _load(first, second)
    grid = default_grid(chips)
    shape, crpix, new_crval, cd = _expected_default(chips, oracles)
    assert grid.shape_yx == shape
    np.testing.assert_array_equal(grid.crpix_xy, crpix)
    # 1e-13 degree in declination; right ascension is weighted by cos(dec) where meridians converge.
    shift = np.array(grid.crval_deg) - new_crval
    assert abs(shift[0] * math.cos(math.radians(new_crval[1]))) < 1e-13
    assert abs(shift[1]) < 1e-13
    np.testing.assert_allclose(grid.cd, cd, rtol=0.0, atol=1e-17)
    assert grid.wcsname == "IDC_test"


def test_extreme_corner_centres_fall_on_the_first_pixel(tmp_path: Path) -> None:
    chips, oracles = _load(write_exposure(tmp_path / "a_flc.fits"))
    grid = default_grid(chips)
    corners = np.vstack([oracle.calc_footprint() for oracle in oracles])
    pixel = _astropy(grid).wcs_world2pix(corners, 0)
    # Moving CRVAL tilts the tangent plane, which shifts a corner by far less than a millipixel.
    np.testing.assert_allclose(pixel.min(axis=0), 0.0, atol=1e-3)


def test_orientation_comes_from_the_roll_angle_not_from_an_aligned_cd_matrix(tmp_path: Path) -> None:
    chips = _load(write_exposure(tmp_path / "a_flc.fits", roll_deg=33.0))[0]
    turned = _load(write_exposure(tmp_path / "b_flc.fits", roll_deg=33.01))[0]
    assert default_grid(chips).orientat_deg == pytest.approx(default_grid(turned).orientat_deg, abs=1e-6)


def test_without_reference_position_the_cd_matrix_gives_orientation_and_scale(tmp_path: Path) -> None:
    chips, _ = _load(write_exposure(tmp_path / "a_flc.fits", distorted=False))
    grid = default_grid(chips)
    cd = np.array(chips[0].cd)
    assert grid.orientat_deg == pytest.approx(math.degrees(math.atan2(cd[0, 1], cd[1, 1])), abs=1e-12)
    assert grid.scale_arcsec == pytest.approx(3600.0 * math.sqrt(abs(np.linalg.det(cd))), rel=1e-14)


def test_without_coefficients_one_chip_gives_its_own_linear_frame(tmp_path: Path) -> None:
    chips, _ = _load(write_exposure(tmp_path / "a_flc.fits"))
    grid = default_grid(chips[:1], coeffs=False)
    assert grid.shape_yx == chips[0].shape_yx
    assert grid.crpix_xy == chips[0].crpix_xy
    assert grid.crval_deg == chips[0].crval_deg
    cd = np.array(chips[0].cd)
    assert grid.scale_arcsec == pytest.approx(3600.0 * math.hypot(cd[0, 0], cd[1, 0]), rel=1e-14)


def test_without_coefficients_the_frame_holds_the_undistorted_chips(tmp_path: Path) -> None:
    chips, oracles = _load(write_exposure(tmp_path / "a_flc.fits"))
    grid = default_grid(chips, coeffs=False)
    assert grid == default_grid([chip.without_distortion() for chip in chips], coeffs=False)
    for oracle in oracles:
        oracle.sip, oracle.cpdis1, oracle.cpdis2, oracle.det2im1, oracle.det2im2 = (None,) * 5
    corners = np.vstack([oracle.calc_footprint() for oracle in oracles])
    ra, dec = np.deg2rad(corners.T)
    mean = np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)]).mean(axis=1)
    crval = (
        math.degrees(math.atan2(mean[1], mean[0])) % 360.0,
        math.degrees(math.asin(mean[2] / np.linalg.norm(mean))),
    )
    flat = _tangent(np.array(chips[0].cd), crval, (0.0, 0.0)).wcs_world2pix(corners, 0)
    assert grid.shape_yx == tuple(np.ceil(flat.max(axis=0) - flat.min(axis=0)).astype(int)[::-1])


def test_edge_padding_holds_every_pixel_edge(tmp_path: Path) -> None:
    paths = [write_exposure(tmp_path / "a_flc.fits"), write_exposure(tmp_path / "b_flc.fits", roll_deg=70.0)]
    chips, oracles = _load(*paths)
    grid = default_grid(chips, padding="edges")
    frame = _astropy(grid)
    ny, nx = chips[0].shape_yx
    rows, columns = np.mgrid[0 : ny + 1, 0 : nx + 1] - 0.5
    for oracle in oracles:
        x, y = frame.wcs_world2pix(*oracle.all_pix2world(columns.ravel(), rows.ravel(), 0), 0)
        # One tangent plane against a shifted one: micropixels for frames of this size.
        assert x.min() > -0.5 - 1e-4
        assert y.min() > -0.5 - 1e-4
        assert x.max() < grid.shape_yx.nx - 0.5 + 1e-4
        assert y.max() < grid.shape_yx.ny - 0.5 + 1e-4


def test_exposures_across_the_sky_are_refused(tmp_path: Path) -> None:
    chips, _ = _load(
        write_exposure(tmp_path / "a_flc.fits", crval=(10.0, 0.0)),
        write_exposure(tmp_path / "b_flc.fits", crval=(11.0, 0.0)),
        write_exposure(tmp_path / "c_flc.fits", crval=(170.0, 5.0)),
    )
    with pytest.raises(ParameterError, match="one tangent frame cannot hold"):
        default_grid(chips)


def test_a_frame_needs_a_chip() -> None:
    with pytest.raises(ParameterError, match="no chip"):
        default_grid([])


BASE = OutputGrid(
    ShapeYX(301, 200),
    (100.0, 150.5),
    (30.0, -40.0),
    ((-1.2e-5, 0.5e-5), (0.5e-5, 1.2e-5)),
    "base",
)


def test_a_frame_without_requests_is_the_base() -> None:
    assert custom_grid(BASE, CustomFrame()) == BASE


def test_scale_alone_keeps_the_first_pixel_corner_in_place() -> None:
    grid = custom_grid(BASE, CustomFrame(scale=BASE.scale_arcsec / 2.5))
    assert grid.shape_yx == ShapeYX(math.ceil(2.5 * 301), 500)
    np.testing.assert_allclose(grid.crpix_xy, (1.0 + 2.5 * 99.0, 1.0 + 2.5 * 149.5), rtol=0.0, atol=1e-12)
    np.testing.assert_allclose(np.array(grid.cd) * 2.5, BASE.cd, rtol=1e-15)
    # The centre of pixel (1, 1) stays where it was on the sky.
    np.testing.assert_allclose(
        _astropy(grid).wcs_pix2world([[1.0, 1.0]], 1),
        _astropy(BASE).wcs_pix2world([[1.0, 1.0]], 1),
        atol=1e-12,
    )


@pytest.mark.parametrize(("rot", "scale"), [(0.0, None), (-71.3, 0.021), (180.0, 0.1)])
def test_rotation_holds_the_corners_and_keeps_the_tangent_point(rot: float, scale: float | None) -> None:
    grid = custom_grid(BASE, CustomFrame(rot=rot, scale=scale))
    assert grid.orientat_deg == pytest.approx(rot, abs=1e-12)
    angle = math.degrees(math.atan2(grid.cd[0][1], grid.cd[1][1]))
    assert (angle - rot + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=1e-11)
    assert grid.scale_arcsec == pytest.approx(scale or BASE.scale_arcsec, rel=1e-14)
    assert grid.crval_deg == BASE.crval_deg
    corners = np.array([[0.5, 0.5], [200.5, 0.5], [0.5, 301.5], [200.5, 301.5]])
    moved = _astropy(grid).wcs_world2pix(_astropy(BASE).wcs_pix2world(corners, 1), 1)
    np.testing.assert_allclose(moved.min(axis=0), 0.5, atol=1e-8)
    size = np.array([grid.shape_yx.nx, grid.shape_yx.ny])
    assert np.all(moved.max(axis=0) <= size + 0.5 + 1e-8)
    assert np.all(moved.max(axis=0) > size - 0.5 - 1e-8)


def test_given_size_rounds_half_away_from_zero_and_centres_the_tangent_point() -> None:
    grid = custom_grid(BASE, CustomFrame(outnx=100.5, outny=99.49, rot=10.0))
    assert grid.shape_yx == ShapeYX(99, 101)
    assert grid.crpix_xy == (51.0, 50.0)


def test_all_values_given_are_all_obeyed() -> None:
    frame = CustomFrame(rot=5.0, scale=0.04, outnx=50, outny=40, ra=31.0, dec=-41.0, crpix1=7.0, crpix2=8.5)
    grid = custom_grid(BASE, frame)
    assert (grid.shape_yx, grid.crpix_xy, grid.crval_deg) == (ShapeYX(40, 50), (7.0, 8.5), (31.0, -41.0))
    assert grid.scale_arcsec == 0.04


def test_position_alone_lands_on_the_old_reference_pixel() -> None:
    grid = custom_grid(BASE, CustomFrame(ra=31.0, dec=-41.0))
    assert (grid.shape_yx, grid.crpix_xy, grid.crval_deg) == (BASE.shape_yx, BASE.crpix_xy, (31.0, -41.0))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"outnx": 10}, "outnx and outny belong together"),
        ({"dec": 1.0}, "ra and dec belong together"),
        ({"crpix1": 1.0}, "crpix1 and crpix2 belong together"),
        ({"scale": 0.0}, "scale=0.0 must be positive"),
    ],
)
def test_impossible_requests_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        CustomFrame(**values)


def test_a_frame_smaller_than_a_pixel_is_refused() -> None:
    with pytest.raises(ParameterError, match="at least one pixel"):
        custom_grid(BASE, CustomFrame(outnx=0.2, outny=5))


def test_sky_and_pixel_are_inverse_and_agree_with_astropy() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.uniform(-50.0, 350.0, (2, 500))
    ra, dec = BASE.pixel_to_sky(x, y)
    np.testing.assert_allclose((ra, dec), _astropy(BASE).wcs_pix2world(x, y, 0), rtol=0.0, atol=1e-12)
    np.testing.assert_allclose(BASE.sky_to_pixel(ra, dec), (x, y), rtol=0.0, atol=1e-8)


def test_the_other_side_of_the_sky_is_not_a_number() -> None:
    assert np.isnan(BASE.sky_to_pixel(np.array([210.0]), np.array([40.0]))).all()


def test_reference_frame_is_the_linear_part_of_the_named_extension(tmp_path: Path) -> None:
    path = write_exposure(tmp_path / "ref_flc.fits")
    chips, _ = _load(path)
    for text, chip in ((str(path), chips[0]), (f"{path}[sci,2]", chips[1]), (f"{path}[4]", chips[1])):
        grid = reference_grid(text)
        assert (grid.shape_yx, grid.crpix_xy, grid.crval_deg, grid.cd) == (
            chip.shape_yx, chip.crpix_xy, chip.crval_deg, chip.cd,
        )  # fmt: skip


def test_unusable_references_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.fits"
    fits.PrimaryHDU(np.zeros((3, 4))).writeto(empty)
    with pytest.raises(ParameterError, match="does not exist"):
        reference_grid(tmp_path / "absent.fits")
    with pytest.raises(ParameterError, match="no extension with CRVAL1"):
        reference_grid(empty)
    with pytest.raises(ParameterError, match=r"no extension 'sci,9'"):
        reference_grid(f"{write_exposure(tmp_path / 'ref_flc.fits')}[sci,9]")
    with pytest.raises(ParameterError, match="no WCS"):
        reference_grid(f"{empty}[0]")
