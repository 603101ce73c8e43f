"""A job service on a port of its own, with users, roots and a small set of exposures."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from cluster.jobs.api import create_app
from cluster.jobs.runner import Capacity, Runner
from cluster.jobs.server import front_config, tokens_of
from cluster.jobs.service import JobService, ServiceConfig
from cluster.jobs.store import JobStore
from mosaic import pipeline
from mosaic.options import RunOptions
from mosaic.simulate import simulate
from tests.support.jobservice import Client, wait_until


@dataclass
class Served:
    """A service that runs."""

    port: int
    service: JobService
    nobody: Client
    vera: Client
    edwin: Client
    operator: Client


def make_config(folder: Path, **changes: Any) -> ServiceConfig:
    """Service in a folder: state, two input roots, one output root."""
    for name in ("data", "archive", "out"):
        (folder / name).mkdir(exist_ok=True)
    given = {
        "state": folder / "state",
        "input_roots": (folder / "data", folder / "archive"),
        "output_roots": (folder / "out",),
        "capacity": Capacity(2, 2 << 30, 2, 2),
        "job_memory_bytes": 1 << 30,
        "buckets": frozenset({"open-bucket"}),
        "submissions_per_minute": 6e6,
        "burst": 10_000,
    }
    return ServiceConfig(**{**given, **changes})


def start_service(
    config: ServiceConfig, runner: Callable[[JobStore], Runner], port: int = 0
) -> Generator[Served]:
    """Serve a configuration from a thread until the generator is closed."""
    store = JobStore(config.state)
    service = JobService(config, store, runner(store))
    tokens = tokens_of(config.state)
    server = uvicorn.Server(front_config(create_app(service, tokens), port=port))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "start of the service")
        port = server.servers[0].sockets[0].getsockname()[1]
        users = {
            name: Client(port, tokens.add(name, "operator" if name == "olga" else "user")[1])
            for name in ("vera", "edwin", "olga")
        }
        yield Served(port, service, Client(port), users["vera"], users["edwin"], users["olga"])
    finally:
        server.should_exit = True
        thread.join()
        store.close()


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Service that starts no job: requests stay in the queue."""
    folder = tmp_path_factory.mktemp("idle")
    config = make_config(folder)
    (folder / "data" / "a_flc.fits").write_bytes(b"")
    (folder / "archive" / "b_flc.fits").write_bytes(b"")
    (folder / "secret.fits").write_bytes(b"")
    (folder / "data" / "leak.fits").symlink_to(folder / "secret.fits")
    (folder / "data" / "way_out").symlink_to(folder)
    nothing = Capacity(2, 2 << 30, 0, 0)
    yield from start_service(config, lambda store: Runner(store, nothing))


@pytest.fixture(scope="session")
def exposures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two dithered ACS/WFC exposures with two small chips each."""
    made = simulate(
        tmp_path_factory.mktemp("exposures"),
        instrument="acs/wfc",
        exposures=2,
        pattern="line",
        chip_shape=(120, 200),
        n_stars=30,
        n_galaxies=2,
        seed=5,
        workers=1,
    )
    return list(made.files)


def link_exposures(exposures: list[Path], root: Path) -> None:
    """Put exposures into an input root."""
    for path in exposures:
        os.link(path, root / path.name)


def drizzle_locally(exposures: list[Path], folder: Path, parameters: dict[str, Any], tile: int) -> Path:
    """Product that a run of one process makes of exposures."""
    options = RunOptions.resolve(scheduler="serial", memory=1 << 30, tile=tile)
    inputs = [str(path) for path in exposures]
    result = pipeline.drizzle(inputs, str(folder / "m"), options=options, **parameters, runfile="")
    (product,) = result.files
    return product
