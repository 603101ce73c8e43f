"""Charts of the report as vector graphics: shifts, residual vectors, dither phases, shapes over the field.

Text that a browser draws; nothing is needed to make them. Colours follow the page, dark or light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np

from mosaic.quality.mosaic_checks import ProductStars
from mosaic.quality.shiftfit import Fit
from mosaic.types import DoubleArray

COLOURS: Final = ("#e69f00", "#3f9fd8", "#3aa655", "#e0604c", "#a678de", "#c9b400")
_SIZE = 400.0
_MARGIN = 24.0
_MOST_STICKS = 300
_MOST_NAMES = 12


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart of the report."""

    name: str
    """Name that checks refer to."""
    group: str
    """Heading under which it stands."""
    title: str
    """Caption."""
    svg: str
    """The drawing."""


def make_charts(fits: Sequence[Fit], phases: DoubleArray, stars: ProductStars | None) -> list[Chart]:
    """All charts that the measurements allow."""
    charts = []
    if len(phases) > 1:
        charts.append(phase_chart(phases))
    shown = [fit for fit in fits if fit.n]
    if shown:
        charts.append(shift_chart(shown))
    long = [fit for fit in shown if fit.n >= _MOST_NAMES]
    if long:
        charts.append(vector_chart(max(long, key=lambda fit: (float(fit.rms.max()), fit.name))))
    if stars is not None and len(stars.x) >= _MOST_NAMES:
        charts.append(stick_chart(stars))
    return charts


def shift_chart(fits: Sequence[Fit], limit_px: float = 0.1) -> Chart:
    """Mean shift of every exposure with its scatter, and the circle of the limit."""
    reach = max(
        [
            2.0 * limit_px,
            *(abs(float(v)) + float(r) for f in fits for v, r in zip(f.mean, f.rms, strict=True)),
        ]
    )
    reach *= 1.15
    middle = _SIZE / 2.0
    unit = middle / reach
    parts = [
        _cross(0.0, _SIZE),
        (
            f'<circle cx="{middle}" cy="{middle}" r="{limit_px * unit:.1f}" fill="none" stroke="var(--ok)" '
            'stroke-dasharray="4 3"/>'
        ),
    ]
    names: list[tuple[float, float, str, str]] = []
    for number, fit in enumerate(fits):
        x, y = middle + float(fit.mean[0]) * unit, middle - float(fit.mean[1]) * unit
        rx, ry = (float(v) * unit for v in fit.rms)
        colour = COLOURS[number % len(COLOURS)]
        parts.append(
            f'<g stroke="{colour}" fill="{colour}"><path d="M{x - rx:.1f} {y:.1f}h{2 * rx:.1f}'
            f'M{x:.1f} {y - ry:.1f}v{2 * ry:.1f}" stroke-width="1.5"/>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/></g>'
        )
        names.append((x, y, fit.name, colour))
    if len(fits) <= _MOST_NAMES:
        # A list in the corner: names beside points that coincide would hide each other.
        parts += [
            f'<circle cx="10" cy="{14 + 17 * k}" r="4" fill="{colour}"/>{_text(20, 18 + 17 * k, name)}'
            for k, (_x, _y, name, colour) in enumerate(names)
        ]
    parts.append(_text(8, _SIZE - 8, f"edge: {reach:.2g} px; dashed: {limit_px:g} px"))
    title = "Mean shift of each exposure against the median, and the scatter of its stars"
    return Chart("residuals", "Alignment", title, _drawing(parts, title))


def vector_chart(fit: Fit) -> Chart:
    """Residual vectors of the stars of one exposure over its chips, exaggerated."""
    place, residual = fit.offsets.xy[fit.kept], fit.offsets.shift_xy[fit.kept] - fit.mean
    length = float(np.percentile(np.hypot(*residual.T), 90.0)) or 1.0
    unit = 30.0 / length
    x, y, height = _fitted(place[:, 0], place[:, 1])
    parts = [_frame(height)]
    for x0, y0, (dx, dy) in zip(x, y, residual * unit, strict=True):
        parts.append(
            f'<path d="M{x0:.1f} {y0:.1f}l{dx:.1f} {-dy:.1f}" stroke="{COLOURS[1]}" stroke-width="1.5"/>'
            f'<circle cx="{x0:.1f}" cy="{y0:.1f}" r="2" fill="{COLOURS[1]}"/>'
        )
    parts += [
        f'<path d="M{_MARGIN} {height + 12}h{unit * length:.1f}" stroke="currentColor" stroke-width="2"/>',
        _text(_MARGIN + unit * length + 8, height + 16, f"{length:.2g} px"),
    ]
    title = f"Residuals of {fit.n} stars of {fit.name}, the exposure with the largest scatter"
    return Chart("vectors", "Alignment", title, _drawing(parts, title, height + 24))


def phase_chart(phases: DoubleArray) -> Chart:
    """Where in a pixel the exposures put the same place of the sky."""
    parts = [
        _frame(_SIZE),
        _cross(_MARGIN, _SIZE - _MARGIN),
    ]
    inner = _SIZE - 2 * _MARGIN
    for x, y in phases:
        parts.append(
            f'<circle cx="{_MARGIN + x * inner:.1f}" cy="{_SIZE - _MARGIN - y * inner:.1f}" r="6" '
            f'fill="{COLOURS[0]}" fill-opacity=".8"/>'
        )
    title = f"Phases of {len(phases)} exposures within a pixel, relative to the first"
    return Chart("phases", "Inputs", title, _drawing(parts, title))


def stick_chart(stars: ProductStars) -> Chart:
    """Sticks along the major axes of stars over the field; length is ellipticity, the circle the width."""
    n = len(stars.x)
    chosen = np.unique(np.linspace(0, n - 1, min(n, _MOST_STICKS)).astype(int))
    width = np.array(stars.fwhm)[chosen]
    ellipticity, angle = np.array(stars.ellipticity)[chosen], np.array(stars.angle)[chosen]
    x, y, height = _fitted(np.array(stars.x)[chosen], np.array(stars.y)[chosen])
    usual = float(np.median(width)) or 1.0
    parts = [_frame(height)]
    half = 60.0 * ellipticity
    for k in range(chosen.size):
        dx, dy = half[k] * np.cos(angle[k]), -half[k] * np.sin(angle[k])
        wide = width[k] > 1.15 * usual
        parts.append(
            f'<g stroke="{COLOURS[3 if wide else 2]}" fill="none"><circle cx="{x[k]:.1f}" cy="{y[k]:.1f}" '
            f'r="{min(16.0, 4.0 * width[k] / usual):.1f}"/>'
            f'<path d="M{x[k] - dx:.1f} {y[k] - dy:.1f}l{2 * dx:.1f} {2 * dy:.1f}"/></g>'
        )
    parts += [
        f'<path d="M{_MARGIN} {height + 12}h12" stroke="currentColor" stroke-width="2"/>',
        _text(_MARGIN + 20, height + 16, f"ellipticity 0.1; circles: width, usually {usual:.2f} px"),
    ]
    title = "Width and elongation of stars over the product (red: over 1.15 times the usual width)"
    return Chart("shapes", "Stars and fluxes", title, _drawing(parts, title, height + 24))


def _fitted(x: DoubleArray, y: DoubleArray) -> tuple[DoubleArray, DoubleArray, float]:
    """Positions on the drawing, y upwards, and the height of the frame."""
    inner = _SIZE - 2 * _MARGIN
    span_x, span_y = max(float(np.ptp(x)), 1.0), max(float(np.ptp(y)), 1.0)
    unit = inner / max(span_x, span_y / 1.5)
    height = span_y * unit + 2 * _MARGIN
    left = (_SIZE - span_x * unit) / 2.0
    return left + (x - x.min()) * unit, height - _MARGIN - (y - y.min()) * unit, height


def _cross(low: float, high: float) -> str:
    middle = _SIZE / 2.0
    path = f"M{low} {middle}H{high}M{middle} {low}V{high}"
    return f'<path d="{path}" stroke="currentColor" stroke-opacity=".25"/>'


def _frame(height: float) -> str:
    half = _MARGIN / 2
    size = f'width="{_SIZE - _MARGIN}" height="{height - _MARGIN:.1f}"'
    return f'<rect x="{half}" y="{half}" {size} fill="none" stroke="currentColor" stroke-opacity=".3"/>'


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" fill="currentColor">{escape(text)}</text>'


def _drawing(parts: Sequence[str], title: str, height: float = _SIZE) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {_SIZE:.0f} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
