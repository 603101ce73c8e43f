"""Law 1: no bit of any product depends on how the work is cut, ordered or scheduled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mosaic.graph import budget as budget_module
from mosaic.pipeline import Result
from tests.laws.conftest import assert_same_bits, planes

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def reference(run: Run) -> Result:
    return run()


def test_the_reference_holds_an_image(reference: Result) -> None:
    found = planes(reference)
    covered = found["wht"] > 0
    assert covered.mean() > 0.5
    assert np.isfinite(found["sci"][covered]).all()
    assert (found["var"][covered] > 0).all()
    assert np.isnan(found["sci"][found["ctx"][0] == 0]).mean() > 0.5
    assert any(values.any() for name, values in found.items() if name.startswith("cr "))


@pytest.mark.parametrize("tile", [61, 97, 4096])
def test_tile_size_does_not_change_a_bit(run: Run, reference: Result, tile: int) -> None:
    assert_same_bits(reference, run(options={"tile": tile}))


def test_strip_height_and_bands_do_not_change_a_bit(
    run: Run, reference: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget_module, "STRIP_BYTES", 40_000)
    monkeypatch.setattr(budget_module, "SMALLEST_STRIP_BYTES", 40_000)
    monkeypatch.setattr(budget_module, "BAND_PIXELS", 1_000)
    monkeypatch.setattr(budget_module, "SMALLEST_BAND_PIXELS", 1_000)
    assert_same_bits(reference, run())


@pytest.mark.parametrize(("scheduler", "cores"), [("threads", 3), ("processes", 2)])
def test_workers_do_not_change_a_bit(run: Run, reference: Result, scheduler: str, cores: int) -> None:
    assert_same_bits(reference, run(options={"scheduler": scheduler, "cores": cores}))


def test_order_of_inputs_does_not_change_a_bit(run: Run, reference: Result, exposures: list[str]) -> None:
    assert_same_bits(reference, run(inputs=[exposures[2], exposures[0], exposures[1]]))


@pytest.mark.parametrize("kernel", ["turbo", "gaussian", "lanczos3", "point"])
def test_tiles_do_not_change_a_bit_of_any_kernel(run: Run, kernel: str) -> None:
    parameters = {
        "final_kernel": kernel,
        "driz_sep_kernel": "square",
        "final_pixfrac": 0.8,
        "final_scale": 0.06,
        "final_rot": 33.0,
        "combine_type": "median",
        "driz_cr_grow": 3,
        "driz_cr_ctegrow": 4,
    }
    assert_same_bits(run(options={"tile": 300}, **parameters), run(options={"tile": 71}, **parameters))
