"""Passes of the clipped statistics against numpy in double precision."""

from __future__ import annotations

import numpy as np
import pytest

from mosaic.kernels.clipstats import (
    fill_histogram,
    gather_within,
    largest_below,
    moments_within,
    order_statistic,
    range_within,
)


def _values(size: int, seed: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(30.0, 10.0, size).astype(np.float32)


@pytest.mark.parametrize("size", [2, 3, 17, 4097])
def test_moments_are_those_of_the_values_within_the_limits(size: int) -> None:
    values = _values(size)
    low, high = np.sort(values)[[size // 5, size - 1 - size // 7]]
    n, mean, stddev = moments_within(values, low, high)
    kept = values[(values >= low) & (values <= high)].astype(np.float64)
    assert n == kept.size
    assert mean == np.float32(kept.mean())
    # Deviations are squared in single precision.
    expected = kept.std(ddof=1) if kept.size > 1 else 0.0
    assert stddev == pytest.approx(expected, rel=2e-7)


def test_values_that_are_not_numbers_are_outside_any_limits() -> None:
    values = _values(100)
    values[::3] = np.nan
    kept = values[np.isfinite(values)]
    n, mean, _ = moments_within(values, np.float32(-1e9), np.float32(1e9))
    assert (n, mean) == (kept.size, np.float32(kept.astype(np.float64).mean()))


def test_no_value_within_the_limits_is_reported_as_none() -> None:
    assert moments_within(_values(50), np.float32(500.0), np.float32(600.0))[0] == 0


@pytest.mark.parametrize(
    ("first", "expected"), [(5.0, (2.0, 8.0)), (-40.0, (1.0, 8.0)), (90.0, (2.0, 9.0)), (1.0, (1.0, 8.0))]
)
def test_a_first_value_beyond_a_limit_starts_the_histogram_at_the_limit(
    first: float, expected: tuple[float, float]
) -> None:
    values = np.array([first, 2.0, 0.5, 8.0, 4.0, 9.5], dtype=np.float32)
    assert range_within(values, np.float32(1.0), np.float32(9.0)) == expected


def test_histogram_counts_the_values_from_its_start_on() -> None:
    values = _values(5000)
    # A power of two for width: the index is exact in single precision.
    start, width, n_bins = np.float32(8.0), np.float32(0.5), 80
    counts = np.zeros(n_bins, dtype=np.int64)
    fill_histogram(values, start, width, counts)
    expected, _ = np.histogram(values, bins=n_bins, range=(8.0, 48.0))
    # numpy counts the upper edge in the last bin.
    assert not (values == np.float32(48.0)).any()
    np.testing.assert_array_equal(counts, expected)


def test_order_statistics_are_those_of_the_sorted_values_within() -> None:
    rng = np.random.default_rng(8)
    values = np.concatenate([rng.normal(0.0, 3.0, 501), [0.0, -0.0, 1e-42, -1e30, 1e30]]).astype(np.float32)
    low, high = np.float32(-4.0), np.float32(5.0)
    inside = np.sort(values[(values >= low) & (values <= high)])
    for rank in (0, 1, 77, inside.size // 2, inside.size - 1):
        value, n_below = order_statistic(values, low, high, rank)
        assert value == inside[rank]
        # Both zeros are one value to a comparison and two to an order of bits.
        assert n_below in {(inside < value).sum(), rank}
    assert largest_below(values, low, inside[78]) == inside[77]
    assert largest_below(values, low, low) == -np.inf


@pytest.mark.parametrize("room", [501, 200, 20, 0])
def test_values_are_gathered_in_their_order_as_far_as_there_is_room(room: int) -> None:
    values = _values(501)
    lowest, low, high = np.float32(20.0), np.float32(28.0), np.float32(33.0)
    expected = values[(values >= low) & (values <= high)]
    near = np.full(room, np.nan, dtype=np.float32)
    n_below, n_near = gather_within(values, lowest, low, high, near)
    assert (n_below, n_near) == (((values >= lowest) & (values < low)).sum(), expected.size)
    if n_near < room:
        np.testing.assert_array_equal(near[:n_near], expected)
