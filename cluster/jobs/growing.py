"""The preview of a mosaic while it grows: one reduced image, tile by tile, written as PNG now and then.

Covers reading finished tiles of the science plane, block means, and a stretch from what is there so far.
Does not cover figures of finished mosaics (`mosaic.quality.preview`).
"""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from mosaic.graph.job import tile_of
from mosaic.graph.ledger import Ledger
from mosaic.graph.plan import Plan
from mosaic.graph.store import open_array
from mosaic.places import Place
from mosaic.products.partial import write_whole
from mosaic.types import FloatArray

MAX_SIDE: Final = 1024
"""Longest side of the preview, pixels."""
INTERVAL_S: Final = 2.0
"""Least time between two pictures."""
_SOFTENING: Final = 10.0
"""Noises above the sky up to which the stretch is linear."""


class GrowingPreview:
    """Reduced science image of a run; made anew at the first tile, whatever an earlier run left.

    Parameters
    ----------
    folder : Path or RemotePlace
        Job folder of the mosaic.
    plan : Plan
        The job.
    target : Path
        Picture to write.
    """

    def __init__(self, folder: Place, plan: Plan, target: Path) -> None:
        self._store = str(folder)
        self._ledger = Ledger(folder, plan.incarnation)
        self._layer = layer = plan.final
        self._target = target
        shape = layer.grid.shape_yx
        self._factor = max(1, -(-max(shape) // MAX_SIDE))
        reduced = (-(-shape.ny // self._factor), -(-shape.nx // self._factor))
        self._total = np.zeros(reduced)
        self._count = np.zeros(reduced)
        self._written_s = 0.0
        self._is_begun = False

    def add(self, task: str) -> None:
        """Take a finished tile, and write the picture if the last one is old enough."""
        self._take_earlier(task)
        self._take(task)
        if time.monotonic() - self._written_s >= INTERVAL_S:
            self._write()

    def finish(self) -> None:
        """Write the last picture, also when an earlier run had finished all tiles."""
        self._take_earlier("")
        self._write()

    def _take_earlier(self, task: str) -> None:
        """Take, once, what an earlier run left."""
        if self._is_begun:
            return
        self._is_begun = True
        for name in self._ledger.read_phase("final"):
            if name != task:
                self._take(name)

    def _write(self) -> None:
        """Write the picture with the last row of the mosaic on top."""
        mean = np.divide(
            self._total, self._count, out=np.full_like(self._total, np.nan), where=self._count > 0
        )
        picture = Image.fromarray(stretch(mean)[::-1])
        stream = io.BytesIO()
        picture.save(stream, "PNG")
        write_whole(self._target, stream.getvalue())
        self._written_s = time.monotonic()

    def _take(self, task: str) -> None:
        window = self._layer.window(tile_of(task))
        values = np.asarray(
            open_array(self._store, "mosaic.zarr/sci")[window.y0 : window.y1, window.x0 : window.x1],
            dtype=np.float64,
        )
        is_present = np.isfinite(values)
        rows = np.arange(window.y0, window.y1) // self._factor
        columns = np.arange(window.x0, window.x1) // self._factor
        for target, part in (
            (self._total, np.where(is_present, values, 0.0)),
            (self._count, is_present.astype(np.float64)),
        ):
            starts_y, starts_x = _starts(rows), _starts(columns)
            block = np.add.reduceat(np.add.reduceat(part, starts_y), starts_x, axis=1)
            target[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += block


def _starts(cells: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where a new cell begins."""
    return np.flatnonzero(np.diff(cells, prepend=cells[0] - 1))


def stretch(values: np.ndarray[tuple[int, int], np.dtype[np.float64]] | FloatArray) -> np.ndarray:
    """Grey and opacity, shape (ny, nx, 2), uint8: linear near the sky, logarithmic above; absent is clear."""
    is_present = np.isfinite(values)
    out = np.zeros((*values.shape, 2), dtype=np.uint8)
    present = values[is_present]
    if present.size == 0:
        return out
    sky = np.median(present)
    noise = 1.4826 * np.median(np.abs(present - sky)) or float(np.std(present)) or 1.0
    low = sky - 2.0 * noise
    high = max(sky + _SOFTENING * noise, np.percentile(present, 99.8))
    scaled = np.arcsinh((present - low) / (_SOFTENING * noise / 3.0))
    top = np.arcsinh((high - low) / (_SOFTENING * noise / 3.0))
    out[is_present, 0] = np.clip(255.0 * scaled / top, 0.0, 255.0).astype(np.uint8)
    out[is_present, 1] = 255
    return out
