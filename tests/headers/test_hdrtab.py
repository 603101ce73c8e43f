from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from mosaic.headers.hdrtab import HeaderTable, build_table

COLUMNS = {
    "NUMBER": [7, None],
    "FLAG": [True, None],
    "OFF": [False, True],
    "NAME": [None, "abc"],
    "VALUE": [None, 2.5],
    "MIXED": ["N/A", 3],
    "HUGE": [2**70, None],
    "NOTHING": [None, None],
}


def made(columns: dict[str, list[Any]], *, peer_compat: bool = False) -> HeaderTable:
    table = build_table(
        columns, {"NUMBER": "how many", "NAME": "", "QUOTED": "o'clock"}, peer_compat=peer_compat
    )
    assert table is not None
    return table


def stored(*, peer_compat: bool) -> tuple[fits.Header, list[bytes]]:
    """Header and rows of the table as they stand in a file."""
    raw = fits.PrimaryHDU().header.tostring().encode() + made(COLUMNS, peer_compat=peer_compat).as_bytes()
    with fits.open(io.BytesIO(raw)) as hdus:
        header = hdus[1].header
        width, start = header["NAXIS1"], hdus[1].fileinfo()["datLoc"]
    return header, [raw[start + row * width : start + (row + 1) * width] for row in range(2)]


def test_types_are_kept_and_missing_values_are_what_the_standard_says() -> None:
    header, rows = stored(peer_compat=False)
    formats = [header[f"TFORM{number}"] for number in range(1, 9)]
    assert formats == ["K", "L", "L", "3A", "D", "3A", "D", "D"]
    assert header["TNULL1"] == -(2**63)
    assert sum(keyword.startswith("TNULL") for keyword in header) == 1
    assert header["TCOMM1"] == "how many"
    assert sum(keyword.startswith("TCOMM") for keyword in header) == 1
    # FITS 4.0, section 7.3.3: logicals are T, F or a zero byte; text is padded with zero bytes.
    first = struct.unpack(">q1s1s3sd3sdd", rows[0])
    second = struct.unpack(">q1s1s3sd3sdd", rows[1])
    assert first[:4] == (7, b"T", b"F", b"\0\0\0")
    assert second[:4] == (-(2**63), b"\0", b"T", b"abc")
    assert (first[5], second[5]) == (b"N/A", b"3\0\0")
    assert (second[4], first[6]) == (2.5, 2.0**70)
    assert np.isnan([first[4], second[6], first[7], second[7]]).all()


def test_undefined_is_not_false() -> None:
    table = made({"FLAG": [True, None]})
    assert list(table.rows["FLAG"]) == [b"T", b""]
    assert table.as_bytes()[-2880:-2878] == b"T\0"


@pytest.mark.parametrize("peer_compat", [True, False])
def test_every_byte_is_the_one_that_astropy_writes(*, peer_compat: bool) -> None:
    complete = {"QUOTED": ["it's", ""], "WAVE": [1 + 2j, 3j], "EMPTY": ["", ""]}
    table = made({**COLUMNS, **complete}, peer_compat=peer_compat)
    columns = []
    given = {card.keyword: card.value for card in table.cards}
    for number, name in enumerate(table.names, start=1):
        form, values = given[f"TFORM{number}"], table.rows[name]
        array = values == b"T" if form == "L" else values
        columns.append(fits.Column(name, form, array=array, null=given.get(f"TNULL{number}")))
    theirs = fits.BinTableHDU.from_columns(columns, name="HDRTAB")
    raw = theirs.data.view(np.ndarray)
    for name in table.names:
        if table.rows[name].dtype == "S1":
            raw[name][table.rows[name] == b""] = 0
    for card in table.cards:
        if card.keyword.startswith("TCOMM"):
            theirs.header[card.keyword] = card.value
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), theirs]).writeto(buffer)
    assert table.as_bytes() == buffer.getvalue()[2880:]


def test_types_for_parity_are_those_numpy_gives_with_nan_in_place() -> None:
    # fitsblender 0.4.4 on the same values (missing keywords), integers beyond 64 bits excepted.
    header, rows = stored(peer_compat=True)
    assert [header[f"TFORM{number}"] for number in range(1, 9)] == [
        "D",
        "D",
        "L",
        "32A",
        "D",
        "21A",
        "D",
        "D",
    ]
    assert not any(keyword.startswith(("TNULL", "TCOMM")) for keyword in header)
    first = struct.unpack(">dd1s32sd21sdd", rows[0])
    assert first[:3] == (7.0, 1.0, b"F")
    assert first[3].rstrip(b"\0") == b"nan"


def test_no_column_is_no_table() -> None:
    assert build_table({}, {}) is None


@pytest.mark.parametrize("checksum", [True, False])
def test_checksums_are_written_on_request(*, checksum: bool) -> None:
    raw = fits.PrimaryHDU().header.tostring().encode() + made({"A": [1]}).as_bytes(checksum=checksum)
    with fits.open(io.BytesIO(raw), checksum=True) as hdus:
        assert ("DATASUM" in hdus[1].header) is checksum
