"""From what the user typed to a list of files: globs, comma lists, @lists, directories, associations.

Covers the naming rules of AstroDrizzle inputs. Does not look inside exposures (`catalogue`).
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from astropy.io import fits

from mosaic.errors import ExposureError, MissingFileError, ParameterError, StructureError, TruncatedFileError
from mosaic.exposure.storage import find_remote, is_remote

SUFFIXES: Final = (
    "_crj", "_flt", "_flc", "_sfl", "_cal", "_raw", ".c0h", ".hhh", "_c0h", "_c0f", "_c1f", ".fits",
)  # fmt: skip
_COMPRESSED: Final = (".gz", ".fz")
_ASSOCIATION: Final = ("_asn", "_asc")
_CHECK_NAME: Final = "correct the name or remove it from the list"


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file to read."""

    path: str
    """As the user named it, made absolute."""
    ivm_path: str = ""
    """Inverse-variance map the user gave for it, if any."""


@dataclass(frozen=True, slots=True)
class ExpandedInputs:
    """The files found, and the entries that led nowhere."""

    files: tuple[InputFile, ...]
    rejected: tuple[ExposureError, ...]
    notes: tuple[str, ...]


def root_name(path: str) -> str:
    """Root name of a file, lower case: its base name up to the first known suffix."""
    name = strip_compression(Path(path).name)
    lower = name.lower()
    for suffix in SUFFIXES:
        position = lower.find(suffix)
        if position > 0:
            return lower[:position]
    return lower


def strip_compression(name: str) -> str:
    """File name without .gz or .fz."""
    return name[:-3] if name.lower().endswith(_COMPRESSED) else name


def expand_inputs(inputs: Sequence[str]) -> ExpandedInputs:
    """Resolve every entry to files; a file named twice is taken once.

    Raises
    ------
    ParameterError
        When there is no entry, or two different files have the same root name.
    """
    entries = [inputs] if isinstance(inputs, str) else [str(entry) for entry in inputs]
    if not any(entry.strip() for entry in entries):
        raise ParameterError("no input given; name files, globs, @lists, directories or association tables")
    found: list[InputFile] = []
    rejected: list[ExposureError] = []
    for entry in entries:
        for item in _expand_entry(entry.strip()):
            if isinstance(item, InputFile):
                found.append(item)
            else:
                rejected.append(item)
    files, notes = _without_duplicates(found)
    _refuse_same_roots(files)
    return ExpandedInputs(tuple(files), tuple(rejected), tuple(notes))


def read_association(path: str) -> list[str]:
    """Files of the exposures of an association table.

    Raises
    ------
    ExposureError
        When the table cannot be read.
    ParameterError
        When a member exists both as flt and as flc.
    """
    table = Path(path)
    if not table.is_file():
        raise MissingFileError(path, "association table does not exist", _CHECK_NAME)
    try:
        with fits.open(table, memmap=False) as hdul:
            checked = str(hdul[0].header.get("DUPCHECK", "")).strip().upper() == "COMPLETE"
            rows = hdul[1].data
            members = [
                str(row["MEMNAME"]).strip().lower()
                for row in rows
                if bool(row["MEMPRSNT"]) and str(row["MEMTYPE"]).strip().upper().startswith("EXP")
            ]
    except OSError as error:
        raise TruncatedFileError(path, f"association table unreadable ({error})", _CHECK_NAME) from error
    except (IndexError, KeyError, TypeError) as error:
        raise StructureError(
            path, "association table has no MEMNAME, MEMTYPE, MEMPRSNT rows", _CHECK_NAME
        ) from error
    return [_member_file(table.parent, member, refuse_pair=not checked) for member in members]


def _expand_entry(entry: str) -> Iterable[InputFile | ExposureError]:
    if not entry:
        return
    if entry.startswith("@"):
        yield from _expand_list(Path(entry[1:]))
        return
    if is_remote(entry):
        yield from _expand_url(entry)
        return
    if "," in entry and not Path(entry).exists():
        for part in entry.split(","):
            yield from _expand_entry(part.strip())
        return
    path = os.path.expandvars(_expand_environment(entry))
    if Path(path).is_dir():
        yield from _expand_directory(Path(path))
        return
    names = [path] if Path(path).exists() else sorted(glob.glob(path))  # noqa: PTH207  (absolute patterns)
    if not names:
        what = "the pattern matches no file" if glob.has_magic(path) else "the file does not exist"
        yield MissingFileError(entry, what, _CHECK_NAME)
    for name in names:
        if any(mark in Path(name).name.lower() for mark in _ASSOCIATION):
            yield from _expand_association(name)
        else:
            yield InputFile(str(Path(name).absolute()))


def _expand_url(url: str) -> Iterable[InputFile | ExposureError]:
    try:
        found = find_remote(url)
    except (OSError, ImportError, ValueError) as error:
        yield MissingFileError(url, f"cannot be reached ({error})", "check the address and the credentials")
        return
    if not found:
        yield MissingFileError(url, "nothing there", _CHECK_NAME)
    yield from (InputFile(name) for name in found)


def _expand_association(name: str) -> Iterable[InputFile | ExposureError]:
    try:
        members = read_association(name)
    except ExposureError as error:
        yield error
        return
    for member in members:
        if Path(member).exists():
            yield InputFile(str(Path(member).absolute()))
        else:
            yield MissingFileError(member, f"member of {Path(name).name} does not exist", _CHECK_NAME)


def _expand_list(listing: Path) -> Iterable[InputFile | ExposureError]:
    """One file a line; a second column names its inverse-variance map."""
    try:
        lines = listing.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"@{listing}: the list cannot be read ({error})") from error
    rows = [line.split("#", 1)[0].split() for line in lines]
    for row in rows:
        if not row:
            continue
        if len(row) > 2:
            raise ParameterError(
                f"@{listing}: {' '.join(row)!r} has {len(row)} columns; give a file and at most its IVM"
            )
        # Names in a list are relative to the working directory, as in AstroDrizzle, else to the list.
        name = row[0] if Path(row[0]).exists() or glob.has_magic(row[0]) else str(listing.parent / row[0])
        ivm = (
            str(Path(row[1]).absolute()) if len(row) == 2 and row[1].lower() not in {"none", "indef"} else ""
        )
        for item in _expand_entry(name):
            yield InputFile(item.path, ivm) if isinstance(item, InputFile) and ivm else item


def _expand_directory(folder: Path) -> Iterable[InputFile | ExposureError]:
    """All flc files, and the flt files that have no flc."""
    chosen: dict[str, Path] = {}
    for suffix in ("_flc", "_flt"):
        for path in sorted(folder.iterdir()):
            if strip_compression(path.name).lower().endswith(f"{suffix}.fits"):
                chosen.setdefault(root_name(path.name), path)
    if not chosen:
        yield MissingFileError(str(folder), "the directory holds no *_flc.fits or *_flt.fits", _CHECK_NAME)
    for root in sorted(chosen):
        yield InputFile(str(chosen[root].absolute()))


def _member_file(folder: Path, member: str, *, refuse_pair: bool) -> str:
    """File of an association member: exact name, then the known suffixes, lower then upper case root."""
    for base in (folder, Path.cwd()):
        for root in (member, member.upper()):
            flt, flc = base / f"{root}_flt.fits", base / f"{root}_flc.fits"
            if refuse_pair and flt.is_file() and flc.is_file():
                raise ParameterError(f"{member} exists as flt and as flc; name the files of one kind instead")
            names = [root, f"{root}.fits"] + [f"{root}{s}.fits" for s in SUFFIXES if s.startswith("_")]
            for name in names:
                for candidate in (base / name, base / f"{name}.gz", base / f"{name}.fz"):
                    if candidate.is_file():
                        return str(candidate)
    return str(folder / f"{member}_flt.fits")


def _expand_environment(entry: str) -> str:
    """Replace the form ``name$file`` by the directory in the environment variable ``name``."""
    match = re.match(r"([A-Za-z_]\w*)\$(.+)", entry)
    if match and match[1] in os.environ:
        return str(Path(os.environ[match[1]]) / match[2])
    return entry


def _without_duplicates(files: Sequence[InputFile]) -> tuple[list[InputFile], list[str]]:
    kept: dict[str, InputFile] = {}
    notes: list[str] = []
    for file in files:
        real = file.path if is_remote(file.path) else os.path.realpath(file.path)
        if real in kept:
            notes.append(f"{Path(file.path).name} is listed more than once; it is used once")
        else:
            kept[real] = file
    return list(kept.values()), notes


def _refuse_same_roots(files: Sequence[InputFile]) -> None:
    by_root: dict[str, InputFile] = {}
    for file in files:
        root = root_name(file.path)
        other = by_root.setdefault(root, file)
        if other is not file:
            kinds = {strip_compression(f.path).lower()[-9:-5] for f in (file, other)}
            remedy = "give only flc or only flt" if kinds == {"_flt", "_flc"} else "remove or rename one"
            raise ParameterError(f"{other.path} and {file.path} have the same root name {root!r}; {remedy}")
