"""Cosmic-ray rejection against the simulated truth: completeness, purity, and stars clipped by mistake."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mosaic.types import BoolArray, DoubleArray, FloatArray

HIT_SIGMA = 5.0
"""Charge above this many times the pixel's noise counts as a hit that should be found."""

TRACE_SIGMA = 0.5
"""Charge above this many times the noise makes a flag right."""

CORE_RADIUS = 1.5
"""Pixels around a star that are its core."""


@dataclass(frozen=True, slots=True)
class RejectionCounts:
    """Pixel counts of one or several chips; add them up with ``+``."""

    n_hits: int = 0
    """Usable pixels with a hit."""
    n_found: int = 0
    """Of these, flagged."""
    n_flagged: int = 0
    """Usable pixels flagged."""
    n_right: int = 0
    """Of these, with some charge of a cosmic ray."""
    n_core: int = 0
    """Usable pixels in star cores without charge of a cosmic ray."""
    n_core_flagged: int = 0
    """Of these, flagged."""
    n_sky: int = 0
    """Usable pixels elsewhere without charge of a cosmic ray."""
    n_sky_flagged: int = 0
    """Of these, flagged."""
    n_core_hits: int = 0
    """Usable pixels in star cores with a hit."""
    n_core_found: int = 0
    """Of these, flagged."""

    def __add__(self, other: RejectionCounts) -> RejectionCounts:
        return RejectionCounts(*(getattr(self, f) + getattr(other, f) for f in self.__slots__))

    @property
    def completeness(self) -> float:
        """Share of the hits that were found."""
        return self.n_found / max(1, self.n_hits)

    @property
    def purity(self) -> float:
        """Share of the flags that are right."""
        return self.n_right / max(1, self.n_flagged)

    @property
    def core_rate(self) -> float:
        """Share of clean star-core pixels that were flagged."""
        return self.n_core_flagged / max(1, self.n_core)

    @property
    def core_completeness(self) -> float:
        """Share of the hits in star cores that were found."""
        return self.n_core_found / max(1, self.n_core_hits)

    @property
    def sky_rate(self) -> float:
        """Share of clean pixels elsewhere that were flagged."""
        return self.n_sky_flagged / max(1, self.n_sky)

    def lines(self) -> tuple[str, ...]:
        """Readable summary."""
        return (
            f"hits found (completeness)  {100 * self.completeness:.2f} % of {self.n_hits} pixels",
            f"flags that are right       {100 * self.purity:.2f} % of {self.n_flagged} pixels",
            f"clean star cores flagged   {100 * self.core_rate:.3f} % of {self.n_core} pixels",
            f"clean sky flagged          {100 * self.sky_rate:.3f} % of {self.n_sky} pixels",
        )


def star_cores(shape_yx: tuple[int, int], x: DoubleArray, y: DoubleArray) -> BoolArray:
    """Mark the pixels within `CORE_RADIUS` of stars at 0-based positions `x`, `y`."""
    cores = np.zeros(shape_yx, dtype=np.bool_)
    reach = int(np.ceil(CORE_RADIUS))
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            column = np.rint(x).astype(int) + dx
            row = np.rint(y).astype(int) + dy
            near = (column - x) ** 2 + (row - y) ** 2 <= CORE_RADIUS**2
            inside = (row >= 0) & (row < shape_yx[0]) & (column >= 0) & (column < shape_yx[1])
            cores[row[near & inside], column[near & inside]] = True
    return cores


def count_rejection(
    is_flagged: BoolArray,
    charge_e: FloatArray,
    noise_e: FloatArray,
    is_usable: BoolArray,
    is_core: BoolArray,
) -> RejectionCounts:
    """Compare the flags of a chip with the charge that truly fell on it.

    Parameters
    ----------
    is_flagged : BoolArray, shape (ny, nx)
        Cosmic rays as identified.
    charge_e : FloatArray, shape (ny, nx)
        True charge of cosmic rays, electrons.
    noise_e : FloatArray, shape (ny, nx)
        Noise of each pixel, electrons.
    is_usable : BoolArray, shape (ny, nx)
        Pixels without other flags; the rest does not count.
    is_core : BoolArray, shape (ny, nx)
        Star cores (`star_cores`).
    """
    is_hit = is_usable & (charge_e > HIT_SIGMA * noise_e)
    is_touched = charge_e > TRACE_SIGMA * noise_e
    is_clean = is_usable & (charge_e == 0.0)
    flagged = is_flagged & is_usable

    def count(mask: BoolArray) -> int:
        return int(np.count_nonzero(mask))

    return RejectionCounts(
        n_hits=count(is_hit),
        n_found=count(is_hit & flagged),
        n_flagged=count(flagged),
        n_right=count(flagged & is_touched),
        n_core=count(is_clean & is_core),
        n_core_flagged=count(is_clean & is_core & flagged),
        n_sky=count(is_clean & ~is_core),
        n_sky_flagged=count(is_clean & ~is_core & flagged),
        n_core_hits=count(is_hit & is_core),
        n_core_found=count(is_hit & is_core & flagged),
    )
