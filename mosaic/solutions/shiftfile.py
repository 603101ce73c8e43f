"""Shift files of TweakReg: read, and apply their fits to the WCS of the exposures they name."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mosaic.errors import MissingFileError, ParameterError, StructureError
from mosaic.geometry.correction import LinearWcs, fit_matrix, measured_in_frame
from mosaic.solutions.corrections import FitFacts, correct_exposure
from mosaic.solutions.editing import edited, open_solutions, science_indices
from mosaic.types import DoubleArray

_REFERENCE: Final = re.compile(r"#\s*refimage:\s*(\S+?)(\[.*\])?\s*$", re.IGNORECASE)
_COLUMNS: Final = (5, 7)


@dataclass(frozen=True, slots=True)
class Shift:
    """Fit of one exposure, in pixels of the reference frame."""

    image: str
    dx: float
    dy: float
    rotation_deg: float
    scale: float
    xrms: float = 0.0
    """Pixels."""
    yrms: float = 0.0
    """Pixels."""

    @property
    def has_failed(self) -> bool:
        """Whether there is no fit (its numbers are nan)."""
        return not all(map(math.isfinite, (self.dx, self.dy, self.rotation_deg, self.scale)))


@dataclass(frozen=True, slots=True)
class ShiftFile:
    """A shift file."""

    path: Path
    reference: str
    """File that holds the reference frame, as the shift file names it."""
    shifts: tuple[Shift, ...]

    @property
    def reference_path(self) -> Path:
        """Reference file, beside the shift file or in the working folder.

        Raises
        ------
        MissingFileError
            When it is not there.
        """
        if not self.reference:
            problem = "names no reference frame (# refimage: FILE)"
            raise MissingFileError(str(self.path), problem, "add that line")
        for folder in (self.path.parent, Path.cwd()):
            if (folder / self.reference).is_file():
                return folder / self.reference
        raise MissingFileError(self.reference, f"named by {self.path} is not there", "restore it")


def read_shift_file(path: str | Path) -> ShiftFile:
    """Read a shift file.

    Raises
    ------
    MissingFileError
        When it cannot be read.
    ParameterError
        When a row has neither 5 nor 7 columns, or no numbers.
    """
    source = Path(path)
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MissingFileError(str(path), f"cannot be read ({error})", "correct the name") from error
    reference, shifts = "", []
    for number, line in enumerate(lines, 1):
        found = _REFERENCE.match(line.strip())
        if found:
            reference = found[1]
        words = line.partition("#")[0].split()
        if words:
            shifts.append(_parse_row(words, f"{path}, line {number}"))
    return ShiftFile(source, reference, tuple(shifts))


def reference_frame(path: str | Path) -> LinearWcs:
    """Tangent plane of a reference file: an image, the WCS file of TweakReg, or a headerlet.

    Raises
    ------
    MissingFileError, StructureError
        When it cannot be read or holds no WCS.
    """
    with open_solutions(path) as hdul:
        for hdu in hdul:
            if "CRVAL1" in hdu.header and "CRPIX1" in hdu.header and hdu.name not in {"WCSDVARR", "D2IMARR"}:
                return LinearWcs.from_header(hdu.header)
    raise StructureError(str(path), "has no WCS", "name the file that the shift file was written with")


def shift_change(
    reference: LinearWcs, shift: Shift, matrix: NDArray[np.float64] | None = None
) -> DoubleArray:
    """Homography of directions of a fit; `matrix` counts more than rotation and scale."""
    fitted = fit_matrix(shift.rotation_deg, shift.scale) if matrix is None else matrix
    return measured_in_frame(reference, fitted, (shift.dx, shift.dy))


def apply_shift(
    path: str | Path,
    target: Path,
    reference: LinearWcs,
    shift: Shift,
    *,
    wcsname: str = "TWEAK",
    reuse_name: bool = False,
    matrix: NDArray[np.float64] | None = None,
    rms_deg: tuple[float, float] | None = None,
    sciext: str = "SCI",
) -> tuple[str, str]:
    """Correct the WCS of one exposure by a fit; see `mosaic.solutions.corrections.correct_exposure`."""
    # Errors along the axes of the frame, taken as independent.
    along_sky = np.hypot(*(reference.cd_array * np.array([shift.xrms, shift.yrms])).T)
    rms = rms_deg or (float(along_sky[0]), float(along_sky[1]))
    facts = FitFacts(rms[0], rms[1]) if any(rms) else FitFacts()
    with edited(path, target) as hdul:
        indices = science_indices(hdul, sciext, path=str(path))
        change = shift_change(reference, shift, matrix)
        return correct_exposure(hdul, indices, change, wcsname, facts, reuse_name=reuse_name)


def apply_shift_file(
    file: ShiftFile,
    targets: Sequence[Path],
    *,
    wcsname: str = "TWEAK",
    reuse_name: bool = False,
    skipped: list[str] | None = None,
) -> list[Path]:
    """Correct the exposures of a shift file.

    Parameters
    ----------
    file : ShiftFile
        The fits; exposures are looked for beside it.
    targets : sequence of Path
        File to write for each row.
    wcsname : str
        WCSNAME of the new solutions.
    reuse_name : bool
        Allow a name that is there already.
    skipped : list of str, optional
        Gets the exposures whose fit failed; they are not written.

    Returns
    -------
    list of Path
        Files written.
    """
    reference = reference_frame(file.reference_path)
    written = []
    for shift, target in zip(file.shifts, targets, strict=True):
        if shift.has_failed:
            if skipped is not None:
                skipped.append(shift.image)
            continue
        source = file.path.parent / shift.image
        apply_shift(source, target, reference, shift, wcsname=wcsname, reuse_name=reuse_name)
        written.append(target)
    return written


def _parse_row(words: Sequence[str], place: str) -> Shift:
    """One row of a shift file."""
    if len(words) not in _COLUMNS:
        raise ParameterError(f"{place}: {len(words)} columns; a shift file has 5 or 7")
    try:
        numbers = [float(word) for word in words[1:]]
    except ValueError as error:
        raise ParameterError(f"{place}: {error}; columns 2 to {len(words)} are numbers") from error
    return Shift(words[0], *numbers)
