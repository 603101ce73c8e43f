"""Which pixels of a chip can reach a rectangle of the output, and the reverse.

The map is evaluated on a coarse lattice; each lattice cell has a bounding box in the output,
widened by a margin larger than what the map can curve within a cell. Windows found this way are supersets:
they never lose a pixel, and a pixel more changes no bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosaic.kernels.exact_map import MapModel
from mosaic.kernels.pixmap import map_points
from mosaic.types import ShapeYX, Window

CELL = 16
"""Side of a lattice cell, chip pixels."""

CURVATURE_MARGIN = 2.0
"""Output pixels by which the exact map may leave the bounding box of a cell's corners: look-up tables
and SIP terms bend by less than 0.2 pixel within a cell for every HST detector."""


@dataclass(frozen=True, slots=True)
class ChipCells:
    """Bounding boxes of the lattice cells of a chip in the output grid."""

    shape_yx: ShapeYX
    """Shape of the chip."""
    low_x: NDArray[np.float32]
    """Smallest output x of each cell, shape (n_cells_y, n_cells_x); likewise below. Single precision is
    good to 0.01 pixels in frames of 200,000, far less than the margin allows."""
    high_x: NDArray[np.float32]
    low_y: NDArray[np.float32]
    high_y: NDArray[np.float32]

    @classmethod
    def from_map(cls, model: MapModel, shape_yx: ShapeYX) -> ChipCells:
        """Evaluate the map on the lattice of a chip.

        Parameters
        ----------
        model : MapModel
            Chip to output pixels.
        shape_yx : ShapeYX
            Shape of the chip.
        """
        edge_y = _lattice(shape_yx.ny)
        edge_x = _lattice(shape_yx.nx)
        grid_y, grid_x = np.meshgrid(edge_y, edge_x, indexing="ij")
        out_x = np.empty(grid_x.size)
        out_y = np.empty(grid_x.size)
        map_points(model, grid_x.ravel(), grid_y.ravel(), out_x, out_y)
        boxes = []
        for values in (out_x.reshape(grid_x.shape), out_y.reshape(grid_x.shape)):
            for extreme, sign in ((np.minimum, -1.0), (np.maximum, 1.0)):
                along_y = extreme(values[:-1], values[1:])
                box = extreme(along_y[:, :-1], along_y[:, 1:]) + sign * CURVATURE_MARGIN
                boxes.append(box.astype(np.float32))
        return cls(shape_yx, *boxes)

    @property
    def n_bytes(self) -> int:
        """Memory of the boxes."""
        return 4 * self.low_x.nbytes

    def window_for(self, target: Window, margin: float) -> Window:
        """Chip window that holds every pixel able to reach `target` within `margin` output pixels."""
        reached = (
            (self.high_x >= target.x0 - 0.5 - margin)
            & (self.low_x <= target.x1 - 0.5 + margin)
            & (self.high_y >= target.y0 - 0.5 - margin)
            & (self.low_y <= target.y1 - 0.5 + margin)
        )
        rows = np.flatnonzero(reached.any(axis=1))
        if rows.size == 0:
            return Window(0, 0, 0, 0)
        columns = np.flatnonzero(reached.any(axis=0))
        return Window(
            int(rows[0]) * CELL,
            min((int(rows[-1]) + 1) * CELL, self.shape_yx.ny),
            int(columns[0]) * CELL,
            min((int(columns[-1]) + 1) * CELL, self.shape_yx.nx),
        )

    def output_box(self, rows: Window, margin: float) -> Window:
        """Output rectangle (not cut at the frame) that a window of the chip can reach."""
        part = (
            slice(rows.y0 // CELL, (rows.y1 + CELL - 1) // CELL),
            slice(rows.x0 // CELL, (rows.x1 + CELL - 1) // CELL),
        )
        return Window(
            int(np.floor(self.low_y[part].min() - margin)),
            int(np.ceil(self.high_y[part].max() + margin)) + 1,
            int(np.floor(self.low_x[part].min() - margin)),
            int(np.ceil(self.high_x[part].max() + margin)) + 1,
        )


def _lattice(size: int) -> NDArray[np.float64]:
    """Cell edges along one axis, from the outer edge of the first pixel to that of the last."""
    return np.append(np.arange(0, size, CELL, dtype=np.float64), float(size)) - 0.5
