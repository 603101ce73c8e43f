"""Alignment as the first step of a run: its solution lives in the job folder, the inputs stay as they are.

Covers exposures that the catalogue described: finding their corrections (or those that an earlier run with
the same inputs and parameters left in the job folder), giving them to the chips, and headerlets. Every
correction is a function of exposures and parameters alone.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.io import fits

from mosaic.alignment.fitting import IDENTITY
from mosaic.alignment.headerlets import headerlet_path, make_headerlet
from mosaic.alignment.measure import measure
from mosaic.alignment.products import SOLUTION_NAME, AlignProducts, describe, write_products
from mosaic.alignment.reading import read_exposures
from mosaic.alignment.result import describe_solution
from mosaic.alignment.settings import AlignParameters, AlignSettings
from mosaic.alignment.solution import direction_change
from mosaic.errors import AlignmentError, ParameterError
from mosaic.exposure.alternate_wcs import alternate_names
from mosaic.exposure.inputs import root_name
from mosaic.exposure.model import Chip, Exposure
from mosaic.exposure.storage import open_fits, size_and_tag
from mosaic.geometry.correction import LinearWcs, correct_chip
from mosaic.geometry.tangent import Matrix2, PairXY
from mosaic.options import RunOptions
from mosaic.products.partial import write_whole
from mosaic.solutions.corrections import FitFacts
from mosaic.types import DoubleArray

_REMEDY: Final = "correct the alignment parameters, drizzle without it, or set the exposure aside"


@dataclass(frozen=True, slots=True)
class JobAlignment:
    """What the alignment of a run found."""

    exposures: tuple[Exposure, ...]
    """Exposures with their corrected WCS; those that were not aligned are left out."""
    failed: tuple[AlignmentError, ...]
    """Why the others were not aligned."""
    lines: tuple[str, ...]
    """What was found, one line an exposure."""
    facts: Mapping[str, FitFacts]
    """What is known of the fit, by root name."""
    changes: Mapping[str, DoubleArray] = field(default_factory=dict)
    """Corrections as homographies of directions, by root name."""


def align_exposures(
    exposures: Sequence[Exposure],
    parameters: AlignParameters,
    options: RunOptions,
    folder: Path,
    *,
    reuse: bool = True,
) -> JobAlignment:
    """Align the exposures of a run.

    Parameters
    ----------
    exposures : sequence of Exposure
        As the catalogue described them; nothing is written into their files.
    parameters : AlignParameters
        Parameters.
    options : RunOptions
        Cores and memory.
    folder : Path
        Where solution, catalogues and plots go.
    reuse : bool
        Take the solution that is there, if it is that of the same exposures and parameters.

    Raises
    ------
    ParameterError
        When an exposure follows a moving target.
    MosaicError
        When an exposure cannot be read, or the reference cannot be used.
    """
    settings = parameters.align
    moving = [exposure.rootname for exposure in exposures if exposure.is_moving_target]
    if moving:
        raise ParameterError(
            f"{moving[0]} follows a moving target: its stars are no reference; drizzle it without alignment"
        )
    if len(exposures) < 2 and not (settings.refcat or settings.refimage):
        text = "one exposure and no reference: nothing to align"
        return JobAlignment(tuple(exposures), (), (text,), {})
    identity = _identity(exposures, parameters)
    found = _read_solution(folder, identity) if reuse else None
    if found is None:
        found = _measure(exposures, parameters, options, folder, identity)
    aligned: list[Exposure] = []
    failed: list[AlignmentError] = []
    facts: dict[str, FitFacts] = {}
    changes: dict[str, DoubleArray] = {}
    for exposure in exposures:
        about = found["images"][exposure.rootname]
        if "chips" not in about:
            problem = f"not aligned: {about['status']}: {about['reason']}"
            failed.append(AlignmentError(exposure.rootname, problem, _REMEDY))
            continue
        aligned.append(_corrected(exposure, about["chips"], settings))
        facts[exposure.rootname] = _facts(about)
        changes[exposure.rootname] = _change(found["frame"], about)
    return JobAlignment(tuple(aligned), tuple(failed), tuple(found["lines"]), facts, changes)


def _measure(
    exposures: Sequence[Exposure],
    parameters: AlignParameters,
    options: RunOptions,
    folder: Path,
    identity: str,
) -> dict[str, Any]:
    """Find the solution and keep it, with everything that was asked for."""
    settings = parameters.align
    images = read_exposures(exposures, settings, cores=options.cores, memory_bytes=options.memory)
    result = measure(images, parameters, options)
    products = AlignProducts.of(result)
    write_products(products, settings, folder)
    write_whole(folder / "parameters.toml", _as_toml(settings).encode())
    told = describe(products)
    names = {exposure.filename: exposure.rootname for exposure in exposures}
    lines = [describe_solution(*pair) for pair in zip(result.images, result.solutions, strict=True)]
    found = told | {
        "identity": identity,
        "message": result.message,
        "lines": [*lines, *([result.message] if result.message else [])],
        "images": {names[about["file"]]: about for about in told["images"]},
    }
    text = json.dumps(found, indent=1) + "\n"
    write_whole(folder / SOLUTION_NAME, text.encode())
    return found


def _as_toml(settings: AlignSettings) -> str:
    """Parameters that differ from their defaults, to be given again with ``--align-config``."""
    lines = ["# parameters of this alignment; used again with: mosaic drizzle --align-config THIS_FILE"]
    for name, value in settings.model_dump(exclude_defaults=True).items():
        if value is not None:
            lines.append(f"{name} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"


def _identity(exposures: Sequence[Exposure], parameters: AlignParameters) -> str:
    """Digest of everything that the solution depends on."""
    settings = parameters.align
    named = [settings.refcat, settings.refimage, settings.catfile, settings.exclusions]
    parts = [
        version("mosaic-hst"),
        settings.model_dump_json(),
        parameters.reference.model_dump_json(),
        [
            (e.rootname, e.fingerprint, [(c.extver, c.wcs.crval_deg, c.wcs.cd) for c in e.chips])
            for e in exposures
        ],
        [(name, *size_and_tag(name)) for name in named if name and Path(name).exists()],
    ]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def _read_solution(folder: Path, identity: str) -> dict[str, Any] | None:
    """Solution that an earlier run left; None when there is none of this identity."""
    try:
        found = json.loads((folder / SOLUTION_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_same = isinstance(found, dict) and found.get("identity") == identity
    return found if is_same else None


def _corrected(exposure: Exposure, terms: Mapping[str, Any], settings: AlignSettings) -> Exposure:
    """Exposure with its new WCS; its fingerprint tells of it."""
    chips = []
    for chip in exposure.chips:
        new = terms[str(chip.extver)]
        (cd11, cd12), (cd21, cd22) = new["cd"]
        ra, dec = new["crval_deg"]
        wcs = replace(
            chip.wcs, crval_deg=(ra, dec), cd=((cd11, cd12), (cd21, cd22)), wcsname=settings.wcsname
        )
        chips.append(replace(chip, wcs=wcs))
    text = exposure.fingerprint + settings.wcsname + repr([(c.wcs.crval_deg, c.wcs.cd) for c in chips])
    fingerprint = hashlib.sha256(text.encode()).hexdigest()
    return replace(exposure, chips=tuple(chips), wcs_solution=settings.wcsname, fingerprint=fingerprint)


def _change(frame: Mapping[str, Any], about: Mapping[str, Any]) -> DoubleArray:
    """Correction of an exposure, for the chips of its file that the run does not use."""
    fit = replace(IDENTITY, matrix=np.array(about["matrix"]), offset_xy=np.array(about["shift_px"]))
    return direction_change(frame["cd"], frame["crval_deg"], fit)


def _facts(about: Mapping[str, Any]) -> FitFacts:
    if about["status"] != "aligned":
        return FitFacts()
    east, north = about["rms_sky_deg"]
    return FitFacts(rms_ra_deg=east, rms_dec_deg=north, nmatch=about["n_used"])


def write_job_headerlets(
    alignment: JobAlignment, settings: AlignSettings, folder: Path
) -> tuple[list[Path], list[str]]:
    """Write a headerlet of every aligned exposure, if they were asked for.

    Parameters
    ----------
    alignment : JobAlignment
        The solution.
    settings : AlignSettings
        Whether, and under which names; existing files are replaced.
    folder : Path
        Where.

    Returns
    -------
    list of Path, list of str
        The files, and why there is none of an exposure.
    """
    written: list[Path] = []
    notes: list[str] = []
    parts: dict[str, list[Exposure]] = {}
    for exposure in alignment.exposures if settings.headerlet else ():
        if exposure.wcs_solution:
            parts.setdefault(exposure.chips[0].sci.path, []).append(exposure)
    for path, exposures in parts.items():
        solutions, left = _solutions_of_file(path, exposures, alignment)
        name = exposures[0].rootname if len(exposures) == 1 and not left else root_name(path)
        if left:
            notes.append(
                f"{name}: {', '.join(left)} keep their WCS in its headerlet, the run did not align them"
            )
        made = make_headerlet(path, solutions, settings)
        written.append(write_whole(headerlet_path(folder, name, settings), made.tobytes()))
    return written, notes


def _solutions_of_file(
    path: str, exposures: Sequence[Exposure], alignment: JobAlignment
) -> tuple[list[tuple[dict[int, tuple[PairXY, Matrix2]], FitFacts]], list[str]]:
    """Solutions of the exposures in a file, and the extensions of others, which the run left out.

    Chips that belong to the one exposure but were not drizzled move with it.
    """
    solutions: list[tuple[dict[int, tuple[PairXY, Matrix2]], FitFacts]] = []
    covered: set[int] = set()
    for exposure in exposures:
        terms = {chip.hdu_index: (chip.wcs.crval_deg, chip.wcs.cd) for chip in exposure.chips}
        covered |= terms.keys()
        solutions.append((terms, alignment.facts[exposure.rootname]))
    with open_fits(path) as hdul:
        others = [index for index, hdu in enumerate(hdul) if hdu.name == "SCI" and index not in covered]
        holds_several = any(chip.extver != chip.file_extver for e in exposures for chip in e.chips)
        if holds_several or len(exposures) > 1:
            return solutions, [f"[sci,{hdul[index].ver}]" for index in others]
        chip, change = exposures[0].chips[0], alignment.changes[exposures[0].rootname]
        key = _key_used(hdul[chip.hdu_index].header, chip, change) if others else ""
        for index in others:
            wcs = LinearWcs.from_header(hdul[index].header, key)
            solutions[0][0][index] = correct_chip(wcs.crval_deg, wcs.cd, change)
    return solutions, []


def _key_used(header: fits.Header, chip: Chip, change: DoubleArray) -> str:
    """Key of the WCS that the correction took to where the chip is now."""

    def distance(key: str) -> float:
        wcs = LinearWcs.from_header(header, key)
        (ra, dec), cd = correct_chip(wcs.crval_deg, wcs.cd, change)
        away = abs(math.remainder(ra - chip.wcs.crval_deg[0], 360.0)) + abs(dec - chip.wcs.crval_deg[1])
        return away + float(np.abs(np.array(cd) - np.array(chip.wcs.cd)).max())

    return min(("", *alternate_names(header)), key=distance)
