"""Coordinate maps programmed by the user: shifts known in closed form, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from mosaic.compat import astrodrizzle
from mosaic.errors import ParameterError

OPTIONS: dict[str, Any] = {
    "median": False, "blot": False, "driz_cr": False, "clean": True, "dq_update": "none", "runfile": "",
    "num_cores": 1,
}  # fmt: skip


class Plain(astrodrizzle.PYTHON_WCSMAP):
    """A class of the user's that changes nothing."""


class Shifted(astrodrizzle.PYTHON_WCSMAP):
    """Everything three columns to the right and two rows up."""

    def forward(self, pixx: Any, pixy: Any) -> tuple[Any, Any]:
        x, y = super().forward(pixx, pixy)
        return x + 3.0, y + 2.0


class Broken(astrodrizzle.PYTHON_WCSMAP):
    """A map that fails at a corner."""

    def forward(self, pixx: Any, pixy: Any) -> tuple[Any, Any]:
        x, y = super().forward(pixx, pixy)
        x[0] = np.nan
        return x, y


def _drizzle(visit: list[Path], name: str, **parameters: Any) -> tuple[np.ndarray, np.ndarray]:
    astrodrizzle.AstroDrizzle(visit[:1], output=name, **OPTIONS, **parameters)
    return fits.getdata(f"{name}_drc_sci.fits"), fits.getdata(f"{name}_drc_wht.fits")


def test_a_map_that_shifts_moves_the_product_by_whole_pixels(visit: list[Path]) -> None:
    sci, wht = _drizzle(visit, "plain", wcsmap=Plain)
    moved_sci, moved_wht = _drizzle(visit, "moved", wcsmap=Shifted)
    assert moved_sci.shape == sci.shape
    # Positions differ by rounding (1e-12 pixels of 1e2) only, so do weights of hundreds of seconds.
    np.testing.assert_allclose(moved_wht[2:, 3:], wht[:-2, :-3], rtol=1e-5, atol=1e-5)
    covered = wht[:-2, :-3] > 1.0
    np.testing.assert_allclose(moved_sci[2:, 3:][covered], sci[:-2, :-3][covered], rtol=1e-4, atol=1e-5)
    assert covered.mean() > 0.5


def test_a_sampled_map_is_as_good_as_the_table_of_step_10(visit: list[Path]) -> None:
    exact = _drizzle(visit, "exact", stepsize=0)
    named = _drizzle(visit, "named", wcsmap=astrodrizzle.PYTHON_WCSMAP)
    np.testing.assert_array_equal(named[0], exact[0])
    covered = exact[1] > 0.5 * np.median(exact[1])
    error = {
        name: np.std((_drizzle(visit, name, **parameters)[0] - exact[0])[covered])
        for name, parameters in {
            "table": {"stepsize": 10},
            "sampled": {"wcsmap": Plain},
            "fine": {"wcsmap": Plain, "stepsize": 2},
        }.items()
    }
    # The same nodes and the same bilinear rule: the error is that of DrizzlePac's own table. It falls with
    # the square of the step, less where the tables in the header have kinks.
    assert error["sampled"] == pytest.approx(error["table"], rel=0.05)
    assert 0.0 < error["fine"] < 0.5 * error["sampled"]


def test_impossible_maps_are_refused(visit: list[Path]) -> None:
    with pytest.raises(
        ParameterError, match=r"wcsmap returned positions that are not finite for jsim\w+\[sci,1\]"
    ):
        _drizzle(visit, "broken", wcsmap=Broken)
    with pytest.raises(
        ParameterError, match=r"wcsmap names places of the sky in jsim\w+\[sci,1\] that differ"
    ):
        _drizzle(visit, "two_frames", wcsmap=Shifted, final_scale=0.1)
