"""Group images of the archive's older formats as multi-extension FITS: GEIS and waivered FITS.

GEIS: a text header (``.c0h``: cards of 80 characters, with or without line ends) and a data file
(``.c0d``): for each of GCOUNT groups the pixels, then PSIZE bits of parameters laid out as PTYPEn and
PDTYPEn say. Its numbers have the byte order of the machine that wrote it, which nothing records: the order
that gives plausible numbers is taken. Waivered FITS: the groups are the planes of the primary array, their
parameters the rows of an ASCII table. Either way the parameters of a group become cards of its extension.
Does not cover formats other than images of real or integer pixels.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from mosaic.errors import MissingFileError, StructureError, TruncatedFileError
from mosaic.places import is_remote

_CARD: Final = 80
_RESTORE: Final = "fetch the file again or remove it from the list"
_PARAMETER_KINDS: Final = {"REAL": "f", "INTEGER": "i", "LOGICAL": "i", "CHARACTER": "S"}
_PIXEL_KINDS: Final = {"REAL": "f", "INTEGER": "i", "UNSIGNED": "u"}
_LAYOUT: Final = frozenset({"DATATYPE", "PSIZE", "GCOUNT", "PCOUNT", "GROUPS"})
_REST: Final = " bytes not described"
_PER_PARAMETER: Final = ("PTYPE", "PDTYPE", "PSIZE")


def is_geis(path: str) -> bool:
    """Whether a name is that of the header file of a GEIS image, such as ``.c0h``."""
    suffix = Path(path).suffix.lower()
    return len(suffix) == 4 and suffix.endswith("h") and suffix[2].isdigit()


def is_waivered(hdul: fits.HDUList) -> bool:
    """Whether a file is waivered FITS: groups in the primary array, an ASCII table of their parameters."""
    return len(hdul) == 2 and int(hdul[0].header.get("NAXIS", 0)) > 0 and isinstance(hdul[1], fits.TableHDU)


def geis_data_file(path: str) -> str:
    """Name of the data file that goes with a header file."""
    return path[:-1] + ("D" if path.endswith("H") else "d")


def read_geis(path: str) -> fits.HDUList:
    """Read a GEIS image as one extension per group.

    Parameters
    ----------
    path : str
        Header file (``.c0h``); the data file lies beside it.

    Returns
    -------
    HDUList
        Primary header without data, then image extensions named as FILETYPE says, EXTVER from 1.

    Raises
    ------
    MissingFileError, TruncatedFileError, StructureError
        When the data file is missing or too short, or the header describes no image groups.
    """
    if is_remote(path):
        raise StructureError(path, "GEIS images are read from local disks only", "copy both files")
    header = _read_header(path)
    data_path = Path(geis_data_file(path))
    if not data_path.is_file():
        raise MissingFileError(
            path, f"its data file {data_path.name} is not there", "put it beside the header"
        )
    shape = tuple(int(header[f"NAXIS{axis}"]) for axis in range(int(header.get("NAXIS", 0)), 0, -1))
    n_groups = int(header.get("GCOUNT", 1))
    if len(shape) != 2 or n_groups < 1:
        raise StructureError(path, f"NAXIS is {len(shape)} and GCOUNT {n_groups}, not image groups", _RESTORE)
    pixels = _pixel_type(header, path)
    group = np.dtype([("pixels", pixels, shape), *_parameters(header, path)])
    raw = data_path.read_bytes()
    if len(raw) < n_groups * group.itemsize:
        problem = f"{data_path.name} has {len(raw)} bytes, {n_groups} groups take {n_groups * group.itemsize}"
        raise TruncatedFileError(path, problem, _RESTORE)
    groups = _in_plausible_order(np.frombuffer(raw, dtype=group, count=n_groups))
    numbers = range(1, int(header.get("PCOUNT", 0)) + 1)
    names = {str(header[f"PTYPE{n}"]).strip(): n for n in numbers}
    rows = [
        [
            fits.Card(
                name,
                _plain(row[name], is_logical=str(header[f"PDTYPE{n}"]).startswith("LOGICAL")),
                header.comments[f"PTYPE{n}"],
            )
            for name, n in names.items()
        ]
        for row in groups
    ]
    return _as_extensions(_without_layout(header), [row["pixels"] for row in groups], rows)


def read_waivered(hdul: fits.HDUList, path: str) -> fits.HDUList:
    """Turn a waivered FITS file into one extension per group.

    Raises
    ------
    StructureError
        When the table has not one row for each plane of the primary array.
    """
    cube = hdul[0].data
    planes = cube[None] if cube.ndim == 2 else cube
    table = hdul[1]
    if planes.ndim != 3 or len(table.data) != len(planes):
        problem = f"waivered FITS with {len(planes)} planes and {len(table.data)} rows of parameters"
        raise StructureError(path, problem, _RESTORE)
    comments = {
        table.header[key]: table.header.comments[key] for key in table.header if key.startswith("TTYPE")
    }
    rows = [
        [
            fits.Card(name, _plain(record[name], is_logical=False), comments.get(name, ""))
            for name in table.columns.names
        ]
        for record in table.data
    ]
    header = hdul[0].header.copy(strip=True)
    return _as_extensions(header, list(planes), rows)


def _read_header(path: str) -> fits.Header:
    """Cards of a GEIS header: 80 characters each, with line ends or without."""
    try:
        text = Path(path).read_bytes().decode("ascii")
    except OSError as error:
        problem = f"cannot be opened ({error.strerror})"
        raise MissingFileError(path, problem, "check its name and permissions") from error
    except UnicodeDecodeError as error:
        raise StructureError(path, "not a GEIS header (it is not text)", _RESTORE) from error
    lines = (
        text.splitlines() if "\n" in text else [text[at : at + _CARD] for at in range(0, len(text), _CARD)]
    )
    header = fits.Header()
    for line in lines:
        if line.split() == ["END"]:
            break
        if line.strip():
            card = fits.Card.fromstring(f"{line[:8].upper()}{line[8:]}")
            try:
                card.verify("silentfix")
            except fits.VerifyError as error:
                problem = f"not a GEIS header (it has the line {line.strip()!r})"
                raise StructureError(path, problem, _RESTORE) from error
            header.append(card, end=True)
    else:
        raise TruncatedFileError(path, "the header has no END", _RESTORE)
    if "SIMPLE" not in header or "GCOUNT" not in header:
        raise StructureError(path, "not a GEIS header (SIMPLE or GCOUNT absent)", _RESTORE)
    return header


def _in_plausible_order(groups: NDArray[Any]) -> NDArray[Any]:
    """The groups in the byte order in which fewer of their numbers are absurd; big-endian when both do."""
    swapped = groups.view(groups.dtype.newbyteorder("<"))
    return swapped if _n_absurd(swapped) < _n_absurd(groups) else groups


def _n_absurd(groups: NDArray[Any]) -> int:
    """Numbers that no image holds: not finite, or of a magnitude that only wrong byte order gives."""
    total = 0
    for name in groups.dtype.names or ():
        values = groups[name]
        with np.errstate(invalid="ignore"):
            if values.dtype.kind == "f":
                size = np.abs(values.astype(np.float64))
                total += int(
                    np.count_nonzero(~np.isfinite(size) | (size > 1e20) | ((size < 1e-20) & (size > 0)))
                )
            elif values.dtype.kind in "iu" and values.dtype.itemsize > 2:
                # Swapped, a small number has its low byte on top; flags of two bytes may look either way.
                total += int(
                    np.count_nonzero(np.abs(values.astype(np.int64)) >= 1 << (8 * values.dtype.itemsize - 8))
                )
    return total


def _pixel_type(header: fits.Header, path: str) -> np.dtype[Any]:
    kind, _, size = str(header.get("DATATYPE", "")).strip().upper().partition("*")
    if kind not in _PIXEL_KINDS or not size.isdigit():
        raise StructureError(path, f"DATATYPE is {header.get('DATATYPE')!r}", _RESTORE)
    return np.dtype(f">{_PIXEL_KINDS[kind]}{size}")


def _parameters(header: fits.Header, path: str) -> list[tuple[str, str]]:
    """Names and types of the parameters behind the pixels of each group."""
    fields: list[tuple[str, str]] = []
    for number in range(1, int(header.get("PCOUNT", 0)) + 1):
        name = str(header[f"PTYPE{number}"]).strip()
        kind, _, size = str(header[f"PDTYPE{number}"]).strip().upper().partition("*")
        if kind not in _PARAMETER_KINDS or not size.isdigit():
            raise StructureError(path, f"PDTYPE{number} is {header[f'PDTYPE{number}']!r}", _RESTORE)
        letter = _PARAMETER_KINDS[kind]
        fields.append((name, f"{letter}{size}" if letter == "S" else f">{letter}{size}"))
    known = sum(np.dtype(kind).itemsize for _name, kind in fields)
    rest = int(header.get("PSIZE", 8 * known)) // 8 - known
    if rest < 0:
        raise StructureError(
            path, f"PSIZE is {header['PSIZE']} bits, its parameters take {8 * known}", _RESTORE
        )
    return [*fields, ("", f"V{rest}")] if rest else fields


def _plain(value: Any, *, is_logical: bool) -> bool | int | float | str:  # noqa: ANN401  (numpy scalar)
    """Value of a card: single precision by its shortest decimal form, which reads back to the same bits."""
    if is_logical:
        return bool(value)
    if isinstance(value, bytes):
        return value.decode("ascii", "replace").rstrip("\0 ")
    if isinstance(value, np.float32):
        value = float(str(value))
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, (str, np.bool_)):
        return bool(value) if isinstance(value, np.bool_) else value.rstrip()
    return int(value)


def _without_layout(header: fits.Header) -> fits.Header:
    kept = header.copy(strip=True)
    for key in list(kept):
        if key in _LAYOUT or (key.startswith(_PER_PARAMETER) and key[-1:].isdigit()):
            kept.remove(key, ignore_missing=True)
    return kept


def _as_extensions(
    header: fits.Header, planes: list[NDArray[Any]], rows: list[list[fits.Card]]
) -> fits.HDUList:
    """Primary header and one named extension per group."""
    name = str(header.get("FILETYPE", "SCI")).strip().upper() or "SCI"
    rootname = str(header.get("ROOTNAME", "")).strip()
    hdus = []
    for extver, (plane, cards) in enumerate(zip(planes, rows, strict=True), start=1):
        extension = fits.ImageHDU(np.array(plane), name=name, ver=extver)
        for card in cards:
            if card.keyword and card.keyword not in extension.header:
                extension.header.append(card, end=True)
        extension.header["INHERIT"] = (True, "inherit the primary header")
        extension.header["EXPNAME"] = (rootname, "exposure identifier")
        extension.header["ROOTNAME"] = (rootname, "rootname of the observation set")
        hdus.append(extension)
    primary = fits.PrimaryHDU(header=header)
    primary.header["NEXTEND"] = (len(hdus), "number of standard extensions")
    return fits.HDUList([primary, *hdus])
