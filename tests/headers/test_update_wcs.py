"""A new WCS is derived from reference files, on copies; the polynomial is that of the IDCTAB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from mosaic.errors import MissingFileError, ParameterError, WcsError
from mosaic.exposure.catalogue import Catalogue, read_catalogue
from mosaic.exposure.inputs import ExpandedInputs, expand_inputs
from mosaic.headers.update_wcs import UpdatedInputs, update_wcs
from mosaic.tools.updatenpol import derive_wcs
from tests.support.exposures import default_settings, write_exposure

# Coefficients of a detector of 97 x 60 pixels, arcsec per pixel to the power of their order.
CX = {(1, 0): -3.0e-5, (1, 1): 0.0282, (2, 0): -2.0e-7, (2, 1): 2.5e-6, (2, 2): -9.0e-7}
CY = {(1, 0): 0.0248, (1, 1): 0.0029, (2, 0): 2.8e-6, (2, 1): -4.0e-7, (2, 2): 4.0e-7}
SCALE = 0.025


def _write_idctab(path: Path) -> None:
    reference = {"XREF": 48.0, "YREF": 31.0, "V2REF": 207.08, "V3REF": 471.47, "SCALE": SCALE, "THETA": 0.0}
    columns = [
        fits.Column("DETCHIP", "I", array=np.array([1])),
        fits.Column("DIRECTION", "8A", array=np.array(["FORWARD"])),
        fits.Column("FILTER1", "8A", array=np.array(["F606W"])),
        fits.Column("FILTER2", "8A", array=np.array(["CLEAR2S"])),
        fits.Column("XSIZE", "J", array=np.array([97])),
        fits.Column("YSIZE", "J", array=np.array([60])),
    ]
    columns += [fits.Column(name, "D", array=np.array([value])) for name, value in reference.items()]
    for name, values in (("CX", CX), ("CY", CY)):
        columns += [fits.Column(f"{name}{i}{j}", "D", array=np.array([v])) for (i, j), v in values.items()]
    primary = fits.PrimaryHDU()
    primary.header.update({"INSTRUME": "ACS", "DETECTOR": "HRC", "NORDER": 2, "PARITY": 1})
    fits.HDUList([primary, fits.BinTableHDU.from_columns(columns)]).writeto(path)


def _write(path: Path, **primary: Any) -> Path:
    cards = {
        "FILTER2": "CLEAR2S", "IDCTAB": "jref$t_idc.fits", "BINAXIS1": 1, "BINAXIS2": 1,
        "RA_TARG": 150.1, "DEC_TARG": 2.2, "PA_V3": 30.0, "DATE-OBS": "2005-01-01", **primary,
    }  # fmt: skip

    def edit(hdul: fits.HDUList) -> None:
        header = hdul["SCI", 1].header
        header["ORIENTAT"], header["RA_APER"], header["DEC_APER"] = 30.0, 150.1, 2.2
        header["VAFACTOR"], header["CCDCHIP"] = 1.0, 1
        del header["WCSNAME"]

    return write_exposure(path, detector="HRC", n_chips=1, distorted=False, primary=cards, edit=edit)


def _update(folder: Path, *paths: Path) -> tuple[UpdatedInputs, Catalogue]:
    expanded = expand_inputs([str(path) for path in paths])
    catalogue = read_catalogue(expanded, default_settings())
    return update_wcs(expanded.files, catalogue.exposures, folder / "staged"), catalogue


def test_the_polynomial_is_that_of_the_table_and_the_input_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "refs").mkdir()
    _write_idctab(tmp_path / "refs/t_idc.fits")
    monkeypatch.setenv("jref", str(tmp_path / "refs"))
    path = _write(tmp_path / "a_flt.fits")
    before, status = path.read_bytes(), path.stat()
    updated, _ = _update(tmp_path, path)
    assert updated.rejected == updated.notes == ()
    assert path.read_bytes() == before
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    (file,) = updated.files
    assert file.path == str(path)
    with fits.open(file.prepared_path) as hdul:
        header = hdul["SCI", 1].header
        assert header["CTYPE1"] == "RA---TAN-SIP"
        assert header["WCSNAME"] == "IDC_t"
        assert header["IDCTAB"] == "jref$t_idc.fits"
        # A_mn, B_mn are the inverse of the linear terms times the coefficients of x**m y**n.
        linear = np.array([[CX[1, 1], CX[1, 0]], [CY[1, 1], CY[1, 0]]])
        for j in range(3):
            expected = np.linalg.solve(linear, [CX[2, j], CY[2, j]])
            found = [header.get(f"{name}_{j}_{2 - j}", 0.0) for name in "AB"]
            np.testing.assert_allclose(found, expected, rtol=1e-12)
        # The pixel area is that of the linear terms.
        cd = np.array([[header[f"CD{i}_{j}"] for j in (1, 2)] for i in (1, 2)])
        area = abs(np.linalg.det(linear)) / 3600.0**2
        np.testing.assert_allclose(abs(np.linalg.det(cd)), area, rtol=1e-6)
        np.testing.assert_array_equal(hdul["SCI", 1].data, fits.getdata(path, ("SCI", 1)))
    assert [entry.name for entry in (tmp_path / "staged").iterdir()] == [Path(file.prepared_path).name]
    wcs = read_catalogue(expand_inputs([str(path)]), default_settings()).exposures[0].chips[0].wcs
    new = read_catalogue(ExpandedInputs(updated.files, (), ()), default_settings()).exposures[0]
    assert (wcs.has_distortion, new.chips[0].wcs.has_distortion) == (False, True)
    assert (new.path, new.chips[0].sci.path) == (str(path), file.prepared_path)


def test_a_copy_is_made_once_and_anew_when_a_reference_changes(tmp_path: Path) -> None:
    _write_idctab(tmp_path / "t_idc.fits")
    path = _write(tmp_path / "a_flt.fits")
    first = Path(_update(tmp_path, path)[0].files[0].prepared_path)
    stamp = first.stat().st_mtime_ns
    assert Path(_update(tmp_path, path)[0].files[0].prepared_path).stat().st_mtime_ns == stamp
    (tmp_path / "t_idc.fits").unlink()
    _write_idctab(tmp_path / "t_idc.fits")
    assert Path(_update(tmp_path, path)[0].files[0].prepared_path) != first


def test_references_that_are_missing_are_named_and_the_others_are_updated(tmp_path: Path) -> None:
    _write_idctab(tmp_path / "t_idc.fits")
    keywords = ("IDCTAB", "NPOLFILE", "D2IMFILE")
    bad = [_write(tmp_path / f"{key[0].lower()}_flt.fits", **{key: "jref$no_x.fits"}) for key in keywords]
    updated, _ = _update(tmp_path, _write(tmp_path / "a_flt.fits"), *bad)
    assert [Path(file.path).name for file in updated.files] == ["a_flt.fits"]
    assert [type(error) for error in updated.rejected] == [MissingFileError] * 3
    for error, key in zip(updated.rejected, keywords, strict=True):
        text = f"{key[0].lower()}: {key} jref$no_x.fits not found; set the environment variable jref"
        assert text in str(error)


def test_an_exposure_at_which_stwcs_ends_is_named_and_the_others_are_updated(tmp_path: Path) -> None:
    _write_idctab(tmp_path / "t_idc.fits")
    names = ("a", "b", "c")
    paths = [_write(tmp_path / f"{name}_flt.fits") for name in names]
    with fits.open(paths[1], mode="update") as hdul:
        # No row of the table is for this filter.
        hdul[0].header["FILTER1"] = "F999W"
    updated, _ = _update(tmp_path, *paths)
    assert [Path(file.path).name for file in updated.files] == ["a_flt.fits", "c_flt.fits"]
    (error,) = updated.rejected
    assert isinstance(error, WcsError)
    assert str(error).startswith("b: updatewcs failed (LookupError: Problem finding row in IDCTAB")
    assert "F999W" in str(error)
    assert "\n" not in str(error)


def test_an_exposure_without_table_keeps_its_linear_wcs_with_a_note(tmp_path: Path) -> None:
    path = _write(tmp_path / "a_flt.fits", IDCTAB="N/A")
    updated, catalogue = _update(tmp_path, path)
    assert updated.notes == ("a: IDCTAB is absent, blank or N/A, no distortion model is derived",)
    new = read_catalogue(ExpandedInputs(updated.files, (), ()), default_settings()).exposures[0].chips[0].wcs
    assert new.cd == catalogue.exposures[0].chips[0].wcs.cd


def test_stwcs_that_is_not_installed_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ParameterError, match=r"pip install 'mosaic-hst\[updatewcs\]'"):
        update_wcs([], [], tmp_path)


def test_a_file_gets_the_same_wcs_in_place_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "refs").mkdir()
    _write_idctab(tmp_path / "refs/t_idc.fits")
    monkeypatch.setenv("jref", str(tmp_path / "refs"))
    path = _write(tmp_path / "a_flt.fits")
    (file,) = _update(tmp_path, path)[0].files
    derive_wcs(path)
    with fits.open(path) as found, fits.open(file.prepared_path) as expected:
        keys = ("CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2", "A_2_0", "B_1_1", "WCSNAME")
        assert [found[1].header[key] for key in keys] == [expected[1].header[key] for key in keys]
        np.testing.assert_array_equal(found[1].data, expected[1].data)
    assert sorted(tmp_path.glob("*.fits")) == [path]
    (tmp_path / "refs/t_idc.fits").unlink()
    before = path.read_bytes()
    with pytest.raises(MissingFileError, match="t_idc"):
        derive_wcs(path)
    assert path.read_bytes() == before
