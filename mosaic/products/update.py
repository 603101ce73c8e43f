"""Write what a job found back into copies of the exposures, or into the exposures themselves, when asked."""

from __future__ import annotations

from pathlib import Path

from mosaic.exposure.dq import resolve_mask
from mosaic.exposure.model import Chip
from mosaic.graph.job import Job, chip_task
from mosaic.graph.store import read_mask
from mosaic.products.dq_update import DqBits, write_dq_update
from mosaic.products.naming import ProductNames
from mosaic.types import BoolArray, Window


def update_inputs(job: Job, names: ProductNames) -> list[Path]:
    """Write cosmic rays (``crbit``) and sky (MDRIZSKY) as ``dq_update`` says; nothing by default.

    Copies go to the folder ``<root>_inputs`` beside the products, so that the job folder may be deleted.
    """
    settings = job.plan.settings
    if settings.dq_update == "none" or not settings.driz_cr:
        return []
    bits = DqBits(int(settings.crbit), resolve_mask(settings.resetbits, "resetbits"))

    def cosmic_rays(chip: Chip, window: Window) -> BoolArray:
        return read_mask(job.store, f"cosmic_rays/{chip_task(chip)}", window)

    folder = names.path(f"{names.rootname}_inputs")
    written: list[Path] = []
    for exposure in job.plan.exposures:
        sky = {chip.extver: job.sky[chip.name].background for chip in exposure.chips}
        written += write_dq_update(
            exposure, cosmic_rays, bits, mode=settings.dq_update, folder=folder, sky=sky
        )
    return written
