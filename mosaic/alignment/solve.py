"""Alignment of source lists in the reference frame, one image after the other or all at once.

Covers the order of images, the growing reference catalogue, and telling a match from chance. Does not cover
files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import ConvexHull, KDTree

from mosaic.alignment.fitting import (
    IDENTITY,
    SMALLEST_SET,
    Fit,
    Offset,
    SingularFitError,
    find_offset,
    fit_linear,
    match,
    thin,
)
from mosaic.alignment.images import ImageSources
from mosaic.alignment.settings import AlignSettings
from mosaic.alignment.solution import Solution, frame_positions
from mosaic.geometry.grid import OutputGrid
from mosaic.types import DoubleArray

_ROUNDS = 12
"""Matches are looked for again after a fit at most this often."""
_CHANCE_SIGMA = 5.0
_UNIFORM_SHARE = 0.35
"""Residuals of matches by chance fill the match radius: their rms per axis is half of it."""
_FEW_CHANCES = 4.0
"""With more matches than this many times those by chance, residuals may be as wide as the radius."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The reference catalogue."""

    xy: DoubleArray
    """Positions, (n, 2), frame pixels relative to the reference pixel, the brightest first."""
    origin: tuple[str, ...]
    """Where each source comes from."""

    def grown(self, xy: DoubleArray, origin: str) -> Reference:
        """With more sources at the end, so that rows stay valid."""
        return Reference(np.concatenate([self.xy, xy]), self.origin + (origin,) * len(xy))


@dataclass(frozen=True, slots=True)
class _Thinned:
    """The reference catalogue without sources that are too close to a brighter one."""

    rows: np.ndarray
    """Their rows in the whole catalogue."""
    xy: DoubleArray
    """Their positions."""
    tree: KDTree | None
    """The same for searches; None when there are none."""

    @classmethod
    def of(cls, reference: Reference, separation: float) -> _Thinned:
        """What is left of a catalogue."""
        rows = thin(reference.xy, separation)
        xy = reference.xy[rows]
        return cls(rows, xy, KDTree(xy) if len(xy) else None)


@dataclass(frozen=True, slots=True)
class Field:
    """An image as a list of positions in the frame."""

    image: ImageSources
    """The image."""
    xy: DoubleArray
    """Its sources as its WCS puts them, (n, 2), frame pixels relative to the reference pixel."""
    order: np.ndarray
    """Rows from the brightest to the faintest."""
    corners: DoubleArray
    """Convex hull of its chips, (n, 2), anticlockwise."""


def make_field(image: ImageSources, frame: OutputGrid) -> Field:
    """Project the sources of an image on the frame."""
    corners = [chip.wcs.corners_sky() for chip in image.chips]
    outline = frame_positions(
        frame, np.concatenate([c[0] for c in corners]), np.concatenate([c[1] for c in corners])
    )
    hull = outline[ConvexHull(outline).vertices]
    flux = np.nan_to_num(image.column("flux"), nan=0.0)
    return Field(image, frame_positions(frame, *image.sky()), np.argsort(-flux, kind="stable"), hull)


def solve_sequentially(
    fields: Sequence[Field], reference: Reference, settings: AlignSettings, radius_px: float, *, cores: int
) -> tuple[list[Solution], Reference]:
    """Align every image to the reference, which grows with `expand_refcat`.

    Images that fail are tried again as long as the reference grows. To one that does not grow several are
    aligned at a time.

    Parameters
    ----------
    fields : sequence of Field
        Images in the order of the user.
    reference : Reference
        The catalogue.
    settings : AlignSettings
        Parameters.
    radius_px : float
        Search radius, frame pixels.
    cores : int
        Images aligned at a time.

    Returns
    -------
    list of Solution, Reference
        In the order of `fields`; the catalogue in the end.
    """
    thinned = _Thinned.of(reference, settings.separation)
    if not settings.expand_refcat:
        with ThreadPoolExecutor(max(1, cores)) as pool:
            aligned = pool.map(lambda field: _align_field(field, thinned, settings, radius_px), fields)
            return list(aligned), reference
    solutions: dict[int, Solution] = {}
    waiting = list(range(len(fields)))
    has_grown = True
    while waiting and has_grown:
        has_grown = False
        for i in list(waiting):
            solution = _align_field(fields[i], thinned, settings, radius_px)
            solutions[i] = solution
            if not solution.is_good:
                continue
            waiting.remove(i)
            reference, n_new = _expanded(reference, fields[i], solution, settings)
            if n_new > 0:
                thinned, has_grown = _Thinned.of(reference, settings.separation), True
    return [solutions[i] for i in range(len(fields))], reference


def _align_field(field: Field, reference: _Thinned, settings: AlignSettings, radius_px: float) -> Solution:
    """Align one image: first offset, matches, fit; matches and fit again until they no longer change."""
    path = field.image.path
    if len(field.xy) < max(1, settings.minobj):
        text = f"{len(field.xy)} sources, fewer than minobj = {settings.minobj}"
        return Solution(path, "too_few_sources", f"{text}{_left_out(field)}; lower threshold or minobj")
    rows = field.order[thin(field.xy[field.order], settings.separation)]
    image_xy, reference_xy = field.xy[rows], reference.xy
    offset: Offset | None = None
    first_xy = (settings.xoffset, settings.yoffset)
    if settings.use2dhist:
        bin_px = min(1.0, settings.tolerance)
        offset = find_offset(reference_xy, image_xy, radius_px, bin_px, tree=reference.tree)
        if offset is None:
            text = f"no source within {radius_px:.1f} pixels of the reference; enlarge searchrad"
            return Solution(path, "not_enough_matches", text)
        first_xy = offset.xy
    try:
        fit, pairs = _match_and_fit(reference, image_xy, first_xy, settings)
    except SingularFitError as error:
        return Solution(path, "singular", f"{error}; choose another fitgeometry", offset=offset)
    if pairs is None or int(fit.used.sum()) < settings.minobj:
        n = int(fit.used.sum())
        text = f"{n} matches, fewer than minobj = {settings.minobj}{_left_out(field)}"
        hint = "enlarge searchrad or tolerance, find more sources, or lower minobj"
        return Solution(path, "not_enough_matches", f"{text}; {hint}", offset=offset, n_matches=n)
    problem = _doubt(fit, (reference_xy, fit.to_reference(image_xy)), offset, settings)
    if problem:
        return Solution(
            path, "ambiguous", f"{problem}{_left_out(field)}", offset=offset, n_matches=fit.used.size
        )
    kept = pairs[0][fit.used]
    return Solution(
        path,
        "aligned",
        "",
        fit,
        offset,
        fit.used.size,
        reference.rows[kept],
        rows[pairs[1][fit.used]],
        reference_xy[kept],
    )


def _match_and_fit(
    reference: _Thinned, image_xy: DoubleArray, first_xy: tuple[float, float], settings: AlignSettings
) -> tuple[Fit, tuple[np.ndarray, np.ndarray] | None]:
    """Fit from a first offset; no pairs when there are too few for a fit."""
    reference_xy, tolerance, tree = reference.xy, settings.tolerance, reference.tree
    fit = replace(IDENTITY, offset_xy=np.array(first_xy))
    pairs = match(reference_xy, fit.to_reference(image_xy), tolerance, tree=tree)
    for _ in range(_ROUNDS):
        fitted = pairs
        if len(fitted[0]) < max(settings.minobj, SMALLEST_SET[settings.fitgeometry]):
            return replace(fit, used=np.ones(len(fitted[0]), dtype=np.bool_)), None
        fit = fit_linear(
            reference_xy[fitted[0]],
            image_xy[fitted[1]],
            settings.fitgeometry,
            nclip=settings.nclip,
            sigma=settings.sigma,
        )
        pairs = match(reference_xy, fit.to_reference(image_xy), tolerance, tree=tree)
        if np.array_equal(pairs[0], fitted[0]) and np.array_equal(pairs[1], fitted[1]):
            break
    return fit, fitted


def _left_out(field: Field) -> str:
    """What was left out of the source list, for messages."""
    n_fixed = sum(chip.n_fixed for chip in field.image.chips)
    return f" ({n_fixed} more stay on their detector pixel: hot pixels?)" if n_fixed else ""


def _doubt(
    fit: Fit, positions: tuple[DoubleArray, DoubleArray], offset: Offset | None, settings: AlignSettings
) -> str:
    """Why the matches may be chance; empty when they are not.

    Two unrelated lists share ``lambda = n_image density_reference pi tolerance^2`` pairs by chance, with a
    Poisson scatter; a search over many offsets finds some scatters more.
    """
    reference_xy, image_xy = positions
    low, high = image_xy.min(axis=0), image_xy.max(axis=0)
    n_reference = int(((reference_xy >= low) & (reference_xy <= high)).all(axis=1).sum())
    area = max(1.0, float(np.prod(high - low)))
    expected = len(image_xy) * n_reference / area * math.pi * settings.tolerance**2
    n = fit.used.size
    if n < expected + _CHANCE_SIGMA * math.sqrt(max(expected, 1.0)):
        return (
            f"{n} matches of {len(image_xy)} sources are no more than chance gives ({expected:.1f}); "
            "raise threshold, use dqbits, or lower tolerance"
        )
    n_free = {"shift": 2, "rscale": 4, "general": 6}[settings.fitgeometry]
    n_used = len(fit.residuals)
    spread = math.sqrt(float((fit.residuals**2).sum()) / max(1, 2 * n_used - n_free))
    if n < _FEW_CHANCES * expected and spread > _UNIFORM_SHARE * settings.tolerance:
        return (
            f"the residuals of {n_used} matches ({spread:.2f} pixels rms) fill the match radius as those by "
            f"chance do ({expected:.1f} expected of {n}); raise threshold, use dqbits, or lower tolerance"
        )
    if offset is not None and offset.second_ratio > settings.max_peak_ratio:
        return (
            f"the offset is ambiguous: a second peak has {offset.second_ratio:.2f} of the first "
            f"({offset.n_at_peak:.0f} pairs, max_peak_ratio = {settings.max_peak_ratio}); "
            "use brighter sources or a smaller searchrad"
        )
    return ""


def _expanded(
    reference: Reference, field: Field, solution: Solution, settings: AlignSettings
) -> tuple[Reference, int]:
    """The reference with the sources of an aligned image that it does not have yet."""
    moved = solution.fit.to_reference(field.xy)[field.order]
    distance, _ = KDTree(reference.xy).query(moved, distance_upper_bound=settings.tolerance)
    new = moved[~np.isfinite(distance)]
    return reference.grown(new, field.image.name), len(new)


def order_by_overlap(fields: Sequence[Field]) -> list[int]:
    """Order of images: of the pair with the largest overlap the one that overlaps the others more is first.

    The rest follows by decreasing overlap with it.
    """
    n = len(fields)
    overlap = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1, n):
            overlap[i, j] = overlap[j, i] = overlap_area(fields[i].corners, fields[j].corners)
    first, second = np.unravel_index(int(np.argmax(overlap)), overlap.shape)
    totals = overlap.sum(axis=1)
    leader = int(first if totals[first] >= totals[second] else second)
    others = sorted((i for i in range(n) if i != leader), key=lambda i: (-overlap[leader, i], i))
    return [leader, *others]


def overlap_area(one: DoubleArray, two: DoubleArray) -> float:
    """Area common to two convex polygons, (n, 2), anticlockwise."""
    polygon = [tuple(point) for point in one]
    for a, b in zip(two, np.roll(two, -1, axis=0), strict=True):
        edge = b - a
        heights = [edge[0] * (y - a[1]) - edge[1] * (x - a[0]) for x, y in polygon]
        clipped = []
        for k, (point, height) in enumerate(zip(polygon, heights, strict=True)):
            previous, before = polygon[k - 1], heights[k - 1]
            if (height >= 0.0) != (before >= 0.0):
                share = before / (before - height)
                clipped.append(
                    (
                        previous[0] + share * (point[0] - previous[0]),
                        previous[1] + share * (point[1] - previous[1]),
                    )
                )
            if height >= 0.0:
                clipped.append(point)
        polygon = clipped
        if not polygon:
            return 0.0
    x, y = np.array(polygon).T
    return 0.5 * abs(float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()))
