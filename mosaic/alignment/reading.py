"""Sources of the inputs: found on their chips or taken from catalogues.

Covers the headers of files, user catalogues, and leaving out what stays on the detector. Does not cover the
pixels of a chip (`search`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from astropy.io import fits

from mosaic.alignment.catalogs import FluxLimits, read_catalog_list, read_columns, select_rows
from mosaic.alignment.exclusions import read_exclusions
from mosaic.alignment.finding import Sources
from mosaic.alignment.hot_pixels import leave_out_fixed
from mosaic.alignment.images import ChipSources, ImageSources
from mosaic.alignment.search import ChipPlace, Found, Search
from mosaic.alignment.settings import AlignSettings, FindSettings
from mosaic.errors import (
    CatalogError,
    ExposureError,
    MissingFileError,
    StructureError,
    WcsNameExistsError,
)
from mosaic.exposure.blocks import data_block
from mosaic.exposure.inputs import root_name, strip_compression
from mosaic.exposure.instruments import HeaderPair
from mosaic.exposure.model import DataBlock, Exposure
from mosaic.exposure.storage import open_fits
from mosaic.geometry.wcs import ChipWcs, header_number
from mosaic.solutions.alternates import wcs_names


@dataclass(frozen=True, slots=True)
class _Opened:
    """What the headers of a file say."""

    image: ImageSources
    """The file, without sources."""
    places: list[ChipPlace]
    """Its chips."""
    names: frozenset[str] = frozenset()
    """Names of the WCS, primary and alternate, of its SCI extensions, in upper case."""


def read_images(
    paths: Sequence[str],
    settings: AlignSettings,
    catalogs: Mapping[str, tuple[Path, ...]],
    *,
    cores: int,
    memory_bytes: int,
    rejected: list[ExposureError] | None = None,
) -> list[ImageSources]:
    """Find the sources of all inputs, chips in parallel.

    Parameters
    ----------
    paths : sequence of str
        Inputs.
    settings : AlignSettings
        Parameters.
    catalogs : mapping of str to tuple of Path
        Catalogues of the chips given beside the inputs; they win over ``catfile``.
    cores : int
        Chips worked on at a time.
    memory_bytes : int
        What all of them together may use.
    rejected : list of ExposureError, optional
        Takes the errors of files that cannot be used, which are left out then; None: the first is raised.

    Raises
    ------
    MissingFileError, TruncatedFileError, StructureError, WcsError, CatalogError
        As their names say.
    BudgetError
        When one chip does not fit the memory.
    """
    excluded = read_exclusions(Path(settings.exclusions)) if settings.exclusions else {}
    opened = []
    with _search(settings, cores=cores, memory_bytes=memory_bytes) as search:
        for path in paths:
            try:
                file = _open(path, () if path in catalogs else excluded.get(Path(path).name, ()))
            except ExposureError as error:
                if rejected is None:
                    raise
                rejected.append(error)
                continue
            if settings.updatehdr:
                _require_new_name(file, settings)
            opened.append(file)
            if path not in catalogs and not settings.catfile:
                _begin(search, file, settings)
        if settings.catfile:
            listed = read_catalog_list(Path(settings.catfile), [file.image.name for file in opened])
            catalogs = {file.image.path: listed[file.image.name] for file in opened} | dict(catalogs)
        return _collect(opened, settings, catalogs, search.results(), rejected)


def read_exposures(
    exposures: Sequence[Exposure], settings: AlignSettings, *, cores: int, memory_bytes: int
) -> list[ImageSources]:
    """Find the sources of exposures that the catalogue described, with the WCS that it chose.

    Parameters and errors are those of `read_images`.
    """
    excluded = read_exclusions(Path(settings.exclusions)) if settings.exclusions else {}
    opened = []
    with _search(settings, cores=cores, memory_bytes=memory_bytes) as search:
        for exposure in exposures:
            masks = [*excluded.get(exposure.filename, ()), *(None for _ in exposure.chips)]
            places = [
                ChipPlace(
                    exposure.path,
                    chip.extver,
                    chip.hdu_index,
                    chip.wcs,
                    mask,
                    chip.sci,
                    chip.dq,
                    chip.rootname,
                )
                for chip, mask in zip(exposure.chips, masks, strict=False)
            ]
            detector = f"{exposure.instrument} {exposure.detector}".strip()
            epoch = 0.5 * (exposure.expstart_mjd + exposure.expend_mjd)
            image = ImageSources(exposure.path, detector, epoch, (), (), exposure.filename)
            opened.append(_Opened(image, places))
            _begin(search, opened[-1], settings)
        return _collect(opened, settings, {}, search.results())


def _search(settings: AlignSettings, *, cores: int, memory_bytes: int) -> Search:
    """Search of the inputs, for sources or for their light."""
    block = settings.correlation_block if settings.method == "correlation" else 0
    return Search(settings, block, cores=cores, memory_bytes=memory_bytes)


def _begin(search: Search, file: _Opened, settings: AlignSettings) -> None:
    """Begin the search of the chips of a file."""
    for place in file.places:
        search.add(_cleaned(place, settings.cleaned))


def _collect(
    opened: Sequence[_Opened],
    settings: AlignSettings,
    catalogs: Mapping[str, tuple[Path, ...]],
    found: Mapping[tuple[str, int], Found],
    rejected: list[ExposureError] | None = None,
) -> list[ImageSources]:
    """Sources of images from their catalogues, or found on their chips."""
    images = []
    for file in opened:
        image, places = file.image, file.places
        if image.path in catalogs:
            pairs = _paired(places, catalogs[image.path])
            chips = tuple(_listed(place, listed, settings) for place, listed in pairs)
            images.append(replace(image, chips=chips))
            continue
        results = [found[image.path, place.hdu_index] for place in places]
        errors = [result for result in results if isinstance(result, ExposureError)]
        if errors and rejected is None:
            raise errors[0]
        if errors and rejected is not None:
            rejected.append(errors[0])
            continue
        parts = [result for result in results if not isinstance(result, ExposureError)]
        notes = tuple(note for _, ignored in parts for note in ignored)
        images.append(replace(image, chips=tuple(chip for chip, _ in parts), notes=notes))
    return leave_out_fixed(images, settings) if settings.reject_fixed else images


def read_chip_wcs(path: str) -> list[ChipWcs]:
    """Read the WCS of every chip of a file; errors as for `read_images`."""
    return [place.wcs for place in _open(path, ()).places]


def read_reference_image(
    path: str, find: FindSettings, *, cores: int, memory_bytes: int, block: int = 0
) -> ImageSources:
    """Find the sources of a reference image, or medians of its blocks; errors as for `read_images`."""
    file = _open(path, ())
    with Search(find, block, cores=cores, memory_bytes=memory_bytes) as search:
        for place in file.places:
            search.add(place)
        results = search.results().values()
    chips = []
    for result in results:
        if isinstance(result, ExposureError):
            raise result
        chips.append(result[0])
    return replace(file.image, chips=tuple(chips))


def _open(path: str, exclusions: Sequence[Path | None]) -> _Opened:
    """Headers of a file: what it is, and its chips."""
    try:
        with open_fits(path) as hdul:
            primary = hdul[0].header
            indices = [i for i, hdu in enumerate(hdul) if hdu.name == "SCI"]
            names = frozenset(name.upper() for i in indices for name in wcs_names(hdul[i].header).values())
            if not indices and primary.get("NAXIS") == 2:
                indices = [0]
            places = []
            for number, index in enumerate(indices):
                extver = int(hdul[index].header.get("EXTVER", 1)) if index else 0
                wcs = ChipWcs.from_hdulist(hdul, index, exposure=path, chip=f"sci,{extver}")
                mask = exclusions[number] if number < len(exclusions) else None
                places.append(ChipPlace(path, extver, index, wcs, mask, *_blocks(hdul, index, path)))
    except OSError as error:
        cause = " ".join(str(error).split())
        raise MissingFileError(
            path, f"cannot be read: {cause}", "correct the name or leave it out"
        ) from error
    if not places:
        raise StructureError(path, "has no SCI extension", "give calibrated exposures or drizzled images")
    start, end = header_number(primary, "EXPSTART"), header_number(primary, "EXPEND")
    epoch = None if start is None else 0.5 * (start + (start if end is None else end))
    detector = f"{primary.get('INSTRUME', '')} {primary.get('DETECTOR', '')}".strip()
    return _Opened(ImageSources(path, detector, epoch, ()), places, names)


def _require_new_name(file: _Opened, settings: AlignSettings) -> None:
    """Refuse a new name that a file has already, as primary or alternate, unless `reusename`."""
    if not settings.reusename and settings.wcsname.upper() in file.names:
        raise WcsNameExistsError(
            f"{file.image.path}: there is a WCS named {settings.wcsname} already; choose another wcsname or "
            "set reusename"
        )


def _blocks(hdul: fits.HDUList, index: int, path: str) -> tuple[DataBlock | None, DataBlock | None]:
    """Where pixels and flags of a chip lie in the file; nothing when astropy has to read them."""
    headers = HeaderPair(path, "", hdul[0].header, hdul[index].header, int(hdul[index].ver))
    science = _plain_block(hdul[index], path, headers)
    flags = [hdu for hdu in hdul if hdu.name == "DQ" and hdu.ver == headers.extver]
    if science is None or not flags:
        return science, None
    dq = _plain_block(flags[0], path, headers)
    return (None, None) if dq is None or dq.shape_yx != science.shape_yx else (science, dq)


def _plain_block(hdu: Any, path: str, headers: HeaderPair) -> DataBlock | None:  # noqa: ANN401  (astropy)
    """Place of an image that is stored as it is; None for a compressed one, or with undefined integers."""
    is_plain = isinstance(hdu, fits.ImageHDU | fits.PrimaryHDU) and strip_compression(path) == path
    if not is_plain or "BLANK" in hdu.header or hdu.header.get("NAXIS") != 2:
        return None
    return data_block(hdu, path, headers)


def _paired(places: Sequence[ChipPlace], files: Sequence[Path]) -> list[tuple[ChipPlace, Path]]:
    """Chips with their catalogues; chips beyond the list have none."""
    if len(files) > len(places) or not files:
        raise CatalogError(
            f"{places[0].path} has {len(places)} chips but {len(files)} catalogues; give one per chip"
        )
    return list(zip(places, files, strict=False))


def _listed(place: ChipPlace, file: Path, settings: AlignSettings) -> ChipSources:
    """Sources of a chip from a catalogue."""
    catalog = read_columns(file, (settings.xcol, settings.ycol, settings.fluxcol))
    limits = FluxLimits(settings.minflux, settings.maxflux, settings.fluxunits, settings.nbright)
    rows = select_rows(catalog, limits, str(file))
    x, y = catalog.first[rows] - 1.0, catalog.second[rows] - 1.0
    if settings.xyunits == "degrees":
        raise CatalogError(f"{file}: catalogues of inputs in degrees are of no use here; give pixels")
    return ChipSources(
        place.extver, place.hdu_index, place.wcs, math.nan, Sources.from_positions(x, y, catalog.flux[rows])
    )


def _cleaned(place: ChipPlace, folder: str) -> ChipPlace:
    """Chip whose pixels are those of a cleaned copy in a folder, if one was named."""
    if not folder:
        return place
    name = place.rootname or root_name(place.path)
    return replace(place, cleaned=str(Path(folder) / f"{name}_crclean.fits"))
