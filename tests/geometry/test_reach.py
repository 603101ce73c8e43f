"""Tiles found from the edge of a chip never miss one: brute force over all pixels is the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from mosaic.geometry.cells import CELL
from mosaic.geometry.grid import CustomFrame, custom_grid, default_grid
from mosaic.geometry.pixmap import build_map_model, map_pixels
from mosaic.geometry.reach import MAX_STEP, ChipOutline, TileGrid, lattice_step
from mosaic.geometry.wcs import ChipWcs
from tests.support.exposures import write_exposure


@pytest.fixture(scope="module")
def chip(tmp_path_factory: pytest.TempPathFactory) -> ChipWcs:
    path = write_exposure(tmp_path_factory.mktemp("outline") / "a_flc.fits", shape_yx=(230, 403))
    with fits.open(path) as hdul:
        return ChipWcs.from_hdulist(hdul, 1)


def _brute_force(x: np.ndarray, y: np.ndarray, tiles: TileGrid, margin: float) -> set[int]:
    """Tiles of which a pixel lies within `margin` of a pixel of the chip, tile by tile."""
    found = set()
    for row in range(tiles.n_rows):
        for column in range(tiles.n_columns):
            y0, x0 = row * tiles.side, column * tiles.side
            y1 = min(y0 + tiles.side, tiles.shape_yx.ny)
            x1 = min(x0 + tiles.side, tiles.shape_yx.nx)
            touches = (
                (x >= x0 - 0.5 - margin) & (x <= x1 - 0.5 + margin)
                & (y >= y0 - 0.5 - margin) & (y <= y1 - 0.5 + margin)
            )  # fmt: skip
            if touches.any():
                found.add(row * tiles.n_columns + column)
    return found


@pytest.mark.parametrize("size", [(1500.0, 1100.0), (211.0, 163.0)])
@pytest.mark.parametrize("rot", [0.0, 37.0, 135.0])
@pytest.mark.parametrize(("scale", "side", "margin"), [(0.05, 61, 1.0), (0.013, 300, 7.0), (0.02, 131, 0.0)])
def test_no_tile_is_missed_and_few_are_added(
    chip: ChipWcs, size: tuple[float, float], rot: float, scale: float, side: int, margin: float
) -> None:
    # The large frame holds the whole chip with room around it, the small one lies inside it and is cut
    # into tiles whose last row and column are slivers.
    grid = custom_grid(default_grid([chip]), CustomFrame(rot=rot, scale=scale, outnx=size[0], outny=size[1]))
    tiles = TileGrid(grid.shape_yx, side)
    rows, columns = np.indices(chip.shape_yx).astype(float)
    expected = _brute_force(*map_pixels(chip, grid, columns, rows), tiles, margin)
    model = build_map_model(chip, grid, in_patches=False)
    for step in (CELL, 3 * CELL, MAX_STEP):
        outline = ChipOutline.from_map(model, chip.shape_yx, step)
        found = outline.tiles(tiles, margin)
        assert list(found) == sorted(set(found.tolist()))
        assert expected <= set(found.tolist())
        # A tile too many must lie within the widening of the boxes of a true one.
        wide = _brute_force(*map_pixels(chip, grid, columns, rows), tiles, margin + 3.0 * step * 0.05 / scale)
        assert set(found.tolist()) <= wide
    assert expected


def test_the_box_holds_every_pixel(chip: ChipWcs) -> None:
    grid = custom_grid(default_grid([chip]), CustomFrame(rot=20.0, scale=0.03))
    rows, columns = np.indices(chip.shape_yx).astype(float)
    x, y = map_pixels(chip, grid, columns, rows)
    box = ChipOutline.from_map(build_map_model(chip, grid, in_patches=False), chip.shape_yx, CELL).box()
    assert box.x0 < x.min() - 0.5
    assert box.x1 > x.max() + 0.5
    assert box.y0 < y.min() - 0.5
    assert box.y1 > y.max() + 0.5


def test_a_chip_far_away_reaches_nothing(chip: ChipWcs) -> None:
    grid = custom_grid(default_grid([chip]), CustomFrame(ra=150.1 + 90.0, dec=2.2))
    outline = ChipOutline.from_map(build_map_model(chip, grid, in_patches=False), chip.shape_yx, CELL)
    assert outline.tiles(TileGrid(grid.shape_yx, 64), 5.0).size == 0


@pytest.mark.parametrize(
    ("side", "ratio", "step"), [(1024, 1.0, 128), (300, 1.0, 32), (60, 1.0, 16), (1024, 0.5, 64)]
)
def test_a_tile_holds_several_lattice_points(side: int, ratio: float, step: int) -> None:
    assert lattice_step(side, ratio) == step
