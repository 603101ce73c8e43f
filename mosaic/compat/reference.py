"""Reference frames given as WCS objects: written to a file for the time of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from astropy.io import fits

from mosaic.errors import ParameterError

_NAMES = ("driz_sep_refimage", "final_refimage")


@contextmanager
def referenced_files(keywords: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give keywords in which a reference frame is always the name of a file.

    Parameters
    ----------
    keywords : mapping
        Keyword arguments; ``final_refimage`` and ``driz_sep_refimage`` may be WCS objects.

    Raises
    ------
    ParameterError
        When an object has no linear WCS or no size.
    """
    with TemporaryDirectory(prefix="mosaic_refimage_") as folder:
        named = dict(keywords)
        for name in _NAMES:
            value = named.get(name)
            if value is not None and hasattr(value, "wcs"):
                path = Path(folder) / f"{name}.fits"
                _write_reference(value, path, name)
                named[name] = str(path)
        yield named


def _write_reference(wcs: Any, path: Path, name: str) -> None:  # noqa: ANN401
    """Write the linear terms of a WCS as an image without content."""
    shape = getattr(wcs, "pixel_shape", None) or (getattr(wcs, "naxis1", 0), getattr(wcs, "naxis2", 0))
    if min(shape) < 1:
        raise ParameterError(f"{name}: the WCS object has no size; set its pixel_shape")
    header = fits.Header()
    for axis in (0, 1):
        header[f"CRPIX{axis + 1}"] = float(wcs.wcs.crpix[axis])
        header[f"CRVAL{axis + 1}"] = float(wcs.wcs.crval[axis])
        header[f"CTYPE{axis + 1}"] = str(wcs.wcs.ctype[axis]).removesuffix("-SIP")
    for row, cells in enumerate(wcs.pixel_scale_matrix, start=1):
        for column, cell in enumerate(cells, start=1):
            header[f"CD{row}_{column}"] = float(cell)
    header["WCSNAME"] = str(getattr(wcs.wcs, "name", "") or "")
    fits.PrimaryHDU(np.zeros((int(shape[1]), int(shape[0])), dtype=np.uint8), header).writeto(path)
