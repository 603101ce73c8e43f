"""Source lists of the inputs: found on their chips or taken from catalogues, with sky positions.

Covers reading chips one at a time within a memory bound, data quality, exclusions, user catalogues, and
leaving out what stays on the detector. Does not cover the search itself (`finding`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from astropy.io import fits

from mosaic.alignment.catalogs import FluxLimits, read_catalog_list, read_columns, select_rows
from mosaic.alignment.exclusions import read_exclusions, region_mask
from mosaic.alignment.finding import Sources, background_sigma, find_sources
from mosaic.alignment.hot_pixels import leave_out_fixed
from mosaic.alignment.settings import AlignSettings, FindSettings
from mosaic.errors import (
    BudgetError,
    CatalogError,
    ExposureError,
    MissingFileError,
    ParameterError,
    StructureError,
    TruncatedFileError,
)
from mosaic.exposure.blocks import data_block
from mosaic.exposure.dq import good_mask, parse_bits
from mosaic.exposure.inputs import root_name, strip_compression
from mosaic.exposure.instruments import HeaderPair
from mosaic.exposure.model import DataBlock, Exposure
from mosaic.exposure.reader import as_flags, read_rows
from mosaic.exposure.storage import open_fits
from mosaic.geometry.wcs import ChipWcs, header_number
from mosaic.types import BoolArray, DoubleArray, FloatArray, Window

_BYTES_PER_PIXEL = 40
"""Pixels, flags, smoothed pixels, labels and masks of one chip while sources are found on it."""


@dataclass(frozen=True, slots=True)
class ChipSources:
    """Sources of one chip."""

    extver: int
    """EXTVER of the SCI extension; 0 for an image in the primary HDU."""
    hdu_index: int
    """Its index in the file."""
    wcs: ChipWcs
    """Its WCS as it is in the file."""
    sigma: float
    """Noise of the background, native units; NaN when sources come from a catalogue."""
    sources: Sources
    """Sources."""
    n_fixed: int = 0
    """Sources left out because they stay on their detector pixel."""
    light: FloatArray | None = None
    """Medians of blocks of pixels, when exposures are compared by correlation."""


@dataclass(frozen=True, slots=True)
class ImageSources:
    """Sources of one file."""

    path: str
    """The file."""
    detector: str
    """Instrument and detector."""
    epoch_mjd: float | None
    """Middle of the exposure."""
    chips: tuple[ChipSources, ...]
    """Chips in the order of the file."""
    notes: tuple[str, ...] = ()
    """What was ignored."""
    filename: str = ""
    """Base name it would have as a file of its own; empty: that of `path`."""

    @property
    def name(self) -> str:
        """Base name of the file."""
        return self.filename or Path(self.path).name

    @property
    def root(self) -> str:
        """Base name without the ending."""
        return self.name.removesuffix(".gz").removesuffix(".fits")

    def __len__(self) -> int:
        return sum(len(chip.sources) for chip in self.chips)

    def column(self, name: str) -> DoubleArray:
        """Values of all chips of a column of `Sources`."""
        return np.concatenate([getattr(chip.sources, name) for chip in self.chips])

    @property
    def extver(self) -> np.ndarray:
        """Extension of every source."""
        return np.repeat([chip.extver for chip in self.chips], [len(chip.sources) for chip in self.chips])

    def sky(self) -> tuple[DoubleArray, DoubleArray]:
        """Right ascension and declination of every source, degrees."""
        parts = [chip.wcs.pixel_to_sky(chip.sources.x, chip.sources.y) for chip in self.chips]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


@dataclass(frozen=True, slots=True)
class _ChipPlace:
    """A chip to be searched."""

    path: str
    extver: int
    hdu_index: int
    wcs: ChipWcs
    exclusion: Path | None
    science: DataBlock | None = None
    """Where its pixels lie, when that is known; else the file is opened."""
    dq: DataBlock | None = None
    """Where its flags lie."""
    rootname: str = ""
    """Name of the exposure among those that the catalogue described."""
    cleaned: str = ""
    """Copy of the file without cosmic rays that is searched in its place."""


_Found: TypeAlias = tuple[ChipSources, list[str]] | ExposureError


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
    for path in paths:
        try:
            opened.append(_open(path, () if path in catalogs else excluded.get(Path(path).name, ())))
        except ExposureError as error:
            if rejected is None:
                raise
            rejected.append(error)
    return _collect(opened, settings, catalogs, cores=cores, memory_bytes=memory_bytes, rejected=rejected)


def read_exposures(
    exposures: Sequence[Exposure], settings: AlignSettings, *, cores: int, memory_bytes: int
) -> list[ImageSources]:
    """Find the sources of exposures that the catalogue described, with the WCS that it chose.

    Parameters and errors are those of `read_images`.
    """
    excluded = read_exclusions(Path(settings.exclusions)) if settings.exclusions else {}
    opened = []
    for exposure in exposures:
        masks = [*excluded.get(exposure.filename, ()), *(None for _ in exposure.chips)]
        places = [
            _ChipPlace(
                exposure.path, chip.extver, chip.hdu_index, chip.wcs, mask, chip.sci, chip.dq, chip.rootname
            )
            for chip, mask in zip(exposure.chips, masks, strict=False)
        ]
        detector = f"{exposure.instrument} {exposure.detector}".strip()
        epoch = 0.5 * (exposure.expstart_mjd + exposure.expend_mjd)
        opened.append((ImageSources(exposure.path, detector, epoch, (), (), exposure.filename), places))
    return _collect(opened, settings, {}, cores=cores, memory_bytes=memory_bytes)


def _collect(
    opened: Sequence[tuple[ImageSources, list[_ChipPlace]]],
    settings: AlignSettings,
    catalogs: Mapping[str, tuple[Path, ...]],
    *,
    cores: int,
    memory_bytes: int,
    rejected: list[ExposureError] | None = None,
) -> list[ImageSources]:
    """Sources of images from their catalogues, or found on their chips."""
    if settings.catfile:
        listed = read_catalog_list(Path(settings.catfile), [image.name for image, _ in opened])
        catalogs = {image.path: listed[image.name] for image, _ in opened} | dict(catalogs)
    unlisted = [places for image, places in opened if image.path not in catalogs]
    searched = [_cleaned(place, settings.cleaned) for place in chain.from_iterable(unlisted)]
    block = settings.correlation_block if settings.method == "correlation" else 0
    found = _search(searched, settings, block, cores=cores, memory_bytes=memory_bytes)
    images = []
    for image, places in opened:
        if image.path in catalogs:
            pairs = _paired(places, catalogs[image.path])
            chips = tuple(_listed(place, file, settings) for place, file in pairs)
            images.append(replace(image, chips=chips))
        else:
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
    return [place.wcs for place in _open(path, ())[1]]


def read_reference_image(
    path: str, find: FindSettings, *, cores: int, memory_bytes: int, block: int = 0
) -> ImageSources:
    """Find the sources of a reference image, or medians of its blocks; errors as for `read_images`."""
    image, places = _open(path, ())
    chips = []
    for result in _search(places, find, block, cores=cores, memory_bytes=memory_bytes).values():
        if isinstance(result, ExposureError):
            raise result
        chips.append(result[0])
    return replace(image, chips=tuple(chips))


def _search(
    places: Sequence[_ChipPlace], find: FindSettings, block: int, *, cores: int, memory_bytes: int
) -> dict[tuple[str, int], _Found]:
    """Sources of chips by file and HDU, or why a chip cannot be read."""
    if not places:
        return {}
    largest = max(math.prod(place.wcs.shape_yx) for place in places) * _BYTES_PER_PIXEL
    if largest > memory_bytes:
        raise BudgetError(
            f"finding sources on a chip takes {largest} bytes, {memory_bytes} were granted; give more memory"
        )
    with ThreadPoolExecutor(max(1, min(cores, memory_bytes // largest))) as pool:
        results = list(pool.map(lambda place: _find(place, find, block), places))
    return {(p.path, p.hdu_index): result for p, result in zip(places, results, strict=True)}


def _open(path: str, exclusions: Sequence[Path | None]) -> tuple[ImageSources, list[_ChipPlace]]:
    """Headers of a file: what it is, and its chips."""
    try:
        with open_fits(path) as hdul:
            primary = hdul[0].header
            indices = [i for i, hdu in enumerate(hdul) if hdu.name == "SCI"]
            if not indices and primary.get("NAXIS") == 2:
                indices = [0]
            places = []
            for number, index in enumerate(indices):
                extver = int(hdul[index].header.get("EXTVER", 1)) if index else 0
                wcs = ChipWcs.from_hdulist(hdul, index, exposure=path, chip=f"sci,{extver}")
                mask = exclusions[number] if number < len(exclusions) else None
                places.append(_ChipPlace(path, extver, index, wcs, mask, *_blocks(hdul, index, path)))
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
    return ImageSources(path, detector, epoch, ()), places


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


def _paired(places: Sequence[_ChipPlace], files: Sequence[Path]) -> list[tuple[_ChipPlace, Path]]:
    """Chips with their catalogues; chips beyond the list have none."""
    if len(files) > len(places) or not files:
        raise CatalogError(
            f"{places[0].path} has {len(places)} chips but {len(files)} catalogues; give one per chip"
        )
    return list(zip(places, files, strict=False))


def _listed(place: _ChipPlace, file: Path, settings: AlignSettings) -> ChipSources:
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


def _find(place: _ChipPlace, find: FindSettings, block: int) -> _Found:
    """Read a chip and find its sources; an error of its file is the result."""
    try:
        return _find_on_chip(place, find, block)
    except ExposureError as error:
        return error
    except ParameterError:
        raise
    except (OSError, ValueError, TypeError) as error:
        cause = " ".join(str(error).split())
        remedy = "fetch the file again or leave it out"
        return TruncatedFileError(
            place.path, f"its pixels cannot be read: {cause}", remedy, f"sci,{place.extver}"
        )


def _cleaned(place: _ChipPlace, folder: str) -> _ChipPlace:
    """Chip whose pixels are those of a cleaned copy in a folder, if one was named."""
    if not folder:
        return place
    name = place.rootname or root_name(place.path)
    return replace(place, cleaned=str(Path(folder) / f"{name}_crclean.fits"))


def _find_on_chip(place: _ChipPlace, find: FindSettings, block: int) -> tuple[ChipSources, list[str]]:
    bits = parse_bits(find.dqbits, "dqbits")
    ignored: list[str] = []
    if place.science is None or place.cleaned:
        image, is_good = _read_file(place, bits)
    else:
        image, is_good = _read_blocks(place, place.science, bits)
    sigma = background_sigma(image, is_good, find)
    if place.exclusion is not None:
        allowed, ignored = region_mask(place.exclusion, place.wcs.shape_yx, place.wcs)
        is_good = allowed if is_good is None else is_good & allowed
        ignored = [f"{place.exclusion}: ignored {line!r}" for line in ignored]
    if block:
        nothing = Sources.from_positions(*(np.empty(0) for _ in range(3)))
        light = block_medians(image, is_good, block)
        return ChipSources(place.extver, place.hdu_index, place.wcs, sigma, nothing, light=light), ignored
    sources = find_sources(image, is_good, sigma, find)
    sources = sources.take(np.argsort(-sources.flux, kind="stable"))
    return ChipSources(place.extver, place.hdu_index, place.wcs, sigma, sources), ignored


def _read_file(place: _ChipPlace, bits: int | None) -> tuple[FloatArray, BoolArray | None]:
    """Pixels of a chip, and where its flags are good; None when they are not used."""
    with open_fits(place.cleaned or place.path) as hdul:
        data = hdul[place.hdu_index].data
        if data is not None and data.shape != place.wcs.shape_yx:
            problem = f"{place.cleaned}: its pixels are {data.shape}, not {tuple(place.wcs.shape_yx)}"
            raise StructureError(place.path, problem, "make the copy anew", f"sci,{place.extver}")
        if data is None:
            raise StructureError(place.path, "has no pixels", "leave it out", f"sci,{place.extver}")
        image = np.array(data, dtype=np.float32)
        is_good: BoolArray | None = None
        if bits is not None and ("DQ", place.extver) in hdul and hdul["DQ", place.extver].data is not None:
            is_good = good_mask(hdul["DQ", place.extver].data.astype(np.int64).astype(np.uint16), bits)
    return image, is_good


def _read_blocks(
    place: _ChipPlace, science: DataBlock, bits: int | None
) -> tuple[FloatArray, BoolArray | None]:
    """Likewise, of a chip whose pixels can be read without parsing headers."""
    whole = Window(0, science.shape_yx.ny, 0, science.shape_yx.nx)
    try:
        is_good = None
        if bits is not None and place.dq is not None:
            is_good = good_mask(as_flags(read_rows(place.dq, whole)), bits)
        return np.ascontiguousarray(read_rows(science, whole), dtype=np.float32), is_good
    except (MissingFileError, TruncatedFileError) as error:
        problem = f"{error.exposure} {error.problem}"
        name = place.rootname or place.path
        raise type(error)(name, problem, error.remedy, f"sci,{place.extver}") from error


def block_medians(image: FloatArray, is_good: BoolArray | None, block: int) -> FloatArray:
    """Medians of square blocks of pixels; NaN where fewer than half of a block is good.

    Parameters
    ----------
    image : float32, shape (ny, nx)
        Pixels; rows and columns that fill no block are left out.
    is_good : bool, shape (ny, nx), optional
        Pixels that count.
    block : int
        Side of a block.
    """
    values = image if is_good is None else np.where(is_good, image, np.float32(np.nan))
    ny, nx = (n // block for n in values.shape)
    blocks = values[: ny * block, : nx * block].reshape(ny, block, nx, block).swapaxes(1, 2)
    ordered = np.sort(blocks.reshape(ny, nx, block * block), axis=2)
    n_good = np.isfinite(ordered).sum(axis=2)
    middle = np.maximum(n_good - 1, 0)[:, :, None]
    low, high = (
        np.take_along_axis(ordered, rows, axis=2)[:, :, 0] for rows in (middle // 2, (middle + 1) // 2)
    )
    medians: FloatArray = np.where(2 * n_good > block * block, 0.5 * (low + high), np.nan).astype(np.float32)
    return medians
