"""The exact map from chip pixels to output pixels, evaluated position by position.

The exact chain is: detector-to-image table (D2IM), then SIP polynomial and NPOL table, both
evaluated at the D2IM-corrected point and added, then one homography, because a tangent plane
seen through another tangent plane is a projective map. The other way is DrizzlePac's: bilinear
interpolation in a table of exact positions with one node every `step` pixels.

Covers what a `MapModel` holds and its evaluation. Does not cover building one (`mosaic.geometry.pixmap`) nor
rows of positions (`mosaic.kernels.pixmap`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mosaic.kernels._compile import part
from mosaic.types import DoubleArray

BLOCK = 256
"""Positions worked on at a time: all scratch of a block stays in the first-level cache."""

# Scratch is one array cut at multiples of BLOCK: constant distances are what lets the compiler
# prove that the parts do not overlap, without which no loop would be vectorised.
U = 0
V = BLOCK
_SHIFT_X = 2 * BLOCK
_SHIFT_Y = 3 * BLOCK
_PARTIAL = 4 * BLOCK
_INDEX_X = 5 * BLOCK
_INDEX_Y = 6 * BLOCK
EXACT_SCRATCH = 7 * BLOCK
"""Numbers that the functions below need to work with."""


class MapModel(NamedTuple):
    """Everything a kernel needs to map chip pixels to output pixels; a plain tuple of arrays for numba.

    All arrays are float64, C-contiguous and writable: another layout is another compiled kernel.
    """

    step: int
    """0: exact; F > 0: bilinear in `nodes`, a table with a node every F pixels starting at FITS pixel 0."""
    crpix_xy: DoubleArray
    """Reference pixel of the chip, FITS 1-based, shape (2,)."""
    sip_a: DoubleArray
    """SIP A[p, q] of u**p * v**q, shape (order + 1, order + 1), C order; (1, 1) zeros when absent."""
    sip_b: DoubleArray
    """SIP B, likewise."""
    npol_x: DoubleArray
    """NPOL look-up table added to x, (ny, nx); (1, 1) zeros when absent."""
    npol_y: DoubleArray
    """NPOL look-up table added to y, likewise."""
    d2im_x: DoubleArray
    """D2IM look-up table added to x, likewise."""
    d2im_y: DoubleArray
    """D2IM look-up table added to y, likewise."""
    table_axes: DoubleArray
    """Axes of the four tables in the order npol_x, npol_y, d2im_x, d2im_y, shape (4, 6):
    crpix1, crval1, cdelt1, crpix2, crval2, cdelt2."""
    homography: DoubleArray
    """3 x 3: (u, v, 1) after distortion -> homogeneous 0-based output pixel (X w, Y w, w)."""
    nodes: DoubleArray
    """Table of 0-based output positions at the nodes, (n_node_y, n_node_x, 2), last axis x, y;
    (0, 0, 2) when exact."""
    cuts_x: DoubleArray
    """Where patches begin, FITS x, ascending, and where the last one ends; positions beyond are evaluated by
    themselves. Shape (0,): all are."""
    cuts_y: DoubleArray
    """Likewise, FITS y; rows beyond are evaluated by themselves."""
    bends_x: DoubleArray
    """FITS x of the NPOL nodes; positions nearer than `bend_reach` to one are evaluated by themselves."""
    bends_y: DoubleArray
    """FITS y of the NPOL nodes, likewise for whole rows."""
    bend_reach: float
    """How far D2IM shifts a position at most, pixels; 0: bends are where the patches begin."""


@part
def _add_table(table: DoubleArray, axes: DoubleArray, n: int, work: DoubleArray, shift: int) -> None:
    """Add a look-up table at the FITS points (U, V) of the scratch to the scratch part at `shift`.

    Bilinear; the index is clamped to the table. Runs of pixels in one table cell share its four
    nodes, so that the work within a run is plain arithmetic on rows.
    """
    ny, nx = table.shape
    if nx == 1 and ny == 1:
        value = table[0, 0]
        if value != 0.0:
            for k in range(n):
                work[k + shift] += value
        return
    scale_x, scale_y = 1.0 / axes[2], 1.0 / axes[5]
    crval_x, crval_y = axes[1], axes[4]
    first_x, first_y = axes[0] - 1.0, axes[3] - 1.0
    last_x, last_y = nx - 1.0, ny - 1.0
    for k in range(n):
        tx = (work[k + U] - crval_x) * scale_x + first_x
        ty = (work[k + V] - crval_y) * scale_y + first_y
        tx = max(0.0, tx)
        ty = max(0.0, ty)
        work[k + _INDEX_X] = min(last_x, tx)
        work[k + _INDEX_Y] = min(last_y, ty)
    start = 0
    while start < n:
        i = int(work[start + _INDEX_X])
        j = int(work[start + _INDEX_Y])
        low_x, low_y = float(i), float(j)
        high_x, high_y = low_x + 1.0, low_y + 1.0
        stop = start + 1
        while (
            stop < n and low_x <= work[stop + _INDEX_X] < high_x and low_y <= work[stop + _INDEX_Y] < high_y
        ):
            stop += 1
        right, above = min(i + 1, nx - 1), min(j + 1, ny - 1)
        base = table[j, i]
        in_x, in_y = work[_INDEX_X + start : _INDEX_X + stop], work[_INDEX_Y + start : _INDEX_Y + stop]
        out = work[shift + start : shift + stop]
        along_x = table[j, right] - base
        along_y = table[above, i] - base
        cross = table[above, right] - table[above, i] - along_x
        for k in range(stop - start):
            fx = in_x[k] - low_x
            fy = in_y[k] - low_y
            out[k] += base + fx * along_x + fy * (along_y + fx * cross)
        start = stop


@part
def _add_polynomial(coefficients: DoubleArray, n: int, work: DoubleArray, shift: int) -> None:
    """Add the SIP polynomial at (U, V), now relative to the reference pixel, to the part at `shift`."""
    order = coefficients.shape[0] - 1
    value = coefficients[order, 0]
    if order == 0:
        if value != 0.0:
            for k in range(n):
                work[k + shift] += value
        return
    for k in range(n):
        work[k + _INDEX_X] = value
    for p in range(order - 1, -1, -1):
        degree = order - p
        value = coefficients[p, degree]
        for k in range(n):
            work[k + _PARTIAL] = value
        for q in range(degree - 1, -1, -1):
            value = coefficients[p, q]
            for k in range(n):
                work[k + _PARTIAL] = work[k + _PARTIAL] * work[k + V] + value
        for k in range(n):
            work[k + _INDEX_X] = work[k + _INDEX_X] * work[k + U] + work[k + _PARTIAL]
    for k in range(n):
        work[k + shift] += work[k + _INDEX_X]


@part
def map_block(
    model: MapModel, n: int, work: DoubleArray, at: int, x_out: DoubleArray, y_out: DoubleArray
) -> None:
    """Map the `n` FITS points (U, V) of the scratch exactly into ``x_out[at:at + n]`` and `y_out`."""
    for k in range(n):
        work[k + _SHIFT_X] = 0.0
        work[k + _SHIFT_Y] = 0.0
    _add_table(model.d2im_x, model.table_axes[2], n, work, _SHIFT_X)
    _add_table(model.d2im_y, model.table_axes[3], n, work, _SHIFT_Y)
    for k in range(n):
        work[k + U] += work[k + _SHIFT_X]
        work[k + V] += work[k + _SHIFT_Y]
        work[k + _SHIFT_X] = 0.0
        work[k + _SHIFT_Y] = 0.0
    _add_table(model.npol_x, model.table_axes[0], n, work, _SHIFT_X)
    _add_table(model.npol_y, model.table_axes[1], n, work, _SHIFT_Y)
    crpix_x, crpix_y = model.crpix_xy[0], model.crpix_xy[1]
    for k in range(n):
        work[k + U] -= crpix_x
        work[k + V] -= crpix_y
    _add_polynomial(model.sip_a, n, work, _SHIFT_X)
    _add_polynomial(model.sip_b, n, work, _SHIFT_Y)
    h = model.homography
    h00, h01, h02 = h[0, 0], h[0, 1], h[0, 2]
    h10, h11, h12 = h[1, 0], h[1, 1], h[1, 2]
    h20, h21, h22 = h[2, 0], h[2, 1], h[2, 2]
    for k in range(n):
        u = work[k + U] + work[k + _SHIFT_X]
        v = work[k + V] + work[k + _SHIFT_Y]
        inverse = 1.0 / (h20 * u + h21 * v + h22)
        x_out[at + k] = (h00 * u + h01 * v + h02) * inverse
        y_out[at + k] = (h10 * u + h11 * v + h12) * inverse


@part
def _interpolate_nodes(
    model: MapModel, n: int, work: DoubleArray, at: int, x_out: DoubleArray, y_out: DoubleArray
) -> None:
    """Map the `n` FITS points (U, V) of the scratch through the node table into ``x_out[at:at + n]``."""
    nodes = model.nodes
    step = float(model.step)
    last_i, last_j = nodes.shape[1] - 2, nodes.shape[0] - 2
    for k in range(n):
        tx = work[k + U] / step
        ty = work[k + V] / step
        i = min(max(int(np.floor(tx)), 0), last_i)
        j = min(max(int(np.floor(ty)), 0), last_j)
        fx, fy = tx - i, ty - j
        for axis in range(2):
            low = (1.0 - fx) * nodes[j, i, axis] + fx * nodes[j, i + 1, axis]
            high = (1.0 - fx) * nodes[j + 1, i, axis] + fx * nodes[j + 1, i + 1, axis]
            (x_out if axis == 0 else y_out)[at + k] = (1.0 - fy) * low + fy * high


@part
def map_given(
    model: MapModel, n: int, work: DoubleArray, at: int, x_out: DoubleArray, y_out: DoubleArray
) -> None:
    """Map the `n` FITS points (U, V) of the scratch as the model has it, into ``x_out[at:at + n]``."""
    if model.step > 0:
        _interpolate_nodes(model, n, work, at, x_out, y_out)
    else:
        map_block(model, n, work, at, x_out, y_out)
