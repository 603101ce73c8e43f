from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib as mpl
import matplotlib.image
import numpy as np
import pytest
from numpy.typing import NDArray

from mosaic.errors import OutputError
from mosaic.geometry.grid import OutputGrid
from mosaic.products.fits import MemoryPlane
from mosaic.quality import preview
from mosaic.types import ShapeYX

SCALE_DEG = 0.05 / 3600


def make_grid(ny: int, nx: int, roll_deg: float = 0.0) -> OutputGrid:
    cos, sin = np.cos(np.radians(roll_deg)), np.sin(np.radians(roll_deg))
    cd = ((-SCALE_DEG * cos, SCALE_DEG * sin), (SCALE_DEG * sin, SCALE_DEG * cos))
    return OutputGrid(ShapeYX(ny, nx), (nx / 2, ny / 2), (150.0, 2.0), cd)


def slow_block_means(image: NDArray[Any], factor: int, *, skip_zero: bool) -> NDArray[Any]:
    """Means of the blocks, one by one."""
    ny, nx = (-(-side // factor) for side in image.shape)
    means = np.full((ny, nx), np.nan)
    for row, column in np.ndindex(ny, nx):
        block = image[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        present = block[np.isfinite(block) & ((block != 0) | (not skip_zero))]
        if present.size:
            means[row, column] = present.astype(np.float64).mean()
    return means


@pytest.mark.parametrize("skip_zero", [False, True])
@pytest.mark.parametrize(
    ("shape", "max_side", "factor"), [((50, 33), 20, 3), ((7, 64), 10, 7), ((9, 8), 20, 1)]
)
def test_reduction_is_the_mean_of_the_pixels_present(
    shape: tuple[int, int], max_side: int, factor: int, *, skip_zero: bool
) -> None:
    rng = np.random.default_rng(2)
    image = rng.normal(size=shape).astype(np.float32)
    image[rng.random(shape) < 0.3] = np.nan
    image[rng.random(shape) < 0.3] = 0.0
    image[: factor + 1, : factor + 1] = np.nan
    reduced = preview.reduce_plane(MemoryPlane(image), max_side=max_side, zero_is_absent=skip_zero)
    assert reduced.factor == factor
    assert max(reduced.image.shape) <= max_side
    expected = slow_block_means(image, factor, skip_zero=skip_zero)
    # float32 result of float64 sums in another order: one unit in the last place.
    np.testing.assert_allclose(reduced.image, expected, rtol=2e-7, atol=1e-9)


def test_reduction_does_not_depend_on_the_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(3).normal(size=(101, 47)).astype(np.float32)
    whole = preview.reduce_plane(MemoryPlane(image), max_side=20).image
    monkeypatch.setattr(preview, "_BAND_BYTES", 1)
    np.testing.assert_array_equal(preview.reduce_plane(MemoryPlane(image), max_side=20).image, whole)


def test_extent_covers_whole_blocks_in_output_pixels() -> None:
    reduced = preview.reduce_plane(MemoryPlane(np.zeros((50, 33), np.float32)), max_side=20)
    assert reduced.image.shape == (17, 11)
    assert reduced.extent == (-0.5, 32.5, -0.5, 50.5)


@pytest.mark.parametrize("roll_deg", [0.0, 30.0, -120.0])
def test_compass_points_along_the_sky(roll_deg: float) -> None:
    grid = make_grid(40, 60, roll_deg)
    x0, y0 = (pixel - 1.0 for pixel in grid.crpix_xy)
    north, east = preview.north_east(grid)
    for direction, (ra_step, dec_step) in ((north, (0.0, 1e-4)), (east, (1e-4, 0.0))):
        x, y = grid.sky_to_pixel(np.array([150.0 + ra_step]), np.array([2.0 + dec_step]))
        step = np.array([x[0] - x0, y[0] - y0])
        # Directions along great circles bend by the step times tan(dec), 1e-7 here.
        np.testing.assert_allclose(direction, step / np.hypot(*step), atol=1e-5)


@pytest.mark.parametrize(
    ("largest", "length"), [(0.3, 0.2), (1.0, 1.0), (1.99, 1.0), (49.9, 20.0), (50.0, 50.0), (700.0, 500.0)]
)
def test_scale_bar_has_a_round_length(largest: float, length: float) -> None:
    assert preview.nice_length(largest) == pytest.approx(length, rel=1e-12)


def test_stretch_is_black_at_the_sky_and_never_inverted() -> None:
    rng = np.random.default_rng(4)
    image = rng.normal(10.0, 1.0, (80, 90)).astype(np.float32)
    image[40, 40:45] = 5000.0
    low, knee, high = preview.stretch_limits(image)
    assert low < 10.0 < knee < 20.0
    assert high >= knee
    for constant in (np.zeros((5, 6), np.float32), np.full((5, 6), np.nan, np.float32)):
        low, knee, high = preview.stretch_limits(constant)
        assert low < knee <= high


def read_png(path: Path) -> NDArray[Any]:
    return np.asarray(matplotlib.image.imread(path))[..., :3]


@pytest.mark.parametrize("shape", [(300, 200), (20, 500), (3, 3)])
def test_preview_is_a_picture_with_outlines(tmp_path: Path, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(5).normal(size=shape).astype(np.float32)
    image[: shape[0] // 3] = np.nan
    ny, nx = shape
    corners = np.array(
        [[0.2 * nx, 0.4 * ny], [0.8 * nx, 0.4 * ny], [0.8 * nx, 0.8 * ny], [0.2 * nx, 0.8 * ny]]
    )
    without = preview.write_preview(tmp_path / "a.png", MemoryPlane(image), make_grid(ny, nx))
    outlined = preview.write_preview(
        tmp_path / "b.png",
        MemoryPlane(image),
        make_grid(ny, nx),
        footprints=[corners],
        title="m51",
        unit="ELECTRONS/S",
    )
    plain, drawn = read_png(without), read_png(outlined)

    # The first outline is orange: red high, blue absent, which a grey image never is.
    def n_orange(picture: NDArray[Any]) -> int:
        return int(np.count_nonzero((picture[..., 0] > 0.6) & (picture[..., 2] < 0.2)))

    assert n_orange(plain) == 0
    assert n_orange(drawn) > 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize("value", [500.0, 0.0])
def test_weight_map_is_coloured_where_there_is_weight(tmp_path: Path, value: float) -> None:
    weight = np.zeros((60, 90), np.float32)
    weight[10:50, 10:80] = value
    picture = read_png(
        preview.write_weight_map(tmp_path / "w.png", MemoryPlane(weight), make_grid(60, 90), title="m51")
    )
    middle = picture[picture.shape[0] // 2, picture.shape[1] // 3]
    is_top_of_viridis = bool(middle[0] > 0.9 and middle[1] > 0.8 and middle[2] < 0.3)
    assert is_top_of_viridis == (value > 0)


def test_drawing_needs_no_pyplot_and_leaves_no_global_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it now raises
    before = mpl.rcParams.copy()
    preview.write_preview(tmp_path / "a.png", MemoryPlane(np.zeros((5, 7), np.float32)), make_grid(5, 7))
    assert mpl.rcParams.copy() == before


def test_without_matplotlib_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_import = importlib.import_module

    def import_without_matplotlib(name: str) -> ModuleType:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real_import(name)

    monkeypatch.setattr(preview.importlib, "import_module", import_without_matplotlib)
    plane, grid = MemoryPlane(np.zeros((5, 7), np.float32)), make_grid(5, 7)
    for write in (preview.write_preview, preview.write_weight_map):
        with pytest.raises(OutputError, match=r"pip install 'mosaic-hst\[plots\]'"):
            write(tmp_path / "a.png", plane, grid)
    assert list(tmp_path.iterdir()) == []
