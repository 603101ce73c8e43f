"""The functions that tasks call: read windows, run one step, write verified chunks, keep a record.

`run_task` takes names and numbers only, so that it can be sent to any worker; each phase is one
function here. Results depend on the job alone, never on limits or on who runs them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from mosaic.errors import MosaicError
from mosaic.exposure.cache import ROW_CACHE
from mosaic.exposure.reader import read_science
from mosaic.graph.cancel import raise_if_withdrawn
from mosaic.graph.drops import final_drops, separate_drops
from mosaic.graph.gate import TASK_GATE
from mosaic.graph.job import Frame, Job, TaskLimits, chip_task, open_job, tile_of
from mosaic.graph.memory import peak_resident_bytes
from mosaic.graph.outcome import Outcome, whole_window
from mosaic.graph.plan import BLOT_MARGIN
from mosaic.graph.progress import TaskRecord
from mosaic.graph.singles import STACK_CACHE, Stack
from mosaic.graph.sky_tasks import find_overlap_sky, find_sky
from mosaic.graph.store import MASK_BAND_ROWS, open_array, write_chunk, write_mask_rows
from mosaic.graph.verify import with_sizes
from mosaic.kernels.blot import INTERPOLATORS
from mosaic.kernels.prepare import count_usable
from mosaic.retries import TransientError, io_errors, is_transient
from mosaic.steps.cosmic_rays import CosmicRayParams, blot_level, blot_to_native, flag_cosmic_rays
from mosaic.steps.drizzle import TileSum, deposit
from mosaic.steps.median import WeightSum, combine_stack, sum_weights
from mosaic.steps.static_mask import find_low_pixels
from mosaic.types import FloatArray, Window

STACK_BYTES_PER_PIXEL = 9
"""Image, weight and mask of one exposure in a stack."""


def run_task(folder: str, identity: str, phase: str, task: str, limits: TaskLimits) -> TaskRecord:
    """Carry out one task and keep its record in the ledger.

    Parameters
    ----------
    folder, identity : str
        Job folder and the job expected in it.
    phase, task : str
        Which task.
    limits : TaskLimits
        Memory it may use.

    Returns
    -------
    TaskRecord
        As written to the ledger.

    Raises
    ------
    MosaicError
        With the exposure, chip or tile in its text.
    """
    raise_if_withdrawn(folder, identity)
    job = open_job(folder, identity)
    if ROW_CACHE.max_bytes != limits.row_cache_bytes:
        ROW_CACHE.resize(limits.row_cache_bytes)
    with TASK_GATE.passing(limits.n_at_a_time):
        start = time.perf_counter()
        try:
            outcome = _PHASES[phase](job, task, limits)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            if isinstance(error, MosaicError):
                raise
            problem = f"{phase} {task}: {type(error).__name__}: {error}; please report this"
            raise MosaicError(problem) from error
        except io_errors() as error:
            if not is_transient(error):
                raise
            problem = f"{phase} {task}: {error}; run the same command to continue"
            raise TransientError(problem) from error
        seconds = time.perf_counter() - start
    record = TaskRecord(
        phase,
        task,
        seconds,
        outcome.bytes_read,
        outcome.bytes_written,
        peak_resident_bytes(),
        outcome.checksums,
        outcome.facts,
    )
    record = with_sizes(job, record)
    job.raise_if_withdrawn()
    job.ledger.write(record)
    return record


def find_static(job: Job, task: str, _limits: TaskLimits) -> Outcome:
    """Phase ``static``: low pixels of one chip, and how many of its pixels are of use."""
    index = job.chip_index[task]
    chip = job.plan.chips[index]
    settings = job.plan.settings
    sci = read_science(chip, whole_window(chip))
    flags = job.flags(index, whole_window(chip), job.final.good_bits)
    n_usable, n_not_finite = count_usable(sci, *flags)
    outcome = Outcome(bytes_read=sci.nbytes + sci.size * 2)
    outcome.facts = {"n_usable": int(n_usable), "n_not_finite": int(n_not_finite)}
    if settings.static:
        low = find_low_pixels(sci, settings.static_sig)
        outcome.facts |= {"threshold": low.threshold, "n_low": int(np.count_nonzero(low.is_low))}
        outcome.wrote("low", write_mask_rows(job.store, f"low/{task}", 0, low.is_low), low.is_low.size // 8)
    return outcome


def merge_static(job: Job, task: str, _limits: TaskLimits) -> Outcome:
    """Phase ``static_mask``: pixels that are low in any exposure of a group."""
    members = job.static_groups[task]
    chip = job.plan.chips[members[0]]
    outcome = Outcome()
    merged = np.asarray(open_array(job.store, f"masks.zarr/low/{chip_task(job.plan.chips[members[0]])}")[:])
    for index in members[1:]:
        merged |= np.asarray(open_array(job.store, f"masks.zarr/low/{chip_task(job.plan.chips[index])}")[:])
    job.raise_if_withdrawn()
    crc = write_chunk(open_array(job.store, f"masks.zarr/static/{task}"), (slice(None), slice(None)), merged)
    outcome.wrote("static", crc, merged.nbytes)
    outcome.facts = {"n_bad": int(np.unpackbits(merged).sum()), "shape": list(chip.shape_yx)}
    return outcome


def _exposures_of(job: Job, chips: tuple[int, ...]) -> dict[int, list[int]]:
    """Chips by exposure, both ascending."""
    grouped: dict[int, list[int]] = {}
    for index in chips:
        grouped.setdefault(job.plan.exposure_of_chip[index], []).append(index)
    return grouped


def drizzle_single(
    job: Job, chips: list[int], single: TileSum, limits: TaskLimits, *, weights_only: bool
) -> None:
    """Drizzle one exposure alone onto a rectangle of the separate frame, after clearing it."""
    frame = job.separate
    target = single.window
    single.clear(0.0)
    for index in chips:
        model = job.model(frame, index)
        for band in input_bands(job, frame, index, target, limits):
            drops = separate_drops(job, index, band, weights_only=weights_only)
            deposit(drops, model, frame.drop, job.scale_ratio(frame, index), single)


def input_bands(job: Job, frame: Frame, index: int, target: Window, limits: TaskLimits) -> Iterator[Window]:
    """Bands of rows of a chip that together can reach `target`, in order."""
    window = job.chip_window(frame, index, target)
    if window.is_empty:
        return
    rows = max(1, limits.band_pixels // max(1, window.x1 - window.x0))
    for y0 in range(window.y0, window.y1, rows):
        job.raise_if_withdrawn()
        yield Window(y0, min(y0 + rows, window.y1), window.x0, window.x1)


def _strips(job: Job, target: Window, rows: int) -> Iterator[Window]:
    for y0 in range(target.y0, target.y1, rows):
        job.raise_if_withdrawn()
        yield Window(y0, min(y0 + rows, target.y1), target.x0, target.x1)


def _grown(window: Window, halo: int, inside: Window) -> Window:
    return Window(window.y0 - halo, window.y1 + halo, window.x0 - halo, window.x1 + halo).intersect(inside)


def weigh_tile(job: Job, task: str, limits: TaskLimits) -> Outcome:
    """Phase ``weights``: exact sums of the separate weight maps of every exposure on one tile."""
    layer = job.separate.layer
    tile = tile_of(task)
    target = layer.window(tile)
    outcome = Outcome()
    grouped = _exposures_of(job, layer.chips_of_tile[tile])
    grown = _with_halo(job, target)
    key = (job.plan.digest, task)
    n_bytes = STACK_BYTES_PER_PIXEL * len(grouped) * grown.shape_yx.ny * grown.shape_yx.nx
    if STACK_CACHE.reserve(key, n_bytes, limits.stack_cache_bytes):
        stack = drizzle_stack(job, list(grouped.values()), grown, limits)
        STACK_CACHE.put(key, stack)
        inner = _inside(grown, target)
        for exposure, weight in zip(grouped, stack.weights, strict=True):
            sums = sum_weights(weight[inner], job.weight_unit(exposure))
            outcome.facts[str(exposure)] = [sums.total, sums.count]
        return outcome
    rows = max(1, limits.strip_bytes // (40 * layer.tile))
    parts: dict[int, list[WeightSum]] = {exposure: [] for exposure in grouped}
    for strip in _strips(job, target, rows):
        single = TileSum.empty(strip, 0.0)
        for exposure, chips in grouped.items():
            drizzle_single(job, chips, single, limits, weights_only=True)
            parts[exposure].append(sum_weights(single.weight.astype(np.float32), job.weight_unit(exposure)))
    for exposure, own in parts.items():
        outcome.facts[str(exposure)] = [sum(p.total for p in own), sum(p.count for p in own)]
    return outcome


def weight_sums(record: TaskRecord) -> dict[int, WeightSum]:
    """Read the weight sums out of a record of `weigh_tile`."""
    return {int(exposure): WeightSum(*sums) for exposure, sums in record.facts.items()}


def make_median(job: Job, task: str, limits: TaskLimits) -> Outcome:
    """Phase ``median``: drizzle every exposure alone onto one tile, strip by strip, and combine."""
    layer = job.separate.layer
    tile = tile_of(task)
    target = layer.window(tile)
    grouped = _exposures_of(job, layer.chips_of_tile[tile])
    if not job.combine_params.newmasks:
        grouped = {i: grouped.get(i, []) for i in range(len(job.plan.exposures))}
    outcome = Outcome()
    result = np.empty(target.shape_yx, dtype=np.float32)
    held = STACK_CACHE.take((job.plan.digest, task))
    rows = layer.tile if held is not None else _rows_of_strip(job, len(grouped), limits)
    for strip in _strips(job, target, rows):
        grown = _with_halo(job, strip)
        stack = held or drizzle_stack(job, list(grouped.values()), grown, limits)
        facts = job.stack_facts(grouped)
        combined = combine_stack(
            *stack, facts, job.combine_params, len(job.plan.exposures), is_first_column=grown.x0 == 0
        )
        result[strip.y0 - target.y0 : strip.y1 - target.y0] = combined[_inside(grown, strip)]
    job.raise_if_withdrawn()
    crc = write_chunk(open_array(job.store, "median.zarr/median"), target.slices, result)
    outcome.wrote("median", crc, result.nbytes)
    if job.keeps_singles:
        inner = _inside(_with_halo(job, target), target)
        at_hand = held and Stack(held.images[:, *inner], held.weights[:, *inner])
        _write_singles(job, target, grouped, limits, outcome, at_hand)
    return outcome


def make_singles(job: Job, task: str, limits: TaskLimits) -> Outcome:
    """Phase ``single``: drizzle every exposure alone onto one tile, where no median is made of them."""
    layer = job.separate.layer
    tile = tile_of(task)
    outcome = Outcome()
    _write_singles(job, layer.window(tile), _exposures_of(job, layer.chips_of_tile[tile]), limits, outcome)
    return outcome


def drizzle_stack(job: Job, exposures: list[list[int]], grown: Window, limits: TaskLimits) -> Stack:
    """Drizzle exposures, each given by its chips, one by one onto a rectangle of the separate frame."""
    fill = job.plan.settings.driz_sep_fillval
    images = np.empty((len(exposures), *grown.shape_yx), dtype=np.float32)
    weights = np.empty_like(images)
    single = TileSum.empty(grown, 0.0)
    for k, chips in enumerate(exposures):
        drizzle_single(job, chips, single, limits, weights_only=False)
        single.finish(images[k], weights[k])
        if fill is not None:
            images[k][weights[k] == 0.0] = fill
    return Stack(images, weights)


def _rows_of_strip(job: Job, n_exposures: int, limits: TaskLimits) -> int:
    """Rows of a strip whose stack fits the allowance."""
    halo, tile = job.combine_params.halo, job.separate.layer.tile
    per_row = STACK_BYTES_PER_PIXEL * (tile + 2 * halo) * max(1, n_exposures)
    return max(1, min(tile, limits.strip_bytes // per_row) - 2 * halo)


def _with_halo(job: Job, window: Window) -> Window:
    """A rectangle of the separate frame with the pixels around it that its median depends on."""
    shape = job.separate.layer.grid.shape_yx
    return _grown(window, job.combine_params.halo, Window(0, shape.ny, 0, shape.nx))


def _inside(outer: Window, inner: Window) -> tuple[slice, slice]:
    return (
        slice(inner.y0 - outer.y0, inner.y1 - outer.y0),
        slice(inner.x0 - outer.x0, inner.x1 - outer.x0),
    )


def _write_singles(
    job: Job,
    target: Window,
    grouped: dict[int, list[int]],
    limits: TaskLimits,
    outcome: Outcome,
    at_hand: Stack | None = None,
) -> None:
    """Keep the separate drizzles of a tile, one exposure at a time: memory does not hold a deep tile."""
    for k, (exposure, chips) in enumerate(grouped.items()):
        single = drizzle_stack(job, [chips], target, limits) if at_hand is None else at_hand.only(k)
        for kind, plane in (("sci", single.images[0]), ("wht", single.weights[0])):
            name = f"single_{kind}/{job.plan.exposures[exposure].rootname}"
            array = open_array(job.store, f"intermediates.zarr/{name}")
            outcome.wrote(name, write_chunk(array, target.slices, plane), plane.nbytes)


def find_cosmic_rays(job: Job, task: str, _limits: TaskLimits) -> Outcome:
    """Phase ``cosmic_rays``: blot the median to one chip, band by band, and flag what differs."""
    index = job.chip_index[task]
    chip = job.plan.chips[index]
    s = job.plan.settings
    params = CosmicRayParams(
        s.driz_cr_snr,
        s.driz_cr_scale,
        s.driz_cr_grow,
        s.driz_cr_ctegrow,
        s.peer_compat,
        s.driz_cr_core,
    )
    level = blot_level(job.sky[chip.name], addsky=s.blot_addsky, skyval=s.blot_skyval)
    outcome = Outcome()
    n_flagged = 0
    for band in _strips(job, whole_window(chip), MASK_BAND_ROWS):
        grown = _grown(band, params.halo, whole_window(chip))
        blot = blot_to_native(blot_band(job, index, grown), chip, level)
        rows = slice(band.y0 - grown.y0, band.y1 - grown.y0)
        job.raise_if_withdrawn()
        if s.driz_cr:
            sci = read_science(chip, grown)
            outcome.bytes_read += sci.nbytes
            flags = flag_cosmic_rays(
                sci,
                blot,
                chip=chip,
                band_y0=grown.y0,
                background=job.sky[chip.name].background,
                params=params,
            )[rows]
            crc = write_mask_rows(job.store, f"cosmic_rays/{task}", band.y0, flags)
            outcome.wrote(f"cosmic_rays/{band.y0}", crc, flags.size // 8)
            n_flagged += int(np.count_nonzero(flags))
        if not s.clean:
            array = open_array(job.store, f"intermediates.zarr/blt/{task}")
            crc = write_chunk(array, band.slices, np.ascontiguousarray(blot[rows]))
            outcome.wrote(f"blt/{band.y0}", crc, blot[rows].nbytes)
    outcome.facts = {"chip": chip.name, "n_cosmic_rays": n_flagged}
    return outcome


def blot_band(job: Job, index: int, rows: Window) -> FloatArray:
    """Median resampled to rows of a chip, electrons of the exposure."""
    frame = job.separate
    chip = job.plan.chips[index]
    s = job.plan.settings
    shape = frame.layer.grid.shape_yx
    box = job.cells(frame, index).output_box(rows, BLOT_MARGIN).intersect(Window(0, shape.ny, 0, shape.nx))
    out = np.zeros(rows.shape_yx, dtype=np.float32)
    if box.is_empty:
        return out
    image = read_median(job, box)
    ratio = job.scale_ratio(frame, index)
    INTERPOLATORS[s.blot_interp](
        image,
        (box.y0, box.x0),
        (shape.ny, shape.nx),
        job.blot_model(index),
        (rows.y0, rows.y1, rows.x0, rows.x1),
        chip.exptime_s / float(np.float32(ratio * ratio)),
        job.blots_like_peer,
        s.blot_sinscl,
        out,
    )
    return out


def read_median(job: Job, box: Window) -> FloatArray:
    """A rectangle of the finished median; its tiles may be kept in memory, for bands need them in turn."""
    layer = job.separate.layer
    image = np.empty(box.shape_yx, dtype=np.float32)
    for tile in layer.tiles_in(box):
        window = layer.window(tile)
        part = window.intersect(box)
        if tile not in layer.chips_of_tile:
            image[_inside(box, part)] = 0.0
            continue
        chunk = ROW_CACHE.get((f"{job.store}/median", 0, tile), partial(_read_median_tile, job, window))
        image[_inside(box, part)] = chunk[_inside(window, part)]
    return image


def _read_median_tile(job: Job, window: Window) -> FloatArray:
    return np.asarray(open_array(job.store, "median.zarr/median")[window.slices], dtype=np.float32)


def drizzle_final(job: Job, task: str, limits: TaskLimits) -> Outcome:
    """Phase ``final``: drizzle all chips onto one tile and write its planes."""
    frame = job.final
    layer = frame.layer
    settings = job.plan.settings
    tile = tile_of(task)
    target = layer.window(tile)
    outcome = Outcome()
    initial = np.nan if settings.final_maskval is None else settings.final_maskval
    tile_sum = TileSum.empty(target, initial, with_variance=settings.final_err)
    context = _ContextWriter(job, target, outcome) if settings.context else None
    for index in layer.chips_of_tile[tile]:
        model = job.model(frame, index)
        plane = None if context is None else context.plane_of(index)
        for band in input_bands(job, frame, index, target, limits):
            drops = final_drops(job, index, band)
            outcome.bytes_read += drops.value.nbytes
            bit = context_bit(index)
            deposit(drops, model, frame.drop, job.scale_ratio(frame, index), tile_sum, plane, bit)
    if context is not None:
        context.flush()
    factor = (
        total_exptime(job) if settings.final_units == "counts" else 1.0
    ) / job.product_unit.final_divisor
    sci = np.empty(target.shape_yx, dtype=np.float32)
    wht = np.empty_like(sci)
    tile_sum.finish(sci, wht)
    if settings.peer_compat:
        sci[np.isinf(sci)] = np.nan
    uncovered = tile_sum.weight == 0.0
    if settings.final_fillval is not None:
        sci[uncovered] = settings.final_fillval
    sci = sci if factor == 1.0 else _scaled(sci, factor)
    planes = {"sci": sci, "wht": wht}
    if settings.final_err:
        planes["var"] = _scaled(tile_sum.image_variance(), factor**2)
    for name, values in planes.items():
        job.raise_if_withdrawn()
        crc = write_chunk(open_array(job.store, f"mosaic.zarr/{name}"), target.slices, values)
        outcome.wrote(name, crc, values.nbytes)
    outcome.facts = {"n_covered": int(uncovered.size - np.count_nonzero(uncovered))}
    return outcome


def _scaled(values: FloatArray, factor: float) -> FloatArray:
    return (values * np.float32(factor)).astype(np.float32, copy=False)


def total_exptime(job: Job) -> float:
    """Exposure time of the product: the sum over exposures."""
    return float(sum(exposure.chips[0].exptime_s for exposure in job.plan.exposures))


def context_bit(index: int) -> int:
    """Bit of a chip within its context plane, as int32."""
    return int(np.array(1 << (index % 32), dtype=np.uint32).view(np.int32))


class _ContextWriter:
    """Context planes of a tile, one in memory at a time: chips come in the order of their bits."""

    def __init__(self, job: Job, target: Window, outcome: Outcome) -> None:
        self._array = open_array(job.store, "mosaic.zarr/ctx")
        self._target = target
        self._outcome = outcome
        self._number = -1
        self._plane = np.zeros(target.shape_yx, dtype=np.int32)

    def plane_of(self, index: int) -> np.ndarray[Any, np.dtype[np.int32]]:
        """The plane that holds the bit of a chip."""
        if index // 32 != self._number:
            self.flush()
            self._number = index // 32
            self._plane[:] = 0
        return self._plane

    def flush(self) -> None:
        """Write the plane in hand, if it holds anything."""
        if self._number >= 0 and self._plane.any():
            index = (slice(self._number, self._number + 1), *self._target.slices)
            crc = write_chunk(self._array, index, self._plane[None])
            self._outcome.wrote(f"ctx/{self._number}", crc, self._plane.nbytes)


_PHASES: dict[str, Callable[[Job, str, TaskLimits], Outcome]] = {
    "static": find_static,
    "static_mask": merge_static,
    "sky": find_sky,
    "sky_overlaps": find_overlap_sky,
    "weights": weigh_tile,
    "single": make_singles,
    "median": make_median,
    "cosmic_rays": find_cosmic_rays,
    "final": drizzle_final,
}
