"""The stage of every scenario: a simulated set, its undisturbed local run, and processes that can be killed.

Everything is a process of its own, started as a user would start it: scheduler and workers by the commands of
Dask, the run by `mosaic drizzle`.
"""

from __future__ import annotations

import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from astropy.io import fits

from mosaic.graph.job import Job
from mosaic.graph.plan import Plan
from mosaic.places import Place, get, list_names, place_of
from mosaic.simulate import simulate
from workers.threads import THREAD_ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = ("final_err=true", "build=true", "skymethod=globalmin+match", "runfile=", "final_scale=0.04")
TILE = 512
WORKER_MEMORY = "1500MiB"
_PRODUCTS = "m_drc.fits"


@dataclass
class Process:
    """A process that is kept alive, as a service manager would do it."""

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    n_starts: int = 0
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.is_alive:
            return
        self.n_starts += 1
        # Words of the scheduler about lost workers are wanted in the log, not on the terminal.
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(
                self.command,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **THREAD_ENVIRONMENT, "PYTHONPATH": str(ROOT), **self.environment},
            )

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.running is not None and self.running.poll() is None

    @property
    def code(self) -> int | None:
        """How it ended; None while it runs."""
        return None if self.running is None else self.running.poll()

    def kill(self) -> None:
        """SIGKILL the process and all its children."""
        if self.running is not None and self.running.poll() is None:
            os.killpg(self.running.pid, signal.SIGKILL)
            self.running.wait()

    def wait(self, timeout_s: float) -> int:
        """Wait for its end."""
        assert self.running is not None
        return self.running.wait(timeout_s)

    def tail(self, n_lines: int = 3) -> str:
        """Last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-n_lines:])


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Stage:
    """Exposures, a scheduler, workers and runs in one folder.

    Parameters
    ----------
    folder : Path
        Where everything lies.
    inputs : sequence of str
        Exposures.
    environment : mapping, optional
        For all processes.
    """

    def __init__(
        self, folder: Path, inputs: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.inputs = list(inputs)
        self.environment = dict(environment or {})
        self.port = free_port()
        self.service_port = free_port()
        self.scheduler = self._process(
            "scheduler", ["scheduler", "--host", "127.0.0.1", "--port", str(self.port)]
        )
        self.workers: list[Process] = []
        self.drivers: list[Process] = []

    @property
    def address(self) -> str:
        """Address of the scheduler."""
        return f"tcp://127.0.0.1:{self.port}"

    def _process(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Process:
        dask = [sys.executable, "-m", "dask", *command, "--no-dashboard", "--dashboard-address", ":0"]
        return Process(name, dask, self.folder / f"{name}.log", {**self.environment, **(environment or {})})

    def add_worker(
        self,
        *,
        memory: str = WORKER_MEMORY,
        nanny: bool = False,
        preloads: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """Describe one more worker of one thread."""
        name = f"worker-{len(self.workers)}"
        preload = [part for module in ("workers.preload", *preloads) for part in ("--preload", module)]
        command = ["worker", self.address, "--name", name, "--nthreads", "1", "--memory-limit", memory]
        command += ["--nanny" if nanny else "--no-nanny", *preload]
        command += ["--local-directory", str(self.folder / "scratch")]
        self.workers.append(self._process(name, command, environment))
        return self.workers[-1]

    def driver(self, output: str = "", *extra: str, environment: Mapping[str, str] | None = None) -> Process:
        """Describe a run on the cluster."""
        name = f"driver-{len(self.drivers)}"
        command = [sys.executable, "-m", "mosaic.cli", "drizzle", *self.inputs]
        command += ["-o", output or str(self.folder / "m"), "--scheduler", self.address, "--quiet"]
        command += ["--tile", str(TILE), "--memory", "2GiB", *extra]
        command += [part for parameter in PARAMETERS for part in ("-p", parameter)]
        process = Process(
            name, command, self.folder / f"{name}.log", {**self.environment, **(environment or {})}
        )
        self.drivers.append(process)
        return process

    def serve(self, *options: str) -> Process:
        """Describe a job service whose jobs run on the cluster."""
        command = [sys.executable, "-m", "mosaic.cli", "serve", "--port", str(self.service_port)]
        command += ["--state", str(self.folder / "state"), "--scheduler", self.address]
        command += ["--cores", "2", "--memory", "2GiB", *options]
        return Process("service", command, self.folder / "service.log", self.environment)

    def start(self) -> None:
        """Start scheduler and workers."""
        self.scheduler.start()
        for worker in self.workers:
            worker.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self.drivers, *self.workers, self.scheduler):
            process.kill()


def make_inputs(folder: Path) -> list[str]:
    """Simulate the set, unless it is there."""
    marker = folder / "complete"
    if not marker.exists():
        simulate(
            folder,
            instrument="acs/wfc",
            exposures=6,
            pattern="line",
            chip_shape=(1024, 2048),
            seed=9,
            workers=2,
        )
        marker.touch()
    return sorted(str(path) for path in folder.glob("*_flc.fits"))


def run_locally(inputs: Sequence[str], folder: Path) -> dict[str, str]:
    """Digests of the undisturbed local run."""
    if not (folder / _PRODUCTS).exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "mosaic.cli", "drizzle", *inputs, "-o", str(folder / "m"), "--quiet"]
        command += ["--tile", str(TILE), "--memory", "2GiB", "--cores", "2"]
        command += [part for parameter in PARAMETERS for part in ("-p", parameter)]
        subprocess.run(
            command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL
        )
    return digests(place_of(str(folder)))


def digests(folder: Place) -> dict[str, str]:
    """Digest of every image of the product, and the checksum of every chunk of every phase."""
    found = {}
    with fits.open(io.BytesIO(get(folder / _PRODUCTS))) as hdus:
        for number, hdu in enumerate(hdus):
            if hdu.is_image and hdu.data is not None:
                found[f"product {number} {hdu.name}"] = hashlib.sha256(hdu.data.tobytes()).hexdigest()
    job_folder = folder / "m.mosaic"
    job = Job(job_folder, Plan.read(job_folder))
    for phase in list_names(job_folder / "ledger"):
        for task, record in job.ledger.read_phase(phase).items():
            for name, checksum in record.checksums.items():
                found[f"{phase} {task} {name}"] = checksum
    return found


def compare(found: Mapping[str, str], expected: Mapping[str, str]) -> None:
    """Refuse any difference."""
    names = [name for name in {**found, **expected} if found.get(name) != expected.get(name)]
    assert not names, f"{len(names)} of {len(expected)} differ: {names[:5]}"


def wait_until(is_true: object, timeout_s: float, what: str) -> None:
    """Poll until a function returns True."""
    assert callable(is_true)
    deadline = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {timeout_s:.0f} s")
        time.sleep(0.05)
