"""Cubic and quintic interpolation of a window of a frame, and what is read beyond the frame's border.

Both interpolants are separable Lagrange polynomials in Everett's form, in single precision and in
DrizzlePac's order of operations. Beyond its border the frame is continued by odd reflection about
the edge pixel, ``v(-k) = 2 v(0) - v(k)``, along x first.

Covers rows of given positions. Does not cover where the positions come from, nor the other
interpolants (`mosaic.kernels.blot`).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from mosaic.kernels._compile import kernel, part
from mosaic.kernels.quintics import N_SIDE, everett5, quintics
from mosaic.types import DoubleArray, FloatArray

IndexYX: TypeAlias = tuple[int, int]

# A Python number would lift the single-precision expressions to double.
_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
_SIXTH = np.float32(1.0 / 6.0)


@part
def pixel(image: FloatArray, origin_yx: IndexYX, j: int, i: int) -> np.float32:
    """Pixel (j, i) of the frame; the nearest one of the window if it is not there."""
    row = min(max(j - origin_yx[0], 0), image.shape[0] - 1)
    column = min(max(i - origin_yx[1], 0), image.shape[1] - 1)
    return image[row, column]


@part
def _pixel_beyond_x(image: FloatArray, origin_yx: IndexYX, nx: int, j: int, i: int) -> np.float32:
    """Pixel (j, i) of the frame continued beyond its first and last column by odd reflection."""
    last = nx - 1
    if i < 0:
        mirrored = pixel(image, origin_yx, j, min(-i, last))
        return _TWO * pixel(image, origin_yx, j, 0) - mirrored
    if i > last:
        mirrored = pixel(image, origin_yx, j, max(2 * last - i, 0))
        return _TWO * pixel(image, origin_yx, j, last) - mirrored
    return pixel(image, origin_yx, j, i)


@part
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


@part
def _gather(
    image: FloatArray, origin_yx: IndexYX, frame_yx: IndexYX, j: int, i: int, first: int, nodes: FloatArray
) -> None:
    """Collect the square of nodes whose lower left one is (j + first, i + first)."""
    for q in range(nodes.shape[0]):
        for p in range(nodes.shape[1]):
            nodes[q, p] = _pixel_beyond(image, origin_yx, frame_yx, j + first + q, i + first + p)


@part
def _cubic(
    a: np.float32, b: np.float32, c: np.float32, d: np.float32, s: np.float32, t: np.float32
) -> np.float32:
    """Everett's form of the cubic through four equidistant values, at fraction s = 1 - t after the second."""
    second_b = _SIXTH * (c - _TWO * b + a)
    second_c = _SIXTH * (d - _TWO * c + b)
    return s * (c + (s * s - _ONE) * second_c) + t * (b + (t * t - _ONE) * second_b)


@part
def _cubic_at(v: FloatArray, j: int, i: int, fx: np.float32, fy: np.float32) -> np.float32:
    """Bicubic value at fraction (fx, fy) after pixel (j, i) of `v`."""
    gx, gy = _ONE - fx, _ONE - fy
    r0 = _cubic(v[j - 1, i - 1], v[j - 1, i], v[j - 1, i + 1], v[j - 1, i + 2], fx, gx)
    r1 = _cubic(v[j, i - 1], v[j, i], v[j, i + 1], v[j, i + 2], fx, gx)
    r2 = _cubic(v[j + 1, i - 1], v[j + 1, i], v[j + 1, i + 1], v[j + 1, i + 2], fx, gx)
    r3 = _cubic(v[j + 2, i - 1], v[j + 2, i], v[j + 2, i + 1], v[j + 2, i + 2], fx, gx)
    return _cubic(r0, r1, r2, r3, fy, gy)


@kernel
def poly3_row(
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


@part
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
    return everett5(a, b, c, d, e, f, s, t)


@part
def _quintic_at(v: FloatArray, j: int, i: int, fx: np.float32, fy: np.float32) -> np.float32:
    """Biquintic value at fraction (fx, fy) after pixel (j, i) of `v`."""
    gx, gy = _ONE - fx, _ONE - fy
    r0 = _quintic(v, j - 2, i, fx, gx)
    r1 = _quintic(v, j - 1, i, fx, gx)
    r2 = _quintic(v, j, i, fx, gx)
    r3 = _quintic(v, j + 1, i, fx, gx)
    r4 = _quintic(v, j + 2, i, fx, gx)
    r5 = _quintic(v, j + 3, i, fx, gx)
    return everett5(r0, r1, r2, r3, r4, r5, fy, gy)


@part
def _poly5_pixels(
    image: FloatArray,
    origin_yx: IndexYX,
    frame_yx: IndexYX,
    x: DoubleArray,
    y: DoubleArray,
    first: int,
    stop: int,
    nodes: FloatArray,
    scale: np.float32,
    out: FloatArray,
) -> None:
    """Quintic in both axes, nodes -2 … 3, for some pixels of a row wherever the positions are."""
    ny, nx = image.shape
    for k in range(first, stop):
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


@part
def poly5_row(
    image: FloatArray,
    origin_yx: IndexYX,
    frame_yx: IndexYX,
    x: DoubleArray,
    y: DoubleArray,
    nodes: FloatArray,
    scale: np.float32,
    out: FloatArray,
) -> None:
    """Quintic in both axes, with room for 6 x 6 nodes; pixels away from all borders are computed together."""
    n = out.shape[0]
    for at in range(0, n, N_SIDE):
        # The last ones end with the row, and some of them are computed twice.
        first = min(at, n - N_SIDE)
        if first < 0 or not quintics((image, origin_yx[0], origin_yx[1], x, y, first, scale, out)):
            stop = min(at + N_SIDE, n)
            _poly5_pixels(image, origin_yx, frame_yx, x, y, max(first, 0), stop, nodes, scale, out)
