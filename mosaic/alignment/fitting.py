"""Offset, matches and linear fit between two lists of positions in one plane.

Covers the 2-D histogram, one-to-one matching and least squares with clipping; the model is
``image = reference F + offset`` with row vectors, as TweakReg reports it. Does not cover catalogues or WCS.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from mosaic.errors import MosaicError
from mosaic.types import BoolArray, DoubleArray

Geometry = Literal["shift", "rscale", "general"]
SMALLEST_SET: Final[dict[str, int]] = {"shift": 1, "rscale": 2, "general": 3}
_MAX_PAIRS: Final = 4_000_000
_SINGULAR: Final = 1e-10
_REWEIGHTINGS: Final = 12
_ROBUST_SIGMA: Final = 5.0
"""The median of few deviations is a rough scale: wider than the clipping that follows."""
_MEDIAN_TO_SIGMA: Final = 1.482602218505602


class SingularFitError(MosaicError):
    """Raised when the positions do not determine the fit: too few, or all on one line."""


@dataclass(frozen=True, slots=True)
class Offset:
    """Peak of the histogram of all differences image - reference."""

    xy: tuple[float, float]
    """Offset, pixels."""
    n_at_peak: float
    """Pairs in the 3 x 3 bins at the peak."""
    second_ratio: float
    """Highest 3 x 3 sum elsewhere, divided by that at the peak."""
    significance: float
    """Height above the mean of the histogram in Poisson deviations."""
    histogram: DoubleArray
    """Counts per bin, shape (n, n), centred on zero."""
    bin_px: float
    """Side of a bin, pixels."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A linear map from reference to image positions."""

    matrix: DoubleArray
    """F, (2, 2), row vectors."""
    offset_xy: DoubleArray
    """Offset at the origin, pixels."""
    residuals: DoubleArray
    """Image in the reference frame minus reference, (n, 2), for the points used."""
    used: BoolArray
    """Which of the points given were used."""

    @property
    def rms_xy(self) -> tuple[float, float]:
        """Standard deviation of the residuals per axis, pixels; NaN without residuals."""
        x, y = self.residuals.std(axis=0) if len(self.residuals) else (math.nan, math.nan)
        return float(x), float(y)

    @property
    def rmse(self) -> float:
        """Root mean square length of the residuals; NaN without residuals."""
        return float(np.sqrt((self.residuals**2).sum(axis=1).mean())) if len(self.residuals) else math.nan

    @property
    def scale(self) -> float:
        """Square root of the area factor."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix))))

    @property
    def rotation_deg(self) -> float:
        """Rotation, degrees, within ±180."""
        scaled = self.matrix / np.linalg.norm(self.matrix, axis=0)
        sign = math.copysign(1.0, float(np.linalg.det(self.matrix)))
        return math.degrees(
            math.atan2(scaled[1, 0] - sign * scaled[0, 1], scaled[0, 0] + sign * scaled[1, 1])
        )

    @property
    def skew_deg(self) -> float:
        """Angle by which the axes are not perpendicular, degrees, within ±180."""
        x = math.atan2(-self.matrix[0, 1], self.matrix[0, 0])
        y = math.atan2(self.matrix[1, 0], self.matrix[1, 1])
        return math.degrees(math.remainder(y - x, 2.0 * math.pi))

    def to_reference(self, image_xy: DoubleArray) -> DoubleArray:
        """Positions of image points in the reference frame, (n, 2)."""
        inverse: DoubleArray = np.linalg.inv(self.matrix).astype(np.float64)
        return (image_xy - self.offset_xy) @ inverse


IDENTITY: Final = Fit(np.eye(2), np.zeros(2), np.zeros((0, 2)), np.zeros(0, dtype=np.bool_))


def find_offset(
    reference_xy: DoubleArray,
    image_xy: DoubleArray,
    radius: float,
    bin_px: float,
    *,
    tree: KDTree | None = None,
) -> Offset | None:
    """Find the offset that most pairs share.

    Bins are centred on zero whatever the radius is; the peak is that of 3 x 3 sums, refined by the mean of
    the differences around it.

    Parameters
    ----------
    reference_xy, image_xy : float64, shape (n, 2)
        Positions, pixels, the brightest first (only those are used when there are too many pairs).
    radius : float
        Largest offset per axis.
    bin_px : float
        Side of a bin.
    tree : KDTree, optional
        That of `reference_xy`, when it is there already.

    Returns
    -------
    Offset or None
        None when no two positions are that close.
    """
    differences = _differences(reference_xy, image_xy, radius, tree)
    if len(differences) == 0:
        return None
    reach = math.ceil(radius / bin_px)
    edges = (np.arange(2 * reach + 2) - reach - 0.5) * bin_px
    histogram, _, _ = np.histogram2d(differences[:, 1], differences[:, 0], bins=(edges, edges))
    sums = ndimage.uniform_filter(histogram, 3, mode="constant") * 9.0
    row, column = np.unravel_index(int(np.argmax(sums)), sums.shape)
    centre = np.array([column - reach, row - reach]) * bin_px
    for size in (2.0, 1.5, 1.5, 1.5):
        near = np.abs(differences - centre).max(axis=1) <= size * bin_px
        if near.any():
            centre = differences[near].mean(axis=0)
    peak = float(sums[row, column])
    rows, columns = np.indices(sums.shape)
    elsewhere = sums[(np.abs(rows - row) > 4) | (np.abs(columns - column) > 4)]
    second = float(elsewhere.max()) if elsewhere.size else 0.0
    mean = 9.0 * max(0.0, float(histogram.sum()) - peak) / max(1, histogram.size - 9)
    significance = (peak - mean) / math.sqrt(max(mean, 1.0))
    return Offset((float(centre[0]), float(centre[1])), peak, second / peak, significance, histogram, bin_px)


def _differences(
    reference_xy: DoubleArray, image_xy: DoubleArray, radius: float, tree: KDTree | None
) -> DoubleArray:
    """Differences image - reference of all pairs in a square; of the brightest when there are many."""
    n = max(len(reference_xy), len(image_xy))
    while True:
        reference = tree if tree is not None and n >= len(reference_xy) else KDTree(reference_xy[:n])
        image = KDTree(image_xy[:n])
        if n <= 100 or reference.count_neighbors(image, radius, p=np.inf) <= _MAX_PAIRS:
            break
        n = min(n, max(len(reference_xy), len(image_xy))) * 2 // 3
    near = reference.sparse_distance_matrix(image, radius, p=np.inf, output_type="ndarray")
    near = near[np.lexsort((near["i"], near["j"]))]
    pairs: DoubleArray = image.data[near["j"]] - reference.data[near["i"]]
    return pairs


def thin(xy: DoubleArray, separation: float) -> np.ndarray:
    """Rows left when of positions closer than `separation` only the first stays."""
    keep = np.ones(len(xy), dtype=np.bool_)
    if separation > 0.0 and len(xy) > 1:
        pairs = KDTree(xy).query_pairs(separation, output_type="ndarray")
        for first, second in pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]:
            if keep[first]:
                keep[second] = False
    return np.flatnonzero(keep)


def match(
    reference_xy: DoubleArray, image_xy: DoubleArray, tolerance: float, *, tree: KDTree | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Pair positions that are each other's nearest and not farther apart than `tolerance`.

    Parameters
    ----------
    reference_xy, image_xy : float64, shape (n, 2)
        Positions, pixels.
    tolerance : float
        Largest distance.
    tree : KDTree, optional
        That of `reference_xy`, when it is there already.

    Returns
    -------
    reference_rows, image_rows : ndarray of int
        One-to-one.
    """
    nothing = np.empty(0, dtype=np.intp)
    if len(reference_xy) == 0 or len(image_xy) == 0:
        return nothing, nothing
    distance, nearest = KDTree(image_xy).query(reference_xy, distance_upper_bound=tolerance)
    rows = np.flatnonzero(np.isfinite(distance))
    _, back = (tree or KDTree(reference_xy)).query(image_xy[nearest[rows]])
    rows = rows[back == rows]
    return rows, nearest[rows]


def fit_linear(
    reference_xy: DoubleArray,
    image_xy: DoubleArray,
    geometry: Geometry,
    *,
    nclip: int = 0,
    sigma: float = 3.0,
    weights: DoubleArray | None = None,
) -> Fit:
    """Fit ``image = reference F + offset``, leaving out outliers.

    A point takes part when both components of its residual are below `sigma` times the rms of that axis;
    points may come back, and it ends when the set no longer changes. The first set is that of a fit of least
    absolute deviations with the median deviation as its scale: among few points one wrong match spoils a
    least-squares fit so much that it is never left out.

    Parameters
    ----------
    reference_xy, image_xy : float64, shape (n, 2)
        Paired positions, pixels.
    geometry : {"shift", "rscale", "general"}
        Offset; with rotation and one scale (a reflection is allowed); any linear map.
    nclip : int
        Largest number of clipping passes.
    sigma : float
        Clipping threshold.
    weights : float64, shape (n,), optional
        Weights of the points, as one over their variance; equal when not given.

    Raises
    ------
    SingularFitError
        When there are too few points, or they lie on one line (general) or in one point (rscale).
    """
    used = np.ones(len(reference_xy), dtype=np.bool_)
    if nclip > 0 and len(reference_xy) > SMALLEST_SET[geometry] + 1:
        used = _robust_set(reference_xy, image_xy, geometry, sigma)
    for attempt in range(nclip + 1):
        own = None if weights is None else weights[used]
        matrix, offset = _solve(reference_xy[used], image_xy[used], geometry, own)
        trial = Fit(matrix, offset, np.zeros((0, 2)), used)
        residuals = trial.to_reference(image_xy) - reference_xy
        fit = Fit(matrix, offset, residuals[used], used)
        rms = np.maximum(np.sqrt((residuals[used] ** 2).mean(axis=0)), 1e-9)
        keep = (np.abs(residuals) < sigma * rms).all(axis=1)
        if attempt == nclip or np.array_equal(keep, used) or keep.sum() <= max(2, SMALLEST_SET[geometry]):
            break
        used = keep
    return fit


def _robust_set(
    reference_xy: DoubleArray, image_xy: DoubleArray, geometry: Geometry, sigma: float
) -> BoolArray:
    """Points near a fit of least absolute deviations, found by reweighting."""
    weights = np.ones(len(reference_xy))
    for _ in range(_REWEIGHTINGS):
        matrix, offset = _solve(reference_xy, image_xy, geometry, weights)
        residuals = (image_xy - offset) @ np.linalg.inv(matrix) - reference_xy
        length = np.hypot(*residuals.T)
        weights = 1.0 / np.maximum(length, max(1e-9, 0.1 * float(np.median(length))))
    scale = np.maximum(_MEDIAN_TO_SIGMA * np.median(np.abs(residuals), axis=0), 1e-9)
    near = np.logical_and.reduce(np.abs(residuals) < max(sigma, _ROBUST_SIGMA) * scale, axis=1)
    return near if near.sum() > SMALLEST_SET[geometry] else np.ones(len(near), dtype=np.bool_)


def _solve(
    reference_xy: DoubleArray,
    image_xy: DoubleArray,
    geometry: Geometry,
    weights: DoubleArray | None = None,
) -> tuple[DoubleArray, DoubleArray]:
    n = len(reference_xy)
    if n < SMALLEST_SET[geometry]:
        raise SingularFitError(f"{n} matches do not determine a fit of {geometry}")
    w = np.full(n, 1.0 / n) if weights is None else weights / weights.sum()
    xc, uc = w @ reference_xy, w @ image_xy
    x, u = reference_xy - xc, image_xy - uc
    if geometry == "shift":
        return np.eye(2), uc - xc
    xw = x * w[:, None]
    S = xw.T @ u
    spread = float((xw * x).sum())
    if geometry == "general":
        moments = xw.T @ x
        if np.linalg.det(moments) <= _SINGULAR * spread**2:
            raise SingularFitError("all matches lie on one line, which does not determine a general fit")
        F = np.linalg.solve(moments, S)
    else:
        if spread <= 0.0:
            raise SingularFitError(
                "all matches lie in one point, which does not determine rotation and scale"
            )
        sign = 1.0 if np.linalg.det(S) >= 0.0 else -1.0
        # F = [[P0, Q0], [P1, Q1]] with Q = sign (-P1, P0): least squares of both columns together.
        p0 = (S[0, 0] + sign * S[1, 1]) / spread
        p1 = (S[1, 0] - sign * S[0, 1]) / spread
        F = np.array([[p0, -sign * p1], [p1, sign * p0]])
    return F, uc - xc @ F
