"""The calls of stwcs and DrizzlePac for WCS solutions: names, arguments, effects on files."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mosaic.compat import buildwcs, headerlet, tweakback, updatehdr
from mosaic.errors import OutputError, ParameterError
from mosaic.solutions import alternates
from mosaic.solutions.editing import edited
from tests.support.exposures import write_exposure

PRIMARY = {"IDCTAB": "jref$11d1433lj_idc.fits", "UPWCSVER": "1.7.7"}


@pytest.fixture
def exposure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An exposure in the working folder, with an alternate WCS called FIRST."""
    monkeypatch.chdir(tmp_path)
    path = write_exposure(tmp_path / "j94f05bgq_flt.fits", primary=PRIMARY)
    with edited(path, path) as hdul:
        headers = [hdul["SCI", v].header for v in (1, 2)]
        alternates.archive(headers, name="FIRST")
        for header in headers:
            header["CRVAL1"] += 1e-4
            header["WCSNAME"] = "SECOND"
    return path


SIGNATURES = """
headerlet.write_headerlet filename hdrname output sciext wcsname wcskey destim sipname npolfile d2imfile
    author
    descrip history nmatch catalog attach clobber logging;
headerlet.archive_as_headerlet filename hdrname sciext wcsname wcskey destim sipname npolfile d2imfile
    author
    descrip history nmatch catalog logging logmode;
headerlet.apply_headerlet_as_primary filename hdrlet attach archive force logging logmode;
headerlet.apply_headerlet_as_alternate filename hdrlet attach wcskey wcsname logging logmode;
headerlet.attach_headerlet filename hdrlet logging logmode;
headerlet.delete_headerlet filename hdrname hdrext distname keep_first logging logmode;
headerlet.extract_headerlet filename output extnum hdrname clobber logging;
headerlet.headerlet_summary filename columns pad maxwidth output clobber quiet;
headerlet.restore_from_headerlet filename hdrname hdrext archive force logging logmode;
headerlet.restore_all_with_distname filename distname primary archive sciext logging logmode;
tweakback.apply_tweak drz_file orig_wcs_name output_wcs_name input_files default_extname kwargs;
tweakback.tweakback drzfile input origwcs newname wcsname extname force verbose;
updatehdr.update_from_shiftfile shiftfile wcsname force;
updatehdr.updatewcs_with_shift image reference wcsname reusename fitgeom rot scale xsh ysh fit xrms yrms
    verbose
    force sciext
"""
"""As stwcs 1.7.7 and DrizzlePac 3.11 have them."""


@pytest.mark.parametrize("signature", SIGNATURES.split(";"))
def test_signatures(signature: str) -> None:
    name, *arguments = signature.split()
    module, _, function = name.partition(".")
    modules = {"headerlet": headerlet, "tweakback": tweakback, "updatehdr": updatehdr}
    assert list(inspect.signature(getattr(modules[module], function)).parameters) == arguments


def test_write_extract_summary_delete(
    exposure: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    headerlet.write_headerlet("*_flt.fits", "HL1", output="fit", wcskey="A", author="me")
    assert fits.getval("j94f05bgq_flt_fit_hlet.fits", "WCSNAME") == "FIRST"
    with pytest.raises(OutputError, match="clobber"):
        headerlet.write_headerlet(str(exposure), "HL9", output="fit")
    headerlet.archive_as_headerlet(str(exposure), "HL2", wcsname="SECOND")
    assert headerlet.get_headerlet_kw_names(exposure) == ["HL1", "HL2"]
    first, second = headerlet.find_headerlet_HDUs(str(exposure), strict=False)
    headerlet.extract_headerlet(str(exposure), "one", hdrname="HL1")
    headerlet.extract_headerlet(str(exposure), "two.fits", extnum=second)
    assert (tmp_path / "one.fits").read_bytes() == (tmp_path / "j94f05bgq_flt_fit_hlet.fits").read_bytes()
    capsys.readouterr()
    rows = headerlet.headerlet_summary(str(exposure), columns=["HDRNAME", "DISTNAME"], output="table.txt")
    assert rows[1] == {
        "EXTN": str(second), "HDRNAME": "HL2", "DISTNAME": "j94f05bgq_11d1433lj-NOMODEL-NOMODEL",
    }  # fmt: skip
    assert capsys.readouterr().out == Path("table.txt").read_text()
    headerlet.delete_headerlet(str(exposure), hdrext=first)
    headerlet.delete_headerlet(str(exposure), hdrext=("HDRLET", 1))
    assert headerlet.get_headerlet_kw_names(str(exposure)) == []
    with pytest.raises(ParameterError, match="blank"):
        headerlet.write_headerlet(str(exposure), " ")


def test_apply_and_restore(exposure: Path, tmp_path: Path) -> None:
    headerlet.write_headerlet(str(exposure), "HL1", output="a_hlet.fits", wcsname="FIRST", attach=False)
    wanted = fits.getval(exposure, "CRVAL1A", 1)
    headerlet.apply_headerlet_as_primary(str(exposure), "a_hlet.fits")
    with fits.open(exposure) as hdul:
        assert (hdul[1].header["WCSNAME"], hdul[1].header["CRVAL1"]) == ("FIRST", wanted)
    headerlet.restore_from_headerlet(str(exposure), hdrname="SECOND")
    assert fits.getval(exposure, "CRVAL1", 1) == wanted + 1e-4
    headerlet.restore_all_with_distname(str(exposure), "j94f05bgq_11d1433lj-NOMODEL-NOMODEL", "HL1")
    assert fits.getval(exposure, "WCSNAME", 1) == "FIRST"
    headerlet.apply_headerlet_as_alternate(str(exposure), "a_hlet.fits", wcskey="Q", wcsname="again")
    assert fits.getval(exposure, "WCSNAMEQ", 4) == "again"
    other = write_exposure(tmp_path / "other_flt.fits", primary=PRIMARY)
    with pytest.raises(ParameterError, match="not listed"):
        headerlet.attach_headerlet([str(other), str(other)], "a_hlet.fits")
    with fits.open(exposure) as hdul:
        made = headerlet.create_headerlet(hdul, hdrname="memory")
        headerlet.delete_headerlet(hdul, hdrname="HL1")
        assert "HL1" not in headerlet.get_headerlet_kw_names(hdul)
    assert made.wcsname == "FIRST"
    assert "HL1" in headerlet.get_headerlet_kw_names(exposure)


def test_both_forms_of_tweakback_agree(exposure: Path, tmp_path: Path) -> None:
    header = fits.Header()
    for key, ra in (("A", 150.1), ("B", 150.1003), ("", 150.1003)):
        header.update({f"CTYPE1{key}": "RA---TAN", f"CTYPE2{key}": "DEC--TAN", f"WCSNAME{key}": "TW"})
        header.update({f"CRVAL1{key}": ra, f"CRVAL2{key}": 2.2, f"CRPIX1{key}": 5.0, f"CRPIX2{key}": 5.0})
        header.update({f"CD1_1{key}": -1e-5, f"CD1_2{key}": 0.0, f"CD2_1{key}": 0.0, f"CD2_2{key}": 1e-5})
    header["WCSNAMEA"] = "IDC_test"
    primary = fits.PrimaryHDU()
    primary.header["D001DATA"] = "j94f05bgq_flt.fits[sci,1]"
    fits.HDUList([primary, fits.ImageHDU(np.zeros((4, 4)), header, name="SCI")]).writeto("p_drz.fits")
    copy = tmp_path / "copy_flt.fits"
    copy.write_bytes(exposure.read_bytes())
    start = fits.getval(copy, "CRVAL1", 4)
    tweakback.apply_tweak("p_drz.fits", "IDC_test")
    tweakback.tweakback("p_drz.fits", input=str(copy), newname="OLD")
    new = fits.getheader(exposure, 4)
    assert (new["WCSNAME"], new["WCSNAMEB"]) == ("TW", "SECOND")
    assert new["CRVAL1"] == fits.getval(copy, "CRVAL1", 4) == pytest.approx(start + 3e-4, abs=1e-9)
    assert fits.getval(copy, "WCSNAME", 4) == "OLD"
    with pytest.raises(ParameterError, match="no argument 'tweaked'"):
        tweakback.apply_tweak("p_drz.fits", "IDC_test", tweaked="x")
    with pytest.raises(ParameterError, match="used already"):
        tweakback.apply_tweak("p_drz.fits", "IDC_test", output_wcs_name="FIRST")


def test_shifts_and_buildwcs(exposure: Path) -> None:
    buildwcs.buildwcs("frame", refimage=str(exposure), wcsname="plane")
    rows = "# refimage: frame.fits[wcs]\nj94f05bgq_flt.fits 2.0 0 0 1\nx_flt.fits nan nan nan nan\n"
    Path("shifts.txt").write_text(rows)
    before = fits.getheader(exposure, 1)
    with pytest.warns(UserWarning, match="x_flt.fits has no fit"):
        updatehdr.update_from_shiftfile("shifts.txt")
    after = fits.getheader(exposure, 1)
    step = np.hypot(
        (after["CRVAL1"] - before["CRVAL1"]) * np.cos(np.deg2rad(2.2)), after["CRVAL2"] - before["CRVAL2"]
    )
    # IDCSCALE of the exposure is 0.05 arcsec.
    assert step * 3600.0 == pytest.approx(0.1, abs=1e-6)
    updatehdr.updatewcs_with_shift(
        str(exposure), "frame.fits", wcsname="BACK", xsh=-2.0, xrms=1e-6, yrms=2e-6
    )
    back = fits.getheader(exposure, 1)
    assert back["CRVAL1"] == pytest.approx(before["CRVAL1"], abs=1e-9)
    assert (back["WCSNAME"], back["CRDER2"]) == ("BACK", 2e-6)
    with pytest.raises(ParameterError, match="nothing to build"):
        buildwcs.buildwcs("nothing", outscale=0.1)
