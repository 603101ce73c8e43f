"""A large real run: many exposures in little memory, killed once, continued, looked at from outside.

The set is simulated once: fields of four dithers side by side, no error arrays, output pixels half as large
as those of the detector so that the frame is large. Times depend on the machine; memory and bits do not.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from mosaic.graph import tasks
from mosaic.graph.job import Job, TaskLimits
from mosaic.graph.plan import Plan
from mosaic.simulate import simulate
from tests.scale.strip import strip_errors

FIELDS = 5
STEPS = 4
CHIP_SHAPE = (1024, 2048)
SCALE = 0.0235
INTERVAL_S = 0.2
ALONE = TaskLimits(strip_bytes=24 << 20, band_pixels=1 << 17)
"""Limits unlike those of any run, without caches: they may not change a bit."""


@dataclass(frozen=True)
class Attempt:
    """One process, from its start to its end or death."""

    seconds: float
    peak_bytes: int
    was_killed: bool
    done_before: int
    done_after: int


def make_set(folder: Path) -> list[Path]:
    """Simulate the exposures, unless they are there."""
    marker = folder / "complete"
    if not marker.exists():
        made = simulate(
            folder,
            instrument="acs/wfc",
            exposures=STEPS,
            pattern=f"mosaic:{FIELDS}x{FIELDS}",
            chip_shape=CHIP_SHAPE,
            seed=3,
        )
        for path in made.files:
            strip_errors(path)
        marker.touch()
    return sorted(folder.glob("*_flc.fits"))


def run_once(
    exposures: list[Path], root: Path, memory: str, kill_at: tuple[str, int] | None = None
) -> Attempt:
    """Run the command line; kill it once `kill_at` (phase, tasks) are in the ledger."""
    command = [sys.executable, "-m", "mosaic.cli", "drizzle", *map(str, exposures), "-o", str(root)]
    command += ["--memory", memory, "--cores", "2", "-p", "runfile=", "-p", "final_wcs=true"]
    command += ["-p", f"final_scale={SCALE}", "-p", "final_pixfrac=0.8"]
    ledger = root.with_name(f"{root.name}.mosaic") / "ledger"
    before, start = _count(ledger), time.perf_counter()
    with root.with_name("run.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        watch = _Watch(process.pid)
        was_killed = False
        while process.poll() is None:
            time.sleep(INTERVAL_S)
            if kill_at is not None and len(list((ledger / kill_at[0]).glob("[!.]*"))) >= kill_at[1]:
                process.send_signal(signal.SIGKILL)
                was_killed = True
                break
        code = process.wait()
    watch.stop()
    if not was_killed and code != 0:
        raise RuntimeError(f"the run failed: see {root.with_name('run.log')}")
    return Attempt(time.perf_counter() - start, watch.peak_bytes, was_killed, before, _count(ledger))


def _count(ledger: Path) -> int:
    return sum(1 for _ in ledger.glob("*/[!.]*.json"))


class _Watch:
    """Memory of a process and all its children, from outside: pages shared between them counted once."""

    def __init__(self, pid: int) -> None:
        self.peak_bytes = 0
        self._root = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            total = 0
            try:
                for process in (self._root, *self._root.children(recursive=True)):
                    total += process.memory_full_info().pss
            except psutil.Error:
                continue
            self.peak_bytes = max(self.peak_bytes, total)


def recompute(folder: Path, n_each: int, seed: int = 1) -> dict[str, int]:
    """Do some tasks of a finished job again, each alone, and compare all checksums with the ledger.

    Returns
    -------
    dict of str to int
        Chunks compared by phase.
    """
    plan = Plan.read(folder)
    job = Job(folder, plan)
    chooser = random.Random(seed)
    compared = {}
    for phase in ("static", "static_mask", "sky", "weights", "median", "cosmic_rays", "final"):
        records = job.ledger.read_phase(phase)
        compared[phase] = 0
        for name in chooser.sample(sorted(records), min(n_each, len(records))):
            again = tasks.run_task(str(folder), plan.identity, phase, name, ALONE)
            assert again.checksums == records[name].checksums, f"{phase} {name} differs"
            assert again.facts == records[name].facts, f"{phase} {name} differs"
            compared[phase] += max(1, len(again.checksums))
    return compared


def disk_bytes(folder: Path) -> int:
    """Bytes that a folder takes on disk; holes of files take none."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def run_real(folder: Path, memory: str = "2GiB", kill_after: int = 60) -> None:
    """Run, kill once, continue, compare; print what was seen."""
    exposures = make_set(folder / "set")
    root = folder / "run" / "m"
    root.parent.mkdir(parents=True, exist_ok=True)
    attempts = [run_once(exposures, root, memory, ("final", kill_after)), run_once(exposures, root, memory)]
    for attempt in attempts:
        print(json.dumps(attempt.__dict__), flush=True)
    for path in sorted(root.parent.glob("m*")):
        size = disk_bytes(path) if path.is_dir() else path.stat().st_blocks * 512
        print(f"{path.name}: {size / 2**20:.0f} MiB on disk", flush=True)
    print("recomputed alone, same bits:", recompute(root.with_name("m.mosaic"), 4), flush=True)
