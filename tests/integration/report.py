"""The figures of the scenarios as tables of `docs/reliability.md`, between two marks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


def write(page: Path, figures: Mapping[str, Any]) -> None:
    """Replace the figures of a page."""
    text = page.read_text(encoding="utf-8")
    tables = "\n".join(_tables(figures))
    found = re.subn(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{tables}\n{END}", text, flags=re.DOTALL)
    if found[1] != 1:
        raise ValueError(f"{page} has no place for figures")
    page.write_text(found[0], encoding="utf-8")


def _tables(figures: Mapping[str, Any]) -> Iterator[str]:
    yield from _kills(figures)
    if "store" in figures:
        found = figures["store"]
        yield "\n### An object store that loses writes\n"
        yield "| writes | dropped | truncated | answers cut short | told to slow down | undetected |"
        yield "|---|---|---|---|---|---|"
        names = ("writes", "dropped", "truncated", "answers cut", "throttled", "undetected")
        yield f"| {' | '.join(str(found[name]) for name in names)} |"
    if "restarts" in figures:
        found = figures["restarts"]
        yield "\n### A job service that is killed and restarted\n"
        yield "| jobs | service killed | service stopped | jobs killed | done | lost | run twice | bits |"
        yield "|---|---|---|---|---|---|---|---|"
        names = ("jobs", "service_kills", "service_stops", "job_kills", "done")
        yield f"| {' | '.join(str(found[name]) for name in names)} | 0 | 0 | identical |"
    rows = list(_outcomes(figures))
    if rows:
        yield "\n### Other trouble\n"
        yield "| what | what the user reads |"
        yield "|---|---|"
        yield from rows


def _kills(figures: Mapping[str, Any]) -> Iterator[str]:
    runs = [("disk", run) for run in figures.get("kills", ())]
    runs += [("S3", figures["remote-kills"])] if "remote-kills" in figures else []
    if not runs:
        return
    roles = ("worker", "scheduler", "service", "driver")
    yield "\n### Killed processes\n"
    yield (
        f"| run | files on | {' | '.join(roles)} | tasks | finished tasks done again | retried by hand "
        "| seconds | bits |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for number, (place, run) in enumerate(runs, 1):
        killed = [str(run["kills"].get(role, 0)) for role in roles]
        again = f"{run['redone']} ({100 * run['redone'] / run['tasks']:.1f} %)"
        row = [str(number), place, *killed, str(run["tasks"]), again, str(run["retries"])]
        row += [f"{run['seconds']:.0f}", f"identical ({run['chunks compared']} chunks and images)"]
        yield f"| {' | '.join(row)} |"


def _outcomes(figures: Mapping[str, Any]) -> Iterator[str]:
    if "disk" in figures:
        yield f"| the disk of the job fills up | `{figures['disk']['message']}` |"
    if "memory" in figures:
        yield "| a worker outgrows its limit once | nothing: its nanny ends it, the tasks are done again |"
        yield f"| every worker outgrows its limit every time | `{figures['memory']['message']}` |"
    if "scheduler" in figures:
        found = figures["scheduler"]
        yield f"| no scheduler at the address ({found['refused s']:.0f} s) | `{found['refused']}` |"
        yield f"| the scheduler leaves and does not come back | `{found['lost']}` |"
    if "clocks" in figures and "skipped" not in figures["clocks"]:
        found = figures["clocks"]
        clocks = (
            f"workers {', '.join(found['workers'])}, scheduler {found['scheduler']}, run {found['driver']}"
        )
        yield f"| clocks that differ ({clocks}) | nothing |"
