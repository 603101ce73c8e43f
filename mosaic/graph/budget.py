"""The memory contract: what a run will use at its peak, stated before it starts.

The estimate of a task is the sum of the arrays it holds; the process itself is a measured constant.
Tasks at a time, strip height and tile side follow from the budget; none of them changes a result, and no
array grows with the number of exposures. The plan itself does, by some kilobytes a chip, which are counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from mosaic.errors import BudgetError
from mosaic.exposure.model import Exposure
from mosaic.graph.job import CELLS_BYTES, TaskLimits
from mosaic.graph.plan import Layer, Plan

MIB = 1 << 20

PROCESS_BYTES = 330 * MIB
"""Resident memory of a process with numba kernels, zarr, astropy and distributed loaded (measured)."""

DRIVER_BYTES = 230 * MIB
"""Resident memory of the driver when the work is done in other processes (measured)."""

COMPILE_BYTES = 500 * MIB
"""Driver and compiler together while the first run on a machine compiles the kernels (measured: 440 MiB)."""

CHIP_BYTES_PER_PIXEL = 20
"""Arrays of the static and sky phases: pixels, flags, masks, the sample and its sorted copy."""

BAND_BYTES_PER_PIXEL = 40
"""Arrays of a band of input pixels on the way into a drizzle kernel."""

TILE_BYTES_PER_PIXEL = 52
"""Accumulators, context and products of an output tile, and the chunk read back."""

MEDIAN_BYTES_PER_PIXEL = 56
"""Result of a median tile, its accumulators and the planes of minmed beside the stack."""

PLAN_BYTES_PER_CHIP = 16 << 10
"""Plan, tasks and maps of a chip in every process, at the most while plan.json is read (measured: 15 kB)."""

CELL_BYTES_PER_PIXEL = 1 / 16
"""Coarse boxes of a chip, kept for as many chips as `CELLS_BYTES` holds."""

CLEANED_BYTES_PER_PIXEL = 24
"""An exposure in memory with all its extensions, its copy being written, and the band that is replaced."""

EXPORT_BAND_BYTES = 3 * 64 * MIB
"""Bands on their way to a file, besides the row of tiles they are cut from."""

REPORT_BYTES = 256 * MIB
"""The quality report: tiles it looks at, libraries, pictures (measured: 190 MiB)."""

MOST_EXPORTS = 4
"""Products written at a time."""

ROW_CACHE_BYTES = 512 * MIB
"""Most that is kept of input rows, however much is granted."""

STACK_CACHE_BYTES = 1024 * MIB
"""Most that is kept of separate drizzles."""

SMALLEST_TILE = 128
BAND_PIXELS = 1 << 20
SMALLEST_BAND_PIXELS = 1 << 16
STRIP_BYTES = 192 * MIB
SMALLEST_STRIP_BYTES = 8 * MIB


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may use and will use."""

    granted_bytes: int
    """Memory granted for all processes together."""
    n_parallel: int
    """Tasks carried out at a time."""
    limits: TaskLimits
    """Allowance of each task."""
    base_bytes: int
    """Memory of the processes themselves."""
    task_bytes: int
    """Largest working memory of a task."""
    scratch_bytes: int
    """Disk the job folder takes at most, products not included."""
    product_bytes: int
    """Disk the products take."""
    n_exports: int
    """Products written at a time."""

    cache_bytes: int
    """Memory for rows and separate drizzles that are kept for later use."""
    export_bytes: int
    """Memory while products are written, by the driver alone."""
    reports_beside: bool
    """Whether the quality report may be made beside the final drizzle and the export."""

    @property
    def peak_bytes(self) -> int:
        """Stated peak of all processes together, the compiler of a first run included."""
        work = self.base_bytes + self.n_parallel * self.task_bytes + self.cache_bytes
        report = REPORT_BYTES if self.reports_beside else 0
        return max(max(work, self.export_bytes) + report, COMPILE_BYTES)


def choose_tile(wanted: int, granted_bytes: int) -> int:
    """Largest tile side, `wanted` halved as often as needed, whose final task fits the grant alone."""
    tile = wanted
    while tile > SMALLEST_TILE and _final_bytes(tile, BAND_PIXELS) > granted_bytes - PROCESS_BYTES:
        tile //= 2
    return tile


def _export_bytes(plan: Plan) -> int:
    """A row of tiles and the bands cut from it, or an exposure whose cleaned copy is written."""
    export = 4 * plan.final.tile * plan.final.grid.shape_yx.nx
    if not plan.settings.clean:
        export = max(export, 4 * plan.separate.tile * plan.separate.grid.shape_yx.nx)
    export += min(EXPORT_BAND_BYTES, 3 * 4 * plan.final.grid.shape_yx.ny * plan.final.grid.shape_yx.nx)
    if plan.settings.driz_cr and plan.settings.driz_cr_corr:
        export = max(export, CLEANED_BYTES_PER_PIXEL * max(map(_pixels, plan.exposures)))
    return export


def _pixels(exposure: Exposure) -> int:
    return sum(chip.shape_yx.ny * chip.shape_yx.nx for chip in exposure.chips)


def _plan_bytes(plan: Plan) -> int:
    """What a process keeps of the plan and derives from it."""
    cells = 2 * CELL_BYTES_PER_PIXEL * sum(map(_pixels, plan.exposures))
    return PLAN_BYTES_PER_CHIP * len(plan.chips) + int(min(CELLS_BYTES, cells))


def _final_bytes(tile: int, band_pixels: int) -> int:
    return tile * tile * TILE_BYTES_PER_PIXEL + band_pixels * BAND_BYTES_PER_PIXEL


def plan_cluster_budget(plan: Plan, *, driver_bytes: int, worker_bytes: int, threads: int) -> Budget:
    """Fit a plan into workers that are not ours to shape; what is stated is one worker and the driver.

    Parameters
    ----------
    plan : Plan
        The plan.
    driver_bytes : int
        Memory granted to the driver, which writes the products.
    worker_bytes, threads : int
        Memory that tasks may use in the smallest worker, and tasks it takes at a time.

    Raises
    ------
    BudgetError
        When a worker cannot hold one task, or the driver cannot write the products.
    """
    worker = plan_budget(
        plan, granted_bytes=worker_bytes, cores=threads, separate_processes=False, writes_products=False
    )
    driver = DRIVER_BYTES + _plan_bytes(plan)
    export_bytes = _export_bytes(plan)
    if driver_bytes < driver + export_bytes:
        raise BudgetError(
            f"the memory granted, {driver_bytes / MIB:.0f} MiB, is too small: writing the products takes "
            f"{(driver + export_bytes) / MIB:.0f} MiB in this process; raise --memory"
        )
    reports_beside = driver_bytes >= driver + export_bytes + REPORT_BYTES
    room = driver_bytes - driver - (REPORT_BYTES if reports_beside else 0)
    n_exports = int(max(1, min(MOST_EXPORTS, room // export_bytes)))
    return replace(
        worker,
        granted_bytes=worker_bytes + driver_bytes,
        # The tasks of a tile may go to different workers: separate drizzles kept in one help nobody.
        limits=replace(worker.limits, stack_cache_bytes=0, n_at_a_time=worker.n_parallel),
        base_bytes=worker.base_bytes + driver,
        n_exports=n_exports,
        export_bytes=driver + n_exports * export_bytes,
        reports_beside=reports_beside,
    )


def plan_budget(
    plan: Plan, *, granted_bytes: int, cores: int, separate_processes: bool, writes_products: bool = True
) -> Budget:
    """Fit a plan into the memory granted.

    Parameters
    ----------
    plan : Plan
        The plan.
    granted_bytes : int
        Memory for all processes together.
    cores : int
        Tasks wanted at a time.
    separate_processes : bool
        Whether each task runs in a process of its own.
    writes_products : bool
        Whether the products are written within the same grant, and kernels compiled.

    Raises
    ------
    BudgetError
        When not even one task at a time fits; names the smallest grant that does.
    """
    chip_bytes = max(chip.shape_yx.ny * chip.shape_yx.nx for chip in plan.chips) * CHIP_BYTES_PER_PIXEL
    export_bytes = _export_bytes(plan) if writes_products else 1
    metadata = _plan_bytes(plan)
    floor = max(
        chip_bytes,
        _final_bytes(plan.final.tile, SMALLEST_BAND_PIXELS),
        _median_bytes(plan, TaskLimits(SMALLEST_STRIP_BYTES, SMALLEST_BAND_PIXELS)),
    )
    per_worker = PROCESS_BYTES + metadata if separate_processes else 0
    driver = metadata + (DRIVER_BYTES if separate_processes else PROCESS_BYTES)
    base = driver
    smallest = max(base + per_worker + floor, driver + export_bytes)
    if writes_products:
        smallest = max(smallest, COMPILE_BYTES)
    if granted_bytes < smallest:
        remedy = "raise --memory" if writes_products else "start workers with more memory"
        raise BudgetError(
            f"the memory granted, {granted_bytes / MIB:.0f} MiB, is too small: this mosaic needs at least "
            f"{smallest / MIB:.0f} MiB; {remedy} or choose a smaller --tile than {plan.final.tile}"
        )
    n_parallel = max(1, min(cores, (granted_bytes - base) // (per_worker + floor)))
    room = (granted_bytes - base) // n_parallel - per_worker
    limits = TaskLimits(
        strip_bytes=int(min(STRIP_BYTES, max(SMALLEST_STRIP_BYTES, (room - _median_rest(plan)) // 2))),
        band_pixels=int(min(BAND_PIXELS, max(SMALLEST_BAND_PIXELS, room // (4 * BAND_BYTES_PER_PIXEL)))),
    )
    task_bytes = max(floor, _final_bytes(plan.final.tile, limits.band_pixels), _median_bytes(plan, limits))
    base += int(n_parallel) * per_worker
    spare = granted_bytes - base - int(n_parallel) * task_bytes
    n_caches = int(n_parallel) if separate_processes else 1
    limits = _with_caches(plan, limits, max(0, spare // n_caches), keep_stacks=not separate_processes)
    cache_bytes = n_caches * (limits.row_cache_bytes + limits.stack_cache_bytes)
    work = max(base + int(n_parallel) * task_bytes + cache_bytes, driver + export_bytes)
    reports_beside = granted_bytes >= work + REPORT_BYTES
    room = granted_bytes - driver - (REPORT_BYTES if reports_beside else 0)
    n_exports = int(max(1, min(MOST_EXPORTS, room // export_bytes)))
    return Budget(
        granted_bytes,
        int(n_parallel),
        limits,
        base,
        task_bytes,
        _scratch_bytes(plan),
        _product_bytes(plan),
        n_exports,
        cache_bytes,
        driver + n_exports * export_bytes,
        reports_beside,
    )


def _with_caches(plan: Plan, limits: TaskLimits, spare: int, *, keep_stacks: bool) -> TaskLimits:
    """Share what memory is left between the caches of a process, each up to what it can use."""
    frame = plan.separate.grid.shape_yx
    stacks = 10 * frame.ny * frame.nx * len(plan.exposures) if keep_stacks and plan.settings.median else 0
    inputs = 6 * sum(chip.shape_yx.ny * chip.shape_yx.nx for chip in plan.chips)
    stack_bytes = min(STACK_CACHE_BYTES, stacks, spare // 2)
    return replace(
        limits,
        row_cache_bytes=int(min(ROW_CACHE_BYTES, inputs, spare - stack_bytes)),
        stack_cache_bytes=int(stack_bytes),
    )


def _median_rest(plan: Plan) -> int:
    return plan.separate.tile**2 * MEDIAN_BYTES_PER_PIXEL + SMALLEST_BAND_PIXELS * BAND_BYTES_PER_PIXEL


def _median_bytes(plan: Plan, limits: TaskLimits) -> int:
    deepest = max((len(chips) for chips in plan.separate.chips_of_tile.values()), default=0)
    stack = min(limits.strip_bytes, 9 * max(1, deepest) * plan.separate.tile**2)
    return stack + plan.separate.tile**2 * MEDIAN_BYTES_PER_PIXEL + limits.band_pixels * BAND_BYTES_PER_PIXEL


def _scratch_bytes(plan: Plan) -> int:
    frame = plan.separate.grid.shape_yx
    chips = sum(map(_pixels, plan.exposures))
    scratch = 4 * _covered_pixels(plan.separate) + 3 * chips // 8 + _product_bytes(plan)
    if not plan.settings.clean:
        scratch += 4 * chips + 8 * frame.ny * frame.nx * len(plan.exposures)
    return scratch


def _product_bytes(plan: Plan) -> int:
    """Context planes count where chips are: what is zero is left out of the file, as holes."""
    shape = plan.final.grid.shape_yx
    planes = 2 + int(plan.settings.final_err)
    context = _context_bytes(plan) if plan.settings.context else 0
    return 4 * shape.ny * shape.nx * planes + context


def _context_bytes(plan: Plan) -> int:
    layer = plan.final
    return sum(
        4 * len({index // 32 for index in chips}) * math.prod(layer.window(tile).shape_yx)
        for tile, chips in layer.chips_of_tile.items()
    )


def _covered_pixels(layer: Layer) -> int:
    return sum(math.prod(layer.window(tile).shape_yx) for tile in layer.chips_of_tile)
