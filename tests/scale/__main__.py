"""``python -m tests.scale dry|dask|real|costs|model``: figures of large jobs."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.scale import dry, figure, model, real

COSTS = Path(__file__).with_name("costs.json")
"""Seconds per pixel that the model is made with."""


def main() -> None:
    """Parse the command line and run one of the measurements."""
    parser = argparse.ArgumentParser(prog="python -m tests.scale", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/scale"), help="where to work")
    commands = parser.add_subparsers(dest="command", required=True)
    alone = commands.add_parser("dry", help="plan and drive a job whose tasks pretend")
    alone.add_argument("--exposures", type=int, default=12_880)
    alone.add_argument("--workers", type=int, default=1000)
    alone.add_argument("--tile", type=int, default=1024)
    cluster = commands.add_parser("dask", help="drive a small job on Dask workers that sleep")
    cluster.add_argument("--exposures", type=int, default=480)
    cluster.add_argument("--workers", type=int, default=4)
    cluster.add_argument("--seconds", type=float, default=0.0)
    large = commands.add_parser("real", help="drizzle 100 simulated exposures, killed once and continued")
    large.add_argument("--memory", default="2GiB")
    large.add_argument("--kill-after", type=int, default=60, help="final tiles done before the kill")
    costs = commands.add_parser("costs", help="measure seconds per pixel on a finished job")
    costs.add_argument("job", type=Path)
    paper = commands.add_parser("model", help="simulate jobs on clusters of growing size and draw them")
    paper.add_argument("--exposures", type=int, nargs="+", default=list(figure.CLASSES))
    chosen = parser.parse_args()
    if chosen.command == "dry":
        dry.run_dry(chosen.exposures, chosen.folder / "dry", capacity=2 * chosen.workers, tile=chosen.tile)
    elif chosen.command == "costs":
        model.write_costs(model.measure_costs(chosen.job), COSTS)
    elif chosen.command == "model":
        outcomes = chosen.folder / "model.jsonl"
        outcomes.parent.mkdir(parents=True, exist_ok=True)
        outcomes.unlink(missing_ok=True)
        figure.run_sweeps(model.read_costs(COSTS), outcomes, chosen.exposures)
        figure.draw(outcomes, chosen.folder / "scaling.png")
    elif chosen.command == "real":
        real.run_real(chosen.folder, chosen.memory, chosen.kill_after)
    else:
        dry.run_dask(chosen.exposures, chosen.folder / "dask", workers=chosen.workers, seconds=chosen.seconds)


if __name__ == "__main__":
    main()
