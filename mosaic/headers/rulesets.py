"""Blending rules: which keyword goes to a column of HDRTAB, and which function makes its product value.

Covers the rules files of DrizzlePac (text) and the packaged rules (TOML). Does not apply them:
that is `mosaic.headers.blend`. A rules file is used only when it is named; nothing is picked up from
the current folder.
"""

from __future__ import annotations

import textwrap
import tomllib
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
    """Name for the RULEFILE keyword."""
    version: float
    """Version of the rules format (RULESVER)."""
    instrument: str
    """Instrument in upper case, empty when the file names none."""
    rules: tuple[Rule, ...]
    """Rules in order: columns of HDRTAB follow it."""

    def summary(self) -> list[str]:
        """Return the rules in a few lines, for the HISTORY of the product."""
        groups: dict[str, list[str]] = {}
        for rule in self.rules:
            source = f"/{rule.source}/" if rule.is_section else rule.source
            is_renamed = rule.target != rule.source and not rule.is_section
            heading = rule.function or {"column": "HDRTAB", "delete": "deleted"}[rule.action]
            groups.setdefault(heading, []).append(f"{source}>{rule.target}" if is_renamed else source)
        lines: list[str] = []
        for heading, words in groups.items():
            lines += textwrap.wrap(f"{heading}: {' '.join(words)}", 70, break_on_hyphens=False)
        return lines

    def merge(self, other: RuleSet) -> RuleSet:
        """Return these rules followed by those of `other` that are not among them."""
        extra = tuple(rule for rule in other.rules if rule not in self.rules)
        return replace(
            self,
            name=f"{self.name},{other.name}",
            instrument=f"{self.instrument},{other.instrument}",
            rules=self.rules + extra,
        )


def parse_rules(text: str, name: str) -> RuleSet:
    """Parse the text of a rules file.

    Parameters
    ----------
    text : str
        Lines ``KEYWORD``, ``KEYWORD COLUMN``, ``KEYWORD TARGET function``, ``<delete> KEYWORD``; a
        ``/ TITLE`` in place of the keyword stands for a section. ``!VERSION = v`` and
        ``!INSTRUMENT = name`` describe the file, ``#`` begins a comment. Lines that begin with a
        blank are ignored.
    name : str
        Name of the file, for messages and for RULEFILE.

    Raises
    ------
    ParameterError
        When the version is newer than 1.1 or missing, or a line is not a rule.
    """
    version: float | None = None
    instrument = ""
    rules: dict[Rule, None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("!"):
            key, _, value = line[1:].partition("=")
            if "version" in key.lower():
                version = _parse_version(value, name)
            elif "instrument" in key.lower():
                instrument = value.strip().upper()
            continue
        content = line.partition("#")[0].rstrip()
        if content and not content[0].isspace():
            rules[_parse_line(content, f"{name} line {number}")] = None
    if version is None:
        raise ParameterError(f"rules file {name} has no line '!VERSION = {SUPPORTED_VERSION}'; add it")
    return RuleSet(name, version, instrument, tuple(rules))


_STAND_IN = {"STIS": "WFC3", "NICMOS": "WFC3"}
"""Instruments without rules of their own, and whose rules are taken."""


def read_rules(path: str | Path) -> RuleSet:
    """Read a rules file in DrizzlePac's text format."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"rules file {path} cannot be read ({error}); check rules_file") from error
    return parse_rules(text, str(path))


def default_rules(instrument: str) -> RuleSet:
    """Read the packaged rules of an instrument."""
    folder = resources.files("mosaic.headers") / "rules"
    source = folder / f"{_STAND_IN.get(instrument, instrument).lower()}.toml"
    if not source.is_file():
        known = sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".toml"))
        raise ParameterError(
            f"no header rules for instrument {instrument!r} (there are {', '.join(known)}); give rules_file"
        )
    return _parse_table(tomllib.loads(source.read_text(encoding="utf-8")), source.name)


def _parse_table(table: dict[str, Any], name: str) -> RuleSet:
    """Turn a packaged rules table into rules."""
    rules = [Rule("column", keyword, keyword) for keyword in table["columns"].split()]
    rules += [
        Rule("value", source, target, _function(function, name))
        for source, target, function in table["renamed"]
    ]
    for function, keywords in table["values"].items():
        checked = _function(function, name)
        rules += [Rule("value", keyword, keyword, checked) for keyword in keywords.split()]
    return RuleSet(name, float(table["version"]), table["instrument"], tuple(rules))


def _parse_version(text: str, name: str) -> float:
    """Return the version of the rules format, if supported."""
    try:
        version = float(text)
    except ValueError:
        raise ParameterError(f"rules file {name}: version {text.strip()!r} is not a number") from None
    if version > SUPPORTED_VERSION:
        raise ParameterError(
            f"rules file {name}: version {version} is newer than the supported {SUPPORTED_VERSION}"
        )
    return version


def _parse_line(line: str, place: str) -> Rule:
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
    target = source if "*" in source or len(words) == 1 else words[1].upper()
    if len(words) < 3:
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
