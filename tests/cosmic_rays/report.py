"""The page of figures, and whether our defaults are worse anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.cosmic_rays.points import ALL, AXES, CORNERS, LABELS, Point

BETTER = {"completeness": 1.0, "purity": 1.0, "core_rate": -1.0, "light_lost": -1.0}
"""Figures that are judged: +1 where more is better, -1 where less is."""
MARGIN = 0.001
"""Difference that counts, as a share: of the hits of the usual set, a dozen pixels."""
_COLUMNS = (
    ("hits found", "completeness"),
    ("flags right", "purity"),
    ("core pixels flagged", "core_rate"),
    ("core light flagged", "light_lost"),
)
_HEAD = """# Cosmic rays against the truth

Written by `make cosmic-rays` (`python -m tests.cosmic_rays`); do not edit. Simulated exposures whose cosmic
rays are known, given to DrizzlePac 3.11.0 and to mosaic, each with its own defaults. The usual set: four
ACS/WFC exposures of 500 s at four sub-pixel phases, two chips of 384 x 256 pixels each, 1.5 % of the pixels
struck, 700 unsaturated stars of 2 pixels FWHM (before the pixel), aligned perfectly. One condition is varied
at a time; the corners vary several.

- **hits found** (completeness): of the usable pixels with charge above five times their noise, those flagged.
- **flags right** (purity): of the flagged pixels, those with charge above half their noise.
- **core pixels flagged**: of the clean pixels within 1.5 pixels of a star, those flagged.
- **core light flagged**: the share of the light in these pixels that lies in flagged ones: a star loses its
  brightest pixels first.

All figures are per cent. A difference of {margin:g} counts as none.

![What is missed, what is flagged wrongly and what stars lose](img/cosmic-rays.png)

"""
_NOISE = """
## What the noise of the difference is

A pixel is a cosmic ray when it differs from the blotted median by more than a multiple of the noise, and the
median is noisy too: `minmed` takes, pixel by pixel, the value of one exposure or the middle of a few, the
lower ones preferred. Measured on clean sky of four to eight exposures, the difference scatters by 0.9 to 1.1
times the noise of the chip about a mean 0.15 to 0.3 times it. With the noise of the chip alone (the sky
counted once) 0.02 to 0.07 % of the clean sky is flagged, up to twenty times what is flagged when the sky
counts once more for the median, and 0.2 to 0.5 % more hits are found. DrizzlePac counts the sky twice; so
does mosaic. What mosaic does not repeat is DrizzlePac's division of electrons by the gain (WFPC2, STIS,
NICMOS), and its minimum beside masked pixels.

## Undersampled stars: `driz_cr_core`

A star narrower than a pixel or two puts far more of its light into one pixel when it lies in the middle than
when it lies at a corner. The median mixes dithers of all phases, the lower values preferred: at the centre
of a star an exposure exceeds it by more than `driz_cr_scale` times the derivative, and is taken for a cosmic
ray, by DrizzlePac as by mosaic. The usual advice is to raise `driz_cr_scale`, which also spares the cosmic
rays on every slope that noise makes in the median.

`driz_cr_core=1` (0 by default: off) raises the strict test where the median shows a peak: by the height of
the median above the faintest of the 5 x 5 pixels around, less five times the noise. Flanks, sky, and what is
smooth over five pixels keep the usual test. It does not mend exposures that are not aligned: the flanks of
stars then differ, and `driz_cr_scale` is the remedy.

![Undersampled stars as each rule sees them](img/cosmic-rays-example.png)

"""


def _row(label: str, rows: Mapping[str, Any]) -> str:
    cells = [f"{100 * rows[who][key]:.2f}" for _, key in _COLUMNS for who in ("peer", "mosaic")]
    return f"| {label} | " + " | ".join(cells) + f" | {_verdict(rows)} |"


def _verdict(rows: Mapping[str, Any]) -> str:
    """Whether the defaults are better, equal or worse in what is judged."""
    gains = [sign * (rows["mosaic"][key] - rows["peer"][key]) for key, sign in BETTER.items()]
    if min(gains) < -MARGIN:
        return "**worse**"
    return "better" if max(gains) > MARGIN else "equal"


def find_worse(results: Mapping[str, Any]) -> list[str]:
    """List the points where our defaults are worse, with the figures."""
    return [
        f"{point.name}: {key} {results[point.name]['mosaic'][key]:.4f}, "
        f"DrizzlePac {results[point.name]['peer'][key]:.4f}"
        for point in ALL
        for key, sign in BETTER.items()
        if sign * (results[point.name]["mosaic"][key] - results[point.name]["peer"][key]) < -MARGIN
    ]


def _corner(point: Point) -> str:
    return f"N={point.n}, {point.exptime_s:g} s, shift {point.shift_px:g}, FWHM {point.fwhm_px:g}"


def _defaults(results: Mapping[str, Any]) -> Iterator[str]:
    head = " | ".join(f"{title}: DrizzlePac | mosaic" for title, _ in _COLUMNS)
    yield from ("## Defaults", "", f"| | {head} | |", "| --- |" + " ---: |" * 8 + " --- |")
    for name, points in AXES.items():
        yield f"| **{LABELS[name]}** |" + " |" * 9
        for point in points:
            yield _row(f"{getattr(point, name):g}", results[point.name])
    yield "| **corners** |" + " |" * 9
    for point in CORNERS:
        yield _row(_corner(point), results[point.name])


def _protection(results: Mapping[str, Any]) -> Iterator[str]:
    whos = (
        ("peer", "DrizzlePac"),
        ("peer_scale", "DrizzlePac, scale 2.0 0.7"),
        ("mosaic_core", "mosaic, core 1"),
    )
    columns = (
        ("core light flagged", "light_lost"),
        ("hits found", "completeness"),
        ("hits in cores found", "core_completeness"),
    )
    head = " | ".join(f"{title}: {label}" for title, _ in columns for _, label in whos)
    yield from (f"| | {head} |", "| --- |" + " ---: |" * (len(columns) * len(whos)))
    points = [(f"FWHM {p.fwhm_px:g}", p) for p in AXES["fwhm_px"]]
    points += [(_corner(p), p) for p in CORNERS if p.fwhm_px < 2.0]
    points += [(f"shift {p.shift_px:g}", p) for p in AXES["shift_px"][1:]]
    for label, point in points:
        rows = results[point.name]
        yield (
            f"| {label} | "
            + " | ".join(f"{100 * rows[w][k]:.2f}" for _, k in columns for w, _ in whos)
            + " |"
        )


def write_page(results: Mapping[str, Any], path: Path) -> None:
    """Write the page."""
    lines = [_HEAD.format(margin=100 * MARGIN), *_defaults(results), _NOISE, *_protection(results), ""]
    path.write_text("\n".join(lines), encoding="utf-8")
