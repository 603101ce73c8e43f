"""Checks of the alignment: what the shifts of stars against the median say about every exposure.

The shifts stand for residuals of a fit: matches, rms per axis, significance, rotation, slopes, flow, coverage
and so on are judged for each exposure, with the limits that Handbook and experience give. An exposure is part
of the median, hence a shift appears a little smaller than it is when exposures are few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mosaic.quality.checks import Check, CheckKind, Verdict, grade, worst
from mosaic.quality.offsets import REACH_PX, MedianStars, measure_offsets, median_stars
from mosaic.quality.shiftfit import Fit, fit_offsets, hull_area
from mosaic.quality.survey import Survey

GROUP = "Alignment"
MIN_MATCHES = 15
MOST_PER_MEGAPIXEL = 600
"""Five thousand on a chip of ACS."""
_FEW = 20
_UNDERSAMPLED_BIAS_PX = 0.1
# Drops and pixels of the median widen stars of 1.8 pixels to this.
_WELL_SAMPLED_PX = 2.05
_REALIGN = "Run 'mosaic align' on all exposures together, then drizzle again."

SHIFT = CheckKind(
    "alignment",
    GROUP,
    "Shift of each exposure against the median",
    "at most 0.1 px (look), 0.3 px (bad)",
    f"{_REALIGN} Cosmic-ray rejection needs 0.1 px.",
    "residuals",
)
MATCHES = CheckKind(
    "matches",
    GROUP,
    "Stars matched per exposure",
    f"at least {MIN_MATCHES}, and half of those tried",
    "Fewer stars than that tell little: check the exposure by eye, align it with another catalogue, or with "
    "a lower threshold and a larger search radius.",
)
PEAK = CheckKind(
    "match_peak",
    GROUP,
    "Distinct peak of the cross-correlation",
    "second peak below 0.5 of the first",
    "Matches are ambiguous (crowding, trails or repeated defects): align with fewer, brighter sources.",
)
RMS = CheckKind(
    "residual_rms",
    GROUP,
    "Scatter of the residuals, per axis",
    "at most 0.1 px (look), 0.2 px (bad)",
    "Stars disagree among themselves: distortion files, rotation or trailed images. See the rows below; fit "
    "rscale or general.",
    "residuals",
)
SIGNIFICANCE = CheckKind(
    "shift_significance",
    GROUP,
    "Shifts that stand out from their error",
    "below 5 times rms/sqrt(n), or below 0.02 px",
    "These shifts are real: correct them with 'mosaic align'. Smaller ones than their error are left alone.",
)
VISIT = CheckKind(
    "visit_shift",
    GROUP,
    "Shifts between exposures of one visit",
    "at most 0.1 px or 5 mas, the larger; 0.3 px with large offsets",
    "Larger than a telescope that is locked on its guide stars allows: look for a lost lock or "
    "re-acquisition, and align.",
)
ROTATION = CheckKind(
    "rotation",
    GROUP,
    "Rotation of each exposure against the median",
    "at most 0.002 deg (look), 0.02 deg (bad), or 3 times its error",
    f"{_REALIGN} Fit rscale: a shift does not mend a rotation.",
)
GEOMETRY = CheckKind(
    "geometry",
    GROUP,
    "Fit the residuals ask for",
    "a shift is enough, by the Bayesian information criterion",
    "The residuals contain rotation or scale: align with fitgeometry rscale.",
)
SLOPES = CheckKind(
    "residual_slopes",
    GROUP,
    "Slope of the residuals along x and y",
    "at most 0.05 px (look), 0.3 px (bad) across the detector, beyond three times its error",
    "A slope is left over: wrong scale, skew or distortion; check IDCTAB and the velocity aberration.",
)
FLOW = CheckKind(
    "residual_flow",
    GROUP,
    "Residual vectors of neighbours are independent",
    "neighbours correlate by less than 0.5; chips agree within 0.1 px",
    "Residuals flow: the distortion of the detector or of one chip is off. Update the reference files.",
)
EDGE = CheckKind(
    "clip_edge",
    GROUP,
    "No hard edge in the residuals at the search limit",
    "fewer than 2 % of the matches within 10 % of the limit",
    "Matches pile up at the limit of the search: the true shift is larger. Align with a larger searchrad.",
)
COVERAGE = CheckKind(
    "match_coverage",
    GROUP,
    "Matches spread over the field",
    "in at least 3 quadrants, hull at least half of that of all exposures",
    "Matches cover a part of the field only: rotation and scale are not constrained elsewhere.",
)
ARTEFACTS = CheckKind(
    "match_clumps",
    GROUP,
    "Matches are not clumped on artefacts",
    "median distance to the next at least 0.3 of a random field's",
    "Matches cluster, as on diffraction spikes, hot columns or one galaxy: exclude these regions in "
    "'mosaic align' (exclusions).",
)
SOURCES = CheckKind(
    "source_density",
    GROUP,
    "Compact sources to align with",
    f"at least 20, and fewer than {MOST_PER_MEGAPIXEL} per megapixel",
    "Few: align with a longer exposure or a catalogue as reference. Thousands on a chip: align with a higher "
    "threshold, so that bright stars decide and neighbours are not confused.",
)
FAILED = CheckKind(
    "unmatched",
    GROUP,
    "Exposures without any match",
    "none",
    "These exposures share no star with the median: wrong pointing, or no overlap. Align them with a large "
    "searchrad, or leave them out.",
)
SAMPLING = CheckKind(
    "sampling_bias",
    GROUP,
    "Centroids of undersampled data",
    "stars at least 1.8 px wide, or dithered over the phases of a pixel",
    "Undersampled and not dithered: centroids are biased by up to 0.1 px with the phase of the pixel, and "
    "nothing averages that. Align with many stars.",
)


def check_alignment(survey: Survey) -> tuple[list[Check], list[Fit], MedianStars | None]:
    """All checks of this module, the fits they rest on, and the stars of the median."""
    kinds = (
        SHIFT, MATCHES, PEAK, RMS, SIGNIFICANCE, VISIT, ROTATION, GEOMETRY, SLOPES, FLOW, EDGE, COVERAGE,
        ARTEFACTS, SOURCES, FAILED,
    )  # fmt: skip
    if not survey.median_tiles or len(survey.job.plan.exposures) < 2:
        reason = "no median was made" if not survey.median_tiles else "a single exposure"
        return [kind.unknown(reason) for kind in kinds], [], None
    stars = median_stars(survey)
    n_stars = int(stars.ra_deg.size)
    if n_stars < 5:
        reason = f"{n_stars} compact sources in the median: too few"
        return [*(kind.unknown(reason) for kind in kinds if kind is not SOURCES), _sources(stars)], [], stars
    offsets = measure_offsets(survey, stars)
    names = [survey.job.plan.exposures[o.exposure].rootname for o in offsets]
    fits = [fit_offsets(name, own) for name, own in zip(names, offsets, strict=True)]
    return [*_judge(survey, fits), _sources(stars)], fits, stars


def _sources(stars: MedianStars) -> Check:
    n_stars = int(stars.ra_deg.size)
    density = 1e6 * stars.n_sources / max(1, stars.area_px)
    shown = f"{n_stars} compact of {stars.n_sources} peaks in the median, {density:.0f} per megapixel"
    usual = n_stars >= _FEW and density < MOST_PER_MEGAPIXEL
    return SOURCES.of("ok" if usual else "look", shown, density)


def _judge(survey: Survey, fits: Sequence[Fit]) -> Iterator[Check]:
    some = [fit for fit in fits if fit.n >= 3]
    yield _shifts(survey, some)
    yield _matches(fits)
    yield _worst_of(PEAK, some, _ambiguity, (0.5, 0.8), "{:.2f}")
    yield _worst_of(RMS, some, lambda fit: float(fit.rms.max()), (0.1, 0.2), "{:.3f} px")
    yield _significance(some)
    yield _visit(survey, some)
    yield _rotation(some)
    yield _geometry(some)
    yield _slopes(some)
    yield _worst_of(FLOW, some, _flow, (0.5, 1.0), "{:.2f}")
    yield _worst_of(EDGE, some, _edge_share, (0.02, 0.1), "{:.1%}")
    yield _coverage(fits)
    yield _worst_of(ARTEFACTS, some, _clumping, (1.0 / 0.3, 1.0 / 0.1), "{:.2f} times closer")
    empty = tuple(fit.name for fit in fits if fit.offsets.n_tried >= MIN_MATCHES and fit.n < 3)
    yield FAILED.of("bad" if empty else "ok", f"{len(empty)} of {len(fits)}", float(len(empty)), empty)


def _worst_of(
    kind: CheckKind,
    fits: Sequence[Fit],
    measure: Callable[[Fit], float],
    limits: tuple[float, float],
    form: str,
) -> Check:
    """Judge the exposure with the largest value."""
    rows = [(measure(fit), fit.name) for fit in fits]
    rows = [row for row in rows if np.isfinite(row[0])]
    if not rows:
        return kind.unknown("too few matches")
    value, name = max(rows)
    details = tuple(f"{n}: {form.format(v)}" for v, n in sorted(rows, reverse=True) if v > limits[0])
    return kind.graded(value, limits, f"at most {form.format(value)} ({name})", details)


def _shifts(survey: Survey, fits: Sequence[Fit]) -> Check:
    if not fits:
        return SHIFT.unknown("too few matches")
    rows = sorted(((fit.length, fit) for fit in fits), key=lambda row: -row[0])
    details = tuple(
        f"{fit.name}: {fit.mean[0]:+.3f}, {fit.mean[1]:+.3f} px from {fit.n} stars"
        for _length, fit in rows[:40]
    )
    length, fit = rows[0]
    scale = survey.job.plan.exposures[fit.offsets.exposure].chips[0].idcscale_arcsec
    shown = f"at most {length:.3f} px = {1000 * length * scale:.1f} mas ({fit.name})"
    return SHIFT.graded(length, (0.1, 0.3), shown, details)


def _matches(fits: Sequence[Fit]) -> Check:
    verdicts: list[Verdict] = []
    details = []
    for fit in fits:
        tried = fit.offsets.n_tried
        if tried == 0:
            continue
        own: Verdict = "ok" if fit.n >= MIN_MATCHES and 2 * fit.n >= tried else "look"
        if tried >= MIN_MATCHES and fit.n < 3:
            own = "bad"
        verdicts.append(own)
        if own != "ok":
            details.append(f"{fit.name}: {fit.n} of {tried}")
    if not verdicts:
        return MATCHES.unknown("no star of the median lies on the exposures looked at")
    least = min(fit.n for fit in fits)
    return MATCHES.of(worst(verdicts), f"at least {least}", float(least), tuple(details))


def _ambiguity(fit: Fit) -> float:
    return float(np.median(fit.offsets.ambiguity))


def _significance(fits: Sequence[Fit]) -> Check:
    rows = []
    for fit in fits:
        error = float(np.hypot(*fit.rms)) / np.sqrt(fit.n)
        if fit.length > max(5.0 * error, 0.02):
            rows.append(f"{fit.name}: {fit.length:.3f} px, error {error:.3f}")
    # What is real but small is no fault: rejection and drizzling take 0.1 px.
    large = any(fit.length > 0.1 for fit in fits)
    verdict: Verdict = "none" if not fits else "look" if rows and large else "ok"
    return SIGNIFICANCE.of(verdict, f"{len(rows)} of {len(fits)} shifts", float(len(rows)), tuple(rows))


def _visit(survey: Survey, fits: Sequence[Fit]) -> Check:
    plan = survey.job.plan
    groups: dict[str, list[Fit]] = {}
    for fit in fits:
        groups.setdefault(plan.exposures[fit.offsets.exposure].rootname[:6], []).append(fit)
    verdicts: list[Verdict] = []
    rows, largest = [], 0.0
    for visit, members in groups.items():
        if len(members) < 2:
            continue
        means = np.array([fit.mean for fit in members])
        spread = float(np.hypot(*np.ptp(means, axis=0)))
        chip = plan.exposures[members[0].offsets.exposure].chips[0]
        limit = max(0.1, 0.005 / chip.idcscale_arcsec)
        wide = _is_wide(survey, [fit.offsets.exposure for fit in members])
        verdicts.append(grade(spread, 3 * limit if wide else limit, 5 * limit))
        rows.append(f"{visit}: {spread:.3f} px")
        largest = max(largest, spread)
    if not verdicts:
        return VISIT.unknown("no two exposures of one visit")
    return VISIT.of(worst(verdicts), f"at most {largest:.3f} px", largest, tuple(rows))


def _is_wide(survey: Survey, exposures: Sequence[int]) -> bool:
    """Whether exposures are offset by more than a tenth of the detector."""
    plan = survey.job.plan
    grid = plan.final.grid
    points = np.array(
        [
            np.concatenate(grid.sky_to_pixel(np.array([c.wcs.crval_deg[0]]), np.array([c.wcs.crval_deg[1]])))
            for c in (plan.exposures[i].chips[0] for i in exposures)
        ]
    )
    return bool(np.ptp(points, axis=0).max() > 0.1 * plan.exposures[exposures[0]].chips[0].shape_yx.nx)


def _rotation(fits: Sequence[Fit]) -> Check:
    rows = [fit for fit in fits if np.isfinite(fit.rotation_deg)]
    if not rows:
        return ROTATION.unknown("too few matches")
    real = [fit for fit in rows if abs(fit.rotation_deg) > 3.0 * fit.rotation_error_deg]
    largest = max(rows, key=lambda fit: abs(fit.rotation_deg))
    value = max((abs(fit.rotation_deg) for fit in real), default=0.0)
    details = tuple(f"{f.name}: {f.rotation_deg:+.4f} +- {f.rotation_error_deg:.4f} deg" for f in rows[:40])
    shown = f"at most {abs(largest.rotation_deg):.4f} deg ({largest.name})"
    return ROTATION.graded(value, (0.002, 0.02), shown, details)


def _geometry(fits: Sequence[Fit]) -> Check:
    rows = [fit for fit in fits if np.isfinite(fit.rotation_deg)]
    if not rows:
        return GEOMETRY.unknown("too few matches")
    other = tuple(fit.name for fit in rows if not fit.prefers_shift and fit.slope_px > 0.05)
    shown = "shift" if not other else f"rscale for {len(other)} of {len(rows)}"
    return GEOMETRY.of("look" if other else "ok", shown, float(len(other)), other)


def _slopes(fits: Sequence[Fit]) -> Check:
    rows = [fit for fit in fits if np.isfinite(fit.slope_px)]
    if not rows:
        return SLOPES.unknown("too few matches")
    judged = [max(0.0, fit.slope_px - 3.0 * fit.slope_error_px - _bias_px(fit)) for fit in rows]
    largest = max(rows, key=lambda fit: fit.slope_px)
    details = tuple(
        f"{fit.name}: {fit.slope_px:.3f} +- {fit.slope_error_px:.3f} px"
        for fit, own in zip(rows, judged, strict=True)
        if own > 0.05
    )
    return SLOPES.graded(
        max(judged), (0.05, 0.3), f"at most {largest.slope_px:.3f} px ({largest.name})", details
    )


def _bias_px(fit: Fit) -> float:
    """How far undersampling may bend residuals: its bias follows the phase of the pixels over the field."""
    return _UNDERSAMPLED_BIAS_PX if fit.offsets.fwhm_px < _WELL_SAMPLED_PX else 0.0


def _flow(fit: Fit) -> float:
    """Correlation of residuals of nearest neighbours, or difference of the chips in units of 0.2 px."""
    if fit.n < 12:
        return float("nan")
    place = fit.offsets.xy[fit.kept]
    residual = fit.offsets.shift_xy[fit.kept] - fit.mean
    chips = fit.offsets.chip[fit.kept]
    means = [residual[chips == c].mean(axis=0) for c in np.unique(chips) if np.count_nonzero(chips == c) >= 5]
    between = float(np.hypot(*np.ptp(means, axis=0))) if len(means) > 1 else 0.0
    size2 = float((residual**2).sum())
    # Residuals of a few hundredths of a pixel flow with the phase of the pixels; that is no distortion.
    if size2 <= 0 or float(np.sqrt(size2 / residual.size)) < 0.05:
        return between / 0.2
    distance2 = ((place[:, None] - place[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distance2, np.inf)
    nearest = distance2.argmin(axis=1)
    correlation = float((residual * residual[nearest]).sum() / size2)
    return max(correlation, between / 0.2)


def _edge_share(fit: Fit) -> float:
    # Chance matches lie anywhere, also at the limit: those that agree with the rest count.
    reach = np.abs(fit.offsets.shift_xy[fit.kept]).max(axis=1)
    return float(np.mean(reach > 0.9 * REACH_PX))


def _coverage(fits: Sequence[Fit]) -> Check:
    areas = [(hull_area(fit.offsets.xy[fit.kept]), fit) for fit in fits if fit.n >= 6]
    if not areas:
        return COVERAGE.unknown("too few matches")
    largest = max(area for area, _fit in areas)
    rows = []
    for area, fit in areas:
        place = fit.offsets.xy[fit.kept] - fit.offsets.xy.mean(axis=0)
        quadrants = len({(bool(x > 0), bool(y > 0)) for x, y in place})
        share = area / largest if largest > 0 else 0.0
        rows.append((share, quadrants, fit.name))
    share, quadrants, name = min(rows)
    bad = [f"{n}: {q} quadrants, {s:.0%} of the hull" for s, q, n in rows if s < 0.5 or q < 3]
    shown = f"{quadrants} quadrants, {share:.0%} of the largest hull ({name})"
    return COVERAGE.of("look" if bad else "ok", shown, share, tuple(bad))


def _clumping(fit: Fit) -> float:
    """How much closer than in a random field the next match is, by the median."""
    place = fit.offsets.xy[fit.kept]
    area = hull_area(place)
    if fit.n < 12 or area <= 0:
        return float("nan")
    distance2 = ((place[:, None] - place[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distance2, np.inf)
    median = float(np.sqrt(np.median(distance2.min(axis=1))))
    # In a Poisson field the median distance to the next point is sqrt(ln 2 / (pi density)).
    expected = float(np.sqrt(np.log(2.0) * area / (np.pi * fit.n)))
    return expected / max(median, 1e-9)
