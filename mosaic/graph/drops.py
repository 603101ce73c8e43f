"""Prepare windows of chips for drizzling: read, mask, weigh.

The one place where the masks that apply to a step are put together: data-quality bits and static mask
for the separate drizzle, the cosmic-ray mask besides for the final one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mosaic.exposure.reader import read_err, read_rows, read_science
from mosaic.exposure.weights import exposure_scale, input_weight
from mosaic.graph.job import Frame, Job, chip_task
from mosaic.graph.store import NO_MASK, PackedMask, read_mask, read_packed
from mosaic.kernels.prepare import prepare_drops
from mosaic.steps.drizzle import DropWindow, drop_values
from mosaic.types import FloatArray, Window


def separate_drops(job: Job, index: int, window: Window, *, weights_only: bool = False) -> DropWindow:
    """Pixels of a chip as the separate drizzle takes them.

    Parameters
    ----------
    job : Job
        The job.
    index : int
        Chip.
    window : Window
        Pixels of the chip.
    weights_only : bool
        Leave the values zero, where the chip is known to have no absent pixel: only weights are wanted.
    """
    if weights_only and job.is_all_finite(index):
        sci = np.zeros(window.shape_yx, dtype=np.float32)
    else:
        sci = read_science(job.plan.chips[index], window)
    return exposure_drops(
        job, job.separate, index, window, sci=sci, wt_scl=job.plan.settings.driz_sep_wt_scl, hits=False
    )


def final_drops(job: Job, index: int, window: Window) -> DropWindow:
    """Pixels of a chip as the final drizzle takes them, with their variance when it is wanted."""
    settings = job.plan.settings
    sci = read_science(job.plan.chips[index], window)
    if settings.final_wht_type == "EXP":
        drops = exposure_drops(
            job,
            job.final,
            index,
            window,
            sci=sci,
            wt_scl=settings.final_wt_scl,
            hits=settings.driz_cr,
            unit_e=job.product_unit.divisors[index],
        )
    else:
        drops = _varying_drops(job, index, window, sci)
    if settings.peer_compat and not job.is_all_finite(index):
        # DrizzlePac adds them up: infinity stands for NaN, which is an absent pixel here.
        drops.value[~np.isfinite(drops.value)] = np.inf
    return replace(drops, variance=_variance(job, index, window, sci)) if settings.final_err else drops


def exposure_drops(
    job: Job,
    frame: Frame,
    index: int,
    window: Window,
    *,
    sci: FloatArray,
    wt_scl: str | float,
    hits: bool,
    unit_e: float = 1.0,
) -> DropWindow:
    """Values and weights where every good pixel of a chip weighs the same.

    Parameters
    ----------
    job, frame, index, window
        Which pixels, and where they go.
    sci : FloatArray, shape of the window
        Science pixels, native units.
    wt_scl : str or float
        Scale of the exposure-time weight.
    hits : bool
        Whether the cosmic-ray mask applies.
    unit_e : float
        Electrons in the unit of the values.
    """
    chip = job.plan.chips[index]
    none = PackedMask(NO_MASK, window.x0 % 8)
    is_static = job.plan.settings.static
    static = read_packed(job.store, f"static/{job.group_of_chip[index]}", window) if is_static else none
    found = read_packed(job.store, f"cosmic_rays/{chip_task(chip)}", window) if hits else none
    if frame is job.final and chip.kept_hits is not None:
        is_hit = np.pad(read_rows(chip.kept_hits, window) == 0, ((0, 0), (window.x0 % 8, 0)))
        found = PackedMask(np.packbits(is_hit, axis=1, bitorder="little"), window.x0 % 8)
    value = np.empty(window.shape_yx, dtype=np.float32)
    weight = np.empty_like(value)
    sky = job.sky[chip.name].subtracted
    prepare_drops(
        sci,
        *job.flags(index, window, frame.good_bits),
        static.packed,
        found.packed,
        static.first_bit,
        np.float32(0.0 if sky is None else sky),
        np.float32(chip.gain / unit_e),
        np.float32(1.0 / chip.value_time_s),
        np.float32(job.scale_ratio(frame, index) ** 2),
        np.float32(np.float32(chip.exptime_s) * exposure_scale(chip.exptime_s, wt_scl)),
        value,
        weight,
    )
    if not job.is_all_finite(index):
        value[np.isinf(value)] = np.nan
    return DropWindow(window, value, weight)


def _varying_drops(job: Job, index: int, window: Window, sci: FloatArray) -> DropWindow:
    """Values and weights of the final drizzle where each pixel weighs by its own error."""
    chip = job.plan.chips[index]
    frame = job.final
    settings = job.plan.settings
    unit_e = job.product_unit.divisors[index]
    is_good = job.good_flags(index, window, frame.good_bits)
    if settings.static:
        is_good = is_good & ~read_mask(job.store, f"static/{job.group_of_chip[index]}", window)
    if settings.driz_cr:
        is_good &= ~read_mask(job.store, f"cosmic_rays/{chip_task(chip)}", window)
    if chip.kept_hits is not None:
        is_good &= read_rows(chip.kept_hits, window) != 0
    value = drop_values(
        sci,
        sky=job.sky[chip.name].subtracted,
        gain=chip.gain / unit_e,
        time_s=chip.value_time_s,
        scale_ratio=job.scale_ratio(frame, index),
    )
    weight = input_weight(
        chip,
        window,
        is_good,
        wht_type=settings.final_wht_type,
        wt_scl=settings.final_wt_scl,
        sky=job.sky[chip.name].background,
        scale_ratio=job.scale_ratio(frame, index),
        unit_e=unit_e,
        peer_compat=settings.peer_compat,
    )
    if not job.is_all_finite(index):
        value[np.isinf(value)] = np.nan
    return DropWindow(window, value, weight)


def _variance(job: Job, index: int, window: Window, sci: FloatArray) -> FloatArray:
    """Variance of the values: from ERR, else (no ERR or not positive) from photon and read noise."""
    chip = job.plan.chips[index]
    model_e2 = np.abs(sci) * np.float32(chip.to_electrons) + np.float32(chip.read_noise_e**2)
    per_value = job.scale_ratio(job.final, index) ** 2 / (chip.exptime_s * job.product_unit.divisors[index])
    if chip.err is None:
        return np.ascontiguousarray(model_e2 * np.float32(per_value**2), dtype=np.float32)
    err_e = read_err(chip, window) * np.float32(chip.to_electrons)
    known = np.isfinite(err_e) & (err_e > 0)
    variance_e2 = np.where(known, err_e**2, model_e2)
    return np.ascontiguousarray(variance_e2 * np.float32(per_value**2), dtype=np.float32)
