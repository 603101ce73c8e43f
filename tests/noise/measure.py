"""Drizzle blank sky and compare its scatter, pixel by pixel and in apertures, with what ERR says."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

from mosaic import pipeline
from mosaic.options import RunOptions
from mosaic.quality.correlation import aperture_ratio, aperture_sigma
from tests.noise.design import Point

DIAMETERS = (3, 5, 10, 20, 30)
"""Apertures, output pixels."""
CELL = 10
"""Side of the cells of pixels, and step from one aperture to the next, output pixels."""
_MARGIN = 16
"""Input pixels along the edge of a chip that are left out: fewer exposures reach there."""
_OFF = dict.fromkeys(("driz_separate", "median", "blot", "driz_cr", "static", "skysub"), False)


@dataclass(slots=True)
class Tally:
    """Squares of deviations in units of what is reported."""

    pixels: list[float] = field(default_factory=list)
    """Mean square of each realisation, single pixels."""
    apertures: dict[int, list[float]] = field(default_factory=lambda: {d: [] for d in DIAMETERS})
    """The same by diameter."""
    plain: dict[int, list[float]] = field(default_factory=lambda: {d: [] for d in DIAMETERS})
    """The same with ``R sqrt(sum ERR**2)``, as if weights were even."""
    n_apart: int = 0
    """Apertures of the largest size that do not overlap."""
    unevenness: list[float] = field(default_factory=list)
    """Scatter of the weights over their median."""

    def as_dict(self) -> dict[str, Any]:
        """Reported over empirical sigma, by aperture, and how well the latter is known."""

        def ratio(squares: Sequence[float]) -> float:
            return float(1.0 / np.sqrt(np.mean(squares)))

        return {
            "pixel": ratio(self.pixels),
            "apertures": {str(d): ratio(squares) for d, squares in self.apertures.items()},
            "plain": {str(d): ratio(squares) for d, squares in self.plain.items()},
            "error": 1.0 / float(np.sqrt(2.0 * max(self.n_apart, 1))),
            "unevenness": float(np.mean(self.unevenness)),
        }


def measure(point: Point, exposures: Sequence[Path], folder: Path) -> Tally:
    """Drizzle every realisation of a point and tally its deviations."""
    tally = Tally()
    for start in point.starts:
        inputs = exposures[start : start + point.depth]
        result = pipeline.drizzle(
            [str(path) for path in inputs],
            str(folder / "m"),
            options=RunOptions.resolve(scheduler="serial", restart=True),
            **{"runfile": "", "final_err": True, "build": True, "context": False} | _OFF | point.parameters,
        )
        _add(tally, point, result.products[0], inputs)
    return tally


def disc(diameter: int) -> NDArray[np.bool_]:
    """Pixels whose centre lies within an aperture about a pixel."""
    reach = diameter // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(x**2 + y**2 <= (0.5 * diameter) ** 2)


def _add(tally: Tally, point: Point, product: Path, inputs: Sequence[Path]) -> None:
    with fits.open(product, memmap=False) as hdul, warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        wcs = WCS(hdul["SCI"].header)
        sci, err, wht = (hdul[name].data.astype(np.float64) for name in ("SCI", "ERR", "WHT"))
        reach = max(DIAMETERS) // 2 + 1
        # In input pixels: the middle of an aperture stays that far from the edge of every chip.
        places = _inside(wcs, sci.shape, inputs, _MARGIN + reach * point.scale)
    cell = np.arange(CELL) - CELL // 2
    rows, columns = places[:, 1, None, None] + cell[:, None], places[:, 0, None, None] + cell[None, :]
    is_hit = np.isfinite(err) & (wht > 0.0)
    cells = is_hit[rows, columns]
    deviation = sci - np.mean(sci[rows, columns][cells])
    tally.pixels.append(float(np.mean((deviation[rows, columns][cells] / err[rows, columns][cells]) ** 2)))
    covered = wht[rows, columns]
    tally.unevenness.append(float(covered.std() / np.median(covered)))
    # A hole adds nothing to a sum, nor to its error.
    planes = [np.where(is_hit, plane, 0.0) for plane in (deviation, err, wht)]
    for diameter in DIAMETERS:
        aperture = disc(diameter).astype(np.float64)
        step = np.arange(len(aperture)) - diameter // 2
        for some in np.array_split(places, 8):
            rows, columns = some[:, 1, None, None] + step[:, None], some[:, 0, None, None] + step
            sums, errors, weights = (plane[rows, columns] for plane in planes)
            total = (sums * aperture).sum(axis=(1, 2))
            drops = point.pixfrac, point.scale, point.kernel
            sigma = aperture_sigma(errors, weights, aperture, *drops)
            plain = aperture_ratio(aperture, *drops) * np.sqrt((errors**2 * aperture).sum(axis=(1, 2)))
            seen = np.isfinite(sigma)
            tally.apertures[diameter].append(float(np.mean((total[seen] / sigma[seen]) ** 2)))
            tally.plain[diameter].append(float(np.mean((total[seen] / plain[seen]) ** 2)))
    tally.n_apart += int(len(places) * CELL**2 / max(DIAMETERS) ** 2)


def _inside(wcs: WCS, shape: tuple[int, int], inputs: Sequence[Path], margin: float) -> NDArray[np.intp]:
    """Points of a lattice, x and y, that lie well within one and the same chip of every exposure."""
    y, x = np.mgrid[CELL : shape[0] : CELL, CELL : shape[1] : CELL]
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    found: NDArray[np.bool_] = np.zeros(len(points), dtype=np.bool_)
    with fits.open(inputs[0]) as hdul:
        numbers = [hdu.ver for hdu in hdul if hdu.name == "SCI"]
    for extver in numbers:
        within = np.ones(len(points), dtype=np.bool_)
        for path in inputs:
            with fits.open(path) as hdul:
                header = hdul["SCI", extver].header
                chip = WCS(header, hdul)
                outline = _outline(header["NAXIS1"], header["NAXIS2"], margin)
            sky = chip.all_pix2world(outline, 0)
            within &= Outline(wcs.all_world2pix(sky, 0)).contains_points(points)
        found |= within
    return points[found]


def _outline(nx: int, ny: int, margin: float) -> NDArray[np.float64]:
    """Points around a chip, `margin` pixels inside its edge."""
    step = np.linspace(0.0, 1.0, 20)
    x0, x1, y0, y1 = margin, nx - 1 - margin, margin, ny - 1 - margin
    x = np.concatenate([x0 + step * (x1 - x0), 0 * step + x1, x1 - step * (x1 - x0), 0 * step + x0])
    y = np.concatenate([0 * step + y0, y0 + step * (y1 - y0), 0 * step + y1, y1 - step * (y1 - y0)])
    return np.stack([x, y], axis=1)
