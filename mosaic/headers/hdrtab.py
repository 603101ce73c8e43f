"""HDRTAB: the table with one row for each chip and one column for each keyword that rules ask for.

Covers types, missing values and comments of the columns. Does not cover which keywords they hold
(`mosaic.headers.rulesets`) nor the blended headers (`mosaic.headers.blend`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

TABLE_NAME = "HDRTAB"
MISSING_INTEGER = int(np.iinfo(np.int64).min)
"""TNULL of integer columns in which a value is missing."""
_BLOCK = 2880
_FORMATS = {"b": "L", "i": "K", "f": "D", "c": "M"}


def build_table(
    columns: Mapping[str, Sequence[Any]], comments: Mapping[str, str], *, peer_compat: bool = False
) -> fits.BinTableHDU | None:
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
    BinTableHDU or None
        64-bit integers (K), floats (D), logicals (L) and text as long as the longest value (nA). A
        missing value is TNULL, NaN, undefined (a zero byte) or blank; a column without any value is D.
        With `peer_compat` numbers and logicals with missing values become D with NaN, text gets the word
        ``nan``. None when there is no column.
    """
    if not columns:
        return None
    made = [_column(name, values, peer_compat=peer_compat) for name, values in columns.items()]
    table = fits.BinTableHDU.from_columns(made, name=TABLE_NAME)
    raw = table.data.view(np.ndarray)
    for column in made:
        if column.format == "L":
            raw[column.name][[value is None for value in columns[column.name]]] = 0
    if not peer_compat:
        for number, name in enumerate(columns, start=1):
            if comment := comments.get(name, ""):
                table.header[f"TCOMM{number}"] = comment[:68]
    return table


def table_bytes(table: fits.BinTableHDU | None, *, checksum: bool = False) -> bytes:
    """Return a table extension as it stands in a file, nothing for None."""
    if table is None:
        return b""
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table.copy()]).writeto(buffer, checksum=checksum)
    return buffer.getvalue()[_BLOCK:]  # an empty primary HDU is one block


def _column(name: str, values: Sequence[Any], *, peer_compat: bool) -> fits.Column:
    """Return one column."""
    present = [value for value in values if value is not None]
    if peer_compat or not present:
        return _peer_column(name, values)
    if any(isinstance(value, str) for value in present):
        text = np.array(["" if value is None else str(value) for value in values])
        return fits.Column(name, f"{max(1, text.dtype.itemsize // 4)}A", array=text)
    array: NDArray[Any] = np.array(present)
    if array.dtype.kind not in _FORMATS:  # integers beyond 64 bits
        array = array.astype(np.float64)
    kind = array.dtype.kind
    blank = {"b": False, "i": MISSING_INTEGER}.get(kind, np.nan)
    filled = np.array([blank if value is None else value for value in values], dtype=array.dtype)
    null = MISSING_INTEGER if kind == "i" and len(present) < len(values) else None
    return fits.Column(name, _FORMATS[kind], array=filled, null=null)


def _peer_column(name: str, values: Sequence[Any]) -> fits.Column:
    """Return one column as numpy types it with NaN in place of what is missing."""
    array: NDArray[Any] = np.array([np.nan if value is None else value for value in values])
    if array.dtype.kind == "U":
        return fits.Column(name, f"{max(1, array.dtype.itemsize // 4)}A", array=array)
    if array.dtype.kind not in _FORMATS:
        array = array.astype(np.float64)
    return fits.Column(name, _FORMATS[array.dtype.kind], array=array)
