"""Which of the world coordinate systems that a chip carries is to be used (``wcskey``).

Covers choosing an alternate WCS by its letter or its WCSNAME. Does not cover reading it
(`mosaic.geometry.wcs`); no file is changed, where DrizzlePac restores the alternate into its inputs.
"""

from __future__ import annotations

import string

from astropy.io import fits

from mosaic.errors import MetadataError


def resolve_key(header: fits.Header, wanted: str, exposure: str, chip: str) -> str:
    """Letter of the WCS that `wanted` names.

    Parameters
    ----------
    header : Header
        SCI header.
    wanted : str
        One upper-case letter, or a WCSNAME (case does not matter; of several keys with one name the last);
        also HDRNAME of the primary WCS.
    exposure, chip : str
        Names used in the error.

    Returns
    -------
    str
        A to Z; empty for the primary WCS.

    Raises
    ------
    MetadataError
        When there is no such key or name, with a list of those there are.
    """
    if not wanted:
        return ""
    names = alternate_names(header)
    if len(wanted) == 1 and wanted in string.ascii_uppercase:
        if wanted in names:
            return wanted
    else:
        found = [key for key, name in names.items() if name.lower() == wanted.lower()]
        if found:
            return found[-1]
        primary = (str(header.get(keyword, "")).strip().lower() for keyword in ("WCSNAME", "HDRNAME"))
        if wanted.lower() in primary:
            return ""
    there = ", ".join(f"{key} ({name or 'no name'})" for key, name in names.items()) or "none"
    raise MetadataError(
        exposure,
        f"wcskey={wanted!r}: there is no such alternate WCS (those are: {there})",
        "choose one of them, or leave wcskey blank for the primary WCS",
        chip,
    )


def alternate_names(header: fits.Header) -> dict[str, str]:
    """WCSNAME of every alternate WCS of a header, by letter in alphabetical order."""
    return {
        letter: str(header.get(f"WCSNAME{letter}", "")).strip()
        for letter in string.ascii_uppercase
        if f"CRVAL1{letter}" in header and f"CRPIX1{letter}" in header
    }
