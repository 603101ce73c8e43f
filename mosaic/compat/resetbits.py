"""``resetbits.reset_dq_bits`` with DrizzlePac's arguments: clear DQ bits in the files themselves."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from mosaic.compat.tasks import run_main, task_values
from mosaic.tools.resetbits import reset_bits

__all__ = ["main", "reset_dq_bits", "run"]
__taskname__ = "resetbits"

_DEFAULTS = {"input": "*flt.fits", "bits": "4096", "extver": None, "extname": "dq"}


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


def run(configobj: Any = None) -> None:  # noqa: ANN401
    """Run `reset_dq_bits` from a parameter object or file.

    Raises
    ------
    ParameterError
        For unknown names and impossible values.
    """
    reset_dq_bits(**task_values(__taskname__, configobj, _DEFAULTS))


def main() -> None:
    """Carry out the command ``resetbits FILE BITS [EXTVER [EXTNAME]]``."""
    parser = argparse.ArgumentParser(prog=__taskname__, description="Clear bits of the DQ arrays of files.")
    parser.add_argument("input", help="file, pattern, comma list or @list")
    parser.add_argument("bits", help="bits to clear: 4096, or 64,512")
    parser.add_argument("extver", nargs="?", help="EXTVER of the arrays: 1, or 1,2; by default all")
    parser.add_argument("extname", nargs="?", default="dq", help="EXTNAME of the arrays")
    given = parser.parse_args()
    run_main(lambda: reset_dq_bits(given.input, given.bits, given.extver, given.extname))


if __name__ == "__main__":
    main()
