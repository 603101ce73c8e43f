"""Windowed reads return what astropy.io.fits returns, in native byte order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mosaic.errors import MissingFileError, StructureError, TruncatedFileError
from mosaic.exposure.catalogue import read_catalogue
from mosaic.exposure.model import Chip, DataBlock
from mosaic.exposure.reader import read_dq, read_err, read_rows, read_science
from mosaic.types import ShapeYX, Window
from tests.support.exposures import default_settings, write_exposure

WINDOWS = [
    Window(0, 60, 0, 97),
    Window(3, 4, 96, 97),
    Window(10, 31, 7, 50),
    Window(59, 60, 0, 1),
    Window(5, 5, 3, 9),
]


def _chip(path: Path, index: int = 0) -> Chip:
    return read_catalogue([str(path)], default_settings()).exposures[0].chips[index]


@pytest.mark.parametrize("window", WINDOWS)
def test_windows_equal_astropy_sections(tmp_path: Path, window: Window) -> None:
    path = write_exposure(tmp_path / "a_flc.fits")
    chip = _chip(path, 1)
    with fits.open(path) as hdul:
        sci, err, dq = (hdul[name, 2].data[window.slices] for name in ("SCI", "ERR", "DQ"))
    for found, expected, dtype in (
        (read_science(chip, window), sci, np.float32),
        (read_err(chip, window), err, np.float32),
        (read_dq(chip, window), dq.astype(np.int64) & 0xFFFF, np.uint16),
    ):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == dtype
        assert found.dtype.isnative
        assert found.flags.c_contiguous


@pytest.mark.parametrize(
    ("dtype", "bscale", "bzero"),
    [("u1", 1, 0), ("i2", 1, 0), ("i2", 1, 32768), ("i4", 1, 2147483648), ("i2", 0.5, 10.0), ("i4", 1, 0),
     ("i8", 1, 0), ("f4", 1, 0), ("f8", 1, 0), ("f4", 2.0, -1.0)],
)  # fmt: skip
def test_every_bitpix_and_scaling_equals_astropy(
    tmp_path: Path, dtype: str, bscale: float, bzero: float
) -> None:
    rng = np.random.default_rng(4)
    stored = (
        rng.integers(0, 200, (7, 11)).astype(dtype)
        if dtype[0] != "f"
        else rng.normal(0, 9, (7, 11)).astype(dtype)
    )
    path = tmp_path / "raw.fits"
    hdu = fits.PrimaryHDU(stored)
    hdu.writeto(path)
    with fits.open(path, mode="update", do_not_scale_image_data=True) as hdul:
        hdul[0].header["BSCALE"], hdul[0].header["BZERO"] = bscale, bzero
    with fits.open(path, uint=True) as hdul:
        expected = np.asarray(hdul[0].data)
        offset = hdul[0].fileinfo()["datLoc"]
        bitpix = int(hdu.header["BITPIX"])
    block = DataBlock(str(path), offset, ShapeYX(7, 11), bitpix, float(bscale), float(bzero))
    found = read_rows(block, Window(1, 6, 2, 9))
    np.testing.assert_allclose(found, expected[1:6, 2:9], rtol=1e-6)
    assert found.dtype.isnative
    assert found.flags.c_contiguous


def test_a_constant_extension_has_its_value_everywhere() -> None:
    block = DataBlock("nowhere.fits", -1, ShapeYX(5, 6), -32, constant=2.5)
    np.testing.assert_array_equal(read_rows(block, Window(1, 3, 0, 6)), np.full((2, 6), 2.5))


def test_flags_keep_bit_fifteen(tmp_path: Path) -> None:
    def edit(hdul: fits.HDUList) -> None:
        hdul["DQ", 1].data[0, :3] = (-32768, -1, 5)

    chip = _chip(write_exposure(tmp_path / "a_flc.fits", edit=edit))
    np.testing.assert_array_equal(read_dq(chip, Window(0, 1, 0, 3)), [[32768, 65535, 5]])


def test_without_flags_all_pixels_are_good_and_without_errors_the_read_is_refused(tmp_path: Path) -> None:
    def edit(hdul: fits.HDUList) -> None:
        for name in ("DQ", "ERR"):
            for extver in (1, 2):
                del hdul[name, extver]

    chip = _chip(write_exposure(tmp_path / "a_flc.fits", edit=edit))
    assert not read_dq(chip, Window(0, 4, 0, 5)).any()
    with pytest.raises(StructureError, match=r"a\[sci,1\]: there is no ERR array"):
        read_err(chip, Window(0, 4, 0, 5))


def test_a_window_outside_the_chip_is_refused(tmp_path: Path) -> None:
    chip = _chip(write_exposure(tmp_path / "a_flc.fits"))
    with pytest.raises(ValueError, match="reaches outside 60 x 97"):
        read_science(chip, Window(0, 61, 0, 5))


def test_a_file_that_changed_under_the_run_is_named(tmp_path: Path) -> None:
    path = write_exposure(tmp_path / "a_flc.fits")
    chip = _chip(path)
    path.write_bytes(path.read_bytes()[: chip.sci.offset + 1000])
    with pytest.raises(TruncatedFileError, match=r"a\[sci,1\]: .*a_flc\.fits ends at byte"):
        read_science(chip, Window(0, 60, 0, 97))
    gone = replace(chip.sci, path=str(tmp_path / "gone.fits"))
    with pytest.raises(MissingFileError, match="cannot be opened"):
        read_rows(gone, Window(0, 1, 0, 1))


def test_threads_read_the_same_pixels(tmp_path: Path) -> None:
    chip = _chip(write_exposure(tmp_path / "a_flc.fits"))
    whole = read_science(chip, Window(0, 60, 0, 97))
    windows = [Window(y, y + 7, x, x + 13) for y in range(0, 53, 5) for x in range(0, 84, 9)]
    with ThreadPoolExecutor(4) as pool:
        for window, found in zip(windows, pool.map(lambda w: read_science(chip, w), windows), strict=True):
            np.testing.assert_array_equal(found, whole[window.slices])
