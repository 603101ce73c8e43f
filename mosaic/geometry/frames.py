"""From parameters to the two output frames of a run: of the separate drizzles, and of the product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mosaic.errors import ParameterError
from mosaic.geometry.grid import CustomFrame, OutputGrid, custom_grid, default_grid, reference_grid
from mosaic.geometry.wcs import ChipWcs
from mosaic.settings import FRAME_PARTS, Settings

MAX_SIDE: Final = 1 << 20
"""Pixels along an axis of a frame, at most: 12 degrees of 0.04 arcsec; more is a wrong scale or pointing."""


@dataclass(frozen=True, slots=True)
class RunGrids:
    """Output frames of a run."""

    separate: OutputGrid
    """Separate drizzles, median and blot (``driz_sep_*``)."""
    final: OutputGrid
    """Product (``final_*``)."""


def resolve_grids(chip_wcs: Sequence[ChipWcs], settings: Settings) -> RunGrids:
    """Resolve both frames from the chips, in order of accumulation, and the parameters.

    Raises
    ------
    ParameterError, WcsError
        When a custom frame or reference image is impossible, or a frame is absurdly large.
    """
    default = default_grid(chip_wcs, coeffs=settings.coeffs, padding=settings.frame_padding)
    grids = RunGrids(_frame(default, settings, "driz_sep"), _frame(default, settings, "final"))
    for step, grid in (("driz_sep", grids.separate), ("final", grids.final)):
        if max(grid.shape_yx) > MAX_SIDE:
            ny, nx = grid.shape_yx
            raise ParameterError(
                f"the frame of {step} would have {nx} x {ny} pixels of {grid.scale_arcsec:.3g} arcsec, "
                f"more than {MAX_SIDE} on a side; check {step}_scale, {step}_outnx, {step}_outny, "
                "and that the exposures belong together"
            )
    return grids


def _frame(default: OutputGrid, settings: Settings, step: Literal["driz_sep", "final"]) -> OutputGrid:
    if not getattr(settings, f"{step}_wcs"):
        return default
    parts = {name: getattr(settings, f"{step}_{name}") for name in FRAME_PARTS}
    reference = parts.pop("refimage")
    return custom_grid(reference_grid(reference) if reference else default, CustomFrame(**parts))
