"""Rows of an image read from a file straight to where they are wanted, and put into native byte order there.

Covers plain images of two and four bytes a pixel in files of this machine; `mosaic.exposure.reader` has
the slow path beside it, for everything else and for whatever goes wrong here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types
from numba.core.typing import signature
from numpy.typing import NDArray

from mosaic.kernels._compile import kernel

_PIECE_BYTES = 1 << 16
"""Rows are swapped in pieces of about this size, which are still in the cache."""

_pread: Any = types.ExternalFunction(
    "pread", signature(types.int64, types.int32, types.uintp, types.uintp, types.int64)
)


@kernel
def read_window(
    descriptor: np.int32,
    offset: int,
    row_bytes: int,
    is_swapped: bool,
    out: NDArray[np.unsignedinteger],
) -> int:
    """Read a rectangle of an image.

    Parameters
    ----------
    descriptor : int32
        File, open for reading.
    offset : int
        Byte of the first pixel of the rectangle.
    row_bytes : int
        Bytes from one row of the image to the next.
    is_swapped : bool
        Whether bytes are stored in the order that is not this machine's.
    out : uint16 or uint32, shape (ny, nx), C-contiguous
        Result.

    Returns
    -------
    int
        Rows that were read in full: fewer than asked for when the file ends or cannot be read.
    """
    ny, nx = out.shape
    wanted = nx * out.itemsize
    n_rows = max(1, _PIECE_BYTES // wanted) if wanted == row_bytes else 1
    for y0 in range(0, ny, n_rows):
        y1 = min(ny, y0 + n_rows)
        done, total = 0, (y1 - y0) * wanted
        while done < total:
            place = out.ctypes.data + y0 * wanted + done
            n_read = _pread(descriptor, place, total - done, offset + y0 * row_bytes + done)
            if n_read <= 0:
                return int(y0)
            done += n_read
        if is_swapped:
            for y in range(y0, y1):
                for x in range(nx):
                    word = out[y, x]
                    if out.itemsize == 2:
                        out[y, x] = (word << 8) | (word >> 8)
                    else:
                        out[y, x] = (
                            (word << 24) | ((word & 0xFF00) << 8) | ((word >> 8) & 0xFF00) | (word >> 24)
                        )
    return int(ny)
