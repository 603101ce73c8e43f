"""Checks of the inputs: guiding, jitter, astrometric solution, distortion files, dither.

Covers what headers and the geometry say; no pixel is read. Does not cover how well the exposures agree in
their pixels (`mosaic.quality.alignment`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from mosaic.exposure.header_texts import header_texts
from mosaic.exposure.model import Exposure
from mosaic.quality.checks import Check, CheckKind, Verdict
from mosaic.quality.survey import Survey
from mosaic.types import DoubleArray

GROUP = "Inputs"
_CONCERNS = re.compile(r"LOSS|LOST|FAIL|GYRO|GS |GUIDE|SAA|SHUTTER|TRAIL|MOV", re.IGNORECASE)

GUIDING = CheckKind(
    "guiding",
    GROUP,
    "Guide-star lock and exposure flags",
    "FGSLOCK FINE, EXPFLAG NORMAL, QUALITY without problems",
    "Look at these exposures before using them: trailed or lost guiding smears stars and makes their cores "
    "look like cosmic rays. Leave them out, or give them less weight.",
)
JITTER = CheckKind(
    "jitter",
    GROUP,
    "Pointing jitter",
    "rms of at most 10 mas (look), 20 mas (bad)",
    "Leave exposures with strong jitter out, or expect a wider point-spread function.",
)
SOLUTION = CheckKind(
    "astrometry",
    GROUP,
    "Astrometric solution in use",
    "one and the same WCSNAME; FIT and GAIA for absolute positions",
    "Bring all exposures to one solution: choose an alternate with wcskey, apply headerlets, or run "
    "'mosaic align' on all of them together.",
)
DISTORTION = CheckKind(
    "distortion",
    GROUP,
    "Distortion references",
    "IDCTAB, NPOLFILE and D2IMFILE equal; velocity aberration applied",
    "Run with updatewcs=true and the same reference files for all exposures of a detector.",
)
DITHER = CheckKind(
    "dither",
    GROUP,
    "Sub-pixel dither",
    "phases in at least 3 of 4 quadrants of a pixel for 4 or more exposures",
    "Phases repeat: keep final_scale near the native scale and final_pixfrac near 1; bad pixels and the "
    "point-spread function are not sampled anew.",
)
POINTING = CheckKind(
    "pointing",
    GROUP,
    "Expected relative pointing",
    "5 mas within a visit, 0.1 arcsec between visits, 0.5 arcsec with other guide stars",
    "Exposures of several visits: run 'mosaic align' before drizzling.",
)


@dataclass(frozen=True, slots=True)
class ExposureHeaders:
    """Keywords of one exposure that the checks use."""

    exposure: Exposure
    """The exposure."""
    primary: fits.Header
    """Primary header."""
    chips: tuple[fits.Header, ...]
    """Headers of the science extensions."""

    def get(self, name: str) -> str:
        """A keyword as text, from the primary header or the first chip; blank when absent."""
        for header in (self.primary, *self.chips):
            if name in header:
                return str(header[name]).strip()
        return ""

    @property
    def visit(self) -> str:
        """Program and visit, as the root name has them."""
        return self.exposure.rootname[:6].lower()


def read_headers(survey: Survey) -> list[ExposureHeaders] | None:
    """Headers of all exposures; None when a file is gone."""
    found = []
    for exposure in survey.job.plan.exposures:
        path = Path(exposure.chips[0].sci.path)
        if not path.exists():
            return None
        texts = header_texts(str(path))
        primary, *chips = (
            fits.Header.fromstring(texts[index]) for index in (0, *(c.hdu_index for c in exposure.chips))
        )
        found.append(ExposureHeaders(exposure, primary, tuple(chips)))
    return found


def check_inputs(survey: Survey) -> Iterator[Check]:
    """All checks of this module."""
    headers = read_headers(survey)
    if headers is None:
        for kind in (GUIDING, JITTER, SOLUTION, DISTORTION, POINTING):
            yield kind.unknown("inputs are no longer where they were, or not plain local files")
    else:
        yield _guiding(headers)
        yield _jitter(headers)
        yield _solution(headers)
        yield _distortion(headers)
        yield _pointing(headers)
    yield _dither(survey)


def _guiding(headers: list[ExposureHeaders]) -> Check:
    problems, severe = [], False
    for own in headers:
        lock, flag = own.get("FGSLOCK").upper(), own.get("EXPFLAG").upper()
        said = " ".join(own.get(name) for name in ("QUALITY", "QUALCOM1", "QUALCOM2", "QUALCOM3"))
        found = [
            *([f"FGSLOCK {lock}"] if lock and lock != "FINE" else []),
            *([f"EXPFLAG {flag}"] if flag and flag not in {"NORMAL", "INDETERMINATE"} else []),
            *([said.strip()] if _CONCERNS.search(said) else []),
        ]
        severe |= "GYRO" in lock or "COARSE" in lock or "EXPFLAG" in " ".join(found)
        if found:
            problems.append(f"{own.exposure.rootname}: {', '.join(found)}")
    if not any(own.get("FGSLOCK") or own.get("EXPFLAG") for own in headers):
        return GUIDING.unknown("headers lack FGSLOCK and EXPFLAG")
    verdict: Verdict = "bad" if severe else "look" if problems else "ok"
    shown = f"{len(problems)} of {len(headers)} exposures with problems"
    return GUIDING.of(verdict, shown, float(len(problems)), tuple(problems))


def _jitter(headers: list[ExposureHeaders]) -> Check:
    rows = []
    for own in headers:
        folder = Path(own.exposure.path).parent
        path = folder / f"{own.exposure.rootname[:8]}j_jit.fits"
        if path.exists():
            with fits.open(path, memmap=False) as hdus:
                table = hdus[1].data
                rms = np.hypot(table["SI_V2_RMS"], table["SI_V3_RMS"])
            rows.append((own.exposure.rootname, 1000.0 * float(np.sqrt(np.nanmean(rms**2)))))
    if not rows:
        return JITTER.unknown("no jitter file (*_jit.fits) beside the inputs")
    name, largest = max(rows, key=lambda row: row[1])
    details = tuple(f"{root}: {value:.1f} mas" for root, value in rows if value > 10.0)
    return JITTER.graded(largest, (10.0, 20.0), f"at most {largest:.1f} mas ({name})", details)


def _solution(headers: list[ExposureHeaders]) -> Check:
    names: dict[str, list[str]] = {}
    for own in headers:
        for header in own.chips:
            names.setdefault(str(header.get("WCSNAME", "")).strip() or "(none)", []).append(
                own.exposure.rootname
            )
    details = tuple(f"{name}: {len(set(roots))} exposures" for name, roots in names.items())
    if len(names) > 1:
        return SOLUTION.of("bad", f"{len(names)} different solutions", float(len(names)), details)
    name = next(iter(names))
    upper = name.upper()
    if "FIT" in upper and "GAIA" in upper:
        kind = "fitted to Gaia: about 10 mas absolute"
    elif "GSC240" in upper or "HSC30" in upper or "GAIA" in upper:
        kind = "a priori: about 0.1 arcsec absolute"
    else:
        kind = "distortion and guide stars only: 0.3 to 1 arcsec absolute"
    return SOLUTION.of("ok", f"{name} ({kind})", 1.0)


def _distortion(headers: list[ExposureHeaders]) -> Check:
    problems = []
    for keyword in ("IDCTAB", "NPOLFILE", "D2IMFILE"):
        for detector in sorted({own.exposure.detector for own in headers}):
            values = {own.get(keyword) for own in headers if own.exposure.detector == detector}
            if len(values) > 1:
                problems.append(
                    f"{keyword} of {detector}: {', '.join(sorted(v or '(none)' for v in values))}"
                )
    without = [
        own.exposure.rootname
        for own in headers
        if "VAFACTOR" in own.chips[0] and float(own.chips[0]["VAFACTOR"]) == 1.0
    ]
    if without:
        problems.append(f"VAFACTOR is 1 in {', '.join(without[:6])}")
    shown = "equal in all inputs" if not problems else f"{len(problems)} differences"
    return DISTORTION.of("look" if problems else "ok", shown, float(len(problems)), tuple(problems))


def _pointing(headers: list[ExposureHeaders]) -> Check:
    visits = sorted({own.visit for own in headers})
    guides = {own.get("DGESTAR") + own.get("SGESTAR") for own in headers if own.get("DGESTAR")}
    if len(visits) == 1:
        return POINTING.of("ok", "one visit: 2 to 5 mas", 0.005)
    wide = len(guides) > 1
    shown = f"{len(visits)} visits: " + ("0.2 to 0.5 arcsec and roll" if wide else "50 to 100 mas")
    return POINTING.of("look", shown, 0.5 if wide else 0.1, tuple(visits[:12]))


def dither_phases(survey: Survey) -> DoubleArray:
    """Fractions of a pixel at which the exposures see the centre of the field, shape (n, 2).

    Exposures of the detector that has most of them; relative to the first.
    """
    plan = survey.job.plan
    kinds = [(e.instrument, e.detector, len(e.chips)) for e in plan.exposures]
    most = max(set(kinds), key=lambda kind: (kinds.count(kind), kind))
    chips = [e.chips[0] for e, kind in zip(plan.exposures, kinds, strict=True) if kind == most]
    grid = plan.final.grid
    ny, nx = chips[0].shape_yx
    middle = (
        np.array([(nx - 1) / 2, nx / 2 + 0.5, (nx - 1) / 2]),
        np.array([(ny - 1) / 2, (ny - 1) / 2, ny / 2 + 0.5]),
    )
    base = np.array(grid.sky_to_pixel(*chips[0].wcs.pixel_to_sky(*middle)))
    jacobian = np.column_stack([base[:, 1] - base[:, 0], base[:, 2] - base[:, 0]])
    phases = []
    for chip in chips:
        place = np.array(grid.sky_to_pixel(*chip.wcs.pixel_to_sky(middle[0][:1], middle[1][:1])))[:, 0]
        phases.append(np.linalg.solve(jacobian, place - base[:, 0]) % 1.0)
    return np.array(phases)


def quadrants_of(phases: DoubleArray) -> int:
    """Quadrants of a pixel that the phases fall into, the median over where the quadrants begin."""
    counts = []
    for dx in np.linspace(0.0, 0.45, 10):
        for dy in np.linspace(0.0, 0.45, 10):
            cells = np.floor(((phases + np.array([dx, dy])) % 1.0) * 2.0).astype(int)
            counts.append(len({(int(x), int(y)) for x, y in cells}))
    return int(np.median(counts))


def _dither(survey: Survey) -> Check:
    n = len(survey.job.plan.exposures)
    if n < 4:
        return DITHER.unknown(f"{n} exposures: sub-pixel phases are judged from 4 on")
    phases = dither_phases(survey)
    quadrants = quadrants_of(phases)
    shown = f"{quadrants} of 4 quadrants with {len(phases)} exposures"
    details = tuple(f"phase ({x:.2f}, {y:.2f}) px" for x, y in phases[:8])
    verdict: Verdict = "ok" if quadrants >= 3 else "look"
    return DITHER.of(verdict, shown, float(quadrants), details)
