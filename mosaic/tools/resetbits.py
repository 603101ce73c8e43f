"""Clear bits of data-quality arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.io import fits

from mosaic.errors import ParameterError, StructureError
from mosaic.exposure.dq import parse_bits
from mosaic.tools.extensions import find_files
from mosaic.tools.rewrite import FileEdit, editing, require_target, target_of
from mosaic.types import BoolArray

CR_BIT: Final = 4096
"""Bit of the cosmic rays that drizzling finds."""


@dataclass(frozen=True, slots=True)
class FlagChange:
    """What happened to one DQ array."""

    path: Path
    """File with the new flags."""
    extver: int
    """EXTVER of the array."""
    n_pixels: int
    """Pixels whose flags changed."""


def reset_bits(
    files: str | Sequence[str],
    bits: str | int = CR_BIT,
    extver: int | str | Sequence[int] | None = None,
    extname: str = "DQ",
    *,
    output: Path | None = None,
) -> list[FlagChange]:
    """Clear bits: DQ & ~bits, in every selected array of every file.

    Parameters
    ----------
    files : str or sequence of str
        Files, globs, comma lists, @lists, association tables.
    bits : str or int
        ``4096``, ``'2,32'``, ``'2+32'``, ``'~4096'``.
    extver : int, str or sequence of int, optional
        EXTVERs, also as ``'1,2'``; None takes all.
    extname : str
        EXTNAME of the arrays; case does not matter.
    output : Path, optional
        File or folder to write; None changes the files themselves.

    Raises
    ------
    ParameterError
        When the bits are blank or not bits, or an EXTVER is not a number.
    StructureError
        When a file has no such array, or it is not of integers. No file is changed after it.
    """
    mask = parse_bits(bits, "bits")
    if mask is None:
        raise ParameterError(f"bits={bits!r} names no bit; give for example 4096")
    wanted = parse_versions(extver)
    paths = find_files(files)
    require_target(output, paths)
    changes = []
    for path in paths:
        with editing(path, output) as edit:
            for index in flag_extensions(edit, extname, wanted):
                n_pixels = change_flags(edit, index, clear=mask)
                changes.append(FlagChange(target_of(path, output), int(edit.hdul[index].ver), n_pixels))
    return changes


def parse_versions(extver: int | str | Sequence[int] | None) -> list[int] | None:
    """EXTVERs as numbers; None when all are meant."""
    if extver is None or (isinstance(extver, str) and extver.strip().lower() in {"", "none", "indef"}):
        return None
    parts: Sequence[Any] = (
        extver.split(",") if isinstance(extver, str) else [extver] if isinstance(extver, int) else extver
    )
    try:
        return [int(part) for part in parts]
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"extver={extver!r} is not a number or a list of numbers such as '1,2'"
        ) from error


def flag_extensions(edit: FileEdit, extname: str, wanted: Sequence[int] | None = None) -> list[int]:
    """Indices of the arrays of flags of a file.

    Raises
    ------
    StructureError
        When one that is wanted is missing, there is none, or one does not hold integers.
    """
    found = {int(hdu.ver): i for i, hdu in enumerate(edit.hdul) if hdu.name == extname.strip().upper()}
    missing = [version for version in wanted or () if version not in found]
    if missing or not found:
        which = f"{extname},{missing[0]}" if missing else extname
        raise StructureError(str(edit.path), f"there is no extension [{which}]", "correct extname and extver")
    indices = [found[version] for version in (sorted(found) if wanted is None else dict.fromkeys(wanted))]
    for index in indices:
        data = edit.hdul[index].data if edit.hdul[index].is_image else None
        if data is not None and not np.issubdtype(data.dtype, np.integer):
            raise StructureError(
                str(edit.path), f"[{extname}] holds {data.dtype}, not integers", "correct extname"
            )
    return indices


def change_flags(
    edit: FileEdit, index: int, *, clear: int = 0, set_where: tuple[int, BoolArray] | None = None
) -> int:
    """Clear bits of one array, then set bits where a mask is true.

    Parameters
    ----------
    edit : FileEdit
        The file.
    index : int
        The array. Without pixels (NAXIS = 0 with PIXVALUE) the one value of all pixels is changed when bits
        are cleared; setting bits of some of them gives it pixels.
    clear : int
        Bits to clear.
    set_where : (int, bool array), optional
        Bits to set, and where.

    Returns
    -------
    int
        Pixels whose flags changed.
    """
    hdu = edit.hdul[index]
    before = _flags(hdu, None if set_where is None else set_where[1].shape)
    kept = before & np.array(~clear & _all_bits(before.dtype), dtype=np.uint64).astype(before.dtype)
    if set_where is not None:
        bits, where = set_where
        if where.shape != before.shape:
            problem = f"has {before.shape} pixels, the mask {where.shape}"
            raise StructureError(
                str(edit.path), problem, "use the files that belong together", f"{hdu.name},{hdu.ver}"
            )
        value = np.array(bits, dtype=np.uint64).astype(before.dtype)
        kept = np.where(where, kept | value, kept)
    n_changed = int(np.count_nonzero(kept != before))
    if n_changed:
        if hdu.data is None and set_where is None:
            hdu.header["PIXVALUE"] = int(kept.flat[0])
        else:
            hdu.data = kept
        edit.mark(index)
    return n_changed


def _all_bits(dtype: np.dtype[Any]) -> int:
    return (1 << (8 * dtype.itemsize)) - 1


def _flags(hdu: fits.ImageHDU, shape: tuple[int, ...] | None) -> np.ndarray[Any, np.dtype[Any]]:
    """Flags of an array, also of one that has a single value for all pixels."""
    if hdu.data is not None:
        flags: np.ndarray[Any, np.dtype[Any]] = hdu.data
        return flags
    header = hdu.header
    size = shape or (int(header.get("NPIX2", 1)), int(header.get("NPIX1", 1)))
    return np.full(size, int(header.get("PIXVALUE", 0)), dtype=np.int16)
