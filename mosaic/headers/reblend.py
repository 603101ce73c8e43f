"""Blend the headers of the inputs of a drizzled product anew, into the product or a copy of it.

Covers products as one multi-extension file and as simple files. Pixels are copied in pieces, byte by byte.
Does not cover the headers of a product that is being made (`mosaic.headers.product`).
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeAlias

from astropy.io import fits

from mosaic.errors import MissingFileError, OutputError, ParameterError, StructureError, TruncatedFileError
from mosaic.exposure.inputs import expand_inputs
from mosaic.headers import keywords as kw
from mosaic.headers.blend import BlendedHeaders, blend_headers
from mosaic.headers.hdrtab import TABLE_NAME
from mosaic.headers.product import record_rules
from mosaic.headers.rulesets import RuleSet, choose_rules, find_rules_files
from mosaic.headers.sources import HeaderReader, HeaderSource, extension_places
from mosaic.products.partial import PartialFile, require_space

Kind: TypeAlias = Literal["sci", "wht", "ctx"]

_KINDS: Mapping[str, Kind] = {"SCI": "sci", "WHT": "wht", "CTX": "ctx", "CON": "ctx"}
_ABSENT = ("", "INDEF", "NONE")
_INPUT = re.compile(r"(?P<file>[^\[\]]+)(\[\w+,(?P<version>\d+)\])?")
_RECORD = re.compile(r"D(\d{3,})(VER|GEOM|DATA|DEXP|OU[A-Z]{2}|MASK|WTSC|KERN|PIXF|COEF|FVAL|WKEY|SCAL|ISCL)")
_OF_PRIMARY = r"ROOTNAME|EXPTIME|TEXPTIME|EXPSTART|EXPEND|ASN_MTYP|D(RIZ|ITH)CORR|PROD_VER|DRIZPARS|NDRIZIM"
_OF_IMAGE = (
    r"EXTNAME|EXTVER|WCSAXES|WCSNAME|WCSTYPE|(CRPIX|CRVAL|CTYPE|CUNIT|CDELT)\d|(CD|PC)\d_\d|LONPOLE|LATPOLE"
    r"|RADESYS|EQUINOX|ORIENTAT|VAFACTOR|BUNIT|CCDCHIP|NCOMBINE|S_REGION|OBJECT|MJDREF"
)
_PIECE_BYTES = 4 * 2**20


def blendheaders(
    drzfile: str | Sequence[str],
    inputs: str | Sequence[str] | None = None,
    output: str | None = None,
    *,
    extensions: Mapping[str, str] | None = None,
    sciext: str = "SCI",
    errext: str = "ERR",
    dqext: str = "DQ",
    rules_file: str | None = None,
    peer_compat: bool = False,
) -> list[Path]:
    """Blend the headers of the inputs of drizzled products anew.

    What drizzling wrote stays as it is: output WCS, exposure times, units, Dnnn records, HISTORY. All
    other keywords become those of the inputs as the rules say, and HDRTAB is replaced.

    Parameters
    ----------
    drzfile : str or sequence of str
        Products: files, globs, @lists.
    inputs : str or sequence of str, optional
        Chips such as ``j8bt06nyq_flt.fits[sci,1]``, of which the EXTVER counts, or whole files, relative
        to the folder of the product or to the working directory. By default those that the DnnnDATA
        keywords of the product name.
    output : str, optional
        File to write; by default the product itself is replaced, once its successor is complete.
    extensions : mapping, optional
        EXTNAME of an input extension -> EXTNAME of the product whose header is made from it (SCI, WHT,
        CTX or CON); others stay as they are. By default made from the next three.
    sciext, errext, dqext : str
        EXTNAME of the input extensions for SCI, WHT and CTX; blank or INDEF: `sciext`.
    rules_file : str, optional
        Rules in DrizzlePac's format; by default the packaged ones of the instruments.
    peer_compat : bool
        HDRTAB as DrizzlePac types it, and rules files of the working directory.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ParameterError
        When the arguments contradict each other or name no inputs, or rules are faulty.
    ExposureError
        When a product or an input is missing, truncated or lacks an extension.
    OutputError
        When a file cannot be written.
    """
    found = expand_inputs([drzfile] if isinstance(drzfile, str) else drzfile)
    for error in found.rejected:
        raise error
    if output and len(found.files) > 1:
        raise ParameterError(f"output {output!r} is one file for {len(found.files)} products; leave it out")
    roles = _resolve_roles(extensions, sciext, errext, dqext)
    entries = [inputs] if isinstance(inputs, str) else list(inputs or ())
    written = []
    for file in found.files:
        product = _read_product(Path(file.path))
        sources = _find_sources(product, entries, roles)
        rules = _choose(sources, rules_file or "", peer_compat=peer_compat)
        blended = blend_headers(HeaderReader(sources), rules, peer_compat=peer_compat)
        target = Path(output) if output else product.path
        table = blended.table.as_bytes() if product.has_table and blended.table is not None else b""
        headers = _renew(product, blended, roles, target.name, n_tables=int(bool(table)))
        _write(product, headers, table, target)
        written.append(target)
    return written


@dataclass(frozen=True, slots=True)
class _Unit:
    """One header and data unit of a product, as it lies in the file."""

    header: fits.Header
    is_image: bool
    start: int
    data: int
    end: int


@dataclass(frozen=True, slots=True)
class _Product:
    """A product that is already there."""

    path: Path
    units: tuple[_Unit, ...]
    """All but HDRTAB."""
    sky: tuple[float, ...]
    """MDRIZSKY of the chips by its HDRTAB, empty when it has none."""

    @property
    def is_simple(self) -> bool:
        """Whether the image is in the primary unit."""
        return bool(self.units[0].header["NAXIS"])

    @property
    def kind(self) -> Kind:
        """What a simple product is, or SCI."""
        return _KINDS.get(str(self.units[0].header.get("FILETYPE", "SCI")).strip().upper(), "sci")

    @property
    def has_table(self) -> bool:
        """Whether HDRTAB belongs to it: to all but simple weights and contexts."""
        return not self.is_simple or self.kind == "sci"


def _resolve_roles(
    extensions: Mapping[str, str] | None, sciext: str, errext: str, dqext: str
) -> dict[Kind, str]:
    """Return which input extension gives each header of the product."""
    pairs = extensions or {sciext: "SCI"}
    roles: dict[Kind, str] = {}
    for name, target in pairs.items():
        if target.upper() not in _KINDS:
            raise ParameterError(f"extensions: a product has no header {target!r}; use SCI, WHT, CTX or CON")
        roles[_KINDS[target.upper()]] = name.upper()
    if extensions is None:
        science = roles["sci"]
        others: dict[Kind, str] = {"wht": errext.strip().upper(), "ctx": dqext.strip().upper()}
        roles |= {kind: science if name in _ABSENT else name for kind, name in others.items()}
    if "sci" not in roles:
        raise ParameterError("extensions must say which extension of the inputs is SCI")
    return roles


def _read_product(path: Path) -> _Product:
    """Read the headers of a product and where its parts lie."""
    if path.suffix.lower() != ".fits":
        raise ParameterError(f"{path}: only plain FITS files can be given new headers; unpack it")
    units: list[_Unit] = []
    sky: tuple[float, ...] = ()
    try:
        with fits.open(path, memmap=False, disable_image_compression=True) as hdus:
            for hdu in hdus:
                place = hdu.fileinfo()
                if hdu.name == TABLE_NAME:
                    names = hdu.columns.names
                    sky = tuple(map(float, hdu.data["MDRIZSKY"])) if "MDRIZSKY" in names else ()
                    continue
                end = place["datLoc"] + place["datSpan"]
                units.append(_Unit(hdu.header.copy(), hdu.is_image, place["hdrLoc"], place["datLoc"], end))
    except (OSError, ValueError, TypeError) as error:
        raise TruncatedFileError(str(path), f"unreadable ({error})", "fetch or make it again") from error
    return _Product(path, tuple(units), sky)


def _find_sources(product: _Product, entries: Sequence[str], roles: Mapping[Kind, str]) -> list[HeaderSource]:
    """Return where the headers of the inputs are."""
    named = entries or _recorded_inputs(product)
    sources = [source for entry in named for source in _chips_of(entry, product.path.parent, roles)]
    if entries or len(product.sky) != len(sources):
        return sources
    # The sky that the run found is in HDRTAB; the inputs know it only if they were updated.
    return [
        replace(source, sky=sky) if math.isfinite(sky) else source
        for source, sky in zip(sources, product.sky, strict=True)
    ]


def _recorded_inputs(product: _Product) -> list[str]:
    """Return what the DnnnDATA keywords name, in order of their numbers."""
    header = product.units[0].header
    found = [
        (int(match[1]), str(header[match[0]]))
        for match in map(_RECORD.fullmatch, header)
        if match and match[2] == "DATA"
    ]
    names = [name for _number, name in sorted(found) if name]
    if not names:
        raise ParameterError(f"{product.path}: no keyword DnnnDATA names its inputs; give inputs")
    return names


def _chips_of(entry: str, folder: Path, roles: Mapping[Kind, str]) -> list[HeaderSource]:
    """Return the chips that one entry names: one, or all of a file."""
    match = _INPUT.fullmatch(entry.strip())
    if match is None:
        raise ParameterError(f"input {entry!r} is not of the form FILE or FILE[sci,1]")
    paths = (folder / match["file"], Path(match["file"]))
    path = next((candidate for candidate in paths if candidate.is_file()), None)
    if path is None:
        raise MissingFileError(match["file"], f"is neither in {folder} nor here", "say where with inputs")
    try:
        places = extension_places(str(path))
    except OSError as error:
        raise TruncatedFileError(str(path), f"unreadable ({error})", "fetch it again") from error
    science = roles["sci"]
    versions = [int(match["version"])] if match["version"] else [v for name, v in places if name == science]
    if not versions or (science, versions[0]) not in places:
        chip = f"{science},{versions[0] if versions else 1}"
        raise StructureError(str(path), "has no such extension", "check inputs and sciext", chip)
    return [
        HeaderSource(
            str(path),
            places[science, number],
            places.get((roles.get("wht", ""), number)),
            places.get((roles.get("ctx", ""), number)),
        )
        for number in versions
    ]


def _choose(sources: Sequence[HeaderSource], rules_file: str, *, peer_compat: bool) -> RuleSet | None:
    """Return the rules of the user's files; None when there are none."""
    if not (rules_file or peer_compat):
        return None
    instruments = {chip.instrument: chip.telescope for chip in HeaderReader(sources)}
    files = find_rules_files(rules_file, list(instruments), Path.cwd() if peer_compat else None)
    return choose_rules(instruments, files, lenient=peer_compat) if files else None


def _renew(
    product: _Product, blended: BlendedHeaders, roles: Mapping[Kind, str], filename: str, *, n_tables: int
) -> dict[int, fits.Header]:
    """Return the new headers by the position of their units."""
    images: dict[Kind, fits.Header] = {"sci": blended.sci, "wht": blended.wht, "ctx": blended.ctx}
    for header in images.values():
        kw.remove_distortion(header)
        kw.remove_alternate_wcs(header)
    primary = blended.primary.copy()
    old = product.units[0].header
    own = _OF_PRIMARY
    if product.is_simple:
        kw.remove_structure(primary)
        kw.append_missing(primary, images[product.kind])
        own += f"|FILETYPE|{_OF_IMAGE}"
    renewed = {0: _merge(primary, old, own, blended)}
    n_more = len(product.units) - 1 + n_tables
    today = dt.datetime.now(dt.UTC).date().isoformat()
    kw.set_in_order(renewed[0], "FILENAME", filename, "name of file", [old])
    kw.set_in_order(renewed[0], "DATE", today, "date this file was written (yyyy-mm-dd)", [old])
    renewed[0].set("EXTEND", bool(n_more), after=f"NAXIS{old['NAXIS'] or ''}")
    if "NEXTEND" in old:
        kw.set_in_order(renewed[0], "NEXTEND", n_more, "", [old])
    else:
        renewed[0].remove("NEXTEND", ignore_missing=True)
    _record(renewed[0], old, blended.rules)
    if product.is_simple:
        return renewed
    for position, unit in enumerate(product.units[1:], start=1):
        extension = _KINDS.get(str(unit.header.get("EXTNAME", "")).strip().upper())
        if unit.is_image and extension is not None and extension in roles:
            renewed[position] = _merge(images[extension], unit.header, _OF_IMAGE, blended)
    if not any(unit.is_image and unit.header.get("EXTNAME") == "SCI" for unit in product.units):
        raise StructureError(str(product.path), "has no image extension SCI", "uncompress its images")
    return renewed


def _merge(new: fits.Header, old: fits.Header, own: str, blended: BlendedHeaders) -> fits.Header:
    """Return a blended header with what belongs to the product: storage, output WCS, records, additions."""
    header = new.copy()
    kw.remove_structure(header)
    is_own = re.compile(own)
    for keyword in {key for key in header if is_own.fullmatch(key)}:
        if keyword not in old:
            header.remove(keyword, remove_all=True)
    records = []
    for card in old.cards:
        keyword = card.keyword
        if keyword in kw.STRUCTURE_KEYWORDS or keyword in {"", "HISTORY", "COMMENT"}:
            continue
        if _RECORD.fullmatch(keyword):
            records.append(card)
        elif is_own.fullmatch(keyword) or not (keyword in header or keyword in blended.removed):
            kw.set_in_order(header, keyword, card.value, card.comment, [old])
    for card in records:
        header.append(card, end=True)
    storage = kw.STRUCTURE_KEYWORDS - {"CHECKSUM", "DATASUM", "END"}
    return fits.Header([*(card for card in old.cards if card.keyword in storage), *header.cards])


def _record(header: fits.Header, old: fits.Header, rules: RuleSet) -> None:
    """Keep the HISTORY of the product and say what was done."""
    if "HISTORY" in old:
        header.remove("HISTORY", ignore_missing=True, remove_all=True)
        for line in old["HISTORY"]:
            header.add_history(line)
    header.add_history("Headers of the inputs blended anew")
    record_rules(header, rules, version("mosaic-hst"))


def _write(product: _Product, headers: Mapping[int, fits.Header], table: bytes, target: Path) -> None:
    """Write the product with new headers and the same pixels, check it and give it its name."""
    require_space(target, product.path.stat().st_size + len(table) + 2**20)
    with product.path.open("rb") as source, PartialFile(target) as out:
        for position, unit in enumerate(product.units):
            if position in headers:
                out.write(headers[position].tostring().encode("ascii"))
                source.seek(unit.data)
            else:
                source.seek(unit.start)
            _copy(source, out, unit.end - source.tell())
        out.write(table)
        out.close()
        _verify(out, product, n_tables=int(bool(table)))
        out.publish()


def _copy(source: Any, out: PartialFile, n_bytes: int) -> None:  # noqa: ANN401  (a binary file)
    """Copy bytes in pieces."""
    while n_bytes > 0:
        piece = source.read(min(n_bytes, _PIECE_BYTES))
        if not piece:
            raise TruncatedFileError(str(out.path), "the product ends early", "make it again")
        out.write(piece)
        n_bytes -= len(piece)


def _verify(out: PartialFile, product: _Product, *, n_tables: int) -> None:
    """Read the structure back and compare it with that of the product."""
    names = ("XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3")
    expected = [[unit.header.get(name) for name in names] for unit in product.units]
    try:
        with fits.open(out.temporary, memmap=False, disable_image_compression=True) as hdus:
            found = [[hdu.header.get(name) for name in names] for hdu in hdus if hdu.name != TABLE_NAME]
            n_found = len(hdus)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise OutputError(f"{out.path}: cannot be read back ({error}); check the disk") from error
    if found != expected or n_found != len(expected) + n_tables:
        raise OutputError(f"{out.path}: read back as {found}, expected {expected}; check the disk")
