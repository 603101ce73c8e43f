"""The table WCSCORR of an exposure: every WCS solution it has had, one row for each chip.

Rows are added, never changed. The primary WCS is recorded like the alternates, with its position angle, where
stwcs leaves both out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from astropy.io import fits

from mosaic.geometry.correction import LinearWcs
from mosaic.geometry.wcs import header_number, with_alternate
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
_DEFAULTS: Final = {"CD1_1": 1.0, "CD2_2": 1.0}
"""What spare rows hold besides zero and blank."""
_SPARE_ROWS: Final = 8
_IDENTITY: Final = ("WCS_ID", "EXTVER", *_TEXTS)
_VALUES: Final = ("CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")


def record_solutions(hdul: fits.HDUList, descrip: str = "") -> int:
    """Add a row for every primary and alternate WCS of the SCI extensions that has none yet.

    Parameters
    ----------
    hdul : HDUList
        An exposure; drizzled files and files without SCI extension are passed over.
    descrip : str
        DESCRIP of the new rows; by default WCSTYPE of the solution.

    Returns
    -------
    int
        Rows added.
    """
    if "NDRIZIM" in hdul[0].header or "D001DATA" in hdul[0].header:
        return 0
    science = [hdu for hdu in hdul if hdu.name == "SCI" and "CRVAL1" in hdu.header]
    rows = _rows(hdul)
    known = [_identity(row) for row in rows]
    found = []
    for key in (*"OABCDEFGHIJKLMNPQRSTUVWXYZ", " "):
        for hdu in science:
            if key in wcs_names(hdu.header):
                row = _row(hdul, hdu, key, descrip)
                if _identity(row) not in known:
                    found.append(row)
                    known.append(_identity(row))
    if found:
        _write(hdul, [*rows, *found])
    return len(found)


def _rows(hdul: fits.HDUList) -> list[dict[str, Any]]:
    """Rows in use of the table, if there is one."""
    if EXTNAME not in [hdu.name for hdu in hdul]:
        return []
    data = hdul[EXTNAME].data
    names = {name.upper(): name for name in data.dtype.names}
    rows: list[dict[str, Any]] = []
    for record in data:
        row = {name: record[names[name.upper()]] for name in _COLUMNS if name.upper() in names}
        if str(row.get("WCS_ID", "")).strip() not in {"", "0.0"}:
            rows.append(row)
    return rows


def _row(hdul: fits.HDUList, hdu: Any, key: str, descrip: str) -> dict[str, Any]:  # noqa: ANN401  (astropy)
    """Row of one solution of one chip."""
    primary, header = hdul[0].header, hdu.header
    solution = with_alternate(header, key) if key != " " else header
    linear = LinearWcs.from_header(solution)
    names = distortion_names(hdul)
    suffix = key.strip()
    return {
        "WCS_ID": str(solution.get("WCSNAME", "")).strip() or "NONAME",
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


def _write(hdul: fits.HDUList, rows: list[dict[str, Any]]) -> None:
    """Replace the table, or append it, with spare rows as its readers expect."""
    n_rows = len(rows) + _SPARE_ROWS
    columns = []
    for name, form in _COLUMNS.items():
        is_text = form.endswith("A")
        blank: object = "" if is_text else _DEFAULTS.get(name, 0)
        values = [row.get(name, blank) for row in rows] + [blank] * _SPARE_ROWS
        kind: Any = {"D": np.float64, "I": np.int16, "J": np.int32}.get(form)
        clipped = [_clip(name, value) for value in values] if is_text else values
        columns.append(fits.Column(name=name, format=form, array=np.array(clipped, dtype=kind)))
    table = fits.BinTableHDU.from_columns(columns, nrows=n_rows, name=EXTNAME, ver=1)
    table.header["TROWS"] = (len(rows), "Number of updated rows in table")
    names = [hdu.name for hdu in hdul]
    if EXTNAME in names:
        hdul[names.index(EXTNAME)] = table
    else:
        hdul.append(table)
