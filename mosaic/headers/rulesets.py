"""Blending rules: which keyword goes to a column of HDRTAB, and which function makes its product value.

Covers the rules files of DrizzlePac (text), the packaged rules (TOML) and which of them an instrument gets.
Does not apply them: that is `mosaic.headers.blend`.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from mosaic.errors import ParameterError

FunctionName: TypeAlias = Literal[
    "first",
    "last",
    "min",
    "max",
    "mean",
    "sum",
    "stddev",
    "multi",
    "multi?",
    "int_one",
    "float_one",
    "zero",
]
SUPPORTED_VERSION = 1.1
_DELETE = "<delete>"
_COMMENTARY = ("HISTORY", "COMMENT")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule."""

    action: Literal["column", "value", "delete"]
    """Record per chip in HDRTAB, give the product header a value, or drop from the header."""
    source: str
    """Keyword of the inputs, a pattern with ``*``, or the title of a header section."""
    target: str
    """Column, or keyword of the product."""
    function: FunctionName | None = None
    """How the inputs' values become one; only for `value`."""
    is_section: bool = False
    """Whether `source` is the title of a section and stands for all its keywords."""

    def __str__(self) -> str:
        """Return the rule as a line of a rules file."""
        source = f"/ {self.source}" if self.is_section else self.source
        if self.action == "delete":
            return f"{_DELETE} {source}"
        if self.function is not None:
            return f"{source} {self.target} {self.function}"
        return source if self.is_section or self.source == self.target else f"{source} {self.target}"


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules of one instrument, or of several merged."""

    name: str
    """Base name of the file; several merged: joined by commas."""
    version: float
    """Version of the rules format (RULESVER)."""
    instrument: str
    """Instrument in upper case, empty when the file names none."""
    rules: tuple[Rule, ...]
    """Rules in order: columns of HDRTAB follow it."""

    def __str__(self) -> str:
        """Return the rules as the text of a rules file."""
        head = [f"!VERSION = {self.version}", f"!INSTRUMENT = {self.instrument}"]
        return "\n".join([*head, *map(str, self.rules), ""])

    @property
    def label(self) -> str:
        """Name and first 16 digits of the SHA-256 of the rules as text, for the RULEFILE keyword."""
        return f"{self.name} sha256:{hashlib.sha256(str(self).encode()).hexdigest()[:16]}"

    def merge(self, other: RuleSet) -> RuleSet:
        """Return these rules followed by those of `other` that are not among them."""
        extra = tuple(rule for rule in other.rules if rule not in self.rules)
        return replace(
            self,
            name=f"{self.name},{other.name}",
            instrument=f"{self.instrument},{other.instrument}",
            rules=self.rules + extra,
        )


@dataclass(frozen=True, slots=True)
class RulesFile:
    """A rules file of the user, kept as text so that a job does not depend on the file later."""

    name: str
    """Name of the file, as given."""
    text: str
    """Its content."""
    instrument: str = ""
    """Instrument it is for, upper case; empty: all."""


def parse_rules(text: str, name: str, *, lenient: bool = False) -> RuleSet:
    """Parse the text of a rules file.

    Parameters
    ----------
    text : str
        Lines ``KEYWORD``, ``KEYWORD COLUMN``, ``KEYWORD TARGET function``, ``<delete> KEYWORD``; a
        ``/ TITLE`` in place of the keyword stands for a section, a ``*`` in it for any characters.
        ``!VERSION = v`` and ``!INSTRUMENT = name`` describe the file, ``#`` begins a comment. Lines that
        begin with a blank are ignored.
    name : str
        Name of the file, for messages and for RULEFILE.
    lenient : bool
        Take an unknown function as no function and an unknown directive as a comment, as DrizzlePac does.

    Raises
    ------
    ParameterError
        When the version is newer than 1.1 or missing, or a line is not a rule.
    """
    version: float | None = None
    instrument = ""
    rules: dict[Rule, None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        place = f"{name} line {number}"
        if line.startswith("!"):
            key, _, value = line[1:].partition("=")
            if "version" in key.lower():
                version = _parse_version(value.partition("#")[0], place)
            elif "instrument" in key.lower():
                instrument = value.partition("#")[0].strip().upper()
            elif not lenient:
                raise ParameterError(
                    f"rules file {place}: unknown directive {line.strip()!r}; use !VERSION or !INSTRUMENT"
                )
            continue
        content = line.partition("#")[0].rstrip()
        if content and not content[0].isspace():
            rules[_parse_line(content, place, lenient=lenient)] = None
    if version is None:
        raise ParameterError(f"rules file {name} has no line '!VERSION = {SUPPORTED_VERSION}'; add it")
    return RuleSet(Path(name).name, version, instrument, tuple(rules))


def find_rules_files(
    rules_file: str, instruments: Sequence[str], folder: Path | None = None
) -> tuple[RulesFile, ...]:
    """Read the rules files of the user.

    Parameters
    ----------
    rules_file : str
        A file in DrizzlePac's text format, for all instruments; empty: none.
    instruments : sequence of str
        Instruments that occur.
    folder : Path, optional
        When `rules_file` is empty: where files ``*.rules`` are looked for, as DrizzlePac does in the
        working directory. The alphabetically first one of each instrument with a version up to 1.1 is
        taken; a file that names no instrument must be called ``<instrument>_header.rules``. Given, files
        are read leniently (see `parse_rules`).

    Raises
    ------
    ParameterError
        When a file cannot be read or is faulty.
    """
    if rules_file:
        text = _read_text(Path(rules_file))
        parse_rules(text, rules_file, lenient=folder is not None)
        return (RulesFile(rules_file, text),)
    found: dict[str, RulesFile] = {}
    for path in sorted(folder.glob("*.rules")) if folder else ():
        text = _read_text(path)
        version, instrument = _directives(text, path)
        is_usable = version is not None and version <= SUPPORTED_VERSION
        if is_usable and instrument in {name.upper() for name in instruments}:
            parse_rules(text, str(path), lenient=True)
            found.setdefault(instrument, RulesFile(str(path), text, instrument))
    return tuple(found.values())


def choose_rules(
    instruments: Mapping[str, str], files: Sequence[RulesFile] = (), *, lenient: bool = False
) -> RuleSet:
    """Return the rules for some instruments, merged in order.

    Parameters
    ----------
    instruments : mapping
        Instrument -> telescope. At least one.
    files : sequence of RulesFile
        Files of the user: the first one for an instrument goes before the packaged rules of the
        instrument, and those before the packaged rules of the telescope.
    lenient : bool
        As for `parse_rules`.

    Raises
    ------
    ParameterError
        When there are no rules for an instrument, or a file is faulty.
    """
    merged, *others = (
        _rules_of(instrument, telescope, files, lenient=lenient)
        for instrument, telescope in instruments.items()
    )
    for other in others:
        merged = merged.merge(other)
    return merged


def default_rules(instrument: str, telescope: str = "") -> RuleSet:
    """Read the packaged rules of an instrument, else those of its telescope.

    Raises
    ------
    ParameterError
        When there are neither.
    """
    folder = resources.files("mosaic.headers") / "rules"
    known = sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".toml"))
    for name in (instrument.lower(), telescope.lower()):
        if name in known:
            return _packaged(name)
    raise ParameterError(
        f"no header rules for instrument {instrument!r} (there are {', '.join(known)}); give rules_file"
    )


def _rules_of(instrument: str, telescope: str, files: Sequence[RulesFile], *, lenient: bool) -> RuleSet:
    """Return the rules of one instrument."""
    for file in files:
        if file.instrument in {"", instrument.upper()}:
            return parse_rules(file.text, file.name, lenient=lenient)
    return default_rules(instrument, telescope)


def _directives(text: str, path: Path) -> tuple[float | None, str]:
    """Return version and instrument a file names; a version that is no number counts as missing."""
    values = {"version": "", "instrument": ""}
    for line in text.splitlines():
        if line.startswith("!"):
            key, _, value = line[1:].partition("=")
            for name in values:
                if name in key.lower():
                    values[name] = value.partition("#")[0].strip()
    try:
        version: float | None = float(values["version"])
    except ValueError:
        version = None
    return version, (values["instrument"] or path.name.partition("_header.rules")[0]).upper()


def _read_text(path: Path) -> str:
    """Read a rules file."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"rules file {path} cannot be read ({error}); check rules_file") from error


def _packaged(name: str) -> RuleSet:
    """Return packaged rules: those they are ``like``, less some, plus what the table names itself."""
    source = resources.files("mosaic.headers") / "rules" / f"{name}.toml"
    table: dict[str, Any] = tomllib.loads(source.read_text(encoding="utf-8"))
    base = _packaged(table["like"]).rules if "like" in table else ()
    values = {
        keyword: _function(function, source.name)
        for function, keywords in table.get("values", {}).items()
        for keyword in keywords.split()
    }
    left_out = set(table.get("without", "").split())
    columns_left_out = left_out | set(table.get("without_columns", "").split())
    columns = [rule for rule in base if rule.action == "column" and rule.source not in columns_left_out]
    columns += [Rule("column", keyword, keyword) for keyword in table.get("columns", "").split()]
    others = [rule for rule in base if rule.action != "column" and rule.target not in left_out | set(values)]
    others += [
        Rule("value", source_keyword, target, _function(function, source.name))
        for source_keyword, target, function in table.get("renamed", [])
    ]
    others += [Rule("value", keyword, keyword, function) for keyword, function in values.items()]
    return RuleSet(source.name, float(table["version"]), table["instrument"], (*columns, *others))


def _parse_version(text: str, place: str) -> float:
    """Return the version of the rules format, if supported."""
    try:
        version = float(text)
    except ValueError:
        raise ParameterError(f"rules file {place}: version {text.strip()!r} is not a number") from None
    if version > SUPPORTED_VERSION:
        raise ParameterError(
            f"rules file {place}: version {version} is newer than the supported {SUPPORTED_VERSION}"
        )
    return version


def _parse_line(line: str, place: str, *, lenient: bool) -> Rule:
    """Turn one line without comment into a rule."""
    is_deletion = _DELETE in line
    body = line.replace(_DELETE, "").strip()
    if "/" in body:
        title = body.split("/")[1].strip()
        if not title:
            raise ParameterError(f"rules file {place}: a section needs a title after '/'")
        return Rule("delete" if is_deletion else "column", title, title, is_section=True)
    words = body.split(None, 2)
    if not words:
        raise ParameterError(f"rules file {place}: {line.strip()!r} names no keyword")
    source = words[0].upper()
    if is_deletion:
        return Rule("delete", source, source)
    if source in _COMMENTARY:
        raise ParameterError(f"rules file {place}: {source} has no value to blend; use '{_DELETE} {source}'")
    target = source if "*" in source or len(words) == 1 else words[1].upper()
    is_known = len(words) > 2 and words[2].strip() in get_args(FunctionName)
    if len(words) < 3 or (lenient and not is_known):
        return Rule("column", source, target)
    return Rule("value", source, target, _function(words[2].strip(), place))


def _function(text: str, place: str) -> FunctionName:
    """Return a checked function name."""
    for name in get_args(FunctionName):
        if text == name:
            return name  # type: ignore[no-any-return]
    raise ParameterError(
        f"rules file {place}: unknown function {text!r}; use one of {', '.join(get_args(FunctionName))}"
    )
