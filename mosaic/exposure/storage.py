"""Bytes of inputs, on a local file system or behind any fsspec URL (``s3://bucket/key``).

Covers opening, positioned reads, size and identity. Local files never pass through fsspec: a
positioned read is one system call and needs no shared state.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

import numpy as np
from astropy.io import fits

from mosaic.errors import MissingFileError, ParameterError, TruncatedFileError
from mosaic.exposure.scratch import SCRATCH
from mosaic.places import is_remote, open_system, require_length
from mosaic.retries import with_retries

_RETRY: Final = "restore the file and run again"
FITS_BLOCK: Final = 2880
"""Bytes of a block of a FITS file."""
_HEADER_BLOCK: Final = 1 << 16
"""Bytes fetched at a time while headers are read: headers are far apart, pixels must stay where they are."""


def padded(n_bytes: int) -> int:
    """Bytes of a header or of data with what fills up the last block of a FITS file."""
    return -(-n_bytes // FITS_BLOCK) * FITS_BLOCK


def open_stream(path: str) -> BinaryIO:
    """Open for reading headers; seeking over pixels does not fetch them."""
    if not is_remote(path):
        return open(path, "rb")  # noqa: PTH123  (one spelling for both kinds)
    system, name = open_system(path)
    return cast("BinaryIO", system.open(name, "rb", block_size=_HEADER_BLOCK, cache_type="readahead"))


@contextmanager
def open_fits(path: str) -> Iterator[fits.HDUList]:
    """Open the FITS file behind a path or URL; its HDUs are read when they are asked for.

    Raises
    ------
    OSError
        When it cannot be opened or is not FITS.
    """
    with open_stream(path) as stream, fits.open(stream, memmap=False, lazy_load_hdus=True) as hdul:
        yield hdul


def size_and_tag(path: str) -> tuple[int, str]:
    """Size in bytes, and what changes when the content does (modification time or entity tag)."""
    if not is_remote(path):
        status = Path(path).stat()
        return status.st_size, str(status.st_mtime_ns)
    system, name = open_system(path)
    info = with_retries(lambda: system.info(name))
    tag = info.get("ETag") or info.get("LastModified") or info.get("mtime") or info.get("created")
    return int(info["size"]), str(tag)


def exists(path: str) -> bool:
    """Whether there is a file (not a folder) of this name; a store that cannot be reached has none."""
    if not is_remote(path):
        return Path(path).is_file()
    try:
        system, name = open_system(path)
        return bool(system.isfile(name))
    except (OSError, ParameterError):
        return False


def is_folder(path: str) -> bool:
    """Whether a path or URL is that of a folder."""
    if not is_remote(path):
        return Path(path).is_dir()
    system, name = open_system(path)
    return bool(system.isdir(name))


def find_remote(pattern: str) -> list[str]:
    """URLs that match a pattern (or the one URL, if it exists; of a folder all it holds), sorted."""
    system, name = open_system(pattern)
    names = system.ls(name, detail=False) if system.isdir(name) else system.glob(name)
    return sorted(str(system.unstrip_protocol(found)) for found in names)


def read_bytes(path: str, start: int, count: int) -> bytes | memoryview:
    """Read `count` bytes from `start` (positioned, thread-safe).

    Raises
    ------
    MissingFileError
        When the file cannot be opened.
    TruncatedFileError
        When it ends before.
    """
    try:
        data = _read_url(path, start, count) if is_remote(path) else _read_local(path, start, count)
    except FileNotFoundError as error:
        raise MissingFileError(path, "cannot be opened (it does not exist)", _RETRY) from error
    except PermissionError as error:
        raise MissingFileError(path, "cannot be opened (permission denied)", _RETRY) from error
    if len(data) < count:
        raise TruncatedFileError(path, f"ends at byte {start + len(data)} of {start + count} wanted", _RETRY)
    return data


def _read_url(path: str, start: int, count: int) -> bytes:
    """Read a range of an object; an answer shorter than the object is asked for again."""
    system, name = open_system(path)

    def fetch() -> bytes:
        data = cast("bytes", system.cat_file(name, start=start, end=start + count))
        there = count if len(data) == count else max(0, int(system.info(name)["size"]) - start)
        return require_length(data, min(count, there))

    return SCRATCH.read(path, start, count, lambda: with_retries(fetch))


def _read_local(path: str, start: int, count: int) -> memoryview:
    # An array of numpy is not filled with zeros first, as a bytearray would be.
    view = np.empty(count, dtype=np.uint8).data
    descriptor = os.open(path, os.O_RDONLY)
    done = 0
    try:
        while done < count:
            n_read = os.preadv(descriptor, [view[done:]], start + done)
            if n_read == 0:
                return view[:done]
            done += n_read
    finally:
        os.close(descriptor)
    return view
