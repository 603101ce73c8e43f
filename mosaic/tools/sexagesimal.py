"""Angles as hours or degrees, minutes and seconds: rounding that carries, signs that are kept."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Final

from mosaic.errors import ParameterError

_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_PARTS: Final = re.compile(r"([+-]?)(\d+)[:h d]+(\d+)(?:[:m ]+(\d+\.?\d*|\.\d+)s?)?m?")
_HOURS_PER_TURN: Final = 24


def format_ra(ra_deg: float, precision: int = 6, *, padded: bool = True) -> str:
    """Right ascension as ``HH:MM:SS.ss``, in [0, 24) hours also after rounding.

    Parameters
    ----------
    ra_deg : float
        Degrees; NaN gives ``nan``.
    precision : int
        Decimals of the seconds.
    padded : bool
        Two digits before each colon; False: as few as needed, as DrizzlePac writes them.
    """
    if not math.isfinite(ra_deg):
        return "nan"
    unit = 10**precision
    total = round(Fraction(ra_deg) * 3600 * unit / 15) % (_HOURS_PER_TURN * 3600 * unit)
    return _join(total, precision, padded=padded)


def format_dec(dec_deg: float, precision: int = 6, *, padded: bool = True) -> str:
    """Declination as ``+DD:MM:SS.ss``; the sign is kept for -1 < Dec < 0.

    Parameters
    ----------
    dec_deg, precision, padded
        As for `format_ra`; without padding a plus sign is left out as well.
    """
    if not math.isfinite(dec_deg):
        return "nan"
    total = round(Fraction(abs(dec_deg)) * 3600 * 10**precision)
    sign = "-" if dec_deg < 0.0 and total else "+" if padded else ""
    return sign + _join(total, precision, padded=padded)


def parse_ra(value: str | float) -> float:
    """Right ascension in degrees; a text with colons, blanks or ``h m s`` is in hours, a number in degrees.

    Raises
    ------
    ParameterError
        When the text is not an angle.
    """
    return _parse(value, "RA", 15.0)


def parse_dec(value: str | float) -> float:
    """Declination in degrees, from ``-00:30:00``, ``-00 30 00``, ``-00d30m00s`` or a number.

    Raises
    ------
    ParameterError
        When the text is not an angle or lies beyond the poles.
    """
    dec = _parse(value, "Dec", 1.0)
    if abs(dec) > 90.0:
        raise ParameterError(f"Dec {value!r} lies beyond the poles; give -90 to 90 degrees")
    return dec


def _parse(value: str | float, name: str, degrees_per_unit: float) -> float:
    text = str(value).strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    found = _PARTS.fullmatch(text)
    if found is None:
        raise ParameterError(
            f"{name} {value!r} is not an angle; give degrees, or h:m:s for RA and d:m:s for Dec"
        )
    sign, whole, minutes, seconds = found.groups()
    minutes, seconds = int(minutes), float(seconds or 0.0)
    if minutes >= 60 or seconds >= 60.0:
        raise ParameterError(f"{name} {value!r} has minutes or seconds of 60 or more; correct it")
    magnitude = (int(whole) + minutes / 60.0 + seconds / 3600.0) * degrees_per_unit
    return -magnitude if sign == "-" else magnitude


def _join(total: int, precision: int, *, padded: bool) -> str:
    """Text of an angle given as a whole number of the last decimal of its seconds."""
    seconds, decimals = divmod(total, 10**precision)
    first, second, third = seconds // 3600, seconds // 60 % 60, seconds % 60
    width = 2 if padded else 1
    text = f"{first:0{width}d}:{second:0{width}d}:{third:0{width}d}"
    return f"{text}.{decimals:0{precision}d}" if precision else text
