"""Editing the headers and extensions of a file: in a copy, or in the file itself when asked.

The pixels are copied as they are stored. A file appears under its name only when it was read back and found
equal to what was meant; until then the old one is untouched. Checksums that were there are made true again.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning

from mosaic.errors import (
    MissingFileError,
    OutputError,
    ParameterError,
    StructureError,
    TruncatedFileError,
)
from mosaic.products.checksum import OnesComplementSum, encode_checksum
from mosaic.products.partial import BLOCK, PartialFile, require_space

_GROWTH_BYTES = 2**20
"""What new headers and headerlets may add to a file."""
_SUMMED_BYTES = 2**22


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
    hdul.update_extend()
    with _source(hdul) as source, PartialFile(target) as out, warnings.catch_warnings():
        # A comment that does not fit beside a long name of a solution is cut.
        warnings.simplefilter("ignore", VerifyWarning)
        written = [(out.position, _write_hdu(hdu, out, source)) for hdu in hdul]
        out.close()
        _verify(out, written)
        if template is not None:
            out.take_mode(template)
        out.publish()


def _source(hdul: fits.HDUList) -> AbstractContextManager[BinaryIO | None]:
    """Open the file that HDUs were read from once more; None when they are in memory only."""
    name = hdul.filename()
    return Path(name).open("rb") if name and Path(name).is_file() else nullcontext(None)


def _write_hdu(hdu: Any, out: PartialFile, source: BinaryIO | None) -> bytes:  # noqa: ANN401  (astropy)
    """Write one HDU and return what was made of it: its header, or all of it.

    Data that nobody asked for are copied from file to file.
    """
    place = _stored_at(hdu, source)
    has_sums = "CHECKSUM" in hdu.header or "DATASUM" in hdu.header
    if source is None or place is None:
        if has_sums:
            hdu.add_checksum()
        made = _serialized(hdu)
        out.write(made)
        return made
    if has_sums:
        _renew_checksum(hdu, source, place)
    header: bytes = hdu.header.tostring().encode("ascii")
    out.write(header)
    # The padding of the last extension may be missing.
    there = min(place["datSpan"], source.seek(0, 2) - place["datLoc"])
    if there < hdu.size:
        name = f"{hdu.name},{hdu.ver}" if hdu.name else "PRIMARY"
        problem = f"ends before the data of [{name}] do"
        raise TruncatedFileError(str(source.name), problem, "restore the file")
    out.copy_from(source, place["datLoc"], there)
    out.write(bytes(place["datSpan"] - there))
    return header


def _stored_at(hdu: Any, source: BinaryIO | None) -> Mapping[str, Any] | None:  # noqa: ANN401  (astropy)
    """Where the data of an HDU lie in a file; None when they are from elsewhere, or were touched."""
    place = hdu.fileinfo() if source is not None and "data" not in vars(hdu) else None
    if source is None or not place or Path(place["file"].name) != Path(source.name):
        return None
    return place if place["datSpan"] == -(-hdu.size // BLOCK) * BLOCK else None


def _serialized(hdu: Any) -> bytes:  # noqa: ANN401  (astropy)
    """Bytes of an HDU as astropy writes it."""
    buffer = io.BytesIO()
    if isinstance(hdu, fits.PrimaryHDU):
        fits.HDUList([hdu]).writeto(buffer, output_verify="ignore")
        return buffer.getvalue()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer, output_verify="ignore")
    return buffer.getvalue()[BLOCK:]


def _renew_checksum(hdu: Any, source: BinaryIO, place: Mapping[str, Any]) -> None:  # noqa: ANN401  (astropy)
    """Make the checksums true for a new header and the data as they are stored.

    DATASUM of data that were not touched stays: a new one would make damaged pixels look whole.
    """
    header = hdu.header
    if "DATASUM" not in header:
        data = OnesComplementSum()
        source.seek(place["datLoc"])
        for start in range(0, place["datSpan"], _SUMMED_BYTES):
            data.update(source.read(min(_SUMMED_BYTES, place["datSpan"] - start)))
        header["DATASUM"] = (str(data.value), "data unit checksum")
    header["CHECKSUM"] = ("0" * 16, "HDU checksum")
    total = OnesComplementSum(int(header["DATASUM"]))
    total.update(header.tostring().encode("ascii"))
    header["CHECKSUM"] = encode_checksum(total.value)


def _verify(out: PartialFile, written: Sequence[tuple[int, bytes]]) -> None:
    """Compare the headers that are in the file with those meant, and its size."""
    try:
        with out.temporary.open("rb") as file:
            is_same = file.seek(0, 2) == out.position
            for position, meant in written:
                file.seek(position)
                is_same = is_same and file.read(len(meant)) == meant
    except OSError as error:
        raise OutputError(f"{out.path}: cannot be read back ({error}); check the disk") from error
    if not is_same:
        raise OutputError(f"{out.path}: differs from what was meant when read back; check the disk")


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
