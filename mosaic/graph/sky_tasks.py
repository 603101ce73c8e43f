"""The phases of the sky: measure chips, measure what chips have in common, solve for the levels.

A task reads one chip, in bands; its memory is that of the chip (`CHIP_BYTES_PER_PIXEL` of the budget) however
many chips overlap it. Does not cover the arithmetic (`mosaic.steps.sky`, `mosaic.steps.sky_match`).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mosaic.exposure.dq import parse_bits
from mosaic.exposure.reader import read_rows, read_science
from mosaic.geometry.outline import intersect_outlines, sky_to_chip, to_sky
from mosaic.geometry.scan import scan_polygon
from mosaic.graph.job import Job, TaskLimits, chip_task
from mosaic.graph.outcome import Outcome
from mosaic.graph.store import MASK_BAND_ROWS, NO_MASK, read_packed
from mosaic.kernels.sky_pixels import blank_masked, collect_finite
from mosaic.settings import Settings
from mosaic.steps.sky import SkySolution, SkyStatistic, given_sky, measure_sky, solve_sky
from mosaic.steps.sky_match import gather_overlaps, match_sky, untouched_level
from mosaic.types import DoubleArray, FloatArray, Window

_RELATIVE_IVM = (
    "final_wht_type=IVM takes the background from the sky, of which skymethod=match knows differences only; "
    "use globalmin+match"
)

SkyRule = Literal["given", "untouched", "localmin", "globalmin", "match", "globalmin+match"]


def sky_rule(settings: Settings, n_exposures: int) -> SkyRule:
    """How the levels come about: ``skymethod``, unless nothing is measured or there is nothing to match.

    One exposure alone is measured as by ``localmin``; DrizzlePac leaves it as it is.
    """
    if not settings.skysub or settings.skyfile:
        return "given"
    if "match" in settings.skymethod and n_exposures < 2:
        return "untouched" if settings.peer_compat else "localmin"
    return settings.skymethod


def sky_phases(settings: Settings, n_exposures: int) -> tuple[str, ...]:
    """Phases, one task for each chip, that the levels need."""
    rule = sky_rule(settings, n_exposures)
    return (("sky",) if "min" in rule else ()) + (("sky_overlaps",) if "match" in rule else ())


def sky_statistic(settings: Settings) -> SkyStatistic:
    """How the sky is measured."""
    s = settings
    return SkyStatistic(s.skystat, s.skywidth, s.skylower, s.skyupper, s.skyclip, s.skylsigma, s.skyusigma)


def read_sky_pixels(job: Job, index: int, y0: int, y1: int) -> tuple[FloatArray, NDArray[np.bool_] | None]:
    """Rows ``y0 <= y < y1`` of a chip, NaN where a pixel is not good for the sky, and those that spoil it.

    In DrizzlePac a NaN that is not masked leaves no limits to clip between, and no sky (`peer_compat`).
    """
    chip = job.plan.chips[index]
    s = job.plan.settings
    nx = chip.shape_yx.nx
    good_bits = parse_bits(s.sky_bits)
    pixels = np.empty((y1 - y0, nx), dtype=np.float32)
    is_open = s.skylower is None or s.skyupper is None
    spoils = np.zeros(pixels.shape, np.bool_) if s.peer_compat and is_open else None
    static = user = NO_MASK
    for top in range(y0, y1, MASK_BAND_ROWS):
        band = Window(top, min(top + MASK_BAND_ROWS, y1), 0, nx)
        if s.static and s.use_static:
            static = read_packed(job.store, f"static/{job.group_of_chip[index]}", band).packed
        if chip.sky_mask is not None:
            values = read_rows(chip.sky_mask, band)
            user = ((values != 0) & np.isfinite(values)).view(np.uint8)
        target = pixels[band.y0 - y0 : band.y1 - y0]
        flags = job.flags(index, band, good_bits, for_sky=True)
        sci = read_science(chip, band)
        blank_masked(sci, *flags, static, user, target)
        if spoils is not None and (is_absent := np.isnan(sci)).any():
            used = np.empty_like(sci)
            blank_masked(np.zeros_like(sci), *flags, static, user, used)
            spoils[band.y0 - y0 : band.y1 - y0] = is_absent & (used == 0.0)
    return pixels, spoils if spoils is not None and spoils.any() else None


def find_sky(job: Job, task: str, _limits: TaskLimits) -> Outcome:
    """Phase ``sky``: the sky of one chip."""
    index = job.chip_index[task]
    chip = job.plan.chips[index]
    ny, nx = chip.shape_yx
    values = np.empty(ny * nx, dtype=np.float32)
    n_values, is_spoilt = 0, False
    for top in range(0, ny, MASK_BAND_ROWS):
        rows = range(top, min(top + MASK_BAND_ROWS, ny))
        pixels, spoils = read_sky_pixels(job, index, rows.start, rows.stop)
        n_values += collect_finite(pixels, top, np.array([(y, 0, nx) for y in rows]), values[n_values:])
        is_spoilt |= spoils is not None
    found = None if is_spoilt else measure_sky(values[:n_values], sky_statistic(job.plan.settings))
    value = None if found is None else found.value
    return Outcome(bytes_read=values.size * 6, facts={"chip": chip.name, "sky": value})


def find_overlap_sky(job: Job, task: str, _limits: TaskLimits) -> Outcome:
    """Phase ``sky_overlaps``: the sky of one chip where each chip of another exposure overlaps it."""
    index = job.chip_index[task]
    chip = job.plan.chips[index]
    peer = job.plan.settings.peer_compat
    polygons = overlap_polygons(job, index)
    outcome = Outcome(facts={"chip": chip.name, "overlaps": {}})
    if not polygons:
        return outcome
    edges = np.rint(np.concatenate([vertices[:, 1] for vertices in polygons.values()]))
    y0, y1 = (int(y) for y in np.clip([edges.min(), edges.max() + 1], 0, chip.shape_yx.ny))
    if y1 <= y0:
        return outcome
    pixels, spoils = read_sky_pixels(job, index, y0, y1)
    outcome.bytes_read = pixels.size * 6
    values = np.empty(pixels.size, dtype=np.float32)
    how = sky_statistic(job.plan.settings)
    for other, vertices in polygons.items():
        spans = scan_polygon(vertices, chip.shape_yx, peer=peer)
        if spoils is not None and any(spoils[row - y0, first:last].any() for row, first, last in spans):
            continue
        found = measure_sky(values[: collect_finite(pixels, y0, spans, values)], how)
        if found is not None:
            outcome.facts["overlaps"][str(other)] = [found.value, found.n]
    return outcome


def overlap_polygons(job: Job, index: int) -> dict[int, DoubleArray]:
    """Vertices (pixels x, y of the chip) of what it has in common with chips of other exposures, by chip.

    Both chips of a pair work out the same polygon on the sky: that of the earlier one cut by the later.
    """
    exposure_of = job.plan.exposure_of_chip
    wcs, peer = job.plan.chips[index].wcs, job.plan.settings.peer_compat
    polygons: dict[int, DoubleArray] = {}
    for other in job.outline_index.near(index).tolist():
        if exposure_of[other] == exposure_of[index]:
            continue
        earlier, later = sorted((index, other))
        shared = intersect_outlines(job.outlines[earlier], job.outlines[later])
        if len(shared):
            # DrizzlePac goes round the other way, which decides how crossings of sides and rows are rounded.
            ordered = shared[::-1] if peer else shared
            polygons[other] = sky_to_chip(wcs, *to_sky(ordered), peer=peer)
    return polygons


def solve_job_sky(job: Job) -> SkySolution:
    """Levels of all chips from what the phases found."""
    plan, settings = job.plan, job.plan.settings
    rule = sky_rule(settings, len(plan.exposures))
    if rule == "given":
        return given_sky(plan.exposures)
    if rule == "untouched":
        return SkySolution({chip.name: untouched_level(chip) for chip in plan.chips})
    measured: dict[str, float | None] = {}
    tasks = [chip_task(chip) for chip in plan.chips]
    if "min" in rule:
        records = job.ledger.require("sky", tasks)
        measured = {record.facts["chip"]: record.facts["sky"] for record in records.values()}
    if "match" not in rule:
        return solve_sky(plan.exposures, measured, rule)
    found = job.ledger.require("sky_overlaps", tasks)
    pair_sky = {
        (index, int(other)): (float(value), int(n))
        for index, task in enumerate(tasks)
        for other, (value, n) in found[task].facts["overlaps"].items()
    }
    peer = settings.peer_compat
    overlaps = gather_overlaps(
        plan.exposures, pair_sky, single_precision=peer and settings.skystat == "median"
    )
    solution = match_sky(plan.exposures, overlaps, measured if "min" in rule else None, peer=peer)
    if rule == "match" and settings.final_wht_type == "IVM":
        return SkySolution(solution.levels, (*solution.warnings, _RELATIVE_IVM))
    return solution
