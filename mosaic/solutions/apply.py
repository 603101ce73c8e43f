"""Headerlets of an exposure: attach, apply as primary or alternate WCS, restore, archive, delete.

Everything happens on HDUs in memory and is checked against the headerlet on a grid of pixels; writing is
left to `mosaic.solutions.editing`. Does not cover making or reading them (`mosaic.solutions.headerlets`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from astropy.io import fits

from mosaic.errors import ParameterError, StructureError, WcsError
from mosaic.geometry.tangent import sky_to_plane
from mosaic.geometry.wcs import ChipWcs
from mosaic.solutions import alternates
from mosaic.solutions.alternates import ArchiveMode, find_key
from mosaic.solutions.distortion import current_distname
from mosaic.solutions.headerlets import (
    WCS_CARDS,
    Headerlet,
    HeaderletText,
    create_headerlet,
    from_extension,
    headerlet_extensions,
    renumber,
    table_versions,
    to_extension,
)
from mosaic.solutions.wcscorr import record_solutions

_TABLES: Final = ("WCSDVARR", "D2IMARR")
_FROM_HEADERLET: Final = ("IDCTAB", "NPOLFILE", "D2IMFILE", "SIPNAME", "DISTNAME", "UPWCSVER", "PYWCSVER")
"""Keywords of the primary header that come with a headerlet."""
_FACTS: Final = re.compile(r"(VAFACTOR|MJDREF|EQUINOX|IDC(THETA|XREF|YREF|V2REF|V3REF)|TDD\w+)$")
_GRID_POINTS: Final = 5
_TOLERANCE_DEG: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Selector:
    """Which HDRLET extensions are meant: exactly one of the three."""

    hdrname: str = ""
    number: int | None = None
    """Running number, from 1."""
    distname: str = ""

    def indices(self, hdul: fits.HDUList) -> list[int]:
        """Indices of the extensions.

        Raises
        ------
        ParameterError
            When not exactly one selector is given, or nothing fits; what there is, is listed.
        """
        place = str(hdul.filename() or "exposure")
        if sum((bool(self.hdrname), self.number is not None, bool(self.distname))) != 1:
            raise ParameterError(f"{place}: give exactly one of HDRNAME, number and DISTNAME of a headerlet")
        there = headerlet_extensions(hdul)
        if self.number is not None:
            found = [there[self.number - 1]] if 1 <= self.number <= len(there) else []
        else:
            keyword, wanted = ("HDRNAME", self.hdrname) if self.hdrname else ("DISTNAME", self.distname)
            found = [i for i in there if _text(hdul[i].header, keyword).upper() == wanted.strip().upper()]
        if not found:
            listed = [f"{n} {_text(hdul[i].header, 'HDRNAME')}" for n, i in enumerate(there, 1)]
            raise ParameterError(
                f"{place}: no such headerlet: {self.hdrname or self.distname or self.number} "
                f"(there are: {', '.join(listed) or 'none'})"
            )
        return found

    def index(self, hdul: fits.HDUList) -> int:
        """Index of the one extension.

        Raises
        ------
        ParameterError
            When several fit.
        """
        found = self.indices(hdul)
        if len(found) > 1:
            there = headerlet_extensions(hdul)
            numbers = ", ".join(str(there.index(i) + 1) for i in found)
            place = str(hdul.filename() or "exposure")
            raise ParameterError(f"{place}: several headerlets fit ({numbers}); give the number of one")
        return found[0]


def attach(hdul: fits.HDUList, headerlet: Headerlet, *, compress: bool = False) -> None:
    """Append a headerlet as HDRLET extension.

    Raises
    ------
    ParameterError
        When it is for another exposure, or its HDRNAME is there already.
    """
    _require_target(hdul, headerlet)
    if _has_name(hdul, headerlet.hdrname):
        place = str(hdul.filename() or "exposure")
        raise ParameterError(
            f"{place}: a headerlet {headerlet.hdrname!r} is attached already; delete it or rename"
        )
    renumber(hdul)
    hdul.append(to_extension(headerlet, len(headerlet_extensions(hdul)) + 1, compress=compress))


def apply_as_primary(
    hdul: fits.HDUList,
    headerlet: Headerlet,
    *,
    attach_it: bool = True,
    archive: bool = True,
    force: bool = False,
) -> None:
    """Make the solution of a headerlet the primary WCS, with its distortion.

    Parameters
    ----------
    hdul : HDUList
        The exposure.
    headerlet : Headerlet
        The solution.
    attach_it : bool
        Append the headerlet, unless its HDRNAME is there already.
    archive : bool
        Keep the present primary WCS as a headerlet, and as an alternate where the distortion stays the same;
        where it does not, keep every alternate as a headerlet, because it would lose its meaning.
    force : bool
        Apply a headerlet with another distortion.

    Raises
    ------
    ParameterError
        When it is for another exposure, or has another distortion and `force` is false.
    WcsError
        When the result does not map pixels as the headerlet does.
    """
    _require_target(hdul, headerlet)
    place = str(hdul.filename() or "exposure")
    current = current_distname(hdul)
    is_same_model = current == headerlet.distname
    if not (is_same_model or force):
        raise ParameterError(
            f"{place}: its distortion is {current}, that of headerlet {headerlet.hdrname} is "
            f"{headerlet.distname}; force replaces the distortion too"
        )
    targets = _targets(hdul, headerlet)
    headers = [hdul[index].header for index, _sip in targets]
    record_solutions(hdul)
    if archive:
        _archive_all(hdul, headers, headerlet, is_same_model=is_same_model)
    if not is_same_model:
        for key in [k for k in alternates.wcs_names(headers[0], include_primary=False) if k != "O"]:
            alternates.delete(headers, key, place)
    _write_solution(hdul, headerlet, targets)
    verify(hdul, headerlet, targets)
    for index, _sip in targets:
        alternates.copy_to_companions(hdul, index)
    record_solutions(hdul, headerlet.descrip)
    if attach_it and not _has_name(hdul, headerlet.hdrname):
        attach(hdul, headerlet)
    renumber(hdul)


def apply_as_alternate(
    hdul: fits.HDUList,
    headerlet: Headerlet,
    *,
    key: str | None = None,
    name: str = "",
    attach_it: bool = True,
) -> str:
    """Add the solution of a headerlet as an alternate WCS.

    Parameters
    ----------
    hdul : HDUList
        The exposure.
    headerlet : Headerlet
        The solution; its distortion must be that of the exposure.
    key : str, optional
        A free key; by default the next one.
    name : str
        WCSNAME; by default that of the headerlet.
    attach_it : bool
        Append the headerlet, unless its HDRNAME is there already.

    Returns
    -------
    str
        The key.

    Raises
    ------
    ParameterError
        When it is for another exposure, has another distortion, or the key is taken.
    """
    _require_target(hdul, headerlet)
    place = str(hdul.filename() or "exposure")
    current = current_distname(hdul)
    if current != headerlet.distname:
        raise ParameterError(
            f"{place}: its distortion is {current}, that of headerlet {headerlet.hdrname} is "
            f"{headerlet.distname}; an alternate WCS shares the distortion: apply it as primary"
        )
    targets = _targets(hdul, headerlet)
    names = alternates.wcs_names(hdul[targets[0][0]].header, include_primary=False)
    if key is not None and key in names:
        raise ParameterError(f"{place}: the key {key} is taken ({names[key]}); give a free one")
    chosen = key or alternates.next_key(hdul[targets[0][0]].header)
    for index, sip in targets:
        header = hdul[index].header
        solution = headerlet.hdul[sip].header.copy()
        solution["HDRNAME"] = headerlet.hdrname
        alternates.write_alternate(header, chosen, name or headerlet.wcsname, solution)
    record_solutions(hdul, headerlet.descrip)
    if attach_it and not _has_name(hdul, headerlet.hdrname):
        attach(hdul, headerlet)
    return chosen


def restore_headerlet(
    hdul: fits.HDUList, selector: Selector, *, archive: bool = True, force: bool = False
) -> Headerlet:
    """Make an attached headerlet the primary WCS.

    A headerlet with another distortion needs `archive` or `force`.
    """
    headerlet = from_extension(hdul, selector.index(hdul))
    apply_as_primary(hdul, headerlet, attach_it=False, archive=archive, force=force or archive)
    return headerlet


def restore_all(
    hdul: fits.HDUList, distname: str, primary: str | int | None, *, archive: bool = True
) -> None:
    """Make one headerlet of a distortion model the primary WCS, and the others alternates.

    Parameters
    ----------
    hdul : HDUList
        The exposure.
    distname : str
        DISTNAME.
    primary : str, int, optional
        HDRNAME or number of the one that becomes primary; by default the first.
    archive : bool
        Whether the present primary WCS is kept.
    """
    found = Selector(distname=distname).indices(hdul)
    if primary is None:
        chosen = found[0]
    else:
        selector = Selector(number=primary) if isinstance(primary, int) else Selector(hdrname=primary)
        chosen = selector.index(hdul)
    if chosen not in found:
        place = str(hdul.filename() or "exposure")
        raise ParameterError(f"{place}: headerlet {primary} has not the distortion {distname}")
    first = from_extension(hdul, chosen)
    others = [from_extension(hdul, index) for index in found if index != chosen]
    apply_as_primary(hdul, first, attach_it=False, archive=archive, force=True)
    science = _targets(hdul, first)[0][0]
    for other in others:
        names = {name.upper() for name in alternates.wcs_names(hdul[science].header).values()}
        if other.wcsname.upper() not in names:
            apply_as_alternate(hdul, other, attach_it=False)


def archive_as_headerlet(
    hdul: fits.HDUList,
    hdrname: str,
    *,
    sciext: str = "SCI",
    wcskey: str | None = None,
    wcsname: str | None = None,
    text: HeaderletText | None = None,
) -> Headerlet:
    """Keep a WCS as an attached headerlet; HDRNAME must be new."""
    headerlet = create_headerlet(
        hdul, hdrname, sciext=sciext, wcskey=wcskey, wcsname=wcsname, text=text or HeaderletText()
    )
    attach(hdul, headerlet)
    record_solutions(hdul)
    return headerlet


def delete_headerlets(hdul: fits.HDUList, selector: Selector, *, keep_first: bool = False) -> list[str]:
    """Remove attached headerlets; the HDRNAMEs removed."""
    found = selector.indices(hdul)[1 if keep_first else 0 :]
    names = [_text(hdul[index].header, "HDRNAME") for index in found]
    for index in reversed(found):
        del hdul[index]
    renumber(hdul)
    return names


def verify(hdul: fits.HDUList, headerlet: Headerlet, targets: Sequence[tuple[int, int]]) -> None:
    """Compare the sky positions of a grid of pixels with those of the headerlet.

    Raises
    ------
    WcsError
        When they differ by more than 1e-9 degrees.
    """
    for index, sip in targets:
        place = str(hdul.filename() or "exposure")
        chip = f"{hdul[index].name.lower()},{hdul[index].ver}"
        applied = ChipWcs.from_hdulist(hdul, index, exposure=place, chip=chip)
        meant = ChipWcs.from_hdulist(headerlet.hdul, sip, exposure=headerlet.hdrname)
        ny, nx = applied.shape_yx
        x, y = np.meshgrid(np.linspace(0, nx - 1.0, _GRID_POINTS), np.linspace(0, ny - 1.0, _GRID_POINTS))
        ra, dec = applied.pixel_to_sky(x.ravel(), y.ravel())
        wanted = meant.pixel_to_sky(x.ravel(), y.ravel())
        apart = sky_to_plane(ra, dec, meant.crval_deg) - sky_to_plane(*wanted, meant.crval_deg)
        if not np.all(np.abs(apart) < _TOLERANCE_DEG):
            problem = f"headerlet {headerlet.hdrname} was applied but pixels map elsewhere"
            raise WcsError(place, problem, "restore the exposure and its headerlet", chip)


def _archive_all(
    hdul: fits.HDUList, headers: Sequence[fits.Header], headerlet: Headerlet, *, is_same_model: bool
) -> None:
    """Keep the primary WCS, and the alternates that would lose their distortion."""
    header = headers[0]
    name = str(header.get("WCSNAME", "")).strip()
    sciext = headerlet.targets[0][0]
    first = name or f"{_text(hdul[0].header, 'ROOTNAME')}_orig"
    wanted: dict[str | None, str] = {None: first}
    if not is_same_model:
        others = alternates.wcs_names(header, include_primary=False)
        wanted |= {key: other or f"{first}_{key}" for key, other in others.items() if key != "O"}
    for key, hdrname in wanted.items():
        if not _has_name(hdul, hdrname):
            attach(hdul, create_headerlet(hdul, hdrname, sciext=sciext, wcskey=key))
    names = {other.upper() for other in alternates.wcs_names(header, include_primary=False).values()}
    if is_same_model and name.upper() not in names | {headerlet.wcsname.upper()}:
        mode = ArchiveMode.OVERWRITE_KEY | ArchiveMode.AUTO_RENAME
        alternates.archive(headers, mode=mode, where=str(hdul.filename() or "exposure"))


def _write_solution(hdul: fits.HDUList, headerlet: Headerlet, targets: Sequence[tuple[int, int]]) -> None:
    """Replace primary WCS, distortion keywords and tables of the targets."""
    for index, sip in targets:
        header, source = hdul[index].header, headerlet.hdul[sip].header
        old = [i for i, card in enumerate(header.cards) if _is_replaced(card.keyword, source)]
        place = old[0] if old else len(header)
        for at in reversed(old):
            del header[at]
        cards = [fits.Card.fromstring(c.image) for c in source.cards if WCS_CARDS.match(c.keyword)]
        for offset, card in enumerate(cards):
            header.insert(place + offset, card)
        header.set("WCSNAME", headerlet.wcsname, "Coordinate system title")
        header.set("HDRNAME", headerlet.hdrname, "Headerlet of this WCS", after="WCSNAME")
        if "CD1_1" not in header:
            raise StructureError(headerlet.hdrname, "has no CD matrix", "restore the headerlet")
        alternates.set_orientation(header)
    chosen = {index for index, _sip in targets}
    kept = {
        version
        for index, hdu in enumerate(hdul)
        if index not in chosen and hdu.name not in _TABLES
        for version in table_versions(hdu.header)
    }
    new = [hdu for hdu in headerlet.hdul if hdu.name in _TABLES]
    for index in range(len(hdul) - 1, 0, -1):
        if hdul[index].name in _TABLES and (hdul[index].name, hdul[index].ver) not in kept:
            del hdul[index]
    hdul.extend([fits.ImageHDU(np.array(hdu.data), hdu.header.copy()) for hdu in new])
    primary = headerlet.hdul[0].header
    for keyword in _FROM_HEADERLET:
        if keyword in primary:
            hdul[0].header[keyword] = primary[keyword]


def _is_replaced(keyword: str, source: fits.Header) -> bool:
    """Whether a card of the exposure goes when a headerlet is applied."""
    # Headerlets of stwcs leave out facts of the aperture and of the pointing, which stay true.
    return bool(WCS_CARDS.match(keyword)) and (keyword in source or not _FACTS.match(keyword))


def _targets(hdul: fits.HDUList, headerlet: Headerlet) -> list[tuple[int, int]]:
    """Index of each target extension and of its SIPWCS extension."""
    found = []
    for extname, extver, sip in headerlet.targets:
        try:
            index = 0 if extname == "PRIMARY" else int(hdul.index_of((extname, extver)))
        except KeyError as error:
            problem = f"has no extension {extname},{extver}, which headerlet {headerlet.hdrname} is for"
            place = str(hdul.filename() or "exposure")
            raise StructureError(place, problem, "use a headerlet made of this exposure") from error
        found.append((index, sip))
    return found


def _require_target(hdul: fits.HDUList, headerlet: Headerlet) -> None:
    """Refuse a headerlet made for another exposure."""
    rootname = _text(hdul[0].header, "ROOTNAME")
    if headerlet.destim != rootname:
        place = str(hdul.filename() or "exposure")
        raise ParameterError(
            f"{place}: headerlet {headerlet.hdrname!r} is for {headerlet.destim!r}, this is {rootname!r}"
        )


def _has_name(hdul: fits.HDUList, hdrname: str) -> bool:
    """Whether a headerlet of that name is attached."""
    there = headerlet_extensions(hdul)
    return hdrname.upper() in {_text(hdul[index].header, "HDRNAME").upper() for index in there}


def _text(header: fits.Header, keyword: str) -> str:
    """Value of a keyword as text without blanks around it."""
    return str(header.get(keyword, "")).strip()


def find_solution(hdul: fits.HDUList, name: str, science: int) -> str | Headerlet:
    """Key of the WCS of that name, or the attached headerlet of that HDRNAME or WCSNAME.

    Raises
    ------
    ParameterError
        When there is none, or several headerlets have that WCSNAME and none that HDRNAME; all are listed.
    """
    header = hdul[science].header
    names = alternates.wcs_names(header)
    if name.upper() in {other.upper() for other in names.values()}:
        return find_key(header, name=name)
    there = {index: hdul[index].header for index in headerlet_extensions(hdul)}
    for keyword in ("HDRNAME", "WCSNAME"):
        found = [i for i, h in there.items() if _text(h, keyword).upper() == name.strip().upper()]
        if len(found) == 1:
            return from_extension(hdul, found[0])
    listed = [f"{key.strip() or 'primary'} ({other or 'no name'})" for key, other in names.items()]
    listed += [f"headerlet {_text(h, 'HDRNAME')} ({_text(h, 'WCSNAME')})" for h in there.values()]
    place = str(hdul.filename() or "exposure")
    raise ParameterError(f"{place}: no single WCS called {name!r} (there are: {', '.join(listed)})")
