"""Offsets, matches and fits against transforms that are known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaic.alignment.fitting import IDENTITY, SingularFitError, find_offset, fit_linear, match, thin


def _positions(n: int = 300, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform((-500, -350), (500, 350), (n, 2))


def _rotation(angle_deg: float) -> np.ndarray:
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return np.array([[c, -s], [s, c]])


@pytest.mark.parametrize("radius", [7.79, 20.0, 20.01])
def test_offset_has_no_bias_whatever_the_radius(radius: float) -> None:
    reference = _positions()
    offset = find_offset(reference, reference + np.array([3.3, -3.6]), radius, 1.0)
    assert offset is not None
    assert offset.xy == pytest.approx((3.3, -3.6), abs=0.1)


def test_offset_is_found_when_one_source_in_twenty_matches() -> None:
    reference, image = _positions(1000), _positions(1000, seed=1)
    image[:50] = reference[:50] + np.array([-6.2, 4.7]) + np.random.default_rng(2).normal(0, 0.1, (50, 2))
    offset = find_offset(reference, image, 20.0, 1.0)
    assert offset is not None
    assert offset.xy == pytest.approx((-6.2, 4.7), abs=0.2)
    assert offset.second_ratio < 0.7


def test_offset_of_unrelated_lists_is_ambiguous() -> None:
    offset = find_offset(_positions(1000), _positions(1000, seed=1), 20.0, 1.0)
    assert offset is not None
    assert offset.second_ratio > 0.7


def test_no_offset_when_nothing_is_near() -> None:
    assert find_offset(np.zeros((5, 2)), np.full((5, 2), 100.0), 20.0, 1.0) is None


@given(st.integers(0, 1000), st.floats(0.1, 30.0))
def test_matches_are_one_to_one_and_mutual(seed: int, tolerance: float) -> None:
    one, two = _positions(40, seed), _positions(50, seed + 1)
    a, b = match(one, two, tolerance)
    distance = np.hypot(*(one[:, None] - two[None]).transpose(2, 0, 1))
    wanted = [
        (i, int(j))
        for i, j in enumerate(distance.argmin(axis=1))
        if distance[:, j].argmin() == i and distance[i, j] < tolerance
    ]
    assert list(zip(a.tolist(), b.tolist(), strict=True)) == wanted


def test_thinning_keeps_the_first_of_close_ones() -> None:
    xy = np.array([[0.0, 0.0], [5.0, 0.0], [0.3, 0.0], [5.0, 0.4], [0.6, 0.0]])
    assert thin(xy, 0.5).tolist() == [0, 1, 4]
    assert thin(xy, 0.0).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("reflection", [1.0, -1.0])
def test_rscale_reproduces_rotation_scale_and_reflection(reflection: float) -> None:
    reference = _positions(40)
    F = 1.002 * _rotation(12.5) @ np.diag([1.0, reflection])
    fit = fit_linear(reference, reference @ F + [7.0, -3.0], "rscale")
    assert np.allclose(fit.matrix, F, rtol=0, atol=1e-12)
    assert np.allclose(fit.offset_xy, [7.0, -3.0], rtol=0, atol=1e-10)
    assert (fit.rotation_deg, fit.scale) == pytest.approx((12.5, 1.002), abs=1e-10)
    assert np.allclose(fit.to_reference(reference @ F + [7.0, -3.0]), reference, rtol=0, atol=1e-9)


def test_general_reproduces_any_linear_map_and_shift_the_mean() -> None:
    reference = _positions(40)
    F = np.array([[1.001, 0.02], [-0.03, 0.997]])
    image = reference @ F + [1.0, 2.0]
    assert np.allclose(fit_linear(reference, image, "general").matrix, F, rtol=0, atol=1e-12)
    shift = fit_linear(reference, image, "shift")
    assert np.allclose(shift.offset_xy, (image - reference).mean(axis=0), rtol=0, atol=1e-12)


def test_fit_agrees_with_a_direct_least_squares_solution() -> None:
    reference = _positions(60)
    image = reference @ (1.0005 * _rotation(0.3)) + np.random.default_rng(5).normal(0, 0.1, (60, 2))
    fit = fit_linear(reference, image, "rscale")
    x, y = reference.T
    one, nil = np.ones(60), np.zeros(60)
    design = np.concatenate([np.stack([x, y, one, nil], 1), np.stack([y, -x, nil, one], 1)])
    p0, p1, dx, dy = np.linalg.lstsq(design, image.T.ravel(), rcond=None)[0]
    assert np.allclose(fit.matrix, [[p0, -p1], [p1, p0]], rtol=0, atol=1e-12)
    assert np.allclose(fit.offset_xy, [dx, dy], rtol=0, atol=1e-10)


def test_outliers_are_left_out() -> None:
    reference = _positions(100)
    image = reference @ _rotation(0.02) + [4.0, -5.0] + np.random.default_rng(1).normal(0, 0.02, (100, 2))
    image[::10] += [0.9, -0.8]
    fit = fit_linear(reference, image, "rscale", nclip=5, sigma=3.0)
    assert not fit.used[::10].any()
    # 90 points of 0.02 pixels: the offset is good to 0.002 at one sigma.
    assert np.allclose(fit.offset_xy, [4.0, -5.0], rtol=0, atol=0.008)
    assert max(fit.rms_xy) < 0.026


def test_without_residuals_there_is_no_rms() -> None:
    assert np.isnan([*IDENTITY.rms_xy, IDENTITY.rmse]).all()


@pytest.mark.parametrize("geometry", ["shift", "rscale", "general"])
def test_one_wrong_match_among_few_does_not_bend_the_fit(geometry: str) -> None:
    rng = np.random.default_rng(3)
    for seed in range(20):
        reference = _positions(9, seed)
        image = reference + np.array([0.3, -0.2]) + rng.normal(0, 0.03, (9, 2))
        image[seed % 9] += [1.4, -1.1]
        fit = fit_linear(reference, image, geometry, nclip=3)
        assert not fit.used[seed % 9]
        moved = fit.to_reference(image) - reference
        # What is left are eight points of 0.03 pixels.
        assert np.abs(np.delete(moved, seed % 9, axis=0)).max() < 0.15


def test_positions_on_a_line_do_not_determine_a_general_fit() -> None:
    line = np.stack([np.arange(10.0), 2 * np.arange(10.0)], axis=1)
    with pytest.raises(SingularFitError, match="one line"):
        fit_linear(line, line, "general")
    assert fit_linear(line, line + 1.0, "rscale").scale == pytest.approx(1.0)
    with pytest.raises(SingularFitError, match="one point"):
        fit_linear(np.ones((4, 2)), np.ones((4, 2)), "rscale")
    with pytest.raises(SingularFitError, match="2 matches"):
        fit_linear(line[:2], line[:2], "general")
