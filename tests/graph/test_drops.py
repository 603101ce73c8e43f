"""The one-pass preparation gives the bits of the step-by-step one."""

from __future__ import annotations

import numpy as np
import pytest

from mosaic.kernels.prepare import count_usable, finish_sums, prepare_drops
from mosaic.steps.drizzle import drop_values
from mosaic.steps.median import WEIGHT_UNIT, sum_weights


@pytest.mark.parametrize(
    ("has_static", "has_hits"), [(False, False), (True, False), (False, True), (True, True)]
)
@pytest.mark.parametrize("first_bit", [0, 5])
@pytest.mark.parametrize("is_rate", [False, True])
def test_one_pass_equals_the_steps(
    *, has_static: bool, has_hits: bool, first_bit: int, is_rate: bool
) -> None:
    rng = np.random.default_rng(12)
    shape = (23, 61)
    sci = rng.normal(50.0, 400.0, shape).astype(np.float32)
    sci[3, 7] = np.nan
    dq = rng.choice(np.array([0, 16, 64, 4096, 32768 | 16], dtype=np.uint16), shape)
    bad_bits = np.uint16(0xFFFF & ~(64 | 4096))
    static, hits = (rng.random((23, 61 + first_bit)) < 0.2 for _ in range(2))
    none = np.zeros((0, 0), dtype=np.uint8)
    packed = [
        np.packbits(mask, axis=1, bitorder="little") if wanted else none
        for mask, wanted in ((static, has_static), (hits, has_hits))
    ]
    value, weight = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
    sky, gain, exptime_s, ratio, level = 41.3, 1.7, 503.0, 0.83, np.float32(503.0)
    prepare_drops(
        sci,
        dq,
        bad_bits,
        packed[0],
        packed[1],
        first_bit,
        np.float32(sky),
        np.float32(gain),
        np.float32(1.0 if is_rate else 1.0 / exptime_s),
        np.float32(ratio**2),
        level,
        value,
        weight,
    )
    expected = drop_values(sci, sky=sky, gain=gain, time_s=1.0 if is_rate else exptime_s, scale_ratio=ratio)
    np.testing.assert_array_equal(value, expected)
    good = (dq & bad_bits) == 0
    if has_static:
        good &= ~static[:, first_bit:]
    if has_hits:
        good &= ~hits[:, first_bit:]
    np.testing.assert_array_equal(weight, np.where(good, level, np.float32(0.0)))


def test_usable_pixels_are_finite_and_unmasked() -> None:
    rng = np.random.default_rng(3)
    sci = rng.normal(0.0, 1.0, (17, 43)).astype(np.float32)
    sci[rng.random(sci.shape) < 0.1] = np.nan
    sci[2, 3] = np.inf
    dq = rng.choice(np.array([0, 4, 64], dtype=np.uint16), sci.shape)
    expected = np.isfinite(sci) & ((dq & 4) == 0)
    counted = count_usable(sci, dq, np.uint16(4))
    assert counted == (np.count_nonzero(expected), np.count_nonzero(~np.isfinite(sci)))


def test_sums_are_divided_once_and_kept_where_nothing_weighs() -> None:
    total = np.array([[3.0, np.nan, -5.0], [1e-3, 7.0, 0.0]])
    weight = np.array([[2.0, 0.0, 0.0], [3.0, -0.5, 4.0]])
    image, weights = np.empty((2, 3), dtype=np.float32), np.empty((2, 3), dtype=np.float32)
    finish_sums(total, weight, image, weights)
    np.testing.assert_array_equal(image, np.float32([[1.5, np.nan, -5.0], [1e-3 / 3.0, -14.0, 0.0]]))
    np.testing.assert_array_equal(weights, weight.astype(np.float32))


def test_weight_sums_are_those_of_fractions_rounded_one_by_one() -> None:
    rng = np.random.default_rng(31)
    weight = rng.normal(507.0, 40.0, (19, 37)).astype(np.float32)
    weight[rng.random(weight.shape) < 0.2] = 0.0
    weight[4, 5:8] = 1e-8, 1.1e-8, np.nan
    # Part of a larger array, as with the pixels around a tile cut off.
    part = weight[1:-1, 1:-1]
    sums = sum_weights(part, 507.0)
    covered = [float(value) for value in part.ravel() if value > np.float32(1e-8)]
    assert sums.count == len(covered)
    assert sums.total == sum(round(value * (WEIGHT_UNIT / 507.0)) for value in covered)
