"""How the value of a parameter may be written: blanks, pairs, bit lists, choices, sizes of memory.

Covers the text and number forms that DrizzlePac accepts or promises, turned into one canonical form
each, as annotated types for `mosaic.settings` and `mosaic.options`. Does not cover which
parameters exist, nor the meaning of data-quality bits (`mosaic.exposure.dq`).
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

BLANKS = frozenset({"", "none", "indef"})
"""Texts, stripped and in lower case, that mean "no value"."""

_NAMED_BITS = re.compile(r"~?\(?\s*(?:-?\d+|\d+(?:\s*[,+]\s*\d+)+)\s*\)?")
_GROUP = re.compile(r"(?:sci\s*,\s*)?\d+(?:\s*,\s*(?:sci\s*,\s*)?\d+)*", re.IGNORECASE)
_MEMORY = re.compile(
    r"(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<prefix>[kmgt]?)(?P<binary>i?)(?P<byte>b?)", re.IGNORECASE
)
_PREFIXES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_BITS_FORM = "bits are an integer or a text such as '64,512', '64+512' or '~64,512'"
_DQ_MAX = 65535
"""Data-quality flags are 16 bits wide."""


def is_blank(value: object) -> bool:
    """Whether a value means "none given": None, empty text, ``None`` or ``INDEF``."""
    return value is None or (isinstance(value, str) and value.strip().lower() in BLANKS)


def blank_to_none(value: object) -> object:
    """Replace every form of blank by None; refuse truth values where a number is wanted."""
    if isinstance(value, bool):
        raise ValueError("a number is wanted, not a truth value")  # noqa: TRY004 (only ValueError is collected)
    return None if is_blank(value) else value


def refuse_blank(value: object) -> object:
    """Refuse blanks and truth values where a number is required."""
    if blank_to_none(value) is None:
        raise ValueError("a number is required here, it cannot be blank")
    return value


def blank_to_text(value: object) -> object:
    """Replace every form of blank by the empty text; numbers become text."""
    if is_blank(value):
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    return str(value).strip()


def lower_case(value: object) -> object:
    """Bring a choice to lower case."""
    return value.strip().lower() if isinstance(value, str) else value


def upper_case(value: object) -> object:
    """Bring a choice to upper case."""
    return value.strip().upper() if isinstance(value, str) else value


def parse_numbers(value: object) -> tuple[float, ...]:
    """Turn a number, a list of numbers or text with blanks, commas or semicolons between into a tuple."""
    if isinstance(value, bool) or is_blank(value):
        raise ValueError("one or more numbers are wanted")
    parts: list[object]
    if isinstance(value, str):
        parts = list(re.split(r"[\s,;]+", value.strip(" \t\n,;()[]")))
    elif isinstance(value, list | tuple):
        parts = list(value)
    else:
        parts = [value]
    return tuple(_to_finite(part) for part in parts)


def parse_pair(value: object) -> tuple[float, float]:
    """Turn one or two numbers into two; a single one is used for both places.

    Raises
    ------
    ValueError
        When there are more than two numbers, or one is not a number, negative or not finite.
    """
    numbers = parse_numbers(value)
    if len(numbers) > 2:
        raise ValueError(f"one or two numbers are wanted, there are {len(numbers)}")
    if min(numbers) < 0.0:
        raise ValueError("the numbers cannot be negative")
    return (numbers[0], numbers[-1])


def parse_mean(value: object) -> float | None:
    """Mean of the non-zero numbers of a list, as the instrument parameters want it; blank is None."""
    if is_blank(value):
        return None
    numbers = [number for number in parse_numbers(value) if number != 0.0]
    if not numbers:
        raise ValueError("at least one number must differ from zero")
    mean = math.fsum(numbers) / len(numbers)
    if mean < 0.0:
        raise ValueError("it cannot be negative")
    return mean


def parse_bits_text(value: object) -> str | None:
    """Bring a list of good data-quality bits to canonical text, after proving that it can be read.

    Accepts an integer, ``a,b,c`` or ``a+b+c`` (each a power of two), a single sum such as 96, a
    leading ``~`` (all but these), and a negative integer (bitwise complement). Blank is None.

    Returns
    -------
    str or None
        The text without blanks; None when data quality is to be ignored.
    """
    if is_blank(value):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(_BITS_FORM)  # noqa: TRY004 (only ValueError is collected)
    text = re.sub(r"\s+", "", str(value))
    if not _NAMED_BITS.fullmatch(text) or text.count("(") != text.count(")"):
        raise ValueError(_BITS_FORM)
    flags = [int(part) for part in re.findall(r"-?\d+", text)]
    if len(flags) > 1 and any(flag & (flag - 1) or flag == 0 for flag in flags):
        raise ValueError("in a list of bits each must be a power of two")
    if any(not -_DQ_MAX - 1 <= flag <= _DQ_MAX for flag in flags):
        raise ValueError("bits must lie between 1 and 32768 (sums up to 65535)")
    if text.startswith("~") and flags[0] < 0:
        raise ValueError("a negative number of bits is inverted already, '~' cannot precede it")
    return text.replace("(", "").replace(")", "").replace("+", ",")


def parse_reset_bits(value: object) -> str:
    """Read bits as `parse_bits_text` does; blank means that no bit is reset."""
    return parse_bits_text(value) or "0"


def parse_weight_scale(value: object) -> object:
    """Bring ``exptime`` and ``expsq`` to lower case; leave numbers to the type."""
    return refuse_blank(lower_case(value))


def parse_memory(value: object) -> int:
    """Turn ``2GiB``, ``1.5 GB``, ``800M`` or a number of bytes into bytes.

    Notes
    -----
    ``GB`` is 10**9 bytes; ``GiB`` and the bare letter ``G`` are 2**30.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("a size is a number of bytes or a text such as '2GiB'")  # noqa: TRY004 (only ValueError is collected)
    match = _MEMORY.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("a size is a number of bytes or a text such as '2GiB' or '1.5 GB'")
    is_decimal = match["byte"] != "" and match["binary"] == ""
    base = 1000 if is_decimal else 1024
    n_bytes = int(float(match["number"]) * base ** _PREFIXES[match["prefix"].lower()])
    if n_bytes <= 0:
        raise ValueError("it must be larger than nothing")
    return n_bytes


def format_memory(n_bytes: float) -> str:
    """Write a number of bytes for people: ``412 MiB``, ``1.50 GiB``."""
    for unit, digits in (("B", 0), ("KiB", 0), ("MiB", 0), ("GiB", 2)):
        if abs(n_bytes) < 1024.0:
            return f"{n_bytes:.{digits}f} {unit}"
        n_bytes /= 1024.0
    return f"{n_bytes:.2f} TiB"


def check_group(text: str) -> str:
    """Refuse a chip selection that is not a list of extension numbers or ``sci,N``."""
    if text and not _GROUP.fullmatch(text):
        raise ValueError("chips are selected as '4', '1,4' or 'sci,2'")
    return text


def check_not_infinite(number: float | None) -> float | None:
    """Refuse infinity; NaN is a legitimate filling."""
    if number is not None and math.isinf(number):
        raise ValueError("it must be finite, or NaN")
    return number


def _to_finite(part: object) -> float:
    """One finite number, or ValueError."""
    if isinstance(part, bool) or not isinstance(part, str | int | float):
        raise ValueError(f"{part!r} is not a number")  # noqa: TRY004 (only ValueError is collected)
    try:
        number = float(part)
    except ValueError:
        raise ValueError(f"{part!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{part!r} is not finite")
    return number


_Finite: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]

Text: TypeAlias = Annotated[str, BeforeValidator(blank_to_text)]
ChipGroup: TypeAlias = Annotated[str, BeforeValidator(blank_to_text), AfterValidator(check_group)]
Number: TypeAlias = Annotated[_Finite, BeforeValidator(refuse_blank)]
Positive: TypeAlias = Annotated[_Finite, BeforeValidator(refuse_blank), Field(gt=0.0)]
NotNegative: TypeAlias = Annotated[_Finite, BeforeValidator(refuse_blank), Field(ge=0.0)]
Fraction: TypeAlias = Annotated[_Finite, BeforeValidator(refuse_blank), Field(ge=0.0, le=1.0)]
Count: TypeAlias = Annotated[int, BeforeValidator(refuse_blank), Field(ge=0)]
Side: TypeAlias = Annotated[int, BeforeValidator(refuse_blank), Field(ge=1)]
Flags: TypeAlias = Annotated[int, BeforeValidator(refuse_blank), Field(ge=0, le=_DQ_MAX)]
FloatOrNone: TypeAlias = Annotated[_Finite | None, BeforeValidator(blank_to_none)]
PositiveOrNone: TypeAlias = Annotated[
    Annotated[_Finite, Field(gt=0.0)] | None, BeforeValidator(blank_to_none)
]
SideOrNone: TypeAlias = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(blank_to_none)]
RightAscension: TypeAlias = Annotated[
    Annotated[_Finite, Field(ge=-360.0, le=360.0)] | None, BeforeValidator(blank_to_none)
]
Declination: TypeAlias = Annotated[
    Annotated[_Finite, Field(ge=-90.0, le=90.0)] | None, BeforeValidator(blank_to_none)
]
Filling: TypeAlias = Annotated[
    float | None, BeforeValidator(blank_to_none), AfterValidator(check_not_infinite)
]
Pair: TypeAlias = Annotated[tuple[float, float], BeforeValidator(parse_pair)]
MeanOrNone: TypeAlias = Annotated[float | None, BeforeValidator(parse_mean)]
Bits: TypeAlias = Annotated[str | None, BeforeValidator(parse_bits_text)]
ResetBits: TypeAlias = Annotated[str, BeforeValidator(parse_reset_bits)]
WeightScale: TypeAlias = Annotated[
    Literal["exptime", "expsq"] | Annotated[float, Field(gt=0.0, allow_inf_nan=False)],
    BeforeValidator(parse_weight_scale),
]
Memory: TypeAlias = Annotated[int, BeforeValidator(parse_memory)]
Lower = BeforeValidator(lower_case)
Upper = BeforeValidator(upper_case)
