"""``skytopix.rd2xy`` with DrizzlePac's arguments: RA and Dec to pixels.

The inverse is found to 1e-10 pixel instead of 1e-4; where there is none the result is NaN and a warning is
logged, where DrizzlePac gives the position without distortion and says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mosaic.compat.pixtosky import HEADING
from mosaic.compat.positions import report, zero_based
from mosaic.compat.tasks import task_values
from mosaic.errors import ParameterError
from mosaic.tools.coordinates import read_columns
from mosaic.tools.extensions import read_wcs
from mosaic.tools.positions import sky_to_pixel
from mosaic.tools.sexagesimal import parse_dec, parse_ra

__all__ = ["rd2xy", "run"]
__taskname__ = "skytopix"

_DEFAULTS = {
    "input": None, "ra": None, "dec": None, "coordfile": None, "colnames": None,
    "precision": 3, "output": None, "verbose": False,
}  # fmt: skip


def rd2xy(
    input: str,  # noqa: A002  (DrizzlePac's signature)
    ra: Any = None,  # noqa: ANN401  (numbers or texts, one or several)
    dec: Any = None,  # noqa: ANN401
    coordfile: str | None = None,
    colnames: str | Sequence[Any] | None = None,
    precision: int = 6,
    output: str | None = None,
    verbose: bool = True,  # noqa: FBT001, FBT002
) -> tuple[Any, Any]:
    """Convert sky positions to pixels.

    Returns
    -------
    x, y : ndarray of float64, or float
        FITS 1-based positions.

    Raises
    ------
    ParameterError
        When positions are missing or are not angles.
    """
    is_single = coordfile is None and np.ndim(ra) == 0
    if coordfile is not None:
        ras, decs = read_columns(coordfile, zero_based(colnames))
    elif ra is None or dec is None:
        raise ParameterError("no positions: give ra and dec, or coordfile")
    else:
        ras, decs = ([ra], [dec]) if is_single else (list(ra), list(dec))
    if len(ras) != len(decs):
        raise ParameterError(f"ra and dec differ in length: {len(ras)} and {len(decs)}")
    ra_deg, dec_deg = np.array([parse_ra(a) for a in ras]), np.array([parse_dec(d) for d in decs])
    x, y = sky_to_pixel(read_wcs(input), ra_deg, dec_deg)
    texts = [(f"{a:.{precision}f}", f"{b:.{precision}f}") for a, b in zip(x, y, strict=True)]
    rows = [(*text, str(float(a)), str(float(d))) for text, a, d in zip(texts, ra_deg, dec_deg, strict=True)]
    report(input, HEADING, rows, texts, output, verbose=verbose)
    return (x[0], y[0]) if is_single else (x, y)


def run(configObj: Any) -> tuple[Any, Any]:  # noqa: ANN401  (DrizzlePac's name)
    """Run `rd2xy` from a parameter object or file; without an output file the result is shown.

    Raises
    ------
    ParameterError
        For unknown names and impossible values.
    """
    values = task_values(__taskname__, configObj, _DEFAULTS)
    return rd2xy(**values | {"verbose": values["verbose"] or values["output"] is None})
