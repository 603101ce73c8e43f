"""Writing solutions into the headers of the inputs, when that was asked for.

Covers the checks before any work and which file gets which correction. Only CRVAL and CD change; a file
that was not aligned is not touched. How a correction is written, and the old WCS kept, is
`mosaic.solutions.corrections`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mosaic.align.images import ImageSources
from mosaic.align.settings import AlignSettings
from mosaic.align.solution import Solution, direction_change, sky_rms_deg
from mosaic.errors import OutputError, WcsNameExistsError
from mosaic.exposure.storage import open_fits
from mosaic.geometry.grid import OutputGrid
from mosaic.places import is_remote
from mosaic.solutions.alternates import wcs_names
from mosaic.solutions.corrections import FitFacts, correct_exposure
from mosaic.solutions.editing import edited


def check_updatable(paths: Sequence[str]) -> None:
    """Refuse files that cannot be replaced, before any work.

    Raises
    ------
    OutputError
        Naming them.
    """
    bad = [
        path
        for path in paths
        if is_remote(path) or not os.access(path, os.W_OK) or not os.access(Path(path).parent, os.W_OK)
    ]
    if bad:
        raise OutputError(
            f"updatehdr: {', '.join(bad)} cannot be written; change the permissions or work on copies"
        )


def check_wcsname(paths: Sequence[str], settings: AlignSettings) -> None:
    """Refuse a new name that a file has already, as primary or alternate, unless `reusename`.

    Raises
    ------
    WcsNameExistsError
        Naming file and name.
    """
    if settings.reusename:
        return
    wanted = settings.wcsname.upper()
    for path in paths:
        with open_fits(path) as hdul:
            for hdu in hdul:
                if hdu.name != "SCI":
                    continue
                if wanted in (name.upper() for name in wcs_names(hdu.header).values()):
                    raise WcsNameExistsError(
                        f"{path}: there is a WCS named {settings.wcsname} already; choose another wcsname or "
                        "set reusename"
                    )


def update_headers(
    frame: OutputGrid,
    images: Sequence[ImageSources],
    solutions: Sequence[Solution],
    settings: AlignSettings,
) -> list[Path]:
    """Write the solutions into the inputs; each file is written anew, verified and then replaced.

    Returns
    -------
    list of Path
        Files that were changed.

    Raises
    ------
    OutputError
        When a file cannot be written; it is as it was then.
    ParameterError
        When a file has no key left for the old WCS.
    """
    written = []
    for image, solution in zip(images, solutions, strict=True):
        if not solution.is_good:
            continue
        path = Path(image.path)
        facts = FitFacts()
        if solution.status == "aligned":
            east, north = sky_rms_deg(frame, solution.fit)
            facts = FitFacts(rms_ra_deg=east, rms_dec_deg=north, nmatch=solution.n_used)
        indices = [chip.hdu_index for chip in image.chips]
        change = direction_change(frame, solution.fit)
        with edited(path, path) as hdul:
            correct_exposure(hdul, indices, change, settings.wcsname, facts, reuse_name=settings.reusename)
            for index in indices:
                header = hdul[index].header
                header.remove("NMATCHES", ignore_missing=True)
                if solution.status == "aligned":
                    header["NMATCHES"] = (solution.n_used, "Number of sources used for the fit")
                else:
                    # The image that defines the frame was not fitted.
                    header.remove("FITNAME", ignore_missing=True)
        written.append(path)
    return written
