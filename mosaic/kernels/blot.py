"""Blotting: the median frame sampled at the positions of chip pixels.

Covers the seven interpolants, what they read at and beyond the border of the frame, and the rule
which positions count as inside. Does not cover the mapping (`mosaic.kernels.pixmap`), nor units
and sky level (`mosaic.steps.cosmic_rays`).

The frame is given as a window around the pixels wanted. Borders are those of the frame, never
those of the window, so a pixel has the same bits whichever window it is computed from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from mosaic.kernels._compile import kernel
from mosaic.kernels.pixmap import MapModel, map_row
from mosaic.types import DoubleArray, FloatArray

IndexYX: TypeAlias = tuple[int, int]
ChipWindow: TypeAlias = tuple[int, int, int, int]
Interpolator: TypeAlias = Callable[
    [FloatArray, IndexYX, IndexYX, MapModel, ChipWindow, float, bool, float, FloatArray], None
]

_NEAREST, _LINEAR, _POLY3, _POLY5, _SINC, _LAN3, _LAN5 = range(7)

# A Python number would lift the single-precision expressions to double.
_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
_FOUR = np.float32(4.0)
_SIX = np.float32(6.0)
_SIXTH = np.float32(1.0 / 6.0)
_PER_120 = np.float32(1.0 / 120.0)

_SINC_REACH = 7
_SINC_EXACT = 0.001
_TAPER_2 = -0.49670
_TAPER_4 = 0.03705


@kernel
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
def _pixel(image: FloatArray, origin_yx: IndexYX, j: int, i: int) -> np.float32:
    """Pixel (j, i) of the frame; the nearest one of the window if it is not there."""
    row = min(max(j - origin_yx[0], 0), image.shape[0] - 1)
    column = min(max(i - origin_yx[1], 0), image.shape[1] - 1)
    return image[row, column]


@kernel
def _pixel_beyond_x(image: FloatArray, origin_yx: IndexYX, nx: int, j: int, i: int) -> np.float32:
    """Pixel (j, i) of the frame continued beyond its first and last column by odd reflection."""
    last = nx - 1
    if i < 0:
        mirrored = _pixel(image, origin_yx, j, min(-i, last))
        return _TWO * _pixel(image, origin_yx, j, 0) - mirrored
    if i > last:
        mirrored = _pixel(image, origin_yx, j, max(2 * last - i, 0))
        return _TWO * _pixel(image, origin_yx, j, last) - mirrored
    return _pixel(image, origin_yx, j, i)


@kernel
def _pixel_beyond(image: FloatArray, origin_yx: IndexYX, frame_yx: IndexYX, j: int, i: int) -> np.float32:
    """Pixel (j, i) of the frame continued on all sides by odd reflection, along x first."""
    last = frame_yx[0] - 1
    nx = frame_yx[1]
    if j < 0:
        mirrored = _pixel_beyond_x(image, origin_yx, nx, min(-j, last), i)
        return _TWO * _pixel_beyond_x(image, origin_yx, nx, 0, i) - mirrored
    if j > last:
        mirrored = _pixel_beyond_x(image, origin_yx, nx, max(2 * last - j, 0), i)
        return _TWO * _pixel_beyond_x(image, origin_yx, nx, last, i) - mirrored
    return _pixel_beyond_x(image, origin_yx, nx, j, i)


@kernel
def _gather(
    image: FloatArray, origin_yx: IndexYX, frame_yx: IndexYX, j: int, i: int, first: int, nodes: FloatArray
) -> None:
    """Collect the square of nodes whose lower left one is (j + first, i + first)."""
    for q in range(nodes.shape[0]):
        for p in range(nodes.shape[1]):
            nodes[q, p] = _pixel_beyond(image, origin_yx, frame_yx, j + first + q, i + first + p)


@kernel
def _nearest_row(
    image: FloatArray, origin_yx: IndexYX, x: DoubleArray, y: DoubleArray, scale: np.float32, out: FloatArray
) -> None:
    """Nearest pixel."""
    for k in range(out.shape[0]):
        if x[k] < 0.0:
            out[k] = 0.0
        else:
            out[k] = _pixel(image, origin_yx, int(y[k] + 0.5), int(x[k] + 0.5)) * scale


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
        low = gx * _pixel(image, origin_yx, j, i) + fx * _pixel(image, origin_yx, j, i + 1)
        high = gx * _pixel(image, origin_yx, j + 1, i) + fx * _pixel(image, origin_yx, j + 1, i + 1)
        out[k] = (gy * low + fy * high) * scale


@kernel
def _cubic(
    a: np.float32, b: np.float32, c: np.float32, d: np.float32, s: np.float32, t: np.float32
) -> np.float32:
    """Everett's form of the cubic through four equidistant values, at fraction s = 1 - t after the second."""
    second_b = _SIXTH * (c - _TWO * b + a)
    second_c = _SIXTH * (d - _TWO * c + b)
    return s * (c + (s * s - _ONE) * second_c) + t * (b + (t * t - _ONE) * second_b)


@kernel
def _cubic_at(v: FloatArray, j: int, i: int, fx: np.float32, fy: np.float32) -> np.float32:
    """Bicubic value at fraction (fx, fy) after pixel (j, i) of `v`."""
    gx, gy = _ONE - fx, _ONE - fy
    r0 = _cubic(v[j - 1, i - 1], v[j - 1, i], v[j - 1, i + 1], v[j - 1, i + 2], fx, gx)
    r1 = _cubic(v[j, i - 1], v[j, i], v[j, i + 1], v[j, i + 2], fx, gx)
    r2 = _cubic(v[j + 1, i - 1], v[j + 1, i], v[j + 1, i + 1], v[j + 1, i + 2], fx, gx)
    r3 = _cubic(v[j + 2, i - 1], v[j + 2, i], v[j + 2, i + 1], v[j + 2, i + 2], fx, gx)
    return _cubic(r0, r1, r2, r3, fy, gy)


@kernel
def _poly3_row(
    image: FloatArray,
    origin_yx: IndexYX,
    frame_yx: IndexYX,
    x: DoubleArray,
    y: DoubleArray,
    scale: np.float32,
    out: FloatArray,
) -> None:
    """Cubic in both axes, nodes -1 … 2."""
    ny, nx = image.shape
    nodes = np.empty((4, 4), np.float32)
    for k in range(out.shape[0]):
        if x[k] < 0.0:
            out[k] = 0.0
            continue
        i, j = int(x[k]), int(y[k])
        fx, fy = np.float32(x[k] - i), np.float32(y[k] - j)
        column, row = i - origin_yx[1], j - origin_yx[0]
        if column >= 1 and column < nx - 2 and row >= 1 and row < ny - 2:
            out[k] = _cubic_at(image, row, column, fx, fy) * scale
        else:
            _gather(image, origin_yx, frame_yx, j, i, -1, nodes)
            out[k] = _cubic_at(nodes, 1, 1, fx, fy) * scale


@kernel
def _quintic(
    v: FloatArray,
    j: int,
    i: int,
    s: np.float32,
    t: np.float32,
) -> np.float32:
    """Everett's form of the quintic through row j of `v`, at fraction s = 1 - t after column i."""
    a, b, c = v[j, i - 2], v[j, i - 1], v[j, i]
    d, e, f = v[j, i + 1], v[j, i + 2], v[j, i + 3]
    return _everett5(a, b, c, d, e, f, s, t)


@kernel
def _everett5(
    a: np.float32,
    b: np.float32,
    c: np.float32,
    d: np.float32,
    e: np.float32,
    f: np.float32,
    s: np.float32,
    t: np.float32,
) -> np.float32:
    """Everett's form of the quintic through six equidistant values, at fraction s = 1 - t after `c`."""
    s2, t2 = s * s, t * t
    second_c = _SIXTH * (d - _TWO * c + b)
    second_d = _SIXTH * (e - _TWO * d + c)
    fourth_c = _PER_120 * (a - _FOUR * b + _SIX * c - _FOUR * d + e)
    fourth_d = _PER_120 * (b - _FOUR * c + _SIX * d - _FOUR * e + f)
    upper = s * (d + (s2 - _ONE) * (second_d + (s2 - _FOUR) * fourth_d))
    return upper + t * (c + (t2 - _ONE) * (second_c + (t2 - _FOUR) * fourth_c))


@kernel
def _quintic_at(v: FloatArray, j: int, i: int, fx: np.float32, fy: np.float32) -> np.float32:
    """Biquintic value at fraction (fx, fy) after pixel (j, i) of `v`."""
    gx, gy = _ONE - fx, _ONE - fy
    r0 = _quintic(v, j - 2, i, fx, gx)
    r1 = _quintic(v, j - 1, i, fx, gx)
    r2 = _quintic(v, j, i, fx, gx)
    r3 = _quintic(v, j + 1, i, fx, gx)
    r4 = _quintic(v, j + 2, i, fx, gx)
    r5 = _quintic(v, j + 3, i, fx, gx)
    return _everett5(r0, r1, r2, r3, r4, r5, fy, gy)


@kernel
def _poly5_row(
    image: FloatArray,
    origin_yx: IndexYX,
    frame_yx: IndexYX,
    x: DoubleArray,
    y: DoubleArray,
    scale: np.float32,
    out: FloatArray,
) -> None:
    """Quintic in both axes, nodes -2 … 3."""
    ny, nx = image.shape
    nodes = np.empty((6, 6), np.float32)
    for k in range(out.shape[0]):
        if x[k] < 0.0:
            out[k] = 0.0
            continue
        i, j = int(x[k]), int(y[k])
        fx, fy = np.float32(x[k] - i), np.float32(y[k] - j)
        column, row = i - origin_yx[1], j - origin_yx[0]
        if column >= 2 and column < nx - 3 and row >= 2 and row < ny - 3:
            out[k] = _quintic_at(image, row, column, fx, fy) * scale
        else:
            _gather(image, origin_yx, frame_yx, j, i, -2, nodes)
            out[k] = _quintic_at(nodes, 2, 2, fx, fy) * scale


@kernel
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
            out[k] = _pixel(image, origin_yx, j, i) * scale
            continue
        _sinc_weights(fx, weights_x)
        _sinc_weights(fy, weights_y)
        total = 0.0
        for q in range(2 * _SINC_REACH + 1):
            along_x = 0.0
            for p in range(2 * _SINC_REACH + 1):
                along_x += weights_x[p] * _pixel(image, origin_yx, j + q - _SINC_REACH, i + p - _SINC_REACH)
            total += weights_y[q] * along_x
        out[k] = np.float32(total) * scale


@kernel
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
                along_x += weights_x[p] * _pixel(image, origin_yx, j + q + 1 - order, i + p + 1 - order)
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
    factor = np.float32(scale)
    for row in range(y1 - y0):
        map_row(model, x0, n, 0.0, float(y0 + row), x, y)
        _place_row(x, y, n, frame_shape_yx, round_positions)
        line = out[row]
        if method == _NEAREST:
            _nearest_row(image, image_origin_yx, x, y, factor, line)
        elif method == _LINEAR:
            _linear_row(image, image_origin_yx, x, y, factor, line)
        elif method == _POLY3:
            _poly3_row(image, image_origin_yx, frame_shape_yx, x, y, factor, line)
        elif method == _POLY5:
            _poly5_row(image, image_origin_yx, frame_shape_yx, x, y, factor, line)
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
