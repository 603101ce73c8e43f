"""Good-bits syntax means what the DrizzlePac documentation says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from astropy.nddata.bitmask import interpret_bit_flags
from hypothesis import given
from hypothesis import strategies as st

from mosaic.errors import ParameterError
from mosaic.exposure.dq import good_mask, parse_bits, resolve_mask


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0), (0, 0), ("96", 96), (96, 96), ("64,32", 96), ("64+32", 96), ("64, 32, 64", 96),
        ("~0", 65535), ("~64,32", 65535 - 96), ("~(64+32)", 65535 - 96), ("~96", 65535 - 96),
        (-13, 65535 - 12), ("-13", 65535 - 12), ("32768", 32768), (" 16 ", 16), (65535, 65535),
        ("", None), (" ", None), (None, None), ("None", None), ("INDEF", None),
    ],
    ids=repr,
)  # fmt: skip
def test_bits_are_read_in_every_documented_form(text: Any, expected: Any) -> None:
    assert parse_bits(text) == expected


@pytest.mark.parametrize(
    "text", ["64,33", "a", "64;32", "~", "1.5", "65536", 70000, "--1", "()", True, "64,"]
)
def test_impossible_bits_are_refused(text: Any) -> None:
    with pytest.raises(ParameterError, match="final_bits="):
        parse_bits(text, "final_bits")


@given(
    powers=st.lists(st.integers(0, 15), min_size=1, max_size=5, unique=True),
    separator=st.sampled_from(",+"),
    inverted=st.booleans(),
)
def test_lists_agree_with_astropy_bit_flags(powers: list[int], separator: str, *, inverted: bool) -> None:
    text = ("~" if inverted else "") + separator.join(str(1 << power) for power in powers)
    assert parse_bits(text) == interpret_bit_flags(text) & 0xFFFF


@given(st.integers(0, 65535), st.integers(0, 65535))
def test_a_pixel_is_good_when_it_has_only_good_bits(flags: int, bits: int) -> None:
    expected = all(not flags >> k & 1 or bits >> k & 1 for k in range(16))
    assert good_mask(np.array([[flags]], dtype=np.uint16), bits)[0, 0] == expected


def test_without_bits_every_pixel_is_good() -> None:
    assert good_mask(np.full((2, 3), 65535, dtype=np.uint16), None).all()


def test_a_blank_mask_has_no_bit() -> None:
    assert resolve_mask("") == 0
    assert resolve_mask("4096") == 4096
