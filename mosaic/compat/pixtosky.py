"""``pixtosky.xy2rd`` with DrizzlePac's arguments: pixels to RA and Dec.

Texts are those of DrizzlePac, without its defects: the sign of -1 < Dec < 0 is kept, seconds never
round to 60, and an extension that does not exist is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mosaic.compat.positions import Numbers, conversion_values, coordinate_pairs, report
from mosaic.tools.extensions import read_wcs
from mosaic.tools.positions import pixel_to_sky
from mosaic.tools.sexagesimal import format_dec, format_ra

__all__ = ["run", "xy2rd"]
__taskname__ = "pixtosky"

_DEFAULTS = {
    "input": None, "x": None, "y": None, "coords": None, "coordfile": None, "colnames": None,
    "separator": None, "hms": False, "precision": 6, "output": None, "verbose": False,
}  # fmt: skip

HEADING = "X      Y         RA             Dec"
"""Column heads of a listing."""


def xy2rd(
    input: str,  # noqa: A002  (DrizzlePac's signature)
    x: Numbers = None,
    y: Numbers = None,
    coords: str | None = None,
    coordfile: str | None = None,
    colnames: str | Sequence[Any] | None = None,
    separator: str | None = None,
    hms: bool = True,  # noqa: FBT001, FBT002
    precision: int = 6,
    output: str | None = None,
    verbose: bool = True,  # noqa: FBT001, FBT002
) -> tuple[Any, Any]:
    """Convert pixel positions to the sky.

    Returns
    -------
    ra, dec : ndarray or list of str, or a single one
        Degrees; with `hms` texts ``H:M:S.s`` and ``D:M:S.s``.

    Raises
    ------
    ParameterError
        When neither positions nor a file with positions are given.
    """
    xs, ys, is_single = coordinate_pairs(
        x, y, coords if coordfile is None else coordfile, colnames, separator
    )
    ra, dec = pixel_to_sky(read_wcs(input), np.array(xs), np.array(ys))
    if hms:
        texts = [
            (format_ra(a, precision, padded=False), format_dec(d, precision, padded=False))
            for a, d in zip(ra.tolist(), dec.tolist(), strict=True)
        ]
    else:
        texts = [(f"{a:.{precision}f}", f"{d:.{precision}f}") for a, d in zip(ra, dec, strict=True)]
    rows = [(f"{a:.4f}", f"{b:.4f}", *text) for a, b, text in zip(xs, ys, texts, strict=True)]
    report(input, HEADING, rows, texts, output, verbose=verbose)
    if hms:
        first, second = [a for a, _ in texts], [d for _, d in texts]
        return (first[0], second[0]) if is_single else (first, second)
    return (ra[0], dec[0]) if is_single else (ra, dec)


def run(configObj: Any) -> tuple[Any, Any]:  # noqa: ANN401  (DrizzlePac's name)
    """Run `xy2rd` from a parameter object or file; without an output file the result is shown.

    Raises
    ------
    ParameterError
        For unknown names and impossible values.
    """
    return xy2rd(**conversion_values(__taskname__, configObj, _DEFAULTS))
