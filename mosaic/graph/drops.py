"""Prepare windows of chips for drizzling: read, mask, weigh.

The one place where the masks that apply to a step are put together: data-quality bits and static mask
for the separate drizzle, the cosmic-ray mask besides for the final one.
"""

from __future__ import annotations

import numpy as np

from mosaic.exposure.model import Chip
from mosaic.exposure.reader import read_err, read_science
from mosaic.exposure.weights import input_weight
from mosaic.graph.job import Frame, Job, chip_task
from mosaic.graph.store import read_mask
from mosaic.steps.drizzle import DropWindow, drop_values
from mosaic.types import BoolArray, FloatArray, Window


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
    chip = job.plan.chips[index]
    frame = job.separate
    is_good = _unmasked(job, frame, index, window)
    if weights_only and job.is_all_finite(index):
        value = np.zeros(window.shape_yx, dtype=np.float32)
    else:
        value = _values(job, frame, index, window)
    weight = input_weight(
        chip,
        window,
        is_good,
        wht_type="EXP",
        wt_scl=job.plan.settings.driz_sep_wt_scl,
        sky=0.0,
        scale_ratio=job.scale_ratio(frame, index),
    )
    return DropWindow(window, value, weight)


def final_drops(job: Job, index: int, window: Window) -> DropWindow:
    """Pixels of a chip as the final drizzle takes them, with their variance when it is wanted."""
    chip = job.plan.chips[index]
    frame = job.final
    settings = job.plan.settings
    is_good = _unmasked(job, frame, index, window)
    if settings.driz_cr:
        is_good &= ~read_mask(job.store, f"cosmic_rays/{chip_task(chip)}", window)
    value = _values(job, frame, index, window)
    weight = input_weight(
        chip,
        window,
        is_good,
        wht_type=settings.final_wht_type,
        wt_scl=settings.final_wt_scl,
        sky=job.sky[chip.name].background,
        scale_ratio=job.scale_ratio(frame, index),
    )
    variance = _variance(job, frame, index, window) if settings.final_err else None
    return DropWindow(window, value, weight, variance)


def _unmasked(job: Job, frame: Frame, index: int, window: Window) -> BoolArray:
    is_good = job.good_flags(index, window, frame.good_bits)
    if job.plan.settings.static:
        is_good = is_good & ~read_mask(job.store, f"static/{job.group_of_chip[index]}", window)
    return is_good


def _values(job: Job, frame: Frame, index: int, window: Window) -> FloatArray:
    chip = job.plan.chips[index]
    return drop_values(
        read_science(chip, window),
        sky=job.sky[chip.name].subtracted,
        gain=chip.gain,
        exptime_s=chip.exptime_s,
        is_rate=chip.is_rate,
        scale_ratio=job.scale_ratio(frame, index),
    )


def _variance(job: Job, frame: Frame, index: int, window: Window) -> FloatArray:
    """Variance of the values: from ERR, else (no ERR or not positive) from photon and read noise."""
    chip = job.plan.chips[index]
    model_e2 = np.abs(read_science(chip, window)) * np.float32(chip.to_electrons) + np.float32(
        chip.read_noise_e**2
    )
    per_value = _value_per_electron(chip) * job.scale_ratio(frame, index) ** 2
    if chip.err is None:
        return np.ascontiguousarray(model_e2 * np.float32(per_value**2), dtype=np.float32)
    err_e = read_err(chip, window) * np.float32(chip.to_electrons)
    known = np.isfinite(err_e) & (err_e > 0)
    variance_e2 = np.where(known, err_e**2, model_e2)
    return np.ascontiguousarray(variance_e2 * np.float32(per_value**2), dtype=np.float32)


def _value_per_electron(chip: Chip) -> float:
    return 1.0 / chip.exptime_s
