"""``resetbits.reset_dq_bits`` with DrizzlePac's arguments: clear DQ bits in the files themselves."""

from __future__ import annotations

from collections.abc import Sequence

from mosaic.tools.resetbits import reset_bits

__all__ = ["reset_dq_bits"]


def reset_dq_bits(
    input: str | Sequence[str],  # noqa: A002  (DrizzlePac's signature)
    bits: str | int,
    extver: int | str | Sequence[int] | None = None,
    extname: str = "dq",
) -> None:
    """Clear bits of DQ arrays in place; every file is asked for its own EXTVERs.

    Raises
    ------
    ParameterError
        When `bits` is blank or `extver` is not a number.
    StructureError
        When a file has no such array.
    """
    reset_bits(input, bits, extver, extname)
