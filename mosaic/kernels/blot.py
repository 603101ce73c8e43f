"""Blotting: the median frame sampled at the positions of chip pixels.

Covers the seven interpolants and the rule which positions count as inside. Does not cover the cubic
and the quintic themselves (`mosaic.kernels.blot_polynomial`), the mapping (`mosaic.kernels.pixmap`),
nor units and sky level (`mosaic.steps.cosmic_rays`).

The frame is given as a window around the pixels wanted. Borders are those of the frame, never
those of the window, so a pixel has the same bits whichever window it is computed from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from mosaic.kernels._compile import kernel, part
from mosaic.kernels.blot_polynomial import IndexYX, pixel, poly3_row, poly5_row
from mosaic.kernels.exact_map import MapModel
from mosaic.kernels.pixmap import map_into, map_scratch
from mosaic.types import DoubleArray, FloatArray

ChipWindow: TypeAlias = tuple[int, int, int, int]
Interpolator: TypeAlias = Callable[
    [FloatArray, IndexYX, IndexYX, MapModel, ChipWindow, float, bool, float, FloatArray], None
]

_NEAREST, _LINEAR, _POLY3, _POLY5, _SINC, _LAN3, _LAN5 = range(7)

# A Python number would lift a single-precision expression to double.
_ONE = np.float32(1.0)

_SINC_REACH = 7
_SINC_EXACT = 0.001
_TAPER_2 = -0.49670
_TAPER_4 = 0.03705


@part
def _place_row(x: DoubleArray, y: DoubleArray, n: int, frame_yx: IndexYX, round_positions: bool) -> None:
    """Round the positions if wanted, and set x to -1 where the position is outside the frame."""
    last_y, last_x = float(frame_yx[0]), float(frame_yx[1])
    if round_positions:
        for k in range(n):
            x[k] = np.float64(np.float32(x[k]))
            y[k] = np.float64(np.float32(y[k]))
    for k in range(n):
        if not (x[k] >= 0.0 and x[k] <= last_x and y[k] >= 0.0 and y[k] <= last_y):
            x[k] = -1.0


@kernel
def _nearest_row(
    image: FloatArray, origin_yx: IndexYX, x: DoubleArray, y: DoubleArray, scale: np.float32, out: FloatArray
) -> None:
    """Nearest pixel."""
    for k in range(out.shape[0]):
        if x[k] < 0.0:
            out[k] = 0.0
        else:
            out[k] = pixel(image, origin_yx, int(y[k] + 0.5), int(x[k] + 0.5)) * scale


@kernel
def _linear_row(
    image: FloatArray, origin_yx: IndexYX, x: DoubleArray, y: DoubleArray, scale: np.float32, out: FloatArray
) -> None:
    """Bilinear; constant beyond the last pixel."""
    for k in range(out.shape[0]):
        if x[k] < 0.0:
            out[k] = 0.0
            continue
        i, j = int(x[k]), int(y[k])
        fx, fy = np.float32(x[k] - i), np.float32(y[k] - j)
        gx, gy = _ONE - fx, _ONE - fy
        low = gx * pixel(image, origin_yx, j, i) + fx * pixel(image, origin_yx, j, i + 1)
        high = gx * pixel(image, origin_yx, j + 1, i) + fx * pixel(image, origin_yx, j + 1, i + 1)
        out[k] = (gy * low + fy * high) * scale


@part
def _sinc_weights(offset: float, weights: DoubleArray) -> None:
    """Tapered sinc weights of the nodes -7 … 7 at `offset` from node 0, normalised to sum 1."""
    per_node = (np.pi / (2.0 * _SINC_REACH)) ** 2
    total = 0.0
    for p in range(weights.shape[0]):
        node = p - _SINC_REACH
        u = per_node * node * node
        window = (1.0 + _TAPER_2 * u + _TAPER_4 * u * u) ** 2
        if offset == node:
            weights[:] = 0.0
            weights[p] = 1.0
            return
        weights[p] = (window if node % 2 == 0 else -window) / (offset - node)
        total += weights[p]
    for p in range(weights.shape[0]):
        weights[p] /= total


@kernel
def _sinc_row(
    image: FloatArray,
    origin_yx: IndexYX,
    x: DoubleArray,
    y: DoubleArray,
    sinscl: float,
    scale: np.float32,
    out: FloatArray,
) -> None:
    """Tapered sinc, 15 x 15 nodes around the nearest pixel; constant beyond the border."""
    weights_x = np.empty(2 * _SINC_REACH + 1, np.float64)
    weights_y = np.empty(2 * _SINC_REACH + 1, np.float64)
    for k in range(out.shape[0]):
        if x[k] < 0.0:
            out[k] = 0.0
            continue
        i, j = int(x[k] + 0.5), int(y[k] + 0.5)
        fx, fy = (x[k] - i) * sinscl, (y[k] - j) * sinscl
        if abs(fx) < _SINC_EXACT and abs(fy) < _SINC_EXACT:
            out[k] = pixel(image, origin_yx, j, i) * scale
            continue
        _sinc_weights(fx, weights_x)
        _sinc_weights(fy, weights_y)
        total = 0.0
        for q in range(2 * _SINC_REACH + 1):
            along_x = 0.0
            for p in range(2 * _SINC_REACH + 1):
                along_x += weights_x[p] * pixel(image, origin_yx, j + q - _SINC_REACH, i + p - _SINC_REACH)
            total += weights_y[q] * along_x
        out[k] = np.float32(total) * scale


@part
def _lanczos_weights(fraction: float, order: int, weights: DoubleArray) -> None:
    """Lanczos weights of the nodes 1 - order … order at `fraction` after node 0, not normalised."""
    for p in range(2 * order):
        distance = np.pi * (fraction - (p + 1 - order))
        if distance == 0.0:
            weights[p] = 1.0
        else:
            weights[p] = np.sin(distance) * np.sin(distance / order) * order / (distance * distance)


@kernel
def _lanczos_row(
    image: FloatArray,
    origin_yx: IndexYX,
    frame_yx: IndexYX,
    order: int,
    x: DoubleArray,
    y: DoubleArray,
    scale: np.float32,
    out: FloatArray,
) -> None:
    """Lanczos function of the order given; 0 where fewer than `order` pixels remain to the border."""
    weights_x = np.empty(2 * order, np.float64)
    weights_y = np.empty(2 * order, np.float64)
    for k in range(out.shape[0]):
        i, j = int(x[k]), int(y[k])
        if x[k] < order or y[k] < order or i + order >= frame_yx[1] or j + order >= frame_yx[0]:
            out[k] = 0.0
            continue
        _lanczos_weights(x[k] - i, order, weights_x)
        _lanczos_weights(y[k] - j, order, weights_y)
        total = 0.0
        for q in range(2 * order):
            along_x = 0.0
            for p in range(2 * order):
                along_x += weights_x[p] * pixel(image, origin_yx, j + q + 1 - order, i + p + 1 - order)
            total += weights_y[q] * along_x
        out[k] = np.float32(total) * scale


@kernel
def _blot(
    method: int,
    image: FloatArray,
    image_origin_yx: IndexYX,
    frame_shape_yx: IndexYX,
    model: MapModel,
    chip_window: ChipWindow,
    scale: float,
    round_positions: bool,
    sinscl: float,
    out: FloatArray,
) -> None:
    """Blot row by row; `method` is one of the module's codes, the rest as in the public functions."""
    y0, y1, x0, x1 = chip_window
    n = x1 - x0
    x = np.empty(n, np.float64)
    y = np.empty(n, np.float64)
    work = map_scratch(model)
    nodes = np.empty((6, 6), np.float32)
    factor = np.float32(scale)
    for row in range(y1 - y0):
        map_into(model, x0, n, 0.0, float(y0 + row), x, y, work)
        _place_row(x, y, n, frame_shape_yx, round_positions)
        line = out[row]
        if method == _NEAREST:
            _nearest_row(image, image_origin_yx, x, y, factor, line)
        elif method == _LINEAR:
            _linear_row(image, image_origin_yx, x, y, factor, line)
        elif method == _POLY3:
            poly3_row(image, image_origin_yx, frame_shape_yx, x, y, factor, line)
        elif method == _POLY5:
            poly5_row(image, image_origin_yx, frame_shape_yx, x, y, nodes, factor, line)
        elif method == _SINC:
            _sinc_row(image, image_origin_yx, x, y, sinscl, factor, line)
        else:
            order = 3 if method == _LAN3 else 5
            _lanczos_row(image, image_origin_yx, frame_shape_yx, order, x, y, factor, line)


def _interpolator(name: str, method: int) -> Interpolator:
    """Build the public function of one interpolant."""

    def blot(
        image: FloatArray,
        image_origin_yx: IndexYX,
        frame_shape_yx: IndexYX,
        model: MapModel,
        chip_window: ChipWindow,
        scale: float,
        round_positions: bool,
        sinscl: float,
        out: FloatArray,
    ) -> None:
        """Sample the frame at the positions of chip pixels.

        Parameters
        ----------
        image : FloatArray, shape (rows, columns), C-contiguous
            Window of the frame holding every pixel of the frame the interpolant reaches.
        image_origin_yx : tuple of int
            Pixel of the frame at ``image[0, 0]``.
        frame_shape_yx : tuple of int
            Shape (NY, NX) of the frame.
        model : MapModel
            Map from chip to frame.
        chip_window : tuple of int
            Chip pixels wanted: y0, y1, x0, x1.
        scale : float
            Factor applied to the sampled value, in single precision.
        round_positions : bool
            Hold the positions in single precision.
        sinscl : float
            Scale of the sinc function; the other interpolants ignore it.
        out : FloatArray, shape (y1 - y0, x1 - x0), C-contiguous
            Sampled values; 0 unless ``0 <= x <= NX`` and ``0 <= y <= NY``.
        """
        y0, y1, x0, x1 = chip_window
        window = (int(y0), int(y1), int(x0), int(x1))
        _blot(
            method,
            image,
            (int(image_origin_yx[0]), int(image_origin_yx[1])),
            (int(frame_shape_yx[0]), int(frame_shape_yx[1])),
            model,
            window,
            float(scale),
            bool(round_positions),
            float(sinscl),
            out,
        )

    blot.__name__ = blot.__qualname__ = f"blot_{name}"
    return blot


blot_nearest = _interpolator("nearest", _NEAREST)
blot_linear = _interpolator("linear", _LINEAR)
blot_poly3 = _interpolator("poly3", _POLY3)
blot_poly5 = _interpolator("poly5", _POLY5)
blot_sinc = _interpolator("sinc", _SINC)
blot_lan3 = _interpolator("lan3", _LAN3)
blot_lan5 = _interpolator("lan5", _LAN5)

INTERPOLATORS: dict[str, Interpolator] = {
    "nearest": blot_nearest,
    "linear": blot_linear,
    "poly3": blot_poly3,
    "poly5": blot_poly5,
    "sinc": blot_sinc,
    "lan3": blot_lan3,
    "lan5": blot_lan5,
}
"""The interpolants by the name in ``blot_interp``."""

# At a position on the far border the reflected nodes reach one or two pixels deeper than the others.
_HALO = {"nearest": 1, "linear": 1, "poly3": 4, "poly5": 5, "sinc": 8, "lan3": 3, "lan5": 5}


def interpolator_halo(name: str) -> int:
    """Pixels of the frame the interpolant reads on either side of the truncated position."""
    return _HALO[name]
