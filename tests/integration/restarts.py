"""Many jobs at once, and the service killed again and again: none lost, none run twice, the same bits.

Starts `mosaic serve`, queues jobs of two users, kills the service without warning at several points, twice
together with everything that runs, and stops it in good order once.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

from astropy.io import fits

from cluster.jobs.jobfolder import JobFolder
from cluster.jobs.server import tokens_of
from mosaic import pipeline
from mosaic.options import RunOptions
from mosaic.simulate import simulate
from tests.support import jobservice
from tests.support.jobservice import Client, ServiceProcess, free_port

PARAMETERS: dict[str, Any] = {"build": True, "final_err": True, "final_scale": 0.045}
PLANES = ("SCI", "WHT", "CTX", "ERR")
TILE = 64
USERS = ("vera", "edwin")


class Queue:
    """Jobs of some users, each submitted under a key of its own.

    Parameters
    ----------
    clients : list of Client
        One for each user.
    n_jobs : int
        How many jobs there are together.
    """

    def __init__(self, clients: list[Client], n_jobs: int) -> None:
        self._clients = clients
        self._n = n_jobs
        self.ids: list[str] = []

    def submit(self) -> list[str]:
        """Send all requests; the same requests give the same jobs, however often they are sent."""
        found = []
        for number in range(self._n):
            body = {
                "inputs": ["*_flc.fits"],
                "output": f"m{number}",
                "parameters": PARAMETERS,
                "tile": TILE,
                "cores": 1,
            }
            client = self._clients[number % len(self._clients)]
            answer = client.post("/jobs", body, Idempotency_Key=f"restart-{number}")
            assert answer.status in {200, 201}, answer.body
            found.append(str(answer.json["id"]))
        self.ids = self.ids or found
        return found

    def states(self) -> Counter[str]:
        """Jobs by state, as their users see them."""
        pages = [client.get("/jobs?limit=500").json["jobs"] for client in self._clients]
        return Counter(job["state"] for page in pages for job in page)

    def job(self, number: int) -> dict[str, Any]:
        """Document of one job."""
        document: dict[str, Any] = (
            self._clients[number % len(self._clients)].get(f"/jobs/{self.ids[number]}").json
        )
        return document


def running_jobs(state: Path) -> list[int]:
    """Processes that work for a job now."""
    folders = [JobFolder(path) for path in (state / "jobs").iterdir()]
    return [pid for folder in folders if (pid := folder.pid) is not None]


def disturb(service: ServiceProcess, queue: Queue, state: Path, n_jobs: int) -> dict[str, int]:
    """Kill and restart the service while the queue is worked off."""
    facts = {"service_kills": 0, "service_stops": 0, "job_kills": 0}
    for share in (0.06, 0.2, 0.4, 0.6, 0.8):
        wanted = round(share * n_jobs)
        jobservice.wait_until(lambda n=wanted: queue.states()["done"] >= n, f"{wanted} jobs", 0.2)  # type: ignore[misc]
        if share == 0.4:
            service.stop()
            facts["service_stops"] += 1
        else:
            jobservice.wait_until(lambda: bool(running_jobs(state)), "a job that runs", 0.05)
            service.kill()
            facts["service_kills"] += 1
        if share in {0.2, 0.8}:
            for pid in running_jobs(state):
                os.killpg(pid, signal.SIGKILL)
                facts["job_kills"] += 1
        service.start()
    return facts


def planes_of(product: str) -> dict[str, bytes]:
    """Bytes of every plane of a product."""
    with fits.open(product) as file:
        return {name: file[name].data.tobytes() for name in PLANES}


def judge(queue: Queue, state: Path, local: Path) -> dict[str, Any]:
    """Assert that every job ended once with the bits of the local run, and count what it took."""
    expected = planes_of(str(local))
    attempts, outcomes = Counter[int](), 0
    for number, identity in enumerate(queue.ids):
        job = queue.job(number)
        assert job["state"] == "done", (identity, job["state"], job["error"])
        folder = JobFolder(state / "jobs" / identity)
        jobservice.assert_every_task_once(folder)
        events = [line.event for line in folder.events(limit=1 << 30)]
        ends = sum(event["kind"] == "end" for event in events)
        assert ends == 1, (identity, ends)
        outcomes += ends
        attempts[sum(event["kind"] == "attempt" for event in events)] += 1
        (product,) = (path for path in job["outcome"]["products"] if path.endswith(".fits"))
        assert planes_of(product) == expected, product
    n_folders = sum(1 for _ in (state / "jobs").glob("*/job.json"))
    assert n_folders == len(queue.ids)
    return {"done": outcomes, "jobs_by_attempts": dict(sorted(attempts.items())), "same_bits": True}


def run(folder: Path, n_jobs: int) -> dict[str, Any]:
    """Work off a queue of jobs through kills and restarts, and say what that took.

    Parameters
    ----------
    folder : Path
        Empty folder for everything.
    n_jobs : int
        Jobs of all users together.
    """
    (folder / "out").mkdir(parents=True)
    simulate(
        folder / "data", instrument="acs/wfc", exposures=2, pattern="line", chip_shape=(120, 200), n_stars=30
    )
    inputs = sorted(map(str, (folder / "data").glob("*_flc.fits")))
    options = RunOptions.resolve(scheduler="serial", memory=1 << 30, tile=TILE)
    local = pipeline.drizzle(inputs, str(folder / "local"), options=options, **PARAMETERS, runfile="")
    jobservice.PATIENCE_S = 60.0 * n_jobs
    tokens = tokens_of(folder / "state")
    port = free_port()
    clients = [Client(port, tokens.add(user, "user")[1]) for user in USERS]
    service = ServiceProcess(folder, port, "--jobs", "3", "--jobs-per-user", "2", "--job-memory", "600MiB")
    start = time.monotonic()
    service.start()
    try:
        queue = Queue(clients, n_jobs)
        queue.submit()
        facts = disturb(service, queue, folder / "state", n_jobs)
        assert queue.submit() == queue.ids, "a request that was sent again became another job"
        jobservice.wait_until(lambda: queue.states() == {"done": n_jobs}, "end of all jobs", 0.5)
        figures = {"jobs": n_jobs, **facts, **judge(queue, folder / "state", local.products[0])}
    finally:
        service.stop()
    return {**figures, "seconds": round(time.monotonic() - start)}
