"""Invented exposures of any instrument whose keywords exercise every kind of blending rule.

Run as a program by an interpreter that has DrizzlePac, it records what fitsblender 0.4.4 makes of them:
``python tests/support/blending.py``.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

RECORD = Path(__file__).parent.parent / "headers" / "recorded_blends.json"
NOT_COMPARED = {"RULESVER", "BLENDVER", "RULEFILE", "HISTORY", "COMMENT", ""}
STORAGE = {"SIMPLE", "XTENSION", "BITPIX", "EXTEND", "PCOUNT", "GCOUNT", "NAXIS", "NAXIS1", "NAXIS2"}
CASES: dict[str, tuple[tuple[str, int], ...]] = {
    "ACS": (("ACS", 2), ("ACS", 1)),
    "WFC3": (("WFC3", 2), ("WFC3", 1)),
    "STIS": (("STIS", 1), ("STIS", 1)),
    "NICMOS": (("NICMOS", 1), ("NICMOS", 1)),
    "WFPC2": (("WFPC2", 4), ("WFPC2", 1)),
    "FOC": (("FOC", 2), ("FOC", 1)),
    "ACS and WFC3": (("ACS", 1), ("WFC3", 1)),
    "WFC3, WFPC2 and ACS": (("WFC3", 1), ("WFPC2", 4), ("ACS", 1)),
}
"""Name of a case -> instrument and number of chips of each exposure."""


def primary_header(instrument: str, number: int) -> fits.Header:
    """Primary header of an exposure: the second lacks some keywords and differs in others."""
    cards: dict[str, object] = {
        "FILENAME": f"root{number}_flt.fits",
        "TELESCOP": "HST",
        "INSTRUME": instrument,
        "ROOTNAME": f"root{number}",
        "TARGNAME": f"TARGET-{number}",
        "DETECTOR": f"DET{number}",
        "PROPOSID": 9000 + number,
        "LINENUM": "01.001",
        "DATE-OBS": f"2003-04-0{number}",
        "TIME-OBS": "12:00:00",
        "EXPSTART": 52000.25 + number,
        "EXPEND": 52000.5 + number,
        "EXPTIME": 100.5 * number,
        "EXPFLAG": "NORMAL",
        "SUNANGLE": 80.5 + number,
        "FILTER": "F606W",
        "FILTER1": f"F{number}14W",
        "WRTERR": True,
        "NRPTEXP": number,
        "CTEIMAGE": f"CTE{number}",
        "BIASFILE": f"ref${number}_bia.fits",
        "CRSPLIT": 2,
        "UNKNOWN": f"value {number}",
    }
    if number == 1:
        cards |= {"ASN_ID": "ASSOC", "SKYCELL": "p1x1", "SUBARRAY": False, "CRRADIUS": 1.5}
    else:
        cards |= {"FLASHSTA": "SUCCESS", "ATODGNA": 1.25}
    return fits.Header([*cards.items()])


def extension_header(name: str, number: int, extver: int) -> fits.Header:
    """Header of one extension of a chip."""
    step = 10 * number + extver
    cards: dict[str, object] = {
        "EXTNAME": name,
        "EXTVER": extver,
        "ROOTNAME": f"root{number}",
        "EXPNAME": f"name{number}",
        "BUNIT": "ELECTRONS",
        "CCDCHIP": extver,
        "NCOMBINE": number,
        "OBJECT": "M51",
        "PHOTMODE": f"MODE{number}",
        "PHOTFLAM": 1.0e-19 * step,
        "PHOTZPT": -21.1,
        "GOODMAX": 100.0 + step,
        "GOODMIN": -1.0 * step,
        "SNRMEAN": 0.5 * step,
        "LTM1_1": 0.5,
        "CTYPE1": "RA---TAN-SIP",
        "CD1_1": 1.0e-5 * step,
        "WCSNAME": f"IDC_{number}",
        "WCSNAMEO": "OPUS",
        "CRVAL1O": 10.5 * step,
        "VAFACTOR": 1.0,
        "UNKNOWN2": step,
    }
    if number == 1:
        cards |= {"BADINPDQ": step, "MDRIZSKY": 2.5 * step, "SOFTERRS": 1}
    else:
        cards |= {"SKYSUM": 1.0 * step, "CCDGAIN": 2.0}
    return fits.Header([*cards.items()])


def write_case(folder: Path, name: str) -> list[tuple[Path, int]]:
    """Write the exposures of a case; return file and EXTVER of each chip."""
    chips = []
    for number, (instrument, n_chips) in enumerate(CASES[name], start=1):
        hdus = fits.HDUList([fits.PrimaryHDU(header=primary_header(instrument, number))])
        for extver in range(1, n_chips + 1):
            for kind in ("SCI",) if instrument == "WFPC2" else ("SCI", "ERR", "DQ"):
                pixels = np.zeros((2, 3), np.float32)
                hdus.append(fits.ImageHDU(pixels, header=extension_header(kind, number, extver)))
        path = folder / f"root{number}_flt.fits"
        hdus.writeto(path)
        chips += [(path, extver) for extver in range(1, n_chips + 1)]
    return chips


def plain(value: Any) -> Any:
    """Return a value that JSON can hold."""
    return value.item() if isinstance(value, np.generic) else value


def record(name: str) -> dict[str, Any]:
    """Blend one case."""
    from fitsblender import blendheaders  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        chips = write_case(Path(folder), name)
        inputs = [f"{path}[sci,{extver}]" for path, extver in chips]
        headers, table = blendheaders.get_blended_headers(inputs)
    left_out = NOT_COMPARED | STORAGE
    found: dict[str, Any] = {
        kind: {key: plain(header[key]) for key in header if key not in left_out}
        for kind, header in zip(("primary", "sci", "wht", "ctx"), headers, strict=True)
    }
    columns = {}
    for column in table.columns:
        values = [plain(value) for value in table.data[column.name]]
        if column.name not in STORAGE and any(value == value for value in values):  # noqa: PLR0124  (not NaN)
            columns[column.name] = [column.format, *values]
    return found | {"columns": columns, "n_columns": len(table.columns)}


if __name__ == "__main__":
    recorded = {name: record(name) for name in CASES}
    lines = [f"{json.dumps(name)}: {json.dumps(case)}" for name, case in recorded.items()]
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
