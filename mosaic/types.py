"""Shared small types: axis order and units are part of their names."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]
DoubleArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]
ByteArray: TypeAlias = NDArray[np.uint8]
IntArray: TypeAlias = NDArray[np.int32]


class ShapeYX(NamedTuple):
    """Rows and columns of an image."""

    ny: int
    nx: int


class Window(NamedTuple):
    """A half-open rectangle of pixels, 0-based: rows ``y0 <= y < y1``, columns ``x0 <= x < x1``."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def shape_yx(self) -> ShapeYX:
        """Rows and columns of the window."""
        return ShapeYX(self.y1 - self.y0, self.x1 - self.x0)

    @property
    def slices(self) -> tuple[slice, slice]:
        """The window as an array index."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    @property
    def is_empty(self) -> bool:
        """Whether the window holds no pixel."""
        return self.y1 <= self.y0 or self.x1 <= self.x0

    def intersect(self, other: Window) -> Window:
        """Pixels common to both windows (possibly empty)."""
        return Window(
            max(self.y0, other.y0), min(self.y1, other.y1), max(self.x0, other.x0), min(self.x1, other.x1)
        )
