"""Make a simulated set cheap to keep: error arrays, which EXP weights do not need, without their pixels."""

from __future__ import annotations

from pathlib import Path

from astropy.io import fits


def strip_errors(path: Path) -> None:
    """Write an exposure anew with ERR extensions that have headers only (constant zero, as FITS allows)."""
    temporary = path.with_name(f".{path.name}.part")
    with fits.open(path, memmap=False) as hdul:
        for hdu in hdul:
            if hdu.name == "ERR":
                ny, nx = hdu.shape
                hdu.data = None
                hdu.header["NPIX1"], hdu.header["NPIX2"], hdu.header["PIXVALUE"] = nx, ny, 0.0
        hdul.writeto(temporary)
    temporary.replace(path)
