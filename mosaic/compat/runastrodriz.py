"""The pipeline's way of drizzling: an association or exposure in, products and a trailer file out.

``from mosaic.compat import runastrodriz`` stands for ``from drizzlepac import runastrodriz``. Covers the
DRIZCORR switch, both kinds of calibrated files, the parameters of the pipeline, final products, trailer and
manifest. Does not cover what needs the network (astrometry database, alignment to Gaia): the trailer says so.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from astropy.io import fits

from mosaic.compat.astrodrizzle import AstroDrizzle
from mosaic.compat.pipelinefiles import (
    PipelineInput,
    describe_exposure,
    describe_product,
    edit_headers,
    find_pipeline_input,
)
from mosaic.errors import MissingFileError, MosaicError, OutputError
from mosaic.runlog import logging_to_file
from mosaic.values import is_blank

__all__ = ["PIPELINE_PARS", "PipelineReport", "process"]

PIPELINE_PARS: Final = MappingProxyType(
    {
        "stepsize": 10,
        "preserve": False,
        "clean": True,
        "resetbits": "4096",
        "driz_sep_kernel": "turbo",
        "driz_sep_fillval": 0.0,
        "final_fillval": "INDEF",
    }
)
"""Parameters that the pipeline fixes; the MDRIZTAB row gives the others."""
MIXED_EXPOSURES: Final = MappingProxyType({"combine_type": "median", "combine_nhigh": 0})
"""Parameters for exposures whose times differ by more than `MAX_RATIO`: minmed is not made for them."""
MAX_RATIO: Final = 2.0

_SKIPPED: Final = (
    "a priori alignment skipped: it needs the astrometry database on the network",
    "a posteriori alignment to Gaia skipped: it needs a catalogue from the network",
)


@dataclass(frozen=True, slots=True)
class PipelineReport:
    """What a pipeline run made (DrizzlePac returns nothing)."""

    products: tuple[Path, ...]
    """Product files; empty when drizzling was not requested."""
    trailer: Path
    """Log file."""
    manifest: Path | None
    """List of files written or changed, when asked for."""


def process(
    inFile: str,
    force: bool = False,  # noqa: FBT001, FBT002
    newpath: str | None = None,
    num_cores: int | None = None,
    inmemory: bool = True,  # noqa: FBT001, FBT002
    headerlets: bool = True,  # noqa: FBT001, FBT002
    align_to_gaia: bool = True,  # noqa: FBT001, FBT002
    force_alignment: bool = False,  # noqa: FBT001, FBT002
    do_verify_guiding: bool = False,  # noqa: FBT001, FBT002
    debug: bool = False,  # noqa: FBT001, FBT002
    make_manifest: bool = False,  # noqa: FBT001, FBT002
) -> PipelineReport:
    """Drizzle an association or a single exposure as the archive's pipeline does.

    Parameters
    ----------
    inFile : str
        Association table, raw or calibrated exposure.
    force : bool
        Drizzle even when DRIZCORR is not PERFORM.
    newpath : str, optional
        Folder in which the work is done, on copies; results are moved back.
    num_cores : int, optional
        Processor cores; default all.
    inmemory : bool
        Accepted: intermediates stay in memory anyway.
    headerlets, align_to_gaia, force_alignment, do_verify_guiding : bool
        Accepted; what was asked for and cannot be done is said in the trailer.
    debug : bool
        Log more.
    make_manifest : bool
        Write ``<root>_manifest.txt``.

    Returns
    -------
    PipelineReport
        Products, trailer, manifest.

    Raises
    ------
    ExposureError, ParameterError, OutputError
        As their names say; the trailer holds the reason too.
    """
    del inmemory
    named = find_pipeline_input(inFile)
    with _scratch(named, newpath) as work:
        trailer = work.folder / f"{work.root}.tra"
        with logging_to_file(str(trailer)) as log:
            log.setLevel(logging.DEBUG if debug else logging.INFO)
            log.info("runastrodriz (mosaic %s): %s", version("mosaic-hst"), named.path.name)
            _say_what_is_skipped(
                log,
                is_aligning=align_to_gaia or force_alignment,
                is_guiding_checked=do_verify_guiding,
                wants_headerlets=headerlets,
            )
            try:
                products = _process_sets(work, log, force=force, num_cores=num_cores)
            except (MosaicError, OSError) as error:
                log.error("astrodrizzle could not complete: %s", error)  # noqa: TRY400 (the caller has it)
                raise
        manifest = _write_manifest(work, products, trailer) if make_manifest else None
    return PipelineReport(
        tuple(named.folder / product.name for product in products),
        named.folder / trailer.name,
        None if manifest is None else named.folder / manifest.name,
    )


def _say_what_is_skipped(
    log: logging.Logger, *, is_aligning: bool, is_guiding_checked: bool, wants_headerlets: bool
) -> None:
    """Name every step of the pipeline that is not done, with the reason."""
    lines = list(_SKIPPED) if is_aligning else []
    lines.append("update of the WCS from reference files skipped: the WCS in the exposures is used")
    if is_guiding_checked:
        lines.append("verification of guiding skipped: not available in this version")
    if wants_headerlets:
        lines.append("headerlets not written: no WCS was changed")
    for line in lines:
        log.warning("%s", line)


def _process_sets(
    work: PipelineInput, log: logging.Logger, *, force: bool, num_cores: int | None
) -> list[Path]:
    """Drizzle the flt and the flc files; DRIZCORR decides whether at all."""
    sets = work.sets()
    if not sets:
        missing = f"{work.members[0]}_flt.fits"
        raise MissingFileError(missing, "no calibrated exposure (flt, flc) is there", "calibrate or fetch it")
    for path in (path for files in sets.values() for path in files):
        edit_headers(path, describe_exposure)
    switch = work.drizcorr()
    if not force and switch.upper() != "PERFORM":
        log.info("astrodrizzle skipped: DRIZCORR is %s, not PERFORM", switch or "absent")
        return []
    products: list[Path] = []
    for suffix, files in sets.items():
        absent = len(work.members) - len(files)
        if absent:
            log.warning("%d of %d members have no %s file", absent, len(work.members), suffix.lstrip("_"))
        log.info("astrodrizzle started on %d %s files", len(files), suffix.lstrip("_"))
        made = _drizzle_set(work, log, files, num_cores)
        for product in (path for path in made if "_ctx" not in path.name and "_wht" not in path.name):
            edit_headers(product, partial(describe_product, exposures=files, trailer=f"{work.root}.tra"))
        products += made
    finished = work.path if work.path.name.endswith("_asn.fits") else next(iter(sets.values()))[0]
    edit_headers(finished, _mark_complete)
    return products


def _drizzle_set(
    work: PipelineInput, log: logging.Logger, files: list[Path], num_cores: int | None
) -> list[Path]:
    """Make the products of one kind of calibrated files."""
    parameters: dict[str, Any] = dict(PIPELINE_PARS)
    has_table = not is_blank(reference := fits.getheader(files[0]).get("MDRIZTAB")) and reference != "N/A"
    if not has_table:
        log.warning("%s names no MDRIZTAB: DrizzlePac's defaults are used, build=True", files[0].name)
        parameters["build"] = True
    ratio = work.exposure_ratio()
    if ratio > MAX_RATIO:
        log.info("exposure times differ by a factor %.3g: %s", ratio, dict(MIXED_EXPOSURES))
        parameters.update(MIXED_EXPOSURES)
    result = AstroDrizzle(
        [str(path) for path in files],
        mdriztab=has_table,
        output=str(work.folder / work.product),
        runfile="",
        num_cores=num_cores,
        **parameters,
    )
    inputs = {path.name for path in files}
    return [path for path in result.files if path.name not in inputs]


def _mark_complete(hdul: fits.HDUList) -> None:
    hdul[0].header["DRIZCORR"] = "COMPLETE"


@contextmanager
def _scratch(named: PipelineInput, newpath: str | None) -> Iterator[PipelineInput]:
    """Work on copies in another folder and move everything back; without a folder, where the input is.

    After a failure the scratch folder is kept with all that is in it.
    """
    if newpath is None:
        yield named
        return
    folder = Path(newpath) / named.root
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made for the work ({error.strerror})") from error
    for root in {named.root, *named.members}:
        for path in sorted(named.folder.glob(f"{root}*")):
            if path.is_file():
                shutil.copy2(path, folder / path.name)
    yield PipelineInput(folder / named.path.name, named.root, named.product, named.members)
    for path in sorted(folder.iterdir()):
        shutil.move(path, named.folder / path.name)
    folder.rmdir()


def _write_manifest(work: PipelineInput, products: list[Path], trailer: Path) -> Path:
    """List products, calibrated exposures and the trailer, one name a line."""
    manifest = work.folder / f"{work.root}_manifest.txt"
    exposures = [path for files in work.sets().values() for path in files]
    manifest.write_text(
        "".join(f"{path.name}\n" for path in (*products, *exposures, trailer)), encoding="utf-8"
    )
    return manifest
