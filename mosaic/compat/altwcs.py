"""``stwcs.wcsutil.altwcs`` under its names: alternate WCS of an exposure, kept, listed, restored, deleted.

A file that is given by name is replaced once the changed one is complete; an open HDUList is changed in
memory. What stwcs reports in a log and passes over is an error here.
"""

# ruff: noqa: N802, FBT001, FBT002  (the names and signatures are those of the system replaced)
from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

from astropy.io import fits

from mosaic.errors import ParameterError, StructureError
from mosaic.geometry.wcs import with_alternate
from mosaic.solutions import alternates
from mosaic.solutions.alternates import ArchiveMode
from mosaic.solutions.editing import edited, open_solutions

__all__ = [
    "ArchiveMode",
    "archive_wcs",
    "available_wcskeys",
    "deleteWCS",
    "next_wcskey",
    "pc2cd",
    "restoreWCS",
    "wcs_from_key",
    "wcskeys",
    "wcsnames",
]

FileArgument: TypeAlias = str | Path | Any
"""Name of a file, or an open HDUList."""
Extension: TypeAlias = int | str | tuple[str, int]
_MARKS: Final = ("WCSNAME", "CTYPE1", "CRPIX1", "CRVAL1", "RADESYS")
"""Keywords any of which shows that there is a WCS of a key."""
_CARDS: Final = (
    *("WCSAXES", "CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CTYPE1", "CTYPE2", "CUNIT1", "CUNIT2"),
    *("CD1_1", "CD1_2", "CD2_1", "CD2_2", "LONPOLE", "LATPOLE", "RADESYS", "EQUINOX"),
    *("WCSNAME", "WCSTYPE", "CRDER1", "CRDER2", "RMS_RA", "RMS_DEC", "NMATCH", "FITNAME", "HDRNAME"),
)


def archive_wcs(
    fname: FileArgument,
    ext: Extension | Sequence[Extension],
    wcskey: str | None = None,
    wcsname: str | None = None,
    mode: ArchiveMode = ArchiveMode.NO_CONFLICT,
) -> tuple[str, str] | tuple[None, None]:
    """Copy the primary WCS of extensions to an alternate one.

    Returns
    -------
    (str, str)
        Key and name of the copy; (None, None) when QUIET_ABORT let a clash pass.

    Raises
    ------
    ParameterError
        When key or name are taken and `mode` does not say what to do.
    """
    with _editing(fname) as hdul:
        headers = _headers(hdul, ext)
        done = alternates.archive(
            headers, key=wcskey or None, name=wcsname or None, mode=ArchiveMode(mode), where=_name(hdul)
        )
    return (None, None) if done is None else done


def restoreWCS(
    f: FileArgument, ext: Extension | Sequence[Extension], wcskey: str = " ", wcsname: str = " "
) -> None:
    """Make an alternate WCS the primary one of extensions; the primary WCS is lost unless archived before.

    Raises
    ------
    ParameterError
        When there is no such WCS.
    """
    with _editing(f) as hdul:
        headers = _headers(hdul, ext)
        alternates.restore(headers, _found(headers, wcskey, wcsname, _name(hdul)))


def deleteWCS(
    fname: FileArgument, ext: Extension | Sequence[Extension], wcskey: str = " ", wcsname: str = " "
) -> None:
    """Remove an alternate WCS of extensions.

    Raises
    ------
    ParameterError
        When there is no such WCS, or it is the primary one.
    """
    with _editing(fname) as hdul:
        headers = _headers(hdul, ext)
        alternates.delete(headers, _found(headers, wcskey, wcsname, _name(hdul)), _name(hdul))


def wcskeys(fobj: FileArgument | fits.Header, ext: Extension | None = None) -> list[str]:
    """Keys of all WCS of a header, the primary one's (a blank) among them."""
    header = _header(fobj, ext)
    return [
        key
        for key in (" ", *string.ascii_uppercase)
        if any(f"{mark}{key.strip()}" in header for mark in _MARKS)
    ]


def wcsnames(
    fobj: FileArgument | fits.Header, ext: Extension | None = None, include_primary: bool = True
) -> dict[str, str]:
    """WCSNAME by key; WCS without a name are left out."""
    header = _header(fobj, ext)
    names = {key: str(header[f"WCSNAME{key}"]) for key in string.ascii_uppercase if f"WCSNAME{key}" in header}
    if include_primary and "WCSNAME" in header:
        names[" "] = str(header["WCSNAME"])
    return names


def available_wcskeys(fobj: FileArgument | fits.Header, ext: Extension | None = None) -> list[str]:
    """Letters that no WCS of a header has."""
    used = set(wcskeys(fobj, ext))
    return [key for key in string.ascii_uppercase if key not in used]


def next_wcskey(fobj: FileArgument | fits.Header, ext: Extension | None = None) -> str | None:
    """First letter that no WCS of a header has; None when all are used."""
    return next(iter(available_wcskeys(fobj, ext)), None)


def wcs_from_key(
    fobj: FileArgument,
    ext: Extension,
    from_key: str = " ",
    to_key: str | None = None,
    exclude_special: bool = True,
) -> fits.Header:
    """Header with the linear terms of one WCS of an extension, under the same or another key.

    `exclude_special` is accepted: keywords that belong to primary headers never appear.

    Raises
    ------
    ParameterError
        When a key is not one blank or letter, or there is no such WCS.
    """
    del exclude_special
    to_key = from_key if to_key is None else to_key
    for name, key in (("from_key", from_key), ("to_key", to_key)):
        if len(key) != 1 or key not in " " + string.ascii_uppercase:
            raise ParameterError(f"{name} = {key!r}: give one letter A to Z, or a blank for the primary WCS")
    header = _header(fobj, ext)
    alternates.find_key(header, key=from_key, where=str(ext))
    terms = header
    if from_key.strip():
        terms = with_alternate(header, from_key)
        for keyword in ("CTYPE1", "CTYPE2", "CUNIT1", "CUNIT2", "CRDER1", "CRDER2", "LONPOLE", "LATPOLE"):
            if f"{keyword}{from_key}" in header:
                terms[keyword] = header[f"{keyword}{from_key}"]
    made = fits.Header()
    for keyword in _CARDS:
        if keyword in terms and terms[keyword] != "":
            made[f"{keyword}{to_key.strip()}"] = (terms[keyword], terms.comments[keyword])
    return made


def pc2cd(hdr: fits.Header, key: str = " ") -> fits.Header:
    """Turn the PC matrix and CDELT of a WCS into a CD matrix, in place."""
    key = key.strip()
    steps = [hdr.pop(f"CDELT{axis}{key}", 1.0) for axis in (1, 2)]
    for i, ordinal in enumerate(("first", "second"), 1):
        for j, axis in enumerate("xy", 1):
            factor = hdr.pop(f"PC{i}_{j}{key}", 1.0 if i == j else 0.0)
            comment = f"partial of {ordinal} axis coordinate w.r.t. {axis}"
            hdr[f"CD{i}_{j}{key}"] = (steps[i - 1] * factor, comment)
    return hdr


@contextmanager
def _editing(file: FileArgument) -> Iterator[fits.HDUList]:
    """Open HDUList to change: a file is replaced when the block ends well."""
    if isinstance(file, fits.HDUList):
        yield file
        return
    with edited(Path(file), Path(file)) as hdul:
        yield hdul


def _name(hdul: fits.HDUList) -> str:
    return str(hdul.filename() or "exposure")


def _found(headers: Sequence[fits.Header], wcskey: str, wcsname: str, where: str) -> str:
    """Key of an alternate WCS given by key or name."""
    key, name = wcskey.strip(), wcsname.strip()
    if not (key or name):
        raise ParameterError(f"{where}: give wcskey or wcsname of an alternate WCS")
    return alternates.find_key(headers[0], key=key or None, name=name or None, where=where)


def _headers(hdul: fits.HDUList, ext: Extension | Sequence[Extension]) -> list[fits.Header]:
    """Headers of extensions: a number, a name (all of it), a pair of name and version, or a list of them."""
    entries = ext if isinstance(ext, list) else [ext]
    found: list[fits.Header] = []
    for entry in entries:
        if isinstance(entry, str):
            members = [hdu.header for hdu in hdul[1:] if hdu.name == entry.strip().upper()]
        else:
            try:
                members = [hdul[entry].header]
            except (KeyError, IndexError, TypeError):
                members = []
        if not members:
            there = ", ".join(f"{hdu.name},{hdu.ver}" for hdu in hdul[1:])
            raise StructureError(_name(hdul), f"has no extension {entry!r}", f"choose one of {there}")
        found += members
    return found


def _header(fobj: FileArgument | fits.Header, ext: Extension | None) -> fits.Header:
    """Header that is given, or that of an extension of a file."""
    if isinstance(fobj, fits.Header):
        return fobj
    if ext is None:
        raise ParameterError("ext is missing: give the extension of the file, or a header")
    if isinstance(fobj, fits.HDUList):
        return _headers(fobj, ext)[0]
    with open_solutions(Path(fobj)) as hdul:
        return _headers(hdul, ext)[0].copy()
