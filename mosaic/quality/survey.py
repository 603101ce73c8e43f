"""Access to a finished job for the checks: sampled tiles and chips, and what they should contain.

Covers which tiles and chips are looked at, reading them one at a time, and the coverage that follows from the
outlines alone. A brief survey looks at a fixed number of tiles and exposures, so that its cost does not grow
with the mosaic; a full one looks at all. Memory is that of a few tiles either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mosaic.exposure.model import Chip
from mosaic.exposure.reader import read_science
from mosaic.graph.job import Job, chip_task
from mosaic.graph.outcome import whole_window
from mosaic.graph.store import open_array, read_mask
from mosaic.types import BoolArray, DoubleArray, FloatArray, Window

BRIEF_TILES = 3
BRIEF_EXPOSURES = 8
BRIEF_MASK_ROWS = 768
_INSET_PX = 3.0
_SCRAMBLE = 2654435761


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile of the product with what should be in it."""

    number: int
    """Number within the layer."""
    window: Window
    """Where it lies."""
    sci: FloatArray
    """Science image; NaN without weight."""
    wht: FloatArray
    """Weight."""
    expected: FloatArray
    """Weight that the outlines of the chips promise, from exposure times alone."""
    depth: NDArray[np.uint16]
    """Exposures that cover each pixel."""
    region: NDArray[np.uint32]
    """The same number wherever the same chips cover the sky."""


class Survey:
    """What the checks may look at.

    Parameters
    ----------
    job : Job
        A finished job.
    full : bool
        Whether every tile and exposure is looked at.
    """

    def __init__(self, job: Job, *, full: bool) -> None:
        self.job = job
        self.full = full
        self._outlines: dict[tuple[str, float], DoubleArray] = {}

    @cached_property
    def tiles(self) -> list[int]:
        """Tiles of the product that are looked at, the ones with most chips first in a brief survey."""
        if not self.job.plan.settings.driz_combine:
            return []
        return self._choose(self.job.plan.final.chips_of_tile, BRIEF_TILES)

    @cached_property
    def median_tiles(self) -> list[int]:
        """Tiles of the median that are looked at."""
        if not self.job.plan.settings.median:
            return []
        return self._choose(self.job.plan.separate.chips_of_tile, BRIEF_TILES)

    @cached_property
    def exposures(self) -> list[int]:
        """Exposures whose pixels are looked at."""
        n = len(self.job.plan.exposures)
        if self.full or n <= BRIEF_EXPOSURES:
            return list(range(n))
        return [int(i) for i in np.unique(np.linspace(0, n - 1, BRIEF_EXPOSURES).round())]

    @cached_property
    def chips(self) -> list[int]:
        """Chips of `exposures`."""
        wanted = set(self.exposures)
        return [i for i, exposure in enumerate(self.job.plan.exposure_of_chip) if exposure in wanted]

    def _choose(self, chips_of_tile: dict[int, tuple[int, ...]], n_brief: int) -> list[int]:
        """All tiles, or a few of the deepest ones spread over the mosaic."""
        filled = [tile for tile in sorted(chips_of_tile) if chips_of_tile[tile]]
        if self.full or len(filled) <= n_brief:
            return filled
        depth = max(len(chips_of_tile[tile]) for tile in filled)
        deep = [tile for tile in filled if 2 * len(chips_of_tile[tile]) >= depth]
        places = np.unique(np.linspace(0, len(deep) - 1, n_brief + 2).round().astype(int)[1:-1])
        return [deep[i] for i in places]

    def tile(self, number: int) -> Tile:
        """Read one tile of the product."""
        return _read_tile(self, number)

    def median(self, number: int) -> FloatArray:
        """Read one tile of the median."""
        window = self.job.plan.separate.window(number)
        return np.asarray(open_array(self.job.store, "median.zarr/median")[window.slices], dtype=np.float32)

    def rejected(self, index: int, window: Window | None = None) -> BoolArray:
        """Cosmic-ray mask of a chip, or of a window of it."""
        chip = self.job.plan.chips[index]
        return read_mask(self.job.store, f"cosmic_rays/{chip_task(chip)}", window or whole_window(chip))

    def mask_window(self, chip: Chip) -> Window:
        """Rows of a chip whose masks are looked at: all, or the middle ones."""
        ny, nx = chip.shape_yx
        if self.full or ny <= BRIEF_MASK_ROWS:
            return whole_window(chip)
        y0 = (ny - BRIEF_MASK_ROWS) // 2
        return Window(y0, y0 + BRIEF_MASK_ROWS, 0, nx)

    def science_sample(self, index: int, n_bands: int = 4, rows: int = 16) -> FloatArray:
        """Bands of rows spread over a chip, native units; pixels that the product does not use are NaN."""
        chip = self.job.plan.chips[index]
        ny, nx = chip.shape_yx
        if self.full:
            n_bands *= 8
        starts = np.unique(np.linspace(0, max(0, ny - rows), n_bands).astype(int))
        parts = []
        for y0 in starts:
            window = Window(int(y0), min(ny, int(y0) + rows), 0, nx)
            sci = read_science(chip, window)
            parts.append(np.where(self.job.good_flags(index, window, self.job.final.good_bits), sci, np.nan))
        return np.concatenate(parts)

    def outline(self, chip: Chip, inset_px: float = _INSET_PX) -> DoubleArray:
        """Corners and edges of a chip in the product's frame, a little inside its true border."""
        key = (chip.name, inset_px)
        if key not in self._outlines:
            self._outlines[key] = _outline(self.job, chip, inset_px)
        return self._outlines[key]

    def coverage(
        self, window: Window, chips: Sequence[int]
    ) -> tuple[FloatArray, NDArray[np.uint16], NDArray[np.uint32]]:
        """Promised weight, number of exposures, and which chips together, of a rectangle of the product."""
        shape = window.shape_yx
        expected = np.zeros(shape, dtype=np.float32)
        depth = np.zeros(shape, dtype=np.uint16)
        region = np.zeros(shape, dtype=np.uint32)
        for index in chips:
            chip = self.job.plan.chips[index]
            inside = self.inside(chip, window)
            ratio = self.job.scale_ratio(self.job.final, index)
            expected += inside * np.float32(chip.exptime_s * ratio * ratio)
            depth += inside
            # Sums of numbers that are as good as random tell sets of chips apart.
            region += inside * np.uint32((index + 1) * _SCRAMBLE & 0xFFFFFFFF)
        return expected, depth, region

    def inside(self, chip: Chip, window: Window) -> BoolArray:
        """Pixels of a rectangle of the product that lie within the outline of a chip."""
        corners = self.outline(chip) - (window.x0, window.y0)
        image = Image.new("1", (window.x1 - window.x0, window.y1 - window.y0))
        # A polygon far beyond the canvas costs nothing, but its coordinates must stay small integers.
        points = [(float(x), float(y)) for x, y in np.clip(corners, -1e6, 1e6)]
        ImageDraw.Draw(image).polygon(points, fill=1)
        return np.asarray(image, dtype=np.bool_)


def _outline(job: Job, chip: Chip, inset_px: float) -> DoubleArray:
    ny, nx = chip.shape_yx
    x = np.linspace(inset_px, nx - 1 - inset_px, 17)
    y = np.linspace(inset_px, ny - 1 - inset_px, 17)
    xs = np.concatenate([x[:-1], np.full(16, x[-1]), x[:0:-1], np.full(16, x[0])])
    ys = np.concatenate([np.full(16, y[0]), y[:-1], np.full(16, y[-1]), y[:0:-1]])
    return np.column_stack(job.plan.final.grid.sky_to_pixel(*chip.wcs.pixel_to_sky(xs, ys)))


def _read_tile(survey: Survey, number: int) -> Tile:
    layer = survey.job.plan.final
    window = layer.window(number)
    sci, wht = (
        np.asarray(open_array(survey.job.store, f"mosaic.zarr/{name}")[window.slices], dtype=np.float32)
        for name in ("sci", "wht")
    )
    covered = survey.coverage(window, layer.chips_of_tile[number])
    return Tile(number, window, np.where(wht > 0, sci, np.float32(np.nan)), wht, *covered)
