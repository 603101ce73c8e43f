"""Maps and kernel calls for kernel tests."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mosaic.kernels.drizzle import KERNELS
from mosaic.kernels.exact_map import MapModel
from mosaic.types import DoubleArray, FloatArray, IntArray, Window


def linear_model(
    matrix: tuple[tuple[float, float], tuple[float, float]], offset_xy: tuple[float, float]
) -> MapModel:
    """Affine map: 0-based chip (x, y) -> ``matrix @ (x, y) + offset``."""
    zero = np.zeros((1, 1))
    (a, b), (c, d) = matrix
    return MapModel(
        step=0,
        crpix_xy=np.array([1.0, 1.0]),
        sip_a=zero,
        sip_b=zero.copy(),
        npol_x=zero.copy(),
        npol_y=zero.copy(),
        d2im_x=zero.copy(),
        d2im_y=zero.copy(),
        table_axes=np.tile([1.0, 1.0, 1.0], (4, 2)),
        homography=np.array([[a, b, offset_xy[0]], [c, d, offset_xy[1]], [0.0, 0.0, 1.0]]),
        nodes=np.zeros((0, 0, 2)),
        cuts_x=np.zeros(0),
        cuts_y=np.zeros(0),
        bends_x=np.zeros(0),
        bends_y=np.zeros(0),
        bend_reach=0.0,
    )


def distorted_model(seed: int, shape_yx: tuple[int, int], scale: float = 1.0, turn: float = 0.2) -> MapModel:
    """Order-4 polynomial, look-up tables and a projective map, strong enough to bend a small chip."""
    rng = np.random.default_rng(seed)
    ny, nx = shape_yx
    a, b = np.zeros((5, 5)), np.zeros((5, 5))
    for p in range(5):
        for q in range(5 - p):
            if p + q >= 2:
                a[p, q], b[p, q] = rng.normal(size=2) * 0.5 / max(nx, ny) ** (p + q)
    spacing = 16.0
    tables = [rng.normal(0.0, 0.05, (int(ny / spacing) + 2, int(nx / spacing) + 2)) for _ in range(4)]
    c, s = np.cos(turn) / scale, np.sin(turn) / scale
    return MapModel(
        step=0,
        crpix_xy=np.array([nx / 2.0, ny / 2.0]),
        sip_a=a,
        sip_b=b,
        npol_x=tables[0],
        npol_y=tables[1],
        d2im_x=tables[2],
        d2im_y=tables[3],
        table_axes=np.tile([1.0, 1.0, spacing], (4, 2)),
        homography=np.array([[c, -s, 0.6 * nx / scale], [s, c, 0.6 * ny / scale], [1e-7, -2e-7, 1.0]]),
        nodes=np.zeros((0, 0, 2)),
        cuts_x=np.zeros(0),
        cuts_y=np.zeros(0),
        bends_x=np.zeros(0),
        bends_y=np.zeros(0),
        bend_reach=0.0,
    )


class Planes(NamedTuple):
    """What a kernel call fills."""

    sums: DoubleArray
    weights: DoubleArray
    variances: DoubleArray
    touched: IntArray
    n_missed: int

    @property
    def image(self) -> DoubleArray:
        """Weighted mean; NaN where no input pixel was seen."""
        has_weight = self.weights != 0.0
        return np.where(has_weight, self.sums / np.where(has_weight, self.weights, 1.0), self.sums)


def empty_planes(shape_yx: tuple[int, int]) -> Planes:
    """Output planes before the first chip."""
    return Planes(
        np.full(shape_yx, np.nan),
        np.zeros(shape_yx),
        np.zeros(shape_yx),
        np.zeros(shape_yx, np.int32),
        0,
    )


def run_kernel(
    name: str,
    value: FloatArray,
    weight: FloatArray,
    model: MapModel,
    tile: Window,
    *,
    window: Window | None = None,
    variance: FloatArray | None = None,
    pixfrac: float = 1.0,
    scale_ratio: float = 1.0,
    planes: Planes | None = None,
    bit: int = 1,
) -> Planes:
    """Drizzle a window of a chip (the whole by default) into a tile, adding to `planes`."""
    if window is None:
        window = Window(0, value.shape[0], 0, value.shape[1])
    planes = empty_planes(tile.shape_yx) if planes is None else planes
    cut = [
        np.ascontiguousarray(plane[window.slices])
        for plane in (value, weight, np.zeros_like(value) if variance is None else variance)
    ]
    n_missed = KERNELS[name](
        *cut,
        model,
        (window.y0, window.x0),
        pixfrac,
        scale_ratio,
        (tile.y0, tile.x0),
        planes.sums,
        planes.weights,
        planes.variances,
        planes.touched,
        bit,
    )
    return planes._replace(n_missed=n_missed)
