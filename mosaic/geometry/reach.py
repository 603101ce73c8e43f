"""Which tiles of a grid a chip can reach, from its edge and a few points inside: cheap enough for surveys.

A rectangle that is reached either comes near the image of the chip's edge, or lies wholly inside that image
and then holds a point of any lattice fine enough. Tiles found this way are a superset, as the windows of
`mosaic.geometry.cells` are. Does not cover which pixels of the chip reach a tile (`ChipCells`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosaic.geometry.cells import CELL, CURVATURE_MARGIN
from mosaic.kernels.exact_map import MapModel
from mosaic.kernels.pixmap import map_points
from mosaic.types import BoolArray, DoubleArray, ShapeYX, Window

MAX_STEP = 8 * CELL
"""Largest distance of lattice points inside a chip, chip pixels."""


@dataclass(frozen=True, slots=True)
class _Boxes:
    """Bounding boxes in the output of pieces of a chip, each array of shape (n,)."""

    low_x: DoubleArray
    high_x: DoubleArray
    low_y: DoubleArray
    high_y: DoubleArray

    @classmethod
    def of_quadrilaterals(cls, x: DoubleArray, y: DoubleArray) -> _Boxes:
        """Boxes of corners of shape (4, n), widened by what the map can curve between them."""
        return cls(
            x.min(axis=0) - CURVATURE_MARGIN,
            x.max(axis=0) + CURVATURE_MARGIN,
            y.min(axis=0) - CURVATURE_MARGIN,
            y.max(axis=0) + CURVATURE_MARGIN,
        )


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Square tiles of a frame, row by row."""

    shape_yx: ShapeYX
    """Shape of the frame."""
    side: int
    """Side of a tile, pixels."""

    @property
    def n_columns(self) -> int:
        """Tiles along x."""
        return -(-self.shape_yx.nx // self.side)

    @property
    def n_rows(self) -> int:
        """Tiles along y."""
        return -(-self.shape_yx.ny // self.side)


@dataclass(frozen=True, slots=True)
class ChipOutline:
    """A chip in an output grid: boxes along its edge, boxes and points inside."""

    edge: _Boxes
    """Boxes of the lattice cells along the edge."""
    inside: _Boxes
    """Boxes of the coarse cells that make up the chip."""
    points_x: DoubleArray
    """Output x of the corners of the coarse cells, shape (n,)."""
    points_y: DoubleArray
    """Output y, likewise."""

    @classmethod
    def from_map(cls, model: MapModel, shape_yx: ShapeYX, step: int) -> ChipOutline:
        """Evaluate the map along the edge of a chip and on a lattice inside.

        Parameters
        ----------
        model : MapModel
            Chip to output pixels.
        shape_yx : ShapeYX
            Shape of the chip.
        step : int
            Distance of the lattice points inside, chip pixels; at most `MAX_STEP`.
        """
        fine_y, fine_x = _edges(shape_yx.ny, CELL), _edges(shape_yx.nx, CELL)
        coarse_y, coarse_x = _edges(shape_yx.ny, step), _edges(shape_yx.nx, step)
        corners = [*_ring(fine_y, fine_x), *np.meshgrid(coarse_y, coarse_x, indexing="ij")]
        x = np.concatenate([corners[1].ravel(), corners[3].ravel()])
        y = np.concatenate([corners[0].ravel(), corners[2].ravel()])
        out_x, out_y = np.empty(x.size), np.empty(x.size)
        map_points(model, x, y, out_x, out_y)
        n_edge = corners[0].size
        edge = _Boxes.of_quadrilaterals(out_x[:n_edge].reshape(4, -1), out_y[:n_edge].reshape(4, -1))
        x_in = out_x[n_edge:].reshape(corners[2].shape)
        y_in = out_y[n_edge:].reshape(corners[2].shape)
        inside = _Boxes.of_quadrilaterals(_corners(x_in), _corners(y_in))
        return cls(edge, inside, x_in.ravel(), y_in.ravel())

    def box(self) -> Window:
        """Output rectangle (not cut at the frame) that holds the chip with room to spare."""
        spare = CURVATURE_MARGIN
        return Window(
            int(np.floor(self.edge.low_y.min() - spare)),
            int(np.ceil(self.edge.high_y.max() + spare)) + 1,
            int(np.floor(self.edge.low_x.min() - spare)),
            int(np.ceil(self.edge.high_x.max() + spare)) + 1,
        )

    def tiles(self, grid: TileGrid, margin: float) -> NDArray[np.int64]:
        """Tiles that the chip may reach within `margin` output pixels, ascending."""
        area = _tile_range(grid, self.box(), margin)
        if area.is_empty:
            return np.empty(0, dtype=np.int64)
        found = _mark_boxes(self.edge, grid, area, margin)
        _mark_points(found, self.points_x, self.points_y, grid, area)
        is_thin = self._thin_tiles(grid, area)
        if is_thin.any():
            found |= _mark_boxes(self.inside, grid, area, margin) & is_thin
        rows, columns = np.nonzero(found)
        tiles: NDArray[np.int64] = (rows + area.y0) * grid.n_columns + columns + area.x0
        return tiles

    def _thin_tiles(self, grid: TileGrid, area: Window) -> BoolArray:
        """Tiles that may lie between lattice points: those not twice as wide and high as any coarse cell."""
        thin = []
        for first, last, size, low, high in (
            (area.y0, area.y1, grid.shape_yx.ny, self.inside.low_y, self.inside.high_y),
            (area.x0, area.x1, grid.shape_yx.nx, self.inside.low_x, self.inside.high_x),
        ):
            start = np.arange(first, last) * grid.side
            thin.append(np.minimum(start + grid.side, size) - start < 2.0 * float((high - low).max()))
        return thin[0][:, None] | thin[1][None, :]


def lattice_step(side: int, scale_ratio: float) -> int:
    """Largest step of a lattice, in multiples of `CELL`, of which a tile of `side` holds several points."""
    wanted = side * scale_ratio / 8.0
    return int(min(MAX_STEP, max(CELL, wanted // CELL * CELL)))


def _edges(size: int, step: int) -> DoubleArray:
    """Cell edges along one axis, from the outer edge of the first pixel to that of the last."""
    return np.append(np.arange(0, size, step, dtype=np.float64), float(size)) - 0.5


def _ring(y: DoubleArray, x: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Corners, y and x of shape (4, n), of the cells along the edge of the lattice `y` times `x`."""
    rows = np.unique([0, y.size - 2])
    columns = np.unique([0, x.size - 2])
    all_rows, all_columns = np.arange(y.size - 1), np.arange(x.size - 1)
    row = np.concatenate([np.repeat(rows, all_columns.size), np.tile(all_rows, columns.size)])
    column = np.concatenate([np.tile(all_columns, rows.size), np.repeat(columns, all_rows.size)])
    return (
        np.stack([y[row], y[row], y[row + 1], y[row + 1]]),
        np.stack([x[column], x[column + 1], x[column], x[column + 1]]),
    )


def _corners(values: DoubleArray) -> DoubleArray:
    """Values at the four corners of every cell of a lattice, shape (4, n)."""
    return np.stack([values[:-1, :-1], values[:-1, 1:], values[1:, :-1], values[1:, 1:]]).reshape(4, -1)


def _tile_range(grid: TileGrid, box: Window, margin: float) -> Window:
    """Rows and columns of tiles that a box can touch."""
    reach = int(np.ceil(margin)) + 1
    shape = grid.shape_yx
    grown = Window(box.y0 - reach, box.y1 + reach, box.x0 - reach, box.x1 + reach)
    cut = grown.intersect(Window(0, shape.ny, 0, shape.nx))
    if cut.is_empty:
        return Window(0, 0, 0, 0)
    side = grid.side
    return Window(cut.y0 // side, (cut.y1 - 1) // side + 1, cut.x0 // side, (cut.x1 - 1) // side + 1)


def _mark_boxes(boxes: _Boxes, grid: TileGrid, area: Window, margin: float) -> BoolArray:
    """Tiles of `area` that any box touches within `margin`."""
    found = np.zeros(area.shape_yx, dtype=np.bool_)
    shape = grid.shape_yx
    is_near = (
        (boxes.high_x >= -0.5 - margin) & (boxes.low_x <= shape.nx - 0.5 + margin)
        & (boxes.high_y >= -0.5 - margin) & (boxes.low_y <= shape.ny - 0.5 + margin)
    )  # fmt: skip
    first_x, last_x = _tile_span(boxes.low_x[is_near], boxes.high_x[is_near], grid.side, margin)
    first_y, last_y = _tile_span(boxes.low_y[is_near], boxes.high_y[is_near], grid.side, margin)
    first_x, last_x = np.clip((first_x, last_x), area.x0, area.x1 - 1) - area.x0
    first_y, last_y = np.clip((first_y, last_y), area.y0, area.y1 - 1) - area.y0
    for down in range(int((last_y - first_y).max(initial=-1)) + 1):
        for right in range(int((last_x - first_x).max(initial=-1)) + 1):
            found[np.minimum(first_y + down, last_y), np.minimum(first_x + right, last_x)] = True
    return found


def _tile_span(
    low: DoubleArray, high: DoubleArray, side: int, margin: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last tile along an axis whose pixels lie within `margin` of an interval."""
    first = np.ceil((low + 0.5 - margin) / side) - 1.0
    last = np.floor((high + 0.5 + margin) / side)
    return first.astype(np.int64), last.astype(np.int64)


def _mark_points(found: BoolArray, x: DoubleArray, y: DoubleArray, grid: TileGrid, area: Window) -> None:
    """Mark the tiles that hold a point."""
    shape = grid.shape_yx
    is_inside = (x > -0.5) & (x < shape.nx - 0.5) & (y > -0.5) & (y < shape.ny - 0.5)
    columns = ((x[is_inside] + 0.5) // grid.side).astype(np.int64) - area.x0
    rows = ((y[is_inside] + 0.5) // grid.side).astype(np.int64) - area.y0
    found[rows, columns] = True
