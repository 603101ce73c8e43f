"""Aperture photometry of a product and its comparison with the truth of a simulated set.

Covers sums in circles and the report of flux and position against the source list. Does not cover
finding sources or photometry of crowded fields.

Expected sum: the point-spread function is a sum of Gaussians of known share f and width sigma. In the
product each is broadened by boxes of side a and variance a**2 / 12: the detector pixel, the drop, the
output pixel, and the output pixel again, as pixels cut by the circle count as even. So a circle of
radius R holds ``sum f (1 - exp(-R**2 / (2 s**2)))`` of the flux with ``s**2 = sigma**2 + sum a**2 / 12``.
A product holds surface brightness times (output scale / IDCSCALE)**2,
so its plain sum over a star is the star's rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from mosaic.types import BoolArray, DoubleArray

_SUBPIXELS = 10
_BOX_VARIANCE = 1.0 / 12.0


@dataclass(frozen=True, slots=True)
class TruthReport:
    """How a product agrees with the truth, from bright, isolated, unsaturated stars."""

    n_stars: int
    """Stars used."""
    median_flux_ratio: float
    """Median of measured over true rate."""
    flux_ratio_rms: float
    """Robust scatter (1.4826 times the median absolute deviation) of that ratio."""
    slope_x: float
    """Change of the ratio from the left to the right edge of the product."""
    slope_y: float
    """Change of the ratio from the bottom to the top edge."""
    median_offset_x_px: float
    """Median of measured minus true x, output pixels."""
    median_offset_y_px: float
    """Median of measured minus true y, output pixels."""
    offset_rms_px: float
    """Robust scatter per axis of the offsets."""
    aperture_correction: float
    """Share of a star's flux inside the circle, by which the sums were divided."""

    def lines(self) -> tuple[str, ...]:
        """Give the report as readable lines."""
        offset = f"{self.median_offset_x_px:+.3f}, {self.median_offset_y_px:+.3f}"
        return (
            f"stars compared           {self.n_stars}",
            f"flux, measured / true    {self.median_flux_ratio:.4f} (scatter {self.flux_ratio_rms:.4f})",
            f"change across x, across y {self.slope_x:+.4f}, {self.slope_y:+.4f}",
            f"position offset          {offset} px (scatter {self.offset_rms_px:.3f})",
        )


@dataclass(frozen=True, slots=True)
class StarSelection:
    """Which stars are compared."""

    radius_px: float = 5.0
    """Radius of the circle, output pixels."""
    min_rate_e_s: float = 30.0
    """Faintest star."""
    peak_limit: float = 0.5
    """Largest expected peak as a share of the full well."""
    contamination: float = 0.01
    """Largest light of neighbours within the isolation radius, as a share of the star's own."""
    isolation_radii: float = 3.0
    """Isolation radius in units of `radius_px`."""
    drop_px: float = 1.0
    """Side of the drop (final_pixfrac), input pixels."""


def circle_weights(
    x: float, y: float, radius: float, shape_yx: tuple[int, int]
) -> tuple[slice, slice, DoubleArray]:
    """Cut-out around a circle and the share of each of its pixels inside, by 10 x 10 sub-pixels."""
    y0, y1 = max(0, math.floor(y - radius)), min(shape_yx[0], math.ceil(y + radius) + 1)
    x0, x1 = max(0, math.floor(x - radius)), min(shape_yx[1], math.ceil(x + radius) + 1)
    offset = (np.arange(_SUBPIXELS) + 0.5) / _SUBPIXELS - 0.5
    sub_y = (np.arange(y0, y1)[:, None] + offset[None, :]).ravel() - y
    sub_x = (np.arange(x0, x1)[:, None] + offset[None, :]).ravel() - x
    inside = sub_y[:, None] ** 2 + sub_x[None, :] ** 2 <= radius**2
    blocks = inside.reshape(max(0, y1 - y0), _SUBPIXELS, max(0, x1 - x0), _SUBPIXELS)
    return slice(y0, y1), slice(x0, x1), np.asarray(blocks.mean(axis=(1, 3)))


def measure_apertures(
    sci: NDArray[np.floating],
    x: DoubleArray,
    y: DoubleArray,
    radius: float,
    background: tuple[float, float] | None = None,
) -> DoubleArray:
    """Sum the pixels in circles.

    Parameters
    ----------
    sci : floating array
        Image, shape (ny, nx).
    x, y : DoubleArray
        Centres, 0-based pixels.
    radius : float
        Radius, pixels.
    background : (float, float), optional
        Inner and outer radius of a ring whose median is subtracted per pixel.

    Returns
    -------
    DoubleArray
        Sums in the unit of `sci`; NaN when the circle holds a non-finite pixel or leaves the image.
    """
    sums = np.full(len(x), np.nan)
    shape = (sci.shape[0], sci.shape[1])
    for number, (cx, cy) in enumerate(zip(x, y, strict=True)):
        if not (radius < cx < shape[1] - 1 - radius and radius < cy < shape[0] - 1 - radius):
            continue
        rows, columns, share = circle_weights(float(cx), float(cy), radius, shape)
        total = float(np.sum(np.where(share > 0, sci[rows, columns], 0.0) * share, dtype=np.float64))
        if background is not None:
            total -= _ring_median(sci, float(cx), float(cy), background) * float(share.sum())
        sums[number] = total
    return sums


def _ring_median(sci: NDArray[np.floating], x: float, y: float, ring: tuple[float, float]) -> float:
    y0, x0 = max(0, math.floor(y - ring[1])), max(0, math.floor(x - ring[1]))
    cut = sci[y0 : math.ceil(y + ring[1]) + 1, x0 : math.ceil(x + ring[1]) + 1]
    distance = np.hypot(np.arange(cut.shape[0])[:, None] + y0 - y, np.arange(cut.shape[1])[None, :] + x0 - x)
    values = cut[(distance >= ring[0]) & (distance <= ring[1]) & np.isfinite(cut)]
    return float(np.median(values)) if values.size else math.nan


def enclosed_share(sources: Table, radius_arcsec: float, boxes_arcsec: tuple[float, ...]) -> float:
    """Share of a star's flux inside a circle (formula in the module docstring)."""
    broadening = sum(box**2 for box in boxes_arcsec) * _BOX_VARIANCE
    return float(
        sum(
            fraction * (1.0 - math.exp(-(radius_arcsec**2) / (2.0 * (sigma**2 + broadening))))
            for fraction, sigma in zip(
                sources.meta["psf_fraction"], sources.meta["psf_sigma_arcsec"], strict=True
            )
        )
    )


def centroids(sci: NDArray[np.floating], x: DoubleArray, y: DoubleArray, sigma: float) -> DoubleArray:
    """Gaussian-weighted centroids, 0-based, shape (n, 2) of x, y; NaN where they do not settle.

    With weight and star both Gaussian of width `sigma` the weighted mean moves half of the way per
    iteration; twice its step converges at once.
    """
    half = max(2, math.ceil(3.0 * sigma))
    found = np.full((len(x), 2), np.nan)
    for number, (sx, sy) in enumerate(zip(x, y, strict=True)):
        px, py = float(sx), float(sy)
        for _ in range(15):
            ix, iy = round(px), round(py)
            if not (half <= ix < sci.shape[1] - half and half <= iy < sci.shape[0] - half):
                break
            cut = sci[iy - half : iy + half + 1, ix - half : ix + half + 1].astype(np.float64)
            dx, dy = np.arange(-half, half + 1) + ix - px, np.arange(-half, half + 1) + iy - py
            weight = np.exp(-0.5 * (dx[None, :] ** 2 + dy[:, None] ** 2) / sigma**2) * cut
            total = float(weight.sum())
            if not total > 0:
                break
            step_x, step_y = (
                2 * float((weight * dx).sum()) / total,
                2 * float((weight * dy[:, None]).sum()) / total,
            )
            px, py = px + step_x, py + step_y
            if math.hypot(step_x, step_y) < 1e-4:
                found[number] = px, py
                break
            if math.hypot(px - sx, py - sy) > half:
                break
    return found


def compare_with_truth(
    product: Path | str | tuple[NDArray[np.floating], NDArray[np.floating], fits.Header],
    sources: Path | str | Table,
    selection: StarSelection | None = None,
) -> TruthReport:
    """Compare the stars of a drizzled product with the source list of the simulated set.

    Parameters
    ----------
    product : path or (sci, wht, header)
        Product file with SCI and WHT extensions in electrons per second, or its planes and SCI header.
    sources : path or Table
        ``sources.ecsv`` of the set.
    selection : StarSelection, optional
        Which stars, which radius.

    Returns
    -------
    TruthReport
        NaN in every measure when no star qualifies.
    """
    selection = selection or StarSelection()
    sci, wht, header = _planes(product) if isinstance(product, Path | str) else product
    table = sources if isinstance(sources, Table) else Table.read(sources, format="ascii.ecsv")
    wcs = WCS(header)
    scale = float(np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix)))) * 3600.0
    x, y = (np.asarray(value) for value in wcs.all_world2pix(table["ra"], table["dec"], 0))
    radius = selection.radius_px
    chosen = np.flatnonzero(
        _is_comparable(table, x, y, selection, scale) & _is_covered(wht, x, y, 2 * radius)
    )
    idcscale = float(table.meta["idcscale_arcsec"])
    boxes = (idcscale, selection.drop_px * idcscale, scale)
    correction = enclosed_share(table, radius * scale, (*boxes, scale))
    sums = measure_apertures(sci, x[chosen], y[chosen], radius, background=(3.5 * radius, 5.0 * radius))
    ratio = sums / correction / np.asarray(table["rate_e_s"])[chosen]
    sigma = (
        math.sqrt(table.meta["psf_sigma_arcsec"][0] ** 2 + sum(b * b for b in boxes) * _BOX_VARIANCE) / scale
    )
    offset = centroids(sci, x[chosen], y[chosen], sigma) - np.stack([x[chosen], y[chosen]], axis=1)
    good = np.isfinite(ratio)
    slopes = _slopes(ratio[good], x[chosen][good] / sci.shape[1], y[chosen][good] / sci.shape[0])
    offset = offset[np.isfinite(offset).all(axis=1)]
    return TruthReport(
        n_stars=int(good.sum()),
        median_flux_ratio=_median(ratio[good]),
        flux_ratio_rms=_robust_rms(ratio[good]),
        slope_x=slopes[0],
        slope_y=slopes[1],
        median_offset_x_px=_median(offset[:, 0]),
        median_offset_y_px=_median(offset[:, 1]),
        offset_rms_px=max(_robust_rms(offset[:, 0]), _robust_rms(offset[:, 1])) if len(offset) else math.nan,
        aperture_correction=correction,
    )


def _planes(path: Path | str) -> tuple[NDArray[np.floating], NDArray[np.floating], fits.Header]:
    with fits.open(path, memmap=False) as product:
        return product["SCI"].data, product["WHT"].data, product["SCI"].header


def _is_comparable(
    table: Table, x: DoubleArray, y: DoubleArray, selection: StarSelection, scale_arcsec: float
) -> BoolArray:
    """Bright, unsaturated stars without noticeable neighbours."""
    rate = np.asarray(table["rate_e_s"], dtype=np.float64)
    narrow = math.sqrt(
        table.meta["psf_sigma_arcsec"][0] ** 2 + _BOX_VARIANCE * table.meta["idcscale_arcsec"] ** 2
    )
    peak_share = table.meta["idcscale_arcsec"] ** 2 / (2.0 * math.pi * narrow**2)
    limit = selection.peak_limit * table.meta["full_well_e"] / (table.meta["exptime_s"] * peak_share)
    is_bright = (rate >= selection.min_rate_e_s) & (rate < limit) & (np.asarray(table["type"]) == "star")
    is_alone = np.zeros(rate.size, dtype=bool)
    # A galaxy's light reaches farther than its centre says.
    reach = selection.isolation_radii * selection.radius_px + 4.0 * table["half_light_arcsec"] / scale_arcsec
    for row in np.flatnonzero(is_bright & np.isfinite(x)):
        near = np.hypot(x - x[row], y - y[row]) < reach
        is_alone[row] = rate[near].sum() - rate[row] <= selection.contamination * rate[row]
    return np.asarray(is_bright & is_alone, dtype=np.bool_)


def _is_covered(wht: NDArray[np.floating], x: DoubleArray, y: DoubleArray, margin: float) -> BoolArray:
    """Whether the square around each position has weight everywhere."""
    covered = np.zeros(x.size, dtype=np.bool_)
    for row, (cx, cy) in enumerate(zip(x, y, strict=True)):
        if margin < cx < wht.shape[1] - margin - 1 and margin < cy < wht.shape[0] - margin - 1:
            cut = wht[int(cy - margin) : int(cy + margin) + 2, int(cx - margin) : int(cx + margin) + 2]
            covered[row] = bool((cut > 0).all())
    return covered


def _median(values: DoubleArray) -> float:
    return float(np.median(values)) if values.size else math.nan


def _robust_rms(values: DoubleArray) -> float:
    return 1.4826 * _median(np.abs(values - _median(values)))


def _slopes(ratio: DoubleArray, x: DoubleArray, y: DoubleArray) -> tuple[float, float]:
    """Least-squares plane through the ratios, outliers beyond 4 robust sigmas left out."""
    keep = np.abs(ratio - _median(ratio)) <= 4.0 * _robust_rms(ratio) + 1e-12
    if keep.sum() < 5:
        return math.nan, math.nan
    design = np.stack([np.ones(int(keep.sum())), x[keep], y[keep]], axis=1)
    solution = np.linalg.lstsq(design, ratio[keep], rcond=None)[0]
    return float(solution[1]), float(solution[2])
