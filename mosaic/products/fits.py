"""FITS products, written band by band: larger than memory, and whole or not at all.

Covers single images and the products of a run, as one multi-extension file or as simple files. A file is
written under a temporary name in its own folder, checked, and then renamed: a product that exists is
complete. Does not cover what the headers say (`mosaic.headers.product`) nor files that are updated
(`mosaic.products.dq_update`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from mosaic.errors import OutputError
from mosaic.exposure.header_texts import header_texts
from mosaic.headers.hdrtab import HeaderTable
from mosaic.headers.keywords import remove_structure
from mosaic.headers.product import ProductHeaders
from mosaic.products.checksum import OnesComplementSum, encode_checksum
from mosaic.products.naming import ProductKind, ProductNames
from mosaic.products.partial import BLOCK, PartialFile, require_space

BAND_BYTES = 64 * 2**20
"""Bytes of a band of rows, the largest piece of an image that is in memory."""
_PIECE_BYTES = 2**20  # what is converted to big-endian at a time: it stays in the cache of a processor
BITPIX = {"u1": 8, "i2": 16, "i4": 32, "i8": 64, "f4": -32, "f8": -64}
_ORDER: tuple[ProductKind, ...] = ("sci", "wht", "ctx", "err")


class Plane(Protocol):
    """An image that can be read by rows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(ny, nx)`` or ``(n_planes, ny, nx)``."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values: uint8, int16, int32, int64, float32 or float64."""

    def rows(self, plane: int, y0: int, y1: int) -> NDArray[Any]:
        """Return the rows ``y0 <= y < y1`` of one plane, native byte order."""


@runtime_checkable
class SparsePlane(Plane, Protocol):
    """An image of which large parts are known to be zero."""

    def is_zero(self, plane: int, y0: int, y1: int) -> bool:
        """Whether the rows ``y0 <= y < y1`` are known to be zero."""

    def held_bytes(self) -> int:
        """Bytes of the parts that are not known to be zero."""


@runtime_checkable
class BlockedPlane(Plane, Protocol):
    """An image that is stored in blocks of rows: rows of one block are had without a copy."""

    @property
    def block_rows(self) -> int:
        """Rows of a block; the last may have fewer."""


@dataclass(frozen=True, slots=True)
class MemoryPlane:
    """An array in memory as a Plane."""

    array: NDArray[Any]
    """Two or three axes."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the array."""
        return self.array.dtype

    def rows(self, plane: int, y0: int, y1: int) -> NDArray[Any]:
        """Return a view of some rows."""
        image: NDArray[Any] = self.array if self.array.ndim == 2 else self.array[plane]
        return image[y0:y1]


_: type[Plane] = MemoryPlane


@dataclass(frozen=True, slots=True)
class _Image:
    """One image HDU to be written."""

    header: fits.Header
    plane: Plane | None
    is_primary: bool


def write_image(
    path: Path, header: fits.Header, plane: Plane, *, checksum: bool = False, band_rows: int | None = None
) -> Path:
    """Write one image as a simple FITS file.

    Parameters
    ----------
    path : Path
        Where; an existing file is replaced once the new one is complete.
    header : Header
        Cards that do not describe the storage of pixels (those are ignored and made anew).
    plane : Plane
        The pixels.
    checksum : bool, optional
        Whether to write CHECKSUM and DATASUM.
    band_rows : int, optional
        Rows read at a time; by default what fits into `BAND_BYTES`.
    """
    images = [_Image(header, plane, is_primary=True)]
    _write_files([(path, images, None)], checksum=checksum, band_rows=band_rows)
    return path


def write_products(
    names: ProductNames,
    headers: ProductHeaders,
    planes: Mapping[ProductKind, Plane],
    *,
    build: bool,
    checksum: bool = False,
    band_rows: int | None = None,
    n_parallel: int = 1,
) -> list[Path]:
    """Write the products of a run.

    Parameters
    ----------
    names : ProductNames
        Where, and under which names.
    headers : ProductHeaders
        Made for the same `build`.
    planes : mapping of {"sci", "wht", "ctx", "err"} to Plane
        The images: sci and wht are required; without ctx a built product has an empty CTX extension.
    build : bool
        True: one file with PRIMARY, SCI, WHT, CTX, ERR (if given) and HDRTAB. False: one simple file for
        each image, HDRTAB after the science image.
    checksum, band_rows
        As for `write_image`.
    n_parallel : int
        Files written at a time; each takes a band of its own.

    Returns
    -------
    list of Path
        The files written, all of them or, when an error is raised, none.
    """
    by_kind = {"sci": headers.sci, "wht": headers.wht, "ctx": headers.ctx, "err": headers.err}
    images: dict[ProductKind, _Image] = {}
    for kind in _ORDER:
        header, plane = by_kind[kind], planes.get(kind)
        is_wanted = plane is not None or (kind == "ctx" and build)
        if is_wanted and header is not None:
            images[kind] = _Image(header, plane, is_primary=not build)
        elif plane is not None:
            raise ValueError(f"there is a {kind} image but no header for it")
    if build:
        primary = _Image(headers.primary, None, is_primary=True)
        jobs = [(names.path(names.built), [primary, *images.values()], headers.hdrtab)]
    else:
        jobs = [
            (names.path(names.simple(kind)), [image], headers.hdrtab if kind == "sci" else None)
            for kind, image in images.items()
        ]
    _write_files(jobs, checksum=checksum, band_rows=band_rows, n_parallel=n_parallel)
    return [path for path, _images, _table in jobs]


def _write_files(
    jobs: Sequence[tuple[Path, Sequence[_Image], HeaderTable | None]],
    *,
    checksum: bool,
    band_rows: int | None,
    n_parallel: int = 1,
) -> None:
    """Write files under temporary names, then rename them all; on any error none remains."""
    tables = [b"" if table is None else table.as_bytes(checksum=checksum) for _path, _images, table in jobs]
    for (path, images, _table), stored in zip(jobs, tables, strict=True):
        # A header takes a few blocks; 1 MiB stands for all of them.
        require_space(path, sum(map(_stored_bytes, images)) + len(stored) + 2**20)
    with ExitStack() as stack:
        partials = [stack.enter_context(PartialFile(path)) for path, _images, _table in jobs]

        def fill(number: int) -> list[bytes]:
            images, stored, out = jobs[number][1], tables[number], partials[number]
            more = bool(stored) or len(images) > 1
            heads = [_write_hdu(out, i, extend=more, checksum=checksum, band_rows=band_rows) for i in images]
            out.write(stored)
            return [*heads, stored] if stored else heads

        with ThreadPoolExecutor(n_parallel) as pool:
            written = list(pool.map(fill, range(len(jobs))))
        for partial, heads in zip(partials, written, strict=True):
            partial.close()
            _verify(partial, heads)
        for partial in partials:
            partial.publish()


def _write_hdu(
    out: PartialFile, image: _Image, *, extend: bool, checksum: bool, band_rows: int | None
) -> bytes:
    """Write header, pixels and padding of one HDU; with checksums the header is written a second time.

    Returns
    -------
    bytes
        The header as it stands in the file.
    """
    header = _complete_header(image, extend=extend)
    if checksum:
        header["CHECKSUM"] = ("0" * 16, "HDU checksum")
        header["DATASUM"] = ("0", "data unit checksum")
    start = out.position
    head: bytes = header.tostring().encode("ascii")
    out.write(head)
    total = OnesComplementSum()
    if image.plane is not None:
        _write_pixels(out, image.plane, total if checksum else None, band_rows)
        out.write(bytes(-out.position % BLOCK))
    if checksum:
        header["DATASUM"] = (str(total.value), "data unit checksum")
        whole = OnesComplementSum(total.value)
        whole.update(header.tostring().encode("ascii"))
        header["CHECKSUM"] = (encode_checksum(whole.value), "HDU checksum")
        head = header.tostring().encode("ascii")
        out.overwrite(start, head)
    return head


def _write_pixels(
    out: PartialFile, plane: Plane, total: OnesComplementSum | None, band_rows: int | None
) -> None:
    """Write all planes band by band, each converted to big-endian in small pieces."""
    n_planes, ny, nx = _shape_3d(plane)
    dtype = np.dtype(plane.dtype).newbyteorder("=")
    stored = dtype.newbyteorder(">")
    step = band_rows or max(1, min(ny, BAND_BYTES // max(1, nx * dtype.itemsize)))
    block = plane.block_rows if isinstance(plane, BlockedPlane) else ny
    piece_rows = max(1, _PIECE_BYTES // max(1, nx * dtype.itemsize))
    for number in range(n_planes):
        for y0, y1 in _bands(ny, step, block):
            if total is None and isinstance(plane, SparsePlane) and plane.is_zero(number, y0, y1):
                out.skip((y1 - y0) * nx * dtype.itemsize)
                continue
            band = plane.rows(number, y0, y1)
            if band.shape != (y1 - y0, nx) or band.dtype.newbyteorder("=") != dtype:
                raise ValueError(
                    f"rows {y0}:{y1} of {out.path.name} came as {band.shape} {band.dtype}, "
                    f"expected {(y1 - y0, nx)} {dtype}"
                )
            for row in range(0, y1 - y0, piece_rows):
                piece = np.ascontiguousarray(band[row : row + piece_rows], dtype=stored)
                data = piece.reshape(-1).view(np.uint8).data
                out.write_sparse(data)
                if total is not None:
                    total.update(data)


def _bands(ny: int, step: int, block: int) -> Iterator[tuple[int, int]]:
    """Split rows into bands of at most `step`, none of which reaches into two blocks."""
    for first in range(0, ny, block):
        last = min(ny, first + block)
        for y0 in range(first, last, step):
            yield y0, min(last, y0 + step)


def _complete_header(image: _Image, *, extend: bool) -> fits.Header:
    """Return the header with the cards that describe the storage of the pixels in front."""
    body = image.header.copy()
    remove_structure(body)
    cards: list[tuple[str, Any, str]] = []
    if image.is_primary:
        cards.append(("SIMPLE", True, "conforms to FITS standard"))
    else:
        cards.append(("XTENSION", "IMAGE", "Image extension"))
    shape = () if image.plane is None else _stored_shape(image.plane)
    bitpix = 8 if image.plane is None else BITPIX[np.dtype(image.plane.dtype).str[1:]]
    cards.append(("BITPIX", bitpix, "array data type"))
    cards.append(("NAXIS", len(shape), "number of array dimensions"))
    cards += [(f"NAXIS{axis}", length, "") for axis, length in enumerate(reversed(shape), start=1)]
    if image.is_primary:
        cards.append(("EXTEND", extend, "whether extensions may follow"))
    else:
        cards += [("PCOUNT", 0, "number of parameters"), ("GCOUNT", 1, "number of groups")]
    return fits.Header([*cards, *body.cards])


def _stored_shape(plane: Plane) -> tuple[int, ...]:
    """Return the shape as stored: a stack of one plane is a plain image."""
    n_planes, ny, nx = _shape_3d(plane)
    return (ny, nx) if n_planes == 1 else (n_planes, ny, nx)


def _shape_3d(plane: Plane) -> tuple[int, int, int]:
    """Return planes, rows and columns."""
    if len(plane.shape) not in {2, 3}:
        raise ValueError(f"a plane has 2 or 3 axes, not {len(plane.shape)}")
    n_planes, ny, nx = plane.shape if len(plane.shape) == 3 else (1, *plane.shape)
    return n_planes, ny, nx


def _stored_bytes(image: _Image) -> int:
    """Return the bytes that the pixels of an image take on disk at most."""
    if image.plane is None:
        return 0
    if isinstance(image.plane, SparsePlane):
        return image.plane.held_bytes()
    return int(np.prod(image.plane.shape, dtype=np.int64)) * np.dtype(image.plane.dtype).itemsize


def _verify(partial: PartialFile, heads: Sequence[bytes]) -> None:
    """Read the headers of a finished file back and compare: what differs would be a fault of the disk.

    Parameters
    ----------
    partial : PartialFile
        The file, closed.
    heads : sequence of bytes
        What begins with the header of each HDU.
    """
    size = partial.temporary.stat().st_size
    if size != partial.position or size % BLOCK:
        raise OutputError(f"{partial.path}: {size} bytes on disk, {partial.position} written; check the disk")
    try:
        found = header_texts(str(partial.temporary))
    except OSError as error:
        raise OutputError(f"{partial.path}: cannot be read back ({error}); check the disk") from error
    if len(found) != len(heads) or not all(map(bytes.startswith, heads, found)):
        raise OutputError(f"{partial.path}: other headers are read back than were written; check the disk")
