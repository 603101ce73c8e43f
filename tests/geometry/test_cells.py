"""Windows found on the lattice never lose a pixel: brute force with the exact map is the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mosaic.geometry.cells import ChipCells
from mosaic.geometry.grid import CustomFrame, custom_grid, default_grid
from mosaic.geometry.pixmap import build_map_model, map_pixels
from mosaic.geometry.wcs import ChipWcs
from mosaic.types import Window
from tests.support.exposures import write_exposure


@pytest.mark.parametrize("rot", [0.0, 37.0, 135.0])
@pytest.mark.parametrize(("scale", "margin"), [(0.05, 1.0), (0.013, 7.0), (0.2, 0.0)])
def test_no_pixel_that_touches_a_tile_is_missed(
    tmp_path: Path, rot: float, scale: float | None, margin: float
) -> None:
    path = write_exposure(tmp_path / "a_flc.fits", shape_yx=(130, 203))
    with fits.open(path) as hdul:
        chip = ChipWcs.from_hdulist(hdul, 1)
    # The frame is cut so that the chip hangs over all its sides.
    grid = custom_grid(default_grid([chip]), CustomFrame(rot=rot, scale=scale))
    cells = ChipCells.from_map(build_map_model(chip, grid, 0), chip.shape_yx)
    rows, columns = np.indices(chip.shape_yx).astype(float)
    x, y = map_pixels(chip, grid, columns, rows)
    n_found = 0
    for y0 in range(-20, grid.shape_yx.ny, 61):
        for x0 in range(-20, grid.shape_yx.nx, 47):
            tile = Window(y0, y0 + 61, x0, x0 + 47)
            touches = (
                (x >= tile.x0 - 0.5 - margin) & (x <= tile.x1 - 0.5 + margin)
                & (y >= tile.y0 - 0.5 - margin) & (y <= tile.y1 - 0.5 + margin)
            )  # fmt: skip
            window = cells.window_for(tile, margin)
            inside = np.zeros(chip.shape_yx, dtype=bool)
            inside[window.slices] = True
            assert not np.any(touches & ~inside)
            n_found += int(touches.any())
    assert n_found > 1


def test_output_box_holds_every_pixel_of_the_window(tmp_path: Path) -> None:
    path = write_exposure(tmp_path / "a_flc.fits", shape_yx=(130, 203))
    with fits.open(path) as hdul:
        chip = ChipWcs.from_hdulist(hdul, 1)
    grid = default_grid([chip])
    cells = ChipCells.from_map(build_map_model(chip, grid, 0), chip.shape_yx)
    for window in (Window(0, 130, 0, 203), Window(40, 41, 100, 190), Window(129, 130, 202, 203)):
        rows, columns = np.mgrid[window.y0 : window.y1, window.x0 : window.x1].astype(float)
        x, y = map_pixels(chip, grid, columns, rows)
        box = cells.output_box(window, 1.5)
        assert box.x0 <= x.min() - 1.5
        assert box.x1 >= x.max() + 1.5
        assert box.y0 <= y.min() - 1.5
        assert box.y1 >= y.max() + 1.5
