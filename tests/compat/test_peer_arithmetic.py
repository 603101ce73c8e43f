"""`peer_compat`: DrizzlePac's defects in closed form, and that nothing changes without it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from astropy.io import fits

from mosaic.exposure.catalogue import read_catalogue
from mosaic.exposure.model import Chip
from mosaic.exposure.reader import read_rows
from mosaic.exposure.weights import input_weight
from mosaic.graph.job import Job
from mosaic.graph.plan import Plan
from mosaic.parameters import apply_peer_quirks, load_settings
from mosaic.settings import Settings
from mosaic.steps.median import CombineParams, StackFacts, combine_stack
from mosaic.steps.sky import SkyLevel
from mosaic.types import Window
from tests.support.exposures import default_settings, write_exposure


def test_expsq_and_an_unused_frame_have_no_effect_in_drizzlepac() -> None:
    given = load_settings(
        final_wt_scl="expsq",
        driz_sep_wt_scl="expsq",
        driz_sep_scale=0.1,
        driz_separate=False,
        peer_compat=True,
    )
    settings, notes = apply_peer_quirks(given)
    assert (settings.final_wt_scl, settings.driz_sep_wt_scl, settings.driz_sep_wcs) == (
        "exptime",
        "exptime",
        False,
    )
    assert len(notes) == 3
    kept = given.model_copy(update={"peer_compat": False})
    assert apply_peer_quirks(kept) == (kept, ())
    used = given.model_copy(update={"driz_separate": True})
    assert apply_peer_quirks(used)[0].driz_sep_wcs is True


def _chip(tmp_path: Path, **changes: Any) -> Chip:
    path = write_exposure(tmp_path / "abc1_flt.fits", **changes)
    return read_catalogue([str(path)], default_settings()).exposures[0].chips[0]


def test_error_weights_of_rates_carry_the_squared_time_in_drizzlepac(tmp_path: Path) -> None:
    chip = _chip(tmp_path, bunit="ELECTRONS/S", instrument="WFC3", detector="IR", n_chips=1, exptime=120.0)
    window = Window(0, 5, 0, 7)
    mask = np.ones((5, 7), dtype=np.bool_)
    right = input_weight(chip, window, mask, "ERR", scale_ratio=0.9)
    peer = input_weight(chip, window, mask, "ERR", scale_ratio=0.9, peer_compat=True)
    np.testing.assert_allclose(peer, right * 120.0**2, rtol=1e-6)


def test_error_weights_of_counts_are_the_same_in_both(tmp_path: Path) -> None:
    chip = _chip(tmp_path)
    window, mask = Window(0, 5, 0, 7), np.ones((5, 7), dtype=np.bool_)
    right, peer = (input_weight(chip, window, mask, "ERR", peer_compat=flag) for flag in (False, True))
    np.testing.assert_array_equal(peer, right)


def test_without_error_array_drizzlepac_weighs_every_exposure_alike(tmp_path: Path) -> None:
    def drop_errors(hdul: Any) -> None:
        for extver in (2, 1):
            del hdul["ERR", extver]

    chip = _chip(tmp_path, edit=drop_errors)
    window, mask = Window(0, 4, 0, 6), np.eye(4, 6, dtype=np.bool_)
    peer = input_weight(chip, window, mask, "ERR", peer_compat=True)
    np.testing.assert_array_equal(peer, np.where(mask, 1.0, 0.0))
    right = input_weight(chip, window, mask, "ERR")
    np.testing.assert_array_equal(right, np.where(mask, 120.0, 0.0))


@pytest.mark.parametrize(
    ("unit", "gain", "is_rate", "expected"),
    # Threshold 2 for two exposures of gain 7 and 10 s, 20 s: converted once for each of them.
    [("ELECTRONS", 1.0, False, 2.0), ("COUNTS", 7.0, False, 98.0), ("ELECTRONS/S", 1.0, True, 400.0)],
)
def test_thresholds_of_the_median_are_converted_again_for_every_exposure(
    unit: str,
    gain: float,
    is_rate: bool,  # noqa: FBT001
    expected: float,
) -> None:
    chips = [
        SimpleNamespace(native_unit=unit, gain=gain, is_rate=is_rate, exptime_s=time) for time in (10.0, 20.0)
    ]
    exposures = [SimpleNamespace(chips=(chip,)) for chip in chips]
    for is_peer, wanted in ((True, expected), (False, 2.0)):
        settings = Settings(combine_type="median", combine_hthresh=2.0, peer_compat=is_peer)
        plan = cast("Plan", SimpleNamespace(settings=settings, exposures=exposures, incarnation=""))
        assert Job(Path(), plan).combine_params.hthresh == pytest.approx(wanted)
        assert Job(Path(), plan).combine_params.lthresh is None


def test_the_background_of_minmed_compares_units_that_differ_in_drizzlepac() -> None:
    # Gain 7: skies 3, 4, 30 counts are 21, 28, 210 electrons. DrizzlePac keeps 21, then finds 21 > 4 and
    # takes 28, then 28 < 30 keeps it; the smallest is 21.
    chips = tuple(
        SimpleNamespace(name=name, to_electrons=7.0, exptime_s=10.0, read_noise_e=5.0) for name in "abc"
    )
    sky = {name: SkyLevel(value, value, value) for name, value in zip("abc", (3.0, 4.0, 30.0), strict=True)}
    for is_peer, expected in ((True, 2.8), (False, 2.1)):
        plan = SimpleNamespace(
            settings=Settings(peer_compat=is_peer),
            exposures=[SimpleNamespace(chips=chips)],
            incarnation="",
        )
        job = Job(Path(), cast("Plan", plan))
        job.__dict__ |= {"sky": sky, "_mean_weights": {0: 1.0}}
        assert job.stack_facts([0])[0].background_rate == pytest.approx(expected)


def test_blots_go_through_a_table_with_peer_compat_whatever_the_drizzle_does() -> None:
    for stepsize, is_peer, expected in ((0, False, False), (0, True, True), (10, False, True)):
        plan = SimpleNamespace(settings=Settings(stepsize=stepsize, peer_compat=is_peer), incarnation="")
        assert Job(Path(), cast("Plan", plan)).blots_like_peer is expected


def test_static_masks_of_two_detectors_are_one_in_drizzlepac(tmp_path: Path) -> None:
    paths = [
        write_exposure(tmp_path / "a_flt.fits", instrument="ACS", detector="HRC", n_chips=1),
        write_exposure(tmp_path / "b_flt.fits", instrument="WFC3", detector="UVIS", n_chips=1),
        write_exposure(
            tmp_path / "c_flt.fits", instrument="WFC3", detector="IR", n_chips=1, bunit="ELECTRONS/S"
        ),
    ]
    names = [str(path) for path in paths]
    groups = {
        is_peer: [
            exposure.chips[0].static_group
            for exposure in read_catalogue(names, default_settings(peer_compat=is_peer)).exposures
        ]
        for is_peer in (True, False)
    }
    assert len(set(groups[False])) == 3
    # EXTVER 1 for the CCDs, extension 1 for the infrared detector: all the same key.
    assert groups[True] == ["60x97_1"] * 3


def test_exposures_are_sorted_by_time_but_keep_their_order_with_peer_compat(tmp_path: Path) -> None:
    names = [
        str(write_exposure(tmp_path / f"{name}_flt.fits", expstart=start))
        for name, start in (("late", 55002.0), ("early", 55001.0))
    ]
    for is_peer, expected in ((False, ["early", "late"]), (True, ["late", "early"])):
        found = read_catalogue(names, default_settings(peer_compat=is_peer)).exposures
        assert [exposure.rootname for exposure in found] == expected


def test_values_without_unit_are_not_divided_in_drizzlepac(tmp_path: Path) -> None:
    def drop(hdul: Any) -> None:
        for hdu in hdul:
            hdu.header.remove("BUNIT", ignore_missing=True)

    named = write_exposure(tmp_path / "a_flt.fits", exptime=120.0)
    without = write_exposure(tmp_path / "b_flt.fits", exptime=120.0, edit=drop)
    rate = write_exposure(
        tmp_path / "c_flt.fits",
        instrument="WFC3",
        detector="IR",
        n_chips=1,
        bunit="ELECTRONS/S",
        exptime=120.0,
    )
    times = {
        is_peer: [
            exposure.chips[0].value_time_s
            for exposure in read_catalogue(
                [str(named), str(without), str(rate)], default_settings(peer_compat=is_peer)
            ).exposures
        ]
        for is_peer in (True, False)
    }
    assert times == {True: [120.0, 1.0, 1.0], False: [120.0, 120.0, 1.0]}


def test_drizzlepac_takes_the_flat_of_the_same_extver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A subarray of chip 1: (SCI, 1) of its file, but (SCI, 2) of the flat.
    hdus = [
        fits.ImageHDU(np.full((60, 97), 3.0 - chip, np.float32), fits.Header({"CCDCHIP": chip}), name="SCI",
                      ver=3 - chip)
        for chip in (2, 1)
    ]  # fmt: skip
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "my_pfl.fits")
    monkeypatch.setenv("jref", str(tmp_path))
    path = write_exposure(tmp_path / "a_flc.fits", n_chips=1, primary={"PFLTFILE": "jref$my_pfl.fits"})
    for is_peer, expected in ((True, 1.0), (False, 2.0)):
        settings = default_settings(final_wht_type="IVM", peer_compat=is_peer)
        chip = read_catalogue([str(path)], settings).exposures[0].chips[0]
        assert chip.ccdchip == 1
        assert chip.flat is not None
        assert read_rows(chip.flat, Window(0, 1, 0, 1))[0, 0] == expected


@pytest.mark.parametrize(
    ("kind", "filled"), [("imedian", [1.0, 105.0]), ("imean", [1.0, 105.0]), ("iminmed", [0.0, 0.0])]
)
def test_types_that_fill_do_so_in_the_first_column_in_drizzlepac(kind: str, filled: list[float]) -> None:
    # The values are what stsci.image.numcombine gives for this stack; iminmed leaves such pixels 0.
    stack = np.array([np.arange(1, 13).reshape(3, 4) + 100 * k for k in range(3)], dtype=np.float32)
    stack[0, 1, 0] = 0.0
    weights = np.full(stack.shape, 10.0, np.float32)
    weights[:, 0, :] = weights[:, 1, 0] = weights[:, 1, 2] = 0.0
    facts = [StackFacts(10.0, 25.0, 0.0)] * 3
    params = CombineParams(kind, (4.0, 3.0), 0, 0, None, None, 1, 0.3, newmasks=True, complete=0.0, peer=True)
    for is_first, column in ((True, filled), (False, [0.0, 0.0])):
        found = combine_stack(stack, weights, facts, params, 3, is_first_column=is_first)
        assert found[:2, 0].tolist() == column
        assert found[0, 1:].tolist() == [0.0, 0.0, 0.0]
        assert found[1, 2] == 0.0
    ours = replace(params, peer=False)
    found = combine_stack(stack, weights, facts, ours, 3, is_first_column=True)
    assert found[0].tolist() == stack[2, 0].tolist()
