"""Windowed reads of pixels: one open and one positioned read per call, no header parsing.

Covers plain FITS images, local or behind a URL, whose place the catalogue recorded in a
`DataBlock`; compressed inputs were staged before. Keeps no state, so threads may share it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mosaic.errors import MissingFileError, StructureError, TruncatedFileError
from mosaic.exposure.model import Chip, DataBlock
from mosaic.exposure.storage import read_bytes
from mosaic.types import FloatArray, Window

_STORED: Final = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
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
    stored = np.dtype(_STORED[block.bitpix])
    row_bytes = nx * stored.itemsize
    raw = read_bytes(block.path, block.offset + window.y0 * row_bytes, (window.y1 - window.y0) * row_bytes)
    rows = np.frombuffer(raw, dtype=stored).reshape(-1, nx)[:, window.x0 : window.x1]
    return _scaled(np.ascontiguousarray(rows, dtype=stored.newbyteorder("=")), block)


def read_science(chip: Chip, window: Window) -> FloatArray:
    """Science pixels in native units, float32; NaN marks an absent pixel."""
    return np.ascontiguousarray(_read_block(chip, chip.sci, window), dtype=np.float32)


def read_dq(chip: Chip, window: Window) -> NDArray[np.uint16]:
    """Data-quality flags; 0 everywhere when the exposure has none."""
    if chip.dq is None:
        return np.zeros(window.shape_yx, dtype=np.uint16)
    flags = _read_block(chip, chip.dq, window)
    if flags.dtype == np.int16:
        return flags.view(np.uint16)
    if flags.dtype.kind == "f":
        flags = flags.astype(np.int64)
    return flags.astype(np.uint16)


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
