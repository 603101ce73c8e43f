"""Files with holes read as if every byte had been written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mosaic.products.fits import write_image
from mosaic.products.partial import HOLE, PartialFile


@pytest.mark.parametrize("start", [0, 1, 2880, HOLE - 1, HOLE])
def test_blocks_of_zeros_are_left_out_and_read_back(tmp_path: Path, start: int) -> None:
    rng = np.random.default_rng(start)
    data = np.zeros(9 * HOLE + 123, dtype=np.uint8)
    for at in (0, 3 * HOLE - 5, 3 * HOLE, 8 * HOLE + 7):
        data[at : at + 50] = rng.integers(1, 255, 50)
    path = tmp_path / "file"
    with PartialFile(path) as out:
        out.write(b"x" * start)
        out.write_sparse(data.data)
        out.write_sparse(np.zeros(4 * HOLE, dtype=np.uint8).data)
        out.publish()
    assert path.read_bytes() == b"x" * start + data.tobytes() + bytes(4 * HOLE)


@pytest.mark.parametrize("n_in_kernel", [10**9, 1_000_000, 0])
def test_bytes_are_copied_from_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_in_kernel: int
) -> None:
    copy_in_kernel = getattr(os, "copy_file_range", None)

    def copy_up_to_a_limit(source: int, target: int, count: int, start: int) -> int:
        if copy_in_kernel is None or start >= n_in_kernel:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return int(copy_in_kernel(source, target, min(count, n_in_kernel), start))

    monkeypatch.setattr("os.copy_file_range", copy_up_to_a_limit, raising=False)
    data = np.random.default_rng(1).bytes(3_000_000)
    (tmp_path / "source").write_bytes(data)
    with (tmp_path / "source").open("rb") as source, PartialFile(tmp_path / "file") as out:
        out.write(b"head")
        out.copy_from(source, 5, 2_500_000)
        out.write(b"middle")
        out.copy_from(source, 0, 1)
        out.copy_from(source, 7, 0)
        out.publish()
    assert (tmp_path / "file").read_bytes() == b"head" + data[5:2_500_005] + b"middle" + data[:1]
    with (
        (tmp_path / "source").open("rb") as source,
        pytest.raises(EOFError, match="ends at byte 3000000"),
        PartialFile(tmp_path / "other") as out,
    ):
        out.copy_from(source, 2_999_000, 1_001)
    assert not (tmp_path / "other").exists()


def test_a_file_of_zeros_is_as_long_as_it_should_be_and_takes_no_room(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with PartialFile(path) as out:
        out.skip(1 << 24)
        out.publish()
    assert path.stat().st_size == 1 << 24
    assert path.stat().st_blocks * 512 < 1 << 20


class _Planes:
    """Three planes of which the middle one is known to be zero and must not be asked for."""

    shape = (3, 700, 300)
    dtype = np.dtype(np.int32)

    def rows(self, plane: int, y0: int, y1: int) -> np.ndarray:
        assert plane != 1
        out = np.zeros((y1 - y0, 300), dtype=np.int32)
        out[:, 10:20] = (plane + 1) * np.arange(y0, y1)[:, None]
        return out

    def is_zero(self, plane: int, y0: int, y1: int) -> bool:
        return plane == 1

    def held_bytes(self) -> int:
        return 2 * 700 * 300 * 4


@pytest.mark.parametrize("band_rows", [None, 7])
def test_planes_known_to_be_zero_are_written_without_being_read(
    tmp_path: Path, band_rows: int | None
) -> None:
    path = write_image(tmp_path / "ctx.fits", fits.Header(), _Planes(), band_rows=band_rows)
    expected = np.zeros((3, 700, 300), dtype=np.int32)
    for plane in (0, 2):
        expected[plane, :, 10:20] = (plane + 1) * np.arange(700)[:, None]
    assert np.array_equal(fits.getdata(path), expected)
