"""Angles as texts: signs, carries, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import Angle

from mosaic.errors import ParameterError
from mosaic.tools.sexagesimal import format_dec, format_ra, parse_dec, parse_ra


@pytest.mark.parametrize(
    ("dec", "precision", "text"),
    [
        (-0.5, 3, "-00:30:00.000"),
        (-1e-9, 3, "+00:00:00.000"),
        (59.9999 / 3600.0, 3, "+00:01:00.000"),
        (-(1.0 + 59.0 / 60.0 + 59.99996 / 3600.0), 4, "-02:00:00.0000"),
        (89.99999999999, 6, "+90:00:00.000000"),
        (12.0, 0, "+12:00:00"),
    ],
)
def test_declination_keeps_its_sign_and_carries(dec: float, precision: int, text: str) -> None:
    assert format_dec(dec, precision) == text


@pytest.mark.parametrize(
    ("ra", "precision", "text"),
    [
        (359.99999999, 3, "00:00:00.000"),
        (15.0 * (23 + 59 / 60 + 59.9999 / 3600), 4, "23:59:59.9999"),
        (15.0 * (23 + 59 / 60 + 59.9999 / 3600), 3, "00:00:00.000"),
        (0.0, 2, "00:00:00.00"),
    ],
)
def test_right_ascension_carries_into_the_next_turn(ra: float, precision: int, text: str) -> None:
    assert format_ra(ra, precision) == text


def test_texts_without_padding_are_those_of_drizzlepac() -> None:
    # Printed by drizzlepac 3.11 pixtosky.xy2rd for the sky position of a pixel of an ACS/WFC exposure.
    assert format_ra(5.527216671078262, 6, padded=False) == "0:22:6.532001"
    assert format_dec(-72.05191451007627, 6, padded=False) == "-72:3:6.892236"
    assert format_dec(4.832210637497367, 6, padded=False) == "4:49:55.958295"


def test_texts_agree_with_astropy() -> None:
    rng = np.random.default_rng(3)
    for ra, dec in zip(rng.uniform(0.0, 360.0, 200), rng.uniform(-90.0, 90.0, 200), strict=True):
        expected_ra = Angle(ra, "deg").to_string(unit="hourangle", sep=":", precision=5, pad=True)
        expected_dec = Angle(dec, "deg").to_string(sep=":", precision=5, pad=True, alwayssign=True)
        assert (format_ra(ra, 5), format_dec(dec, 5)) == (expected_ra, expected_dec)


def test_texts_lead_back_to_the_angles() -> None:
    rng = np.random.default_rng(4)
    for ra, dec in zip(rng.uniform(0.0, 360.0, 200), rng.uniform(-1.0, 1.0, 200), strict=True):
        assert parse_ra(format_ra(ra, 9)) == pytest.approx(ra, abs=1e-11)
        assert parse_dec(format_dec(dec, 9)) == pytest.approx(dec, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "degrees"),
    [("12:30:00", 187.5), ("12 30 00.0", 187.5), ("12h30m0s", 187.5), ("187.5", 187.5), ("00:30", 7.5)],
)
def test_forms_of_right_ascension(text: str, degrees: float) -> None:
    assert parse_ra(text) == pytest.approx(degrees, abs=1e-12)


@pytest.mark.parametrize("text", ["12:60:00", "12:00:60.0", "north", "", "91:00:00", "-90:00:01"])
def test_what_is_no_declination_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="Dec"):
        parse_dec(text)


def test_no_position_is_written_as_nan() -> None:
    assert (format_ra(np.nan), format_dec(np.nan)) == ("nan", "nan")
