"""What an alignment gives back: solutions, the verdict on every image, and what was written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from astropy.table import Table

from mosaic.alignment.images import ImageSources
from mosaic.alignment.solution import Solution, sky_rms_deg
from mosaic.alignment.solve import Reference
from mosaic.errors import AlignmentError
from mosaic.geometry.grid import OutputGrid

_MAS_PER_DEGREE = 3.6e6
_ADVICE = "correct what the reason says, or leave the image out"


@dataclass(frozen=True, slots=True)
class AlignResult:
    """What an alignment found and wrote."""

    frame: OutputGrid
    """The reference frame."""
    images: tuple[ImageSources, ...]
    """Source lists, in the order of alignment."""
    solutions: tuple[Solution, ...]
    """Solutions in the same order."""
    reference: Reference
    """The reference catalogue in the end."""
    products: tuple[Path, ...] = ()
    """Files written."""
    updated: tuple[Path, ...] = ()
    """Inputs whose headers were updated."""
    message: str = ""
    """Why nothing was aligned; empty otherwise."""
    set_aside: tuple[tuple[str, str], ...] = ()
    """Inputs that could not be used at all, and why."""

    @property
    def failed(self) -> tuple[Solution, ...]:
        """Solutions of images that were not aligned, or whose header could not be written."""
        return tuple(solution for solution in self.solutions if not solution.is_good)

    @property
    def is_complete(self) -> bool:
        """Whether every image is in the reference frame."""
        return not self.failed and not self.message and not self.set_aside

    def table(self) -> Table:
        """Verdict on every image, one row each: status, reason, counts, fit and its residuals.

        Returns
        -------
        Table
            Shifts and rms in pixels of the frame, ``rms_ra`` and ``rms_dec`` in mas; NaN where there is none.
        """
        rows = [
            _row(image, solution, self.frame)
            for image, solution in zip(self.images, self.solutions, strict=True)
        ]
        rows += [
            (Path(path).name, "unusable", why, 0, 0, 0, *(math.nan,) * 8) for path, why in self.set_aside
        ]
        names = (
            *("file", "status", "reason", "n_sources", "n_matches", "n_used"),
            *("dx", "dy", "rotation", "scale", "rms_x", "rms_y", "rms_ra", "rms_dec"),
        )
        table = Table(rows=rows, names=names, dtype=(str, str, str, int, int, int, *(float,) * 8))
        units = ("pix", "pix", "deg", "", "pix", "pix", "mas", "mas")
        forms = (".3f", ".3f", ".5f", ".6f", ".3f", ".3f", ".2f", ".2f")
        for name, unit, form in zip(names[6:], units, forms, strict=True):
            table[name].unit = unit or None
            table[name].info.format = form
        return table

    def require_complete(self) -> None:
        """Raise unless every image is in the reference frame.

        Raises
        ------
        AlignmentError
            Naming the first image that is not, and how many there are.
        """
        wrong = [*self.set_aside, *((s.path, f"{s.status}: {s.reason}") for s in self.failed)]
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            raise AlignmentError(Path(wrong[0][0]).name, f"not aligned: {wrong[0][1]}{more}", _ADVICE)
        if self.message:
            raise AlignmentError(self.images[0].name if self.images else "no image", self.message, _ADVICE)


def _row(image: ImageSources, solution: Solution, frame: OutputGrid) -> tuple[object, ...]:
    counts = (len(image), solution.n_matches, solution.n_used)
    fit = solution.fit
    values: tuple[float, ...] = (math.nan,) * 8
    if solution.status == "reference":
        values = (0.0, 0.0, 0.0, 1.0, *(math.nan,) * 4)
    elif solution.status == "aligned":
        sky = (rms * _MAS_PER_DEGREE for rms in sky_rms_deg(frame, fit))
        values = (*map(float, fit.offset_xy), fit.rotation_deg, fit.scale, *fit.rms_xy, *sky)
    return (image.name, solution.status, solution.reason, *counts, *values)


def describe_solution(image: ImageSources, solution: Solution) -> str:
    """One line on an image: status, fit, matches, or why it was left alone."""
    line = f"{image.name}  {len(image)} sources  {solution.status}"
    if solution.status == "aligned":
        fit = solution.fit
        (dx, dy), (rms_x, rms_y) = fit.offset_xy, fit.rms_xy
        line += f"  shift {dx:.3f} {dy:.3f} px  rotation {fit.rotation_deg:.5f} deg  scale {fit.scale:.6f}"
        line += f"  rms {rms_x:.3f} {rms_y:.3f} px  {solution.n_used} of {solution.n_matches} matches"
    return line + (f": {solution.reason}" if solution.reason else "")
