from __future__ import annotations

import gzip
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mosaic.exposure.header_texts import card_value, header_texts
from mosaic.exposure.storage import open_fits


def image(name: str, version: int, shape: tuple[int, ...], dtype: str) -> fits.ImageHDU:
    hdu = fits.ImageHDU(np.ones(shape, dtype), name=name, ver=version)
    hdu.header.extend([(f"KEY{number}", number, "EXTNAME = 'no'") for number in range(60)])
    return hdu


def hdus() -> fits.HDUList:
    empty = fits.ImageHDU(name="ERR")
    empty.header["PIXVALUE"] = 1.0
    columns = [fits.Column("A", "PE()", array=np.array([[1.0], [2.0, 3.0]], dtype=object))]
    table = fits.BinTableHDU.from_columns(columns, name="TAB")
    return fits.HDUList(
        [fits.PrimaryHDU(), image("SCI", 1, (7, 301), "f4"), empty, image("DQ", 2, (3, 5, 9), "i2"), table]
    )


def theirs(path: Path) -> list[str]:
    with warnings.catch_warnings(), open_fits(str(path)) as found:
        warnings.filterwarnings("ignore", "Unexpected extra padding")
        return [hdu.header.tostring() for hdu in found]


def ours(path: Path) -> list[str]:
    return [fits.Header.fromstring(text).tostring() for text in header_texts(str(path))]


def test_headers_are_those_that_astropy_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    hdus().writeto(path)
    assert len(ours(path)) == 5
    assert ours(path) == theirs(path)


def packed(path: Path) -> None:
    path.write_bytes(gzip.compress(path.read_bytes()))


def tiled(path: Path) -> None:
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(np.ones((20, 20), "f4"), name="SCI")]).writeto(
        path, overwrite=True
    )


def grouped(path: Path) -> None:
    groups = fits.GroupData(np.ones((4, 1, 1, 2), "f4"), bitpix=-32, parnames=["U"], pardata=[np.arange(4)])
    fits.HDUList([fits.GroupsHDU(groups), image("SCI", 1, (3, 3), "f4")]).writeto(path, overwrite=True)


def followed(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(2880))


@pytest.mark.parametrize("change", [packed, tiled, grouped, followed])
def test_so_are_those_of_files_that_are_not_plain(tmp_path: Path, change: object) -> None:
    path = tmp_path / "a.fits"
    hdus().writeto(path)
    assert callable(change)
    change(path)
    assert len(ours(path)) > 1
    assert ours(path) == theirs(path)


def test_what_is_no_fits_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(b"SIMPLE" * 1000)
    with pytest.raises(OSError, match="FITS"):
        header_texts(str(path))


def test_the_value_is_that_of_the_card_and_not_of_a_comment(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    hdus().writeto(path)
    texts = header_texts(str(path))
    assert [card_value(text, "EXTNAME") for text in texts] == [None, "SCI", "ERR", "DQ", "TAB"]
    assert [card_value(text, "EXTVER") for text in texts] == [None, 1, None, 2, None]
