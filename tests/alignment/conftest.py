"""A small simulated set with unrecorded pointing errors, and a judge that uses its truth and astropy only."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from mosaic.simulate import SimulatedSet, simulate

SCALE_ARCSEC = 0.05
TARGET_DEG = (150.1, 2.2)


@pytest.fixture(scope="session")
def pointed(tmp_path_factory: pytest.TempPathFactory) -> SimulatedSet:
    """Three ACS/WFC exposures with shifts (0.2 arcsec rms) and rolls (0.02 degrees) no header tells."""
    return simulate(
        tmp_path_factory.mktemp("pointed"),
        exposures=3,
        chip_shape=(280, 320),
        n_stars=160,
        star_rate_range=(20.0, 400.0),
        n_galaxies=0,
        cosmic_rays=False,
        pointing_rms_arcsec=0.2,
        pointing_roll_rms_deg=0.02,
        target_ra_deg=TARGET_DEG[0],
        target_dec_deg=TARGET_DEG[1],
        seed=4,
    )


@pytest.fixture
def copies(pointed: SimulatedSet, tmp_path: Path) -> list[str]:
    """Copies of the exposures that a test may change."""
    return [str(shutil.copy(path, tmp_path / path.name)) for path in sorted(pointed.paths)]


def _target() -> WCS:
    target = WCS(naxis=2)
    target.wcs.ctype = "RA---TAN", "DEC--TAN"
    target.wcs.crval = TARGET_DEG
    target.wcs.cdelt = 1 / 3600, 1 / 3600
    return target


def _corrected(simulated: SimulatedSet, plane: np.ndarray, path: str | Path) -> np.ndarray:
    """True places, (2, n), of points that the header of an exposure puts at `plane`."""
    rows = {row["rootname"]: row for row in Table.read(simulated.paths[0].parent / "pointing.ecsv")}
    row = rows[Path(path).name[:9]]
    angle = np.radians(row["roll_error_deg"])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return turn @ plane + [[row["shift_east_arcsec"]], [row["shift_north_arcsec"]]]


def true_places(simulated: SimulatedSet, path: str | Path, sky: np.ndarray) -> np.ndarray:
    """True places, (n, 2), arcsec east and north of the target, of sky positions by the header."""
    return _corrected(simulated, _target().all_world2pix(sky, 1).T, path).T


def _plane(path: str | Path) -> np.ndarray:
    """Grid points of both chips in the plane tangent at the target, arcsec east and north, by astropy."""
    target = _target()
    parts = []
    with warnings.catch_warnings(), fits.open(path) as hdul:
        warnings.simplefilter("ignore")
        for version in (1, 2):
            ny, nx = hdul["SCI", version].data.shape
            x, y = (a.ravel() for a in np.meshgrid(np.linspace(0, nx - 1, 5), np.linspace(0, ny - 1, 4)))
            sky = WCS(hdul["SCI", version].header, hdul).all_pix2world(x, y, 0)
            parts.append(np.stack(target.all_world2pix(*sky, 1)))
    return np.hstack(parts)


def pointing_errors(
    simulated: SimulatedSet, before: Sequence[str | Path], after: Sequence[str | Path]
) -> list[tuple[float, float]]:
    """Shift (pixels) and rotation (degrees) left between every exposure and the first after alignment.

    A point that the header puts at p lies at turn(roll) p + shift; what is aligned to the first exposure
    shares its error.
    """

    def truth(plane: np.ndarray, path: str | Path) -> np.ndarray:
        return _corrected(simulated, plane, path)

    errors = []
    for old, new in list(zip(before, after, strict=True))[1:]:
        true = truth(_plane(old), old)
        left = (truth(_plane(new), before[0]) - true) / SCALE_ARCSEC
        centred = (true - true.mean(axis=1, keepdims=True)) / SCALE_ARCSEC
        turn = (centred[0] * left[1] - centred[1] * left[0]).sum() / (centred**2).sum()
        errors.append((float(np.hypot(*left.mean(axis=1))), float(np.degrees(turn))))
    return errors
