"""The sky of whole jobs: known levels are found, and nothing about the running of a job changes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from mosaic.errors import PlanMismatchError
from mosaic.exposure.model import SkyLevel
from mosaic.graph import sky_tasks
from mosaic.graph.job import Job
from mosaic.graph.plan import Plan
from mosaic.pipeline import Result
from mosaic.simulate import simulate
from tests.laws.conftest import assert_same_bits
from tests.support.exposures import write_exposure

Run = Callable[..., Result]

ONE_STEP = {"static": False, "median": False, "blot": False, "driz_cr": False, "driz_separate": False}
ONLY_SKY = ONE_STEP | {"driz_combine": False}


RECORDED = {
    "match": [9.948304330533835, 0.0, 23.04744229671545],
    "globalmin+match": [49.90822167802091, 79.91983469497414, 43.027400970458984],
}
"""MDRIZSKY of the chips of each exposure of `flat_fields`, as DrizzlePac finds it."""


def _job(result: Result) -> Job:
    return Job(result.job_folder, Plan.read(result.job_folder))


def _subtracted(result: Result) -> dict[str, float | None]:
    return {name: level.subtracted for name, level in _job(result).sky.items()}


@pytest.fixture(scope="module")
def two_fields(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], dict[str, float]]:
    """Four dithered exposures, two more elsewhere with a sky ten times as bright, and their true skies."""
    folder = tmp_path_factory.mktemp("fields")
    files: list[str] = []
    truth: dict[str, float] = {}
    common = {"instrument": "acs/wfc", "chip_shape": (100, 180), "n_stars": 40, "n_galaxies": 4, "workers": 1}
    near = simulate(
        folder / "near", exposures=4, sky_e=60.0, sky_scatter=0.5, seed=3, program="aaa", **common
    )
    far = simulate(
        folder / "far", exposures=2, pattern="line", sky_e=600.0, sky_scatter=0.5, seed=4, program="bbb",
        target_dec_deg=2.21, start_mjd=57101.0, **common,
    )  # fmt: skip
    for made in (near, far):
        files += [str(path) for path in made.files]
        table = Table.read(made.sky, format="ascii.ecsv")
        truth |= {str(row["rootname"]): float(row["sky_native"]) for row in table}
    return files, truth


def _errors(result: Result, truth: dict[str, float]) -> dict[str, float]:
    """Sky that is left after subtraction, by exposure."""
    found = _subtracted(result)
    left = {}
    for exposure in _job(result).plan.exposures:
        (value,) = {found[chip.name] for chip in exposure.chips}
        assert value is not None
        left[exposure.rootname] = truth[exposure.rootname] - value
    return left


def test_matching_finds_the_differences_of_the_true_skies(
    run: Run, two_fields: tuple[list[str], dict[str, float]]
) -> None:
    files, truth = two_fields
    assert max(truth.values()) > 5.0 * min(truth.values())
    result = run(inputs=files, skymethod="match", **ONLY_SKY)
    left = _errors(result, truth)
    near, far = [v for k, v in left.items() if "aaa" in k], [v for k, v in left.items() if "bbb" in k]
    assert (len(near), len(far)) == (4, 2)
    # Each overlap holds 2e4 pixels with a noise of 10 to 25 electrons: 0.1 to 0.2 electrons a difference.
    assert np.ptp(near) < 0.5
    assert np.ptp(far) < 1.0
    assert np.mean(near) == pytest.approx(min(v for k, v in truth.items() if "aaa" in k), abs=0.5)
    assert any("2 groups do not overlap" in line for line in result.warnings)


def test_matching_with_globalmin_takes_off_the_true_skies_of_every_group(
    run: Run, two_fields: tuple[list[str], dict[str, float]]
) -> None:
    files, truth = two_fields
    left = _errors(run(inputs=files, skymethod="globalmin+match", **ONLY_SKY), truth)
    # Sources raise the median of a chip by less than this share of the noise of a pixel.
    assert max(abs(value) for value in left.values()) < 3.0
    peer = _errors(run(inputs=files, skymethod="globalmin+match", peer_compat=True, **ONLY_SKY), truth)
    assert min(abs(v) for k, v in peer.items() if "bbb" in k) > 100.0


@pytest.fixture(scope="module")
def flat_fields(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three distorted exposures of two chips whose pixels differ from a known level by noise only."""
    folder = tmp_path_factory.mktemp("flat")
    paths = []
    for k, (step, level, exptime) in enumerate(
        ((0.0, 0.0, 100.0), (1.3e-4, 30.0, 200.0), (2.9e-4, -7.0, 50.0))
    ):

        def raise_level(hdul: fits.HDUList, level: float = level) -> None:
            for extver in (1, 2):
                hdul["SCI", extver].data += np.float32(level)
                hdul["DQ", extver].data[:] = 0
                hdul["DQ", extver].data[5:9, 20:30] = 4

        paths.append(
            write_exposure(
                folder / f"fla{k}_flc.fits",
                shape_yx=(90, 130),
                crval=(150.1 + step, 2.2 - step / 3.0),
                roll_deg=33.0 + 4.0 * k,
                exptime=exptime,
                expstart=55000.0 + k,
                seed=20 + k,
                edit=raise_level,
            )
        )
    return [str(path) for path in paths]


def _pixels_in_common(paths: list[str]) -> Iterator[tuple[int, int, np.ndarray]]:
    """Good pixels of chip a whose centre lies on chip b, by astropy alone."""
    chips = []
    for exposure, path in enumerate(paths):
        with fits.open(path) as hdul:
            chips += [
                SimpleNamespace(
                    exposure=exposure,
                    wcs=WCS(hdul["SCI", v].header, hdul, fix=False),
                    sci=hdul["SCI", v].data.copy(),
                    good=hdul["DQ", v].data == 0,
                )
                for v in (1, 2)
            ]
    for a, b in permutations(range(len(chips)), 2):
        one, other = chips[a], chips[b]
        if one.exposure == other.exposure:
            continue
        ny, nx = one.sci.shape
        y, x = np.mgrid[:ny, :nx]
        sky = one.wcs.all_pix2world(x.ravel(), y.ravel(), 0)
        xb, yb = other.wcs.all_world2pix(*sky, 0, quiet=True)
        inside = (xb > -0.5) & (xb < nx - 0.5) & (yb > -0.5) & (yb < ny - 0.5)
        yield a, b, one.sci[inside.reshape(ny, nx) & one.good]


def test_overlap_statistics_are_those_of_the_pixels_in_common(run: Run, flat_fields: list[str]) -> None:
    result = run(inputs=flat_fields, skymethod="match", skystat="mean", skyclip=0, **ONLY_SKY)
    job = _job(result)
    records = job.ledger.read_phase("sky_overlaps")
    tasks = list(job.chip_index)
    n_pairs = 0
    for a, b, values in _pixels_in_common(flat_fields):
        found = records[tasks[a]].facts["overlaps"].get(str(b))
        if values.size < 400:
            continue
        n_pairs += 1
        # An outline has straight sides and whole-number corners: about a pixel along the border is in doubt.
        border = 4.0 * np.sqrt(values.size)
        assert abs(found[1] - values.size) < border, (a, b)
        assert abs(found[0] - values.mean()) < 4.0 * 5.0 * np.sqrt(border) / values.size, (a, b)
    assert n_pairs >= 12
    # Levels: 50 + (0, 30, -7) electrons in 100, 200 and 50 s; the lowest rate stays.
    rates = np.array([50.0 / 100.0, 80.0 / 200.0, 43.0 / 50.0])
    expected = (rates - rates.min()) * (100.0, 200.0, 50.0)
    found_levels = np.array(list(_subtracted(result).values())).reshape(3, 2)
    np.testing.assert_allclose(found_levels, np.stack([expected] * 2, axis=1), rtol=0.0, atol=0.2)


@pytest.mark.parametrize("method", ["match", "globalmin+match"])
def test_recorded_levels_of_drizzlepac(run: Run, flat_fields: list[str], method: str) -> None:
    # What DrizzlePac 3.11.0 calls for its sky, stsci.skypac 1.0.12 (spherical_geometry 1.3.5, astropy 8.0.2,
    # numpy 2.4.6), on the files of this fixture: skymatch(infos, skymethod=method, skystat="median", nclip=5,
    # lsigma=4, usigma=4, binwidth=0.1, subtractsky=False, dq_bits=None), infos with (DQ == 0) as masks.
    found = _subtracted(run(inputs=flat_fields, skymethod=method, peer_compat=True, **ONLY_SKY))
    np.testing.assert_allclose(list(found.values()), np.repeat(RECORDED[method], 2), rtol=1e-6, atol=1e-6)


def test_no_schedule_changes_a_bit_of_a_matched_mosaic(run: Run, exposures: list[str]) -> None:
    method = {"skymethod": "globalmin+match", "skystat": "mode"}
    reference = run(**method)
    turned = [exposures[2], exposures[0], exposures[1]]
    other = run(inputs=turned, options={"tile": 61, "scheduler": "threads", "cores": 3}, **method)
    assert _job(other).sky == _job(reference).sky
    assert_same_bits(reference, other)


@pytest.mark.parametrize("rows", [256 * 7, 37])
def test_bands_of_rows_do_not_change_the_sky(
    run: Run, exposures: list[str], monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    method = {"skymethod": "globalmin+match", **ONLY_SKY}
    expected = _job(run(**method)).sky
    monkeypatch.setattr(sky_tasks, "MASK_BAND_ROWS", rows)
    assert _job(run(inputs=exposures, **method)).sky == expected


def test_weights_from_a_relative_sky_are_told(run: Run, flat_fields: list[str]) -> None:
    told = {
        method: run(inputs=flat_fields, skymethod=method, final_wht_type="IVM", **ONLY_SKY).warnings
        for method in ("match", "globalmin+match")
    }
    assert [line for line in told["match"] if "use globalmin+match" in line]
    assert not [line for line in told["globalmin+match"] if "IVM" in line]


def test_one_exposure_is_measured_alone_except_for_the_peer(run: Run, exposures: list[str]) -> None:
    local = _subtracted(run(inputs=exposures[:1], **ONLY_SKY))
    assert all(value is not None and value > 1.0 for value in local.values())
    assert _subtracted(run(inputs=exposures[:1], skymethod="match", **ONLY_SKY)) == local
    peer = _job(run(inputs=exposures[:1], skymethod="match", peer_compat=True, **ONLY_SKY)).sky
    assert set(peer.values()) == {SkyLevel(0.0, 0.0, None)}


def test_a_changed_list_of_sky_values_is_another_job(run: Run, exposures: list[str], tmp_path: Path) -> None:
    names = [Path(path).name for path in exposures]
    listing = tmp_path / "sky.txt"
    listing.write_text("".join(f"{name} 30.5 31.25\n" for name in names))
    result = run(folder=tmp_path, skyfile=str(listing), **ONLY_SKY)
    assert list(_subtracted(result).values()) == [30.5, 31.25] * 3
    assert not (result.job_folder / "ledger" / "sky").exists()
    listing.write_text("".join(f"{name} 30.5 31.26\n" for name in names))
    with pytest.raises(PlanMismatchError):
        run(folder=tmp_path, skyfile=str(listing), **ONLY_SKY)


def test_given_values_are_subtracted_and_recorded(run: Run, exposures: list[str], tmp_path: Path) -> None:
    """Taking 10 off every pixel lowers the mosaic by the rate of 10 in the exposure time."""
    listing = tmp_path / "sky.txt"
    listing.write_text("".join(f"{Path(path).name} 10\n" for path in exposures))
    none = run(skysub=False, **ONE_STEP)
    taken = run(skyfile=str(listing), dq_update="copy", **ONE_STEP)
    applied = run(skysub=False, skyuser=f"@{listing}", dq_update="copy", **ONE_STEP)
    images = [_image(result) for result in (none, taken, applied)]
    exptime = fits.getval(exposures[0], "EXPTIME")
    covered = np.isfinite(images[0])
    # Float32 is good to 1e-8 at the some 0.1 electrons/s of the sky.
    difference = (images[0] - images[1])[covered]
    assert np.median(np.abs(difference - 10.0 / exptime)) < 1e-6
    np.testing.assert_array_equal(images[0][covered], images[2][covered])
    for result in (taken, applied):
        copies = [path for path in result.products if path.name == Path(exposures[0]).name]
        assert [fits.getval(copies[0], "MDRIZSKY", ("SCI", v)) for v in (1, 2)] == [10.0, 10.0]


def _image(result: Result) -> np.ndarray:
    with fits.open(next(path for path in result.products if path.name.endswith("_sci.fits"))) as hdul:
        return np.array(hdul[0].data)


def test_a_user_mask_confines_the_sky_to_its_pixels(run: Run, exposures: list[str], tmp_path: Path) -> None:
    shape = fits.getdata(exposures[0], ("SCI", 1)).shape
    mask = np.zeros(shape, dtype=np.uint8)
    mask[20:60, 30:90] = 1
    fits.PrimaryHDU(mask).writeto(tmp_path / "mask.fits")
    catalogue = tmp_path / "masks.cat"
    catalogue.write_text(f"{Path(exposures[0]).name},mask.fits,mask.fits\n")
    options = {"skystat": "mean", "skyclip": 0, "sky_bits": None}
    result = run(inputs=exposures[:1], skymask_cat=str(catalogue), **options, **ONLY_SKY)
    means = [
        float(fits.getdata(exposures[0], ("SCI", v))[mask == 1].astype(np.float64).mean()) for v in (1, 2)
    ]
    np.testing.assert_allclose(list(_subtracted(result).values()), min(means), rtol=1e-6)
