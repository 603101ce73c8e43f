"""Small pictures for the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

from tests.bench.figures import median
from tests.bench.jobs import JOBS
from tests.bench.report import PEER, middle, peak_bytes

OURS, THEIRS, LIBRARY = "#1b6ca8", "#d1783f", "#8a8a8a"
COLOURS = {
    "mosaic": OURS,
    "DrizzlePac in memory": THEIRS,
    "DrizzlePac on disk": "#e3a982",
    "SWarp": LIBRARY,
    "reproject": "#c0c0c0",
}
_DPI = 80


def draw_jobs(cases: Mapping[str, Any], axes: Any) -> None:
    """Wall time of every program, one group per job."""
    bars = [
        (number, f"{JOBS[job].short}: {name}", value, COLOURS[name])
        for number, job in enumerate(JOBS)
        if job in cases
        for name, row in cases[job]["rows"].items()
        if (value := middle(row, "seconds")) is not None
    ]
    groups, labels, values, colours = zip(*bars, strict=True)
    places = [i + 0.6 * group for i, group in enumerate(groups)]
    found = axes.barh(places, values, color=colours)
    axes.set_yticks(places, labels)
    axes.bar_label(found, fmt="%.1f", padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("wall time of the whole command, s")


def draw_kernels(cases: Mapping[str, Any], axes: Any) -> None:
    """Processor time per pixel: ours, DrizzlePac, the C library."""
    case = cases["kernels"]
    names = [name for name in case["ours"] if name in case.get(PEER, {}) or name in case["library"]]
    groups = (
        ("mosaic, exact map", case["ours"], OURS),
        ("DrizzlePac, its map", case.get(PEER, {}), THEIRS),
        ("mosaic, map free", case["without map"], "#7fb2d6"),
        ("C drizzle, map given", case["library"], LIBRARY),
    )
    width = 0.8 / len(groups)
    for number, (label, values, colour) in enumerate(groups):
        places = [i + (number - 1.5) * width for i, name in enumerate(names) if name in values]
        axes.bar(places, [median(values[n]) for n in names if n in values], width, label=label, color=colour)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("ns per input pixel, one core")
    axes.legend(fontsize=8)


def draw_exposures(cases: Mapping[str, Any], axes: Any) -> None:
    """Processor time and memory against the number of exposures."""
    rows = [row for row in cases["exposures"]["rows"] if row["runs"]]
    counts = [row["n"] for row in rows]
    axes.plot(counts, [middle(row, "cpu_seconds") for row in rows], "o-", color=OURS)
    axes.set_xlabel("exposures on a fixed frame")
    axes.set_ylabel("CPU, s", color=OURS)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    memory = axes.twinx()
    memory.plot(counts, [(peak_bytes(row) or 0) / 2**20 for row in rows], "s--", color=THEIRS)
    memory.set_ylabel("peak memory, MiB (limit 1024)", color=THEIRS)
    memory.set_ylim(0, 1100)
    memory.axhline(1024, color=THEIRS, linewidth=0.8)


def draw_areas(cases: Mapping[str, Any], axes: Any) -> None:
    """Processor time against the area of the frame, at a constant number of exposures."""
    for name, colour in (("mosaic", OURS), (PEER, THEIRS)):
        rows = [row for row in cases["area"]["rows"] if row["programs"][name]["runs"]]
        area = [row["frame"][0] * row["frame"][1] / 1e6 for row in rows]
        cpu = [middle(row["programs"][name], "cpu_seconds") for row in rows]
        if rows:
            axes.plot(area, cpu, "o-", color=colour, label=name)
    axes.set_xlabel("output frame, million pixels (16 exposures)")
    axes.set_ylabel("CPU, s")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)


_PLOTS: dict[str, tuple[Callable[[Mapping[str, Any], Any], None], tuple[str, ...], str]] = {
    "jobs": (draw_jobs, tuple(JOBS), "Whole jobs"),
    "kernels": (draw_kernels, ("kernels",), "Kernels"),
    "exposures": (draw_exposures, ("exposures",), "Cost and memory against the number of exposures"),
    "area": (draw_areas, ("area",), "Cost against the area of the mosaic"),
}


def draw(cases: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw what was measured; return the files."""
    made = []
    for name, (drawer, needed, title) in _PLOTS.items():
        if not any(_has_runs(cases.get(case)) for case in needed):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        figure, axes = plt.subplots(figsize=(7.5, 4.0), layout="constrained")
        drawer(cases, axes)
        axes.set_title(title, fontsize=11)
        axes.spines["top"].set_visible(False)
        path = folder / f"performance-{name}.png"
        figure.savefig(path, dpi=_DPI)
        plt.close(figure)
        made.append(path)
    return made


def _has_runs(case: Mapping[str, Any] | None) -> bool:
    if case is None:
        return False
    if "ours" in case:
        return True
    rows = case["rows"]
    entries = list(rows.values()) if isinstance(rows, dict) else list(rows)
    parts = [part for entry in entries for part in entry.get("programs", {"": entry}).values()]
    return any(part["runs"] for part in parts)
