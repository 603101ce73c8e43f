"""What the coordinate functions of DrizzlePac share: forms of input, the text that is shown, the file."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mosaic.compat.tasks import number_or_none, task_values
from mosaic.errors import ParameterError
from mosaic.tools.coordinates import listing, read_columns, to_numbers, write_columns
from mosaic.types import DoubleArray

Numbers = float | Sequence[float] | DoubleArray | None
"""One position or several."""


def coordinate_pairs(
    x: Numbers,
    y: Numbers,
    coordfile: str | None,
    colnames: str | Sequence[Any] | None,
    separator: str | None,
) -> tuple[list[float], list[float], bool]:
    """Positions, and whether they were given as single numbers.

    Column numbers without ``c`` count from 0 in text files, as in DrizzlePac.
    """
    if coordfile is not None:
        columns = zero_based(colnames)
        first, second = read_columns(coordfile, columns, separator)
        return to_numbers(first, coordfile), to_numbers(second, coordfile), False
    if x is None or y is None:
        raise ParameterError("no positions: give x and y, or coordfile")
    xs, ys = np.atleast_1d(np.asarray(x, dtype=np.float64)), np.atleast_1d(np.asarray(y, dtype=np.float64))
    if xs.shape != ys.shape or xs.ndim != 1:
        raise ParameterError(f"x and y differ in shape: {xs.shape} and {ys.shape}")
    return xs.tolist(), ys.tolist(), np.ndim(x) == 0


def conversion_values(task: str, given: object, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a conversion of pixels, of what its `run` is given; `coords` is an older name of the file.

    Raises
    ------
    ParameterError
        As `mosaic.compat.tasks.task_values`.
    """
    values = task_values(task, given, defaults)
    coords = values.pop("coords")
    numbers = {name: number_or_none(task, name, values[name]) for name in ("x", "y")}
    is_shown = values["verbose"] or values["output"] is None
    return values | numbers | {"coordfile": values["coordfile"] or coords, "verbose": is_shown}


def zero_based(colnames: str | Sequence[Any] | None) -> list[Any] | None:
    """Columns as `read_columns` counts them."""
    if colnames is None or (isinstance(colnames, str) and not colnames.strip()):
        return None
    names = colnames.split(",") if isinstance(colnames, str) else list(colnames)
    return [int(name) + 1 if str(name).strip().isdigit() else name for name in names]


def report(
    image: str,
    heading: str,
    rows: Sequence[Sequence[str]],
    texts: Sequence[tuple[str, str]],
    output: str | None,
    *,
    verbose: bool,
) -> None:
    """Show a conversion when asked, and write its result when a file is named."""
    if verbose:
        sys.stdout.write(listing(image, heading, rows) + "\n")
    if output:
        write_columns(output, image, texts)
        if verbose:
            sys.stdout.write(f"Wrote out results to:  {output}\n")
