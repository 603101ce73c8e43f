"""A file that appears under its name only when it is complete.

Covers the temporary name, the translation of full disks and unwritable folders into `OutputError`, and
the clean-up. Does not cover formats.
"""

from __future__ import annotations

import errno
import os
import shutil
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from mosaic.errors import OutputError

BLOCK = 2880
"""FITS files are multiples of this many bytes."""

HOLE = 1 << 14
"""Zeros of at least this many bytes, and aligned to as many, are left out of a file."""

_COPY_BYTES = 1 << 18


class PartialFile:
    """A file being written, used as a context manager; leaving it without `publish` removes the file.

    Parameters
    ----------
    path : Path
        Name the file gets in the end. The temporary name lies in the same folder and is always the
        same, so that what a killed process left behind is overwritten by the next.

    Raises
    ------
    OutputError
        From every method, when the folder cannot be written or the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f".{path.name}.partial")
        self.position = 0
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.temporary.open("wb")
        except OSError as error:
            raise describe_failure(self.path, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._close_file()
        finally:
            self.temporary.unlink(missing_ok=True)

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        try:
            self._open_file().write(data)
        except OSError as error:
            raise describe_failure(self.path, error) from error
        self.position += len(data)

    def write_sparse(self, data: memoryview) -> None:
        """Append bytes; blocks of zeros become holes, which read as zeros and take no room.

        Parameters
        ----------
        data : memoryview
            Contiguous bytes.
        """
        head = min(len(data), -self.position % HOLE)
        if head:
            self.write(data[:head])
        blocks = (len(data) - head) // HOLE
        values = np.frombuffer(data, dtype=np.uint8, offset=head, count=blocks * HOLE)
        is_full = np.any(values.view(np.uint64).reshape(blocks, HOLE // 8), axis=1, keepdims=True)[:, 0]
        ends = np.flatnonzero(np.diff(is_full)) + 1
        for first, last in pairwise([0, *ends.tolist(), blocks] if blocks else []):
            if is_full[first]:
                self.write(data[head + first * HOLE : head + last * HOLE])
            else:
                self.skip((last - first) * HOLE)
        if head + blocks * HOLE < len(data):
            self.write(data[head + blocks * HOLE :])

    def copy_from(self, source: BinaryIO, start: int, count: int) -> None:
        """Append bytes of another file.

        Parameters
        ----------
        source : file
            Open for reading; its position does not matter.
        start, count : int
            First byte, and how many.

        Raises
        ------
        EOFError
            When the file ends before.
        """
        file, done = self._open_file(), 0
        try:
            file.flush()
            while done < count and (n_copied := _copy_in_kernel(source, start + done, file, count - done)):
                done += n_copied
            self.position += done
            file.seek(self.position)
        except OSError as error:
            raise describe_failure(self.path, error) from error
        # One small buffer stays in the cache of the processor.
        buffer = memoryview(bytearray(min(count - done, _COPY_BYTES)))
        while done < count:
            n_read = os.preadv(source.fileno(), [buffer[: count - done]], start + done)
            if n_read == 0:
                raise EOFError(f"{source.name} ends at byte {start + done}")
            self.write(buffer[:n_read])
            done += n_read

    def skip(self, n_bytes: int) -> None:
        """Append zeros as a hole."""
        try:
            self._open_file().seek(self.position + n_bytes)
        except OSError as error:
            raise describe_failure(self.path, error) from error
        self.position += n_bytes

    def overwrite(self, at: int, data: bytes) -> None:
        """Replace bytes written before; the position stays at the end."""
        try:
            file = self._open_file()
            file.seek(at)
            file.write(data)
            file.seek(self.position)
        except OSError as error:
            raise describe_failure(self.path, error) from error

    def close(self) -> None:
        """Hand everything to the operating system."""
        try:
            if self._file is not None:
                self._file.truncate(self.position)
            self._close_file()
        except OSError as error:
            raise describe_failure(self.path, error) from error

    def take_mode(self, template: Path) -> None:
        """Give the file the permissions of another."""
        try:
            shutil.copymode(template, self.temporary)
        except OSError as error:
            raise describe_failure(self.path, error) from error

    def publish(self) -> None:
        """Give the closed file its name, replacing whatever had it."""
        self.close()
        try:
            self.temporary.replace(self.path)
        except OSError as error:
            raise describe_failure(self.path, error) from error

    def _open_file(self) -> BinaryIO:
        """Return the file; writing to a closed one is a mistake of the caller."""
        if self._file is None:
            raise ValueError(f"{self.path} is not open for writing")
        return self._file

    def _close_file(self) -> None:
        """Close once; the file counts as closed even when the last bytes did not fit."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


def write_whole(path: Path, data: bytes) -> Path:
    """Write a small file at once.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    with PartialFile(path) as out:
        out.write(data)
        out.publish()
    return path


def require_space(path: Path, n_bytes: int) -> None:
    """Refuse to begin a file that cannot fit.

    Parameters
    ----------
    path : Path
        The file; its folder need not exist yet.
    n_bytes : int
        Size it will have.
    """
    folder = next((parent for parent in path.absolute().parents if parent.exists()), Path("/"))
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise describe_failure(path, error) from error
    if n_bytes > free:
        raise OutputError(
            f"{path}: needs {n_bytes / 2**20:.0f} MiB but {folder} has {free / 2**20:.0f} MiB free; "
            "make room or choose another output folder"
        )


def _copy_in_kernel(source: BinaryIO, start: int, target: BinaryIO, count: int) -> int:
    """Append bytes of a file to another without a buffer of ours; how many, 0 where that cannot be done.

    Other threads run meanwhile: one call does what takes hundreds of reads and writes.
    """
    try:
        return os.copy_file_range(source.fileno(), target.fileno(), count, start)
    except (AttributeError, OSError):
        # File systems and systems differ in what they can do; a fault is met again by who reads and writes.
        return 0


def describe_failure(path: Path, error: OSError) -> OutputError:
    """Turn an error of the operating system into one that says what to do."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        remedy = "the disk, quota or file size limit is exhausted; make room or choose another output folder"
    elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        remedy = f"{path.parent} is not writable; change its permissions or choose another output folder"
    elif error.errno in {errno.ENOTDIR, errno.EISDIR, errno.EEXIST}:
        remedy = "a file is where a folder should be, or the reverse; choose another output name"
    else:
        remedy = "check the disk or choose another output folder"
    return OutputError(f"{path}: cannot be written ({error.strerror or error}); {remedy}")
