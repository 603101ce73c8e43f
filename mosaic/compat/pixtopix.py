"""``pixtopix.tran`` with DrizzlePac's arguments: pixels of one image to pixels of another.

The distortion of both images is applied in full; DrizzlePac leaves out that of the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mosaic.compat.positions import Numbers, conversion_values, coordinate_pairs, report
from mosaic.tools.positions import Direction, pixel_to_pixel

__all__ = ["run", "tran"]
__taskname__ = "pixtopix"

_DEFAULTS = {
    "inimage": None, "outimage": None, "direction": "forward", "x": None, "y": None, "coords": None,
    "coordfile": None, "colnames": None, "separator": None, "precision": 6, "output": None, "verbose": False,
}  # fmt: skip


def tran(
    inimage: str,
    outimage: str | None,
    direction: Direction = "forward",
    x: Numbers = None,
    y: Numbers = None,
    coordfile: str | None = None,
    colnames: str | Sequence[Any] | None = None,
    separator: str | None = None,
    precision: int = 6,
    output: str | None = None,
    verbose: bool = True,  # noqa: FBT001, FBT002  (DrizzlePac's signature)
) -> tuple[Any, Any]:
    """Convert pixel positions between two images.

    Returns
    -------
    x, y : list of float, or float
        Positions, FITS 1-based; single numbers when single numbers were given.

    Raises
    ------
    ParameterError
        When neither positions nor a file with positions are given.
    """
    in_x, in_y, is_single = coordinate_pairs(x, y, coordfile, colnames, separator)
    out_x, out_y = (
        axis.tolist()
        for axis in pixel_to_pixel(inimage, outimage or "", np.array(in_x), np.array(in_y), direction)
    )
    texts = [(f"{a:.{precision}f}", f"{b:.{precision}f}") for a, b in zip(out_x, out_y, strict=True)]
    rows = [(f"{a:.4f}", f"{b:.4f}", *text) for a, b, text in zip(in_x, in_y, texts, strict=True)]
    report(
        inimage, "X(in)      Y(in)             X(out)         Y(out)", rows, texts, output, verbose=verbose
    )
    return (out_x[0], out_y[0]) if is_single else (out_x, out_y)


def run(configObj: Any) -> tuple[Any, Any]:  # noqa: ANN401  (DrizzlePac's name)
    """Run `tran` from a parameter object or file; without an output file the result is shown.

    Raises
    ------
    ParameterError
        For unknown names and impossible values.
    """
    return tran(**conversion_values(__taskname__, configObj, _DEFAULTS))
