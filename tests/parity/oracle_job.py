"""Run AstroDrizzle and record what its files do not tell; executed by the oracle's interpreter.

Usage: python oracle_job.py JOB.json, in the folder that holds private copies of the inputs; or python
oracle_job.py --serve, which reads folders from its input, one a line, carries out the job.json of each in
a forked child (so that DrizzlePac is imported once) and answers each with a line of JSON: exit status,
seconds and peak memory. Needs nothing but DrizzlePac and its dependencies. Writes ``oracle.json``
(versions, statistics of the static mask) and ``maps.npz`` (pixel map at sampled points) beside the
products.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import drizzlepac
import numpy as np
from astropy.io import fits
from drizzlepac import astrodrizzle, cdriz
from stsci.imagestats import ImageStats
from stsci.tools.configobj import ConfigObj
from stwcs import updatewcs
from stwcs.wcsutil import HSTWCS

SAMPLES = 2000


def prepare(job: dict[str, Any]) -> None:
    """Give the inputs a distortion model from reference files, where the case asks for it."""
    for name, value in job["references"].items():
        os.environ[name] = value
    for path in job["inputs"]:
        for keyword, value in job["keywords"].items():
            fits.setval(path, keyword, value=value)
        updatewcs.updatewcs(path, use_db=False)


def static_statistics(paths: list[str]) -> dict[str, list[float]]:
    """Mode and clipped standard deviation of every chip, as the static mask takes them."""
    found = {}
    for path in paths:
        with fits.open(path) as hdul:
            for hdu in hdul:
                if hdu.name == "SCI":
                    data = hdu.data
                    stats = ImageStats(
                        data,
                        nclip=3,
                        fields="mode,stddev",
                        lower=np.nanmin(data),
                        upper=np.nanmax(data),
                        lsig=3.0,
                        usig=3.0,
                        binwidth=0.1,
                    )
                    found[f"{path}[{hdu.ver}]"] = [float(stats.mode), float(stats.stddev)]
    return found


def sample_maps(paths: list[str], product: str, seed: int = 20) -> dict[str, Any]:
    """Positions of random pixels in the product, through the table of step 10 and exactly."""
    random = np.random.default_rng(seed)
    output = HSTWCS(product)
    maps = {}
    for path in paths:
        with fits.open(path) as hdul:
            for hdu in hdul:
                if hdu.name != "SCI":
                    continue
                chip = HSTWCS(hdul, ext=("SCI", hdu.ver))
                ny, nx = hdu.data.shape
                x = random.integers(1, nx + 1, SAMPLES) + random.choice([-0.5, 0.0, 0.25, 0.5], SAMPLES)
                y = random.integers(1, ny + 1, SAMPLES) + random.choice([-0.5, 0.0, 0.25, 0.5], SAMPLES)
                rows = [x, y]
                for step in (10.0, 0.0):
                    rows.extend(cdriz.DefaultWCSMapping(chip, output, nx, ny, step)(x, y))
                maps[f"{path}[{hdu.ver}]"] = np.array(rows)
    return maps


def write_config(name: str, changes: dict[str, Any]) -> None:
    """Write the parameter file that comes with the program, with a user's changes."""
    packaged = Path(drizzlepac.__file__).parent / "pars" / "astrodrizzle.cfg"
    config = ConfigObj(str(packaged))
    sections = [config, *(config[key] for key in config.sections)]
    for key, value in changes.items():
        next(section for section in sections if key in section.scalars)[key] = value
    config.filename = name
    config.write()


def main(name: str) -> None:
    """Run the job; a missing product is an error although AstroDrizzle does not raise."""
    job = json.loads(Path(name).read_text())
    if job["prepare"]:
        prepare(job)
        return
    statistics = static_statistics(job["inputs"]) if job["extras"] else {}
    if job.get("config"):
        write_config(*job["config"])
    start = time.perf_counter()
    if job.get("script"):
        Path("script.py").write_text(job["script"])
        runpy.run_path("script.py", run_name="__main__")
    else:
        astrodrizzle.AstroDrizzle(job["argument"], output=job["output"], **job["parameters"])
    seconds = time.perf_counter() - start
    products = sorted(Path().glob(f"{job['output']}_dr?*.fits"))
    if not products:
        raise SystemExit("AstroDrizzle wrote no product")
    record = {"seconds": seconds, "statistics": statistics, "version": drizzlepac.__version__}
    if job["extras"]:
        sci = [p for p in products if p.name.endswith("_sci.fits")] or products
        name = sci[0].name if sci[0].name.endswith("_sci.fits") else f"{sci[0].name}[SCI,1]"
        np.savez("maps.npz", **sample_maps(job["inputs"], name))
    Path("oracle.json").write_text(json.dumps(record, indent=1))


def carry_out(folder: str) -> None:
    """Do the job of a folder with all output in its ``oracle.out``; never returns."""
    status = 1
    try:
        os.chdir(folder)
        log = os.open("oracle.out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # a question of the program must not eat the next job
        main("job.json")
        status = 0
    except BaseException:  # noqa: BLE001  (a child must not return into the loop of its parent)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def serve() -> None:
    """Carry out jobs until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        start = time.perf_counter()
        child = os.fork()
        if child == 0:
            carry_out(line.strip())
        _, status, usage = os.wait4(child, 0)
        answer = {
            "status": status,
            "seconds": time.perf_counter() - start,
            "peak_rss_bytes": usage.ru_maxrss * 1024,
        }
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve()
    else:
        main(sys.argv[1])
