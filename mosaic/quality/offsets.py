"""How far each exposure lies from the median: bright compact sources in both, one by one.

Covers choosing stars in the median, blotting small windows around them, and the shift of every star in every
exposure. Does not cover what the shifts mean (`mosaic.quality.alignment`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosaic.exposure.model import Chip
from mosaic.exposure.reader import read_science
from mosaic.graph.tasks import blot_band
from mosaic.quality.stars import above_border, find_peaks, isolated, measure_shapes, measure_shifts, sky_level
from mosaic.quality.survey import Survey
from mosaic.types import DoubleArray, Window

STARS_PER_CHIP = 60
_STARS_BRIEF = 24
REACH_PX = 8
_HALF = 14
_WEIGHT_PX = 1.5
_N_SIGMA = 30.0
_CONCENTRATION = 0.35


@dataclass(frozen=True, slots=True)
class Offsets:
    """Shifts of the stars of one exposure against the median, native pixels."""

    exposure: int
    """Number of the exposure."""
    n_tried: int
    """Stars that should be on it."""
    xy: DoubleArray
    """Where each matched star is, pixels of its chip with the chips stacked along y, shape (n, 2)."""
    chip: NDArray[np.int64]
    """Chip of each."""
    shift_xy: DoubleArray
    """Shift of each, shape (n, 2)."""
    ambiguity: DoubleArray
    """Second peak of the correlation over the first."""
    fwhm_px: float
    """Median width of the stars in the median, seen by the exposure."""

    @property
    def n(self) -> int:
        """Stars matched."""
        return int(self.shift_xy.shape[0])


@dataclass(frozen=True, slots=True)
class MedianStars:
    """Compact isolated sources of the median, the brightest first."""

    ra_deg: DoubleArray
    """Right ascension."""
    dec_deg: DoubleArray
    """Declination."""
    n_sources: int
    """Peaks of any kind in the tiles looked at."""
    area_px: int
    """Pixels of the tiles looked at."""


def median_stars(survey: Survey) -> MedianStars:
    """Find stars in the sampled tiles of the median."""
    layer = survey.job.plan.separate
    found: list[tuple[DoubleArray, DoubleArray, DoubleArray]] = []
    n_sources = area = 0
    margin = _HALF + 2
    for number in survey.median_tiles:
        image = survey.median(number)
        covered = np.where(image != 0.0, image, np.float32(np.nan))
        area += int(np.count_nonzero(image))
        level = sky_level(covered)
        x, y = find_peaks(
            image, level, n_sigma=_N_SIGMA, margin=min(margin, min(image.shape) // 4), limit=2000
        )
        n_sources += x.size
        if not x.size:
            continue
        near = sum(
            image[np.clip(y + dy, 0, image.shape[0] - 1), np.clip(x + dx, 0, image.shape[1] - 1)]
            - level.value
            for dy in (-2, -1, 0, 1, 2)
            for dx in (-2, -1, 0, 1, 2)
        )
        peak = image[y, x] - level.value
        # A star has much of its light in few pixels; a galaxy, or a piece of noise on one, has not.
        compact = (peak * 25.0 > near * (1.0 + 4.0 * _CONCENTRATION)) & (near > 1.5 * peak)
        alone = isolated(x.astype(np.float64), y.astype(np.float64), 9.0)
        chosen = np.flatnonzero(compact & alone)[: 4 * STARS_PER_CHIP]
        window = layer.window(number)
        place = np.column_stack([x[chosen] + window.x0, y[chosen] + window.y0]).astype(np.float64)
        sky = layer.grid.pixel_to_sky(place[:, 0], place[:, 1])
        found.append((*sky, np.asarray(peak[chosen], dtype=np.float64)))
    if not found:
        empty = np.empty(0)
        return MedianStars(empty, empty, n_sources, area)
    ra, dec, peak = (np.concatenate([part[i] for part in found]) for i in range(3))
    order = np.argsort(-peak, kind="stable")
    return MedianStars(ra[order], dec[order], n_sources, area)


def sky_to_chip(
    survey: Survey, index: int, ra_deg: DoubleArray, dec_deg: DoubleArray
) -> tuple[DoubleArray, DoubleArray]:
    """Pixels of a chip that see positions of the sky, by iteration on the exact map; NaN off the chip."""
    chip = survey.job.plan.chips[index]
    ny, nx = chip.shape_yx
    grid = survey.job.plan.final.grid
    tx, ty = grid.sky_to_pixel(ra_deg, dec_deg)
    cx, cy = (nx - 1) / 2, (ny - 1) / 2
    px, py = (np.array([cx, cx + 1.0, cx]), np.array([cy, cy, cy + 1.0]))
    ox, oy = grid.sky_to_pixel(*chip.wcs.pixel_to_sky(px, py))
    inverse = np.linalg.inv(np.array([[ox[1] - ox[0], ox[2] - ox[0]], [oy[1] - oy[0], oy[2] - oy[0]]]))
    x, y = inverse @ np.array([tx - ox[0], ty - oy[0]]) + np.array([[cx], [cy]])
    near = (np.abs(x - cx) < nx) & (np.abs(y - cy) < ny)
    x, y = np.where(near, x, np.nan), np.where(near, y, np.nan)
    kept = np.flatnonzero(near)
    for _ in range(6):
        if not kept.size:
            break
        ox, oy = grid.sky_to_pixel(*chip.wcs.pixel_to_sky(x[kept], y[kept]))
        step = inverse @ np.array([tx[kept] - ox, ty[kept] - oy])
        x[kept] += step[0]
        y[kept] += step[1]
    inside = (x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5)
    return np.where(inside, x, np.nan), np.where(inside, y, np.nan)


def measure_offsets(survey: Survey, stars: MedianStars) -> list[Offsets]:
    """Shift of every star in every sampled exposure."""
    plan = survey.job.plan
    results = []
    for exposure in survey.exposures:
        members = [i for i in survey.chips if plan.exposure_of_chip[i] == exposure]
        rows = [_chip_offsets(survey, i, stars) for i in members]
        n_tried = sum(row[0] for row in rows)
        xy, shift, ambiguity, chip, widths = [], [], [], [], []
        top = 0.0
        for i, (_n, own_xy, own_shift, own_ambiguity, own_widths) in zip(members, rows, strict=True):
            xy.append(own_xy + np.array([0.0, top]))
            shift.append(own_shift)
            ambiguity.append(own_ambiguity)
            widths.append(own_widths)
            chip.append(np.full(own_xy.shape[0], i))
            top += plan.chips[i].shape_yx.ny
        results.append(
            Offsets(
                exposure,
                n_tried,
                np.concatenate(xy),
                np.concatenate(chip),
                np.concatenate(shift),
                np.concatenate(ambiguity),
                _median(np.concatenate(widths)),
            )
        )
    return results


def _chip_offsets(
    survey: Survey, index: int, stars: MedianStars
) -> tuple[int, DoubleArray, DoubleArray, DoubleArray, DoubleArray]:
    """Stars tried, and position, shift, ambiguity and width of those that matched."""
    chip = survey.job.plan.chips[index]
    x, y = sky_to_chip(survey, index, stars.ra_deg, stars.dec_deg)
    column, row = np.nan_to_num(np.rint(x), nan=-1).astype(int), np.nan_to_num(np.rint(y), nan=-1).astype(int)
    ny, nx = chip.shape_yx
    inside = (column >= _HALF) & (column < nx - _HALF) & (row >= _HALF) & (row < ny - _HALF)
    chosen = np.flatnonzero(inside)[: STARS_PER_CHIP if survey.full else _STARS_BRIEF]
    # Neighbours on the chip are read from the same rows and the same tiles of the median.
    chosen = chosen[np.argsort(row[chosen], kind="stable")]
    nothing = (np.empty((0, 2)), np.empty((0, 2)), np.empty(0), np.empty(0))
    if not chosen.size:
        return 0, *nothing
    seen, models, is_clean = [], [], []
    for i in chosen:
        window = Window(row[i] - _HALF, row[i] + _HALF + 1, column[i] - _HALF, column[i] + _HALF + 1)
        sci = _native_to_electrons(survey, index, chip, window)
        model = blot_band(survey.job, index, window).astype(np.float64)
        seen.append(sci)
        models.append(model)
        is_clean.append(bool(np.isfinite(sci).all()) and float(model[_HALF, _HALF]) > 0)
    clean = np.array(is_clean)
    if not clean.any():
        return int(clean.sum()), *nothing
    star, model = above_border(np.array(seen)[clean]), above_border(np.array(models)[clean])
    shift, ambiguity = measure_shifts(star, model, REACH_PX)
    matched = np.isfinite(shift).all(axis=1)
    place = np.column_stack([x[chosen], y[chosen]])[clean][matched]
    widths = measure_shapes(model[matched], _WEIGHT_PX).fwhm
    return int(clean.sum()), place, shift[matched], ambiguity[matched], widths


def _median(values: DoubleArray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")


def _native_to_electrons(survey: Survey, index: int, chip: Chip, window: Window) -> DoubleArray:
    sci = read_science(chip, window).astype(np.float64) * chip.to_electrons
    usable = survey.job.good_flags(index, window, survey.job.separate.good_bits)
    if usable.all():
        return sci
    # A bad pixel within reach of the core would be matched in place of the star.
    centre = usable[_HALF - 3 : _HALF + 4, _HALF - 3 : _HALF + 4]
    return np.where(usable, sci, np.median(sci)) if centre.all() else np.full_like(sci, np.nan)
