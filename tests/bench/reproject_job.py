"""Co-add images with `reproject`; executed by an interpreter that has it.

Usage: python reproject_job.py JOB.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from astropy.io import fits
from astropy.wcs import WCS
from reproject import reproject_interp
from reproject.mosaicking import reproject_and_coadd


def main() -> None:
    """Resample bilinearly and average with the weights of the pixels."""
    job = json.loads(Path(sys.argv[1]).read_text())
    frame = fits.getheader(job["frame"])
    images, weights = [], []
    for path in job["images"]:
        with fits.open(path, memmap=False) as hdul:
            images.append((hdul[0].data, WCS(hdul[0].header)))
        weights.append(fits.getdata(path.replace(".fits", ".weight.fits"), memmap=False))
    total, _ = reproject_and_coadd(
        images,
        WCS(frame),
        shape_out=(frame["NAXIS2"], frame["NAXIS1"]),
        input_weights=weights,
        reproject_function=reproject_interp,
        combine_function="mean",
    )
    fits.writeto(job["output"], total.astype("float32"), frame, overwrite=True)


if __name__ == "__main__":
    main()
