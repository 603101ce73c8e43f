"""Writes docs/alignment.md from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

REPORT = Path(__file__).resolve().parents[2] / "docs" / "alignment.md"
SHIFT_PX, ROLL_DEG, RESIDUAL, SPEED = 0.02, 0.0005, 1.1, 5.0
"""What has to be reached: rms shift, rms roll, residuals over the limit of the centres, times as fast."""


@dataclass(frozen=True)
class Figures:
    """How well a program aligned the simulated set."""

    program: str
    threshold: float
    errors: NDArray[np.float64]
    """Shift in x and y (pixels) and roll (degrees) left, one row an exposure."""
    rms_px: NDArray[np.float64]
    """Residual rms that the program tells, x and y, one row an exposure."""
    limit_px: float
    """Scatter that the centres of its sources have about the truth, two lists together."""
    matches: Sequence[int]
    """Matches of the fits."""
    wall_s: float
    """Seconds."""
    cpu_s: float
    """Processor seconds."""

    @property
    def shift_px(self) -> float:
        """Shift left, rms per axis."""
        return float(np.sqrt((self.errors[:, :2] ** 2).mean()))

    @property
    def worst_px(self) -> float:
        """Largest shift left."""
        return float(np.hypot(*self.errors[:, :2].T).max())

    @property
    def roll_deg(self) -> float:
        """Roll left, rms."""
        return float(np.sqrt((self.errors[:, 2] ** 2).mean()))

    @property
    def residual_px(self) -> float:
        """Median residual rms per axis."""
        return float(np.median(np.sqrt((self.rms_px**2).mean(axis=1))))


@dataclass(frozen=True)
class RealRow:
    """What a program made of one real exposure."""

    parameters: str
    program: str
    exposure: str
    text: str


def write_report(
    path: Path,
    n_exposures: int,
    rows: int,
    zero: Sequence[tuple[float, float, float]],
    figures: Sequence[Figures],
    real: Sequence[RealRow],
) -> None:
    """Write the page."""
    before = np.array(zero)
    lines = [
        "# Alignment",
        "",
        "Written by `make alignment` (`python -m tests.pointing`); do not edit. Both programs find, match",
        "and fit the same files with the same parameters and write the new WCS into copies of them; what is",
        "left is computed from those headers and the truth of the simulation with astropy alone.",
        "",
        "## Simulated exposures with pointing errors",
        "",
        f"{n_exposures} exposures of ACS/WFC, two chips of {2 * rows} x {rows} pixels, with cosmic rays, hot",
        "pixels and the full distortion. Each is shifted by 0.2 arcsec rms per axis and rolled by 0.02",
        "degrees rms, and its header does not say so: against the first they are",
        f"{np.sqrt((before[:, :2] ** 2).mean()):.2f} pixels rms per axis and",
        f"{np.sqrt((before[:, 2] ** 2).mean()):.4f} degrees off. `searchrad=1.5`, `rscale`,",
        "`conv_width=3.5` and `skysigma=8` for both programs; everything else by default. At the lower",
        "threshold most sources are cosmic rays.",
        "",
        (
            "| threshold | program | shift left, px rms | worst, px | roll left, deg rms | residuals, px "
            "| limit, px | matches | wall, s | CPU, s |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {f.threshold:.0f} | {f.program} | {f.shift_px:.4f} | {f.worst_px:.3f} | {f.roll_deg:.5f} | "
        f"{f.residual_px:.4f} | {f.limit_px:.4f} | {_span(f.matches)} | {f.wall_s:.1f} | {f.cpu_s:.1f} |"
        for f in figures
    ]
    lines += [
        "",
        "*Limit*: how far the centres of the matched sources scatter about the true places of their stars,",
        "for two lists together (times the root of two): what residuals would be if the solutions were",
        "perfect. *Wall*, *CPU*: time, and processor time of all threads, from finding to headers, without",
        "imports and compilation, the least of several runs; mosaic has two cores, DrizzlePac uses one.",
        "",
        "| figure | target | measured |  |",
        "|---|---|---|---|",
    ]
    by = {(f.threshold, f.program): f for f in figures}
    for threshold in sorted({f.threshold for f in figures}):
        ours, peer = by[threshold, "mosaic"], by[threshold, "DrizzlePac"]
        ratio, speed = ours.residual_px / ours.limit_px, peer.wall_s / ours.wall_s
        worse = [
            name
            for name in ("shift_px", "worst_px", "roll_deg", "residual_px")
            if getattr(ours, name) > getattr(peer, name)
        ]
        for name, target, value, is_met in (
            ("shift left, px rms", f"< {SHIFT_PX}", f"{ours.shift_px:.4f}", ours.shift_px < SHIFT_PX),
            ("roll left, deg rms", f"< {ROLL_DEG}", f"{ours.roll_deg:.5f}", ours.roll_deg < ROLL_DEG),
            ("residuals / limit", f"<= {RESIDUAL}", f"{ratio:.3f}", ratio <= RESIDUAL),
            ("worse than DrizzlePac in", "nothing", ", ".join(worse) or "nothing", not worse),
            ("wall, DrizzlePac / mosaic", f">= {SPEED:.0f}", f"{speed:.1f}", speed >= SPEED),
        ):
            verdict = "met" if is_met else "**missed**"
            lines.append(f"| threshold {threshold:.0f}: {name} | {target} | {value} | {verdict} |")
    if real:
        lines += [
            "",
            "## A real set that is a trap",
            "",
            "Three dithered WFC3/UVIS subarrays of 104 s (F814W). About ten stars lie among hundreds of",
            "cosmic rays and hot pixels, which stay on the detector while the telescope moves: to match them",
            "is to undo the dither of 3.4 and 6.8 pixels. The headers are good: eight stars agree to 0.1",
            "pixels as they are. A solution is right when its shift is near zero; a refusal is better than a",
            "wrong shift.",
            "",
            "| parameters | program | exposure | outcome (pixels) |",
            "|---|---|---|---|",
            *(f"| {row.parameters} | {row.program} | {row.exposure} | {row.text} |" for row in real),
        ]
    path.write_text("\n".join(lines) + "\n")


def _span(counts: Sequence[int]) -> str:
    return f"{min(counts, default=0)} to {max(counts, default=0)}"
