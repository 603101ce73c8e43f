"""One small simulated set for all laws, and what it takes to run and compare jobs on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from mosaic import pipeline
from mosaic.options import RunOptions
from mosaic.simulate import simulate

GIB = 1 << 30


@pytest.fixture(scope="session")
def exposures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three dithered ACS/WFC exposures with two small chips each."""
    made = simulate(
        tmp_path_factory.mktemp("inputs"),
        instrument="acs/wfc",
        exposures=3,
        pattern="line",
        chip_shape=(150, 260),
        n_stars=60,
        n_galaxies=5,
        seed=11,
        workers=1,
    )
    return [str(path) for path in made.files]


@pytest.fixture(scope="session")
def run(exposures: list[str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., pipeline.Result]:
    """Run a job on the small set (or on `inputs`) in a folder of its own (or in `folder`)."""

    def run_job(
        inputs: list[str] | None = None,
        folder: Path | None = None,
        options: dict[str, object] | None = None,
        **parameters: object,
    ) -> pipeline.Result:
        folder = folder or tmp_path_factory.mktemp("job")
        chosen = {"scheduler": "serial", "memory": 2 * GIB, "tile": 128} | (options or {})
        return pipeline.drizzle(
            inputs or exposures,
            str(folder / "m"),
            options=RunOptions.resolve(**chosen),
            **({"runfile": "", "final_err": True} | parameters),
        )

    return run_job


def planes(result: pipeline.Result) -> dict[str, np.ndarray]:
    """All planes of the mosaic and the median, and all cosmic-ray masks, of a finished job."""
    found = {
        name: np.asarray(zarr.open_array(str(result.job_folder / "mosaic.zarr" / name), mode="r")[:])
        for name in ("sci", "wht", "var", "ctx")
    }
    found["median"] = np.asarray(
        zarr.open_array(str(result.job_folder / "median.zarr" / "median"), mode="r")[:]
    )
    for folder in sorted((result.job_folder / "masks.zarr" / "cosmic_rays").iterdir()):
        if folder.is_dir():
            found[f"cr {folder.name}"] = np.asarray(zarr.open_array(str(folder), mode="r")[:])
    return found


def assert_same_bits(first: pipeline.Result, second: pipeline.Result) -> None:
    """Assert that two jobs agree in every bit of every plane."""
    one, two = planes(first), planes(second)
    assert one.keys() == two.keys()
    for name, values in one.items():
        assert values.shape == two[name].shape, name
        different = np.flatnonzero(values.ravel().view(np.uint8) != two[name].ravel().view(np.uint8))
        assert different.size == 0, f"{name}: {different.size} bytes differ"
