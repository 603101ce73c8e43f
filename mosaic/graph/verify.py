"""Where the chunks of a record lie, and whether they are still there and hold what was written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mosaic.errors import StoreError
from mosaic.graph.job import Job, tile_of
from mosaic.graph.plan import Layer
from mosaic.graph.progress import TaskRecord
from mosaic.graph.store import MASK_BAND_ROWS, StoredArray, open_array, read_verified
from mosaic.places import Place, RemotePlace, list_names, list_sizes, size_of
from mosaic.types import Window

_WHOLE = (slice(None), slice(None))
_TILED = ("single", "median", "final")


def _array_name(record: TaskRecord, name: str) -> str:
    """Array that holds a chunk which a record names."""
    kind, _, _rest = name.partition("/")
    if record.phase == "static":
        return f"masks.zarr/low/{record.task}"
    if record.phase == "static_mask":
        return f"masks.zarr/static/{record.task}"
    if record.phase == "cosmic_rays":
        where = "intermediates.zarr/blt" if kind == "blt" else "masks.zarr/cosmic_rays"
        return f"{where}/{record.task}"
    if record.phase in {"single", "median"}:
        return "median.zarr/median" if kind == "median" else f"intermediates.zarr/{name}"
    return f"mosaic.zarr/{kind}"


def _layer(job: Job, record: TaskRecord) -> Layer:
    return job.plan.separate if record.phase in {"single", "median"} else job.plan.final


def locate_chunk(job: Job, record: TaskRecord, name: str) -> tuple[StoredArray, tuple[slice, ...]]:
    """Array and index of a chunk that a record names."""
    kind, _, rest = name.partition("/")
    array = open_array(job.store, _array_name(record, name))
    if record.phase in {"static", "static_mask"}:
        return array, _WHOLE
    if record.phase == "cosmic_rays":
        return array, (slice(int(rest), int(rest) + MASK_BAND_ROWS), slice(None))
    window: Window = _layer(job, record).window(tile_of(record.task))
    if kind == "ctx":
        return array, (slice(int(rest), int(rest) + 1), *window.slices)
    return array, window.slices


def _chunk_files(job: Job, record: TaskRecord, name: str) -> Iterator[Place]:
    """Files of the chunks that a record gives one checksum, found without opening an array."""
    kind, _, rest = name.partition("/")
    folder = job.folder / _array_name(record, name) / "c"
    if record.phase in _TILED:
        row, column = divmod(tile_of(record.task), _layer(job, record).n_columns)
        yield (folder / rest if kind == "ctx" else folder) / str(row) / str(column)
    elif record.phase == "cosmic_rays":
        yield folder / str(int(rest) // MASK_BAND_ROWS) / "0"
    else:
        members = job.static_groups.get(record.task)
        index = job.chip_index[record.task] if members is None else members[0]
        for number in range(-(-job.plan.chips[index].shape_yx.ny // MASK_BAND_ROWS)):
            yield folder / str(number) / "0"


class StoredSizes:
    """Bytes that the chunks of a job take: of files as they are asked for, of objects as they were listed.

    Parameters
    ----------
    job : Job
        The job.
    is_listed : bool
        Whether to list an object store once, which pays when many chunks are asked for.
    """

    def __init__(self, job: Job, *, is_listed: bool) -> None:
        self._job = job
        self._listed: dict[str, int] | None = None
        if is_listed and isinstance(job.folder, RemotePlace):
            self._listed = {
                url: size
                for name in list_names(job.folder)
                if name.endswith(".zarr")
                for url, size in list_sizes(job.folder / name).items()
            }

    def of_chunks(self, record: TaskRecord, name: str) -> int:
        """Bytes of the chunks that a record gives one checksum; -1 when one is missing."""
        sizes = [self._of(place) for place in _chunk_files(self._job, record, name)]
        return -1 if -1 in sizes else sum(sizes)

    def _of(self, place: Place) -> int:
        return size_of(place) if self._listed is None else self._listed.get(str(place), -1)


def with_sizes(job: Job, record: TaskRecord) -> TaskRecord:
    """Note in a record how many bytes its chunks take on disk."""
    sizes = StoredSizes(job, is_listed=False)
    return replace(record, sizes={name: sizes.of_chunks(record, name) for name in record.checksums})


def is_present(sizes: StoredSizes, record: TaskRecord) -> bool:
    """Whether every chunk of a record is there, as large as it was written: a matter of microseconds."""
    return record.sizes.keys() == record.checksums.keys() and all(
        sizes.of_chunks(record, name) == size >= 0 for name, size in record.sizes.items()
    )


def is_intact(job: Job, record: TaskRecord) -> bool:
    """Whether every chunk of a record reads back as it was written."""
    try:
        for name, expected in record.checksums.items():
            read_verified(*locate_chunk(job, record, name), expected)
    except StoreError:
        return False
    return True
