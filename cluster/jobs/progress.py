"""How far a job is, folded from its events; pure.

Covers phases, tiles, memory, throughput and messages. Does not cover where events come from
(`cluster.jobs.jobfolder`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

WINDOW_S: Final = 60.0
"""Time over which the present speed is measured."""
TILE_PHASES: Final = ("weights", "single", "median", "final")
"""Phases whose tasks are tiles, in order."""
_MOST_MESSAGES: Final = 200


@dataclass(slots=True)
class Phase:
    """Work of one phase."""

    n_tasks: int
    n_done: int
    seconds: float = 0.0
    """Seconds of work, summed over all cores."""


@dataclass(slots=True)
class Totals:
    """What all tasks of this service's lifetime amount to."""

    n_tasks: int = 0
    n_tiles: int = 0
    pixels: int = 0
    bytes_read: int = 0
    bytes_written: int = 0


@dataclass(slots=True)
class Progress:
    """What the events of a job tell so far; `add` takes the next one."""

    offset: int = 0
    """Where in the events to go on."""
    plan: dict[str, Any] = field(default_factory=dict)
    """What was stated before the run."""
    layers: dict[str, Any] = field(default_factory=dict)
    """Grids of tiles."""
    phases: dict[str, Phase] = field(default_factory=dict)
    """Phases in order."""
    tiles: dict[str, set[int]] = field(default_factory=dict)
    """Finished tiles of every phase that has tiles."""
    memory_bytes: int = 0
    """Memory in use, as last seen."""
    peak_bytes: int = 0
    """Largest memory seen."""
    totals: Totals = field(default_factory=Totals)
    """Sums over finished tasks."""
    messages: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=_MOST_MESSAGES))
    """Level and text of the latest messages."""
    away: str = ""
    """Why the latest attempt had no workers, if so."""
    n_new_tasks: int = 0
    """Tasks that the latest attempt finished."""
    _recent: deque[tuple[float, int, int]] = field(default_factory=deque)

    def add(self, event: dict[str, Any]) -> None:
        """Take one event; kinds that are unknown say nothing."""
        match event["kind"]:
            case "plan":
                self.plan = {name: value for name, value in event.items() if name not in {"kind", "time"}}
            case "begin":
                self._begin(event)
            case "task":
                self._task(event)
            case "memory":
                self.memory_bytes = event["used"]
                self.peak_bytes = max(self.peak_bytes, event["used"])
            case "message":
                self.messages.append((event["level"], event["text"]))
            case "away":
                self.away = event["text"]
                self.messages.append(("WARNING", event["text"]))
            case "attempt":
                self.away = ""
                self.n_new_tasks = 0
                self.memory_bytes = 0

    def _begin(self, event: dict[str, Any]) -> None:
        seconds = {name: phase.seconds for name, phase in self.phases.items()}
        self.phases = {
            name: Phase(n_tasks, n_done, seconds.get(name, 0.0)) for name, n_tasks, n_done in event["phases"]
        }
        self.layers = event["layers"]
        self.tiles = {phase: set(tiles) for phase, tiles in event["tiles"].items()}

    def _task(self, event: dict[str, Any]) -> None:
        phase = self.phases.get(event["phase"])
        if phase is None:
            return
        phase.n_done += 1
        phase.seconds += event["seconds"]
        totals = self.totals
        totals.n_tasks += 1
        totals.pixels += event["pixels"]
        totals.bytes_read += event["read"]
        totals.bytes_written += event["written"]
        self.n_new_tasks += 1
        is_tile = event["tile"] is not None
        if is_tile:
            totals.n_tiles += 1
            self.tiles.setdefault(event["phase"], set()).add(event["tile"])
        self._recent.append((event["time"], int(is_tile), event["pixels"]))

    @property
    def done(self) -> float:
        """Share of all tasks that are finished."""
        n_tasks = sum(phase.n_tasks for phase in self.phases.values())
        return sum(phase.n_done for phase in self.phases.values()) / n_tasks if n_tasks else 0.0

    def speed(self, now_s: float) -> tuple[float, float]:
        """Tiles and pixels a second over the last minute."""
        while self._recent and self._recent[0][0] < now_s - WINDOW_S:
            self._recent.popleft()
        return (
            sum(entry[1] for entry in self._recent) / WINDOW_S,
            sum(entry[2] for entry in self._recent) / WINDOW_S,
        )

    def document(self) -> dict[str, Any]:
        """Progress as the API shows it, without the tiles."""
        return {
            "done": round(self.done, 4),
            "phases": [
                {
                    "name": name,
                    "tasks": phase.n_tasks,
                    "done": phase.n_done,
                    "seconds": round(phase.seconds, 2),
                }
                for name, phase in self.phases.items()
            ],
            "plan": self.plan,
            "memory": self.memory_bytes,
            "peak_memory": self.peak_bytes,
            "bytes_read": self.totals.bytes_read,
            "bytes_written": self.totals.bytes_written,
            "pixels": self.totals.pixels,
            "messages": [{"level": level, "text": text} for level, text in self.messages],
        }

    def tile_document(self) -> dict[str, Any]:
        """Grids of tiles, which of them each phase has finished, and after which event that was so."""
        return {
            "events": self.offset,
            "layers": self.layers,
            "done": {
                phase: sorted(self.tiles.get(phase, ())) for phase in TILE_PHASES if phase in self.phases
            },
        }
