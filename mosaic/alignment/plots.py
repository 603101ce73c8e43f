"""Pictures of an alignment: the offset histogram, residuals against position, residual vectors.

Covers PNG files drawn with matplotlib (the optional extra `plots`) without pyplot. Does not cover the report.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from mosaic.alignment.fitting import Offset
from mosaic.alignment.images import ImageSources
from mosaic.alignment.settings import AlignSettings
from mosaic.alignment.solution import Solution
from mosaic.products.partial import write_whole

Figure: TypeAlias = Any  # matplotlib is optional: its types cannot be named
_CHIP_COLOURS = ("#1f6fb4", "#d1701c", "#3a8f4d", "#8c5bb0")
_DPI = 110


def write_plots(
    images: Sequence[ImageSources], solutions: Sequence[Solution], settings: AlignSettings, folder: Path
) -> list[Path]:
    """Draw what was asked for, for every image that has it.

    Returns
    -------
    list of Path
        ``hist2d_ROOT.png``, ``residuals_ROOT.png``, ``vector_ROOT.png``.
    """
    written = []
    for image, solution in zip(images, solutions, strict=True):
        if settings.see2dplot and solution.offset is not None:
            path = folder / f"hist2d_{image.root}.png"
            written.append(_save(draw_histogram(solution.offset, image.root), path))
        if solution.status != "aligned":
            continue
        if settings.residplot in {"residuals", "both"}:
            path = folder / f"residuals_{image.root}.png"
            written.append(_save(draw_residuals(image, solution, settings), path))
        if settings.residplot in {"vector", "both"}:
            written.append(
                _save(draw_vectors(image, solution, settings), folder / f"vector_{image.root}.png")
            )
    return written


def draw_histogram(offset: Offset, root: str) -> Figure:
    """Draw the histogram of differences: red cross at the peak, yellow at zero."""
    figure, axes = _new_figure((6.4, 5.6))
    reach = 0.5 * offset.bin_px * offset.histogram.shape[0]
    picture = axes.imshow(
        offset.histogram,
        origin="lower",
        cmap="gray_r",
        vmin=0,
        vmax=max(10.0, float(offset.histogram.max())),
        extent=(-reach, reach, -reach, reach),
    )
    figure.colorbar(picture, ax=axes, label="pairs per bin")
    axes.plot(0.0, 0.0, "+", color="#e0b000", markersize=14, markeredgewidth=2, label="zero")
    axes.plot(*offset.xy, "+", color="red", markersize=14, markeredgewidth=2, label="peak")
    axes.legend(loc="upper right", fontsize=8)
    axes.set_xlabel("dx, image - reference (pixels of the frame)")
    axes.set_ylabel("dy (pixels)")
    axes.set_title(
        f"{root}: {offset.n_at_peak:.0f} pairs at ({offset.xy[0]:.2f}, {offset.xy[1]:.2f}), "
        f"second peak {offset.second_ratio:.2f}",
        fontsize=9,
    )
    return figure


def draw_residuals(image: ImageSources, solution: Solution, settings: AlignSettings) -> Figure:
    """Draw residuals against position, four panels with common axes, one colour per chip."""
    figure = importlib.import_module("matplotlib.figure").Figure(figsize=(8.6, 6.4), layout="constrained")
    panels = figure.subplots(2, 2, sharex="col", sharey=True)
    residuals, position = solution.fit.residuals, solution.reference_xy
    extver = image.extver[solution.image_rows]
    limit = settings.ylimit or max(1e-3, 1.1 * float(np.abs(residuals).max()))
    for row, name in enumerate("xy"):
        for column, along in enumerate("XY"):
            axes = panels[row, column]
            for k, version in enumerate(np.unique(extver)):
                chosen = extver == version
                axes.plot(
                    position[chosen, column], residuals[chosen, row], ".", markersize=3,
                    color=_CHIP_COLOURS[k % len(_CHIP_COLOURS)], label=f"sci,{version}",
                )  # fmt: skip
            axes.axhline(0.0, color="black", linewidth=0.7)
            axes.set_ylim(-limit, limit)
            axes.tick_params(labelsize=settings.labelsize)
            axes.set_title(f"rms({name}) = {solution.fit.rms_xy[row]:.4f} px", fontsize=settings.labelsize)
            if row == 1:
                axes.set_xlabel(f"{along} (pixels of the frame)", fontsize=settings.labelsize)
            if column == 0:
                axes.set_ylabel(f"d{name} (pixels)", fontsize=settings.labelsize)
    panels[0, 1].legend(loc="upper right", fontsize=settings.labelsize)
    figure.suptitle(f"{image.root}: residuals of {solution.n_used} sources", fontsize=settings.labelsize + 2)
    return figure


def draw_vectors(image: ImageSources, solution: Solution, settings: AlignSettings) -> Figure:
    """Draw residuals as arrows at the sources."""
    figure, axes = _new_figure((6.6, 6.0))
    residuals, position = solution.fit.residuals, solution.reference_xy
    key = round(float(np.hypot(*residuals.T).max()) / 2.0 + 0.005, 2)
    extent = float(np.ptp(position, axis=0).max()) or 1.0
    arrows = axes.quiver(
        *position.T, *residuals.T, angles="xy", scale_units="xy", scale=key / (0.08 * extent), width=0.002
    )
    axes.quiverkey(
        arrows, 0.9, 1.03, key, f"{key} px", labelpos="E", fontproperties={"size": settings.labelsize}
    )
    axes.set_aspect("equal", adjustable="datalim")
    axes.tick_params(labelsize=settings.labelsize)
    for name, values, label in zip("xy", residuals.T, (axes.set_xlabel, axes.set_ylabel), strict=True):
        label(
            f"d{name}: {values.min():.3f} … {values.max():.3f} ± {values.std():.3f} pixels",
            fontsize=settings.labelsize,
        )
    axes.set_title(
        f"{image.root}: {len(residuals)} of {solution.n_matches} residuals",
        fontsize=settings.labelsize + 1,
        loc="left",
    )
    return figure


def _new_figure(size_inch: tuple[float, float]) -> tuple[Figure, Any]:
    figure = importlib.import_module("matplotlib.figure").Figure(figsize=size_inch, layout="constrained")
    return figure, figure.subplots()


def _save(figure: Figure, path: Path) -> Path:
    """Render to PNG and give the file its name once complete."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return write_whole(path, buffer.getvalue())
