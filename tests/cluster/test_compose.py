"""The compose file: valid, no default for a secret, nobody is root, its commands do what they say."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.stage import free_port

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"
GIVEN = {"MOSAIC_DATA": "/data/hst", "MOSAIC_S3_KEY": "a-key", "MOSAIC_S3_SECRET": "a-secret"}
_VARIABLE = re.compile(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}")


def _fill(text: str, given: dict[str, str]) -> str:
    """Replace variables as compose does; a required one that is not given is an error."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if given.get(name):
            return given[name]
        if kind == ":-":
            return rest
        raise KeyError(f"{name}: {rest}")

    return _VARIABLE.sub(value, text)


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    document: dict[str, Any] = yaml.safe_load(_fill(FILE.read_text(encoding="utf-8"), GIVEN))
    found: dict[str, dict[str, Any]] = document["services"]
    return found


def test_it_follows_the_schema_of_compose() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", GIVEN)
def test_secrets_and_folders_have_no_default(name: str) -> None:
    with pytest.raises(KeyError, match=name):
        _fill(FILE.read_text(encoding="utf-8"), {**GIVEN, name: ""})


def test_nobody_is_root_and_nobody_can_become_it(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"]), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_ports_are_open_to_this_machine_only(services: dict[str, dict[str, Any]]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_whatever_stays_is_watched_and_whatever_is_needed_is_waited_for(
    services: dict[str, dict[str, Any]],
) -> None:
    staying = {name for name, service in services.items() if service["restart"] == "unless-stopped"}
    assert staying == {"scheduler", "worker", "objects", "service"}
    assert all("healthcheck" in services[name] for name in staying)
    for service in services.values():
        for needed, how in service.get("depends_on", {}).items():
            expected = "service_healthy" if needed in staying else "service_completed_successfully"
            assert how["condition"] == expected


def test_folders_that_are_not_there_are_not_made_by_root(services: dict[str, dict[str, Any]]) -> None:
    volumes = [volume for service in services.values() for volume in service["volumes"]]
    assert all(volume["type"] == "bind" and not volume["bind"]["create_host_path"] for volume in volumes)


class _Stage:
    """Commands of the file, carried out on this machine."""

    def __init__(self, services: dict[str, dict[str, Any]], folder: Path) -> None:
        self._services = services
        self._folder = folder
        self.port = free_port()
        self.service_port = free_port()

    def _here(self, word: str) -> str:
        for name in ("scheduler:8786", "localhost:8786"):
            word = word.replace(name, f"127.0.0.1:{self.port}")
        word = word.replace("0.0.0.0", "127.0.0.1").replace(GIVEN["MOSAIC_DATA"], str(self._folder))
        word = word.replace("localhost:8765", f"127.0.0.1:{self.service_port}")
        here = {"8786": self.port, ":8787": ":0", "8765": self.service_port, "/tmp": self._folder}
        return str(here.get(word, word))

    def command(self, name: str) -> list[str]:
        program, *words = (self._here(word) for word in self._services[name]["command"])
        return [sys.executable, "-m", {"dask": "dask", "mosaic": "mosaic.cli"}[program], *words]

    def check(self, name: str) -> list[str]:
        kind, *words = self._services[name]["healthcheck"]["test"]
        if kind == "CMD-SHELL":
            words = shlex.split(words[0].replace("$$(hostname -i)", "127.0.0.1"))
        assert words[0] == "python"
        return [sys.executable, *map(self._here, words[1:])]


@pytest.fixture(scope="module")
def stage(services: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Stage]:
    folder = tmp_path_factory.mktemp("compose")
    for name in ("inputs", "mosaics"):
        (folder / name).mkdir()
    made = _Stage(services, folder)
    log = (folder / "log").open("wb")
    with log:
        processes = []
        for name in ("scheduler", "worker", "service"):
            process = subprocess.Popen(made.command(name), stdout=log, stderr=log, env=_environment())
            processes.append(process)
        yield made
        for process in reversed(processes):
            process.terminate()
            process.wait(30)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("name", ["scheduler", "worker", "service"])
def test_commands_and_health_checks_work_together(stage: _Stage, name: str) -> None:
    deadline = time.monotonic() + 1800.0  # a worker compiles its kernels where nobody did before
    while True:
        done = subprocess.run(
            stage.check(name), capture_output=True, text=True, check=False, env=_environment()
        )
        if done.returncode == 0:
            break
        assert time.monotonic() < deadline, done.stdout + done.stderr
        time.sleep(0.2)
    assert done.stdout == ("" if name == "service" else "well\n")


def test_a_health_check_of_a_worker_that_is_not_there_says_so(stage: _Stage) -> None:
    command = [sys.executable, "-m", "workers.health", f"tcp://127.0.0.1:{stage.port}", "--worker", "nobody"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
    assert (done.returncode, done.stdout) == (1, "the scheduler knows no worker nobody\n")
