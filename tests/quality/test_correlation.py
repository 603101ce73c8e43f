"""Noise correlation: closed form, and what the drizzle kernels themselves do to single pixels."""

from __future__ import annotations

import numpy as np
import pytest

from mosaic.kernels.drizzle import KERNELS
from mosaic.quality.correlation import aperture_ratio, aperture_sigma, block_ratio, correlation_ratio
from tests.support.maps import linear_model

CASES = [
    *(("turbo", pixfrac, scale) for pixfrac, scale in ((1.0, 1.0), (0.5, 1.0), (0.8, 0.6), (1.0, 1.7))),
    ("square", 0.8, 0.6),
    ("point", 0.8, 1.0),
    ("gaussian", 0.8, 0.5),
    ("gaussian", 1.0, 1.0),
    ("lanczos2", 1.0, 0.6),
    ("lanczos3", 0.8, 0.5),
    ("tophat", 1.0, 0.4),
]
SIDE = 24


def _shares(kernel: str, pixfrac: float, scale: float) -> np.ndarray:
    """Weight that each output pixel takes of one input pixel, at phases all over an output pixel."""
    found = []
    # An odd number of phases: none falls on a symmetric place.
    for dy, dx in np.ndindex(13, 13):
        offset = (SIDE // 2 - 0.5 + (dx + 0.5) / 13, SIDE // 2 - 0.5 + (dy + 0.5) / 13)
        model = linear_model(((1.0 / scale, 0.0), (0.0, 1.0 / scale)), offset)
        total, weight = np.zeros((2, SIDE, SIDE))
        one = np.ones((1, 1), dtype=np.float32)
        nothing = np.zeros((0, 0), dtype=np.float32), np.zeros((0, 0)), np.zeros((0, 0), dtype=np.int32)
        KERNELS[kernel](
            one, one, nothing[0], model, (0, 0), pixfrac, scale, (0, 0), total, weight, nothing[1],
            nothing[2], np.int32(0),
        )  # fmt: skip
        found.append(weight)
    return np.array(found)


@pytest.mark.parametrize(("kernel", "pixfrac", "scale"), CASES)
def test_ratio_is_what_the_kernel_does_to_single_pixels(kernel: str, pixfrac: float, scale: float) -> None:
    shares = _shares(kernel, pixfrac, scale)
    single = float((shares**2).sum())
    # All of a drop lies in a large area: its variance is the square of the sum of the shares.
    large = np.sqrt((shares.sum(axis=(1, 2)) ** 2).sum() / single)
    # The edge of a tophat, the truncation of a gaussian and the steps of a table fall between 13 phases.
    assert correlation_ratio(pixfrac, scale, kernel) == pytest.approx(large, rel=0.02)
    # A block anywhere on the drop: sum over all its places.
    block = 4
    windows = np.lib.stride_tricks.sliding_window_view(shares, (block, block), axis=(1, 2))
    sums = float((windows.sum(axis=(3, 4)) ** 2).sum())
    expected = np.sqrt(sums / (single * block**2))
    assert block_ratio(pixfrac, scale, block, kernel) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("pixfrac", "scale"), [(1.0, 1.0), (0.5, 1.0), (0.8, 0.6), (1.0, 2.5), (0.2, 0.6)])
def test_large_apertures_reach_the_closed_form(pixfrac: float, scale: float) -> None:
    r = pixfrac / scale
    # Casertano et al. 2000: the variance of pixels is smaller by this factor.
    factor = (1.0 / r) * (1.0 - 1.0 / (3.0 * r)) if r > 1.0 else 1.0 - r / 3.0
    expected = 1.0 / factor
    assert correlation_ratio(pixfrac, scale) == pytest.approx(expected, rel=1e-12)
    found = [block_ratio(pixfrac, scale, block) for block in (1, 3, 10, 100, 1000)]
    assert found[0] == pytest.approx(1.0, rel=1e-12)
    assert found == sorted(found)
    assert found[-1] == pytest.approx(expected, rel=5e-3)


def test_weights_of_an_aperture_count() -> None:
    single = np.zeros((5, 5))
    single[2, 2] = 3.0
    assert aperture_ratio(single, 1.0, 0.5) == pytest.approx(1.0)
    # A difference of neighbours that share drops scatters less than independent ones.
    pair = np.array([[1.0, -1.0]])
    assert aperture_ratio(pair, 1.0, 0.5) < 0.7
    assert aperture_ratio(pair, 1.0, 0.5, "point") == pytest.approx(1.0)
    assert correlation_ratio(0.0, 1.0, "lanczos3") == pytest.approx(1.0)


def test_error_of_an_aperture_is_that_of_its_pixels_where_weights_are_even() -> None:
    err = np.random.default_rng(3).uniform(1.0, 2.0, (4, 7, 7))
    wht = np.full(err.shape, 500.0)
    aperture = np.ones((7, 7))
    independent = np.sqrt((err**2).sum(axis=(1, 2)))
    for kernel, pixfrac, scale in CASES:
        ratio = aperture_ratio(aperture, pixfrac, scale, kernel)
        found = aperture_sigma(err, wht, aperture, pixfrac, scale, kernel)
        np.testing.assert_allclose(found, ratio * independent, rtol=1e-12)


def test_uneven_weights_count_where_drops_are_shared() -> None:
    # Half of the pixels are grazed: a tenth of the weight, the same error.
    wht = np.ones((8, 8))
    wht[::2] = 0.1
    err, aperture = np.ones((8, 8)), np.ones((8, 8))
    expected = np.sqrt(32 * (1.0 + 0.1**2)) / 0.55
    found = aperture_sigma(err, wht, aperture, 1.0, 0.5)
    assert found == pytest.approx(expected * block_ratio(1.0, 0.5, 8))
    assert aperture_sigma(err, wht, aperture, 1.0, 0.5, "point") == pytest.approx(8.0)


def test_holes_take_no_part() -> None:
    err, wht = np.ones((6, 6)), np.ones((6, 6))
    err[2, 3], wht[2, 3] = np.nan, 0.0
    assert aperture_sigma(err, wht, np.ones((6, 6)), 0.5, 1.0, "point") == pytest.approx(np.sqrt(35.0))
    nothing = aperture_sigma(err, np.zeros((6, 6)), np.ones((6, 6)), 0.5, 1.0)
    assert np.isnan(nothing)
