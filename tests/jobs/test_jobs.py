"""Real jobs make the bits of a local run, stopped and continued or with everything around them killed."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from astropy.io import fits
from PIL import Image

from cluster.jobs.jobfolder import JobFolder
from cluster.jobs.runner import Runner
from cluster.jobs.server import ServiceBusyError, hold_state, tokens_of
from cluster.jobs.store import JobStore
from tests.jobs.conftest import Served, drizzle_locally, link_exposures, make_config, start_service
from tests.support.jobservice import (
    ROOT,
    Client,
    ServiceProcess,
    assert_every_task_once,
    assert_same_product,
    free_port,
    freeze_in_the_middle,
)

PARAMETERS: dict[str, Any] = {"final_scale": 0.045, "build": True, "final_err": True}
TILE = 48
_n = iter(range(1000))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, exposures: list[Path]) -> Path:
    folder = tmp_path_factory.mktemp("service")
    make_config(folder)
    link_exposures(exposures, folder / "data")
    return folder


@pytest.fixture(scope="module")
def served(base: Path) -> Iterator[Served]:
    config = make_config(base)
    yield from start_service(config, lambda store: Runner(store, config.capacity))


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, exposures: list[Path]) -> Path:
    """Product of the same exposures and parameters without any service."""
    return drizzle_locally(exposures, tmp_path_factory.mktemp("local"), PARAMETERS, TILE)


def wanted(**changes: Any) -> dict[str, Any]:
    return {
        "inputs": ["*_flc.fits"],
        "output": f"m{next(_n)}",
        "parameters": PARAMETERS,
        "tile": TILE,
        "cores": 1,
        **changes,
    }


def assert_whole_picture(served: Served, job: dict[str, Any]) -> None:
    """Assert that the preview shows every pixel of the product, and no other."""
    picture = Image.open(io.BytesIO(served.vera.get(f"/jobs/{job['id']}/preview.png").body))
    levels, clear = np.asarray(picture)[..., 0], np.asarray(picture)[..., 1]
    with fits.open(job["outcome"]["products"][0]) as product:
        is_covered = np.isfinite(product["SCI"].data)[::-1]
    assert np.array_equal(clear == 255, is_covered)
    assert np.ptp(levels[clear == 255]) > 100


def test_a_job_makes_the_bits_of_a_local_run_and_tells_all_about_it(served: Served, local: Path) -> None:
    answer = served.vera.post("/jobs", wanted(output="deep/er/m"))
    assert answer.status == 201, answer.body
    job = served.vera.ended(answer.json["id"])
    assert job["state"] == "done", (job["error"], served.vera.get(f"/jobs/{job['id']}/log").body)
    assert (job["done"], job["attempts"], job["error"]) == (1.0, 1, "")
    assert_same_product(job, local)
    assert all("/out/vera/deep/er/" in path for path in job["outcome"]["products"])
    folder = served.service.store.folder_of(job["id"])
    assert_every_task_once(folder)
    progress = job["progress"]
    assert [phase["name"] for phase in progress["phases"]][-1] == "final"
    assert all(phase["done"] == phase["tasks"] for phase in progress["phases"])
    assert progress["bytes_read"] > 0
    assert 0 < progress["plan"]["peak_bytes"] <= progress["plan"]["granted_bytes"] == 1 << 30
    tiles = served.vera.get(f"/jobs/{job['id']}/tiles").json
    assert tiles["done"]["final"] == tiles["layers"]["final"]["tiles"] != []
    assert len(tiles["done"]["median"]) > 5
    layer = tiles["layers"]["final"]
    assert_whole_picture(served, job)
    report = served.vera.get(f"/jobs/{job['id']}/report").json
    assert report["ok"]
    assert {step: seconds for step, seconds, _ in report["timings"]}["Final Drizzle"] > 0
    page = served.vera.get(f"/jobs/{job['id']}/report", Accept="text/html")
    assert page.body == (Path(job["outcome"]["folder"]) / "report" / "report.html").read_bytes()
    assert "sandbox" in page.headers["content-security-policy"]
    assert b"mosaic drizzle:" in served.vera.get(f"/jobs/{job['id']}/log").body
    metrics = served.operator.get("/metrics").body.decode()
    (n_tiles,) = [
        float(line.split()[1]) for line in metrics.splitlines() if line.startswith("mosaic_tiles_total ")
    ]
    assert n_tiles >= len(layer["tiles"])


def test_an_exposure_that_cannot_be_used_fails_the_job_in_one_line_or_is_set_aside(
    served: Served, base: Path, exposures: list[Path]
) -> None:
    data = exposures[0].read_bytes()
    (base / "data" / "broken_flc.fits").write_bytes(data[: len(data) // 2])
    try:
        inputs = [exposures[0].name, exposures[1].name, "broken_flc.fits"]
        job = served.vera.ended(served.vera.post("/jobs", wanted(inputs=inputs)).json["id"])
        assert job["state"] == "failed"
        assert "broken_flc.fits" in job["error"]
        assert "\n" not in job["error"]
        assert job["attempts"] == 1
        job = served.vera.ended(served.vera.post("/jobs", wanted(inputs=inputs, on_error="skip")).json["id"])
        assert job["state"] == "done", job["error"]
        assert "broken_flc.fits" in job["outcome"]["rejected"][0]
    finally:
        (base / "data" / "broken_flc.fits").unlink()


def test_a_cancelled_job_is_continued_by_a_retry_and_repeats_no_task(served: Served, local: Path) -> None:
    identity = served.vera.post("/jobs", wanted(restart=True)).json["id"]
    folder = served.service.store.folder_of(identity)
    pid = freeze_in_the_middle(folder)
    assert served.vera.post(f"/jobs/{identity}/cancel").json["state"] == "cancelling"
    assert served.vera.post(f"/jobs/{identity}/cancel").status == 200
    os.kill(pid, signal.SIGCONT)
    job = served.vera.ended(identity)
    assert job["state"] == "cancelled"
    assert 0 < job["done"] < 1
    assert not psutil.pid_exists(pid)
    assert served.vera.post(f"/jobs/{identity}/retry").status == 200
    job = served.vera.ended(identity)
    assert (job["state"], job["attempts"]) == ("done", 2), job["error"]
    assert_same_product(job, local)
    assert_every_task_once(folder)
    # What the first attempt finished is on the map and in the picture, too.
    tiles = served.vera.get(f"/jobs/{identity}/tiles").json
    for phase, done in tiles["done"].items():
        assert done == tiles["layers"]["final" if phase == "final" else "separate"]["tiles"], phase
    assert all(phase["done"] == phase["tasks"] for phase in job["progress"]["phases"])
    assert_whole_picture(served, job)


@pytest.fixture
def own_service(tmp_path: Path, exposures: list[Path]) -> Iterator[tuple[ServiceProcess, Client]]:
    make_config(tmp_path)
    link_exposures(exposures, tmp_path / "data")
    token = tokens_of(tmp_path / "state").add("vera", "user")[1]
    service = ServiceProcess(tmp_path, free_port())
    service.start()
    yield service, Client(service.port, token)
    service.stop()


def test_a_killed_service_and_a_killed_job_are_continued(
    own_service: tuple[ServiceProcess, Client], tmp_path: Path, local: Path
) -> None:
    service, vera = own_service
    frozen, queued = (vera.post("/jobs", wanted()).json["id"] for _ in range(2))
    folder = JobFolder(tmp_path / "state" / "jobs" / frozen)
    pid = freeze_in_the_middle(folder)
    service.kill()
    os.killpg(pid, signal.SIGKILL)
    service.start()
    for identity in (frozen, queued):
        job = vera.ended(identity)
        assert job["state"] == "done", job["error"]
        assert_same_product(job, local)
        assert_every_task_once(JobFolder(tmp_path / "state" / "jobs" / identity))
    assert vera.get(f"/jobs/{frozen}").json["attempts"] == 2


def test_a_job_outlives_its_service_and_is_adopted_by_the_next(
    own_service: tuple[ServiceProcess, Client], tmp_path: Path, local: Path
) -> None:
    service, vera = own_service
    identity = vera.post("/jobs", wanted()).json["id"]
    pid = freeze_in_the_middle(JobFolder(tmp_path / "state" / "jobs" / identity))
    service.kill()
    service.start()
    time.sleep(0.5)
    assert vera.get(f"/jobs/{identity}").json["state"] == "running"
    os.kill(pid, signal.SIGCONT)
    job = vera.ended(identity)
    assert (job["state"], job["attempts"]) == ("done", 1), job["error"]
    assert_same_product(job, local)
    command = [sys.executable, "-m", "mosaic.cli", "serve", "--state", str(tmp_path / "state")]
    second = subprocess.run(
        [*command, "--output-root", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert second.returncode == 1
    assert "another service runs on" in second.stderr


def test_a_store_is_opened_by_one_service_at_a_time(tmp_path: Path) -> None:
    with hold_state(tmp_path / "state"):
        JobStore(tmp_path / "state").close()
        with pytest.raises(ServiceBusyError, match="another service runs on"), hold_state(tmp_path / "state"):
            pass
