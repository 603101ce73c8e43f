"""Replace one pixel value by another, as a rule NaN by 0 for software that cannot read NaN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mosaic.errors import ParameterError, StructureError
from mosaic.tools.extensions import ImageName, find_extension, find_files
from mosaic.tools.rewrite import FileEdit, editing, require_target, target_of


@dataclass(frozen=True, slots=True)
class Replacement:
    """What happened to one extension."""

    path: Path
    """File with the new pixels."""
    extension: str
    """``name,version``."""
    n_pixels: int
    """Pixels replaced."""


def replace_pixels(
    files: str | Sequence[str],
    pixvalue: float = math.nan,
    newvalue: float = 0.0,
    ext: int | str | Sequence[int | str] | None = None,
    *,
    output: Path | None = None,
) -> list[Replacement]:
    """Replace a pixel value in image extensions.

    Parameters
    ----------
    files : str or sequence of str
        Files, globs, comma lists, @lists, association tables.
    pixvalue, newvalue : float
        Value to look for, and the one to put there; NaN equals NaN.
    ext : int, str or sequence, optional
        Extensions by index or ``name,version``; None takes all images.
    output : Path, optional
        File or folder to write; None changes the files themselves.

    Returns
    -------
    list of Replacement
        One for every image looked at.

    Raises
    ------
    StructureError
        When an extension is missing or is not an image.
    ParameterError
        When the pixels of an extension cannot hold the new value.
    """
    paths = find_files(files)
    require_target(output, paths)
    done = []
    for path in paths:
        with editing(path, output) as edit:
            for index in _images(edit, ext):
                hdu = edit.hdul[index]
                n_pixels = _replace(edit, index, pixvalue, newvalue)
                done.append(Replacement(target_of(path, output), f"{hdu.name},{hdu.ver}", n_pixels))
    return done


def _images(edit: FileEdit, ext: int | str | Sequence[int | str] | None) -> list[int]:
    """Indices of the images with pixels that are meant."""
    if ext is None or (isinstance(ext, str) and ext.strip().lower() in {"", "none"}):
        return [i for i, hdu in enumerate(edit.hdul) if hdu.is_image and hdu.data is not None]
    wanted = [ext] if isinstance(ext, int | str) else list(ext)
    indices = []
    for entry in wanted:
        place = str(entry).replace(" ", "")
        index = find_extension(edit.hdul, ImageName(str(edit.path), place))
        if not edit.hdul[index].is_image:
            raise StructureError(str(edit.path), f"[{place}] is not an image", "choose another extension")
        if edit.hdul[index].data is not None:
            indices.append(index)
    return indices


def _replace(edit: FileEdit, index: int, pixvalue: float, newvalue: float) -> int:
    hdu = edit.hdul[index]
    data = hdu.data
    is_hit = np.isnan(data) if math.isnan(pixvalue) else data == pixvalue
    n_pixels = int(np.count_nonzero(is_hit))
    if not n_pixels:
        return 0
    if np.issubdtype(data.dtype, np.integer):
        limits = np.iinfo(data.dtype)
        if not (float(newvalue).is_integer() and limits.min <= newvalue <= limits.max):
            raise ParameterError(
                f"{edit.path}[{hdu.name},{hdu.ver}] holds {data.dtype}, which cannot be {newvalue}"
            )
    hdu.data = np.where(is_hit, data.dtype.type(newvalue), data)
    edit.mark(index)
    return n_pixels
