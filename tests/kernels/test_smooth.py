"""Correlation at bright pixels and in boxes against scipy's of the whole image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mosaic.alignment.finding import make_kernel
from mosaic.alignment.settings import FindSettings
from mosaic.kernels.smooth import bright_pixels, correlate_boxes


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 150)),
    conv_width=st.sampled_from([1.5, 3.5, 6.0, 12.0]),
    ratio=st.sampled_from([0.0, 0.5, 1.0]),
    theta=st.sampled_from([0.0, 90.0]),
    sky=st.sampled_from([0.0, 100.0, -3e5]),
    brightest=st.sampled_from([1.0, 5e4, 1e9]),
    level=st.sampled_from([0.0, 5.0, 20.0, 1000.0]),
)
def test_bright_pixels_are_those_of_scipy(
    seed: int,
    shape: tuple[int, int],
    conv_width: float,
    ratio: float,
    theta: float,
    sky: float,
    brightest: float,
    level: float,
) -> None:
    rng = np.random.default_rng(seed)
    image = (rng.normal(sky, 30.0, shape) + brightest * (rng.random(shape) < 0.01)).astype(np.float32)
    kernel = make_kernel(FindSettings(conv_width=conv_width, ratio=ratio, theta=theta))
    places, values = bright_pixels(image, kernel.weights, level)
    expected = ndimage.correlate(image, kernel.detection.astype(np.float32), mode="reflect").ravel()
    # A processor that multiplies and adds in one step may round otherwise in the last digit.
    tolerance = float(np.spacing(np.abs(image).max()))
    np.testing.assert_allclose(values, expected[places], rtol=0, atol=tolerance)
    assert (np.diff(places) > 0).all()
    is_found = np.zeros(image.size, dtype=np.bool_)
    is_found[places] = True
    doubtful = np.abs(expected - np.float32(level)) <= tolerance
    np.testing.assert_array_equal(is_found | doubtful, (expected > np.float32(level)) | doubtful)


def test_a_level_that_pixels_just_exceed() -> None:
    rng = np.random.default_rng(5)
    image = (rng.normal(2e4, 10.0, (60, 90)) + 6e4 * (rng.random((60, 90)) < 0.02)).astype(np.float32)
    kernel = make_kernel(FindSettings())
    results = ndimage.correlate(image, kernel.detection.astype(np.float32), mode="reflect").ravel()
    for level in np.sort(results)[-400::7]:
        places, _ = bright_pixels(image, kernel.weights, float(level))
        np.testing.assert_array_equal(places, np.flatnonzero(results > level))


def test_sums_beyond_single_precision_hide_nothing() -> None:
    image = np.random.default_rng(6).normal(0.0, 1.0, (30, 80)).astype(np.float32)
    image[14, 40] = 3e38
    weights = make_kernel(FindSettings()).weights
    places, _ = bright_pixels(image, weights, 1e30)
    assert 14 * 80 + 40 in places


@pytest.mark.parametrize("settings", [{}, {"conv_width": 6.0}, {"ratio": 0.5, "theta": 30.0}])
def test_boxes_are_those_of_scipy(settings: dict[str, float]) -> None:
    rng = np.random.default_rng(7)
    image = rng.normal(100.0, 30.0, (50, 70)).astype(np.float32)
    kernel = make_kernel(FindSettings(**settings))
    hx, hy = kernel.half_xy
    x, y = rng.integers(hx, 70 - hx, 30), rng.integers(hy, 50 - hy, 30)
    expected = ndimage.correlate(image, kernel.detection.astype(np.float32), mode="reflect")
    found = correlate_boxes(image, kernel.weights, x, y)
    for k in range(30):
        box = expected[y[k] - hy : y[k] + hy + 1, x[k] - hx : x[k] + hx + 1]
        np.testing.assert_allclose(found[k], box, rtol=0, atol=2e-5)
