"""Area that a quadrilateral has in common with the cells of the unit grid.

The area of an oriented polygon left of a column boundary ``x = c`` and inside a row
``r <= y <= r + 1`` is the sum over its edges of the integral of ``max(c - x, 0) dy``; the
difference between two neighbouring boundaries is the area in the cell between them. With ``q`` and
``p`` the values of ``c - x`` at the left and right ends of the clipped edge, the integral is
``dy (p + q) / 2`` when the whole edge lies left of the boundary, and ``dy q^2 / (2 |x1 - x0|)``
when the boundary cuts it: no term is a difference of nearly equal numbers divided by another.

Covers the arithmetic for one edge, one row and one boundary, free of branches so that loops over
pixels vectorise. Does not cover the walk over pixels (`drizzle_square`).
"""

from __future__ import annotations

from mosaic.kernels._compile import kernel, part

AREA_NOISE = 1e-13
"""Overlaps below this (output pixels) are rounding of the sums, not contact."""


_FLAT = 1e-30
"""Edges whose height or width is below this are horizontal or vertical."""


@part
def edge_rates(x0: float, y0: float, x1: float, y1: float) -> tuple[float, float]:
    """Slope and rate of an edge.

    Parameters
    ----------
    x0, y0, x1, y1 : float
        Its ends.

    Returns
    -------
    slope : float
        dx/dy; 0 for a horizontal edge, whose integrals vanish.
    half_rate : float
        ``dy / (2 |dx|)``; 0 for a vertical edge, which no boundary cuts.
    """
    dx, dy = x1 - x0, y1 - y0
    width = abs(dx)
    is_flat, is_upright = abs(dy) < _FLAT, width < _FLAT
    slope = 0.0 if is_flat else dx / (1.0 if is_flat else dy)
    return slope, 0.0 if is_upright else 0.5 * dy / (1.0 if is_upright else width)


@part
def clip_edge(x0: float, y0: float, y1: float, slope: float, row: float) -> tuple[float, float, float]:
    """Clip an edge to ``row <= y <= row + 1``.

    Parameters
    ----------
    x0, y0, y1 : float
        Start of the edge and height of its end.
    slope : float
        dx/dy of the edge.
    row : float
        Lower boundary of the row.

    Returns
    -------
    low, high : float
        Smallest and largest x of the clipped edge.
    half_height : float
        ``dy / 2``.
    """
    top = row + 1.0
    ya = max(row, y0)
    ya = min(top, ya)
    yb = max(row, y1)
    yb = min(top, yb)
    xa = x0 + (ya - y0) * slope
    xb = x0 + (yb - y0) * slope
    return min(xb, xa), max(xa, xb), 0.5 * (yb - ya)


@part
def area_left_of(boundary: float, low: float, high: float, half_rate: float, half_height: float) -> float:
    """Integral of ``max(boundary - x, 0) dy`` along a clipped edge."""
    p = boundary - high
    q = max(0.0, boundary - low)
    return (p + q) * half_height if p > 0.0 else q * q * half_rate


@kernel
def cell_overlap(quad: tuple[float, ...], column: float, row: float) -> float:
    """Signed area of a quadrilateral in the cell ``[column, column + 1] x [row, row + 1]``.

    Parameters
    ----------
    quad : tuple of 8 float
        x0, y0, x1, y1, … of the corners in order.
    column, row : float
        Lower corner of the cell.

    Returns
    -------
    float
        Area; positive when the corners go clockwise (y up).
    """
    before, after = 0.0, 0.0
    for e in range(4):
        x0, y0 = quad[2 * e], quad[2 * e + 1]
        f = (e + 1) % 4
        x1, y1 = quad[2 * f], quad[2 * f + 1]
        slope, half_rate = edge_rates(x0, y0, x1, y1)
        low, high, half_height = clip_edge(x0, y0, y1, slope, row)
        before += area_left_of(column, low, high, half_rate, half_height)
        after += area_left_of(column + 1.0, low, high, half_rate, half_height)
    return after - before
