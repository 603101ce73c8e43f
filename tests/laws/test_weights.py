"""The mean weight of an exposure is that of its whole separate drizzle, however it was cut and weighed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import zarr

from mosaic.graph import budget as budget_module
from mosaic.graph.job import Job
from mosaic.graph.plan import Plan
from mosaic.pipeline import Result

Run = Callable[..., Result]


@pytest.mark.parametrize(("tile", "cache_bytes"), [(71, 1 << 30), (71, 0), (4096, 1 << 30)])
def test_means_are_those_of_the_separate_images(
    run: Run, monkeypatch: pytest.MonkeyPatch, tile: int, cache_bytes: int
) -> None:
    monkeypatch.setattr(budget_module, "STACK_CACHE_BYTES", cache_bytes)
    result = run(options={"tile": tile}, clean=False)
    job = Job(result.job_folder, Plan.read(result.job_folder))
    found = job.mean_weights(range(len(job.plan.exposures)))
    for exposure, mean in zip(job.plan.exposures, found, strict=True):
        place = result.job_folder / "intermediates.zarr" / "single_wht" / exposure.rootname
        weight = np.asarray(zarr.open_array(str(place), mode="r")[:], dtype=np.float64)
        unit = exposure.chips[0].exptime_s
        # Weights are added up as multiples of a 2**-26th of the exposure time, so that order does not matter.
        parts = np.rint(weight[weight > 1e-8] * (2.0**26 / unit)).astype(np.int64)
        assert parts.size > 10_000
        assert mean == float(np.float32(int(parts.sum()) / parts.size * (unit / 2.0**26)))
        assert mean == pytest.approx(weight[weight > 1e-8].mean(), rel=1e-6)
