"""Masks of either program against the truth: completeness, purity, and what stars lose."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS, FITSFixedWarning
from numpy.typing import NDArray

from mosaic import pipeline
from mosaic.graph.store import read_mask
from mosaic.options import RunOptions
from mosaic.simulate.files import read_cosmic_rays
from mosaic.simulate.rejection import RejectionCounts, count_rejection, star_cores
from mosaic.types import Window
from tests.parity.runs import Run, exposure_root, read

Mask = NDArray[np.bool_]
MaskOf = Callable[[Path, int], Mask]
"""Cosmic rays that a program found in a chip (exposure, EXTVER)."""


@dataclass(slots=True)
class Score:
    """What a program made of the cosmic rays of a set."""

    cores: RejectionCounts = field(default_factory=RejectionCounts)
    """Counts, with the pixels within 1.5 of a star as cores."""
    peaks: RejectionCounts = field(default_factory=RejectionCounts)
    """Counts, with the pixel that holds the middle of a star as core."""
    light: float = 0.0
    """Light of stars in clean pixels of their cores, electrons."""
    light_lost: float = 0.0
    """Of this, in flagged pixels."""

    @property
    def figures(self) -> dict[str, float]:
        """Shares by name; see `NAMES`."""
        return {
            "completeness": self.cores.completeness,
            "purity": self.cores.purity,
            "core_rate": self.cores.core_rate,
            "peak_rate": self.peaks.core_rate,
            "light_lost": self.light_lost / max(self.light, 1.0),
            "core_completeness": self.cores.core_completeness,
            "sky_rate": self.cores.sky_rate,
        }

    def as_dict(self) -> dict[str, Any]:
        """Figures and counts."""
        return {**self.figures, "cores": asdict(self.cores), "peaks": asdict(self.peaks)}


NAMES = {
    "completeness": "hits found",
    "purity": "flags that are right",
    "core_rate": "clean pixels of star cores flagged",
    "peak_rate": "clean brightest pixels of stars flagged",
    "light_lost": "light of star cores flagged",
    "core_completeness": "hits in star cores found",
    "sky_rate": "clean sky flagged",
}
"""What each figure is."""


def mosaic_masks(inputs: Sequence[Path], folder: Path, **parameters: object) -> MaskOf:
    """Find cosmic rays with mosaic, on one core."""
    result = pipeline.drizzle(
        [str(path) for path in inputs],
        str(folder / "m"),
        options=RunOptions.resolve(scheduler="serial", restart=True),
        **({"runfile": "", "driz_combine": False} | parameters),
    )

    def mask_of(path: Path, extver: int) -> Mask:
        ny, nx = fits.getdata(path, ("SCI", extver)).shape
        name = f"cosmic_rays/{exposure_root(path)}_{extver}"
        return read_mask(str(result.job_folder), name, Window(0, ny, 0, nx))

    return mask_of


def drizzlepac_masks(run: Run) -> MaskOf:
    """Masks that a run of DrizzlePac left: 1 = good in its files."""
    return lambda path, extver: read(run.folder / f"{exposure_root(path)}_sci{extver}_crmask.fits") == 0


def score(inputs: Sequence[Path], mask_of: MaskOf) -> Score:
    """Compare all masks of a set with the truth beside its exposures."""
    folder = inputs[0].parent
    sources, pointing = Table.read(folder / "sources.ecsv"), Table.read(folder / "pointing.ecsv")
    stars = sources[sources["type"] == "star"]
    total = Score()
    for path, row in zip(inputs, pointing, strict=True):
        assert row["rootname"] == exposure_root(path)
        charges = read_cosmic_rays(folder / f"cosmic_rays_{row['rootname']}.npz")
        with fits.open(path, memmap=False) as hdul, warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            for extver, charge in charges.items():
                wcs = WCS(hdul["SCI", extver].header, hdul)
                # The header does not know the true attitude: what it calls a star's place lies beside it.
                ra = stars["ra"] - (row["crval1_true"] - row["crval1_header"])
                dec = stars["dec"] - (row["crval2_true"] - row["crval2_header"])
                place = np.stack(wcs.all_world2pix(ra, dec, 0, quiet=True))
                place = place[:, np.isfinite(place).all(axis=0)]
                pixels = [hdul[name, extver].data.astype(np.float32) for name in ("SCI", "ERR")]
                _add(total, mask_of(path, extver), charge, pixels, hdul["DQ", extver].data == 0, place)
    return total


def _add(
    total: Score,
    is_flagged: Mask,
    charge: NDArray[np.float32],
    pixels: Sequence[NDArray[np.float32]],
    is_usable: Mask,
    place: NDArray[np.float64],
) -> None:
    science, error = pixels
    cores = star_cores(science.shape, *place)
    middles = np.zeros_like(cores)
    x, y = np.rint(place).astype(int)
    inside = (x >= 0) & (x < science.shape[1]) & (y >= 0) & (y < science.shape[0])
    middles[y[inside], x[inside]] = True
    total.cores += count_rejection(is_flagged, charge, error, is_usable, cores)
    total.peaks += count_rejection(is_flagged, charge, error, is_usable, middles)
    light = np.where(cores & is_usable & (charge == 0.0), science - np.median(science), 0.0)
    total.light += float(light.sum(dtype=np.float64))
    total.light_lost += float(light[is_flagged].sum(dtype=np.float64))
