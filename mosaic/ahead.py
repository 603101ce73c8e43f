"""What is made of a job while its last tiles are drizzled: it needs the median and the masks, but no product.

Made afterwards it would keep one core busy while the others wait.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mosaic.graph.job import Job
from mosaic.graph.progress import Observer, SilentObserver, TaskRecord
from mosaic.headers.product import ProductHeaders, build_product_headers
from mosaic.products.export import product_facts
from mosaic.products.naming import ProductNames

if TYPE_CHECKING:
    from mosaic.quality.report import ExposureChecks

_LAST_PHASE = "cosmic_rays"
"""Phase after which nothing but the final drizzle is left."""


@dataclass(frozen=True, slots=True)
class Early:
    """What was made ahead; what was not is made when it is needed."""

    headers: ProductHeaders | None = None
    """Headers of the products."""
    checks: ExposureChecks | None = None
    """Checks of the quality report that look at exposures and median."""


class Ahead(SilentObserver):
    """Works in a thread of its own as soon as the masks are complete, and passes on what it is told.

    Parameters
    ----------
    observer : Observer
        Told of every finished task.
    job : Job
        The job.
    names : ProductNames
        Names of its products.
    n_masks : int
        Tasks of the cosmic rays that are still to be done; 0: nothing is made ahead.
    with_checks : bool
        Whether there will be a quality report.
    """

    def __init__(
        self, observer: Observer, job: Job, names: ProductNames, *, n_masks: int, with_checks: bool
    ) -> None:
        self._observer = observer
        self._job = job
        self._names = names
        self._with_checks = with_checks
        self._n_left = n_masks
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._made: Future[Early] | None = None

    def __enter__(self) -> Self:
        """Nothing starts yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what was begun."""
        self._pool.shutdown(cancel_futures=True)

    def task_done(self, record: TaskRecord) -> None:
        """Count the masks."""
        self._observer.task_done(record)
        if record.phase == _LAST_PHASE:
            self._n_left -= 1
            if self._n_left == 0:
                self._made = self._pool.submit(self._make)

    def message(self, level: str, text: str) -> None:
        """Pass on."""
        self._observer.message(level, text)

    def result(self) -> Early:
        """Wait for what was begun; nothing, when nothing was.

        Raises
        ------
        MosaicError
            When the headers cannot be made.
        """
        return Early() if self._made is None else self._made.result()

    def _make(self) -> Early:
        settings = self._job.plan.settings
        headers = None
        if settings.driz_combine:
            headers = build_product_headers(product_facts(self._job, self._names))
        if not self._with_checks:
            return Early(headers)
        # Imported when used: pictures take their time to load.
        from mosaic.quality.report import look_ahead  # noqa: PLC0415

        return Early(headers, look_ahead(self._job))
