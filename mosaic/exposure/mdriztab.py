"""The MDRIZTAB reference table: parameters for a filter and a number of exposures.

Covers finding the table, choosing its row and turning the columns into values by parameter name. Does not
cover judging them nor their rank among other sources (`mosaic.parameters`).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from mosaic.errors import MetadataError, MissingFileError, StructureError, TruncatedFileError
from mosaic.exposure.model import Exposure
from mosaic.exposure.references import find_reference
from mosaic.exposure.storage import open_stream
from mosaic.values import is_blank

_SELECTING: Final = frozenset({"filter", "numimages"})
_IGNORED: Final = frozenset({"shiftfile", "mdriztab", "staticfile"})
_RENAMED: Final = {
    "subsky": ("skysub",),
    "crbitval": ("crbit",),
    "readnoise": ("rdnoise",),
    "refimage": ("driz_sep_refimage", "final_refimage"),
    "bits": ("driz_sep_bits", "final_bits"),
    "ra": ("driz_sep_ra", "final_ra"),
    "dec": ("driz_sep_dec", "final_dec"),
}
_NO_INTEGER: Final = -2147483647
_FILTER_KEYS: Final = {
    "ACS": ("FILTER1", "FILTER2"),
    "WFPC2": ("FILTNAM1", "FILTNAM2"),
    "STIS": ("OPT_ELEM", "FILTER"),
}
_OTHER_FILTER_KEYS: Final = ("FILTER", "FILTER2")
_OFF: Final = "switch mdriztab off, or correct it"


@dataclass(frozen=True, slots=True)
class TableParameters:
    """What a row of an MDRIZTAB says."""

    path: str
    """The table."""
    row: int
    """Number of the row, counted from 1."""
    parameters: dict[str, object]
    """Values by parameter name; None where the table has no value."""

    @property
    def place(self) -> str:
        """Table and row, for messages."""
        return f"MDRIZTAB {Path(self.path).name}, row {self.row}"


def read_mdriztab(exposure: Exposure, n_exposures: int, *, peer_compat: bool = False) -> TableParameters:
    """Read the parameters that the table named by an exposure has for a run.

    The row is the last, in the order of the table, of those with the exposure's filter (else with ANY)
    whose ``numimages`` does not exceed the number of exposures.

    Parameters
    ----------
    exposure : Exposure
        The first exposure of the run.
    n_exposures : int
        Number of exposures that can be used.
    peer_compat : bool
        When no row qualifies take row 1, whatever its filter, as DrizzlePac does; the default is the row of
        the right filter with the fewest images.

    Raises
    ------
    MetadataError
        When the keyword is absent, or no row is for the filter.
    MissingFileError, TruncatedFileError, StructureError
        When the table is absent, unreadable, or its columns are not those of an MDRIZTAB.
    """
    name = exposure.rootname
    primary = _primary_header(exposure)
    reference = str(primary.get("MDRIZTAB", "") or "").strip()
    if is_blank(reference) or reference.upper() == "N/A":
        raise MetadataError(name, f"MDRIZTAB is absent, blank or N/A ({reference!r})", "switch mdriztab off")
    path = find_reference(reference, Path(exposure.path).parent)
    if path is None:
        remedy = "set the environment variable of its prefix to its folder, or switch mdriztab off"
        raise MissingFileError(name, f"MDRIZTAB {reference} not found", remedy)
    table = _read_table(path, name)
    number = _choose_row(table, filter_names(primary), n_exposures, peer_compat=peer_compat)
    if number is None:
        problem = (
            f"MDRIZTAB {path.name} has no row for {filter_names(primary) or 'a blank filter'} nor for ANY"
        )
        raise MetadataError(name, problem, _OFF)
    return TableParameters(str(path), number + 1, dict(_parameters(table, number, name)))


def filter_names(primary: fits.Header) -> str:
    """Non-blank filter names of an exposure joined by commas, as MDRIZTAB has them."""
    keys = _FILTER_KEYS.get(str(primary.get("INSTRUME", "")).strip().upper(), _OTHER_FILTER_KEYS)
    names = [str(primary.get(key, "") or "").strip() for key in keys]
    return ",".join(name for name in names if name)


def _primary_header(exposure: Exposure) -> fits.Header:
    with open_stream(exposure.chips[0].sci.path) as stream:
        return fits.Header.fromfile(stream)


def _read_table(path: Path, name: str) -> fits.FITS_rec:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            with fits.open(path, memmap=False) as hdul:
                table = hdul[1].data
    except (OSError, TypeError) as error:
        raise TruncatedFileError(name, f"MDRIZTAB {path} unreadable ({error})", _OFF) from error
    except IndexError as error:
        raise StructureError(name, f"MDRIZTAB {path} has no table", _OFF) from error
    columns = {column.lower() for column in getattr(table, "names", ())}
    if not columns >= _SELECTING or len(table) == 0:
        problem = f"MDRIZTAB {path} has no rows with the columns filter and numimages"
        raise StructureError(name, problem, _OFF)
    return table


def _choose_row(table: fits.FITS_rec, filters: str, n_exposures: int, *, peer_compat: bool) -> int | None:
    names = [str(value).strip().upper() for value in table["filter"]]
    limits = [int(value) for value in table["numimages"]]
    rows: list[int] = []
    for wanted in (filters.upper(), "ANY"):
        rows = rows or [row for row, name in enumerate(names) if name == wanted]
    enough = [row for row in rows if limits[row] <= n_exposures]
    if enough:
        return enough[-1]
    if peer_compat:
        return 0
    return min(rows, key=lambda row: limits[row], default=None)


def _parameters(table: fits.FITS_rec, row: int, name: str) -> Iterator[tuple[str, object]]:
    for column in table.columns:
        parameter = column.name.lower()
        if parameter in _SELECTING | _IGNORED:
            continue
        value = _value(table[column.name][row], column.format, parameter, name)
        if parameter == "coeffs":
            value = value if isinstance(value, bool) else not is_blank(value)
        for target in _RENAMED.get(parameter, (parameter,)):
            is_bits = target in {"driz_sep_bits", "final_bits"}
            yield target, str(value) if is_bits and value is not None else value


def _value(value: Any, form: str, column: str, name: str) -> object:  # noqa: ANN401  (cell of a FITS table)
    """Value of a cell: text, logical, 32-bit integer or single precision, with their marks for nothing."""
    kind = re.sub(r"^\d*", "", form)[:1]
    if kind == "A":
        return str(value).strip()
    if kind == "L" and form in {"L", "1L"}:
        return bool(value)
    if kind == "J" and form in {"J", "1J"}:
        return None if int(value) == _NO_INTEGER else int(value)
    if kind == "E" and form in {"E", "1E"}:
        return None if np.isnan(value) else float(value)
    problem = f"MDRIZTAB column {column} has format {form}; text, L, J and E are known"
    raise StructureError(name, problem, _OFF)
