"""Reading parameter files: TOML of our own and DrizzlePac's ``.cfg``.

Covers turning a file into flat names and raw values. Does not cover judging names or values
(`mosaic.settings`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from mosaic.errors import ParameterError

IGNORED_NAMES = frozenset({"wcsmap", "editpars", "configobj"})
"""Entries of DrizzlePac files that mean nothing here."""

_SECTION = re.compile(r"^\s*(?P<open>\[+)\s*(?P<title>[^\]]*?)\s*\]+\s*(?:#.*)?$")
_ENTRY = re.compile(
    r"""^\s*(?P<name>[^=\s]+)\s*=\s*
        (?:(?P<triple>'{3}|"{3})(?P<tripled>.*?)(?P=triple)
          |(?P<quote>['"])(?P<quoted>.*?)(?P=quote)
          |(?P<bare>[^#]*?))
        \s*(?:\#.*)?$""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What a parameter file says."""

    path: Path
    """The file."""
    parameters: Mapping[str, object]
    """Raw values by parameter name."""
    inputs: str
    """Value of ``input``; empty when absent."""
    output: str
    """Value of ``output``; empty when absent."""
    problems: tuple[str, ...]
    """Lines and names that could not be understood, one sentence each."""


def read_config(path: Path) -> ConfigFile:
    """Read a parameter file; the ending decides the form (``.cfg`` or anything else: TOML).

    Raises
    ------
    ParameterError
        When the file is absent, is not text, or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ParameterError(f"parameter file {path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ParameterError(f"parameter file {path}: is not UTF-8 text") from error
    if path.suffix.lower() == ".cfg":
        problems, entries = _parse_cfg(text)
    else:
        problems, entries = _parse_toml(path, text)
    parameters: dict[str, object] = {}
    for name, value in entries:
        if name in parameters:
            problems.append(f"{path.name}: {name} is given twice")
        parameters[name] = value
    inputs, output = (parameters.pop(name, "") for name in ("input", "output"))
    for name in IGNORED_NAMES & parameters.keys():
        del parameters[name]
    return ConfigFile(
        path, MappingProxyType(parameters), _join_inputs(inputs), str(output or ""), tuple(problems)
    )


def _join_inputs(value: object) -> str:
    """Join inputs to one comma list."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value or "")


def _parse_toml(path: Path, text: str) -> tuple[list[str], list[tuple[str, object]]]:
    """Flatten TOML: tables only group, their titles mean nothing."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ParameterError(f"parameter file {path}: is not valid TOML ({error})") from error
    return [], list(_flatten(document))


def _flatten(table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Entries of a table and of all tables in it."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value)
        else:
            yield name, value


def _parse_cfg(text: str) -> tuple[list[str], list[tuple[str, object]]]:
    """Entries of a ConfigObj text; rule sections and names with a leading underscore are left out."""
    problems: list[str] = []
    entries: list[tuple[str, object]] = []
    is_rules = False
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        section = _SECTION.match(line)
        entry = _ENTRY.match(line)
        if section is not None:
            is_rules = section["title"].upper() == "_RULES_"
        elif is_rules:
            continue
        elif entry is None:
            problems.append(f"line {number} is neither 'name = value' nor a section: {line.strip()!r}")
        elif not entry["name"].startswith("_"):
            entries.append((entry["name"], _entry_value(entry)))
    return problems, entries


def _entry_value(entry: re.Match[str]) -> str:
    """Text of a value without its quotes."""
    for group in ("tripled", "quoted", "bare"):
        if entry[group] is not None:
            return entry[group].strip()
    return ""
