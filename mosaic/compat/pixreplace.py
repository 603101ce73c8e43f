"""``pixreplace.replace`` with DrizzlePac's arguments: replace a pixel value in the files themselves."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

from mosaic.compat.tasks import number_or_none, task_values
from mosaic.tools.pixreplace import replace_pixels

__all__ = ["replace", "run"]
__taskname__ = "pixreplace"

_DEFAULTS = {"input": None, "pixvalue": None, "newvalue": 0.0, "ext": None}


def replace(
    input: str | Sequence[str],  # noqa: A002  (DrizzlePac's signature)
    *,
    pixvalue: float | None = math.nan,
    newvalue: float = 0.0,
    ext: int | str | Sequence[int | str] | None = None,
) -> None:
    """Replace a pixel value in place and show the number of pixels of every extension.

    Parameters
    ----------
    input : str or sequence of str
        Files, globs, comma lists, @lists.
    pixvalue : float or None
        Value to look for; None is NaN.
    newvalue : float
        Value to put there.
    ext : int, str or sequence, optional
        Extensions; None takes all images.
    """
    wanted = math.nan if pixvalue is None else pixvalue
    for done in replace_pixels(input, wanted, newvalue, ext):
        sys.stdout.write(
            f"Converting {done.path}[{done.extension}] value of {wanted} to {newvalue}: "
            f"{done.n_pixels} pixels\n"
        )


def run(configObj: Any) -> None:  # noqa: ANN401  (DrizzlePac's name)
    """Run `replace` from a parameter object or file; `ext` is a comma list of numbers.

    Raises
    ------
    ParameterError
        For unknown names and impossible values.
    """
    values = task_values(__taskname__, configObj, _DEFAULTS)
    value = number_or_none(__taskname__, "pixvalue", values["pixvalue"])
    parts = [] if values["ext"] is None else str(values["ext"]).strip("[]()").split(",")
    numbers = [int(number_or_none(__taskname__, "ext", part) or 0) for part in parts]
    replace(values["input"], pixvalue=value, newvalue=values["newvalue"], ext=numbers or None)
