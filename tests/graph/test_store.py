"""Chunks and masks read back as they were written, or an error says which does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mosaic.errors import StoreError
from mosaic.graph import store
from mosaic.types import ShapeYX, Window


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store.forget_arrays()
    return tmp_path


def test_a_mask_window_equals_the_mask_there(folder: Path) -> None:
    shape = ShapeYX(301, 77)
    mask = np.random.default_rng(3).random(shape) < 0.3
    store.create_arrays(folder, [store.describe_mask("m", shape)])
    for y0 in range(0, shape.ny, store.MASK_BAND_ROWS):
        store.write_mask_rows(str(folder), "m", y0, mask[y0 : y0 + store.MASK_BAND_ROWS])
    for window in (Window(0, 301, 0, 77), Window(250, 262, 3, 19), Window(7, 8, 76, 77), Window(0, 5, 8, 16)):
        np.testing.assert_array_equal(store.read_mask(str(folder), "m", window), mask[window.slices])


def test_a_chunk_is_verified_against_its_checksum(folder: Path) -> None:
    document = store.describe_array(
        "a.zarr/x",
        shape=(7, 9),
        chunks=(4, 4),
        dtype="float32",
        fill_value=np.nan,
        dimensions=("y", "x"),
    )
    store.create_arrays(folder, [document])
    array = store.open_array(str(folder), "a.zarr/x")
    values = np.arange(16, dtype=np.float32).reshape(4, 4)
    values[0, 0] = np.nan
    index = (slice(0, 4), slice(4, 8))
    crc = store.write_chunk(array, index, values)
    np.testing.assert_array_equal(store.read_verified(array, index, crc), values)
    with pytest.raises(StoreError, match="missing or damaged"):
        store.read_verified(array, (slice(0, 4), slice(0, 4)), crc)
    with pytest.raises(StoreError, match="missing or damaged"):
        store.read_verified(array, index, None)


def test_a_chunk_of_fill_values_is_stored_all_the_same(folder: Path) -> None:
    document = store.describe_array(
        "a.zarr/y",
        shape=(4, 4),
        chunks=(4, 4),
        dtype="float32",
        fill_value=0.0,
        dimensions=("y", "x"),
    )
    store.create_arrays(folder, [document])
    zeros = np.zeros((4, 4), dtype=np.float32)
    store.write_chunk(store.open_array(str(folder), "a.zarr/y"), (slice(0, 4), slice(0, 4)), zeros)
    assert [path.name for path in (folder / "a.zarr" / "y" / "c" / "0").iterdir()] == ["0"]
