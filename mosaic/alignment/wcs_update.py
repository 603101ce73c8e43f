"""Writing solutions into the headers of the inputs, when that was asked for.

Covers the checks before any work and which file gets which correction. Only CRVAL and CD change; a file
that was not aligned is not touched. How a correction is written, and the old WCS kept, is
`mosaic.solutions.corrections`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from astropy.io.fits.verify import VerifyWarning

from mosaic.alignment.headerlets import headerlet_text
from mosaic.alignment.images import ImageSources
from mosaic.alignment.settings import AlignSettings
from mosaic.alignment.solution import Solution, direction_change, fit_facts
from mosaic.errors import MosaicError, OutputError
from mosaic.geometry.grid import OutputGrid
from mosaic.places import is_remote
from mosaic.solutions.apply import attach
from mosaic.solutions.corrections import correct_exposure
from mosaic.solutions.editing import edited
from mosaic.solutions.headerlets import create_headerlet


def check_updatable(paths: Sequence[str]) -> None:
    """Refuse files that cannot be replaced, before any work.

    Raises
    ------
    OutputError
        Naming them, or their folders.
    """
    bad = [path for path in paths if is_remote(path) or not os.access(path, os.W_OK)]
    folders = {str(Path(path).parent) for path in paths if path not in bad}
    # A file is replaced, which its folder has to allow.
    bad += sorted(folder for folder in folders if not os.access(folder, os.W_OK))
    if bad:
        raise OutputError(
            f"updatehdr: {', '.join(bad)} cannot be written; change the permissions or work on copies"
        )


@dataclass(frozen=True, slots=True)
class HeaderUpdate:
    """What became of the headers of the inputs."""

    written: tuple[Path, ...]
    """Files that were changed."""
    solutions: tuple[Solution, ...]
    """The solutions; those of files that could not be written say so."""


def update_headers(
    frame: OutputGrid,
    images: Sequence[ImageSources],
    solutions: Sequence[Solution],
    settings: AlignSettings,
    *,
    cores: int,
) -> HeaderUpdate:
    """Write the solutions into the inputs; each file is written anew, verified and then replaced.

    A file that cannot be written stays as it was, and the others are updated all the same: each lies in the
    reference frame by itself. While one is copied the headers of another are made.
    """

    def update(image: ImageSources, solution: Solution) -> Solution:
        if not solution.is_good:
            return solution
        try:
            _update_header(frame, image, solution, settings)
        except (MosaicError, OSError) as error:
            reason = f"the header could not be updated, the file is as it was: {error}"
            return replace(solution, status="not_written", reason=" ".join(reason.split()))
        return solution

    # Filters of warnings are one list for all threads: they are put back when all are done.
    with warnings.catch_warnings(), ThreadPoolExecutor(max(1, cores)) as pool:
        warnings.simplefilter("ignore", VerifyWarning)
        after = tuple(pool.map(update, images, solutions))
    written = (Path(image.path) for image, solution in zip(images, after, strict=True) if solution.is_good)
    return HeaderUpdate(tuple(written), after)


def _update_header(
    frame: OutputGrid, image: ImageSources, solution: Solution, settings: AlignSettings
) -> None:
    path, indices = Path(image.path), [chip.hdu_index for chip in image.chips]
    facts = fit_facts(frame, solution)
    change = direction_change(frame.cd, frame.crval_deg, solution.fit)
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
        if settings.headerlet and settings.attach:
            made = create_headerlet(
                hdul,
                settings.hdrname or settings.wcsname,
                sciext=hdul[indices[0]].name,
                text=headerlet_text(settings),
            )
            attach(hdul, made)
