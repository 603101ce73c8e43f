"""Headerlets: one WCS solution of an exposure as a FITS file of its own, or inside the exposure (HDRLET).

Covers making them from the primary or an alternate WCS, reading them, and the HDRLET extension byte by
byte: its data are the headerlet file, whole or compressed. Keywords are copied as they stand, so nothing is
rounded. Does not cover applying them (`mosaic.solutions.apply`).
"""

from __future__ import annotations

import gzip
import io
import re
import textwrap
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy import __version__ as astropy_version
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from mosaic.errors import MissingFileError, ParameterError, StructureError
from mosaic.geometry.wcs import with_alternate
from mosaic.products.partial import BLOCK
from mosaic.solutions.alternates import find_key, set_orientation
from mosaic.solutions.distortion import DistortionNames, distortion_names
from mosaic.solutions.editing import science_indices

HDRLET: Final = "HDRLET"
"""EXTNAME and XTENSION of a headerlet within an exposure."""
REQUIRED: Final = ("DESTIM", "HDRNAME", "UPWCSVER")
"""Keywords without which a file is no headerlet."""
SUMMARY_KEYWORDS: Final = ("HDRNAME", "WCSNAME", "DISTNAME", "SIPNAME", "NPOLFILE", "D2IMFILE")
"""Columns of a summary."""
WCS_CARDS: Final = re.compile(
    r"(WCSAXES|CRPIX\d|CRVAL\d|CTYPE\d|CUNIT\d|CD\d_\d|PC\d_\d|CDELT\d|CRDER\d|LONPOLE|LATPOLE|RADESYS|EQUINOX"
    r"|MJDREF|WCSNAME|WCSTYPE|FITNAME|NMATCH|RMS_RA|RMS_DEC|HDRNAME|CATALOG|VAFACTOR|ORIENTAT"
    r"|[AB]P?_(ORDER|DMAX|\d+_\d+)|D2IMDIS\d|D2IM\d(\..*)?|D2IMERR\d|D2IMEXT|CPDIS\d|DP\d(\..*)?|CPERR\d|NPOLEXT"
    r"|OC[XY]1[01]|IDC(SCALE|THETA|XREF|YREF|V2REF|V3REF)|TDD\w+)$"
)
"""Keywords of an extension that belong to its WCS and distortion."""
_GZIP_MAGIC: Final = b"\x1f\x8b"
_TAR_MAGIC: Final = slice(257, 262)


@dataclass(frozen=True, slots=True)
class HeaderletText:
    """What the maker of a headerlet says about it."""

    author: str = ""
    descrip: str = ""
    history: str = ""
    """Text of the HISTORY cards."""
    nmatch: int | None = None
    """Matched sources; by default NMATCH of the WCS."""
    catalog: str = ""
    """Reference catalogue; by default CATALOG of the WCS."""


@dataclass(frozen=True, slots=True, eq=False)
class Headerlet:
    """A headerlet in memory."""

    hdul: fits.HDUList

    def __getattr__(self, name: str) -> str:
        """Value of a keyword of the primary header by its name in lower case: ``hdrname``, ``distname``."""
        if name.startswith("_"):
            raise AttributeError(name)
        return str(self.hdul[0].header.get(name.upper(), "")).strip()

    @property
    def targets(self) -> list[tuple[str, int, int]]:
        """EXTNAME and EXTVER of each extension it is for, and the index of the SIPWCS extension."""
        return [
            (str(hdu.header["TG_ENAME"]).strip(), int(hdu.header["TG_EVER"]), index)
            for index, hdu in enumerate(self.hdul)
            if hdu.name == "SIPWCS"
        ]

    def tobytes(self) -> bytes:
        """The headerlet file."""
        buffer = io.BytesIO()
        self.hdul.writeto(buffer, output_verify="ignore")
        return buffer.getvalue()


def read_headerlet(path: str | Path) -> Headerlet:
    """Read a headerlet file.

    Raises
    ------
    MissingFileError, StructureError
        When it cannot be read or is no headerlet.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise MissingFileError(str(path), problem, "correct the name of the headerlet") from error
    return headerlet_from_bytes(data, str(path))


def headerlet_from_bytes(data: bytes, place: str) -> Headerlet:
    """Read a headerlet from the bytes of its file; compressed ones are unpacked.

    Raises
    ------
    StructureError
        When it is not FITS, lacks required keywords or has no SIPWCS extension.
    """
    remedy = "restore it or take another headerlet"
    if data[:2] == _GZIP_MAGIC:
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise StructureError(place, f"cannot be uncompressed ({error})", remedy) from error
    if data[_TAR_MAGIC] == b"ustar":
        problem = "is a tar archive, as written by very old software"
        raise StructureError(place, problem, "unpack it with tar and apply the file inside")
    if not data.startswith(b"SIMPLE"):
        raise StructureError(place, "is not FITS", remedy)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", AstropyWarning)
            hdul = fits.open(io.BytesIO(data), memmap=False)
            # Opening reads the headers one by one; this reads them all.
            len(hdul)
    except (OSError, ValueError, TypeError, AstropyWarning) as error:
        raise StructureError(place, f"is damaged ({' '.join(str(error).split())})", remedy) from error
    absent = [name for name in REQUIRED if name not in hdul[0].header]
    if absent:
        raise StructureError(place, f"is no headerlet: {', '.join(absent)} absent", remedy)
    headerlet = Headerlet(hdul)
    if not any(hdu.name == "SIPWCS" for hdu in hdul):
        raise StructureError(place, "is no headerlet: no SIPWCS extension", remedy)
    there = {(hdu.name, hdu.ver) for hdu in hdul}
    for _extname, _extver, index in headerlet.targets:
        for extname, extver in table_versions(hdul[index].header):
            if (extname, extver) not in there:
                problem = f"lacks the distortion table {extname},{extver}"
                raise StructureError(place, problem, remedy)
    return headerlet


def create_headerlet(
    hdul: fits.HDUList,
    hdrname: str = "",
    *,
    sciext: str = "SCI",
    wcskey: str | None = None,
    wcsname: str | None = None,
    destim: str = "",
    names: DistortionNames | None = None,
    text: HeaderletText | None = None,
) -> Headerlet:
    """Make a headerlet of the primary WCS, or of an alternate one.

    Parameters
    ----------
    hdul : HDUList
        The exposure.
    hdrname : str
        HDRNAME; by default that of the WCS, or its WCSNAME.
    sciext : str
        EXTNAME of the extensions.
    wcskey, wcsname : str, optional
        The WCS; by default the primary one.
    destim : str
        DESTIM; by default ROOTNAME.
    names : DistortionNames, optional
        Names of the distortion; by default those the exposure has.
    text : HeaderletText, optional
        Author and so on.

    Raises
    ------
    ParameterError
        When there is no such WCS, or neither HDRNAME nor WCSNAME.
    StructureError
        When there are no such extensions, or a table of the distortion is missing.
    """
    place = str(hdul.filename() or "exposure")
    indices = science_indices(hdul, sciext, path=place)
    first = hdul[indices[0]].header
    key = " " if wcskey is None and not wcsname else find_key(first, key=wcskey, name=wcsname, where=place)
    headers = [_solution_header(hdul[index].header, key.strip(), place) for index in indices]
    name = str(headers[0].get("WCSNAME", "")).strip()
    hdrname = hdrname or str(headers[0].get("HDRNAME", "")).strip() or name
    if not hdrname:
        raise ParameterError(f"{place}: the WCS has neither HDRNAME nor WCSNAME; give an HDRNAME")
    primary = _primary_header(
        hdul, headers[0], hdrname, destim, names or distortion_names(hdul), text or HeaderletText()
    )
    made = fits.HDUList([fits.PrimaryHDU(header=primary)])
    for index, header in zip(indices, headers, strict=True):
        source = hdul[index]
        cards = [fits.Card.fromstring(c.image) for c in header.cards if WCS_CARDS.match(c.keyword)]
        sip = fits.ImageHDU(header=fits.Header(cards), name="SIPWCS")
        sip.header["TG_ENAME"] = (source.name or "PRIMARY", "Target science data extname")
        sip.header["TG_EVER"] = (int(source.ver), "Target science data extver")
        sip.ver = int(source.ver)
        made.append(sip)
        for extname, extver in table_versions(header):
            made.append(_copy_table(hdul, extname, extver, place))
    made[0].header["NEXTEND"] = (len(made) - 1, "number of extensions")
    return Headerlet(made)


def to_extension(headerlet: Headerlet, extver: int, *, compress: bool = False) -> Any:  # noqa: ANN401  (astropy's HDU)
    """HDRLET extension that holds a headerlet.

    Parameters
    ----------
    headerlet : Headerlet
        The headerlet.
    extver : int
        EXTVER: its number within the exposure.
    compress : bool
        Whether the headerlet file is gzip-compressed.
    """
    raw = headerlet.tobytes()
    payload = gzip.compress(raw, mtime=0) if compress else raw
    header = fits.Header()
    header["XTENSION"] = (HDRLET, "FITS extension")
    header["BITPIX"] = (8, "array data type")
    header["NAXIS"] = (1, "number of array dimensions")
    header["NAXIS1"] = (-(-len(payload) // BLOCK) * BLOCK, "Axis length")
    header["PCOUNT"] = (0, "number of parameters")
    header["GCOUNT"] = (1, "number of groups")
    with fits.open(io.BytesIO(raw)) as written:
        starts = [hdu.fileinfo()["hdrLoc"] for hdu in written]
    for number, start in enumerate(starts[1:], 1):
        header[f"XIND{number}"] = (start, f"byte offset of extension {number}")
    header["COMPRESS"] = (compress, "Uses gzip compression")
    primary = headerlet.hdul[0].header
    for keyword in ("HDRNAME", "DATE", "SIPNAME", "WCSNAME", "DISTNAME", "NPOLFILE", "D2IMFILE"):
        header[keyword] = (primary.get(keyword, ""), primary.comments[keyword] if keyword in primary else "")
    header["EXTNAME"] = (HDRLET, "Extension name")
    header["EXTVER"] = (extver, "Extension version")
    block = header.tostring().encode("ascii") + payload.ljust(int(header["NAXIS1"]), b"\0")
    return fits.hdu.base.NonstandardExtHDU.fromstring(block)


def headerlet_extensions(hdul: fits.HDUList) -> list[int]:
    """Indices of the HDRLET extensions, numbered by their order (their EXTVER may be wrong or absent)."""
    return [index for index, hdu in enumerate(hdul) if index and _is_headerlet(hdu)]


def from_extension(hdul: fits.HDUList, index: int) -> Headerlet:
    """Headerlet of an HDRLET extension.

    Raises
    ------
    StructureError
        When it cannot be read.
    """
    data = hdul[index].data
    raw = data if isinstance(data, bytes) else np.asarray(data, dtype=np.uint8).tobytes()
    return headerlet_from_bytes(raw, f"{hdul.filename() or 'exposure'}[{index}]")


def renumber(hdul: fits.HDUList) -> None:
    """Give HDRLET extensions their running number as EXTVER."""
    for number, index in enumerate(headerlet_extensions(hdul), 1):
        if hdul[index].header.get("EXTVER") != number:
            hdul[index].header["EXTVER"] = (number, "Extension version")


def table_versions(header: fits.Header) -> Iterator[tuple[str, int]]:
    """EXTNAME and EXTVER of the distortion tables that a header names."""
    for extname, kind, record in (("WCSDVARR", "CPDIS", "DP"), ("D2IMARR", "D2IMDIS", "D2IM")):
        for axis in (1, 2):
            if f"{kind}{axis}" in header and f"{record}{axis}.EXTVER" in header:
                yield extname, int(header[f"{record}{axis}.EXTVER"])


def _is_headerlet(hdu: Any) -> bool:  # noqa: ANN401  (astropy's HDU)
    kind = str(hdu.header.get("XTENSION", "")).strip()
    return kind == HDRLET or str(hdu.header.get("EXTNAME", "")).strip() == HDRLET


def _solution_header(header: fits.Header, key: str, place: str) -> fits.Header:
    """Header in which the wanted WCS is the primary one, with a CD matrix and ORIENTAT."""
    if "CRVAL1" not in header:
        raise StructureError(place, "has no WCS (CRVAL1 absent)", "restore the file")
    if key and f"CRVAL1{key}" not in header:
        raise ParameterError(f"{place}: the WCS {key} is not in every extension; choose another")
    solution = with_alternate(header, key) if key or "CD1_1" not in header else header.copy()
    set_orientation(solution)
    return solution


def _primary_header(
    hdul: fits.HDUList,
    solution: fits.Header,
    hdrname: str,
    destim: str,
    names: DistortionNames,
    text: HeaderletText,
) -> fits.Header:
    """Primary header of a headerlet."""
    source = hdul[0].header
    nmatch = text.nmatch if text.nmatch is not None else solution.get("NMATCH", 0)
    destim = destim or str(source.get("ROOTNAME", "")).strip() or Path(str(hdul.filename() or "")).stem
    header = fits.Header()
    for keyword, value, comment in (
        ("DESTIM", destim, "Destination observation root name"),
        ("HDRNAME", hdrname, "Headerlet name"),
        ("DATE", f"{datetime.now(tz=UTC):%Y-%m-%dT%H:%M:%S}", "Date FITS file was generated"),
        ("WCSNAME", str(solution.get("WCSNAME", "")).strip() or hdrname, "Coordinate system title"),
        ("DISTNAME", names.distname, "Distortion model name"),
        ("SIPNAME", names.sipname, "Origin of the SIP polynomials"),
        ("NPOLFILE", names.npolfile, "Origin of the non-polynomial correction"),
        ("D2IMFILE", names.d2imfile, "Origin of the detector-to-image correction"),
        ("IDCTAB", names.idctab, "Origin of the polynomial distortion"),
        ("AUTHOR", text.author, "Who made this headerlet"),
        ("DESCRIP", text.descrip, "Short description of the solution"),
        ("RMS_RA", solution.get("CRDER1", 0), "RMS in RA at the reference pixel, deg"),
        ("RMS_DEC", solution.get("CRDER2", 0), "RMS in Dec at the reference pixel, deg"),
        ("NMATCH", nmatch, "Number of sources used for the solution"),
        ("CATALOG", text.catalog or solution.get("CATALOG", ""), "Astrometric catalog of the solution"),
        ("UPWCSVER", source.get("UPWCSVER", ""), "Version of STWCS that updated the WCS"),
        ("PYWCSVER", source.get("PYWCSVER", astropy_version), "Version of PYWCS that updated the WCS"),
    ):
        header[keyword] = (value, comment)
    for line in textwrap.wrap(text.history, width=70):
        header.add_history(line)
    return header


def _copy_table(hdul: fits.HDUList, extname: str, extver: int, place: str) -> fits.ImageHDU:
    """Copy a distortion table."""
    for hdu in hdul:
        if hdu.name == extname and hdu.ver == extver:
            return fits.ImageHDU(np.array(hdu.data), hdu.header.copy())
    problem = f"names the distortion table {extname},{extver}, which is not there"
    raise StructureError(place, problem, "restore the file")
