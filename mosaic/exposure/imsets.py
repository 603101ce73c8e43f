"""Which SCI extensions of a file make which exposure.

Usually all of them make one. A STIS file may hold several exposures, each a group (imset) of SCI, ERR and
DQ: they are taken apart here without writing anything, every chip pointing into the one file. Of a NICMOS
file only the first imset is a science image.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from astropy.io import fits

from mosaic.errors import ExposureError, InstrumentError, ParameterError, StructureError
from mosaic.exposure.instruments.traits import input_traits
from mosaic.geometry.wcs import header_number

_BLANK = frozenset({"", "none", "indef"})


@dataclass(frozen=True, slots=True)
class Part:
    """The extensions of a file that make one exposure."""

    rootname: str
    """Root name of the exposure, lower case."""
    filename: str
    """Base name it goes by in headers."""
    science: tuple[int, ...]
    """Indices of its SCI extensions that are to be used."""
    all_science: tuple[int, ...]
    """Indices of all its SCI extensions."""
    is_imset: bool
    """Whether it is one of several exposures in its file; its chip then goes by [sci,1]."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a file amounts to."""

    parts: tuple[Part, ...]
    rejected: tuple[ExposureError, ...] = ()
    notes: tuple[str, ...] = ()


def find_parts(hdul: fits.HDUList, rootname: str, filename: str, group: object) -> Parts:
    """Divide the SCI extensions of a file among exposures.

    Parameters
    ----------
    hdul : HDUList
        Open file.
    rootname, filename : str
        Of the file.
    group : object
        The parameter `group`: chips to use; blank for all.

    Raises
    ------
    StructureError
        When there is no SCI extension.
    InstrumentError
        For spectra.
    ParameterError
        When `group` names no chip of the exposure.
    """
    science = [index for index, hdu in enumerate(hdul) if hdu.name == "SCI"]
    if not science:
        raise StructureError(
            rootname, "there is no SCI extension", "give calibrated exposures or remove it from the list"
        )
    primary = hdul[0].header
    instrument = str(primary.get("INSTRUME", "")).strip().upper()
    traits = input_traits(instrument)
    if traits.is_imaging_only and str(primary.get("OBSTYPE", "")).strip().upper() == "SPECTROSCOPIC":
        raise InstrumentError(
            rootname,
            f"{instrument} spectrum (OBSTYPE=SPECTROSCOPIC)",
            "only images can be drizzled: remove it",
        )
    text = "" if group is None else str(group).strip()
    if traits.only_first_imset:
        notes = []
        if text.lower() not in _BLANK:
            notes.append(f"{rootname}: group={text!r} is ignored, a {instrument} exposure has one chip")
        if len(science) > 1:
            notes.append(f"{rootname}: the first of {len(science)} imsets is used")
        return Parts(
            (Part(rootname, filename, (science[0],), (science[0],), is_imset=False),), (), tuple(notes)
        )
    if traits.imset_is_exposure and len(science) > 1:
        _require_first_chip(text, rootname)
        return _split(hdul, science, rootname)
    chosen = select_group(hdul, science, text, rootname)
    return Parts((Part(rootname, filename, tuple(chosen), tuple(science), is_imset=False),))


def select_group(hdul: fits.HDUList, science: Sequence[int], text: str, name: str) -> list[int]:
    """SCI extensions that the parameter `group` selects, in file order.

    Raises
    ------
    ParameterError
        When a word of it names none of `science`.
    """
    if text.lower() in _BLANK:
        return list(science)
    chosen: set[int] = set()
    for token in re.findall(r"[A-Za-z]+\s*,\s*\d+|[^,\s]+", text):
        if token.isdigit():
            index = int(token)
        else:
            word, _, version = token.partition(",")
            if word.strip().upper() != "SCI" or not version.strip().isdigit():
                raise ParameterError(f"group={text!r}: {token!r} is neither an extension number nor 'sci,n'")
            matches = [i for i in science if int(hdul[i].header.get("EXTVER", 1)) == int(version)]
            index = matches[0] if matches else -1
        if index not in science:
            there = ", ".join(str(i) for i in science)
            raise ParameterError(
                f"group={text!r}: {token!r} is not a SCI extension of {name} (those are {there})"
            )
        chosen.add(index)
    return sorted(chosen)


def _require_first_chip(text: str, name: str) -> None:
    if text.lower() not in _BLANK | {"1", "sci,1"}:
        raise ParameterError(
            f"group={text!r}: each imset of {name} is an exposure with the one chip 'sci,1'; leave it blank"
        )


def _split(hdul: fits.HDUList, science: Sequence[int], file_root: str) -> Parts:
    """One exposure for every complete imset, named by EXPNAME."""
    parts: list[Part] = []
    rejected: list[ExposureError] = []
    notes: list[str] = []
    names = {index: str(hdul[index].header.get("EXPNAME", "")).strip() for index in science}
    uses = Counter(name.lower() for name in names.values())
    for index in science:
        extver = int(header_number(hdul[index].header, "EXTVER") or 1)
        name = names[index]
        if not name or uses[name.lower()] > 1:
            said = f"EXPNAME {name!r} is not its own" if name else "EXPNAME absent"
            name = f"{name or file_root}_{extver}"
            notes.append(f"{file_root}[sci,{extver}]: {said}; the exposure is called {name}")
        absent = [kind for kind in ("SCI", "ERR", "DQ") if not _has_pixels(hdul, kind, extver)]
        if absent:
            problem = f"imset {extver} of {file_root} is incomplete: {', '.join(absent)} missing or empty"
            rejected.append(StructureError(name.lower(), problem, "fetch the file again or leave it out"))
            continue
        parts.append(Part(name.lower(), f"{name}_flt.fits", (index,), (index,), is_imset=True))
    return Parts(tuple(parts), tuple(rejected), tuple(notes))


def _has_pixels(hdul: fits.HDUList, kind: str, extver: int) -> bool:
    """Whether an extension is there, with pixels or a constant in their stead."""
    return any(
        hdu.name == kind
        and int(hdu.ver) == extver
        and (int(hdu.header.get("NAXIS", 0)) > 0 or header_number(hdu.header, "PIXVALUE") is not None)
        for hdu in hdul
    )
