"""Straight trails of satellites and asteroids that cross a chip: where they are, how wide, which pixels.

Covers detection in one chip and the mask. Does not cover files (`mosaic.tools.trail_flags`), trails on less
than half of the line that they lie on, nor curved ones.

The chip is binned, freed of its background and clipped at `CLIP` standard deviations, so that stars and
cosmic rays count no more than the wings of a trail. Sums along lines (the Radon transform) give candidates.
A candidate is a trail when in most pieces of the line, each compared with the ground on both sides, there is
light: a median over pieces, which neither a bright star nor a galaxy can move.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mosaic.types import BoolArray, DoubleArray, ShapeYX

logger = logging.getLogger(__name__)

CLIP: Final = 3.0
"""Standard deviations at which binned pixels are clipped."""
_MAX_BINNED: Final = 400
_MESH: Final = 16
_N_PIECES: Final = 16
_MIN_PIECES: Final = 6
_LIT_PART: Final = 0.7
_MIN_LINE_BINS: Final = 20
_FLANK_BINS: Final = (4, 9)
"""Where the ground on either side of a line begins and ends."""
_NARROW_BINS: Final = 3
"""Trails wider than this are of one brightness where they are clipped; their ground begins farther out."""
_HALF_STRIP: Final = 0.75
_N_CANDIDATES: Final = 16


@dataclass(frozen=True, slots=True)
class TrailParams:
    """How trails are found."""

    threshold: float = 6.0
    """Significance of the light along a line, standard deviations."""
    max_trails: int = 10
    """Trails of one chip."""
    max_width: float = 100.0
    """Widest trail, pixels."""
    grow: float = 2.0
    """Pixels masked beyond either edge of a trail."""


DEFAULT_PARAMS: Final = TrailParams()


@dataclass(frozen=True, slots=True)
class Trail:
    """A straight strip: the pixels with |x cos(angle) + y sin(angle) - offset| <= half_width, 0-based."""

    angle_deg: float
    """Direction of its normal, anticlockwise from the x axis, [0, 180)."""
    offset: float
    """Signed distance from the centre of pixel (0, 0), pixels."""
    half_width: float
    """Pixels, without growth."""
    significance: float
    """Of the light along it, standard deviations."""


@dataclass(frozen=True, slots=True)
class _Binned:
    """A chip in blocks."""

    significance: DoubleArray
    """Standard deviations above the local background, clipped; NaN where too little is usable."""
    ground: DoubleArray
    """Local background of every pixel."""


def find_trails(sci: NDArray[Any], is_good: BoolArray, params: TrailParams = DEFAULT_PARAMS) -> list[Trail]:
    """Find the trails of a chip, the most significant first.

    Parameters
    ----------
    sci : ndarray of float, shape (ny, nx)
        Pixels; any unit, with or without sky.
    is_good : bool array, shape (ny, nx)
        Pixels to use.
    params : TrailParams
        Thresholds.
    """
    usable = is_good & np.isfinite(sci)
    found: list[Trail] = []
    factor = max(2, round(max(sci.shape) / _MAX_BINNED))
    # A line that cannot be measured is taken out too, so that others get their turn.
    for _ in range(2 * params.max_trails):
        if len(found) == params.max_trails:
            break
        binned = _bin(sci, usable, factor)
        if binned is None:
            break
        flat = sci - binned.ground
        candidate = _best_line(binned.significance, params.threshold)
        if candidate is None:
            break
        angle, offset, significance = candidate
        # Centres of blocks of `factor` pixels to centres of pixels.
        shift = (factor - 1) / 2.0 * (math.cos(angle) + math.sin(angle))
        trail = _refine(flat, usable, (angle, offset * factor + shift), factor, params, significance)
        if trail is None:
            logger.warning(
                "a line of %.1f sigma is not flagged: it has no edge within max_width", significance
            )
        else:
            found.append(trail)
        width = params.max_width if trail is None else trail.half_width + params.grow + factor
        centre = (
            (angle, offset * factor + shift)
            if trail is None
            else (math.radians(trail.angle_deg), trail.offset)
        )
        usable = usable & (np.abs(_distance(ShapeYX(*sci.shape), *centre)) > width)
    return found


def trail_mask(trails: Sequence[Trail], shape_yx: ShapeYX, grow: float = DEFAULT_PARAMS.grow) -> BoolArray:
    """Pixels of trails.

    Parameters
    ----------
    trails : sequence of Trail
        The trails.
    shape_yx : ShapeYX
        Rows and columns of the chip.
    grow : float
        Pixels added beyond either edge.
    """
    mask = np.zeros(shape_yx, dtype=np.bool_)
    for trail in trails:
        distance = _distance(shape_yx, math.radians(trail.angle_deg), trail.offset)
        mask |= np.abs(distance) <= trail.half_width + grow
    return mask


def _distance(shape_yx: ShapeYX, angle: float, offset: float) -> DoubleArray:
    """Signed distance of every pixel from a line."""
    ny, nx = shape_yx
    distance: DoubleArray = (np.arange(ny) * math.sin(angle) - offset)[:, None] + np.arange(nx) * math.cos(
        angle
    )
    return distance


def _bin(sci: NDArray[Any], usable: BoolArray, factor: int) -> _Binned | None:
    """Bin a chip; None when too little of it is usable."""
    ny, nx = (length // factor for length in sci.shape)
    if min(ny, nx) < _MIN_LINE_BINS:
        return None
    block = (slice(0, ny * factor), slice(0, nx * factor))
    split = (ny, factor, nx, factor)
    weight = usable[block].reshape(split).sum(axis=(1, 3), dtype=np.int64)
    level = float(np.median(sci[usable])) if usable.any() else 0.0
    values = np.where(usable[block], sci[block].astype(np.float64) - level, 0.0)
    # A block is used when half of its pixels are.
    sums = values.reshape(split).sum(axis=(1, 3))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(weight * 2 >= factor * factor, sums / weight, np.nan)
    if np.isfinite(mean).sum() < ny * nx // 4:
        return None
    ground = _background(mean)
    mean = mean - ground
    sigma = 1.4826 * float(np.nanmedian(np.abs(mean)))
    if sigma <= 0.0:
        return None
    whole = (ground + level).repeat(factor, axis=0).repeat(factor, axis=1)
    margins = [(0, total - covered) for total, covered in zip(sci.shape, whole.shape, strict=True)]
    return _Binned(np.clip(mean / sigma, -CLIP, CLIP), np.pad(whole, margins, mode="edge"))


def _background(image: DoubleArray) -> DoubleArray:
    """Medians of cells of `_MESH` pixels, interpolated bilinearly between their centres."""
    ny, nx = image.shape
    cells_y, cells_x = max(1, ny // _MESH), max(1, nx // _MESH)
    edges_y = np.linspace(0, ny, cells_y + 1).astype(int)
    edges_x = np.linspace(0, nx, cells_x + 1).astype(int)
    mesh = np.zeros((cells_y, cells_x))
    overall = float(np.nanmedian(image))
    for j in range(cells_y):
        for i in range(cells_x):
            cell = image[edges_y[j] : edges_y[j + 1], edges_x[i] : edges_x[i + 1]]
            kept = cell[np.isfinite(cell)]
            mesh[j, i] = np.median(kept) if kept.size else overall
    centres_y, centres_x = (edges_y[1:] + edges_y[:-1] - 1) / 2.0, (edges_x[1:] + edges_x[:-1] - 1) / 2.0
    rows = np.stack([np.interp(np.arange(nx), centres_x, row) for row in mesh])
    return np.stack([np.interp(np.arange(ny), centres_y, column) for column in rows.T], axis=1)


def _best_line(image: DoubleArray, threshold: float) -> tuple[float, float, float] | None:
    """Angle (radians), offset and significance of the best line that holds out; None if none does."""
    y, x = np.nonzero(np.isfinite(image))
    values = image[y, x]
    values = values - values.mean()
    reach = math.ceil(math.hypot(*image.shape)) + 1
    # Half a step of the angle moves the ends of the longest line by half a binned pixel.
    n_angles = math.ceil(math.pi / 2.0 * max(image.shape))
    best: list[tuple[float, float, float, float]] = []
    scatters: list[float] = []
    for index in range(n_angles):
        angle = math.pi * index / n_angles
        place = np.rint(x * math.cos(angle) + y * math.sin(angle)).astype(np.intp) + reach
        count = np.bincount(place, minlength=2 * reach + 1)
        is_long = count >= _MIN_LINE_BINS
        if not is_long.any():
            continue
        sums = np.bincount(place, weights=values, minlength=2 * reach + 1)
        score = np.where(is_long, sums / np.sqrt(np.maximum(count, 1)), -np.inf)
        top = int(np.argmax(score))
        middle, half_width = _plateau(score, top)
        best.append((float(score[top]), angle, middle - reach, half_width))
        scatters.append(float(np.median(np.abs(score[is_long]))))
    # In a crowded field neighbouring pixels are alike, and sums scatter more than pixels make believe.
    unit = 1.4826 * float(np.median(scatters)) if scatters else 0.0
    if unit <= 0.0:
        return None
    for score_found, angle, offset, half_width in sorted(best, reverse=True)[:_N_CANDIDATES]:
        if score_found / unit <= threshold:
            break
        if _holds_out(x, y, values, (angle, offset), half_width, threshold * max(1.0, unit)):
            return angle, offset, score_found / unit
    return None


def _plateau(score: DoubleArray, top: int) -> tuple[float, float]:
    """Middle and half width of the neighbouring lines that are as bright as the best one, binned pixels.

    The brightest line of a wide trail may be anywhere in it. A narrow trail is where its best line is.
    """
    is_dark = np.flatnonzero(score < 0.5 * score[top])
    after = int(np.searchsorted(is_dark, top))
    first = int(is_dark[after - 1]) + 1 if after > 0 else 0
    last = int(is_dark[after]) - 1 if after < len(is_dark) else len(score) - 1
    if last - first < _NARROW_BINS:
        return float(top), 0.0
    return (first + last) / 2.0, (last - first) / 2.0


def _holds_out(
    x: NDArray[np.intp],
    y: NDArray[np.intp],
    values: DoubleArray,
    line: tuple[float, float],
    half_width: float,
    threshold: float,
) -> bool:
    """Whether most pieces of a line are brighter than the ground on either side of it.

    Levels are medians, so that stars on the line do not count; a piece that lacks a side counts as dark.
    """
    angle, offset = line
    across = x * math.cos(angle) + y * math.sin(angle) - offset
    first, last = (start + half_width for start in _FLANK_BINS)
    is_near = np.abs(across) <= last
    across, values = across[is_near], values[is_near]
    along = y[is_near] * math.cos(angle) - x[is_near] * math.sin(angle)
    strips = (np.abs(across) <= _HALF_STRIP, across >= first, across <= -first)
    if not strips[0].any():
        return False
    low, high = float(along[strips[0]].min()), float(along[strips[0]].max())
    n_pieces = min(_N_PIECES, int(strips[0].sum()) // 4)
    if n_pieces < _MIN_PIECES or high <= low:
        return False
    piece = np.floor((along - low) / (high - low) * n_pieces)
    ratios = np.zeros(n_pieces)
    for index in range(n_pieces):
        parts = [values[strip & (piece == index)] for strip in strips]
        if all(part.size for part in parts):
            middle, *sides = (float(np.median(part)) for part in parts)
            # The median of n values scatters 1.25 times as much as their mean.
            noise = 1.25 * math.sqrt(1.0 / parts[0].size + 1.0 / min(part.size for part in parts[1:]))
            ratios[index] = (middle - max(sides)) / noise
    median = float(np.median(ratios)) * math.sqrt(n_pieces) / 1.25
    return median > threshold and float(np.mean(ratios > 0.0)) >= _LIT_PART


def _refine(
    sci: NDArray[Any],
    usable: BoolArray,
    line: tuple[float, float],
    factor: int,
    params: TrailParams,
    significance: float,
) -> Trail | None:
    """Trail with its direction and width measured on the pixels themselves."""
    angle, offset = line
    reach = params.max_width + 6.0 * factor
    for _ in range(2):
        distance, along, values = _strip(sci, usable, angle, offset, reach)
        edges = np.linspace(along.min(), along.max(), _N_PIECES + 1)
        piece = np.searchsorted(edges, along, side="right").clip(1, _N_PIECES) - 1
        rows = [_profile(distance[piece == p], values[piece == p], reach) for p in range(_N_PIECES)]
        centres = np.array([_centroid(row, 3 * factor) for row in rows])
        middles = (edges[1:] + edges[:-1]) / 2.0
        is_found = np.isfinite(centres)
        if is_found.sum() < _MIN_PIECES:
            return None
        slope, start = _fit_line(middles[is_found], centres[is_found])
        # The line d = start + slope * t, with t along and d across, has the normal (1, -slope).
        angle, offset = angle - math.atan(slope), (offset + start) * math.cos(math.atan(slope))
    distance, _, values = _strip(sci, usable, angle, offset, reach)
    half_width = _half_width(_profile(distance, values, reach), params.max_width)
    if half_width is None:
        return None
    turns = math.floor(angle / math.pi)
    return Trail(
        math.degrees(angle - turns * math.pi), offset if turns % 2 == 0 else -offset, half_width, significance
    )


def _strip(
    sci: NDArray[Any], usable: BoolArray, angle: float, offset: float, reach: float
) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """Distance across, place along, and value of the usable pixels near a line."""
    distance = _distance(ShapeYX(*sci.shape), angle, offset)
    y, x = np.nonzero((np.abs(distance) <= reach) & usable)
    return distance[y, x], y * math.cos(angle) - x * math.sin(angle), sci[y, x].astype(np.float64)


def _profile(distance: DoubleArray, values: DoubleArray, reach: float) -> DoubleArray:
    """Median of the values at each whole distance from -reach to reach; NaN where there is none."""
    n = math.floor(reach)
    place = np.rint(distance).astype(np.intp) + n
    order = np.argsort(place, kind="stable")
    ends = np.searchsorted(place[order], np.arange(2 * n + 2))
    ordered = values[order]
    return np.array([np.median(ordered[a:b]) if b > a else np.nan for a, b in pairwise(ends)])


def _centroid(profile: DoubleArray, reach: int) -> float:
    """Centre of the light within `reach` of the middle of a profile; NaN without light."""
    middle = len(profile) // 2
    ground = float(np.nanmedian(profile)) if np.isfinite(profile).any() else math.nan
    x = np.arange(-reach, reach + 1)
    light = np.clip(profile[middle - reach : middle + reach + 1] - ground, 0.0, None)
    light = np.where(np.isfinite(light), light, 0.0)
    # Half of the maximum keeps the noise of the ground out of the centre.
    light = np.where(light >= 0.5 * light.max(), light, 0.0)
    total = float(light.sum())
    return float((light * x).sum() / total) if total > 0.0 else math.nan


def _fit_line(x: DoubleArray, y: DoubleArray) -> tuple[float, float]:
    """Slope and intercept as medians of those of all pairs (Theil and Sen)."""
    i, j = np.triu_indices(len(x), 1)
    slope = float(np.median((y[j] - y[i]) / (x[j] - x[i])))
    return slope, float(np.median(y - slope * x))


def _half_width(profile: DoubleArray, max_width: float) -> float | None:
    """Distance from the middle to the farther edge of the light; None when there is no light or no edge."""
    middle = len(profile) // 2
    x = np.arange(len(profile)) - middle
    ground = float(np.nanmedian(profile))
    # Three pixels at a time: the wings of a faint trail are no higher than the noise of one.
    padded = np.pad(np.where(np.isfinite(profile), profile, ground), 1, mode="edge")
    profile = (padded[:-2] + padded[1:-1] + padded[2:]) / 3.0
    noise = 1.4826 * float(np.nanmedian(np.abs(profile - ground)))
    peak = float(np.nanmax(profile[middle - 2 : middle + 3])) - ground
    limit = max(3.0 * noise, 0.05 * peak)
    if peak <= limit:
        return None
    is_lit = profile - ground > limit
    edges = []
    for side in (is_lit[middle:], is_lit[middle::-1]):
        dark = np.flatnonzero(~side[1:])
        if not dark.size:
            return None
        edges.append(int(dark[0]) + 0.5)
    width = max(edges)
    return width if 2.0 * width <= max_width and abs(x[0]) > width else None
