"""Law 2: the peak is stated before the run, kept, and does not grow with the number of exposures."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mosaic import pipeline
from mosaic.graph import tasks
from mosaic.graph.budget import plan_budget
from mosaic.graph.driver import PHASES
from mosaic.graph.job import Job
from mosaic.graph.plan import Layer, Plan
from mosaic.options import RunOptions
from mosaic.pipeline import Result

Run = Callable[..., Result]
MIB = 1 << 20

PROGRAM = """
import json, sys
from mosaic import RunOptions, drizzle
options = RunOptions.resolve(scheduler="threads", cores=2, memory=int(sys.argv[1]), tile=128)
result = drizzle(sys.argv[3:], sys.argv[2], options=options, runfile="")
print(json.dumps([result.peak_memory_bytes, result.budget.peak_bytes]))
"""


def test_a_run_stays_below_what_its_plan_stated(exposures: list[str], tmp_path: Path) -> None:
    granted = 700 * MIB
    command = [sys.executable, "-c", PROGRAM, str(granted), str(tmp_path / "m"), *exposures]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    peak, stated = json.loads(output.splitlines()[-1])
    assert 50 * MIB < peak <= stated <= granted


@pytest.mark.parametrize("phase", PHASES)
def test_no_task_takes_more_than_the_budget_of_a_task(run: Run, phase: str) -> None:
    folder = run().job_folder
    plan = Plan.read(folder)
    job = Job(folder, plan)
    budget = plan_budget(plan, granted_bytes=2048 * MIB, cores=1, separate_processes=False)
    for task in list(job.ledger.read_phase(phase)):
        tasks.run_task(str(folder), plan.identity, phase, task, budget.limits)
        tracemalloc.start()
        tasks.run_task(str(folder), plan.identity, phase, task, budget.limits)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # Python objects and headers are not arrays; 2 MiB covers them.
        assert peak <= budget.task_bytes + 2 * MIB


def test_the_stated_peak_does_not_grow_with_the_number_of_exposures(exposures: list[str]) -> None:
    options = RunOptions.resolve(memory=1024 * MIB, cores=2)
    plan = pipeline.plan(exposures, "unused", options=options, runfile="").plan
    stated = []
    for copies in (400, 800, 4000):
        deep = Plan(plan.settings, plan.exposures * copies, _deepened(plan.separate, copies), plan.final, "0")
        stated.append(
            plan_budget(deep, granted_bytes=1024 * MIB, cores=2, separate_processes=False).peak_bytes
        )
    assert stated[0] == stated[1] == stated[2] <= 1024 * MIB


def _deepened(layer: Layer, copies: int) -> Layer:
    return replace(layer, chips_of_tile={tile: c * copies for tile, c in layer.chips_of_tile.items()})
