"""Small inputs with the keywords that headers of products are made from, and the facts of a product."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from mosaic.geometry.grid import OutputGrid
from mosaic.headers.product import ChipFacts, ProductFacts
from mosaic.headers.sources import HeaderSource
from mosaic.products.naming import ProductNames
from mosaic.types import ShapeYX

GRID = OutputGrid(
    shape_yx=ShapeYX(40, 61),
    crpix_xy=(30.5, 20.0),
    crval_deg=(150.25, -2.5),
    cd=((-1.1e-5, 2.0e-7), (2.0e-7, 1.1e-5)),
    wcsname="IDC_abc",
)


def write_input(folder: Path, root: str, *, instrument: str, exptime: float, has_err: bool = True) -> Path:
    primary = fits.PrimaryHDU()
    for keyword, value in {
        "DATE": "2001-01-01",
        "FILENAME": f"{root}_flc.fits",
        "FILETYPE": "SCI",
        "TELESCOP": "HST",
        "INSTRUME": instrument,
        "ROOTNAME": root,
        "EXPTIME": exptime,
        "EXPSTART": 55000.0,
        "EXPEND": 55000.1,
        "DRIZCORR": "PERFORM",
        "FILTER1": "F606W",
    }.items():
        primary.header[keyword] = value
    hdus = fits.HDUList([primary])
    for extver in (1, 2):
        for name in ("SCI", "ERR", "DQ") if has_err else ("SCI",):
            hdu = fits.ImageHDU(np.zeros((3, 4), np.int16 if name == "DQ" else np.float32))
            hdu.header["EXTNAME"], hdu.header["EXTVER"] = name, extver
            hdu.header["EXPNAME"] = root
            hdu.header["BUNIT"] = "UNITLESS" if name == "DQ" else "ELECTRONS"
            hdu.header["OBJECT"] = "M51"
            hdu.header["CCDCHIP"] = extver
            hdu.header["NCOMBINE"] = 1
            hdu.header["PHOTFLAM"] = extver * 1.0e-19
            hdu.header["CTYPE1"], hdu.header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
            hdu.header["CRPIX1"], hdu.header["CRPIX2"] = 2.0, 1.5
            hdu.header["CRVAL1"], hdu.header["CRVAL2"] = 150.0, 2.0
            hdu.header["CD1_1"], hdu.header["CD2_2"] = -1.4e-5, 1.4e-5
            hdu.header["CD1_2"], hdu.header["CD2_1"] = 0.0, 0.0
            hdu.header["A_ORDER"], hdu.header["B_ORDER"] = 2, 2
            hdu.header["A_0_2"], hdu.header["B_2_0"] = 1.0e-6, 2.0e-6
            hdu.header["WCSNAME"], hdu.header["WCSNAMEO"] = "IDC_abc", "OPUS"
            hdu.header["CRVAL1O"] = 150.0
            hdus.append(hdu)
    path = folder / f"{root}_flc.fits"
    hdus.writeto(path)
    return path


def make_facts(folder: Path, *, instrument: str = "ACS", **changes: Any) -> ProductFacts:
    chips = []
    for root, exptime in (("ja", 100.0), ("jb", 50.0)):
        path = folder / f"{root}_flc.fits"
        if not path.exists():
            write_input(folder, root, instrument=instrument, exptime=exptime)
        for extver in (1, 2):
            source = HeaderSource(str(path), 3 * extver - 2, 3 * extver - 1, 3 * extver)
            data = f"{root}_flc.fits[sci,{extver}]"
            chips.append(ChipFacts(source, data, exptime, exptime, "square", 1.0, None, 0.05, f"{root}_mask"))
    facts = ProductFacts(
        chips=chips,
        names=ProductNames(folder, "m51", "_drc"),
        grid=GRID,
        texptime_s=150.0,
        expstart_mjd=55000.0,
        expend_mjd=55000.1,
        n_exposures=2,
        versions={"mosaic": "9.8", "numpy": "2.1"},
        log_name="m51.log",
        date=dt.date(2026, 3, 4),
    )
    return replace(facts, **changes)
