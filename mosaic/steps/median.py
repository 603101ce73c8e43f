"""Combine the separate drizzles of a rectangle into one image free of cosmic rays.

Each exposure brings its image (electrons/s) and weight map; pixels whose weight is below
``combine_maskpt`` times the mean weight of that exposure's whole frame are left out (DrizzlePac Handbook,
step 4), and a value of incomplete coverage is no minimum for ``minmed``. Every pixel of the result
depends on its own column of the stack, and with ``minmed`` on a neighbourhood of ``combine_grow`` pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosaic.kernels.combine import (
    combine_mean,
    combine_median,
    combine_minimum,
    combine_minmed,
    combine_sum,
)
from mosaic.kernels.prepare import sum_fixed_point
from mosaic.types import FloatArray

WEIGHT_UNIT = 2.0**26
"""Fixed-point unit of weight sums: integers add up to the same total in any order."""

COMPLETE_WEIGHT = 0.85
"""Least weight, in units of the mean weight, of a value that may be the minimum of minmed.

An input pixel of the output's size lies on at most four output pixels and is a quarter or more of one of
them: masked, it leaves 0.75 there at most. Weights of pixels that miss nothing vary by less than a tenth
with the distortion.
"""

WEIGHT_FLOOR = 1e-8
"""Weights at or below this do not count as coverage."""


@dataclass(frozen=True, slots=True)
class CombineParams:
    """How the stack is combined."""

    combine_type: str
    """minmed, median, mean, sum, minimum, or iminmed, imedian, imean (``combine_type``)."""
    nsigma: tuple[float, float]
    """Thresholds of minmed (``combine_nsigma``)."""
    nlow: int
    """Lowest values dropped (``combine_nlow``)."""
    nhigh: int
    """Highest values dropped (``combine_nhigh``)."""
    lthresh: float | None
    """Values below are left out, electrons/s (``combine_lthresh``)."""
    hthresh: float | None
    """Values at or above are left out, electrons/s (``combine_hthresh``)."""
    grow: int
    """Radius within which minmed uses its second threshold (``combine_grow``)."""
    maskpt: float
    """Least weight in units of the mean weight (``combine_maskpt``)."""
    newmasks: bool
    """Whether weights mask pixels at all (``median_newmasks``)."""
    complete: float
    """Least weight of a minimum in units of the mean weight; 0: any, as DrizzlePac has it."""
    peer: bool = False
    """Fill as DrizzlePac's ``i`` types do: in the first column of the frame alone, and never for iminmed."""

    @property
    def halo(self) -> int:
        """Pixels around a rectangle that its result depends on."""
        return self.grow if self.combine_type in ("minmed", "iminmed") else 0


@dataclass(frozen=True, slots=True)
class StackFacts:
    """Numbers of one exposure that the combination uses."""

    mean_weight: float
    """Mean weight over the covered pixels of its whole frame."""
    read_noise2_e: float
    """Squared read noise, mean over its chips, electrons squared."""
    background_rate: float
    """Sky background, electrons/s."""


@dataclass(frozen=True, slots=True)
class WeightSum:
    """Sum and number of the weights of an exposure on some pixels, exact whatever the tiling."""

    total: int
    """Sum of weights in units of ``unit / WEIGHT_UNIT``."""
    count: int
    """Pixels with weight."""


def sum_weights(weight: FloatArray, unit: float) -> WeightSum:
    """Add up the weights above the floor in fixed point.

    Parameters
    ----------
    weight : FloatArray, shape (ny, nx)
        Weight map of one exposure on a rectangle.
    unit : float
        Typical weight of one input pixel; sets the resolution.
    """
    floor = np.float32(WEIGHT_FLOOR)
    total, count = sum_fixed_point(np.ascontiguousarray(weight), floor, WEIGHT_UNIT / unit)
    return WeightSum(int(total), int(count))


def mean_weight(sums: Sequence[WeightSum], unit: float) -> float:
    """Mean weight of an exposure from the sums of all its tiles; 0 without coverage."""
    count = sum(part.count for part in sums)
    if count == 0:
        return 0.0
    return float(np.float32(sum(part.total for part in sums) / count * (unit / WEIGHT_UNIT)))


def exposure_background(
    sky: Sequence[float], to_electrons: Sequence[float], *, peer_compat: bool = False
) -> float:
    """Background of an exposure, electrons per pixel: the lowest of its chips.

    Parameters
    ----------
    sky, to_electrons : sequence of float
        Sky of each chip, native units, and what turns it into electrons.
    peer_compat : bool
        Compare as DrizzlePac does: the lowest so far in electrons against the next chip's native value,
        which for a gain above 1 picks the last chip.
    """
    background = sky[0] * to_electrons[0]
    for value, factor in zip(sky[1:], to_electrons[1:], strict=True):
        if background > (value if peer_compat else value * factor):
            background = value * factor
    return background


def combine_stack(
    images: FloatArray,
    weights: FloatArray,
    facts: Sequence[StackFacts],
    params: CombineParams,
    n_exposures: int,
    *,
    is_first_column: bool = False,
) -> FloatArray:
    """Combine separate drizzles.

    Parameters
    ----------
    images, weights : FloatArray, shape (n, ny, nx)
        Images (electrons/s) and weight maps of the exposures that touch the rectangle.
    facts : Sequence[StackFacts]
        One per image.
    params : CombineParams
        Rule and thresholds.
    n_exposures : int
        Exposures of the whole run: minmed treats two exposures in its own way.
    is_first_column : bool
        Whether the rectangle begins with the first column of the frame.

    Returns
    -------
    FloatArray, shape (ny, nx)
        0 where no exposure is good.
    """
    out = np.zeros(images.shape[1:], dtype=np.float32)
    if images.shape[0] == 0:
        return out
    is_bad = _bad_pixels(weights, facts, params)
    fills = params.combine_type.startswith("i")
    from_last = fills and not params.peer
    low = -np.inf if params.lthresh is None else params.lthresh
    high = np.inf if params.hthresh is None else params.hthresh
    kind = params.combine_type.removeprefix("i")
    if kind == "minmed":
        combine_minmed(
            images,
            weights,
            is_bad,
            np.array([f.read_noise2_e for f in facts]),
            np.array([f.background_rate for f in facts]),
            _least_weights(facts, params.complete if params.newmasks else 0.0),
            params.nsigma[0],
            params.nsigma[1],
            params.grow,
            n_exposures,
            out,
        )
        if from_last:
            everywhere_bad = is_bad.all(axis=0)
            out[everywhere_bad] = images[-1][everywhere_bad]
    elif kind == "sum":
        combine_sum(images, out)
    else:
        rule = {"median": combine_median, "mean": combine_mean, "minimum": combine_minimum}[kind]
        rule(images, is_bad, params.nlow, params.nhigh, low, high, from_last, out)
    if fills and params.peer and is_first_column and kind != "minmed":
        is_left_out = is_bad[:, :, 0].astype(np.bool_)
        is_left_out |= (images[:, :, 0] < np.float32(low)) | (images[:, :, 0] >= np.float32(high))
        rows = np.flatnonzero(is_left_out.all(axis=0))
        out[rows, 0] = _first_not_zero(images[:, rows, 0])
    return out


def _first_not_zero(values: FloatArray) -> FloatArray:
    """First value along the stack that is not 0, of every pixel; 0 where all are."""
    first = np.argmax(values != 0.0, axis=0)
    found: FloatArray = np.take_along_axis(values, first[None], axis=0)[0]
    return found


def _bad_pixels(weights: FloatArray, facts: Sequence[StackFacts], params: CombineParams) -> NDArray[np.uint8]:
    if not params.newmasks:
        return np.zeros(weights.shape, dtype=np.uint8)
    return (weights < _least_weights(facts, params.maskpt)[:, None, None]).view(np.uint8)


def _least_weights(facts: Sequence[StackFacts], fraction: float) -> FloatArray:
    """Fraction of the mean weight of each exposure."""
    return np.array([np.float32(fraction * f.mean_weight) for f in facts], dtype=np.float32)
