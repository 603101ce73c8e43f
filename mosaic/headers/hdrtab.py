"""HDRTAB: the table with one row for each chip and one column for each keyword that rules ask for.

Covers types, missing values and comments of the columns. Does not cover which keywords they hold
(`mosaic.headers.rulesets`) nor the blended headers (`mosaic.headers.blend`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from mosaic.exposure.storage import FITS_BLOCK, padded

TABLE_NAME = "HDRTAB"
MISSING_INTEGER = int(np.iinfo(np.int64).min)
"""TNULL of integer columns in which a value is missing."""
_FORMATS = {"b": "L", "i": "K", "f": "D", "c": "M"}
_STORED = {"b": "S1", "i": ">i8", "f": ">f8", "c": ">c16"}


@dataclass(frozen=True, slots=True)
class HeaderTable:
    """HDRTAB as it stands in a file: astropy takes a fifth of a second to make and write as many columns."""

    cards: tuple[fits.Card, ...]
    """Cards of its header."""
    rows: NDArray[Any]
    """Stored values: a structured array, big-endian, with one row for each chip."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return self.rows.dtype.names or ()

    def as_bytes(self, *, checksum: bool = False) -> bytes:
        """Header, rows and padding."""
        if checksum:
            buffer = io.BytesIO()
            fits.HDUList([fits.PrimaryHDU(), self.as_hdu()]).writeto(buffer, checksum=True)
            return buffer.getvalue()[FITS_BLOCK:]  # an empty primary HDU is one block
        head = "".join(map(str, self.cards)) + f"{'END':<80}"
        data = self.rows.tobytes()
        return head.encode("ascii").ljust(padded(len(head))) + data.ljust(padded(len(data)), b"\0")

    def as_hdu(self) -> fits.BinTableHDU:
        """The table as astropy has it."""
        return fits.BinTableHDU.fromstring(self.as_bytes())


@dataclass(frozen=True, slots=True)
class _Column:
    """One column."""

    form: str
    """TFORM."""
    stored: NDArray[Any]
    """Values as they are stored."""
    null: int | None = None
    """TNULL."""


def build_table(
    columns: Mapping[str, Sequence[Any]], comments: Mapping[str, str], *, peer_compat: bool = False
) -> HeaderTable | None:
    """Build HDRTAB.

    Parameters
    ----------
    columns : mapping
        Name of a column -> its values, one for each chip; None where a chip lacks the keyword.
    comments : mapping
        Name of a column -> comment of its keyword, for TCOMMn; may lack names.
    peer_compat : bool
        Give missing values as DrizzlePac does.

    Returns
    -------
    HeaderTable or None
        64-bit integers (K), floats (D), logicals (L) and text as long as the longest value (nA). A
        missing value is TNULL, NaN, undefined (a zero byte) or blank; a column without any value is D.
        With `peer_compat` numbers and logicals with missing values become D with NaN, text gets the word
        ``nan``. None when there is no column.
    """
    if not columns:
        return None
    made = {name: _column(values, peer_compat=peer_compat) for name, values in columns.items()}
    n_rows = len(next(iter(columns.values())))
    rows = np.empty(n_rows, dtype=[(name, column.stored.dtype) for name, column in made.items()])
    cards: list[tuple[str, str | int, str]] = []
    for number, (name, column) in enumerate(made.items(), start=1):
        rows[name] = column.stored
        cards += [(f"TTYPE{number}", name, ""), (f"TFORM{number}", column.form, "")]
        if column.null is not None:
            cards.append((f"TNULL{number}", column.null, ""))
    cards.append(("EXTNAME", TABLE_NAME, "extension name"))
    for number, name in enumerate(columns, start=1):
        if not peer_compat and (comment := comments.get(name, "")):
            cards.append((f"TCOMM{number}", comment[:68], ""))
    structure: list[tuple[str, str | int, str]] = [
        ("XTENSION", "BINTABLE", "binary table extension"),
        ("BITPIX", 8, "array data type"),
        ("NAXIS", 2, "number of array dimensions"),
        ("NAXIS1", rows.dtype.itemsize, "length of dimension 1"),
        ("NAXIS2", n_rows, "length of dimension 2"),
        ("PCOUNT", 0, "number of group parameters"),
        ("GCOUNT", 1, "number of groups"),
        ("TFIELDS", len(made), "number of table fields"),
    ]
    return HeaderTable(tuple(fits.Card(*card) for card in (*structure, *cards)), rows)


def _column(values: Sequence[Any], *, peer_compat: bool) -> _Column:
    """Return one column."""
    present = [value for value in values if value is not None]
    if peer_compat or not present:
        return _peer_column(values)
    if any(isinstance(value, str) for value in present):
        return _typed(np.array(["" if value is None else str(value) for value in values]))
    array: NDArray[Any] = np.array(present)
    if array.dtype.kind not in _FORMATS:  # integers beyond 64 bits
        array = array.astype(np.float64)
    kind = array.dtype.kind
    blank = {"b": False, "i": MISSING_INTEGER}.get(kind, np.nan)
    column = _typed(np.array([blank if value is None else value for value in values], dtype=array.dtype))
    missing = [value is None for value in values]
    if kind == "b":
        column.stored[missing] = b""
    return replace(column, null=MISSING_INTEGER) if kind == "i" and any(missing) else column


def _peer_column(values: Sequence[Any]) -> _Column:
    """Return one column as numpy types it with NaN in place of what is missing."""
    array: NDArray[Any] = np.array([np.nan if value is None else value for value in values])
    return _typed(array if array.dtype.kind in {*_FORMATS, "U"} else array.astype(np.float64))


def _typed(array: NDArray[Any]) -> _Column:
    """Return a column of values of one type, none of them missing."""
    kind = array.dtype.kind
    if kind == "U":
        stored = array.astype(f"S{max(1, array.dtype.itemsize // 4)}")
        return _Column(f"{stored.dtype.itemsize}A", stored)
    stored = np.where(array, b"T", b"F") if kind == "b" else array
    return _Column(_FORMATS[kind], stored.astype(_STORED[kind]))
