"""What of a job is done: one small immutable object per finished task.

A record is written after the chunks of its task were written and verified, under a temporary
name and renamed, so that a record that exists is whole and true. Does not cover locks: one
writer per record, because a task belongs to one worker at a time.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path

from mosaic.errors import StoreError
from mosaic.graph.progress import TaskRecord

WHOLE_JOB = "all"
"""Task name of the records that the driver writes about the job as a whole."""


class Ledger:
    """Records of finished tasks under ``<job folder>/ledger/<phase>/<task>.json``.

    Parameters
    ----------
    folder : Path
        The job folder.
    """

    def __init__(self, folder: Path) -> None:
        self._root = folder / "ledger"

    def write(self, record: TaskRecord) -> None:
        """Keep a record; an existing one of the same task is replaced as a whole."""
        phase = self._root / record.phase
        phase.mkdir(parents=True, exist_ok=True)
        target = phase / f"{record.task}.json"
        temporary = phase / f".{record.task}.{os.getpid()}.tmp"
        temporary.write_text(json.dumps(dataclasses.asdict(record)))
        temporary.replace(target)

    def forget(self, phase: str, task: str) -> None:
        """Take the record of a task back: what it wrote is gone."""
        (self._root / phase / f"{task}.json").unlink(missing_ok=True)

    def read(self, phase: str, task: str) -> TaskRecord | None:
        """Find the record of a task; None when the task is not done."""
        path = self._root / phase / f"{task}.json"
        return self._parse(path) if path.exists() else None

    def read_phase(self, phase: str) -> dict[str, TaskRecord]:
        """All records of a phase, by task."""
        folder = self._root / phase
        if not folder.is_dir():
            return {}
        # Names as text: with a hundred thousand records, path objects would take most of the time.
        names = [entry.name for entry in os.scandir(folder)]
        names = sorted(name for name in names if name.endswith(".json") and name[0] != ".")
        return {name[:-5]: self._parse(f"{folder}/{name}") for name in names}

    def require(self, phase: str, tasks: Iterable[str]) -> dict[str, TaskRecord]:
        """Records of all `tasks`, in their order.

        Raises
        ------
        StoreError
            When one is missing: the job is not complete.
        """
        records = self.read_phase(phase)
        wanted = list(tasks)
        missing = [task for task in wanted if task not in records]
        if missing:
            raise StoreError(
                f"ledger lacks {len(missing)} of the {phase} tasks (first: {missing[0]}); "
                "run the same command again"
            )
        return {task: records[task] for task in wanted}

    def require_one(self, phase: str) -> TaskRecord:
        """Record of a phase that is a single small computation of the driver.

        Raises
        ------
        StoreError
            When it is missing.
        """
        record = self.read(phase, WHOLE_JOB)
        if record is None:
            raise StoreError(f"ledger lacks the {phase}; run the same command again")
        return record

    @staticmethod
    def _parse(path: Path | str) -> TaskRecord:
        try:
            with open(path, "rb") as file:  # noqa: PTH123  (as above)
                return TaskRecord(**json.loads(file.read()))
        except (ValueError, TypeError) as error:
            raise StoreError(f"ledger record {path} is damaged ({error}); delete it and run again") from error
