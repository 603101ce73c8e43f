"""What is varied: kernel, pixfrac, scale, depth; weights, rotation and detector besides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaic.simulate import simulate

EXPOSURES = 8
SETS: dict[str, dict[str, Any]] = {
    "acs": {"instrument": "acs/wfc", "chip_shape": (800, 1024)},
    "unequal": {"instrument": "acs/wfc", "chip_shape": (800, 1024), "sky_scatter": 0.6},
    "ir": {"instrument": "wfc3/ir"},
    "stis": {"instrument": "stis/ccd"},
}
"""Exposures of blank sky: four sub-pixel phases, then the same again elsewhere on the detector."""
_BLANK = {
    "exposures": EXPOSURES,
    "n_stars": 0,
    "n_galaxies": 0,
    "cosmic_rays": False,
    "defects": False,
    "sky_scatter": 0.0,
    "seed": 41,
    "workers": 1,
}
NATURAL_ARCSEC = {"acs": 0.05, "unequal": 0.05, "ir": 0.1283, "stis": 0.05078}


@dataclass(frozen=True, slots=True)
class Point:
    """One way to drizzle."""

    kernel: str = "square"
    pixfrac: float = 0.8
    scale: float = 0.75
    """Output over input pixel."""
    depth: int = 4
    """Exposures."""
    weights: str = "EXP"
    rotation_deg: float | None = None
    exposures: str = "acs"
    """Name of the set."""

    @property
    def name(self) -> str:
        """Unique name."""
        turn = "" if self.rotation_deg is None else f"_r{self.rotation_deg:g}"
        drop = f"{self.kernel}_p{self.pixfrac:g}_s{self.scale:g}"
        return f"{self.exposures}_{drop}_n{self.depth}_{self.weights}{turn}"

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters of the run."""
        chosen: dict[str, Any] = {
            "final_kernel": self.kernel,
            "final_pixfrac": self.pixfrac,
            "final_scale": round(self.scale * NATURAL_ARCSEC[self.exposures], 6),
            "final_wht_type": self.weights,
            # Levels that differ would make a pattern where weights are uneven; the rest needs no sky.
            "skysub": self.exposures == "unequal",
        }
        return chosen if self.rotation_deg is None else chosen | {"final_rot": self.rotation_deg}

    @property
    def starts(self) -> Iterator[int]:
        """First exposure of each realisation: two where output pixels, and hence apertures, are few."""
        n = 1 if self.scale < 0.7 else 2
        return iter(range(0, min(n * self.depth, EXPOSURES), self.depth))


SQUARE = tuple(
    Point("square", pixfrac, scale, depth)
    for scale in (0.5, 0.75, 1.0, 1.5)
    for pixfrac in (0.5, 0.8, 1.0)
    for depth in ((1, 2, 4, 8) if pixfrac == 0.8 else (1, 2, 4))
)
OTHERS = tuple(
    Point(kernel, pixfrac, scale, depth)
    for kernel in ("turbo", "gaussian", "lanczos2", "lanczos3", "tophat", "point")
    for pixfrac, scale, depth in (
        (1.0, 0.5, 4), (0.8, 0.75, 2), (1.0, 1.0, 1), (0.8, 1.0, 4),
    )
)  # fmt: skip
REST = (
    Point(rotation_deg=30.0),
    Point(kernel="turbo", rotation_deg=30.0),
    Point(exposures="unequal"),
    Point(exposures="unequal", weights="ERR"),
    Point(exposures="unequal", weights="IVM"),
    Point(exposures="ir", pixfrac=1.0, scale=0.5),
    Point(exposures="ir", pixfrac=0.8, scale=1.0),
    Point(exposures="stis", pixfrac=1.0, scale=1.0),
)
ALL = (*SQUARE, *OTHERS, *REST)


def make_set(folder: Path, name: str, **changes: object) -> list[Path]:
    """Exposures of a set in order of time, simulated if they are not there."""
    place = folder / name
    if not place.exists():
        choices: Mapping[str, object] = _BLANK | SETS[name] | changes
        simulate(place, **choices)
    return sorted(path for path in place.glob("*.fits") if "_asn" not in path.name)
