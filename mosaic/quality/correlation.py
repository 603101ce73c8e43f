"""Correlated noise of drizzled images: how much more an aperture scatters than its pixels say.

Drizzling shares each input pixel among output pixels, which then scatter together. With k(x) the share that
an output pixel at offset x takes of a drop, and drops at all phases, the covariance of output pixels d apart
is ``C(d) = integral of k(x) k(x + d)``, and a sum with weights a scatters by
``R = sqrt(sum over pixels of a_i a_j C(i - j) / (C(0) sum of a_i**2))`` times what its pixels say when they
are taken for independent. For large areas and square drops this is the closed form of S. Casertano et al.
(2000, AJ 120, 2747, appendix A) and A. Fruchter and R. Hook (2002, PASP 114, 144).

Covers aligned square drops (turbo; square but for the rotation), and all other kernels as they are. Does
not cover weights that vary from pixel to pixel within the reach of a drop.
"""

from __future__ import annotations

import numpy as np

from mosaic.kernels.drizzle_simple import FWHM_PER_SIGMA, gaussian_reach
from mosaic.types import DoubleArray

_FINE = 64
"""Samples of a share per output pixel."""
_POINT = 1e-3
"""Drops this small or smaller are points."""


def correlation_ratio(pixfrac: float, scale_ratio: float, kernel: str = "square") -> float:
    """Noise of a large area over that expected from single pixels.

    Parameters
    ----------
    pixfrac : float
        Side of a drop, input pixels.
    scale_ratio : float
        Output pixel over input pixel.
    kernel : str
        Name of the drizzle kernel.
    """
    if kernel in {"square", "turbo"} and pixfrac > _POINT:
        r = pixfrac / scale_ratio
        return r / (1.0 - 1.0 / (3.0 * r)) if r >= 1.0 else 1.0 / (1.0 - r / 3.0)
    return float(np.sqrt(_covariance(pixfrac, scale_ratio, kernel).sum()))


def block_ratio(pixfrac: float, scale_ratio: float, block: int, kernel: str = "square") -> float:
    """The same for square blocks of `block` pixels on a side."""
    return aperture_ratio(np.ones((block, block)), pixfrac, scale_ratio, kernel)


def aperture_ratio(
    aperture: DoubleArray, pixfrac: float, scale_ratio: float, kernel: str = "square"
) -> float:
    """Noise of a weighted sum over that expected from independent pixels.

    Parameters
    ----------
    aperture : DoubleArray, two axes
        Weight of each pixel in the sum.
    pixfrac, scale_ratio, kernel
        As for `correlation_ratio`.
    """
    covariance = _covariance(pixfrac, scale_ratio, kernel)
    reach = covariance.shape[0] // 2
    ny, nx = (size + 2 * reach for size in aperture.shape)
    power = np.abs(np.fft.rfft2(aperture, (ny, nx))) ** 2
    overlap = np.fft.irfft2(power, (ny, nx))
    lags = np.arange(-reach, reach + 1)
    total = (covariance * overlap[lags[:, None] % ny, lags[None, :] % nx]).sum()
    return float(np.sqrt(total / (np.asarray(aperture) ** 2).sum()))


def aperture_sigma(
    err: DoubleArray,
    wht: DoubleArray,
    aperture: DoubleArray,
    pixfrac: float,
    scale_ratio: float,
    kernel: str = "square",
) -> DoubleArray:
    """Noise of a weighted sum of pixels of a product, from its ERR and WHT planes.

    Where few drops reach, weights are uneven: a pixel that one drop grazes has as large an error as one that
    it fills, and both show the same noise. Errors are therefore taken times their weights, over the mean
    weight of the aperture, as far as pixels share drops (wholly from R**2 = 1.5 for large areas); drops that
    fall into single pixels are independent, and their errors are taken as they are.

    Parameters
    ----------
    err, wht : DoubleArray, shape (..., ny, nx)
        Cut-outs of the planes; pixels without weight take no part.
    aperture : DoubleArray, shape (ny, nx)
        Weight of each pixel in the sum.
    pixfrac, scale_ratio, kernel
        As for `correlation_ratio`.

    Returns
    -------
    DoubleArray, shape (...)
        Standard deviation of each sum; NaN where no pixel has weight.
    """
    is_used = wht > 0.0
    each = np.where(is_used, aperture, 0.0)
    squares = each**2 * np.where(is_used, err, 0.0) ** 2
    weight = np.where(is_used, wht, 0.0)
    reach = np.abs(each).sum(axis=(-2, -1))
    with np.errstate(invalid="ignore"):
        mean = (np.abs(each) * weight).sum(axis=(-2, -1)) / reach
        even = (squares * weight**2).sum(axis=(-2, -1)) / mean**2
    plain = squares.sum(axis=(-2, -1))
    shared = shared_part(pixfrac, scale_ratio, kernel)
    ratio = aperture_ratio(aperture, pixfrac, scale_ratio, kernel)
    return np.asarray(ratio * np.sqrt((1.0 - shared) * plain + shared * even))


def shared_part(pixfrac: float, scale_ratio: float, kernel: str = "square") -> float:
    """How far neighbouring pixels share drops, 0 to 1."""
    return min(1.0, 2.0 * (correlation_ratio(pixfrac, scale_ratio, kernel) ** 2 - 1.0))


def _covariance(pixfrac: float, scale_ratio: float, kernel: str) -> DoubleArray:
    """Covariance of output pixels by their distance, over their variance; the middle is distance 0."""
    drop = pixfrac / scale_ratio
    if kernel == "point" or pixfrac <= _POINT:
        return np.ones((1, 1))
    if kernel == "tophat":
        return _of_tophat(drop)
    along = _of_profile(_profile(kernel, drop, scale_ratio))
    return along[:, None] * along[None, :]


def _profile(kernel: str, drop: float, scale_ratio: float) -> DoubleArray:
    """Share along one axis at offsets ``(n + 1/2) / _FINE`` symmetric about the middle."""
    if kernel in {"square", "turbo"}:
        reach = 0.5 * (drop + 1.0)
    elif kernel == "gaussian":
        reach = float(gaussian_reach(drop * scale_ratio, scale_ratio))
    else:
        reach = int(kernel.removeprefix("lanczos")) * drop
    n = int(np.ceil(reach * _FINE))
    x = (np.arange(-n, n) + 0.5) / _FINE
    if kernel in {"square", "turbo"}:
        return np.clip(reach - np.abs(x), 0.0, min(drop, 1.0))
    if kernel == "gaussian":
        return np.exp(-0.5 * (x * FWHM_PER_SIGMA / drop) ** 2)
    return np.asarray(np.sinc(x / drop) * np.sinc(x / reach))


def _of_profile(profile: DoubleArray) -> DoubleArray:
    """Covariance along one axis of shares given at fine steps."""
    reach = (profile.size - 1) // _FINE
    values = [
        float(profile[lag * _FINE :] @ profile[: profile.size - lag * _FINE]) for lag in range(reach + 1)
    ]
    half = np.array(values) / values[0]
    return np.concatenate([half[:0:-1], half])


def _of_tophat(drop: float) -> DoubleArray:
    """Covariance of equal shares within a radius of half a drop."""
    n = int(np.ceil(0.5 * drop * _FINE))
    x = (np.arange(-n, n) + 0.5) / _FINE
    disc = (x[:, None] ** 2 + x[None, :] ** 2 <= 0.25 * drop**2).astype(np.float64)
    reach = (2 * n - 1) // _FINE
    size = 2 * n + reach * _FINE
    overlap = np.fft.irfft2(np.abs(np.fft.rfft2(disc, (size, size))) ** 2, (size, size))
    lags = np.arange(-reach, reach + 1) * _FINE % size
    covariance: DoubleArray = overlap[lags[:, None], lags[None, :]] / overlap[0, 0]
    return covariance
