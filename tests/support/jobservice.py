"""The job service from outside: plain requests, and ``mosaic serve`` as a process that may be killed."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from cluster.jobs.jobfolder import JobFolder
from mosaic.places import get, place_of

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120.0
"""Longest wait for a condition before the test fails; nothing depends on how long it takes."""


def wait_until(is_so: Callable[[], bool], what: str, pause_s: float = 0.05) -> None:
    """Wait for a condition."""
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end, f"{what}: not within {PATIENCE_S:.0f} s"
        time.sleep(pause_s)


@dataclass
class Answer:
    """What the service said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Plain HTTP, so that requests can be as odd as they like."""

    def __init__(self, port: int, token: str = "") -> None:
        self.port = port
        self.token = token

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body=data, headers=sent)
            response: HTTPResponse = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: object = None, **headers: str) -> Answer:
        return self.ask("POST", path, body, **headers)

    def raw(self, data: bytes) -> bytes:
        """Send bytes as they are and read all that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
            return b"".join(parts)

    def ended(self, job: str) -> dict[str, Any]:
        """Wait for the end of a job, and return its document."""
        wait_until(
            lambda: self.get(f"/jobs/{job}").json["state"] in {"done", "failed", "cancelled"}, f"end of {job}"
        )
        document: dict[str, Any] = self.get(f"/jobs/{job}").json
        return document


class ServiceProcess:
    """``mosaic serve`` as a process of its own, which may be killed."""

    def __init__(self, folder: Path, port: int, *options: str) -> None:
        self._folder, self.port, self._options = folder, port, options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mosaic.cli", "serve", "--port", str(self.port)]
        command += ["--state", str(self._folder / "state"), "--input-root", str(self._folder / "data")]
        command += [
            "--output-root",
            str(self._folder / "out"),
            "--cores",
            "2",
            "--memory",
            "2GiB",
            *self._options,
        ]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with (self._folder / "service.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, cwd=self._folder
            )
        wait_until(self._answers, "service")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it in good order; its jobs go on."""
        if self._process is not None:
            self._process.terminate()
            assert self._process.wait(60) in {0, -signal.SIGTERM, -signal.SIGKILL}

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "service.log").read_text()
        with suppress(OSError):
            return Client(self.port).get("/health").status == 200
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def assert_every_task_once(folder: JobFolder) -> None:
    """Assert that no task was finished twice, over all attempts.

    A process that is killed between finishing a task and telling so leaves one untold.
    """
    events = [line.event for line in folder.events(limit=1 << 30)]
    counts = Counter((event["phase"], event["task"]) for event in events if event["kind"] == "task")
    assert counts
    assert max(counts.values()) == 1
    totals = {name: n for event in events if event["kind"] == "begin" for name, n, _ in event["phases"]}
    n_attempts = sum(event["kind"] == "attempt" for event in events)
    assert sum(totals.values()) - (n_attempts - 1) <= sum(counts.values()) <= sum(totals.values())


def freeze_in_the_middle(folder: JobFolder) -> int:
    """Halt the process of a job after its first task, and return its number."""
    wait_until(lambda: any(line.event["kind"] == "task" for line in folder.events()), "first task", 0.005)
    pid = folder.pid
    assert pid is not None, "the job ended before it could be halted"
    os.kill(pid, signal.SIGSTOP)
    assert folder.outcome is None
    return pid


def assert_same_product(job: dict[str, Any], local: Path) -> None:
    """Assert that a job made the bits of the local run."""
    (product,) = [path for path in job["outcome"]["products"] if path.endswith(local.name.partition("_")[2])]
    with fits.open(io.BytesIO(get(place_of(product)))) as ours, fits.open(local) as theirs:
        names = [hdu.name for hdu in theirs]
        assert [hdu.name for hdu in ours] == names
        for name in ("SCI", "WHT", "CTX", "ERR"):
            one, two = ours[name].data, theirs[name].data
            assert one.shape == two.shape
            assert one.tobytes() == two.tobytes(), name
        assert np.isfinite(ours["SCI"].data).any()
