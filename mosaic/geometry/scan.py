"""Pixels inside a polygon, as runs along rows.

The polygon has whole-number vertices; a row is filled from one crossing of its sides to the next, both
rounded up, so that the column at the right side belongs to it, and its top row is filled like the row below.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mosaic.types import DoubleArray, ShapeYX

SpanArray = NDArray[np.int64]
"""Shape (n, 3): row, first column, one past the last column; ascending, no pixel twice."""

_NO_SPANS: Final = np.empty((0, 3), dtype=np.int64)


def scan_polygon(vertices_xy: DoubleArray, shape_yx: ShapeYX, *, peer: bool = False) -> SpanArray:
    """Find the pixels of an image inside a polygon.

    Parameters
    ----------
    vertices_xy : ndarray, shape (n, 2)
        Vertices, 0-based pixels, in order and closed implicitly; rounded here, halves to even.
    shape_yx : ShapeYX
        Rows and columns of the image.
    peer : bool
        A run that ends two pixels or more left of the image is counted from the image's right side, as
        DrizzlePac's negative index does; else there is no pixel in it.

    Returns
    -------
    SpanArray
        Runs of pixels.
    """
    vertices = np.rint(vertices_xy).astype(np.int64)
    rows, crossings = _find_crossings(vertices)
    if rows.size == 0 or np.ptp(vertices[:, 0]) == 0:
        return _NO_SPANS
    order = np.lexsort((crossings, rows))
    rows, crossings = rows[order], crossings[order]
    rank = np.arange(rows.size) - np.searchsorted(rows, rows)
    starts = np.flatnonzero((rank % 2 == 0) & (np.append(rows[1:], rows[-1] + 1) == rows))
    first, last = crossings[starts], crossings[starts + 1]
    rows = rows[starts]
    # Where two runs meet, their common column is in the first.
    meets = np.append(False, (rows[1:] == rows[:-1]) & (first[1:] == last[:-1]))
    first = np.maximum(first + meets, 0)
    end = np.minimum(last, shape_yx.nx - 1) + 1
    if peer:
        end = np.where(end < 0, end + shape_yx.nx, end)
    kept = (rows >= 0) & (rows < shape_yx.ny) & (end > first)
    return np.stack([rows[kept], first[kept], end[kept]], axis=1)


def _find_crossings(vertices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column (rounded up) of every crossing of a side with a row from its lower end upwards."""
    top = int(vertices[:, 1].max())
    rows: list[NDArray[np.int64]] = []
    columns: list[NDArray[np.int64]] = []
    for (x0, y0), (x1, y1) in zip(vertices, np.roll(vertices, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        high = max(y0, y1)
        row = np.arange(min(y0, y1), high + (1 if high == top else 0))
        rows.append(row)
        columns.append(np.ceil((row - y0) / (y1 - y0) * (x1 - x0) + x0).astype(np.int64))
    if not rows:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    return np.concatenate(rows), np.concatenate(columns)
