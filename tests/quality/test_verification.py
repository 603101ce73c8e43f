"""The verification of an alignment finds the shift that was made, and no other."""

from __future__ import annotations

import numpy as np
import pytest

from mosaic.quality.verification import check_exposure, common_region, source_response
from mosaic.types import FloatArray

SHAPE = (180, 210)


def _sky(dx: float = 0.0, dy: float = 0.0, *, seed: int = 1, n_rays: int = 0) -> FloatArray:
    """Stars of a Gaussian profile at fixed places, all moved; noise and cosmic rays of the seed."""
    stars = np.random.default_rng(7)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = np.random.default_rng(seed).normal(0.0, 1.0, SHAPE)
    for _ in range(60):
        px, py, flux = stars.uniform(0, SHAPE[1]), stars.uniform(0, SHAPE[0]), 30.0 * stars.pareto(2.0) + 20.0
        image += flux * np.exp(-0.5 * ((x - px - dx) ** 2 + (y - py - dy) ** 2) / 1.1**2)
    random = np.random.default_rng(seed + 100)
    for _ in range(n_rays):
        image[random.integers(SHAPE[0]), random.integers(SHAPE[1])] += random.uniform(100.0, 2000.0)
    return image.astype(np.float32)


@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (0.4, -0.3), (2.0, 1.0), (-6.3, 4.6)])
def test_the_shift_is_found_among_cosmic_rays(dx: float, dy: float) -> None:
    weight = np.full(SHAPE, 100.0, np.float32)
    region = common_region([weight, weight])
    found = check_exposure("a", _sky(dx, dy, seed=3, n_rays=400), weight, _sky(seed=4), region)
    assert found.n_sources > 20
    # A pixel in a hundred is hit: sources are displaced by the wings of the response to a hit nearby.
    assert found.shift_xy == pytest.approx((dx, dy), abs=0.3)
    assert found.is_aligned is bool(np.hypot(dx, dy) <= 1.0)
    clean = check_exposure("a", _sky(dx, dy, seed=3), weight, _sky(seed=4), region)
    assert clean.shift_xy == pytest.approx((dx, dy), abs=0.12)
    assert found.focus > 0.0


def test_the_share_of_other_sources_grows_with_the_shift() -> None:
    weight = np.full(SHAPE, 100.0, np.float32)
    region = common_region([weight])
    shares = [
        check_exposure("a", _sky(dx, seed=3), weight, _sky(seed=4), region).difference
        for dx in (0.0, 1.0, 3.0, 6.0)
    ]
    assert shares == sorted(shares)
    assert shares[0] < 0.5
    assert shares[-1] > 1.0


def test_only_what_most_exposures_share_is_compared() -> None:
    weights = [np.zeros(SHAPE, np.float32) for _ in range(3)]
    weights[0][:, :120], weights[1][:, 60:], weights[2][:, 50:150] = 1.0, 1.0, 1.0
    region = common_region(weights)
    assert np.flatnonzero(region.any(axis=0)).tolist() == list(range(60, 120))
    # What lies outside may be anything.
    spoilt = _sky(seed=3)
    spoilt[:, :50] = 1e6
    clean = check_exposure("a", _sky(seed=3), weights[0], _sky(seed=4), region)
    assert check_exposure("a", spoilt, weights[0], _sky(seed=4), region) == clean


def test_an_exposure_without_sources_or_weight_says_nothing() -> None:
    empty = np.random.default_rng(5).normal(0.0, 1.0, SHAPE).astype(np.float32)
    weight = np.full(SHAPE, 1.0, np.float32)
    region = common_region([weight])
    assert check_exposure("a", empty, weight, empty[::-1].copy(), region).is_aligned
    nothing = check_exposure("a", empty, np.zeros_like(weight), empty, region)
    assert (nothing.n_sources, nothing.is_aligned) == (0, True)


def test_the_response_is_that_of_the_closed_form() -> None:
    # A Gaussian of width s smoothed by one of width r, times its flux: -Laplacian at the centre.
    s, r, flux = 2.5, 2.0, 1000.0
    y, x = np.mgrid[-40:41, -45:46]
    image = (flux / (2 * np.pi * s**2) * np.exp(-0.5 * (x**2 + y**2) / s**2)).astype(np.float32)
    width2 = s**2 + r**2
    expected = flux / (np.pi * width2**2)
    assert source_response(image, r)[40, 45] == pytest.approx(expected, rel=1e-2)
