"""Inputs behind URLs give the same exposures and pixels as local files (an in-memory store stands for S3)."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest

from mosaic.errors import MissingFileError, TruncatedFileError
from mosaic.exposure.catalogue import read_catalogue
from mosaic.exposure.model import Exposure
from mosaic.exposure.reader import read_dq, read_science
from mosaic.exposure.storage import read_bytes
from mosaic.types import Window
from tests.support.exposures import default_settings, write_exposure


@pytest.fixture
def store() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    system.makedirs("/bucket", exist_ok=True)
    yield system
    system.rm("/bucket", recursive=True)


def _read(entry: str, staging: Path | None = None) -> Exposure:
    return read_catalogue([entry], default_settings(), staging_dir=staging).exposures[0]


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_a_remote_exposure_equals_the_local_one(
    tmp_path: Path, store: fsspec.AbstractFileSystem, packed: str
) -> None:
    path = write_exposure(tmp_path / "a_flc.fits")
    content = path.read_bytes()
    store.pipe_file(f"/bucket/a_flc.fits{packed}", gzip.compress(content) if packed else content)
    local, remote = _read(str(path)), _read(f"memory://bucket/a_flc.fits{packed}", tmp_path / "staging")
    window = Window(3, 41, 5, 77)
    for here, there in zip(local.chips, remote.chips, strict=True):
        np.testing.assert_array_equal(read_science(here, window), read_science(there, window))
        np.testing.assert_array_equal(read_dq(here, window), read_dq(there, window))
        blocks = {"sci": here.sci, "err": here.err, "dq": here.dq}
        assert replace(there, path=here.path, **blocks) == here
    assert remote.rootname == "a"


def test_remote_patterns_are_expanded(tmp_path: Path, store: fsspec.AbstractFileSystem) -> None:
    content = write_exposure(tmp_path / "a_flc.fits").read_bytes()
    for name in ("b", "a"):
        store.pipe_file(f"/bucket/{name}_flc.fits", content)
    found = read_catalogue(["memory://bucket/*_flc.fits"], default_settings()).exposures
    assert [exposure.rootname for exposure in found] == ["a", "b"]


def test_pixels_of_a_remote_exposure_stay_in_the_store(
    tmp_path: Path, store: fsspec.AbstractFileSystem
) -> None:
    path = write_exposure(tmp_path / "a_flc.fits")
    store.pipe_file("/bucket/a_flc.fits", path.read_bytes())
    chip = _read("memory://bucket/a_flc.fits").chips[1]
    assert chip.sci.path.startswith("memory://")
    assert chip.sci.offset == _read(str(path)).chips[1].sci.offset


def test_what_is_not_there_is_named(store: fsspec.AbstractFileSystem) -> None:
    with pytest.raises(MissingFileError, match=r"memory://bucket/none_flc\.fits: the file does not exist"):
        _read("memory://bucket/none_flc.fits")
    with pytest.raises(MissingFileError, match="cannot be reached"):
        _read("nosuchprotocol://bucket/a_flc.fits")
    with pytest.raises(MissingFileError, match="does not exist"):
        read_bytes("memory://bucket/none", 0, 10)


def test_a_short_read_is_an_error(store: fsspec.AbstractFileSystem) -> None:
    store.pipe_file("/bucket/short", b"12345")
    with pytest.raises(TruncatedFileError, match="ends at byte 5 of 12 wanted"):
        read_bytes("memory://bucket/short", 2, 10)
