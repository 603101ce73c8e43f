"""From a finished job to FITS: final products, and the intermediates under DrizzlePac's names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from astropy import __version__ as astropy_version
from astropy.io import fits

from mosaic.exposure.model import Chip, Exposure
from mosaic.exposure.units import separate_bunit
from mosaic.graph.job import Frame, Job, chip_task
from mosaic.graph.tasks import total_exptime
from mosaic.headers.product import (
    BlotFacts,
    ChipFacts,
    ProductFacts,
    ProductHeaders,
    build_blot_header,
    build_median_header,
    build_product_headers,
    build_single_headers,
    mask_header,
)
from mosaic.headers.rulesets import RuleSet, RulesFile, choose_rules
from mosaic.headers.sources import HeaderSource, extension_places
from mosaic.products.compressed import write_compressed_image
from mosaic.products.fits import Plane, write_image, write_products
from mosaic.products.naming import ExposureNames, ProductKind, ProductNames
from mosaic.products.planes import MaskPlane, StoredPlane, TiledPlane
from mosaic.products.weightmaps import weight_images, weight_scale
from mosaic.types import FloatArray, ShapeYX


class _ErrorPlane:
    """Error image: the square root of the stored variance."""

    def __init__(self, variance: TiledPlane) -> None:
        self._variance = variance
        self.shape = variance.shape
        self.dtype = np.dtype(np.float32)
        self.block_rows = variance.block_rows

    def rows(self, plane: int, y0: int, y1: int) -> FloatArray:
        """Rows ``y0 <= y < y1``."""
        err: FloatArray = np.sqrt(self._variance.rows(plane, y0, y1))
        return err


def export_products(
    job: Job, names: ProductNames, n_parallel: int = 1, headers: ProductHeaders | None = None
) -> list[Path]:
    """Write the final products of a finished job, `n_parallel` files at a time.

    Their headers are made unless they are given.

    Raises
    ------
    StoreError
        When the ledger is incomplete or a chunk is not what it says.
    OutputError
        When a product cannot be written.
    """
    settings = job.plan.settings
    planes: dict[ProductKind, Plane] = {
        "sci": TiledPlane(job, "final", "mosaic.zarr/sci", "sci"),
        "wht": TiledPlane(job, "final", "mosaic.zarr/wht", "wht"),
    }
    if settings.context:
        planes["ctx"] = TiledPlane(job, "final", "mosaic.zarr/ctx", "ctx")
    if settings.final_err:
        planes["err"] = _ErrorPlane(TiledPlane(job, "final", "mosaic.zarr/var", "var"))
    headers = headers or build_product_headers(product_facts(job, names))
    return write_products(names, headers, planes, build=settings.build, n_parallel=n_parallel)


def product_facts(job: Job, names: ProductNames) -> ProductFacts:
    """What the headers of the product say beyond those of the inputs."""
    plan, settings = job.plan, job.plan.settings
    return ProductFacts(
        chips=_chip_facts(job, job.final, plan.exposures, step="final"),
        names=names,
        grid=plan.final.grid,
        texptime_s=total_exptime(job),
        expstart_mjd=min(exposure.expstart_mjd for exposure in plan.exposures),
        expend_mjd=max(exposure.expend_mjd for exposure in plan.exposures),
        n_exposures=len(plan.exposures),
        versions=_versions(plan.version),
        build=settings.build,
        final_units=settings.final_units,
        bunit=job.product_unit.bunit(settings.final_units),
        log_name=settings.runfile,
        has_context=settings.context,
        has_error=settings.final_err,
        rules=_user_rules(job),
        peer_compat=settings.peer_compat,
    )


def _user_rules(job: Job) -> RuleSet | None:
    """Return the rules that the user's files give; None when there are none."""
    files = [RulesFile(*entry) for entry in job.plan.header_rules]
    if not files:
        return None
    instruments = {exposure.instrument: "HST" for exposure in job.plan.exposures}
    return choose_rules(instruments, files, lenient=job.plan.settings.peer_compat)


def _versions(mosaic_version: str) -> dict[str, str]:
    return {"mosaic": mosaic_version, "astropy": astropy_version, "numpy": np.__version__}


def _chip_facts(job: Job, frame: Frame, exposures: Sequence[Exposure], *, step: str) -> list[ChipFacts]:
    settings = job.plan.settings
    final = step == "final"
    facts = []
    for exposure in exposures:
        sources = _header_sources(job, exposure)
        for chip in exposure.chips:
            names = ExposureNames(exposure.rootname)
            facts.append(
                ChipFacts(
                    source=sources[chip.extver],
                    data=f"{exposure.filename}[sci,{chip.extver}]",
                    exptime_s=chip.exptime_s,
                    weight_scale=weight_scale(job, chip, final=final),
                    kernel=frame.drop.kernel,
                    pixfrac=frame.drop.pixfrac,
                    fill_value=settings.final_fillval if final else settings.driz_sep_fillval,
                    idcscale_arcsec=chip.idcscale_arcsec,
                    mask=names.weight_map(chip.extver, "final" if final else "single"),
                    wcskey=settings.wcskey,
                    own_units=_own_units(job, chip, final=final),
                )
            )
    return facts


def _own_units(job: Job, chip: Chip, *, final: bool) -> float:
    """Units of a chip's image in one unit of the product (separate drizzles: in one electron).

    DrizzlePac never rescales PHOTFLAM.
    """
    if job.plan.settings.peer_compat:
        return 1.0
    unit_e = job.product_unit.divisors[job.chip_index[chip_task(chip)]] if final else 1.0
    return unit_e / chip.gain


def _header_sources(job: Job, exposure: Exposure) -> dict[int, HeaderSource]:
    """Where the headers of the chips of an exposure are, by EXTVER."""
    path = exposure.chips[0].sci.path
    places = extension_places(path)
    return {
        chip.extver: HeaderSource(
            path,
            chip.hdu_index,
            places.get(("ERR", chip.file_extver)),
            places.get(("DQ", chip.file_extver)),
            job.sky[chip.name].recorded,
            chip.extver if chip.extver != chip.file_extver else None,
            job.plan.settings.wcskey,
            chip.wcs if exposure.wcs_solution else None,
        )
        for chip in exposure.chips
    }


def export_intermediates(job: Job, names: ProductNames) -> list[Path]:
    """Write separate drizzles, median, blots and masks under DrizzlePac's names (``clean=False``)."""
    settings = job.plan.settings
    written = [write_image(names.path(name), *image) for name, *image in _intermediates(job, names)]
    write_single = write_compressed_image if settings.driz_sep_compress else write_image
    for exposure in job.plan.exposures if job.keeps_singles else ():
        for name, header, plane in _single_images(job, names, exposure):
            written.append(write_single(names.path(name), header, plane))
    return written


def _intermediates(job: Job, names: ProductNames) -> Iterator[tuple[str, fits.Header, Plane]]:
    plan, settings = job.plan, job.plan.settings
    if settings.static:
        for group, members in job.static_groups.items():
            chip = plan.chips[members[0]]
            shape = ShapeYX(*chip.shape_yx)
            # The masks of NICMOS go by the number of the camera.
            number = chip.ccdchip if chip.instrument == "NICMOS" else chip.extver
            name = names.static_mask(shape, number, _mask_group(job, chip))
            yield name, mask_header(name), MaskPlane(job, f"static/{group}", "int16")
    yield from weight_images(job)
    if settings.median:
        facts = _separate_facts(job, names, plan.exposures, total_exptime(job))
        yield (
            names.median,
            build_median_header(facts),
            TiledPlane(job, "median", "median.zarr/median", "median"),
        )
    for exposure in plan.exposures if settings.blot else ():
        yield from _blot_images(job, exposure)


def _blot_images(job: Job, exposure: Exposure) -> Iterator[tuple[str, fits.Header, Plane]]:
    settings, own = job.plan.settings, ExposureNames(exposure.rootname)
    sources = _header_sources(job, exposure)
    for chip in exposure.chips:
        name = own.blot(chip.extver)
        exptime_s = total_exptime(job) if settings.peer_compat else chip.exptime_s
        facts = BlotFacts(name, exptime_s, chip.native_unit, job.plan.version)
        header = build_blot_header(sources[chip.extver], facts)
        yield name, header, StoredPlane(job, f"intermediates.zarr/blt/{chip_task(chip)}")
        if settings.driz_cr:
            mask = own.cosmic_ray_mask(chip.extver)
            yield mask, mask_header(mask), MaskPlane(job, f"cosmic_rays/{chip_task(chip)}", "uint8")


def _mask_group(job: Job, chip: Chip) -> str:
    """Instrument and detector in the name of a static mask, only where chips of several would share it."""
    name = (chip.extver, chip.shape_yx)
    kinds = {(c.instrument, c.detector) for c in job.plan.chips if (c.extver, c.shape_yx) == name}
    return f"{chip.instrument}_{chip.detector}" if len(kinds) > 1 else ""


def _single_images(
    job: Job, names: ProductNames, exposure: Exposure
) -> Iterator[tuple[str, fits.Header, Plane]]:
    own = ExposureNames(exposure.rootname)
    headers = build_single_headers(_separate_facts(job, names, [exposure], exposure.chips[0].exptime_s), own)
    for kind, name, header in (("sci", own.single_sci, headers.sci), ("wht", own.single_wht, headers.wht)):
        yield name, header, StoredPlane(job, f"intermediates.zarr/single_{kind}/{exposure.rootname}")


def _separate_facts(
    job: Job, names: ProductNames, exposures: Sequence[Exposure], exptime_s: float
) -> ProductFacts:
    """What the headers of separate drizzles and of their median say."""
    return ProductFacts(
        chips=_chip_facts(job, job.separate, exposures, step="single"),
        names=names,
        grid=job.plan.separate.grid,
        texptime_s=exptime_s,
        expstart_mjd=min(exposure.expstart_mjd for exposure in exposures),
        expend_mjd=max(exposure.expend_mjd for exposure in exposures),
        n_exposures=len(exposures),
        versions=_versions(job.plan.version),
        build=False,
        bunit=separate_bunit(exposures[0].chips[-1], peer_compat=job.plan.settings.peer_compat),
        log_name=job.plan.settings.runfile,
        has_context=False,
    )
