"""Source lists of chips and files, with sky positions.

Does not cover where they come from (`reading`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mosaic.alignment.finding import Sources
from mosaic.geometry.wcs import ChipWcs
from mosaic.types import DoubleArray, FloatArray


@dataclass(frozen=True, slots=True)
class ChipSources:
    """Sources of one chip."""

    extver: int
    """EXTVER of the SCI extension; 0 for an image in the primary HDU."""
    hdu_index: int
    """Its index in the file."""
    wcs: ChipWcs
    """Its WCS as it is in the file."""
    sigma: float
    """Noise of the background, native units; NaN when sources come from a catalogue."""
    sources: Sources
    """Sources."""
    n_fixed: int = 0
    """Sources left out because they stay on their detector pixel."""
    light: FloatArray | None = None
    """Medians of blocks of pixels, when exposures are compared by correlation."""


@dataclass(frozen=True, slots=True)
class ImageSources:
    """Sources of one file."""

    path: str
    """The file."""
    detector: str
    """Instrument and detector."""
    epoch_mjd: float | None
    """Middle of the exposure."""
    chips: tuple[ChipSources, ...]
    """Chips in the order of the file."""
    notes: tuple[str, ...] = ()
    """What was ignored."""
    filename: str = ""
    """Base name it would have as a file of its own; empty: that of `path`."""

    @property
    def name(self) -> str:
        """Base name of the file."""
        return self.filename or Path(self.path).name

    @property
    def root(self) -> str:
        """Base name without the ending."""
        return self.name.removesuffix(".gz").removesuffix(".fits")

    def __len__(self) -> int:
        return sum(len(chip.sources) for chip in self.chips)

    def column(self, name: str) -> DoubleArray:
        """Values of all chips of a column of `Sources`."""
        return np.concatenate([getattr(chip.sources, name) for chip in self.chips])

    @property
    def extver(self) -> np.ndarray:
        """Extension of every source."""
        return np.repeat([chip.extver for chip in self.chips], [len(chip.sources) for chip in self.chips])

    def sky(self) -> tuple[DoubleArray, DoubleArray]:
        """Right ascension and declination of every source, degrees."""
        parts = [chip.wcs.pixel_to_sky(chip.sources.x, chip.sources.y) for chip in self.chips]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
