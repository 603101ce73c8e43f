"""Small simulated sets, and measurements that use nothing of ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from mosaic.simulate import SimulatedSet, simulate

CLEAN = {"cosmic_rays": False, "defects": False, "noise": False, "n_galaxies": 0}
SHAPES = {
    "acs/wfc": (200, 256),
    "acs/hrc": (260, 320),
    "acs/sbc": (340, 400),
    "wfc3/uvis": (190, 256),
    "wfc3/ir": (260, 320),
}


@pytest.fixture(scope="session", params=sorted(SHAPES))
def clean(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SimulatedSet:
    """Two exposures of each detector without noise, defects or cosmic rays: stars on a flat sky."""
    return simulate(
        tmp_path_factory.mktemp("clean"),
        instrument=request.param,
        chip_shape=SHAPES[request.param],
        exposures=2,
        n_stars=35,
        star_rate_range=(20.0, 60.0),
        roll_deg=3.0,
        seed=5,
        **CLEAN,
    )


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> SimulatedSet:
    """Three ACS/WFC exposures with everything that is wrong with real ones."""
    return simulate(
        tmp_path_factory.mktemp("real"), exposures=3, chip_shape=(200, 256), n_stars=80, seed=3, workers=2
    )


def corner_area_arcsec2(wcs: WCS, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Area on the sky of pixels, by astropy, from the corners around their 0-based centres."""
    sky = [
        np.stack(wcs.all_pix2world(x + dx, y + dy, 0))
        for dx, dy in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))
    ]
    cosine = np.cos(np.radians(sum(s[1] for s in sky) / 4))
    east_north = [np.stack([(s[0] - sky[0][0]) * cosine, s[1] - sky[0][1]]) * 3600 for s in sky]
    twice = sum(
        a[0] * b[1] - a[1] * b[0] for a, b in zip(east_north, east_north[1:] + east_north[:1], strict=True)
    )
    return np.abs(twice) / 2


def isolated(x: np.ndarray, y: np.ndarray, shape: tuple[int, int], reach: float) -> np.ndarray:
    """Rows of the sources that lie inside the chip and have no neighbour within `reach` pixels."""
    inside = (x > reach) & (x < shape[1] - 1 - reach) & (y > reach) & (y < shape[0] - 1 - reach)
    distance = np.hypot(x[:, None] - x[None, :], y[:, None] - y[None, :])
    np.fill_diagonal(distance, np.inf)
    return np.flatnonzero(inside & (distance.min(axis=1) > 2 * reach))


def weighted_centroid(cut: np.ndarray, guess_xy: tuple[float, float], sigma: float) -> tuple[float, float]:
    """Centroid with a Gaussian weight that follows the star; the plain moment of a symmetric image."""
    x, y = guess_xy
    rows, columns = np.mgrid[: cut.shape[0], : cut.shape[1]]
    for _ in range(60):
        weight = cut * np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / sigma**2)
        x, y = float((weight * columns).sum() / weight.sum()), float((weight * rows).sum() / weight.sum())
    return x, y


def chips_of(path: Path) -> list[tuple[fits.Header, np.ndarray, WCS]]:
    """SCI header, pixels and astropy WCS of every chip."""
    with fits.open(path, memmap=False) as file:
        chips = [hdu for hdu in file if hdu.name == "SCI"]
        return [(hdu.header, hdu.data.astype(np.float64), WCS(hdu.header, file)) for hdu in chips]


def stars_of(made: SimulatedSet) -> Table:
    """The source list."""
    return Table.read(made.sources, format="ascii.ecsv")
