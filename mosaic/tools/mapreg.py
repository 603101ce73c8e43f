"""Carry DS9 regions from the sky, or from the pixels of a reference image, to the pixels of exposures.

Covers one region file per chip and the list that TweakReg takes as ``exclusions``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from astropy.io import fits

from mosaic.errors import OutputError, ParameterError
from mosaic.exposure.storage import open_fits
from mosaic.geometry.wcs import ChipWcs
from mosaic.products.partial import PartialFile
from mosaic.tools.extensions import ImageName, find_extension, find_files, read_wcs
from mosaic.tools.region_images import Filter, is_inside, to_image, to_sky
from mosaic.tools.regions import Region, read_regions, write_text

logger = logging.getLogger(__name__)

_FILTERS: Final = ("all", "fast", "precise")


@dataclass(frozen=True, slots=True)
class MappedRegions:
    """Regions of one extension."""

    image: Path
    """The exposure."""
    extension: str
    """``name,version`` or an index."""
    path: Path | None
    """Region file; None when no region is left."""
    n_regions: int
    """Regions in it."""


@dataclass(frozen=True, slots=True)
class RegionMap:
    """What is mapped, and how."""

    extensions: str | int | Sequence[int] = "sci"
    """EXTNAME (all its EXTVERs), ``name,version``, index, or several with ``;`` between."""
    how: Filter = "all"
    """Which regions are kept: all, those whose box overlaps the image, or those that truly overlap."""
    append: bool = False
    """Add to region files that exist."""


def map_regions(
    regions: str | Sequence[str],
    images: str | Sequence[str],
    outpath: Path,
    how: RegionMap | None = None,
    *,
    reference: str = "",
    chip_regions: str = "",
    list_name: str = "",
) -> list[MappedRegions]:
    """Write the regions of every extension of every image into files of their own.

    Parameters
    ----------
    regions : str or sequence of str
        DS9 region files, globs, comma lists.
    images : str or sequence of str
        Exposures.
    outpath : Path
        Existing folder; the files are ``<image>_<ext><ver>_twreg.reg``.
    how : RegionMap, optional
        Extensions and filter.
    reference : str
        Image with extension, in whose pixels regions in image coordinates are given.
    chip_regions : str
        Region file in chip pixels that is added to every file as it is.
    list_name : str
        Name, in `outpath`, of the list ``image regions...``; empty for none.

    Returns
    -------
    list of MappedRegions
        One for every extension.

    Raises
    ------
    ParameterError
        When regions cannot be read, are in pixels without a reference, or a name is wrong.
    OutputError
        When `outpath` is not a folder.
    """
    how = how or RegionMap()
    if how.how not in _FILTERS:
        raise ParameterError(f"filter={how.how!r} is not one of {', '.join(_FILTERS)}")
    if not outpath.is_dir():
        raise OutputError(f"{outpath} is not a folder; create it or choose another output folder")
    shapes = _sky_shapes(regions, reference)
    added = [_in_pixels(region, chip_regions) for region in _read(chip_regions)] if chip_regions else []
    mapped = []
    for image in find_files(images):
        with open_fits(str(image)) as hdul:
            for index, label, suffix in _targets(hdul, image, how.extensions):
                wcs = ChipWcs.from_hdulist(hdul, index, exposure=str(image), chip=label)
                found = [shape for region in shapes if (shape := to_image(region, wcs)) is not None]
                kept = [shape for shape in found if is_inside(shape, wcs.shape_yx, how.how)] + added
                path = outpath / f"{image.stem}_{suffix}_twreg.reg"
                n_regions = _write(path, kept, append=how.append)
                mapped.append(MappedRegions(image, label, path if n_regions else None, n_regions))
    if list_name:
        _write_list(outpath / list_name, mapped)
    return mapped


def _sky_shapes(regions: str | Sequence[str], reference: str) -> list[Region]:
    """All shapes, on the sky."""
    shapes = [region for path in find_files(regions) for region in _read(str(path))]
    if not any(region.frame == "image" for region in shapes):
        return shapes
    if not reference:
        raise ParameterError("regions in image coordinates need a reference image (refimg)")
    wcs = read_wcs(reference)
    return [to_sky(region, wcs) for region in shapes]


def _read(path: str) -> tuple[Region, ...]:
    found = read_regions(path)
    for line in found.ignored:
        logger.warning("%s, %s is not understood and left out", path, line)
    return found.regions


def _in_pixels(region: Region, path: str) -> Region:
    if region.frame != "image":
        raise ParameterError(f"chip regions in {path} must be in image coordinates")
    return region


def _targets(
    hdul: fits.HDUList, image: Path, extensions: str | int | Sequence[int]
) -> list[tuple[int, str, str]]:
    """Index, label and file suffix of the wanted extensions."""
    if isinstance(extensions, str):
        entries = [entry.strip() for entry in extensions.split(";") if entry.strip()]
    else:
        entries = [str(entry) for entry in ([extensions] if isinstance(extensions, int) else extensions)]
    targets = []
    for entry in entries:
        if entry.isdigit():
            index = find_extension(hdul, ImageName(str(image), entry))
            targets.append((index, entry, f"extn{entry}"))
        elif "," in entry:
            index = find_extension(hdul, ImageName(str(image), entry.replace(" ", "")))
            targets.append((index, *_names(hdul, index)))
        else:
            indices = [i for i, hdu in enumerate(hdul) if hdu.name == entry.upper()]
            if not indices:
                raise ParameterError(f"{image} has no extension {entry!r}; correct img_wcs_ext")
            targets += [(i, *_names(hdul, i)) for i in indices]
    return targets


def _names(hdul: fits.HDUList, index: int) -> tuple[str, str]:
    hdu = hdul[index]
    return f"{hdu.name.lower()},{hdu.ver}", f"{hdu.name.lower()}{hdu.ver}"


def _write(path: Path, regions: list[Region], *, append: bool) -> int:
    """Write the shapes, after those that are there when asked; the number in the file."""
    before = list(read_regions(path).regions) if append and path.is_file() else []
    regions = before + regions
    if not regions:
        path.unlink(missing_ok=True)
        return 0
    with PartialFile(path) as out:
        out.write(write_text(regions).encode())
        out.publish()
    return len(regions)


def _write_list(path: Path, mapped: Sequence[MappedRegions]) -> None:
    """Write one line per image: its name and a region file, or None, for each extension."""
    rows: dict[Path, list[str]] = {}
    for item in mapped:
        rows.setdefault(item.image, []).append(item.path.name if item.path else "None")
    lines = [f"{image.name} {' '.join(names)}" for image, names in rows.items()]
    with PartialFile(path) as out:
        out.write(("\n".join(lines) + "\n").encode())
        out.publish()
