"""What was measured, kept in a file that several calls add to, and the machine it was measured on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("numpy", "numba", "astropy", "dask", "zarr", "drizzle")


class Results:
    """Measurements by case; a later call replaces only what it ran."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: dict[str, Any] = {"machine": {}, "versions": {}, "cases": {}}
        if path.exists():
            self.content |= json.loads(path.read_text())

    def case(self, name: str) -> dict[str, Any]:
        """Content of a case; empty if it was not run yet."""
        found: dict[str, Any] = self.content["cases"].get(name, {})
        return found

    def put(self, name: str, content: dict[str, Any]) -> None:
        """Replace a case and save."""
        stamp = {"when": now(), "load": round(os.getloadavg()[0], 2)}
        self.content["cases"][name] = {**content, **stamp}
        self.save()

    def describe(self, work: Path, versions: dict[str, str]) -> None:
        """Keep the machine and the versions of this call."""
        self.content["machine"] = machine(work)
        self.content["versions"] |= versions
        self.save()

    def save(self) -> None:
        """Write the file, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.content, indent=1))
        temporary.replace(self.path)


def now() -> str:
    """Time of day, to the minute."""
    return datetime.now(tz=UTC).strftime("%Y-%m-%d %H:%M UTC")


def machine(work: Path) -> dict[str, str]:
    """Processor, cores, memory, system and disk, as text."""
    memory = psutil.virtual_memory()
    known = psutil.disk_partitions(all=True)
    mounts = [part for part in known if work.is_relative_to(part.mountpoint)]
    disk = max(mounts, key=lambda part: len(part.mountpoint), default=None)
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": f"{memory.total / 2**30:.1f} GiB, {memory.available / 2**30:.1f} GiB free at the start",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "disk of the runs": f"{disk.device} ({disk.fstype})" if disk else "unknown",
        "load before": ", ".join(f"{value:.2f}" for value in os.getloadavg()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    named = {key.strip(): value.strip() for key, value in facts.items()}
    model = named.get("model name", platform.machine())
    return f"{model} (family {named.get('cpu family', '?')}, model {named.get('model', '?')})"


def own_versions(repository: Path) -> dict[str, str]:
    """Commit and versions of the packages of this interpreter."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    command = ["git", "-C", str(repository), "describe", "--always", "--dirty"]
    described = subprocess.run(command, capture_output=True, text=True, check=False)
    found["commit"] = described.stdout.strip() or "unknown"
    return found
