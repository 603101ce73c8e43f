"""Compact sources in an image: where they are, how wide and round, how bright.

Covers peaks above the noise, Gaussian-weighted moments freed of their weight, aperture sums, and the shift
between two cut-outs of the same star. Works on arrays of one tile or on stacks of small cut-outs. Does not
cover catalogues for alignment (`mosaic.alignment.finding`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosaic.types import BoolArray, DoubleArray, FloatArray

MAD_TO_SIGMA = 1.4826
_SAMPLE = 60_000
_CLIP_ROUNDS = 6
_FINE_ROUNDS = 4
_FINE_PX = 0.003


@dataclass(frozen=True, slots=True)
class Level:
    """Sky of an image."""

    value: float
    """Median of the pixels that are sky."""
    sigma: float
    """Their scatter, one pixel, from the lower half of the distribution."""
    n: int
    """How many pixels it was measured from."""


@dataclass(frozen=True, slots=True)
class Shapes:
    """Second moments of sources, one entry each; NaN where they cannot be measured."""

    fwhm: DoubleArray
    """Full width at half maximum of the Gaussian of the same size, pixels."""
    ellipticity: DoubleArray
    """One minus the axis ratio."""
    angle: DoubleArray
    """Direction of the major axis from +x, radians."""


def sky_level(values: FloatArray) -> Level:
    """Clipped median and scatter of the finite values of an array, at most a sample of them."""
    flat = values.ravel()
    flat = flat[:: max(1, flat.size // _SAMPLE)]
    # Sorted once, every median is a place, and what is clipped lies at the ends.
    flat = np.sort(flat[np.isfinite(flat)])
    if flat.size < 16:
        return Level(float("nan"), float("nan"), int(flat.size))
    middle = sigma = 0.0
    for _ in range(_CLIP_ROUNDS):
        middle = float(_middle(flat))
        # Sources lift values; the scatter of those below the median knows nothing of them.
        below = flat[: np.searchsorted(flat, flat.dtype.type(middle), side="right")]
        sigma = MAD_TO_SIGMA * float(_middle(middle - below))
        kept = flat[np.abs(flat - middle) <= 3.0 * sigma] if sigma > 0 else flat
        if kept.size == flat.size or kept.size < 16:
            break
        flat = kept
    return Level(middle, sigma, int(flat.size))


def _middle(ordered: FloatArray) -> np.floating[Any]:
    """Median of values in ascending or descending order."""
    middle: np.floating[Any] = ordered[(ordered.size - 1) // 2 : ordered.size // 2 + 1].mean()
    return middle


def find_peaks(
    image: FloatArray, level: Level, *, n_sigma: float, margin: int, limit: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Columns and rows of pixels above their eight neighbours and the noise, the brightest first.

    Parameters
    ----------
    image : FloatArray, shape (ny, nx)
        NaN where there is nothing.
    level : Level
        Its sky.
    n_sigma : float
        Height above the sky in units of the noise.
    margin : int
        Pixels along the border without peaks.
    limit : int, optional
        Largest number of peaks; 0: all.
    """
    ny, nx = image.shape
    if ny <= 2 * margin or nx <= 2 * margin or not np.isfinite(level.sigma) or level.sigma <= 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    inner = image[margin : ny - margin, margin : nx - margin]
    y, x = np.nonzero(inner > level.value + n_sigma * level.sigma)
    y, x = y + margin, x + margin
    peak = image[y, x]
    is_peak = np.ones(y.size, dtype=np.bool_)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if (dy, dx) < (0, 0):
                is_peak &= peak > image[y + dy, x + dx]
            elif (dy, dx) > (0, 0):
                is_peak &= peak >= image[y + dy, x + dx]
    x, y, peak = x[is_peak], y[is_peak], peak[is_peak]
    order = np.argsort(-peak, kind="stable")[: limit or None]
    return x[order], y[order]


def isolated(x: DoubleArray, y: DoubleArray, distance: float) -> BoolArray:
    """Which points, the brightest first, have no other within `distance` along both axes."""
    alone = np.ones(x.size, dtype=np.bool_)
    order = np.argsort(x, kind="stable")
    for place in range(x.size):
        i = order[place]
        for j in order[place + 1 :]:
            if x[j] - x[i] > distance:
                break
            if abs(y[j] - y[i]) <= distance:
                alone[i] = alone[j] = False
    return alone


def cut_out(image: FloatArray, x: NDArray[np.int64], y: NDArray[np.int64], half: int) -> DoubleArray:
    """Squares of ``2 half + 1`` pixels around positions at least `half` from the border."""
    reach = np.arange(-half, half + 1)
    return np.array(
        image[y[:, None, None] + reach[None, :, None], x[:, None, None] + reach[None, None, :]],
        dtype=np.float64,
    )


def above_border(stamps: DoubleArray) -> DoubleArray:
    """Cut-outs less the median along their border."""
    border = np.concatenate([stamps[:, 0], stamps[:, -1], stamps[:, 1:-1, 0], stamps[:, 1:-1, -1]], axis=1)
    return np.asarray(stamps - np.median(border, axis=1)[:, None, None])


def measure_shapes(stamps: DoubleArray, weight_sigma: float) -> Shapes:
    """Moments of cut-outs that are free of their background.

    A Gaussian of covariance C seen through a round Gaussian weight of variance w has the inverse covariance
    ``1/C + 1/w``; what comes back is C.

    Parameters
    ----------
    stamps : DoubleArray, shape (n, size, size)
        Sources near the centre.
    weight_sigma : float
        Sigma of the weight, pixels.
    """
    half = stamps.shape[1] // 2
    grid = np.arange(-half, half + 1.0)
    centre = np.zeros((2, stamps.shape[0]))
    moments = np.zeros((3, stamps.shape[0]))
    with np.errstate(all="ignore"):
        for _ in range(5):
            dx = grid[None, None, :] - centre[0][:, None, None]
            dy = grid[None, :, None] - centre[1][:, None, None]
            weighted = stamps * np.exp(-0.5 * (dx * dx + dy * dy) / weight_sigma**2)
            total = weighted.sum(axis=(1, 2))
            shift = [(weighted * d).sum(axis=(1, 2)) / total for d in (dx, dy)]
            moments = np.array(
                [(weighted * a * b).sum(axis=(1, 2)) / total for a, b in ((dx, dx), (dx, dy), (dy, dy))]
            )
            # The weight pulls the centroid towards itself: go twice as far.
            centre = np.clip(centre + 2.0 * np.nan_to_num(shift), -2.0, 2.0)
        xx, xy, yy = moments
        determinant = xx * yy - xy * xy
        inverse = np.array([yy, -xy, xx]) / determinant - np.array([[1.0], [0.0], [1.0]]) / weight_sigma**2
        a, b, c = inverse
        determinant = a * c - b * b
        is_good = (determinant > 0) & (a > 0) & (total > 0)
        cxx, cxy, cyy = np.where(is_good, np.array([c, -b, a]) / determinant, np.nan)
        mean, spread = (cxx + cyy) / 2, np.hypot((cxx - cyy) / 2, cxy)
        fwhm = np.sqrt(8.0 * np.log(2.0) * mean)
        ellipticity = 1.0 - np.sqrt((mean - spread) / (mean + spread))
    return Shapes(fwhm, ellipticity, np.asarray(0.5 * np.arctan2(2 * cxy, cxx - cyy)))


def aperture_sums(stamps: DoubleArray, radius: float) -> DoubleArray:
    """Sums over the pixels whose centres lie within `radius` of the central pixel."""
    half = stamps.shape[1] // 2
    grid = np.arange(-half, half + 1.0)
    inside = grid[None, :] ** 2 + grid[:, None] ** 2 <= radius**2
    return np.asarray((stamps * inside).sum(axis=(1, 2)))


def measure_shifts(stars: DoubleArray, models: DoubleArray, reach: int) -> tuple[DoubleArray, DoubleArray]:
    """Shift of each star against its model, pixels (x, y), and how distinct the match is.

    The peak of the cross-correlation gives whole pixels; the rest follows from least squares, star =
    flux (model - shift . gradient) + constant, repeated with the model shifted by what was found, which
    knows no bias towards pixel centres.

    Parameters
    ----------
    stars : DoubleArray, shape (n, size, size)
        Cut-outs of an exposure; spikes above the model are cut off.
    models : DoubleArray, shape (n, size, size)
        The same windows of the model.
    reach : int
        Largest shift that is looked for.

    Returns
    -------
    shift_xy : DoubleArray, shape (n, 2)
        NaN where the fit fails.
    ambiguity : DoubleArray, shape (n,)
        Correlation at the second peak over that at the first.
    """
    n, size, _ = stars.shape
    inner = slice(reach + 1, size - reach - 1)
    core = models[:, inner, inner]
    core = core - core.mean(axis=(1, 2), keepdims=True)
    top = 1.2 * models.max(axis=(1, 2), keepdims=True)
    cut = np.minimum(stars, top)
    side = 2 * reach + 1
    correlation = np.empty((n, side, side))
    for j in range(side):
        for i in range(side):
            window = cut[:, 1 + j : 1 + j + core.shape[1], 1 + i : 1 + i + core.shape[2]]
            correlation[:, j, i] = (window * core).sum(axis=(1, 2))
    best = np.asarray(correlation.reshape(n, -1).argmax(axis=1))
    row, column = best // side, best % side
    ambiguity = _second_peak(correlation, row, column)
    shift = np.full((n, 2), np.nan)
    for k in range(n):
        j, i = int(row[k]), int(column[k])
        moved = cut[k, 1 + j : 1 + j + core.shape[1], 1 + i : 1 + i + core.shape[2]]
        fine = _fine_shift(moved, models[k], inner)
        if fine is not None:
            shift[k] = (i - reach + fine[0], j - reach + fine[1])
    return shift, ambiguity


def _second_peak(correlation: DoubleArray, row: NDArray[np.int64], column: NDArray[np.int64]) -> DoubleArray:
    """Highest correlation more than three pixels from the peak, over the peak."""
    side = correlation.shape[1]
    grid = np.arange(side)
    far = (np.abs(grid[None, :, None] - row[:, None, None]) > 3) | (
        np.abs(grid[None, None, :] - column[:, None, None]) > 3
    )
    first = correlation.max(axis=(1, 2))
    second = np.where(far, correlation, 0.0).max(axis=(1, 2))
    return np.asarray(np.divide(second, first, out=np.ones_like(first), where=first > 0))


def _fine_shift(star: DoubleArray, model: DoubleArray, inner: slice) -> tuple[float, float] | None:
    """Rest of the shift after whole pixels; None when flux or shift come out as nonsense."""
    spectrum = np.fft.rfft2(model)
    x = y = 0.0
    for _ in range(_FINE_ROUNDS):
        moved = _moved(spectrum, model.shape[0], x, y)
        gradient_y, gradient_x = (np.gradient(moved, axis=axis) for axis in (0, 1))
        base = moved[inner, inner]
        design = np.stack(
            [base, gradient_x[inner, inner], gradient_y[inner, inner], np.ones_like(base)], axis=-1
        ).reshape(-1, 4)
        solution, *_ = np.linalg.lstsq(design, star.ravel(), rcond=None)
        flux = float(solution[0])
        if not 0.3 < flux < 3.0:
            return None
        step = -float(solution[1]) / flux, -float(solution[2]) / flux
        x, y = x + step[0], y + step[1]
        if max(abs(x), abs(y)) > 1.5:
            return None
        if max(abs(step[0]), abs(step[1])) < _FINE_PX:
            break
    return x, y


def _moved(spectrum: NDArray[np.complex128], size: int, x: float, y: float) -> DoubleArray:
    """A square image shifted by a fraction of a pixel, from its Fourier transform."""
    along_y, along_x = np.fft.fftfreq(size)[:, None] * y, np.fft.rfftfreq(size)[None, :] * x
    return np.asarray(np.fft.irfft2(spectrum * np.exp(-2j * np.pi * (along_x + along_y)), s=(size, size)))
