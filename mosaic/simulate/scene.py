"""The invented sky: stars and galaxies as sums of Gaussians, and their image on a chip.

Covers the source list and expected rates per pixel. Does not cover noise (`noise`).

Shapes are defined on the sky: the point-spread function is a sum of circular Gaussians in arcsec, a
galaxy a sum of elliptical ones convolved with it. With J the derivative of the sky by the pixel at the
source, a Gaussian of covariance S becomes one of covariance ``inv(J) S inv(J)^T`` on the chip, and a
pixel collects its integral over the pixel (Gauss-Legendre nodes; for wide Gaussians the midpoint with
the pixel's variance added). This is the rate at which photons arrive in the pixel, whatever its area;
flat-fielding divides by the pixel's area over the nominal area (see `noise`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from mosaic.errors import ParameterError
from mosaic.simulate.detectors import DetectorFacts, Psf
from mosaic.simulate.optics import ChipOptics
from mosaic.simulate.params import SimulateParams
from mosaic.simulate.pointing import (
    ARCSEC,
    Pointing,
    TangentWcs,
    chip_wcs,
    pixel_to_sky,
    plane_to_sky,
    sky_to_pixel,
    sky_to_plane,
)
from mosaic.simulate.randomness import generator
from mosaic.types import DoubleArray

FLUX_SLOPE = 1.6
_REACH = 5.0
_STARS_PER_SQUARE_ARCSEC = 2500.0 / (205.0 * 210.0)
_GALAXIES_PER_SQUARE_ARCSEC = 150.0 / (205.0 * 210.0)
# Sums of Gaussians that follow exponential and de Vaucouleurs profiles (D. Hogg and D. Lang 2013,
# PASP 125, 719): weight, and variance in units of the squared half-light radius.
_EXPONENTIAL = (
    (2.34853813e-3, 3.07995260e-2, 2.23364214e-1, 1.17949102, 4.33873750, 5.99820770),
    (1.20078965e-3, 8.84526493e-3, 3.91463084e-2, 1.39976817e-1, 4.60962500e-1, 1.50159566),
)
_DE_VAUCOULEURS = (
    (4.26347652e-2, 2.40127183e-1, 6.85907632e-1, 1.51937350, 2.83627243, 4.46467501, 5.72440830, 5.60989349),
    (2.23759216e-4, 1.00220099e-3, 4.18731126e-3, 1.69432589e-2, 6.84850479e-2, 2.87207080e-1, 1.33320254,
     8.40215071),
)  # fmt: skip

_COLUMNS = {
    "ra_deg": "ra", "dec_deg": "dec", "rate_e_s": "rate_e_s", "half_light_arcsec": "half_light_arcsec",
    "axis_ratio": "axis_ratio", "pa_deg": "pa_deg",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scene:
    """All sources; one row per source in every array."""

    kind: tuple[str, ...]
    """``star``, ``exponential`` or ``devaucouleurs``."""
    ra_deg: DoubleArray
    """Right ascension."""
    dec_deg: DoubleArray
    """Declination."""
    rate_e_s: DoubleArray
    """Total rate, electrons per second."""
    half_light_arcsec: DoubleArray
    """Half-light radius along the major axis; 0 for stars."""
    axis_ratio: DoubleArray
    """Minor over major axis; 1 for stars."""
    pa_deg: DoubleArray
    """Position angle of the major axis, east of north."""


@dataclass(frozen=True, slots=True)
class GaussianList:
    """Every Gaussian of every source."""

    source: NDArray[np.int64]
    """Row of the source."""
    rate_e_s: DoubleArray
    """Rate of this Gaussian."""
    covariance: DoubleArray
    """Covariance in the plane (east, north), arcsec squared, shape (n, 2, 2)."""


def make_scene(params: SimulateParams, facts: DetectorFacts, pointings: tuple[Pointing, ...]) -> Scene:
    """Scatter stars and galaxies over the rectangle, along the detector's axes, that holds all exposures.

    Raises
    ------
    ParameterError
        When the source list of another set was asked for and cannot be read.
    """
    if params.sources is not None:
        return read_scene(params.sources)
    center = (params.target_ra_deg, params.target_dec_deg)
    frame = facts.axes.T @ _turn_to_detector(pointings[0].pa_local_deg)
    low, high = _extent(facts, pointings, center, frame)
    area = float(np.prod(high - low))
    n_stars = (
        params.n_stars if params.n_stars is not None else max(60, round(area * _STARS_PER_SQUARE_ARCSEC))
    )
    n_galaxies = (
        params.n_galaxies
        if params.n_galaxies is not None
        else max(6, round(area * _GALAXIES_PER_SQUARE_ARCSEC))
    )
    random = generator(params.seed, "scene")
    n = n_stars + n_galaxies
    detector_xy = low + random.random((n, 2)) * (high - low)
    xi, eta = np.linalg.solve(frame, detector_xy.T) / ARCSEC
    ra, dec = plane_to_sky(xi, eta, center)
    rates = np.concatenate(
        [
            _power_law(random.random(n_stars), params.star_rate_range),
            _power_law(random.random(n_galaxies), params.galaxy_rate_range),
        ]
    )
    is_disc = random.random(n_galaxies) < 0.65
    kinds = ("star",) * n_stars + tuple("exponential" if disc else "devaucouleurs" for disc in is_disc)
    zeros = np.zeros(n_stars)
    return Scene(
        kind=kinds,
        ra_deg=ra,
        dec_deg=dec,
        rate_e_s=rates,
        half_light_arcsec=np.concatenate([zeros, 0.15 + 0.45 * random.random(n_galaxies) ** 2]),
        axis_ratio=np.concatenate([zeros + 1.0, 0.3 + 0.7 * random.random(n_galaxies)]),
        pa_deg=np.concatenate([zeros, 180.0 * random.random(n_galaxies)]),
    )


def read_scene(path: str) -> Scene:
    """Sources of another set, from its ``sources.ecsv``."""
    try:
        table = Table.read(path, format="ascii.ecsv")
        numbers = {name: np.asarray(table[column], dtype=np.float64) for name, column in _COLUMNS.items()}
        return Scene(kind=tuple(str(kind) for kind in table["type"]), **numbers)
    except (OSError, KeyError, ValueError) as error:
        raise ParameterError(f"sources={path!r} cannot be read as a source list ({error})") from error


def _turn_to_detector(pa_deg: float) -> DoubleArray:
    angle = np.radians(pa_deg)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _extent(
    facts: DetectorFacts, pointings: tuple[Pointing, ...], center: tuple[float, float], frame: DoubleArray
) -> tuple[DoubleArray, DoubleArray]:
    corners = []
    for pointing in pointings:
        for optics in facts.chips:
            ny, nx = optics.shape_yx
            wcs = chip_wcs(optics, facts, pointing, center, is_true=True)
            x, y = np.array([1.0, nx, nx, 1.0]), np.array([1.0, 1.0, ny, ny])
            corners.append(frame @ np.stack(sky_to_plane(*pixel_to_sky(x, y, optics, wcs), center)) * ARCSEC)
    together = np.concatenate(corners, axis=1)
    return together.min(axis=1), together.max(axis=1)


def _power_law(uniform: DoubleArray, limits: tuple[float, float]) -> DoubleArray:
    low, high = (limit ** (1.0 - FLUX_SLOPE) for limit in limits)
    return np.asarray((low + uniform * (high - low)) ** (1.0 / (1.0 - FLUX_SLOPE)))


def gaussians(scene: Scene, psf: Psf) -> GaussianList:
    """Break all sources into Gaussians, already convolved with the point-spread function."""
    mixtures = {"star": ((1.0,), (0.0,)), "exponential": _EXPONENTIAL, "devaucouleurs": _DE_VAUCOULEURS}
    source: list[int] = []
    rate: list[float] = []
    covariance: list[DoubleArray] = []
    for row, kind in enumerate(scene.kind):
        weights, variances = mixtures[kind]
        angle = np.radians(scene.pa_deg[row])
        major, minor = np.array([np.sin(angle), np.cos(angle)]), np.array([np.cos(angle), -np.sin(angle)])
        shape = np.outer(major, major) + scene.axis_ratio[row] ** 2 * np.outer(minor, minor)
        for weight, variance in zip(weights, variances, strict=True):
            for fraction, sigma in zip(psf.fraction, psf.sigma_arcsec, strict=True):
                source.append(row)
                rate.append(float(scene.rate_e_s[row]) * weight / sum(weights) * fraction)
                size2 = variance * scene.half_light_arcsec[row] ** 2
                covariance.append(size2 * shape + sigma**2 * np.eye(2))
    return GaussianList(np.array(source, dtype=np.int64), np.array(rate), np.reshape(covariance, (-1, 2, 2)))


def render_rates(scene: Scene, parts: GaussianList, optics: ChipOptics, wcs: TangentWcs) -> DoubleArray:
    """Expected photon rate of every pixel of a chip, electrons per second, shape (ny, nx)."""
    ny, nx = optics.shape_yx
    image = np.zeros((ny, nx))
    x, y = sky_to_pixel(scene.ra_deg, scene.dec_deg, optics, wcs)
    known = np.isfinite(x)
    x, y = np.where(known, x, -1e6), np.where(known, y, -1e6)
    sky_by_focal = wcs.cd @ np.linalg.inv(optics.focal) * ARCSEC
    jacobian = np.broadcast_to(np.eye(2), (x.size, 2, 2)).copy()
    jacobian[known] = sky_by_focal @ optics.jacobian(x[known], y[known])
    inverse = np.linalg.inv(jacobian)[parts.source]
    covariance = inverse @ parts.covariance @ np.swapaxes(inverse, 1, 2)
    position = np.stack([x, y], axis=1)[parts.source] - 1.0
    half = np.ceil(_REACH * np.sqrt(np.maximum(covariance[:, 0, 0], covariance[:, 1, 1])) + 0.5).astype(
        np.int64
    )
    near = np.round(position).astype(np.int64)
    on_chip = np.all((near + half[:, None] >= 0) & (near - half[:, None] < (nx, ny)), axis=1)
    n_node = _node_count(covariance)
    for size in np.unique(half[on_chip]):
        for count in np.unique(n_node[on_chip & (half == size)]):
            rows = np.flatnonzero(on_chip & (half == size) & (n_node == count))
            for chunk in np.array_split(rows, max(1, rows.size * (2 * int(size) + 1) ** 2 // 2_000_000)):
                stamps = _stamps(position[chunk] - near[chunk], covariance[chunk], int(size), int(count))
                stamps *= parts.rate_e_s[chunk][:, None, None]
                _add_stamps(image, stamps, near[chunk], int(size))
    return image


def _node_count(covariance: DoubleArray) -> NDArray[np.int64]:
    """Nodes per pixel axis that integrate each Gaussian to 1e-5 of its peak."""
    narrow = np.sqrt(np.linalg.eigvalsh(covariance)[:, 0])
    return np.select([narrow < 0.7, narrow < 1.2, narrow < 4.0], [5, 4, 3], default=1)


def _stamps(offset_xy: DoubleArray, covariance: DoubleArray, half: int, n_node: int) -> DoubleArray:
    """Integrals of unit Gaussians over pixels, shape (n, 2 half + 1, 2 half + 1)."""
    node, weight = np.polynomial.legendre.leggauss(n_node)
    if n_node == 1:
        covariance = covariance + np.eye(2) / 12.0
    a, b, c = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    determinant = a * c - b * b
    norm = 1.0 / (2.0 * np.pi * np.sqrt(determinant))
    pxx, pxy, pyy = (f[:, None, None] / determinant[:, None, None] for f in (c, -b, a))
    pixel = np.arange(-half, half + 1.0)
    total = np.zeros((a.size, pixel.size, pixel.size))
    for j, wy in zip(node / 2.0, weight / 2.0, strict=True):
        dy = (pixel + j)[None, :, None] - offset_xy[:, 1, None, None]
        for i, wx in zip(node / 2.0, weight / 2.0, strict=True):
            dx = (pixel + i)[None, None, :] - offset_xy[:, 0, None, None]
            total += wx * wy * np.exp(-0.5 * (pxx * dx * dx + 2.0 * pxy * dx * dy + pyy * dy * dy))
    return total * norm[:, None, None]


def _add_stamps(image: DoubleArray, stamps: DoubleArray, center_xy: NDArray[np.int64], half: int) -> None:
    ny, nx = image.shape
    for stamp, (cx, cy) in zip(stamps, center_xy.tolist(), strict=True):
        x0, y0 = cx - half, cy - half
        left, low = max(0, -x0), max(0, -y0)
        right, high = min(stamp.shape[1], nx - x0), min(stamp.shape[0], ny - y0)
        image[y0 + low : y0 + high, x0 + left : x0 + right] += stamp[low:high, left:right]
