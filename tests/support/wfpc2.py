"""WFPC2 exposures in all forms of the archive, written from the format definitions."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

DETECTORS = (1, 2, 3, 4)
SCALES = {1: 0.0455, 2: 0.0996, 3: 0.0996, 4: 0.0996}


@dataclass
class Wfpc2Recipe:
    """What to write; the defaults are four small chips of one exposure."""

    shape_yx: tuple[int, int] = (24, 30)
    detectors: tuple[int, ...] = DETECTORS
    primary: dict[str, Any] = field(default_factory=dict)
    science: dict[str, Any] = field(default_factory=dict)
    seed: int = 5
    edit: Callable[[fits.HDUList, fits.HDUList], None] | None = None


def pixels(recipe: Wfpc2Recipe) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Science values (float32) and flags (int16) of every chip."""
    rng = np.random.default_rng(recipe.seed)
    sci = [rng.normal(20.0, 3.0, recipe.shape_yx).astype(np.float32) for _ in recipe.detectors]
    flags = [rng.choice(np.array([0, 0, 0, 2, 8, 1024], dtype=np.int16), recipe.shape_yx) for _ in sci]
    return sci, flags


def primary_cards(recipe: Wfpc2Recipe, kind: str) -> dict[str, Any]:
    """Keywords of the whole exposure."""
    cards: dict[str, Any] = {
        "INSTRUME": "WFPC2", "FILETYPE": kind, "ROOTNAME": "u1", "MODE": "FULL", "FILTNAM1": "F555W",
        "FILTNAM2": "", "FILTER1": 25, "FILTER2": 0, "ATODGAIN": 7.0, "DARKTIME": 100.0, "EXPTIME": 100.0,
        "EXPSTART": 50612.5, "EXPEND": 50612.6, "PA_V3": 110.0, "MTFLAG": False,
    }  # fmt: skip
    return cards | recipe.primary


def chip_cards(recipe: Wfpc2Recipe, detector: int) -> dict[str, Any]:
    """Keywords of one chip: a linear WCS turned by a quarter from chip to chip."""
    ny, nx = recipe.shape_yx
    scale, angle = SCALES[detector] / 3600.0, np.radians(45.0 + 90.0 * detector)
    cards: dict[str, Any] = {
        "CRVAL1": 150.1 + 1e-3 * np.cos(angle), "CRVAL2": 2.2 + 1e-3 * np.sin(angle),
        "CRPIX1": nx / 2.0, "CRPIX2": ny / 2.0,
        "CD1_1": np.float32(-scale * np.cos(angle)), "CD1_2": np.float32(scale * np.sin(angle)),
        "CD2_1": np.float32(scale * np.sin(angle)), "CD2_2": np.float32(scale * np.cos(angle)),
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "DETECTOR": detector, "MIR_REVR": True,
    }  # fmt: skip
    return cards | recipe.science


def write_pair(folder: Path, root: str = "u1", kind: str = "c0m", **changes: Any) -> Path:
    """Multi-extension files of pixels (SCI) and flags (SDQ), as the archive gives them now."""
    recipe = Wfpc2Recipe(**changes)
    sci, flags = pixels(recipe)
    files = []
    for name, planes in (("SCI", sci), ("SDQ", flags)):
        hdul = fits.HDUList([fits.PrimaryHDU(header=fits.Header(primary_cards(recipe, name)))])
        for extver, (detector, plane) in enumerate(zip(recipe.detectors, planes, strict=True), start=1):
            extension = fits.ImageHDU(plane, name=name, ver=extver)
            extension.header.update({k: _plain(v) for k, v in chip_cards(recipe, detector).items()})
            hdul.append(extension)
        files.append(hdul)
    if recipe.edit is not None:
        recipe.edit(*files)
    path = folder / f"{root}_{kind}.fits"
    for hdul, target in zip(files, (path, folder / f"{root}_{kind.replace('0', '1')}.fits"), strict=True):
        hdul.writeto(target, overwrite=True)
    return path


def write_geis(
    folder: Path, root: str = "u1", *, line_ends: bool = True, order: str = ">", **changes: Any
) -> Path:
    """GEIS images: ``.c0h``/``.c0d`` of float32 pixels, ``.c1h``/``.c1d`` of int16 flags."""
    recipe = Wfpc2Recipe(**changes)
    sci, flags = pixels(recipe)
    for suffix, kind, planes, datatype in (("c0", "SCI", sci, "REAL*4"), ("c1", "SDQ", flags, "INTEGER*2")):
        groups = [chip_cards(recipe, detector) for detector in recipe.detectors]
        fields = [(name, *_geis_type(value)) for name, value in groups[0].items()]
        cards: dict[str, Any] = {
            "SIMPLE": False, "BITPIX": int(datatype[-1]) * 8, "DATATYPE": datatype, "NAXIS": 2,
            "NAXIS1": recipe.shape_yx[1], "NAXIS2": recipe.shape_yx[0], "GROUPS": True, "GCOUNT": len(groups),
            "PCOUNT": len(fields), "PSIZE": 8 * sum(struct.calcsize(form) for _, _, form in fields),
        }  # fmt: skip
        for number, (name, type_name, form) in enumerate(fields, start=1):
            cards |= {f"PTYPE{number}": name, f"PDTYPE{number}": type_name}
            cards |= {f"PSIZE{number}": 8 * struct.calcsize(form)}
        cards |= primary_cards(recipe, kind)
        lines = [fits.Card(k, v).image[:80].ljust(80) for k, v in cards.items()] + ["END".ljust(80)]
        text = "".join(line + ("\n" if line_ends else "") for line in lines)
        (folder / f"{root}.{suffix}h").write_text(text, encoding="ascii")
        data = b"".join(
            plane.astype(plane.dtype.newbyteorder(order)).tobytes() + _packed(fields, group, order)
            for plane, group in zip(planes, groups, strict=True)
        )
        (folder / f"{root}.{suffix}d").write_bytes(data)
    return folder / f"{root}.c0h"


def write_waivered(folder: Path, root: str = "u1", **changes: Any) -> Path:
    """Waivered FITS: the chips are planes of the primary array, their keywords rows of an ASCII table."""
    recipe = Wfpc2Recipe(**changes)
    sci, flags = pixels(recipe)
    groups = [chip_cards(recipe, detector) for detector in recipe.detectors]
    formats = {float: "D25.16", np.float32: "E15.7", int: "I8", str: "A8", bool: "A1"}
    for suffix, kind, planes in (("c0f", "SCI", sci), ("c1f", "SDQ", flags)):
        columns = [
            fits.Column(
                name,
                formats[type(value)],
                array=["T" if g[name] is True else g[name] for g in groups],
                ascii=True,
            )
            for name, value in ((n, _known(v)) for n, v in groups[0].items())
        ]
        primary = fits.PrimaryHDU(np.array(planes), header=fits.Header(primary_cards(recipe, kind)))
        table = fits.TableHDU.from_columns(columns)
        fits.HDUList([primary, table]).writeto(folder / f"{root}_{suffix}.fits", overwrite=True)
    return folder / f"{root}_c0f.fits"


def _known(value: Any) -> Any:
    return float(value) if isinstance(value, np.float64) else value


def _plain(value: Any) -> Any:
    return float(str(value)) if isinstance(value, np.float32) else _known(value)


def _geis_type(value: Any) -> tuple[str, str]:
    """PDTYPE and struct format of a parameter."""
    if isinstance(value, bool):
        return "LOGICAL*4", ">i"
    if isinstance(value, np.float32):
        return "REAL*4", ">f"
    if isinstance(value, float):
        return "REAL*8", ">d"
    return ("INTEGER*4", ">i") if isinstance(value, int) else ("CHARACTER*8", ">8s")


def _packed(fields: Sequence[tuple[str, str, str]], group: dict[str, Any], order: str) -> bytes:
    return b"".join(
        struct.pack(order + form[1:], group[name].ljust(8).encode() if form.endswith("s") else group[name])
        for name, _, form in fields
    )
