"""How far the two programs may lie apart in a row that a defect of the reference excuses.

Every row says besides its verdict how far the two lie apart as a whole (`Row.apart`). An excused row must
stay inside a bound all the same: that of its number, or one that its case states where the defect does more.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Bound:
    """What is bounded, and how."""

    what: str
    """The figures of `Row.apart`, in words."""
    limits: tuple[float, ...]
    """Largest that each may be."""


KEYWORD_ROWS: Final = frozenset({22, 23, 24})
"""Rows of headers: bounded by the names of the keywords that differ."""
_IMAGE: Final = Bound("share of px apart by more than 1 sigma; median in sigma", (0.05, 0.5))
_WEIGHT: Final = Bound("share of px apart by more than 1 %", (0.05,))
_FLAGS: Final = Bound("share of the px of a chip", (0.02,))
_FRAME: Final = Bound("share of the px of the frame", (0.05,))
_KEYWORDS: Final = Bound("keywords besides those named", (0.0,))
BOUNDS: Final[Mapping[int, Bound]] = {
    5: Bound("share of px", (0.005,)),
    7: Bound("of the mean level", (0.05,)),
    8: Bound("of the mean level", (0.05,)),
    9: _IMAGE,
    10: _WEIGHT,
    11: _IMAGE,
    12: Bound("share of px apart by more than their noise", (0.05,)),
    13: _FLAGS,
    14: _FLAGS,
    15: _IMAGE,
    16: _WEIGHT,
    17: _WEIGHT,
    18: _FRAME,
    19: _FRAME,
    20: _FRAME,
    21: Bound("of the flux", (0.01,)),
    22: _KEYWORDS,
    23: _KEYWORDS,
    24: _KEYWORDS,
}
"""Bound of every row that can be excused."""


@dataclass(frozen=True, slots=True)
class Excuse:
    """Why a row may differ, and how far."""

    reason: str
    """Defect of the reference, or decision."""
    limits: tuple[float, ...] = ()
    """Bound where the defect does more than the one of the row's number allows."""
    factor: float = 1.0
    """What the defect multiplies the values of the reference by: taken out before they are bounded."""
    names: tuple[str, ...] = ("MDRIZSKY",)
    """Patterns of keywords that may differ (rows of headers), without the place before them."""
    error: str = ""
    """Part of the message with which the reference ends (row 0)."""

    def limits_of(self, number: int) -> tuple[float, ...]:
        """Limits for a row."""
        return self.limits or BOUNDS[number].limits

    def holds(self, number: int, apart: tuple[float, ...], names: tuple[str, ...]) -> bool:
        """Whether a row stays inside its bound."""
        if number in KEYWORD_ROWS:
            return bool(names) and not self.unnamed(names)
        limits = self.limits_of(number)
        return len(apart) == len(limits) and all(a <= b for a, b in zip(apart, limits, strict=True))

    def unnamed(self, names: tuple[str, ...]) -> list[str]:
        """Keywords that differ without being named."""
        return [
            name
            for name in names
            if not any(fnmatch.fnmatchcase(name.rpartition(" ")[2], pattern) for pattern in self.names)
        ]

    def describe(self, number: int, apart: tuple[float, ...], names: tuple[str, ...]) -> str:
        """The bound and what was found, in words."""
        if number in KEYWORD_ROWS:
            others = self.unnamed(names)
            return f"only {', '.join(self.names)} differ" if not others else f"also {', '.join(others[:4])}"
        limits = self.limits_of(number)
        shown = ", ".join(f"{a:.2g} <= {b:.2g}" for a, b in zip(apart, limits, strict=False))
        after = "" if self.factor == 1.0 else f" after a factor {self.factor:.6g}"
        return f"{BOUNDS[number].what}{after}: {shown}"


def rows_hit(
    reason: str,
    *numbers: int,
    limits: tuple[float, ...] = (),
    factor: float = 1.0,
    names: tuple[str, ...] = (),
) -> dict[int, Excuse]:
    """Excuse of one reason on several rows."""
    excuse = Excuse(reason, limits, factor, names or ("MDRIZSKY",))
    return dict.fromkeys(numbers, excuse)
