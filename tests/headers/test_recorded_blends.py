"""Blended headers and HDRTAB, keyword by keyword, against what DrizzlePac's fitsblender 0.4.4 made.

The record was written by `tests.support.blending`, which is its recipe.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from mosaic.headers.blend import BlendedHeaders, blend_headers
from mosaic.headers.hdrtab import HeaderTable
from mosaic.headers.sources import HeaderReader, HeaderSource, extension_places
from tests.support.blending import CASES, RECORD, STORAGE, plain, write_case

RECORDED: dict[str, dict[str, Any]] = json.loads(RECORD.read_text(encoding="utf-8"))


def blend(folder: Path, name: str, *, peer_compat: bool) -> BlendedHeaders:
    sources = []
    for path, extver in write_case(folder, name):
        places = extension_places(str(path))
        err, dq = (places.get((kind, extver)) for kind in ("ERR", "DQ"))
        sources.append(HeaderSource(str(path), places["SCI", extver], err, dq))
    return blend_headers(HeaderReader(sources), peer_compat=peer_compat)


def cards(header: fits.Header) -> str:
    """Keywords and values, types included, as text."""
    return json.dumps({key: plain(header[key]) for key in header if key not in STORAGE}, sort_keys=True)


def is_nan(value: object) -> bool:
    return isinstance(value, float) and bool(np.isnan(value))


def filled_columns(made: HeaderTable | None) -> dict[str, list[Any]]:
    """Format and values of the columns that hold anything."""
    assert made is not None
    table = made.as_hdu()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Column '.*' contains NULL", AstropyUserWarning)
        columns = {
            column.name: [column.format, *(plain(value) for value in table.data[column.name])]
            for column in table.columns
        }
    return {
        name: values
        for name, values in columns.items()
        if name not in STORAGE
        and not all(isinstance(value, float) and np.isnan(value) for value in values[1:])
    }


def test_every_case_is_recorded() -> None:
    assert set(RECORDED) == set(CASES)
    assert all(len(case["primary"]) > 15 and len(case["columns"]) > 15 for case in RECORDED.values())


@pytest.mark.parametrize("name", CASES)
def test_headers_and_table_are_those_of_the_peer(tmp_path: Path, name: str) -> None:
    blended = blend(tmp_path, name, peer_compat=True)
    expected = RECORDED[name]
    for kind in ("primary", "sci", "wht", "ctx"):
        assert cards(getattr(blended, kind)) == json.dumps(expected[kind], sort_keys=True), kind
    assert blended.table is not None
    assert len(blended.table.names) == expected["n_columns"]
    # JSON texts agree where values, their order and their types do, NaN included.
    assert json.dumps(filled_columns(blended.table)) == json.dumps(expected["columns"])


@pytest.mark.parametrize("name", [name for name in CASES if "WFPC2 and" not in name])
def test_only_columns_with_missing_values_differ_from_the_peer(tmp_path: Path, name: str) -> None:
    # All instruments of these cases are among the first chips, so that the peer applies all rules.
    blended = blend(tmp_path, name, peer_compat=False)
    for kind in ("primary", "sci", "wht", "ctx"):
        assert cards(getattr(blended, kind)) == json.dumps(RECORDED[name][kind], sort_keys=True), kind
    found, expected = filled_columns(blended.table), RECORDED[name]["columns"]
    assert list(found) == list(expected)
    changed = {key for key in found if json.dumps(found[key]) != json.dumps(expected[key])}
    has_gap = {key for key, values in expected.items() if "nan" in values or any(map(is_nan, values))}
    assert changed <= has_gap
    # One of each type: text, logical, integer, and a float that does not change.
    assert found["ASN_ID"][0] == "5A"
    assert found["ASN_ID"][-1] == ""
    if "SUBARRAY" in expected:
        assert found["SUBARRAY"][:2] == ["L", False]
    assert found["BADINPDQ"] == ["K", *(_integer(value) for value in expected["BADINPDQ"][1:])]
    assert "CRRADIUS" not in changed


def _integer(value: float) -> int:
    return -(2**63) if np.isnan(value) else int(value)
