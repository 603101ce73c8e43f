"""Laws of the sky that is put in: positions, fluxes, surface brightness, pointing errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

from mosaic.simulate import SimulatedSet, simulate
from mosaic.simulate.pointing import local_position_angle
from tests.simulate.conftest import (
    CLEAN,
    chips_of,
    corner_area_arcsec2,
    isolated,
    stars_of,
    weighted_centroid,
)

REACH = 12


def exposure_time(made: SimulatedSet, header_unit: str) -> float:
    return 1.0 if header_unit.endswith("/S") else float(stars_of(made).meta["exptime_s"])


def test_astropy_maps_true_positions_to_the_stars(clean: SimulatedSet) -> None:
    stars, sky = stars_of(clean), Table.read(clean.sky, format="ascii.ecsv")
    offsets = []
    for number, path in enumerate(clean.files):
        for _, sci, wcs in chips_of(path):
            x, y = wcs.all_world2pix(stars["ra"], stars["dec"], 0, quiet=True)
            for row in isolated(x, y, sci.shape, REACH):
                ix, iy = round(x[row]), round(y[row])
                cut = (
                    sci[iy - REACH : iy + REACH + 1, ix - REACH : ix + REACH + 1] - sky["sky_native"][number]
                )
                guess = (x[row] - ix + REACH, y[row] - iy + REACH)
                found = weighted_centroid(cut, guess, 2.0)
                offsets.append(np.hypot(found[0] - guess[0], found[1] - guess[1]))
    assert len(offsets) > 10
    # Skewed pixels and a moving weight bias a moment by a few thousandths of a pixel.
    assert max(offsets) < 0.02


def test_sum_weighted_by_true_pixel_area_is_the_flux(clean: SimulatedSet) -> None:
    stars, sky = stars_of(clean), Table.read(clean.sky, format="ascii.ecsv")
    nominal = float(stars.meta["idcscale_arcsec"]) ** 2
    weighted, plain = [], []
    for number, path in enumerate(clean.files):
        for header, sci, wcs in chips_of(path):
            exptime = exposure_time(clean, header["BUNIT"])
            x, y = wcs.all_world2pix(stars["ra"], stars["dec"], 0, quiet=True)
            # 5 sigma of the widest Gaussian on the smallest pixels.
            reach = int(np.ceil(5 * max(stars.meta["psf_sigma_arcsec"]) / np.sqrt(nominal) / 0.9)) + 2
            for row in isolated(x, y, sci.shape, reach):
                ix, iy = round(x[row]), round(y[row])
                rows, columns = np.mgrid[iy - reach : iy + reach + 1, ix - reach : ix + reach + 1]
                cut = sci[rows, columns] - sky["sky_native"][number]
                area = corner_area_arcsec2(wcs, columns.astype(float), rows.astype(float)) / nominal
                true = stars["rate_e_s"][row] * exptime
                weighted.append((cut * area).sum() / true)
                plain.append(cut.sum() / true)
    assert len(weighted) > 4
    # Stamps end at 5 sigma (4e-6), pixels are float32 (1e-7 of sky in 1e3 pixels), areas good to 2e-5.
    np.testing.assert_allclose(weighted, 1.0, atol=1e-4)
    assert np.max(np.abs(np.array(plain) - 1.0)) > 0.005


def test_uniform_sky_comes_out_uniform(tmp_path: Path) -> None:
    made = simulate(
        tmp_path, chip_shape=(90, 130), exposures=1, n_stars=0, sky_e=37.0, sky_scatter=0.0, **CLEAN
    )
    for _, sci, _ in chips_of(made.files[0]):
        np.testing.assert_allclose(sci, 37.0, rtol=1e-6)


def test_sky_differs_between_exposures_and_is_recorded(tmp_path: Path) -> None:
    made = simulate(tmp_path, chip_shape=(60, 70), exposures=3, n_stars=0, seed=9, **CLEAN)
    recorded = Table.read(made.sky, format="ascii.ecsv")
    found = [np.median(chips_of(path)[0][1]) for path in made.files]
    np.testing.assert_allclose(found, recorded["sky_e"], rtol=1e-6)
    assert np.ptp(found) > 0.01 * np.mean(found)


def test_pointing_errors_move_the_sky_but_not_the_header(tmp_path: Path) -> None:
    same = {
        "chip_shape": (200, 256),
        "exposures": 2,
        "n_stars": 50,
        "seed": 4,
        "star_rate_range": (20.0, 60.0),
    }
    exact = simulate(tmp_path / "exact", **same, **CLEAN)
    moved = simulate(tmp_path / "moved", pointing_rms_arcsec=0.2, pointing_roll_rms_deg=0.05, **same, **CLEAN)
    truth = Table.read(moved.pointing, format="ascii.ecsv")
    stars, sky = stars_of(moved), Table.read(moved.sky, format="ascii.ecsv")
    checked = 0
    for number in range(2):
        for (before, _, _), (header, sci, wcs) in zip(
            chips_of(exact.files[number]), chips_of(moved.files[number]), strict=True
        ):
            assert before["CRVAL1"] == header["CRVAL1"]
            assert before["CD1_1"] == header["CD1_1"]
            # The chip looks shift and roll away: a star appears at its place turned and shifted back.
            east = (stars["ra"] - 150.1) * np.cos(np.radians(2.2)) * 3600 - truth["shift_east_arcsec"][number]
            north = (stars["dec"] - 2.2) * 3600 - truth["shift_north_arcsec"][number]
            roll = np.radians(truth["roll_error_deg"][number])
            ra = 150.1 + (east * np.cos(roll) - north * np.sin(roll)) / 3600 / np.cos(np.radians(2.2))
            dec = 2.2 + (east * np.sin(roll) + north * np.cos(roll)) / 3600
            x, y = wcs.all_world2pix(ra, dec, 0, quiet=True)
            for row in isolated(x, y, sci.shape, REACH):
                ix, iy = round(x[row]), round(y[row])
                cut = (
                    sci[iy - REACH : iy + REACH + 1, ix - REACH : ix + REACH + 1] - sky["sky_native"][number]
                )
                guess = (x[row] - ix + REACH, y[row] - iy + REACH)
                found = weighted_centroid(cut, guess, 2.0)
                assert np.hypot(found[0] - guess[0], found[1] - guess[1]) < 0.02
                checked += 1
    assert checked > 10


@pytest.mark.parametrize("v2v3", [(258.7, 250.3), (-27.5, -33.3), (1.0, -0.5), (-300.0, 120.0)])
@pytest.mark.parametrize(("pa", "dec"), [(110.0, 2.2), (337.1, -72.0), (10.0, 60.0)])
def test_local_position_angle_agrees_with_spherical_astropy(
    v2v3: tuple[float, float], pa: float, dec: float
) -> None:
    bearing = np.degrees(np.arctan2(*v2v3))
    axis = SkyCoord(40.0 * u.deg, dec * u.deg)
    point = axis.directional_offset_by((pa + bearing) * u.deg, np.hypot(*v2v3) * u.arcsec)
    expected = point.position_angle(axis).deg + 180.0 - bearing
    found = local_position_angle(pa, point.dec.deg, np.array(v2v3))
    assert (found - expected + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=1e-7)


def test_chips_of_a_small_set_have_a_gap_like_the_real_one(clean: SimulatedSet) -> None:
    chips = chips_of(clean.files[0])
    if len(chips) == 1:
        return
    (_, lower, wcs_lower), (_, _, wcs_upper) = chips
    middle = (lower.shape[1] - 1) / 2
    # Bottom edge of the upper chip in pixels of the lower one, beyond its top edge.
    y = wcs_lower.all_world2pix(*wcs_upper.all_pix2world(middle, -0.5, 0), 0)[1]
    full_rows = 2048.0
    assert 10 < (y - (lower.shape[0] - 0.5)) / lower.shape[0] * full_rows < 70
