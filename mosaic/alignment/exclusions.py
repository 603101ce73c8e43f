"""Where sources may be looked for: DS9 regions and FITS masks per image and chip.

Covers circle, ellipse, box and polygon in image coordinates, and the same in fk5 or icrs when the WCS of the
chip is given; a leading minus excludes. Other shapes are reported and left out.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
from astropy.io import fits

from mosaic.errors import CatalogError
from mosaic.geometry.wcs import ChipWcs
from mosaic.types import BoolArray, DoubleArray, ShapeYX

_REGION = re.compile(r"\s*([+-]?)\s*(circle|ellipse|box|polygon)\s*\(?([^)#]*)\)?", re.IGNORECASE)
_SYSTEM = re.compile(r"(image|physical|fk5|icrs)\s*;?\s*", re.IGNORECASE)
_UNITS = {'"': 1.0 / 3600.0, "'": 1.0 / 60.0, "d": 1.0, "": 1.0}
_NO_MASK = frozenset({"none", "indef"})


def read_exclusions(path: Path) -> dict[str, tuple[Path | None, ...]]:
    """Region or mask files of the chips by base name of the image; None: no mask.

    Paths are relative to the folder of the file.

    Raises
    ------
    CatalogError
        When it cannot be read.
    """
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise CatalogError(
            f"exclusions {path} cannot be read ({error.strerror}); correct its name"
        ) from error
    return {
        Path(words[0]).name: tuple(
            None if word.lower() in _NO_MASK else path.parent / word for word in words[1:]
        )
        for words in lines
        if words and not words[0].startswith("#")
    }


def region_mask(path: Path, shape_yx: ShapeYX, wcs: ChipWcs | None) -> tuple[BoolArray, list[str]]:
    """Pixels where sources may be found.

    Parameters
    ----------
    path : Path
        DS9 region file, or a FITS mask (its first image of the right shape; 0 is excluded).
    shape_yx : ShapeYX
        Rows and columns of the chip.
    wcs : ChipWcs, optional
        For regions in sky coordinates.

    Returns
    -------
    mask : bool, shape (ny, nx)
        False where excluded. It starts as False when the first region includes, else True; including regions
        are added and excluding ones taken away in the order of the file.
    ignored : list of str
        Lines that mean nothing here.

    Raises
    ------
    CatalogError
        When the file cannot be read or holds no image of that shape.
    """
    try:
        if path.suffix.lower() in {".fits", ".fit"}:
            return _fits_mask(path, shape_yx), []
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CatalogError(f"exclusion {path} cannot be read; correct its name in the list") from error
    mask: BoolArray | None = None
    ignored: list[str] = []
    system = "physical"
    for line in text.splitlines():
        for part in line.split("#")[0].split(";"):
            if named := _SYSTEM.fullmatch(part.strip()):
                system = named[1].lower()
                continue
            region = _REGION.match(part)
            if region is None:
                ignored += [part.strip()] if part.strip() and not part.strip().startswith("global") else []
                continue
            is_sky = system in {"fk5", "icrs"}
            if is_sky and wcs is None:
                ignored.append(part.strip())
                continue
            inside = _inside(region[2].lower(), region[3], shape_yx, wcs if is_sky else None, path)
            is_excluding = region[1] == "-"
            if mask is None:
                mask = np.full(shape_yx, is_excluding)
            mask = mask & ~inside if is_excluding else mask | inside
    return np.ones(shape_yx, dtype=np.bool_) if mask is None else mask, ignored


def _fits_mask(path: Path, shape_yx: ShapeYX) -> BoolArray:
    with fits.open(path, memmap=False) as hdul:
        for hdu in hdul:
            if getattr(hdu, "data", None) is not None and hdu.data.shape == tuple(shape_yx):
                mask: BoolArray = hdu.data != 0
                return mask
    raise CatalogError(f"mask {path} has no image of shape {tuple(shape_yx)}; make it from the chip")


def _inside(shape: str, arguments: str, shape_yx: ShapeYX, wcs: ChipWcs | None, path: Path) -> BoolArray:
    """Pixels whose centres lie in a region; on the sky in degrees east and north of its centre."""
    words = [word for word in re.split(r"[,\s]+", arguments.strip()) if word]
    try:
        values = [_value(word, wcs is not None, i) for i, word in enumerate(words)]
        x0, y0 = values[0], values[1]
        if shape == "polygon":
            x0, y0 = float(np.mean(values[::2])), float(np.mean(values[1::2]))
        x, y = _pixel_grid(shape_yx, wcs, x0, y0)
        if shape == "polygon":
            cos = math.cos(math.radians(y0)) if wcs is not None else 1.0
            corners = [((vx - x0) * cos, vy - y0) for vx, vy in zip(values[::2], values[1::2], strict=True)]
            return _in_polygon(x, y, corners)
        if shape == "circle":
            return np.hypot(x, y) <= values[2]
        turn = math.radians(values[4] if len(values) > 4 else 0.0)
        # On the sky x runs against the east, so that angles turn the other way.
        turn = -turn if wcs is not None else turn
        u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
        if shape == "ellipse":
            return np.hypot(u / values[2], v / values[3]) <= 1.0
        return (np.abs(u) <= 0.5 * values[2]) & (np.abs(v) <= 0.5 * values[3])
    except (ValueError, IndexError) as error:
        raise CatalogError(f"region file {path}: {shape}({arguments}) cannot be understood") from error


def _pixel_grid(
    shape_yx: ShapeYX, wcs: ChipWcs | None, x0: float, y0: float
) -> tuple[DoubleArray, DoubleArray]:
    """Offsets of the pixels from a position, pixels or degrees east and north."""
    y, x = np.mgrid[0.0 : shape_yx.ny, 0.0 : shape_yx.nx]
    if wcs is None:
        return x + 1.0 - x0, y + 1.0 - y0
    ra, dec = wcs.pixel_to_sky(x.ravel(), y.ravel())
    east = (np.mod(ra - x0 + 180.0, 360.0) - 180.0) * np.cos(np.deg2rad(dec))
    return east.reshape(shape_yx), (dec - y0).reshape(shape_yx)


def _value(word: str, is_sky: bool, index: int) -> float:  # noqa: FBT001
    """Value of one argument, pixels or degrees."""
    if is_sky and ":" in word:
        parts = word.split(":")
        size = sum(abs(float(part)) / 60.0**i for i, part in enumerate(parts))
        return (-size if word.startswith("-") else size) * (15.0 if index % 2 == 0 else 1.0)
    unit = word[-1] if word[-1] in "\"'d" else ""
    return float(word.removesuffix(unit)) * (_UNITS[unit] if is_sky else 1.0)


def _in_polygon(x: DoubleArray, y: DoubleArray, corners: list[tuple[float, float]]) -> BoolArray:
    """Whether points lie in a polygon, by the number of edges to their right."""
    inside = np.zeros(x.shape, dtype=np.bool_)
    for (xa, ya), (xb, yb) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if ya != yb:
            crosses = (ya > y) != (yb > y)
            inside ^= crosses & (x < (xb - xa) * (y - ya) / (yb - ya) + xa)
    return inside
