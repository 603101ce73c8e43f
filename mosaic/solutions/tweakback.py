"""Carrying a WCS correction made on a drizzled image over to the exposures that it was made of (TweakBack).

Covers finding the two solutions in the drizzled file and the inputs it names, and correcting all inputs or
none: every new header is computed before the first file is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from astropy.io import fits

from mosaic.errors import MissingFileError, ParameterError, StructureError
from mosaic.geometry.correction import LinearWcs, change_of_frame
from mosaic.geometry.wcs import header_number
from mosaic.solutions.alternates import find_key, wcs_names
from mosaic.solutions.corrections import FitFacts, correct_exposure
from mosaic.solutions.editing import edited, open_solutions, science_indices
from mosaic.types import DoubleArray


@dataclass(frozen=True, slots=True)
class Choice:
    """A WCS by key or by name; blank for the default."""

    name: str = ""
    key: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DrizzledCorrection:
    """What was corrected on a drizzled image."""

    change: DoubleArray
    """Homography of directions, (3, 3)."""
    original_name: str
    tweaked_name: str
    facts: FitFacts
    inputs: tuple[str, ...]
    """Exposures that the drizzled file names (D001DATA, …), without extensions, in order."""


def read_correction(product: str, original: Choice, tweaked: Choice) -> DrizzledCorrection:
    """Read the change between two WCS of a drizzled image.

    Parameters
    ----------
    product : str
        File, with an extension in brackets where it has several images: ``name.fits[sci,1]``.
    original : Choice
        The WCS that the exposures had when they were drizzled.
    tweaked : Choice
        The corrected WCS; by default the primary one.

    Raises
    ------
    MissingFileError, StructureError, ParameterError
        When the file, the extension or one of the WCS is not there.
    """
    path, extension = _split(product)
    with open_solutions(path) as hdul:
        index = _image_index(hdul, extension, product)
        header = hdul[index].header
        if len(wcs_names(header)) < 2:
            raise StructureError(
                product, "has fewer than two WCS: original and corrected", "align it first (TweakReg)"
            )
        if not original.name and original.key is None:
            names = ", ".join(f"{k.strip() or 'primary'} ({n})" for k, n in wcs_names(header).items())
            raise ParameterError(f"{product}: name the original WCS or give its key (there are: {names})")
        old_key = find_key(header, key=original.key, name=original.name, where=product)
        new_key = " "
        if tweaked.name or tweaked.key is not None:
            new_key = find_key(header, key=tweaked.key, name=tweaked.name, where=product)
        suffix = new_key.strip()
        facts = FitFacts(
            header_number(header, f"CRDER1{suffix}"),
            header_number(header, f"CRDER2{suffix}"),
            _whole(header, f"NMATCH{suffix}"),
        )
        old, new = (LinearWcs.from_header(header, key.strip()) for key in (old_key, new_key))
        names_by_key = wcs_names(header)
        inputs = dict.fromkeys(
            _split(str(card.value))[0]
            for card in hdul[0].header.cards
            if len(card.keyword) == 8 and card.keyword[0] == "D" and card.keyword.endswith("DATA")
        )
    return DrizzledCorrection(
        change_of_frame(old, new), names_by_key[old_key], names_by_key[new_key], facts, tuple(inputs)
    )


def apply_correction(
    correction: DrizzledCorrection,
    product: str,
    targets: Sequence[tuple[Path, Path]],
    *,
    wcsname: str = "",
    extname: str = "SCI",
    reuse_name: bool = False,
) -> list[Path]:
    """Correct exposures; none is written when one of them cannot be corrected.

    Parameters
    ----------
    correction : DrizzledCorrection
        The change.
    product : str
        Name of the drizzled image, for HISTORY.
    targets : sequence of (Path, Path)
        Exposure, and the file to write (the same to replace it).
    wcsname : str
        WCSNAME of the new primary WCS; by default that of the corrected drizzled image.
    extname : str
        EXTNAME of the extensions to correct.
    reuse_name : bool
        Allow a name that is there already.

    Raises
    ------
    ParameterError
        When the name is taken in an exposure, or there is none.
    MissingFileError, StructureError, WcsError, OutputError
        When an exposure cannot be read, has no such extension or WCS, or cannot be written.
    """
    name = wcsname.strip() or correction.tweaked_name
    if not name:
        raise ParameterError(f"{product}: the corrected WCS has no name; give one (wcsname)")
    facts = FitFacts(
        correction.facts.rms_ra_deg,
        correction.facts.rms_dec_deg,
        correction.facts.nmatch,
        (
            f"tweakback: WCS {name!r} from {Path(product).name}",
            f"tweakback: {correction.original_name!r} -> {correction.tweaked_name!r}",
        ),
    )

    def correct(hdul: fits.HDUList, source: Path) -> None:
        indices = science_indices(hdul, extname, path=str(source))
        correct_exposure(hdul, indices, correction.change, name, facts, reuse_name=reuse_name)

    for source, _target in targets:
        with open_solutions(source) as hdul:
            correct(hdul, source)
    for source, target in targets:
        with edited(source, target) as hdul:
            correct(hdul, source)
    return [target for _source, target in targets]


def find_inputs(correction: DrizzledCorrection, product: str, folder: Path | None = None) -> list[Path]:
    """Exposures that a drizzled file names, in its folder or in the working folder.

    Raises
    ------
    MissingFileError
        When it names none, or one is not there.
    """
    if not correction.inputs:
        remedy = "name the exposures to correct"
        raise MissingFileError(product, "names no inputs (D001DATA, … absent)", remedy)
    places = [folder] if folder else [Path.cwd(), Path(_split(product)[0]).parent]
    found = []
    for name in correction.inputs:
        candidates = [place / name for place in places if (place / name).is_file()]
        if not candidates:
            where = " or ".join(str(place) for place in places)
            raise MissingFileError(name, f"is not in {where}", "name the exposures to correct")
        found.append(candidates[0])
    return found


def original_by_default(product: str) -> Choice:
    """Return the WCS that the older interface takes for the original: ``IDC_…``, else the last but one.

    The primary WCS counts as the last where it has no alternate of the same name.
    """
    path, extension = _split(product)
    with open_solutions(path) as hdul:
        names = wcs_names(hdul[_image_index(hdul, extension, product)].header)
    for key, name in names.items():
        if name.upper().startswith("IDC_") and key != " ":
            return Choice(key=key)
    keys = sorted(names)
    return Choice(key=keys[-2] if len(keys) > 2 else keys[-1])


def _split(name: str) -> tuple[str, str]:
    """File name and the extension in brackets."""
    path, bracket, extension = name.strip().partition("[")
    return path, extension.rstrip("]") if bracket else ""


def _whole(header: fits.Header, keyword: str) -> int | None:
    """Whole number of a keyword, if it is there."""
    value = header_number(header, keyword)
    return None if value is None else int(value)


def _image_index(hdul: fits.HDUList, extension: str, place: str) -> int:
    """Index of the wanted extension, or of the only one with a WCS (SCI where there is one)."""
    if extension:
        name, _, version = extension.partition(",")
        wanted = int(name) if name.strip().isdigit() else (name.strip(), int(version or 1))
        try:
            return int(hdul.index_of(wanted))
        except (KeyError, ValueError) as error:
            raise StructureError(place, f"has no extension {extension}", "name another one") from error
    found = [index for index, hdu in enumerate(hdul) if hdu.is_image and "CRVAL1" in hdu.header]
    science = [index for index in found if hdul[index].name == "SCI"]
    found = science or found
    if len(found) != 1:
        names = ", ".join(f"[{hdul[i].name.lower()},{hdul[i].ver}]" for i in found) or "none"
        raise StructureError(place, f"{len(found)} images have a WCS ({names})", "name one: file[sci,1]")
    return found[0]
