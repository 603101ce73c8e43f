"""Combining kernels against numpy and against a slow transcription of the minmed rules."""

from __future__ import annotations

import numpy as np
import pytest

from mosaic.kernels.combine import (
    combine_mean,
    combine_median,
    combine_minimum,
    combine_minmed,
    combine_sum,
)

INF = np.inf
SHAPE = (13, 17)


def _stack(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    stack = rng.normal(0.2, 0.02, (n, *SHAPE)).astype(np.float32)
    hits = rng.random(stack.shape) < 0.05
    stack[hits] += rng.exponential(2.0, hits.sum()).astype(np.float32)
    return stack, (rng.random(stack.shape) < 0.25).astype(np.uint8)


def _good(stack: np.ndarray, is_bad: np.ndarray, y: int, x: int) -> np.ndarray:
    return np.sort(stack[:, y, x][is_bad[:, y, x] == 0].astype(np.float64))


@pytest.mark.parametrize("n", [1, 2, 3, 8, 39, 40, 41, 60])
def test_median_is_the_median_of_the_good_values(n: int) -> None:
    stack, is_bad = _stack(n)
    out = np.full(SHAPE, np.nan, dtype=np.float32)
    combine_median(stack, is_bad, 0, 0, -INF, INF, False, out)
    for y, x in np.ndindex(*SHAPE):
        good = _good(stack, is_bad, y, x)
        assert out[y, x] == (np.float32(np.median(good)) if good.size else 0.0)


@pytest.mark.parametrize(("nlow", "nhigh"), [(1, 1), (0, 2), (3, 0), (0, 5)])
def test_extremes_are_dropped(nlow: int, nhigh: int) -> None:
    stack, is_bad = _stack(6)
    median, mean, lowest = (np.full(SHAPE, np.nan, dtype=np.float32) for _ in range(3))
    combine_median(stack, is_bad, nlow, nhigh, -INF, INF, False, median)
    combine_mean(stack, is_bad, nlow, nhigh, -INF, INF, False, mean)
    combine_minimum(stack, is_bad, nlow, nhigh, -INF, INF, False, lowest)
    for y, x in np.ndindex(*SHAPE):
        good = _good(stack, is_bad, y, x)
        kept = good[nlow : good.size - nhigh] if good.size > nlow + nhigh else good[:0]
        assert mean[y, x] == pytest.approx(kept.mean() if kept.size else 0.0, rel=1e-7)
        assert lowest[y, x] == (np.float32(kept[0]) if kept.size else 0.0)
        low, high = nlow, nhigh
        while good.size and good.size - low - high <= 0:
            low, high = max(0, low - 1), max(0, high - 1)
        left = good[low : good.size - high]
        assert median[y, x] == (np.float32(np.median(left)) if left.size else 0.0)


@pytest.mark.parametrize("rule", [combine_median, combine_mean, combine_minimum])
def test_thresholds_leave_values_out(rule: object) -> None:
    stack = np.array([[[1.0]], [[2.0]], [[3.0]], [[10.0]]], dtype=np.float32)
    is_bad = np.zeros(stack.shape, dtype=np.uint8)
    out = np.zeros((1, 1), dtype=np.float32)
    rule(stack, is_bad, 0, 0, 2.0, 10.0, False, out)  # type: ignore[operator]
    assert out[0, 0] == (2.0 if rule is combine_minimum else 2.5)


@pytest.mark.parametrize("rule", [combine_median, combine_mean, combine_minimum])
def test_a_pixel_without_good_values_takes_the_last_image_or_zero(rule: object) -> None:
    stack, _ = _stack(3)
    is_bad = np.ones(stack.shape, dtype=np.uint8)
    out = np.full(SHAPE, np.nan, dtype=np.float32)
    rule(stack, is_bad, 0, 0, -INF, INF, True, out)  # type: ignore[operator]
    np.testing.assert_array_equal(out, stack[-1])
    rule(stack, is_bad, 0, 0, -INF, INF, False, out)  # type: ignore[operator]
    np.testing.assert_array_equal(out, np.zeros(SHAPE))


def test_sum_adds_everything() -> None:
    stack, _ = _stack(5)
    out = np.zeros(SHAPE, dtype=np.float32)
    combine_sum(stack, out)
    np.testing.assert_array_equal(out, stack.astype(np.float64).sum(axis=0).astype(np.float32))


def _slow_minmed(
    stack: np.ndarray,
    weights: np.ndarray,
    is_bad: np.ndarray,
    noise2: np.ndarray,
    rate: np.ndarray,
    complete: np.ndarray,
    nsigma: tuple[float, float],
    grow: int,
) -> np.ndarray:
    """The rules of minmed, step by step on whole arrays."""
    n = len(stack)
    good = np.where(is_bad == 0, stack.astype(np.float64), np.nan)
    median = np.zeros(SHAPE)
    lowest = np.zeros(SHAPE)
    for y, x in np.ndindex(*SHAPE):
        values = np.sort(good[:, y, x][np.isfinite(good[:, y, x])])
        if values.size:
            whole = good[:, y, x][(weights[:, y, x] >= complete) & np.isfinite(good[:, y, x])]
            lowest[y, x] = whole.min() if whole.size > 1 else values[0]
            kept = values if n == 2 or values.size == 1 else values[:-1]
            median[y, x] = kept.mean() if n == 2 else np.median(kept)
    weight = weights.astype(np.float64).sum(axis=0)
    background = (weights.astype(np.float64) * rate[:, None, None]).sum(axis=0)
    read = ((is_bad == 0) * noise2[:, None, None]).sum(axis=0)
    rms = np.sqrt(np.maximum(median * weight + background + read, 0.0))
    flagged = lowest * weight < median * weight - nsigma[0] * rms
    near = np.zeros(SHAPE, dtype=bool)
    for y, x in np.argwhere(flagged):
        near[max(0, y - grow) : y + grow + 1, max(0, x - grow) : x + grow + 1] = True
    limit = np.where(near if grow else False, nsigma[1], nsigma[0])
    return np.where(lowest * weight < median * weight - limit * rms, lowest, median).astype(np.float32)


@pytest.mark.parametrize("n", [2, 3, 4, 9])
@pytest.mark.parametrize("grow", [0, 1, 3])
@pytest.mark.parametrize("complete_weight", [0.0, 400.0])
def test_minmed_follows_its_rules(n: int, grow: int, complete_weight: float) -> None:
    stack, is_bad = _stack(n, seed=n)
    weights = np.random.default_rng(9).uniform(300, 600, stack.shape).astype(np.float32)
    noise2, rate = np.full(n, 25.0), np.linspace(0.05, 0.1, n)
    complete = np.linspace(0.9, 1.1, n, dtype=np.float32) * np.float32(complete_weight)
    out = np.full(SHAPE, np.nan, dtype=np.float32)
    combine_minmed(stack, weights, is_bad, noise2, rate, complete, 4.0, 3.0, grow, n, out)
    expected = _slow_minmed(stack, weights, is_bad, noise2, rate, complete, (4.0, 3.0), grow)
    np.testing.assert_allclose(out, expected, rtol=1e-7)
    assert (out < expected.max()).any()


@pytest.mark.parametrize(
    ("values", "complete_weight", "expected"),
    [
        ((100.0, 90.0, 95.0, 60.0), 0.0, 60.0),
        ((100.0, 90.0, 95.0, 60.0), 350.0, 90.0),
        ((900.0, 900.0, 90.0, 60.0), 350.0, 90.0),
        ((900.0, 90.0, 90.0, 60.0), 501.0, 60.0),
    ],
)
def test_a_value_beside_a_masked_pixel_is_no_minimum(
    values: tuple[float, ...], complete_weight: float, expected: float
) -> None:
    # A star seen four times, the last time through half the weight; cosmic rays of 900.
    stack = np.array(values, dtype=np.float32).reshape(4, 1, 1)
    weights = np.array([500.0, 500.0, 500.0, 250.0], dtype=np.float32).reshape(4, 1, 1)
    good = np.zeros(stack.shape, dtype=np.uint8)
    complete = np.full(4, complete_weight, dtype=np.float32)
    out = np.zeros((1, 1), dtype=np.float32)
    combine_minmed(stack, weights, good, np.ones(4), np.zeros(4), complete, 4.0, 3.0, 1, 4, out)
    assert out[0, 0] == expected


def test_minmed_of_two_overlapping_of_many_exposures_is_not_the_mean() -> None:
    stack = np.array([[[1.0]], [[1.1]]], dtype=np.float32)
    out = np.zeros((1, 1), dtype=np.float32)
    weights = np.full(stack.shape, 1e-3, dtype=np.float32)
    none = np.zeros(stack.shape, dtype=np.uint8)
    for n_exposures, expected in ((2, 1.05), (5, 1.0)):
        every = np.zeros(2, dtype=np.float32)
        combine_minmed(stack, weights, none, np.ones(2), np.zeros(2), every, 4.0, 3.0, 1, n_exposures, out)
        assert out[0, 0] == pytest.approx(expected)
