"""Every check of the inputs fires on headers that are broken in its way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mosaic.graph.job import Job
from mosaic.quality.checks import Check
from mosaic.quality.inputs import check_inputs, quadrants_of
from mosaic.quality.survey import Survey
from tests.support.broken import expose, run, science

OFF = {"driz_separate": False, "median": False, "blot": False, "driz_cr": False, "driz_combine": False}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("inputs")
    return run(folder / "run", expose(folder, n_stars=1, n_galaxies=1, chip_shape=(64, 96)).files, **OFF)


def _checks(job: Job) -> dict[str, Check]:
    return {check.name: check for check in check_inputs(Survey(job, full=True))}


@pytest.fixture
def change(job: Job) -> Callable[..., dict[str, Check]]:
    """Edits the headers of the second exposure, makes the checks, and puts the file back."""
    path = Path(job.plan.exposures[1].path)

    def make(edit: Callable[[fits.HDUList], None]) -> dict[str, Check]:
        kept = path.read_bytes()
        try:
            with fits.open(path, mode="update", memmap=False) as hdus:
                edit(hdus)
            return _checks(job)
        finally:
            path.write_bytes(kept)

    return make


def test_good_headers_get_no_complaint(job: Job) -> None:
    found = _checks(job)
    assert {name: check.verdict for name, check in found.items()} == {
        **dict.fromkeys(("guiding", "astrometry", "distortion", "pointing", "dither"), "ok"),
        "jitter": "none",
    }


@pytest.mark.parametrize(
    ("keyword", "value", "verdict"),
    [
        ("FGSLOCK", "FINE/GYRO", "bad"),
        ("EXPFLAG", "INTERRUPTED", "bad"),
        ("QUALITY", "GSFAIL: guide star acquisition failed", "look"),
    ],
)
def test_guiding_problems_are_found(
    change: Callable[..., dict[str, Check]], job: Job, keyword: str, value: str, verdict: str
) -> None:
    found = change(lambda hdus: hdus[0].header.set(keyword, value))["guiding"]
    assert found.verdict == verdict
    assert job.plan.exposures[1].rootname in found.details[0]


def test_another_solution_is_found(change: Callable[..., dict[str, Check]]) -> None:
    def edit(hdus: fits.HDUList) -> None:
        for hdu in science(hdus):
            hdu.header["WCSNAME"] = "IDC_sim00001j-FIT_REL_GAIADR2"

    found = change(edit)["astrometry"]
    assert found.verdict == "bad"
    assert len(found.details) == 2


@pytest.mark.parametrize("keyword", ["IDCTAB", "NPOLFILE", "D2IMFILE"])
def test_another_distortion_file_is_found(change: Callable[..., dict[str, Check]], keyword: str) -> None:
    found = change(lambda hdus: hdus[0].header.set(keyword, "jref$other_file.fits"))["distortion"]
    assert found.verdict == "look"
    assert keyword in found.details[0]


def test_missing_velocity_aberration_is_found(change: Callable[..., dict[str, Check]]) -> None:
    def edit(hdus: fits.HDUList) -> None:
        for hdu in science(hdus):
            hdu.header["VAFACTOR"] = 1.0

    found = change(edit)["distortion"]
    assert found.verdict == "look"
    assert "VAFACTOR" in found.details[0]


@pytest.mark.parametrize(("rms_arcsec", "verdict"), [(0.004, "ok"), (0.009, "look"), (0.02, "bad")])
def test_jitter_is_judged(job: Job, rms_arcsec: float, verdict: str) -> None:
    exposure = job.plan.exposures[0]
    path = Path(exposure.path).parent / f"{exposure.rootname[:8]}j_jit.fits"
    columns = [fits.Column(name, "E", array=np.full(9, rms_arcsec)) for name in ("SI_V2_RMS", "SI_V3_RMS")]
    try:
        fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(path)
        found = _checks(job)["jitter"]
    finally:
        path.unlink()
    assert found.verdict == verdict
    # Two axes in quadrature, in mas.
    assert found.value == pytest.approx(1000.0 * np.sqrt(2.0) * rms_arcsec, rel=1e-6)


def test_inputs_that_are_gone_are_not_judged(job: Job, tmp_path: Path) -> None:
    path = Path(job.plan.exposures[1].path)
    path.rename(tmp_path / path.name)
    try:
        assert _checks(job)["guiding"].verdict == "none"
    finally:
        (tmp_path / path.name).rename(path)


def test_quadrants_do_not_depend_on_where_a_pixel_begins() -> None:
    phases = np.array([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5], [0.5, 0.5]])
    for shift in (0.0, 0.3, 0.74):
        assert quadrants_of((phases + shift) % 1.0) == 4
    assert quadrants_of(np.zeros((4, 2))) == 1
