"""Alignment by the light itself: a nebula without stars under cosmic rays, its true shifts known."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

import mosaic
from mosaic.alignment.search import block_medians
from mosaic.errors import ParameterError
from mosaic.options import RunOptions
from mosaic.simulate import SimulatedSet, simulate
from tests.alignment.conftest import TARGET_DEG, pointing_errors, true_places

OPTIONS = RunOptions.resolve(cores=2, memory="1GB")
LIGHT = {"method": "correlation", "searchrad": 1.5}


def _nebula(places: np.ndarray) -> np.ndarray:
    """Electrons of filaments and knots of 0.3 to 2 arcsec at places (arcsec) of the sky."""
    rng = np.random.default_rng(12)
    out = np.zeros(len(places))
    for size in (0.3, 0.6, 1.2, 2.0):
        for _ in range(90):
            centre, peak = rng.uniform(-16.0, 16.0, 2), rng.uniform(15.0, 60.0)
            out += peak * np.exp(-0.5 * ((places - centre) ** 2).sum(axis=1) / size**2)
    return out


@pytest.fixture(scope="module")
def nebula(tmp_path_factory: pytest.TempPathFactory) -> SimulatedSet:
    """Three exposures of a nebula, no star, cosmic rays in them, pointed badly."""
    made = simulate(
        tmp_path_factory.mktemp("nebula"),
        exposures=3,
        chip_shape=(280, 420),
        n_stars=0,
        n_galaxies=0,
        pointing_rms_arcsec=0.2,
        pointing_roll_rms_deg=0.02,
        target_ra_deg=TARGET_DEG[0],
        target_dec_deg=TARGET_DEG[1],
        seed=5,
    )
    for path in made.paths:
        with fits.open(path, mode="update") as hdul:
            for version in (1, 2):
                shape = hdul["SCI", version].data.shape
                y, x = np.indices(shape).reshape(2, -1)
                sky = WCS(hdul["SCI", version].header, hdul).all_pix2world(np.stack([x, y], 1), 0)
                light = _nebula(true_places(made, path, sky)).reshape(shape)
                hdul["SCI", version].data += np.random.default_rng(version).poisson(light).astype(np.float32)
    return made


@pytest.fixture
def nebulae(nebula: SimulatedSet, tmp_path: Path) -> list[str]:
    return [str(shutil.copy(path, tmp_path / path.name)) for path in sorted(nebula.paths)]


@pytest.mark.parametrize("geometry", ["shift", "rscale"])
def test_a_nebula_without_stars_is_aligned(
    nebula: SimulatedSet, nebulae: list[str], tmp_path: Path, geometry: str
) -> None:
    originals = sorted(nebula.paths)
    result = mosaic.align(
        nebulae, tmp_path / "out", options=OPTIONS, fitgeometry=geometry, updatehdr=True, **LIGHT
    )
    result.require_complete()
    assert all(s.n_used > 10 for s in result.solutions[1:])
    for (shift, turn), (before, _) in zip(
        pointing_errors(nebula, originals, nebulae),
        pointing_errors(nebula, originals, originals),
        strict=True,
    ):
        assert before > 1.0
        # Fifty patches, half of each shared with the next, of 0.5 pixels: 0.1 at one sigma, per axis.
        assert shift < 0.3
        assert geometry == "shift" or abs(turn) < 0.1
    told = np.genfromtxt(tmp_path / "out" / f"{Path(nebulae[1]).stem}_catalog_fit.match", usecols=(6, 7))
    assert told.std(axis=0) == pytest.approx(result.solutions[1].fit.rms_xy, abs=1e-5)


def test_sources_do_not_align_it_and_cosmic_rays_alone_are_refused(
    nebulae: list[str], tmp_path: Path
) -> None:
    assert mosaic.align(nebulae, options=OPTIONS, threshold=10, searchrad=1.5).failed
    empty = simulate(
        tmp_path / "empty", exposures=2, chip_shape=(200, 300), n_stars=0, n_galaxies=0, seed=6, defects=True
    )
    result = mosaic.align([str(path) for path in empty.paths], options=OPTIONS, **LIGHT)
    assert [s.status for s in result.failed] in (["not_enough_matches"], ["ambiguous"])
    assert result.failed[0].reason


def test_what_needs_sources_is_refused(nebulae: list[str]) -> None:
    with pytest.raises(ParameterError, match="refcat, solve=global cannot be used"):
        mosaic.align(nebulae, options=OPTIONS, refcat="gaia.ecsv", solve="global", **LIGHT)


def test_medians_of_blocks_leave_out_bad_pixels() -> None:
    image = np.arange(63, dtype=np.float32).reshape(7, 9)
    image[0, 0] = 1e6
    is_good = np.ones(image.shape, dtype=np.bool_)
    is_good[3:6, 3:5] = False
    medians = block_medians(image, is_good, 3)
    assert medians.shape == (2, 3)
    assert medians[0, 0] == np.median(image[:3, :3])
    assert np.isnan(medians[1, 1])
    is_good[4, 4] = is_good[5, 4] = True
    assert block_medians(image, is_good, 3)[1, 1] == np.median(image[3:6, 3:6][is_good[3:6, 3:6]])
