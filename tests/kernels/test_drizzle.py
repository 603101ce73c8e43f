"""All drizzle kernels: closed forms, the deposit rule, and the C library `drizzle` as an oracle."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from drizzle.resample import Drizzle

from mosaic.errors import ParameterError
from mosaic.kernels.drizzle import KERNELS, kernel_half_width
from mosaic.kernels.exact_map import MapModel
from mosaic.kernels.pixmap import map_row
from mosaic.types import DoubleArray, FloatArray, Window
from tests.support.maps import Planes, distorted_model, empty_planes, linear_model, run_kernel

SHAPE_YX = (37, 53)
ALL = sorted(KERNELS)
IDENTITY = linear_model(((1.0, 0.0), (0.0, 1.0)), (0.0, 0.0))


def _pixels(seed: int, shape: tuple[int, int] = SHAPE_YX) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Value, weight (one in ten masked) and variance."""
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0.5, 2.0, shape) * (rng.uniform(size=shape) > 0.1)
    return (
        rng.normal(5.0, 1.0, shape).astype(np.float32),
        weight.astype(np.float32),
        rng.uniform(0.1, 1.0, shape).astype(np.float32),
    )


def _positions(model: MapModel, shape: tuple[int, int]) -> DoubleArray:
    """Pixel map as the C library wants it, (ny, nx, 2)."""
    ny, nx = shape
    pixmap = np.empty((ny, nx, 2))
    x_out, y_out = np.empty(nx), np.empty(nx)
    for y in range(ny):
        map_row(model, 0, nx, 0.0, float(y), x_out, y_out)
        pixmap[y, :, 0], pixmap[y, :, 1] = x_out, y_out
    return pixmap


def _add_to_library(
    library: Drizzle,
    value: FloatArray,
    weight: FloatArray,
    model: MapModel,
    *,
    pixfrac: float,
    scale: float,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Warning)  # that gaussian and Lanczos do not conserve flux
        library.add_image(
            value,
            1.0,
            _positions(model, value.shape),
            pixel_scale_ratio=scale,
            weight_map=weight,
            pixfrac=pixfrac,
        )


def _affine(scale: float, turn: float) -> MapModel:
    c, s = np.cos(turn) / scale, np.sin(turn) / scale
    return linear_model(((c, -s), (1.05 * s, 1.05 * c)), (25.3 / scale, 8.4 / scale))


def _tile_for(scale: float) -> Window:
    """Hold the whole of `_affine`: the library drops input pixels that straddle the frame."""
    return Window(0, int(90 / scale), 0, int(95 / scale))


# The library has no tophat, and its Lanczos kernels ignore pixfrac and read the table elsewhere.
@pytest.mark.parametrize("name", ["square", "turbo", "point", "gaussian"])
@pytest.mark.parametrize("pixfrac", [1.0, 0.7])
@pytest.mark.parametrize("scale", [0.6, 1.0, 1.7])
def test_kernels_agree_with_the_c_library(name: str, pixfrac: float, scale: float) -> None:
    tile = _tile_for(scale)
    library = Drizzle(kernel=name, out_shape=tile.shape_yx, fillval="NaN")
    planes: Planes | None = None
    for chip in range(3):
        value, weight, variance = _pixels(20 + chip)
        # The library extrapolates corners linearly from pixel centres: exact for an affine map.
        model = _affine(scale, 0.2 + 0.1 * chip)
        _add_to_library(library, value, weight, model, pixfrac=pixfrac, scale=scale)
        planes = run_kernel(
            name,
            value,
            weight,
            model,
            tile,
            variance=variance,
            pixfrac=pixfrac,
            scale_ratio=scale,
            planes=planes,
            bit=1 << chip,
        )
    assert planes is not None
    # The library accumulates in single precision: a few ulp of the largest partial weight.
    peak = float(np.abs(planes.weights).max())
    np.testing.assert_allclose(planes.weights, library.out_wht, rtol=2e-6, atol=4e-7 * peak)
    has_weight = np.abs(planes.weights) > 0.02 * peak
    np.testing.assert_allclose(planes.image[has_weight], library.out_img[has_weight], rtol=2e-5, atol=2e-5)
    # Slivers near zero may fall on either side in single precision.
    is_clear = planes.weights > 1e-4 * peak
    np.testing.assert_array_equal(planes.touched[is_clear], library.out_ctx[0][is_clear])


@pytest.mark.parametrize("name", ["lanczos2", "lanczos3"])
@pytest.mark.parametrize("scale", [0.6, 1.0, 1.7])
def test_lanczos_agrees_with_the_c_library_to_its_table_step(name: str, scale: float) -> None:
    tile = _tile_for(scale)
    library = Drizzle(kernel=name, out_shape=tile.shape_yx, fillval="NaN")
    value, weight, _ = _pixels(20)
    _add_to_library(library, value, weight, _affine(scale, 0.2), pixfrac=1.0, scale=scale)
    planes = run_kernel(name, value, weight, _affine(scale, 0.2), tile, scale_ratio=scale)
    # One entry of 0.01 at the steepest slope of the profile, for up to four overlapping pixels.
    np.testing.assert_allclose(planes.weights, library.out_wht, rtol=0.0, atol=0.06 * planes.weights.max())


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("step", [0, 8])
def test_tiles_and_windows_do_not_change_one_bit(name: str, step: int) -> None:
    shape = (71, 303)
    model = distorted_model(30, shape, scale=0.9, turn=0.4)
    if step:
        rng = np.random.default_rng(31)
        j, i = np.mgrid[: shape[0] // step + 2, : shape[1] // step + 2] * float(step)
        nodes = np.stack([0.95 * i - 0.3 * j + 20.0, 0.3 * i + 0.95 * j - 4.0], axis=-1)
        model = model._replace(step=step, nodes=nodes + rng.uniform(-0.3, 0.3, nodes.shape))
    value, weight, variance = _pixels(32, shape)
    value[5, 7] = np.nan
    full = Window(-40, 240, -60, 420)
    whole = run_kernel(
        name, value, weight, model, full, variance=variance, pixfrac=0.8, scale_ratio=0.9, bit=4
    )
    pieces = empty_planes(full.shape_yx)
    for y0 in range(full.y0, full.y1, 93):
        for x0 in range(full.x0, full.x1, 111):
            tile = Window(y0, min(y0 + 93, full.y1), x0, min(x0 + 111, full.x1))
            part = empty_planes(tile.shape_yx)
            # Windows in the order of rows and columns of the input, as one call would go.
            for wy in range(0, shape[0], 13):
                window = Window(wy, min(wy + 13, shape[0]), 0, shape[1])
                part = run_kernel(
                    name,
                    value,
                    weight,
                    model,
                    tile,
                    window=window,
                    variance=variance,
                    pixfrac=0.8,
                    scale_ratio=0.9,
                    planes=part,
                    bit=4,
                )
            at = Window(y0 - full.y0, tile.y1 - full.y0, x0 - full.x0, tile.x1 - full.x0).slices
            for target, source in zip(pieces[:4], part[:4], strict=True):
                target[at] = source
    for got, want in zip(pieces[:4], whole[:4], strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", ALL)
def test_a_window_cut_at_any_column_gives_the_same_bits_where_it_is_complete(name: str) -> None:
    shape = (40, 200)
    model = distorted_model(33, shape, turn=0.1)
    value, weight, _ = _pixels(34, shape)
    tile = Window(20, 45, 100, 130)
    whole = run_kernel(name, value, weight, model, tile)
    # The tile needs less than this window; its first column is no multiple of any block.
    pixmap = _positions(model, shape)
    is_near = (
        (pixmap[..., 0] > tile.x0 - 6)
        & (pixmap[..., 0] < tile.x1 + 6)
        & (pixmap[..., 1] > tile.y0 - 6)
        & (pixmap[..., 1] < tile.y1 + 6)
    )
    rows, columns = np.nonzero(is_near.any(axis=1))[0], np.nonzero(is_near.any(axis=0))[0]
    window = Window(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
    assert window.shape_yx != shape
    part = run_kernel(name, value, weight, model, tile, window=window)
    assert whole.weights.any()
    np.testing.assert_array_equal(part.weights, whole.weights)
    np.testing.assert_array_equal(part.sums, whole.sums)


@pytest.mark.parametrize("name", ["square", "turbo", "point"])
def test_weight_is_conserved(name: str) -> None:
    value, weight, _ = _pixels(40)
    for scale in (0.6, 1.0, 1.7):
        tile = Window(-50, int(110 / scale), -50, int(110 / scale))
        planes = run_kernel(name, value, weight, _affine(scale, 0.3), tile, pixfrac=0.8, scale_ratio=scale)
        np.testing.assert_allclose(planes.weights.sum(), weight.sum(dtype=float), rtol=1e-12)
        flux = np.sum(value.astype(float) * weight)
        np.testing.assert_allclose(np.nansum(planes.sums * (planes.weights > 0)), flux, rtol=1e-12)
        assert planes.n_missed == 0


@pytest.mark.parametrize("name", ALL)
def test_pixels_that_are_nan_are_as_if_they_were_not_there(name: str) -> None:
    value, weight, variance = _pixels(41)
    is_absent = np.random.default_rng(42).uniform(size=value.shape) < 0.2
    holes = np.where(is_absent, np.float32(np.nan), value)
    holes[3, 4], is_absent[3, 4] = np.nan, True
    planes = run_kernel(name, holes, weight, _affine(1.0, 0.3), _tile_for(1.0), variance=variance)
    assert np.isfinite(planes.image[planes.weights != 0.0]).all()
    # Only present pixels count as missed.
    off = run_kernel(name, holes, weight, _affine(1.0, 0.3), Window(5000, 5010, 5000, 5020))
    assert off.n_missed == value.size - int(is_absent.sum())
    # A disc may lie between the pixel centres.
    assert planes.n_missed == 0 or name == "tophat"


@pytest.mark.parametrize("name", ["square", "turbo", "point", "gaussian"])
@pytest.mark.parametrize("spoilt_weight", [0.0, 2.0])
def test_an_infinite_pixel_spoils_what_it_touches_and_nothing_else(name: str, spoilt_weight: float) -> None:
    # A pixel spoilt comes after the others; what it touches is what it alone would touch.
    value, weight, _ = _pixels(43)
    tile, model = _tile_for(1.0), _affine(1.0, 0.3)
    weight[:] = 1.0
    alone = np.full_like(value, np.nan)
    alone[3, 4] = np.inf
    touched = run_kernel(name, np.where(np.isinf(alone), 1.0, np.nan).astype(np.float32), weight, model, tile)
    planes = run_kernel(name, value, weight, model, tile)
    before = planes.sums.copy()
    again = run_kernel(name, alone, np.full_like(weight, spoilt_weight), model, tile, planes=planes)
    is_spoilt = ~np.isfinite(again.sums) & (again.weights > 0.0)
    np.testing.assert_array_equal(is_spoilt, touched.weights > 0.0)
    kept = (planes.weights > 0.0) & ~is_spoilt
    np.testing.assert_array_equal(again.sums[kept], before[kept])


@pytest.mark.parametrize("name", ALL)
def test_a_pixel_seen_only_by_masked_input_keeps_the_last_masked_value(name: str) -> None:
    value = np.full((3, 4), 7.0, np.float32)
    masked, tile = np.zeros_like(value), Window(0, 5, 0, 6)
    planes = run_kernel(name, value, masked, IDENTITY, tile)
    planes = run_kernel(name, value + 2, masked, IDENTITY, tile, planes=planes)
    assert planes.sums[1, 1] == 9.0
    assert not planes.weights.any()
    assert not planes.touched.any()
    assert np.isnan(planes.sums[4, 5]) or name.startswith(("lanczos", "gauss"))
    planes = run_kernel(name, value, np.ones_like(value), IDENTITY, tile, planes=planes)
    before = planes.sums.copy()
    planes = run_kernel(name, value + 5, masked, IDENTITY, tile, planes=planes)
    np.testing.assert_array_equal(planes.sums[1:2, 1:3], before[1:2, 1:3])
    np.testing.assert_allclose(planes.image[1, 1], 7.0, rtol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_variance_is_summed_with_squared_weights(name: str) -> None:
    shape = (5, 7)
    model = _affine(1.0, 0.3)
    tile = Window(0, 30, 0, 40)
    total = np.zeros(tile.shape_yx)
    value, weight, variance = _pixels(43, shape)
    weight += np.float32(0.5)
    for y, x in np.ndindex(shape):
        one = run_kernel(name, value, weight, model, tile, window=Window(y, y + 1, x, x + 1))
        total += one.weights**2 * float(variance[y, x])
    planes = run_kernel(name, value, weight, model, tile, variance=variance)
    np.testing.assert_allclose(planes.variances, total, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("name", ALL)
def test_planes_that_are_not_wanted_change_nothing_else(name: str) -> None:
    value, weight, variance = _pixels(44)
    tile = _tile_for(1.0)
    full = run_kernel(name, value, weight, _affine(1.0, 0.2), tile, variance=variance)
    sums, weights = np.full(tile.shape_yx, np.nan), np.zeros(tile.shape_yx)
    KERNELS[name](
        value,
        weight,
        np.zeros((0, 0), np.float32),
        _affine(1.0, 0.2),
        (0, 0),
        1.0,
        1.0,
        (0, 0),
        sums,
        weights,
        np.zeros((0, 0)),
        np.zeros((0, 0), np.int32),
        1,
    )
    np.testing.assert_array_equal(sums, full.sums)
    np.testing.assert_array_equal(weights, full.weights)


def test_the_highest_context_bit_is_the_sign_bit() -> None:
    value = np.ones((2, 3), np.float32)
    planes = run_kernel("point", value, value, IDENTITY, Window(0, 2, 0, 3), bit=-(2**31))
    planes = run_kernel("point", value, value, IDENTITY, Window(0, 2, 0, 3), bit=1, planes=planes)
    assert (planes.touched == np.int32(-(2**31) + 1)).all()


def _one_pixel(name: str, x: float, y: float, pixfrac: float, scale: float) -> DoubleArray:
    """Weights that one pixel of weight 1 mapped to (x, y) leaves in a tile."""
    one = np.ones((1, 1), np.float32)
    model = linear_model(((1.0, 0.0), (0.0, 1.0)), (x, y))
    return run_kernel(name, one, one, model, Window(0, 21, 0, 23), pixfrac=pixfrac, scale_ratio=scale).weights


def test_turbo_is_an_aligned_box_of_constant_weight() -> None:
    scale, pixfrac, x, y = 0.7, 0.8, 10.3, 9.1
    half = 0.5 * pixfrac / scale
    i, j = np.arange(23), np.arange(21)
    along_x = np.clip(np.minimum(x + half, i + 0.5) - np.maximum(x - half, i - 0.5), 0.0, None)
    along_y = np.clip(np.minimum(y + half, j + 0.5) - np.maximum(y - half, j - 0.5), 0.0, None)
    got = _one_pixel("turbo", x, y, pixfrac, scale)
    np.testing.assert_allclose(got, np.outer(along_y, along_x) / (2 * half) ** 2, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize(("x", "column"), [(10.5, 11), (10.49, 10), (0.5, 1), (-0.4, 0)])
def test_point_rounds_halves_away_from_zero(x: float, column: int) -> None:
    got = _one_pixel("point", x, 3.0, 1.0, 1.0)
    assert got[3, column] == 1.0
    assert got.sum() == 1.0


def test_point_rounds_negative_halves_down() -> None:
    assert _one_pixel("point", -0.5, 3.0, 1.0, 1.0).sum() == 0.0


def test_gaussian_has_the_stated_profile() -> None:
    scale, pixfrac, x, y = 0.5, 0.9, 10.2, 9.7
    rate = 2.3548**2 * scale**2 / (2.0 * pixfrac**2)
    half = max(2.5 * pixfrac / (2.3548 * scale), 1.2 / scale)
    j, i = np.mgrid[:21, :23]
    inside = (np.abs(i - x) <= half + 0.5) & (np.abs(j - y) <= half + 0.5)
    profile = np.where(inside, rate / np.pi * np.exp(-rate * ((i - x) ** 2 + (j - y) ** 2)), 0.0)
    # The profile is rounded to single precision, as the peer's.
    np.testing.assert_allclose(_one_pixel("gaussian", x, y, pixfrac, scale), profile, rtol=1e-7, atol=0.0)


@pytest.mark.parametrize("order", [2, 3])
def test_lanczos_reads_its_table_one_entry_too_far(order: int) -> None:
    x, y = 10.2, 9.7
    j, i = np.arange(21), np.arange(23)

    def profile(distance: DoubleArray) -> DoubleArray:
        q = np.pi * 0.01 * (np.round(distance / 0.01) + 1.0)
        return np.where(q < order * np.pi, np.sin(q) / q * np.sin(q / order) / (q / order), 0.0)

    expected = np.outer(profile(np.abs(j - y)), profile(np.abs(i - x)))
    np.testing.assert_allclose(_one_pixel(f"lanczos{order}", x, y, 1.0, 1.0), expected, rtol=0.0, atol=3e-7)


@pytest.mark.parametrize("name", ["lanczos2", "lanczos3"])
def test_lanczos_beyond_its_table_is_zero(name: str) -> None:
    """At coarse scales the pixel's half width passes the table's end; nothing may be read there."""
    got = _one_pixel(name, 10.3, 9.4, 0.5, 9.0)
    assert np.isfinite(got).all()
    assert np.abs(got).max() <= 1.0


def test_tophat_weighs_all_pixels_within_its_radius_alike() -> None:
    x, y, pixfrac, scale = 10.3, 9.2, 1.0, 0.2
    j, i = np.mgrid[:21, :23]
    expected = ((i - x) ** 2 + (j - y) ** 2 <= (0.5 * pixfrac / scale) ** 2).astype(float)
    np.testing.assert_array_equal(_one_pixel("tophat", x, y, pixfrac, scale), expected)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("scale", [0.4, 1.0, 2.5])
def test_the_half_width_covers_every_deposit(name: str, scale: float) -> None:
    one = np.ones((1, 1), np.float32)
    rng = np.random.default_rng(50)
    reach = kernel_half_width(name, 0.9, scale)
    for _ in range(20):
        x, y = rng.uniform(19.0, 21.0, 2)
        turn = rng.uniform(0.0, 7.0)
        c, s = np.cos(turn) / scale, np.sin(turn) / scale
        model = linear_model(((c, -s), (s, c)), (x, y))
        planes = run_kernel(name, one, one, model, Window(0, 41, 0, 43), pixfrac=0.9, scale_ratio=scale)
        rows, columns = np.nonzero(planes.weights)
        if rows.size:
            assert max(np.abs(rows - y).max(), np.abs(columns - x).max()) <= reach


def test_an_unknown_kernel_has_no_half_width() -> None:
    with pytest.raises(ParameterError, match="kernel 'cubic' is not one of square"):
        kernel_half_width("cubic", 1.0, 1.0)
