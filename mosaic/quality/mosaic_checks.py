"""Checks of the product: sky, seams, weights, holes, noise, shapes of stars, fluxes, sampling.

All of them rest on one pass over the sampled tiles (`ProductPass`); the fluxes and widths of stars are
compared with those in the exposures themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mosaic.exposure.reader import read_dq
from mosaic.graph.store import open_array
from mosaic.quality.noise import NoiseSamples
from mosaic.quality.offsets import sky_to_chip
from mosaic.quality.rejection import Residuals
from mosaic.quality.spectrum import SkySpectrum
from mosaic.quality.stars import Level, above_border, cut_out, find_peaks, isolated, measure_shapes, sky_level
from mosaic.quality.survey import Survey, Tile
from mosaic.types import BoolArray, DoubleArray, FloatArray, Window

STAR_HALF = 12
_STARS_PER_TILE = 80
_MIN_REGION = 1500
_REGION_SAMPLE = 100_000
_MOST_REGIONS = 10
_BESIDE = 15
_MOST_IMPRINTS = 400


@dataclass(slots=True)
class ProductStars:
    """Isolated compact sources of the product."""

    x: list[float] = field(default_factory=list)
    """Column, product pixels."""
    y: list[float] = field(default_factory=list)
    """Row."""
    fwhm: list[float] = field(default_factory=list)
    """Width, product pixels."""
    ellipticity: list[float] = field(default_factory=list)
    """One minus axis ratio."""
    angle: list[float] = field(default_factory=list)
    """Direction of the major axis."""
    stamp: list[DoubleArray] = field(default_factory=list)
    """Cut-outs above their border."""


@dataclass(slots=True)
class ProductPass:
    """What one pass over the tiles gathers."""

    n_promised: int = 0
    """Pixels that lie within the outline of a chip."""
    n_holes: int = 0
    """Of these, pixels without weight."""
    hole_places: list[tuple[int, int]] = field(default_factory=list)
    """Some of the holes, product pixels (x, y)."""
    relative: list[FloatArray] = field(default_factory=list)
    """Samples of weight over promised weight."""
    full_depth: list[FloatArray] = field(default_factory=list)
    """Samples of weight over promised weight where most exposures overlap."""
    seams: list[tuple[float, float, float, str]] = field(default_factory=list)
    """Step of the sky, its error, scatter of a pixel, place."""
    imprint: list[float] = field(default_factory=list)
    """Relative weight on objects less that beside them."""
    levels: list[Level] = field(default_factory=list)
    """Sky of each tile."""
    noise: NoiseSamples = field(default_factory=NoiseSamples)
    """Scatter of pixels and blocks."""
    spectrum: SkySpectrum = field(default_factory=SkySpectrum)
    """Power spectrum of the sky."""
    stars: ProductStars = field(default_factory=ProductStars)
    """Stars."""
    residuals: Residuals = field(default_factory=Residuals)
    """Peaks that the median lacks."""


def run_pass(survey: Survey) -> ProductPass:
    """Look at every sampled tile once."""
    found = ProductPass()
    top = _deepest(survey)
    for number in survey.tiles:
        tile = survey.tile(number)
        if not np.isfinite(tile.sci).any():
            found.n_promised += int(np.count_nonzero(tile.depth))
            found.n_holes += int(np.count_nonzero(tile.depth))
            continue
        _add_tile(survey, tile, found, top)
    return found


def _deepest(survey: Survey) -> int:
    """Exposures where most overlap, by tile lists alone."""
    plan = survey.job.plan
    members = plan.final.chips_of_tile.values()
    return max((len({plan.exposure_of_chip[i] for i in chips}) for chips in members), default=0)


def _add_tile(survey: Survey, tile: Tile, found: ProductPass, top: int) -> None:
    level = sky_level(tile.sci)
    found.levels.append(level)
    promised = tile.depth > 0
    holes = promised & (tile.wht <= 0)
    found.n_promised += int(np.count_nonzero(promised))
    found.n_holes += int(np.count_nonzero(holes))
    y, x = np.nonzero(holes)
    for k in np.linspace(0, y.size - 1, min(y.size, 40)).astype(int):
        found.hole_places.append((int(x[k]) + tile.window.x0, int(y[k]) + tile.window.y0))
    relative = np.divide(tile.wht, tile.expected, out=np.full_like(tile.wht, np.nan), where=promised)
    found.relative.append(relative[::5, ::5][promised[::5, ::5]].copy())
    deep = tile.depth >= max(1, (3 * top + 3) // 4)
    found.full_depth.append(relative[::3, ::3][deep[::3, ::3]].copy())
    is_sky = _sky_pixels(tile.sci, level)
    _add_seams(tile, is_sky, level, found)
    found.noise.add(tile.sci, is_sky, level)
    found.spectrum.add(tile.sci, is_sky, level)
    if survey.job.plan.settings.final_err:
        _add_reported(survey, tile, is_sky, level, found)
    _add_sources(survey, tile, relative, level, found)


def _sky_pixels(sci: FloatArray, level: Level) -> BoolArray:
    """Pixels without objects: below four sigma, and no neighbour in a cross above."""
    with np.errstate(invalid="ignore"):
        low = sci < level.value + 4.0 * level.sigma
    is_sky = low.copy()
    for step in (2, 1):
        is_sky[step:] &= low[:-step]
        is_sky[:-step] &= low[step:]
        is_sky[:, step:] &= low[:, :-step]
        is_sky[:, :-step] &= low[:, step:]
    return is_sky


def _add_seams(tile: Tile, is_sky: BoolArray, level: Level, found: ProductPass) -> None:
    """Compare the sky of regions that different chips cover with that of the largest region of the tile."""
    keys, first, sizes = np.unique(tile.region[::8, ::8], return_index=True, return_counts=True)
    depths = tile.depth[::8, ::8].ravel()[first]
    regions: list[tuple[int, FloatArray]] = []
    for k in np.argsort(-sizes, kind="stable"):
        if depths[k] == 0 or len(regions) == _MOST_REGIONS:
            continue
        values = tile.sci[(tile.region == keys[k]) & is_sky]
        values = values[:: max(1, values.size // _REGION_SAMPLE)]
        if values.size >= _MIN_REGION:
            regions.append((int(depths[k]), values))
    if len(regions) < 2:
        return
    base = regions[0]
    for depth, values in regions[1:]:
        step = float(np.median(values) - np.median(base[1]))
        scatter = float(np.std(values))
        # Neighbours are correlated: some nine pixels count as one.
        error = 1.25 * 3.0 * np.hypot(scatter / np.sqrt(values.size), np.std(base[1]) / np.sqrt(base[1].size))
        place = f"tile {tile.number}: region of {depth} against one of {base[0]} exposures"
        found.seams.append((step, float(error), max(scatter, level.sigma), place))


def _add_reported(survey: Survey, tile: Tile, is_sky: BoolArray, level: Level, found: ProductPass) -> None:
    variance = np.asarray(open_array(survey.job.store, "mosaic.zarr/var")[tile.window.slices])
    sample = variance[::4, ::4][is_sky[::4, ::4]]
    if sample.size > 200 and level.sigma > 0:
        found.noise.reported.append(float(np.sqrt(np.median(sample))) / level.sigma)


def _add_sources(survey: Survey, tile: Tile, relative: FloatArray, level: Level, found: ProductPass) -> None:
    image = np.where(np.isfinite(tile.sci), tile.sci, np.float32(level.value))
    margin = min(STAR_HALF, min(image.shape) // 4)
    x, y = find_peaks(image, level, n_sigma=15.0, margin=margin, limit=3000)
    if not x.size:
        return
    _add_residuals(survey, tile, image, (x, y), level, found)
    _add_imprint(relative, x, y, found)
    if margin < STAR_HALF:
        return
    alone = isolated(x.astype(np.float64), y.astype(np.float64), 12.0)
    bright = image[y, x] > level.value + 40.0 * level.sigma
    chosen = np.flatnonzero(alone & bright)[:_STARS_PER_TILE]
    if not chosen.size:
        return
    stamps = above_border(cut_out(image, x[chosen], y[chosen], STAR_HALF))
    sigma = weight_sigma_px(survey)
    shapes = measure_shapes(stamps, sigma)
    for k in np.flatnonzero(np.isfinite(shapes.fwhm)):
        i = chosen[k]
        found.stars.x.append(float(x[i] + tile.window.x0))
        found.stars.y.append(float(y[i] + tile.window.y0))
        found.stars.fwhm.append(float(shapes.fwhm[k]))
        found.stars.ellipticity.append(float(shapes.ellipticity[k]))
        found.stars.angle.append(float(shapes.angle[k]))
        found.stars.stamp.append(stamps[k])


def weight_sigma_px(survey: Survey) -> float:
    """Sigma of the weight for moments, product pixels: one and a half native pixels."""
    plan = survey.job.plan
    return 1.5 * plan.chips[0].idcscale_arcsec / plan.final.grid.scale_arcsec


def _add_imprint(
    relative: FloatArray, x: NDArray[np.int64], y: NDArray[np.int64], found: ProductPass
) -> None:
    """Weight on bright objects less the mean of places a little beside them."""
    ny, nx = relative.shape
    inside = (x >= _BESIDE) & (x < nx - _BESIDE) & (y >= _BESIDE) & (y < ny - _BESIDE)
    x, y = x[inside][:_MOST_IMPRINTS], y[inside][:_MOST_IMPRINTS]
    if not x.size:
        return
    on = cut_out(relative, x, y, 1).mean(axis=(1, 2))
    beside = [
        cut_out(relative, x + dx, y + dy, 1).mean(axis=(1, 2))
        for dx, dy in ((7, 13), (-7, -13), (-13, 7), (13, -7))
    ]
    around = np.median(beside, axis=0)
    value = np.divide(on, around, out=np.full(x.size, np.nan), where=around > 0) - 1.0
    found.imprint += [float(v) for v in value[np.isfinite(value)]]


def _add_residuals(
    survey: Survey,
    tile: Tile,
    image: FloatArray,
    peaks: tuple[NDArray[np.int64], NDArray[np.int64]],
    level: Level,
    found: ProductPass,
) -> None:
    """Compare each peak with the median at the same place of the sky."""
    plan = survey.job.plan
    grid, separate = plan.final.grid, plan.separate
    covered = int(np.count_nonzero(np.isfinite(tile.sci)))
    if not plan.settings.median:
        return
    found.residuals.area_arcmin2 += covered * (grid.scale_arcsec / 60.0) ** 2
    x, y = peaks
    found.residuals.n_peaks += int(x.size)
    place = np.column_stack([x + tile.window.x0, y + tile.window.y0]).astype(np.float64)
    sky = grid.pixel_to_sky(place[:, 0], place[:, 1])
    mx, my = (np.rint(p).astype(int) for p in separate.grid.sky_to_pixel(*sky))
    shape = separate.grid.shape_yx
    inside = (mx >= 2) & (mx < shape.nx - 2) & (my >= 2) & (my < shape.ny - 2)
    x, y, mx, my = x[inside], y[inside], mx[inside], my[inside]
    if not x.size:
        return
    y0, y1, x0, x1 = my.min() - 2, my.max() + 3, mx.min() - 2, mx.max() + 3
    if (y1 - y0) * (x1 - x0) > 16 * image.size + 65536:
        return
    median = np.asarray(open_array(survey.job.store, "median.zarr/median")[y0:y1, x0:x1], dtype=np.float32)
    base = sky_level(np.where(median != 0, median, np.float32(np.nan)))
    here = cut_out(image, x, y, 1).mean(axis=(1, 2)) - level.value
    there = cut_out(median, mx - x0, my - y0, 1).mean(axis=(1, 2)) - base.value
    ratio = there / here
    usual = float(np.median(ratio))
    if not usual > 0:
        usual = float(np.percentile(ratio, 90))
    absent = ratio < 0.3 * usual
    if usual > 0:
        found.residuals.x += [float(v) for v in x[absent] + tile.window.x0]
        found.residuals.y += [float(v) for v in y[absent] + tile.window.y0]


def dq_of_holes(survey: Survey, places: list[tuple[int, int]]) -> Iterator[str]:
    """The DQ bits, or rejection, that left holes without weight."""
    grid = survey.job.plan.final.grid
    xy = np.array(places[:: max(1, len(places) // 60)], dtype=np.float64)
    ra, dec = grid.pixel_to_sky(xy[:, 0], xy[:, 1])
    counts: Counter[str] = Counter()
    bad_bits = int(survey.job.bad_bits(survey.job.final.good_bits))
    n_seen = 0
    for index in survey.chips:
        chip = survey.job.plan.chips[index]
        x, y = sky_to_chip(survey, index, ra, dec)
        on = np.isfinite(x) & np.isfinite(y)
        if not on.any():
            continue
        rejected = survey.rejected(index) if survey.job.plan.settings.driz_cr else None
        for i, j in zip(np.rint(x[on]).astype(int), np.rint(y[on]).astype(int), strict=True):
            n_seen += 1
            flags = int(read_dq(chip, Window(int(j), int(j) + 1, int(i), int(i) + 1))[0, 0]) & bad_bits
            counts.update(f"DQ {1 << bit}" for bit in range(16) if flags >> bit & 1)
            if rejected is not None and rejected[j, i] and not flags:
                counts["taken for a cosmic ray"] += 1
    for name, n in counts.most_common(8):
        yield f"{name}: {n} of {n_seen} input pixels under holes"
