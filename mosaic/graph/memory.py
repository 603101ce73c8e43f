"""Memory of a run: sampled from a thread, and given back to the system as soon as arrays are freed."""

from __future__ import annotations

import ctypes
import os
import threading
from types import TracebackType
from typing import Self

import psutil

from mosaic.graph.progress import Observer

INTERVAL_S = 0.3
"""Time between samples."""


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Parameters of mallopt(3)."""

_LARGE_BYTES = 1 << 26
"""Arrays from this size on live in mappings of their own; images of a chip are smaller. A lower limit costs
more in page faults (256 KiB: 15 s of system time on four full frames, against 4 s) than it saves in memory
(15 MiB)."""


def bound_allocator() -> None:
    """Make the C library return freed arrays at once, where it is glibc.

    Its threshold for mappings of their own grows with what was freed, and each thread gets a heap: what
    tasks have freed then stays with the process and counts against the budget. With fixed limits the
    stated peak is kept.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return
    for parameter, value in (
        (_M_MMAP_THRESHOLD, _LARGE_BYTES),
        (_M_TRIM_THRESHOLD, 2 * _LARGE_BYTES),
        (_M_ARENA_MAX, 1),
    ):
        library.mallopt(parameter, value)


def resident_bytes() -> int:
    """Memory of this process and its children: shared pages counted once where the system tells (PSS)."""
    own = psutil.Process()
    # Looking for children means to read of every process of the machine.
    children = own.children(recursive=True) if _may_have_children() else []
    if not children:
        return int(own.memory_info().rss)
    total = 0
    for process in (own, *children):
        try:
            details = process.memory_full_info()
            total += int(getattr(details, "pss", details.rss))
        except psutil.Error:
            continue
    return total


def _may_have_children() -> bool:
    """Whether this process may have children, in one call of the system; they are not waited for."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    except (AttributeError, OSError):  # not every system tells
        return True
    return True


def peak_resident_bytes() -> int:
    """Largest resident memory of this process so far; the present one where the system does not keep it."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 (a task should not notice)
            line = next(line for line in status if line.startswith("VmHWM:"))
        return int(line.split()[1]) << 10
    except (OSError, StopIteration):
        return int(psutil.Process().memory_info().rss)


class MemoryWatch:
    """Samples the memory of a run while its block is entered.

    Parameters
    ----------
    observer : Observer
        Told of every sample.
    budget_bytes : int
        Memory granted.
    """

    def __init__(self, observer: Observer, budget_bytes: int) -> None:
        self._observer = observer
        self._budget = budget_bytes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory-watch", daemon=True)
        self.peak_bytes = 0

    def __enter__(self) -> Self:
        """Start sampling."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop sampling."""
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while True:
            used = resident_bytes()
            self.peak_bytes = max(self.peak_bytes, used)
            self._observer.memory(used, self._budget)
            if self._stop.wait(INTERVAL_S):
                return
