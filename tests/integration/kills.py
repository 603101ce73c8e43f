"""Random SIGKILLs of worker, scheduler, service and driver: a job ends with the same bits, little done again.

The job is one of `mosaic serve`, which runs its tasks on a scheduler; the driver is the process that the
service starts for it, and starts again.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

from cluster.jobs.jobfolder import JobFolder
from cluster.jobs.server import tokens_of
from mosaic.places import Place, RemotePlace, open_system
from mosaic.retries import with_retries
from tests.integration.stage import PARAMETERS, TILE, Process, Stage, compare, digests
from tests.support.jobservice import Answer, Client

ROLES = ("worker", "worker", "scheduler", "service", "driver")
"""Who is killed, by chance; workers twice as often."""
USER = "vera"
N_WORKERS = 2
_LONGEST_S = 2400.0
_PAUSE_S = 0.05
_REMOTE_PAUSE_S = 0.5
"""Time between two looks at a ledger in an object store, each of which is a request."""


@dataclass
class Ledger:
    """The records of a job as seen from outside: how many there are, and which were written again."""

    folder: Place
    seen: dict[str, str] = field(default_factory=dict)
    n_rewritten: int = 0

    def look(self) -> int:
        """Count the records of tasks, and those that were replaced since the last look."""
        for name, stamp in _stamps(self.folder):
            if self.seen.get(name, stamp) != stamp:
                self.n_rewritten += 1
            self.seen[name] = stamp
        return len(self.seen)


def _stamps(folder: Place) -> Iterator[tuple[str, str]]:
    """Phase and task of every record, and what changes when it is written again."""
    if isinstance(folder, RemotePlace):
        system, name = open_system(folder.url)
        for path, facts in with_retries(lambda: system.find(name, detail=True)).items():
            phase, task = path.split("/")[-2:]
            # A folder that holds nothing else yet is told of as if it were in itself.
            if facts["type"] == "file" and not phase.endswith("_solution"):
                yield f"{phase}/{task}", f"{facts['ETag']} {facts['LastModified']}"
        return
    for entry in os.scandir(folder) if folder.exists() else ():
        if entry.name.endswith("_solution"):
            continue
        for record in os.scandir(entry.path):
            if not record.name.startswith("."):
                with suppress(FileNotFoundError):
                    yield f"{entry.name}/{record.name}", str(record.stat().st_mtime_ns)


class ServedJob:
    """A job as its user sees it, and its process as nobody but the machine does.

    Parameters
    ----------
    state : Path
        Folder of the service's state.
    client : Client
        The user.
    request : mapping
        The job; the same request is made again when it has ended too early.
    """

    def __init__(self, state: Path, client: Client, request: Mapping[str, Any]) -> None:
        self._state, self._client, self._request = state, client, request
        self.ids: list[str] = []
        self.n_retries = 0
        self._wants_new = True

    def _ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer | None:
        """Answer of the service; None while it is away."""
        with suppress(OSError, HTTPException):
            return self._client.ask(method, path, body, **headers)
        return None

    def submit_again(self) -> None:
        """Make the same request again, as soon as the service answers."""
        self._wants_new = True

    def look(self) -> dict[str, Any]:
        """Document of the job; empty while the service is away."""
        if self._wants_new:
            # The same key: an answer that was lost with the service makes no second job.
            answer = self._ask("POST", "/jobs", self._request, Idempotency_Key=f"kills-{len(self.ids)}")
            if answer is None:
                return {}
            assert answer.status in {200, 201}, answer.body
            self.ids.append(str(answer.json["id"]))
            self._wants_new = False
        answer = self._ask("GET", f"/jobs/{self.ids[-1]}")
        if answer is None:
            return {}
        assert answer.status == 200, answer.body
        document: dict[str, Any] = answer.json
        return document

    def retry(self) -> None:
        """Ask for another attempt, as its user would."""
        answer = self._ask("POST", f"/jobs/{self.ids[-1]}/retry")
        self.n_retries += answer is not None and answer.status == 200

    def kill_driver(self) -> bool:
        """SIGKILL the process of the job and its children; tell whether there was one."""
        pid = JobFolder(self._state / "jobs" / self.ids[-1]).pid if self.ids else None
        if pid is None:
            return False
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
            return True
        return False

    def attempts(self) -> int:
        """Processes that were started for the job."""
        folders = [JobFolder(self._state / "jobs" / identity) for identity in self.ids]
        return sum(
            line.event["kind"] == "attempt" for folder in folders for line in folder.events(limit=1 << 30)
        )


def run_with_kills(
    stage: Stage,
    options: Sequence[str],
    output: Place,
    local: Path,
    *,
    n_kills: int,
    seed: int,
) -> dict[str, Any]:
    """Carry out a job whose processes are killed `n_kills` times, spread over its progress.

    Every kill waits for a number of finished tasks and then up to two seconds more, so that starts, waits and
    exports are hit as well. Killed processes are started again at once, the driver by the service.

    Parameters
    ----------
    stage : Stage
        Where it happens.
    options : sequence of str
        Places of the service.
    output : Path or RemotePlace
        Folder of the product.
    local : Path
        Folder of the product of the undisturbed run.
    n_kills, seed
        How many, and which.
    """
    n_tasks, expected = Ledger(local / "m.mosaic" / "ledger").look(), digests(local)
    chooser = random.Random(seed)
    marks = sorted(chooser.randrange(n_tasks - 4) for _ in range(n_kills))
    state = stage.folder / "state"
    client = Client(stage.service_port, tokens_of(state).add(USER, "user")[1])
    parameters = dict(part.split("=", 1) for part in PARAMETERS)
    place = "m" if isinstance(output, Path) else f"{output}/m"
    request = {
        "inputs": stage.inputs,
        "output": place,
        "parameters": parameters,
        "tile": TILE,
        "memory": "2GiB",
    }
    job = ServedJob(state, client, request)
    for _ in range(N_WORKERS):
        stage.add_worker()
    service = stage.serve(*options)
    ledger = Ledger(output / "m.mosaic" / "ledger")
    killed: Counter[str] = Counter()
    begun = time.monotonic()
    try:
        _disturb(stage, service, job, ledger, marks=marks, chooser=chooser, killed=killed)
        seconds = time.monotonic() - begun
        compare(digests(output), expected)
    finally:
        service.kill()
        job.kill_driver()
    return {
        "kills": dict(killed),
        "tasks": n_tasks,
        "redone": ledger.n_rewritten,
        "seconds": seconds,
        "driver starts": job.attempts(),
        "service starts": service.n_starts,
        "retries": job.n_retries,
        "jobs": len(job.ids),
        "chunks compared": len(expected),
    }


def _disturb(
    stage: Stage,
    service: Process,
    job: ServedJob,
    ledger: Ledger,
    *,
    marks: list[int],
    chooser: random.Random,
    killed: Counter[str],
) -> None:
    """Kill at every mark, until the job is done and no mark is left."""
    pause_s = _PAUSE_S if isinstance(ledger.folder, Path) else _REMOTE_PAUSE_S
    deadline = time.monotonic() + _LONGEST_S
    due, role = 0.0, ""
    while True:
        for process in (stage.scheduler, *stage.workers, service):
            process.start()
        document = job.look()
        n_done = ledger.look()
        now = time.monotonic()
        if now > deadline:
            raise TimeoutError(f"{n_done} tasks after {_LONGEST_S:.0f} s: {document}")
        if marks and due == 0.0 and n_done >= marks[0]:
            due, role = now + chooser.uniform(0.0, 2.0), chooser.choice(ROLES)
        if due and now >= due and _kill(stage, service, job, role, chooser):
            killed[role] += 1
            del marks[0]
            due = 0.0
        if document.get("state") == "failed":
            # Three processes in a row that did not finish a task: the service asks somebody to look at it.
            assert "its process died 3 times" in document["error"], document["error"]
            job.retry()
        elif document.get("state") == "done":
            if not marks:
                break
            job.submit_again()
        time.sleep(pause_s)
    ledger.look()


def _kill(stage: Stage, service: Process, job: ServedJob, role: str, chooser: random.Random) -> bool:
    """SIGKILL somebody; tell whether there was anybody to kill."""
    if role == "driver":
        return job.kill_driver()
    victim = {"scheduler": stage.scheduler, "service": service}.get(role)
    (victim or chooser.choice(stage.workers)).kill()
    return True
