"""Run a command and see what its whole process tree takes: wall and processor time, memory, disk written."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
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
    cpu_seconds: float = 0.0
    """User and system time of all processes that were waited for, as the kernel accounts it."""
    largest_rss_bytes: int = 0
    """Peak resident size of the largest single process, as the kernel accounts it."""
    written_bytes: int = 0
    """Bytes handed to the file system by all processes that were waited for; 0 where the system lacks it."""

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


def _written_bytes(pid: int) -> int:
    """Bytes written by a process and by its children that ended; the process may have ended itself."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return 0
    counts = dict(line.split(": ") for line in lines)
    return max(0, int(counts["write_bytes"]) - int(counts["cancelled_write_bytes"]))


def _reap(process: subprocess.Popen[bytes], timeout_s: float) -> tuple[float, int, resource.struct_rusage]:
    """Wait for a process: the moment of its end, bytes written, and what its whole tree used.

    Raises
    ------
    CommandError
        When it had to be killed.
    """
    killed = threading.Event()

    def kill() -> None:
        killed.set()
        process.kill()

    timer = threading.Timer(timeout_s, kill)
    timer.start()
    try:
        # The counters of an ended process can be read until it is reaped.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        ended = time.perf_counter()
        written = _written_bytes(process.pid)
    finally:
        timer.cancel()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if killed.is_set():
        raise CommandError(f"{process.args!r} did not end within {timeout_s:.0f} s")
    return ended, written, usage


def clean_environment() -> dict[str, str]:
    """This environment, with compiled modules kept as users keep them: installed programs have theirs."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def run_measured(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    timeout_s: float = 3600.0,
    *,
    is_sampled: bool = True,
) -> Measured:
    """Run a command in a folder with its output in a log.

    `is_sampled` False leaves out the sampled peaks (they are 0), and the few percent that sampling costs.

    Raises
    ------
    CommandError
        When it exits with another status than 0, or not in time.
    """
    start = time.perf_counter()
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            env={**clean_environment(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        watch = _Watch(process.pid)
        if is_sampled:
            watch.start()
        try:
            ended, written, usage = _reap(process, timeout_s)
        finally:
            watch.done.set()
            if is_sampled:
                watch.join()
            # What a killed program has started would go on, with all its memory.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        tail = log.read_text(errors="replace").strip().splitlines()[-12:]
        raise CommandError(f"exit status {process.returncode}: " + "\n".join(tail))
    return Measured(
        seconds=ended - start,
        peak_rss_bytes=watch.rss,
        peak_pss_bytes=watch.pss,
        peak_processes=watch.processes,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        largest_rss_bytes=usage.ru_maxrss * 1024,
        written_bytes=written,
    )
