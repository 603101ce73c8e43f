"""What a job writes back: cleaned copies and updated copies, never the inputs themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mosaic import pipeline
from mosaic.graph.store import read_mask
from mosaic.options import RunOptions
from mosaic.simulate import simulate
from mosaic.types import Window


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> pipeline.Result:
    folder = tmp_path_factory.mktemp("update")
    made = simulate(
        folder,
        instrument="acs/wfc",
        exposures=3,
        chip_shape=(70, 110),
        n_stars=10,
        n_galaxies=0,
        seed=2,
        workers=1,
    )
    options = RunOptions.resolve(scheduler="serial", memory=2 << 30)
    (folder / "out").mkdir()
    return pipeline.drizzle(
        [str(path) for path in made.files],
        str(folder / "out" / "m"),
        options=options,
        runfile="",
        driz_cr_corr=True,
        dq_update="copy",
        clean=False,
    )


def _input_of(result: pipeline.Result, name: str) -> Path:
    return result.job_folder.parent.parent / f"{name}_flc.fits"


@pytest.mark.parametrize("extver", [1, 2])
def test_cleaned_copies_differ_only_where_pixels_are_bad(result: pipeline.Result, extver: int) -> None:
    cleaned = [path for path in result.products if path.name.endswith("_crclean.fits")]
    assert len(cleaned) == 3
    for path in cleaned:
        root = path.name.split("_")[0]
        with fits.open(path) as after, fits.open(_input_of(result, root)) as before:
            old, new = before["SCI", extver].data, after["SCI", extver].data
            flags = before["DQ", extver].data
            hits = read_mask(
                str(result.job_folder),
                f"cosmic_rays/{root}_{extver}",
                Window(0, old.shape[0], 0, old.shape[1]),
            )
            bad = hits | (flags != 0)
            np.testing.assert_array_equal(new[~bad], old[~bad])
            blot = fits.getdata(path.with_name(f"{root}_sci{extver}_blt.fits"))
            np.testing.assert_array_equal(new[bad], blot[bad])
            np.testing.assert_array_equal(after["DQ", extver].data, np.where(hits, flags | 4096, flags))
            assert 0 < hits.sum() < 0.2 * hits.size


def test_flags_of_cleaned_copies_are_those_of_the_last_chip_in_drizzlepac(
    result: pipeline.Result, tmp_path: Path
) -> None:
    """As drizCR writes them: (DQ,1) tells what was replaced on the last chip, (DQ,2) stays as it was."""
    inputs = sorted(result.job_folder.parent.parent.glob("*_flc.fits"))
    made = pipeline.drizzle(
        [str(path) for path in inputs],
        str(tmp_path / "m"),
        options=RunOptions.resolve(scheduler="serial", memory=2 << 30),
        runfile="",
        driz_cr_corr=True,
        clean=False,
        peer_compat=True,
    )
    for path in inputs:
        root = path.name.split("_")[0]
        with fits.open(tmp_path / f"{root}_crclean.fits") as after, fits.open(path) as before:
            hits = fits.getdata(tmp_path / f"{root}_sci2_crmask.fits") == 0
            bad = hits | (before["DQ", 2].data != 0)
            np.testing.assert_array_equal(after["DQ", 1].data, np.where(bad, 4096, 0))
            np.testing.assert_array_equal(after["DQ", 2].data, before["DQ", 2].data)
    assert made.products


def test_updated_copies_carry_the_cosmic_rays_and_the_sky(result: pipeline.Result) -> None:
    updated = [path for path in result.products if path.parent.name == "m_inputs"]
    assert len(updated) == 3
    for path in updated:
        root = path.name.split("_")[0]
        with fits.open(path) as after, fits.open(_input_of(result, root)) as before:
            for extver in (1, 2):
                shape = after["DQ", extver].data.shape
                hits = read_mask(
                    str(result.job_folder), f"cosmic_rays/{root}_{extver}", Window(0, shape[0], 0, shape[1])
                )
                expected = np.where(hits, before["DQ", extver].data | 4096, before["DQ", extver].data)
                np.testing.assert_array_equal(after["DQ", extver].data, expected)
                np.testing.assert_array_equal(after["SCI", extver].data, before["SCI", extver].data)
                # The sky of the simulation is some 40 electrons; a quarter of that is far outside the noise.
                assert (
                    abs(after["SCI", extver].header["MDRIZSKY"] - np.median(before["SCI", extver].data)) < 10
                )


def test_cleaned_copies_carry_the_flags_of_another_file(tmp_path: Path) -> None:
    made = simulate(
        tmp_path, instrument="wfpc2", exposures=3, chip_shape=(90, 90), n_stars=10, seed=5, workers=1
    )
    options = RunOptions.resolve(scheduler="serial", memory=2 << 30)
    inputs = [str(path) for path in made.files]
    result = pipeline.drizzle(inputs, str(tmp_path / "m"), options=options, runfile="", driz_cr_corr=True)
    cleaned = [path for path in result.products if path.name.endswith("_crclean.fits")]
    assert len(cleaned) == 3
    for path in cleaned:
        root = path.name.removesuffix("_crclean.fits")
        with fits.open(path) as after, fits.open(tmp_path / f"{root.replace('c0m', 'c1m')}.fits") as flags:
            assert after[0].header["NEXTEND"] == len(after) - 1 == 8
            for extver in (1, 2, 3, 4):
                old, new = flags["SDQ", extver].data, after["DQ", extver].data
                whole = Window(0, old.shape[0], 0, old.shape[1])
                hits = read_mask(str(result.job_folder), f"cosmic_rays/{root}_{extver}", whole)
                assert hits.any()
                np.testing.assert_array_equal(new, np.where(hits, old | 4096, old))
