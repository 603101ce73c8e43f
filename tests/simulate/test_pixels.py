"""Laws of pixels: noise, errors, defects, cosmic rays, saturation, reproducibility."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mosaic.simulate import SimulatedSet, simulate
from mosaic.simulate.files import read_cosmic_rays

BLANK = {"n_stars": 0, "n_galaxies": 0, "cosmic_rays": False, "defects": False, "sky_scatter": 0.0}


def planes(path: Path, extver: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with fits.open(path, memmap=False) as file:
        return tuple(file[name, extver].data.copy() for name in ("SCI", "ERR", "DQ"))


@pytest.mark.parametrize("instrument", ["acs/wfc", "wfc3/ir"])
def test_errors_are_the_scatter_of_the_pixels(tmp_path: Path, instrument: str) -> None:
    made = simulate(tmp_path, instrument=instrument, chip_shape=(230, 300), exposures=1, sky_e=400.0, **BLANK)
    sci, err, _ = planes(made.files[0], 1)
    unit = 499.234 if instrument == "wfc3/ir" else 1.0
    pull = (sci * unit - 400.0) / (err * unit)
    # 69 000 pixels: the standard deviation is known to 0.3 %, the mean to 0.4 %; ERR comes from the
    # noisy counts, which biases the mean pull by about -1 / (2 sqrt(counts)) or 0.025.
    assert pull.std() == pytest.approx(1.0, abs=0.015)
    assert pull.mean() == pytest.approx(0.0, abs=0.05)
    assert (sci * unit).mean() == pytest.approx(400.0, abs=0.5)


def test_read_noise_is_that_of_each_amplifier(tmp_path: Path) -> None:
    made = simulate(tmp_path, chip_shape=(200, 256), exposures=1, sky_e=0.0, exptime_s=1.0, **BLANK)
    primary = fits.getheader(made.files[0])
    for extver, amps in ((1, "CD"), (2, "AB")):
        sci, err, _ = planes(made.files[0], extver)
        # SCI times P, with P = 1 near the middle columns only to a few per cent: use SCI over ERR instead.
        for half, amp in zip((sci[:, :128] / err[:, :128], sci[:, 128:] / err[:, 128:]), amps, strict=True):
            # ERR holds max(counts, 0) besides read noise: for Gaussian counts of width r the mean of
            # n**2 / (r**2 + max(n, 0)) is 1 minus a known part; computed here from r alone.
            r = primary[f"READNSE{amp}"]
            n = np.random.default_rng(1).standard_normal(400_000) * r
            expected = np.std(n / np.sqrt(r**2 + np.maximum(n, 0.0)))
            assert half.std() == pytest.approx(expected, rel=0.03)


def test_defects_are_flagged_alike_in_every_exposure(real: SimulatedSet) -> None:
    defects = 4 | 16 | 64 | 128
    first = [planes(real.files[0], extver)[2] & defects for extver in (1, 2)]
    for path in real.files[1:]:
        for extver in (1, 2):
            np.testing.assert_array_equal(planes(path, extver)[2] & defects, first[extver - 1])
    for bit in (4, 16, 64, 128):
        assert all((dq & bit).any() for dq in first)
    columns = np.flatnonzero((first[0] & 4).any(axis=0))
    assert all((first[0][:, column] & 4).sum() >= 100 for column in columns)


def test_cosmic_rays_are_in_the_truth_and_never_in_dq(real: SimulatedSet) -> None:
    charges = [read_cosmic_rays(path) for path in real.cosmic_rays]
    struck = np.mean([(image > 0).mean() for charge in charges for image in charge.values()])
    assert 0.01 < struck < 0.025
    for path, charge in zip(real.files, charges, strict=True):
        for extver, image in charge.items():
            sci, _, dq = planes(path, extver)
            clean_hit = (image > 500) & ((dq & ~256) == 0)
            assert clean_hit.sum() > 20
            assert np.all(sci[clean_hit] > 350)
            assert not np.any(dq & (4096 | 8192 | 16384))
            unsaturated = (dq & 256) == 0
            # Bits other than saturation do not depend on where rays struck.
            assert (dq[unsaturated & (image > 0)] == 0).mean() > 0.9
    assert not np.array_equal(charges[0][1], charges[1][1])


def test_removing_true_cosmic_rays_leaves_the_exposure_without_them(tmp_path: Path) -> None:
    same = {"chip_shape": (120, 140), "exposures": 1, "defects": False, "noise": False, "seed": 8}
    hit = simulate(tmp_path / "hit", **same)
    spared = simulate(tmp_path / "spared", cosmic_rays=False, **same)
    for extver, charge in read_cosmic_rays(hit.cosmic_rays[0]).items():
        sci, _, dq = planes(hit.files[0], extver)
        quiet = planes(spared.files[0], extver)[0]
        with_rays = (charge > 0) & ((dq & 256) == 0)
        # The difference is the charge over the relative pixel area, which lies between 0.85 and 1.1.
        ratio = (sci - quiet)[with_rays] / charge[with_rays]
        assert 1 / 1.1 < ratio.min() <= ratio.max() < 1 / 0.85
        np.testing.assert_array_equal(sci[charge == 0], quiet[charge == 0])


def test_saturated_pixels_are_clipped_and_flagged(tmp_path: Path) -> None:
    made = simulate(
        tmp_path,
        chip_shape=(120, 140),
        n_stars=40,
        n_galaxies=0,
        star_rate_range=(3000.0, 9000.0),
        cosmic_rays=False,
        noise=False,
        exposures=1,
    )
    for extver in (1, 2):
        sci, _, dq = planes(made.files[0], extver)
        saturated = (dq & 256) > 0
        assert saturated.sum() > 10
        assert sci.max() < 84700 / 0.85
        assert sci[saturated & (dq == 256)].min() > 84700 / 1.1
        assert sci[~saturated].max() < 84700 / 0.85


def test_seed_alone_decides_every_byte(tmp_path: Path) -> None:
    same = {"chip_shape": (64, 80), "exposures": 3, "pointing_rms_arcsec": 0.05}
    one = simulate(tmp_path / "one", workers=1, seed=2, **same)
    three = simulate(tmp_path / "three", workers=3, seed=2, **same)
    other = simulate(tmp_path / "other", workers=1, seed=3, **same)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "three").iterdir())
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "three" / name).read_bytes(), name
    assert len(one.files) == len(three.files) == 3
    assert not np.array_equal(planes(one.files[0], 1)[0], planes(other.files[0], 1)[0])
