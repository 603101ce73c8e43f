"""Rows read from a file are those that numpy reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mosaic.kernels.rows import read_window

SHAPE = (90, 700)
OFFSET = 2880
WORDS = {2: np.uint16, 4: np.uint32}


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write(path: Path, dtype: str) -> np.ndarray:
    values = np.random.default_rng(7).integers(0, 1 << 14, SHAPE).astype(dtype)
    path.write_bytes(bytes(OFFSET) + values.tobytes())
    return values


def read(path: Path, dtype: str, rows: slice, columns: slice) -> tuple[int, np.ndarray]:
    stored = np.dtype(dtype)
    row_bytes = SHAPE[1] * stored.itemsize
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    out = np.zeros(shape, dtype=WORDS[stored.itemsize])
    first = OFFSET + rows.start * row_bytes + columns.start * stored.itemsize
    with opened(path) as descriptor:
        n_rows = read_window(np.int32(descriptor), first, row_bytes, not stored.isnative, out)
    return n_rows, out.view(stored.newbyteorder("="))


@pytest.mark.parametrize("dtype", [">i2", "<i2", ">f4", "<f4", ">i4"])
@pytest.mark.parametrize(
    ("rows", "columns"),
    [(slice(0, 90), slice(0, 700)), (slice(3, 77), slice(41, 300)), (slice(89, 90), slice(699, 700))],
)
def test_a_rectangle_is_that_of_the_image(tmp_path: Path, dtype: str, rows: slice, columns: slice) -> None:
    values = write(tmp_path / "image", dtype)
    n_rows, found = read(tmp_path / "image", dtype, rows, columns)
    assert n_rows == rows.stop - rows.start
    np.testing.assert_array_equal(found, values[rows, columns])


@pytest.mark.parametrize("columns", [slice(0, 700), slice(10, 60)])
def test_a_file_that_ends_early_gives_the_rows_it_has(tmp_path: Path, columns: slice) -> None:
    values = write(tmp_path / "image", ">f4")
    whole = (tmp_path / "image").read_bytes()
    (tmp_path / "image").write_bytes(whole[: OFFSET + 50 * 2800 + 20])
    n_rows, found = read(tmp_path / "image", ">f4", slice(0, 90), columns)
    assert n_rows <= 50
    np.testing.assert_array_equal(found[:n_rows], values[:n_rows, columns])
    if columns.start:
        assert n_rows == 50


def test_what_cannot_be_read_gives_no_row() -> None:
    out = np.zeros((4, 4), dtype=np.uint32)
    assert read_window(np.int32(-1), 0, 16, True, out) == 0
    assert not out.any()
