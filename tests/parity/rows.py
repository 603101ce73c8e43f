"""A line of the checklist, and what several lines need from the two runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from tests.parity.bounds import Excuse
from tests.parity.compare import Array, robust_sigma
from tests.parity.facts import FRAME
from tests.parity.runs import Run, exposure_root, read

OWN_FACTOR = 1.02
"""Room above what the interpolated map costs a program itself: quantiles of other noise."""
PIXELS_OF_A_CR = 25
"""Output pixels that one decision about a cosmic ray may change."""
MAP_PX = 1e-9
"""How far apart the two WCS libraries may place a pixel, before the rounding of the reference."""
NOISE_REASON = "D-9, D-30: with the noise in electrons and the mended minmed other cosmic rays are found"

MINIMUM_REASON = "D-30: the reference takes the value beside a masked pixel for the minimum of minmed"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    number: int
    quantity: str
    tolerance: str
    measured: str
    passed: bool | None
    """None: nothing to compare, only reported, or a defect of the reference."""
    figures: tuple[float, ...] = ()
    """What was measured, as numbers to be at most `limits`."""
    limits: tuple[float, ...] = ()
    reason: str = ""
    """Defect of the reference that explains the difference."""
    apart: tuple[float, ...] = ()
    """How far the two lie apart as a whole, for the bound of an excused row (`tests.parity.bounds`)."""
    names: tuple[str, ...] = ()
    """Keywords that differ (rows of headers)."""
    bound: str = ""
    """The bound of an excused row, and what was found."""

    @property
    def ratio(self) -> float | None:
        """Largest figure over its limit; a limit of 0 gives 0 or infinity."""
        if not self.figures:
            return None
        return max(
            (f / limit if limit else (0.0 if f == 0.0 else np.inf))
            for f, limit in zip(self.figures, self.limits, strict=True)
        )


def judged(
    number: int,
    quantity: str,
    tolerance: str,
    measured: str,
    *pairs: tuple[float, float],
    apart: tuple[float, ...] = (),
    names: Sequence[str] = (),
) -> Row:
    """Row that passes when the first of every pair is at most the second."""
    figures, limits = (tuple(float(pair[k]) for pair in pairs) for k in (0, 1))
    passed = all(f <= m for f, m in pairs)
    return Row(
        number, quantity, tolerance, measured, passed, figures, limits, apart=apart, names=tuple(names)
    )


@dataclass(frozen=True)
class Context:
    """The two runs and what several rows need."""

    ours: Run
    theirs: Run
    kind: str
    parameters: Mapping[str, Any]
    sigma: float
    sci: tuple[Array, Array]
    wht: tuple[Array, Array]
    masks: dict[str, tuple[Array, Array]]
    map_px: float
    """How far apart the programs may place a pixel, see `map_rounding`."""
    factors: Mapping[int, float]
    """What a defect multiplies the values of the reference by, by number of the row."""

    @property
    def loose(self) -> bool:
        """Whether our exact map is held against the reference's table."""
        return self.kind == "C"

    @property
    def repeats(self) -> bool:
        """Whether class B of the same case says what does not depend on the run."""
        return self.kind == "D" and bool(self.masks)

    @property
    def n_cr_differ(self) -> int:
        return sum(int(np.count_nonzero(a != b)) for a, b in self.masks.values())

    @property
    def spared(self) -> int:
        """Output pixels allowed to differ because a cosmic ray was decided otherwise."""
        return PIXELS_OF_A_CR * self.n_cr_differ

    def allowed(self, number: int) -> int:
        """Output pixels of a row of the checklist that may differ.

        The lanczos kernels look their value up in steps of 0.01 pixel: a position that differs by d
        falls into another step d / 0.01 times; each input pixel is looked up 2 x 49 times. One look-up
        serves the seven output pixels of a row or column: the number scatters as seven times as much.
        """
        spared = self.spared if number > 12 else 0
        kernel = str(self.parameters.get("final_kernel" if number > 12 else "driz_sep_kernel", ""))
        if kernel.startswith("lanczos"):
            n_input = sum(a.size for a, _ in self.masks.values()) or self.sci[1].size * 4
            expected = 98 * n_input * self.map_px / 0.01
            return spared + int(np.ceil(expected + 3.0 * np.sqrt(7.0 * expected)))
        return spared


def build_context(
    ours: Run, theirs: Run, kind: str, parameters: Mapping[str, Any], factors: Mapping[int, float]
) -> Context:
    """Read what is needed more than once."""
    sci, wht = ((ours.plane(name), theirs.plane(name)) for name in ("sci", "wht"))
    masks = {}
    for path, extver, _ in theirs.chips:
        name = f"{exposure_root(path)}_sci{extver}_crmask.fits"
        pair = ours.intermediate(name), theirs.intermediate(name)
        if pair[0] is not None and pair[1] is not None:
            masks[name] = (read(pair[0]), read(pair[1]))
    sigma = robust_sigma(sci[1][wht[1] > 0])
    map_px = map_rounding(theirs.header("sci"))
    return Context(ours, theirs, kind, parameters, sigma, sci, wht, masks, map_px, factors)


def linear_frame(header: Any) -> fits.Header:
    """Size and linear WCS of a product, without the dates that the WCS library would mend."""
    cards = {name: header[name] for name in FRAME}
    return fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "NAXIS": 2, **cards})


def map_rounding(header: Any) -> float:
    """How far apart the two programs may place a pixel in a frame, pixels.

    The reference goes through degrees twice: native latitudes, which for a tangent plane lie just below
    90 deg, where double precision has steps of 1.4e-14 deg, and right ascensions and declinations. A step
    is 1e-9 of a pixel of 0.05 arcsec. Allowed: 1e-9 px, four steps at 90 deg and two of the coordinates.
    """
    frame = WCS(linear_frame(header))
    nx, ny = int(header["NAXIS1"]), int(header["NAXIS2"])
    x, y = np.array([0.0, nx, nx, 0.0, nx / 2]), np.array([0.0, 0.0, ny, ny, ny / 2])
    ra, dec = (np.abs(values) for values in frame.wcs_pix2world(x, y, 0))
    scale = float(np.hypot(header["CD1_1"], header["CD2_1"]))
    on_sky = np.hypot(np.spacing(ra) * np.cos(np.radians(dec)), np.spacing(dec))
    return MAP_PX + (4.0 * float(np.spacing(90.0)) + 2.0 * float(on_sky.max())) / scale


def relax(rows: Sequence[Row], *own: Sequence[Row]) -> list[Row]:
    """Judge failed rows of class C by what the table of positions costs each program itself.

    The tolerances of class C were measured on one set. On a set with brighter stars, more cosmic rays or
    more edge per area a table of step 10 changes the result of either program by more; ours without a
    table may then differ from the reference's with one by as much.
    """
    judged_again = []
    for row in rows:
        costs = [
            item.figures
            for item in (next((o for o in rows_of if o.number == row.number), None) for rows_of in own)
            if item is not None and len(item.figures) == len(row.figures)
        ]
        if row.passed is True or not row.figures or not costs:
            judged_again.append(row)
            continue
        worst = tuple(max(values) for values in zip(*costs, strict=True))
        limits = tuple(max(a, OWN_FACTOR * b) for a, b in zip(row.limits, worst, strict=True))
        passed = all(a <= b for a, b in zip(row.figures, limits, strict=True))
        shown = ", ".join(f"{value:.3g}" for value in worst)
        text = f"{row.tolerance}, or {OWN_FACTOR:g} x own {shown}"
        judged_again.append(replace(row, passed=passed, tolerance=text, limits=limits))
    return judged_again


def excuse(rows: Sequence[Row], excuses: Mapping[int, Excuse]) -> list[Row]:
    """Mark failed rows that a known defect of the reference explains, as long as they stay in their bound."""
    return [
        _excused(row, excuses[row.number]) if row.passed is False and row.number in excuses else row
        for row in rows
    ]


def _excused(row: Row, given: Excuse) -> Row:
    is_inside = given.holds(row.number, row.apart, row.names)
    bound = given.describe(row.number, row.apart, row.names)
    return replace(row, passed=None if is_inside else False, reason=given.reason, bound=bound)
