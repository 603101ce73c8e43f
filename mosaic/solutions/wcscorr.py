"""The table WCSCORR of an exposure: every WCS solution it has had, one row for each chip.

Rows are added, never changed. The primary WCS is recorded like the alternates, with its position angle, where
stwcs leaves both out.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from astropy.io import fits

from mosaic.geometry.correction import LinearWcs
from mosaic.geometry.wcs import header_number
from mosaic.products.partial import BLOCK
from mosaic.solutions.alternates import wcs_names
from mosaic.solutions.distortion import distortion_names

EXTNAME: Final = "WCSCORR"
_TEXTS: Final = ("HDRNAME", "SIPNAME", "NPOLNAME", "D2IMNAME")
_NUMBERS: Final = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")
_COLUMNS: Final[dict[str, str]] = {
    "WCS_ID": "40A",
    "EXTVER": "I",
    "WCS_key": "A",
    **dict.fromkeys(_TEXTS, "24A"),
    **dict.fromkeys(_NUMBERS, "D"),
    **dict.fromkeys(("CTYPE1", "CTYPE2"), "24A"),
    **dict.fromkeys(("ORIENTAT", "PA_V3", "RMS_RA", "RMS_Dec"), "D"),
    "NMatch": "J",
    "Catalog": "40A",
    "DESCRIP": "128A",
}
_DTYPE: Final = np.dtype(
    [
        (name, f"S{int(form[:-1] or 1)}" if form.endswith("A") else {"D": "f8", "I": "i2", "J": "i4"}[form])
        for name, form in _COLUMNS.items()
    ]
)
_DEFAULTS: Final = {"CD1_1": 1.0, "CD2_2": 1.0}
"""What spare rows hold besides zero and blank."""
_SPARE_ROWS: Final = 8
_IDENTITY: Final = ("WCS_ID", "EXTVER", *_TEXTS)
_VALUES: Final = ("CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")


def record_solutions(hdul: fits.HDUList, descrip: str = "", earlier: Sequence[Mapping[str, Any]] = ()) -> int:
    """Add a row for every primary and alternate WCS of the SCI extensions that has none yet.

    Parameters
    ----------
    hdul : HDUList
        An exposure; drizzled files and files without SCI extension are passed over.
    descrip : str
        DESCRIP of the new rows; by default WCSTYPE of the solution.
    earlier : sequence of mapping
        Rows from `unrecorded`, before the exposure was changed; they come first.

    Returns
    -------
    int
        Rows added.
    """
    found = [*earlier, *unrecorded(hdul, descrip, earlier)]
    if found:
        _write(hdul, [*_rows(hdul), *found])
    return len(found)


def unrecorded(
    hdul: fits.HDUList, descrip: str = "", known: Sequence[Mapping[str, Any]] = ()
) -> list[Mapping[str, Any]]:
    """Rows for the solutions that are neither in the table nor among those known."""
    if "NDRIZIM" in hdul[0].header or "D001DATA" in hdul[0].header:
        return []
    science = [(hdu, wcs_names(hdu.header)) for hdu in hdul if hdu.name == "SCI" and "CRVAL1" in hdu.header]
    identities = {_identity(row) for row in (*_rows(hdul), *known)}
    found: list[Mapping[str, Any]] = []
    for key in (*"OABCDEFGHIJKLMNPQRSTUVWXYZ", " "):
        for hdu, names in science:
            if key not in names:
                continue
            row = _row(hdul, hdu, key, descrip)
            if _identity(row) not in identities:
                found.append(row)
                identities.add(_identity(row))
    return found


def _rows(hdul: fits.HDUList) -> list[Mapping[str, Any]]:
    """Rows in use of the table, if there is one."""
    if EXTNAME not in [hdu.name for hdu in hdul]:
        return []
    data = hdul[EXTNAME].data
    names = {name.upper(): name for name in data.dtype.names}
    rows: list[Mapping[str, Any]] = []
    for record in data:
        row = {name: record[names[name.upper()]] for name in _COLUMNS if name.upper() in names}
        if str(row.get("WCS_ID", "")).strip() not in {"", "0.0"}:
            rows.append(row)
    return rows


def _row(hdul: fits.HDUList, hdu: Any, key: str, descrip: str) -> dict[str, Any]:  # noqa: ANN401  (astropy)
    """Row of one solution of one chip."""
    primary, header = hdul[0].header, hdu.header
    linear = LinearWcs.from_header(header, key.strip())
    names = distortion_names(hdul)
    suffix = key.strip()
    return {
        "WCS_ID": str(header.get(f"WCSNAME{suffix}", "")).strip() or "NONAME",
        "EXTVER": int(hdu.ver),
        "WCS_key": key,
        "HDRNAME": str(header.get(f"HDRNAME{suffix}", "")).strip(),
        "SIPNAME": names.sipname,
        "NPOLNAME": names.npolname,
        "D2IMNAME": names.d2imname,
        **dict(zip(_VALUES, (*linear.crval_deg, *linear.cd[0], *linear.cd[1]), strict=True)),
        "CRPIX1": linear.crpix_xy[0],
        "CRPIX2": linear.crpix_xy[1],
        "CTYPE1": str(header.get(f"CTYPE1{suffix}", "")),
        "CTYPE2": str(header.get(f"CTYPE2{suffix}", "")),
        "ORIENTAT": linear.orientat_deg,
        "PA_V3": header_number(primary, "PA_V3") or 0.0,
        "RMS_RA": header_number(header, f"CRDER1{suffix}") or 0.0,
        "RMS_Dec": header_number(header, f"CRDER2{suffix}") or 0.0,
        "NMatch": int(header_number(header, f"NMATCH{suffix}") or 0),
        "Catalog": str(header.get(f"CATALOG{suffix}", "")),
        "DESCRIP": descrip or str(header.get(f"WCSTYPE{suffix}", "")),
    }


def _identity(row: Mapping[str, Any]) -> tuple[object, ...]:
    """What tells solutions apart; a name may stand for two solutions after an in-place correction."""
    texts = tuple(_clip(name, row.get(name, "")) for name in _IDENTITY)
    # stwcs rounds to 13 digits when it copies a WCS.
    return (*texts, *(f"{float(row.get(name, 0.0)):.10e}" for name in _VALUES))


def _clip(name: str, value: object) -> str:
    """Text as the column can hold it."""
    form = _COLUMNS[name]
    text = str(value).strip()
    return text[: int(form[:-1] or 1)] if form.endswith("A") else text


def _write(hdul: fits.HDUList, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace the table, or append it, with spare rows as its readers expect."""
    table = np.zeros(len(rows) + _SPARE_ROWS, dtype=_DTYPE)
    for name, form in _COLUMNS.items():
        if form.endswith("A"):
            table[name][: len(rows)] = [_clip(name, row.get(name, "")) for row in rows]
        else:
            table[name] = _DEFAULTS.get(name, 0)
            table[name][: len(rows)] = [row.get(name, _DEFAULTS.get(name, 0)) for row in rows]
    hdu = _table_hdu(table, len(rows))
    names = [other.name for other in hdul]
    if EXTNAME in names:
        hdul[names.index(EXTNAME)] = hdu
    else:
        hdul.append(hdu)


def _table_hdu(table: np.ndarray, n_used: int) -> fits.BinTableHDU:
    """Extension of a table, as astropy makes it, but not column by column: only two cards ever differ."""
    header = _empty_header()
    text = fits.PrimaryHDU().header.tostring() + header.tostring()
    for keyword, value in (("NAXIS2", len(table)), ("TROWS", n_used)):
        card = fits.Card(keyword, value, header.comments[keyword])
        text = text.replace(str(header.cards[keyword]), str(card))
    stored = text.encode("ascii") + table.astype(_DTYPE.newbyteorder(">")).tobytes()
    return fits.open(io.BytesIO(stored + bytes(-len(stored) % BLOCK)))[1]


@cache
def _empty_header() -> fits.Header:
    """Header of a table without rows."""
    hdu = fits.BinTableHDU(np.zeros(0, dtype=_DTYPE), name=EXTNAME, ver=1)
    hdu.header["TROWS"] = (0, "Number of updated rows in table")
    return hdu.header
