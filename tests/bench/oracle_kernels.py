"""Time DrizzlePac's drizzling and blotting of one chip; executed by the oracle's interpreter.

Usage: python oracle_kernels.py JOB.json. Processor time of the call, its map (a node every 10 pixels)
included, in ns per pixel of the chip.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits
from drizzlepac import ablot, adrizzle
from stwcs.wcsutil import HSTWCS


def ns_per_pixel(function: Callable[[], object], n_pixels: int, repeats: int) -> list[float]:
    found = []
    for _ in range(repeats + 1):
        start = time.thread_time()
        function()
        found.append((time.thread_time() - start) / n_pixels * 1e9)
    return found[1:]


def main() -> None:
    """Drizzle with every kernel asked for, and blot with the quintic."""
    job = json.loads(Path(sys.argv[1]).read_text())
    with fits.open(job["exposure"], memmap=False) as hdul:
        chip = HSTWCS(hdul, ext=("SCI", job["extver"]))
        science = np.ascontiguousarray(hdul["SCI", job["extver"]].data, dtype=np.float32)
    output = HSTWCS(job["frame"])
    ny, nx = fits.getheader(job["frame"])["NAXIS2"], fits.getheader(job["frame"])["NAXIS1"]
    output.pixel_shape = (nx, ny)
    random = np.random.default_rng(1)
    weight = np.where(random.random(science.shape) < 0.02, 0.0, 500.0).astype(np.float32)
    sums, weights = np.zeros((ny, nx), np.float32), np.zeros((ny, nx), np.float32)
    context = np.zeros((1, ny, nx), np.int32)
    found = {}
    for kernel in job["kernels"]:

        def drizzle(kernel: str = kernel) -> None:
            adrizzle.do_driz(
                science,
                chip,
                weight,
                output,
                sums,
                weights,
                context,
                1.0,
                "cps",
                1.0,
                wcslin_pscale=job["scale_arcsec"],
                pixfrac=1.0,
                kernel=kernel,
            )

        found[kernel] = ns_per_pixel(drizzle, science.size, job["repeats"])
    image = random.normal(0.1, 0.01, (ny, nx)).astype(np.float32)
    found["blot poly5"] = ns_per_pixel(
        lambda: ablot.do_blot(image, output, chip, 1.0, coeffs=True, interp="poly5", stepsize=10),
        science.size,
        job["repeats"],
    )
    Path(job["output"]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
