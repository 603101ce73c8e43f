"""The end of a run: products, what is written back to exposures, and the quality report.

The report is made beside the products, and what needs no product (their headers, the checks of exposures and
median) while the last tiles are drizzled: made one after the other they would keep one core busy and the
others waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mosaic.graph.budget import Budget
from mosaic.graph.cancel import CancelToken
from mosaic.graph.driver import Task, TaskKey
from mosaic.graph.job import Job
from mosaic.graph.progress import SilentObserver, TaskRecord
from mosaic.headers.product import ProductHeaders, build_product_headers
from mosaic.outcome import StepClock
from mosaic.places import Place
from mosaic.products.delivery import deliver, folder_on_disk
from mosaic.products.export import export_intermediates, export_products, product_facts
from mosaic.products.naming import ProductNames
from mosaic.products.update import update_inputs, write_cleaned

if TYPE_CHECKING:
    from mosaic.quality.report import ExposureChecks

_BEFORE_FINAL = ("median", "cosmic_rays")
"""Phases after which nothing but the final drizzle is left."""


@dataclass(frozen=True, slots=True)
class _Early:
    """What was made ahead; what was not is made when it is needed."""

    headers: ProductHeaders | None = None
    """Headers of the products."""
    checks: ExposureChecks | None = None
    """Checks of the quality report that look at exposures and median."""


@dataclass(frozen=True, slots=True)
class Reported:
    """What became of the quality report."""

    messages: tuple[tuple[str, str], ...] = ()
    """Level and line, to be told."""
    problems: tuple[str, ...] = ()
    """Why there is no report, if there should be one."""


class Finish(SilentObserver):
    """Ends a run; told of its tasks, it begins as soon as median and masks of cosmic rays are complete.

    Parameters
    ----------
    job : Job
        The job.
    names : ProductNames
        Names of its products.
    clock : StepClock
        Told of every finished task, and of the time that this takes.
    budget : Budget
        What may be done at a time.
    tasks, done
        Tasks by phase, and those that earlier runs did; where these leave none before the final drizzle,
        nothing is begun early.
    with_report : bool
        Whether there is to be a quality report.
    """

    def __init__(
        self,
        job: Job,
        names: ProductNames,
        clock: StepClock,
        budget: Budget,
        *,
        tasks: Mapping[str, Sequence[Task]],
        done: Collection[TaskKey],
        with_report: bool,
    ) -> None:
        self._job = job
        self._names = names
        self._clock = clock
        self._budget = budget
        before = [task.key for phase in _BEFORE_FINAL for task in tasks.get(phase, ())]
        self._n_left = sum(key not in done for key in before) if budget.reports_beside else 0
        self._with_report = with_report
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="finish")
        self._made: Future[_Early] | None = None

    def __enter__(self) -> Self:
        """Nothing starts yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what was begun."""
        self._pool.shutdown(cancel_futures=True)

    def task_done(self, record: TaskRecord) -> None:
        """Count what is done before the final drizzle, and pass on."""
        self._clock.task_done(record)
        if record.phase in _BEFORE_FINAL:
            self._n_left -= 1
            if self._n_left == 0:
                self._made = self._pool.submit(self._begin)

    def message(self, level: str, text: str) -> None:
        """Pass on."""
        self._clock.message(level, text)

    def _begin(self) -> _Early:
        headers = None
        if self._job.plan.settings.driz_combine:
            headers = build_product_headers(product_facts(self._job, self._names))
        if not self._with_report:
            return _Early(headers)
        # Imported when used: pictures take their time to load.
        from mosaic.quality.report import look_ahead  # noqa: PLC0415

        return _Early(headers, look_ahead(self._job))

    def write(self, cancel: CancelToken) -> tuple[list[Place], Reported]:
        """Write all files, the inputs last; a run that is cancelled stops between two rows of tiles.

        Raises
        ------
        MosaicError
            When something cannot be written.
        RunCancelledError
            When the run was asked to stop.
        """
        job, settings = self._job, self._job.plan.settings
        early = _Early() if self._made is None else self._made.result()
        start = time.perf_counter()
        with ExitStack() as held:
            folder = held.enter_context(folder_on_disk(self._names.folder))
            report: Callable[[], Reported] = self._reporting(early)
            local = replace(self._names, folder=folder)
            written: list[Path] = []
            if settings.driz_combine:
                written += export_products(job, local, self._budget.n_exports, early.headers)
            if not settings.clean:
                written += export_intermediates(job, local)
            written += write_cleaned(job, local)
            waiting = time.perf_counter()
            reported = report()  # it looks at the inputs, so it comes before they are changed
            waited = time.perf_counter() - waiting
            cancel.raise_if_cancelled()
            written += update_inputs(job, local)
            products = deliver(written, folder, self._names.folder)
        self._clock.add("Export", time.perf_counter() - start - waited)
        self._clock.add("Report", waited)
        return products, reported

    def _reporting(self, early: _Early) -> Callable[[], Reported]:
        """What gives the report: it is begun now, where memory allows that, else when it is asked for."""
        if not self._with_report:
            return Reported
        if self._budget.reports_beside:
            return self._pool.submit(self._report, early).result
        return lambda: self._report(early)

    def _report(self, early: _Early) -> Reported:
        """Write the quality report into the job folder."""
        from mosaic.quality.report import report_job  # noqa: PLC0415

        report, problem = report_job(self._job, self._names.rootname, early.checks)
        if report is None:
            return Reported((("WARNING", problem),), (problem,))
        bad = report.with_verdict("bad")
        told = [("WARNING", f"{check.title}: {check.shown}; {check.advice}") for check in bad]
        page = self._job.folder / "report" / "report.html"
        counts = f"{len(bad)} bad, {len(report.with_verdict('look'))} worth a look"
        return Reported((*told, ("INFO", f"quality report {page}: {counts}")))
