"""The WCS of a pipeline run: derived from references, aligned to a catalogue, verified, kept as headerlets.

Covers what `mosaic.compat.runastrodriz` does to the exposures before it makes their product. Does not cover
what needs the network: solutions of the astrometry database, catalogues from archives.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from astropy.io import fits

from mosaic.alignment.run import align
from mosaic.alignment.settings import load_align_settings
from mosaic.compat.astrodrizzle import AstroDrizzle
from mosaic.compat.headerlet import apply_headerlet_as_primary, write_headerlet
from mosaic.compat.pipelinefiles import PipelineInput, edit_headers
from mosaic.errors import ExposureError, MosaicError, OutputError, ParameterError
from mosaic.headers.keywords import describe_wcsname
from mosaic.headers.update_wcs import REFERENCES, copy_with_new_wcs
from mosaic.quality.verification import ExposureCheck, check_exposure, common_region

_VERIFICATION: Final = MappingProxyType(
    {
        "clean": False,
        "build": False,
        "context": False,
        "dq_update": "none",
        "runfile": "",
        # The product in the very frame of the separate drizzles, whatever the table says.
        "driz_separate": True,
        "final_wcs": False,
        "driz_sep_wcs": False,
    }
)
"""Parameters of the products that are made only to be looked at."""


_ALIGNMENT: Final = MappingProxyType(
    {
        "refxyunits": "degrees",
        "fitgeometry": "rscale",
        "solve": "global",
        "minobj": 6,
        "updatehdr": True,
        "reusename": True,
        "writecat": False,
        "clean": True,
        "see2dplot": False,
        "residplot": "No plot",
    }
)
"""How exposures are aligned to a catalogue."""


def reset_references(work: PipelineInput, log: logging.Logger) -> None:
    """Name the IDCTAB of the raw files in the calibrated ones, where it is another."""
    for files in work.sets().values():
        for path in files:
            raw = work.raw_of(path)
            wanted = fits.getheader(raw).get("IDCTAB") if raw.is_file() else None
            if wanted and wanted != fits.getheader(path).get("IDCTAB"):
                edit_headers(path, partial(_name_idctab, value=str(wanted)))
                log.info("%s: IDCTAB is now %s, as in %s", path.name, wanted, raw.name)


def _name_idctab(hdul: fits.HDUList, value: str) -> None:
    hdul[0].header["IDCTAB"] = value


def renew_wcs(files: Sequence[Path], log: logging.Logger) -> list[Path]:
    """Give exposures the WCS and distortion of their reference files; return those that have it.

    An exposure whose references are not there keeps the WCS that it has, and the log says so.
    """
    renewed: list[Path] = []
    for path in files:
        named = [fits.getheader(path).get(keyword) for keyword in REFERENCES]
        if not any(str(name or "N/A").strip().upper() not in {"", "N/A"} for name in named):
            log.warning("%s: names no reference files, the WCS in it is used", path.name)
            continue
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".wcs.") as folder:
            try:
                made = copy_with_new_wcs(path, Path(folder))
            except (ExposureError, ParameterError) as error:
                log.warning("update of the WCS skipped: %s", error)
                continue
            try:
                made.replace(path)
            except OSError as error:
                raise OutputError(f"{path}: its WCS cannot be updated ({error.strerror})") from error
        log.info("%s: WCS derived from its reference files (%s)", path.name, _wcsname(path))
        renewed.append(path)
    return renewed


def verify(
    files: Sequence[Path], parameters: Mapping[str, Any], log: logging.Logger, what: str
) -> list[ExposureCheck]:
    """Drizzle exposures with their present WCS and measure how each lies on the product.

    Nothing is written to them. One exposure has nothing to lie on.
    """
    if len(files) < 2:
        log.info("verification of the %s alignment: nothing to compare one exposure with", what)
        return []
    with tempfile.TemporaryDirectory(dir=files[0].parent, prefix=".verify.") as folder:
        root = Path(folder) / "verify"
        AstroDrizzle([str(path) for path in files], output=str(root), **{**parameters, **_VERIFICATION})
        product = fits.getdata(next(Path(folder).glob("verify_dr?_sci.fits")))
        roots = [path.name.removesuffix(".fits").rpartition("_")[0] for path in files]
        weights = [fits.getdata(Path(folder) / f"{name}_single_wht.fits") for name in roots]
        region = common_region(weights)
        checks = [
            check_exposure(
                name, fits.getdata(Path(folder) / f"{name}_single_sci.fits"), weight, product, region
            )
            for name, weight in zip(roots, weights, strict=True)
        ]
    for check in checks:
        log.info(
            "%s: shift %.2f, %.2f px, overlap difference %.4f, focus %.4g (product %.4g), %d sources",
            check.name,
            *check.shift_xy,
            check.difference,
            check.focus,
            check.product_focus,
            check.n_sources,
        )
    verdict = "verified" if is_verified(checks) else "NOT verified"
    log.info("%s alignment %s: largest shift %.2f px", what, verdict, max(c.shift_px for c in checks))
    return checks


def is_verified(checks: Sequence[ExposureCheck]) -> bool:
    """Whether every exposure lies where the product has it."""
    return all(check.is_aligned for check in checks)


def align_to_catalog(
    work: PipelineInput,
    catalog: Path,
    parameters: Mapping[str, Any],
    log: logging.Logger,
) -> bool:
    """Align the exposures to a catalogue; keep the solution only when the product is the better for it.

    The flc files are aligned where there are any, and their solutions then applied to the flt files. What was
    changed is put back when a fit fails, or when the exposures do not lie on each other afterwards.
    """
    sets = work.sets()
    files = sets.get("_flc") or sets["_flt"]
    others = sets["_flt"] if "_flc" in sets and "_flt" in sets else []
    name = f"{_base(_wcsname(files[0]))}-FIT_REL_{catalog.stem.upper().replace('-', '_')[:12]}"
    with tempfile.TemporaryDirectory(dir=work.folder, prefix=".align.") as folder:
        kept = {path: Path(shutil.copy2(path, folder)) for path in (*files, *others)}
        try:
            settings = load_align_settings(keywords={**_ALIGNMENT, "refcat": str(catalog), "wcsname": name})
            result = align([str(path) for path in files], folder, settings=settings)
            for solution in result.solutions:
                log.info("%s: %s %s", Path(solution.path).name, solution.status, solution.reason)
            is_good = result.is_complete and is_verified(verify(files, parameters, log, "a posteriori"))
            if is_good:
                _apply_to(others, files, Path(folder))
        except MosaicError as error:
            log.warning("a posteriori alignment failed: %s", error)
            is_good = False
        if not is_good:
            for path, copy in kept.items():
                copy.replace(path)
            log.warning("a posteriori alignment not accepted: the WCS is that of before")
    return is_good


def _apply_to(others: Sequence[Path], files: Sequence[Path], folder: Path) -> None:
    """Give the flt files the solutions of their flc files."""
    by_root = {path.name.rpartition("_")[0]: path for path in files}
    for path in others:
        source = by_root.get(path.name.rpartition("_")[0])
        if source is not None:
            headerlet = folder / f"{source.stem}_hlet.fits"
            write_headerlet(str(source), headerlet.name, output=str(headerlet), attach=False, clobber=True)
            apply_headerlet_as_primary(str(path), str(headerlet), attach=True, archive=True)


def write_headerlets(files: Sequence[Path], log: logging.Logger) -> list[Path]:
    """Write the WCS of each exposure to ``<root>_flt_hlet.fits``, the name DrizzlePac gives for flc, too."""
    written: list[Path] = []
    for path in files:
        target = path.with_name(f"{path.name.removesuffix('.fits').rpartition('_')[0]}_flt_hlet.fits")
        if target.exists():
            log.info("%s is kept as it is", target.name)
            continue
        try:
            write_headerlet(
                str(path),
                f"{path.name.removesuffix('.fits')}_hlet.fits",
                output=str(target),
                author="OPUS",
                descrip=describe_wcsname(_wcsname(path)),
                attach=False,
                clobber=True,
            )
        except (MosaicError, OSError) as error:
            log.warning("%s: no headerlet written (%s)", path.name, error)
            continue
        written.append(target)
    return written


def _wcsname(path: Path) -> str:
    """WCSNAME of the first SCI extension."""
    return str(fits.getheader(path, ("SCI", 1)).get("WCSNAME", "")).strip()


def _base(wcsname: str) -> str:
    """Name of the distortion model in the name of a solution."""
    return wcsname.partition("-")[0] or "UNKNOWN"
