"""Pictures of a mosaic: the science image with its exposures, and the weight map.

Covers reduction of a plane of any size by block means, and PNG files drawn with matplotlib (the optional
extra `plots`), which is used without pyplot and hence without global state. Does not cover pyramids for
interactive viewing.
"""

from __future__ import annotations

import importlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mosaic.errors import OutputError
from mosaic.headers.keywords import Grid
from mosaic.products.fits import Plane
from mosaic.products.partial import write_whole
from mosaic.types import DoubleArray, FloatArray

Figure: TypeAlias = Any  # matplotlib is optional: its types cannot be named
Axes: TypeAlias = Any

MAX_SIDE = 1600
"""Longest side of a picture, pixels of the reduced image."""
_BAND_BYTES = 4 * 2**20
_DPI = 100
_BACKGROUND = "#20262e"
_OUTLINES = ("#ffb000", "#4fc3f7", "#7ee081", "#ff7f6e", "#c792ea", "#f4e04d")
_INK = "#f5f7fa"


@dataclass(frozen=True, slots=True)
class Reduced:
    """A plane reduced by block means."""

    image: FloatArray
    """Mean of the finite pixels of each block; NaN where there is none."""
    factor: int
    """Side of a block, pixels of the plane."""
    extent: tuple[float, float, float, float]
    """Left, right, bottom and top edge in pixels of the plane, 0-based centres."""


def reduce_plane(plane: Plane, *, max_side: int = MAX_SIDE, zero_is_absent: bool = False) -> Reduced:
    """Reduce a plane to a few pixels, reading it band by band.

    Parameters
    ----------
    plane : Plane
        Two axes; of a stack the first plane is taken.
    max_side : int, optional
        Longest side of the result.
    zero_is_absent : bool, optional
        Whether zeros take no part (weights), so that the mean is that of the covered pixels.
    """
    ny, nx = plane.shape[-2], plane.shape[-1]
    factor = max(1, -(-max(ny, nx) // max_side))
    step = factor * max(1, _BAND_BYTES // (8 * nx * factor))
    parts = []
    for y0 in range(0, ny, step):
        band = np.asarray(plane.rows(0, y0, min(ny, y0 + step)))
        total, count = _block_sums(band, factor, zero_is_absent=zero_is_absent)
        parts.append(np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0))
    image = np.concatenate(parts).astype(np.float32)
    extent = (-0.5, factor * image.shape[1] - 0.5, -0.5, factor * image.shape[0] - 0.5)
    return Reduced(image, factor, extent)


def _block_sums(band: NDArray[Any], factor: int, *, zero_is_absent: bool) -> tuple[DoubleArray, DoubleArray]:
    """Sum and number of the pixels present in each block; a pass over whole rows at a time."""
    columns = np.arange(0, band.shape[1], factor)

    def summed(values: NDArray[Any], dtype: type) -> DoubleArray:
        rows: NDArray[Any] = values[::factor].astype(dtype)
        for k in range(1, factor):
            part = values[k::factor]
            rows[: part.shape[0]] += part
        return np.asarray(np.add.reduceat(rows, columns, axis=1, dtype=np.float64))

    total = summed(band, np.float64)
    is_present = band != 0 if zero_is_absent else None
    if not np.isfinite(total).all():
        is_finite = np.isfinite(band)
        is_present = is_finite if is_present is None else is_present & is_finite
        total = summed(np.where(is_finite, band, 0), np.float64)
    if is_present is None:
        height, width = (np.minimum(factor, size - np.arange(0, size, factor)) for size in band.shape)
        return total, height[:, None] * width[None, :].astype(np.float64)
    return total, summed(is_present.view(np.uint8), np.uint32)


def draw_preview(
    plane: Plane,
    grid: Grid,
    *,
    footprints: Sequence[DoubleArray] = (),
    title: str = "",
    unit: str = "",
) -> Figure:
    """Draw the science image: asinh stretch, exposure outlines, compass and scale bar.

    Parameters
    ----------
    plane : Plane
        Science image.
    grid : Grid
        Its frame.
    footprints : sequence of array, shape (n, 2)
        Corners (x, y) of each exposure or chip, output pixels, 0-based centres.
    title : str, optional
        Heading.
    unit : str, optional
        Unit of the values, named in the heading.

    Raises
    ------
    OutputError
        When matplotlib is not installed.
    """
    reduced = reduce_plane(plane)
    low, knee, high = stretch_limits(reduced.image)
    # asinh is linear up to the knee, where zscale puts white, and logarithmic beyond.
    softening = (knee - low) / 2
    stretched = np.arcsinh((reduced.image - low) / softening)
    figure, axes = _new_picture(reduced)
    colours = importlib.import_module("matplotlib").colormaps["gray"].with_extremes(bad=_BACKGROUND)
    axes.imshow(
        stretched,
        cmap=colours,
        vmin=0.0,
        vmax=float(np.arcsinh((high - low) / softening)),
        extent=reduced.extent,
        origin="lower",
        interpolation="nearest",
    )
    for number, corners in enumerate(footprints):
        outline = np.vstack([corners, corners[:1]])
        colour = _OUTLINES[number % len(_OUTLINES)]
        alpha = 0.85 if len(footprints) <= 24 else 0.4
        axes.plot(outline[:, 0], outline[:, 1], color=colour, linewidth=1.0, alpha=alpha)
    axes.set_xlim(reduced.extent[:2])
    axes.set_ylim(reduced.extent[2:])
    _draw_compass(axes, grid)
    _draw_scale_bar(axes, grid)
    scale = f" · {low:.3g} to {high:.3g} {unit}" if unit else ""
    axes.set_title(f"{title}{_where(grid)}{scale}", color=_INK, fontsize=9, loc="left")
    return figure


def draw_weight_map(plane: Plane, grid: Grid, *, title: str = "", label: str = "weight (s)") -> Figure:
    """Draw the weight image with a colour bar; pixels without weight stay dark.

    Parameters
    ----------
    plane : Plane
        Weight image.
    grid : Grid
        Its frame.
    title : str, optional
        Heading.
    label : str, optional
        Legend of the colour bar; weights of type EXP are seconds.
    """
    reduced = reduce_plane(plane, zero_is_absent=True)
    figure, axes = _new_picture(reduced)
    colours = importlib.import_module("matplotlib").colormaps["viridis"].with_extremes(bad=_BACKGROUND)
    has_values = bool(np.isfinite(reduced.image).any())
    drawn = axes.imshow(
        reduced.image,
        cmap=colours,
        vmin=0.0,
        vmax=float(np.nanmax(reduced.image)) if has_values else 1.0,
        extent=reduced.extent,
        origin="lower",
        interpolation="nearest",
    )
    bar = figure.colorbar(drawn, cax=axes.inset_axes([1.015, 0.0, 0.02, 1.0]))
    bar.set_label(label, color=_INK, fontsize=9)
    bar.ax.tick_params(colors=_INK, labelsize=8)
    bar.outline.set_edgecolor(_INK)
    _draw_compass(axes, grid)
    _draw_scale_bar(axes, grid)
    axes.set_title(f"{title}{_where(grid)}", color=_INK, fontsize=9, loc="left")
    return figure


def write_preview(
    path: Path,
    plane: Plane,
    grid: Grid,
    *,
    footprints: Sequence[DoubleArray] = (),
    title: str = "",
    unit: str = "",
) -> Path:
    """Write the picture of `draw_preview` to a PNG file, replaced once the new one is complete.

    Raises
    ------
    OutputError
        When matplotlib is not installed or the file cannot be written.
    """
    return _save(draw_preview(plane, grid, footprints=footprints, title=title, unit=unit), path)


def write_weight_map(
    path: Path, plane: Plane, grid: Grid, *, title: str = "", label: str = "weight (s)"
) -> Path:
    """Write the picture of `draw_weight_map` to a PNG file, replaced once the new one is complete."""
    return _save(draw_weight_map(plane, grid, title=title, label=label), path)


def stretch_limits(image: FloatArray) -> tuple[float, float, float]:
    """Return black level, end of the linear part and white level for an asinh stretch.

    The first two are the zscale limits, which follow the sky; the last is the 99.8th percentile or the
    zscale maximum, whichever is higher, so that stars keep some shape.
    """
    values = image[np.isfinite(image)]
    if values.size == 0:
        return 0.0, 1.0, 1.0
    # Imported here because it takes matplotlib along, which takes a second.
    zscale = importlib.import_module("astropy.visualization").ZScaleInterval()
    low, knee = (float(limit) for limit in zscale.get_limits(values))
    if knee <= low:
        knee = low + max(abs(low), 1.0) * 1e-6
    return low, knee, max(knee, float(np.percentile(values, 99.8)))


def nice_length(largest: float) -> float:
    """Return the largest of 1, 2, 5, 10, 20, … (or 0.5, 0.2, …) that is not above `largest`."""
    power: float = 10.0 ** math.floor(math.log10(largest))
    return next(step * power for step in (5.0, 2.0, 1.0) if step * power <= largest * (1 + 1e-12))


def north_east(grid: Grid) -> tuple[DoubleArray, DoubleArray]:
    """Return the unit vectors (x, y) that point north and east at the reference pixel."""
    inverse = np.linalg.inv(np.asarray(grid.cd, dtype=np.float64))
    north, east = inverse[:, 1], inverse[:, 0]
    return north / np.hypot(*north), east / np.hypot(*east)


def _new_picture(reduced: Reduced) -> tuple[Figure, Axes]:
    """Return an empty figure and its axes, in the proportions of the image."""
    try:
        figures = importlib.import_module("matplotlib.figure")
        backend = importlib.import_module("matplotlib.backends.backend_agg")
    except ImportError as error:
        raise OutputError(
            "pictures need matplotlib, which is not installed; run pip install 'mosaic-hst[plots]'"
        ) from error
    ny, nx = reduced.image.shape
    # Very long mosaics get a wider canvas than their image, so that text keeps its place.
    width, height = max(nx, ny / 3, 480) / _DPI, max(ny, nx / 3, 360) / _DPI
    figure = figures.Figure(figsize=(width + 1.4, height + 0.9), dpi=_DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.15)
    backend.FigureCanvasAgg(figure)
    figure.set_facecolor(_BACKGROUND)
    axes = figure.add_subplot()
    axes.set_facecolor(_BACKGROUND)
    axes.tick_params(colors=_INK, labelsize=8)
    axes.set_xlabel("x (output pixels)", color=_INK, fontsize=8)
    axes.set_ylabel("y (output pixels)", color=_INK, fontsize=8)
    for spine in axes.spines.values():
        spine.set_edgecolor(_INK)
    return figure, axes


def _draw_compass(axes: Axes, grid: Grid) -> None:
    """Draw arrows to north and east in the upper right corner."""
    ny, nx = grid.shape_yx
    length = 0.07 * min(nx, ny)
    centre = np.array([nx - 2.2 * length, ny - 2.2 * length])
    for name, direction in zip("NE", north_east(grid), strict=True):
        tip = centre + length * direction
        label = centre + 1.5 * length * direction
        arrow = {
            "arrowstyle": "-|>",
            "color": _INK,
            "linewidth": 1.4,
            "shrinkA": 0,
            "shrinkB": 0,
        }
        axes.annotate("", xy=tip, xytext=centre, arrowprops=arrow)
        axes.text(*label, name, color=_INK, fontsize=10, ha="center", va="center", path_effects=_halo())


def _draw_scale_bar(axes: Axes, grid: Grid) -> None:
    """Draw a bar of a round angle in the lower left corner."""
    ny, nx = grid.shape_yx
    angle = nice_length(0.25 * nx * grid.scale_arcsec)
    x0, y0 = 0.04 * nx, 0.04 * ny
    x1 = x0 + angle / grid.scale_arcsec
    axes.plot([x0, x1], [y0, y0], color=_INK, linewidth=2.2, path_effects=_halo())
    text = f"{angle / 60:g} arcmin" if angle >= 60 else f"{angle:g} arcsec"
    axes.text(x0, y0 + 0.015 * ny, text, color=_INK, fontsize=10, ha="left", path_effects=_halo())


def _halo() -> list[Any]:
    """Return a dark rim, so that signs can be read on bright parts of the image."""
    effects = importlib.import_module("matplotlib.patheffects")
    return [effects.withStroke(linewidth=3, foreground=_BACKGROUND)]


def _where(grid: Grid) -> str:
    """Return scale and size for the heading."""
    ny, nx = grid.shape_yx
    return f"  {nx} x {ny} pixels of {grid.scale_arcsec:.4g} arcsec"


def _save(figure: Figure, path: Path) -> Path:
    """Render to PNG and give the file its name once complete."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return write_whole(path, buffer.getvalue())
