"""Where the arrays of a chip lie: science, error, data quality, flat field, inverse variance.

Covers constant extensions (NAXIS = 0 with PIXVALUE), scaling keywords and the completeness of
files. Reads headers only.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final

from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from mosaic.errors import ExposureError, MissingFileError, StructureError, TruncatedFileError
from mosaic.exposure.instruments import HeaderPair, InstrumentFacts
from mosaic.exposure.model import DataBlock
from mosaic.exposure.references import find_reference
from mosaic.exposure.staging import open_plain
from mosaic.exposure.storage import FITS_BLOCK, padded, read_bytes, size_and_tag
from mosaic.geometry.wcs import header_number
from mosaic.types import ShapeYX

_REMOVE: Final = "remove it from the list"
_RESTORE: Final = "fetch the file again or remove it from the list"


def require_complete(hdul: fits.HDUList, readable: str, path: str) -> None:
    """Refuse a file that ends before its last extension does, or in the middle of a header."""
    size, _ = size_and_tag(readable)
    end = 0
    for hdu in hdul:
        end = int(hdu.fileinfo()["datLoc"]) + int(hdu.size)
        if end > size:
            extension = f"{hdu.name},{hdu.ver}" if hdu.name else "PRIMARY"
            raise TruncatedFileError(path, f"{size} bytes, but [{extension}] ends at byte {end}", _RESTORE)
    last = padded(end)
    if size > last:
        rest = bytes(read_bytes(readable, last, min(FITS_BLOCK, size - last)))
        if rest.strip(b"\0 "):
            raise TruncatedFileError(path, f"unreadable after byte {last} of {size}", _RESTORE)


def science_block(hdul: fits.HDUList, index: int, readable: str, headers: HeaderPair) -> DataBlock:
    """Pixels of a SCI extension."""
    block = data_block(hdul[index], readable, headers)
    if block is None:
        raise StructureError(headers.exposure, "SCI has no pixels", _REMOVE, headers.chip)
    return block


def companion_block(
    hdul: fits.HDUList, name: str, sci: DataBlock, readable: str, headers: HeaderPair
) -> DataBlock | None:
    """ERR or DQ of a chip; None when the file has none."""
    matches = [hdu for hdu in hdul if hdu.name == name and int(hdu.ver) == headers.extver]
    if not matches:
        others = [hdu for hdu in hdul if hdu.name == name]
        if others and name == "DQ":
            problem = f"DQ,{headers.extver} is missing though the file has DQ,{others[0].ver}"
            raise StructureError(headers.exposure, problem, _RESTORE, headers.chip)
        return None
    block = data_block(matches[0], readable, headers, sci.shape_yx)
    if block is not None and block.shape_yx != sci.shape_yx:
        problem = f"SCI is {_size(sci.shape_yx)}, {name} is {_size(block.shape_yx)}"
        raise StructureError(headers.exposure, problem, _REMOVE, headers.chip)
    return block


def data_block(
    hdu: Any,  # noqa: ANN401  (any kind of astropy HDU)
    readable: str,
    headers: HeaderPair,
    shape_yx: ShapeYX | None = None,
) -> DataBlock | None:
    """Place of an image; None when it has neither pixels nor a constant value."""
    header = hdu.header
    bitpix, naxis = int(header.get("BITPIX", 8)), int(header.get("NAXIS", 0))
    if naxis == 0:
        value = header_number(header, "PIXVALUE")
        npix = (header_number(header, "NPIX2"), header_number(header, "NPIX1"))
        if value is None:
            return None
        if npix[0] is not None and npix[1] is not None:
            shape_yx = ShapeYX(int(npix[0]), int(npix[1]))
        if shape_yx is None:
            return None
        return DataBlock(readable, -1, shape_yx, bitpix, constant=value)
    shape = ShapeYX(int(header.get("NAXIS2", 0)), int(header.get("NAXIS1", 0)))
    if naxis != 2 or min(shape) < 1:
        problem = f"{hdu.name} has NAXIS={naxis}, {_size(shape)}"
        raise StructureError(
            headers.exposure, problem, f"give two-dimensional images or {_REMOVE}", headers.chip
        )
    return DataBlock(
        path=readable,
        offset=int(hdu.fileinfo()["datLoc"]),
        shape_yx=shape,
        bitpix=bitpix,
        bscale=_or(header_number(header, "BSCALE"), 1.0),
        bzero=_or(header_number(header, "BZERO"), 0.0),
    )


def ivm_block(path: str, extver: int, shape_yx: ShapeYX, headers: HeaderPair) -> DataBlock:
    """Extension (IVM, extver) of the user's inverse-variance map; the only image of a file without names."""
    with _open(path, headers, "inverse-variance map") as hdul:
        named = [hdu for hdu in hdul if hdu.name == "IVM" and int(hdu.ver) == extver]
        plain = [hdu for hdu in hdul if getattr(hdu, "is_image", False) and hdu.header.get("NAXIS", 0) == 2]
        if not named and len(plain) != 1:
            problem = f"inverse-variance map {path} has no extension IVM,{extver}"
            raise StructureError(
                headers.exposure, problem, "add the extension or remove the map", headers.chip
            )
        block = data_block((named or plain)[0], path, headers)
    if block is None or block.shape_yx != shape_yx:
        found = "empty" if block is None else _size(block.shape_yx)
        problem = f"inverse-variance map {path} is {found}, SCI is {_size(shape_yx)}"
        raise StructureError(headers.exposure, problem, "give a map of the same size", headers.chip)
    return block


def flat_block(
    headers: HeaderPair,
    facts: InstrumentFacts,
    origin_yx: tuple[int, int],
    shape_yx: ShapeYX,
    folder: Path,
    staging_dir: Path | None = None,
) -> DataBlock | None:
    """Flat field of a chip for IVM weights, chosen by CCDCHIP or DETECTOR; None when there is none."""
    reference = str(headers.primary.get(facts.flat_keyword, "")).strip()
    path = find_reference(reference, folder)
    if path is None:
        return None
    with _open(str(path), headers, facts.flat_keyword, staging_dir) as hdul:
        science = [hdu for hdu in hdul if hdu.name == "SCI"] or [hdu for hdu in hdul[1:] if hdu.is_image]
        same = [hdu for hdu in science if facts.ccdchip in _chip_numbers(hdu.header)]
        same = same or [hdu for hdu in science if int(hdu.ver) == headers.extver]
        # The detectors with imsets have one chip, whatever the number of the imset.
        same = same or (science[:1] if facts.full_shape_yx is not None else [])
        block = data_block(same[0], str(hdul.filename()), headers) if same else None
    if block is None:
        return None
    _require_multiple(block, path, headers, facts)
    reach = facts.full_shape_yx or block.shape_yx
    ny, nx = (start + n * b for start, n, b in zip(origin_yx, shape_yx, facts.binning_yx, strict=True))
    if min(origin_yx) < 0 or ny > reach.ny or nx > reach.nx:
        problem = f"flat field {path} is {_size(block.shape_yx)}, the chip needs {nx} x {ny}"
        raise StructureError(headers.exposure, problem, "give the flat field of this detector", headers.chip)
    return block


def low_flat_block(headers: HeaderPair, facts: InstrumentFacts, folder: Path) -> DataBlock | None:
    """Coarsely sampled flat field of a detector that has one; None when it is not to be found."""
    full = facts.full_shape_yx
    if not facts.low_flat_keyword or full is None:
        return None
    path = find_reference(str(headers.primary.get(facts.low_flat_keyword, "")).strip(), folder)
    if path is None:
        return None
    with _open(str(path), headers, facts.low_flat_keyword) as hdul:
        science = [hdu for hdu in hdul if hdu.name == "SCI"]
        block = data_block(science[0], str(path), headers) if science else None
    if block is not None:
        _require_multiple(block, path, headers, facts)
    return block


def _require_multiple(block: DataBlock, path: Path, headers: HeaderPair, facts: InstrumentFacts) -> None:
    """Refuse a flat field whose pixels are neither several of the detector's nor fit into one."""
    full = facts.full_shape_yx
    if full is None:
        return
    for own, whole in zip(block.shape_yx, full, strict=True):
        if max(own, whole) % min(own, whole):
            problem = f"flat field {path} is {_size(block.shape_yx)}, the detector {_size(full)}: no multiple"
            remedy = "give the flat field of this detector"
            raise StructureError(headers.exposure, problem, remedy, headers.chip)


def _chip_numbers(header: fits.Header) -> set[float | None]:
    """Which chip an extension of a flat field is of, by either of its keywords."""
    return {header_number(header, keyword) for keyword in ("CCDCHIP", "DETECTOR")}


def _open(path: str, headers: HeaderPair, what: str, staging_dir: Path | None = None) -> fits.HDUList:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            return open_plain(path, staging_dir)[0]
        except (OSError, ExposureError) as error:
            problem = f"{what} {path} cannot be read ({error})"
            raise MissingFileError(headers.exposure, problem, "correct its name", headers.chip) from error


def _size(shape: ShapeYX) -> str:
    return f"{shape.nx} x {shape.ny} pixels"


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
