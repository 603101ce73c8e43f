"""Run one job in a process of its own: ``python -m cluster.jobs.run_one JOBFOLDER``.

Writes what happens as events of the job folder, the log beside them, and at the end the outcome. A job
has one process at a time (a lock that goes with the process) and is never run again once it has an
outcome. Exit codes: 0 an outcome was written, 3 another process has the job, 75 lost on the way (to be
continued), 143 stopped.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, Final

from cluster.jobs.growing import GrowingPreview
from cluster.jobs.jobfolder import JobBusyError, JobFolder
from cluster.jobs.places import Places
from mosaic import pipeline
from mosaic.errors import ClusterError, MosaicError, RunCancelledError
from mosaic.exposure.association import is_association, read_association
from mosaic.exposure.inputs import expand_inputs
from mosaic.graph.cancel import CancelToken
from mosaic.graph.job import chip_task, tile_of
from mosaic.graph.ledger import Ledger
from mosaic.graph.plan import Layer, Plan
from mosaic.graph.progress import Observer, PhaseTotal, TaskRecord
from mosaic.options import RunOptions
from mosaic.outcome import PlanReport, Result, estimate_seconds
from mosaic.parameters import load_settings
from mosaic.places import Place, get, place_of, size_of
from mosaic.retries import io_errors
from mosaic.runlog import LOGGER_NAME, log_to_stderr, logging_to_file
from mosaic.summary import format_summary

EXIT_BUSY: Final = 3
EXIT_LOST: Final = 75
EXIT_STOPPED: Final = 143
LASTING: Final = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)
"""Faults of the file system that the same run would meet again."""
_MEMORY_INTERVAL_S: Final = 1.0
_LAYER_OF_PHASE: Final = {"weights": "separate", "single": "separate", "median": "separate", "final": "final"}


class Recorder:
    """Observer that writes events, and the preview as it grows.

    Parameters
    ----------
    folder : JobFolder
        Folder of the job.
    store : Path or RemotePlace
        Job folder of the mosaic.
    """

    def __init__(self, folder: JobFolder, store: Place) -> None:
        self._folder = folder
        self._store = store
        self._layers: dict[str, Layer] = {}
        self._chip_pixels: dict[str, int] = {}
        self._preview: GrowingPreview | None = None
        self._lock = threading.Lock()
        self._memory_s = 0.0

    def begin(self, phases: Sequence[PhaseTotal]) -> None:
        """Announce the phases, the tiles, and which of them an earlier run finished."""
        # The plan that is carried out: with the tiles of an earlier run, without what was set aside since.
        plan = Plan.read(self._store)
        self._layers = {"separate": plan.separate, "final": plan.final}
        self._chip_pixels = {chip_task(chip): chip.shape_yx.ny * chip.shape_yx.nx for chip in plan.chips}
        self._preview = GrowingPreview(self._store, plan, self._folder.preview)
        ledger = Ledger(self._store, plan.incarnation)
        tiles = {
            phase.name: [tile_of(name) for name in ledger.read_phase(phase.name)] if phase.n_done else []
            for phase in phases
            if phase.name in _LAYER_OF_PHASE
        }
        totals = [[phase.name, phase.n_tasks, phase.n_done] for phase in phases]
        layers = {name: _describe_layer(plan, layer) for name, layer in self._layers.items()}
        self._folder.append("begin", phases=totals, tiles=tiles, layers=layers)

    def task_done(self, record: TaskRecord) -> None:
        """Tell of one finished task."""
        layer = _LAYER_OF_PHASE.get(record.phase)
        tile = None if layer is None else tile_of(record.task)
        if layer is None or tile is None:
            pixels = self._chip_pixels.get(record.task, 0)
        else:
            window = self._layers[layer].window(tile)
            pixels = (window.y1 - window.y0) * (window.x1 - window.x0)
        self._folder.append(
            "task",
            phase=record.phase,
            task=record.task,
            tile=tile,
            seconds=round(record.seconds, 4),
            read=record.bytes_read,
            written=record.bytes_written,
            pixels=pixels,
            rss=record.peak_rss,
        )
        if record.phase == "final" and (preview := self._preview) is not None:
            self._draw(lambda: preview.add(record.task))

    def memory(self, used_bytes: int, budget_bytes: int) -> None:
        """Tell of the memory, once a second."""
        with self._lock:
            now = time.monotonic()
            if now - self._memory_s < _MEMORY_INTERVAL_S:
                return
            self._memory_s = now
        self._folder.append("memory", used=used_bytes, budget=budget_bytes)

    def message(self, level: str, text: str) -> None:
        """Pass a message on, to the log as well."""
        self._folder.append("message", level=level, text=text)
        logging.getLogger(LOGGER_NAME).log(logging.getLevelNamesMapping()[level], text)

    def end(self, *, ok: bool) -> None:
        """Write the last preview."""
        is_there = size_of(self._store / "mosaic.zarr" / "sci" / "zarr.json") > 0
        if ok and is_there and (preview := self._preview) is not None:
            self._draw(preview.finish)

    def _draw(self, draw: Callable[[], None]) -> None:
        """Draw the preview; a job does not fail for want of it."""
        try:
            draw()
        except OSError as error:
            logging.getLogger(LOGGER_NAME).warning("no preview: %s", error)


_: type[Observer] = Recorder


def describe_plan(report: PlanReport) -> dict[str, Any]:
    """What is stated before the run, as an event."""
    plan, budget = report.plan, report.budget
    return {
        "rows": [list(row) for row in report.as_rows()],
        "peak_bytes": budget.peak_bytes,
        "granted_bytes": budget.granted_bytes,
        "n_parallel": budget.n_parallel,
        "scratch_bytes": budget.scratch_bytes,
        "product_bytes": budget.product_bytes,
        "estimated_s": round(estimate_seconds(plan, budget), 1),
        "folder": str(pipeline.job_folder(report.names)),
    }


def _describe_layer(plan: Plan, layer: Layer) -> dict[str, Any]:
    shape = layer.grid.shape_yx
    return {
        "width": shape.nx,
        "height": shape.ny,
        "tile": layer.tile,
        "columns": layer.n_columns,
        "tiles": sorted(layer.chips_of_tile),
        "depth": max((len(chips) for chips in layer.chips_of_tile.values()), default=0),
        "n_chips": len(plan.chips),
    }


def prove_inputs(inputs: Sequence[str], places: Places) -> None:
    """Prove that lists, tables, patterns and links lead to files within the roots only.

    Raises
    ------
    ParameterError
        Naming the first file that lies outside.
    """
    for entry in inputs:
        if entry.startswith("@"):
            _prove_list(entry[1:], places)
    expanded = expand_inputs(inputs)
    named = [path for file in expanded.files for path in (file.path, file.ivm_path) if path]
    tables = [entry for entry in inputs if is_association(entry) and Path(entry).is_file()]
    named += [member for table in tables for member in read_association(table).files]
    places.prove_files(named)


def _prove_list(listing: str, places: Places) -> None:
    """Prove every name in a list before anything looks at what it stands for."""
    folder = listing.rpartition("/")[0]
    for line in get(place_of(listing)).decode("utf-8", "replace").splitlines():
        for name in line.split("#", 1)[0].split():
            is_plain = "://" not in name and not name.startswith("/")
            places.resolve_input(f"{folder}/{name}" if is_plain else name)


@contextmanager
def _working_folder(folder: JobFolder, output: str, places: Places) -> Iterator[None]:
    """Be where files go that have no other place, as DrizzlePac's steps want it: beside the product.

    Beside one in an object store there is no such place: it is then a folder of the job that goes with the
    process, together with everything that is on its way to the store.
    """
    place = place_of(places.resolve_output(output))
    if isinstance(place, Path):
        place.parent.mkdir(parents=True, exist_ok=True)
        places.resolve_output(output)
        os.chdir(place.parent)
        yield
        return
    folder.clear_work()
    folder.work.mkdir(mode=0o700)
    os.chdir(folder.work)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder.work)
    try:
        yield
    finally:
        os.chdir(folder.path)
        folder.clear_work()


def run_job(folder: JobFolder, cancel: CancelToken) -> dict[str, Any]:
    """Carry out the job and say how it ended.

    Raises
    ------
    RunCancelledError
        When `cancel` was used.
    ClusterError
        When there is no scheduler or no worker: the job is to be continued once there is.
    OSError, CancelledError, and errors of the clients of object stores
        When a file system or a connection was lost: the job is to be continued.
    """
    document = folder.read()
    request = document["resolved"]
    places = Places.of_document(document["places"])
    try:
        with _working_folder(folder, request["output"], places):
            prove_inputs(request["inputs"], places)
            result = _drizzle(folder, request, cancel)
    except (RunCancelledError, ClusterError):
        raise
    except (MosaicError, *LASTING) as error:
        logging.getLogger(LOGGER_NAME).error("%s", error)  # noqa: TRY400  (one line)
        return {"ok": False, "error": str(error), "kind": type(error).__name__}
    except MemoryError:
        return {
            "ok": False,
            "error": "out of memory; grant the job less than the machine has",
            "kind": "MemoryError",
        }
    return _describe_result(result)


def _drizzle(folder: JobFolder, request: Mapping[str, Any], cancel: CancelToken) -> Result:
    """Plan, tell of the plan, and run."""
    settings = load_settings(None, (), **request["parameters"])
    options = RunOptions.resolve(**request["options"])
    if _was_begun(folder):
        # What was there before this job is gone already; what is there now is its own.
        options = options.model_copy(update={"restart": False})
    report = pipeline.plan(request["inputs"], request["output"], options=options, settings=settings)
    folder.append("plan", **describe_plan(report))
    recorder = Recorder(folder, pipeline.job_folder(report.names))
    cancel.raise_if_cancelled()
    with logging_to_file(settings.runfile) as log:
        log.info("mosaic drizzle: %s -> %s", " ".join(request["inputs"]), request["output"])
        result = pipeline.drizzle(
            request["inputs"],
            request["output"],
            options=options,
            observer=recorder,
            settings=settings,
            align=request["align"],
            cancel=cancel,
        )
        for line in format_summary(result):
            log.info(line)
    return result


def _was_begun(folder: JobFolder) -> bool:
    """Whether an earlier attempt came as far as to work in the job folder of the mosaic."""
    offset = 0
    while lines := folder.events(offset):
        if any(line.event["kind"] == "begin" for line in lines):
            return True
        offset = lines[-1].end
    return False


def _describe_result(result: Result) -> dict[str, Any]:
    return {
        "ok": True,
        "error": "",
        "products": [str(path) for path in result.products],
        "folder": str(result.job_folder),
        "timings": [list(row) for row in result.timings],
        "peak_bytes": result.peak_memory_bytes,
        "stated_bytes": result.budget.peak_bytes,
        "rejected": [str(error) for error in result.rejected],
        "warnings": [*result.alignment, *result.warnings],
    }


def _losses() -> tuple[type[Exception], ...]:
    """Errors of a file system or a connection, those of clients that came into use included."""
    return (*io_errors(), CancelledError)


def main(arguments: Sequence[str]) -> int:
    """Run the job of a folder; see the module for the exit codes."""
    folder = JobFolder(Path(arguments[0]))
    log_to_stderr()
    cancel = CancelToken()
    # The handler may have interrupted a holder of the token's lock.
    signal.signal(signal.SIGTERM, lambda *_: Thread(target=cancel.cancel, daemon=True).start())
    log = logging.getLogger(LOGGER_NAME)
    try:
        with folder.hold():
            if folder.outcome is not None:
                return 0
            if folder.is_cancelled:
                return EXIT_STOPPED
            folder.append("attempt", pid=os.getpid())
            outcome = run_job(folder, cancel)
            folder.append("end", ok=outcome["ok"], error=outcome["error"])
            folder.finish(outcome)
    except JobBusyError:
        return EXIT_BUSY
    except RunCancelledError:
        log.warning("stopped on request")
        return EXIT_STOPPED
    except ClusterError as error:
        log.warning("%s", error)
        folder.append("away", text=str(error))
        return EXIT_LOST
    except _losses() as error:
        log.error("lost: %s: %s", type(error).__name__, error)  # noqa: TRY400  (one line)
        folder.append("message", level="WARNING", text=f"lost: {error}; the job is continued")
        return EXIT_LOST
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
