from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from astropy.io import fits

from mosaic.headers.hdrtab import build_table, table_bytes

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


def stored(*, peer_compat: bool) -> tuple[fits.Header, list[bytes]]:
    """Header and rows of the table as they stand in a file."""
    table = build_table(COLUMNS, {"NUMBER": "how many", "NAME": ""}, peer_compat=peer_compat)
    raw = fits.PrimaryHDU().header.tostring().encode() + table_bytes(table)
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


def test_reading_a_column_does_not_turn_undefined_into_false() -> None:
    table = build_table({"FLAG": [True, None]}, {})
    assert table is not None
    assert list(table.data["FLAG"]) == [True, False]
    assert table_bytes(table)[-2880:-2878] == b"T\0"


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
    assert table_bytes(None) == b""


@pytest.mark.parametrize("checksum", [True, False])
def test_checksums_are_written_on_request(*, checksum: bool) -> None:
    raw = fits.PrimaryHDU().header.tostring().encode() + table_bytes(
        build_table({"A": [1]}, {}), checksum=checksum
    )
    with fits.open(io.BytesIO(raw), checksum=True) as hdus:
        assert ("DATASUM" in hdus[1].header) is checksum
