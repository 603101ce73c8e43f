"""``mosaic.align`` on the files of a folder: ``our_job.py JOB.json``, the same job as the peer's."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import mosaic
from mosaic.options import RunOptions


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    os.chdir(job["folder"])
    options = RunOptions.resolve(cores=2, memory="4GB")
    # Kernels are compiled once for all on a machine: not part of the work.
    mosaic.align(job["files"], options=options, **(job["find"] | job["parameters"] | {"updatehdr": False}))
    start, begun = time.process_time(), time.perf_counter()
    result = mosaic.align(
        job["files"],
        ".",
        options=options,
        see2dplot=False,
        residplot="No plot",
        shiftfile=True,
        **job["find"],
        **job["parameters"],
    )
    cost = {"cpu_s": time.process_time() - start, "wall_s": time.perf_counter() - begun}
    Path("cost.json").write_text(json.dumps(cost))
    result.table().write("verdicts.ecsv", overwrite=True)


if __name__ == "__main__":
    main()
