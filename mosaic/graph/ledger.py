"""What of a job is done: one small immutable object per finished task.

A record is written after the chunks of its task were written and verified, under a temporary
name and renamed, so that a record that exists is whole and true. Does not cover locks: one
writer per record, because a task belongs to one worker at a time.
"""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mosaic.errors import StoreError
from mosaic.graph.progress import TaskRecord
from mosaic.graph.store import output_error
from mosaic.places import Place, get, get_many, list_names, put, remove
from mosaic.retries import is_transient

WHOLE_JOB = "all"
"""Task name of the records that the driver writes about the job as a whole."""

WEIGHT_SOLUTION = "weight_solution"
"""Phase of the records of mean weights, one an exposure, that the driver writes."""

_WRITTEN_AT_A_TIME = 16
"""Records sent to an object store side by side."""


class Ledger:
    """Records of finished tasks under ``<job folder>/ledger/<phase>/<task>.json``.

    Parameters
    ----------
    folder : Path or RemotePlace
        The job folder.
    incarnation : str
        The job; records of another one, written late by a task of a run that was replaced, count for nothing.
    """

    def __init__(self, folder: Place, incarnation: str = "") -> None:
        self._root = folder / "ledger"
        self._incarnation = incarnation

    def write(self, record: TaskRecord) -> None:
        """Keep a record; an existing one of the same task is replaced as a whole.

        Raises
        ------
        OutputError
            When it cannot be written.
        """
        fields = dataclasses.asdict(record) | {"job": self._incarnation}
        place = self._root / record.phase / f"{record.task}.json"
        try:
            put(place, json.dumps(fields).encode())
        except OSError as error:
            if is_transient(error):
                raise
            raise output_error(error, place) from error

    def write_all(self, records: Sequence[TaskRecord]) -> None:
        """Keep several records, side by side in an object store.

        Raises
        ------
        OutputError
            When one cannot be written.
        """
        if isinstance(self._root, Path) or len(records) < 2:
            for record in records:
                self.write(record)
            return
        with ThreadPoolExecutor(_WRITTEN_AT_A_TIME) as pool:
            deque(pool.map(self.write, records), maxlen=0)

    def forget(self, phase: str, task: str) -> None:
        """Take the record of a task back: what it wrote is gone."""
        remove(self._root / phase / f"{task}.json")

    def read(self, phase: str, task: str) -> TaskRecord | None:
        """Find the record of a task; None when the task is not done."""
        place = self._root / phase / f"{task}.json"
        try:
            return self._parse(get(place), str(place))
        except FileNotFoundError:
            return None

    def read_phase(self, phase: str) -> dict[str, TaskRecord]:
        """All records of a phase, by task."""
        folder = self._root / phase
        names = [name for name in list_names(folder) if name.endswith(".json") and name[0] != "."]
        if isinstance(folder, Path):
            # Names as text: with a hundred thousand records, path objects would take most of the time.
            contents: Iterable[bytes] = map(_read_file, (f"{folder}/{name}" for name in names))
        else:
            contents = get_many([folder / name for name in names])
        records = {
            name[:-5]: self._parse(content, f"{folder}/{name}")
            for name, content in zip(names, contents, strict=True)
        }
        return {task: record for task, record in records.items() if record is not None}

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

    def require_few(self, phase: str, tasks: Iterable[str]) -> list[TaskRecord]:
        """Records of `tasks`, in their order, without a look at the others of their phase.

        Raises
        ------
        StoreError
            When one is missing.
        """
        places = [self._root / phase / f"{task}.json" for task in tasks]
        try:
            records = [
                self._parse(content, str(place))
                for place, content in zip(places, get_many(places), strict=True)
            ]
        except FileNotFoundError as error:
            raise StoreError(f"ledger lacks {error.filename or error}; run the same command again") from error
        found = [record for record in records if record is not None]
        if len(found) < len(records):
            lost = places[records.index(None)]
            raise StoreError(f"ledger record {lost} is of another job; run the same command again")
        return found

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

    def _parse(self, content: bytes, place: str) -> TaskRecord | None:
        try:
            fields = json.loads(content)
            return TaskRecord(**fields) if fields.pop("job", "") == self._incarnation else None
        except (ValueError, TypeError) as error:
            raise StoreError(
                f"ledger record {place} is damaged ({error}); delete it and run again"
            ) from error


def _read_file(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123  (as above)
        return file.read()
