from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from mosaic.geometry.grid import OutputGrid
from mosaic.headers.blend import blend_headers
from mosaic.headers.product import (
    ChipFacts,
    HeaderReader,
    HeaderSource,
    ProductFacts,
    build_product_headers,
    build_single_headers,
    intermediate_header,
)
from mosaic.headers.rulesets import parse_rules
from mosaic.products.naming import ExposureNames, ProductNames
from mosaic.types import ShapeYX

GRID = OutputGrid(
    shape_yx=ShapeYX(40, 61),
    crpix_xy=(30.5, 20.0),
    crval_deg=(150.25, -2.5),
    cd=((-1.1e-5, 2.0e-7), (2.0e-7, 1.1e-5)),
    wcsname="IDC_abc",
)


def write_input(folder: Path, root: str, *, instrument: str, exptime: float, has_err: bool = True) -> Path:
    primary = fits.PrimaryHDU()
    for keyword, value in {
        "DATE": "2001-01-01",
        "FILENAME": f"{root}_flc.fits",
        "FILETYPE": "SCI",
        "TELESCOP": "HST",
        "INSTRUME": instrument,
        "ROOTNAME": root,
        "EXPTIME": exptime,
        "EXPSTART": 55000.0,
        "EXPEND": 55000.1,
        "DRIZCORR": "PERFORM",
        "FILTER1": "F606W",
    }.items():
        primary.header[keyword] = value
    hdus = fits.HDUList([primary])
    for extver in (1, 2):
        for name in ("SCI", "ERR", "DQ") if has_err else ("SCI",):
            hdu = fits.ImageHDU(np.zeros((3, 4), np.int16 if name == "DQ" else np.float32))
            hdu.header["EXTNAME"], hdu.header["EXTVER"] = name, extver
            hdu.header["EXPNAME"] = root
            hdu.header["BUNIT"] = "UNITLESS" if name == "DQ" else "ELECTRONS"
            hdu.header["OBJECT"] = "M51"
            hdu.header["CCDCHIP"] = extver
            hdu.header["NCOMBINE"] = 1
            hdu.header["PHOTFLAM"] = extver * 1.0e-19
            hdu.header["CTYPE1"], hdu.header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
            hdu.header["CRPIX1"], hdu.header["CRPIX2"] = 2.0, 1.5
            hdu.header["CRVAL1"], hdu.header["CRVAL2"] = 150.0, 2.0
            hdu.header["CD1_1"], hdu.header["CD2_2"] = -1.4e-5, 1.4e-5
            hdu.header["CD1_2"], hdu.header["CD2_1"] = 0.0, 0.0
            hdu.header["A_ORDER"], hdu.header["B_ORDER"] = 2, 2
            hdu.header["A_0_2"], hdu.header["B_2_0"] = 1.0e-6, 2.0e-6
            hdu.header["WCSNAME"], hdu.header["WCSNAMEO"] = "IDC_abc", "OPUS"
            hdu.header["CRVAL1O"] = 150.0
            hdus.append(hdu)
    path = folder / f"{root}_flc.fits"
    hdus.writeto(path)
    return path


def make_facts(folder: Path, *, instrument: str = "ACS", **changes: Any) -> ProductFacts:
    chips = []
    for root, exptime in (("ja", 100.0), ("jb", 50.0)):
        path = folder / f"{root}_flc.fits"
        if not path.exists():
            write_input(folder, root, instrument=instrument, exptime=exptime)
        for extver in (1, 2):
            source = HeaderSource(str(path), 3 * extver - 2, 3 * extver - 1, 3 * extver)
            data = f"{root}_flc.fits[sci,{extver}]"
            chips.append(ChipFacts(source, data, exptime, exptime, "square", 1.0, None, 0.05, f"{root}_mask"))
    facts = ProductFacts(
        chips=chips,
        names=ProductNames(folder, "m51", "_drc"),
        grid=GRID,
        texptime_s=150.0,
        expstart_mjd=55000.0,
        expend_mjd=55000.1,
        n_exposures=2,
        versions={"mosaic": "9.8", "numpy": "2.1"},
        log_name="m51.log",
        date=dt.date(2026, 3, 4),
    )
    return replace(facts, **changes)


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
        "RULEFILE": "acs.toml",
        "FILTER1": "F606W",
    }
    assert {key: header[key] for key in expected} == expected
    assert header.index("TEXPTIME") == header.index("EXPTIME") + 1
    history = list(header["HISTORY"])
    assert "    numpy 2.1" in history
    assert any("float_one: LTM1_1 LTM2_2" in line for line in history)


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
    assert "NEXTEND" not in headers.sci
    assert headers.wht["NEXTEND"] == 1


def test_without_context_there_is_no_context_name_and_no_simple_context_file(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, has_context=False, build=False)
    headers = build_product_headers(facts)
    assert headers.ctx is None
    assert headers.sci["D001OUCO"] == ""
    assert build_product_headers(replace(facts, build=True)).ctx is not None


def test_table_has_one_row_for_each_chip_in_drizzle_order(tmp_path: Path) -> None:
    table = build_product_headers(make_facts(tmp_path)).hdrtab
    assert table is not None
    assert len(table.columns) == 293
    assert list(table.data["ROOTNAME"]) == ["ja", "ja", "jb", "jb"]
    assert list(table.data["EXTVER"]) == [1, 2, 1, 2]
    assert list(table.data["EXPTIME"]) == [100.0, 100.0, 50.0, 50.0]


def test_rules_of_the_user_replace_the_packaged_ones(tmp_path: Path) -> None:
    rules = parse_rules("!VERSION = 1.0\nEXPNAME\n", "my.rules")
    headers = build_product_headers(make_facts(tmp_path, rules=rules))
    assert headers.hdrtab is not None
    assert headers.hdrtab.columns.names == ["EXPNAME"]
    assert (headers.primary["RULEFILE"], headers.primary["RULESVER"]) == ("my.rules", 1.0)


def test_separate_drizzle_has_the_headers_of_its_first_chip(tmp_path: Path) -> None:
    facts = make_facts(tmp_path)
    single = replace(facts, chips=facts.chips[2:], texptime_s=50.0, n_exposures=1)
    headers = build_single_headers(single, ExposureNames("jb"))
    assert (headers.hdrtab, headers.ctx, headers.err) == (None, None, None)
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
    real_open = fits.open

    def open_and_count(path: str, **options: Any) -> fits.HDUList:
        opened.append(Path(path).name)
        return real_open(path, **options)

    monkeypatch.setattr(fits, "open", open_and_count)
    blend_headers(reader)
    assert opened == ["ja_flc.fits", "jb_flc.fits"] * 2


def test_header_of_a_median_has_the_output_frame() -> None:
    header = intermediate_header("m51_med.fits", grid=GRID, exptime_s=150.0, bunit="ELECTRONS/S")
    assert (header["FILENAME"], header["EXPTIME"], header["BUNIT"]) == ("m51_med.fits", 150.0, "ELECTRONS/S")
    np.testing.assert_allclose(WCS(header).all_pix2world([[30.5, 20.0]], 1), [[150.25, -2.5]], atol=1e-12)


def test_header_of_a_blot_has_the_frame_of_its_chip_with_sip(tmp_path: Path) -> None:
    path = write_input(tmp_path, "ja", instrument="ACS", exptime=1.0)
    chip = fits.getheader(path, ("SCI", 2))
    header = intermediate_header("ja_sci2_blt.fits", chip=chip)
    assert {"PHOTFLAM", "WCSNAMEO", "NCOMBINE"}.isdisjoint(header)
    points = [[1.0, 1.0], [4.0, 3.0]]
    np.testing.assert_array_equal(WCS(header).all_pix2world(points, 1), WCS(chip).all_pix2world(points, 1))


def test_header_of_a_mask_is_minimal() -> None:
    assert dict(intermediate_header("x_crmask.fits")) == {"FILENAME": "x_crmask.fits"}
