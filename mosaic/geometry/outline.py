"""Chip outlines on the sphere, what two of them have in common, and where that lies on a chip.

An outline is the quadrilateral of great circles through the four corners of a chip, given by unit vectors
anticlockwise as seen from outside, so that the poles and RA 0 are places like any other. Does not cover the
bulge of distorted edges between the corners, nor outlines that are not convex.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Final

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from mosaic.errors import WcsError
from mosaic.geometry.tangent import sky_to_plane
from mosaic.geometry.wcs import ChipWcs
from mosaic.types import DoubleArray

_SAME_POINT: Final = 1e-12
"""Unit vectors closer than this (0.2 microarcsec) are one vertex."""
_SAME_OUTLINE: Final = 1e-8
"""Outlines closer than this (2 milliarcsec) are one."""
_CLOSE_PX: Final = 1e-8
"""Position on a chip is found when it moves less than this, pixels."""
_PEER_CLOSE_PX: Final = 1e-4
"""The same in DrizzlePac."""
_LOST_PX: Final = 1e6
"""A step as long as this, or one that is no number, leads nowhere."""
_MAX_ITERATIONS: Final = 40


def to_unit_vectors(ra_deg: DoubleArray, dec_deg: DoubleArray) -> DoubleArray:
    """Unit vectors, shape (n, 3), of sky positions in degrees."""
    ra, dec = np.deg2rad(ra_deg), np.deg2rad(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def to_sky(vectors: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Right ascension [0, 360) and declination, degrees, of vectors, shape (n, 3)."""
    x, y, z = vectors.T
    return np.mod(np.rad2deg(np.arctan2(y, x)), 360.0), np.rad2deg(np.arctan2(z, np.sqrt(x * x + y * y)))


def chip_outline(wcs: ChipWcs, *, peer: bool = False) -> DoubleArray:
    """Outline of a chip through the outer corners of its corner pixels.

    Parameters
    ----------
    wcs : ChipWcs
        Model of the chip.
    peer : bool
        Rows and columns exchanged, as spherical_geometry 1.3 does for DrizzlePac: a chip that is not square
        then has the outline of one that lies across.

    Returns
    -------
    ndarray of float64, shape (4, 3)
        Corners as unit vectors, anticlockwise from outside.
    """
    ny, nx = wcs.shape_yx
    width, height = (ny, nx) if peer else (nx, ny)
    x = np.array([0.0, width, width, 0.0]) - 0.5
    y = np.array([0.0, 0.0, height, height]) - 0.5
    if peer:
        focal = np.stack(wcs.distort(x, y), axis=1) + wcs.crpix_xy
        sky = _linear_wcs(wcs).wcs_pix2world(focal, 1).T
    else:
        sky = np.stack(wcs.pixel_to_sky(x, y))
    corners = to_unit_vectors(sky[0], sky[1])
    is_anticlockwise = np.dot(np.cross(corners[0], corners[1]), corners[2]) > 0.0
    return corners if is_anticlockwise else corners[::-1].copy()


def _linear_wcs(wcs: ChipWcs) -> WCS:
    """Linear part of a model in wcslib, whose rounding decides where DrizzlePac puts a corner of the chip.

    That corner comes back from the sky half-way between two pixels but for rounding at 1e-9 of a pixel, and
    is then rounded to one of them.
    """
    linear = WCS(naxis=2)
    linear.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    linear.wcs.crpix, linear.wcs.crval, linear.wcs.cd = wcs.crpix_xy, wcs.crval_deg, wcs.cd
    return linear


def bounding_cap(outline: DoubleArray) -> tuple[DoubleArray, float]:
    """Centre (unit vector) and radius (radians) of a circle on the sky that holds an outline."""
    centre = outline.sum(axis=0)
    centre /= np.linalg.norm(centre)
    half_chord = float(np.linalg.norm(outline - centre, axis=1).max()) / 2.0
    return centre, 2.0 * float(np.arcsin(min(1.0, half_chord)))


class OutlineIndex:
    """Finds the outlines that may touch one: by cells of space that are as wide as the largest of them.

    Parameters
    ----------
    outlines : sequence of ndarray
        Outlines of chips.
    """

    def __init__(self, outlines: Sequence[DoubleArray]) -> None:
        caps = [bounding_cap(outline) for outline in outlines]
        self._centres = np.array([centre for centre, _ in caps]).reshape(-1, 3)
        self._radii = np.array([radius for _, radius in caps])
        # Circles that touch have centres no farther apart than two radii, and the chord is shorter still.
        side = max(2.0 * float(self._radii.max(initial=0.0)), _SAME_OUTLINE)
        self._keys = [tuple(key) for key in np.floor(self._centres / side).astype(np.int64).tolist()]
        self._cells: dict[tuple[int, ...], list[int]] = {}
        for index, key in enumerate(self._keys):
            self._cells.setdefault(key, []).append(index)

    def near(self, index: int) -> NDArray[np.int64]:
        """Outlines, ascending, whose circle touches that of an outline, which is one of them."""
        x, y, z = self._keys[index]
        around = [
            other
            for cell in product((x - 1, x, x + 1), (y - 1, y, y + 1), (z - 1, z, z + 1))
            for other in self._cells.get(cell, ())
        ]
        found = np.array(sorted(around), dtype=np.int64)
        cosine = np.clip(self._centres[found] @ self._centres[index], -1.0, 1.0)
        is_near = np.arccos(cosine) <= self._radii[found] + self._radii[index]
        touching: NDArray[np.int64] = found[is_near]
        return touching


def intersect_outlines(first: DoubleArray, second: DoubleArray) -> DoubleArray:
    """Vertices of what two convex outlines have in common.

    They are the corners of each inside the other, unchanged, and the points where their sides cross.

    Parameters
    ----------
    first, second : ndarray of float64, shape (n, 3), (m, 3)
        Unit vectors, anticlockwise.

    Returns
    -------
    ndarray of float64, shape (k, 3)
        Unit vectors, anticlockwise, none twice; k = 0 when less than a triangle is left.
    """
    if first.shape == second.shape and np.abs(first - second).max() < _SAME_OUTLINE:
        return first
    above_second = _heights(first, second)
    above_first = _heights(second, first)
    next_above_second = np.roll(above_second, -1, axis=0)
    next_above_first = np.roll(above_first, -1, axis=0)
    crosses = (above_second * next_above_second < 0.0) & (above_first * next_above_first < 0.0).T
    sides, circles = np.nonzero(crosses)
    starts, ends = first[sides], np.roll(first, -1, axis=0)[sides]
    share = above_second[sides, circles] / (above_second - next_above_second)[sides, circles]
    crossings = starts + share[:, None] * (ends - starts)
    vertices = np.concatenate(
        [
            first[(above_second >= 0.0).all(axis=1)],
            second[(above_first >= 0.0).all(axis=1)],
            crossings / np.linalg.norm(crossings, axis=1, keepdims=True),
        ]
    )
    return _in_order(vertices) if len(vertices) > 2 else np.empty((0, 3))


def _heights(points: DoubleArray, outline: DoubleArray) -> DoubleArray:
    """Height of every point (rows) above the side from every vertex of an outline to the next (columns)."""
    # Differences of nearby vectors keep the digits that a product of the vectors themselves would lose.
    poles = np.cross(outline, np.roll(outline, -1, axis=0) - outline)
    heights: DoubleArray = ((points[:, None] - outline[None]) * poles[None]).sum(axis=2)
    return heights


def _in_order(vertices: DoubleArray) -> DoubleArray:
    """Vertices of a convex outline anticlockwise, each once; none when two or less are left."""
    centre = vertices.mean(axis=0)
    offsets = vertices - centre
    across = np.cross(centre, offsets[0])
    order = np.argsort(np.arctan2(offsets @ across, (offsets @ offsets[0]) * np.linalg.norm(centre)))
    vertices = vertices[order]
    is_distinct = np.linalg.norm(vertices - np.roll(vertices, 1, axis=0), axis=1) > _SAME_POINT
    vertices = vertices[is_distinct]
    return vertices if len(vertices) > 2 else np.empty((0, 3))


def sky_to_chip(
    wcs: ChipWcs, ra_deg: DoubleArray, dec_deg: DoubleArray, *, peer: bool = False
) -> DoubleArray:
    """Positions on a chip of sky positions: the distortion inverted by fixed-point iteration.

    Parameters
    ----------
    wcs : ChipWcs
        Model of the chip.
    ra_deg, dec_deg : ndarray of float64, shape (n,)
        Degrees; within 90 degrees of the chip.
    peer : bool
        Stop where astropy does when DrizzlePac asks it: what is left decides how a corner of the chip itself,
        which lies half-way between two pixels, is rounded.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        0-based x, y; also outside the chip, as far as its distortion can be inverted.

    Raises
    ------
    WcsError
        When no position is found: the distortion folds over there.
    """
    if peer:
        focal = _linear_wcs(wcs).wcs_world2pix(np.stack([ra_deg, dec_deg], axis=1), 1)
        target = (focal - wcs.crpix_xy).T
    else:
        target = np.linalg.solve(np.array(wcs.cd), sky_to_plane(ra_deg, dec_deg, wcs.crval_deg))
    x, y = target[0] + wcs.crpix_xy[0] - 1.0, target[1] + wcs.crpix_xy[1] - 1.0
    for _ in range(_MAX_ITERATIONS):
        miss_x, miss_y = np.stack(wcs.distort(x, y)) - target
        x, y = x - miss_x, y - miss_y
        farthest = float(np.hypot(miss_x, miss_y).max())
        if farthest < (_PEER_CLOSE_PX if peer else _CLOSE_PX):
            return np.stack([x, y], axis=1)
        if not farthest < _LOST_PX:
            break
    problem = f"its distortion cannot be inverted near RA {ra_deg[0]:.6f}, Dec {dec_deg[0]:+.6f}"
    raise WcsError(wcs.wcsname or "exposure", problem, "restore its WCS or choose skymethod localmin")
