"""Catalogue files: source lists of chips, and reference catalogues on the sky.

Covers text, ECSV and FITS tables, column specifications, flux limits, and proper motions of Gaia-like
columns. Does not cover queries of services.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from astropy.utils.exceptions import AstropyWarning

from mosaic.alignment.settings import FluxUnits
from mosaic.errors import CatalogError
from mosaic.types import DoubleArray

_TABLE_ENDINGS = (".fits", ".fit", ".fits.gz", ".ecsv")
_MAS_PER_DEGREE = 3.6e6
_JULIAN_YEAR_DAYS = 365.25
_J2000_MJD = 51544.5


@dataclass(frozen=True, slots=True)
class FluxLimits:
    """Which rows of a catalogue are used."""

    smallest: float | None
    """minflux."""
    largest: float | None
    """maxflux."""
    units: FluxUnits
    """counts, cps or mag; magnitudes turn the limits round."""
    n_brightest: int | None
    """nbright."""


@dataclass(frozen=True, slots=True)
class CatalogColumns:
    """Positions and fluxes as a catalogue gives them."""

    first: DoubleArray
    """x or right ascension."""
    second: DoubleArray
    """y or declination."""
    flux: DoubleArray
    """Flux or magnitude; NaN when there is no such column."""


def read_columns(path: Path, columns: tuple[str, str, str]) -> CatalogColumns:
    """Read positions and fluxes of a catalogue.

    Parameters
    ----------
    path : Path
        FITS or ECSV table, or text of columns separated by blanks (lines that start with # and those that
        hold INDEF are skipped).
    columns : (str, str, str)
        Of x, y and flux (blank: none): ``3``, ``c3``, a name, or several for sexagesimal parts: ``1,2,3``,
        ``1-3``, ``1:3``; the first of the two is then in hours.

    Raises
    ------
    CatalogError
        When the file cannot be read, a column is absent or a value is not a number.
    """
    table = _read_table(path)
    first = _coordinate(table, columns[0], path, in_hours=True)
    second = _coordinate(table, columns[1], path, in_hours=False)
    flux = _numbers(table, columns[2], path) if columns[2] else np.full(first.shape, np.nan)
    return CatalogColumns(first, second, flux)


def select_rows(catalog: CatalogColumns, limits: FluxLimits, place: str) -> np.ndarray:
    """Rows within the flux limits, the brightest first when only so many are wanted.

    Raises
    ------
    CatalogError
        When nothing is left.
    """
    keep = np.isfinite(catalog.first) & np.isfinite(catalog.second)
    low, high = limits.smallest, limits.largest
    if limits.units == "mag":
        low, high = high, low
    if low is not None:
        keep &= catalog.flux >= low
    if high is not None:
        keep &= catalog.flux <= high
    rows = np.flatnonzero(keep)
    if limits.n_brightest is not None:
        brightness = catalog.flux[rows] * (1.0 if limits.units == "mag" else -1.0)
        rows = rows[np.argsort(brightness, kind="stable")[: limits.n_brightest]]
    if rows.size == 0:
        raise CatalogError(
            f"{place}: none of its {catalog.first.size} sources is left after the flux limits; widen them"
        )
    return rows


def read_reference(
    path: Path, columns: tuple[str, str, str], limits: FluxLimits, epoch_mjd: float | None
) -> CatalogColumns:
    """Read a reference catalogue and bring it to the epoch of the exposures.

    A table with the columns ``ra`` and ``dec`` (Gaia) is read by those unless columns are given; with
    ``pmra``, ``pmdec`` (mas/yr, pmra including cos dec) and ``ref_epoch`` (Julian years) positions are moved
    to the epoch.

    Parameters
    ----------
    path : Path
        The catalogue.
    columns : (str, str, str)
        As for `read_columns`.
    limits : FluxLimits
        Which rows are used.
    epoch_mjd : float, optional
        Mean epoch of the exposures, MJD; None: positions as they are.

    Raises
    ------
    CatalogError
        When it cannot be read, or nothing is left.
    """
    table = _read_table(path)
    names = {name.lower(): name for name in table.colnames}
    if columns[:2] == ("1", "2") and {"ra", "dec"} <= names.keys():
        columns = (names["ra"], names["dec"], columns[2])
    first = _coordinate(table, columns[0], path, in_hours=True)
    second = _coordinate(table, columns[1], path, in_hours=False)
    flux = _numbers(table, columns[2], path) if columns[2] else np.full(first.shape, np.nan)
    if epoch_mjd is not None and {"pmra", "pmdec", "ref_epoch"} <= names.keys():
        epoch = 2000.0 + (epoch_mjd - _J2000_MJD) / _JULIAN_YEAR_DAYS
        years = epoch - _numbers(table, names["ref_epoch"], path)
        # Stars without a measured motion stay where they are.
        motion_ra = np.nan_to_num(_numbers(table, names["pmra"], path) * years) / _MAS_PER_DEGREE
        motion_dec = np.nan_to_num(_numbers(table, names["pmdec"], path) * years) / _MAS_PER_DEGREE
        first = (first + motion_ra / np.cos(np.deg2rad(second))) % 360.0
        second = second + motion_dec
    catalog = CatalogColumns(first, second, flux)
    rows = select_rows(catalog, limits, str(path))
    return CatalogColumns(first[rows], second[rows], flux[rows])


def read_catalog_list(path: Path, images: Sequence[str]) -> dict[str, tuple[Path, ...]]:
    """Catalogues of the chips of every image, from lines ``image catalogue [catalogue ...]``.

    Parameters
    ----------
    path : Path
        The list; names in it are relative to the working directory.
    images : sequence of str
        Inputs; matched by base name.

    Returns
    -------
    dict of str to tuple of Path
        By input.

    Raises
    ------
    CatalogError
        When the file cannot be read or an image is not in it.
    """
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise CatalogError(f"catfile {path} cannot be read ({error.strerror}); correct its name") from error
    found = {
        Path(words[0]).name: tuple(map(Path, words[1:])) for words in lines if words and words[0][0] != "#"
    }
    absent = [image for image in images if Path(image).name not in found]
    if absent:
        raise CatalogError(f"catfile {path} has no line for {', '.join(absent)}; add one")
    return {image: found[Path(image).name] for image in images}


def _read_table(path: Path) -> Table:
    try:
        if path.name.lower().endswith(_TABLE_ENDINGS):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AstropyWarning)
                return Table.read(path)
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise CatalogError(f"catalogue {path} cannot be read: {' '.join(str(error).split())}") from error
    rows = [line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    rows = [row for row in rows if "INDEF" not in (word.upper() for word in row)]
    if not rows:
        raise CatalogError(f"catalogue {path} is empty; give one with sources")
    # A first line without numbers is a header of names.
    names = [f"c{i + 1}" for i in range(len(rows[0]))]
    if not any(re.match(r"[-+.\d]", word) for word in rows[0]):
        names, rows = rows[0], rows[1:]
    if {len(row) for row in rows} - {len(names)}:
        raise CatalogError(f"catalogue {path} has rows of different lengths; complete them")
    return Table({name: [row[i] for row in rows] for i, name in enumerate(names)})


def _columns_of(table: Table, spec: str, path: Path) -> list[str]:
    """Names of the columns that a specification means."""
    if spec in table.colnames:
        return [spec]
    span = re.fullmatch(r"c?(\d+)\s*[-:]\s*c?(\d+)", spec)
    parts = (
        [str(i) for i in range(int(span[1]), int(span[2]) + 1)]
        if span
        else [p.strip() for p in spec.split(",")]
    )
    names = []
    for part in parts:
        number = re.fullmatch(r"c?(\d+)", part)
        if part in table.colnames:
            names.append(part)
        elif number and 1 <= int(number[1]) <= len(table.colnames):
            names.append(table.colnames[int(number[1]) - 1])
        else:
            raise CatalogError(f"catalogue {path} has no column {part!r}; it has {', '.join(table.colnames)}")
    return names


def _coordinate(table: Table, spec: str, path: Path, *, in_hours: bool) -> DoubleArray:
    """Values of a coordinate; sexagesimal ones become degrees."""
    names = _columns_of(table, spec, path)
    if len(names) == 1 and not any(":" in str(value) for value in table[names[0]][:1]):
        return _numbers(table, names[0], path)
    if len(names) == 1:
        parts = [str(value).split(":") for value in table[names[0]]]
    else:
        parts = [list(row) for row in zip(*(map(str, table[name]) for name in names), strict=True)]
    try:
        values = np.array([_sexagesimal(part) for part in parts])
    except ValueError as error:
        raise CatalogError(f"catalogue {path}, column {spec}: {error}") from error
    return values * (15.0 if in_hours else 1.0)


def _sexagesimal(parts: Sequence[str]) -> float:
    """Value of whole, minutes and seconds; the sign of -0 counts."""
    size = sum(abs(float(part)) / 60.0**i for i, part in enumerate(parts))
    return -size if parts[0].strip().startswith("-") else size


def _numbers(table: Table, spec: str, path: Path) -> DoubleArray:
    column: Any = table[_columns_of(table, spec, path)[0]]
    if hasattr(column, "filled"):
        column = column.filled(np.nan) if column.dtype.kind == "f" else column
    try:
        return np.array(column, dtype=np.float64)
    except ValueError as error:
        raise CatalogError(f"catalogue {path}, column {spec}: {error}") from error
