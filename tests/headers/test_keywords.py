from __future__ import annotations

from dataclasses import dataclass

import pytest
from astropy.io import fits

from mosaic.geometry.grid import OutputGrid
from mosaic.headers import keywords as kw
from mosaic.types import ShapeYX

GRID = OutputGrid(
    shape_yx=ShapeYX(40, 61),
    crpix_xy=(30.5, 20.0),
    crval_deg=(150.25, -2.5),
    cd=((-1.1e-5, 2.0e-7), (2.0e-7, 1.1e-5)),
    wcsname="IDC_abc-FIT_REL_GAIAeDR3",
)


@dataclass(frozen=True)
class Record:
    data: str = "a_flc.fits[sci,1]"
    exptime_s: float = 340.0
    weight_scale: float = 340.0
    kernel: str = "square"
    pixfrac: float = 0.8
    fill_value: float | None = None
    idcscale_arcsec: float = 0.05
    mask: str = "a_sci1_final_mask.fits"
    wcskey: str = ""


COMMON = {"VER": "mosaic 1", "OUDA": "m_drc.fits", "OUWE": "w", "OUCO": "", "OUUN": "cps", "SCAL": 0.04}


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("IDC_w3m18525i", "undistorted not aligned"),
        ("IDC_2731450pi-GSC240", "undistorted a priori solution based on GSC240"),
        (
            "IDC_0461802ej-FIT_REL_GAIAeDR3",
            "undistorted a posteriori solution relatively aligned to GAIAEDR3",
        ),
        ("IDC_x-FIT_IMG_GSC240", "undistorted a posteriori solution aligned image-by-image to GSC240"),
        ("IDC_x-FIT_EVM_GSC240", "undistorted a posteriori solution aligned by visit-exposures to GSC240"),
        ("IDC_x-FIT_SVM_GSC240", "undistorted a posteriori solution aligned by visit to GSC240"),
        ("IDC_x-FIT", "undistorted a posteriori solution aligned to"),
        ("OPUS", "pipeline default not aligned"),
        ("OPUS-GSC240", "pipeline default a priori solution based on GSC240"),
        ("TWEAK", "user-defined"),
        ("", "user-defined"),
    ],
)
def test_wcstype_says_what_the_name_means(name: str, meaning: str) -> None:
    assert kw.describe_wcsname(name) == meaning


def test_output_wcs_is_written_whole() -> None:
    header = fits.Header([("CTYPE1", "RA---TAN-SIP"), ("VAFACTOR", 1.0001), ("WCSNAME", "old")])
    kw.set_wcs(header, GRID)
    expected = {
        "CRPIX1": 30.5,
        "CRPIX2": 20.0,
        "CRVAL1": 150.25,
        "CRVAL2": -2.5,
        "CD1_1": -1.1e-5,
        "CD1_2": 2.0e-7,
        "CD2_1": 2.0e-7,
        "CD2_2": 1.1e-5,
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "VAFACTOR": 1.0,
        "WCSNAME": "IDC_abc-FIT_REL_GAIAeDR3",
        "WCSTYPE": "undistorted a posteriori solution relatively aligned to GAIAEDR3",
        "ORIENTAT": GRID.orientat_deg,
    }
    assert dict(header) == expected


def test_a_frame_without_name_leaves_the_name_alone() -> None:
    header = fits.Header([("WCSNAME", "old")])
    grid = OutputGrid(GRID.shape_yx, GRID.crpix_xy, GRID.crval_deg, GRID.cd)
    kw.set_wcs(header, grid)
    assert header["WCSNAME"] == "old"
    assert "WCSTYPE" not in header


def test_new_keyword_goes_where_the_template_had_it() -> None:
    template = fits.Header([("A", 1), ("B", 2), ("C", 3), ("D", 4)])
    header = fits.Header([("A", 1), ("D", 4)])
    kw.set_in_order(header, "C", 30, "new", [fits.Header(), template])
    kw.set_in_order(header, "E", 5, "", [template])
    assert list(header.items()) == [("A", 1), ("C", 30), ("D", 4), ("E", 5)]
    assert header.comments["C"] == "new"
    kw.set_in_order(header, "C", 31, "", [template])
    assert header.comments["C"] == "new"


@pytest.mark.parametrize("keyword", ["SHORT", "D1000GEOM"])
@pytest.mark.parametrize("value", [1.234567890123e-300, "x" * 60, "y" * 200, True, 3])
def test_comments_are_cut_without_a_warning(keyword: str, value: float | str) -> None:
    header = fits.Header()
    kw.set_value(header, keyword, value, "a comment that is far too long for the rest of the card, cut it")
    restored = fits.Header.fromstring(header.tostring())
    assert restored[keyword] == value


def test_distortion_goes_and_what_only_looks_like_it_stays() -> None:
    gone = [
        *("A_ORDER", "A_0_2", "B_ORDER", "B_3_1", "IDCSCALE", "IDCV2REF", "SCD1_1", "SCTYPE1", "SCRVAL2"),
        *("SNAXIS1", "SCRPIX1", "CPDIS1", "CPERR2", "D2IMEXT", "D2IMERR1", "D2IMDIS2", "TDDALPHA", "TDDBETA"),
        *("TDD_CYA", "NPOLEXT", "DGEOEXT"),
    ]
    kept = [
        "IDCTAB",
        "D2IMFILE",
        "NPOLFILE",
        "RADESYS",
        "LTM1_1",
        "PHOTFLAM",
        "CRPIX1",
        "DQICORR",
        "APERTURE",
    ]
    header = fits.Header([(name, 1.0) for name in gone + kept])
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    header["DP1"] = "EXTVER: 1.0"
    header["DP1"] = "NAXES: 2.0"
    header["D2IM1"] = "EXTVER: 1.0"
    kw.remove_distortion(header)
    assert sorted(header) == sorted([*kept, "CTYPE1", "CTYPE2"])
    assert (header["CTYPE1"], header["CTYPE2"]) == ("RA---TAN", "DEC--TAN")


def test_every_alternate_wcs_goes_and_the_primary_stays() -> None:
    gone = [
        *("WCSNAMEA", "CRVAL1B", "CRPIX2Z", "CD1_1O", "CTYPE1O", "WCSAXESA", "LONPOLEA", "ORIENTO"),
        *("OCRVAL1", "OCD1_1", "OORIENTA", "ONAXIS1", "OCX10", "CDELT1O", "HDRNAMEB", "RMS_RAC", "PV1_1A"),
        *("WCSTYPEB", "CUNIT1C", "RADESYSA"),
    ]
    kept = [
        *("WCSNAME", "CRVAL1", "CRPIX2", "CD1_1", "CTYPE1", "WCSAXES", "ORIENTAT", "OBSTYPE", "HDRNAME"),
        *("RMS_RA", "WCSTYPE", "OPUS_VER", "CDELT1", "RADESYS"),
    ]
    header = fits.Header([(name, 1.0) for name in gone + kept])
    kw.remove_alternate_wcs(header)
    assert list(header) == kept


def test_simple_file_takes_from_the_extension_only_what_it_lacks() -> None:
    header = fits.Header([("EXPTIME", 5.0)])
    extension = fits.Header([("EXTNAME", "SCI"), ("EXPTIME", 1.0), ("CRPIX1", 2.0)])
    extension["COMMENT"] = "not carried over"
    kw.append_missing(header, extension)
    assert list(header.items()) == [("EXPTIME", 5.0), ("CRPIX1", 2.0)]


def test_each_chip_has_seventeen_drizzle_records_numbered_from_one() -> None:
    header = fits.Header()
    kw.set_drizzle_records(header, [Record(), Record(fill_value=0, data="b.fits[sci,2]")], COMMON)
    assert len(header) == 2 * 17
    first = {key[4:]: value for key, value in header.items() if key.startswith("D001")}
    assert first == {
        "VER": "mosaic 1",
        "GEOM": "wcs",
        "DATA": "a_flc.fits[sci,1]",
        "DEXP": 340.0,
        "OUDA": "m_drc.fits",
        "OUWE": "w",
        "OUCO": "",
        "MASK": "a_sci1_final_mask.fits",
        "WTSC": 340.0,
        "KERN": "square",
        "PIXF": 0.8,
        "COEF": "SIP",
        "OUUN": "cps",
        "FVAL": "INDEF",
        "WKEY": "",
        "SCAL": 0.04,
        "ISCL": 0.05,
    }
    assert (header["D002DATA"], header["D002FVAL"]) == ("b.fits[sci,2]", 0.0)


def test_more_than_999_chips_continue_as_hierarch_keywords() -> None:
    header = fits.Header()
    kw.set_drizzle_records(header, [Record()] * 1001, COMMON)
    restored = fits.Header.fromstring(header.tostring())
    assert restored["D999KERN"] == restored["D1001KERN"] == "square"
    assert restored["D1001VER"] == "mosaic 1"  # eight characters: an ordinary keyword
