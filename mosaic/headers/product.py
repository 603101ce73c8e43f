"""Headers of the products: blended headers of the inputs plus what drizzling knows.

Covers PRIMARY, SCI, WHT, CTX, ERR and HDRTAB of a final product, the two headers of a separate drizzle,
and small headers for the intermediates. Does not cover pixels, nor the cards that describe how they are
stored (`mosaic.products.fits` adds them).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, overload

from astropy.io import fits

from mosaic.exposure.instruments.traits import input_traits
from mosaic.headers import keywords as kw
from mosaic.headers.blend import BlendedHeaders, ChipHeaders, blend_headers
from mosaic.headers.rulesets import RuleSet
from mosaic.products.naming import ExposureNames, ProductKind, ProductNames

_CHIP_WCS = re.compile(
    r"WCSAXES|WCSNAME|CRPIX\d|CRVAL\d|CTYPE\d|CUNIT\d|CD\d_\d|LONPOLE|LATPOLE|RADESYS|EQUINOX"
    r"|ORIENTAT|VAFACTOR|[AB]_(ORDER|DMAX|\d_\d)|LT[VM].*|CCDCHIP|EXPNAME"
)


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


@dataclass(frozen=True, slots=True)
class ChipFacts:
    """How one chip was drizzled."""

    source: HeaderSource
    """Its headers."""
    data: str
    """``file[sci,n]``, for DnnnDATA."""
    exptime_s: float
    """Exposure time used."""
    weight_scale: float
    """Factor on the input weights."""
    kernel: str
    """Drizzle kernel."""
    pixfrac: float
    """Drop size, input pixels."""
    fill_value: float | None
    """Value of pixels without weight; None leaves them untouched."""
    idcscale_arcsec: float
    """Natural pixel scale."""
    mask: str = ""
    """Name of its input weight map."""
    wcskey: str = ""
    """Key of the input WCS that was used, empty for the primary one."""


@dataclass(frozen=True, slots=True)
class ProductFacts:
    """All that the headers of a product say beyond what the headers of the inputs say."""

    chips: Sequence[ChipFacts]
    """Chips in drizzle order: number in the context image, minus one."""
    names: ProductNames
    """Names of the products."""
    grid: kw.Grid
    """Output frame."""
    texptime_s: float
    """Total exposure time (of the exposure, for a separate drizzle)."""
    expstart_mjd: float
    """Earliest start."""
    expend_mjd: float
    """Latest end."""
    n_exposures: int
    """Number of exposures."""
    versions: Mapping[str, str]
    """Software and its version; ``mosaic`` is required."""
    build: bool = True
    """One multi-extension file, or simple files."""
    final_units: Literal["cps", "counts"] = "cps"
    """Per second, or multiplied by the total exposure time."""
    bunit: str = "ELECTRONS/S"
    """BUNIT of the science image."""
    log_name: str = ""
    """Log file of the run."""
    has_context: bool = True
    """Whether there is a context image."""
    has_error: bool = False
    """Whether there is an error image."""
    rules: RuleSet | None = None
    """Blending rules; by default the packaged ones."""
    date: dt.date = field(default_factory=lambda: dt.datetime.now(dt.UTC).date())
    """Date of writing."""


@dataclass(frozen=True, slots=True)
class ProductHeaders:
    """Headers of a product, without the cards that describe the storage of pixels.

    With ``build=True`` these are the headers of the extensions. With ``build=False`` each image header
    is complete in itself and `primary` is not written.
    """

    primary: fits.Header
    """Primary header."""
    sci: fits.Header
    """Science image."""
    wht: fits.Header
    """Weight image."""
    ctx: fits.Header | None
    """Context image; None when there is none to write."""
    err: fits.Header | None
    """Error image; None when there is none to write."""
    hdrtab: fits.BinTableHDU | None
    """Keywords of all chips; None for a separate drizzle."""


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
            with fits.open(path, memmap=False, lazy_load_hdus=True) as hdus:
                self._held = (path, {index: hdus[index].header.copy() for index in sorted(wanted)})
        return self._held[1]


def _numbered(header: fits.Header, extver: int) -> fits.Header:
    header = header.copy()
    header["EXTVER"] = extver
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


def build_product_headers(facts: ProductFacts) -> ProductHeaders:
    """Build all headers of a final product.

    Parameters
    ----------
    facts : ProductFacts
        What drizzling knows; the headers of the inputs are read from its sources.
    """
    chips = HeaderReader([chip.source for chip in facts.chips])
    first = chips[0]
    blended = blend_headers(chips, facts.rules)
    filename = facts.names.built if facts.build else facts.names.simple("sci")
    primary = _primary(facts, blended.primary, first, filename)
    _add_history(primary, facts, blended.rules)
    images = _images(facts, blended, first)
    if not facts.build:
        primary["NEXTEND"] = int(blended.table is not None)
        names = {kind: facts.names.simple(kind) for kind in images}
        images = {kind: _simple(primary, images[kind], kind, names[kind]) for kind in images}
        images["sci"].remove("NEXTEND")
    else:
        primary["NEXTEND"] = 3 + facts.has_error + (blended.table is not None)
        for kind, header in images.items():
            header.insert(0, ("EXTNAME", kind.upper(), "extension name"))
            header.insert(1, ("EXTVER", 1, "extension version number"))
    return ProductHeaders(
        primary=primary,
        sci=images["sci"],
        wht=images["wht"],
        ctx=images.get("ctx"),
        err=images.get("err"),
        hdrtab=blended.table,
    )


def build_single_headers(facts: ProductFacts, names: ExposureNames) -> ProductHeaders:
    """Build the headers of the separate drizzle of one exposure: simple files, nothing blended.

    Parameters
    ----------
    facts : ProductFacts
        Facts of this exposure alone: its chips, its times.
    names : ExposureNames
        Names of its intermediates.
    """
    chips = HeaderReader([chip.source for chip in facts.chips])
    first = chips[0]
    template = BlendedHeaders(
        first.primary, first.sci, first.err.copy(), first.dq, None, RuleSet("", 0.0, "", ())
    )
    template.wht["BUNIT"] = "UNITLESS"
    primary = _primary(facts, first.primary, first, names.single_sci)
    primary["ROOTNAME"] = names.root
    _add_history(primary, facts, None)
    images = _images(facts, template, first)
    primary["NEXTEND"] = 0
    sci = _simple(primary, images["sci"], "sci", names.single_sci)
    sci.remove("NEXTEND")
    wht = _simple(primary, images["wht"], "wht", names.single_wht)
    return ProductHeaders(primary, sci, wht, None, None, None)


def intermediate_header(
    filename: str,
    *,
    grid: kw.Grid | None = None,
    chip: fits.Header | None = None,
    exptime_s: float | None = None,
    bunit: str = "",
) -> fits.Header:
    """Return a small header for a median, a blot or a mask.

    Parameters
    ----------
    filename : str
        Base name of the file.
    grid : Grid, optional
        Output frame, for images on the output grid.
    chip : Header, optional
        SCI header, for images on the pixels of a chip: its WCS with SIP is kept. Look-up tables are
        left out because the extensions they live in are.
    exptime_s : float, optional
        Exposure time that the values belong to.
    bunit : str, optional
        Unit of the values.
    """
    header = fits.Header([("FILENAME", filename, "name of file")])
    if exptime_s is not None:
        header["EXPTIME"] = (exptime_s, "exposure duration (seconds)")
    if bunit:
        header["BUNIT"] = (bunit, "brightness units")
    if grid is not None:
        kw.set_wcs(header, grid)
    if chip is not None:
        header.extend([card for card in chip.cards if _CHIP_WCS.fullmatch(card.keyword)], unique=True)
    return header


def _primary(facts: ProductFacts, template: fits.Header, first: ChipHeaders, filename: str) -> fits.Header:
    """Return the primary header with the keywords of the whole product, without HISTORY."""
    header = template.copy()
    kw.remove_structure(header)
    order = (first.primary, first.sci)
    header.remove("DATE", ignore_missing=True)
    header.insert(0, ("DATE", facts.date.isoformat(), "date this file was written (yyyy-mm-dd)"))
    values: list[tuple[str, str | int | float, str]] = [
        ("FILENAME", filename, "name of file"),
        ("ROOTNAME", facts.names.rootname, "rootname of the product"),
        ("PROD_VER", f"mosaic {facts.versions['mosaic']}", "software that made the product"),
        ("DRIZPARS", facts.log_name, "Logfile for processing"),
        ("EXPTIME", facts.texptime_s, "exposure duration (seconds)--calculated"),
        ("EXPSTART", facts.expstart_mjd, "exposure start time (Modified Julian Date)"),
        ("EXPEND", facts.expend_mjd, "exposure end time (Modified Julian Date)"),
        ("ASN_MTYP", "PROD-DTH", "Role of the Member in the Association"),
        ("NDRIZIM", len(facts.chips), "Drizzle, No. images drizzled onto output"),
    ]
    for keyword, value, comment in values:
        is_commented = keyword in header and bool(header.comments[keyword])
        kw.set_in_order(header, keyword, value, "" if is_commented else comment, order)
    header.remove("TEXPTIME", ignore_missing=True)
    header.insert("EXPTIME", ("TEXPTIME", facts.texptime_s, "total exposure time (seconds)"), after=True)
    for keyword in ("DRIZCORR", "DITHCORR"):
        if keyword in header:
            header[keyword] = "COMPLETE"
    common: dict[str, kw.CardValue] = {
        "VER": f"mosaic {facts.versions['mosaic']}",
        "OUDA": facts.names.built,
        "OUWE": facts.names.simple("wht"),
        "OUCO": facts.names.simple("ctx") if facts.has_context else "",
        "OUUN": facts.final_units,
        "SCAL": facts.grid.scale_arcsec,
    }
    kw.set_drizzle_records(header, facts.chips, common)
    return header


def _add_history(header: fits.Header, facts: ProductFacts, rules: RuleSet | None) -> None:
    """Record the blending rules and the software."""
    if rules is not None:
        kw.set_value(header, "RULESVER", rules.version, "Version ID for header kw rules file")
        kw.set_value(header, "BLENDVER", facts.versions["mosaic"], "Version of the header blending software")
        kw.set_value(header, "RULEFILE", rules.name, "Name of header kw rules file")
        header.add_history("Header keywords of the inputs were combined by these rules:")
        for line in rules.summary():
            header.add_history(f"  {line}")
    header.add_history("Drizzled with:")
    for software, version in facts.versions.items():
        header.add_history(f"    {software} {version}")


def _images(
    facts: ProductFacts, blended: BlendedHeaders, first: ChipHeaders
) -> dict[ProductKind, fits.Header]:
    """Return the headers of the image extensions that the product has."""
    images: dict[ProductKind, fits.Header] = {"sci": blended.sci.copy(), "wht": blended.wht.copy()}
    if facts.has_context or facts.build:
        images["ctx"] = blended.ctx.copy()
    if facts.has_error:
        images["err"] = blended.wht.copy()
    order = (first.primary, first.sci, first.err, first.dq)
    for kind, header in images.items():
        kw.remove_structure(header)
        header.remove("EXTNAME", ignore_missing=True)
        header.remove("EXTVER", ignore_missing=True)
        kw.set_wcs(header, facts.grid, order)
        kw.remove_distortion(header)
        kw.remove_alternate_wcs(header)
        if kind in {"wht", "err"} or (kind == "sci" and "CCDCHIP" in header):
            header["CCDCHIP"] = "-999"
        if kind in {"sci", "err"}:
            header.remove("BUNIT", ignore_missing=True)
            kw.set_in_order(header, "BUNIT", facts.bunit, "units of the product", order)
    for keyword in ("OBJECT", "MJDREF"):
        images["sci"].remove(keyword, ignore_missing=True)
    if "NCOMBINE" in images["sci"]:
        images["sci"]["NCOMBINE"] = facts.n_exposures
    return images


def _simple(primary: fits.Header, image: fits.Header, kind: ProductKind, filename: str) -> fits.Header:
    """Return the header of a simple file: primary keywords, then those of the image."""
    header = primary.copy()
    kw.append_missing(header, image)
    for keyword in ("BUNIT", "CCDCHIP", "WCSNAME", "WCSTYPE"):
        if keyword in image:
            kw.set_value(header, keyword, image[keyword])
    kw.set_value(header, "FILENAME", filename)
    header.remove("FILETYPE", ignore_missing=True)
    card = ("FILETYPE", kind.upper(), "Type of data in array")
    if "TELESCOP" in header:
        header.insert("TELESCOP", card)
    else:
        header.append(card)
    kw.remove_alternate_wcs(header)
    return header
