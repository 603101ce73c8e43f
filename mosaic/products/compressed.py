"""Tile-compressed FITS images (``driz_sep_compress``), written band by band.

Covers one floating-point or integer image without loss: every row is a tile, its bytes sorted by significance
and then packed (GZIP_2 of the FITS standard, section 10). Does not cover several images in a file.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.io import fits

from mosaic.errors import OutputError
from mosaic.headers.keywords import remove_structure
from mosaic.products.fits import BAND_BYTES, BITPIX, Plane
from mosaic.products.partial import BLOCK, PartialFile, require_space

_LEVEL: Final = 4
"""Level of packing: higher ones take several times as long for a few per cent."""
_WORST: Final = 1.01
"""Packed bytes of noise per byte, at most."""


def write_compressed_image(path: Path, header: fits.Header, plane: Plane) -> Path:
    """Write an empty primary HDU and one compressed image extension.

    Parameters
    ----------
    path : Path
        Where; an existing file is replaced once the new one is complete.
    header : Header
        Cards that do not describe the storage of pixels (those are ignored and made anew).
    plane : Plane
        The pixels, two axes.

    Raises
    ------
    OutputError
        When the folder cannot be written, the disk is full, or the file cannot be read back.
    """
    ny, nx = plane.shape
    dtype = np.dtype(plane.dtype)
    n_bytes = int(_WORST * ny * (nx * dtype.itemsize + 64))
    require_space(path, n_bytes + 2**20)
    descriptor = np.dtype(">i4" if n_bytes < 2**31 else ">i8")
    places = np.zeros((ny, 2), dtype=descriptor)
    with PartialFile(path) as out:
        out.write(_padded(fits.PrimaryHDU().header))
        start = out.position
        # Sizes are known at the end: the header has the same length then, and is written again.
        out.write(_padded(_table_header(header, plane, places, heap_bytes=0)))
        table_at = out.position
        out.write(places.tobytes())
        heap_at = out.position
        step = max(1, min(ny, BAND_BYTES // max(1, nx * dtype.itemsize)))
        for y0 in range(0, ny, step):
            band = plane.rows(0, y0, min(ny, y0 + step))
            for row, values in enumerate(band, start=y0):
                packed = gzip.compress(_by_significance(values, dtype), _LEVEL, mtime=0)
                places[row] = len(packed), out.position - heap_at
                out.write(packed)
        heap_bytes = out.position - heap_at
        out.write(bytes(-out.position % BLOCK))
        out.overwrite(start, _padded(_table_header(header, plane, places, heap_bytes=heap_bytes)))
        out.overwrite(table_at, places.tobytes())
        out.close()
        _verify(out, (ny, nx))
        out.publish()
    return path


def _by_significance(values: Any, dtype: np.dtype[Any]) -> bytes:  # noqa: ANN401  (a row of any type)
    """All first bytes of the big-endian values, then all second ones, and so on."""
    stored = np.ascontiguousarray(values, dtype=dtype.newbyteorder(">"))
    return stored.view(np.uint8).reshape(-1, dtype.itemsize).T.tobytes()


def _table_header(header: fits.Header, plane: Plane, places: Any, *, heap_bytes: int) -> fits.Header:  # noqa: ANN401
    """Header of the table that holds the image."""
    body = header.copy()
    remove_structure(body)
    ny, nx = plane.shape
    letter = "P" if places.itemsize == 4 else "Q"
    cards = [
        ("XTENSION", "BINTABLE", "binary table extension"),
        ("BITPIX", 8, "array data type"),
        ("NAXIS", 2, "number of array dimensions"),
        ("NAXIS1", 2 * places.itemsize, "bytes of a row of the table"),
        ("NAXIS2", ny, "rows of the table"),
        ("PCOUNT", heap_bytes, "bytes of packed pixels"),
        ("GCOUNT", 1, "number of groups"),
        ("TFIELDS", 1, "columns of the table"),
        ("TTYPE1", "COMPRESSED_DATA", "packed pixels of a row of the image"),
        ("TFORM1", f"1{letter}B({int(places[:, 0].max()):010d})", "place of the packed pixels"),
        ("ZIMAGE", True, "extension contains a compressed image"),
        ("ZTENSION", "IMAGE", "kind of the image"),
        ("ZBITPIX", BITPIX[np.dtype(plane.dtype).str[1:]], "array data type of the image"),
        ("ZNAXIS", 2, "dimensions of the image"),
        ("ZNAXIS1", nx, ""),
        ("ZNAXIS2", ny, ""),
        ("ZPCOUNT", 0, ""),
        ("ZGCOUNT", 1, ""),
        ("ZTILE1", nx, "pixels of a tile"),
        ("ZTILE2", 1, ""),
        ("ZCMPTYPE", "GZIP_2", "bytes sorted by significance, then gzip"),
        ("ZQUANTIZ", "NONE", "no loss"),
    ]
    return fits.Header([*cards, *body.cards])


def _padded(header: fits.Header) -> bytes:
    text: str = header.tostring()
    return text.encode("ascii")


def _verify(out: PartialFile, shape_yx: tuple[int, int]) -> None:
    """Read the headers back."""
    try:
        with fits.open(out.temporary, memmap=False) as hdul:
            found = hdul[1].shape
    except (OSError, IndexError, KeyError, ValueError, TypeError) as error:
        raise OutputError(f"{out.path}: cannot be read back ({error}); check the disk") from error
    if found != shape_yx or out.temporary.stat().st_size != out.position:
        raise OutputError(f"{out.path}: read back as {found}, expected {shape_yx}; check the disk")
