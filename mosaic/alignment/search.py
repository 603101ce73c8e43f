"""Search for the sources of chips, several at a time.

Covers reading chips within a memory bound, data quality, exclusions, and errors of files. Does not cover the
algorithm (`finding`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Condition
from types import TracebackType
from typing import Self, TypeAlias

import numpy as np

from mosaic.alignment.exclusions import region_mask
from mosaic.alignment.finding import Sources, background_sigma, find_sources
from mosaic.alignment.images import ChipSources
from mosaic.alignment.settings import FindSettings
from mosaic.errors import (
    BudgetError,
    ExposureError,
    MissingFileError,
    ParameterError,
    StructureError,
    TruncatedFileError,
)
from mosaic.exposure.dq import good_mask, parse_bits
from mosaic.exposure.model import DataBlock
from mosaic.exposure.reader import as_flags, read_rows
from mosaic.exposure.storage import open_fits
from mosaic.geometry.wcs import ChipWcs
from mosaic.types import BoolArray, FloatArray, Window

_BYTES_PER_PIXEL = 40
"""Pixels, flags, smoothed pixels, labels and masks of one chip while sources are found on it."""


@dataclass(frozen=True, slots=True)
class ChipPlace:
    """A chip to be searched."""

    path: str
    extver: int
    hdu_index: int
    wcs: ChipWcs
    exclusion: Path | None
    science: DataBlock | None = None
    """Where its pixels lie, when that is known; else the file is opened."""
    dq: DataBlock | None = None
    """Where its flags lie."""
    rootname: str = ""
    """Name of the exposure among those that the catalogue described."""
    cleaned: str = ""
    """Copy of the file without cosmic rays that is searched in its place."""


Found: TypeAlias = tuple[ChipSources, list[str]] | ExposureError
"""Sources of a chip and the lines of its exclusions that were ignored, or why it cannot be read."""


class Search:
    """Chips being searched, used as a context manager; leaving it gives up those not begun.

    A chip is begun as soon as it is added, if cores and memory allow, so that the headers of the next file
    are read meanwhile.

    Parameters
    ----------
    find : FindSettings
        Parameters.
    block : int
        Side of the blocks whose medians are taken in place of sources; 0: sources.
    cores : int
        Chips worked on at a time.
    memory_bytes : int
        What all of them together may use.
    """

    def __init__(self, find: FindSettings, block: int, *, cores: int, memory_bytes: int) -> None:
        self._find, self._block = find, block
        self._granted, self._largest = memory_bytes, 0
        self._free, self._changed = memory_bytes, Condition()
        self._pool = ThreadPoolExecutor(max(1, cores))
        self._begun: dict[tuple[str, int], Future[Found]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def add(self, place: ChipPlace) -> None:
        """Begin the search of a chip."""
        n_bytes = math.prod(place.wcs.shape_yx) * _BYTES_PER_PIXEL
        self._largest = max(self._largest, n_bytes)
        if n_bytes <= self._granted:
            self._begun[place.path, place.hdu_index] = self._pool.submit(self._search, place, n_bytes)

    def results(self) -> dict[tuple[str, int], Found]:
        """Sources of the chips by file and HDU, or why a chip cannot be read, when all are searched.

        Raises
        ------
        BudgetError
            When one chip does not fit the memory.
        """
        if self._largest > self._granted:
            raise BudgetError(
                f"finding sources on a chip takes {self._largest} bytes, {self._granted} were granted; "
                "give more memory"
            )
        return {place: future.result() for place, future in self._begun.items()}

    def _search(self, place: ChipPlace, n_bytes: int) -> Found:
        with self._taken(n_bytes):
            return _find(place, self._find, self._block)

    @contextmanager
    def _taken(self, n_bytes: int) -> Iterator[None]:
        """Wait for memory, and give it back."""
        with self._changed:
            self._changed.wait_for(lambda: self._free >= n_bytes)
            self._free -= n_bytes
        try:
            yield
        finally:
            with self._changed:
                self._free += n_bytes
                self._changed.notify_all()


def _find(place: ChipPlace, find: FindSettings, block: int) -> Found:
    """Read a chip and find its sources; an error of its file is the result."""
    try:
        return _find_on_chip(place, find, block)
    except ExposureError as error:
        return error
    except ParameterError:
        raise
    except (OSError, ValueError, TypeError) as error:
        cause = " ".join(str(error).split())
        remedy = "fetch the file again or leave it out"
        return TruncatedFileError(
            place.path, f"its pixels cannot be read: {cause}", remedy, f"sci,{place.extver}"
        )


def _find_on_chip(place: ChipPlace, find: FindSettings, block: int) -> tuple[ChipSources, list[str]]:
    bits = parse_bits(find.dqbits, "dqbits")
    ignored: list[str] = []
    if place.science is None or place.cleaned:
        image, is_good = _read_file(place, bits)
    else:
        image, is_good = _read_blocks(place, place.science, bits)
    sigma = background_sigma(image, is_good, find)
    if place.exclusion is not None:
        allowed, ignored = region_mask(place.exclusion, place.wcs.shape_yx, place.wcs)
        is_good = allowed if is_good is None else is_good & allowed
        ignored = [f"{place.exclusion}: ignored {line!r}" for line in ignored]
    if block:
        nothing = Sources.from_positions(*(np.empty(0) for _ in range(3)))
        light = block_medians(image, is_good, block)
        return ChipSources(place.extver, place.hdu_index, place.wcs, sigma, nothing, light=light), ignored
    sources = find_sources(image, is_good, sigma, find)
    sources = sources.take(np.argsort(-sources.flux, kind="stable"))
    return ChipSources(place.extver, place.hdu_index, place.wcs, sigma, sources), ignored


def _read_file(place: ChipPlace, bits: int | None) -> tuple[FloatArray, BoolArray | None]:
    """Pixels of a chip, and where its flags are good; None when they are not used."""
    with open_fits(place.cleaned or place.path) as hdul:
        data = hdul[place.hdu_index].data
        if data is not None and data.shape != place.wcs.shape_yx:
            problem = f"{place.cleaned}: its pixels are {data.shape}, not {tuple(place.wcs.shape_yx)}"
            raise StructureError(place.path, problem, "make the copy anew", f"sci,{place.extver}")
        if data is None:
            raise StructureError(place.path, "has no pixels", "leave it out", f"sci,{place.extver}")
        image = np.array(data, dtype=np.float32)
        is_good: BoolArray | None = None
        if bits is not None and ("DQ", place.extver) in hdul and hdul["DQ", place.extver].data is not None:
            is_good = good_mask(hdul["DQ", place.extver].data.astype(np.int64).astype(np.uint16), bits)
    return image, is_good


def _read_blocks(
    place: ChipPlace, science: DataBlock, bits: int | None
) -> tuple[FloatArray, BoolArray | None]:
    """Likewise, of a chip whose pixels can be read without parsing headers."""
    whole = Window(0, science.shape_yx.ny, 0, science.shape_yx.nx)
    try:
        is_good = None
        if bits is not None and place.dq is not None:
            is_good = good_mask(as_flags(read_rows(place.dq, whole)), bits)
        return np.ascontiguousarray(read_rows(science, whole), dtype=np.float32), is_good
    except (MissingFileError, TruncatedFileError) as error:
        problem = f"{error.exposure} {error.problem}"
        name = place.rootname or place.path
        raise type(error)(name, problem, error.remedy, f"sci,{place.extver}") from error


def block_medians(image: FloatArray, is_good: BoolArray | None, block: int) -> FloatArray:
    """Medians of square blocks of pixels; NaN where fewer than half of a block is good.

    Parameters
    ----------
    image : float32, shape (ny, nx)
        Pixels; rows and columns that fill no block are left out.
    is_good : bool, shape (ny, nx), optional
        Pixels that count.
    block : int
        Side of a block.
    """
    values = image if is_good is None else np.where(is_good, image, np.float32(np.nan))
    ny, nx = (n // block for n in values.shape)
    blocks = values[: ny * block, : nx * block].reshape(ny, block, nx, block).swapaxes(1, 2)
    ordered = np.sort(blocks.reshape(ny, nx, block * block), axis=2)
    n_good = np.isfinite(ordered).sum(axis=2)
    middle = np.maximum(n_good - 1, 0)[:, :, None]
    low, high = (
        np.take_along_axis(ordered, rows, axis=2)[:, :, 0] for rows in (middle // 2, (middle + 1) // 2)
    )
    medians: FloatArray = np.where(2 * n_good > block * block, 0.5 * (low + high), np.nan).astype(np.float32)
    return medians
