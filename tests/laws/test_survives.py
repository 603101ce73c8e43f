"""Laws 3 and 4: a kill costs the tasks in flight only, and no hole is silent."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from mosaic import pipeline
from mosaic.errors import OutputError, PlanMismatchError, StoreError
from mosaic.graph import chunks
from mosaic.graph.driver import PHASES
from mosaic.graph.job import Job
from mosaic.graph.lock import lock_folder
from mosaic.graph.plan import Plan
from mosaic.graph.progress import PhaseTotal, SilentObserver, TaskRecord
from mosaic.options import RunOptions
from mosaic.pipeline import Result
from mosaic.places import put
from mosaic.products.planes import TiledPlane
from tests.laws.conftest import assert_same_bits

Run = Callable[..., Result]


def _n_records(folder: Path, phase: str) -> int:
    return len(list((folder / "m.mosaic" / "ledger" / phase).glob("[!.]*.json")))


def _start(folder: Path, exposures: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mosaic.cli", "drizzle", *exposures, "-o", str(folder / "m")]
    command += [
        "-p",
        "runfile=",
        "-p",
        "final_err=true",
        "-p",
        "skymethod=globalmin+match",
        "--scheduler",
        "serial",
        "--tile",
        "128",
        "--memory",
        "2GiB",
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_a_run_killed_in_every_phase_ends_in_the_same_bits(
    run: Run, exposures: list[str], tmp_path: Path
) -> None:
    chooser = random.Random(7)
    for phase in PHASES:
        process = _start(tmp_path, exposures)
        wanted = chooser.randint(1, 3)
        while process.poll() is None and _n_records(tmp_path, phase) < wanted:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert _start(tmp_path, exposures).wait() == 0
    # This method has every phase.
    continued = run(folder=tmp_path, skymethod="globalmin+match")
    assert_same_bits(run(skymethod="globalmin+match"), continued)


class _Counter(SilentObserver):
    def __init__(self) -> None:
        self.totals: dict[str, PhaseTotal] = {}
        self.records: list[TaskRecord] = []

    def begin(self, phases: object) -> None:
        self.totals = {phase.name: phase for phase in phases}  # type: ignore[attr-defined]

    def task_done(self, record: TaskRecord) -> None:
        self.records.append(record)


def test_finished_tasks_are_not_done_again(run: Run, exposures: list[str], tmp_path: Path) -> None:
    first = run(folder=tmp_path)
    counter = _Counter()
    options = RunOptions.resolve(scheduler="serial", memory=2 << 30, tile=64)
    pipeline.drizzle(
        exposures, str(tmp_path / "m"), options=options, observer=counter, runfile="", final_err=True
    )
    assert counter.records == []
    assert all(total.n_done == total.n_tasks > 0 for total in counter.totals.values())
    assert_same_bits(first, run(folder=tmp_path))


def test_a_lost_chunk_is_made_again(run: Run, tmp_path: Path) -> None:
    expected = run()
    damaged = run(folder=tmp_path)
    files = sorted((damaged.job_folder / "mosaic.zarr" / "sci" / "c").rglob("*"))
    chunk = next(path for path in files if path.is_file())
    chunk.unlink()
    assert_same_bits(expected, run(folder=tmp_path))


def test_export_refuses_a_damaged_chunk(run: Run, tmp_path: Path) -> None:
    folder = run(folder=tmp_path).job_folder
    job = Job(folder, Plan.read(folder))
    zarr.open_array(str(folder / "mosaic.zarr" / "sci"), mode="r+")[3, 3] = np.float32(1.5)
    plane = TiledPlane(job, "final", "mosaic.zarr/sci", "sci")
    with pytest.raises(StoreError, match="missing or damaged"):
        plane.rows(0, 0, 10)


def test_export_refuses_an_incomplete_ledger(run: Run, tmp_path: Path) -> None:
    folder = run(folder=tmp_path).job_folder
    min((folder / "ledger" / "final").glob("*.json")).unlink()
    with pytest.raises(StoreError, match="ledger lacks 1 of the final tasks"):
        TiledPlane(Job(folder, Plan.read(folder)), "final", "mosaic.zarr/sci", "sci")


def test_a_job_of_other_parameters_is_not_continued(run: Run, tmp_path: Path) -> None:
    run(folder=tmp_path)
    with pytest.raises(PlanMismatchError, match="other inputs or parameters"):
        run(folder=tmp_path, final_pixfrac=0.7)
    other = run(folder=tmp_path, final_pixfrac=0.7, options={"restart": True})
    assert_same_bits(other, run(final_pixfrac=0.7))


def test_a_write_that_is_lost_is_noticed(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run()
    calls = iter(range(10_000))

    def flaky(place: Path, data: bytes) -> None:
        put(place, data[:-1] if next(calls) == 21 else data)

    monkeypatch.setattr(chunks, "put", flaky)
    with pytest.raises(StoreError, match="read back differs"):
        run(folder=tmp_path)
    monkeypatch.undo()
    assert_same_bits(expected, run(folder=tmp_path))


def test_a_full_disk_is_named_and_the_run_continues_later(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(10_000))

    def full(place: Path, data: bytes) -> None:
        if next(calls) > 20:
            raise OSError(28, os.strerror(28))
        put(place, data)

    monkeypatch.setattr(chunks, "put", full)
    with pytest.raises(OutputError, match="disk full"):
        run(folder=tmp_path)
    monkeypatch.undo()
    assert_same_bits(run(), run(folder=tmp_path))


def test_two_runs_cannot_share_a_job_folder(run: Run, tmp_path: Path) -> None:
    with lock_folder(tmp_path / "m.mosaic"), pytest.raises(OutputError, match="in use by another run"):
        run(folder=tmp_path)
    shutil.rmtree(tmp_path / "m.mosaic")
