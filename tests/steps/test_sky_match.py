"""Sky levels from overlaps against closed forms and numpy's pseudo-inverse, an algorithm of another kind."""

from __future__ import annotations

import tracemalloc
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mosaic.steps.sky import solve_sky
from mosaic.steps.sky_match import Overlap, find_groups, gather_overlaps, match_sky, solve_offsets


def _chip(exposure: int, extver: int, scale: float = 0.05, exptime_s: float = 100.0, **changes: Any) -> Any:
    chip = {
        "idcscale_arcsec": scale,
        "exptime_s": exptime_s,
        "is_rate": False,
        "mdrizsky": None,
        "sky_gain": 1.0,
    }
    return SimpleNamespace(name=f"e{exposure}[sci,{extver}]", **(chip | changes))


def _exposures(n: int, n_chips: int = 1, **changes: Any) -> list[Any]:
    return [
        SimpleNamespace(
            rootname=f"e{i}", chips=tuple(_chip(i, extver, **changes) for extver in range(1, n_chips + 1))
        )
        for i in range(n)
    ]


FACTOR = 1.0 / 0.05**2 / 100.0
"""Brightness of one native unit on the chips above."""


def _overlap(i: int, j: int, levels: np.ndarray, n: tuple[int, int] = (1000, 1000)) -> Overlap:
    return Overlap(i, j, float(levels[i] - levels[j]), *n)


def _subtracted(solution: Any) -> list[float]:
    return [level.subtracted for level in solution.levels.values()]


@pytest.mark.parametrize("peer", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_differences_that_agree_are_found_whatever_their_weights(seed: int, *, peer: bool) -> None:
    rng = np.random.default_rng(seed)
    levels = rng.uniform(-50.0, 50.0, 9)
    pairs = [(i, i + 1) for i in range(8)] + [(0, 5), (2, 7)]
    # Overlaps of one pixel beside overlaps of a whole chip.
    overlaps = [_overlap(i, j, levels, tuple(10 ** rng.integers(0, 7, 2))) for i, j in pairs]
    found = solve_offsets(range(9), overlaps, peer=peer)
    np.testing.assert_allclose(found, levels - levels.mean(), rtol=0.0, atol=1e-11)


@pytest.mark.parametrize("peer", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_differences_that_disagree_give_the_least_squares_of_smallest_norm(seed: int, *, peer: bool) -> None:
    rng = np.random.default_rng(seed)
    n = 12
    pairs = [pair for pair in combinations(range(n), 2) if rng.random() < 0.4]
    overlaps = [
        Overlap(i, j, rng.normal(0.0, 3.0), *(int(k) for k in rng.integers(1, 5000, 2))) for i, j in pairs
    ]
    matrix, wanted = np.zeros((len(pairs), n)), np.zeros(len(pairs))
    for row, (i, j) in enumerate(pairs):
        n_i, n_j = overlaps[row].n_first, overlaps[row].n_second
        weight = (n_i + n_j) / 2.0 if peer else np.sqrt(1.0 / (1.0 / n_i + 1.0 / n_j))
        matrix[row, i], matrix[row, j] = weight, -weight
        wanted[row] = weight * overlaps[row].difference
    expected = np.linalg.pinv(matrix, rcond=1e-12) @ wanted
    assert find_groups(n, overlaps) == [list(range(n))]
    np.testing.assert_allclose(solve_offsets(range(n), overlaps, peer=peer), expected, rtol=0.0, atol=1e-10)


def test_default_weights_find_levels_better_than_those_of_the_peer() -> None:
    """The difference of two measured levels has the variance 1/n1 + 1/n2: truth is known here."""
    rng = np.random.default_rng(8)
    errors: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(200):
        levels = rng.uniform(0.0, 10.0, 6)
        overlaps = []
        for i, j in combinations(range(6), 2):
            n = 10 ** rng.uniform(2.0, 5.0, 2)
            noise = rng.normal(0.0, np.sqrt((1.0 / n).sum()))
            overlaps.append(Overlap(i, j, levels[i] - levels[j] + noise, int(n[0]), int(n[1])))
        for peer, found in errors.items():
            offsets = solve_offsets(range(6), overlaps, peer=peer)
            found.append(float(np.mean((offsets - levels + levels.mean()) ** 2)))
    assert np.mean(errors[False]) < 0.5 * np.mean(errors[True])


def test_groups_are_the_connected_exposures() -> None:
    levels = np.zeros(7)
    overlaps = [_overlap(0, 4, levels), _overlap(1, 2, levels), _overlap(2, 6, levels)]
    assert find_groups(7, overlaps) == [[0, 4], [1, 2, 6], [3], [5]]


def test_the_lowest_of_every_group_is_zero_and_groups_are_told() -> None:
    exposures = _exposures(5)
    levels = np.array([30.0, 10.0, 20.0, 500.0, 507.0])
    overlaps = [_overlap(0, 1, levels), _overlap(1, 2, levels), _overlap(3, 4, levels)]
    solution = match_sky(exposures, overlaps, None)
    expected = np.array([20.0, 0.0, 10.0, 0.0, 7.0]) / FACTOR
    np.testing.assert_allclose(_subtracted(solution), expected, rtol=0.0, atol=1e-12)
    assert all(level.recorded == level.background == level.subtracted for level in solution.levels.values())
    (warning,) = solution.warnings
    assert warning.startswith("sky matching: 2 groups do not overlap, each is matched and levelled on its")
    assert warning.endswith("(first of each: e0; e3)")
    # The peer moves all by the lowest of all, which is in the first group: -10 against -3.5 in the second.
    shared = match_sky(exposures, overlaps, None, peer=True)
    moved = np.array([20.0, 0.0, 10.0, 6.5, 13.5]) / FACTOR
    np.testing.assert_allclose(_subtracted(shared), moved, rtol=0.0, atol=1e-12)


def test_a_group_does_not_depend_on_others() -> None:
    levels = np.array([30.0, 10.0, 20.0, 500.0, 507.0])
    odd = levels + np.array([0.3, 0.0, 0.0, 0.0, 0.0])
    near = [_overlap(0, 1, levels), _overlap(1, 2, levels), _overlap(0, 2, odd)]
    measured: dict[str, float | None] = {f"e{i}[sci,1]": float(levels[i] / FACTOR) for i in range(5)}
    for base in (None, measured):
        alone = match_sky(_exposures(3), near, base)
        together = match_sky(_exposures(5), [*near, _overlap(3, 4, levels)], base)
        assert _subtracted(together)[:3] == _subtracted(alone)


def test_match_and_globalmin_leave_the_lowest_chip_at_zero() -> None:
    exposures = _exposures(3, n_chips=2)
    levels = np.array([30.0, 10.0, 20.0])
    overlaps = [_overlap(i, j, levels) for i, j in combinations(range(3), 2)]
    # The second chip of the second exposure sees 4 less than the level of its exposure.
    brightness = {
        f"e{i}[sci,{v}]": levels[i] - (4.0 if (i, v) == (1, 2) else 0.0) for i in range(3) for v in (1, 2)
    }
    measured: dict[str, float | None] = {name: float(value / FACTOR) for name, value in brightness.items()}
    solution = match_sky(exposures, overlaps, measured)
    left = {name: brightness[name] - level.subtracted * FACTOR for name, level in solution.levels.items()}
    assert min(left.values()) == pytest.approx(0.0, abs=1e-11)
    assert left["e0[sci,1]"] == pytest.approx(4.0, abs=1e-11)
    assert solution.warnings == ()


def test_disconnected_groups_are_levelled_each_or_all_by_the_lowest_for_the_peer() -> None:
    levels = np.array([30.0, 10.0, 500.0, 507.0])
    overlaps = [_overlap(0, 1, levels), _overlap(2, 3, levels)]
    measured: dict[str, float | None] = {f"e{i}[sci,1]": float(levels[i] / FACTOR) for i in range(4)}
    solution = match_sky(_exposures(4), overlaps, measured)
    np.testing.assert_allclose(np.array(_subtracted(solution)) * FACTOR, levels, rtol=1e-12)
    peer = match_sky(_exposures(4), overlaps, measured, peer=True)
    left = levels - np.array(_subtracted(peer)) * FACTOR
    np.testing.assert_allclose(left[2] - left[0], 483.5, rtol=1e-9)


def test_an_exposure_without_overlap_is_told_and_left_alone() -> None:
    exposures = _exposures(3)
    exposures[2].chips[0].mdrizsky = 3.25
    levels = np.array([30.0, 10.0, 0.0])
    solution = match_sky(exposures, [_overlap(0, 1, levels)], None)
    assert _subtracted(solution)[1:] == [0.0, 0.0]
    assert solution.warnings == ("sky matching: 1 exposures overlap no other and are not matched: e2",)
    peer = match_sky(exposures, [_overlap(0, 1, levels)], None, peer=True).levels["e2[sci,1]"]
    assert (peer.subtracted, peer.background, peer.recorded) == (3.25, 3.25, None)
    # With a base level it is measured like any other.
    measured: dict[str, float | None] = {"e0[sci,1]": 30.0, "e1[sci,1]": 29.0, "e2[sci,1]": 44.0}
    assert _subtracted(match_sky(exposures, [], measured)) == [30.0, 29.0, 44.0]


def test_exposures_without_good_pixels_are_told() -> None:
    measured: dict[str, float | None] = {"e0[sci,1]": None, "e1[sci,1]": 5.0}
    solution = match_sky(_exposures(2), [], measured)
    assert _subtracted(solution) == [0.0, 5.0]
    assert any("e0: too few good pixels" in line for line in solution.warnings)
    local = solve_sky(_exposures(2), measured, "localmin")
    assert _subtracted(local) == [0.0, 5.0]
    assert len(local.warnings) == 1
    assert "e0: too few good pixels to measure its sky, 0 is taken" in local.warnings[0]
    assert _subtracted(solve_sky(_exposures(2), measured, "globalmin")) == [5.0, 5.0]


def test_chips_of_a_pair_are_averaged_by_their_pixels_in_brightness() -> None:
    exposures = _exposures(2, n_chips=2)
    exposures[1].chips = (_chip(1, 1, scale=0.1, is_rate=True), _chip(1, 2, scale=0.1, is_rate=True))
    pair_sky = {
        (0, 2): (10.0, 100), (2, 0): (0.5, 30),
        (1, 2): (12.0, 300), (2, 1): (0.6, 90),
        (1, 3): (13.0, 50),
    }  # fmt: skip
    (found,) = gather_overlaps(exposures, pair_sky)
    first = (10.0 * 100 + 12.0 * 300 + 13.0 * 50) / 450 * FACTOR
    second = (0.5 * 30 + 0.6 * 90) / 120 / 0.1**2
    assert found.difference == pytest.approx(first - second, rel=1e-14)
    assert (found.n_first, found.n_second) == (450, 120)
    single = gather_overlaps(exposures, pair_sky, single_precision=True)[0].difference
    assert single != found.difference
    assert single == pytest.approx(found.difference, rel=1e-6)


def test_a_pair_with_pixels_on_one_side_only_is_no_overlap() -> None:
    assert gather_overlaps(_exposures(2), {(0, 1): (10.0, 100)}) == []


def test_time_and_memory_follow_the_overlaps_not_the_square_of_the_exposures() -> None:
    # A field of 60 x 50 pointings, each overlapping its eight neighbours: dense matrices would take 144 MB.
    ny, nx = 60, 50
    levels = np.random.default_rng(3).uniform(0.0, 50.0, ny * nx)
    place = np.arange(ny * nx).reshape(ny, nx)
    overlaps = []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        first = place[: ny - dy, max(0, -dx) : nx - max(0, dx)]
        second = place[dy:, max(0, dx) : nx + min(0, dx)]
        overlaps += [_overlap(int(i), int(j), levels) for i, j in zip(first.flat, second.flat, strict=True)]
    tracemalloc.start()
    found = solve_offsets(range(ny * nx), overlaps)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(found, levels - levels.mean(), rtol=0.0, atol=1e-9)
    assert peak < 40e6
