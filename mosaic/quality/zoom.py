"""A page to zoom into the mosaic: a pyramid of small pictures, and a viewer that needs no network.

Covers the pyramid, written band by band so that memory does not grow with the mosaic, and the page. The
viewer is OpenSeadragon, which comes along. Does not cover the stretch (`mosaic.quality.pictures`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from html import escape
from importlib import resources
from pathlib import Path

import numpy as np

from mosaic.errors import OutputError
from mosaic.products.fits import Plane
from mosaic.products.partial import write_whole
from mosaic.products.planes import TiledPlane
from mosaic.quality.charts import COLOURS
from mosaic.quality.pictures import encode_photo, map_colours, photo_of
from mosaic.quality.preview import reduce_plane
from mosaic.quality.survey import Survey
from mosaic.types import ByteArray, FloatArray

TILE = 256
_QUALITY = 85
_SAMPLE_SIDE = 800
PAGE = "zoom.html"

Paint = Callable[[FloatArray], ByteArray]
"""Turns values into colours, without looking at their neighbours."""


def write_zoom(survey: Survey, folder: Path, title: str) -> Path:
    """Write the page and its pictures into the folder of the report.

    Parameters
    ----------
    survey : Survey
        The finished job, with a product.
    folder : Path
        Folder of the report; what an earlier page left there is removed.
    title : str
        Heading.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    OutputError
        When a file cannot be written.
    """
    remove_zoom(folder)
    job = survey.job
    sci, wht = (TiledPlane(job, "final", f"mosaic.zarr/{name}", name) for name in ("sci", "wht"))
    science, weight = (reduce_plane(plane, max_side=_SAMPLE_SIDE).image for plane in (sci, wht))
    covered = weight > 0
    ny, nx = (int(side) for side in sci.shape)
    middle = np.asarray(sci.rows(0, ny // 2, min(ny, ny // 2 + TILE)), dtype=np.float32)
    high = float(np.percentile(weight[covered], 99.5)) if covered.any() else 1.0
    layers: list[tuple[str, str, Plane, Paint]] = [
        ("science", "science", sci, photo_of(np.where(middle != 0, middle, np.nan), science[covered])),
        ("weight", "weight", wht, lambda values: map_colours(values, high)),
    ]
    for name, _label, plane, paint in layers:
        write_pyramid(plane, folder / "zoom" / name, paint)
    own = resources.files("mosaic.quality").joinpath("data")
    for name in ("openseadragon.min.js", "openseadragon.LICENSE.txt"):
        write_whole(folder / "zoom" / name, own.joinpath(name).read_bytes())
    data = {
        "nx": nx,
        "ny": ny,
        "tile": TILE,
        "layers": [{"name": name, "title": label} for name, label, *_rest in layers],
        "outlines": _outlines(survey, ny),
        "wcs": _wcs(survey),
    }
    page = own.joinpath(PAGE).read_text(encoding="utf-8")
    # "</" would end the script in which the data stand.
    text = json.dumps(data).replace("</", "<\\/")
    page = page.replace("@TITLE@", escape(title)).replace("@DATA@", text)
    return write_whole(folder / PAGE, page.encode())


def remove_zoom(folder: Path) -> None:
    """Remove the page and the pictures of an earlier state of the mosaic."""
    (folder / PAGE).unlink(missing_ok=True)
    shutil.rmtree(folder / "zoom", ignore_errors=True)


def write_pyramid(plane: Plane, folder: Path, paint: Paint) -> int:
    """Write pictures of `TILE` pixels at full resolution and at every half of it down to one pixel.

    Names are those of the Deep Zoom format: ``LEVEL/COLUMN_ROW.jpg``, the first row at the top.

    Parameters
    ----------
    plane : Plane
        Values; zeros and NaN are pixels without value.
    folder : Path
        Where to write.
    paint : callable
        Colours of values, NaN included.

    Returns
    -------
    int
        Number of pictures.
    """
    ny, nx = (int(side) for side in plane.shape[-2:])
    top = int(np.ceil(np.log2(max(nx, ny, 1))))
    pyramid = _Pyramid(folder, paint, top)
    for row in range(-(-ny // TILE)):
        # Pictures run downwards, rows of the plane upwards.
        y1 = ny - row * TILE
        band = np.asarray(plane.rows(0, max(0, y1 - TILE), y1), dtype=np.float32)[::-1]
        pyramid.add(top, np.where(band != 0, band, np.float32(np.nan)))
    pyramid.finish()
    return pyramid.n_written


class _Pyramid:
    """Bands of rows on their way down the levels."""

    def __init__(self, folder: Path, paint: Paint, top: int) -> None:
        self._folder = folder
        self._paint = paint
        self._waiting: list[list[FloatArray]] = [[] for _ in range(top + 1)]
        self._n_rows = [0] * (top + 1)
        self.n_written = 0
        for level in range(top + 1):
            try:
                (folder / str(level)).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(
                    f"cannot write {folder}: {error.strerror}; choose another folder"
                ) from error

    def add(self, level: int, band: FloatArray) -> None:
        """Write one row of pictures, and pass the band on at half its resolution."""
        row = self._n_rows[level]
        self._n_rows[level] += 1
        for column in range(-(-band.shape[1] // TILE)):
            part = self._paint(band[:, column * TILE : (column + 1) * TILE])
            # `encode_photo` takes the first row as the lowest.
            write_whole(
                self._folder / str(level) / f"{column}_{row}.jpg", encode_photo(part[::-1], quality=_QUALITY)
            )
            self.n_written += 1
        if level == 0:
            return
        self._waiting[level - 1].append(halve(band))
        if sum(part.shape[0] for part in self._waiting[level - 1]) >= TILE:
            self._pass_on(level - 1)

    def finish(self) -> None:
        """Write what waits for more rows."""
        for level in range(len(self._waiting) - 1, -1, -1):
            if self._waiting[level]:
                self._pass_on(level)

    def _pass_on(self, level: int) -> None:
        band = np.concatenate(self._waiting[level])
        self._waiting[level] = []
        self.add(level, band)


def halve(image: FloatArray) -> FloatArray:
    """Means of the finite pixels of blocks of two by two; NaN where there is none."""
    ny, nx = image.shape
    padded = np.pad(image, ((0, ny % 2), (0, nx % 2)), constant_values=np.nan)
    blocks = padded.reshape((ny + 1) // 2, 2, (nx + 1) // 2, 2)
    present = np.isfinite(blocks)
    count = present.sum(axis=(1, 3))
    total = np.where(present, blocks, 0).sum(axis=(1, 3), dtype=np.float64)
    mean = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return np.asarray(mean, dtype=np.float32)


def _outlines(survey: Survey, ny: int) -> Sequence[dict[str, str]]:
    plan = survey.job.plan
    rows = []
    for chip, number in zip(plan.chips, plan.exposure_of_chip, strict=True):
        points = survey.outline(chip)
        text = " ".join(f"{x + 0.5:.1f},{ny - y - 0.5:.1f}" for x, y in points)
        rows.append({"points": text, "colour": COLOURS[number % len(COLOURS)]})
    return rows


def _wcs(survey: Survey) -> dict[str, object]:
    grid = survey.job.plan.final.grid
    return {
        "crpix": [float(v) for v in grid.crpix_xy],
        "crval": [float(v) for v in grid.crval_deg],
        "cd": [[float(v) for v in row] for row in grid.cd],
    }
