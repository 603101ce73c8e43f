"""Arrays on a disk are the zarr arrays that zarr itself reads and writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec

from mosaic.errors import StoreError
from mosaic.graph import chunks, store
from mosaic.graph.chunks import LocalArray

SHAPE, CHUNKS = (23, 18), (8, 5)


def make(folder: Path, dtype: str = "float32", fill_value: float = np.nan) -> tuple[LocalArray, zarr.Array]:
    """The same array, ours and zarr's."""
    document = store.describe_array(
        "a.zarr/x", shape=SHAPE, chunks=CHUNKS, dtype=dtype, fill_value=fill_value, dimensions=("y", "x")
    )
    store.create_arrays(folder, [document])
    return LocalArray(folder / "a.zarr" / "x"), zarr.open_array(str(folder / "a.zarr" / "x"), mode="r+")


def values_of(dtype: str) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 200, SHAPE).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "int64"])
def test_zarr_reads_what_is_written(tmp_path: Path, dtype: str) -> None:
    ours, theirs = make(tmp_path, dtype, 0)
    values = values_of(dtype)
    ours.write((slice(None), slice(None)), values)
    np.testing.assert_array_equal(theirs[:], values)


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8"])
def test_what_zarr_writes_is_read(tmp_path: Path, dtype: str) -> None:
    ours, theirs = make(tmp_path, dtype, 0)
    values = values_of(dtype)
    theirs[:] = values
    np.testing.assert_array_equal(ours[:], values)
    assert ours[:].dtype == theirs.dtype


def test_a_chunk_has_the_bytes_that_zarr_gives_it(tmp_path: Path) -> None:
    ours, _ = make(tmp_path / "ours")
    _, theirs = make(tmp_path / "theirs")
    values = values_of("float32")
    ours.write((slice(8, 16), slice(5, 10)), values[8:16, 5:10])
    theirs[8:16, 5:10] = values[8:16, 5:10]
    written = [(tmp_path / name / "a.zarr/x/c/1/1").read_bytes() for name in ("ours", "theirs")]
    assert written[0] == written[1]


@pytest.mark.parametrize("fill_value", [0, 3.25, 0.1, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8", "int64"])
def test_metadata_are_those_of_zarr(tmp_path: Path, dtype: str, fill_value: float) -> None:
    if np.dtype(dtype).kind != "f":
        fill_value = 7
    attributes = {"units": "electron/s", "numbers": [1, 2.5]}
    zarr.create_array(
        str(tmp_path / "theirs"),
        shape=SHAPE,
        chunks=CHUNKS,
        dtype=dtype,
        fill_value=fill_value,
        compressors=BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),
        dimension_names=("y", "x"),
        attributes=attributes,
    )
    document = store.describe_array(
        "ours",
        shape=SHAPE,
        chunks=CHUNKS,
        dtype=dtype,
        fill_value=fill_value,
        dimensions=("y", "x"),
        attributes=attributes,
    )
    store.create_arrays(tmp_path, [document])
    written = [json.loads((tmp_path / name / "zarr.json").read_bytes()) for name in ("ours", "theirs")]
    assert written[0] == written[1]
    np.testing.assert_array_equal(
        LocalArray(tmp_path / "ours")[:], zarr.open_array(str(tmp_path / "ours"))[:]
    )


def test_a_group_is_one_of_zarr(tmp_path: Path) -> None:
    store.create_group(tmp_path, "a.zarr", {"plan": "c4"})
    make(tmp_path)
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="r")
    assert dict(group.attrs) == {"plan": "c4"}
    assert list(group.array_keys()) == ["x"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_rectangle_is_that_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    ours, theirs = make(tmp_path_factory.mktemp("array"))
    values = values_of("float32")
    theirs[:16] = values[:16]  # the last row of chunks is absent
    edges = [sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2))) for n in SHAPE]
    index = tuple(slice(*pair) for pair in edges)
    np.testing.assert_array_equal(ours[index], theirs[index])
    np.testing.assert_array_equal(ours[index[0]], theirs[index[0]])


def test_a_damaged_chunk_is_named(tmp_path: Path) -> None:
    ours, _ = make(tmp_path)
    ours.write((slice(0, 8), slice(0, 5)), values_of("float32")[:8, :5])
    place = tmp_path / "a.zarr/x/c/0/0"
    for damaged in (b"", place.read_bytes()[:20], b"\0" * 40):
        place.write_bytes(damaged)
        with pytest.raises(StoreError, match="c/0/0 is damaged"):
            ours[0:8, 0:5]


def test_a_chunk_that_changed_on_its_way_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = make(tmp_path)

    def faulty(place: Path, data: bytes) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    monkeypatch.setattr(chunks, "put", faulty)
    with pytest.raises(StoreError, match="c/0/0: what is read back differs"):
        ours.write((slice(0, 8), slice(0, 5)), values_of("float32")[:8, :5])


def test_other_codecs_are_refused(tmp_path: Path) -> None:
    zarr.create_array(str(tmp_path / "other"), shape=(4,), dtype="float32")
    with pytest.raises(StoreError, match="is not an array of a job"):
        LocalArray(tmp_path / "other")
