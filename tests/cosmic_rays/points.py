"""What is varied: one condition at a time around a usual one, and corners where several are bad at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.parity.cases import ExposureSet

SCALE_ARCSEC = 0.05
"""Pixel of ACS/WFC."""
CORE_FWHM_PX = 2.355 * 0.042 / SCALE_ARCSEC
"""Width of its stars, pixels."""
LABELS = {
    "n": "exposures",
    "exptime_s": "exposure time, s",
    "shift_px": "alignment error, pixels rms",
    "fwhm_px": "width of stars (FWHM), pixels",
}


@dataclass(frozen=True, slots=True)
class Point:
    """Conditions of one set of exposures."""

    n: int = 4
    exptime_s: float = 500.0
    shift_px: float = 0.0
    fwhm_px: float = 2.0

    @property
    def name(self) -> str:
        """Name of the set."""
        return f"n{self.n}_t{self.exptime_s:g}_d{self.shift_px:g}_w{self.fwhm_px:g}"

    def exposures(self) -> ExposureSet:
        """Simulated exposures: small ACS/WFC chips crowded with unsaturated stars, at four dither phases."""
        choices: dict[str, Any] = {
            "instrument": "acs/wfc",
            "chip_shape": (256, 384),
            "exposures": self.n,
            "exptime_s": self.exptime_s,
            "pointing_rms_arcsec": self.shift_px * SCALE_ARCSEC,
            "psf_scale": self.fwhm_px / CORE_FWHM_PX,
            "n_stars": 700,
            "n_galaxies": 10,
            # Unsaturated for the longest exposures and the narrowest stars.
            "star_rate_range": (2.0, 60.0),
            "defects": False,
            "seed": 31,
            "workers": 1,
        }
        return ExposureSet(self.name, choices)


AXES: dict[str, tuple[Point, ...]] = {
    "n": tuple(Point(n=n) for n in (2, 3, 4, 6, 8, 12)),
    "exptime_s": tuple(Point(exptime_s=t) for t in (50.0, 150.0, 500.0, 1000.0, 2000.0)),
    "shift_px": tuple(Point(shift_px=d) for d in (0.0, 0.05, 0.1, 0.2, 0.5)),
    "fwhm_px": tuple(Point(fwhm_px=w) for w in (0.8, 1.1, 1.5, 2.0, 3.0)),
}
CORNERS = (
    Point(n=2, fwhm_px=1.1),
    Point(n=2, exptime_s=1500.0, shift_px=0.2),
    Point(n=8, fwhm_px=1.1),
    Point(n=8, shift_px=0.2, fwhm_px=1.1),
)
ALL = tuple(dict.fromkeys(point for points in (*AXES.values(), CORNERS) for point in points))
EXAMPLE = Point(fwhm_px=1.1)
"""Drawn in the page."""
