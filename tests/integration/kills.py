"""Random SIGKILLs of worker, scheduler and driver until the job is done: the same bits, little done again."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mosaic.places import place_of
from tests.integration.stage import Process, Stage, compare, digests

ROLES = ("worker", "worker", "scheduler", "driver")
"""Who is killed, by chance; workers twice as often."""
N_WORKERS = 2
_LONGEST_S = 1500.0


@dataclass
class Ledger:
    """The records of a job as seen from outside: how many there are, and which were written again."""

    folder: Path
    seen: dict[str, int] = field(default_factory=dict)
    n_rewritten: int = 0

    def look(self) -> int:
        """Count the records of tasks, and those that were replaced since the last look."""
        for phase in os.scandir(self.folder) if self.folder.exists() else ():
            if phase.name.endswith("_solution"):
                continue
            for entry in os.scandir(phase.path):
                if entry.name.startswith("."):
                    continue
                try:
                    written = entry.stat().st_mtime_ns
                except FileNotFoundError:
                    continue
                name = f"{phase.name}/{entry.name}"
                if self.seen.get(name, written) != written:
                    self.n_rewritten += 1
                self.seen[name] = written
        return len(self.seen)


def run_with_kills(
    stage: Stage, expected: Mapping[str, str], *, n_tasks: int, n_kills: int, seed: int
) -> dict[str, Any]:
    """Carry out a job whose processes are killed `n_kills` times, spread over its progress.

    Every kill waits for a number of finished tasks and then up to two seconds more, so that starts, waits and
    exports are hit as well. Killed processes are started again at once, the driver by the same command.
    """
    chooser = random.Random(seed)
    marks = sorted(chooser.randrange(n_tasks - 4) for _ in range(n_kills))
    for _ in range(N_WORKERS):
        stage.add_worker()
    stage.start()
    driver = stage.driver()
    driver.start()
    ledger = Ledger(stage.folder / "m.mosaic" / "ledger")
    killed: Counter[str] = Counter()
    start = time.monotonic()
    due = 0.0
    while True:
        n_done = ledger.look()
        now = time.monotonic()
        if now - start > _LONGEST_S:
            raise TimeoutError(f"{n_done} of {n_tasks} tasks after {_LONGEST_S:.0f} s: {driver.tail()}")
        if marks and due == 0.0 and n_done >= marks[0]:
            due = now + chooser.uniform(0.0, 2.0)
        if due and now >= due:
            role = chooser.choice(ROLES)
            _victim(stage, driver, role, chooser).kill()
            killed[role] += 1
            del marks[0]
            due = 0.0
        if driver.code == 0 and not marks:
            break
        if driver.code not in {None, 0, -9}:
            raise AssertionError(f"the driver ended with {driver.code}: {driver.tail()}")
        # A run that ended before its last kill is begun again by the same command: it finds all done.
        for process in (stage.scheduler, *stage.workers, driver):
            process.start()
        time.sleep(0.05)
    ledger.look()
    compare(digests(place_of(str(stage.folder))), expected)
    return {
        "kills": dict(killed),
        "tasks": n_tasks,
        "redone": ledger.n_rewritten,
        "seconds": time.monotonic() - start,
        "driver starts": driver.n_starts,
        "chunks compared": len(expected),
    }


def _victim(stage: Stage, driver: Process, role: str, chooser: random.Random) -> Process:
    if role == "worker":
        return chooser.choice(stage.workers)
    return stage.scheduler if role == "scheduler" else driver
