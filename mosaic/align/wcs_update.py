"""Writing solutions into the headers of the inputs, when that was asked for.

Covers keeping the old WCS as an alternate, the new linear WCS in SCI, ERR and DQ, what is recorded of the
fit, and WCSCORR. Only CRVAL and CD change; a file that was not aligned is not touched. Does not cover
headerlets.
"""

from __future__ import annotations

import os
import shutil
import string
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from mosaic.align.images import ChipSources, ImageSources
from mosaic.align.settings import AlignSettings
from mosaic.align.solution import Solution, corrected_wcs, sky_rms_deg
from mosaic.errors import MetadataError, OutputError, WcsNameExistsError
from mosaic.exposure.alternate_wcs import alternate_names
from mosaic.exposure.storage import is_remote, open_fits
from mosaic.geometry.grid import OutputGrid
from mosaic.geometry.tangent import Matrix2, PairXY
from mosaic.headers.keywords import describe_wcsname

_LETTERS: Final = [letter for letter in string.ascii_uppercase if letter != "O"]
"""Keys of alternates; O belongs to OPUS."""
_CD: Final = ("CD1_1", "CD1_2", "CD2_1", "CD2_2")
_ARCHIVED: Final = (
    *("WCSAXES", "CTYPE1", "CTYPE2", "CUNIT1", "CUNIT2", "CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2"),
    *("RADESYS", "WCSTYPE", "RMS_RA", "RMS_DEC", "NMATCH", "FITNAME", "HDRNAME"),
)
_OF_THE_FIT: Final = (
    "RMS_RA", "RMS_DEC", "NMATCH", "NMATCHES", "FITNAME", "HDRNAME", "CRDER1", "CRDER2"
)  # fmt: skip
_PC: Final = ("PC1_1", "PC1_2", "PC2_1", "PC2_2", "CDELT1", "CDELT2")


def check_updatable(paths: Sequence[str]) -> None:
    """Refuse files that cannot be replaced, before any work.

    Raises
    ------
    OutputError
        Naming them.
    """
    bad = [
        path
        for path in paths
        if is_remote(path) or not os.access(path, os.W_OK) or not os.access(Path(path).parent, os.W_OK)
    ]
    if bad:
        raise OutputError(
            f"updatehdr: {', '.join(bad)} cannot be written; change the permissions or work on copies"
        )


def check_wcsname(paths: Sequence[str], settings: AlignSettings) -> None:
    """Refuse a new name that a file has already, as primary or alternate, unless `reusename`.

    Raises
    ------
    WcsNameExistsError
        Naming file and name.
    """
    if settings.reusename:
        return
    wanted = settings.wcsname.upper()
    for path in paths:
        with open_fits(path) as hdul:
            for hdu in hdul:
                if hdu.name != "SCI":
                    continue
                names = [*alternate_names(hdu.header).values(), str(hdu.header.get("WCSNAME", "")).strip()]
                if wanted in (name.upper() for name in names):
                    raise WcsNameExistsError(
                        f"{path}: there is a WCS named {settings.wcsname} already; choose another wcsname or "
                        "set reusename"
                    )


def update_headers(
    frame: OutputGrid,
    images: Sequence[ImageSources],
    solutions: Sequence[Solution],
    settings: AlignSettings,
) -> list[Path]:
    """Write the solutions into the inputs; each file is copied, updated, verified and then replaced.

    Returns
    -------
    list of Path
        Files that were changed.

    Raises
    ------
    OutputError
        When a file cannot be written; it is as it was then.
    MetadataError
        When a file has no key left for the old WCS.
    """
    written = []
    for image, solution in zip(images, solutions, strict=True):
        if not solution.is_good:
            continue
        path = Path(image.path)
        temporary = path.with_name(f".{path.name}.partial")
        try:
            shutil.copy2(path, temporary)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AstropyWarning)
                _update_file(temporary, image, frame, solution, settings)
            temporary.replace(path)
        except OSError as error:
            raise OutputError(f"{path}: the new WCS cannot be written: {error}") from error
        finally:
            temporary.unlink(missing_ok=True)
        written.append(path)
    return written


def _update_file(
    path: Path, image: ImageSources, frame: OutputGrid, solution: Solution, settings: AlignSettings
) -> None:
    with fits.open(path, mode="update", memmap=False, do_not_scale_image_data=True) as hdul:
        headers = [hdul[chip.hdu_index].header for chip in image.chips]
        key = _free_key(headers, image.path)
        rows = []
        for chip, header in zip(image.chips, headers, strict=True):
            _archive(header, key)
            crval, cd = corrected_wcs(chip.wcs, frame, solution.fit)
            _write_wcs(header, crval, cd, settings.wcsname)
            _write_fit(header, frame, solution, settings)
            for name in ("ERR", "DQ"):
                if (
                    chip.hdu_index
                    and (name, chip.extver) in hdul
                    and "CRVAL1" in hdul[name, chip.extver].header
                ):
                    _write_wcs(hdul[name, chip.extver].header, crval, cd, settings.wcsname)
            rows.append(_record(chip, header, solution))
        if "WCSCORR" in hdul:
            _record_all(hdul, rows)
        for hdu in hdul:
            if "CHECKSUM" in hdu.header:
                hdu.add_checksum()
    with fits.open(path, memmap=False) as hdul:
        for chip in image.chips:
            if hdul[chip.hdu_index].header.get("WCSNAME") != settings.wcsname:
                raise OutputError(
                    f"{image.path}: the updated copy could not be verified; the file is as it was"
                )


def _free_key(headers: Sequence[fits.Header], path: str) -> str:
    """First letter that is free in all chips."""
    taken = {key for header in headers for key in alternate_names(header)}
    free = [letter for letter in _LETTERS if letter not in taken]
    if not free:
        raise MetadataError(
            path, "all 25 keys of alternate WCS are taken", "delete one that is no longer needed"
        )
    return free[0]


def _archive(header: fits.Header, key: str) -> None:
    """Copy the primary WCS to an alternate; a name that exists gets -1, -2, … at its end."""
    names = set(alternate_names(header).values())
    name = base = str(header.get("WCSNAME", "")).strip() or "PRIMARY"
    number = 0
    while name in names:
        number += 1
        name = f"{base}-{number}"
    if _CD[0] not in header:
        steps = [float(header.get(f"CDELT{axis}", 1.0)) for axis in (1, 2)]
        for keyword, unit in zip(_CD, (1.0, 0.0, 0.0, 1.0), strict=True):
            factor = float(header.get(keyword.replace("CD", "PC"), unit))
            header[keyword] = steps[int(keyword[2]) - 1] * factor
    for keyword in (*_ARCHIVED, *_CD):
        if keyword in header:
            header[f"{keyword}{key}"] = (header[keyword], header.comments[keyword])
    header[f"WCSNAME{key}"] = name


def _write_wcs(header: fits.Header, crval: PairXY, cd: Matrix2, name: str) -> None:
    for keyword in _PC:
        header.remove(keyword, ignore_missing=True)
    header["CRVAL1"], header["CRVAL2"] = crval
    for keyword, value in zip(_CD, (cd[0][0], cd[0][1], cd[1][0], cd[1][1]), strict=True):
        header[keyword] = value
    header["ORIENTAT"] = float(np.degrees(np.arctan2(cd[0][1], cd[1][1])))
    header["WCSNAME"] = (name, "Coordinate system title")
    header["WCSTYPE"] = describe_wcsname(name)


def _write_fit(header: fits.Header, frame: OutputGrid, solution: Solution, settings: AlignSettings) -> None:
    """Record the fit; nothing of an older one stays."""
    for keyword in _OF_THE_FIT:
        header.remove(keyword, ignore_missing=True)
    if solution.status != "aligned":
        return
    east, north = sky_rms_deg(frame, solution.fit)
    header["FITNAME"] = (settings.wcsname, "name of the fit")
    header["NMATCH"] = (solution.n_used, "number of sources in the fit")
    header["NMATCHES"] = (solution.n_used, "number of sources in the fit")
    header["RMS_RA"] = (east, "[deg] rms of the fit to the east, true angle")
    header["RMS_DEC"] = (north, "[deg] rms of the fit to the north")
    header["CRDER1"] = (east, "[deg] random error of axis 1")
    header["CRDER2"] = (north, "[deg] random error of axis 2")


def _record(chip: ChipSources, header: fits.Header, solution: Solution) -> dict[str, Any]:
    """Values of a row of WCSCORR."""
    row = {
        name: header.get(name) for name in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", *_CD, "CTYPE1", "CTYPE2")
    }
    return {
        **row,
        "WCS_ID": header["WCSNAME"],
        "EXTVER": chip.extver,
        "WCS_key": " ",
        "HDRNAME": header.get("HDRNAME", ""),
        "SIPNAME": header.get("SIPNAME", ""),
        "NPOLNAME": header.get("NPOLNAME", ""),
        "D2IMNAME": header.get("D2IMNAME", ""),
        "ORIENTAT": header["ORIENTAT"],
        "PA_V3": chip.wcs.pa_v3,
        "RMS_RA": header.get("RMS_RA", 0.0),
        "RMS_Dec": header.get("RMS_DEC", 0.0),
        "NMatch": solution.n_used,
        "Catalog": "",
        "DESCRIP": describe_wcsname(header["WCSNAME"]),
    }


def _record_all(hdul: fits.HDUList, rows: Sequence[dict[str, Any]]) -> None:
    """Append rows to WCSCORR, into its spare rows as far as there are any."""
    table = hdul["WCSCORR"]
    used = int(table.header.get("TROWS", len(table.data)))
    n_rows = max(len(table.data), used + len(rows))
    larger = fits.BinTableHDU.from_columns(table.columns, header=table.header, nrows=n_rows, name="WCSCORR")
    for number, row in enumerate(rows):
        for name in larger.columns.names:
            if row.get(name) is not None:
                larger.data[name][used + number] = row[name]
    larger.header["TROWS"] = used + len(rows)
    hdul["WCSCORR"] = larger
