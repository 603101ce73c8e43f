"""Cosmic-ray masks against a slow transcription of the rules, and the law that bands do not matter."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from mosaic.kernels.crmask import cosmic_ray_band, cosmic_ray_halo, derivative, exceeds_noise

SHAPE = (61, 47)
BACKGROUND, GAIN, READ_NOISE = 37.5, 2.0, 4.97
SNR, SCALE = (3.5, 3.0), (1.2, 0.7)


def _scene(seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Chip with a star and cosmic rays, borders included, and its blotted model."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    blot = 50.0 + 3000.0 * np.exp(-((y - 40.0) ** 2 + (x - 20.0) ** 2) / 8.0) + rng.normal(0.0, 2.0, SHAPE)
    sci = blot + rng.normal(0.0, 8.0, SHAPE)
    hit = rng.random(SHAPE) < 0.02
    hit[[0, -1], ::4] = hit[::5, [0]] = hit[::5, [-1]] = hit[-3:, 10] = True
    sci[hit] += rng.exponential(400.0, hit.sum())
    return sci.astype(np.float32), blot.astype(np.float32)


def _flag(
    sci: np.ndarray,
    blot: np.ndarray,
    *,
    y0: int = 0,
    ny: int = SHAPE[0],
    peer: bool = True,
    core: float = 0.0,
    **how: int,
) -> np.ndarray:
    grow, ctegrow, direction = how.get("grow", 1), how.get("ctegrow", 0), how.get("direction", 0)
    out = np.full(sci.shape, 7, dtype=np.uint8)
    shape = (ny, sci.shape[1])
    limits = (*SNR, *SCALE)
    cosmic_ray_band(
        sci, blot, y0, shape, BACKGROUND, GAIN, READ_NOISE, *limits, core, grow, ctegrow, direction, peer, out
    )
    return out


def _slow_derivative(blot: np.ndarray) -> np.ndarray:
    """Partially filled shifted copies of the image, as the rule is stated."""
    wide = blot.astype(np.float64)
    ny, nx = blot.shape
    copies = np.zeros((4, ny, nx))
    copies[0, : ny - 1, 1 : nx - 1] = wide[: ny - 1, : nx - 2]
    copies[1, : ny - 1, : nx - 2] = wide[: ny - 1, 1 : nx - 1]
    copies[2, 1 : ny - 1, : nx - 1] = wide[: ny - 2, : nx - 1]
    copies[3, : ny - 2, : nx - 1] = wide[1 : ny - 1, : nx - 1]
    return np.abs(wide - copies).max(axis=0).astype(np.float32)


def _slow_mask(
    sci: np.ndarray, blot: np.ndarray, gain: float, grow: int, ctegrow: int, direction: int
) -> np.ndarray:
    slope = _slow_derivative(blot)
    difference = np.abs(sci - blot)
    noise = np.sqrt(np.float32(gain) * np.abs(blot + np.float32(BACKGROUND)) + np.float32(READ_NOISE**2))
    over = [
        ~(difference <= np.float32(m) * slope + np.float32(n) * noise / np.float32(gain))
        for n, m in zip(SNR, SCALE, strict=True)
    ]
    hit = over[1] & ndimage.binary_dilation(over[0], np.ones((3, 3)))
    reach = max(grow, ctegrow)
    padded = np.pad(hit, reach, mode="symmetric")
    mask = np.zeros_like(hit)
    ny, nx = hit.shape
    for dy in range(-(grow // 2), (grow - 1) // 2 + 1):
        for dx in range(-(grow // 2), (grow - 1) // 2 + 1):
            mask |= padded[reach + dy : reach + dy + ny, reach + dx : reach + dx + nx]
    for distance in range(1, ctegrow + 1):
        start = reach + direction * distance
        mask |= padded[start : start + ny, reach : reach + nx]
    return mask.astype(np.uint8)


def test_derivative_is_the_largest_step_with_borders_compared_to_zero() -> None:
    _, blot = _scene()
    found = np.empty_like(blot)
    derivative(blot, 0, SHAPE[0], found)
    np.testing.assert_array_equal(found, _slow_derivative(blot))
    border = np.ones(SHAPE, dtype=bool)
    border[1:-2, 1:-2] = False
    assert (found >= np.abs(blot))[border].all()


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (5, 2), (3, 3), (4, 4)])
def test_derivative_of_a_tiny_chip_follows_the_same_rule(shape: tuple[int, int]) -> None:
    blot = np.random.default_rng(5).normal(10.0, 3.0, shape).astype(np.float32)
    found = np.empty_like(blot)
    derivative(blot, 0, shape[0], found)
    np.testing.assert_array_equal(found, _slow_derivative(blot))


@pytest.mark.parametrize("grow", [1, 2, 3, 4, 7])
@pytest.mark.parametrize(("ctegrow", "direction"), [(0, 1), (4, 1), (4, -1), (4, 0)])
@pytest.mark.parametrize("peer", [True, False])
def test_mask_follows_the_rules(grow: int, ctegrow: int, direction: int, peer: bool) -> None:  # noqa: FBT001
    sci, blot = _scene()
    found = _flag(sci, blot, peer=peer, grow=grow, ctegrow=ctegrow, direction=direction)
    tail = ctegrow if direction else 0
    expected = _slow_mask(sci, blot, GAIN if peer else 1.0, grow, tail, direction)
    np.testing.assert_array_equal(found, expected)
    assert found.any()
    assert not found.all()


@pytest.mark.parametrize(
    ("cuts", "how"),
    [
        ((0, 30, 61), {}),
        ((0, 1, 2, 3, 58, 59, 60, 61), {"grow": 3}),
        ((0, 7, 20, 41, 61), {"grow": 4, "ctegrow": 6, "direction": 1}),
        ((0, 5, 33, 55, 61), {"grow": 5, "ctegrow": 9, "direction": -1}),
        (tuple(range(62)), {"grow": 2, "ctegrow": 70, "direction": 1}),
    ],
)
def test_bands_do_not_change_the_mask(cuts: tuple[int, ...], how: dict[str, int]) -> None:
    sci, blot = _scene()
    halo = cosmic_ray_halo(how.get("grow", 1), how.get("ctegrow", 0))
    parts = []
    for start, stop in pairwise(cuts):
        low, high = max(0, start - halo), min(SHAPE[0], stop + halo)
        band = _flag(sci[low:high].copy(), blot[low:high].copy(), y0=low, **how)
        parts.append(band[start - low : stop - low])
    np.testing.assert_array_equal(np.concatenate(parts), _flag(sci, blot, **how))


def test_pixels_without_a_value_are_flagged() -> None:
    sci, blot = _scene()
    sci[20, 30] = np.nan
    blot[25, 8] = np.nan
    mask = _flag(sci, blot)
    assert mask[20, 30] == 1
    # The derivative of the neighbours is not a number either.
    assert mask[[24, 25, 26, 25, 25], [8, 8, 8, 7, 9]].all()


def test_a_hit_grows_to_the_block_and_down_the_tail() -> None:
    blot = np.full((21, 15), 100.0, dtype=np.float32)
    sci = blot.copy()
    sci[10, 7] += 1000.0
    for grow, offsets in ((1, [0]), (2, [0, 1]), (3, [-1, 0, 1]), (4, [-1, 0, 1, 2])):
        expected = np.zeros(sci.shape, dtype=np.uint8)
        expected[np.ix_([10 + o for o in offsets], [7 + o for o in offsets])] = 1
        np.testing.assert_array_equal(_flag(sci, blot, ny=21, grow=grow), expected)
    for direction, rows in ((1, slice(6, 11)), (-1, slice(10, 15))):
        expected = np.zeros(sci.shape, dtype=np.uint8)
        expected[rows, 7] = 1
        np.testing.assert_array_equal(_flag(sci, blot, ny=21, ctegrow=4, direction=direction), expected)


def test_noise_without_the_peers_gain_is_the_poisson_noise_of_electrons() -> None:
    blot = np.full((1, 4), 90.0, dtype=np.float32)
    # Variance 90 + 6 + 5**2 = 121: the limit of 3 sigma is 33 electrons.
    sci = np.array([[122.9, 123.1, 57.1, 56.9]], dtype=np.float32)
    strict, loose = np.empty((2, 1, 4), dtype=np.uint8)
    exceeds_noise(sci, blot, np.zeros_like(blot), 6.0, 1.0, 5.0, 4.0, 3.0, 1.2, 0.7, strict, loose)
    np.testing.assert_array_equal(loose, [[0, 1, 0, 1]])
    np.testing.assert_array_equal(strict, [[0, 0, 0, 0]])


def _slow_spared_mask(sci: np.ndarray, blot: np.ndarray, core: float) -> np.ndarray:
    """The rule with the allowance for stars, by filters of whole images."""
    slope = _slow_derivative(blot)
    noise = np.sqrt(np.abs(blot + np.float32(BACKGROUND)) + np.float32(READ_NOISE**2))
    height = blot - ndimage.minimum_filter(blot, size=5, mode="nearest")
    allowances = np.maximum(np.float32(core) * (height - np.float32(5.0) * noise), 0.0), np.float32(0.0)
    over = [
        np.abs(sci - blot) - allowance > np.float32(m) * slope + np.float32(n) * noise
        for n, m, allowance in zip(SNR, SCALE, allowances, strict=True)
    ]
    return (over[1] & ndimage.binary_dilation(over[0], np.ones((3, 3)))).astype(np.uint8)


@pytest.mark.parametrize("core", [0.3, 1.0])
def test_a_share_of_the_height_of_stars_is_allowed(core: float) -> None:
    sci, blot = _scene()
    # What the peak of a narrow star may be above the median, and what it may not.
    sci[[38, 40, 41], [20, 19, 23]] += [900.0, 1200.0, 9000.0]
    plain, spared = (_flag(sci, blot, peer=False, core=share) for share in (0.0, core))
    np.testing.assert_array_equal(spared, _slow_spared_mask(sci, blot, core))
    np.testing.assert_array_equal(plain, _slow_spared_mask(sci, blot, 0.0))
    assert not (spared & ~plain).any()
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    is_star = (y - 40) ** 2 + (x - 20) ** 2 < 64
    assert spared[is_star].sum() < plain[is_star].sum()
    np.testing.assert_array_equal(spared[:25], plain[:25])


def test_a_pixel_without_a_value_is_flagged_in_a_spared_core_too() -> None:
    sci, blot = _scene()
    sci[40, 20] = np.nan
    blot[38, 21] = np.nan
    assert _flag(sci, blot, core=1.0)[[40, 38], [20, 21]].all()


@pytest.mark.parametrize("how", [{}, {"grow": 4, "ctegrow": 6, "direction": 1}])
def test_bands_do_not_change_the_spared_mask(how: dict[str, int]) -> None:
    sci, blot = _scene()
    halo = cosmic_ray_halo(how.get("grow", 1), how.get("ctegrow", 0), 0.3)
    parts = []
    for start in range(0, SHAPE[0], 2):
        low, high = max(0, start - halo), min(SHAPE[0], start + 2 + halo)
        band = _flag(sci[low:high].copy(), blot[low:high].copy(), y0=low, core=0.3, **how)
        parts.append(band[start - low : start + 2 - low])
    np.testing.assert_array_equal(np.concatenate(parts), _flag(sci, blot, core=0.3, **how))
