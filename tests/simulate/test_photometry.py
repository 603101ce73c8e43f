"""Laws of the comparison with the truth, on products made of known Gaussians."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from scipy.special import erf

from mosaic.simulate.photometry import (
    StarSelection,
    compare_with_truth,
    enclosed_share,
    measure_apertures,
)

SCALE = 0.05
SIGMA = 0.06


def product(shift_px: float = 0.0, factor: float = 1.0) -> tuple[np.ndarray, np.ndarray, fits.Header, Table]:
    """A mosaic of 30 stars, each the exact pixel integral of a Gaussian, and its source list."""
    ny, nx = 300, 420
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix = (150.0, 2.0), (nx / 2, ny / 2)
    wcs.wcs.cd = np.array([[-SCALE, 0.0], [0.0, SCALE]]) / 3600
    random = np.random.default_rng(3)
    x = np.linspace(30, nx - 31, 6)[None, :].repeat(5, 0).ravel() + random.random(30)
    y = np.linspace(30, ny - 31, 5)[:, None].repeat(6, 1).ravel() + random.random(30)
    ra, dec = wcs.all_pix2world(x, y, 0)
    rate = np.linspace(50, 400, 30)
    sci = np.full((ny, nx), 0.01)
    for cx, cy, flux in zip(x + shift_px, y, rate, strict=True):
        edges_x, edges_y = np.arange(nx + 1) - 0.5 - cx, np.arange(ny + 1) - 0.5 - cy
        part_x, part_y = (np.diff(erf(e * SCALE / SIGMA / math.sqrt(2))) / 2 for e in (edges_x, edges_y))
        sci += factor * flux * np.outer(part_y, part_x)
    table = Table(
        {"type": ["star"] * 30, "ra": ra, "dec": dec, "rate_e_s": rate, "half_light_arcsec": np.zeros(30)}
    )
    table.meta.update(
        psf_fraction=[1.0], psf_sigma_arcsec=[SIGMA], idcscale_arcsec=SCALE, full_well_e=1e6, exptime_s=500.0
    )
    return sci.astype(np.float32), np.ones((ny, nx), dtype=np.float32), wcs.to_header(), table


def test_circle_of_a_uniform_image_has_the_circles_area() -> None:
    image = np.ones((40, 51))
    random = np.random.default_rng(1)
    x, y = 12 + 20 * random.random(20), 12 + 12 * random.random(20)
    for radius in (1.5, 5.0, 8.3):
        # 10 x 10 sub-pixels: the error of the area is of order 0.1 sqrt(radius) 0.1 pixel.
        np.testing.assert_allclose(measure_apertures(image, x, y, radius), np.pi * radius**2, rtol=0.02)


def test_background_ring_is_subtracted() -> None:
    image = np.full((60, 70), 3.25)
    image[30, 35] += 100.0
    flux = measure_apertures(image, np.array([35.0]), np.array([30.0]), 5.0, background=(8.0, 12.0))
    assert flux[0] == pytest.approx(100.0, abs=1e-6)


def test_circles_that_leave_the_image_or_hold_nan_are_nan() -> None:
    image = np.ones((40, 51))
    image[20, 20] = np.nan
    flux = measure_apertures(image, np.array([2.0, 22.0, 40.0]), np.array([20.0, 20.0, 20.0]), 4.0)
    assert np.isnan(flux).tolist() == [True, True, False]


def test_enclosed_share_agrees_with_summed_pixels() -> None:
    sci, _, header, table = product()
    x, y = (np.asarray(v) for v in WCS(header).all_world2pix(table["ra"], table["dec"], 0))
    share = measure_apertures(sci - np.float32(0.01), x, y, 4.0) / table["rate_e_s"]
    # Two boxes of an output pixel: the integral over it, and its even spread in the circle's edge.
    assert np.median(share) == pytest.approx(enclosed_share(table, 4.0 * SCALE, (SCALE, SCALE)), abs=5e-4)


@pytest.mark.parametrize(("shift", "factor"), [(0.0, 1.0), (0.3, 1.0), (0.0, 0.9)])
def test_report_finds_shift_and_flux_loss(shift: float, factor: float) -> None:
    sci, wht, header, table = product(shift, factor)
    report = compare_with_truth((sci, wht, header), table)
    assert report.n_stars > 15
    # The correction assumes drop and detector pixel besides: 0.1 % at 5 pixels of this star.
    assert report.median_flux_ratio == pytest.approx(factor, abs=0.003)
    assert report.median_offset_x_px == pytest.approx(shift, abs=0.005)
    assert report.median_offset_y_px == pytest.approx(0.0, abs=0.005)
    assert abs(report.slope_x) < 0.003
    assert abs(report.slope_y) < 0.003


def test_slope_across_the_product_is_reported() -> None:
    sci, wht, header, table = product()
    ramp = np.linspace(0.95, 1.05, sci.shape[1], dtype=np.float32)
    report = compare_with_truth((sci * ramp, wht, header), table)
    assert report.slope_x == pytest.approx(0.1, abs=0.01)
    assert abs(report.slope_y) < 0.005


def test_product_file_is_read_and_uncovered_stars_left_out(tmp_path: Path) -> None:
    sci, wht, header, table = product()
    wht[:, :210] = 0.0
    path = tmp_path / "t_drc.fits"
    fits.HDUList(
        [fits.PrimaryHDU(), fits.ImageHDU(sci, header, name="SCI"), fits.ImageHDU(wht, name="WHT")]
    ).writeto(path)
    report = compare_with_truth(path, table, StarSelection(radius_px=4.0))
    assert 5 < report.n_stars <= 15
    assert len(report.lines()) == 4


def test_report_without_stars_is_nan() -> None:
    sci, wht, header, table = product()
    report = compare_with_truth((sci, wht, header), table, StarSelection(min_rate_e_s=1e6))
    assert report.n_stars == 0
    assert math.isnan(report.median_flux_ratio)
