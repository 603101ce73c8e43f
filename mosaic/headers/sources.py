"""Where the headers of the chips of a product come from, and what a run puts in their place.

Covers reading them file by file, with the sky, the WCS and the numbers that the run used. Does not cover
blending them (`mosaic.headers.blend`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from astropy.io import fits

from mosaic.exposure.alternate_wcs import resolve_key
from mosaic.exposure.header_texts import card_value, header_texts
from mosaic.exposure.instruments.traits import input_traits
from mosaic.geometry.correction import LinearWcs
from mosaic.geometry.wcs import ChipWcs, with_alternate
from mosaic.headers import keywords as kw
from mosaic.headers.blend import ChipHeaders


@dataclass(frozen=True, slots=True)
class HeaderSource:
    """Where the headers of one chip are."""

    path: str
    """The exposure."""
    sci: int
    """Index of its SCI extension in the file."""
    err: int | None = None
    """Index of its ERR extension, if any."""
    dq: int | None = None
    """Index of its DQ extension, if any."""
    sky: float | None = None
    """Sky of the chip as this run found it, native units: takes the place of its MDRIZSKY."""
    extver: int | None = None
    """EXTVER that its extensions go by, where the file has another one."""
    wcskey: str = ""
    """Alternate WCS that was used, by key or name: takes the place of the primary."""
    solution: ChipWcs | None = None
    """WCS that an alignment found: its linear terms and name take the place of those of the file."""


class HeaderReader(Sequence[ChipHeaders]):
    """The headers of chips, read when they are asked for; those of one file at a time are held.

    Parameters
    ----------
    sources : sequence of HeaderSource
        Where they are; chips of one file should follow each other.
    """

    def __init__(self, sources: Sequence[HeaderSource]) -> None:
        self._sources = sources
        self._held: tuple[str, dict[int, fits.Header]] = ("", {})

    def __len__(self) -> int:
        return len(self._sources)

    @overload
    def __getitem__(self, index: int) -> ChipHeaders: ...
    @overload
    def __getitem__(self, index: slice) -> HeaderReader: ...
    def __getitem__(self, index: int | slice) -> ChipHeaders | HeaderReader:
        """Return the headers of a chip; SCI stands in for a missing ERR or DQ."""
        if isinstance(index, slice):
            return HeaderReader(self._sources[index])
        source = self._sources[index]
        headers = self._read_file(source.path)
        sci = headers[source.sci]
        if source.sky is not None:
            sci = sci.copy()
            sci["MDRIZSKY"] = (source.sky, "Sky value computed by AstroDrizzle")
        if key := resolve_key(sci, source.wcskey, source.path, f"extension {source.sci}"):
            sci = with_alternate(sci, key)
        if source.solution is not None:
            sci = _with_solution(sci, source.solution)
        err = sci if source.err is None else headers[source.err]
        dq = sci if source.dq is None else headers[source.dq]
        if source.extver is not None:
            sci, err, dq = (_numbered(header, source.extver) for header in (sci, err, dq))
        return ChipHeaders(_with_times(headers[0], sci), sci, err, dq)

    def _read_file(self, path: str) -> dict[int, fits.Header]:
        """Return all headers of a file that any chip needs."""
        if self._held[0] != path:
            wanted = {0}
            for source in self._sources:
                if source.path == path:
                    wanted |= {index for index in (source.sci, source.err, source.dq) if index is not None}
            texts = header_texts(path)
            self._held = (path, {index: fits.Header.fromstring(texts[index]) for index in wanted})
        return self._held[1]


def _numbered(header: fits.Header, extver: int) -> fits.Header:
    header = header.copy()
    header["EXTVER"] = extver
    return header


def _with_solution(header: fits.Header, wcs: ChipWcs) -> fits.Header:
    header = header.copy()
    header["CRVAL1"], header["CRVAL2"] = wcs.crval_deg
    (header["CD1_1"], header["CD1_2"]), (header["CD2_1"], header["CD2_2"]) = wcs.cd
    header["ORIENTAT"] = LinearWcs(wcs.crpix_xy, wcs.crval_deg, wcs.cd).orientat_deg
    header["WCSNAME"] = wcs.wcsname
    header["WCSTYPE"] = kw.describe_wcsname(wcs.wcsname)
    return header


def _with_times(primary: fits.Header, sci: fits.Header) -> fits.Header:
    """Return the primary header with the times of the exposure, which some instruments keep with SCI."""
    if not input_traits(str(primary.get("INSTRUME", "")).strip().upper()).is_timed_by_chip:
        return primary
    primary = primary.copy()
    for keyword in ("DATE-OBS", "EXPSTART", "EXPEND", "EXPTIME"):
        if keyword in sci:
            primary[keyword] = (sci[keyword], sci.comments[keyword])
    return primary


def extension_places(path: str) -> dict[tuple[str, int], int]:
    """Return where the extensions of a file are: (EXTNAME in upper case, EXTVER) -> index."""
    names = ((card_value(text, "EXTNAME"), card_value(text, "EXTVER")) for text in header_texts(path))
    return {
        (str(name or "").strip().upper(), version if isinstance(version, int) else 1): index
        for index, (name, version) in enumerate(names)
    }
