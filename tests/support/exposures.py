"""Small exposures with a full distortion model, written with astropy alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from astropy.io import fits

SIP_A = {(2, 0): 2.0e-5, (0, 2): -1.1e-5, (1, 1): 1.7e-5, (3, 0): -4.0e-8, (1, 2): 3.0e-8, (4, 0): 1.0e-10}
SIP_B = {(2, 0): -0.9e-5, (0, 2): 2.3e-5, (1, 1): -1.3e-5, (0, 3): 5.0e-8, (2, 1): 2.0e-8, (2, 2): -2.0e-10}


@dataclass
class ExposureRecipe:
    """What to write; the defaults are a two-chip ACS/WFC-like exposure of 60 x 97 pixels a chip."""

    instrument: str = "ACS"
    detector: str = "WFC"
    shape_yx: tuple[int, int] = (60, 97)
    n_chips: int = 2
    exptime: float = 120.0
    expstart: float = 55000.25
    bunit: str = "ELECTRONS"
    scale_arcsec: float = 0.05
    crval: tuple[float, float] = (150.1, 2.2)
    roll_deg: float = 33.0
    distorted: bool = True
    seed: int = 7
    primary: dict[str, Any] = field(default_factory=dict)
    edit: Callable[[fits.HDUList], None] | None = None


def default_settings(**changes: Any) -> SimpleNamespace:
    """Parameters as the catalogue sees them when the user gives none."""
    names = dict.fromkeys(
        ("gain", "gnkeyword", "rdnoise", "rnkeyword", "exptime", "expkeyword", "group", "wcskey"), ""
    )
    others = {"coeffs": True, "final_wht_type": "EXP", "peer_compat": False}
    others |= {"skysub": True, "skyfile": "", "skyuser": "", "skymask_cat": ""}
    return SimpleNamespace(**{**names, **others, **changes})


def write_exposure(path: Path, **changes: Any) -> Path:
    """Write the exposure of a recipe with `changes`."""
    recipe = ExposureRecipe(**changes)
    hdul = fits.HDUList([fits.PrimaryHDU(header=_primary(path, recipe))])
    rng = np.random.default_rng(recipe.seed)
    for extver in range(1, recipe.n_chips + 1):
        header = _science_header(recipe, extver)
        sci = rng.normal(50.0, 5.0, recipe.shape_yx).astype(np.float32)
        dq = rng.choice(np.array([0, 0, 0, 4, 16, 4096], dtype=np.int16), recipe.shape_yx)
        err = np.sqrt(np.abs(sci)) + np.float32(1.0)
        hdul.append(fits.ImageHDU(sci, header, name="SCI", ver=extver))
        hdul.append(fits.ImageHDU(err, name="ERR", ver=extver))
        hdul.append(fits.ImageHDU(dq, name="DQ", ver=extver))
    if recipe.distorted:
        _append_tables(hdul, recipe, rng)
    if recipe.edit is not None:
        recipe.edit(hdul)
    hdul.writeto(path, overwrite=True, output_verify="ignore")
    return path


def _primary(path: Path, recipe: ExposureRecipe) -> fits.Header:
    header = fits.Header()
    header["INSTRUME"] = recipe.instrument
    header["DETECTOR"] = recipe.detector
    header["ROOTNAME"] = path.name.split("_")[0]
    header["EXPTIME"] = recipe.exptime
    header["EXPSTART"] = recipe.expstart
    header["EXPEND"] = recipe.expstart + recipe.exptime / 86400.0
    header["FILTER1"] = "F606W"
    header["FILTER2"] = ""
    header["PA_V3"] = 112.5
    for index, amplifier in enumerate("ABCD"):
        header[f"ATODGN{amplifier}"] = (0.0, 1.9, 2.1, 0.0)[index]
        header[f"READNSE{amplifier}"] = (4.0, 0.0, 6.0, 0.0)[index]
    header.update(recipe.primary)
    return header


def _science_header(recipe: ExposureRecipe, extver: int) -> fits.Header:
    ny, nx = recipe.shape_yx
    header = fits.Header()
    header["BUNIT"] = recipe.bunit
    header["CCDCHIP"] = recipe.n_chips + 1 - extver
    header["MEANDARK"] = 0.5 * extver
    header["LTV1"], header["LTV2"] = 0.0, 0.0
    suffix = "-SIP" if recipe.distorted else ""
    header["CTYPE1"], header["CTYPE2"] = f"RA---TAN{suffix}", f"DEC--TAN{suffix}"
    header["CRPIX1"], header["CRPIX2"] = nx / 2.0, ny / 2.0 + 1.0
    # The second chip lies above the first with a gap of a few pixels.
    shift = (extver - 1) * (ny + 4.0) * recipe.scale_arcsec / 3600.0
    roll = np.deg2rad(recipe.roll_deg)
    header["CRVAL1"] = recipe.crval[0] + shift * np.sin(roll) / max(np.cos(np.deg2rad(recipe.crval[1])), 1e-4)
    header["CRVAL2"] = recipe.crval[1] + shift * np.cos(roll)
    cd = (
        recipe.scale_arcsec / 3600.0 * np.array([[-np.cos(roll), np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    )
    cd = cd @ np.array([[1.0, 0.03], [0.01, 0.98]])
    header["CD1_1"], header["CD1_2"], header["CD2_1"], header["CD2_2"] = (float(v) for v in cd.ravel())
    header["WCSNAME"] = "IDC_test"
    if recipe.distorted:
        header["IDCSCALE"] = recipe.scale_arcsec
        header["IDCV2REF"], header["IDCV3REF"], header["IDCTHETA"] = 257.152, 302.6, 0.1
        header["A_ORDER"], header["B_ORDER"] = 4, 4
        for (p, q), value in SIP_A.items():
            header[f"A_{p}_{q}"] = value
        for (p, q), value in SIP_B.items():
            header[f"B_{p}_{q}"] = value
        for axis in (1, 2):
            for kind, prefix in (("CPDIS", "DP"), ("D2IMDIS", "D2IM")):
                header[f"{kind}{axis}"] = "Lookup"
                header.append((f"{prefix}{axis}", f"EXTVER: {2 * extver - 2 + axis}"))
                header.append((f"{prefix}{axis}", "NAXES: 2"))
                header.append((f"{prefix}{axis}", "AXIS.1: 1"))
                header.append((f"{prefix}{axis}", "AXIS.2: 2"))
    return header


def _append_tables(hdul: fits.HDUList, recipe: ExposureRecipe, rng: np.random.Generator) -> None:
    """Look-up tables with an amplitude of some hundredths of a pixel and nodes every 16 x 13 pixels."""
    for name, amplitude in (("WCSDVARR", 0.06), ("D2IMARR", 0.04)):
        for extver in range(1, 2 * recipe.n_chips + 1):
            table = fits.ImageHDU(
                rng.normal(0.0, amplitude, (6, 7)).astype(np.float32), name=name, ver=extver
            )
            table.header["CRPIX1"], table.header["CRPIX2"] = 0.0, 1.0
            table.header["CRVAL1"], table.header["CRVAL2"] = 0.0, 2.5
            table.header["CDELT1"], table.header["CDELT2"] = 16.0, 13.0
            hdul.append(table)
