"""Sources on images whose stars, hot pixels and noise are known."""

from __future__ import annotations

import numpy as np
import pytest

from mosaic.alignment.finding import (
    Sources,
    _without_duplicates,
    background_sigma,
    find_sources,
    is_pixel_sharp,
    make_kernel,
)
from mosaic.alignment.settings import FindSettings
from mosaic.errors import ParameterError

SHAPE = (150, 190)
FIND = FindSettings(threshold=6.0)


def _image(stars: np.ndarray, noise: float = 1.0, sky: float = 50.0, seed: int = 1) -> np.ndarray:
    """Gaussian stars (x, y, height) of 2.1 pixels FWHM on a noisy sky."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = np.random.default_rng(seed).normal(sky, noise, SHAPE) if noise else np.full(SHAPE, sky)
    for sx, sy, height in stars:
        image += height * np.exp(-0.5 * ((x - sx) ** 2 + (y - sy) ** 2) / 0.9**2)
    return image.astype(np.float32)


def _stars() -> np.ndarray:
    rng = np.random.default_rng(3)
    x, y = (a.ravel() for a in np.meshgrid(np.arange(15.0, 180, 14), np.arange(15.0, 140, 14)))
    return np.stack([x + rng.uniform(-0.5, 0.5, x.size), y + rng.uniform(-0.5, 0.5, x.size),
                     rng.uniform(200, 900, x.size)], axis=1)  # fmt: skip


@pytest.mark.parametrize("settings", [{}, {"ratio": 0.7, "theta": 30.0}, {"conv_width": 2.5}])
def test_kernel_ignores_a_sky_and_answers_its_gaussian_with_one(settings: dict[str, float]) -> None:
    kernel = make_kernel(FindSettings(**settings))
    assert abs(kernel.detection.sum()) < 1e-12
    assert (kernel.detection * kernel.gaussian).sum() == pytest.approx(1.0, abs=1e-12)
    assert kernel.gaussian.shape == (5, 5)


def test_kernel_of_one_dimension_must_lie_along_an_axis() -> None:
    assert make_kernel(FindSettings(ratio=0.0)).gaussian.shape == (1, 5)
    with pytest.raises(ParameterError, match="theta = 20"):
        make_kernel(FindSettings(ratio=0.0, theta=20.0))


def test_every_star_is_found_once_at_its_place() -> None:
    stars = _stars()
    found = find_sources(_image(stars), None, 1.0, FIND)
    distance = np.hypot(found.x[:, None] - stars[:, 0], found.y[:, None] - stars[:, 1])
    assert len(found) == len(stars)
    # What DrizzlePac's finder reaches on simulated stars with this kernel: 0.015 pixels rms per axis.
    assert np.sqrt((distance.min(axis=0) ** 2).mean() / 2) < 0.02
    assert distance.min(axis=0).max() < 0.08


def test_flux_is_the_sum_of_the_box() -> None:
    image = _image(np.array([[60.2, 40.4, 500.0]]))
    found = find_sources(image, None, 1.0, FIND)
    assert found.flux[0] == pytest.approx(image[38:43, 58:63].astype(float).sum(), rel=1e-12)


@pytest.mark.parametrize("n", [0, 1])
def test_images_with_no_star_and_with_one(n: int) -> None:
    assert len(find_sources(_image(_stars()[:n]), None, 1.0, FIND)) == n


def test_flagged_pixels_make_no_source() -> None:
    stars = _stars()
    is_good = np.ones(SHAPE, dtype=bool)
    x, y = np.round(stars[7, :2]).astype(int)
    is_good[y - 4 : y + 5, x - 4 : x + 5] = False
    found = find_sources(_image(stars), is_good, 1.0, FIND)
    assert len(found) == len(stars) - 1
    assert np.hypot(found.x - stars[7, 0], found.y - stars[7, 1]).min() > 5


def test_pixels_that_are_not_numbers_do_not_matter() -> None:
    image = _image(_stars())
    image[70:75, 8] = np.nan
    assert len(find_sources(image, None, 1.0, FIND)) == len(_stars())


def test_limits_of_peak_and_flux_are_exclusive_and_zero_counts() -> None:
    stars = _stars()
    image = _image(stars, noise=0.0, sky=0.0)
    heights = np.sort(find_sources(image, None, 1.0, FIND).flux)
    limited = FindSettings(threshold=6.0, fluxmin=float(heights[3]), fluxmax=float(heights[-2]))
    assert len(find_sources(image, None, 1.0, limited)) == len(stars) - 6
    assert len(find_sources(image, None, 1.0, FindSettings(threshold=6.0, fluxmax=0.0))) == 0


def test_lone_pixels_are_told_from_stars() -> None:
    image = _image(_stars())
    rows, columns = np.arange(22, 130, 14), 22
    image[rows, columns] += 400.0
    found = find_sources(image, None, 1.0, FIND)
    is_lone = np.abs(found.x - columns) < 0.3
    assert is_lone.sum() == rows.size
    assert np.array_equal(is_pixel_sharp(found, FIND), is_lone)
    round_ones = FindSettings(threshold=6.0, use_sharp_round=True)
    assert len(find_sources(image, None, 1.0, round_ones)) == len(_stars())


def test_of_sources_that_are_too_close_the_brightest_stays() -> None:
    y = np.array([10.0, 12.0, 14.0, 30.0])
    sources = Sources.from_positions(np.full(4, 5.0), y, np.array([3.0, 9.0, 5.0, 1.0]))
    assert _without_duplicates(sources, 2.5).tolist() == [1, 3]
    # The first is fainter than the second, but what it is too close to must itself stay.
    sources = Sources.from_positions(np.full(4, 5.0), y, np.array([3.0, 4.0, 5.0, 1.0]))
    assert _without_duplicates(sources, 2.5).tolist() == [0, 2, 3]


def test_noise_is_measured_whatever_the_stars() -> None:
    image = _image(_stars()[:12], noise=3.0)
    # The median deviation of 28 500 pixels is good to 0.7 per cent; stars cover 1.5 per cent of them.
    assert background_sigma(image, None, FIND) == pytest.approx(3.0, rel=0.05)
    assert background_sigma(image, None, FindSettings(computesig=False, skysigma=7.0)) == 7.0


def test_noise_as_the_peer_estimates_it_is_that_of_electrons_of_sky() -> None:
    image = _image(_stars(), noise=3.0, sky=50.0)
    # sqrt(2 |mode|): 10 for a sky of 50; the mode is good to a tenth of the noise.
    assert background_sigma(image, None, FindSettings(sigma_method="peer")) == pytest.approx(10.0, abs=0.1)
