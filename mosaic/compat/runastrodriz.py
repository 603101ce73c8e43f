"""The pipeline's way of drizzling: an association or exposure in, products and a trailer file out.

``from mosaic.compat import runastrodriz`` stands for ``from drizzlepac import runastrodriz``. Covers the
DRIZCORR switch, both kinds of calibrated files, a WCS from reference files, verification of the alignment,
alignment to a catalogue at hand, the parameters of the pipeline, final products, headerlets, trailer and
manifest. Does not cover what needs the network (astrometry database, catalogues): the trailer says so.
"""

from __future__ import annotations

import logging
import os
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
from mosaic.compat.pipelinewcs import (
    align_to_catalog,
    is_verified,
    renew_wcs,
    reset_references,
    verify,
    write_headerlets,
)
from mosaic.errors import MissingFileError, MosaicError, OutputError, ParameterError
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

CLEARED: Final = "4096,8192"
"""Flags of cosmic rays that are cleared before the alignment is verified."""


@dataclass(frozen=True, slots=True)
class PipelineSwitches:
    """What a run does besides drizzling."""

    force: bool
    """Drizzle whatever DRIZCORR says."""
    num_cores: int | None
    """Processor cores."""
    verifies: bool
    """Verify how the exposures lie on each other."""
    aligns: bool
    """Align them, if there is a catalogue."""
    catalog: Path | None
    """Astrometric catalogue at hand."""
    resets_idctab: bool
    """Take IDCTAB from the raw files."""
    checks_guiding: bool
    """Asked for, not available."""
    headerlets: bool
    """Write headerlets."""


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
    *,
    catalog: str | Path | None = None,
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
    headerlets : bool
        Write the WCS of every exposure to a headerlet.
    align_to_gaia : bool
        Align to `catalog`; without one only the trailer says that it was asked for.
        ``ASTROMETRY_COMPUTE_APOSTERIORI`` in the environment wins.
    force_alignment : bool
        Verify how the exposures lie on each other although nothing is aligned.
    do_verify_guiding : bool
        Accepted, not done: the trailer says so.
    debug : bool
        Log more.
    make_manifest : bool
        Write ``<root>_manifest.txt``.
    catalog : str or Path, optional
        Astrometric catalogue with RA and Dec (degrees) in its first two columns: takes the place of the
        archive's, which need the network.

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
    is_aligning = _environment("ASTROMETRY_COMPUTE_APOSTERIORI", default=align_to_gaia)
    has_apriori = _environment("ASTROMETRY_APPLY_APRIORI", default=True)
    switches = PipelineSwitches(
        force=force,
        num_cores=num_cores,
        verifies=is_aligning or has_apriori or force_alignment,
        aligns=is_aligning,
        catalog=None if catalog is None else Path(catalog).absolute(),
        resets_idctab=_environment("PIPELINE_RESET_IDCTAB", default=False),
        checks_guiding=do_verify_guiding,
        headerlets=headerlets,
    )
    with _scratch(named, newpath) as work:
        trailer = work.folder / f"{work.root}.tra"
        with logging_to_file(str(trailer)) as log:
            log.setLevel(logging.DEBUG if debug else logging.INFO)
            log.info("runastrodriz (mosaic %s): %s", version("mosaic-hst"), named.path.name)
            if has_apriori:
                log.warning("a priori alignment skipped: it needs the astrometry database on the network")
            _say_what_is_skipped(log, switches)
            try:
                products, written = _process_sets(work, log, switches)
            except (MosaicError, OSError) as error:
                log.error("astrodrizzle could not complete: %s", error)  # noqa: TRY400 (the caller has it)
                raise
        manifest = _write_manifest(work, [*products, *written], trailer) if make_manifest else None
    return PipelineReport(
        tuple(named.folder / product.name for product in products),
        named.folder / trailer.name,
        None if manifest is None else named.folder / manifest.name,
    )


def _environment(name: str, *, default: bool) -> bool:
    """Value of a switch in the environment (on, off, yes, no, true, false); blank: the default.

    Raises
    ------
    ParameterError
        When it is none of these.
    """
    text = os.environ.get(name, "").strip().lower()
    if not text:
        return default
    if text not in {"on", "yes", "true", "off", "no", "false"}:
        raise ParameterError(f"{name}={text!r} in the environment is neither on nor off")
    return text in {"on", "yes", "true"}


def _say_what_is_skipped(log: logging.Logger, switches: PipelineSwitches) -> None:
    """Name every step of the pipeline that was asked for and is not done, with the reason."""
    if switches.aligns and switches.catalog is None:
        log.warning(
            "a posteriori alignment to Gaia skipped: its catalogue is on the network; give one as catalog"
        )
    if switches.checks_guiding:
        log.warning("verification of guiding skipped: not available in this version")
    log.warning("SKYCELL not written: it needs the table of sky cells")


def _process_sets(
    work: PipelineInput, log: logging.Logger, switches: PipelineSwitches
) -> tuple[list[Path], list[Path]]:
    """Drizzle the flt and the flc files; DRIZCORR decides whether at all. Products, and headerlets."""
    sets = work.sets()
    if not sets:
        missing = f"{work.members[0]}_flt.fits"
        raise MissingFileError(missing, "no calibrated exposure (flt, flc) is there", "calibrate or fetch it")
    exposures = [path for files in sets.values() for path in files]
    if switches.resets_idctab:
        reset_references(work, log)
    switch = work.drizcorr()
    if not switches.force and switch.upper() != "PERFORM":
        for path in exposures:
            edit_headers(path, describe_exposure)
        log.info("astrodrizzle skipped: DRIZCORR is %s, not PERFORM", switch or "absent")
        return [], []
    renew_wcs(exposures, log)
    if switches.verifies:
        _settle_wcs(work, log, switches)
    for path in exposures:
        edit_headers(path, describe_exposure)
    products: list[Path] = []
    for suffix, files in sets.items():
        absent = len(work.members) - len(files)
        if absent:
            log.warning("%d of %d members have no %s file", absent, len(work.members), suffix.lstrip("_"))
        log.info("astrodrizzle started on %d %s files", len(files), suffix.lstrip("_"))
        made = _drizzle_set(work, log, files, switches)
        for product in (path for path in made if "_ctx" not in path.name and "_wht" not in path.name):
            edit_headers(product, partial(describe_product, exposures=files, trailer=f"{work.root}.tra"))
        products += made
    finished = work.path if work.path.name.endswith("_asn.fits") else next(iter(sets.values()))[0]
    edit_headers(finished, _mark_complete)
    first = next(iter(sets.values()))
    return products, write_headerlets(first, log) if switches.headerlets else []


def _settle_wcs(work: PipelineInput, log: logging.Logger, switches: PipelineSwitches) -> None:
    """Verify the WCS of the exposures, and align them to the catalogue if there is one."""
    sets = work.sets()
    files = sets.get("_flc") or next(iter(sets.values()))
    parameters = _parameters(work, log, files, switches) | {"resetbits": CLEARED}
    if not is_verified(verify(files, parameters, log, "pipeline-default")):
        log.warning("exposures do not lie on each other with the WCS that they have")
    if switches.aligns and switches.catalog is not None:
        align_to_catalog(work, switches.catalog, parameters, log)


def _parameters(
    work: PipelineInput, log: logging.Logger, files: list[Path], switches: PipelineSwitches
) -> dict[str, Any]:
    """Parameters of the pipeline for one kind of calibrated files."""
    parameters: dict[str, Any] = {**PIPELINE_PARS, "num_cores": switches.num_cores}
    reference = fits.getheader(files[0]).get("MDRIZTAB")
    parameters["mdriztab"] = not is_blank(reference) and reference != "N/A"
    if not parameters["mdriztab"]:
        log.warning("%s names no MDRIZTAB: DrizzlePac's defaults are used, build=True", files[0].name)
        parameters["build"] = True
    if switches.verifies:
        parameters["resetbits"] = CLEARED
    ratio = work.exposure_ratio()
    if ratio > MAX_RATIO:
        log.info("exposure times differ by a factor %.3g: %s", ratio, dict(MIXED_EXPOSURES))
        parameters.update(MIXED_EXPOSURES)
    return parameters


def _drizzle_set(
    work: PipelineInput, log: logging.Logger, files: list[Path], switches: PipelineSwitches
) -> list[Path]:
    """Make the products of one kind of calibrated files."""
    result = AstroDrizzle(
        [str(path) for path in files],
        output=str(work.folder / work.product),
        runfile="",
        **_parameters(work, log, files, switches),
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
