"""Blotting: the oracles are dense Lagrange sums, polynomials and scipy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numba import njit
from scipy.ndimage import map_coordinates

from mosaic.kernels.blot import INTERPOLATORS, interpolator_halo
from mosaic.kernels.exact_map import MapModel
from mosaic.kernels.pixmap import map_row
from mosaic.kernels.quintics import N_SIDE, quintics
from mosaic.types import DoubleArray, FloatArray
from tests.support.maps import distorted_model, linear_model

FRAME_YX = (61, 83)
CHIP_YX = (70, 90)
NODES = {"poly3": (-1, 2), "poly5": (-2, 3)}
SCALED_AND_TURNED = [(1.0, 0.0), (1.0, 0.4), (1.0, 30.0), (1.0, 90.0), (1.0, 180.0), (0.5, 3.0), (2.0, 2.0)]
"""Steps between chip pixels in pixels of the frame, and by how many degrees the chip is turned."""
TURNED = ((0.97, -0.21), (0.19, 1.04))


def _frame(seed: int = 1) -> FloatArray:
    return np.random.default_rng(seed).normal(100.0, 10.0, FRAME_YX).astype(np.float32)


def _blot(
    name: str,
    frame: FloatArray,
    model: MapModel,
    *,
    window: tuple[int, int, int, int] = (0, CHIP_YX[0], 0, CHIP_YX[1]),
    cut: tuple[slice, slice] = (slice(None), slice(None)),
    rounded: bool = False,
    scale: float = 1.0,
) -> FloatArray:
    out = np.full((window[1] - window[0], window[3] - window[2]), np.nan, np.float32)
    origin = (cut[0].start or 0, cut[1].start or 0)
    image = np.ascontiguousarray(frame[cut])
    INTERPOLATORS[name](image, origin, frame.shape, model, window, scale, rounded, 1.0, out)
    return out


def _positions(model: MapModel) -> tuple[DoubleArray, DoubleArray]:
    x, y = np.empty(CHIP_YX), np.empty(CHIP_YX)
    for row in range(CHIP_YX[0]):
        map_row(model, 0, CHIP_YX[1], 0.0, float(row), x[row], y[row])
    return x, y


def _is_inside(x: DoubleArray, y: DoubleArray) -> np.ndarray:
    return (x >= 0) & (x <= FRAME_YX[1]) & (y >= 0) & (y <= FRAME_YX[0])


def _lagrange(fraction: float, first: int, last: int) -> DoubleArray:
    nodes = np.arange(first, last + 1)
    return np.array([np.prod([(fraction - m) / (n - m) for m in nodes if m != n]) for n in nodes])


def _padded(frame: FloatArray, n: int) -> DoubleArray:
    return np.pad(frame.astype(float), n, mode="reflect", reflect_type="odd")


@pytest.mark.parametrize("name", ["poly3", "poly5"])
@pytest.mark.parametrize("rounded", [False, True])
def test_polynomial_interpolants_are_lagrange_sums_over_the_oddly_reflected_frame(
    name: str, *, rounded: bool
) -> None:
    frame, model = _frame(), linear_model(TURNED, (-3.3, -7.1))
    blotted = _blot(name, frame, model, rounded=rounded, scale=2.5)
    first, last = NODES[name]
    padded = _padded(frame, 8)
    x, y = _positions(model)
    if rounded:
        x, y = x.astype(np.float32).astype(float), y.astype(np.float32).astype(float)
    expected = np.zeros(CHIP_YX)
    for index in zip(*np.nonzero(_is_inside(x, y)), strict=True):
        i, j = int(x[index]), int(y[index])
        box = padded[j + first + 8 : j + last + 9, i + first + 8 : i + last + 9]
        expected[index] = _lagrange(y[index] - j, first, last) @ box @ _lagrange(x[index] - i, first, last)
    assert np.count_nonzero(expected) > 3000
    np.testing.assert_allclose(blotted, 2.5 * expected, rtol=3e-6, atol=1e-3)


@pytest.mark.parametrize(("name", "degree"), [("linear", 1), ("poly3", 3), ("poly5", 5)])
def test_polynomials_of_the_order_are_reproduced(name: str, degree: int) -> None:
    rng = np.random.default_rng(5)
    coefficients = rng.normal(size=(degree + 1, degree + 1))

    def surface(x: DoubleArray, y: DoubleArray) -> DoubleArray:
        return np.polynomial.polynomial.polyval2d(x / 40.0 - 1.0, y / 30.0 - 1.0, coefficients)

    rows, columns = np.indices(FRAME_YX).astype(float)
    model = linear_model(TURNED, (-3.3, -7.1))
    blotted = _blot(name, surface(columns, rows).astype(np.float32), model)
    x, y = _positions(model)
    deep = (x > 3) & (x < FRAME_YX[1] - 4) & (y > 3) & (y < FRAME_YX[0] - 4)
    assert deep.sum() > 2000
    np.testing.assert_allclose(blotted[deep], surface(x, y)[deep], atol=3e-5)


def test_linear_and_nearest_agree_with_scipy_with_the_last_pixel_continued() -> None:
    frame, model = _frame(), linear_model(TURNED, (-3.3, -7.1))
    x, y = _positions(model)
    inside = _is_inside(x, y)
    linear = map_coordinates(frame.astype(float), [y, x], order=1, mode="nearest")
    np.testing.assert_allclose(_blot("linear", frame, model), np.where(inside, linear, 0.0), rtol=2e-6)
    row = np.minimum((y + 0.5).astype(int), FRAME_YX[0] - 1)
    column = np.minimum((x + 0.5).astype(int), FRAME_YX[1] - 1)
    nearest = np.where(inside, frame[np.where(inside, row, 0), np.where(inside, column, 0)], 0.0)
    np.testing.assert_array_equal(_blot("nearest", frame, model), nearest)


@pytest.mark.parametrize(
    ("name", "reach", "tolerance"), [("sinc", 7, 2e-3), ("lan3", 3, 2e-2), ("lan5", 5, 8e-3)]
)
def test_band_limited_waves_survive_sinc_like_interpolants(name: str, reach: int, tolerance: float) -> None:
    def wave(x: DoubleArray, y: DoubleArray) -> DoubleArray:
        return np.cos(0.5 * x + 0.3) * np.cos(0.4 * y - 0.2)

    rows, columns = np.indices(FRAME_YX).astype(float)
    model = linear_model(TURNED, (-3.3, -7.1))
    blotted = _blot(name, wave(columns, rows).astype(np.float32), model)
    x, y = _positions(model)
    deep = (x > reach) & (x < FRAME_YX[1] - reach - 1) & (y > reach) & (y < FRAME_YX[0] - reach - 1)
    np.testing.assert_allclose(blotted[deep], wave(x, y)[deep], atol=tolerance)


@pytest.mark.parametrize("name", list(INTERPOLATORS))
def test_whole_pixel_positions_give_the_pixel(name: str) -> None:
    frame = _frame()
    blotted = _blot(name, frame, linear_model(((1.0, 0.0), (0.0, 1.0)), (12.0, 9.0)), window=(0, 40, 0, 50))
    np.testing.assert_allclose(blotted, frame[9:49, 12:62], rtol=1e-6)


@pytest.mark.parametrize("name", list(INTERPOLATORS))
def test_positions_up_to_and_including_the_frame_size_are_inside(name: str) -> None:
    frame = np.full(FRAME_YX, 3.0, np.float32)
    ny, nx = FRAME_YX
    model = linear_model(((1.0, 0.0), (0.0, 1.0)), (-1.0, -1.0))
    blotted = _blot(name, frame, model, window=(0, ny + 3, 0, nx + 3))
    assert not blotted[0].any()
    assert not blotted[:, 0].any()
    assert not blotted[-1].any()
    assert not blotted[:, -1].any()
    if not name.startswith("lan"):
        np.testing.assert_allclose(blotted[1:-1, 1:-1], 3.0, rtol=1e-6)


@pytest.mark.parametrize("name", list(INTERPOLATORS))
@pytest.mark.parametrize("rounded", [False, True])
def test_a_pixel_has_the_same_bits_from_a_window_with_halo(name: str, *, rounded: bool) -> None:
    frame, model = _frame(), distorted_model(3, CHIP_YX)
    whole = _blot(name, frame, model, rounded=rounded)
    x, y = _positions(model)
    halo = interpolator_halo(name) + 1
    for y0, y1 in pairwise([0, 13, 31, 52, CHIP_YX[0]]):
        for x0, x1 in pairwise([0, 29, 61, CHIP_YX[1]]):
            part = (slice(y0, y1), slice(x0, x1))
            rows = np.clip([y[part].min() - halo, y[part].max() + halo + 1], 0, FRAME_YX[0]).astype(int)
            columns = np.clip([x[part].min() - halo, x[part].max() + halo + 1], 0, FRAME_YX[1]).astype(int)
            if rows[0] == rows[1] or columns[0] == columns[1]:
                continue
            cut = (slice(int(rows[0]), int(rows[1])), slice(int(columns[0]), int(columns[1])))
            piece = _blot(name, frame, model, window=(y0, y1, x0, x1), cut=cut, rounded=rounded)
            np.testing.assert_array_equal(piece, whole[part])


def _scaled_and_turned(scale: float, degrees: float) -> MapModel:
    """Map that brings the middle of the chip to that of the frame."""
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    matrix = np.array([[c, -s], [s, c]])
    x, y = np.array(FRAME_YX)[::-1] / 2.0 - matrix @ (np.array(CHIP_YX)[::-1] / 2.0) + (0.13, -0.31)
    return linear_model(((c, -s), (s, c)), (float(x), float(y)))


def _frame_with_gaps() -> FloatArray:
    frame = _frame()
    frame[28, 37:39] = frame[2, 60] = frame[44, 3] = np.nan
    return frame


def _blot_in_strips(frame: FloatArray, model: MapModel, width: int, **options: float) -> FloatArray:
    """Quintic in windows of so many columns."""
    strips = [
        _blot("poly5", frame, model, window=(0, CHIP_YX[0], x0, min(x0 + width, CHIP_YX[1])), **options)
        for x0 in range(0, CHIP_YX[1], width)
    ]
    return np.concatenate(strips, axis=1)


def _assert_same_bits(one: FloatArray, other: FloatArray) -> None:
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(np.signbit(one), np.signbit(other))


@njit(error_model="numpy")
def _side_by_side(
    image: FloatArray, origin_yx: tuple[int, int], x: DoubleArray, y: DoubleArray, out: FloatArray
) -> int:
    """Interpolate all positions that can be; return how many that are."""
    n = 0
    for k in range(0, x.size // N_SIDE * N_SIDE, N_SIDE):
        n += N_SIDE * quintics((image, origin_yx[0], origin_yx[1], x, y, k, np.float32(2.5), out))
    return n


@pytest.mark.parametrize(("scale", "degrees"), SCALED_AND_TURNED)
def test_quintics_side_by_side_have_the_bits_of_each_by_itself(scale: float, degrees: float) -> None:
    frame, model = _frame_with_gaps(), _scaled_and_turned(scale, degrees)
    alone = _blot_in_strips(frame, model, N_SIDE - 1, scale=2.5)
    x, y = _positions(model)
    for top, left in ((0, 0), (3, 7)):
        cut = np.ascontiguousarray(frame[top:-2, left:-5])
        out = np.full(CHIP_YX, -1.0, np.float32)
        n = _side_by_side(cut, (top, left), x.ravel(), y.ravel(), out.reshape(-1))
        is_done = out != -1.0
        assert np.count_nonzero(is_done) == n > 400
        assert np.isnan(out).any()
        _assert_same_bits(out[is_done], alone[is_done])
        columns, rows = x[is_done], y[is_done]
        assert left + 2 <= columns.min() <= columns.max() < FRAME_YX[1] - 5 - 3
        assert top + 2 <= rows.min() <= rows.max() < FRAME_YX[0] - 2 - 3


@pytest.mark.parametrize(("scale", "degrees"), SCALED_AND_TURNED)
@pytest.mark.parametrize("rounded", [False, True])
def test_the_quintic_has_the_same_bits_in_windows_of_every_width(
    scale: float, degrees: float, *, rounded: bool
) -> None:
    frame, model = _frame_with_gaps(), _scaled_and_turned(scale, degrees)
    whole = _blot("poly5", frame, model, rounded=rounded)
    assert np.isnan(whole).any()
    for width in (1, N_SIDE - 1, N_SIDE, N_SIDE + 1, 23, 41):
        _assert_same_bits(_blot_in_strips(frame, model, width, rounded=rounded), whole)


def test_quintics_need_all_that_is_read_to_be_pixels_of_the_image() -> None:
    frame = _frame()
    ny, nx = FRAME_YX
    out = np.zeros(N_SIDE, np.float32)
    x, y = np.full(N_SIDE, 30.5), np.full(N_SIDE, 20.5)
    assert _side_by_side(frame, (0, 0), x, y, out) == N_SIDE
    for k in range(N_SIDE):
        for place in (
            (1.9, 20.5),
            (nx - 3.0, 20.5),
            (30.5, 1.9),
            (30.5, ny - 3.0),
            (np.nan, 20.5),
            (-1.0, np.nan),
        ):
            there_x, there_y = x.copy(), y.copy()
            there_x[k], there_y[k] = place
            assert _side_by_side(frame, (0, 0), there_x, there_y, out) == 0
        for place in ((2.0, 20.5), (nx - 3.1, 20.5), (30.5, 2.0), (30.5, ny - 3.1)):
            there_x, there_y = x.copy(), y.copy()
            there_x[k], there_y[k] = place
            assert _side_by_side(frame, (0, 0), there_x, there_y, out) == N_SIDE
    x[5], y[5] = nx - 3.1, ny - 3.1
    assert _side_by_side(frame, (0, 0), x, y, out) == 0


@pytest.mark.parametrize(("name", "side"), [("poly3", 4), ("poly5", 6)])
def test_nan_spreads_to_the_nodes_of_the_interpolant_only(name: str, side: int) -> None:
    frame = _frame()
    frame[30, 40] = np.nan
    model = linear_model(((1.0, 0.0), (0.0, 1.0)), (0.4, 0.3))
    blotted = _blot(name, frame, model, window=(0, 55, 0, 75))
    assert np.count_nonzero(np.isnan(blotted)) == side * side


def test_undefined_positions_are_outside() -> None:
    model = linear_model(((1.0, 0.0), (0.0, 1.0)), (np.nan, 0.0))
    for name in INTERPOLATORS:
        assert not _blot(name, _frame(), model, window=(0, 4, 0, 5)).any()
