"""A simulated WFPC2: four chips in their places, in counts, the shadow of the pyramid, flags apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table

from mosaic.errors import ParameterError
from mosaic.simulate import SimulatedSet, simulate
from mosaic.simulate.detectors import detector_facts
from mosaic.simulate.noise import pyramid_throughput
from mosaic.simulate.params import SimulateParams
from mosaic.simulate.pointing import chip_wcs, plan_pointings
from tests.simulate.conftest import (
    CLEAN,
    chips_of,
    corner_area_arcsec2,
    isolated,
    stars_of,
    weighted_centroid,
)

# WFPC2 Instrument Handbook v10, table 4.4, electrons per DN.
GAINS = {7: (7.12, 7.12, 6.90, 7.10), 15: (13.99, 14.50, 13.95, 13.95)}
SHADOW = 2


@pytest.fixture(scope="module")
def clean_set(tmp_path_factory: pytest.TempPathFactory) -> SimulatedSet:
    """One exposure of stars on a flat sky without noise, defects or cosmic rays."""
    return simulate(
        tmp_path_factory.mktemp("wfpc2"),
        instrument="wfpc2",
        chip_shape=(300, 300),
        exposures=1,
        n_stars=60,
        star_rate_range=(20.0, 60.0),
        sources=None,
        seed=5,
        workers=1,
        **CLEAN,
    )


def _flags(path: Path) -> list[np.ndarray]:
    with fits.open(str(path).replace("_c0m", "_c1m"), memmap=False) as file:
        assert [hdu.name for hdu in file[1:]] == ["SDQ"] * 4
        return [hdu.data for hdu in file[1:]]


def test_files_are_those_of_the_archive(clean_set: SimulatedSet) -> None:
    (path,) = clean_set.files
    assert path.name.endswith("_c0m.fits")
    with fits.open(path) as file:
        assert [(hdu.name, hdu.ver) for hdu in file[1:]] == [("SCI", n) for n in (1, 2, 3, 4)]
        primary = file[0].header
        assert (primary["INSTRUME"], primary["FILTNAM1"], primary["ATODGAIN"]) == ("WFPC2", "F555W", 7.0)
        assert (primary["FILETYPE"], primary["FILENAME"]) == ("SCI", path.name)
        for number, hdu in enumerate(file[1:], start=1):
            assert (hdu.header["DETECTOR"], hdu.header["BUNIT"]) == (number, "COUNTS")
            flags = _flags(path)[number - 1]
            assert hdu.header["CALIBDEF"] == np.count_nonzero(flags & SHADOW)
            assert hdu.header["GPIXELS"] == np.count_nonzero(flags == 0)


def test_chips_lie_as_on_the_telescope() -> None:
    """Separations of the reference pixels and turns of the y axes of exposure u40x010hm (its IDC WCS)."""
    params = SimulateParams(instrument="wfpc2", exposures=1)
    facts = detector_facts("wfpc2", None, None)
    (pointing,) = plan_pointings(params, facts, 300.0)
    target = (params.target_ra_deg, params.target_dec_deg)
    said = [chip_wcs(chip, facts, pointing, target, is_true=False) for chip in facts.chips]
    centres = [SkyCoord(*wcs.crval_deg, unit="deg") for wcs in said]
    recorded = {
        (0, 1): (60.333, 69.870), (0, 2): (78.275, 133.865), (0, 3): (58.140, 200.523),
        (1, 2): (75.006, 180.163), (1, 3): (107.661, 225.683), (2, 3): (76.818, -90.134),
    }  # fmt: skip
    orientation = said[0].orientat_deg
    for (a, b), (separation, angle) in recorded.items():
        # Rounded positions of the table, other declinations and aberration: a few hundredths of an arcsec.
        assert centres[a].separation(centres[b]).arcsec == pytest.approx(separation, abs=0.1)
        turned = centres[a].position_angle(centres[b]).deg - orientation - angle
        assert (turned + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=0.2)
    for wcs, recorded_deg in zip(said, (109.5729, -160.9473, -70.61573, 19.93636), strict=True):
        turned = wcs.orientat_deg - orientation - (recorded_deg - 109.5729)
        assert (turned + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=0.2)


def test_pixels_are_counts_at_the_gain_of_their_chip(clean_set: SimulatedSet) -> None:
    """Lit stars: gain times the sum weighted by true area is the flux, and astropy maps them into place."""
    stars, (path,) = stars_of(clean_set), clean_set.files
    sky_e = float(Table.read(clean_set.sky, format="ascii.ecsv")["sky_e"][0])
    flags = _flags(path)
    ratios, offsets = [], []
    for number, (header, sci, wcs) in enumerate(chips_of(path)):
        nominal = header["IDCSCALE"] ** 2
        gain = GAINS[7][number]
        # The sky is told for a pixel of 0.0996 arcsec.
        level = sky_e * nominal / 0.0996**2 / gain
        x, y = wcs.all_world2pix(stars["ra"], stars["dec"], 0, quiet=True)
        reach = int(np.ceil(5 * max(stars.meta["psf_sigma_arcsec"]) / np.sqrt(nominal) / 0.9)) + 2
        for row in isolated(x, y, sci.shape, reach):
            ix, iy = round(x[row]), round(y[row])
            rows, columns = np.mgrid[iy - reach : iy + reach + 1, ix - reach : ix + reach + 1]
            if (flags[number][rows, columns] & SHADOW).any():
                continue
            cut = sci[rows, columns] - level
            area = corner_area_arcsec2(wcs, columns.astype(float), rows.astype(float)) / nominal
            ratios.append((cut * area).sum() * gain / (stars["rate_e_s"][row] * 300.0))
            guess = (x[row] - ix + reach, y[row] - iy + reach)
            found = weighted_centroid(cut, guess, 2.0)
            offsets.append(np.hypot(found[0] - guess[0], found[1] - guess[1]))
    assert len(ratios) > 10
    np.testing.assert_allclose(ratios, 1.0, atol=1e-4)
    assert max(offsets) < 0.02


def test_the_shadow_is_dark_and_flagged_and_nothing_else_is(clean_set: SimulatedSet) -> None:
    (path,) = clean_set.files
    for (_, sci, _), flags in zip(chips_of(path), _flags(path), strict=True):
        is_shaded = (flags & SHADOW) > 0
        assert np.array_equal(is_shaded, flags > 0)
        level = np.median(sci[~is_shaded])
        assert sci[0, 0] == pytest.approx(0.0, abs=1e-3)
        # No lit pixel is dimmer than the sky; the outer half of the shadow has next to no light.
        assert sci[~is_shaded].min() > 0.97 * level
        rows, columns = (
            np.flatnonzero(~is_shaded.any(axis=1) | (is_shaded.mean(axis=1) < 1.0)),
            np.flatnonzero(is_shaded.mean(axis=0) < 1.0),
        )
        assert is_shaded[: rows[0]].all()
        assert is_shaded[:, : columns[0]].all()
        assert not is_shaded[rows[0] :, columns[0] :].any()


def test_the_shadow_covers_as_much_as_on_the_telescope() -> None:
    """CALIBDEF of u40x010hm: the pipeline flags a little more than the straight edges."""
    facts = detector_facts("wfpc2", None, None)
    for chip, flagged in zip(facts.chips, (82488, 64053, 66656, 80008), strict=True):
        shaded = np.count_nonzero(pyramid_throughput(chip, facts) < 0.995)
        assert 0.85 * flagged < shaded < 1.05 * flagged


def test_the_gain_setting_changes_the_unit_alone(tmp_path: Path) -> None:
    sets = [
        simulate(
            tmp_path / f"{gain}", instrument="wfpc2", chip_shape=(120, 120), exposures=1, n_stars=10,
            ccd_gain=float(gain), seed=2, workers=1, **CLEAN,
        )
        for gain in (7, 15)
    ]  # fmt: skip
    assert [fits.getval(made.files[0], "ATODGAIN") for made in sets] == [7.0, 15.0]
    both = [chips_of(made.files[0]) for made in sets]
    for number, ((head7, low, _), (head15, high, _)) in enumerate(zip(*both, strict=True)):
        np.testing.assert_allclose(low * GAINS[7][number], high * GAINS[15][number], rtol=1e-5, atol=1e-4)
        ratio = head15["PHOTFLAM"] / head7["PHOTFLAM"]
        assert ratio == pytest.approx(GAINS[15][number] / GAINS[7][number], rel=1e-9)


def test_two_sets_may_look_at_the_same_sky(tmp_path: Path) -> None:
    small = {"exposures": 1, "n_stars": 12, "workers": 1, **CLEAN}
    first = simulate(tmp_path / "a", instrument="wfc3/uvis", chip_shape=(80, 160), **small)
    second = simulate(
        tmp_path / "b", instrument="wfpc2", chip_shape=(80, 80), **small, sources=str(first.sources)
    )
    one, other = stars_of(first), stars_of(second)
    for column in ("ra", "dec", "rate_e_s"):
        np.testing.assert_array_equal(one[column], other[column])
    with pytest.raises(ParameterError, match="cannot be read as a source list"):
        simulate(tmp_path / "c", instrument="wfpc2", sources=str(tmp_path / "none.ecsv"))


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"instrument": "wfpc2", "ccd_gain": 8.0}, "ccd_gain=8 of wfpc2 is not simulated"),
        ({"instrument": "acs/wfc", "ccd_gain": 15.0}, "ccd_gain=15 of acs/wfc"),
        ({"instrument": "wfpc2", "chip_shape": (80, 90)}, "chips of wfpc2 must be square"),
    ],
)
def test_what_is_not_simulated_is_refused(tmp_path: Path, choices: dict[str, object], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        simulate(tmp_path, **choices)
