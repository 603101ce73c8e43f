"""Data-quality flags: the syntax of good-bits parameters and the masks that follow from them.

Flags are 16-bit and unsigned: bit 15 of an int16 array counts 32768. Does not cover reading the
flags (`mosaic.exposure.reader`) or writing them back (`mosaic.products`).
"""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mosaic.errors import ParameterError
from mosaic.types import BoolArray

_ALL_BITS: Final = 0xFFFF
_BLANK: Final = frozenset({"", "none", "indef"})
_SYNTAX: Final = (
    "give a sum such as 96, a list such as '64,32' or '64+32', '~' in front to invert, or '' to ignore DQ"
)


def parse_bits(text: str | int | None, name: str = "bits") -> int | None:
    """Mask of the bits that are good.

    Parameters
    ----------
    text : str, int or None
        ``96``, ``'64,32'``, ``'64+32'``, ``'~64,32'``, ``'~(64+32)'``, ``-97`` (complement); blank,
        ``'None'`` and ``'INDEF'`` mean: ignore data quality.
    name : str
        Parameter name for messages.

    Returns
    -------
    int or None
        0 to 65535; None when data quality is to be ignored.
    """
    if text is None:
        return None
    if isinstance(text, bool):
        raise ParameterError(f"{name}={text!r} is not a set of bits; {_SYNTAX}")
    if isinstance(text, int):
        return _within(text, name)
    stripped = text.strip()
    if stripped.lower() in _BLANK:
        return None
    if re.fullmatch(r"-\d+", stripped):
        return _within(int(stripped), name)
    inverted = stripped.startswith("~")
    body = stripped[1:].strip() if inverted else stripped
    if body.startswith("(") and body.endswith(")"):
        body = body[1:-1].strip()
    parts = [part.strip() for part in re.split(r"[,+]", body)]
    if not all(re.fullmatch(r"\d+", part) for part in parts):
        raise ParameterError(f"{name}={text!r} is not a set of bits; {_SYNTAX}")
    values = [int(part) for part in parts]
    if len(values) > 1:
        odd = [value for value in values if value & (value - 1)]
        if odd:
            raise ParameterError(f"{name}={text!r}: {odd[0]} in a list is not a power of two; {_SYNTAX}")
    mask = 0
    for value in values:
        mask |= _within(value, name)
    return ~mask & _ALL_BITS if inverted else mask


def good_mask(dq: NDArray[np.uint16], good_bits: int | None) -> BoolArray:
    """Where no bit outside `good_bits` is set.

    Parameters
    ----------
    dq : ndarray of uint16, shape (ny, nx)
        Flags.
    good_bits : int or None
        Result of `parse_bits`; None: every pixel is good.
    """
    if good_bits is None:
        return np.ones(dq.shape, dtype=np.bool_)
    is_good: BoolArray = (dq & np.uint16(~good_bits & _ALL_BITS)) == 0
    return is_good


def _within(value: int, name: str) -> int:
    if value > _ALL_BITS or value < -_ALL_BITS - 1:
        raise ParameterError(f"{name}={value} has bits beyond the 16 of a DQ array; {_SYNTAX}")
    return value & _ALL_BITS


def resolve_mask(text: Any, name: str = "bits") -> int:  # noqa: ANN401  (any spelling of a parameter)
    """Mask of bits for parameters where blank means no bit at all (`resetbits`, `crbit`)."""
    return parse_bits(text, name) or 0
