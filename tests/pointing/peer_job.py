"""TweakReg on the files of a folder, run by an interpreter that has DrizzlePac: ``peer_job.py JOB.json``."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    os.chdir(job["folder"])
    from drizzlepac import tweakreg  # noqa: PLC0415

    start, begun = time.process_time(), time.perf_counter()
    tweakreg.TweakReg(
        job["files"],
        imagefindcfg=job["find"],
        interactive=False,
        see2dplot=False,
        residplot="No plot",
        shiftfile=True,
        outshifts="shifts.txt",
        **job["parameters"],
    )
    cost = {"cpu_s": time.process_time() - start, "wall_s": time.perf_counter() - begun}
    Path("cost.json").write_text(json.dumps(cost))


if __name__ == "__main__":
    main()
