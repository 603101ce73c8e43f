"""Windowed reads of pixels: one open and positioned reads, no header parsing.

Covers plain FITS images, local or behind a URL, whose place the catalogue recorded in a
`DataBlock`; compressed inputs were staged before. Safe to call from several threads.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mosaic.errors import MissingFileError, StructureError, TruncatedFileError
from mosaic.exposure.cache import BAND_ROWS, ROW_CACHE
from mosaic.exposure.model import Chip, DataBlock
from mosaic.exposure.storage import read_bytes
from mosaic.kernels.rows import read_window
from mosaic.places import is_remote
from mosaic.types import BoolArray, FloatArray, Window

_STORED: Final = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_WORDS: Final = {16: np.uint16, 32: np.uint32, -32: np.uint32}
_UNSIGNED: Final = {16: (np.uint16, 15), 32: (np.uint32, 31)}


def read_rows(block: DataBlock, window: Window) -> NDArray[Any]:
    """Read a window of one extension.

    Parameters
    ----------
    block : DataBlock
        Where the pixels lie.
    window : Window
        0-based window inside the extension.

    Returns
    -------
    ndarray, shape (ny, nx), C-contiguous, native byte order
        Stored type; unsigned when BZERO says so; float64 for any other scaling.
    """
    ny, nx = block.shape_yx
    if window.y0 < 0 or window.x0 < 0 or window.y1 > ny or window.x1 > nx:
        raise ValueError(f"window {tuple(window)} reaches outside {ny} x {nx} pixels of {block.path}")
    if block.offset < 0 or window.is_empty:
        shape = (max(0, window.y1 - window.y0), max(0, window.x1 - window.x0))
        return np.full(shape, block.constant, dtype=np.float32)
    if not is_remote(block.path):
        return _scaled(_read_local(block, window), block)
    out = np.empty(window.shape_yx, dtype=np.dtype(_STORED[block.bitpix]).newbyteorder("="))
    for y0 in range(window.y0 // BAND_ROWS * BAND_ROWS, window.y1, BAND_ROWS):
        band = ROW_CACHE.get(
            (block.path, block.offset, y0), partial(_read_band, block, y0, min(y0 + BAND_ROWS, ny))
        )
        first, last = max(y0, window.y0), min(y0 + BAND_ROWS, window.y1)
        out[first - window.y0 : last - window.y0] = band[first - y0 : last - y0, window.x0 : window.x1]
    return _scaled(out, block)


def _read_local(block: DataBlock, window: Window) -> NDArray[Any]:
    """A window as stored, in native byte order, of a file of this machine; the system keeps what was read."""
    if block.bitpix in _WORDS:
        out = np.empty(window.shape_yx, dtype=_WORDS[block.bitpix])
        if _fill(block, window, out):
            return out.view(np.dtype(_STORED[block.bitpix]).newbyteorder("="))
    return np.ascontiguousarray(_read_band(block, window.y0, window.y1)[:, window.x0 : window.x1])


def _fill(block: DataBlock, window: Window, out: NDArray[Any]) -> bool:
    """Read a window without what lies beside it; False when that fails, for whatever reason."""
    try:
        descriptor = os.open(block.path, os.O_RDONLY)
    except OSError:
        return False
    try:
        row_bytes = block.shape_yx.nx * out.itemsize
        first = block.offset + window.y0 * row_bytes + window.x0 * out.itemsize
        if out.shape[1] < block.shape_yx.nx and hasattr(os, "posix_fadvise"):
            # Pieces of rows would be fetched one by one from a disk or a network.
            os.posix_fadvise(descriptor, first, len(out) * row_bytes, os.POSIX_FADV_WILLNEED)
        n_rows = read_window(np.int32(descriptor), first, row_bytes, sys.byteorder == "little", out)
        return bool(n_rows == len(out))
    finally:
        os.close(descriptor)


def _read_band(block: DataBlock, y0: int, y1: int) -> NDArray[Any]:
    """Full rows ``y0 <= y < y1`` as stored, in native byte order."""
    stored = np.dtype(_STORED[block.bitpix])
    nx = block.shape_yx.nx
    row_bytes = nx * stored.itemsize
    raw = read_bytes(block.path, block.offset + y0 * row_bytes, (y1 - y0) * row_bytes)
    rows = np.frombuffer(raw, dtype=stored).reshape(-1, nx)
    native = stored.newbyteorder("=")
    if isinstance(raw, memoryview) and stored != native:
        return rows.byteswap(inplace=True).view(native)
    return rows.astype(native)


def read_science(chip: Chip, window: Window) -> FloatArray:
    """Science pixels in native units, float32; NaN marks an absent pixel."""
    return np.ascontiguousarray(_read_block(chip, chip.sci, window), dtype=np.float32)


def read_dq(chip: Chip, window: Window) -> NDArray[np.uint16]:
    """Data-quality flags; 0 everywhere when the exposure has none."""
    if chip.dq is None:
        return np.zeros(window.shape_yx, dtype=np.uint16)
    return as_flags(_read_block(chip, chip.dq, window))


def as_flags(stored: NDArray[Any]) -> NDArray[np.uint16]:
    """Data-quality flags from values of any stored type."""
    if stored.dtype == np.int16:
        return stored.view(np.uint16)
    if stored.dtype.kind == "f":
        stored = stored.astype(np.int64)
    return stored.astype(np.uint16)


def is_lit(chip: Chip, window: Window) -> BoolArray:
    """Pixels outside the shadow that the chip's edge polynomials describe; all, for a chip without.

    An image pixel that bins several detector pixels is lit when all of them are.
    """
    if not chip.shadow_edge:
        return np.ones(window.shape_yx, dtype=np.bool_)
    dy, dx = chip.flat_origin_yx
    rows = _lit_along(chip.shadow_edge[:3], window.y0 + dy, window.y1 + dy, chip.binning)
    columns = _lit_along(chip.shadow_edge[3:], window.x0 + dx, window.x1 + dx, chip.binning)
    lit: BoolArray = rows[:, None] & columns
    return lit


def _lit_along(edge: tuple[float, ...], first: int, last: int, binning: int) -> BoolArray:
    position = np.arange(first * binning, last * binning, dtype=np.float64)
    above_edge = position + 0.5 - (edge[0] + edge[1] * position + edge[2] * position**2)
    lit: BoolArray = np.all((above_edge >= 1.0).reshape(-1, binning), axis=1)
    return lit


def read_err(chip: Chip, window: Window) -> FloatArray:
    """Errors in native units, float32."""
    if chip.err is None:
        remedy = "choose final_wht_type EXP or IVM"
        raise StructureError(chip.rootname, "there is no ERR array", remedy, f"sci,{chip.extver}")
    return np.ascontiguousarray(_read_block(chip, chip.err, window), dtype=np.float32)


def _read_block(chip: Chip, block: DataBlock, window: Window) -> NDArray[Any]:
    """Read a window; a failure is told of the exposure, so that it can be set aside."""
    try:
        return read_rows(block, window)
    except (MissingFileError, TruncatedFileError) as error:
        problem = f"{error.exposure} {error.problem}"
        raise type(error)(chip.rootname, problem, error.remedy, f"sci,{chip.extver}") from error


def _scaled(values: NDArray[Any], block: DataBlock) -> NDArray[Any]:
    """Apply BSCALE and BZERO; unsigned integers stay exact."""
    if block.bscale == 1.0 and block.bzero == 0.0:
        return values
    if block.bscale == 1.0 and block.bitpix in _UNSIGNED:
        unsigned, sign_bit = _UNSIGNED[block.bitpix]
        if block.bzero == float(1 << sign_bit):
            # Adding 2**(n-1) in two's complement is inverting the sign bit.
            flipped: NDArray[Any] = values.view(unsigned) ^ unsigned(1 << sign_bit)
            return flipped
    scaled: NDArray[np.float64] = values.astype(np.float64) * block.bscale + block.bzero
    return scaled
