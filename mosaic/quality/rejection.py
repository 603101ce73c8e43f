"""Checks of cosmic-ray rejection: how much was flagged, where, and what was missed.

Rates of flagged pixels come from the ledger and cost nothing; star cores, halos and repeated pixels are
looked up in the masks; what was missed shows as peaks of the product that the median lacks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mosaic.graph.job import chip_task
from mosaic.quality.checks import Check, CheckKind, Verdict, worst
from mosaic.quality.offsets import MedianStars, sky_to_chip
from mosaic.quality.survey import Survey
from mosaic.types import BoolArray, DoubleArray, Window

GROUP = "Cosmic rays"

# Fraction of pixels that cosmic rays touch in 1000 s, as the instrument handbooks give it.
_RATE_PER_KS = {
    ("ACS", "WFC"): 0.03, ("ACS", "HRC"): 0.03, ("WFC3", "UVIS"): 0.04, ("STIS", "CCD"): 0.03,
    ("WFPC2", ""): 0.02,
}  # fmt: skip
_WITHOUT_RATE = 0.01
_N_CORES = 200
_LEAST_TO_REPEAT = 3
_LEAST_CORES = 8
_MOST_LEFT = 1500
_N_TURNS = 5
_MOST_VECTORS = 60
_REPEATED_LOOK = 1e-4

FRACTION = CheckKind(
    "cosmic_ray_fraction",
    GROUP,
    "Pixels flagged as cosmic rays",
    "0.3 to 3 times the expected rate (look); less than 10 % and within 3 times the median exposure (bad)",
    "Too many flags: alignment (0.1 px is needed) or sky is off, or driz_cr_snr is too low. Too few: median "
    "or thresholds hide them.",
    "cosmic_rays",
)
CORES = CheckKind(
    "star_cores",
    GROUP,
    "Cores of bright stars flagged",
    "less than 1 % above the rate of the sky (look), 5 % (bad)",
    "Stars are taken for cosmic rays: align better, raise driz_cr_scale (for example '1.8 1.2'), or use "
    "combine_type median.",
    "cosmic_rays",
)
PATTERN = CheckKind(
    "flag_pattern",
    GROUP,
    "Flags around bright objects",
    "less than twice the rate of the sky plus 2 %",
    "Flags follow the edges of objects: exposures are misaligned or their sky differs.",
    "cosmic_rays",
)
REPEATED = CheckKind(
    "repeated_pixels",
    GROUP,
    "Detector pixels flagged again and again",
    "at most 0.01 % (look), 0.5 % (bad) above chance",
    "The same detector pixels are flagged in most exposures: hot pixels that the DQ arrays do not know. Use "
    "newer dark files, or exclude DQ bits 16 and 64 from driz_sep_bits and final_bits.",
)
RESIDUAL = CheckKind(
    "residual_cosmic_rays",
    GROUP,
    "Cosmic rays left in the product",
    "fewer than 5 (look), 50 (bad) per square arcmin",
    "Lower driz_cr_snr or driz_cr_scale, set driz_cr_grow=3; with two or three exposures consider "
    "combine_type minmed.",
    "cosmic_rays",
)
HOT = CheckKind(
    "hot_pixel_pattern",
    GROUP,
    "Bright pixels that repeat with the dither",
    "fewer than 3 sigma above chance",
    "Clusters that repeat the dither pattern are hot pixels: exclude their DQ bits, or use newer darks.",
)
NEEDED = CheckKind(
    "rejection_alignment",
    GROUP,
    "Alignment that rejection needs",
    "at most 0.1 px (look), 0.3 px (bad)",
    "Align the exposures before drizzling: misaligned stars lose their cores to rejection.",
)


@dataclass(slots=True)
class Residuals:
    """Peaks of the product that the median lacks."""

    x: list[float] = field(default_factory=list)
    """Column in the product, pixels."""
    y: list[float] = field(default_factory=list)
    """Row."""
    area_arcmin2: float = 0.0
    """Area looked at."""
    n_peaks: int = 0
    """Peaks of any kind."""


def check_rejection(
    survey: Survey, counts: FlagCounts | None, residuals: Residuals | None, worst_shift_px: float
) -> Iterator[Check]:
    """All checks of this module, given the flags of cosmic rays where they were looked for."""
    if counts is None:
        for kind in (FRACTION, CORES, PATTERN, REPEATED, NEEDED):
            yield kind.unknown("cosmic-ray rejection was off (driz_cr)")
    else:
        yield _fraction(survey)
        yield from _around_stars(survey, counts)
        yield _repeated(counts)
        if np.isfinite(worst_shift_px):
            yield NEEDED.graded(worst_shift_px, (0.1, 0.3), f"largest shift {worst_shift_px:.3f} px")
        else:
            yield NEEDED.unknown("alignment was not measured")
    yield from _left_over(survey, residuals)


def flagged_fractions(survey: Survey) -> list[float]:
    """Fraction of pixels flagged in every exposure of the job, from the ledger."""
    plan = survey.job.plan
    records = survey.job.ledger.read_phase("cosmic_rays")
    fractions = []
    for exposure in plan.exposures:
        n = sum(int(records[chip_task(chip)].facts["n_cosmic_rays"]) for chip in exposure.chips)
        size = sum(chip.shape_yx.ny * chip.shape_yx.nx for chip in exposure.chips)
        fractions.append(n / size)
    return fractions


def _fraction(survey: Survey) -> Check:
    plan = survey.job.plan
    fractions = flagged_fractions(survey)
    times = [exposure.chips[0].exptime_s for exposure in plan.exposures]
    # Per second, so that exposures of different length compare.
    pace = np.array(fractions) / np.maximum(times, 1e-9)
    usual = float(np.median(pace))
    verdicts: list[Verdict] = []
    rows = []
    for exposure, fraction, own, time in zip(plan.exposures, fractions, pace, times, strict=True):
        rate = _RATE_PER_KS.get((exposure.instrument, exposure.detector)) or _RATE_PER_KS.get(
            (exposure.instrument, "")
        )
        relative = own / usual if usual > 0 else 1.0
        verdict: Verdict = "ok"
        if rate is None:
            verdict = "look" if fraction > _WITHOUT_RATE else "ok"
        elif not 0.3 * rate * time / 1000 <= fraction <= 3.0 * rate * time / 1000 + 0.003:
            verdict = "look"
        if fraction > 0.1 or (len(fractions) > 2 and relative > 3.0 and fraction > 0.003):
            verdict = "bad"
        verdicts.append(verdict)
        rows.append(
            (fraction, f"{exposure.rootname}: {fraction:.2%} in {time:.0f} s, {relative:.1f} x median")
        )
    rows.sort(reverse=True)
    largest = rows[0][0]
    shown = f"{min(fractions):.2%} to {largest:.2%}"
    return FRACTION.of(worst(verdicts), shown, largest, tuple(text for _f, text in rows[:40]))


@dataclass(slots=True)
class StarFlags:
    """Flags on and around the stars of one exposure."""

    n_core: int = 0
    """Central pixels of stars."""
    n_core_flagged: int = 0
    """Of these, flagged ones."""
    n_halo: int = 0
    """Pixels around stars."""
    n_halo_flagged: int = 0
    """Of these, flagged ones."""
    sky_rates: list[float] = field(default_factory=list)
    """Fraction of all pixels flagged, by chip."""

    @property
    def sky(self) -> float:
        """Fraction of all pixels flagged."""
        return float(np.mean(self.sky_rates))

    @property
    def core_rate(self) -> float:
        """Fraction of the central pixels flagged."""
        return self.n_core_flagged / max(1, self.n_core)

    @property
    def halo_rate(self) -> float:
        """Fraction of the pixels around stars flagged."""
        return self.n_halo_flagged / max(1, self.n_halo)

    @property
    def core_excess(self) -> float:
        """Rate of flagged cores beyond that of the sky; a hit or two more than chance allows do not count."""
        n = max(1, self.n_core)
        return max(0.0, self.core_rate - self.sky - 2.0 * float(np.sqrt(max(self.sky, 1.0 / n) / n)))


@dataclass(slots=True)
class FlagCounts:
    """What one pass over the masks counts."""

    stars: dict[int, StarFlags] = field(default_factory=dict)
    """Flags around stars, by exposure."""
    repeated: list[tuple[float, str]] = field(default_factory=list)
    """Fraction of pixels flagged again and again above chance, and what to say, by detector chip."""


def count_flags(survey: Survey, stars: MedianStars | None) -> FlagCounts:
    """Read the masks of the exposures looked at once, detector chip by detector chip."""
    plan = survey.job.plan
    groups: dict[tuple[str, str, int, tuple[int, ...]], list[int]] = {}
    for index in survey.chips:
        chip = plan.chips[index]
        groups.setdefault((chip.instrument, chip.detector, chip.ccdchip, chip.shape_yx), []).append(index)
    counts = FlagCounts()
    for (_instrument, detector, number, _shape), members in groups.items():
        window = survey.mask_window(plan.chips[members[0]])
        often = np.zeros(window.shape_yx, dtype=np.uint16)
        rates = []
        for index in members:
            mask = survey.rejected(index, window)
            often += mask
            rates.append(float(np.count_nonzero(mask)) / mask.size)
            own = counts.stars.setdefault(plan.exposure_of_chip[index], StarFlags())
            own.sky_rates.append(rates[-1])
            if stars is not None:
                x, y = sky_to_chip(survey, index, stars.ra_deg[:_N_CORES], stars.dec_deg[:_N_CORES])
                _count_stars(mask, x, y - window.y0, own)
        if len(members) >= _LEAST_TO_REPEAT:
            excess, text = _excess_of(survey, members, window, often, rates)
            counts.repeated.append((excess, f"{detector} chip {number}: {text}"))
    return counts


def _count_stars(mask: BoolArray, x: DoubleArray, y: DoubleArray, own: StarFlags) -> None:
    on = np.isfinite(x) & np.isfinite(y)
    core, halo = _star_pixels(mask, x[on], y[on])
    own.n_core += core.size
    own.n_core_flagged += int(np.count_nonzero(core))
    own.n_halo += halo.size
    own.n_halo_flagged += int(np.count_nonzero(halo))


def _excess_of(
    survey: Survey, members: Sequence[int], window: Window, often: NDArray[np.uint16], rates: Sequence[float]
) -> tuple[float, str]:
    """Fraction of pixels flagged in most exposures above chance; those that DQ knows are masked anyway."""
    need = max(_LEAST_TO_REPEAT, (3 * len(members) + 3) // 4)
    chance = _chance_of(need, rates)
    share = float(np.mean(often >= need))
    if share - chance > _REPEATED_LOOK:
        good_bits = survey.job.final.good_bits
        known = np.zeros_like(often)
        for index in members:
            known += survey.rejected(index, window) & ~survey.job.good_flags(index, window, good_bits)
        share = float(np.mean(often - known >= need))
    return share - chance, f"{share:.4%}, by chance {chance:.4%}"


def _around_stars(survey: Survey, counts: FlagCounts) -> Iterator[Check]:
    rows = [
        (survey.job.plan.exposures[number].rootname, own)
        for number, own in counts.stars.items()
        if own.n_core >= _LEAST_CORES
    ]
    if not rows:
        for kind in (CORES, PATTERN):
            yield kind.unknown("too few bright stars on the exposures looked at")
        return
    name, own = max(rows, key=lambda row: row[1].core_excess)
    shown = f"at most {own.core_rate:.2%} of {own.n_core} cores, sky {own.sky:.2%} ({name})"
    details = tuple(
        f"{n}: {o.n_core_flagged} of {o.n_core} cores" for n, o in rows[:40] if o.core_excess > 0.01
    )
    yield CORES.graded(own.core_excess, (0.01, 0.05), shown, details)
    name, own = max(rows, key=lambda row: row[1].halo_rate - 2.0 * row[1].sky)
    shown = f"at most {own.halo_rate:.2%} around stars, sky {own.sky:.2%} ({name})"
    details = tuple(
        f"{n}: {o.halo_rate:.2%} around stars" for n, o in rows[:40] if o.halo_rate - 2.0 * o.sky > 0.02
    )
    yield PATTERN.graded(own.halo_rate - 2.0 * own.sky, (0.02, 0.1), shown, details)


def _repeated(counts: FlagCounts) -> Check:
    if not counts.repeated:
        return REPEATED.unknown("fewer than three exposures of a chip")
    excess = max(0.0, *(own for own, _text in counts.repeated), 0.0)
    rows = tuple(text for _excess, text in counts.repeated)
    return REPEATED.graded(excess, (_REPEATED_LOOK, 5e-3), f"{excess:.4%} above chance", rows)


def _star_pixels(mask: BoolArray, x: DoubleArray, y: DoubleArray) -> tuple[BoolArray, BoolArray]:
    """Flags of the central pixels, and of those 1.5 to 4 pixels away, of stars at `x`, `y`."""
    ny, nx = mask.shape
    column, row = np.rint(x).astype(int), np.rint(y).astype(int)
    inside = (column >= 5) & (column < nx - 5) & (row >= 5) & (row < ny - 5)
    column, row = column[inside], row[inside]
    reach = np.arange(-4, 5)
    distance = np.hypot(reach[:, None], reach[None, :])
    dy, dx = np.nonzero((distance > 1.5) & (distance <= 4.0))
    halo = mask[row[:, None] + reach[dy][None], column[:, None] + reach[dx][None]]
    return mask[row, column], halo.ravel()


def _chance_of(need: int, rates: Sequence[float]) -> float:
    """Probability that at least `need` of independent events of these rates happen."""
    distribution = np.zeros(len(rates) + 1)
    distribution[0] = 1.0
    for rate in rates:
        distribution[1:] = distribution[1:] * (1 - rate) + distribution[:-1] * rate
        distribution[0] *= 1 - rate
    return float(distribution[need:].sum())


def _left_over(survey: Survey, residuals: Residuals | None) -> Iterator[Check]:
    if residuals is None or residuals.area_arcmin2 <= 0:
        for kind in (RESIDUAL, HOT):
            yield kind.unknown("needs both a median and a product")
        return
    n = len(residuals.x)
    density = n / residuals.area_arcmin2
    # One or two in a small field say nothing about its density.
    judged = density if n > 3 else 0.0
    shown = f"{density:.1f} per square arcmin ({n} of {residuals.n_peaks} peaks)"
    yield RESIDUAL.graded(judged, (5.0, 50.0), shown)
    yield _dither_pattern(survey, residuals)


def _dither_pattern(survey: Survey, residuals: Residuals) -> Check:
    """Pairs of left-over peaks at the vectors between exposures, against pairs at other vectors."""
    plan = survey.job.plan
    n = len(residuals.x)
    if n < 6 or len(plan.exposures) < 2:
        return HOT.of("ok" if n < 6 else "none", f"{n} left-over peaks: too few for a pattern")
    grid = plan.final.grid
    origins = [
        np.array(grid.sky_to_pixel(*e.chips[0].wcs.pixel_to_sky(np.array([0.0]), np.array([0.0]))))[:, 0]
        for e in plan.exposures[:16]
    ]
    vectors = [b - a for i, a in enumerate(origins) for b in origins[i + 1 :] if np.hypot(*(b - a)) > 1.5]
    if not vectors:
        return HOT.unknown("no dither")
    vectors = vectors[:: -(-len(vectors) // _MOST_VECTORS)]
    points = np.column_stack([residuals.x, residuals.y])[:_MOST_LEFT]
    difference = (points[:, None] - points[None]).reshape(-1, 2)
    pairs = _pairs_at(difference, vectors)
    # What chance gives, clusters included, is counted at the same vectors turned.
    turns = [complex(np.exp(2j * np.pi * k / (_N_TURNS + 1.5))) for k in range(1, _N_TURNS + 1)]
    turned = [np.array([v @ (z.real, -z.imag), v @ (z.imag, z.real)]) for v in vectors for z in turns]
    free = [v for v in turned if min(float(np.hypot(*(v - s * d))) for d in vectors for s in (1, -1)) > 2.5]
    if not free:
        return HOT.unknown("the dither goes everywhere")
    chance = _pairs_at(difference, free) / len(free) * len(vectors)
    sigma = (pairs - chance) / np.sqrt(chance + 1.0)
    return HOT.graded(float(sigma), (3.0, 10.0), f"{pairs} pairs at the dither, {chance:.1f} by chance")


def _pairs_at(difference: DoubleArray, vectors: Sequence[DoubleArray]) -> int:
    """Pairs of points whose difference is one of some vectors, to a pixel."""
    return sum(int(np.count_nonzero(np.hypot(*(difference - v).T) < 1.0)) for v in vectors)
