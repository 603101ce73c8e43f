"""Measurements of the report against closed forms and brute force."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from mosaic.quality import spectrum
from mosaic.quality.checks import CheckKind, grade, worst
from mosaic.quality.offsets import Offsets
from mosaic.quality.rejection import _chance_of as chance_of
from mosaic.quality.shiftfit import agreeing, fit_offsets, hull_area
from mosaic.quality.stars import (
    Level,
    aperture_sums,
    find_peaks,
    isolated,
    measure_shapes,
    measure_shifts,
    sky_level,
)
from mosaic.quality.weight_checks import recommend, weight_scatter
from mosaic.types import DoubleArray, FloatArray

HALF = 12
GRID = np.arange(-HALF, HALF + 1.0)
TO_FWHM = np.sqrt(8.0 * np.log(2.0))


def _gaussian(x0: float, y0: float, covariance: DoubleArray) -> DoubleArray:
    dx, dy = GRID[None, :] - x0, GRID[:, None] - y0
    (a, b), (_b, c) = np.linalg.inv(covariance)
    return np.asarray(np.exp(-0.5 * (a * dx * dx + 2 * b * dx * dy + c * dy * dy)))


@pytest.mark.parametrize("angle_deg", [0.0, 35.0, -70.0])
@pytest.mark.parametrize(("major", "minor"), [(1.3, 1.3), (2.2, 1.4)])
def test_moments_give_width_and_roundness_of_gaussians(angle_deg: float, major: float, minor: float) -> None:
    turn = np.radians(angle_deg)
    axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    covariance = axes @ np.diag([major**2, minor**2]) @ axes.T
    shapes = measure_shapes(np.array([_gaussian(0.3, -0.2, covariance)]), 2.0)
    # The axis ratio and the mean variance define both; sums over pixels replace integrals.
    assert shapes.ellipticity[0] == pytest.approx(1.0 - minor / major, abs=2e-3)
    assert shapes.fwhm[0] == pytest.approx(TO_FWHM * np.sqrt((major**2 + minor**2) / 2.0), rel=2e-3)
    if major > minor:
        assert np.cos(2.0 * (shapes.angle[0] - turn)) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.4, -0.3), (2.6, 1.2), (-5.2, 7.0)])
def test_shifts_of_stars_are_recovered(shift: tuple[float, float]) -> None:
    round_star = np.diag([1.4**2, 1.4**2])
    big = np.arange(-20, 21.0)
    model = np.exp(-0.5 * (big[None, :] ** 2 + big[:, None] ** 2) / round_star[0, 0])
    star = np.exp(-0.5 * ((big[None, :] - shift[0]) ** 2 + (big[:, None] - shift[1]) ** 2) / round_star[0, 0])
    found, ambiguity = measure_shifts(np.array([0.02 + 0.9 * star]), np.array([model]), 8)
    # The linear fit leaves the third order of a rest of up to half a pixel.
    np.testing.assert_allclose(found[0], shift, atol=0.03)
    assert ambiguity[0] < 0.3


def test_aperture_sums_take_whole_pixels() -> None:
    stamps = np.random.default_rng(2).normal(size=(3, 11, 11))
    expected = [
        sum(s[j, i] for j in range(11) for i in range(11) if (i - 5) ** 2 + (j - 5) ** 2 <= 9) for s in stamps
    ]
    np.testing.assert_allclose(aperture_sums(stamps, 3.0), expected, rtol=1e-12)


def test_sky_ignores_stars() -> None:
    random = np.random.default_rng(4)
    image = random.normal(7.0, 2.0, (300, 400)).astype(np.float32)
    image[random.random(image.shape) < 0.05] += 300.0
    level = sky_level(image)
    # 60 000 pixels: the error of the median is 0.01; the tail of the clipping shifts it a little more.
    assert level.value == pytest.approx(7.0, abs=0.15)
    assert level.sigma == pytest.approx(2.0, rel=0.05)


def _clipped_level(values: FloatArray) -> Level:
    """The level with numpy's medians, of values that are no more than a sample."""
    flat = values[np.isfinite(values)]
    for _ in range(6):
        middle = float(np.median(flat))
        sigma = 1.4826 * float(np.median(middle - flat[flat <= middle]))
        kept = flat[np.abs(flat - middle) <= 3.0 * sigma] if sigma > 0 else flat
        if kept.size == flat.size or kept.size < 16:
            break
        flat = kept
    return Level(middle, sigma, int(flat.size))


@pytest.mark.parametrize("n", [16, 17, 1000, 1001, 60_000])
@pytest.mark.parametrize("step", [0.0, 0.25, 10.0])
def test_the_level_of_sorted_values_is_that_of_medians_to_the_last_bit(n: int, step: float) -> None:
    random = np.random.default_rng(n)
    values = random.normal(3.0, 1.0, n).astype(np.float32)
    values[random.random(n) < 0.1] += np.float32(30.0)
    values[random.random(n) < 0.1] = np.nan
    values[:16] = random.normal(3.0, 1.0, 16)
    if step:
        values = np.round(values / np.float32(step)) * np.float32(step)
    assert sky_level(values) == _clipped_level(values)


def test_peaks_and_isolation_agree_with_brute_force() -> None:
    random = np.random.default_rng(6)
    image = random.normal(size=(40, 60)).astype(np.float32)
    x, y = find_peaks(image, Level(0.0, 1.0, 100), n_sigma=1.0, margin=3)
    expected = {
        (i, j)
        for j in range(3, 37)
        for i in range(3, 57)
        if image[j, i] > 1.0 and image[j, i] == image[j - 1 : j + 2, i - 1 : i + 2].max()
    }
    assert set(zip(x.tolist(), y.tolist(), strict=True)) == expected
    assert np.all(np.diff(image[y, x]) <= 0)
    alone = isolated(x.astype(float), y.astype(float), 4.0)
    for k in range(x.size):
        near = (np.abs(x - x[k]) <= 4) & (np.abs(y - y[k]) <= 4)
        assert alone[k] == (near.sum() == 1)


def test_spectrum_finds_a_wave_and_nothing_in_noise() -> None:
    random = np.random.default_rng(1)
    image = random.normal(size=(512, 512)).astype(np.float32)
    is_sky = np.ones(image.shape, dtype=np.bool_)
    quiet = spectrum.SkySpectrum()
    quiet.add(image, is_sky, Level(0.0, 1.0, 1))
    power, chance, _x, _y = quiet.strongest()
    assert power < max(5.0, chance)
    wave = spectrum.SkySpectrum()
    period = 16.0 / 3.0
    image += (0.5 * np.sin(2 * np.pi * np.arange(512) / period)[None, :]).astype(np.float32)
    wave.add(image, is_sky, Level(0.0, 1.0, 1))
    power, chance, period_x, period_y = wave.strongest()
    assert power > 4.0 * max(5.0, chance)
    assert period_x == pytest.approx(period, rel=0.02)
    assert period_y > 60.0


def test_chance_of_repeated_flags_is_binomial() -> None:
    expected = sum(comb(6, k) * 0.1**k * 0.9 ** (6 - k) for k in (4, 5, 6))
    assert chance_of(4, [0.1] * 6) == pytest.approx(expected, rel=1e-12)


def test_shifts_scattered_by_chance_do_not_agree() -> None:
    random = np.random.default_rng(9)
    for n in (1, 2, 5, 20, 60):
        assert not agreeing(random.uniform(-8.0, 8.0, (n, 2))).any()
    group = random.normal((3.0, -2.0), 0.03, (20, 2))
    mixed = np.vstack([group, random.uniform(-8.0, 8.0, (15, 2))])
    kept = agreeing(mixed)
    assert kept[:20].sum() >= 18
    assert kept[20:].sum() <= 1


def _offsets(xy: DoubleArray, shift: DoubleArray) -> Offsets:
    n = len(xy)
    return Offsets(0, n, xy, np.zeros(n, dtype=np.int64), shift, np.zeros(n), 2.5)


def test_rotation_and_shift_of_an_exposure_are_recovered() -> None:
    random = np.random.default_rng(3)
    xy = random.uniform(0, 2000, (60, 2))
    turn = np.radians(0.02)
    middle = xy - xy.mean(axis=0)
    shift = (0.3, -0.1) + turn * np.column_stack([-middle[:, 1], middle[:, 0]])
    fit = fit_offsets("x", _offsets(xy, shift + random.normal(0, 0.02, (60, 2))))
    assert fit.rotation_deg == pytest.approx(0.02, abs=3.0 * fit.rotation_error_deg)
    np.testing.assert_allclose(fit.mean, (0.3, -0.1), atol=0.02)
    assert not fit.prefers_shift
    still = fit_offsets("x", _offsets(xy, random.normal((0.3, -0.1), 0.02, (60, 2))))
    assert still.prefers_shift
    np.testing.assert_allclose(still.rms, 0.02, rtol=0.3)


def test_hull_of_points_in_a_square_is_the_square() -> None:
    points = np.vstack([[(0, 0), (4, 0), (4, 3), (0, 3)], np.random.default_rng(1).uniform(1, 2, (50, 2))])
    assert hull_area(points) == pytest.approx(12.0)
    assert hull_area(np.array([(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)])) == 0.0


def test_weights_of_drops_scatter_as_drops_laid_out_one_by_one() -> None:
    phases = np.array([[0.0, 0.0], [0.5, 0.25]])
    pixfrac, ratio, fine = 0.6, 0.5, 40
    # Each input pixel is a square of `pixfrac`, drawn on a fine raster and summed into output pixels.
    side = round(24 * ratio * fine)
    raster = np.zeros((side, side))
    place = (np.arange(side) + 0.5) / fine
    for px, py in phases:
        inside = [np.abs((place - p + 0.5) % 1.0 - 0.5) < pixfrac / 2 for p in (px, py)]
        raster += inside[1][:, None] * inside[0][None, :]
    step = round(ratio * fine)
    weight = raster.reshape(24, step, 24, step).sum(axis=(1, 3))[2:-2, 2:-2]
    expected = weight.std() / np.median(weight)
    assert weight_scatter(phases, pixfrac, ratio) == pytest.approx(expected, rel=0.05)


def test_recommendation_follows_the_dither() -> None:
    assert recommend(np.zeros((1, 2)))[:2] == (1.0, 1.0)
    box = np.array([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5], [0.5, 0.5]])
    ratio, pixfrac, scatter = recommend(box)
    assert ratio == 0.5
    assert pixfrac >= ratio
    assert scatter < 0.2
    # The same phase four times is one exposure as far as sampling goes.
    assert recommend(np.zeros((4, 2)))[0] == 1.0


def test_verdicts_are_graded_and_the_worst_wins() -> None:
    assert [grade(v, 1.0, 2.0) for v in (1.0, 1.5, 2.5, float("nan"))] == ["ok", "look", "bad", "none"]
    assert worst(["ok", "none", "look"]) == "look"
    assert worst([]) == "none"
    kind = CheckKind("n", "g", "t", "limit", "advice")
    assert kind.graded(3.0, (1.0, 2.0), "3").advice == "advice"
    assert kind.graded(0.5, (1.0, 2.0), "0.5").advice == ""
    assert kind.of("bad", "inf", float("inf")).value is None
