"""Association tables: which exposures belong together, and what their product is called.

Covers reading a table (local or behind a URL) and finding the files of its members. Does not look inside
exposures, and ignores shifts that a table may hold, as AstroDrizzle does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from astropy.io import fits

from mosaic.errors import MissingFileError, ParameterError, StructureError, TruncatedFileError
from mosaic.exposure.storage import exists, open_stream
from mosaic.places import is_remote

MEMBER_SUFFIXES: Final = (
    "_crj", "_flt", "_flc", "_sfl", "_cal", "_raw", ".c0h", ".hhh", "_c0h", "_c0f", "_c1f",
)  # fmt: skip
"""Suffixes of calibrated files in AstroDrizzle's order of search."""
_SEARCHED: Final = ("", *MEMBER_SUFFIXES, "_c0m")
_COMPRESSED: Final = ("", ".gz", ".fz")
_MARKS: Final = ("_asn", "_asc")
_PRODUCT_TYPES: Final = ("PROD-DTH", "PROD-RPT", "PROD-CRJ")
_CHECK_NAME: Final = "correct the name or remove it from the list"


@dataclass(frozen=True, slots=True)
class Association:
    """What an association table says."""

    path: str
    """The table, as named."""
    product: str
    """Name of the product, lower case."""
    members: tuple[str, ...]
    """Names of the exposures that are present, lower case, in the order of the table."""
    files: tuple[str, ...]
    """File of each member; where none exists, the name that was looked for."""


def is_association(name: str) -> bool:
    """Whether a name is that of an association table (``_asn`` or ``_asc`` in it)."""
    return any(mark in name.rpartition("/")[2].lower() for mark in _MARKS)


def read_association(path: str, *, allows_pairs: bool = False) -> Association:
    """Read an association table and find the files of its exposures.

    Parameters
    ----------
    path : str
        File or URL of the table; members are looked for beside it, then in the working directory.
    allows_pairs : bool
        Accept members of which both an flt and an flc file exist; the first found is the file.

    Raises
    ------
    MissingFileError, TruncatedFileError, StructureError
        When the table is absent, unreadable or something else.
    ParameterError
        When members exist both as flt and as flc and the table was not checked for that (DUPCHECK).
    """
    rows, is_checked = _read_rows(path)
    members = [name for name, kind in rows if kind.startswith("EXP")]
    products = [name for wanted in _PRODUCT_TYPES for name, kind in rows if kind == wanted]
    folders = [path.rpartition("/")[0] or ("/" if path.startswith("/") else ".")]
    if not is_remote(path):
        folders.append(".")
    if not is_checked and not allows_pairs:
        _refuse_pairs(path, folders, members)
    base = path.rpartition("/")[2].lower()
    table_root = base[: min(base.find(mark) for mark in _MARKS if mark in base)]
    files = tuple(_find_member(folders, member) for member in members)
    return Association(path, products[0] if products else table_root, tuple(members), files)


def _read_rows(path: str) -> tuple[list[tuple[str, str]], bool]:
    """Name (lower case) and type of all rows that are present, and whether duplicates were checked."""
    if not exists(path):
        raise MissingFileError(path, "association table does not exist", _CHECK_NAME)
    try:
        with open_stream(path) as stream, fits.open(stream, memmap=False) as hdul:
            is_checked = str(hdul[0].header.get("DUPCHECK", "")).strip().upper() == "COMPLETE"
            return [_row(row) for row in hdul[1].data if bool(row["MEMPRSNT"])], is_checked
    except OSError as error:
        raise TruncatedFileError(path, f"association table unreadable ({error})", _CHECK_NAME) from error
    except (IndexError, KeyError, TypeError) as error:
        raise StructureError(
            path, "association table has no MEMNAME, MEMTYPE, MEMPRSNT rows", _CHECK_NAME
        ) from error


def _row(row: Any) -> tuple[str, str]:  # noqa: ANN401  (record of a FITS table)
    return str(row["MEMNAME"]).strip().lower(), str(row["MEMTYPE"]).strip().upper()


def _refuse_pairs(path: str, folders: Sequence[str], members: Sequence[str]) -> None:
    """Refuse a table whose members may mean two kinds of files."""
    pairs = [
        member
        for member in members
        if all(any(exists(f"{folder}/{member}_{kind}.fits") for folder in folders) for kind in ("flt", "flc"))
    ]
    if pairs:
        choices = [",".join(f"{member}_{kind}.fits" for member in pairs) for kind in ("flc", "flt")]
        raise ParameterError(
            f"{path}: {', '.join(pairs)} exist as flt and as flc; give the files of one kind instead of the "
            f"table ('{choices[0]}' or '{choices[1]}'), or name them so in it and set DUPCHECK=COMPLETE"
        )


def _find_member(folders: Sequence[str], member: str) -> str:
    """File of a member: exact name, name.fits, then each suffix with the root in upper and lower case."""
    names = [member, f"{member.upper()}.fits", f"{member}.fits"]
    for suffix in _SEARCHED[1:]:
        ending = suffix if suffix.startswith(".") else f"{suffix}.fits"
        names += [f"{member.upper()}{ending}", f"{member}{ending}"]
    for folder in folders:
        for name in names:
            for packed in _COMPRESSED:
                if exists(f"{folder}/{name}{packed}"):
                    return f"{folder}/{name}{packed}"
    return f"{folders[0]}/{member}_flt.fits"
