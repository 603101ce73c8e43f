"""Stretches of drops: the oracle shares out every pixel by itself, cell by cell."""

from __future__ import annotations

import numpy as np
import pytest

from mosaic.kernels.exact_map import MapModel
from mosaic.kernels.overlap import AREA_NOISE, cell_overlap
from mosaic.kernels.pixmap import map_row
from mosaic.kernels.stretches import LENGTH, WIDTH
from mosaic.types import DoubleArray, FloatArray, Window
from tests.support.maps import Planes, distorted_model, empty_planes, linear_model, run_kernel

CHIP_YX = (23, 3 * LENGTH + 5)
TILE = Window(-6, 40, -9, 71)


def _positions(model: MapModel, y: float, dx: float) -> DoubleArray:
    out = np.empty((2, CHIP_YX[1]))
    map_row(model, 0, CHIP_YX[1], dx, y, out[0], out[1])
    return out


def _shares_of_square(model: MapModel, y: int, pixfrac: float) -> list[dict[tuple[int, int], float]]:
    half = 0.5 * pixfrac
    edges = [
        _positions(model, y + dy, dx)
        for dx, dy in ((-half, half), (half, half), (half, -half), (-half, -half))
    ]
    found = []
    for x in range(CHIP_YX[1]):
        xs, ys = [e[0, x] for e in edges], [e[1, x] for e in edges]
        i0, j0 = np.floor(min(xs) + 0.5), np.floor(min(ys) + 0.5)
        quad = tuple(float(v) for p, q in zip(xs, ys, strict=True) for v in ((p - i0) + 0.5, (q - j0) + 0.5))
        x0, y0, x1, y1, x2, y2, x3, y3 = quad
        jacobian = 0.5 * ((x1 - x3) * (y0 - y2) - (x0 - x2) * (y1 - y3))
        sign, inverse = (1.0 if jacobian > 0.0 else -1.0), 1.0 / abs(jacobian)
        shares = {}
        for r in range(int(np.floor(max(ys) + 0.5) - j0) + 1):
            for c in range(int(np.floor(max(xs) + 0.5) - i0) + 1):
                overlap = cell_overlap(quad, float(c), float(r)) * sign
                if overlap > AREA_NOISE:
                    shares[int(j0) + r, int(i0) + c] = overlap * inverse
        found.append(shares)
    return found


def _shares_of_box(model: MapModel, y: int, pixfrac: float) -> list[dict[tuple[int, int], float]]:
    half = 0.5 * pixfrac
    found = []
    for x, y_out in _positions(model, float(y), 0.0).T:
        lengths = [
            {k: min(at + half, k + 0.5) - max(at - half, k - 0.5) for k in range(int(at) - 4, int(at) + 5)}
            for at in (float(x), float(y_out))
        ]
        across, along = ({k: v for k, v in axis.items() if v > 0.0} for axis in lengths)
        found.append({(j, i): dx * dy for j, dy in along.items() for i, dx in across.items()})
    return found


def _deposit_one_by_one(
    name: str, value: FloatArray, weight: FloatArray, variance: FloatArray, model: MapModel, pixfrac: float
) -> Planes:
    """The rule of deposit in plain words."""
    planes = empty_planes(TILE.shape_yx)
    shares_of = _shares_of_square if name == "square" else _shares_of_box
    norm = 1.0 if name == "square" else (1.0 / pixfrac) ** 2
    for y in range(CHIP_YX[0]):
        for x, shares in enumerate(shares_of(model, y, pixfrac)):
            d, w = float(value[y, x]), norm * float(weight[y, x])
            if np.isnan(d):
                continue
            for (j, i), share in shares.items():
                at = j - TILE.y0, i - TILE.x0
                if not (TILE.y0 <= j < TILE.y1 and TILE.x0 <= i < TILE.x1):
                    continue
                own = share * w
                if planes.weights[at] == 0.0:
                    planes.sums[at] = own * d if own != 0.0 else d
                else:
                    planes.sums[at] += own * d
                planes.weights[at] += own
                planes.variances[at] += own * own * float(variance[y, x])
                planes.touched[at] |= own > 0.0
    return planes


def _exposure() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Values with absent pixels and one that spoils what it touches, weights with masked ones, variances."""
    random = np.random.default_rng(12)
    value = random.normal(3.0, 1.0, CHIP_YX).astype(np.float32)
    value[random.random(CHIP_YX) < 0.05] = np.nan
    value[17, 20] = np.inf
    weight = random.uniform(0.5, 2.0, CHIP_YX).astype(np.float32)
    weight[random.random(CHIP_YX) < 0.1] = 0.0
    return value, weight, random.uniform(0.1, 0.2, CHIP_YX).astype(np.float32)


def _turned(angle_deg: float, scale: float = 1.0) -> MapModel:
    c, s = scale * np.cos(np.radians(angle_deg)), scale * np.sin(np.radians(angle_deg))
    return linear_model(((float(c), -float(s)), (float(s), float(c))), (1.3, 2.8))


MODELS = {
    "unturned": _turned(0.0),
    "sheared": linear_model(((1.02, 0.09), (0.085, 0.97)), (1.3, 0.8)),
    "mirrored": linear_model(((1.0, 0.02), (0.03, -1.0)), (1.3, 28.0)),
    "too turned": _turned(40.0),
    "enlarged": _turned(1.0, 1.4),
    "reduced": _turned(-2.0, 0.55),
    "quarter-turned": _turned(90.0),
    "mirrored and enlarged": linear_model(((-1.3, 0.03), (0.02, 1.3)), (68.0, 0.8)),
    "grazing": linear_model(((1.0, 2.0**-49), (0.03, 1.0)), (2.0 - 2.0**-46, 1.3)),
    # Corners of the first row that lie just left of a border of cells, and reach it as ends of clipped edges.
    "rounded to the border": linear_model(
        ((1.0, -2.2540416244932375), (0.015338698160955719, 1.039654447722318)),
        (-1.1270208122466194, 0.4926908081733611),
    ),
    "slanted": linear_model(((1.0, 0.3), (0.02, 1.0)), (1.5, 1.3)),
    "bent": distorted_model(5, CHIP_YX, turn=0.05)._replace(
        homography=np.array([[1.0, -0.04, 22.0], [0.05, 1.01, 13.0], [0.0, 0.0, 1.0]])
    ),
}


@pytest.mark.parametrize("pixfrac", [1.0, 0.6])
@pytest.mark.parametrize("name", ["square", "turbo"])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_bits_are_those_of_pixels_one_by_one(model: MapModel, name: str, pixfrac: float) -> None:
    value, weight, variance = _exposure()
    got = run_kernel(name, value, weight, model, TILE, variance=variance, pixfrac=pixfrac)
    expected = _deposit_one_by_one(name, value, weight, variance, model, pixfrac)
    assert (expected.weights > 0.0).sum() > 300
    for kind in ("weights", "sums", "variances", "touched"):
        np.testing.assert_array_equal(getattr(got, kind), getattr(expected, kind), err_msg=kind)


@pytest.mark.parametrize("name", ["square", "turbo"])
def test_bits_do_not_depend_on_tiles_or_windows(name: str) -> None:
    """Where tiles and windows begin decides which pixels make a stretch, and which lie in the tile."""
    value, weight, variance = _exposure()
    value[:, :2] = np.nan
    model = MODELS["sheared"]
    whole = run_kernel(name, value, weight, model, TILE, variance=variance)
    for width in (1, 7, WIDTH, 2 * WIDTH + 3):
        for first in (0, 1, 6):
            left = min(first + width, TILE.x1 - TILE.x0)
            tile = Window(TILE.y0 + first, TILE.y1, TILE.x0 + first, TILE.x0 + left)
            window = Window(0, CHIP_YX[0], first // 3, CHIP_YX[1])
            part = run_kernel(name, value, weight, model, tile, window=window, variance=variance)
            cut = slice(first, None), slice(first, left)
            for kind in ("weights", "sums", "variances", "touched"):
                np.testing.assert_array_equal(getattr(part, kind), getattr(whole, kind)[cut], err_msg=kind)


@pytest.mark.parametrize("name", ["square", "turbo"])
def test_pixels_that_miss_the_tile_are_counted(name: str) -> None:
    value, weight, _variance = _exposure()
    model = MODELS["sheared"]
    shares = _shares_of_square if name == "square" else _shares_of_box
    tile = Window(5, 17, 12, 33)
    got = run_kernel(name, value, weight, model, tile)
    n_missed = sum(
        not np.isnan(value[y, x])
        and not any(tile.y0 <= j < tile.y1 and tile.x0 <= i < tile.x1 for j, i in own)
        for y in range(CHIP_YX[0])
        for x, own in enumerate(shares(model, y, 1.0))
    )
    assert got.n_missed == n_missed
