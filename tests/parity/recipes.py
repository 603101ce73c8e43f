"""Edits that make special exposures of ordinary ones, on private copies.

Covers what the simulator does not make: flat fields, inverse-variance maps, sub-arrays, damaged pixels,
shifted and turned pointings, reference images. Each recipe takes the copies and edits them in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy.io import fits

from mosaic.simulate.files import write_association
from tests.parity.compare import Array
from tests.support.mdriztab import write_mdriztab

FLAT = "parity_pfl.fits"
COMPANIONS = ("*_pfl.fits", "*_ivm.fits", "*.lst")
"""Patterns of the files beside the exposures that a run needs."""
_LOOKUPS = ("D2IMARR", "WCSDVARR")


@contextmanager
def _edited(path: Path) -> Iterator[fits.HDUList]:
    with fits.open(path, memmap=False) as hdul:
        yield hdul
        hdul.writeto(path, overwrite=True)


def _science(hdul: fits.HDUList) -> list[fits.ImageHDU]:
    return [hdu for hdu in hdul if hdu.name == "SCI"]


def _uneven(shape: tuple[int, int], random: np.random.Generator) -> Array:
    values = random.normal(1.0, 0.02, shape) + np.linspace(-0.1, 0.1, shape[1])
    return np.asarray(values, dtype=np.float32)


def flat(exposures: Sequence[Path]) -> None:
    """Name an uneven flat field in the headers; the pixels stay as they are."""
    random = np.random.default_rng(5)
    made = fits.HDUList([fits.PrimaryHDU()])
    with fits.open(exposures[0]) as hdul:
        for hdu in _science(hdul):
            made.append(fits.ImageHDU(_uneven(hdu.data.shape, random), name="SCI", ver=hdu.ver))
            made[-1].header["CCDCHIP"] = hdu.header["CCDCHIP"]
    made.writeto(exposures[0].with_name(FLAT), overwrite=True)
    for path in exposures:
        fits.setval(path, "PFLTFILE", value=FLAT)


def inverse_variance(exposures: Sequence[Path]) -> None:
    """Write an inverse-variance map of the counts for each exposure, and a list that names them."""
    lines = []
    random = np.random.default_rng(6)
    for path in exposures:
        made = fits.HDUList([fits.PrimaryHDU()])
        with fits.open(path) as hdul:
            for hdu in _science(hdul):
                values = _uneven(hdu.data.shape, random) / 90.0
                made.append(fits.ImageHDU(values, name="IVM", ver=hdu.ver))
        target = path.with_name(path.name.replace(".fits", "_ivm.fits"))
        made.writeto(target, overwrite=True)
        lines.append(f"{path.name} {target}\n")
    exposures[0].with_name("ivm.lst").write_text("".join(lines))


def subarray(exposures: Sequence[Path], *, x0: int, y0: int, nx: int, ny: int) -> None:
    """Read out only a rectangle of every chip; the geometry of what is left stays as it was."""
    for path in exposures:
        with _edited(path) as hdul:
            for hdu in hdul:
                if hdu.name in {"SCI", "ERR", "DQ", "SAMP", "TIME"} and hdu.data is not None:
                    hdu.data = hdu.data[y0 : y0 + ny, x0 : x0 + nx].copy()
                    for axis, start in ((1, x0), (2, y0)):
                        hdu.header[f"CRPIX{axis}"] -= start
                        hdu.header[f"LTV{axis}"] = -float(start)
                elif hdu.name in _LOOKUPS:
                    hdu.header["CRVAL1"] -= x0
                    hdu.header["CRVAL2"] -= y0
                if hdu.name == "SCI":
                    for axis, start in ((1, x0), (2, y0)):
                        if f"CRPIX{axis}O" in hdu.header:
                            hdu.header[f"CRPIX{axis}O"] -= start
                    hdu.header["SIZAXIS1"], hdu.header["SIZAXIS2"] = nx, ny


def not_a_number(exposures: Sequence[Path]) -> None:
    """Put NaN into some science pixels of the second exposure."""
    random = np.random.default_rng(7)
    with _edited(exposures[1]) as hdul:
        for hdu in _science(hdul):
            ny, nx = hdu.data.shape
            hdu.data[random.integers(4, ny - 4, 12), random.integers(4, nx - 4, 12)] = np.nan


def masked_chip(exposures: Sequence[Path], *, exposure: int, extver: int) -> None:
    """Flag every pixel of one chip bad."""
    with _edited(exposures[exposure]) as hdul:
        hdul["DQ", extver].data |= 4
        hdul["SCI", extver].header["NGOODPIX"] = 0


def shifted(exposures: Sequence[Path], *, exposure: int, dx: float, dy: float) -> None:
    """Move one exposure on the sky by pixels of its first chip, distortion and pixels untouched."""
    with _edited(exposures[exposure]) as hdul:
        for hdu in _science(hdul):
            header = hdu.header
            cd = np.array([[header[f"CD{i}_{j}"] for j in (1, 2)] for i in (1, 2)])
            ra, dec = cd @ (dx, dy)
            header["CRVAL1"] += ra / np.cos(np.radians(header["CRVAL2"]))
            header["CRVAL2"] += dec


def _basis(ra_deg: float, dec_deg: float) -> Array:
    """East, north and outward unit vectors at a position, as columns."""
    ra, dec = np.radians([ra_deg, dec_deg])
    east = (-np.sin(ra), np.cos(ra), 0.0)
    north = (-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec))
    out = (np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec))
    return np.array([east, north, out]).T


def carried(exposures: Sequence[Path], *, ra: float, dec: float) -> None:
    """Carry the whole sky rigidly so that the first reference point comes to (ra, dec)."""
    with fits.open(exposures[0]) as hdul:
        first = hdul["SCI", 1].header
        turn = _basis(ra, dec) @ _basis(first["CRVAL1"], first["CRVAL2"]).T
    for path in exposures:
        with _edited(path) as hdul:
            for hdu in _science(hdul):
                header = hdu.header
                old = turn @ _basis(header["CRVAL1"], header["CRVAL2"])
                x, y, z = old[:, 2]
                new_ra, new_dec = np.degrees([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))])
                # Old east and north seen from the new ones: what the CD matrix turns by.
                change = (_basis(new_ra, new_dec).T @ old)[:2, :2]
                cd = change @ np.array([[header[f"CD{i}_{j}"] for j in (1, 2)] for i in (1, 2)])
                header["CRVAL1"], header["CRVAL2"] = float(new_ra) % 360.0, float(new_dec)
                for i in (1, 2):
                    for j in (1, 2):
                        header[f"CD{i}_{j}"] = float(cd[i - 1, j - 1])
                header["ORIENTAT"] = float(np.degrees(np.arctan2(cd[0, 1], cd[1, 1])))


def raised_sky(exposures: Sequence[Path], *, levels: Sequence[float]) -> None:
    """Add a level to all science pixels of each exposure."""
    for path, level in zip(exposures, levels, strict=True):
        with _edited(path) as hdul:
            for hdu in _science(hdul):
                hdu.data += np.float32(level)


def set_keywords(exposures: Sequence[Path], **values: object) -> None:
    """Set primary keywords."""
    for path in exposures:
        with _edited(path) as hdul:
            hdul[0].header.update(values)


def set_unit(exposures: Sequence[Path], *, bunit: str) -> None:
    """Write the unit of the science pixels."""
    for path in exposures:
        with _edited(path) as hdul:
            for hdu in _science(hdul):
                hdu.header["BUNIT"] = bunit


def flagged(exposures: Sequence[Path], *, bits: int, share: float) -> None:
    """Set data-quality bits on a share of the pixels, others in every exposure."""
    random = np.random.default_rng(8)
    for path in exposures:
        with _edited(path) as hdul:
            for hdu in (hdu for hdu in hdul if hdu.name == "DQ"):
                hdu.data[random.random(hdu.data.shape) < share] |= bits


def reference_image(exposures: Sequence[Path]) -> None:
    """Write an image whose frame can be taken: tilted, with an empty primary HDU and a second image."""
    with fits.open(exposures[0]) as hdul:
        centre = hdul["SCI", 1].header
    made = fits.HDUList([fits.PrimaryHDU()])
    for angle, scale, shape in ((17.0, 0.06, (121, 134)), (-40.0, 0.045, (150, 101))):
        a = np.radians(angle)
        header = fits.Header()
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
        header["CRVAL1"], header["CRVAL2"] = centre["CRVAL1"], centre["CRVAL2"]
        header["CRPIX1"], header["CRPIX2"] = shape[1] / 2 + 0.25, shape[0] / 2
        cd = scale / 3600.0 * np.array([[-np.cos(a), np.sin(a)], [np.sin(a), np.cos(a)]])
        for i in (1, 2):
            for j in (1, 2):
                header[f"CD{i}_{j}"] = float(cd[i - 1, j - 1])
        header["ORIENTAT"] = angle
        header["WCSNAME"] = f"TILTED{len(made)}"
        made.append(fits.ImageHDU(np.zeros(shape, np.float32), header, name="SCI", ver=len(made)))
    made.writeto(exposures[0].with_name("reference.fits"), overwrite=True)


def pipeline_input(exposures: Sequence[Path]) -> None:
    """Name reference files, write an MDRIZTAB and an association table."""
    names = {"IDCTAB": "idc", "NPOLFILE": "npl", "D2IMFILE": "d2i", "MDRIZTAB": "mdz"}
    for path in exposures:
        with _edited(path) as hdul:
            hdul[0].header.update({key: f"jref$parity_{kind}.fits" for key, kind in names.items()})
    folder = exposures[0].parent
    several = [False, True, True]
    write_mdriztab(
        folder / "parity_mdz.fits",
        [("ANY", 1), ("ANY", 2), ("ANY", 4)],
        build=("L", [True] * 3),
        context=("L", [True] * 3),
        static=("L", [True] * 3),
        skysub=("L", [True] * 3),
        skymethod=("32A", ["localmin"] * 3),
        driz_separate=("L", several),
        driz_sep_bits=("12A", ["336"] * 3),
        median=("L", several),
        combine_type=("16A", ["minmed"] * 3),
        combine_nsigma=("8A", ["4 3"] * 3),
        blot=("L", several),
        driz_cr=("L", several),
        driz_cr_snr=("8A", ["5.0 4.0", "3.5 3.0", "3.5 3.0"]),
        driz_cr_scale=("8A", ["3.0 2.4", "1.2 0.7", "1.2 0.7"]),
        driz_combine=("L", [True] * 3),
        final_kernel=("8A", ["square"] * 3),
        final_pixfrac=("E", [1.0] * 3),
        final_bits=("12A", ["336"] * 3),
        final_wht_type=("8A", ["EXP"] * 3),
    )
    path = write_association(folder, "pipeline", [path.name.rpartition("_")[0] for path in exposures])
    with fits.open(exposures[0]) as hdul:
        for keyword in ("INSTRUME", "DETECTOR"):
            fits.setval(path, keyword, value=hdul[0].header[keyword])


RECIPES: dict[str, Callable[..., None]] = {
    function.__name__: function
    for function in (
        flat, inverse_variance, subarray, not_a_number, masked_chip, shifted, carried, raised_sky,
        set_keywords, set_unit, flagged, reference_image, pipeline_input,
    )
}  # fmt: skip
"""The recipes by name."""
