"""Headers of the products: blended headers of the inputs plus what drizzling knows.

Covers PRIMARY, SCI, WHT, CTX, ERR and HDRTAB of a final product, the headers of the separate drizzles, of
their median and of a blot, and small headers for masks. Does not cover pixels, nor the cards that describe
how they are stored (`mosaic.products.fits` adds them).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from astropy.io import fits

from mosaic.headers import keywords as kw
from mosaic.headers.blend import BlendedHeaders, ChipHeaders, blend_headers
from mosaic.headers.hdrtab import HeaderTable
from mosaic.headers.rulesets import RuleSet
from mosaic.headers.sources import HeaderReader, HeaderSource
from mosaic.products.naming import ExposureNames, ProductKind, ProductNames

_NOT_OF_THE_SCIENCE = ("OBJECT", "MJDREF")
"""Keywords without a rule that DrizzlePac removes from the science image."""


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
    own_units: float = 1.0
    """Units of the chip's own image in one unit of the product: what its PHOTFLAM is multiplied by."""


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
    peer_compat: bool = False
    """HDRTAB, NEXTEND of simple files and EXPTIME of blots as in DrizzlePac."""
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
    hdrtab: HeaderTable | None
    """Keywords of all chips; None for a separate drizzle."""


@dataclass(frozen=True, slots=True)
class SingleHeaders:
    """Headers of a separate drizzle, which is written as two simple files."""

    sci: fits.Header
    """Science image."""
    wht: fits.Header
    """Weight image."""


@dataclass(frozen=True, slots=True)
class BlotFacts:
    """What the header of a blot says beyond what the headers of its chip say."""

    filename: str
    """Base name of the file."""
    exptime_s: float
    """Exposure time that the values belong to."""
    bunit: str
    """Unit of the values."""
    version: str
    """Version of mosaic."""
    date: dt.date = field(default_factory=lambda: dt.datetime.now(dt.UTC).date())
    """Date of writing."""


def build_product_headers(facts: ProductFacts) -> ProductHeaders:
    """Build all headers of a final product.

    Parameters
    ----------
    facts : ProductFacts
        What drizzling knows; the headers of the inputs are read from its sources.
    """
    chips = HeaderReader([chip.source for chip in facts.chips])
    first = chips[0]
    blended = blend_headers(chips, facts.rules, peer_compat=facts.peer_compat)
    filename = facts.names.built if facts.build else facts.names.simple("sci")
    primary = _primary(facts, blended.primary, first, filename)
    _add_history(primary, facts, blended.rules)
    images = _images(facts, blended, first)
    rescale_sensitivity((primary, images["sci"]), facts.chips, blended.table)
    if not facts.build:
        primary.remove("NEXTEND", ignore_missing=True)
        names = {kind: facts.names.simple(kind) for kind in images}
        images = {kind: _simple(primary, images[kind], kind, names[kind]) for kind in images}
        for kind in ("wht", "ctx") if facts.peer_compat else ():
            if kind in images:
                images[kind]["NEXTEND"] = int(blended.table is not None)
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


def build_single_headers(facts: ProductFacts, names: ExposureNames) -> SingleHeaders:
    """Build the headers of the separate drizzle of one exposure: simple files, nothing blended.

    Parameters
    ----------
    facts : ProductFacts
        Facts of this exposure alone: its chips, its times.
    names : ExposureNames
        Names of its intermediates.
    """
    sci = _template_header(facts, "sci", names.single_sci, names.root)
    rescale_sensitivity((sci,), facts.chips[:1], None)
    wht = _template_header(facts, "wht", names.single_wht, names.root)
    return SingleHeaders(sci, wht)


def build_median_header(facts: ProductFacts) -> fits.Header:
    """Build the header of the median: that of a separate drizzle of all chips.

    Parameters
    ----------
    facts : ProductFacts
        Facts of the whole run, with the grid and the drops of the separate drizzles.
    """
    header = _template_header(facts, "sci", facts.names.median, facts.names.rootname)
    rescale_sensitivity((header,), facts.chips[:1], None)
    return header


def build_blot_header(source: HeaderSource, facts: BlotFacts) -> fits.Header:
    """Build the header of a blot: PRIMARY and SCI of its chip, with the WCS and SIP of the chip.

    Look-up tables of the distortion are left out because the extensions they live in are.

    Parameters
    ----------
    source : HeaderSource
        Where the headers of the chip are.
    facts : BlotFacts
        What the blot adds.
    """
    (chip,) = HeaderReader([source])
    header = chip.primary.copy()
    header.remove("NEXTEND", ignore_missing=True)
    kw.append_missing(header, chip.sci)
    kw.remove_structure(header)
    kw.remove_lookup_tables(header)
    values: list[tuple[str, kw.CardValue, str]] = [
        ("DATE", facts.date.isoformat(), "date this file was written (yyyy-mm-dd)"),
        ("FILENAME", facts.filename, "name of file"),
        ("PROD_VER", f"mosaic {facts.version}", "software that made the product"),
        ("EXPTIME", facts.exptime_s, "exposure duration (seconds)"),
        ("BUNIT", facts.bunit, "brightness units"),
    ]
    for keyword, value, comment in values:
        is_commented = keyword in header and bool(header.comments[keyword])
        kw.set_value(header, keyword, value, "" if is_commented else comment)
    if "WCSNAME" in header:
        kw.set_value(header, "WCSTYPE", kw.describe_wcsname(str(header["WCSNAME"])))
    _set_filetype(header, "sci")
    return header


def rescale_sensitivity(
    headers: Sequence[fits.Header], chips: Sequence[ChipFacts], table: HeaderTable | None
) -> None:
    """Make PHOTFLAM and PHOTFNU those of the unit of the product, where that is not the unit of the chips.

    Value times PHOTFLAM is the flux density: a chip of ``own_units`` of its units in one of the product has
    its PHOTFLAM multiplied by as much. What was blended is changed by the ratio of the means after and
    before; HDRTAB keeps the values of the chips.

    Parameters
    ----------
    headers : sequence of Header
        Headers to change.
    chips : sequence of ChipFacts
        Chips in the order of the rows of the table.
    table : HeaderTable, optional
        HDRTAB, for the values of each chip; without it, all are taken to be alike.
    """
    ratios = np.array([chip.own_units for chip in chips])
    if np.all(ratios == 1.0):
        return
    for keyword in ("PHOTFLAM", "PHOTFNU"):
        values = np.ones(len(chips))
        if table is not None and keyword in table.names:
            column = table.rows[keyword]
            values = column.astype(np.float64) if column.dtype.kind in "fi" else values
        known = np.isfinite(values) & (values != 0.0)
        if not known.any():
            continue
        ratio = float((values[known] * ratios[known]).sum() / values[known].sum())
        for header in headers:
            number = header.get(keyword)
            if isinstance(number, float | int) and not isinstance(number, bool):
                header[keyword] = float(number) * ratio


def mask_header(filename: str) -> fits.Header:
    """Return the header of a mask, which is minimal."""
    return fits.Header([("FILENAME", filename, "name of file")])


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


def _template_header(facts: ProductFacts, kind: ProductKind, filename: str, rootname: str) -> fits.Header:
    """Return the header of a simple file that nothing is blended into: that of the first chip."""
    first = HeaderReader([chip.source for chip in facts.chips])[0]
    wht = first.err.copy()
    wht["BUNIT"] = "UNITLESS"
    template = BlendedHeaders(first.primary, first.sci, wht, first.dq, None, RuleSet("", 0.0, "", ()))
    primary = _primary(facts, first.primary, first, filename)
    primary["ROOTNAME"] = rootname
    primary.remove("NEXTEND", ignore_missing=True)
    _add_history(primary, facts, None)
    return _simple(primary, _images(facts, template, first)[kind], kind, filename)


def record_rules(header: fits.Header, rules: RuleSet, version: str) -> None:
    """Record the rules that blended a header, and the version of mosaic that did it."""
    kw.set_value(header, "RULESVER", rules.version, "Version ID for header kw rules file")
    kw.set_value(header, "BLENDVER", version, "Version of the header blending software")
    kw.set_value(header, "RULEFILE", rules.label, "Header kw rules and their checksum")
    header.add_history(f"Header rules: {rules.label}")


def _add_history(header: fits.Header, facts: ProductFacts, rules: RuleSet | None) -> None:
    """Record the blending rules and the software."""
    if rules is not None:
        record_rules(header, rules, facts.versions["mosaic"])
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
        header.remove("S_REGION", ignore_missing=True)  # the outline of one chip, not of the product
    for keyword in _NOT_OF_THE_SCIENCE:
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
    _set_filetype(header, kind)
    kw.remove_alternate_wcs(header)
    return header


def _set_filetype(header: fits.Header, kind: ProductKind) -> None:
    """Say what the array of a simple file is, before TELESCOP."""
    header.remove("FILETYPE", ignore_missing=True)
    card = ("FILETYPE", kind.upper(), "Type of data in array")
    if "TELESCOP" in header:
        header.insert("TELESCOP", card)
    else:
        header.append(card)
