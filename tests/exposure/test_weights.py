"""Input weights follow the formulas of the handbook, with the corrections for rates and bad errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from mosaic.errors import MetadataError, ParameterError
from mosaic.exposure.catalogue import read_catalogue
from mosaic.exposure.model import Chip
from mosaic.exposure.weights import input_weight
from mosaic.types import BoolArray, Window
from tests.support.exposures import default_settings, write_exposure

WINDOW = Window(7, 31, 11, 50)
T = 120.0


def _chip(path: Path, index: int = 0, **settings: Any) -> Chip:
    return read_catalogue([str(path)], default_settings(**settings)).exposures[0].chips[index]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_exposure(tmp_path / "a_flc.fits")


@pytest.fixture
def mask() -> BoolArray:
    return np.random.default_rng(8).random(WINDOW.shape_yx) > 0.3


@pytest.mark.parametrize(
    ("wt_scl", "expected"),
    [("exptime", T), ("expsq", T * T), (2.5, 2.5 * T), ("2.5", 2.5 * T), ("", T)],
    ids=repr,
)
def test_exp_weight_is_exposure_time_and_expsq_its_square(
    path: Path, mask: BoolArray, wt_scl: Any, expected: float
) -> None:
    weight = input_weight(_chip(path), WINDOW, mask, wht_type="EXP", wt_scl=wt_scl, scale_ratio=0.7)
    np.testing.assert_array_equal(weight, np.where(mask, np.float32(expected), 0.0))
    assert weight.dtype == np.float32
    assert weight.flags.c_contiguous


def test_err_weight_is_the_inverse_variance_of_the_rate(path: Path, mask: BoolArray) -> None:
    weight = input_weight(_chip(path, 1), WINDOW, mask, wht_type="ERR", wt_scl=9.0, scale_ratio=0.6)
    err = fits.getdata(path, ("ERR", 2))[WINDOW.slices].astype(float)
    np.testing.assert_allclose(weight, np.where(mask, (T / err) ** 2 / 0.6**4, 0.0), rtol=1e-6)


def test_err_weight_of_rate_data_has_no_exposure_time(tmp_path: Path, mask: BoolArray) -> None:
    path = write_exposure(
        tmp_path / "i_flt.fits", instrument="WFC3", detector="IR", n_chips=1, bunit="ELECTRONS/S"
    )
    weight = input_weight(_chip(path), WINDOW, mask, wht_type="ERR")
    err = fits.getdata(path, ("ERR", 1))[WINDOW.slices].astype(float)
    np.testing.assert_allclose(weight, np.where(mask, err**-2.0, 0.0), rtol=1e-6)


def test_errors_that_are_not_positive_weigh_nothing(tmp_path: Path) -> None:
    def edit(hdul: fits.HDUList) -> None:
        hdul["ERR", 1].data[7, 11:15] = (0.0, -1.0, np.nan, np.inf)

    path = write_exposure(tmp_path / "a_flc.fits", edit=edit)
    weight = input_weight(_chip(path), WINDOW, np.ones(WINDOW.shape_yx, dtype=bool), wht_type="ERR")
    np.testing.assert_array_equal(weight[0, :4], 0.0)
    assert np.all(weight[1:] > 0)
    assert np.isfinite(weight).all()


def test_without_errors_err_is_exp(tmp_path: Path, mask: BoolArray) -> None:
    def edit(hdul: fits.HDUList) -> None:
        del hdul["ERR", 1]

    path = write_exposure(tmp_path / "a_flc.fits", n_chips=1, edit=edit)
    np.testing.assert_array_equal(
        input_weight(_chip(path), WINDOW, mask, "ERR"), np.where(mask, np.float32(T), 0.0)
    )


def test_ivm_weight_is_the_inverse_variance_of_the_background_rate(path: Path, mask: BoolArray) -> None:
    chip = _chip(path, 1, final_wht_type="IVM")
    weight = input_weight(chip, WINDOW, mask, wht_type="ivm", sky=30.0, scale_ratio=1.3)
    expected = T**2 / 1.3**4 / (1.0 + 30.0 + 5.0**2)
    np.testing.assert_allclose(weight, np.where(mask, expected, 0.0), rtol=1e-6)


def test_ivm_sky_of_rate_data_is_counted_in_electrons(tmp_path: Path, mask: BoolArray) -> None:
    path = write_exposure(
        tmp_path / "i_flt.fits", instrument="WFC3", detector="IR", n_chips=1, bunit="ELECTRONS/S"
    )
    weight = input_weight(_chip(path), WINDOW, mask, wht_type="IVM", sky=0.5)
    np.testing.assert_allclose(weight[mask], T**2 / (0.5 + 0.5 * T + 25.0), rtol=1e-6)


def test_ivm_uses_the_flat_of_the_right_chip_at_the_right_place(
    tmp_path: Path, mask: BoolArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(9)
    flats = {
        1: rng.uniform(0.5, 1.5, (200, 300)).astype(np.float32),
        2: np.ones((200, 300), dtype=np.float32),
    }
    flats[1][40 + 7, 20 + 11] = 0.0
    hdus = [
        fits.ImageHDU(flats[chip], fits.Header({"CCDCHIP": chip}), name="SCI", ver=3 - chip)
        for chip in (2, 1)
    ]
    (tmp_path / "ref").mkdir()
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "ref" / "my_pfl.fits")
    monkeypatch.setenv("jref", str(tmp_path / "ref"))

    def edit(hdul: fits.HDUList) -> None:
        hdul[1].header["LTV1"], hdul[1].header["LTV2"] = -20.0, -40.0

    # A subarray of chip 1 is extension (SCI, 1) of its file, but (SCI, 2) of the flat.
    path = write_exposure(
        tmp_path / "a_flc.fits", n_chips=1, primary={"PFLTFILE": "jref$my_pfl.fits"}, edit=edit
    )
    chip = _chip(path, final_wht_type="IVM")
    assert chip.ccdchip == 1
    mask[0, 0] = True
    weight = input_weight(chip, WINDOW, mask, wht_type="IVM", sky=12.0)
    flat = flats[1][40 + 7 : 40 + 31, 20 + 11 : 20 + 50].astype(float)
    np.testing.assert_allclose(
        weight, np.where(mask, T**2 * flat**2 / (0.5 + 12.0 * flat + 25.0), 0.0), rtol=1e-6
    )
    assert weight[0, 0] == 0.0


def test_ivm_of_the_user_replaces_the_noise_model(path: Path, mask: BoolArray, tmp_path: Path) -> None:
    ivm = np.random.default_rng(2).uniform(0.1, 2.0, (60, 97)).astype(np.float32)
    ivm[8, 12:14] = (np.nan, -1.0)
    fits.PrimaryHDU(ivm).writeto(tmp_path / "ivm.fits")
    with fits.open(tmp_path / "ivm.fits") as hdul:
        offset = hdul[0].fileinfo()["datLoc"]
    chip = _chip(path)
    chip = replace(chip, ivm=replace(chip.sci, path=str(tmp_path / "ivm.fits"), offset=offset))
    weight = input_weight(chip, WINDOW, mask, wht_type="IVM", scale_ratio=2.0)
    usable = mask & (ivm[WINDOW.slices] > 0)
    np.testing.assert_allclose(weight, np.where(usable, T**2 / 16.0 * ivm[WINDOW.slices], 0.0), rtol=1e-6)


def test_ivm_needs_the_dark_signal(tmp_path: Path) -> None:
    def edit(hdul: fits.HDUList) -> None:
        del hdul[4].header["MEANDARK"]

    path = write_exposure(tmp_path / "a_flc.fits", edit=edit)
    assert _chip(path, 1).dark_e == 0.0
    with pytest.raises(MetadataError, match=r"a\[sci,2\]: MEANDARK absent"):
        _chip(path, 1, final_wht_type="IVM")


def test_ivm_without_any_noise_is_refused(path: Path) -> None:
    chip = replace(_chip(path), dark_e=0.0, read_noise_e=0.0)
    with pytest.raises(MetadataError, match="IVM weight impossible"):
        input_weight(chip, WINDOW, np.ones(WINDOW.shape_yx, dtype=bool), wht_type="IVM")


@pytest.mark.parametrize(("kind", "wt_scl"), [("WHT", "exptime"), ("EXP", "time")])
def test_unknown_weights_are_refused(path: Path, mask: BoolArray, kind: str, wt_scl: Any) -> None:
    with pytest.raises(ParameterError, match="is unknown"):
        input_weight(_chip(path), WINDOW, mask, kind, wt_scl)
