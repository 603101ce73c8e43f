"""Masks of the user for the sky (``skymask_cat``): which file masks which chip.

A line of the catalogue is ``image[extensions],mask[extension],mask[extension],...``. Brackets are square for
one extension or curly for several; an extension is a number, a name, or a name and a version (``*``: all).
Masks belong to the extensions in their order; an empty place or ``None`` is no mask. Non-zero pixels are
good. Does not read pixels.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from astropy.io import fits

from mosaic.errors import ExposureError, MissingFileError, ParameterError, StructureError, TruncatedFileError
from mosaic.exposure.blocks import data_block
from mosaic.exposure.inputs import strip_compression
from mosaic.exposure.instruments import HeaderPair
from mosaic.exposure.model import Chip, DataBlock, Exposure
from mosaic.exposure.staging import plain_path
from mosaic.exposure.storage import size_and_tag
from mosaic.exposure.user_sky import SkySettings

Extension = int | tuple[str, int | None]
"""Number of an HDU, or its name and version (None: every version)."""

_ITEM: Final = re.compile(
    r"""\s*(?P<name>'[^']*'|"[^"]*"|[^,\[\]{}'"]*?)\s*(?P<ext>\[[^\[\]{}]*\]|\{[^\[\]{}]*\})?\s*(?:,|$)"""
)
_EXTENSION: Final = re.compile(
    r"""\s*\(?\s*(?:(?P<number>\d+)|(['"]?)(?P<name>[A-Za-z]\w*)\2(?:\s*,\s*(?P<version>\d+|\*))?)\s*\)?\s*(?:,|$)"""
)
_GRAMMAR: Final = "write image[extensions],mask[extension],mask[extension],..."


@dataclass(frozen=True, slots=True)
class MaskLine:
    """One line of the catalogue."""

    image: str
    """Base name of the exposure."""
    extensions: tuple[Extension, ...]
    """Extensions of the exposure that the masks are for."""
    masks: tuple[tuple[str, Extension] | None, ...]
    """File and extension of each mask; None: no mask."""


def read_mask_catalogue(path: str) -> list[MaskLine]:
    """Read a catalogue of sky masks.

    Raises
    ------
    ParameterError
        When it cannot be read or a line is not of the form above.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"skymask_cat={path!r}: the file cannot be read ({error})") from error
    return [
        parse_mask_line(line, f"skymask_cat={path!r}, line {number}")
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]


def parse_mask_line(line: str, where: str) -> MaskLine:
    """Take one line of the catalogue apart.

    Raises
    ------
    ParameterError
        When it is not of the form above; `where` names the place.
    """
    items = _items(line.strip(), where)
    image, extensions = items[0]
    if image is None:
        raise ParameterError(f"{where}: {line.strip()!r} names no image; {_GRAMMAR}")
    masks: list[tuple[str, Extension] | None] = []
    for name, chosen in items[1:]:
        if name is None:
            masks.append(None)
        else:
            masks += [(name, extension) for extension in _one_by_one(chosen or (0,), where)]
    return MaskLine(strip_compression(Path(image).name), extensions or (("SCI", None),), tuple(masks))


def _one_by_one(extensions: Sequence[Extension], where: str) -> Sequence[Extension]:
    """Refuse wildcards: a mask is one image."""
    if any(isinstance(extension, tuple) and extension[1] is None for extension in extensions):
        raise ParameterError(f"{where}: a mask must name one version of its extension; write ['name',1]")
    return extensions


def _items(line: str, where: str) -> list[tuple[str | None, tuple[Extension, ...]]]:
    """Names with their extensions, separated by commas outside of brackets and quotation marks."""
    items: list[tuple[str | None, tuple[Extension, ...]]] = []
    position = 0
    while position < len(line):
        match = _ITEM.match(line, position)
        if match is None:
            raise ParameterError(f"{where}: {line[position:]!r} is not understood; {_GRAMMAR}")
        text, brackets = match["name"], match["ext"] or ""
        is_quoted = text[:1] in {"'", '"'}
        name = text[1:-1] if is_quoted else text
        is_none = not name or (not is_quoted and name.upper() == "NONE")
        if is_none and brackets:
            raise ParameterError(f"{where}: {brackets} belongs to no file; {_GRAMMAR}")
        items.append((None if is_none else name, _extensions(brackets, where)))
        position = match.end()
    return items


def _extensions(brackets: str, where: str) -> tuple[Extension, ...]:
    """Extensions inside square (one) or curly (several) brackets."""
    if not brackets:
        return ()
    is_list = brackets[0] == "{"
    body = brackets[1:-1].strip()
    found: list[Extension] = []
    position = 0
    while position < len(body):
        match = _EXTENSION.match(body, position)
        if match is None:
            raise ParameterError(f"{where}: {brackets} names no extension; write [1], ['sci',2] or {{1,4}}")
        if match["number"] is not None:
            found.append(int(match["number"]))
        else:
            version = match["version"]
            plain = None if is_list else 1
            number = plain if version is None else None if version == "*" else int(version)
            found.append((match["name"].upper(), number))
        position = match.end()
    if not found or (not is_list and len(found) > 1):
        raise ParameterError(f"{where}: {brackets} must name one extension; use curly brackets for several")
    return tuple(found)


def give_sky_masks(
    exposures: Sequence[Exposure],
    settings: SkySettings,
    *,
    on_error: Literal["stop", "skip"],
    staging_dir: Path | None,
) -> tuple[list[Exposure], list[ExposureError], list[str]]:
    """Put the masks of ``skymask_cat`` on the chips and into the fingerprints of the exposures.

    Returns
    -------
    tuple
        Exposures with their masks, those set aside (on_error="skip"), and notes on lines without use.

    Raises
    ------
    ParameterError
        When the catalogue cannot be read or understood, or names an image twice.
    ExposureError
        When a mask is missing, is not of the shape of its chip, or is for an extension that is not there.
    """
    if not settings.skymask_cat or not settings.skysub or settings.skyfile:
        return list(exposures), [], []
    lines: dict[str, MaskLine] = {}
    for line in read_mask_catalogue(settings.skymask_cat):
        if line.image in lines:
            raise ParameterError(
                f"skymask_cat={settings.skymask_cat!r}: {line.image} has two lines; keep one"
            )
        lines[line.image] = line
    folder = Path(settings.skymask_cat).parent
    given: list[Exposure] = []
    rejected: list[ExposureError] = []
    for exposure in exposures:
        found = lines.pop(strip_compression(Path(exposure.path).name), None)
        try:
            if found is not None and settings.peer_compat:
                # DrizzlePac gives the masks to the SCI extensions from the first on, whatever was selected.
                found = replace(found, extensions=(("SCI", None),))
            given.append(exposure if found is None else _masked(exposure, found, folder, staging_dir))
        except ExposureError as error:
            if on_error == "stop":
                raise
            rejected.append(error)
    return given, rejected, [f"skymask_cat: {name} is none of the inputs" for name in lines]


def _masked(exposure: Exposure, line: MaskLine, folder: Path, staging_dir: Path | None) -> Exposure:
    """The exposure with its masks."""
    chosen = [chip for extension in line.extensions for chip in _chips_of(exposure, extension)]
    if len(line.masks) > len(chosen):
        problem = f"skymask_cat gives {len(line.masks)} masks for {len(chosen)} SCI extensions"
        raise StructureError(exposure.rootname, problem, "give one for each, or None")
    digest = hashlib.sha256(exposure.fingerprint.encode())
    chips = {chip.extver: chip for chip in exposure.chips}
    for chip, mask in zip(chosen, line.masks, strict=False):
        if mask is None:
            continue
        path = Path(mask[0]) if Path(mask[0]).exists() else folder / mask[0]
        block = _mask_block(str(path), mask[1], chip, staging_dir)
        chips[chip.extver] = replace(chip, sky_mask=block)
        digest.update(f"{chip.extver}:{path}:{mask[1]}:{size_and_tag(str(path))}".encode())
    return replace(exposure, chips=tuple(chips.values()), fingerprint=digest.hexdigest())


def _chips_of(exposure: Exposure, extension: Extension) -> list[Chip]:
    """Chips that an extension of the catalogue means."""
    if isinstance(extension, int):
        found = [chip for chip in exposure.chips if chip.hdu_index == extension]
    else:
        name, version = extension
        found = [chip for chip in exposure.chips if name == "SCI" and version in {None, chip.extver}]
    if not found:
        problem = f"skymask_cat names its extension {extension}, which is no SCI extension in use"
        raise StructureError(exposure.rootname, problem, "name SCI extensions of the exposure")
    return found


def _mask_block(path: str, extension: Extension, chip: Chip, staging_dir: Path | None) -> DataBlock:
    """Where the pixels of a mask lie."""
    place = (chip.rootname, f"sci,{chip.extver}")
    try:
        readable = plain_path(path, staging_dir)
        with fits.open(readable, memmap=False, lazy_load_hdus=False) as hdul:
            hdu: Any = hdul[extension]
            headers = HeaderPair(*place, hdul[0].header, hdu.header, chip.extver)
            block = data_block(hdu, readable, headers)
    except (MissingFileError, TruncatedFileError) as error:
        problem = f"sky mask {path}: {error.problem}"
        raise type(error)(place[0], problem, "correct skymask_cat", place[1]) from error
    except (OSError, KeyError, IndexError) as error:
        problem = f"sky mask {path} has no extension {extension}"
        raise StructureError(place[0], problem, "correct skymask_cat", place[1]) from error
    if block is None or block.shape_yx != chip.shape_yx:
        ny, nx = block.shape_yx if block is not None else (0, 0)
        problem = f"sky mask {path} is {nx} x {ny} pixels, SCI is {chip.shape_yx.nx} x {chip.shape_yx.ny}"
        raise StructureError(place[0], problem, "give a mask of the same size", place[1])
    return block
