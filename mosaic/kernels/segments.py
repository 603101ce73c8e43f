"""Connected groups of pixels, and the centres of light in boxes around them.

Covers groups of chosen pixels, by runs of rows, in one pass; pixels that touch at a corner are connected.
Does not cover what a group is taken for (`mosaic.alignment.finding`).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mosaic.kernels._compile import inlined, kernel
from mosaic.types import FloatArray

IndexArray: TypeAlias = NDArray[np.int64]


@inlined
def _root(parent: IndexArray, label: int) -> int:
    """Label that stands for the group of a label; the way to it is shortened."""
    while parent[label] != label:
        parent[label] = parent[parent[label]]
        label = parent[label]
    return label


@kernel
def segment_boxes(places: IndexArray, nx: int) -> IndexArray:
    """Boxes around all groups of connected pixels.

    Parameters
    ----------
    places : int64, shape (m,)
        The pixels, ``y * nx + x``, ascending.
    nx : int
        Columns of the image.

    Returns
    -------
    int64, shape (n, 4)
        First row, row after the last, first column, column after the last; in the order in which the groups
        begin, row by row.
    """
    parent = np.empty(4096, np.int64)
    boxes = np.empty((4096, 4), np.int64)
    n = 0
    most = nx // 2 + 1
    before, runs = np.empty((most, 3), np.int64), np.empty((most, 3), np.int64)
    n_before, n_runs, k = 0, 0, 0
    row = -2
    i = 0
    while i < places.shape[0]:
        y, first = places[i] // nx, places[i] % nx
        x = first + 1
        i += 1
        while i < places.shape[0] and x < nx and places[i] == y * nx + x:
            x += 1
            i += 1
        if y != row:
            before, runs = runs, before
            n_before = n_runs if y == row + 1 else 0
            n_runs, k, row = 0, 0, y
        # Runs of the row before that end where this one begins or earlier by more than a corner.
        while k < n_before and before[k, 1] < first:
            k += 1
        label, j = -1, k
        while j < n_before and before[j, 0] <= x:
            root = _root(parent, before[j, 2])
            if label < 0:
                label = root
            elif root != label:
                low, high = min(label, root), max(label, root)
                parent[high] = low
                boxes[low, 0] = min(boxes[low, 0], boxes[high, 0])
                boxes[low, 1] = max(boxes[low, 1], boxes[high, 1])
                boxes[low, 2] = min(boxes[low, 2], boxes[high, 2])
                boxes[low, 3] = max(boxes[low, 3], boxes[high, 3])
                label = low
            j += 1
        if label < 0:
            if n == parent.shape[0]:
                parent = np.concatenate((parent, np.empty(n, np.int64)))
                boxes = np.concatenate((boxes, np.empty((n, 4), np.int64)))
            label = n
            parent[n] = n
            boxes[n, 0], boxes[n, 2], boxes[n, 3] = y, first, x
            n += 1
        boxes[label, 1] = y + 1
        boxes[label, 2] = min(boxes[label, 2], first)
        boxes[label, 3] = max(boxes[label, 3], x)
        runs[n_runs, 0], runs[n_runs, 1], runs[n_runs, 2] = first, x, label
        n_runs += 1
    kept = 0
    for label in range(n):
        if parent[label] == label:
            boxes[kept] = boxes[label]
            kept += 1
    return boxes[:kept].copy()


@kernel
def light_centres(
    places: IndexArray, light: FloatArray, boxes: IndexArray, shape: tuple[int, int], half: tuple[int, int]
) -> IndexArray:
    """Pixels nearest to the centres of light of groups, in boxes grown by some pixels.

    Parameters
    ----------
    places : int64, shape (m,)
        The pixels that count, of this group or another, ``y * nx + x``, ascending.
    light : float32, shape (m,)
        Their light.
    boxes : int64, shape (n, 4)
        From `segment_boxes`.
    shape : (int, int)
        Rows and columns of the image.
    half : (int, int)
        Rows and columns by which the boxes grow on each side; those that leave the image then are passed
        over.

    Returns
    -------
    int64, shape (k, 2)
        Column and row.
    """
    ny, nx = shape
    centres = np.empty((boxes.shape[0], 2), np.int64)
    n = 0
    for k in range(boxes.shape[0]):
        y0, y1 = boxes[k, 0] - half[0], boxes[k, 1] + half[0]
        x0, x1 = boxes[k, 2] - half[1], boxes[k, 3] + half[1]
        if y0 < 0 or x0 < 0 or y1 > ny or x1 > nx:
            continue
        total, sum_x, sum_y = 0.0, 0.0, 0.0
        for y in range(y0, y1):
            at = np.searchsorted(places, y * nx + x0)
            while at < places.shape[0] and places[at] < y * nx + x1:
                value = np.float64(light[at])
                total += value
                sum_x += value * (places[at] - y * nx - x0)
                sum_y += value * (y - y0)
                at += 1
        centres[n, 0] = np.int64(np.rint(x0 + sum_x / total))
        centres[n, 1] = np.int64(np.rint(y0 + sum_y / total))
        n += 1
    return centres[:n].copy()
