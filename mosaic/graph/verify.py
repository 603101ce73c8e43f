"""Where the chunks of a record lie, and whether they still hold what was written."""

from __future__ import annotations

from typing import Any

import zarr

from mosaic.errors import StoreError
from mosaic.graph.job import Job, tile_of
from mosaic.graph.progress import TaskRecord
from mosaic.graph.store import MASK_BAND_ROWS, open_array, read_verified

_WHOLE = (slice(None), slice(None))


def locate_chunk(job: Job, record: TaskRecord, name: str) -> tuple[zarr.Array, tuple[Any, ...]]:
    """Array and index of a chunk that a record names."""
    kind, _, rest = name.partition("/")
    store = job.store
    if record.phase == "static":
        return open_array(store, f"masks.zarr/low/{record.task}"), _WHOLE
    if record.phase == "static_mask":
        return open_array(store, f"masks.zarr/static/{record.task}"), _WHOLE
    if record.phase == "cosmic_rays":
        rows = slice(int(rest), int(rest) + MASK_BAND_ROWS)
        where = "intermediates.zarr/blt" if kind == "blt" else "masks.zarr/cosmic_rays"
        return open_array(store, f"{where}/{record.task}"), (rows, slice(None))
    if record.phase in {"single", "median"}:
        window = job.plan.separate.window(tile_of(record.task))
        where = "median.zarr/median" if kind == "median" else f"intermediates.zarr/{name}"
        return open_array(store, where), window.slices
    window = job.plan.final.window(tile_of(record.task))
    array = open_array(store, f"mosaic.zarr/{kind}")
    if kind == "ctx":
        return array, (slice(int(rest), int(rest) + 1), *window.slices)
    return array, window.slices


def is_intact(job: Job, record: TaskRecord) -> bool:
    """Whether every chunk of a record reads back as it was written."""
    try:
        for name, expected in record.checksums.items():
            read_verified(*locate_chunk(job, record, name), expected)
    except StoreError:
        return False
    return True
