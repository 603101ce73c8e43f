"""``update_from_shiftfile`` and ``updatewcs_with_shift`` of DrizzlePac; files are updated in place."""

# ruff: noqa: FBT001, FBT002  (the signatures are those of the system replaced)
from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mosaic.errors import ParameterError
from mosaic.solutions.shiftfile import Shift, apply_shift, apply_shift_file, read_shift_file, reference_frame


def update_from_shiftfile(shiftfile: str, wcsname: str | None = None, force: bool = False) -> None:
    """Apply the fits of a shift file to the exposures it names; failed fits are skipped with a warning.

    Parameters
    ----------
    shiftfile : str
        Shift file with 5 or 7 columns and the comment ``# refimage: FILE``.
    wcsname : str, optional
        WCSNAME of the new solutions, TWEAK by default.
    force : bool
        Allow a name that is there already.
    """
    file = read_shift_file(shiftfile)
    targets = [file.path.parent / shift.image for shift in file.shifts]
    skipped: list[str] = []
    apply_shift_file(file, targets, wcsname=wcsname or "TWEAK", reuse_name=force, skipped=skipped)
    for image in skipped:
        warnings.warn(f"{shiftfile}: {image} has no fit (nan), left as it is", stacklevel=2)


def updatewcs_with_shift(
    image: str,
    reference: str,
    wcsname: str = "TWEAK",
    reusename: bool = False,
    fitgeom: str = "rscale",
    rot: float = 0.0,
    scale: float = 1.0,
    xsh: float = 0.0,
    ysh: float = 0.0,
    fit: Sequence[Sequence[float]] | None = None,
    xrms: float | None = None,
    yrms: float | None = None,
    verbose: bool = False,
    force: bool = False,
    sciext: str = "SCI",
) -> None:
    """Apply one fit to the WCS of an exposure.

    Parameters
    ----------
    image : str
        Exposure.
    reference : str
        File with the tangent plane in which the fit was made.
    wcsname : str
        WCSNAME of the new solution.
    reusename, force : bool
        Allow a name that is there already.
    fitgeom, verbose : str, bool
        Without effect.
    rot, scale : float
        Rotation, degrees, and scale.
    xsh, ysh : float
        Shift, pixels of the reference.
    fit : 2 x 2 sequence, optional
        Counts more than `rot` and `scale`.
    xrms, yrms : float, optional
        RMS of the fit in RA and Dec, degrees.
    sciext : str
        EXTNAME of the extensions to correct.
    """
    del fitgeom, verbose
    matrix = None if fit is None else np.array(fit, dtype=np.float64)
    if matrix is not None and matrix.shape != (2, 2):
        raise ParameterError(f"fit has the shape {matrix.shape}; it is a 2 x 2 matrix")
    apply_shift(
        image,
        Path(image),
        reference_frame(reference),
        Shift(image, xsh, ysh, rot, scale),
        wcsname=wcsname,
        reuse_name=reusename or force,
        matrix=matrix,
        rms_deg=None if xrms is None or yrms is None else (xrms, yrms),
        sciext=sciext,
    )
