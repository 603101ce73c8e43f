"""Live progress of a run: one bar per step on a terminal, plain lines elsewhere.

Covers showing what the `Observer` protocol reports. Does not cover the log file
(`mosaic.cli.logfile`), to which messages are handed on through the ``mosaic`` logger.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from mosaic.graph.progress import Observer, PhaseTotal, TaskRecord
from mosaic.runlog import LOGGER_NAME
from mosaic.values import format_memory

if TYPE_CHECKING:
    # Loaded when something is drawn: plain lines do without.
    from rich.console import Console
    from rich.progress import TaskID


class Display(StrEnum):
    """How progress is shown."""

    LIVE = "live"
    PLAIN = "plain"
    QUIET = "quiet"


class PhaseName(NamedTuple):
    """How a phase is called on the screen."""

    title: str
    unit: str


PHASE_NAMES: Final = {
    "static": PhaseName("Pixel statistics", "chips"),
    "static_mask": PhaseName("Static mask", "detectors"),
    "sky": PhaseName("Subtract sky", "chips"),
    "sky_overlaps": PhaseName("Match sky", "chips"),
    "weights": PhaseName("Weights", "tiles"),
    "single": PhaseName("Separate drizzle", "tiles"),
    "median": PhaseName("Separate drizzle, median", "tiles"),
    "cosmic_rays": PhaseName("Blot, cosmic rays", "chips"),
    "final": PhaseName("Final drizzle", "tiles"),
    "export": PhaseName("Export", "files"),
}
_PLAIN_STEPS: Final = 10
"""Without a terminal a phase prints this many lines."""


@dataclass(slots=True)
class PhaseState:
    """What is known of one phase while it runs."""

    name: PhaseName
    """How it is called."""
    n_tasks: int
    """Tasks in all."""
    n_done: int
    """Tasks finished, by this run or an earlier one."""
    n_before: int
    """Tasks finished by an earlier run: they count as done but not for the rate."""
    started_s: float | None = None
    """Clock when its first task must have begun."""
    latest_s: float = 0.0
    """Clock when its latest task ended."""

    @property
    def rate_per_s(self) -> float | None:
        """Tasks a second, as far as known."""
        n_new = self.n_done - self.n_before
        if self.started_s is None or n_new == 0 or self.latest_s <= self.started_s:
            return None
        return n_new / (self.latest_s - self.started_s)

    def describe(self) -> str:
        """Done of all, rate, and time left."""
        text = f"{self.n_done}/{self.n_tasks} {self.name.unit}"
        rate = self.rate_per_s
        if rate is None:
            return text
        left = round((self.n_tasks - self.n_done) / rate)
        speed = f"{rate:.1f}/s" if rate >= 1.0 else f"{1.0 / rate:.1f} s each"
        return f"{text}  {speed}" + (f"  {left // 60:d}:{left % 60:02d} left" if left else "")


def choose_display(*, quiet: bool) -> Display:
    """Display that suits stderr: bars on a terminal, lines elsewhere."""
    if quiet:
        return Display.QUIET
    return Display.LIVE if sys.stderr.isatty() else Display.PLAIN


class _Bars:
    """A bar for each phase and a line about the memory, drawn until they are stopped.

    Parameters
    ----------
    console : Console
        Where to draw.
    """

    def __init__(self, console: Console) -> None:
        from rich.console import Group
        from rich.live import Live
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.text import Text

        self._bars: dict[str, TaskID] = {}
        self._memory = Text("")
        self._progress = Progress(
            TextColumn("{task.description:<25}"), BarColumn(bar_width=30), TextColumn("{task.fields[detail]}")
        )
        self._live = Live(
            Group(self._progress, self._memory), console=console, refresh_per_second=4, redirect_stdout=False
        )
        self._live.start()

    def show(self, phase: str, state: PhaseState) -> None:
        """Draw the bar of a phase as it stands now."""
        if phase not in self._bars:
            self._bars[phase] = self._progress.add_task(state.name.title, total=state.n_tasks, detail="")
        self._progress.update(self._bars[phase], completed=state.n_done, detail=state.describe())

    def show_memory(self, text: str) -> None:
        """Draw the line about the memory."""
        self._memory.plain = text

    def stop(self) -> None:
        """Remove all."""
        self._live.stop()


class LiveProgress:
    """Observer that shows a run to a person; safe to call from several threads.

    Parameters
    ----------
    display : Display
        Bars, lines or nothing.
    console : Console, optional
        Where to draw; stderr by default.
    clock : callable, optional
        Seconds that only grow.
    """

    def __init__(
        self,
        display: Display = Display.PLAIN,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._given = console
        self._display = display
        self._clock = clock
        self._lock = threading.Lock()
        self._phases: dict[str, PhaseState] = {}
        self._latest_event_s = clock()
        self._memory_text = ""
        self._bars: _Bars | None = None

    @cached_property
    def console(self) -> Console:
        """Where is drawn."""
        from rich.console import Console

        return self._given or Console(stderr=True, soft_wrap=True)

    def __enter__(self) -> Self:
        """Start; the display appears with `begin`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the live display, however the run ended."""
        self.end(ok=error is None)

    def begin(self, phases: Sequence[PhaseTotal]) -> None:
        """Draw one bar per phase."""
        with self._lock:
            self._latest_event_s = self._clock()
            if self._display is Display.LIVE and self._bars is None:
                self._bars = _Bars(self.console)
                self._bars.show_memory(self._memory_text)
            for phase in phases:
                name = PHASE_NAMES.get(phase.name, PhaseName(phase.name, "tasks"))
                state = PhaseState(name, phase.n_tasks, phase.n_done, phase.n_done)
                self._phases[phase.name] = state
                if self._bars is not None:
                    self._bars.show(phase.name, state)
                if self._display is Display.PLAIN and phase.n_done:
                    self._print(f"{name.title}: {state.describe()} (done by an earlier run)")

    def task_done(self, record: TaskRecord) -> None:
        """Advance the bar of the record's phase."""
        with self._lock:
            now = self._clock()
            state = self._phases.get(record.phase)
            if state is None:
                return
            if state.started_s is None:
                state.started_s = self._latest_event_s
            state.latest_s = self._latest_event_s = now
            state.n_done += 1
            if self._bars is not None:
                self._bars.show(record.phase, state)
            if self._display is Display.PLAIN and _is_worth_a_line(state.n_done, state.n_tasks):
                memory = f"  {self._memory_text}" if self._memory_text else ""
                self._print(f"{state.name.title}: {state.describe()}{memory}")

    def memory(self, used_bytes: int, budget_bytes: int) -> None:
        """Show memory in use against the budget."""
        with self._lock:
            self._memory_text = f"memory {format_memory(used_bytes)} of {format_memory(budget_bytes)}"
            if self._bars is not None:
                self._bars.show_memory(self._memory_text)

    def message(self, level: str, text: str) -> None:
        """Hand a message to the log, which prints it above the bars."""
        logging.getLogger(LOGGER_NAME).log(logging.getLevelNamesMapping()[level], text)

    def end(self, *, ok: bool) -> None:
        """Stop drawing; safe to call twice."""
        del ok
        with self._lock:
            if self._bars is not None:
                self._bars.stop()
                self._bars = None

    def _print(self, text: str) -> None:
        """Print one line as it stands; the console would take as long as a task for it."""
        file = sys.stderr if self._given is None else self._given.file
        file.write(f"{text}\n")
        file.flush()


def _is_worth_a_line(n_done: int, n_tasks: int) -> bool:
    """Whether a tenth of the phase was completed with this task."""
    return n_done * _PLAIN_STEPS // n_tasks > (n_done - 1) * _PLAIN_STEPS // n_tasks


_: type[Observer] = LiveProgress
