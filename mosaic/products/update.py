"""Write what a job found back into copies of the exposures, or into the exposures themselves, when asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from mosaic.exposure.dq import resolve_mask
from mosaic.exposure.model import Chip, Exposure
from mosaic.exposure.reader import read_dq, read_rows
from mosaic.exposure.storage import open_fits
from mosaic.graph.job import Job, chip_task
from mosaic.graph.store import MASK_BAND_ROWS, output_error, read_mask
from mosaic.graph.tasks import blot_band
from mosaic.products.dq_update import SKY_COMMENT, DqBits, write_dq_update
from mosaic.products.naming import ExposureNames, ProductNames
from mosaic.steps.cosmic_rays import blot_level, blot_to_native
from mosaic.types import BoolArray, Window


def write_cleaned(job: Job, names: ProductNames) -> list[Path]:
    """Write copies of the exposures with bad pixels replaced by the blotted median (``driz_cr_corr``).

    Replaced are cosmic rays and every pixel with a flag other than ``crbit``, as in DrizzlePac; ``crbit``
    is set for the cosmic rays of each chip and all other flags are kept. Flags that lie in another file, as
    with WFPC2, become DQ extensions of the copy. Memory is that of one exposure.
    """
    settings = job.plan.settings
    if not (settings.driz_cr and settings.driz_cr_corr):
        return []
    written = []
    for exposure in job.plan.exposures:
        target = names.path(ExposureNames(exposure.rootname).cleaned)
        temporary = target.with_name(f".{target.name}.part")
        with open_fits(exposure.chips[0].sci.path) as hdul:
            for chip in exposure.chips:
                _clean_chip(job, chip, hdul)
                sky = job.sky[chip.name].recorded
                if sky is not None:
                    hdul[chip.hdu_index].header["MDRIZSKY"] = (sky, SKY_COMMENT)
            if exposure.is_imset:
                _keep_only(hdul, exposure)
            try:
                hdul.writeto(temporary, overwrite=True, output_verify="ignore")
            except OSError as error:
                temporary.unlink(missing_ok=True)
                raise output_error(error, target) from error
        temporary.replace(target)
        written.append(target)
    return written


def _clean_chip(job: Job, chip: Chip, hdul: fits.HDUList) -> None:
    """Replace the bad pixels of one chip in memory, band by band."""
    settings = job.plan.settings
    index = job.chip_index[chip_task(chip)]
    is_peer = settings.peer_compat
    level = blot_level(job.sky[chip.name], addsky=settings.blot_addsky, skyval=settings.blot_skyval)
    sci = hdul[chip.hdu_index].data
    flags = None if is_peer else _flags_to_write(chip, hdul)
    is_replaced = np.zeros(chip.shape_yx, dtype=np.bool_)
    for y0 in range(0, chip.shape_yx.ny, MASK_BAND_ROWS):
        band = Window(y0, min(y0 + MASK_BAND_ROWS, chip.shape_yx.ny), 0, chip.shape_yx.nx)
        is_hit = read_mask(job.store, f"cosmic_rays/{chip_task(chip)}", band)
        is_bad = is_hit | ~job.good_flags(index, band, int(settings.crbit))
        blot = blot_to_native(blot_band(job, index, band), chip, level)
        sci[band.slices][is_bad] = blot[is_bad]
        is_replaced[band.slices] = is_bad
        if flags is not None:
            part = flags[band.slices]
            part[is_hit] = (part[is_hit].astype(np.uint16) | np.uint16(settings.crbit)).astype(part.dtype)
    if is_peer and ("DQ", 1) in hdul and chip.dq is not None and chip.dq.path == chip.sci.path:
        # DrizzlePac writes the flags of every chip into the first DQ extension: those of the last one stay.
        hdul["DQ", 1].data = np.where(is_replaced, np.uint16(settings.crbit), np.uint16(0))


def _flags_to_write(chip: Chip, hdul: fits.HDUList) -> NDArray[np.integer] | None:
    """Flags of a chip in its copy, to be changed there; from another file they are appended to the copy."""
    if chip.dq is None:
        return None
    if chip.dq.path != chip.sci.path:
        whole = Window(0, chip.shape_yx.ny, 0, chip.shape_yx.nx)
        hdul.append(fits.ImageHDU(read_dq(chip, whole).view(np.int16), name="DQ", ver=chip.file_extver))
        hdul[0].header["NEXTEND"] = len(hdul) - 1
    flags: NDArray[np.integer] = hdul["DQ", chip.file_extver].data
    return flags


def _whole_files(exposures: Sequence[Exposure]) -> list[Exposure]:
    """Exposures with the chips of all others in the same file: a file is written once."""
    files: dict[str, Exposure] = {}
    for exposure in exposures:
        before = files.get(exposure.path)
        files[exposure.path] = (
            exposure if before is None else replace(before, chips=before.chips + exposure.chips)
        )
    return list(files.values())


def _keep_only(hdul: fits.HDUList, exposure: Exposure) -> None:
    """Take the other exposures out of a file that holds several; what is left gets EXTVER 1."""
    (chip,) = exposure.chips
    for index in range(len(hdul) - 1, 0, -1):
        if int(hdul[index].ver) == chip.file_extver:
            hdul[index].ver = 1
        else:
            del hdul[index]


def update_inputs(job: Job, names: ProductNames) -> list[Path]:
    """Write cosmic rays (``crbit``) and sky (MDRIZSKY) as ``dq_update`` says; nothing by default.

    Copies go to the folder ``<root>_inputs`` beside the products, so that the job folder may be deleted.
    """
    settings = job.plan.settings
    if settings.dq_update == "none":
        return []
    bits = DqBits(int(settings.crbit), resolve_mask(settings.resetbits, "resetbits"))

    def cosmic_rays(chip: Chip, window: Window) -> BoolArray:
        # The system replaced flags its inputs while it makes the product: no product, no flags.
        if chip.kept_hits is not None and settings.driz_combine:
            is_hit: BoolArray = read_rows(chip.kept_hits, window) == 0
            return is_hit
        if not settings.driz_cr or (settings.peer_compat and not settings.driz_combine):
            return np.zeros(window.shape_yx, dtype=np.bool_)
        return read_mask(job.store, f"cosmic_rays/{chip_task(chip)}", window)

    folder = names.path(f"{names.rootname}_inputs")
    written: list[Path] = []
    for exposure in _whole_files(job.plan.exposures):
        recorded = {chip.hdu_index: job.sky[chip.name].recorded for chip in exposure.chips}
        sky = {index: value for index, value in recorded.items() if value is not None}
        written += write_dq_update(
            exposure, cosmic_rays, bits, mode=settings.dq_update, folder=folder, sky=sky
        )
    return written
