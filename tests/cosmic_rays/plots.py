"""Curves of the page: what is missed, what is flagged wrongly and what stars lose, along each axis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

from tests.cosmic_rays.points import AXES, LABELS

STYLES = {
    "peer": ("DrizzlePac", "#d1783f", "o", "-"),
    "peer_scale": ("DrizzlePac, driz_cr_scale=2.0 0.7", "#e3a982", "o", ":"),
    "mosaic": ("mosaic", "#1b6ca8", "s", "-"),
    "mosaic_core": ("mosaic, driz_cr_core=1", "#7fb2d6", "s", ":"),
}
_ROWS = (
    ("hits missed, %", 10.0, lambda row: 100.0 * (1.0 - row["completeness"])),
    ("flags that are wrong, %", 100.0, lambda row: 100.0 * (1.0 - row["purity"])),
    ("light of star cores flagged, %", 100.0, lambda row: 100.0 * row["light_lost"]),
)
"""What is drawn, and where its axis ends."""
_FLOOR = 0.02
"""Per cent below which the scale of what spans decades is linear."""


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Draw one column per axis, one row per figure."""
    figure, grid = plt.subplots(
        len(_ROWS), len(AXES), figsize=(13, 8.5), sharey="row", sharex="col", layout="constrained"
    )
    for column, (name, points) in enumerate(AXES.items()):
        places = [getattr(point, name) for point in points]
        for axes, (_, top, value) in zip(grid[:, column], _ROWS, strict=True):
            for key, (label, colour, marker, line) in STYLES.items():
                values = [value(results[point.name][key]) for point in points]
                axes.plot(places, values, line, color=colour, marker=marker, markersize=4, label=label)
            if top > 10.0:
                axes.set_yscale("symlog", linthresh=_FLOOR)
                axes.yaxis.set_major_formatter("{x:g}")
            axes.set_ylim(0.0, top)
            axes.grid(alpha=0.25)
            if name == "exptime_s":
                axes.set_xscale("log")
        grid[-1, column].set_xlabel(LABELS[name])
    for axes, (label, *_) in zip(grid[:, 0], _ROWS, strict=True):
        axes.set_ylabel(label)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)
