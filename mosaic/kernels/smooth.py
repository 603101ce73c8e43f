"""Correlation of an image with a small kernel, as `scipy.ndimage.correlate` with ``mode="reflect"`` gives it.

Covers the pixels above a level, and boxes. What is given back was summed in double precision and in scipy's
order of terms; a sum in single precision, of many pixels side by side, tells which pixels are worth it. Does
not cover what the kernel is for (`mosaic.alignment.finding`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mosaic.kernels._compile import inlined, kernel, part
from mosaic.types import DoubleArray, FloatArray

_CHUNK = 64
"""Pixels compared at a time."""
_ROUNDING = 2.0**-24
"""Relative error of one operation in single precision."""


@inlined
def _mirrored(place: int, n: int) -> int:
    """Index of the pixel that a place beyond an edge shows: ``c b a | a b c``."""
    while place < 0 or place >= n:
        place = -place - 1 if place < 0 else 2 * n - place - 1
    return place


@part
def _correlate_at(image: FloatArray, weights: DoubleArray, y: int, x: int) -> np.float32:
    """Result at one pixel."""
    ny, nx = image.shape
    y0, x0 = y - weights.shape[0] // 2, x - weights.shape[1] // 2
    is_inside = y0 >= 0 and x0 >= 0 and y0 + weights.shape[0] <= ny and x0 + weights.shape[1] <= nx
    total = 0.0
    for j in range(weights.shape[0]):
        row = y0 + j if is_inside else _mirrored(y0 + j, ny)
        for i in range(weights.shape[1]):
            if weights[j, i] != 0.0:
                column = x0 + i if is_inside else _mirrored(x0 + i, nx)
                total += weights[j, i] * np.float64(image[row, column])
    return np.float32(total)


@kernel
def _largest(line: FloatArray) -> float:
    """Largest absolute value of a row."""
    most = np.zeros(_CHUNK, np.float32)
    n = line.shape[0] // _CHUNK * _CHUNK
    for x0 in range(0, n, _CHUNK):
        part = line[x0 : x0 + _CHUNK]
        for k in range(_CHUNK):
            value = abs(part[k])
            most[k] = max(most[k], value)
    largest = most.max()
    for x in range(n, line.shape[0]):
        largest = max(largest, abs(line[x]))
    return float(largest)


@part
def _sum_row(image: FloatArray, weights: DoubleArray, y: int, sums: FloatArray) -> None:
    """Sums in single precision of a row, for the pixels whose boxes lie within the image."""
    sums[:] = 0.0
    for j in range(weights.shape[0]):
        line = image[y + j - weights.shape[0] // 2]
        for i in range(weights.shape[1]):
            weight = np.float32(weights[j, i])
            if weight != 0.0:
                source = line[i : i + sums.shape[0]]
                for x in range(sums.shape[0]):
                    sums[x] += weight * source[x]


@part
def _list_candidates(sums: FloatArray, limit: float, candidates: NDArray[np.int64]) -> int:
    """List the sums that are not at most `limit`, and return their number."""
    highest = np.float32(limit)
    n = 0
    for x0 in range(0, sums.shape[0], _CHUNK):
        part = sums[x0 : min(x0 + _CHUNK, sums.shape[0])]
        n_high = np.int32(0)
        for k in range(part.shape[0]):
            # A sum that is no number is one to look at.
            n_high += np.int32(1) - np.int32(part[k] <= highest)
        if n_high == 0:
            continue
        for k in range(part.shape[0]):
            if not part[k] <= highest:
                candidates[n] = x0 + k
                n += 1
    return n


@kernel
def bright_pixels(
    image: FloatArray, weights: DoubleArray, level: float
) -> tuple[NDArray[np.int64], FloatArray]:
    """Pixels at which the correlation of an image with a kernel is above a level.

    Parameters
    ----------
    image : float32, shape (ny, nx)
        Pixels.
    weights : float64, shape (odd, odd)
        The kernel, exact in single precision; weights of zero are passed over.
    level : float
        The level.

    Returns
    -------
    int64 and float32, shape (n,)
        Places ``y * nx + x``, ascending, and the results there.
    """
    ny, nx = image.shape
    half_y, half_x = weights.shape[0] // 2, weights.shape[1] // 2
    edge, n_inner = min(half_x, nx), max(0, nx - 2 * half_x)
    size = np.abs(weights).sum()
    share = _ROUNDING * 2.0 * (weights.size + 2)
    largest = np.empty(ny, np.float64)
    for y in range(ny):
        largest[y] = _largest(image[y])
    places, values = np.empty(2 * nx, np.int64), np.empty(2 * nx, np.float32)
    sums, columns = np.empty(n_inner, np.float32), np.empty(nx, np.int64)
    n = 0
    for y in range(ny):
        for x in range(edge):
            columns[x] = x
        n_columns = edge
        if half_y <= y < ny - half_y:
            _sum_row(image, weights, y, sums)
            wrong_by = share * (size * largest[y - half_y : y + half_y + 1].max() + abs(level))
            n_found = _list_candidates(sums, level - wrong_by, columns[edge:])
            for k in range(edge, edge + n_found):
                columns[k] += edge
            n_columns += n_found
        else:
            for x in range(edge, edge + n_inner):
                columns[x] = x
            n_columns += n_inner
        for x in range(edge + n_inner, nx):
            columns[n_columns] = x
            n_columns += 1
        if n + nx > places.shape[0]:
            places = np.concatenate((places, np.empty(places.shape[0], np.int64)))
            values = np.concatenate((values, np.empty(values.shape[0], np.float32)))
        for x in columns[:n_columns]:
            value = _correlate_at(image, weights, y, x)
            if value > np.float32(level):
                places[n], values[n] = y * nx + x, value
                n += 1
    return places[:n].copy(), values[:n].copy()


@kernel
def correlate_boxes(
    image: FloatArray, weights: DoubleArray, x: NDArray[np.int64], y: NDArray[np.int64]
) -> FloatArray:
    """Correlate an image with a kernel in boxes of the size of the kernel.

    Parameters
    ----------
    image : float32, shape (ny, nx)
        Pixels.
    weights : float64, shape (odd, odd)
        The kernel; weights of zero are passed over.
    x, y : int64, shape (n,)
        Centres; the boxes lie within the image.

    Returns
    -------
    float32, shape (n, odd, odd)
        Results.
    """
    ny, nx = image.shape
    box_y, box_x = weights.shape
    boxes = np.empty((x.shape[0], box_y, box_x), np.float32)
    patch = np.empty((2 * box_y - 1, 2 * box_x - 1), np.float64)
    sums = np.empty((box_y, box_x), np.float64)
    for k in range(x.shape[0]):
        for j in range(patch.shape[0]):
            row = _mirrored(y[k] + j - box_y + 1, ny)
            for i in range(patch.shape[1]):
                patch[j, i] = image[row, _mirrored(x[k] + i - box_x + 1, nx)]
        sums[:] = 0.0
        for tap_y in range(box_y):
            for tap_x in range(box_x):
                weight = weights[tap_y, tap_x]
                if weight == 0.0:
                    continue
                for j in range(box_y):
                    for i in range(box_x):
                        sums[j, i] += weight * patch[tap_y + j, tap_x + i]
        boxes[k] = sums.astype(np.float32)
    return boxes
