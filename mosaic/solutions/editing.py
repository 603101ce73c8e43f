"""Editing the headers and extensions of a file: in a copy, or in the file itself when asked.

The pixels are copied as they are stored. A file appears under its name only when it was read back and found
equal to what was meant; until then the old one is untouched. Checksums that were there are made true again.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning

from mosaic.errors import MissingFileError, OutputError, ParameterError, StructureError
from mosaic.products.partial import PartialFile, describe_failure, require_space

_GROWTH_BYTES = 2**20
"""What new headers and headerlets may add to a file."""


def edit_targets(paths: Sequence[str | Path], output: str | Path | None, *, in_place: bool) -> list[Path]:
    """Where the edited files go.

    Parameters
    ----------
    paths : sequence of path
        Files to edit.
    output : path, optional
        A file name for one input; a folder (existing, or ending in a slash) for any number of them.
    in_place : bool
        Replace the files themselves.

    Raises
    ------
    ParameterError
        When neither or both are given, several files would have one name, or an output is its input.
    """
    if (output is None) is not in_place:
        raise ParameterError("give either an output name or in_place (--output NAME or --in-place)")
    sources = [Path(path) for path in paths]
    if output is None:
        return sources
    is_folder = str(output).endswith("/") or Path(output).is_dir()
    if not is_folder and len(sources) > 1:
        raise ParameterError(f"{output} is one name for {len(sources)} files; give a folder")
    targets = [Path(output) / source.name for source in sources] if is_folder else [Path(output)]
    if len(set(targets)) < len(targets):
        raise ParameterError(f"{output}: several inputs have the same name; edit them one after the other")
    for source, target in zip(sources, targets, strict=True):
        if source.absolute() == target.absolute():
            raise ParameterError(f"{target}: the output would replace its input; say in_place for that")
    return targets


@contextmanager
def open_solutions(path: str | Path) -> Iterator[fits.HDUList]:
    """Open a file for reading or editing in memory; nothing is ever written through it.

    Raises
    ------
    MissingFileError
        When it does not exist or cannot be read as FITS.
    """
    try:
        hdul = fits.open(
            path, memmap=True, do_not_scale_image_data=True, disable_image_compression=True, uint=False
        )
    except (OSError, ValueError) as error:
        problem = "does not exist" if not Path(path).is_file() else f"cannot be opened ({error})"
        raise MissingFileError(str(path), problem, "correct the name or restore the file") from error
    with hdul:
        yield hdul


@contextmanager
def edited(path: str | Path, target: Path) -> Iterator[fits.HDUList]:
    """Edit a file in memory and write it when the block ends without an error.

    Parameters
    ----------
    path : path
        File to read.
    target : Path
        File to write; may be the same.

    Raises
    ------
    MissingFileError, OutputError
        When it cannot be read or written, or differs when read back.
    """
    if str(path).endswith((".gz", ".bz2", ".xz")):
        problem = "is compressed and cannot be edited"
        raise StructureError(str(path), problem, "uncompress it first")
    with open_solutions(path) as hdul:
        # All headers are parsed before anything changes, so that a broken file is found now.
        len(hdul)
        yield hdul
        hdul[0].header.set("NEXTEND", len(hdul) - 1, "number of extensions")
        write_file(hdul, target, Path(path).stat().st_size, template=Path(path))


def write_file(hdul: fits.HDUList, target: Path, n_bytes: int = 0, template: Path | None = None) -> None:
    """Write HDUs under a name, verified.

    Parameters
    ----------
    hdul : HDUList
        What to write.
    target : Path
        Name of the file; one that is there is replaced.
    n_bytes : int
        About how large it will be.
    template : Path, optional
        File whose permissions it gets.

    Raises
    ------
    OutputError
        When it cannot be written, or is not the same when read back.
    """
    require_space(target, n_bytes + _GROWTH_BYTES)
    for hdu in hdul:
        if "CHECKSUM" in hdu.header or "DATASUM" in hdu.header:
            hdu.add_checksum()
    with PartialFile(target) as out:
        out.close()
        with warnings.catch_warnings():
            # A comment that does not fit beside a long name of a solution is cut.
            warnings.simplefilter("ignore", VerifyWarning)
            try:
                hdul.writeto(out.temporary, overwrite=True, output_verify="ignore")
            except OSError as error:
                raise describe_failure(target, error) from error
            _verify(out.temporary, hdul, target)
        if template is not None:
            shutil.copymode(template, out.temporary)
        out.publish()


def _verify(written: Path, hdul: fits.HDUList, target: Path) -> None:
    """Compare all headers with those meant, and the size with what the headers say."""
    try:
        with fits.open(written, memmap=True, disable_image_compression=True) as found:
            same = len(found) == len(hdul) and all(
                a.header.tostring() == b.header.tostring() for a, b in zip(found, hdul, strict=True)
            )
            last = found[-1].fileinfo()
            same = same and last["datLoc"] + last["datSpan"] == written.stat().st_size
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{target}: cannot be read back ({error}); check the disk") from error
    if not same:
        raise OutputError(f"{target}: differs from what was meant when read back; check the disk")


def science_indices(hdul: fits.HDUList, extname: str = "SCI", *, path: str = "") -> list[int]:
    """Indices of the extensions of a name, in order of EXTVER; the primary HDU for PRIMARY.

    Raises
    ------
    StructureError
        When there are none.
    """
    wanted = extname.strip().upper()
    if wanted == "PRIMARY":
        return [0]
    found = [index for index, hdu in enumerate(hdul) if index and hdu.name == wanted]
    if not found:
        names = ", ".join(sorted({hdu.name for hdu in hdul if hdu.name})) or "none"
        place = path or str(hdul.filename() or "file")
        raise StructureError(place, f"has no {wanted} extension (there are: {names})", "name another one")
    return sorted(found, key=lambda index: int(hdul[index].ver))
