"""The flow of an alignment of files: inputs, sources, solutions, results.

Covers what TweakReg does from its call to its files. The inputs are opened for reading only, unless
`updatehdr` asks for their headers to be updated.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mosaic.alignment.headerlets import check_headerlets, write_headerlets
from mosaic.alignment.measure import measure
from mosaic.alignment.products import AlignProducts, write_products
from mosaic.alignment.reading import read_images
from mosaic.alignment.result import AlignResult, describe_solution
from mosaic.alignment.settings import AlignParameters, AlignSettings, load_align_settings
from mosaic.alignment.wcs_update import check_updatable, update_headers
from mosaic.errors import ExposureError, ParameterError
from mosaic.exposure.inputs import expand_inputs
from mosaic.options import RunOptions
from mosaic.runlog import LOGGER_NAME


def align(
    inputs: str | Sequence[str],
    output: str | Path | None = None,
    *,
    options: RunOptions | None = None,
    settings: AlignParameters | None = None,
    **parameters: object,
) -> AlignResult:
    """Align exposures to each other, to an image or to a catalogue.

    Parameters
    ----------
    inputs : str or sequence of str
        Files, globs, comma lists, @lists (with catalogues of the chips after the names), associations.
    output : path, optional
        Folder for catalogues, matches, plots and solution; None: no such files are written.
    options : RunOptions, optional
        Cores and memory; ``on_error="skip"`` sets aside files that cannot be read.
    settings : AlignParameters, optional
        Checked parameters (`mosaic.alignment.settings.load_align_settings`); else `parameters` are used.
    **parameters
        Parameters by TweakReg's names; those of source finding apply to the inputs. The inputs are only
        read unless ``updatehdr=True``.

    Returns
    -------
    AlignResult
        Images that could not be aligned are in it with their status and reason, their headers untouched:
        see its ``table()``, or call its ``require_complete()``.

    Raises
    ------
    ParameterError, WcsNameExistsError, CatalogError, MissingFileError, StructureError, WcsError, OutputError
        As their names say; permissions are checked before any work, names before anything is written.
    """
    settings = settings or load_align_settings(keywords=parameters)
    options = options or RunOptions.resolve()
    with _imports_aside():
        return _align(inputs, None if output is None else Path(output), options, settings)


def _align(
    inputs: str | Sequence[str], folder: Path | None, options: RunOptions, settings: AlignParameters
) -> AlignResult:
    """Carry out an alignment."""
    chosen = settings.align
    if folder is None and (chosen.shiftfile or chosen.headerlet):
        raise ParameterError("shiftfile and headerlet write files: name the output folder")
    log = logging.getLogger(LOGGER_NAME)
    for note in settings.notes:
        log.warning("%s", note)
    paths, catalogs, rejected = _resolve_inputs(inputs)
    if rejected and options.on_error == "stop":
        raise rejected[0]
    if chosen.updatehdr:
        check_updatable(paths)
    if chosen.headerlet and folder is not None:
        check_headerlets(paths, chosen, folder)
    images = read_images(
        paths,
        chosen,
        catalogs,
        cores=options.cores,
        memory_bytes=options.memory,
        rejected=rejected if options.on_error == "skip" else None,
    )
    set_aside = tuple((error.exposure, f"{error.problem}; {error.remedy}") for error in rejected)
    result = replace(measure(images, settings, options), set_aside=set_aside)
    for image, solution in zip(result.images, result.solutions, strict=True):
        for note in image.notes:
            log.warning("%s: %s", image.name, note)
        level = logging.INFO if solution.is_good else logging.WARNING
        log.log(level, "%s", describe_solution(image, solution))
    if folder is not None:
        result = replace(result, products=tuple(write_products(AlignProducts.of(result), chosen, folder)))
    return _written_back(result, chosen, folder, options.cores)


@contextmanager
def _imports_aside() -> Iterator[None]:
    """Look for garbage among new objects only: all that is imported takes a tenth of a second to search."""
    if gc.get_freeze_count():
        # Whoever froze objects may want them to stay so.
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _written_back(
    result: AlignResult, settings: AlignSettings, folder: Path | None, cores: int
) -> AlignResult:
    """Write what was asked for of the solutions: headers of the inputs, headerlets."""
    if result.message:
        return result
    if settings.updatehdr:
        update = update_headers(result.frame, result.images, result.solutions, settings, cores=cores)
        result = replace(result, updated=update.written, solutions=update.solutions)
    if settings.headerlet and folder is not None:
        made = write_headerlets(result.frame, result.images, result.solutions, settings, folder)
        result = replace(result, products=(*result.products, *made))
    return result


def _resolve_inputs(
    inputs: str | Sequence[str],
) -> tuple[list[str], dict[str, tuple[Path, ...]], list[ExposureError]]:
    """Files to align, the catalogues that an @list gives beside them, and entries that lead nowhere.

    The names of a pattern are sorted.
    """
    entries = [inputs] if isinstance(inputs, str) else list(inputs)
    catalogs: dict[str, tuple[Path, ...]] = {}
    names: list[str] = []
    for entry in entries:
        rows = _list_rows(entry)
        if not any(len(row) > 1 for row in rows):
            names.append(entry)
            continue
        for row in rows:
            (file,) = expand_inputs([row[0]]).files
            names.append(file.path)
            catalogs[file.path] = tuple(map(Path, row[1:]))
    found = expand_inputs(names)
    return [file.path for file in found.files], catalogs, list(found.rejected)


def _list_rows(entry: str) -> list[list[str]]:
    """Words of the lines of an @list; none for another entry."""
    if not entry.startswith("@") or not Path(entry[1:]).is_file():
        return []
    lines = Path(entry[1:]).read_text(encoding="utf-8").splitlines()
    return [line.split() for line in lines if line.strip() and not line.startswith("#")]
