"""What the shifts of the stars of one exposure amount to: shift, rotation, slopes, and which stars agree.

Covers the description of one exposure. Does not cover what is good enough (`mosaic.quality.alignment`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mosaic.quality.offsets import REACH_PX, Offsets
from mosaic.quality.stars import MAD_TO_SIGMA
from mosaic.types import BoolArray, DoubleArray

_NEAR_PX = 1.0
_GROUP_PX = 3.0
_LEAST_GROUP = 3


@dataclass(frozen=True, slots=True)
class Fit:
    """What the shifts of one exposure amount to; native pixels."""

    name: str
    """Root name."""
    offsets: Offsets
    """The shifts themselves."""
    kept: BoolArray
    """Stars that agree with the rest."""
    mean: DoubleArray
    """Mean shift (x, y)."""
    rms: DoubleArray
    """Scatter about it, per axis."""
    rotation_deg: float
    """Rotation of the residuals."""
    rotation_error_deg: float
    """Its error."""
    prefers_shift: bool
    """Whether a shift describes the residuals as well as rotation and scale do."""
    slope_px: float
    """Largest slope times the extent of the detector."""
    slope_error_px: float
    """Its error."""

    @property
    def n(self) -> int:
        """Stars used."""
        return int(np.count_nonzero(self.kept))

    @property
    def length(self) -> float:
        """Length of the mean shift."""
        return float(np.hypot(*self.mean))


def fit_offsets(name: str, offsets: Offsets) -> Fit:
    """Describe the shifts of an exposure by shift, rotation and scale."""
    nan2 = np.full(2, np.nan)
    if offsets.n == 0:
        none = np.zeros(0, dtype=np.bool_)
        return Fit(name, offsets, none, nan2, nan2, np.nan, np.nan, True, np.nan, np.nan)
    kept = agreeing(offsets.shift_xy)
    if not kept.any():
        return Fit(name, offsets, kept, nan2, nan2, np.nan, np.nan, True, np.nan, np.nan)
    shift = offsets.shift_xy
    own, place = shift[kept], offsets.xy[kept]
    mean = own.mean(axis=0)
    residual = own - mean
    rms = np.sqrt((residual**2).mean(axis=0))
    if own.shape[0] < 6:
        return Fit(name, offsets, kept, mean, rms, np.nan, np.nan, True, np.nan, np.nan)
    centred = place - place.mean(axis=0)
    size2 = float((centred**2).sum())
    turn = float((centred[:, 0] * residual[:, 1] - centred[:, 1] * residual[:, 0]).sum() / size2)
    stretch = float((centred * residual).sum() / size2)
    sigma2 = float((residual**2).mean())
    model = stretch * centred + turn * np.column_stack([-centred[:, 1], centred[:, 0]])
    rest2 = float(((residual - model) ** 2).mean())
    count = 2 * own.shape[0]
    gain = count * np.log(max(sigma2, 1e-12) / max(rest2, 1e-12))
    # Three times the penalty: the scatter of centroids is not Gaussian.
    prefers_shift = gain < 3.0 * 2.0 * np.log(count)
    slope, slope_error = _largest_slope(centred, residual)
    turn_error = float(np.sqrt(sigma2 / size2))
    return Fit(
        name, offsets, kept, mean, rms, float(np.degrees(turn)), float(np.degrees(turn_error)),
        bool(prefers_shift), slope, slope_error,
    )  # fmt: skip


def agreeing(shift_xy: DoubleArray) -> BoolArray:
    """Shifts that agree: the densest group of them, clipped; none where they are scattered by chance."""
    n = shift_xy.shape[0]
    apart = np.abs(shift_xy[:, None] - shift_xy[None]).max(axis=2)
    centre = int((apart < _NEAR_PX).sum(axis=1).argmax())
    kept = np.asarray(apart[centre] < _GROUP_PX)
    by_chance = n * min(1.0, (2.0 * _GROUP_PX / (2.0 * REACH_PX + 1.0)) ** 2)
    if np.count_nonzero(kept) < max(_LEAST_GROUP, by_chance + 3.0 * np.sqrt(by_chance)):
        return np.zeros(n, dtype=np.bool_)
    middle = np.median(shift_xy[kept], axis=0)
    spread = MAD_TO_SIGMA * np.median(np.abs(shift_xy[kept] - middle), axis=0)
    return np.asarray(kept & np.all(np.abs(shift_xy - middle) <= 4.0 * np.maximum(spread, 0.02), axis=1))


def _largest_slope(centred: DoubleArray, residual: DoubleArray) -> tuple[float, float]:
    """Largest of the four slopes times the extent along its axis, and the error of that."""
    best = (0.0, 0.0, -1.0)
    for axis in (0, 1):
        along = centred[:, axis]
        size2 = float((along**2).sum())
        extent = float(np.ptp(along))
        for component in (0, 1):
            slope = float((along * residual[:, component]).sum() / size2) if size2 > 0 else 0.0
            rest = residual[:, component] - slope * along
            error = float(np.sqrt((rest**2).mean() / size2)) if size2 > 0 else 0.0
            weight = abs(slope) / error if error > 0 else 0.0
            if weight > best[2]:
                best = (abs(slope) * extent, error * extent, weight)
    return best[0], best[1]


def hull_area(points: DoubleArray) -> float:
    """Area of the convex hull (monotone chain)."""
    ordered = sorted({(float(x), float(y)) for x, y in points})

    def half(sequence: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        hull: list[tuple[float, float]] = []
        for x, y in sequence:
            while (
                len(hull) > 1
                and (
                    (hull[-1][0] - hull[-2][0]) * (y - hull[-2][1])
                    - (hull[-1][1] - hull[-2][1]) * (x - hull[-2][0])
                )
                <= 0
            ):
                hull.pop()
            hull.append((x, y))
        return hull[:-1]

    corners = np.array(half(ordered) + half(ordered[::-1]))
    if corners.shape[0] < 3:
        return 0.0
    x, y = corners.T
    return 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))
