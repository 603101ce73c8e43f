"""What a comparison is made of: a set of exposures, and a case that combines one with parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.parity.bounds import Excuse


@dataclass(frozen=True, slots=True)
class ExposureSet:
    """Exposures that several cases share; made by the simulator, copied, or derived from other sets."""

    name: str
    simulated: Mapping[str, Any] | None = None
    """Arguments of `mosaic.simulate.simulate`."""
    real: tuple[str, ...] = ()
    """Patterns below the folder of real data."""
    base: tuple[str, ...] = ()
    """Other sets whose exposures are copied, in this order."""
    needs_references: bool = False
    """Put reference files of ACS/WFC beside the exposures."""
    recipe: str = ""
    """What is done to the copies: a function of `tests.parity.recipes`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the recipe."""
    keywords: Mapping[str, str] = field(default_factory=dict)
    """Primary keywords to set before the distortion model of real exposures is derived."""
    references: Mapping[str, str] = field(default_factory=dict)
    """Environment names of reference folders, relative to the real data; not empty: derive the model."""


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison: a set, parameters for both programs, and the classes to hold it to."""

    name: str
    """``group/case``."""
    exposures: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """For both programs; ``{folder}`` in a text stands for the folder of the set."""
    classes: str = "BD"
    """B: the interpolated map of the reference in both; D: as B, with our default settings otherwise;
    C: our exact map against the reference's interpolated one; E: the exact map in both."""
    n_exposures: int | None = None
    """Use only the first few exposures of the set."""
    listing: str = ""
    """Name of an @list in the folder of the set to give instead of the exposures."""
    for_oracle: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that the reference needs in another form."""
    defects: Mapping[int, Excuse] = field(default_factory=dict)
    """Rows that a defect of the reference makes differ; row 0: it does not run."""
    mended: Mapping[int, Excuse] = field(default_factory=dict)
    """The same, for defects that `peer_compat` repeats: class D only."""
    note: str = ""
    is_by_name: bool = False
    """Give the exposures in the order of their names, not of time."""
    output: str = "final"
    """Root of the product names."""
    script: str = ""
    """A script of `tests.parity.scripts` that is run instead of a single call."""

    @property
    def group(self) -> str:
        return self.name.partition("/")[0]
