"""Keywords that drizzling writes and removes: output WCS, Dnnn records, alternate WCS, distortion.

Covers changes to one header in place, given plain facts. Does not cover which header belongs where
(`mosaic.headers.product`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, TypeAlias

from astropy.io import fits

from mosaic.types import ShapeYX

CardValue: TypeAlias = str | bool | int | float

STRUCTURE_KEYWORDS = frozenset(
    {
        *("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "EXTEND", "PCOUNT", "GCOUNT", "GROUPS", "END"),
        *("BSCALE", "BZERO", "CHECKSUM", "DATASUM", "NPIX1", "NPIX2", "PIXVALUE"),
        *(f"NAXIS{axis}" for axis in range(1, 10)),
    }
)
"""Cards that describe how pixels are stored: the writer makes its own."""

_DISTORTION = re.compile(
    r"[AB]_.*|IDC(?!TAB$).*|SCD.*|SCTYPE.*|SCRVAL.*|SNAXIS.*|SCRPIX.*|CP.*|DP.*"
    r"|D2IM(?!FILE$).*|TDDALPHA|TDDBETA|TDD_C.*|NPOLEXT|DGEOEXT"
)
_LOOKUP_TABLES = re.compile(r"C(PDIS|PERR)\d|DP\d.*|DQ\d.*|D2IM(?!FILE$).*|NPOLEXT|DGEOEXT")
_ALTERNATE = re.compile(
    r"(CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CNAME|CRDER|CSYER|CROTA)\d[A-Z]"
    r"|(CD|PC|PV|PS)\d+_\d+[A-Z]"
    r"|(WCSNAME|WCSTYPE|WCSAXES|LONPOLE|LATPOLE|RADESYS|EQUINOX|ORIENT|VELOSYS|SPECSYS|HDRNAME|RMS_RA|RMS_DEC|NMATCH)[A-Z]"
    r"|O(CD\d_\d|CRPIX\d|CRVAL\d|CTYPE\d|NAXIS\d|ORIENTA|CX1[01]|CY1[01])"
)
_WCS_COMMENTS: Mapping[str, str] = MappingProxyType(
    {
        "CD1_1": "partial of first axis coordinate w.r.t. x",
        "CD1_2": "partial of first axis coordinate w.r.t. y",
        "CD2_1": "partial of second axis coordinate w.r.t. x",
        "CD2_2": "partial of second axis coordinate w.r.t. y",
        "CRVAL1": "first axis value at reference pixel",
        "CRVAL2": "second axis value at reference pixel",
        "CRPIX1": "x-coordinate of reference pixel",
        "CRPIX2": "y-coordinate of reference pixel",
        "CTYPE1": "the coordinate type for the first axis",
        "CTYPE2": "the coordinate type for the second axis",
        "ORIENTAT": "position angle of image y axis (deg. e of n)",
        "VAFACTOR": "velocity aberration plate scale factor",
        "WCSNAME": "name of the coordinate system",
        "WCSTYPE": "what the coordinate system is based on",
    }
)


class Grid(Protocol):
    """What the headers need to know of an output grid (`mosaic.geometry.grid.OutputGrid`)."""

    @property
    def shape_yx(self) -> ShapeYX:
        """Rows and columns."""

    @property
    def crpix_xy(self) -> tuple[float, float]:
        """Reference pixel, 1-based."""

    @property
    def crval_deg(self) -> tuple[float, float]:
        """Right ascension and declination of the reference pixel."""

    @property
    def cd(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """CD matrix, degrees per pixel."""

    @property
    def wcsname(self) -> str:
        """WCSNAME."""

    @property
    def scale_arcsec(self) -> float:
        """Pixel scale."""

    @property
    def orientat_deg(self) -> float:
        """Position angle of +y, degrees east of north."""


class ChipRecord(Protocol):
    """What the Dnnn keywords say of one drizzled chip."""

    @property
    def data(self) -> str:
        """``file[sci,n]``."""

    @property
    def exptime_s(self) -> float:
        """Exposure time."""

    @property
    def weight_scale(self) -> float:
        """Factor on the input weights."""

    @property
    def kernel(self) -> str:
        """Drizzle kernel."""

    @property
    def pixfrac(self) -> float:
        """Drop size, input pixels."""

    @property
    def fill_value(self) -> float | None:
        """Value of pixels without weight; None leaves them untouched."""

    @property
    def idcscale_arcsec(self) -> float:
        """Natural pixel scale of the chip."""

    @property
    def mask(self) -> str:
        """Name of the input weight map."""

    @property
    def wcskey(self) -> str:
        """Key of the input WCS that was used."""


def describe_wcsname(wcsname: str) -> str:
    """Return what a WCSNAME means, for WCSTYPE.

    The name is ``<base>[-<solution>]``: base IDC… is an undistorted frame, OPUS the pipeline's; the
    solution is a catalogue (a priori) or ``FIT_<method>_<catalogue>`` (a posteriori).
    """
    base, _, solution = wcsname.upper().partition("-")
    bases = {"IDC": "undistorted ", "OPU": "pipeline default "}
    methods = {
        "REL": "relatively aligned to",
        "IMG": "aligned image-by-image to",
        "EVM": "aligned by visit-exposures to",
        "SVM": "aligned by visit to",
    }
    if base[:3] not in bases:
        return "user-defined"
    solution = solution.partition("-")[0]
    if not solution:
        return bases[base[:3]] + "not aligned"
    if "FIT" not in solution:
        return f"{bases[base[:3]]}a priori solution based on {solution}"
    _, method, catalogue, *_ = [*solution.split("_"), "", ""]
    how = f"{methods.get(method, 'aligned to')} {catalogue}".strip()
    return f"{bases[base[:3]]}a posteriori solution {how}"


def set_value(header: fits.Header, keyword: str, value: CardValue, comment: str = "") -> None:
    """Set a keyword; its comment (or that of the card that was there) is cut to what fits."""
    comment = comment or (header.comments[keyword] if keyword in header else "")
    card = fitting_card(keyword, value, comment)
    header[card.keyword if len(keyword) <= 8 else f"HIERARCH {keyword}"] = (value, card.comment)


def fitting_card(keyword: str, value: CardValue, comment: str) -> fits.Card:
    """Return a card whose comment is cut to what fits.

    astropy would cut it too, with a warning at the time of writing. A keyword of more than 8 characters
    needs the HIERARCH convention, said openly to astropy.
    """
    name = keyword if len(keyword) <= 8 else f"HIERARCH {keyword}"
    used = max(30, len(fits.Card(name, value).image.rstrip()))
    is_single_card = used <= 80
    return fits.Card(name, value, comment[: max(0, 77 - used)] if is_single_card else comment)


def set_in_order(
    header: fits.Header, keyword: str, value: CardValue, comment: str, templates: Iterable[fits.Header]
) -> None:
    """Set a keyword; when it is new, put it where the first template that has it had it.

    Parameters
    ----------
    header : Header
        Changed in place.
    keyword, value, comment
        The card; an existing card keeps its own comment when `comment` is empty.
    templates : iterable of Header
        Headers in which to look for the place; when none has the keyword the card goes to the end.
    """
    if keyword not in header:
        for template in templates:
            if keyword in template:
                before = list(template.keys())[: template.index(keyword)]
                anchor = next((key for key in reversed(before) if key and key in header), None)
                if anchor is not None and anchor not in {"HISTORY", "COMMENT"}:
                    header.insert(anchor, (keyword, value), after=True)
                break
    set_value(header, keyword, value, comment)


def set_wcs(header: fits.Header, grid: Grid, templates: Iterable[fits.Header] = ()) -> None:
    """Write the WCS of the grid: TAN, no distortion, no velocity aberration."""
    cd = grid.cd
    values: dict[str, CardValue] = {
        "CD1_1": cd[0][0],
        "CD1_2": cd[0][1],
        "CD2_1": cd[1][0],
        "CD2_2": cd[1][1],
        "CRVAL1": grid.crval_deg[0],
        "CRVAL2": grid.crval_deg[1],
        "CRPIX1": grid.crpix_xy[0],
        "CRPIX2": grid.crpix_xy[1],
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "ORIENTAT": grid.orientat_deg,
        "VAFACTOR": 1.0,
    }
    if grid.wcsname:
        values["WCSNAME"] = grid.wcsname
        values["WCSTYPE"] = describe_wcsname(grid.wcsname)
    templates = tuple(templates)
    for keyword, value in values.items():
        number = float(value) if isinstance(value, float | int) else value
        comment = "" if keyword in header and header.comments[keyword] else _WCS_COMMENTS[keyword]
        set_in_order(header, keyword, number, comment, templates)


def remove_distortion(header: fits.Header) -> None:
    """Remove SIP, look-up table, time-dependent and reference-frame keywords: the product has none."""
    for axis in ("CTYPE1", "CTYPE2"):
        value = header.get(axis)
        if isinstance(value, str) and value.endswith("-SIP"):
            header[axis] = value.removesuffix("-SIP")
    _remove(header, _DISTORTION)


def remove_lookup_tables(header: fits.Header) -> None:
    """Remove what refers to look-up tables of the distortion in other extensions; SIP stays."""
    _remove(header, _LOOKUP_TABLES)


def remove_alternate_wcs(header: fits.Header) -> None:
    """Remove every alternate WCS (keys A to Z) and the original pipeline WCS (O keywords)."""
    _remove(header, _ALTERNATE)


def _remove(header: fits.Header, pattern: re.Pattern[str]) -> None:
    """Remove all cards whose keyword matches, record-valued ones (``DP1.EXTVER``) included."""
    for position in reversed(range(len(header.cards))):
        if pattern.fullmatch(header.cards[position].keyword):
            del header[position]


def remove_structure(header: fits.Header) -> None:
    """Remove the cards that describe the storage of pixels."""
    for keyword in STRUCTURE_KEYWORDS:
        header.remove(keyword, ignore_missing=True, remove_all=True)


def append_missing(header: fits.Header, extension: fits.Header) -> None:
    """Append the cards of an extension that the header lacks, as a simple file needs both in one."""
    present = set(header.keys())
    for card in extension.cards:
        if card.keyword not in present and card.keyword not in {
            "EXTNAME",
            "EXTVER",
            "",
            "COMMENT",
            "HISTORY",
        }:
            header.append(card)


def set_drizzle_records(
    header: fits.Header, chips: Sequence[ChipRecord], common: Mapping[str, CardValue]
) -> None:
    """Write the Dnnn keywords: one set per chip, numbered from 1.

    Parameters
    ----------
    header : Header
        Changed in place.
    chips : sequence of ChipRecord
        In drizzle order: the number is the one of the context image.
    common : mapping
        What all sets share: ``VER``, ``OUDA``, ``OUWE``, ``OUCO``, ``OUUN``, ``SCAL``.
    """
    for number, chip in enumerate(chips, start=1):
        fill = "INDEF" if chip.fill_value is None else float(chip.fill_value)
        records: dict[str, tuple[CardValue, str]] = {
            "VER": (common["VER"], "Drizzle, task version"),
            "GEOM": ("wcs", "Drizzle, source of geometric information"),
            "DATA": (chip.data, "Drizzle, input data image"),
            "DEXP": (chip.exptime_s, "Drizzle, input image exposure time (s)"),
            "OUDA": (common["OUDA"], "Drizzle, output data image"),
            "OUWE": (common["OUWE"], "Drizzle, output weighting image"),
            "OUCO": (common["OUCO"], "Drizzle, output context image"),
            "MASK": (chip.mask, "Drizzle, input weighting image"),
            "WTSC": (chip.weight_scale, "Drizzle, weighting factor for input image"),
            "KERN": (chip.kernel, "Drizzle, form of weight distribution kernel"),
            "PIXF": (chip.pixfrac, "Drizzle, linear size of drop"),
            "COEF": ("SIP", "Drizzle, source of coefficients"),
            "OUUN": (common["OUUN"], "Drizzle, units of output image - counts or cps"),
            "FVAL": (fill, "Drizzle, fill value for zero weight output pix"),
            "WKEY": (chip.wcskey, "Input image WCS Version used"),
            "SCAL": (common["SCAL"], "Drizzle, pixel size (arcsec) of output image"),
            "ISCL": (chip.idcscale_arcsec, "Drizzle, default IDCTAB pixel size(arcsec)"),
        }
        for name, card in records.items():
            # At the very end: anywhere else astropy renumbers all cards, too slow for thousands of chips.
            header.append(fitting_card(f"D{number:03d}{name}", *card), end=True)
