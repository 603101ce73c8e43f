"""`python -m tests.integration`: run the scenarios and write what was found, for `docs/reliability.md`."""

from __future__ import annotations

import argparse
import json
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mosaic.places import place_of
from tests.integration import kills, report, restarts, trouble
from tests.integration.stage import Stage, make_inputs, run_locally
from tests.support.objectstore import BUCKET, ObjectStore, running_store

OTHERS = {
    "disk": trouble.full_disk,
    "memory": trouble.over_memory,
    "scheduler": trouble.no_scheduler,
    "clocks": trouble.skewed_clocks,
}
SCENARIOS = ("kills", "remote-kills", "store", *OTHERS, "restarts")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration", description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=list(SCENARIOS), metavar="|".join(SCENARIOS))
    parser.add_argument("--folder", type=Path, default=Path("build/integration"))
    parser.add_argument("--runs", type=int, default=3, help="runs with kills")
    parser.add_argument("--kills", type=int, default=20, help="kills in each of them")
    parser.add_argument("--jobs", type=int, default=50, help="jobs queued while the service is restarted")
    parser.add_argument("--page", type=Path, help="page whose figures are replaced by those found so far")
    chosen = parser.parse_args()
    unknown = set(chosen.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}")
    folder = chosen.folder.absolute()
    needs_stage = set(chosen.scenarios) != {"restarts"}
    inputs = make_inputs(folder / "inputs") if needs_stage else []
    expected = run_locally(inputs, folder / "local") if needs_stage else {}
    with ExitStack() as stack:
        if {"remote-kills", "store"} & set(chosen.scenarios):
            # One for both: clients of this process stay connected to the first they met.
            store = stack.enter_context(running_store(seed=7))
            os.environ.update(store.environment())
        for name in chosen.scenarios:
            start = time.monotonic()
            place = trouble.clear(folder / name)
            if name == "restarts":
                facts: Any = restarts.run(place, chosen.jobs)
            elif name == "kills":
                facts = _kills(place, inputs, folder / "local", chosen.runs, chosen.kills)
            elif name == "remote-kills":
                facts = _remote_kills(place, inputs, folder / "local", store, chosen.kills)
            elif name == "store":
                facts = trouble.lossy_store(place, inputs, expected, store)
            else:
                facts = OTHERS[name](place, inputs, expected)
            _write(folder / "figures.json", name, facts)
            if chosen.page:
                report.write(chosen.page, json.loads((folder / "figures.json").read_text()))
            print(f"{name}: {time.monotonic() - start:.0f} s {json.dumps(facts)}", flush=True)


def _kills(place: Path, inputs: list[str], local: Path, runs: int, n_kills: int) -> list[dict[str, Any]]:
    """Kill around jobs whose files are on the disk."""
    found = []
    for seed in range(1, runs + 1):
        with Stage(place / f"run{seed}", inputs) as stage:
            out = stage.folder / "out"
            out.mkdir()
            options = ("--input-root", str(Path(inputs[0]).parent), "--output-root", str(out))
            facts = kills.run_with_kills(stage, options, out / kills.USER, local, n_kills=n_kills, seed=seed)
            found.append(facts)
            print(facts, flush=True)
    return found


def _remote_kills(
    place: Path, inputs: list[str], local: Path, store: ObjectStore, n_kills: int
) -> dict[str, Any]:
    """Kill around a job whose inputs, job folder and product are in an object store."""
    bucket = "products"
    store.make_bucket(bucket)
    with Stage(place, trouble.send(inputs), store.environment()) as stage:
        options = ("--bucket", BUCKET, "--output-bucket", bucket)
        output = place_of(f"s3://{bucket}/{kills.USER}")
        return kills.run_with_kills(stage, options, output, local, n_kills=n_kills, seed=11)


def _write(path: Path, name: str, facts: object) -> None:
    """Add the figures of a scenario to those of earlier ones."""
    figures = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**figures, name: facts}, indent=1))


if __name__ == "__main__":
    main()
