"""Clipped statistics against numpy, closed forms and a slow transcription of the histogram rules."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mosaic.errors import ParameterError
from mosaic.kernels.clipstats import order_statistic
from mosaic.steps import statistics
from mosaic.steps.statistics import ClippedStatistics, image_statistics


def _sample(seed: int = 2, size: int = 20_001) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(100.0, 10.0, size).astype(np.float32)
    values[::50] += rng.exponential(500.0, values[::50].size).astype(np.float32)
    return values


def _statistics(values: np.ndarray, statistic: str, **changes: object) -> ClippedStatistics:
    how = {"nclip": 5, "lower_sigma": 4.0, "upper_sigma": 4.0, "lower": None, "upper": None, "binwidth": 0.1}
    found = image_statistics(values, statistic, **(how | changes))  # type: ignore[arg-type]
    assert found is not None
    return found


def _clipped(values: np.ndarray, nclip: int, sigma: float, low: float, high: float) -> np.ndarray:
    kept = values[(values >= low) & (values <= high)].astype(np.float64)
    for _ in range(nclip):
        mean, spread = kept.mean(), kept.std(ddof=1)
        inside = (values >= max(low, mean - sigma * spread)) & (values <= min(high, mean + sigma * spread))
        kept = values[inside].astype(np.float64)
    return kept


@pytest.mark.parametrize(("low", "high"), [(None, None), (85.0, 140.0)])
@pytest.mark.parametrize("nclip", [0, 1, 5])
def test_mean_and_median_are_those_of_the_clipped_sample(
    nclip: int, low: float | None, high: float | None
) -> None:
    values = _sample()
    kept = _clipped(values, nclip, 4.0, -np.inf if low is None else low, np.inf if high is None else high)
    mean = _statistics(values, "mean", nclip=nclip, lower=low, upper=high)
    assert (mean.n, mean.n_bins) == (kept.size, 0)
    assert mean.value == pytest.approx(kept.mean(), rel=1e-6)
    assert mean.stddev == pytest.approx(kept.std(ddof=1), rel=1e-5)
    median = _statistics(values, "median", nclip=nclip, lower=low, upper=high)
    assert median.value == pytest.approx(np.median(kept), rel=1e-7)


def _level_in_every_65th(size: int) -> np.ndarray:
    """Values of which a sample at that step gives another median."""
    values = np.random.default_rng(9).normal(50.0, 5.0, size)
    values[::65] += 20.0
    return values


@pytest.mark.parametrize("size", [400_000, 400_001])
@pytest.mark.parametrize(
    ("make", "is_found_in_few"),
    [
        (lambda size: np.random.default_rng(4).normal(50.0, 5.0, size), True),
        (lambda size: np.linspace(-3.0, 8.0, size), True),
        (lambda size: np.random.default_rng(5).standard_cauchy(size), True),
        (lambda size: np.random.default_rng(6).integers(0, 9, size), False),
        (lambda size: np.repeat([-0.0, 0.0], size)[:size], False),
        (_level_in_every_65th, False),
    ],
    ids=["gaussian", "sorted", "cauchy", "integers", "zeros", "unlike its sample"],
)
def test_the_median_is_exact_wherever_a_sample_says_it_lies(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[int], np.ndarray], size: int, *, is_found_in_few: bool
) -> None:
    looked_at: list[int] = []

    def recorded(values: np.ndarray, *args: object) -> tuple[float, int]:
        looked_at.append(values.size)
        return order_statistic(values, *args)

    monkeypatch.setattr(statistics, "order_statistic", recorded)
    values = make(size).astype(np.float32)
    assert _statistics(values, "median", nclip=0).value == np.median(values)
    assert (looked_at[0] < size // 16) == is_found_in_few


def test_mode_and_midpoint_of_a_gaussian_are_its_centre() -> None:
    values = np.random.default_rng(4).normal(50.0, 5.0, 400_000).astype(np.float32)
    # A bin is 0.1 sigma = 0.5; the modal bin of a smooth peak wanders by a few bins.
    assert _statistics(values, "mode").value == pytest.approx(50.0, abs=1.5)
    assert _statistics(values, "midpt").value == pytest.approx(50.0, abs=0.5)


def test_the_mode_is_the_vertex_of_the_highest_bin() -> None:
    # Ten bins of nominal width 1 over the range 0..9.5: dz = 9.5 / 9; counts chosen by hand.
    counts = [1, 2, 3, 9, 20, 13, 4, 2, 1, 1]
    width = 9.5 / 9
    values = np.concatenate([np.full(c, (i + 0.5) * width) for i, c in enumerate(counts)]).astype(np.float32)
    values[0], values[-1] = 0.0, 9.5
    stddev = values.astype(np.float64).std(ddof=1)
    found = _statistics(values, "mode", nclip=0, binwidth=1.0 / stddev)
    assert found.n_bins == 10
    before, after = 20 - 9, 20 - 13
    assert found.value == pytest.approx(4 + 0.5 + 0.5 * (before - after) / (before + after), rel=1e-5)


def test_a_constant_image_has_one_bin() -> None:
    found = _statistics(np.full(100, 7.0, dtype=np.float32), "mode")
    assert found.n_bins == 1
    assert found.value == pytest.approx(7.0)
    assert _statistics(np.full(100, 7.0, dtype=np.float32), "median").value == 7.0


@pytest.mark.parametrize("limits", [{"lower": 1e9}, {"upper": -1e9}])
def test_limits_that_exclude_everything_mean_not_enough_data(limits: dict[str, float]) -> None:
    how = {"nclip": 5, "lower_sigma": 4.0, "upper_sigma": 4.0, "lower": None, "upper": None, "binwidth": 0.1}
    assert image_statistics(_sample(), "median", **(how | limits)) is None  # type: ignore[arg-type]
    assert image_statistics(np.empty(0, dtype=np.float32), "median", **how) is None  # type: ignore[arg-type]


def test_an_unknown_statistic_is_refused() -> None:
    with pytest.raises(ParameterError, match="skystat='average' is unknown"):
        _statistics(_sample(), "average")
