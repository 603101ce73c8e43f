"""Checks of sky levels and noise of the product: seams, recorded sky, periodic patterns, correlated noise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mosaic.quality.checks import Check, CheckKind, Verdict, worst
from mosaic.quality.correlation import block_ratio, correlation_ratio
from mosaic.quality.mosaic_checks import ProductPass
from mosaic.quality.noise import BLOCK
from mosaic.quality.stars import sky_level
from mosaic.quality.survey import Survey

GROUP = "Sky and noise"
_BLOCK_FORMULA = frozenset({"square", "turbo"})

SEAMS = CheckKind(
    "seams",
    GROUP,
    "Steps of the sky at edges of exposures and chips",
    "1 % of the sky and 5 times its error (look), 3 times the noise of a pixel (bad)",
    "Sky levels of the exposures disagree: use skymethod 'match' or 'globalmin+match', or mask bright "
    "sources.",
    "science",
)
RECORDED = CheckKind(
    "recorded_sky",
    GROUP,
    "Sky subtracted against an independent estimate",
    "within 3 times its error or 2 % (look), 10 % (bad)",
    "The sky that was subtracted is not the sky of the pixels: crowded field, nebula, or a wrong skyfile. "
    "Try skystat mode, skymethod match, or give the sky with skyfile.",
)
PATTERN = CheckKind(
    "moire",
    GROUP,
    "Periodic pattern in the sky",
    "strongest frequency below 5 times its neighbourhood, or what chance allows",
    "A screen-door pattern of drops too small for scale and dither (raise final_pixfrac or final_scale), "
    "or periodic noise of the read-out in the exposures.",
    "science",
)
CORRELATED = CheckKind(
    "correlated_noise",
    GROUP,
    "Correlated noise: apertures deserve R times the error of single pixels",
    "measured in blocks within 25 % of the closed form",
    "Blocks of sky scatter more than the drops explain: structure of the sky, poor flats, or residual cosmic "
    "rays. Errors of apertures need the measured ratio.",
)
REPORTED = CheckKind(
    "reported_errors",
    GROUP,
    "Errors of the product (ERR) against the scatter of the sky",
    "within 15 % (look), 50 % (bad)",
    "Errors come from the ERR arrays of the inputs: see whether these, gain and read noise fit the pixels.",
)


def check_sky(survey: Survey, found: ProductPass | None) -> Iterator[Check]:
    """All checks of this module."""
    yield _recorded(survey)
    if found is None:
        for kind in (SEAMS, PATTERN, CORRELATED, REPORTED):
            yield kind.unknown("no product was made")
        return
    yield _seams(survey, found)
    yield _pattern(found)
    yield _correlated(survey, found)
    if not found.noise.reported:
        yield REPORTED.unknown("no ERR image (final_err=false)")
    else:
        value = float(np.median(found.noise.reported))
        yield REPORTED.graded(abs(value - 1.0), (0.15, 0.5), f"reported / measured {value:.3f}")


def product_sky(survey: Survey) -> float:
    """Sky of the exposures before subtraction, in the product's unit; NaN when none was measured."""
    plan = survey.job.plan
    rates = []
    for index in survey.chips:
        chip = plan.chips[index]
        level = survey.job.sky[chip.name].background
        ratio = survey.job.scale_ratio(survey.job.final, index)
        rates.append(level * chip.to_electrons / chip.exptime_s * ratio * ratio)
    return float(np.median(rates)) / survey.job.product_unit.final_divisor if rates else float("nan")


def _seams(survey: Survey, found: ProductPass) -> Check:
    if not found.seams:
        return SEAMS.unknown("no tile with two depths and enough sky")
    sky = abs(product_sky(survey))
    if survey.job.plan.settings.final_units == "counts":
        sky *= sum(exposure.chips[0].exptime_s for exposure in survey.job.plan.exposures)
    verdicts: list[Verdict] = []
    rows = []
    for step, error, scatter, place in found.seams:
        verdict: Verdict = "ok"
        if abs(step) > 5.0 * error and abs(step) > 0.01 * sky:
            verdict = "bad" if abs(step) > 3.0 * scatter else "look"
        verdicts.append(verdict)
        rows.append((abs(step) / max(error, 1e-30), f"{place}: {step:+.3g} +- {error:.2g}"))
    rows.sort(reverse=True)
    largest = max(abs(step) for step, *_ in found.seams)
    share = f" = {largest / sky:.1%} of the sky" if sky > 0 else ""
    return SEAMS.of(
        worst(verdicts), f"at most {largest:.3g}{share}", largest, tuple(t for _r, t in rows[:12])
    )


def _recorded(survey: Survey) -> Check:
    plan = survey.job.plan
    settings = plan.settings
    if not settings.skysub:
        return RECORDED.unknown("no sky was subtracted (skysub)")
    rows = []
    for exposure in survey.exposures:
        members = [i for i in survey.chips if plan.exposure_of_chip[i] == exposure]
        for index in members:
            chip = plan.chips[index]
            if survey.job.sky[chip.name].subtracted is None:
                continue
            level = sky_level(survey.science_sample(index))
            if not np.isfinite(level.value):
                continue
            error = 1.25 * level.sigma / np.sqrt(level.n)
            rows.append(
                (exposure, index, float(survey.job.sky[chip.name].subtracted or 0.0), level.value, error)
            )
    if not rows:
        return RECORDED.unknown("no sky was subtracted")
    return _compare_sky(survey, rows)


def _compare_sky(survey: Survey, rows: list[tuple[int, int, float, float, float]]) -> Check:
    """Compare levels chip by chip; where methods fix differences only, a common offset is left out."""
    plan = survey.job.plan
    factor = [plan.chips[index].to_electrons / plan.chips[index].exptime_s for _e, index, *_ in rows]
    difference = np.array(
        [(own - measured) * f for f, (_e, _i, own, measured, _x) in zip(factor, rows, strict=True)]
    )
    level = np.array([measured * f for f, (_e, _i, _o, measured, _x) in zip(factor, rows, strict=True)])
    error = np.array([x * f for f, (*_rest, x) in zip(factor, rows, strict=True)])
    method = plan.settings.skymethod
    if method == "localmin":
        # One value per exposure is subtracted, the lowest of its chips: only that chip is comparable.
        exposures = np.array([row[0] for row in rows])
        lowest = [
            int(np.flatnonzero(exposures == e)[np.argmin(level[exposures == e])])
            for e in np.unique(exposures)
        ]
    else:
        lowest = list(range(len(rows)))
        difference = difference - np.median(difference)
    verdicts: list[Verdict] = []
    texts = []
    for k in lowest:
        off = abs(float(difference[k]))
        base = max(abs(float(level[k])), 1e-30)
        # The error of the method itself is several times that of a median of all pixels.
        verdict: Verdict = "ok" if off <= max(9.0 * error[k], 0.02 * base) else "look"
        if off > max(30.0 * error[k], 0.1 * base):
            verdict = "bad"
        verdicts.append(verdict)
        name = plan.chips[rows[k][1]].name
        texts.append((off / base, f"{name}: subtracted {rows[k][2]:.5g}, measured {rows[k][3]:.5g}"))
    texts.sort(reverse=True)
    largest = texts[0][0]
    kind = "" if method == "localmin" else " (differences)"
    return RECORDED.of(
        worst(verdicts), f"at most {largest:.2%} off{kind}", largest, tuple(t for _v, t in texts[:40])
    )


def _pattern(found: ProductPass) -> Check:
    power, chance, period_x, period_y = found.spectrum.strongest()
    if not np.isfinite(power):
        return PATTERN.unknown("no patch of sky large enough")
    limit = max(5.0, chance)
    period = " x ".join(f"{p:.1f}" if np.isfinite(p) else "-" for p in (period_x, period_y))
    shown = f"{power:.1f} times, period {period} px"
    return PATTERN.graded(power, (limit, 4.0 * limit), shown)


def _correlated(survey: Survey, found: ProductPass) -> Check:
    drop = survey.job.final.drop
    scale = survey.job.scale_ratio(survey.job.final, survey.chips[0])
    analytic = correlation_ratio(drop.pixfrac, scale, drop.effective_kernel)
    measured = found.noise.ratio
    known = drop.effective_kernel in _BLOCK_FORMULA
    details = (
        f"closed form for large apertures (pixfrac {drop.pixfrac:g}, scale {scale:.3g}): R = {analytic:.3f}",
    )
    if not np.isfinite(measured):
        return CORRELATED.of(
            "none", f"R = {analytic:.2f} (closed form; too little sky to measure)", None, details
        )
    if not known:
        return CORRELATED.of("ok", f"{measured:.2f} measured in blocks of {BLOCK} px", measured, details)
    expected = block_ratio(drop.pixfrac, scale, BLOCK)
    excess = abs(measured / expected - 1.0)
    shown = f"R = {analytic:.2f}; in blocks of {BLOCK} px {measured:.2f}, expected {expected:.2f}"
    verdict: Verdict = "ok" if excess <= 0.25 else "bad" if measured > 2.0 * expected else "look"
    return CORRELATED.of(verdict, shown, measured, details)
