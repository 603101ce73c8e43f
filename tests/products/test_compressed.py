"""Compressed images are read back by astropy bit for bit, and are files of the standard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mosaic.products.compressed import write_compressed_image
from mosaic.products.fits import MemoryPlane, Plane


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int16"])
@pytest.mark.parametrize("shape", [(1, 1), (37, 53), (200, 3)])
def test_pixels_come_back_bit_for_bit(tmp_path: Path, shape: tuple[int, int], dtype: str) -> None:
    rng = np.random.default_rng(3)
    values = (rng.normal(0.0, 1e3, shape)).astype(dtype)
    if dtype.startswith("float"):
        values.flat[:: 1 + values.size // 5] = [np.nan, np.inf, -0.0, 1e-40, -np.inf][
            : values.flat[:: 1 + values.size // 5].size
        ]
    header = fits.Header(
        [("BUNIT", "ELECTRONS/S", "unit"), ("NAXIS1", 999, "is made anew"), ("D001VER", "x", "")]
    )
    path = write_compressed_image(tmp_path / "a_single_sci.fits", header, MemoryPlane(values))
    with fits.open(path) as hdul:
        assert [type(hdu).__name__ for hdu in hdul] == ["PrimaryHDU", "CompImageHDU"]
        assert hdul[1].data.dtype.newbyteorder("=") == np.dtype(dtype)
        assert hdul[1].data.astype(dtype).tobytes() == values.tobytes()
        assert hdul[1].header["BUNIT"] == "ELECTRONS/S"
        assert hdul[1].header["NAXIS1"] == shape[1]
    with fits.open(path, disable_image_compression=True) as hdul:
        hdul.verify("exception")
        assert hdul[1].header["ZCMPTYPE"] == "GZIP_2"
    assert path.stat().st_size % 2880 == 0


def test_smooth_images_shrink_and_the_same_image_gives_the_same_bytes(tmp_path: Path) -> None:
    values = np.zeros((300, 400), np.float32)
    values[100:120, 50:90] = 7.5
    paths = [write_compressed_image(tmp_path / name, fits.Header(), MemoryPlane(values)) for name in "ab"]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].stat().st_size < values.nbytes / 5


def test_rows_are_asked_for_in_bands_that_fit_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mosaic.products.compressed.BAND_BYTES", 1000)
    asked: list[int] = []

    class Watched:
        shape = (50, 20)
        dtype = np.dtype(np.float32)

        def rows(self, plane: int, y0: int, y1: int) -> np.ndarray:
            asked.append((y1 - y0) * 80)
            return np.arange(y0 * 20, y1 * 20, dtype=np.float32).reshape(-1, 20)

    _: type[Plane] = Watched
    path = write_compressed_image(tmp_path / "a.fits", fits.Header(), Watched())
    assert max(asked) <= 1000
    np.testing.assert_array_equal(fits.getdata(path), np.arange(1000.0).reshape(50, 20))
