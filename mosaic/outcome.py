"""What a run would take and what it made: plan report, result, seconds by step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mosaic.errors import ExposureError
from mosaic.graph.budget import Budget
from mosaic.graph.plan import Plan
from mosaic.graph.progress import Observer, SilentObserver, TaskRecord
from mosaic.places import Place
from mosaic.products.naming import ProductNames

STEP_OF_PHASE = {
    "static": "Static Mask",
    "static_mask": "Static Mask",
    "sky": "Subtract Sky",
    "sky_overlaps": "Subtract Sky",
    "weights": "Separate Drizzle",
    "single": "Separate Drizzle",
    "median": "Create Median",
    "cosmic_rays": "Blot and Driz_CR",
    "final": "Final Drizzle",
}
"""DrizzlePac's name of the step that a phase belongs to (separate drizzle and median are one pass)."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run made."""

    products: tuple[Place, ...]
    """Product files, and intermediates when they were asked for."""
    job_folder: Place
    """Stores, ledger and plan."""
    timings: tuple[tuple[str, float, str], ...]
    """Step, seconds of work of its tasks (wall time for Initialization, Export, Report and Total), note.

    The report is made while products are written: its time is what it takes beyond that.
    """
    peak_memory_bytes: int
    """Largest memory of all processes of the run together, as seen by sampling."""
    budget: Budget
    """What was stated before the run."""
    rejected: tuple[ExposureError, ...] = ()
    """Exposures that were set aside, and why."""
    warnings: tuple[str, ...] = ()
    """What the user should know."""
    alignment: tuple[str, ...] = ()
    """What the alignment found, one line an exposure; the files are in ``align`` in the job folder."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Products that lie on a disk of this machine."""
        return tuple(product for product in self.products if isinstance(product, Path))


@dataclass(frozen=True, slots=True)
class PlanReport:
    """What a run would do."""

    plan: Plan
    budget: Budget
    names: ProductNames
    rejected: tuple[ExposureError, ...]
    is_aligned_first: bool = False
    """Whether the run begins with an alignment, which reads pixels and may move the frame a little."""

    def as_rows(self) -> list[tuple[str, str]]:
        """Label and value, one row each."""
        final, separate = self.plan.final, self.plan.separate
        shape = final.grid.shape_yx
        mib = 1 << 20
        return [
            ("exposures", f"{len(self.plan.exposures)} with {len(self.plan.chips)} chips"),
            ("set aside", "; ".join(str(error) for error in self.rejected) or "none"),
            (
                "product",
                str(self.names.place(self.names.built if self.plan.settings.build else self.names.stem)),
            ),
            ("frame", f"{shape.nx} x {shape.ny} pixels of {final.grid.scale_arcsec:.6g} arcsec"),
            ("centre", "RA {:.7f} Dec {:+.7f}".format(*final.grid.crval_deg)),
            ("position angle of +y", f"{final.grid.orientat_deg:.4f} deg"),
            ("tiles", f"{len(final.chips_of_tile)} of {final.tile} px, median {len(separate.chips_of_tile)}"),
            ("tasks at a time", str(self.budget.n_parallel)),
            (
                "peak memory",
                f"{self.budget.peak_bytes / mib:.0f} MiB of {self.budget.granted_bytes / mib:.0f} MiB",
            ),
            ("scratch disk", f"{self.budget.scratch_bytes / mib:.0f} MiB"),
            ("product disk", f"{self.budget.product_bytes / mib:.0f} MiB"),
            ("estimated time", f"{estimate_seconds(self.plan, self.budget):.0f} s with compiled kernels"),
            *([("alignment", "measured by the run; the frame follows it")] if self.is_aligned_first else []),
        ]


SECONDS_PER_INPUT_PIXEL = 4.5e-7
"""Work of all phases per input pixel with the default parameters, one core (measured)."""


def estimate_seconds(plan: Plan, budget: Budget) -> float:
    """Rough wall time of a run."""
    pixels = sum(chip.shape_yx.ny * chip.shape_yx.nx for chip in plan.chips)
    return 3.0 + pixels * SECONDS_PER_INPUT_PIXEL / budget.n_parallel


class StepClock(SilentObserver):
    """Adds up the seconds of each step, and passes everything on.

    Parameters
    ----------
    observer : Observer
        Told of everything.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._seconds: dict[str, float] = {}

    def add(self, step: str, seconds: float) -> None:
        """Add seconds to a step."""
        self._seconds[step] = self._seconds.get(step, 0.0) + seconds

    def task_done(self, record: TaskRecord) -> None:
        """Add those of a finished task."""
        self.add(STEP_OF_PHASE[record.phase], record.seconds)
        self._observer.task_done(record)

    def message(self, level: str, text: str) -> None:
        """Pass on."""
        self._observer.message(level, text)

    def rows(self) -> tuple[tuple[str, float, str], ...]:
        """Step, seconds and note, in the order of the steps."""
        order = ["Initialization", *dict.fromkeys(STEP_OF_PHASE.values()), "Export", "Report", "Total"]
        return tuple(
            (step, self._seconds.get(step, 0.0), "" if step in self._seconds else "off or done before")
            for step in order
        )
