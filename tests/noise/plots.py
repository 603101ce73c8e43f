"""Reported over empirical sigma against the size of the aperture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

from tests.noise.design import OTHERS, REST, SQUARE, Point
from tests.noise.measure import DIAMETERS
from tests.noise.report import APERTURE_LIMIT, PIXEL_LIMIT

_COLOURS = {1: "#d1495b", 2: "#edae49", 4: "#1b6ca8", 8: "#00798c"}
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Draw a panel per scale of the square kernel, one for the other kernels, one for the rest."""
    scales = sorted({point.scale for point in SQUARE})
    figure, grid = plt.subplots(2, 3, figsize=(13, 7.6), sharey=True, layout="constrained")
    for axes, scale in zip(grid.flat, scales, strict=False):
        _panel(axes, [p for p in SQUARE if p.scale == scale], results, by="pixfrac")
        axes.set_title(f"square, output pixel {scale:g} of the input's", fontsize=10)
    _panel(grid.flat[len(scales)], list(OTHERS), results, by="kernel")
    grid.flat[len(scales)].set_title("other kernels", fontsize=10)
    _panel(grid.flat[len(scales) + 1], list(REST), results, by="exposures")
    grid.flat[len(scales) + 1].set_title("weights, rotation, detectors", fontsize=10)
    for axes in grid[:, 0]:
        axes.set_ylabel("reported over empirical sigma")
    for axes in grid[1]:
        axes.set_xlabel("diameter of the aperture, output pixels (1: single pixels)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=85)
    plt.close(figure)


def _panel(axes: Any, points: list[Point], results: Mapping[str, Any], by: str) -> None:
    """Lines of some points: colour by depth, mark by another property."""
    kinds = list(dict.fromkeys(getattr(point, by) for point in points))
    axes.axhspan(1.0 - APERTURE_LIMIT, 1.0 + APERTURE_LIMIT, color="#000000", alpha=0.06)
    axes.axhspan(1.0 - PIXEL_LIMIT, 1.0 + PIXEL_LIMIT, color="#000000", alpha=0.06)
    for point in points:
        found = results[point.name]
        values = [found["pixel"], *(found["apertures"][str(diameter)] for diameter in DIAMETERS)]
        mark = _MARKS[kinds.index(getattr(point, by))]
        axes.plot((1, *DIAMETERS), values, color=_COLOURS[point.depth], marker=mark, markersize=4, lw=1)
    for kind, mark in zip(kinds, _MARKS, strict=False):
        axes.plot([], [], color="#555555", marker=mark, ls="", label=f"{by} {kind}")
    for depth in sorted({point.depth for point in points}):
        axes.plot([], [], color=_COLOURS[depth], label=f"{depth} exposures")
    axes.set_xscale("log")
    axes.set_xticks((1, *DIAMETERS), [str(d) for d in (1, *DIAMETERS)], minor=False)
    axes.minorticks_off()
    axes.legend(fontsize=7, ncols=2, frameon=False)
    axes.grid(alpha=0.2)
