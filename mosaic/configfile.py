"""Reading parameter files: TOML of our own, and DrizzlePac's ``.cfg`` and ConfigObj objects.

Covers turning a file or a nested mapping into flat names and raw values. Does not cover judging names or
values (`mosaic.settings`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from configobj import ConfigObj, ConfigObjError

from mosaic.errors import ParameterError

IGNORED_NAMES = frozenset({"wcsmap", "editpars", "configobj"})
"""Entries of DrizzlePac files that mean nothing here."""

_TASK_ENTRY = "_task_name_"
_TASK = "astrodrizzle"
_RULES = re.compile(r"\s*\[\s*_RULES_\s*\]\s*(?:#.*)?", re.IGNORECASE)
_HEADING = re.compile(r"\s*\[[^\[].*")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What a parameter file says."""

    path: Path
    """The file."""
    parameters: Mapping[str, object]
    """Raw values by parameter name."""
    inputs: tuple[str, ...]
    """Value of ``input``; empty when absent or blank."""
    output: str
    """Value of ``output``; empty when absent."""
    problems: tuple[str, ...]
    """Lines and names that could not be understood, one sentence each."""


def read_config(path: Path, task: str = _TASK) -> ConfigFile:
    """Read a parameter file; the ending decides the form (``.cfg`` or anything else: TOML).

    Parameters
    ----------
    path : Path
        The file.
    task : str
        Task whose parameters are wanted; a file that names another is a problem.

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
        table, problems = _parse_cfg(text)
    else:
        table, problems = _parse_toml(path, text), []
    return flatten_config(table, path, problems, task)


def flatten_config(
    table: Mapping[str, object], path: Path, problems: Iterable[str] = (), task: str = _TASK
) -> ConfigFile:
    """Flatten a nested mapping: sections only group, their titles mean nothing.

    Names with a leading underscore (``_task_name_``, ``_RULES_``) belong to DrizzlePac's editor and are
    left out; the same name in two sections is a problem.

    Parameters
    ----------
    table : mapping
        Values by name, or mappings of them by section, as a ConfigObj has them.
    path : Path
        Where the table comes from, for messages.
    problems : iterable of str
        What was wrong already.
    task : str
        Task whose parameters are wanted.
    """
    problems = list(problems)
    found = str(table.get(_TASK_ENTRY, task)).strip().lower()
    if found not in {task, ""}:
        problems.append(f"{path.name} holds parameters of {found}, not of {task}")
        table = {}
    parameters: dict[str, object] = {}
    for name, value in _flatten(table):
        if name in parameters:
            problems.append(f"{path.name}: {name} is given twice")
        # A text with commas and no quotes comes as a list of its parts.
        if isinstance(value, list) and name != "input" and all(isinstance(part, str) for part in value):
            parameters[name] = ",".join(value)
        else:
            parameters[name] = value
    inputs, output = (parameters.pop(name, "") for name in ("input", "output"))
    for name in IGNORED_NAMES & parameters.keys():
        del parameters[name]
    return ConfigFile(
        path, MappingProxyType(parameters), _input_list(inputs), str(output or ""), tuple(problems)
    )


def _input_list(value: object) -> tuple[str, ...]:
    """Inputs as a list; blank entries are none."""
    entries = value if isinstance(value, list | tuple) else [value or ""]
    return tuple(text for text in (str(entry).strip() for entry in entries) if text)


def _flatten(table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Entries of a table and of all tables in it."""
    for name, value in table.items():
        if name.strip().startswith("_"):
            continue
        if isinstance(value, Mapping):
            yield from _flatten(value)
        else:
            yield name, value


def _parse_toml(path: Path, text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ParameterError(f"parameter file {path}: is not valid TOML ({error})") from error


def _parse_cfg(text: str) -> tuple[dict[str, object], list[str]]:
    """Parse a ConfigObj text; what it cannot read is told with its line."""
    problems: list[str] = []
    try:
        parsed = ConfigObj(_without_rules(text), interpolation=False, list_values=True)
    except ConfigObjError as error:
        found = getattr(error, "errors", None) or [error]
        problems = [_describe(part) for part in found]
        parsed = error.config
    return parsed.dict(), problems


def _without_rules(text: str) -> list[str]:
    """Lines of a ConfigObj text, those of its ``[_RULES_]`` section blanked: they are program text.

    The number of lines is kept, so that messages name the right one.
    """
    lines: list[str] = []
    is_rules = False
    for line in text.splitlines():
        if _HEADING.fullmatch(line):
            is_rules = _RULES.fullmatch(line) is not None
        lines.append("" if is_rules else line)
    return lines


def _describe(error: ConfigObjError) -> str:
    """One sentence on a line that is not ConfigObj text."""
    line = str(getattr(error, "line", "")).strip()
    number = getattr(error, "line_number", 0)
    if "Duplicate" in type(error).__name__:
        return f"line {number}: {line.partition('=')[0].strip()} is given twice"
    if "=" in line:
        return f"line {number}: the value cannot be read (unbalanced quotes?): {line!r}"
    return f"line {number} is neither 'name = value' nor a section: {line!r}"
