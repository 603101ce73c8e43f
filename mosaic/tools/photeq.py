"""Equalise the sensitivities of chips: pixels and keywords as if all had the same inverse sensitivity.

Covers SCI, ERR, the inverse sensitivities and the sky that was recorded. Does not cover how the
sensitivities were measured.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from astropy.io import fits

from mosaic.errors import MetadataError, ParameterError
from mosaic.exposure.storage import open_fits
from mosaic.geometry.wcs import header_number
from mosaic.tools.extensions import find_extension, find_files, parse_image_name
from mosaic.tools.rewrite import FileEdit, editing, require_target, target_of

logger = logging.getLogger(__name__)

_SKY_KEYWORDS: Final = ("MDRIZSKY",)
"""Sky in the units of the pixels."""


@dataclass(frozen=True, slots=True)
class PhotometryKeywords:
    """Names of the keywords and extensions that are equalised."""

    sciext: str = "SCI"
    """EXTNAME of the images."""
    errext: str = "ERR"
    """EXTNAME of their errors."""
    phot_kwd: str = "PHOTFLAM"
    """Inverse sensitivity that is made the same everywhere."""
    aux_phot_kwd: tuple[str, ...] = ("PHOTFNU",)
    """Inverse sensitivities in other units, divided by the same ratio."""
    search_primary: bool = True
    """Whether the primary header counts, and comes first."""


DEFAULT_KEYWORDS: Final = PhotometryKeywords()


@dataclass(frozen=True, slots=True)
class Equalisation:
    """What happened, or would happen, to one extension."""

    path: Path
    """File with the new pixels."""
    extension: str
    """``name,version``."""
    before: float
    """Inverse sensitivity before."""
    ratio: float
    """Factor of the pixels."""


def equalise(
    files: str | Sequence[str],
    keywords: PhotometryKeywords = DEFAULT_KEYWORDS,
    *,
    ref_phot: float | None = None,
    ref_phot_ext: int | str | None = None,
    readonly: bool = True,
    output: Path | None = None,
) -> list[Equalisation]:
    """Rescale chips to one inverse sensitivity: SCI and ERR times r, with r = PHOTFLAM / reference.

    PHOTFLAM becomes the reference and PHOTFNU is divided by r, so that flux (pixel times PHOTFLAM) is
    unchanged; the sky in MDRIZSKY goes with the pixels, and HISTORY tells it. Without `phot_kwd` an
    extension takes the ratio of the primary header. Integer pixels stay as they are, with a warning.

    Parameters
    ----------
    files : str or sequence of str
        Files, globs, comma lists, @lists, association tables.
    keywords : PhotometryKeywords
        Names of keywords and extensions.
    ref_phot : float, optional
        The reference.
    ref_phot_ext : int or str, optional
        Extension of the first file that has it; by default it is the first that is found.
    readonly : bool
        Only say what would be done.
    output : Path, optional
        File or folder to write; None changes the files themselves.

    Raises
    ------
    MetadataError
        When no reference is found, or a sensitivity is not a positive number.
    """
    paths = find_files(files)
    reference = _reference(paths, keywords, ref_phot, ref_phot_ext)
    if readonly:
        done = []
        for path in paths:
            with open_fits(str(path)) as hdul:
                done += [item for _, item in _plan(hdul, path, path, keywords, reference)]
        return done
    require_target(output, paths)
    done = []
    for path in paths:
        with editing(path, output) as edit:
            done += _apply(edit, target_of(path, output), keywords, reference)
    return done


def _reference(
    paths: Sequence[Path],
    keywords: PhotometryKeywords,
    ref_phot: float | None,
    ref_phot_ext: int | str | None,
) -> float:
    """Inverse sensitivity that all are brought to."""
    if ref_phot is not None:
        if not (np.isfinite(ref_phot) and ref_phot > 0.0):
            raise ParameterError(f"ref_phot={ref_phot} must be a positive number")
        return float(ref_phot)
    for path in paths[: 1 if ref_phot_ext is not None else None]:
        with open_fits(str(path)) as hdul:
            if ref_phot_ext is not None:
                name = parse_image_name(f"{path}[{ref_phot_ext}]")
                places = [find_extension(hdul, name)]
            else:
                places = [0] if keywords.search_primary else []
                places += _science(hdul, keywords)
            for index in places:
                value = _sensitivity(hdul[index].header, keywords.phot_kwd, path)
                if value is not None:
                    return value
    where = f"[{ref_phot_ext}] of the first file" if ref_phot_ext is not None else "any file"
    raise MetadataError(
        str(paths[0]) if paths else "input",
        f"no {keywords.phot_kwd} in {where}",
        "give ref_phot or ref_phot_ext",
    )


def _science(hdul: fits.HDUList, keywords: PhotometryKeywords) -> list[int]:
    return [index for index, hdu in enumerate(hdul) if hdu.name == keywords.sciext.upper()]


def _sensitivity(header: fits.Header, keyword: str, path: Path) -> float | None:
    """Value of a keyword; None when it is absent."""
    if keyword not in header:
        return None
    value = header_number(header, keyword)
    if value is None or value <= 0.0:
        problem = f"{keyword} is {header[keyword]!r}, not a positive number"
        raise MetadataError(str(path), problem, "correct the keyword")
    return value


def _plan(
    hdul: fits.HDUList, path: Path, target: Path, keywords: PhotometryKeywords, reference: float
) -> list[tuple[int, Equalisation]]:
    """What happens to which image of a file."""
    primary = _sensitivity(hdul[0].header, keywords.phot_kwd, path) if keywords.search_primary else None
    plan = []
    for index in _science(hdul, keywords):
        hdu = hdul[index]
        before = _sensitivity(hdu.header, keywords.phot_kwd, path)
        before = primary if before is None else before
        if before is None:
            logger.warning("%s[%s,%s] has no %s: not changed", path, hdu.name, hdu.ver, keywords.phot_kwd)
            continue
        plan.append((index, Equalisation(target, f"{hdu.name},{hdu.ver}", before, before / reference)))
    return plan


def _apply(
    edit: FileEdit, target: Path, keywords: PhotometryKeywords, reference: float
) -> list[Equalisation]:
    hdul = edit.hdul
    done = []
    for index, item in _plan(hdul, edit.path, target, keywords, reference):
        hdu = hdul[index]
        if hdu.header["BITPIX"] > 0 and hdu.data is not None:
            logger.warning("%s[%s] holds integers: not changed", edit.path, item.extension)
            continue
        done.append(item)
        if item.ratio == 1.0:
            continue
        version = (keywords.errext.upper(), hdu.ver)
        errors = [i for i, other in enumerate(hdul) if (other.name, other.ver) == version]
        for place in (index, *errors):
            _scale_pixels(edit, place, item.ratio)
        edit.mark(index)
        _scale_keywords(hdu.header, keywords, item.ratio, reference)
        hdu.header.add_history(
            f"photeq: {keywords.phot_kwd} {item.before:.9g} -> {reference:.9g}, pixels times {item.ratio:.9g}"
        )
    if keywords.search_primary:
        _equalise_primary(edit, keywords, reference)
    return done


def _equalise_primary(edit: FileEdit, keywords: PhotometryKeywords, reference: float) -> None:
    """Make the keywords of the primary header agree with those of the chips."""
    header = edit.hdul[0].header
    before = _sensitivity(header, keywords.phot_kwd, edit.path)
    if before is not None and before != reference:
        _scale_keywords(header, keywords, before / reference, reference)
        edit.mark(0)


def _scale_pixels(edit: FileEdit, index: int, ratio: float) -> None:
    """Multiply the pixels of an extension, or the one value that all have; integers stay as they are."""
    hdu = edit.hdul[index]
    if hdu.data is not None and not np.issubdtype(hdu.data.dtype, np.floating):
        logger.warning("%s[%s,%s] holds integers: not changed", edit.path, hdu.name, hdu.ver)
        return
    if hdu.data is not None:
        hdu.data = (hdu.data.astype(np.float64) * ratio).astype(hdu.data.dtype)
    elif "PIXVALUE" in hdu.header:
        hdu.header["PIXVALUE"] = float(hdu.header["PIXVALUE"]) * ratio
    edit.mark(index)


def _scale_keywords(
    header: fits.Header, keywords: PhotometryKeywords, ratio: float, reference: float
) -> None:
    """Give a header the reference, and what follows from it."""
    if keywords.phot_kwd in header:
        header[keywords.phot_kwd] = reference
    for keyword in keywords.aux_phot_kwd:
        value = header_number(header, keyword)
        if value is not None:
            header[keyword] = value / ratio
    for keyword in _SKY_KEYWORDS:
        value = header_number(header, keyword)
        if value is not None:
            header[keyword] = value * ratio
