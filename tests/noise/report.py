"""The page of figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mosaic.quality.correlation import correlation_ratio
from tests.noise.design import ALL, OTHERS, REST, SQUARE, Point
from tests.noise.measure import DIAMETERS

PIXEL_LIMIT = 0.02
APERTURE_LIMIT = 0.05
_HEAD = """# Errors against the scatter of blank sky

Written by `make noise` (`python -m tests.noise`); do not edit. Simulated exposures of blank sky (photon and
read noise, distortion, four sub-pixel phases) are drizzled with `final_err=True`, and the scatter of the
product is compared with its ERR plane: reported over empirical sigma, 1 is perfect. {n} ways to drizzle.

- **pixel**: deviations of single pixels in units of their ERR. Limit: {pixel:.0%}.
- **3 to 30**: sums in round apertures of that diameter, output pixels, in units of what
  `mosaic.quality.correlation.aperture_sigma` makes of ERR and WHT. Limit: {aperture:.0%}, besides twice the
  uncertainty of the empirical sigma, which for the largest apertures is 1 to 2 %.
- **30 as even**: the same with `R sqrt(sum of ERR**2)` alone.
- **R** of a large area, and the scatter of the **weights** over their median: the DrizzlePac Handbook asks
  for at most 0.2.

![Reported over empirical sigma](img/noise.png)

## What is reported

ERR carries the variance of the inputs with squared weights, `sum(a**2 w**2 var) / sum(a w)**2`, in the same
pass as the product. Neighbouring pixels share inputs, so an aperture scatters more than its pixels say, by
the factor R. With k(x) the share that an output pixel at offset x takes of a drop, and
`C(d) = integral of k(x) k(x + d)`, R of weights a is `sqrt(sum a_i a_j C(i - j) / (C(0) sum a_i**2))`. For
large areas and square drops, with r = pixfrac / (output over input pixel), this is the formula of Casertano
et al. (2000, AJ 120, 2747) and Fruchter & Hook (2002, PASP 114, 144): `r / (1 - 1 / (3 r))` for r >= 1 and
`1 / (1 - r / 3)` below. `mosaic.quality.correlation` computes it for every kernel and aperture.

R takes the weights for even over the reach of a drop. Where one or two exposures are drizzled onto small
pixels or with small drops they are not: a pixel that one drop grazes has as large an error as one that it
fills, and both show the same noise. The error of an aperture is therefore
`R sqrt(sum (a ERR WHT)**2)` over the mean weight of the aperture, where pixels share drops; drops that fall
into single pixels (point, small tophat) are independent, and their errors are taken as they are. Where
weights are even both are the same.
"""
_SETS = """`unequal`: exposures whose sky differs by up to 60 % from the mean; `ir`: WFC3/IR, rates, pixels of
0.135 x 0.121 arcsec; `stis`: STIS/CCD, counts with a gain. With `final_wht_type=ERR` on files whose ERR comes
from their own counts, weights follow the noise of the values that they weigh: the mean is low and scatters a
few per cent more than squared weights say. EXP and IVM do not look at the value of a pixel."""


def _is_missed(found: Mapping[str, Any]) -> bool:
    """Whether pixels or any aperture miss their limit."""
    limits = {
        diameter: APERTURE_LIMIT + 2.0 * found["error"] * diameter / max(DIAMETERS) for diameter in DIAMETERS
    }
    return abs(found["pixel"] - 1.0) > PIXEL_LIMIT or any(
        abs(found["apertures"][str(diameter)] - 1.0) > limit for diameter, limit in limits.items()
    )


def find_missed(results: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """List the points that miss a limit, with their figures."""
    return [(point.name, results[point.name]) for point in ALL if _is_missed(results[point.name])]


def _rows(points: tuple[Point, ...], results: Mapping[str, Any]) -> Iterator[str]:
    titles = (
        "kernel",
        "pixfrac",
        "scale",
        "exposures",
        "weights",
        "R",
        "pixel",
        *map(str, DIAMETERS),
        "30 as even",
        "",
    )
    yield "| " + " | ".join(titles) + " |"
    yield "| --- |" + " ---: |" * (len(titles) - 2) + " --- |"
    for point in points:
        found = results[point.name]
        special = [] if point.weights == "EXP" else [point.weights]
        special += [] if point.rotation_deg is None else [f"turned {point.rotation_deg:g} deg"]
        special += [] if point.exposures == "acs" else [point.exposures]
        cells = [
            ", ".join([point.kernel, *special]),
            f"{point.pixfrac:g}",
            f"{point.scale:g}",
            f"{point.depth}",
            f"{found['unevenness']:.2f}",
            f"{correlation_ratio(point.pixfrac, point.scale, point.kernel):.2f}",
            f"{found['pixel']:.3f}",
            *(f"{found['apertures'][str(diameter)]:.3f}" for diameter in DIAMETERS),
            f"{found['plain'][str(max(DIAMETERS))]:.3f}",
            "**missed**" if _is_missed(found) else "met",
        ]
        yield "| " + " | ".join(cells) + " |"


def _summary(results: Mapping[str, Any]) -> Iterator[str]:
    missed = find_missed(results)
    found = [results[point.name] for point in ALL]
    pixel = max(abs(one["pixel"] - 1.0) for one in found)
    aperture = max(abs(value - 1.0) for one in found for value in one["apertures"].values())
    plain = max(abs(value - 1.0) for one in found for value in one["plain"].values())
    yield ""
    yield (
        f"**{len(ALL) - len(missed)} of {len(ALL)} are within the limits.** Single pixels are off by "
        f"{pixel:.1%} at most, apertures by {aperture:.1%} (by {plain:.0%} if weights were taken for even)."
    )
    yield ""


def write_page(results: Mapping[str, Any], path: Path) -> None:
    """Write the page."""
    lines = [_HEAD.format(n=len(ALL), pixel=PIXEL_LIMIT, aperture=APERTURE_LIMIT), *_summary(results)]
    for title, points in (
        ("Square", SQUARE),
        ("Other kernels", OTHERS),
        ("Weights, rotation, detectors", REST),
    ):
        lines += [f"## {title}", "", *_rows(points, results), ""]
    lines += [_SETS, ""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
