"""Set a data-quality bit on trails: those that are found, and those that DS9 regions mark."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from astropy.io import fits

from mosaic.errors import ParameterError, StructureError
from mosaic.exposure.dq import good_mask, parse_bits
from mosaic.exposure.storage import open_fits
from mosaic.geometry.wcs import ChipWcs
from mosaic.tools.extensions import find_files
from mosaic.tools.region_images import combined_mask, to_image
from mosaic.tools.regions import read_regions
from mosaic.tools.resetbits import change_flags
from mosaic.tools.rewrite import editing, require_target, target_of
from mosaic.tools.trails import DEFAULT_PARAMS, Trail, TrailParams, find_trails, trail_mask
from mosaic.types import BoolArray, ShapeYX

logger = logging.getLogger(__name__)

TRAIL_BIT: Final = 16384
"""Bit of satellite trails."""
_IGNORED: Final = 4096 + 8192 + TRAIL_BIT
"""Bits of cosmic rays and trails, which trails themselves may bear."""


@dataclass(frozen=True, slots=True)
class FlaggedTrails:
    """What was found in one chip."""

    path: Path
    """File with the new flags."""
    extver: int
    """EXTVER of the chip."""
    trails: tuple[Trail, ...]
    """Trails found; those of regions are not among them."""
    n_pixels: int
    """Pixels in trails and regions."""


def flag_trails(
    files: str | Sequence[str],
    bit: int | str = TRAIL_BIT,
    params: TrailParams = DEFAULT_PARAMS,
    *,
    region_file: str = "",
    is_detecting: bool = True,
    dry_run: bool = False,
    output: Path | None = None,
) -> list[FlaggedTrails]:
    """Find trails in every chip and set a bit of their pixels.

    Parameters
    ----------
    files : str or sequence of str
        Exposures with SCI and DQ extensions.
    bit : int or str
        Bit to set.
    params : TrailParams
        Thresholds.
    region_file : str
        DS9 regions, on the sky or in pixels of every chip, whose pixels get the bit too.
    is_detecting : bool
        False: regions only.
    dry_run : bool
        Only say what would be flagged.
    output : Path, optional
        File or folder to write; None changes the files themselves.

    Raises
    ------
    ParameterError
        When the bit is none, or regions cannot be read.
    StructureError
        When a chip has no DQ extension.
    """
    mask = parse_bits(bit, "bit")
    if not mask:
        raise ParameterError(f"bit={bit!r} names no bit; give for example {TRAIL_BIT}")
    paths = find_files(files)
    require_target(output, paths)
    found: list[FlaggedTrails] = []
    for path in paths:
        target = target_of(path, output)
        if dry_run:
            with open_fits(str(path)) as hdul:
                found += [
                    item for item, _, _ in _examine(hdul, path, target, params, region_file, is_detecting)
                ]
            continue
        with editing(path, output) as edit:
            for item, index, where in _examine(edit.hdul, path, target, params, region_file, is_detecting):
                if item.n_pixels:
                    change_flags(edit, index, set_where=(mask, where))
                found.append(item)
    return found


def _examine(
    hdul: fits.HDUList,
    path: Path,
    target: Path,
    params: TrailParams,
    region_file: str,
    is_detecting: bool,  # noqa: FBT001
) -> list[tuple[FlaggedTrails, int, BoolArray]]:
    """Trails of every chip, where its flags are, and its mask."""
    examined = []
    versions = [int(hdu.ver) for hdu in hdul if hdu.name == "SCI" and hdu.data is not None]
    if not versions:
        raise StructureError(str(path), "there is no SCI extension with pixels", "name a calibrated exposure")
    for version in versions:
        try:
            index = hdul.index_of(("DQ", version))
        except KeyError as error:
            raise StructureError(
                str(path), "there is no DQ to flag", "restore the file", f"dq,{version}"
            ) from error
        sci, flags = hdul["SCI", version].data, hdul[index].data
        shape = ShapeYX(*sci.shape)
        good = (
            np.ones(shape, dtype=np.bool_) if flags is None else good_mask(flags.astype(np.uint16), _IGNORED)
        )
        trails = find_trails(sci, good, params) if is_detecting else []
        where = trail_mask(trails, shape, params.grow)
        if region_file:
            where |= _region_pixels(hdul, hdul.index_of(("SCI", version)), region_file, shape)
        item = FlaggedTrails(target, version, tuple(trails), int(np.count_nonzero(where)))
        examined.append((item, index, where))
    return examined


def _region_pixels(hdul: fits.HDUList, index: int, region_file: str, shape_yx: ShapeYX) -> BoolArray:
    """Pixels of one chip that the regions cover."""
    found = read_regions(region_file)
    for line in found.ignored:
        logger.warning("%s, %s is not understood and left out", region_file, line)
    regions = list(found.regions)
    if any(region.frame == "sky" for region in regions):
        wcs = ChipWcs.from_hdulist(hdul, index)
        regions = [shape for region in regions if (shape := to_image(region, wcs)) is not None]
    if all(region.is_excluded for region in regions):
        return np.zeros(shape_yx, dtype=np.bool_)
    return combined_mask(regions, shape_yx)
