"""Zarr arrays on a disk of this machine, chunk by chunk: what zarr itself does, without its event loop.

A chunk of a job is one file, written once and whole by one thread. The general machinery of zarr (coroutines,
a thread for every codec) costs more than compressing such a chunk does. Only arrays as
`mosaic.graph.store` describes them are covered: zarr format 3, regular chunks, little-endian, Blosc.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numcodecs.blosc import BITSHUFFLE, Blosc
from numpy.typing import NDArray

from mosaic.errors import StoreError
from mosaic.places import put

METADATA: Final = "zarr.json"
COMPRESSOR: Final = "lz4"
LEVEL: Final = 5
"""Compression of all arrays of a job, bits shuffled."""

Index = tuple[slice, ...]


def format_metadata(
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: np.dtype[Any],
    fill_value: float,
    dimensions: tuple[str, ...],
    attributes: Mapping[str, Any],
) -> bytes:
    """Metadata of an array of a job (zarr format 3)."""
    codec = {
        "typesize": dtype.itemsize,
        "cname": COMPRESSOR,
        "clevel": LEVEL,
        "shuffle": "bitshuffle",
        "blocksize": 0,
    }
    document = {
        "shape": shape,
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": _json_number(dtype.type(fill_value).item()),
        "codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}}
            if dtype.itemsize > 1
            else {"name": "bytes"},
            {"name": "blosc", "configuration": codec},
        ],
        "attributes": dict(attributes),
        "dimension_names": dimensions,
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }
    return json.dumps(document).encode()


def _json_number(value: float) -> float | str:
    """A number as zarr has it in JSON, which lacks those that are not finite."""
    if np.isfinite(value):
        return value
    return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"


class _Overlap(NamedTuple):
    """A chunk that an index reaches."""

    number: tuple[int, ...]
    """Which chunk, along each axis."""
    in_chunk: Index
    in_values: Index


class LocalArray:
    """An array of a job in a folder on a disk.

    Parameters
    ----------
    folder : Path
        Folder of the array; it holds ``zarr.json``.

    Raises
    ------
    StoreError
        When the array is laid out otherwise than a job's arrays are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        document = json.loads((folder / METADATA).read_bytes())
        names = [codec["name"] for codec in document["codecs"]]
        if names != ["bytes", "blosc"] or document["chunk_grid"]["name"] != "regular":
            raise StoreError(f"{folder} is not an array of a job ({', '.join(names)}); run with --restart")
        self.shape = tuple(int(n) for n in document["shape"])
        self.dtype: np.dtype[Any] = np.dtype(document["data_type"]).newbyteorder("<")
        self.fill_value = self.dtype.type(document["fill_value"])
        self.attrs: dict[str, Any] = document.get("attributes", {})
        self._chunks = tuple(int(n) for n in document["chunk_grid"]["configuration"]["chunk_shape"])
        self._codec = Blosc(COMPRESSOR, LEVEL, BITSHUFFLE, typesize=self.dtype.itemsize)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def store_path(self) -> str:
        """Name of the array in messages."""
        return str(self._folder)

    def __getitem__(self, index: slice | Index) -> NDArray[Any]:
        """Read a rectangle; chunks that were never written hold the fill value.

        Raises
        ------
        StoreError
            When a chunk is there and cannot be unpacked.
        """
        whole = self._complete(index)
        shape = tuple(part.stop - part.start for part in whole)
        overlaps = list(self._overlaps(whole))
        if len(overlaps) == 1 and shape == self._chunks:
            return self._read(overlaps[0].number)
        values = np.empty(shape, dtype=self.dtype)
        for overlap in overlaps:
            values[overlap.in_values] = self._read(overlap.number)[overlap.in_chunk]
        return values

    def write(self, index: slice | Index, values: NDArray[Any]) -> None:
        """Write whole chunks (or up to the end of the array), each compared with what is on the disk then.

        Raises
        ------
        OSError
            When the disk refuses it.
        StoreError
            When what is read back differs from what was written.
        """
        for overlap in self._overlaps(self._complete(index)):
            part = values[overlap.in_values]
            if part.shape != self._chunks:
                padded = np.full(self._chunks, self.fill_value)
                padded[overlap.in_chunk] = part
                part = padded
            data = self._codec.encode(np.ascontiguousarray(part, dtype=self.dtype))
            place = self._place(overlap.number)
            put(place, data)
            if place.read_bytes() != data:
                raise StoreError(f"{place}: what is read back differs from what was written; check the disk")

    def _complete(self, index: slice | Index) -> Index:
        given = index if isinstance(index, tuple) else (index,)
        given += (slice(None),) * (self.ndim - len(given))
        return tuple(slice(*part.indices(n)[:2]) for part, n in zip(given, self.shape, strict=True))

    def _overlaps(self, index: Index) -> Iterator[_Overlap]:
        along = [_cut(part, size) for part, size in zip(index, self._chunks, strict=True)]
        for parts in itertools.product(*along):
            numbers, in_chunk, in_values = zip(*parts, strict=True)
            yield _Overlap(numbers, in_chunk, in_values)

    def _place(self, number: tuple[int, ...]) -> Path:
        return self._folder.joinpath("c", *map(str, number))

    def _read(self, number: tuple[int, ...]) -> NDArray[Any]:
        """One chunk."""
        place = self._place(number)
        try:
            data = place.read_bytes()
        except FileNotFoundError:
            return np.full(self._chunks, self.fill_value)
        values = np.empty(self._chunks, dtype=self.dtype)
        try:
            self._codec.decode(data, out=values)
        except (RuntimeError, ValueError) as error:
            raise StoreError(f"{place} is damaged ({error}); run the same command with --restart") from error
        return values


def _cut(part: slice, size: int) -> list[tuple[int, slice, slice]]:
    """Chunks along an axis that a range reaches: number, where in the chunk, where in the range."""
    found = []
    for number in range(part.start // size, -(-part.stop // size)):
        first, last = max(part.start, number * size), min(part.stop, (number + 1) * size)
        in_chunk = slice(first - number * size, last - number * size)
        found.append((number, in_chunk, slice(first - part.start, last - part.start)))
    return found
