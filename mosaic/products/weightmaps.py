"""Input weights and sky masks of the chips as images (``clean=False``): computed anew, band by band.

Covers ``*_single_mask.fits`` and ``*_final_mask.fits``, which are weight maps whatever their name says, and
``*_skymatch_mask_*.fits``. Cosmic-ray and static masks are stored and come from `mosaic.products.planes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from mosaic.exposure.dq import parse_bits
from mosaic.exposure.model import Chip
from mosaic.exposure.reader import read_rows
from mosaic.exposure.weights import exposure_scale
from mosaic.graph.drops import final_drops, separate_drops
from mosaic.graph.job import Job
from mosaic.graph.store import read_mask
from mosaic.headers.product import mask_header
from mosaic.products.fits import Plane
from mosaic.products.naming import ExposureNames
from mosaic.types import Window


class ComputedPlane:
    """An image on the pixels of a chip that is computed when its rows are asked for.

    Parameters
    ----------
    chip : Chip
        The chip.
    dtype : str
        Type of the pixels.
    compute : callable (Window) -> array
        Pixels of a window.
    """

    def __init__(self, chip: Chip, dtype: str, compute: Callable[[Window], NDArray[Any]]) -> None:
        self._compute = compute
        self.shape: tuple[int, ...] = tuple(chip.shape_yx)
        self.dtype: np.dtype[Any] = np.dtype(dtype)

    def rows(self, plane: int, y0: int, y1: int) -> NDArray[Any]:
        """Rows ``y0 <= y < y1``."""
        del plane
        return self._compute(Window(y0, y1, 0, self.shape[1])).astype(self.dtype, copy=False)


def weight_scale(job: Job, chip: Chip, *, final: bool) -> float:
    """Scalar that multiplies the weight map of a chip in one of the two drizzle steps.

    1 or what ``*_wt_scl`` says for exposure-time weights; else ``s**-4``, with ``t**2`` for IVM (s: output
    over input pixel scale, t: exposure time).
    """
    settings = job.plan.settings
    if not final or settings.final_wht_type == "EXP":
        return exposure_scale(chip.exptime_s, settings.final_wt_scl if final else settings.driz_sep_wt_scl)
    ratio = job.plan.final.grid.scale_arcsec / chip.idcscale_arcsec
    return float(ratio**-4 * (chip.exptime_s**2 if settings.final_wht_type == "IVM" else 1.0))


def weight_images(job: Job) -> Iterator[tuple[str, fits.Header, Plane]]:
    """Name, header and pixels of every weight map and sky mask of a job."""
    settings = job.plan.settings
    for index, chip in enumerate(job.plan.chips):
        names = ExposureNames(chip.rootname)
        planes: dict[str, Plane] = {}
        if settings.skysub:
            planes[names.sky_mask(chip.extver)] = ComputedPlane(chip, "uint8", _sky_mask(job, index))
        if settings.driz_separate:
            name = names.weight_map(chip.extver, "single")
            planes[name] = ComputedPlane(chip, "float32", _weights(job, index, final=False))
        if settings.driz_combine:
            name = names.weight_map(chip.extver, "final")
            planes[name] = ComputedPlane(chip, "float32", _weights(job, index, final=True))
        for name, plane in planes.items():
            yield name, mask_header(name), plane


def _weights(job: Job, index: int, *, final: bool) -> Callable[[Window], NDArray[Any]]:
    scale = np.float32(weight_scale(job, job.plan.chips[index], final=final))

    def compute(window: Window) -> NDArray[Any]:
        drops = (final_drops if final else separate_drops)(job, index, window)
        return drops.weight / scale

    return compute


def _sky_mask(job: Job, index: int) -> Callable[[Window], NDArray[Any]]:
    settings = job.plan.settings
    good_bits = parse_bits(settings.sky_bits)

    def compute(window: Window) -> NDArray[Any]:
        is_good = job.good_flags(index, window, good_bits)
        if settings.static and settings.use_static:
            is_good &= ~read_mask(job.store, f"static/{job.group_of_chip[index]}", window)
        if (mask := job.plan.chips[index].sky_mask) is not None:
            values = read_rows(mask, window)
            is_good &= (values != 0) & np.isfinite(values)
        return is_good

    return compute
