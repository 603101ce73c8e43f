"""The chip WCS agrees with astropy.wcs and carries nothing but numbers."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from mosaic.errors import WcsError
from mosaic.geometry.wcs import ChipWcs
from tests.support.exposures import write_exposure


def _positions(seed: int, shape_yx: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ny, nx = shape_yx
    x = np.concatenate([rng.uniform(-0.5, nx - 0.5, 3000), np.arange(nx), [-0.5, nx - 0.5]])
    y = np.concatenate([rng.uniform(-0.5, ny - 0.5, 3000), rng.integers(0, ny, nx), [-0.5, ny - 0.5]])
    return x, y


def _load(path: Path, index: int) -> tuple[ChipWcs, WCS]:
    with fits.open(path) as hdul, warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return ChipWcs.from_hdulist(hdul, index), WCS(hdul[index].header, hdul)


@pytest.mark.parametrize(
    "crval", [(150.1, 2.2), (0.0001, -72.0), (359.9999, 45.0), (12.0, 89.999), (80.0, -90.0)]
)
@pytest.mark.parametrize("distorted", [True, False])
def test_sky_positions_agree_with_astropy_wcs(
    tmp_path: Path, crval: tuple[float, float], *, distorted: bool
) -> None:
    path = write_exposure(tmp_path / "a_flc.fits", crval=crval, distorted=distorted)
    wcs, oracle = _load(path, 1)
    x, y = _positions(1, wcs.shape_yx)
    ra, dec = wcs.pixel_to_sky(x, y)
    expected_ra, expected_dec = oracle.all_pix2world(x, y, 0)
    # 1e-13 degree is a few units in the last place of a right ascension.
    across = (np.abs(ra - expected_ra + 180.0) % 360.0 - 180.0) * np.cos(np.deg2rad(dec))
    assert np.abs(across).max() < 2e-13
    assert np.abs(dec - expected_dec).max() < 2e-13
    assert wcs.has_distortion is distorted


def test_distortion_terms_agree_with_astropy_pixel_to_focal_plane(tmp_path: Path) -> None:
    path = write_exposure(tmp_path / "a_flc.fits")
    wcs, oracle = _load(path, 4)
    x, y = _positions(2, wcs.shape_yx)
    expected = oracle.pix2foc(x, y, 0)
    u, v = wcs.distort(x, y)
    # Focal-plane coordinates of astropy are 0-based pixels here.
    np.testing.assert_allclose(u + wcs.crpix_xy[0] - 1.0, expected[0], rtol=0.0, atol=1e-11)
    np.testing.assert_allclose(v + wcs.crpix_xy[1] - 1.0, expected[1], rtol=0.0, atol=1e-11)
    assert np.abs(u + wcs.crpix_xy[0] - 1.0 - x).max() > 0.03


def test_corners_are_pixel_centres_in_astropy_footprint_order(tmp_path: Path) -> None:
    wcs, oracle = _load(write_exposure(tmp_path / "a_flc.fits"), 1)
    ra, dec = wcs.corners_sky()
    np.testing.assert_allclose(np.stack([ra, dec], axis=1), oracle.calc_footprint(), rtol=0.0, atol=2e-13)


def test_outline_runs_once_along_the_outer_pixel_edges(tmp_path: Path) -> None:
    wcs, oracle = _load(write_exposure(tmp_path / "a_flc.fits", distorted=False), 1)
    ra, dec = wcs.outline_sky()
    x, y = oracle.all_world2pix(ra, dec, 0)
    ny, nx = wcs.shape_yx
    assert len(x) == 2 * (ny + nx)
    on_edge = np.minimum.reduce(
        [np.abs(x + 0.5), np.abs(x - nx + 0.5), np.abs(y + 0.5), np.abs(y - ny + 0.5)]
    )
    assert on_edge.max() < 1e-7
    steps = np.hypot(np.diff(x, append=x[0]), np.diff(y, append=y[0]))
    np.testing.assert_allclose(steps, 1.0, atol=1e-6)


def test_without_distortion_keeps_the_core_transformation(tmp_path: Path) -> None:
    wcs, oracle = _load(write_exposure(tmp_path / "a_flc.fits"), 1)
    x, y = _positions(3, wcs.shape_yx)
    np.testing.assert_allclose(
        wcs.without_distortion().pixel_to_sky(x, y), oracle.wcs_pix2world(x, y, 0), rtol=0.0, atol=2e-13
    )
    assert not wcs.without_distortion().has_distortion


def test_a_copy_through_pickle_is_equal_and_maps_to_the_same_bits(tmp_path: Path) -> None:
    wcs, _ = _load(write_exposure(tmp_path / "a_flc.fits"), 1)
    copy = pickle.loads(pickle.dumps(wcs))
    x, y = _positions(4, wcs.shape_yx)
    assert copy == wcs
    assert hash(copy) == hash(wcs)
    assert copy != wcs.without_distortion()
    np.testing.assert_array_equal(copy.pixel_to_sky(x, y), wcs.pixel_to_sky(x, y))


def _edited(tmp_path: Path, **cards: object) -> Path:
    def edit(hdul: fits.HDUList) -> None:
        for key, value in cards.items():
            if value is None:
                del hdul[1].header[key]
            else:
                hdul[1].header[key] = value

    return write_exposure(tmp_path / "a_flc.fits", edit=edit)


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"CRVAL1": None, "CRPIX2": None}, r"exp\[sci,1\]: no WCS: CRPIX2, CRVAL1 absent"),
        (
            {"CD1_1": None, "CD1_2": None, "CD2_1": None, "CD2_2": None},
            "no WCS: CD1_1, CD1_2, CD2_1, CD2_2 absent",
        ),
        ({"CRVAL2": "nan"}, "CRVAL2 is not a number"),
        ({"CD1_1": 0.0, "CD1_2": 0.0}, "CD matrix is singular"),
        ({"CTYPE1": "RA---ZPN", "CTYPE2": "DEC--ZPN"}, "'RA---ZPN', 'DEC--ZPN'"),
        ({"CTYPE1": None, "CTYPE2": None}, "CTYPE1, CTYPE2 are ''"),
        ({"LONPOLE": 90.0}, "LONPOLE is 90"),
    ],
)
def test_an_unusable_wcs_is_named_with_its_keywords(
    tmp_path: Path, cards: dict[str, object], message: str
) -> None:
    path = _edited(tmp_path, **cards)
    with fits.open(path) as hdul, pytest.raises(WcsError, match=message):
        ChipWcs.from_hdulist(hdul, 1, exposure="exp", chip="sci,1")


def test_a_nan_written_as_a_bare_word_is_a_wcs_error(tmp_path: Path) -> None:
    path = write_exposure(tmp_path / "a_flc.fits")
    raw = path.read_bytes()
    start = raw.index(b"CRVAL1  =")
    path.write_bytes(raw[:start] + b"CRVAL1  =                  NaN".ljust(80) + raw[start + 80 :])
    with fits.open(path) as hdul, pytest.raises(WcsError, match="CRVAL1 is not a number"):
        ChipWcs.from_hdulist(hdul, 1, exposure="exp")


def test_a_missing_distortion_table_is_a_wcs_error(tmp_path: Path) -> None:
    def edit(hdul: fits.HDUList) -> None:
        del hdul["WCSDVARR", 1]

    path = write_exposure(tmp_path / "a_flc.fits", edit=edit)
    with fits.open(path) as hdul, pytest.raises(WcsError, match="WCS unusable"):
        ChipWcs.from_hdulist(hdul, 1, exposure="exp")
