"""An alternate WCS is used by letter or name as if it were the primary; the file stays as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from mosaic.errors import MetadataError
from mosaic.exposure.catalogue import read_catalogue
from mosaic.exposure.model import Chip
from tests.support.exposures import default_settings, write_exposure

LINEAR = ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2", "CTYPE1", "CTYPE2")


def _add_alternates(hdul: fits.HDUList) -> None:
    """A: moved by 0.1 s of arc, B: turned and named like A, C: as PC and CDELT."""
    for version in (1, 2):
        header = hdul["SCI", version].header
        for key, name in (("A", "IDC_x-GSC240"), ("B", "idc_X-gsc240"), ("C", "as pc")):
            for word in LINEAR:
                header[word + key] = header[word]
            header["WCSNAME" + key] = name
        header["CRVAL2A"] += 0.1 / 3600.0
        header["CD1_2B"] *= 1.01
        header["CRVAL1C"] += 0.2 / 3600.0
        for row, column in ((1, 1), (1, 2), (2, 1), (2, 2)):
            header[f"PC{row}_{column}C"] = header.pop(f"CD{row}_{column}C") / 1e-5
        header["CDELT1C"] = header["CDELT2C"] = 1e-5
        # An alternate of before the distortion was known says nothing of it.
        header["CTYPE1A"], header["CTYPE2A"] = "RA---TAN", "DEC--TAN"


def _chip(path: Path, wcskey: str) -> Chip:
    (exposure,) = read_catalogue([str(path)], default_settings(wcskey=wcskey)).exposures
    return exposure.chips[1]


@pytest.mark.parametrize(
    ("wcskey", "key"),
    [("A", "A"), ("B", "B"), ("C", "C"), ("IDC_x-GSC240", "B"), ("AS PC", "C"), ("IDC_test", " ")],
)
def test_positions_are_those_of_astropy_with_the_same_key(tmp_path: Path, wcskey: str, key: str) -> None:
    path = write_exposure(tmp_path / "a_flc.fits", edit=_add_alternates)
    before = path.read_bytes()
    chip = _chip(path, wcskey)
    with fits.open(path) as hdul:
        if key == "A":
            hdul["SCI", 2].header["CTYPE1A"] += "-SIP"
            hdul["SCI", 2].header["CTYPE2A"] += "-SIP"
        oracle = WCS(hdul["SCI", 2].header, hdul, key=key)
        x, y = np.array([0.0, 96.0, 31.5]), np.array([0.0, 3.0, 59.0])
        expected = oracle.all_pix2world(x, y, 0)
    # 1e-12 degree is a few units in the last place of a right ascension of 150.
    np.testing.assert_allclose(chip.wcs.pixel_to_sky(x, y), expected, rtol=0.0, atol=1e-12)
    assert path.read_bytes() == before


def test_the_primary_is_used_when_nothing_is_asked(tmp_path: Path) -> None:
    plain = _chip(write_exposure(tmp_path / "a_flc.fits"), "")
    both = _chip(write_exposure(tmp_path / "b_flc.fits", edit=_add_alternates), "")
    assert plain.wcs == both.wcs


@pytest.mark.parametrize("wcskey", ["D", "O", "a", "IDC_y"])
def test_an_absent_key_is_refused_with_those_there_are(tmp_path: Path, wcskey: str) -> None:
    path = write_exposure(tmp_path / "a_flc.fits", edit=_add_alternates)
    with pytest.raises(MetadataError, match=rf"wcskey='{wcskey}'.*A \(IDC_x-GSC240\), B \(idc_X-gsc240\), C"):
        _chip(path, wcskey)


def test_a_key_that_one_chip_lacks_is_told_of_that_chip(tmp_path: Path) -> None:
    def edit(hdul: fits.HDUList) -> None:
        _add_alternates(hdul)
        del hdul["SCI", 2].header["CRVAL1B"]

    path = write_exposure(tmp_path / "a_flc.fits", edit=edit)
    with pytest.raises(MetadataError, match=r"a\[sci,2\]: wcskey='B'"):
        _chip(path, "B")
