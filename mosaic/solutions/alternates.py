"""Alternate WCS of the science extensions: archive the primary one, restore, delete.

Covers names, keys and the modes of a clash as in stwcs. Values are copied as they stand in the header,
where stwcs formats them anew. Does not cover files (`mosaic.solutions.editing`).
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from enum import IntFlag
from typing import Final

from astropy.io import fits

from mosaic.errors import ParameterError
from mosaic.exposure.alternate_wcs import alternate_names
from mosaic.geometry.correction import LinearWcs
from mosaic.geometry.tangent import Matrix2, PairXY
from mosaic.geometry.wcs import with_alternate

OPUS: Final = "O"
"""Key of the WCS of the ground system, never overwritten nor deleted."""
DEFAULT_NAME: Final = "ARCHIVED"
"""Name of a WCS that had none."""
FIT_KEYWORDS: Final = ("WCSTYPE", "RMS_RA", "RMS_DEC", "NMATCH", "FITNAME", "HDRNAME", "CRDER1", "CRDER2")
"""What a header says of the fit behind a WCS; an alternate carries them with its key."""
_ALTERNATE: Final = (
    *("WCSNAME", "WCSAXES", "CRPIX1", "CRPIX2", "CUNIT1", "CUNIT2", "CTYPE1", "CTYPE2"),
    *("CRVAL1", "CRVAL2", "RADESYS", "CD1_1", "CD1_2", "CD2_1", "CD2_2"),
)
_LINEAR: Final = ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")
_COMPANIONS: Final = frozenset({"ERR", "DQ", "SDQ", "SAMP", "TIME"})
_COUNTER: Final = re.compile(r"^(.*?)-(\d+)$")


class ArchiveMode(IntFlag):
    """What to do when the name or key is taken."""

    NO_CONFLICT = 0
    AUTO_RENAME = 1
    OVERWRITE_KEY = 2
    QUIET_ABORT = 4


def wcs_names(header: fits.Header, *, include_primary: bool = True) -> dict[str, str]:
    """WCSNAME by key; the primary WCS has the key of one blank."""
    names = alternate_names(header)
    if include_primary and "CRVAL1" in header:
        return {" ": str(header.get("WCSNAME", "")).strip(), **names}
    return names


def next_key(header: fits.Header) -> str:
    """First free key, O left out.

    Raises
    ------
    ParameterError
        When all are used.
    """
    used = alternate_names(header)
    for key in string.ascii_uppercase:
        if key != OPUS and key not in used:
            return key
    raise ParameterError("all 25 keys of alternate WCS are used; delete one (mosaic wcs delete)")


def find_key(header: fits.Header, *, key: str | None = None, name: str | None = None, where: str = "") -> str:
    """Key of a WCS given by key or by name (case does not matter, of several the last).

    Raises
    ------
    ParameterError
        When it is not there, or both are given and disagree; the names there are, are listed.
    """
    names = wcs_names(header)
    there = ", ".join(f"{k.strip() or 'primary'} ({n or 'no name'})" for k, n in names.items()) or "none"
    if key is not None:
        wanted = key.strip() or " "
        if wanted not in names:
            raise ParameterError(f"{where}: no WCS with key {key!r} (there are: {there})")
        if name and names[wanted].lower() != name.strip().lower():
            raise ParameterError(f"{where}: the WCS {key!r} is not called {name!r} (there are: {there})")
        return wanted
    if not name:
        raise ParameterError(f"{where}: name a WCS or give its key (there are: {there})")
    found = [k for k, n in names.items() if n.lower() == name.strip().lower()]
    if not found:
        raise ParameterError(f"{where}: no WCS called {name!r} (there are: {there})")
    return found[-1]


def unique_name(name: str, taken: Sequence[str]) -> str:
    """Return the name, with ``-1``, ``-2``, … appended when it is taken."""
    used = {other.upper() for other in taken}
    if name.upper() not in used:
        return name
    counted = _COUNTER.match(name)
    stem, number = (counted[1], int(counted[2])) if counted else (name, 0)
    while True:
        number += 1
        if f"{stem}-{number}".upper() not in used:
            return f"{stem}-{number}"


def archive(
    headers: Sequence[fits.Header],
    *,
    key: str | None = None,
    name: str | None = None,
    mode: ArchiveMode = ArchiveMode.NO_CONFLICT,
    where: str = "",
) -> tuple[str, str] | None:
    """Copy the primary WCS of all chips to one key.

    Parameters
    ----------
    headers : sequence of Header
        Of the science extensions; the first one decides.
    key : str, optional
        Key; by default that of the same name when its WCS is the same, else the first free one.
    name : str, optional
        WCSNAME of the copy; by default that of the primary WCS.
    mode : ArchiveMode
        What to do when the key or name is taken.
    where : str
        File, for errors.

    Returns
    -------
    (str, str) or None
        Key and name; None when nothing was done (QUIET_ABORT, or the OPUS solution is there already).

    Raises
    ------
    ParameterError
        On a clash, or when no key is free.
    """
    header = headers[0]
    names = alternate_names(header)
    if key is not None and key not in tuple(string.ascii_uppercase):
        raise ParameterError(f"{where}: {key!r} is not a key; an alternate WCS has one of the letters A to Z")
    wanted = name or str(header.get("WCSNAME", "")).strip()
    rename = bool(mode & ArchiveMode.AUTO_RENAME) or not wanted
    wanted = wanted or DEFAULT_NAME
    if OPUS in names and (key == OPUS or wanted.upper() == "OPUS"):
        return None
    same = [k for k, n in names.items() if n.upper() == wanted.upper()]
    if key is None and same and (_is_same(header, same[-1]) or mode & ArchiveMode.OVERWRITE_KEY):
        key = same[-1]
    same = [k for k in same if k != key]
    clash = ""
    if same and rename:
        wanted = unique_name(wanted, [*names.values()])
    elif same:
        clash = f"an alternate WCS {same[-1]} is called {wanted!r} already; give another name"
    if not clash and key in names and not (mode & ArchiveMode.OVERWRITE_KEY or _is_same(header, str(key))):
        clash = f"there is an alternate WCS {key} ({names[str(key)]}) already; give a free key"
    if clash:
        if mode & ArchiveMode.QUIET_ABORT:
            return None
        raise ParameterError(f"{where}: {clash}")
    key = key or next_key(header)
    for chip in headers:
        write_alternate(chip, key, wanted, chip)
    return key, wanted


def restore(headers: Sequence[fits.Header], key: str) -> None:
    """Make an alternate WCS the primary one of all chips; the old primary is lost unless archived.

    CTYPE and the distortion stay: all alternates of a chip share them.
    """
    for header in headers:
        restored = with_alternate(header, key)
        for keyword in ("CRDER1", "CRDER2"):
            restored.remove(keyword, ignore_missing=True)
            if f"{keyword}{key}" in header:
                restored[keyword] = header[f"{keyword}{key}"]
        _replace(header, restored)
        set_orientation(header)


def delete(headers: Sequence[fits.Header], key: str, where: str = "") -> None:
    """Remove an alternate WCS.

    Raises
    ------
    ParameterError
        For the primary WCS and for O.
    """
    if key in {"", " ", OPUS}:
        label = "primary WCS" if key != OPUS else "WCS of the ground system (O)"
        raise ParameterError(f"{where}: the {label} cannot be deleted; choose an alternate one")
    for header in headers:
        _drop_alternate(header, key)


def set_orientation(header: fits.Header) -> None:
    """Make ORIENTAT agree with the CD matrix."""
    header["ORIENTAT"] = (LinearWcs.from_header(header).orientat_deg, "position angle of image y axis")


def set_linear(header: fits.Header, crval_deg: PairXY, cd: Matrix2) -> None:
    """Write CRVAL and a CD matrix as the primary WCS; PC and CDELT go."""
    for keyword in ("PC1_1", "PC1_2", "PC2_1", "PC2_2", "CDELT1", "CDELT2"):
        header.remove(keyword, ignore_missing=True)
    header["CRVAL1"], header["CRVAL2"] = crval_deg
    (header["CD1_1"], header["CD1_2"]), (header["CD2_1"], header["CD2_2"]) = cd
    set_orientation(header)


def describe_name(name: str) -> str:
    """WCSTYPE of a WCSNAME: what the names of the archive mean in words."""
    base, _, fit = name.upper().partition("-")
    kind = {"IDC": "undistorted", "OPU": "pipeline default"}.get(base[:3])
    if kind is None:
        return "user-defined"
    if not fit:
        return f"{kind} not aligned"
    if not fit.startswith("FIT"):
        return f"{kind} a priori solution based on {fit}"
    how, _, catalog = fit.removeprefix("FIT_").partition("_")
    manner = {
        "REL": "relatively aligned",
        "IMG": "aligned image-by-image",
        "EVM": "aligned by visit-exposures",
        "SVM": "aligned by visit",
    }.get(how, "aligned")
    return f"{kind} a posteriori solution {manner} to {catalog or fit}"


def write_alternate(header: fits.Header, key: str, name: str, source: fits.Header) -> None:
    """Write the primary WCS of `source` as the alternate `key`, called `name`, of a header."""
    linear = LinearWcs.from_header(source)
    values: dict[str, object] = {keyword: source[keyword] for keyword in _ALTERNATE if keyword in source}
    values |= dict(zip(("CD1_1", "CD1_2", "CD2_1", "CD2_2"), (*linear.cd[0], *linear.cd[1]), strict=True))
    values |= {"WCSNAME": name, "WCSAXES": source.get("WCSAXES", 2)}
    values |= {keyword: source[keyword] for keyword in FIT_KEYWORDS if keyword in source}
    comments = {keyword: source.comments[keyword] for keyword in values if keyword in source}
    _drop_alternate(header, key)
    for keyword, value in values.items():
        header[f"{keyword}{key}"] = (value, comments.get(keyword, ""))


def copy_to_companions(hdul: fits.HDUList, science: int) -> None:
    """Give the primary linear WCS of a science extension to its ERR, DQ and other planes that have one."""
    source = hdul[science]
    terms = (*_LINEAR, "ORIENTAT")
    for index, hdu in enumerate(hdul):
        if index and hdu.name in _COMPANIONS and hdu.ver == source.ver and "CRVAL1" in hdu.header:
            hdu.header.update({name: source.header[name] for name in terms if name in source.header})
            if "WCSNAME" in hdu.header:
                hdu.header["WCSNAME"] = source.header.get("WCSNAME", "")


def _is_same(header: fits.Header, key: str) -> bool:
    """Whether an alternate holds the linear terms of the primary WCS."""
    primary, other = LinearWcs.from_header(header), LinearWcs.from_header(with_alternate(header, key))
    return primary == other


def _drop_alternate(header: fits.Header, key: str) -> None:
    """Remove all keywords of a key."""
    more = ("LONPOLE", "LATPOLE", "PC1_1", "PC1_2", "PC2_1", "PC2_2", "CDELT1", "CDELT2", "NMATCH", "CATALOG")
    for keyword in (*_ALTERNATE, *FIT_KEYWORDS, *more):
        header.remove(f"{keyword}{key}", ignore_missing=True)


def _replace(header: fits.Header, restored: fits.Header) -> None:
    """Take over the primary WCS of another header, card by card in place."""
    plain = ("PC1_1", "PC1_2", "PC2_1", "PC2_2", "CDELT1", "CDELT2")
    for keyword in (*FIT_KEYWORDS, *plain):
        if keyword not in restored:
            header.remove(keyword, ignore_missing=True)
    for keyword in (*_LINEAR, "WCSNAME", *FIT_KEYWORDS):
        if keyword in restored:
            header[keyword] = restored[keyword]
