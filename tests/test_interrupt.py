"""Ctrl-C: the run stops between strips, or goes on in the background; either way nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mosaic.simulate import simulate

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    made = simulate(
        tmp_path_factory.mktemp("inputs"),
        instrument="wfc3/ir",
        exposures=3,
        pattern="line",
        chip_shape=(200, 260),
        n_stars=20,
        seed=2,
        workers=1,
    )
    return [str(path) for path in made.files]


def _interrupt(folder: Path, inputs: list[str], *extra: str) -> subprocess.CompletedProcess[str]:
    """Start a run, press Ctrl-C once the first task is done, and wait."""
    command = [sys.executable, "-m", "mosaic.cli", "drizzle", *inputs, "-o", str(folder / "m"), *extra]
    command += ["-p", "runfile=", "--scheduler", "serial", "--tile", "100", "--memory", "1GiB", "-q"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    ledger = folder / "m.mosaic" / "ledger"
    while process.poll() is None and not any(ledger.glob("*/[!.]*.json")):
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def test_a_run_that_is_interrupted_is_continued_by_the_same_command(
    inputs: list[str], tmp_path: Path
) -> None:
    stopped = _interrupt(tmp_path, inputs)
    assert stopped.returncode == 1
    assert stopped.stderr.strip().endswith("was cancelled; the same command continues it")
    assert not list(tmp_path.glob("*.fits"))
    n_done = len(list((tmp_path / "m.mosaic" / "ledger").glob("*/[!.]*.json")))
    again = subprocess.run(
        stopped.args, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert n_done > 0
    assert again.stdout.split() == [str(tmp_path / f"m_drz_{kind}.fits") for kind in ("sci", "wht", "ctx")]


def test_a_run_that_is_detached_ends_by_itself(inputs: list[str], tmp_path: Path) -> None:
    left = _interrupt(tmp_path, inputs, "--on-interrupt", "detach")
    assert left.returncode == 0, left.stderr
    number = int(left.stderr.split("process ")[1].split()[0])
    deadline = time.monotonic() + 120.0
    while psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert sorted(path.name for path in tmp_path.glob("*.fits")) == [
        f"m_drz_{kind}.fits" for kind in ("ctx", "sci", "wht")
    ]
