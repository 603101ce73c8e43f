"""Zarr arrays of a job: schema, verified chunk writes, packed masks.

Layout in the job folder: ``mosaic.zarr`` (sci, wht, ctx, var), ``median.zarr`` (median),
``masks.zarr`` (low, static, cosmic_rays, bit-packed along x) and, when intermediates are wanted,
``intermediates.zarr``. Chunk = tile (or a band of chip rows for masks), one writer per chunk. All arrays
are created once by the driver. An absent chunk proves nothing; the ledger does.
"""

from __future__ import annotations

import errno
import json
import zlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mosaic.errors import OutputError, StoreError
from mosaic.exposure.cache import ROW_CACHE
from mosaic.graph.chunks import METADATA, LocalArray, format_metadata
from mosaic.places import Place, list_sizes, place_of, put, size_of
from mosaic.types import BoolArray, ShapeYX, Window

if TYPE_CHECKING:
    import zarr

MASK_BAND_ROWS = 256
"""Rows of a chip in one stored mask chunk."""
_WRITES_AT_A_TIME = 16

StoredArray: TypeAlias = "LocalArray | zarr.Array"
"""An array of a job: on a disk, or in an object store."""


class ArrayDocument(NamedTuple):
    """What is written to create an array."""

    name: str
    """Place in the job folder."""
    text: bytes
    """Its metadata."""


def create_group(folder: Place, name: str, attributes: Mapping[str, Any]) -> None:
    """Create the zarr group `name` in the job folder."""
    document = {"attributes": dict(attributes), "zarr_format": 3, "node_type": "group"}
    put(folder / name / METADATA, json.dumps(document).encode())


def describe_array(
    name: str,
    *,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: str,
    fill_value: float,
    dimensions: tuple[str, ...],
    attributes: Mapping[str, Any] | None = None,
) -> ArrayDocument:
    """Describe one array ``<group>.zarr/<array>`` of a job folder."""
    cut = tuple(min(c, max(s, 1)) for c, s in zip(chunks, shape, strict=True))
    text = format_metadata(shape, cut, np.dtype(dtype), fill_value, dimensions, attributes or {})
    return ArrayDocument(name, text)


def create_arrays(folder: Place, documents: Iterable[ArrayDocument]) -> None:
    """Create arrays of a job; those that exist are kept as they are."""
    if isinstance(folder, Path):
        for document in documents:
            if size_of(folder / document.name / METADATA) < 0:
                put(folder / document.name / METADATA, document.text)
        return
    wanted = {folder / document.name / METADATA: document.text for document in documents}
    present = list_sizes(folder)
    missing = [(place, text) for place, text in wanted.items() if str(place) not in present]
    with ThreadPoolExecutor(_WRITES_AT_A_TIME, thread_name_prefix="arrays") as pool:
        list(pool.map(lambda item: put(*item), missing))


@lru_cache(maxsize=256)
def open_array(folder: str, name: str) -> StoredArray:
    """Open an array of the job, once per process."""
    place = place_of(folder) / name
    if isinstance(place, Path):
        return LocalArray(place)
    # A job on a disk does without zarr, which takes its time to load.
    import zarr  # noqa: PLC0415

    from mosaic.graph.objects import open_object_store  # noqa: PLC0415

    # open_array() of zarr 3.1 ignores its `config` argument; chunks of fill values must be stored too.
    with zarr.config.set({"array.write_empty_chunks": True}):
        return zarr.open_array(open_object_store(place), mode="r+", zarr_format=3)


def forget_arrays() -> None:
    """Drop the handles that `open_array` keeps (a job folder was removed or made anew)."""
    open_array.cache_clear()


def checksum(values: NDArray[Any]) -> str:
    """CRC-32 of the values in memory order, eight hexadecimal digits."""
    crc = zlib.crc32(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return f"{crc:08x}"


def write_chunk(array: StoredArray, index: tuple[slice, ...], values: NDArray[Any]) -> str:
    """Write whole chunks, compare what is kept with what was sent, and return the checksum of the values.

    Raises
    ------
    OutputError
        When the disk is full or the folder not writable, or an object store does not keep what it is sent.
    StoreError
        When what is read back differs from what was written.
    """
    try:
        if isinstance(array, LocalArray):
            array.write(index, values)
        else:
            array[index] = values
    except OSError as error:
        raise output_error(error, array.store_path) from error
    return checksum(values)


def output_error(error: OSError, place: object) -> OutputError:
    """Word an operating-system error met while writing `place`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(
            f"disk full while writing {place}: free some space, then run the same command to continue"
        )
    return OutputError(f"cannot write {place}: {error.strerror or error}; choose another output folder")


def read_verified(array: StoredArray, index: tuple[slice, ...], expected: str | None) -> NDArray[Any]:
    """Read chunks and compare them with the ledger's checksum.

    Raises
    ------
    StoreError
        When the checksum differs: the chunk is missing or damaged.
    """
    values = np.asarray(array[index])
    if expected is None or checksum(values) != expected:
        raise StoreError(
            f"{array.store_path} {index}: chunk is missing or damaged (ledger says {expected}); "
            "run the same command with --restart"
        )
    return values


def describe_mask(name: str, shape_yx: ShapeYX) -> ArrayDocument:
    """Describe a bit-packed mask of a chip, ``masks.zarr/<name>``."""
    packed = (shape_yx.nx + 7) // 8
    return describe_array(
        f"masks.zarr/{name}",
        shape=(shape_yx.ny, packed),
        chunks=(MASK_BAND_ROWS, packed),
        dtype="uint8",
        fill_value=0,
        dimensions=("y", "x_packed"),
        attributes={"nx": shape_yx.nx, "bit_order": "little"},
    )


def write_mask_rows(folder: str, name: str, y0: int, mask: BoolArray) -> str:
    """Write rows of a mask; `y0` and the number of rows cover whole chunks."""
    packed = np.packbits(mask, axis=1, bitorder="little")
    return write_chunk(
        open_array(folder, f"masks.zarr/{name}"), (slice(y0, y0 + mask.shape[0]), slice(None)), packed
    )


NO_MASK = np.zeros((0, 0), dtype=np.uint8)
"""A packed mask that masks nothing."""


class PackedMask(NamedTuple):
    """A window of a mask as it is stored."""

    packed: NDArray[np.uint8]
    """Bits along x from the lowest, shape (ny, n_bytes)."""
    first_bit: int
    """Bit of the first byte of a row that belongs to the first pixel of the window."""


def read_mask(folder: str, name: str, window: Window) -> BoolArray:
    """Read a window of a finished mask, True where the bit is set."""
    packed, first_bit = read_packed(folder, name, window)
    bits = np.unpackbits(packed, axis=1, bitorder="little")
    return bits[:, first_bit : first_bit + window.x1 - window.x0].view(np.bool_)


def read_packed(folder: str, name: str, window: Window) -> PackedMask:
    """Read a window of a finished mask without unpacking it; its chunks may be kept in memory."""
    first = window.x0 // 8
    last = (window.x1 + 7) // 8
    packed = np.empty((window.y1 - window.y0, last - first), dtype=np.uint8)
    for y0 in range(window.y0 // MASK_BAND_ROWS * MASK_BAND_ROWS, window.y1, MASK_BAND_ROWS):
        band = ROW_CACHE.get((f"{folder}/{name}", 0, y0), partial(_read_mask_band, folder, name, y0))
        top, bottom = max(y0, window.y0), min(y0 + MASK_BAND_ROWS, window.y1)
        packed[top - window.y0 : bottom - window.y0] = band[top - y0 : bottom - y0, first:last]
    return PackedMask(packed, window.x0 - 8 * first)


def _read_mask_band(folder: str, name: str, y0: int) -> NDArray[np.uint8]:
    """One stored chunk of a mask, still packed."""
    return np.asarray(open_array(folder, f"masks.zarr/{name}")[y0 : y0 + MASK_BAND_ROWS], dtype=np.uint8)
