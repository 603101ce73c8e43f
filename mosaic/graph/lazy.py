"""The planes of a job as dask arrays: what is asked for is computed, by the tasks of a batch run.

Covers the graph: one node for every task of the plan with the dependencies that the driver waits for, and
one for every stored chunk that is read. A slice of a plane keeps only the nodes it needs. Results go through
the job folder as in any run, so that a task is done once however often it is asked for, its bits are those of
the batch run, and either continues what the other has begun. Does not cover how many tasks run at a time,
which is the scheduler's business, but lets no more than the budget allows into their work.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from threading import BoundedSemaphore
from typing import Any, Final, TypeAlias

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from mosaic.errors import StoreError
from mosaic.graph.budget import Budget
from mosaic.graph.driver import plan_tasks, record_sky, summarise_static
from mosaic.graph.folder import untouched_value
from mosaic.graph.job import Job, TaskLimits, open_job, tile_task
from mosaic.graph.ledger import WEIGHT_SOLUTION, WHOLE_JOB
from mosaic.graph.plan import Layer
from mosaic.graph.store import read_verified
from mosaic.graph.tasks import run_task
from mosaic.graph.verify import locate_chunk
from mosaic.graph.weighing import exposures_of_tiles, tiles_of_exposures, weigh_exposure

Node: TypeAlias = tuple[Any, ...]
Nodes: TypeAlias = dict[Node, Node]

CHIPS_PER_PLANE: Final = 32
"""Bits of a context plane."""
_SKY: Final = ("static", "static_mask", "sky", "sky_overlaps")
"""Phases that the sky of any chip depends on."""


def lazy_planes(job: Job, budget: Budget) -> dict[str, da.Array]:
    """Offer the planes of a job as dask arrays, chunked by tile.

    Parameters
    ----------
    job : Job
        The job, its arrays created; what its ledger says to be done must be there.
    budget : Budget
        Memory of each task, and how many of them may work at a time in a process.

    Returns
    -------
    dict of str to dask array
        ``sci``, ``wht`` and, as far as the job makes them, ``var``, ``ctx`` (plane, y, x), ``n_exposures`` of
        the product, and ``median`` of the frame of the separate drizzles.
    """
    nodes = _task_nodes(job, budget)
    settings = job.plan.settings
    final = job.plan.final
    planes: dict[str, da.Array] = {}
    if settings.driz_combine:
        planes["sci"] = _plane(job, nodes, final, "final", "sci", untouched_value(job))
        planes["wht"] = _plane(job, nodes, final, "final", "wht", 0.0)
        if settings.final_err:
            planes["var"] = _plane(job, nodes, final, "final", "var", untouched_value(job))
        if settings.context:
            numbers = range(job.plan.n_context_planes)
            parts = [_plane(job, nodes, final, "final", f"ctx/{n}", 0, np.int32) for n in numbers]
            planes["ctx"] = da.stack(parts)
            planes["n_exposures"] = _count_exposures(job, planes["ctx"])
    if settings.median:
        planes["median"] = _plane(job, nodes, job.plan.separate, "median", "median", 0.0)
    return planes


def _task_nodes(job: Job, budget: Budget) -> Nodes:
    """One node a task, and one each for the sky and every mean weight, which many tasks wait for."""
    tasks = plan_tasks(job)
    digest = job.plan.digest
    where = (job.store, job.plan.identity)
    allowance = (budget.limits, budget.n_parallel)
    solved_sky = ("mosaic-solution", "sky", digest)
    nodes: Nodes = {}
    for phase, members in tasks.items():
        for task in members:
            after = [_key(digest, *key) for key in sorted(task.after)]
            if phase not in _SKY:
                after.append(solved_sky)
            nodes[_key(digest, *task.key)] = (_run, *where, phase, task.name, *allowance, after)
    before_sky = [_key(digest, *task.key) for phase in _SKY for task in tasks.get(phase, ())]
    nodes[solved_sky] = (_solve_sky, *where, before_sky)
    if "weights" in tasks:
        for exposure, tiles in tiles_of_exposures(exposures_of_tiles(job.plan)).items():
            weighed = [_key(digest, "weights", tile_task(tile)) for tile in tiles]
            name = job.plan.exposures[exposure].rootname
            nodes[_key(digest, WEIGHT_SOLUTION, name)] = (_solve_weight, *where, exposure, weighed)
    return nodes


def _key(digest: str, phase: str, task: str) -> Node:
    return (f"mosaic-{phase}", task, digest)


def _plane(
    job: Job, nodes: Nodes, layer: Layer, phase: str, kind: str, absent: float, dtype: type = np.float32
) -> da.Array:
    """A plane of tiles; those that no chip reaches are constant."""
    shape = layer.grid.shape_yx
    digest = job.plan.digest
    name = f"mosaic-{kind.replace('/', '-')}-{digest}"
    chunks = tuple(tuple(_sides(size, layer.tile)) for size in shape)
    own: Nodes = {}
    for tile in range(layer.n_tiles):
        row, column = divmod(tile, layer.n_columns)
        size = (chunks[0][row], chunks[1][column])
        if tile in layer.chips_of_tile:
            after = _key(digest, phase, tile_task(tile))
            own[name, row, column] = (
                _read,
                job.store,
                job.plan.identity,
                phase,
                tile_task(tile),
                kind,
                size,
                after,
            )
        else:
            own[name, row, column] = (_constant, size, absent, dtype)
    return da.Array(nodes | own, name, chunks=chunks, dtype=dtype)


def _sides(size: int, tile: int) -> Iterator[int]:
    for number in range(math.ceil(size / tile)):
        yield min(tile, size - number * tile)


@lru_cache(maxsize=16)
def _room(folder: str, n_parallel: int) -> BoundedSemaphore:
    """What keeps the tasks of a job in this process within its budget."""
    del folder
    return BoundedSemaphore(n_parallel)


def _run(
    folder: str, identity: str, phase: str, task: str, limits: TaskLimits, n_parallel: int, after: list[str]
) -> str:
    """Carry out a task unless the ledger has it; its name stands for what it wrote."""
    del after
    if open_job(folder, identity).ledger.read(phase, task) is None:
        with _room(folder, n_parallel):
            run_task(folder, identity, phase, task, limits)
    return task


def _solve_sky(folder: str, identity: str, after: list[str]) -> str:
    """Gather the statistics of all chips and solve for the sky, once."""
    del after
    job = open_job(folder, identity)
    if job.ledger.read("sky_solution", WHOLE_JOB) is None:
        summarise_static(job)
        record_sky(job)
    return "sky"


def _solve_weight(folder: str, identity: str, exposure: int, tiles: list[str]) -> str:
    """Gather the mean weight of an exposure from its tiles, once."""
    job = open_job(folder, identity)
    name = job.plan.exposures[exposure].rootname
    if job.ledger.read(WEIGHT_SOLUTION, name) is None:
        weigh_exposure(job, exposure, tiles)
    return name


def _read(
    folder: str, identity: str, phase: str, task: str, kind: str, size: tuple[int, int], after: str
) -> NDArray[Any]:
    """Read a chunk and compare it with the ledger; a context plane without a bit was not written."""
    del after
    job = open_job(folder, identity)
    record = job.ledger.read(phase, task)
    if record is None:
        raise StoreError(f"ledger lacks {phase} {task}: {folder} was removed or restarted; open it anew")
    if kind not in record.checksums and kind.startswith("ctx/"):
        return np.zeros(size, dtype=np.int32)
    values = read_verified(*locate_chunk(job, record, kind), record.checksums.get(kind))
    return values.reshape(size)


def _constant(size: tuple[int, int], value: float, dtype: type) -> NDArray[Any]:
    return np.broadcast_to(np.asarray(value, dtype=dtype), size)


def _count_exposures(job: Job, context: da.Array) -> da.Array:
    """Number of exposures of each pixel, from the bits of their chips."""
    masks: list[dict[int, int]] = [{} for _ in job.plan.exposures]
    for chip, exposure in enumerate(job.plan.exposure_of_chip):
        plane, bit = divmod(chip, CHIPS_PER_PLANE)
        masks[exposure][plane] = masks[exposure].get(plane, 0) | 1 << bit
    whole = context.rechunk({0: -1})
    return whole.map_blocks(_count_bits, masks, drop_axis=0, dtype=np.int32)


def _count_bits(context: NDArray[np.int32], masks: Sequence[dict[int, int]]) -> NDArray[np.int32]:
    """Count the masks that have any bit set in a block of context planes."""
    bits = context.view(np.uint32)
    used = {plane for plane in range(len(bits)) if bits[plane].any()}
    count = np.zeros(bits.shape[1:], dtype=np.int32)
    for mask in masks:
        hit = np.zeros(count.shape, dtype=np.bool_)
        for plane, own in mask.items():
            if plane in used:
                hit |= (bits[plane] & np.uint32(own)) != 0
        count += hit
    return count
