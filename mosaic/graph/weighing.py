"""The mean weight of every exposure: in which order tiles are weighed for it, and when it is known.

A median needs nothing of other tiles but the mean weights of its exposures. Tiles are weighed field by
field, so that the exposures of a field are complete, and its separate drizzles leave memory, before the next
field is begun. Does not cover weighing itself (`mosaic.graph.tasks`).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from mosaic.graph.job import Job, tile_task
from mosaic.graph.ledger import WEIGHT_SOLUTION
from mosaic.graph.plan import Plan
from mosaic.graph.progress import TaskRecord
from mosaic.graph.tasks import weight_sums
from mosaic.steps.median import WeightSum, mean_weight

_SHARES: Final = 8
"""Exposures are told apart by the eighth of their tiles that is left, then by time.

A finer measure takes fields of a raster here and there, along a longer front; a coarser one leaves the
dithers of a field to the end when other fields were visited between them.
"""


def exposures_of_tiles(plan: Plan) -> dict[int, tuple[int, ...]]:
    """Exposures, ascending, on every tile of the separate frame."""
    owner = plan.exposure_of_chip
    return {
        tile: tuple(dict.fromkeys(owner[chip] for chip in chips))
        for tile, chips in plan.separate.chips_of_tile.items()
    }


def tiles_of_exposures(exposures_of_tile: Mapping[int, Iterable[int]]) -> dict[int, list[int]]:
    """Tiles, in the order given, that every exposure lies on."""
    tiles: dict[int, list[int]] = {}
    for tile, exposures in exposures_of_tile.items():
        for exposure in exposures:
            tiles.setdefault(exposure, []).append(tile)
    return tiles


def order_by_field(exposures_of_tile: Mapping[int, Sequence[int]]) -> list[int]:
    """Order tiles so that few separate drizzles wait for the end of an exposure at any time.

    Of the tiles of a field come first those whose median can be made first: the others may find no room.
    """
    tiles_of = tiles_of_exposures(exposures_of_tile)
    turn = {tile: n for n, tiles in enumerate(_turns(exposures_of_tile, tiles_of)) for tile in tiles}
    end = {exposure: max(turn[tile] for tile in tiles) for exposure, tiles in tiles_of.items()}
    due = {tile: max(end[exposure] for exposure in exposures_of_tile[tile]) for tile in turn}
    return sorted(turn, key=lambda tile: (turn[tile], due[tile], tile))


def _turns(
    exposures_of_tile: Mapping[int, Sequence[int]], tiles_of: Mapping[int, Sequence[int]]
) -> Iterator[list[int]]:
    """Tiles that are taken together, because one exposure lies on them.

    Of the exposures on a tile taken already, that with the least left comes next: first the dithers of the
    same field, then the field beside it with the longest common edge.
    """
    n_left = {exposure: len(tiles) for exposure, tiles in tiles_of.items()}
    taken: set[int] = set()

    def rank(exposure: int) -> tuple[int, int]:
        return _SHARES * n_left[exposure] // len(tiles_of[exposure]), exposure

    for first in sorted(tiles_of):
        begun = [rank(first)]
        while begun:
            entry = heapq.heappop(begun)
            exposure = entry[1]
            if n_left[exposure] == 0 or entry != rank(exposure):
                continue
            own = [tile for tile in tiles_of[exposure] if tile not in taken]
            taken.update(own)
            touched = Counter(other for tile in own for other in exposures_of_tile[tile])
            for other, n_tiles in touched.items():
                n_left[other] -= n_tiles
                heapq.heappush(begun, rank(other))
            yield own


class Weighing:
    """Adds up the weights of tiles and keeps the mean weight of an exposure when its last tile is done.

    Sums are whole numbers: their order does not matter.

    Parameters
    ----------
    job : Job
        The job.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        of_tile = exposures_of_tiles(job.plan)
        self._n_left = {exposure: len(tiles) for exposure, tiles in tiles_of_exposures(of_tile).items()}
        self._sums = dict.fromkeys(self._n_left, WeightSum(0, 0))
        self._kept: dict[str, object] = {}

    def resume(self, tiles: Collection[str]) -> list[str]:
        """Take in tiles, by name, that earlier runs weighed; names of the exposures that are complete.

        Raises
        ------
        StoreError
            When the ledger lacks a tile.
        """
        if not tiles:
            return []
        kept = self._job.ledger.read_phase(WEIGHT_SOLUTION)
        self._kept = {name: record.facts.get("mean") for name, record in kept.items()}
        return self._add_all(self._job.ledger.require("weights", tiles).values())

    def add(self, record: TaskRecord) -> list[str]:
        """Take in a tile that was weighed; names of the exposures that are complete by it."""
        return self._add_all([record])

    def _add_all(self, records: Iterable[TaskRecord]) -> list[str]:
        complete = []
        for record in records:
            for exposure, part in weight_sums(record).items():
                own = self._sums[exposure]
                self._sums[exposure] = WeightSum(own.total + part.total, own.count + part.count)
                self._n_left[exposure] -= 1
                if self._n_left[exposure] == 0:
                    complete.append(solve_weight(self._job, exposure, [self._sums[exposure]]))
        self._job.ledger.write_all(
            [solution for solution in complete if self._kept.get(solution.task) != solution.facts["mean"]]
        )
        return [solution.task for solution in complete]


def solve_weight(job: Job, exposure: int, sums: Sequence[WeightSum]) -> TaskRecord:
    """Record of the mean weight of an exposure, from the sums of all its tiles."""
    mean = mean_weight(sums, job.weight_unit(exposure))
    name = job.plan.exposures[exposure].rootname
    return TaskRecord(WEIGHT_SOLUTION, name, 0.0, 0, 0, 0, facts={"mean": mean})


def weigh_exposure(job: Job, exposure: int, tiles: Iterable[str]) -> None:
    """Keep the mean weight of one exposure, whose tiles were all weighed."""
    records = job.ledger.require_few("weights", tiles)
    job.ledger.write(solve_weight(job, exposure, [weight_sums(record)[exposure] for record in records]))


def weight_tasks(plan: Plan) -> list[str]:
    """Ledger names of the tiles to be weighed, in the order in which they are."""
    return [tile_task(tile) for tile in order_by_field(exposures_of_tiles(plan))]
