"""Laws of files: structure, keywords, patterns, parameters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from mosaic.errors import ParameterError
from mosaic.simulate import SimulatedSet, SimulateParams, simulate

PRIMARY = [
    "TELESCOP",
    "INSTRUME",
    "DETECTOR",
    "ROOTNAME",
    "FILENAME",
    "TARGNAME",
    "RA_TARG",
    "DEC_TARG",
    "PROPOSID",
    "LINENUM",
    "DATE-OBS",
    "TIME-OBS",
    "EXPSTART",
    "EXPEND",
    "EXPTIME",
    "EXPFLAG",
    "PA_V3",
    "POSTARG1",
    "POSTARG2",
    "APERTURE",
    "CCDAMP",
    "CCDGAIN",
    "ATODGNA",
    "ATODGNB",
    "ATODGNC",
    "ATODGND",
    "READNSEA",
    "READNSEB",
    "READNSEC",
    "READNSED",
    "PFLTFILE",
    "IDCTAB",
    "NPOLFILE",
    "D2IMFILE",
    "ASN_ID",
    "ASN_TAB",
    "ASN_MTYP",
    "DRIZCORR",
    "SUBARRAY",
    "MTFLAG",
    "DISTNAME",
]
SCIENCE = [
    "EXTNAME",
    "EXTVER",
    "ROOTNAME",
    "EXPNAME",
    "BUNIT",
    "CCDCHIP",
    "CRPIX1",
    "CRPIX2",
    "CRVAL1",
    "CRVAL2",
    "CD1_1",
    "CD1_2",
    "CD2_1",
    "CD2_2",
    "CTYPE1",
    "CTYPE2",
    "LTV1",
    "LTV2",
    "ORIENTAT",
    "VAFACTOR",
    "IDCSCALE",
    "IDCTHETA",
    "IDCV2REF",
    "IDCV3REF",
    "WCSNAME",
    "A_ORDER",
    "B_ORDER",
    "PHOTMODE",
    "PHOTFLAM",
    "PHOTZPT",
    "PHOTPLAM",
    "PHOTBW",
    "NGOODPIX",
    "MEANDARK",
    "NCOMBINE",
]
ORDER = {
    "WFC": ["SCI", "ERR", "DQ"] * 2 + ["D2IMARR"] * 4 + ["WCSDVARR"] * 4,
    "UVIS": ["SCI", "ERR", "DQ"] * 2 + ["D2IMARR"] * 4 + ["WCSDVARR"] * 4,
    "HRC": ["SCI", "ERR", "DQ"] + ["WCSDVARR"] * 2,
    "SBC": ["SCI", "ERR", "DQ"],
    "IR": ["SCI", "ERR", "DQ", "SAMP", "TIME"],
}


def test_extensions_and_keywords_are_complete(clean: SimulatedSet) -> None:
    with fits.open(clean.files[0]) as file:
        file.verify("exception")
        primary = file[0].header
        assert [hdu.name for hdu in file[1:]] == ORDER[primary["DETECTOR"]]
        assert primary["NEXTEND"] == len(file) - 1
        assert [key for key in PRIMARY if key not in primary] == []
        assert "@" not in [card.value for card in primary.cards]
        assert any(key.startswith("FILTER") for key in primary)
        chips = [hdu for hdu in file if hdu.name == "SCI"]
        for hdu in chips:
            assert [key for key in SCIENCE if key not in hdu.header] == []
            assert "@" not in [card.value for card in hdu.header.cards]
            dq = file["DQ", hdu.ver].data
            assert hdu.header["NGOODPIX"] == int(((dq & 31743) == 0).sum())
            assert file["ERR", hdu.ver].header["BUNIT"] == hdu.header["BUNIT"]
            assert hdu.data.dtype == np.dtype(">f4")
            assert dq.dtype == np.dtype(">i2")
        if len(chips) == 2:
            assert [hdu.header["CCDCHIP"] for hdu in chips] == [2, 1]
        # EXPSTART and EXPEND are written to 1e-8 d (1 ms).
        assert (primary["EXPEND"] - primary["EXPSTART"]) * 86400 == pytest.approx(
            primary["EXPTIME"], abs=2e-3
        )


def test_orientation_and_scale_of_the_header_agree_with_its_matrix(clean: SimulatedSet) -> None:
    with fits.open(clean.files[1]) as file:
        for hdu in (hdu for hdu in file if hdu.name == "SCI"):
            header = hdu.header
            angle = np.degrees(np.arctan2(header["CD1_2"], header["CD2_2"]))
            assert header["ORIENTAT"] == pytest.approx(angle, abs=1e-9)
            scale = 3600 * np.sqrt(abs(header["CD1_1"] * header["CD2_2"] - header["CD1_2"] * header["CD2_1"]))
            # HRC and SBC pixels are 6 and 27 % from their nominal area's square root; the others 3 %.
            tolerance = {"HRC": 0.1, "SBC": 0.3}.get(file[0].header["DETECTOR"], 0.03)
            assert scale == pytest.approx(header["IDCSCALE"], rel=tolerance)


def test_exposures_differ_where_headers_of_one_visit_differ(real: SimulatedSet) -> None:
    headers = [fits.getheader(path) for path in real.files]
    for key in ("ROOTNAME", "EXPSTART", "EXPEND", "POSTARG1", "PATTSTEP", "LINENUM", "TIME-OBS", "BIASLEVA"):
        assert len({header[key] for header in headers}) == len(headers), key
    for key in ("ASN_ID", "TARGNAME", "FILTER1", "IDCTAB"):
        assert len({header[key] for header in headers}) == 1, key


def test_association_lists_its_members(real: SimulatedSet) -> None:
    table = fits.getdata(real.associations[0])
    roots = [path.name.split("_")[0].upper() for path in real.files]
    assert list(table["MEMNAME"][:-1]) == roots
    assert table["MEMTYPE"][-1] == "PROD-DTH"
    assert fits.getheader(real.files[0])["ASN_TAB"] == real.associations[0].name


def test_mosaic_covers_its_fields_with_overlap(tmp_path: Path) -> None:
    made = simulate(tmp_path, chip_shape=(60, 90), pattern="mosaic:2x3", exposures=2, n_stars=5, n_galaxies=1)
    assert len(made.files) == 12
    assert len(made.associations) == 6
    with fits.open(made.files[0]) as file:
        reference = WCS(file["SCI", 1].header, file)
        centers = []
        for path in made.files[::2]:
            with fits.open(path) as other:
                wcs = WCS(other["SCI", 1].header, other)
                centers.append(reference.all_world2pix(*wcs.all_pix2world(44.5, 29.5, 0), 0))
    x, y = np.array(centers).T
    # Fields are 0.9 of a detector apart, along x first; the target moves up POSTARG, the field down.
    assert x[0] - x[1] == pytest.approx(0.9 * 90, rel=0.05)
    assert abs(y[1] - y[0]) < 0.1 * 90
    assert y[0] - y[2] == pytest.approx(0.9 * 2 * 60, rel=0.08)


def test_box_and_line_give_different_subpixel_phases(real: SimulatedSet) -> None:
    phases = set()
    reference = None
    for path in real.files:
        with fits.open(path) as file:
            wcs = WCS(file["SCI", 1].header, file)
        if reference is None:
            reference = wcs.all_pix2world(100.0, 100.0, 0)
        x, y = wcs.all_world2pix(*reference, 0)
        phases.add((round(float(x) % 1 * 4) % 4, round(float(y) % 1 * 4) % 4))
    assert len(phases) == len(real.files)


def test_roll_turns_the_detector(tmp_path: Path) -> None:
    made = simulate(tmp_path, chip_shape=(60, 70), exposures=3, roll_deg=5.0, n_stars=3, n_galaxies=0)
    angles = [fits.getval(path, "ORIENTAT", ("SCI", 1)) for path in made.files]
    np.testing.assert_allclose(np.diff(angles), 5.0, atol=0.05)


def test_no_part_file_is_left(real: SimulatedSet) -> None:
    assert not [path for path in real.files[0].parent.iterdir() if ".part" in path.name]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"exposure": 3}, "unknown parameter 'exposure'.*did you mean exposures"),
        ({"instrument": "acs/nic"}, "'acs/nic' is not one of acs/wfc"),
        ({"pattern": "mosaic:0x2"}, "is not box4, line or mosaic:NxM"),
        ({"exposures": 0}, "at least 1"),
        ({"exptime_s": 0.0}, "exptime_s must be above 0"),
        ({"chip_shape": (10, 200)}, "at least 32"),
        ({"program": "ABC1"}, "three lower-case"),
        ({"pointing_rms_arcsec": -1.0}, "must not be negative"),
        ({"sky_scatter": 1.0}, "sky_scatter"),
        ({"target_dec_deg": 90.0}, "poles"),
        ({"star_rate_range": (5.0, 5.0)}, "star_rate_range"),
        ({"galaxy_rate_range": (0.0, 5.0)}, "galaxy_rate_range"),
    ],
)
def test_impossible_choices_are_named(names: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        SimulateParams.from_names(names)


def test_unknown_filter_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="filter 'F999W' of acs/wfc is not one of F606W"):
        simulate(tmp_path, filter_name="F999W")
