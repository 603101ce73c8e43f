"""Satellite trails: injected ones are found and flagged, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from mosaic.errors import ParameterError, StructureError
from mosaic.tools.trail_flags import flag_trails
from mosaic.tools.trails import Trail, TrailParams, find_trails, trail_mask
from mosaic.types import ShapeYX
from tests.support.exposures import write_exposure

SHAPE = ShapeYX(240, 320)
Injected = tuple[float, float, float, float]
"""Angle of the normal (degrees), offset, sigma of the profile (pixels), peak (in units of the noise)."""
NOISE = 8.0


def scene(
    seed: int, injected: list[Injected], n_rays: int = 80
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Stars, a galaxy, cosmic rays and noise with trails; and where these exceed a quarter of their peak."""
    rng = np.random.default_rng(seed)
    ny, nx = SHAPE
    y, x = np.mgrid[:ny, :nx]
    image = 50.0 + 300.0 * np.exp(-np.hypot(x - 0.3 * nx, y - 0.6 * ny) / 15.0)
    for _ in range(40):
        flux, a, b = 10.0 ** rng.uniform(2.0, 5.0), rng.uniform(0.0, nx), rng.uniform(0.0, ny)
        image += flux / (2.0 * np.pi * 1.44) * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 2.88)
    truth = np.zeros(SHAPE, dtype=bool)
    for angle, offset, sigma, peak in injected:
        distance = x * np.cos(np.deg2rad(angle)) + y * np.sin(np.deg2rad(angle)) - offset
        image += peak * NOISE * np.exp(-0.5 * (distance / sigma) ** 2)
        truth |= np.abs(distance) <= np.sqrt(2.0 * np.log(4.0)) * sigma
    image += rng.normal(0.0, NOISE, SHAPE)
    for _ in range(n_rays):
        a, b, turn, length = (
            rng.uniform(0, nx - 1),
            rng.uniform(0, ny - 1),
            rng.uniform(0, np.pi),
            rng.uniform(1, 12),
        )
        for step in np.arange(0.0, length, 0.5):
            j, i = int(b + step * np.sin(turn)), int(a + step * np.cos(turn))
            if 0 <= j < ny and 0 <= i < nx:
                image[j, i] += rng.uniform(100.0, 2000.0)
    return image.astype(np.float32), truth


CASES: list[list[Injected]] = [
    [(30.0, 210.0, 2.0, 2.0)],
    [(169.9, -120.0, 3.0, 1.2)],
    [(0.0, 200.0, 1.5, 3.0)],
    [(90.0, 77.0, 4.0, 1.0)],
    [(45.0, 330.0, 2.5, 1.5)],
    [(70.0, 180.0, 3.0, 2.0), (125.0, -30.0, 2.0, 4.0)],
]


@pytest.mark.parametrize("index", range(len(CASES)))
def test_injected_trails_are_found_and_nothing_else(index: int) -> None:
    image, truth = scene(index, CASES[index])
    found = find_trails(image, np.ones(SHAPE, dtype=bool))
    assert len(found) == len(CASES[index])
    mask = trail_mask(found, SHAPE)
    assert np.count_nonzero(mask & truth) / np.count_nonzero(truth) > 0.95
    # Masked are at most 5 pixels more on either side: two that are grown, and the faintest light.
    length = sum(
        np.count_nonzero(trail_mask([Trail(a, o, 0.5, 0.0)], SHAPE, 0.0)) for a, o, _, _ in CASES[index]
    )
    assert np.count_nonzero(mask & ~truth) < 10.0 * length
    for angle, offset, _, _ in CASES[index]:
        errors = [
            min(
                np.hypot((t.angle_deg - angle) * 3.0, t.offset - offset),
                np.hypot((abs(t.angle_deg - angle) - 180.0) * 3.0, t.offset + offset),
            )
            for t in found
        ]
        # A third of a degree moves the end of a line of this chip by one pixel.
        assert min(errors) < 1.5


@pytest.mark.parametrize("peak", [1.0, 10.0, 200.0])
@pytest.mark.parametrize("fwhm", [4.0, 14.0, 24.0])
@pytest.mark.parametrize(("angle", "offset"), [(0.0, 700.0), (63.0, 640.0), (118.0, 210.0)])
def test_wide_trails_are_found_whatever_their_brightness(
    angle: float, offset: float, fwhm: float, peak: float
) -> None:
    shape = ShapeYX(1000, 1600)
    y, x = np.mgrid[: shape.ny, : shape.nx]
    distance = x * np.cos(np.deg2rad(angle)) + y * np.sin(np.deg2rad(angle)) - offset
    image = np.random.default_rng(9).normal(50.0, NOISE, shape)
    image += peak * NOISE * np.exp(-4.0 * np.log(2.0) * (distance / fwhm) ** 2)
    (found,) = find_trails(image.astype(np.float32), np.ones(shape, dtype=bool))
    truth = np.abs(distance) <= 0.5 * fwhm
    mask = trail_mask([found], shape)
    assert np.count_nonzero(mask & truth) / np.count_nonzero(truth) > 0.99
    # Where the light is a thousandth of the noise nothing is masked.
    reach = 0.5 * fwhm * np.sqrt(max(1.0, np.log2(1000.0 * peak)))
    assert not mask[np.abs(distance) > reach + 6.0].any()


@pytest.mark.parametrize("seed", range(6))
def test_no_trail_is_found_where_there_is_none(seed: int) -> None:
    image, _ = scene(100 + seed, [], n_rays=150)
    assert find_trails(image, np.ones(SHAPE, dtype=bool)) == []


def test_a_strip_wider_than_allowed_is_named_and_not_flagged(caplog: pytest.LogCaptureFixture) -> None:
    image, _ = scene(3, [(90.0, 100.0, 4.0, 3.0)])
    assert find_trails(image, np.ones(SHAPE, dtype=bool), TrailParams(max_width=10.0)) == []
    assert "not flagged" in caplog.text


def test_bad_pixels_are_no_trail() -> None:
    image, _ = scene(7, [])
    is_good = np.ones(SHAPE, dtype=bool)
    image[:, 111] += 500.0
    is_good[:, 111] = False
    image[30, 40] = np.nan
    assert find_trails(image, is_good) == []


def test_nothing_is_found_in_an_empty_or_tiny_chip() -> None:
    assert find_trails(np.zeros(SHAPE), np.ones(SHAPE, dtype=bool)) == []
    assert find_trails(np.ones((9, 11)), np.ones((9, 11), dtype=bool)) == []
    assert find_trails(np.ones(SHAPE), np.zeros(SHAPE, dtype=bool)) == []


def test_mask_is_the_strip() -> None:
    mask = trail_mask([Trail(90.0, 20.0, 1.5, 9.0)], ShapeYX(40, 50), grow=2.0)
    np.testing.assert_array_equal(np.flatnonzero(mask.all(axis=1)), np.arange(17, 24))
    assert mask.sum() == 7 * 50


@pytest.fixture
def exposure(tmp_path: Path) -> Path:
    image, _ = scene(0, CASES[0])

    def edit(hdul: fits.HDUList) -> None:
        hdul["SCI", 1].data = image
        hdul["SCI", 2].data = scene(101, [])[0]
        for version in (1, 2):
            hdul["DQ", version].data = np.where(hdul["DQ", version].data == 4096, 4096, 0).astype(np.int16)

    return write_exposure(tmp_path / "jaaa01aaq_flc.fits", shape_yx=SHAPE, edit=edit)


def test_bit_is_set_on_the_trail_and_other_flags_stay(exposure: Path, tmp_path: Path) -> None:
    before = exposure.read_bytes()
    flags = fits.getdata(exposure, ("DQ", 1))
    first, second = flag_trails(str(exposure), output=tmp_path / "out.fits")
    assert exposure.read_bytes() == before
    assert (len(first.trails), len(second.trails), second.n_pixels) == (1, 0, 0)
    found = fits.getdata(tmp_path / "out.fits", ("DQ", 1))
    np.testing.assert_array_equal((found & 16384) != 0, trail_mask(first.trails, SHAPE))
    np.testing.assert_array_equal(found & ~16384, flags)
    assert flag_trails(str(exposure), dry_run=True)[0].n_pixels == first.n_pixels
    again = flag_trails(str(tmp_path / "out.fits"))
    np.testing.assert_array_equal(fits.getdata(tmp_path / "out.fits", ("DQ", 1)), found)
    assert again[0].trails == first.trails


def test_regions_are_flagged_too(exposure: Path, tmp_path: Path) -> None:
    (tmp_path / "mask.reg").write_text("image\nbox(100,50,20,10,0)\n-box(100,50,2,2,0)\n")
    flag_trails(str(exposure), 8, region_file=str(tmp_path / "mask.reg"), is_detecting=False)
    for version in (1, 2):
        y, x = np.nonzero(fits.getdata(exposure, ("DQ", version)) & 8)
        # FITS columns 90 to 110 and rows 45 to 55 have their centres inside, but for 3 x 3 pixels.
        assert (x.min() + 1, x.max() + 1, y.min() + 1, y.max() + 1) == (90, 110, 45, 55)
        assert x.size == 21 * 11 - 9


def test_what_cannot_be_flagged_is_refused(exposure: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="names no bit"):
        flag_trails(str(exposure), 0)
    fits.PrimaryHDU(np.zeros((4, 5))).writeto(tmp_path / "plain.fits")
    with pytest.raises(StructureError, match="no SCI"):
        flag_trails(str(tmp_path / "plain.fits"))
