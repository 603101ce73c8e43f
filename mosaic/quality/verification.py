"""Whether exposures lie on each other: each against the product that was made of them.

Covers the shift of an exposure against the product, the share of its sources that the product has not, and
how sharp both are. Does not cover finding a better solution (`mosaic.alignment`). DrizzlePac's difference is
the smaller of that share and of twice the relative difference of two sums, which is small however the
exposures lie; here the shift decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mosaic.quality.stars import MAD_TO_SIGMA
from mosaic.types import BoolArray, FloatArray

SIGMA_PX: Final = 2.0
"""Width of the filter that shows sources."""
THRESHOLD: Final = 5.0
"""Response of a source, in units of the noise of the response."""
MAX_SHIFT_PX: Final = 1.0
"""Largest shift of exposures that lie on each other."""
_REACH_PX: Final = 10
"""Largest shift that is looked for."""
_MAX_SOURCES: Final = 3000
_FEWEST_SOURCES: Final = 5
"""Fewer say nothing about a shift."""


@dataclass(frozen=True, slots=True)
class ExposureCheck:
    """How an exposure lies on the product."""

    name: str
    """Root name of the exposure."""
    n_sources: int
    """Sources of the product in the region compared."""
    shift_xy: tuple[float, float]
    """Shift of the exposure against the product, output pixels."""
    difference: float
    """Pixels that are of a source in one of the two only, over those of the exposure."""
    focus: float
    """Largest response of the exposure."""
    product_focus: float
    """Largest response of the product in the same region."""

    @property
    def shift_px(self) -> float:
        """Length of the shift."""
        return float(np.hypot(*self.shift_xy))

    @property
    def is_aligned(self) -> bool:
        """Whether the shift is small; so it is said where there are too few sources to tell."""
        return self.n_sources < _FEWEST_SOURCES or self.shift_px <= MAX_SHIFT_PX


def source_response(image: FloatArray, sigma_px: float = SIGMA_PX) -> FloatArray:
    """Negative Laplacian of the image smoothed with a Gaussian: high where there is a source.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx)
        Image; NaN counts as 0.
    sigma_px : float
        Width of the Gaussian, pixels.
    """
    radius = int(np.ceil(4.0 * sigma_px))
    x = np.arange(-radius, radius + 1)
    smooth = np.exp(-0.5 * (x / sigma_px) ** 2)
    smooth /= smooth.sum()
    second = (x**2 / sigma_px**4 - 1.0 / sigma_px**2) * smooth
    second -= second.mean()
    values = np.nan_to_num(image, nan=0.0).astype(np.float32)
    by_columns = _convolved(_convolved(values, second, 1), smooth, 0)
    by_rows = _convolved(_convolved(values, smooth, 1), second, 0)
    return -(by_columns + by_rows)


def _convolved(values: FloatArray, taps: NDArray[np.float64], axis: int) -> FloatArray:
    """Convolution with symmetric taps along an axis; what is outside counts as the border."""
    radius = len(taps) // 2
    pad = [(0, 0), (0, 0)]
    pad[axis] = (radius, radius)
    padded = np.pad(values, pad, mode="edge")
    out = np.zeros_like(values)
    n = values.shape[axis]
    for k, tap in enumerate(taps):
        part = padded[k : k + n] if axis == 0 else padded[:, k : k + n]
        out += np.float32(tap) * part
    return out


def common_region(weights: Sequence[FloatArray]) -> BoolArray:
    """Where the most exposures have weight."""
    count = np.zeros(weights[0].shape, dtype=np.int32)
    for weight in weights:
        count += weight > 0.0
    region: BoolArray = (count == count.max()) & (count > 0)
    return region


def check_exposure(
    name: str, single: FloatArray, weight: FloatArray, product: FloatArray, region: BoolArray
) -> ExposureCheck:
    """Compare the separate drizzle of an exposure with the product, on the same frame.

    Parameters
    ----------
    name : str
        Root name of the exposure.
    single, weight : ndarray of float32, shape (ny, nx)
        Separate drizzle and its weight.
    product : ndarray of float32, shape (ny, nx)
        The product.
    region : ndarray of bool, shape (ny, nx)
        Where to compare (`common_region`); where the exposure has no weight it is not compared.
    """
    used = region & (weight > 0.0) & np.isfinite(product)
    if not used.any():
        used = (weight > 0.0) & np.isfinite(product)
    ours = source_response(np.where(used, single, np.float32(0.0)))
    theirs = source_response(np.where(used, product, np.float32(0.0)))
    inner = _eroded(used, int(4 * SIGMA_PX))
    if not inner.any():
        return ExposureCheck(name, 0, (0.0, 0.0), 0.0, 0.0, 0.0)
    of_single, of_product = (
        inner & (response > THRESHOLD * _noise(response[inner])) for response in (ours, theirs)
    )
    n_single = max(1, int(np.count_nonzero(of_single)))
    difference = int(np.count_nonzero(of_single ^ of_product)) / n_single
    y, x = _peaks(np.where(of_product, theirs, np.float32(0.0)))
    shift = _shift(ours, theirs, y, x) if len(y) >= _FEWEST_SOURCES else (0.0, 0.0)
    focus = (float(np.max(values[inner])) for values in (ours, theirs))
    return ExposureCheck(name, len(y), shift, difference, *focus)


def _noise(values: FloatArray) -> float:
    """Scatter about the median that outliers do not change."""
    return float(MAD_TO_SIGMA * np.median(np.abs(values - np.median(values))))


def _eroded(mask: BoolArray, radius: int) -> BoolArray:
    """Pixels whose square of `radius` lies in the mask and in the image."""
    holes = np.pad(~mask, radius + 1, constant_values=True).astype(np.int64)
    total = holes.cumsum(axis=0).cumsum(axis=1)
    side = 2 * radius + 1
    inside = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    eroded: BoolArray = inside[: mask.shape[0], : mask.shape[1]] == 0
    return eroded


def _peaks(response: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of local maxima away from the border, the highest first."""
    centre = response[1:-1, 1:-1]
    is_peak = centre > 0.0
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if dy or dx:
                is_peak &= (
                    centre >= response[1 + dy : response.shape[0] - 1 + dy, 1 + dx :][:, : centre.shape[1]]
                )
    y, x = np.nonzero(is_peak)
    y, x = y + 1, x + 1
    ny, nx = response.shape
    inside = (y >= _REACH_PX) & (y < ny - _REACH_PX) & (x >= _REACH_PX) & (x < nx - _REACH_PX)
    y, x = y[inside], x[inside]
    order = np.argsort(-response[y, x], kind="stable")[:_MAX_SOURCES]
    return y[order], x[order]


def _shift(
    ours: FloatArray, theirs: FloatArray, y: NDArray[np.intp], x: NDArray[np.intp]
) -> tuple[float, float]:
    """Shift at which the exposure has most of the response at the sources of the product.

    No source counts for more than it has in the product, so that a cosmic ray decides nothing; and each
    counts with its square root, so that a bright star does not decide alone.
    """
    n = 2 * _REACH_PX + 1
    most = theirs[y, x].astype(np.float64)
    score = np.zeros((n, n))
    for j in range(n):
        for i in range(n):
            found = ours[y + j - _REACH_PX, x + i - _REACH_PX]
            score[j, i] = np.sqrt(np.clip(found, 0.0, most)).sum()
    row, column = divmod(int(np.argmax(score)), n)
    return _vertex(score[row], column), _vertex(score[:, column], row)


def _vertex(score: NDArray[np.float64], at: int) -> float:
    """Position of the maximum by a parabola through it and its neighbours, 0 in the middle."""
    if not 0 < at < len(score) - 1:
        return float(at - _REACH_PX)
    before, here, after = score[at - 1 : at + 2]
    bend = before - 2.0 * here + after
    return float(at - _REACH_PX + (0.5 * (before - after) / bend if bend < 0.0 else 0.0))
