"""Run a command and see how long it takes and how much memory its whole process tree holds."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

INTERVAL_S = 0.5
"""Between samples: summing the pages of a process takes some 10 ms of one of two cores."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one command cost."""

    seconds: float
    """Wall time from start to exit, the import of libraries included."""
    peak_rss_bytes: int
    """Largest sum of resident sizes over the process tree (shared pages counted once per process)."""
    peak_pss_bytes: int
    """Largest sum of proportional sizes (shared pages counted once); 0 where the system lacks it."""
    peak_processes: int
    """Largest number of processes."""

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


class CommandError(RuntimeError):
    """Raised when a measured command fails; the end of its log is the message."""


def _pss_bytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class _Watch(threading.Thread):
    """Samples a process tree until it ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.root = psutil.Process(pid)
        self.rss = self.pss = self.processes = 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(INTERVAL_S):
            try:
                tree = [self.root, *self.root.children(recursive=True)]
            except psutil.Error:
                continue
            rss = 0
            for process in tree:
                try:
                    rss += process.memory_info().rss
                except psutil.Error:
                    continue
            self.rss = max(self.rss, rss)
            self.pss = max(self.pss, sum(_pss_bytes(process.pid) for process in tree))
            self.processes = max(self.processes, len(tree))


def run_measured(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path, timeout_s: float = 3600.0
) -> Measured:
    """Run a command in a folder with its output in a log.

    Raises
    ------
    CommandError
        When it exits with another status than 0.
    """
    start = time.perf_counter()
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        watch = _Watch(process.pid)
        watch.start()
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            raise CommandError(f"{command[0]} did not end within {timeout_s:.0f} s") from error
        finally:
            seconds = time.perf_counter() - start
            watch.done.set()
            watch.join()
    if status != 0:
        tail = log.read_text(errors="replace").strip().splitlines()[-12:]
        raise CommandError(f"exit status {status}: " + "\n".join(tail))
    return Measured(seconds, watch.rss, watch.pss, watch.processes)
