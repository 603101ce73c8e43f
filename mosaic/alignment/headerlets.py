"""Headerlets of the solutions of an alignment: made from copies in memory, or from the updated inputs.

Covers their names and what they say. How a headerlet is made is `mosaic.solutions.headerlets`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mosaic.alignment.images import ImageSources
from mosaic.alignment.settings import AlignSettings
from mosaic.alignment.solution import Solution, corrected_wcs, fit_facts
from mosaic.errors import CatalogError, OutputError, ParameterError
from mosaic.exposure.inputs import root_name
from mosaic.geometry.grid import OutputGrid
from mosaic.geometry.tangent import Matrix2, PairXY
from mosaic.products.partial import write_whole
from mosaic.solutions.corrections import FitFacts, set_solution
from mosaic.solutions.editing import open_solutions
from mosaic.solutions.headerlets import Headerlet, HeaderletText, create_headerlet


def headerlet_path(folder: Path, rootname: str, settings: AlignSettings) -> Path:
    """``ROOTNAME_hlet.fits``, or ``ROOTNAME_HDRFILE_hlet.fits`` with a stem."""
    stem = settings.hdrfile.removesuffix(".fits").removesuffix("_hlet")
    return folder / (f"{rootname}_{stem}_hlet.fits" if stem else f"{rootname}_hlet.fits")


def headerlet_text(settings: AlignSettings) -> HeaderletText:
    """What the parameters say of the headerlets.

    Raises
    ------
    CatalogError
        When the file with the history cannot be read.
    """
    history = ""
    if settings.history:
        try:
            history = Path(settings.history).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CatalogError(
                f"history {settings.history} cannot be read ({error}); correct its name"
            ) from error
    catalog = settings.catalog or Path(settings.refcat).name
    return HeaderletText(settings.author, settings.descrip, history, None, catalog)


def check_headerlets(paths: Sequence[str], settings: AlignSettings, folder: Path) -> None:
    """Refuse headerlets that cannot be written, before any work.

    Raises
    ------
    ParameterError
        When neither `hdrname` nor `wcsname` gives them a name.
    OutputError
        When one exists and `clobber` is false.
    CatalogError
        When the file with the history cannot be read.
    """
    if not (settings.hdrname or settings.wcsname):
        raise ParameterError("headerlet: give hdrname or wcsname, so that the headerlets have a name")
    headerlet_text(settings)
    there = [
        target for path in paths if (target := headerlet_path(folder, root_name(path), settings)).exists()
    ]
    if there and not settings.clobber:
        listed = ", ".join(map(str, there))
        raise OutputError(f"headerlet: {listed} exists already; set clobber, or give another hdrfile")


def make_headerlet(
    path: str | Path,
    solutions: Sequence[tuple[Mapping[int, tuple[PairXY, Matrix2]], FitFacts]],
    settings: AlignSettings,
) -> Headerlet:
    """Headerlet of the solutions of a file; the file is only read.

    Parameters
    ----------
    path : path
        The exposure, uncompressed.
    solutions : sequence of (mapping of int to (pair of float, 2 x 2), FitFacts)
        CRVAL and CD, degrees, by index of the extension, and what is known of the fit: one for each exposure
        of the file.
    settings : AlignSettings
        Names and texts.

    Raises
    ------
    MosaicError
        When the file cannot be read, or its distortion is incomplete.
    """
    with open_solutions(path) as hdul:
        for terms, facts in solutions:
            set_solution(hdul, terms, settings.wcsname, facts)
        extension = hdul[next(iter(solutions[0][0]))].name
        return create_headerlet(
            hdul, settings.hdrname or settings.wcsname, sciext=extension, text=headerlet_text(settings)
        )


def write_headerlets(
    frame: OutputGrid,
    images: Sequence[ImageSources],
    solutions: Sequence[Solution],
    settings: AlignSettings,
    folder: Path,
) -> list[Path]:
    """Write a headerlet file of every image that is in the reference frame.

    Returns
    -------
    list of Path
        The files.
    """
    written = []
    for image, solution in zip(images, solutions, strict=True):
        if not solution.is_good:
            continue
        terms = {chip.hdu_index: corrected_wcs(chip.wcs, frame, solution.fit) for chip in image.chips}
        made = make_headerlet(image.path, [(terms, fit_facts(frame, solution))], settings)
        target = headerlet_path(folder, root_name(image.path), settings)
        written.append(write_whole(target, made.tobytes()))
    return written
