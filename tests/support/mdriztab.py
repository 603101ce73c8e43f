"""Small MDRIZTAB reference tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits


def write_mdriztab(path: Path, rows: list[tuple[str, int]], **columns: tuple[str, list[Any]]) -> Path:
    """Write a table; `rows` are filter and numimages, `columns` are format and values by name."""
    made = [
        fits.Column("filter", "24A", array=np.array([row[0] for row in rows])),
        fits.Column("numimages", "J", array=np.array([row[1] for row in rows])),
    ]
    made += [fits.Column(name, form, array=np.array(values)) for name, (form, values) in columns.items()]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(made)]).writeto(path, overwrite=True)
    return path
