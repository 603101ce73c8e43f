"""Slow, obvious polygon areas in exact rational arithmetic: the oracle of the square kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

Point = tuple[Fraction, Fraction]


def signed_area(polygon: Sequence[Point]) -> Fraction:
    """Shoelace formula; positive when the corners go counter-clockwise."""
    total = Fraction(0)
    for (x0, y0), (x1, y1) in zip(polygon, [*polygon[1:], *polygon[:1]], strict=True):
        total += x0 * y1 - x1 * y0
    return total / 2


def _clip_half_plane(polygon: list[Point], distance: Callable[[Point], Fraction]) -> list[Point]:
    """Sutherland-Hodgman: the part of a polygon where `distance` (linear) is not negative."""
    kept: list[Point] = []
    for start, end in zip(polygon, [*polygon[1:], *polygon[:1]], strict=True):
        d0, d1 = distance(start), distance(end)
        if d0 >= 0:
            kept.append(start)
        if (d0 > 0 > d1) or (d0 < 0 < d1):
            t = d0 / (d0 - d1)
            kept.append((start[0] + t * (end[0] - start[0]), start[1] + t * (end[1] - start[1])))
    return kept


def overlap_with_pixel(corners: Sequence[tuple[float, float]], i: int, j: int) -> float:
    """Area common to a convex quadrilateral and the pixel centred on column `i`, row `j`."""
    half = Fraction(1, 2)
    polygon: list[Point] = [(Fraction(x), Fraction(y)) for x, y in corners]
    for keep in (
        lambda p: p[0] - (i - half),
        lambda p: (i + half) - p[0],
        lambda p: p[1] - (j - half),
        lambda p: (j + half) - p[1],
    ):
        polygon = _clip_half_plane(polygon, keep)
        if not polygon:
            return 0.0
    return float(abs(signed_area(polygon)))


def area(corners: Sequence[tuple[float, float]]) -> float:
    """Area of a quadrilateral."""
    return float(abs(signed_area([(Fraction(x), Fraction(y)) for x, y in corners])))
