"""Stars are no cosmic rays: on a field without any, what is flagged is noise, in star cores as on the sky."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS, FITSFixedWarning

from mosaic.graph.store import read_mask
from mosaic.pipeline import Result
from mosaic.simulate import SimulatedSet, simulate
from mosaic.simulate.rejection import RejectionCounts, count_rejection, star_cores
from mosaic.types import Window

SHAPE = (150, 260)
MASKED = 0.02


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> SimulatedSet:
    """Four noisy exposures of bright unsaturated stars without cosmic rays; some pixels masked at random."""
    made = simulate(
        tmp_path_factory.mktemp("stars"),
        instrument="acs/wfc",
        exposures=4,
        pattern="box4",
        chip_shape=SHAPE,
        n_stars=200,
        n_galaxies=0,
        star_rate_range=(20.0, 200.0),
        cosmic_rays=False,
        defects=False,
        seed=1,
        workers=1,
    )
    random = np.random.default_rng(1)
    for path in made.paths:
        with fits.open(path, mode="update") as hdul:
            for extver in (1, 2):
                hdul["DQ", extver].data[random.random(SHAPE) < MASKED] |= 4
    return made


def _count(result: Result, field: SimulatedSet) -> RejectionCounts:
    stars = Table.read(field.sources)
    total = RejectionCounts()
    for path in field.paths:
        with fits.open(path) as hdul, warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            for extver in (1, 2):
                wcs = WCS(hdul["SCI", extver].header, hdul)
                x, y = wcs.all_world2pix(stars["ra"], stars["dec"], 0, quiet=True)
                known = np.isfinite(x) & np.isfinite(y)
                name = f"cosmic_rays/{hdul[0].header['ROOTNAME'].lower()}_{extver}"
                total += count_rejection(
                    read_mask(str(result.job_folder), name, Window(0, SHAPE[0], 0, SHAPE[1])),
                    np.zeros(SHAPE, dtype=np.float32),
                    hdul["ERR", extver].data.astype(np.float32),
                    hdul["DQ", extver].data == 0,
                    star_cores(SHAPE, x[known], y[known]),
                )
    return total


def test_star_cores_beside_masked_pixels_are_kept(run: Callable[..., Result], field: SimulatedSet) -> None:
    inputs = [str(path) for path in field.paths]
    found = _count(run(inputs=inputs, driz_combine=False), field)
    assert found.n_core > 4000
    assert found.core_rate <= found.sky_rate + 1e-3
    # DrizzlePac's rule flags star cores on this field: the field puts the rule to the test.
    peer = _count(run(inputs=inputs, driz_combine=False, peer_compat=True), field)
    assert peer.core_rate > peer.sky_rate + 5e-3
