"""Sources that stay on their detector pixel while the telescope moves: hot pixels.

Covers leaving them out of source lists. Does not cover finding sources (`finding`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.spatial import KDTree

from mosaic.alignment.finding import Sources, is_pixel_sharp
from mosaic.alignment.settings import FindSettings
from mosaic.geometry.wcs import ChipWcs
from mosaic.types import BoolArray, DoubleArray

if TYPE_CHECKING:
    from mosaic.alignment.images import ImageSources

_SMALLEST_DITHER_PX = 2.5
_FIXED_PX = 0.75
_Sharp: TypeAlias = tuple[np.ndarray, DoubleArray, KDTree | None, BoolArray]
"""Rows of the sharp sources, their places, a tree of all sources of the chip, and which of them are sharp."""


def leave_out_fixed(images: Sequence[ImageSources], find: FindSettings) -> list[ImageSources]:
    """Leave out sources that stay on their detector pixel while the telescope moved: hot pixels.

    Left in they can outnumber the stars, and an alignment to them undoes the dither. A source is one of them
    when it is as sharp as a single pixel and another chip of the same detector, dithered by more than 2.5
    pixels as the WCS says, has one within 0.75 pixels of the same place. Place alone would not do: pointing
    errors can cancel a small dither.
    """
    chips = [(i, k) for i, image in enumerate(images) for k in range(len(image.chips))]
    sharp = {(i, k): _sharp_sources(images[i].chips[k].sources, find) for i, k in chips}
    fixed = {
        place: np.zeros(len(images[place[0]].chips[place[1]].sources), dtype=np.bool_) for place in chips
    }
    for position, (i, k) in enumerate(chips):
        for j, m in chips[position + 1 :]:
            one, two = images[i].chips[k], images[j].chips[m]
            is_same = images[i].detector == images[j].detector and one.wcs.shape_yx == two.wcs.shape_yx
            if i == j or one.extver != two.extver or not is_same:
                continue
            rows = _coincident((one.wcs, *sharp[i, k]), (two.wcs, *sharp[j, m]))
            fixed[i, k][rows[0]] = True
            fixed[j, m][rows[1]] = True
    return [
        replace(
            image,
            chips=tuple(
                replace(chip, sources=chip.sources.take(~fixed[i, k]), n_fixed=int(fixed[i, k].sum()))
                for k, chip in enumerate(image.chips)
            ),
        )
        for i, image in enumerate(images)
    ]


def _sharp_sources(sources: Sources, find: FindSettings) -> _Sharp:
    xy = np.stack([sources.x, sources.y], axis=1)
    is_sharp = is_pixel_sharp(sources, find)
    rows = np.flatnonzero(is_sharp)
    return rows, xy[rows], KDTree(xy) if len(xy) else None, is_sharp


def _coincident(
    one: tuple[ChipWcs, np.ndarray, DoubleArray, KDTree | None, BoolArray],
    two: tuple[ChipWcs, np.ndarray, DoubleArray, KDTree | None, BoolArray],
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of both that are sharp and share a detector position although the sky there differs."""
    (wcs, rows, xy, _, _), (other, _, _, tree, is_sharp) = one, two
    if len(rows) == 0 or tree is None:
        return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp)
    distance, nearest = tree.query(xy, distance_upper_bound=_FIXED_PX * (1.0 + 1e-9))
    near = np.flatnonzero(distance <= _FIXED_PX)
    near = near[is_sharp[nearest[near]]]
    x, y = xy[near].T
    (ra1, dec1), (ra2, dec2) = wcs.pixel_to_sky(x, y), other.pixel_to_sky(x, y)
    east = (np.mod(ra1 - ra2 + 180.0, 360.0) - 180.0) * np.cos(np.deg2rad(dec1))
    moved_px = np.hypot(east, dec1 - dec2) * 3600.0 / wcs.natural_scale_arcsec
    near = near[moved_px > _SMALLEST_DITHER_PX]
    return rows[near], nearest[near]
