"""What is left of pointing errors, and how well centres could be known: from the simulation's truth.

Nothing of the package is used here but what it wrote. The plane is tangent at the target, arcsec east and
north; the truth of an exposure takes places that its header gives to where the telescope really looked.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy.spatial import KDTree

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """Truth of a simulated set."""

    scale_arcsec: float
    plane: WCS
    pointing: dict[str, tuple[float, float, float]]
    """Shift east and north (arcsec) and roll (degrees) by root name."""
    stars: Points
    """Places of the stars, (n, 2)."""

    @classmethod
    def read(cls, folder: Path, scale_arcsec: float) -> Truth:
        """Read what the simulator wrote beside the exposures."""
        about = json.loads((folder / "simulation.json").read_text())
        target = about["target_ra_deg"], about["target_dec_deg"]
        plane = WCS(naxis=2)
        plane.wcs.ctype, plane.wcs.crval, plane.wcs.cdelt = (
            ("RA---TAN", "DEC--TAN"),
            target,
            (1 / 3600, 1 / 3600),
        )
        rows = Table.read(folder / "pointing.ecsv")
        pointing = {
            row["rootname"]: (row["shift_east_arcsec"], row["shift_north_arcsec"], row["roll_error_deg"])
            for row in rows
        }
        sources = Table.read(folder / "sources.ecsv")
        return cls(
            scale_arcsec,
            plane,
            pointing,
            plane.all_world2pix(np.stack([sources["ra"], sources["dec"]], 1), 1),
        )

    def places(self, path: Path, extver: int, x: Points, y: Points) -> Points:
        """Places of 0-based pixels in the plane by the header of a file."""
        with warnings.catch_warnings(), fits.open(path) as hdul:
            warnings.simplefilter("ignore")
            sky = WCS(hdul["SCI", extver].header, hdul).all_pix2world(np.stack([x, y], 1), 0)
        return np.asarray(self.plane.all_world2pix(sky, 1))

    def corrected(self, places: Points, rootname: str) -> Points:
        """Where the telescope really looked, for places by the header that the simulator wrote."""
        east, north, roll = self.pointing[rootname]
        angle = np.radians(roll)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return np.asarray(places @ turn.T + [east, north])


def _grid(path: Path) -> list[tuple[int, Points, Points]]:
    parts = []
    for version in (1, 2):
        header = fits.getheader(path, "SCI", version)
        axes = (np.linspace(0, header[f"NAXIS{k}"] - 1, 9) for k in (1, 2))
        x, y = (a.ravel() for a in np.meshgrid(*axes))
        parts.append((version, x, y))
    return parts


def errors_left(truth: Truth, before: list[Path], after: list[Path]) -> list[tuple[float, float, float]]:
    """Shift in x and y (pixels) and roll (degrees) of every exposure against the first, after alignment."""
    errors = []
    for old, new in list(zip(before, after, strict=True))[1:]:
        true, told = [], []
        for version, x, y in _grid(old):
            true.append(truth.corrected(truth.places(old, version, x, y), old.name[:9]))
            told.append(truth.corrected(truth.places(new, version, x, y), before[0].name[:9]))
        real = np.concatenate(true) / truth.scale_arcsec
        left = np.concatenate(told) / truth.scale_arcsec - real
        centred = real - real.mean(axis=0)
        turn = (centred[:, 0] * left[:, 1] - centred[:, 1] * left[:, 0]).sum() / (centred**2).sum()
        errors.append((*left.mean(axis=0), float(np.degrees(turn))))
    return errors


def centroid_limit(truth: Truth, original: Path, matches: Path) -> float:
    """Scatter of the centres of matched sources about the true places of their stars, pixels per axis.

    Parameters
    ----------
    original : Path
        The exposure as it was simulated.
    matches : Path
        Its match file: columns 11 and 12 are places on the chip (1-based), column 15 is EXTVER.
    """
    rows = np.genfromtxt(matches, usecols=(10, 11, 14))
    parts = []
    for version in (1, 2):
        x, y = rows[rows[:, 2] == version, :2].T - 1.0
        places = truth.corrected(truth.places(original, version, x, y), original.name[:9])
        distance, star = KDTree(truth.stars).query(places)
        parts.append((places - truth.stars[star])[distance < truth.scale_arcsec])
    errors = np.concatenate(parts) / truth.scale_arcsec
    for _ in range(5):
        errors = errors[(np.abs(errors) < 3.0 * errors.std(axis=0)).all(axis=1)]
    return float(np.sqrt((errors.std(axis=0) ** 2).mean()))
