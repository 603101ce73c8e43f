"""The flow of an alignment: inputs, sources, reference, solutions, results.

Covers what TweakReg does from its call to its files. The inputs are opened for reading only, unless
`updatehdr` asks for their headers to be updated.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mosaic.align.catalogs import FluxLimits, read_reference
from mosaic.align.images import ImageSources, read_chip_wcs, read_images, read_reference_image
from mosaic.align.products import AlignProducts, write_products
from mosaic.align.settings import AlignParameters, AlignSettings
from mosaic.align.solution import Solution, frame_positions
from mosaic.align.solve import Reference, make_field, order_by_overlap, solve_sequentially
from mosaic.align.together import solve_together
from mosaic.align.wcs_update import check_updatable, check_wcsname, update_headers
from mosaic.errors import ParameterError
from mosaic.exposure.inputs import expand_inputs
from mosaic.geometry.grid import OutputGrid, default_grid, reference_grid
from mosaic.options import RunOptions
from mosaic.runlog import LOGGER_NAME


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
    products: tuple[Path, ...]
    """Files written."""
    updated: tuple[Path, ...]
    """Inputs whose headers were updated."""
    message: str = ""
    """Why nothing was aligned; empty otherwise."""

    @property
    def failed(self) -> tuple[Solution, ...]:
        """Solutions of images that were not aligned."""
        return tuple(solution for solution in self.solutions if not solution.is_good)

    @property
    def is_complete(self) -> bool:
        """Whether every image is in the reference frame."""
        return not self.failed and not self.message


def align(
    inputs: str | Sequence[str],
    parameters: AlignParameters,
    *,
    options: RunOptions | None = None,
    folder: Path | None = None,
) -> AlignResult:
    """Align exposures to each other, to an image or to a catalogue.

    Parameters
    ----------
    inputs : str or sequence of str
        Files, globs, comma lists, @lists (with catalogues of the chips after the names), associations.
    parameters : AlignParameters
        From `mosaic.align.settings.load_align_settings`.
    options : RunOptions, optional
        Cores and memory.
    folder : Path, optional
        Where files are written; the working directory by default.

    Returns
    -------
    AlignResult
        Images that could not be aligned are in it with their status and reason, their headers untouched.

    Raises
    ------
    ParameterError, WcsNameExistsError, CatalogError, MissingFileError, StructureError, WcsError, OutputError
        As their names say; the checks of names and permissions come before any work.
    """
    settings = parameters.align
    options = options or RunOptions.resolve()
    log = logging.getLogger(LOGGER_NAME)
    for note in parameters.notes:
        log.warning("%s", note)
    if settings.headerlet:
        log.warning("headerlet = True: no headerlet is written here; make them from the updated files")
    paths, catalogs = _resolve_inputs(inputs)
    if settings.updatehdr:
        check_updatable(paths)
        check_wcsname(paths, settings)
    images = read_images(paths, settings, catalogs, cores=options.cores, memory_bytes=options.memory)
    for image in images:
        log.info("%s: %d sources", image.name, len(image))
        for note in image.notes:
            log.warning("%s: %s", image.name, note)
    result = _solve(images, parameters, options)
    for solution in result.solutions:
        log.log(
            logging.INFO if solution.is_good else logging.WARNING,
            "%s: %s %s", Path(solution.path).name, solution.status, solution.reason,
        )  # fmt: skip
    written = write_products(
        AlignProducts(
            result.frame, result.images, result.solutions, result.reference.xy, result.reference.origin
        ),
        settings,
        folder or Path.cwd(),
    )
    updated = (
        update_headers(result.frame, result.images, result.solutions, settings) if settings.updatehdr else []
    )
    return replace(result, products=tuple(written), updated=tuple(updated))


def _resolve_inputs(
    inputs: str | Sequence[str],
) -> tuple[list[str], dict[str, tuple[Path, ...]]]:
    """Files to align, and the catalogues that an @list gives beside them.

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
    if found.rejected:
        raise found.rejected[0]
    return [file.path for file in found.files], catalogs


def _list_rows(entry: str) -> list[list[str]]:
    """Words of the lines of an @list; none for another entry."""
    if not entry.startswith("@") or not Path(entry[1:]).is_file():
        return []
    lines = Path(entry[1:]).read_text(encoding="utf-8").splitlines()
    return [line.split() for line in lines if line.strip() and not line.startswith("#")]


def _solve(images: list[ImageSources], parameters: AlignParameters, options: RunOptions) -> AlignResult:
    """Build frame and reference, and align."""
    settings = parameters.align
    frame = _frame(images, settings)
    fields = [make_field(image, frame) for image in images]
    reference = _external_reference(images, frame, parameters, options)
    leader: int | None = None
    if reference is None:
        usable = [i for i, field in enumerate(fields) if len(field.xy) >= max(1, settings.minobj)]
        if len(usable) < 2:
            return _nothing(images, frame, settings)
        order = [usable[k] for k in order_by_overlap([fields[i] for i in usable])] if (
            not settings.enforce_user_order and len(usable) > 2
        ) else usable  # fmt: skip
        leader = order[0]
        order += [i for i in range(len(fields)) if i not in order]
        first = fields[leader]
        reference = Reference(first.xy[first.order], (first.image.name,) * len(first.xy))
    else:
        order = list(range(len(fields)))
    others = [fields[i] for i in order if i != leader]
    is_global = settings.solve == "global"
    how = settings.model_copy(update={"expand_refcat": True}) if is_global else settings
    solutions, reference = solve_sequentially(others, reference, how, _radius_px(frame, settings))
    if leader is not None:
        solutions = [Solution(images[leader].path, "reference"), *solutions]
        others = [fields[leader], *others]
    if is_global:
        solutions = solve_together(others, solutions, reference, settings, 0 if leader is not None else None)
    return AlignResult(frame, tuple(field.image for field in others), tuple(solutions), reference, (), ())


def _radius_px(frame: OutputGrid, settings: AlignSettings) -> float:
    return settings.searchrad / (frame.scale_arcsec if settings.searchunits == "arcseconds" else 1.0)


def _nothing(images: list[ImageSources], frame: OutputGrid, settings: AlignSettings) -> AlignResult:
    """Result when fewer than two images have enough sources and there is no catalogue."""
    text = f"nothing to align: fewer than two images have {settings.minobj} sources (minobj)"
    solutions = []
    for image in images:
        n_fixed = sum(chip.n_fixed for chip in image.chips)
        reason = f"{len(image)} sources" + (
            f", {n_fixed} more stay on their detector pixel" if n_fixed else ""
        )
        solutions.append(Solution(image.path, "too_few_sources", reason))
    reference = Reference(np.empty((0, 2)), ())
    return AlignResult(frame, tuple(images), tuple(solutions), reference, (), (), text)


def _frame(images: Sequence[ImageSources], settings: AlignSettings) -> OutputGrid:
    """The reference frame: that of `refimage`, else a tangent plane over all chips."""
    if not settings.refimage:
        return default_grid([chip.wcs for image in images for chip in image.chips], padding="edges")
    chips = read_chip_wcs(settings.refimage)
    if any(wcs.has_distortion for wcs in chips):
        return default_grid(chips, padding="edges")
    return reference_grid(settings.refimage)


def _external_reference(
    images: Sequence[ImageSources], frame: OutputGrid, parameters: AlignParameters, options: RunOptions
) -> Reference | None:
    """Reference catalogue from a file or an image; None: the first input is the reference."""
    settings = parameters.align
    if settings.refcat:
        epochs = [image.epoch_mjd for image in images if image.epoch_mjd is not None]
        catalog = read_reference(
            Path(settings.refcat),
            (settings.refxcol, settings.refycol, settings.rfluxcol),
            FluxLimits(settings.rminflux, settings.rmaxflux, settings.rfluxunits, settings.refnbright),
            float(np.mean(epochs)) if epochs else None,
        )
        brightness = catalog.flux * (1.0 if settings.rfluxunits == "mag" else -1.0)
        order = np.argsort(np.nan_to_num(brightness), kind="stable")
        if settings.refxyunits == "degrees":
            xy = frame_positions(frame, catalog.first, catalog.second)
        elif settings.refimage:
            xy = np.stack([catalog.first, catalog.second], axis=1) - np.array(frame.crpix_xy)
        else:
            raise ParameterError("refxyunits = pixels needs refimage: the pixels are those of its frame")
        xy = xy[order]
        finite = np.isfinite(xy).all(axis=1)
        return Reference(xy[finite], (Path(settings.refcat).name,) * int(finite.sum()))
    if settings.refimage:
        image = read_reference_image(
            settings.refimage, parameters.reference, cores=options.cores, memory_bytes=options.memory
        )
        field = make_field(image, frame)
        return Reference(field.xy[field.order], (image.name,) * len(field.xy))
    return None
