"""The square kernel: the oracle is polygon clipping in rational arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from mosaic.kernels.exact_map import MapModel
from mosaic.kernels.overlap import cell_overlap
from mosaic.kernels.pixmap import map_row
from mosaic.types import DoubleArray, Window
from tests.support.maps import distorted_model, linear_model, run_kernel
from tests.support.polygons import area, overlap_with_pixel

# Float coordinates near 40 carry 7e-15; the sums of a pixel stay below a hundred times that.
AGREEMENT = 1e-12


def _corner_grid(model: MapModel, y: int, x: int, pixfrac: float) -> list[tuple[float, float]]:
    """Mapped corners of one input pixel, in the order of the outline."""
    corners = []
    out = np.empty((2, 1))
    for dx, dy in ((-0.5, 0.5), (0.5, 0.5), (0.5, -0.5), (-0.5, -0.5)):
        map_row(model, x, 1, dx * pixfrac, y + dy * pixfrac, out[0], out[1])
        corners.append((float(out[0, 0]), float(out[1, 0])))
    return corners


def _expected_weights(model: MapModel, weight: DoubleArray, tile: Window, pixfrac: float) -> DoubleArray:
    expected = np.zeros(tile.shape_yx)
    for y, x in np.ndindex(weight.shape):
        corners = _corner_grid(model, y, x, pixfrac)
        whole = area(corners)
        xs, ys = np.round([c[0] for c in corners]), np.round([c[1] for c in corners])
        for j in range(max(int(ys.min()) - 1, tile.y0), min(int(ys.max()) + 2, tile.y1)):
            for i in range(max(int(xs.min()) - 1, tile.x0), min(int(xs.max()) + 2, tile.x1)):
                share = overlap_with_pixel(corners, i, j) / whole
                expected[j - tile.y0, i - tile.x0] += share * float(weight[y, x])
    return expected


@pytest.mark.parametrize("pixfrac", [1.0, 0.7])
@pytest.mark.parametrize(
    "matrix",
    [
        ((1.0, 0.0), (0.0, 1.0)),
        ((0.93, -0.31), (0.33, 0.98)),
        ((-1.1, 0.2), (0.1, 0.9)),
        ((0.02, -1.0), (1.0, 0.03)),
        ((2.9, 0.4), (-0.3, 3.1)),
        ((0.3, 0.05), (0.02, 0.27)),
        ((7.1, 1.7), (-2.3, 6.2)),
    ],
    ids=["identity", "turned", "mirrored", "quarter-turn", "enlarged", "reduced", "many-cells"],
)
def test_weights_are_exact_shares_of_area(
    matrix: tuple[tuple[float, float], tuple[float, float]], pixfrac: float
) -> None:
    model = linear_model(matrix, (11.3, 9.7))
    weight = np.random.default_rng(4).uniform(0.5, 2.0, (5, 7)).astype(np.float32)
    tile = Window(-12, 45, -10, 60)
    planes = run_kernel("square", np.ones_like(weight), weight, model, tile, pixfrac=pixfrac)
    np.testing.assert_allclose(
        planes.weights, _expected_weights(model, weight, tile, pixfrac), rtol=0.0, atol=AGREEMENT
    )


def test_weights_are_exact_shares_of_area_under_distortion() -> None:
    model = distorted_model(9, (9, 13), scale=0.8, turn=-0.7)
    weight = np.random.default_rng(5).uniform(0.5, 2.0, (9, 13)).astype(np.float32)
    tile = Window(-20, 40, -20, 50)
    planes = run_kernel("square", np.ones_like(weight), weight, model, tile, pixfrac=0.9)
    np.testing.assert_allclose(
        planes.weights, _expected_weights(model, weight, tile, 0.9), rtol=0.0, atol=AGREEMENT
    )


@pytest.mark.parametrize("far", [0.0, 4096.0, 1.0e5])
def test_overlap_keeps_its_precision_far_from_the_origin(far: float) -> None:
    rng = np.random.default_rng(11)
    for _ in range(200):
        centre = far + rng.uniform(0.0, 3.0, 2)
        turn = rng.uniform(0.0, 2.0 * np.pi)
        radius = rng.uniform(0.2, 1.6)
        angles = turn - np.array([0.0, 0.5, 1.0, 1.5]) * np.pi + rng.uniform(-0.3, 0.3, 4)
        xy = centre[:, None] + radius * np.array([np.cos(angles), np.sin(angles)])
        i, j = np.floor(centre + rng.integers(-1, 2, 2)).astype(int)
        origin = np.floor(xy.min(axis=1) + 0.5)
        quad = tuple(float(v) for v in ((xy - origin[:, None]) + 0.5).T.ravel())
        got = cell_overlap(quad, float(i - origin[0]), float(j - origin[1]))
        want = overlap_with_pixel([(float(x), float(y)) for x, y in xy.T], int(i), int(j))
        assert abs(got - want) < AGREEMENT


@pytest.mark.parametrize("tilt", [0.0, 1e-300, 1e-16, 1e-13, 1e-9, 1e-5])
def test_nearly_upright_edges_do_not_lose_precision(tilt: float) -> None:
    corners = [(0.25, 1.75), (1.5 + tilt, 1.75 + tilt), (1.5, 0.5), (0.25 - tilt, 0.5 - tilt)]
    quad = tuple(v + 0.5 for corner in corners for v in corner)
    for j in range(3):
        for i in range(3):
            assert abs(cell_overlap(quad, float(i), float(j)) - overlap_with_pixel(corners, i, j)) < AGREEMENT


def test_weight_of_every_pixel_is_conserved() -> None:
    shape = (61, 83)
    weight = np.random.default_rng(1).uniform(0.0, 3.0, shape).astype(np.float32)
    for scale in (0.4, 1.0, 1.7):
        model = distorted_model(2, shape, scale=scale)
        tile = Window(-200, 500, -200, 500)
        planes = run_kernel("square", np.ones_like(weight), weight, model, tile, scale_ratio=scale)
        assert planes.n_missed == 0
        np.testing.assert_allclose(planes.weights.sum(), weight.sum(dtype=float), rtol=1e-12)


def test_identity_map_copies_the_image() -> None:
    value = np.random.default_rng(3).normal(size=(6, 9)).astype(np.float32)
    model = linear_model(((1.0, 0.0), (0.0, 1.0)), (2.0, 3.0))
    planes = run_kernel("square", value, np.full_like(value, 2.0), model, Window(0, 12, 0, 14))
    expected = np.full((12, 14), np.nan)
    expected[3:9, 2:11] = value
    np.testing.assert_array_equal(planes.image, expected)
    np.testing.assert_array_equal(planes.weights, np.where(np.isnan(expected), 0.0, 2.0))
    np.testing.assert_array_equal(planes.touched, (planes.weights > 0.0).astype(np.int32))


def test_shared_corners_have_the_bits_of_corners_mapped_one_by_one() -> None:
    shape = (23, 301)
    model = distorted_model(12, shape)
    rng = np.random.default_rng(13)
    value, weight = rng.normal(size=shape).astype(np.float32), rng.uniform(1, 2, shape).astype(np.float32)
    tile = Window(-50, 350, -50, 450)
    whole = run_kernel("square", value, weight, model, tile)
    planes = None
    for y in range(shape[0]):
        for x in range(0, shape[1], 7):
            window = Window(y, y + 1, x, min(x + 7, shape[1]))
            planes = run_kernel("square", value, weight, model, tile, window=window, planes=planes)
    assert planes is not None
    np.testing.assert_array_equal(planes.weights, whole.weights)
    np.testing.assert_array_equal(planes.sums, whole.sums)


def test_a_quadrilateral_without_area_is_a_miss() -> None:
    model = linear_model(((1.0, 2.0), (2.0, 4.0)), (3.0, 3.0))
    value = np.ones((4, 6), np.float32)
    planes = run_kernel("square", value, value, model, Window(0, 40, 0, 40))
    assert planes.n_missed == value.size
    assert not planes.weights.any()
    assert np.isnan(planes.sums).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_a_map_that_is_not_finite_or_absurd_is_a_miss(bad: float) -> None:
    model = linear_model(((bad, 0.0), (0.0, 1.0)), (1.0, 1.0))
    value = np.ones((4, 6), np.float32)
    planes = run_kernel("square", value, value, model, Window(0, 9, 0, 11))
    assert not np.isnan(planes.weights).any()
    assert planes.weights.sum() < 1e-200
