"""A plan of many exposures: every chip in every tile it reaches, nothing that grows with their product."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mosaic.graph import codec
from mosaic.graph.driver import plan_tasks
from mosaic.graph.job import Job, chip_task, tile_of
from mosaic.graph.plan import BLOT_MARGIN, Plan
from mosaic.types import Window
from tests.scale.dry import make_plan


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Twelve hundred exposures with small chips: 2,400 chips on 7 x 7 fields."""
    return make_plan(1200, tile=128, chip_shape=(64, 160))


def test_every_pixel_of_every_chip_lies_in_a_tile_that_lists_it(plan: Plan) -> None:
    layer = plan.final
    members = {tile: set(chips) for tile, chips in layer.chips_of_tile.items()}
    ny, nx = plan.chips[0].shape_yx
    y, x = (
        axis.ravel() for axis in np.meshgrid([0.0, ny / 2, ny - 1.0], [0.0, nx / 3, nx - 1.0], indexing="ij")
    )
    n_checked = 0
    for index, chip in enumerate(plan.chips):
        # The sky between: not the map that the plan was made with.
        out_x, out_y = layer.grid.sky_to_pixel(*chip.wcs.pixel_to_sky(x, y))
        box = layer.box_of_chip[index]
        assert box.x0 < out_x.min() < out_x.max() < box.x1
        assert box.y0 < out_y.min() < out_y.max() < box.y1
        for column, row in zip(np.rint(out_x).astype(int), np.rint(out_y).astype(int), strict=True):
            if 0 <= column < layer.grid.shape_yx.nx and 0 <= row < layer.grid.shape_yx.ny:
                tile = row // layer.tile * layer.n_columns + column // layer.tile
                assert index in members[tile]
                n_checked += 1
    assert n_checked > 8.5 * len(plan.chips)


def test_chips_are_listed_in_order_and_only_near_their_tiles(plan: Plan) -> None:
    layer = plan.separate
    for tile, chips in layer.chips_of_tile.items():
        window = layer.window(tile)
        assert list(chips) == sorted(set(chips))
        for index in chips:
            box = layer.box_of_chip[index]
            grown = Window(window.y0 - 40, window.y1 + 40, window.x0 - 40, window.x1 + 40)
            assert not grown.intersect(box).is_empty
    # A chip of 64 x 160 pixels with its halo touches at most 3 x 3 tiles of 128 pixels or so.
    assert sum(map(len, layer.chips_of_tile.values())) < 9 * len(plan.chips)


def test_a_plan_comes_back_as_it_was(plan: Plan, tmp_path: Path) -> None:
    plan.write(tmp_path)
    again = Plan.read(tmp_path)
    arrays: list[dict[str, dict[str, object]]] = [{}, {}]
    assert codec.encode(plan.exposures, arrays[0]) == codec.encode(again.exposures, arrays[1])
    assert arrays[0] == arrays[1]
    assert (again.separate, again.final, again.digest) == (plan.separate, plan.final, plan.digest)
    # Two chips share the tables of their detector: what is left is a few kilobytes an exposure.
    assert len(arrays[0]) < 20
    assert (tmp_path / "plan.json").stat().st_size < 8000 * len(plan.exposures)
    assert json.loads((tmp_path / "plan.json").read_text())["digest"] == plan.digest


def test_tasks_wait_for_what_they_read(plan: Plan, tmp_path: Path) -> None:
    job = Job(tmp_path, plan)
    tasks = plan_tasks(job)
    medians = {int(tile) for tile in plan.separate.chips_of_tile}
    for task, index in zip(tasks["cosmic_rays"][::97], range(0, len(plan.chips), 97), strict=True):
        assert task.name == chip_task(plan.chips[index])
        ny, nx = plan.chips[index].shape_yx
        whole = job.cells(job.separate, index).output_box(Window(0, ny, 0, nx), BLOT_MARGIN)
        read = {tile for tile in plan.separate.tiles_in(whole) if tile in medians}
        assert read <= {tile_of(name) for phase, name in task.after if phase == "median"}
    for task in tasks["final"]:
        chips = plan.final.chips_of_tile[tile_of(task.name)]
        assert task.after == {("cosmic_rays", chip_task(plan.chips[i])) for i in chips}
