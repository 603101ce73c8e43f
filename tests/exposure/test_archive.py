"""Originals are kept before inputs are modified, and come back as they were."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mosaic.errors import OutputError
from mosaic.exposure.archive import ARCHIVE, manage_originals, require_replaceable
from mosaic.exposure.catalogue import read_catalogue
from mosaic.exposure.inputs import InputFile
from tests.support.exposures import default_settings, write_exposure


def _manage(folder: Path, *files: str, **actions: bool) -> list[str]:
    asked = {"preserve": False, "restore": False, "overwrite": False, **actions}
    return manage_originals([InputFile(name) for name in files], folder, **asked)


@pytest.fixture
def original(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "a_flc.fits"
    path.write_bytes(b"as it was")
    return path


def test_nothing_is_archived_unless_it_is_asked_for(tmp_path: Path, original: Path) -> None:
    assert _manage(tmp_path, str(original)) == []
    assert not (tmp_path / ARCHIVE).exists()


def test_preserve_keeps_the_first_version_read_only(tmp_path: Path, original: Path) -> None:
    kept = tmp_path / ARCHIVE / "a_flc.fits"
    assert len(_manage(tmp_path, str(original), preserve=True)) == 1
    assert stat.S_IMODE(kept.stat().st_mode) == 0o444
    original.write_bytes(b"changed")
    assert _manage(tmp_path, str(original), preserve=True) == []
    assert kept.read_bytes() == b"as it was"


def test_overwrite_keeps_the_latest_version_and_restores_nothing(tmp_path: Path, original: Path) -> None:
    _manage(tmp_path, str(original), preserve=True)
    original.write_bytes(b"changed")
    _manage(tmp_path, str(original), overwrite=True, restore=True, preserve=True)
    kept = tmp_path / ARCHIVE / "a_flc.fits"
    assert kept.read_bytes() == original.read_bytes() == b"changed"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o444


def test_restore_brings_back_content_time_and_write_permission(tmp_path: Path, original: Path) -> None:
    os.utime(original, (1e9, 1e9))
    _manage(tmp_path, str(original), preserve=True)
    original.write_bytes(b"changed")
    _manage(tmp_path, str(original), restore=True)
    assert original.read_bytes() == b"as it was"
    assert original.stat().st_mtime == 1e9
    assert stat.S_IMODE(original.stat().st_mode) == 0o666


def test_restore_does_not_follow_an_archiving_of_the_same_run(tmp_path: Path, original: Path) -> None:
    before = original.stat().st_mode
    (note,) = _manage(tmp_path, str(original), restore=True, preserve=True)
    assert "original kept" in note
    assert original.stat().st_mode == before


def test_restore_without_an_archived_copy_leaves_the_input(tmp_path: Path, original: Path) -> None:
    assert _manage(tmp_path, str(original), restore=True) == []
    assert original.read_bytes() == b"as it was"


def test_urls_are_passed_over(tmp_path: Path) -> None:
    assert _manage(tmp_path, "memory://a_flc.fits", preserve=True, overwrite=True) == []


def test_inputs_in_the_archive_are_refused(tmp_path: Path, original: Path) -> None:
    _manage(tmp_path, str(original), preserve=True)
    with pytest.raises(OutputError, match=r"a_flc.fits: inputs in the archive OrIg_files are never modified"):
        _manage(tmp_path, str(tmp_path / ARCHIVE / "a_flc.fits"), preserve=True)


def test_an_archive_that_cannot_be_written_is_named(tmp_path: Path, original: Path) -> None:
    (tmp_path / ARCHIVE).write_text("not a folder")
    with pytest.raises(OutputError, match=r"OrIg_files/a_flc.fits: cannot be written"):
        _manage(tmp_path, str(original), preserve=True)


def test_inputs_that_cannot_be_replaced_are_all_named(tmp_path: Path) -> None:
    free, locked = (write_exposure(tmp_path / f"{name}_flc.fits", n_chips=1, expstart=5.0) for name in "ab")
    locked.chmod(0o444)
    catalogue = read_catalogue([str(free), str(locked)], default_settings())
    require_replaceable(catalogue.exposures[:1])
    with pytest.raises(
        OutputError, match=r"dq_update='inplace': b_flc.fits is read-only; make them writable"
    ):
        require_replaceable(catalogue.exposures)
