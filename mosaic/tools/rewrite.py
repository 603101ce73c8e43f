"""Change a FITS file, or a copy of it, so that it is whole at every moment.

Covers reading, writing beside the target, reading back, and true checksums in the HDUs that changed; the
pixels of the others are copied byte by byte. Does not cover compressed and remote files, which cannot be
changed in place.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy.io import fits

from mosaic.errors import MissingFileError, OutputError, ParameterError
from mosaic.exposure.inputs import strip_compression
from mosaic.products.partial import PartialFile, describe_failure, require_space

_SUMS = ("CHECKSUM", "DATASUM")


class FileEdit:
    """An open file and which of its HDUs were changed.

    Parameters
    ----------
    hdul : HDUList
        The file, in memory as far as it was looked at.
    path : Path
        Its name, for messages.
    """

    def __init__(self, hdul: fits.HDUList, path: Path) -> None:
        self.hdul = hdul
        self.path = path
        self.changed: set[int] = set()

    def mark(self, index: int) -> None:
        """Say that the HDU of this index is no longer as it was read."""
        self.changed.add(index)


def require_target(output: Path | None, paths: Sequence[Path]) -> None:
    """Refuse one output name for several files, and an output that is its input.

    Raises
    ------
    ParameterError
        Naming it.
    """
    if output is None:
        return
    if len(paths) > 1 and not output.is_dir():
        raise ParameterError(f"{output} must be a folder, because there are {len(paths)} inputs; create it")
    for path in paths:
        target = target_of(path, output)
        if target.exists() and target.samefile(path):
            raise ParameterError(f"{target}: the output would replace its input; say in_place for that")


def target_of(path: Path, output: Path | None) -> Path:
    """Name of the result: the file itself, the output, or a file of the same name in the output folder."""
    if output is None:
        return path
    return output / path.name if output.is_dir() else output


@contextmanager
def editing(path: Path, output: Path | None = None) -> Iterator[FileEdit]:
    """Open a file; when the block ends without error, write the result.

    Parameters
    ----------
    path : Path
        The file.
    output : Path, optional
        File to write, or an existing folder; None replaces the file itself, if anything changed.

    Raises
    ------
    MissingFileError
        When the file cannot be read.
    OutputError
        When the result cannot be written or is not read back as it was written.
    """
    target = target_of(path, output)
    if strip_compression(target.name) != target.name:
        raise OutputError(
            f"{target}: compressed files cannot be written; give an output name without .gz or .fz"
        )
    try:
        hdul = fits.open(path, memmap=False, uint=True)
    except OSError as error:
        problem = f"cannot be opened ({error.strerror or error})"
        raise MissingFileError(str(path), problem, "correct the name or restore the file") from error
    with hdul:
        edit = FileEdit(hdul, path)
        yield edit
        if edit.changed or target.absolute() != path.absolute():
            _write(edit, target)


def _write(edit: FileEdit, target: Path) -> None:
    """Write, read back, and give the file its name."""
    for index in sorted(edit.changed):
        hdu = edit.hdul[index]
        if any(keyword in hdu.header for keyword in _SUMS):
            hdu.add_checksum()
    require_space(target, edit.path.stat().st_size)
    with PartialFile(target) as out:
        out.close()
        try:
            edit.hdul.writeto(out.temporary, overwrite=True, output_verify="ignore")
        except OSError as error:
            raise describe_failure(target, error) from error
        _verify(edit, out.temporary, target)
        shutil.copymode(edit.path, out.temporary)
        out.publish()


def _verify(edit: FileEdit, written: Path, target: Path) -> None:
    """Compare what was written with what was meant."""
    try:
        with fits.open(written, memmap=False, uint=True) as found:
            is_same = len(found) == len(edit.hdul) and all(
                _same_pixels(found[index], edit.hdul[index]) for index in edit.changed
            )
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise OutputError(f"{target}: cannot be read back ({error}); check the disk") from error
    if not is_same:
        raise OutputError(f"{target}: what is read back differs from what was written; check the disk")


def _same_pixels(found: fits.hdu.base.ExtensionHDU, meant: fits.hdu.base.ExtensionHDU) -> bool:
    """Whether two HDUs hold the same pixels."""
    if meant.data is None or found.data is None:
        return meant.data is None and found.data is None
    is_real = np.issubdtype(meant.data.dtype, np.inexact)
    return bool(np.array_equal(found.data, meant.data, equal_nan=is_real))
