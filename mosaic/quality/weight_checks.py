"""Checks of weights, sampling and stars of the product."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mosaic.exposure.reader import read_science
from mosaic.graph.job import chip_task
from mosaic.graph.store import read_mask
from mosaic.quality.checks import Check, CheckKind, Verdict
from mosaic.quality.inputs import dither_phases, quadrants_of
from mosaic.quality.mosaic_checks import STAR_HALF, ProductPass, dq_of_holes
from mosaic.quality.offsets import sky_to_chip
from mosaic.quality.stars import MAD_TO_SIGMA, above_border, aperture_sums, measure_shapes
from mosaic.quality.survey import Survey
from mosaic.types import DoubleArray, Window

WEIGHTS = "Weights and holes"
SAMPLING = "Sampling"
STARS = "Stars and fluxes"
BOX_TO_FWHM2 = 8.0 * np.log(2.0) / 12.0
"""Square of the width at half maximum of the Gaussian as wide as a unit box, by variance."""
_STARS_USED = 60
_STARS_BRIEF = 16

MEAN_WEIGHT = CheckKind(
    "mean_weight",
    WEIGHTS,
    "Mean weight against exposure time",
    "median within 10 % of the sum of exposure times (look), 30 % (bad)",
    "Exposures contribute less than their time: many rejected or flagged pixels. Check final_bits and the "
    "cosmic-ray masks.",
    "weight",
)
UNIFORM = CheckKind(
    "weight_uniformity",
    WEIGHTS,
    "Evenness of the weight where the exposures overlap",
    "scatter / median below 0.2 (look), 0.3 (bad: photometry must use the weights)",
    "Raise final_pixfrac, or final_scale; more sub-pixel dithers would help.",
    "weight",
)
HOLES = CheckKind(
    "holes",
    WEIGHTS,
    "Pixels without weight inside the outlines of the exposures",
    "at most 0.1 % (look), 1 % (bad)",
    "Call more DQ bits good (final_bits), raise final_pixfrac, or add dithered exposures.",
    "weight",
)
IMPRINT = CheckKind(
    "target_imprint",
    WEIGHTS,
    "Imprint of objects in the weight image",
    "below 3 sigma or 1 % (look), 5 % (bad)",
    "Objects lose weight: their pixels are taken for cosmic rays, or are saturated. See the star cores above "
    "and the bits of final_bits (256: saturated).",
    "weight",
)
PIXFRAC = CheckKind(
    "pixfrac",
    SAMPLING,
    "Drop size for this number of exposures",
    "0.5 to 1; at least 0.7 below four exposures; 1 for a single one; a little above output / native scale",
    "See the recommendation below.",
)
SCALE = CheckKind(
    "output_scale",
    SAMPLING,
    "Output scale",
    "at most the native scale; half of it at the least; width of stars at least 2 px",
    "See the recommendation below.",
)
RECOMMENDED = CheckKind(
    "recommended",
    SAMPLING,
    "Scale and pixfrac that the observed dither allows",
    "smallest drops whose weights scatter by less than 20 %",
    "The weights will scatter more than that with the values chosen: set final_scale and final_pixfrac to "
    "these.",
)
WIDTH = CheckKind(
    "star_width",
    STARS,
    "Width of stars against what the exposures and the drops give",
    "at most 1.15 times (look), 1.4 times (bad)",
    "Stars are wider in the product than in the exposures: align them, or leave out those out of focus.",
    "stars",
)
ROUND = CheckKind(
    "star_roundness",
    STARS,
    "Roundness of stars",
    "median ellipticity below 0.1 (look), 0.3 (bad), or that of the exposures",
    "Elongated stars: misalignment along one direction, trailing, or jitter.",
    "stars",
)
FIELD = CheckKind(
    "width_over_field",
    STARS,
    "Width of stars over the field",
    "quadrants within 10 % (look), 30 % (bad) of the median",
    "Stars are wider in one part of the field: rotation, distortion or focus. Align with rscale.",
    "stars",
)
FLUX = CheckKind(
    "flux_balance",
    STARS,
    "Fluxes of stars in the product against the exposures",
    "median within 1 % (look), 3 % (bad)",
    "Flux is lost or gained: check star cores, exposure times, units and sky. Weights of type ERR favour low "
    "pixels of undersampled stars: use EXP or IVM.",
)


def check_weights(survey: Survey, found: ProductPass | None) -> Iterator[Check]:
    """Checks of weights and holes."""
    if found is None or not found.relative:
        for kind in (MEAN_WEIGHT, UNIFORM, HOLES, IMPRINT):
            yield kind.unknown("no product was made" if found is None else "the product is empty")
        return
    yield _mean_weight(survey, found)
    yield _uniform(found)
    yield _holes(survey, found)
    yield _imprint(survey, found)


def _has_exposure_weights(survey: Survey) -> bool:
    settings = survey.job.plan.settings
    return settings.final_wht_type == "EXP" and str(settings.final_wt_scl) == "exptime"


def _mean_weight(survey: Survey, found: ProductPass) -> Check:
    if not _has_exposure_weights(survey):
        return MEAN_WEIGHT.unknown("weights are not exposure times")
    value = float(np.median(np.concatenate(found.relative)))
    return MEAN_WEIGHT.graded(abs(value - 1.0), (0.1, 0.3), f"{value:.3f} of the exposure time")


def _uniform(found: ProductPass) -> Check:
    values = np.concatenate(found.full_depth) if found.full_depth else np.empty(0)
    values = values[np.isfinite(values)]
    if values.size < 100:
        return UNIFORM.unknown("no region where most exposures overlap")
    median = float(np.median(values))
    if median <= 0:
        return UNIFORM.of("bad", "median weight is zero", float("inf"))
    scatter = float(np.std(values)) / median
    low = float(np.mean(values < 0.7 * median))
    return UNIFORM.graded(scatter, (0.2, 0.3), f"scatter / median {scatter:.3f}; {low:.1%} below 0.7")


def _holes(survey: Survey, found: ProductPass) -> Check:
    if not found.n_promised:
        return HOLES.unknown("no pixel lies inside an outline")
    share = found.n_holes / found.n_promised
    details = tuple(dq_of_holes(survey, found.hole_places)) if share > 1e-3 else ()
    if share > 1e-3 and not details:
        details = ("no DQ bit explains them: the static mask, or drops too small to touch every pixel",)
    return HOLES.graded(share, (1e-3, 1e-2), f"{share:.3%} of {found.n_promised} pixels", details)


def _imprint(survey: Survey, found: ProductPass) -> Check:
    values = np.array(found.imprint)
    if survey.job.plan.settings.final_wht_type == "ERR":
        return IMPRINT.unknown("weights follow the errors of the pixels, hence the objects")
    if values.size < 10:
        return IMPRINT.unknown("too few objects")
    # Means, not medians: an imprint of some of the objects counts.
    deficit = -float(values.mean())
    sigma = deficit / max(float(values.std()) / np.sqrt(values.size), 1e-12)
    judged = deficit if sigma > 3.0 else 0.0
    shown = f"weight on objects {-deficit:+.2%} ({-sigma:+.1f} sigma, {values.size} objects)"
    if judged > 0.01 and survey.job.plan.exposures[0].detector == "IR":
        return IMPRINT.of("ok", f"{shown}; usual for IR: saturated reads are left out", deficit)
    return IMPRINT.graded(judged, (0.01, 0.05), shown)


def check_sampling(survey: Survey, found: ProductPass | None) -> Iterator[Check]:
    """Checks of pixfrac and scale, and what the dither would allow."""
    plan = survey.job.plan
    drop = survey.job.final.drop
    n = len(plan.exposures)
    ratio = survey.job.scale_ratio(survey.job.final, 0)
    problems = []
    if drop.pixfrac > 1.0 or (drop.pixfrac < 0.5 and drop.effective_kernel != "point"):
        problems.append("outside 0.5 to 1")
    if n == 1 and drop.pixfrac != 1.0:
        problems.append("a single exposure wants 1")
    if 1 < n < 4 and drop.pixfrac < 0.7:
        problems.append("fewer than four exposures want at least 0.7")
    if drop.pixfrac < min(1.0, ratio) - 1e-6:
        problems.append(f"below the scale ratio {ratio:.2f}: gaps between the drops")
    shown = f"{drop.pixfrac:g} with {n} exposures and scale ratio {ratio:.2f}"
    yield PIXFRAC.of("look" if problems else "ok", shown, drop.pixfrac, tuple(problems))
    yield _scale(survey, found, ratio)
    yield _recommended(survey)


def _scale(survey: Survey, found: ProductPass | None, ratio: float) -> Check:
    scale = survey.job.plan.final.grid.scale_arcsec
    width = float(np.median(found.stars.fwhm)) if found is not None and len(found.stars.fwhm) >= 5 else np.nan
    verdict: Verdict = "ok" if 0.4 <= ratio <= 1.25 else "look"
    if ratio > 2.5 or ratio < 0.2:
        verdict = "bad"
    stars = f"; stars {width:.2f} px wide" if np.isfinite(width) else ""
    return SCALE.of(verdict, f"{scale:.4g} arcsec = {ratio:.2f} of the native scale{stars}", ratio)


def weight_scatter(phases: DoubleArray, pixfrac: float, ratio: float) -> float:
    """Scatter over median of the weight of square drops at the given phases, undistorted.

    Parameters
    ----------
    phases : DoubleArray, shape (n, 2)
        Positions of the exposures, native pixels.
    pixfrac : float
        Side of a drop, native pixels.
    ratio : float
        Output pixel over native pixel.
    """
    n_out = 24
    edges = np.arange(n_out + 1) * ratio
    total = np.zeros((n_out, n_out))
    centres = np.arange(-2, int(n_out * ratio) + 3, dtype=np.float64)
    for phase in phases:
        along = []
        for axis in (0, 1):
            low, high = centres + phase[axis] - pixfrac / 2, centres + phase[axis] + pixfrac / 2
            overlap = np.minimum(high[None], edges[1:, None]) - np.maximum(low[None], edges[:-1, None])
            along.append(np.clip(overlap, 0.0, None).sum(axis=1))
        total += along[1][:, None] * along[0][None, :]
    inner = total[2:-2, 2:-2]
    median = float(np.median(inner))
    return float(inner.std()) / median if median > 0 else float("inf")


def recommend(phases: DoubleArray) -> tuple[float, float, float]:
    """Scale ratio, pixfrac and weight scatter for phases of a dither."""
    n = len(phases)
    if n == 1:
        return 1.0, 1.0, 0.0
    quadrants = quadrants_of(phases)
    ratios: tuple[float, ...] = (1.0,)
    if n >= 4 and quadrants >= 3:
        ratios = (0.5, 0.6, 0.66, 0.8, 1.0)
    elif n >= 3 and quadrants >= 2:
        ratios = (0.8, 1.0)
    least = 0.5 if n >= 4 else 0.7
    for ratio in ratios:
        for pixfrac in np.arange(max(least, round(ratio + 0.1, 1)), 1.01, 0.1):
            scatter = weight_scatter(phases, float(pixfrac), ratio)
            if scatter < 0.2:
                return ratio, float(round(min(1.0, pixfrac), 2)), scatter
    return 1.0, 1.0, weight_scatter(phases, 1.0, 1.0)


def _recommended(survey: Survey) -> Check:
    phases = dither_phases(survey)
    ratio, pixfrac, scatter = recommend(phases)
    native = survey.job.plan.chips[0].idcscale_arcsec
    shown = f"final_scale={ratio * native:.3g}, final_pixfrac={pixfrac:g} (weights scatter by {scatter:.0%})"
    now = survey.job.scale_ratio(survey.job.final, 0)
    mine = weight_scatter(phases, survey.job.final.drop.pixfrac, now)
    details = (f"{len(phases)} exposures; chosen now: scatter {mine:.0%} expected without flagged pixels",)
    is_known = survey.job.final.drop.effective_kernel in {"square", "turbo"}
    return RECOMMENDED.of("look" if is_known and mine > max(0.2, scatter) else "ok", shown, ratio, details)


def check_stars(survey: Survey, found: ProductPass | None) -> Iterator[Check]:
    """Checks of the widths, roundness and fluxes of stars."""
    kinds = (WIDTH, ROUND, FIELD, FLUX)
    if found is None or len(found.stars.fwhm) < 8:
        for kind in kinds:
            yield kind.unknown("too few isolated bright stars in the product")
        return
    inputs = _StarsOfInputs(survey, found)
    yield _width(survey, found, inputs)
    yield _round(found, inputs)
    yield _field(found)
    yield _flux(inputs)


class _StarsOfInputs:
    """The stars of the product measured in the exposures.

    Parameters
    ----------
    survey : Survey
        The job.
    found : ProductPass
        Stars of the product.
    """

    def __init__(self, survey: Survey, found: ProductPass) -> None:
        peak = np.array([stamp.max() for stamp in found.stars.stamp])
        chosen = np.argsort(-peak, kind="stable")[: _STARS_USED if survey.full else _STARS_BRIEF]
        grid = survey.job.plan.final.grid
        self._sky = grid.pixel_to_sky(np.array(found.stars.x)[chosen], np.array(found.stars.y)[chosen])
        self._survey = survey
        scale = grid.scale_arcsec
        native = survey.job.plan.chips[0].idcscale_arcsec
        self._radius = 4.0
        half = min(STAR_HALF, int(STAR_HALF * native / scale))
        stamps = np.array(found.stars.stamp)[chosen]
        self.product_flux = aperture_sums(stamps, min(half, self._radius * native / scale))
        self.fwhm: list[float] = []
        self.ellipticity: list[float] = []
        self.ratios: list[float] = []
        for index in survey.chips[: 2 * 8]:
            self._measure(index)

    def _measure(self, index: int) -> None:
        survey = self._survey
        chip = survey.job.plan.chips[index]
        x, y = sky_to_chip(survey, index, *self._sky)
        half = 9
        ny, nx = chip.shape_yx
        stamps, places = [], []
        for k in np.flatnonzero(np.isfinite(x)):
            i, j = round(float(x[k])), round(float(y[k]))
            window = Window(j - half, j + half + 1, i - half, i + half + 1)
            if window.y0 < 0 or window.x0 < 0 or window.y1 > ny or window.x1 > nx:
                continue
            is_good = survey.job.good_flags(index, window, survey.job.final.good_bits)
            if survey.job.plan.settings.driz_cr:
                is_good &= ~read_mask(survey.job.store, f"cosmic_rays/{chip_task(chip)}", window)
            sci = read_science(chip, window).astype(np.float64)
            # Undisturbed within the aperture; elsewhere flagged pixels take the level of the rest.
            if is_good[3:-3, 3:-3].all() and np.isfinite(sci).all():
                stamps.append(np.where(is_good, sci, np.median(sci)) * chip.to_electrons / chip.exptime_s)
                places.append(int(k))
        if not stamps:
            return
        stack = above_border(np.array(stamps))
        shapes = measure_shapes(stack, 1.5)
        self.fwhm += [float(v) * chip.idcscale_arcsec for v in shapes.fwhm if np.isfinite(v)]
        self.ellipticity += [float(v) for v in shapes.ellipticity if np.isfinite(v)]
        area = self._pixel_area(index, x[places], y[places])
        flux = aperture_sums(stack, self._radius) * area / survey.job.product_unit.final_divisor
        if survey.job.plan.settings.final_units == "counts":
            flux *= sum(exposure.chips[0].exptime_s for exposure in survey.job.plan.exposures)
        self.ratios += [float(v) for v in self.product_flux[places] / flux if np.isfinite(v) and v > 0]

    def _pixel_area(self, index: int, x: DoubleArray, y: DoubleArray) -> DoubleArray:
        """Area of the pixels at some places over that of a nominal one: what flat-fielding divided out."""
        chip = self._survey.job.plan.chips[index]
        grid = self._survey.job.plan.final.grid
        ux, uy = (
            np.array(grid.sky_to_pixel(*chip.wcs.pixel_to_sky(x + dx, y + dy)))
            - np.array(grid.sky_to_pixel(*chip.wcs.pixel_to_sky(x - dx, y - dy)))
            for dx, dy in ((0.5, 0.0), (0.0, 0.5))
        )
        area = np.abs(ux[0] * uy[1] - ux[1] * uy[0])
        return np.asarray(area * (grid.scale_arcsec / chip.idcscale_arcsec) ** 2)


def _width(survey: Survey, found: ProductPass, inputs: _StarsOfInputs) -> Check:
    if len(inputs.fwhm) < 8:
        return WIDTH.unknown("too few undisturbed stars in the exposures")
    grid = survey.job.plan.final.grid
    native = survey.job.plan.chips[0].idcscale_arcsec
    drop = survey.job.final.drop
    own2 = float(np.median(inputs.fwhm)) ** 2
    spread = drop.pixfrac**2 * native**2 if drop.effective_kernel != "point" else 0.0
    expected = np.sqrt(own2 + BOX_TO_FWHM2 * (spread + grid.scale_arcsec**2))
    value = float(np.median(found.stars.fwhm)) * grid.scale_arcsec
    shown = f"{value:.3f} arcsec, expected {expected:.3f} ({value / expected:.2f} times)"
    return WIDTH.graded(value / expected, (1.15, 1.4), shown)


def _round(found: ProductPass, inputs: _StarsOfInputs) -> Check:
    value = float(np.median(found.stars.ellipticity))
    base = float(np.median(inputs.ellipticity)) if len(inputs.ellipticity) >= 8 else 0.0
    shown = f"median ellipticity {value:.3f}" + (f" ({base:.3f} in the exposures)" if base else "")
    return ROUND.graded(value, (max(0.1, 1.1 * base), max(0.3, 2.0 * base)), shown)


def _field(found: ProductPass) -> Check:
    x, y, width = (np.array(values) for values in (found.stars.x, found.stars.y, found.stars.fwhm))
    median = float(np.median(width))
    rows = []
    for right in (False, True):
        for upper in (False, True):
            own = ((x > np.median(x)) == right) & ((y > np.median(y)) == upper)
            if np.count_nonzero(own) < 5:
                continue
            middle = float(np.median(width[own]))
            error = 1.25 * MAD_TO_SIGMA * float(np.median(np.abs(width[own] - middle)))
            off = abs(middle / median - 1.0) - 2.0 * error / median / np.sqrt(np.count_nonzero(own))
            place = f"{'upper' if upper else 'lower'} {'right' if right else 'left'}"
            rows.append((max(0.0, off), f"{place}: {middle:.2f} px from {np.count_nonzero(own)} stars"))
    if len(rows) < 3:
        return FIELD.unknown("too few stars in the quadrants")
    worst_off = max(off for off, _text in rows)
    shown = f"{median:.2f} px, quadrants beyond their error by at most {worst_off:.1%}"
    return FIELD.graded(worst_off, (0.1, 0.3), shown, tuple(text for _o, text in rows))


def _flux(inputs: _StarsOfInputs) -> Check:
    values = np.array(inputs.ratios)
    if values.size < 12:
        return FLUX.unknown("too few undisturbed stars in the exposures")
    median = float(np.median(values))
    error = 1.25 * MAD_TO_SIGMA * float(np.median(np.abs(values - median))) / np.sqrt(values.size)
    judged = max(0.0, abs(median - 1.0) - 2.0 * error)
    shown = f"product / exposures {median:.4f} +- {error:.4f} ({values.size} measurements)"
    return FLUX.graded(judged, (0.01, 0.03), shown)
