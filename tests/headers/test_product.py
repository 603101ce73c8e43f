from __future__ import annotations

import datetime as dt
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from mosaic.exposure.header_texts import header_texts
from mosaic.headers import sources
from mosaic.headers.blend import blend_headers
from mosaic.headers.product import (
    BlotFacts,
    build_blot_header,
    build_median_header,
    build_product_headers,
    build_single_headers,
    mask_header,
)
from mosaic.headers.rulesets import parse_rules
from mosaic.headers.sources import HeaderReader, HeaderSource
from mosaic.products.naming import ExposureNames
from tests.support.products import make_facts, write_input


def test_primary_of_a_built_product_describes_the_whole(tmp_path: Path) -> None:
    header = build_product_headers(make_facts(tmp_path)).primary
    expected = {
        "DATE": "2026-03-04",
        "NEXTEND": 4,
        "FILENAME": "m51_drc.fits",
        "ROOTNAME": "m51",
        "PROD_VER": "mosaic 9.8",
        "DRIZPARS": "m51.log",
        "EXPTIME": 150.0,
        "TEXPTIME": 150.0,
        "EXPSTART": 55000.0,
        "EXPEND": 55000.1,
        "ASN_MTYP": "PROD-DTH",
        "DRIZCORR": "COMPLETE",
        "NDRIZIM": 4,
        "D003DATA": "jb_flc.fits[sci,1]",
        "D003DEXP": 50.0,
        "D004OUDA": "m51_drc.fits",
        "D004OUWE": "m51_drc_wht.fits",
        "D004OUCO": "m51_drc_ctx.fits",
        "RULESVER": 1.1,
        "BLENDVER": "9.8",
        "FILTER1": "F606W",
    }
    assert {key: header[key] for key in expected} == expected
    assert header.index("TEXPTIME") == header.index("EXPTIME") + 1
    history = list(header["HISTORY"])
    assert "    numpy 2.1" in history
    assert f"Header rules: {header['RULEFILE']}" in history
    assert re.fullmatch(r"acs\.toml sha256:[0-9a-f]{16}", header["RULEFILE"])
    assert len(history) == 4


@pytest.mark.parametrize("bunit", ["ELECTRONS/S", "ELECTRONS", "COUNTS/S", "counts"])
@pytest.mark.parametrize("instrument", ["ACS", "WFC3"])
@pytest.mark.parametrize("build", [True, False])
def test_science_always_has_the_unit_of_its_values(
    tmp_path: Path, bunit: str, instrument: str, *, build: bool
) -> None:
    headers = build_product_headers(make_facts(tmp_path, instrument=instrument, build=build, bunit=bunit))
    assert headers.sci["BUNIT"] == bunit


def test_science_extension_has_the_output_frame_and_no_trace_of_the_input_frame(tmp_path: Path) -> None:
    headers = build_product_headers(make_facts(tmp_path, has_error=True))
    assert headers.primary["NEXTEND"] == 5
    sci = headers.sci
    assert (sci["CCDCHIP"], sci["NCOMBINE"]) == ("-999", 2)
    assert "OBJECT" not in sci
    assert sci["PHOTFLAM"] == pytest.approx(1.5e-19, rel=1e-15)
    assert headers.ctx is not None
    assert headers.err is not None
    for name, header in {"SCI": sci, "WHT": headers.wht, "CTX": headers.ctx, "ERR": headers.err}.items():
        assert (header["EXTNAME"], header["EXTVER"]) == (name, 1)
        assert {"A_ORDER", "B_2_0", "WCSNAMEO", "CRVAL1O", "NAXIS1", "BITPIX"}.isdisjoint(header)
        assert header["WCSTYPE"] == "undistorted not aligned"
        wcs = WCS(header)
        assert wcs.sip is None
        np.testing.assert_allclose(wcs.all_pix2world([[30.5, 20.0]], 1), [[150.25, -2.5]], atol=1e-12)
    assert headers.wht["CCDCHIP"] == "-999"
    assert headers.ctx["CCDCHIP"] == 1
    assert headers.err["BUNIT"] == sci["BUNIT"]
    assert headers.wht["NCOMBINE"] == 4


def test_simple_files_carry_primary_and_extension_keywords(tmp_path: Path) -> None:
    headers = build_product_headers(make_facts(tmp_path, build=False, has_error=True))
    assert headers.ctx is not None
    assert headers.err is not None
    for kind, header in {
        "sci": headers.sci,
        "wht": headers.wht,
        "ctx": headers.ctx,
        "err": headers.err,
    }.items():
        assert header["FILENAME"] == f"m51_drc_{kind}.fits"
        assert header["FILETYPE"] == kind.upper()
        assert header.index("FILETYPE") == header.index("TELESCOP") - 1
        assert (header["CRPIX1"], header["EXPTIME"], header["ROOTNAME"]) == (30.5, 150.0, "m51")
        assert "EXTNAME" not in header
        assert "NEXTEND" not in header


def test_simple_weights_and_contexts_count_an_extension_they_lack_only_for_parity(tmp_path: Path) -> None:
    # DrizzlePac 3.11: dp_drc_wht.fits and dp_drc_ctx.fits have NEXTEND = 1, dp_drc_sci.fits has none.
    headers = build_product_headers(make_facts(tmp_path, build=False, peer_compat=True))
    assert headers.ctx is not None
    assert "NEXTEND" not in headers.sci
    assert (headers.wht["NEXTEND"], headers.ctx["NEXTEND"]) == (1, 1)


def test_without_context_there_is_no_context_name_and_no_simple_context_file(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, has_context=False, build=False)
    headers = build_product_headers(facts)
    assert headers.ctx is None
    assert headers.sci["D001OUCO"] == ""
    assert build_product_headers(replace(facts, build=True)).ctx is not None


def test_table_has_one_row_for_each_chip_in_drizzle_order(tmp_path: Path) -> None:
    made = build_product_headers(make_facts(tmp_path)).hdrtab
    assert made is not None
    table = made.as_hdu()
    assert len(table.columns) == 293
    assert list(table.data["ROOTNAME"]) == ["ja", "ja", "jb", "jb"]
    assert list(table.data["EXTVER"]) == [1, 2, 1, 2]
    assert list(table.data["EXPTIME"]) == [100.0, 100.0, 50.0, 50.0]


def test_rules_of_the_user_replace_the_packaged_ones(tmp_path: Path) -> None:
    rules = parse_rules("!VERSION = 1.0\nEXPNAME\n", "my.rules")
    headers = build_product_headers(make_facts(tmp_path, rules=rules))
    assert headers.hdrtab is not None
    assert headers.hdrtab.names == ("EXPNAME",)
    # SHA-256 of the lines "!VERSION = 1.0", "!INSTRUMENT = " and "EXPNAME", the canonical text.
    digest = hashlib.sha256(b"!VERSION = 1.0\n!INSTRUMENT = \nEXPNAME\n").hexdigest()[:16]
    assert headers.primary["RULEFILE"] == f"my.rules sha256:{digest}"
    assert headers.primary["RULESVER"] == 1.0


def test_separate_drizzle_has_the_headers_of_its_first_chip(tmp_path: Path) -> None:
    facts = make_facts(tmp_path)
    single = replace(facts, chips=facts.chips[2:], texptime_s=50.0, n_exposures=1)
    headers = build_single_headers(single, ExposureNames("jb"))
    assert headers.sci["FILENAME"] == "jb_single_sci.fits"
    assert headers.wht["FILENAME"] == "jb_single_wht.fits"
    assert (headers.sci["ROOTNAME"], headers.sci["EXPTIME"], headers.sci["NDRIZIM"]) == ("jb", 50.0, 2)
    assert headers.sci["BUNIT"] == "ELECTRONS/S"
    assert headers.wht["BUNIT"] == "UNITLESS"
    assert headers.sci["PHOTFLAM"] == 1.0e-19
    assert "RULEFILE" not in headers.sci
    assert (headers.sci["FILETYPE"], headers.wht["FILETYPE"]) == ("SCI", "WHT")


def test_missing_error_and_dq_extensions_are_replaced_by_science(tmp_path: Path) -> None:
    path = str(write_input(tmp_path, "u4", instrument="WFPC2", exptime=1.0, has_err=False))
    (chip,) = HeaderReader([HeaderSource(path, 2)])
    assert (chip.err["EXTNAME"], chip.dq["EXTVER"]) == ("SCI", 2)


def test_each_file_is_opened_twice_at_most_and_one_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = make_facts(tmp_path)
    reader = HeaderReader([chip.source for chip in facts.chips])
    assert len(reader[1:]) == len(reader) - 1 == 3
    assert reader[1:][0].sci["EXTVER"] == 2
    opened: list[str] = []

    def read_and_count(path: str) -> list[bytes]:
        opened.append(Path(path).name)
        return header_texts(path)

    monkeypatch.setattr(sources, "header_texts", read_and_count)
    blend_headers(reader)
    assert opened == ["ja_flc.fits", "jb_flc.fits"] * 2


def test_header_of_a_median_is_that_of_a_separate_drizzle_of_all(tmp_path: Path) -> None:
    header = build_median_header(make_facts(tmp_path))
    assert (header["FILENAME"], header["ROOTNAME"], header["EXPTIME"]) == ("m51_med.fits", "m51", 150.0)
    assert (header["NDRIZIM"], header["FILETYPE"], header["BUNIT"]) == (4, "SCI", "ELECTRONS/S")
    assert (header["PHOTFLAM"], header["D003DATA"]) == (1.0e-19, "jb_flc.fits[sci,1]")
    assert {"NEXTEND", "RULEFILE", "A_ORDER", "CRVAL1O"}.isdisjoint(header)
    np.testing.assert_allclose(WCS(header).all_pix2world([[30.5, 20.0]], 1), [[150.25, -2.5]], atol=1e-12)


def test_header_of_a_blot_is_that_of_its_chip_with_sip_and_without_tables(tmp_path: Path) -> None:
    path = write_input(tmp_path, "ja", instrument="ACS", exptime=1.0)
    with fits.open(path, mode="update") as hdus:
        for card in (("CPDIS1", "LOOKUP"), ("CPERR1", 0.1), ("D2IMDIS1", "LOOKUP"), ("NPOLEXT", "n.fits")):
            hdus["SCI", 2].header[card[0]] = card[1]
        hdus["SCI", 2].header["DP1"] = "EXTVER: 1.0"
        hdus[0].header["D2IMFILE"] = "d2i.fits"
    chip = fits.getheader(path, ("SCI", 2))
    facts = BlotFacts("ja_sci2_blt.fits", 1.5, "ELECTRONS", "9.8", dt.date(2026, 3, 4))
    header = build_blot_header(HeaderSource(str(path), 4), facts)
    expected = {
        "DATE": "2026-03-04",
        "FILENAME": "ja_sci2_blt.fits",
        "ROOTNAME": "ja",
        "EXPTIME": 1.5,
        "BUNIT": "ELECTRONS",
        "PROD_VER": "mosaic 9.8",
        "FILETYPE": "SCI",
        "FILTER1": "F606W",
        "CCDCHIP": 2,
        "D2IMFILE": "d2i.fits",
    }
    assert {key: header[key] for key in expected} == expected
    gone = {"CPDIS1", "CPERR1", "D2IMDIS1", "NPOLEXT", "DP1.EXTVER", "NEXTEND", "EXTNAME", "XTENSION"}
    assert gone.isdisjoint(header)
    points = [[1.0, 1.0], [4.0, 3.0]]
    for keyword in ("CPDIS1", "CPERR1", "D2IMDIS1", "DP1*"):
        del chip[keyword]
    np.testing.assert_array_equal(WCS(header).all_pix2world(points, 1), WCS(chip).all_pix2world(points, 1))


def test_header_of_a_mask_is_minimal() -> None:
    assert dict(mask_header("x_crmask.fits")) == {"FILENAME": "x_crmask.fits"}


@pytest.mark.parametrize("build", [True, False])
def test_outline_of_one_chip_is_not_passed_off_as_that_of_the_product(tmp_path: Path, *, build: bool) -> None:
    facts = make_facts(tmp_path, build=build)
    with fits.open(facts.chips[0].source.path, mode="update") as hdus:
        for hdu in hdus[1:]:
            hdu.header["S_REGION"] = "POLYGON ICRS 1 2 3 4 5 6"
    headers = build_product_headers(facts)
    assert all("S_REGION" not in header for header in (headers.sci, headers.wht, headers.ctx or {}))
