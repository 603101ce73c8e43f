"""What a user waits for at first: compiling the kernels, importing, help."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from tests.bench.contenders import Tools, describe_failure, find_oracle
from tests.parity.measure import CommandError, run_measured
from tests.parity.oracle import QUIET
from tests.parity.programs import REPOSITORY

SMALL = "acs_small"


def _commands(tools: Tools, folder: Path) -> list[tuple[str, list[str], bool]]:
    """Label, command, and whether the cache of kernels is emptied before it."""
    python = sys.executable
    exposures = [str(path) for path in tools.shop.exposures(SMALL)]
    drizzle = [
        python,
        "-m",
        "mosaic.cli",
        "drizzle",
        *exposures,
        "-o",
        str(folder / "out"),
        "--restart",
        "-q",
    ]
    commands = [
        ("mosaic --help", [python, "-m", "mosaic.cli", "--help"], False),
        ("import mosaic", [python, "-c", "import mosaic"], False),
        ("import everything a run needs", [python, "-c", "import mosaic.pipeline"], False),
        ("mosaic warmup, empty kernel cache", [python, "-m", "mosaic.cli", "warmup"], True),
        ("mosaic warmup, filled kernel cache", [python, "-m", "mosaic.cli", "warmup"], False),
        ("first run (4 small exposures), empty kernel cache", drizzle, True),
        ("second run (4 small exposures)", drizzle, False),
    ]
    oracle, reason = find_oracle(tools.oracle)
    if reason is None:
        commands.append(("import drizzlepac.astrodrizzle", [str(oracle), "-c", _IMPORT], False))
    return commands


_IMPORT = "import drizzlepac.astrodrizzle"


def measure(tools: Tools, repeats: int) -> dict[str, Any]:
    """Wall and processor seconds of every command; compiling is repeated at most twice."""
    folder = tools.shop.work / "start"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cache = folder / "kernels"
    environment = {**QUIET, "PYTHONPATH": str(REPOSITORY), "NUMBA_CACHE_DIR": str(cache)}
    rows = []
    for label, command, is_cold in _commands(tools, folder):
        row: dict[str, Any] = {"label": label, "seconds": [], "cpu_seconds": [], "error": None}
        rows.append(row)
        for _ in range(min(repeats, 2) if is_cold else repeats):
            if is_cold:
                shutil.rmtree(cache, ignore_errors=True)
            try:
                cost = run_measured(command, folder, environment, folder / "out.log", is_sampled=False)
            except (CommandError, OSError) as error:
                row["error"] = describe_failure(error)
                break
            row["seconds"].append(cost.seconds)
            row["cpu_seconds"].append(cost.cpu_seconds)
        print(f"start: {label}: {row['error'] or row['seconds']}", flush=True)
    shutil.rmtree(folder)
    return {"rows": rows}
