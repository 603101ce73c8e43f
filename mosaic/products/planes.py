"""Arrays of the job as planes for export: rows on demand, every chunk checked against the ledger."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosaic.errors import StoreError
from mosaic.graph.job import Job, tile_of, tile_tasks
from mosaic.graph.plan import Layer
from mosaic.graph.progress import TaskRecord
from mosaic.graph.store import open_array, read_verified
from mosaic.graph.verify import locate_chunk


class TiledPlane:
    """A plane of a phase that works tile by tile.

    Rows are assembled from a row of tiles at a time, which is kept: memory is one row of tiles and the rows
    asked for. Tiles that no chip reaches hold the fill value; a tile that was planned and is not in the
    ledger is an error.

    Parameters
    ----------
    job : Job
        The job.
    phase : {"median", "final"}
        Phase that wrote the tiles.
    array : str
        Name of the array in the job folder.
    kind : str
        Name of the chunks in the records; context planes append their number.
    """

    def __init__(self, job: Job, phase: str, array: str, kind: str) -> None:
        self._job = job
        self._kind = kind
        self._array = open_array(job.store, array)
        self._layer: Layer = job.plan.separate if phase == "median" else job.plan.final
        tasks = tile_tasks(self._layer.chips_of_tile)
        self._records: dict[int, TaskRecord] = {
            tile_of(task): record for task, record in job.ledger.require(phase, tasks).items()
        }
        self._held: tuple[int, int] = (-1, -1)
        self._rows: NDArray[Any] = np.empty((0, 0))
        self.shape: tuple[int, ...] = tuple(self._array.shape)
        if len(self.shape) == 3 and self.shape[0] == 1:
            self.shape = self.shape[1:]
        self.dtype: np.dtype[Any] = np.dtype(self._array.dtype)

    def rows(self, plane: int, y0: int, y1: int) -> NDArray[Any]:
        """Rows ``y0 <= y < y1`` of a plane, native byte order."""
        self._job.raise_if_withdrawn()
        tile = self._layer.tile
        numbers = range(y0 // tile, (y1 - 1) // tile + 1)
        if len(numbers) == 1:
            return self._tile_row(plane, numbers[0])[y0 - numbers[0] * tile : y1 - numbers[0] * tile]
        out = np.empty((y1 - y0, self.shape[-1]), dtype=self.dtype)
        for number in numbers:
            first, last = max(y0, number * tile), min(y1, (number + 1) * tile)
            rows = self._tile_row(plane, number)
            out[first - y0 : last - y0] = rows[first - number * tile : last - number * tile]
            del rows
        return out

    @property
    def block_rows(self) -> int:
        """Rows of a row of tiles."""
        return self._layer.tile

    def is_zero(self, plane: int, y0: int, y1: int) -> bool:
        """Whether rows are known to be zero without reading them: no chunk of a context plane was written."""
        if self._array.ndim != 3:
            return False
        tile = self._layer.tile
        return not any(
            f"{self._kind}/{plane}" in self._records[number].checksums
            for row in range(y0 // tile, (y1 - 1) // tile + 1)
            for number in range(row * self._layer.n_columns, (row + 1) * self._layer.n_columns)
            if number in self._records
        )

    def held_bytes(self) -> int:
        """Bytes of the chunks that were written, and of all pixels where a missing chunk is not zero."""
        if self._array.ndim != 3:
            return math.prod(self.shape) * self.dtype.itemsize
        return sum(
            math.prod(self._layer.window(tile).shape_yx) * self.dtype.itemsize
            for tile, record in self._records.items()
            for name in record.checksums
            if name.startswith(f"{self._kind}/")
        )

    def _tile_row(self, plane: int, number: int) -> NDArray[Any]:
        if self._held == (plane, number):
            return self._rows
        self._held, self._rows = (-1, -1), np.empty((0, 0))  # given back before the next are read
        shape = self._layer.grid.shape_yx
        height = min(self._layer.tile, shape.ny - number * self._layer.tile)
        rows = np.empty((height, shape.nx), dtype=self.dtype)
        for column in range(self._layer.n_columns):
            tile = number * self._layer.n_columns + column
            window = self._layer.window(tile)
            self._fill(rows[:, window.x0 : window.x1], plane, self._records.get(tile))
        self._held, self._rows = (plane, number), rows
        return rows

    def _fill(self, target: NDArray[Any], plane: int, record: TaskRecord | None) -> None:
        is_stack = self._array.ndim == 3
        name = f"{self._kind}/{plane}" if is_stack else self._kind
        if record is None or (is_stack and name not in record.checksums):
            target[:] = self._array.fill_value
            return
        if name not in record.checksums:
            raise StoreError(
                f"the ledger of {record.phase} {record.task} names no {name}; run with --restart"
            )
        values = read_verified(*locate_chunk(self._job, record, name), record.checksums[name])
        target[:] = values[0] if is_stack else values


class StoredPlane:
    """An array of the job folder read as it is.

    Parameters
    ----------
    job : Job
        The job.
    array : str
        Name of the array in the job folder.
    """

    def __init__(self, job: Job, array: str) -> None:
        self._array = open_array(job.store, array)
        self.shape: tuple[int, ...] = tuple(self._array.shape)
        self.dtype: np.dtype[Any] = np.dtype(self._array.dtype)

    def rows(self, plane: int, y0: int, y1: int) -> NDArray[Any]:
        """Rows ``y0 <= y < y1``."""
        del plane
        return np.asarray(self._array[y0:y1])


class MaskPlane:
    """A packed mask as DrizzlePac writes masks: 1 good, 0 flagged.

    Parameters
    ----------
    job : Job
        The job.
    name : str
        Mask within ``masks.zarr``.
    dtype : str
        ``uint8`` or ``int16``.
    """

    def __init__(self, job: Job, name: str, dtype: str) -> None:
        self._array = open_array(job.store, f"masks.zarr/{name}")
        self._nx = int(self._array.attrs["nx"])
        self.shape: tuple[int, ...] = (int(self._array.shape[0]), self._nx)
        self.dtype: np.dtype[Any] = np.dtype(dtype)

    def rows(self, plane: int, y0: int, y1: int) -> NDArray[Any]:
        """Rows ``y0 <= y < y1``."""
        del plane
        packed = np.asarray(self._array[y0:y1])
        flags = np.unpackbits(packed, axis=1, bitorder="little", count=self._nx)
        return (1 - flags).astype(self.dtype)
