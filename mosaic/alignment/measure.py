"""From source lists to solutions: reference frame, reference catalogue, order, fits.

Covers the flow that files and exposures of a run share. Does not cover reading sources (`images`) nor what is
written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mosaic.alignment.catalogs import FluxLimits, read_reference
from mosaic.alignment.correlation import align_by_correlation
from mosaic.alignment.images import ImageSources
from mosaic.alignment.reading import read_chip_wcs, read_reference_image
from mosaic.alignment.result import AlignResult
from mosaic.alignment.settings import AlignParameters, AlignSettings
from mosaic.alignment.solution import Solution, frame_positions
from mosaic.alignment.solve import Reference, make_field, order_by_overlap, solve_sequentially
from mosaic.alignment.together import solve_together
from mosaic.errors import ParameterError
from mosaic.geometry.grid import OutputGrid, default_grid, reference_grid
from mosaic.options import RunOptions


def measure(images: list[ImageSources], parameters: AlignParameters, options: RunOptions) -> AlignResult:
    """Build frame and reference, and align.

    Parameters
    ----------
    images : list of ImageSources
        Source lists.
    parameters : AlignParameters
        Parameters.
    options : RunOptions
        Cores and memory for the reference image.

    Returns
    -------
    AlignResult
        Nothing is written.

    Raises
    ------
    ParameterError, CatalogError, MissingFileError, StructureError, WcsError
        When the reference cannot be used.
    """
    settings = parameters.align
    frame = _frame(images, settings)
    if settings.method == "correlation":
        return _measure_light(images, frame, parameters, options)
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
    solutions, reference = solve_sequentially(
        others, reference, how, _radius_px(frame, settings), cores=options.cores
    )
    if leader is not None:
        solutions = [Solution(images[leader].path, "reference"), *solutions]
        others = [fields[leader], *others]
    if is_global:
        solutions = solve_together(others, solutions, reference, settings, 0 if leader is not None else None)
    return AlignResult(frame, tuple(field.image for field in others), tuple(solutions), reference)


def _measure_light(
    images: list[ImageSources], frame: OutputGrid, parameters: AlignParameters, options: RunOptions
) -> AlignResult:
    """Align by the correlation of light with that of the first image or of `refimage`."""
    settings = parameters.align
    problems = {
        "refcat": bool(settings.refcat),
        "catfile": bool(settings.catfile),
        "solve=global": settings.solve == "global",
    }
    wrong = [name for name, is_given in problems.items() if is_given]
    if wrong:
        raise ParameterError(
            f"method = correlation compares images: {', '.join(wrong)} cannot be used with it"
        )
    reference = None
    if settings.refimage:
        reference = read_reference_image(
            settings.refimage,
            parameters.reference,
            cores=options.cores,
            memory_bytes=options.memory,
            block=settings.correlation_block,
        )
    elif len(images) < 2:
        return _nothing(images, frame, settings)
    return align_by_correlation(images, reference, frame, settings, _radius_px(frame, settings))


def _radius_px(frame: OutputGrid, settings: AlignSettings) -> float:
    return settings.searchrad / (frame.scale_arcsec if settings.searchunits == "arcseconds" else 1.0)


def _nothing(images: list[ImageSources], frame: OutputGrid, settings: AlignSettings) -> AlignResult:
    """Result when fewer than two images have enough sources and there is no catalogue."""
    text = f"nothing to align: fewer than two images have {settings.minobj} sources (minobj)"
    solutions = []
    for image in images:
        if len(image) >= max(1, settings.minobj):
            solutions.append(Solution(image.path, "reference", "the only image with enough sources"))
            continue
        n_fixed = sum(chip.n_fixed for chip in image.chips)
        reason = f"{len(image)} sources" + (
            f", {n_fixed} more stay on their detector pixel" if n_fixed else ""
        )
        solutions.append(Solution(image.path, "too_few_sources", reason))
    reference = Reference(np.empty((0, 2)), ())
    return AlignResult(frame, tuple(images), tuple(solutions), reference, message=text)


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
