"""Sources on a chip: convolution with a Gaussian of zero sum, threshold, shape, centre.

The algorithm is DAOFIND's (Stetson 1987, PASP 99, 191) as TweakReg applies it: segments above the threshold,
one source each, centres from one-dimensional marginal fits. Does not cover reading chips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from scipy.spatial import KDTree

from mosaic.alignment.settings import FindSettings
from mosaic.errors import ParameterError
from mosaic.kernels.segments import light_centres, segment_boxes
from mosaic.kernels.smooth import bright_pixels, correlate_boxes
from mosaic.steps.statistics import image_statistics
from mosaic.types import BoolArray, DoubleArray, FloatArray

_FWHM_OF_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
_MAD_TO_SIGMA = 1.482602218505602
_SHARE_OF_LONE_PIXEL = 0.7
_SAMPLE = 1 << 20
"""Pixels of which the median deviation is taken: good to 0.1 per cent."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Sources of one chip, all arrays of float64 and one length."""

    x: DoubleArray
    """Column, 0-based pixels."""
    y: DoubleArray
    """Row, 0-based pixels."""
    flux: DoubleArray
    """Sum of the box around the centre, sky included, native units."""
    sharp: DoubleArray
    """Sharpness: excess of the central pixel over its neighbours, in units of the fitted height."""
    round1: DoubleArray
    """Roundness from symmetry."""
    round2: DoubleArray
    """Roundness from the marginal heights."""

    def __len__(self) -> int:
        return self.x.size

    def take(self, index: np.ndarray) -> Sources:
        """Sources of the given rows (or where a mask is True)."""
        return Sources(*(getattr(self, field.name)[index] for field in fields(self)))

    @classmethod
    def from_positions(cls, x: DoubleArray, y: DoubleArray, flux: DoubleArray) -> Sources:
        """Sources of a catalogue, shapes unknown (NaN)."""
        unknown = np.full(x.shape, np.nan)
        return cls(x, y, flux, unknown, unknown, unknown)


@dataclass(frozen=True, slots=True)
class DetectionKernel:
    """A Gaussian in a box, and what is derived from it."""

    gaussian: DoubleArray
    """Values, shape (ny, nx), 1 at the centre."""
    footprint: BoolArray
    """Where the kernel acts."""
    detection: DoubleArray
    """Kernel of zero sum and unit response to the Gaussian; zero outside the footprint."""
    sigma_xy: tuple[float, float]
    """Widths along x and y, pixels."""

    @property
    def weights(self) -> DoubleArray:
        """The detection kernel in single precision, which is what images are correlated with."""
        return self.detection.astype(np.float32).astype(np.float64)

    @property
    def half_xy(self) -> tuple[int, int]:
        """Half sizes of the box."""
        return self.gaussian.shape[1] // 2, self.gaussian.shape[0] // 2


def make_kernel(find: FindSettings) -> DetectionKernel:
    """Build the detection kernel.

    Raises
    ------
    ParameterError
        For a one-dimensional kernel (ratio 0) that does not lie along an axis.
    """
    sigma_x = find.conv_width / _FWHM_OF_SIGMA
    sigma_y = find.ratio * sigma_x
    angle = math.radians(find.theta)
    cos, sin = math.cos(angle), math.sin(angle)
    if find.ratio == 0.0:
        if find.theta not in {0.0, 90.0, 180.0}:
            raise ParameterError(f"theta = {find.theta}: with ratio = 0 it must be 0, 90 or 180")
        reach = int(max(2.0, find.nsigma * sigma_x))
        along_x = find.theta != 90.0
        a, b, c = (sigma_x**-2, 0.0, 0.0) if along_x else (0.0, 0.0, sigma_x**-2)
        hx, hy = (reach, 0) if along_x else (0, reach)
    else:
        a = cos**2 / sigma_x**2 + sin**2 / sigma_y**2
        b = 2.0 * cos * sin * (sigma_x**-2 - sigma_y**-2)
        c = sin**2 / sigma_x**2 + cos**2 / sigma_y**2
        d = b * b - 4.0 * a * c
        hx = int(2.0 * max(1.0, find.nsigma * math.sqrt(-c / d)))
        hy = int(2.0 * max(1.0, find.nsigma * math.sqrt(-a / d)))
    y, x = np.mgrid[-hy : hy + 1, -hx : hx + 1].astype(np.float64)
    form = a * x * x + b * x * y + c * y * y
    gaussian = np.exp(-0.5 * form)
    footprint = (form <= find.nsigma**2) | (np.hypot(x, y) <= 2.001)
    inside = gaussian[footprint]
    variance = float((inside**2).sum() - inside.sum() ** 2 / inside.size)
    detection = np.where(footprint, (gaussian - inside.sum() / inside.size) / variance, 0.0)
    return DetectionKernel(gaussian, footprint, detection, (sigma_x, sigma_y or sigma_x))


def is_pixel_sharp(sources: Sources, find: FindSettings) -> BoolArray:
    """Whether the sources look like single pixels rather than stars.

    The sharpness of a lone pixel is one over the central value of the kernel (1.3 for conv_width 3.5); that
    of a star half as wide as the kernel is below half of this, and 0.7 of it parts the two.
    """
    kernel = make_kernel(find)
    hx, hy = kernel.half_xy
    is_sharp: BoolArray = sources.sharp * kernel.detection[hy, hx] > _SHARE_OF_LONE_PIXEL
    return is_sharp


def background_sigma(image: FloatArray, is_good: BoolArray | None, find: FindSettings) -> float:
    """Noise of the background of a chip, native units.

    ``mad``: 1.4826 times the median absolute deviation from the median, of a million pixels spread evenly.
    ``peer``: sqrt(2 |mode|) with the mode of a histogram clipped three times (bin 0.01 standard deviations),
    which is the noise of the sky only for an image in electrons without bias.
    """
    if not find.computesig:
        return find.skysigma
    is_used = np.isfinite(image) if is_good is None else is_good & np.isfinite(image)
    values = image.ravel() if is_used.all() else image[is_used]
    if values.size == 0:
        return 0.0
    if find.sigma_method == "mad":
        values = values[:: _stride(values.size, image.shape[1])]
        return _MAD_TO_SIGMA * float(np.median(np.abs(values - np.median(values))))
    statistics = image_statistics(
        values,
        "mode",
        nclip=3,
        lower_sigma=4.0,
        upper_sigma=4.0,
        lower=None,
        upper=None,
        binwidth=0.01,
    )
    return 0.0 if statistics is None else math.sqrt(2.0 * abs(statistics.mode))


def _stride(n_values: int, n_columns: int) -> int:
    """Step that takes about `_SAMPLE` values, in all columns alike."""
    step = max(1, n_values // _SAMPLE)
    while math.gcd(step, n_columns) > 1:
        step += 1
    return step


def find_sources(image: FloatArray, is_good: BoolArray | None, sigma: float, find: FindSettings) -> Sources:
    """Find the sources of a chip.

    Parameters
    ----------
    image : float32, shape (ny, nx)
        Pixels, native units; NaN counts as the median.
    is_good : bool, shape (ny, nx), optional
        Pixels that may belong to a source.
    sigma : float
        Noise of the background.
    find : FindSettings
        Parameters.

    Returns
    -------
    Sources
        In order of rows; empty when there are none.
    """
    kernel = make_kernel(find)
    finite = np.isfinite(image)
    if not finite.all():
        fill = np.median(image[finite]) if finite.any() else np.float32(0.0)
        image = np.where(finite, image, np.float32(fill))
    image = np.ascontiguousarray(image)
    x0, y0 = _first_centres(image, is_good, find.threshold * sigma, kernel)
    sources = _measure(image, (x0, y0), kernel, find)
    return sources.take(_without_duplicates(sources, 0.5 * find.conv_width * find.nsigma))


def _first_centres(
    image: FloatArray, is_good: BoolArray | None, level: float, kernel: DetectionKernel
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest pixels to the centroids of the segments above a level whose boxes lie inside the image."""
    ny, nx = image.shape
    hx, hy = kernel.half_xy
    places, light = bright_pixels(image, kernel.weights, level)
    if is_good is not None:
        is_used = is_good.ravel()[places]
        places, light = places[is_used], light[is_used]
    x, y = light_centres(places, light, segment_boxes(places, nx), (ny, nx), (hy, hx)).T
    inside = (x >= hx) & (x < nx - hx) & (y >= hy) & (y < ny - hy)
    return x[inside], y[inside]


def _measure(
    image: FloatArray,
    centre_xy: tuple[np.ndarray, np.ndarray],
    kernel: DetectionKernel,
    find: FindSettings,
) -> Sources:
    """Measure the boxes around the first centres and keep what passes the limits."""
    hx, hy = kernel.half_xy
    dy, dx = np.mgrid[-hy : hy + 1, -hx : hx + 1]
    place = (centre_xy[1][:, None, None] + dy, centre_xy[0][:, None, None] + dx)
    raw = image[place].astype(np.float64)
    response = correlate_boxes(image, kernel.weights, *centre_xy).astype(np.float64)
    peak, flux = raw.max(axis=(1, 2)), raw.sum(axis=(1, 2))
    around = kernel.footprint & ((dx != 0) | (dy != 0))
    centre = response[:, hy, hx]
    with np.errstate(divide="ignore", invalid="ignore"):
        sharp = np.where(centre > 0.0, (raw[:, hy, hx] - raw[:, around].mean(axis=1)) / centre, np.nan)
        # Alternating quadrants: a source that is round by 90 degrees gives zero.
        sign = np.where(((dy >= 0) & (dx < 0)) | ((dy <= 0) & (dx > 0)), -1.0, 1.0)
        sign[hy, hx] = 0.0
        round1 = 2.0 * (sign * response).sum(axis=(1, 2)) / np.abs(response).sum(axis=(1, 2))
        height_x, offset_x = _fit_marginal(raw, kernel, axis=2)
        height_y, offset_y = _fit_marginal(raw, kernel, axis=1)
        round2 = 2.0 * (height_x - height_y) / (height_x + height_y)
    sources = Sources(centre_xy[0] + offset_x, centre_xy[1] + offset_y, flux, sharp, round1, round2)
    keep = _within(peak, find.peakmin, find.peakmax) & _within(flux, find.fluxmin, find.fluxmax)
    keep &= (height_x > 0.0) & (height_y > 0.0)
    if find.use_sharp_round:
        keep &= (sharp >= find.sharplo) & (sharp <= find.sharphi)
        for roundness in (round1, round2):
            keep &= (roundness >= find.roundlo) & (roundness <= find.roundhi)
    return sources.take(keep)


def _within(values: DoubleArray, low: float | None, high: float | None) -> BoolArray:
    keep = np.ones(values.shape, dtype=np.bool_)
    if low is not None:
        keep &= values > low
    if high is not None:
        keep &= values < high
    return keep


def _fit_marginal(raw: DoubleArray, kernel: DetectionKernel, *, axis: int) -> tuple[DoubleArray, DoubleArray]:
    """Height and offset of the Gaussian along one axis of every box (axis 2: x, 1: y).

    Least squares of the marginal with triangular weights; a height that cannot be fitted is NaN. An offset
    beyond the box is replaced by the first moment, or zero when that lies beyond it too.
    """
    across = 3 - axis
    half, half_across = raw.shape[axis] // 2, raw.shape[across] // 2
    v = half_across + 1.0 - np.abs(np.arange(-half_across, half_across + 1))
    k = np.arange(-half, half + 1, dtype=np.float64)
    w = half + 1.0 - np.abs(k)
    g = np.tensordot(kernel.gaussian, v, axes=(across - 1, 0))
    d = np.tensordot(raw, v, axes=(across, 0))
    spread = float((w * g * g).sum() - (w * g).sum() ** 2 / w.sum())
    if half == 0 or spread <= 0.0:
        return np.ones(raw.shape[0]), np.zeros(raw.shape[0])
    height = (d @ (w * g) - (w * g).sum() * (d @ w) / w.sum()) / spread
    height = np.where(height > 0.0, height, np.nan)
    sigma = kernel.sigma_xy[0 if axis == 2 else 1]
    offset = sigma**2 * (d @ (w * g * k)) / (height * float((w * g * g * k * k).sum()))
    moment = (d @ (w * k)) / (d @ w)
    offset = np.where(np.abs(offset) <= half, offset, np.where(np.abs(moment) <= half, moment, 0.0))
    return height, offset


def _without_duplicates(sources: Sources, radius: float) -> np.ndarray:
    """Rows, in order, of the sources that have no brighter one within `radius`."""
    keep = np.ones(len(sources), dtype=np.bool_)
    if len(sources) > 1:
        pairs = KDTree(np.stack([sources.x, sources.y], axis=1)).query_pairs(radius, output_type="ndarray")
        rank = np.empty(len(sources), dtype=np.intp)
        rank[np.lexsort((sources.x, sources.y, -sources.flux))] = np.arange(len(sources))
        order = np.sort(rank[pairs], axis=1) if len(pairs) else np.empty((0, 2), dtype=np.intp)
        by_rank = np.argsort(rank)
        for brighter, fainter in order[np.lexsort((order[:, 1], order[:, 0]))]:
            if keep[by_rank[brighter]]:
                keep[by_rank[fainter]] = False
    return np.flatnonzero(keep)
