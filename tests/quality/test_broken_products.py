"""Every check of rejection, sky, weights, sampling and stars fires on a run that is broken in its way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mosaic.simulate import SimulatedSet
from tests.support.broken import (
    CHIP,
    Checks,
    assert_complaints,
    checks_of,
    edited,
    expose,
    moved,
    science,
)

UNREJECTED = {"driz_separate": False, "median": False, "blot": False, "driz_cr": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("products")


@pytest.fixture(scope="module")
def good(folder: Path) -> SimulatedSet:
    return expose(folder / "good")


@pytest.fixture(scope="module")
def clean(folder: Path) -> SimulatedSet:
    """Without cosmic rays, so that nothing needs to be rejected."""
    return expose(folder / "clean", cosmic_rays=False)


def _all(files: Sequence[Path], folder: Path, *changes: Callable[[fits.HDUList], None]) -> list[Path]:
    def change(hdus: fits.HDUList) -> None:
        for own in changes:
            own(hdus)

    return [edited(path, folder, change) for path in files]


def _hot(level: float) -> Callable[[fits.HDUList], None]:
    """Hot pixels that the DQ arrays do not know."""
    place = np.random.default_rng(3).integers(20, 300, (60, 2))

    def change(hdus: fits.HDUList) -> None:
        for hdu in science(hdus):
            hdu.data[place[:, 0], place[:, 1]] += level

    return change


def _saturated(hdus: fits.HDUList) -> None:
    """Cores of bright stars flagged as saturated."""
    bright = {hdu.ver: hdu.data > 1500 for hdu in science(hdus)}
    for hdu in hdus:
        if hdu.name == "DQ":
            hdu.data[bright[hdu.ver]] |= 256


def _dead_block(hdus: fits.HDUList) -> None:
    """A block of bad pixels larger than the dither."""
    for hdu in hdus:
        if hdu.name == "DQ":
            hdu.data[100:140, 200:260] |= 128


def _dead_columns(hdus: fits.HDUList) -> None:
    """Every third column is bad."""
    for hdu in hdus:
        if hdu.name == "DQ":
            hdu.data[:, ::3] |= 4


def _wave(hdus: fits.HDUList) -> None:
    """Noise of the read-out with a period of 4.3 pixels."""
    for hdu in science(hdus):
        hdu.data[:] += np.float32(2.5) * np.sin(2.0 * np.pi * np.arange(hdu.data.shape[1]) / 4.3)[None]


def _blotches(hdus: fits.HDUList) -> None:
    """Structure of some ten pixels, as of a poor flat field."""
    fy, fx = np.fft.fftfreq(CHIP[0])[:, None], np.fft.rfftfreq(CHIP[1])[None]
    for number, hdu in enumerate(science(hdus)):
        noise = np.fft.rfft2(np.random.default_rng(number).normal(size=CHIP))
        smooth = np.fft.irfft2(noise * np.exp(-2.0 * np.pi**2 * 16.0 * (fx**2 + fy**2)), s=CHIP)
        hdu.data[:] += (4.0 * smooth / smooth.std()).astype(np.float32)


def _errors_doubled(hdus: fits.HDUList) -> None:
    for hdu in hdus:
        if hdu.name == "ERR":
            hdu.data *= 2.0


def _time_doubled(hdus: fits.HDUList) -> None:
    hdus[0].header["EXPTIME"] *= 2.0


def test_low_thresholds_are_found(folder: Path, good: SimulatedSet) -> None:
    checks = checks_of(folder / "low", good.files, driz_cr_snr="0.8 0.7", driz_cr_scale="0.2 0.1")
    expected = {"cosmic_ray_fraction": "bad", "star_cores": "bad", "mean_weight": "look"}
    assert_complaints(checks, expected, ["flag_pattern", "weight_uniformity", "target_imprint"])


def test_hot_pixels_flagged_again_and_again_are_found(folder: Path, good: SimulatedSet) -> None:
    checks = checks_of(folder / "hot", _all(good.files, folder / "h", _hot(400.0)))
    assert_complaints(checks, {"repeated_pixels": "look"})


def test_hot_pixels_left_in_the_product_are_found(folder: Path, clean: SimulatedSet) -> None:
    checks = checks_of(folder / "left", _all(clean.files, folder / "l", _hot(1000.0)), driz_cr=False)
    assert_complaints(checks, {"hot_pixel_pattern": "bad", "residual_cosmic_rays": "bad"})


def test_cosmic_rays_left_in_the_product_are_found(folder: Path, good: SimulatedSet) -> None:
    checks = checks_of(folder / "rays", good.files, driz_cr=False)
    # Cosmic rays pass for stars that are not round.
    assert_complaints(checks, {"residual_cosmic_rays": "bad"}, ["star_roundness", "star_width"])
    assert checks["hot_pixel_pattern"].verdict == "ok"


def test_sky_left_unequal_is_found(folder: Path) -> None:
    made = expose(
        folder / "wide", pattern="mosaic:2x1", exposures=2, chip_shape=(256, 320), cosmic_rays=False
    )
    assert_complaints(checks_of(folder / "flat", made.files, **UNREJECTED), {"pointing": "look"})
    checks = checks_of(folder / "seams", made.files, skysub=False, **UNREJECTED)
    assert_complaints(checks, {"pointing": "look", "seams": "look"})


def test_wrong_sky_values_are_found(folder: Path, clean: SimulatedSet) -> None:
    table = folder / "sky.txt"
    levels = (20, 40, 70, 40)
    rows = [f"{path.name} {level}" for path, level in zip(clean.files, levels, strict=True)]
    table.write_text("\n".join(rows) + "\n")
    checks = checks_of(folder / "skyfile", clean.files, skyfile=str(table), **UNREJECTED)
    assert_complaints(checks, {"recorded_sky": "bad"}, ["seams", "moire"])


def test_pattern_structure_errors_and_holes_are_found(folder: Path, clean: SimulatedSet) -> None:
    broken = _all(clean.files, folder / "w", _wave, _errors_doubled, _dead_block)
    checks = checks_of(folder / "wave", broken, final_err=True, **UNREJECTED)
    assert_complaints(checks, {"moire": "bad", "reported_errors": "bad", "holes": "bad"})
    assert any("DQ 128" in line for line in checks["holes"].details)


def test_structure_and_lost_weight_are_found(folder: Path, clean: SimulatedSet) -> None:
    half = [*clean.files[:2], *_all(clean.files[2:], folder / "d", _dead_columns)]
    checks = checks_of(folder / "blotches", _all(half, folder / "s", _blotches), **UNREJECTED)
    assert_complaints(checks, {"correlated_noise": "bad", "mean_weight": "look"})


def test_imprint_of_saturated_stars_is_found(folder: Path, clean: SimulatedSet) -> None:
    flagged = _all(clean.files, folder / "i", _saturated)
    checks = checks_of(folder / "imprint", flagged, **UNREJECTED)
    assert_complaints(checks, {"target_imprint": "bad"}, ["holes"])
    kept = checks_of(folder / "kept", flagged, final_bits=256, **UNREJECTED)
    assert_complaints(kept, {})


def test_drops_too_small_are_found(folder: Path, clean: SimulatedSet) -> None:
    checks = checks_of(folder / "small", clean.files, final_pixfrac=0.3, final_scale=0.025, **UNREJECTED)
    expected = {"pixfrac": "look", "weight_uniformity": "bad", "recommended": "look"}
    assert_complaints(checks, expected, ["holes"])


def test_output_pixels_too_large_are_found(folder: Path, clean: SimulatedSet) -> None:
    checks = checks_of(folder / "large", clean.files, final_scale=0.15, **UNREJECTED)
    # Stars of one pixel are noise to the other checks.
    follows = ["moire", "correlated_noise", "star_roundness", "star_width"]
    assert_complaints(checks, {"output_scale": "bad"}, follows)


@pytest.mark.parametrize(
    ("moves", "expected", "follows"),
    [
        (((-0.8, -0.8), (0.8, 0.8), (0.8, -0.8), (-0.8, 0.8)), {"star_width": "look"}, []),
        (((-1.2, 0.0), (-0.4, 0.0), (0.4, 0.0), (1.2, 0.0)), {"star_roundness": "look"}, ["star_width"]),
        (
            ((0.0, 0.0, -0.3), (0.0, 0.0, -0.1), (0.0, 0.0, 0.1), (0.0, 0.0, 0.3)),
            {"width_over_field": "look"},
            ["star_width", "star_roundness"],
        ),
    ],
    ids=["wide", "elongated", "wide on one side"],
)
def test_shapes_of_stars_are_judged(
    moves: tuple[tuple[float, ...], ...],
    expected: dict[str, str],
    follows: list[str],
    clean: SimulatedSet,
    tmp_path: Path,
) -> None:
    files = [
        edited(path, tmp_path / "in", moved(*move)) for path, move in zip(clean.files, moves, strict=True)
    ]
    assert_complaints(_shapes(tmp_path, files), expected, follows)


def test_flux_lost_to_a_wrong_exposure_time_is_found(clean: SimulatedSet, tmp_path: Path) -> None:
    files = [edited(clean.files[0], tmp_path / "in", _time_doubled), *clean.files[1:]]
    assert_complaints(_shapes(tmp_path, files), {"flux_balance": "bad"})


def _shapes(folder: Path, files: Sequence[Path]) -> Checks:
    return checks_of(folder / "run", files, **UNREJECTED)
