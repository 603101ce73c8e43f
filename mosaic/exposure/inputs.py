"""From what the user typed to a list of files: globs, comma lists, @lists, directories, associations.

Covers the naming rules of AstroDrizzle inputs. Does not look inside exposures (`catalogue`).
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mosaic.errors import ExposureError, MissingFileError, ParameterError
from mosaic.exposure.association import MEMBER_SUFFIXES, is_association, read_association
from mosaic.exposure.storage import exists, find_remote, is_folder, open_stream
from mosaic.places import is_remote

SUFFIXES: Final = (*MEMBER_SUFFIXES, ".fits")
_COMPRESSED: Final = (".gz", ".fz")
_CHECK_NAME: Final = "correct the name or remove it from the list"


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file to read."""

    path: str
    """As the user named it, made absolute."""
    ivm_path: str = ""
    """Inverse-variance map the user gave for it, if any."""
    prepared_path: str = ""
    """Copy to read in its place, when one was made (a new WCS); empty: the file itself."""


@dataclass(frozen=True, slots=True)
class ExpandedInputs:
    """The files found, and the entries that led nowhere."""

    files: tuple[InputFile, ...]
    rejected: tuple[ExposureError, ...]
    notes: tuple[str, ...]
    """What was merged, one line each."""
    product: str = ""
    """Product name of the association table, when that is all the user gave."""


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
    return ExpandedInputs(tuple(files), tuple(rejected), tuple(notes), _product_name(entries))


def _product_name(entries: Sequence[str]) -> str:
    """Product of the association table when it is the only entry; a table that cannot be read has none."""
    names = [entry.strip() for entry in entries if entry.strip()]
    if len(names) != 1 or not is_association(names[0]) or "," in names[0] or glob.has_magic(names[0]):
        return ""
    try:
        return read_association(_local_path(names[0])).product
    except ExposureError:
        return ""


def _expand_entry(entry: str) -> Iterator[InputFile | ExposureError]:
    if not entry:
        return
    if entry.startswith("@"):
        yield from _expand_list(entry[1:])
        return
    if "," in entry and not _is_named(entry):
        for part in entry.split(","):
            yield from _expand_entry(part.strip())
        return
    path = _local_path(entry)
    try:
        is_whole_folder = is_folder(path)
        names = find_remote(path) if is_remote(path) else _find_local(path)
    except (OSError, ImportError, ValueError) as error:
        yield MissingFileError(entry, f"cannot be reached ({error})", "check the address and the credentials")
        return
    if is_whole_folder:
        yield from _expand_directory(entry, names)
        return
    if not names:
        what = "the pattern matches no file" if glob.has_magic(path) else "the file does not exist"
        yield MissingFileError(entry, what, _CHECK_NAME)
    for name in names:
        if is_association(name):
            yield from _expand_association(name)
        else:
            yield InputFile(name)


def _is_named(entry: str) -> bool:
    """Whether a name with commas in it is that of one file."""
    try:
        return exists(_local_path(entry))
    except (OSError, ValueError):
        return False


def _local_path(entry: str) -> str:
    """URL, or absolute path with ``name$``, ``$name`` and ``~`` replaced; ``file://`` is a path."""
    if is_remote(entry):
        if not entry.lower().startswith("file://"):
            return entry
        entry = entry[len("file://") :]
    path = Path(os.path.expandvars(_expand_environment(entry))).expanduser()
    return str(path.absolute())


def _find_local(path: str) -> list[str]:
    """Files that a path or pattern stands for; of a folder all that it holds."""
    if Path(path).is_dir():
        return [str(entry) for entry in Path(path).iterdir()]
    return [path] if Path(path).exists() else sorted(glob.glob(path))  # noqa: PTH207  (absolute patterns)


def _expand_association(name: str) -> Iterator[InputFile | ExposureError]:
    try:
        association = read_association(name)
    except ExposureError as error:
        yield error
        return
    for member in association.files:
        if exists(member):
            yield InputFile(member if is_remote(member) else str(Path(member).absolute()))
        else:
            yield MissingFileError(member, f"member of {Path(name).name} does not exist", _CHECK_NAME)


def _expand_list(listing: str) -> Iterator[InputFile | ExposureError]:
    """One file a line; a second column names its inverse-variance map."""
    place = _local_path(listing)
    try:
        with open_stream(place) as stream:
            lines = stream.read().decode("utf-8").splitlines()
    except (OSError, ImportError, ValueError) as error:
        raise ParameterError(f"@{listing}: the list cannot be read ({error})") from error
    folder = place.rpartition("/")[0]
    for row in (line.split("#", 1)[0].split() for line in lines):
        if not row:
            continue
        if len(row) > 2:
            raise ParameterError(
                f"@{listing}: {' '.join(row)!r} has {len(row)} columns; give a file and at most its IVM"
            )
        has_map = len(row) == 2 and row[1].lower() not in {"none", "indef"}
        ivm = _local_path(_beside(row[1], folder)) if has_map else ""
        for item in _expand_entry(_beside(row[0], folder)):
            yield InputFile(item.path, ivm) if isinstance(item, InputFile) and ivm else item


def _beside(name: str, folder: str) -> str:
    """Names in a list are relative to the working directory, as in AstroDrizzle, else to the list."""
    is_plain = not is_remote(name) and "$" not in name and not name.startswith(("/", "~"))
    is_here = Path(name).exists() or bool(glob.glob(name))  # noqa: PTH207  (patterns with folders)
    return f"{folder}/{name}" if is_plain and not is_here else name


def _expand_directory(folder: str, names: Sequence[str]) -> Iterator[InputFile | ExposureError]:
    """All flc files, and the flt files that have no flc."""
    chosen: dict[str, str] = {}
    for suffix in ("_flc", "_flt"):
        for name in sorted(names):
            if strip_compression(name).lower().endswith(f"{suffix}.fits"):
                chosen.setdefault(root_name(name), name)
    if not chosen:
        yield MissingFileError(folder, "the directory holds no *_flc.fits or *_flt.fits", _CHECK_NAME)
    for root in sorted(chosen):
        yield InputFile(chosen[root])


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
