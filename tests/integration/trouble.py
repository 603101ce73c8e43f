"""Trouble that is not a kill: what the user sees, and that nothing is wrong afterwards."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mosaic.places import place_of, put
from tests.integration.kills import Ledger
from tests.integration.stage import Stage, compare, digests, wait_until
from tests.support.objectstore import BUCKET, Faults, ObjectStore

LIMIT_S = 900.0
_FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


def _last(stage: Stage) -> str:
    """Last line that the last driver wrote."""
    return stage.drivers[-1].tail(1).removeprefix("mosaic: ").replace(f"{stage.folder}/", "")


def send(inputs: Sequence[str]) -> list[str]:
    """Put exposures into the object store, and return their URLs."""
    urls = [f"s3://{BUCKET}/in/{Path(path).name}" for path in inputs]
    for path, url in zip(inputs, urls, strict=True):
        put(place_of(url), Path(path).read_bytes())
    return urls


def lossy_store(
    folder: Path, inputs: Sequence[str], expected: Mapping[str, str], store: ObjectStore
) -> dict[str, Any]:
    """Everything in an object store that loses and damages 3 % of the writes."""
    urls = send(inputs)
    traffic = store.reset(Faults(drop=0.015, truncate=0.015, throttle=0.005, cut=0.01))
    with Stage(folder, urls, store.environment()) as stage:
        for _ in range(2):
            stage.add_worker()
        stage.start()
        driver = stage.driver(f"s3://{BUCKET}/out/m")
        driver.start()
        assert driver.wait(LIMIT_S) == 0, driver.tail()
    store.reset()
    compare(digests(place_of(f"s3://{BUCKET}/out")), expected)
    return {
        "writes": traffic.n_writes,
        "dropped": traffic.count("drop"),
        "truncated": traffic.count("truncate"),
        "answers cut": traffic.count("cut"),
        "throttled": traffic.count("throttle"),
        "undetected": 0,
    }


def full_disk(folder: Path, inputs: Sequence[str], expected: Mapping[str, str]) -> dict[str, Any]:
    """The disk of the job fills up under the workers; the same command continues once there is room."""
    disk = folder / "disk"
    disk.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600m", "tmpfs", str(disk)], check=True)
    try:
        with Stage(folder, inputs) as stage:
            for _ in range(2):
                stage.add_worker()
            stage.start()
            driver = stage.driver(str(disk / "m"))
            driver.start()
            ledger = Ledger(disk / "m.mosaic" / "ledger")
            wait_until(lambda: ledger.look() > 15, LIMIT_S, "fifteen tasks")
            _fill(disk / "ballast")
            code = driver.wait(LIMIT_S)
            message = _last(stage)
            assert code == 1, (code, message)
            assert "disk full" in message or "exhausted" in message, message
            assert not list(disk.glob("*.fits")), "a product of an incomplete job"
            (disk / "ballast").unlink()
            driver = stage.driver(str(disk / "m"))
            driver.start()
            assert driver.wait(LIMIT_S) == 0, driver.tail()
        compare(digests(place_of(str(disk))), expected)
    finally:
        subprocess.run(["umount", str(disk)], check=False)
    return {"message": message}


def _fill(path: Path) -> None:
    """Leave no byte free."""
    block = bytes(1 << 20)
    with path.open("wb", buffering=0) as file:
        while True:
            try:
                if file.write(block) == 0:
                    return
            except OSError:
                if len(block) == 1 << 12:
                    return
                block = block[: max(1 << 12, len(block) // 2)]


def over_memory(folder: Path, inputs: Sequence[str], expected: Mapping[str, str]) -> dict[str, Any]:
    """A worker that outgrows its limit is ended by its nanny: once costs its task, always ends the run."""
    preload = ["tests.integration.hog"]
    with Stage(folder / "once", inputs) as stage:
        stage.add_worker(
            nanny=True, preloads=preload, environment={"MOSAIC_HOG": str(folder / "once" / "hog.taken")}
        )
        stage.start()
        driver = stage.driver()
        driver.start()
        assert driver.wait(LIMIT_S) == 0, driver.tail()
        assert (folder / "once" / "hog.taken").exists()
        assert "exceeded" in stage.workers[0].log.read_text(), stage.workers[0].tail()
    compare(digests(place_of(str(folder / "once"))), expected)
    with Stage(folder / "always", inputs) as stage:
        stage.add_worker(nanny=True, preloads=preload, environment={"MOSAIC_HOG": "always"})
        stage.start()
        driver = stage.driver()
        driver.start()
        code = driver.wait(LIMIT_S)
        message = _last(stage)
        assert code == 1, (code, message)
        assert not list((folder / "always").glob("*.fits"))
    return {"message": message}


def no_scheduler(folder: Path, inputs: Sequence[str], expected: Mapping[str, str]) -> dict[str, Any]:
    """No scheduler from the start; then one that leaves in the middle of a run and comes back much later."""
    with Stage(folder, inputs) as stage:
        driver = stage.driver()
        start = time.monotonic()
        driver.start()
        code = driver.wait(LIMIT_S)
        refused, refused_s = _last(stage), time.monotonic() - start
        assert code == 1, (code, refused)
        assert "no scheduler answers at" in refused, refused
        stage.add_worker()
        stage.start()
        driver = stage.driver("", "--cluster", "worker_wait_s=15")
        driver.start()
        ledger = Ledger(folder / "m.mosaic" / "ledger")
        wait_until(lambda: ledger.look() > 10, LIMIT_S, "ten tasks")
        stage.scheduler.kill()
        code = driver.wait(LIMIT_S)
        lost = _last(stage)
        assert code == 1, (code, lost)
        assert not list(folder.glob("*.fits"))
        stage.workers[0].kill()
        stage.start()
        driver = stage.driver()
        driver.start()
        assert driver.wait(LIMIT_S) == 0, driver.tail()
    compare(digests(place_of(str(folder))), expected)
    return {"refused": refused, "refused s": refused_s, "lost": lost}


def skewed_clocks(folder: Path, inputs: Sequence[str], expected: Mapping[str, str]) -> dict[str, Any]:
    """Clocks of scheduler, workers and driver that are hours apart."""
    if not Path(_FAKETIME).exists():
        return {"skipped": "libfaketime is not installed"}

    def shifted(offset: str) -> dict[str, str]:
        return {
            "LD_PRELOAD": _FAKETIME,
            "FAKETIME": offset,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",
        }

    offsets = ("+3h", "-26h")
    with Stage(folder, inputs) as stage:
        for offset in offsets:
            stage.add_worker(environment=shifted(offset))
        stage.scheduler.environment = {**stage.scheduler.environment, **shifted("+40d")}
        stage.start()
        driver = stage.driver(environment=shifted("-9h"))
        driver.start()
        assert driver.wait(LIMIT_S) == 0, driver.tail()
    compare(digests(place_of(str(folder))), expected)
    return {"workers": list(offsets), "scheduler": "+40d", "driver": "-9h"}


def clear(folder: Path) -> Path:
    """Return an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
