"""All images aligned at once: one least-squares solution from the matches of every pair of them.

Covers the normal equations and their iteration. Does not cover the first solution, which each image by itself
must have (`solve`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mosaic.alignment.fitting import SMALLEST_SET, Fit, Geometry, match
from mosaic.alignment.settings import AlignSettings
from mosaic.alignment.solution import Solution
from mosaic.alignment.solve import Field, Reference, overlap_area
from mosaic.types import DoubleArray

_ROUNDS = 3
_N_PARAMETERS = {"shift": 2, "rscale": 4, "general": 6}


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Matches of two images; `second` is -1 for the reference catalogue."""

    first: int
    second: int
    first_rows: np.ndarray
    second_rows: np.ndarray


def solve_together(
    fields: Sequence[Field],
    first: Sequence[Solution],
    reference: Reference,
    settings: AlignSettings,
    fixed: int | None,
) -> list[Solution]:
    """Improve the solutions of all images together.

    Every image has a map q = p A + t from its own positions to the frame; the maps are those for which the
    matches of all pairs of images (and with the reference catalogue, if one was given) agree best.

    Parameters
    ----------
    fields : sequence of Field
        Images.
    first : sequence of Solution
        Their solutions one by one; images without one keep their status.
    reference : Reference
        The catalogue, used when no image is fixed.
    settings : AlignSettings
        Parameters.
    fixed : int, optional
        Image that defines the frame.

    Returns
    -------
    list of Solution
        In the order of `fields`.
    """
    maps = {i: _inverse(s.fit) for i, s in enumerate(first) if s.is_good}
    free = [i for i in maps if i != fixed]
    if not free:
        return list(first)
    pairs: list[_Pairs] = []
    for _ in range(_ROUNDS):
        pairs = _match_all(fields, maps, reference if fixed is None else None, settings)
        pairs = _solve_clipped(fields, maps, free, pairs, reference, settings)
    return [
        _solution(i, solution, fields, maps, pairs, reference) if i in free else solution
        for i, solution in enumerate(first)
    ]


def _inverse(fit: Fit) -> tuple[DoubleArray, DoubleArray]:
    matrix: DoubleArray = np.linalg.inv(fit.matrix).astype(np.float64)
    return matrix, -fit.offset_xy @ matrix


def _match_all(
    fields: Sequence[Field],
    maps: dict[int, tuple[DoubleArray, DoubleArray]],
    reference: Reference | None,
    settings: AlignSettings,
) -> list[_Pairs]:
    moved = {i: fields[i].xy @ matrix + shift for i, (matrix, shift) in maps.items()}
    pairs = []
    for i in maps:
        if reference is not None:
            pairs.append(_Pairs(i, -1, *match(moved[i], reference.xy, settings.tolerance)))
        pairs += [
            _Pairs(i, j, *match(moved[i], moved[j], settings.tolerance))
            for j in maps
            if i < j and overlap_area(fields[i].corners, fields[j].corners) > 0.0
        ]
    return [pair for pair in pairs if len(pair.first_rows) >= SMALLEST_SET[settings.fitgeometry]]


def _solve_clipped(
    fields: Sequence[Field],
    maps: dict[int, tuple[DoubleArray, DoubleArray]],
    free: Sequence[int],
    pairs: list[_Pairs],
    reference: Reference,
    settings: AlignSettings,
) -> list[_Pairs]:
    """Solve, leave out outliers, solve again; `maps` is updated."""
    for attempt in range(settings.nclip + 1):
        maps.update(_solve(fields, maps, free, pairs, reference, settings.fitgeometry))
        residuals = [_residuals(pair, fields, maps, reference) for pair in pairs]
        rms = np.sqrt(np.mean(np.square(np.concatenate(residuals)), axis=0))
        keep = [(np.abs(r) < settings.sigma * np.maximum(rms, 1e-9)).all(axis=1) for r in residuals]
        if attempt == settings.nclip or all(mask.all() for mask in keep):
            break
        pairs = [
            replace(pair, first_rows=pair.first_rows[mask], second_rows=pair.second_rows[mask])
            for pair, mask in zip(pairs, keep, strict=True)
        ]
    return pairs


def _design(xy: DoubleArray, geometry: Geometry) -> DoubleArray:
    """Derivatives of the mapped positions by the parameters, (n, 2, parameters)."""
    n = len(xy)
    x, y = xy.T
    one, nil = np.ones(n), np.zeros(n)
    columns = {
        "shift": ([one, nil], [nil, one]),
        "rscale": ([x, -y, one, nil], [y, x, nil, one]),
        "general": ([x, y, one, nil, nil, nil], [nil, nil, nil, x, y, one]),
    }[geometry]
    return np.stack([np.stack(part, axis=1) for part in columns], axis=1)


def _to_map(values: DoubleArray, geometry: Geometry) -> tuple[DoubleArray, DoubleArray]:
    """Matrix (row vectors) and shift of the parameters of `_design`."""
    if geometry == "shift":
        return np.eye(2), values
    if geometry == "rscale":
        a, b = values[:2]
        return np.array([[a, b], [-b, a]]), values[2:]
    return np.array([[values[0], values[3]], [values[1], values[4]]]), values[[2, 5]]


def _solve(
    fields: Sequence[Field],
    maps: dict[int, tuple[DoubleArray, DoubleArray]],
    free: Sequence[int],
    pairs: Sequence[_Pairs],
    reference: Reference,
    geometry: Geometry,
) -> dict[int, tuple[DoubleArray, DoubleArray]]:
    """Solve the normal equations of all maps that are free."""
    size = _N_PARAMETERS[geometry]
    place = {i: k * size for k, i in enumerate(free)}
    normal, right = np.zeros((len(free) * size,) * 2), np.zeros(len(free) * size)
    for pair in pairs:
        blocks, target = [], np.zeros((len(pair.first_rows), 2))
        for index, rows, sign in ((pair.first, pair.first_rows, 1.0), (pair.second, pair.second_rows, -1.0)):
            if index == -1:
                target -= sign * reference.xy[rows]
            elif index not in place:
                target -= sign * (fields[index].xy[rows] @ maps[index][0] + maps[index][1])
            else:
                xy = fields[index].xy[rows]
                # With shift only, the positions themselves are known.
                target -= sign * xy if geometry == "shift" else 0.0
                blocks.append((place[index], sign * _design(xy, geometry).reshape(-1, size)))
        for at, block in blocks:
            right[at : at + size] += block.T @ target.ravel()
            for other, second in blocks:
                normal[at : at + size, other : other + size] += block.T @ second
    values: DoubleArray = np.linalg.lstsq(normal, right, rcond=None)[0].astype(np.float64)
    return {i: _to_map(values[place[i] : place[i] + size], geometry) for i in free}


def _mapped(
    index: int,
    rows: np.ndarray,
    fields: Sequence[Field],
    maps: dict[int, tuple[DoubleArray, DoubleArray]],
    reference: Reference,
) -> DoubleArray:
    if index == -1:
        listed: DoubleArray = reference.xy[rows]
        return listed
    mapped: DoubleArray = fields[index].xy[rows] @ maps[index][0] + maps[index][1]
    return mapped


def _residuals(
    pair: _Pairs,
    fields: Sequence[Field],
    maps: dict[int, tuple[DoubleArray, DoubleArray]],
    reference: Reference,
) -> DoubleArray:
    first = _mapped(pair.first, pair.first_rows, fields, maps, reference)
    return first - _mapped(pair.second, pair.second_rows, fields, maps, reference)


def _solution(
    index: int,
    first: Solution,
    fields: Sequence[Field],
    maps: dict[int, tuple[DoubleArray, DoubleArray]],
    pairs: Sequence[_Pairs],
    reference: Reference,
) -> Solution:
    """Solution of one image, its matches with all others as its residuals."""
    matrix, shift = maps[index]
    rows, others, catalog_rows = [], [], []
    for pair in pairs:
        if index not in {pair.first, pair.second}:
            continue
        is_first = pair.first == index
        rows.append(pair.first_rows if is_first else pair.second_rows)
        other, other_rows = (pair.second, pair.second_rows) if is_first else (pair.first, pair.first_rows)
        others.append(_mapped(other, other_rows, fields, maps, reference))
        catalog_rows.append(other_rows if other == -1 else np.full(len(other_rows), -1))
    if not rows:
        return first
    image_rows, reference_xy = np.concatenate(rows), np.concatenate(others)
    F: DoubleArray = np.linalg.inv(matrix).astype(np.float64)
    residuals = fields[index].xy[image_rows] @ matrix + shift - reference_xy
    fit = Fit(F, -shift @ F, residuals, np.ones(len(image_rows), dtype=np.bool_))
    return replace(
        first,
        fit=fit,
        n_matches=len(image_rows),
        reference_rows=np.concatenate(catalog_rows),
        image_rows=image_rows,
        reference_xy=reference_xy,
    )
