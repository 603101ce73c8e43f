"""Plain images for programs that read neither SIP with look-up tables nor several extensions.

The whole distortion of a chip is fitted by the fourth-order polynomial of the TPV convention (Shupe et al.
2012, SPIE 8451, 84511M), which SWarp, SCAMP and wcslib share; bad pixels become zeros of a weight image. What
the polynomial cannot follow (look-up tables) is left out: about 0.05 pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from mosaic import pipeline
from mosaic.geometry.grid import OutputGrid
from mosaic.simulate.pointing import sky_to_plane
from mosaic.types import DoubleArray

FRAME = "frame.fits"
_TERMS = {
    0: (0, 0), 1: (1, 0), 2: (0, 1), 4: (2, 0), 5: (1, 1), 6: (0, 2), 7: (3, 0), 8: (2, 1), 9: (1, 2),
    10: (0, 3), 12: (4, 0), 13: (3, 1), 14: (2, 2), 15: (1, 3), 16: (0, 4),
}  # fmt: skip
"""Number of a PV coefficient -> powers of the axis itself and of the other one."""
_GRID = 33


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the other programs read."""

    folder: Path
    images: tuple[Path, ...]
    frame_text: Path
    """Output frame as header text, the form SWarp wants."""

    @classmethod
    def make(cls, exposures: Sequence[Path], folder: Path) -> Prepared:
        """Write image and weight of every chip, and the frame that mosaic chooses for these exposures."""
        folder.mkdir(parents=True, exist_ok=True)
        images = []
        for path in exposures:
            with fits.open(path, memmap=False) as hdul:
                chips = [hdu.ver for hdu in hdul if hdu.name == "SCI"]
                images += [_write_chip(hdul, ver, folder / f"{path.stem}_{ver}.fits") for ver in chips]
        plan = pipeline.plan(list(map(str, exposures)), str(folder / "plan")).plan
        header = write_frame(plan.final.grid, folder / FRAME)
        text = folder / "frame.head"
        text.write_text("".join(f"{card.image}\n" for card in header.cards) + f"{'END':80s}\n")
        return cls(folder, tuple(images), text)


def write_frame(grid: OutputGrid, path: Path) -> fits.Header:
    """Write a frame as a FITS file without pixels, and return its header."""
    header = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2)])
    header["NAXIS1"], header["NAXIS2"] = grid.shape_yx.nx, grid.shape_yx.ny
    header.extend(grid.to_header_cards())
    # A header with NAXIS but no data unit is what both readers want; a sparse file stands for the pixels.
    with path.open("wb") as file:
        text = header.tostring().encode()
        file.write(text)
        size = 4 * grid.shape_yx.nx * grid.shape_yx.ny
        file.truncate(len(text) + -(-size // 2880) * 2880)
    return header


def tpv_header(header: fits.Header, hdul: fits.HDUList) -> fits.Header:
    """Header of a chip whose distortion is a TPV polynomial."""
    wcs = WCS(header, hdul)
    ny, nx = header["NAXIS2"], header["NAXIS1"]
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(1, nx, _GRID), np.linspace(1, ny, _GRID)))
    ra, dec = wcs.all_pix2world(x, y, 1)
    crval = (float(header["CRVAL1"]), float(header["CRVAL2"]))
    true = np.stack(sky_to_plane(ra, dec, crval))
    cd = np.array([[header[f"CD{i}_{j}"] for j in (1, 2)] for i in (1, 2)])
    plane = cd @ np.stack([x - header["CRPIX1"], y - header["CRPIX2"]])
    new = fits.Header()
    for axis in (0, 1):
        new[f"CTYPE{axis + 1}"] = ("RA---TPV", "DEC--TPV")[axis]
        for name in (f"CRPIX{axis + 1}", f"CRVAL{axis + 1}", f"CD{axis + 1}_1", f"CD{axis + 1}_2"):
            new[name] = float(header[name])
    for axis in (0, 1):
        for index, value in _fit(plane[axis], plane[1 - axis], true[axis]).items():
            new[f"PV{axis + 1}_{index}"] = value
    return new


def _fit(own: DoubleArray, other: DoubleArray, wanted: DoubleArray) -> dict[int, float]:
    """Least-squares coefficients, with unit of length such that the powers are of like size."""
    unit = float(max(np.abs(own).max(), np.abs(other).max()))
    terms = [(own / unit) ** p * (other / unit) ** q for p, q in _TERMS.values()]
    found = np.linalg.lstsq(np.stack(terms, axis=1), wanted, rcond=None)[0]
    return {
        index: float(value / unit ** (p + q))
        for (index, (p, q)), value in zip(_TERMS.items(), found, strict=True)
    }


def _write_chip(hdul: fits.HDUList, extver: int, path: Path) -> Path:
    science = hdul["SCI", extver]
    header = tpv_header(science.header, hdul)
    fits.PrimaryHDU(science.data.astype(np.float32), header).writeto(path, overwrite=True)
    good = (hdul["DQ", extver].data == 0) * float(hdul[0].header["EXPTIME"])
    weight = fits.PrimaryHDU(good.astype(np.float32))
    weight.writeto(path.with_suffix(".weight.fits"), overwrite=True)
    return path
