"""What is fetched is kept on the disk for a job, shared by processes, and gone after the last of them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mosaic.exposure import scratch
from mosaic.exposure.scratch import FOLDER_VARIABLE, Scratch

URL = "s3://archive/a_flc.fits"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


class _Source:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.n_fetched = 0

    def fetch(self) -> bytes:
        self.n_fetched += 1
        return self.data


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_range_is_fetched_once_for_all_processes_of_a_job(folder: Path) -> None:
    source, one, other = _Source(b"pixels"), Scratch(), Scratch()
    one.use("job-a")
    other.use("job-a")
    assert [kept.read(URL, 10, 6, source.fetch) for kept in (one, one, other)] == [b"pixels"] * 3
    assert source.n_fetched == 1
    one.leave()
    assert other.read(URL, 10, 6, source.fetch) == b"pixels"
    assert source.n_fetched == 1
    other.leave()
    assert _files(folder) == []


def test_another_job_sees_nothing_of_it(folder: Path) -> None:
    kept = Scratch()
    kept.use("job-a")
    kept.read(URL, 0, 3, lambda: b"old")
    kept.use("job-b")
    assert kept.read(URL, 0, 3, lambda: b"new") == b"new"
    kept.leave()
    assert _files(folder) == []


def test_without_a_job_and_without_a_folder_everything_is_fetched(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, kept = _Source(b"abc"), Scratch()
    kept.read(URL, 0, 3, source.fetch)
    (folder / "taken").touch()
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder / "taken"))
    kept.use("job-a")
    kept.read(URL, 0, 3, source.fetch)
    assert source.n_fetched == 2


def test_short_answers_and_full_disks_keep_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, kept = _Source(b"ab"), Scratch()
    kept.use("job-a")
    assert kept.read(URL, 0, 3, source.fetch) == b"ab"
    source.data = b"abc"
    monkeypatch.setattr(scratch, "_KEPT_FREE_BYTES", 1 << 62)
    assert kept.read(URL, 0, 3, source.fetch) == kept.read(URL, 0, 3, source.fetch) == b"abc"
    assert source.n_fetched == 3
    kept.leave()


def test_what_a_killed_process_left_is_removed_by_the_next(folder: Path) -> None:
    code = (
        "from mosaic.exposure.scratch import SCRATCH; SCRATCH.use('dead')\n"
        f"SCRATCH.read({URL!r}, 0, 3, lambda: b'abc'); print('kept', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"kept\n"
        process.send_signal(signal.SIGKILL)
    assert len(_files(folder)) == 2
    kept = Scratch()
    kept.use("job-a")
    assert [path.name for path in _files(folder)] == ["job-a.lock"]
    kept.leave()
