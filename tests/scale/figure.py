"""The figure of docs/scaling.md: time and efficiency of job classes on clusters of growing size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.scale.dry import make_plan
from tests.scale.model import Costs, Outcome, sweep

CLASSES: dict[int, tuple[int, ...]] = {
    4: (1, 2, 4, 8, 16, 32, 64),
    100: (1, 4, 16, 32, 64, 128, 256, 512),
    1000: (1, 16, 64, 128, 256, 512, 1000, 2000),
    12_880: (1, 64, 250, 500, 1000, 4000),
}
"""Exposures of a job, and the workers it is simulated with."""

TILES: dict[int, tuple[int, ...]] = {
    4: (256, 512, 1024),
    100: (512, 1024),
    1000: (1024, 2048),
    12_880: (1024, 2048),
}
USUAL_TILE = 1024
STORES = {"store 20 GB/s": 20e9, "store not a limit": 1e15}


def run_sweeps(costs: Costs, path: Path, classes: Sequence[int] = tuple(CLASSES)) -> None:
    """Simulate every class and keep the outcomes as JSON, one line each."""
    with path.open("a", encoding="utf-8") as file:
        for n_exposures in classes:
            for tile in TILES[n_exposures]:
                plan = make_plan(n_exposures, tile=tile, depth=min(n_exposures, 24))
                for store, rate in STORES.items():
                    if tile != USUAL_TILE and rate != min(STORES.values()):
                        continue
                    for outcome in sweep(plan, costs, CLASSES[n_exposures], store_bytes_s=rate):
                        row = {"exposures": n_exposures, "store": store, **asdict(outcome)}
                        file.write(json.dumps(row) + "\n")
                        file.flush()
                        print(row, flush=True)


def draw(outcomes: Path, target: Path) -> None:
    """Draw wall time and efficiency against workers."""
    from matplotlib.figure import Figure  # noqa: PLC0415  (only here)

    rows = [json.loads(line) for line in outcomes.read_text(encoding="utf-8").splitlines()]
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    times, shares = figure.subplots(1, 2)
    for colour, n_exposures in enumerate(CLASSES):
        for store, style in zip(STORES, ("-", ":"), strict=True):
            chosen = [r for r in rows if r["exposures"] == n_exposures and r["store"] == store]
            # Tiles are made a little smaller or larger than asked for, never by a quarter.
            line = [r for r in chosen if abs(r["tile"] - USUAL_TILE) < USUAL_TILE / 4]
            workers, seconds = [r["workers"] for r in line], [r["wall_s"] for r in line]
            look = {"linestyle": style, "color": f"C{colour}", "marker": "."}
            name = f"{n_exposures:,} exposures" if style == "-" else None
            times.loglog(workers, seconds, label=name, **look)
            shares.semilogx(workers, [Outcome(**_fields(r)).efficiency for r in line], **look)
    times.set(xlabel="workers (one core each)", ylabel="time, s", title="time of a job")
    shares.set(xlabel="workers (one core each)", ylabel="computing / (workers x time)", ylim=(0, 1.02))
    shares.set_title("efficiency (dotted: store not a limit)")
    for axes in (times, shares):
        axes.grid(alpha=0.3)
    times.legend(fontsize=8)
    figure.savefig(target, dpi=110)


def _fields(row: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in {"exposures", "store"}}
