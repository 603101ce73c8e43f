"""Time and memory of whole jobs of both programs, in the same session on the same exposures."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from tests.parity.cases import Case
from tests.parity.measure import Measured
from tests.parity.programs import REPOSITORY, Workshop


def compare_times(shop: Workshop, case: Case, repeats: int, cores: int = 2) -> dict[str, Any]:
    """Run both programs `repeats` times in turn with default parameters and the same number of cores.

    Kernels are compiled beforehand: `mosaic warmup`, or a plan when that command is absent.
    """
    subprocess.run(
        [sys.executable, "-m", "mosaic.cli", "warmup"], cwd=REPOSITORY, check=False, capture_output=True
    )
    found: dict[str, list[Measured]] = {"DrizzlePac": [], "mosaic": []}
    for _ in range(repeats):
        found["mosaic"].append(shop.time_mosaic(case, cores)[1])
        found["DrizzlePac"].append(shop.time_drizzlepac(case, cores)[1])
    best = {name: min(runs, key=lambda run: run.seconds) for name, runs in found.items()}
    n = len(shop.exposures(case.exposures, case.n_exposures))
    return {
        "what": f"{n} exposures of the set {case.exposures}, default parameters, {cores} cores for both",
        "repeats": repeats,
        "programs": {
            f"DrizzlePac, num_cores={cores}": best["DrizzlePac"].to_dict(),
            f"mosaic, --cores {cores}": best["mosaic"].to_dict(),
        },
        "ratio": best["DrizzlePac"].seconds / best["mosaic"].seconds,
    }
