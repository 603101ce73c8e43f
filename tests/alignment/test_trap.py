"""A field in which cosmic rays and hot pixels outnumber the stars: aligned rightly, or refused.

Like a short subarray exposure of WFC3/UVIS: a dozen stars, hundreds of cosmic rays, and hot pixels at the
same places of the detector in every exposure. Whoever matches everything finds the hot pixels and undoes the
dither.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

import mosaic
from mosaic.alignment.images import ImageSources
from mosaic.alignment.measure import measure
from mosaic.alignment.reading import read_images
from mosaic.alignment.result import AlignResult
from mosaic.alignment.settings import load_align_settings
from mosaic.alignment.solution import Solution
from mosaic.options import RunOptions
from mosaic.simulate import simulate

OPTIONS = RunOptions.resolve(cores=2, memory="500MB")
SHAPE = (256, 513)


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three well pointed exposures: every true shift is zero."""
    folder = tmp_path_factory.mktemp("trap")
    made = simulate(
        folder,
        instrument="wfc3/uvis",
        exposures=3,
        chip_shape=SHAPE,
        exptime_s=104.0,
        n_stars=14,
        star_rate_range=(60.0, 900.0),
        n_galaxies=0,
        cosmic_ray_fraction=0.03,
        seed=21,
    )
    rng = np.random.default_rng(5)
    # Hot pixels, some with a warm neighbour, as after months of radiation.
    y, x = rng.integers(4, SHAPE[0] - 4, 130), rng.integers(4, SHAPE[1] - 4, 130)
    height, share = rng.uniform(150.0, 4000.0, 130), rng.choice([0.0, 0.0, 0.25], 130)
    for path in made.files:
        with fits.open(path, mode="update") as hdul:
            for version in (1, 2):
                hdul["SCI", version].data[y, x] += height
                hdul["SCI", version].data[y, x + 1] += height * share
    return sorted(str(path) for path in made.files)


def _images(files: list[str], **find: object) -> list[ImageSources]:
    parameters = load_align_settings(keywords=find)
    return read_images(files, parameters.align, {}, cores=2, memory_bytes=OPTIONS.memory)


def _dither_px(files: list[str], result: AlignResult) -> np.ndarray:
    """Shifts by which the same detector pixel moves over the sky, pixels of the frame, by astropy."""
    frame = WCS(naxis=2)
    frame.wcs.ctype = "RA---TAN", "DEC--TAN"
    frame.wcs.crval, frame.wcs.crpix, frame.wcs.cd = (
        result.frame.crval_deg, result.frame.crpix_xy, result.frame.cd,
    )  # fmt: skip
    places = []
    for path in files:
        with fits.open(path) as hdul:
            sky = WCS(hdul["SCI", 1].header, hdul).all_pix2world([[SHAPE[1] / 2, SHAPE[0] / 2]], 0)
        places.append(frame.all_world2pix(sky, 0)[0])
    return np.array(places) - places[0]


def _largest_move(image: ImageSources, solution: Solution) -> float:
    """Largest move that a solution makes of any source of an image, pixels."""
    matrix, offset = solution.fit.matrix, solution.fit.offset_xy
    corners = np.array([[x, y] for x in (-280.0, 280.0) for y in (-280.0, 280.0)])
    return float(np.hypot(*((corners - offset) @ np.linalg.inv(matrix) - corners).T).max())


def test_all_that_is_found_is_a_trap(trap: list[str]) -> None:
    # Few of the sources are stars, and a match of all of them, the protections off, undoes the dither.
    names = {"threshold": 8.0, "reject_fixed": False}
    images = _images(trap, **names)
    assert min(len(image) for image in images) > 10 * 14
    loose = {"max_peak_ratio": 1.0, "minobj": 6, "fitgeometry": "shift", "searchrad": 1.5}
    result = measure(images, load_align_settings(keywords=names | loose), OPTIONS)
    dither = _dither_px(trap, result)
    assert np.hypot(*dither[1:].T).min() > 2.5
    for solution, true in zip(result.solutions[1:], dither[1:], strict=True):
        assert solution.is_good
        assert solution.n_used > 100
        assert solution.fit.offset_xy == pytest.approx(true, abs=0.5)


@pytest.mark.parametrize("find", [
    {"threshold": 4.0}, {"threshold": 8.0}, {"threshold": 20.0}, {"threshold": 8.0, "use_sharp_round": True},
])  # fmt: skip
def test_no_choice_of_parameters_gives_a_wrong_solution(trap: list[str], find: dict[str, object]) -> None:
    images = _images(trap, **find)
    n_aligned = 0
    grid = itertools.product((4, 15), (0.3, 3.0), ("shift", "rscale", "general"), (0.5, 2.0))
    for minobj, radius, geometry, tolerance in grid:
        chosen = find | {
            "minobj": minobj, "searchrad": radius, "fitgeometry": geometry, "tolerance": tolerance,
        }  # fmt: skip
        result = measure(images, load_align_settings(keywords=chosen), OPTIONS)
        for image, solution in zip(result.images[1:], result.solutions[1:], strict=True):
            if solution.is_good:
                n_aligned += 1
                assert _largest_move(image, solution) < 1.0, (chosen, solution)
            else:
                assert solution.reason, chosen
    # At the threshold of TweakReg the stars drown: every choice is refused.
    assert bool(n_aligned) == (find["threshold"] != 4.0)


def test_the_defaults_refuse_and_say_why(trap: list[str]) -> None:
    result = mosaic.align(trap, options=OPTIONS)
    assert len(result.failed) == 2
    for solution in result.failed:
        assert solution.status in {"ambiguous", "not_enough_matches"}
        assert "stay on their detector pixel" in solution.reason


def test_bright_sources_and_few_matches_align_it_rightly(trap: list[str]) -> None:
    names = {"threshold": 20.0, "minobj": 6, "fitgeometry": "shift"}
    result = mosaic.align(trap, options=OPTIONS, **names)
    assert [s.status for s in result.solutions] == ["reference", "aligned", "aligned"]
    for solution in result.solutions[1:]:
        # About ten stars of 0.1 pixels.
        assert np.hypot(*solution.fit.offset_xy) < 0.15
