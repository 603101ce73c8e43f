"""Blend the headers of all chips into the headers of one product and the table HDRTAB.

Covers the aggregation of keyword values by rules: pure, headers in, headers and table out. Does not
cover what drizzling itself adds or removes (`mosaic.headers.product`). Values of PRIMARY keywords are
aggregated over exposures (unique ROOTNAME), those of extensions over all chips; HDRTAB has one row per
chip.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from astropy.io import fits
from astropy.io.fits.card import Undefined

from mosaic.headers.hdrtab import HeaderTable, build_table
from mosaic.headers.keywords import set_value
from mosaic.headers.rulesets import FunctionName, Rule, RuleSet, choose_rules

Value: TypeAlias = Any  # str, bool, int, float or complex: what a FITS card can hold
_STRUCTURE = ("XTENSION", "PCOUNT", "GCOUNT")
_UNITLESS: Mapping[str, Value] = MappingProxyType({"BUNIT": "UNITLESS"})
"""Weights and contexts are not in the unit of their templates."""


@dataclass(frozen=True, slots=True)
class ChipHeaders:
    """The headers that describe one chip."""

    primary: fits.Header
    """Primary header of its exposure."""
    sci: fits.Header
    """Its SCI extension."""
    err: fits.Header
    """Its ERR extension, or the SCI extension again when there is none."""
    dq: fits.Header
    """Its DQ extension, or the SCI extension again when there is none."""

    @property
    def rootname(self) -> str:
        """What tells exposures apart: ROOTNAME, else FILENAME."""
        for keyword in ("ROOTNAME", "FILENAME"):
            value = self.primary.get(keyword)
            if isinstance(value, str) and value.strip():
                return value.strip()
        return ""

    @property
    def instrument(self) -> str:
        """INSTRUME in upper case, empty when absent."""
        return str(self.primary.get("INSTRUME", "")).strip().upper()

    @property
    def telescope(self) -> str:
        """TELESCOP in upper case, empty when absent."""
        return str(self.primary.get("TELESCOP", "")).strip().upper()


@dataclass(frozen=True, slots=True)
class BlendedHeaders:
    """Headers of a product before drizzling's own keywords are added."""

    primary: fits.Header
    """From the PRIMARY headers, one per exposure."""
    sci: fits.Header
    """From the SCI headers."""
    wht: fits.Header
    """From the ERR headers, BUNIT set to UNITLESS."""
    ctx: fits.Header
    """From the DQ headers, BUNIT set to UNITLESS."""
    table: HeaderTable | None
    """HDRTAB; None when the rules ask for no column."""
    rules: RuleSet
    """The rules that were applied."""
    removed: frozenset[str] = frozenset()
    """Keywords that the rules take out of the headers, unless a function puts them back."""


def blend_headers(
    chips: Sequence[ChipHeaders], rules: RuleSet | None = None, *, peer_compat: bool = False
) -> BlendedHeaders:
    """Blend the headers of the chips of a product.

    Parameters
    ----------
    chips : sequence of ChipHeaders
        Chips in drizzle order; the first one is the template. At least one. Not modified. Read twice
        from begin to end and not kept, so that a sequence may read its files as it goes.
    rules : RuleSet, optional
        Rules to apply; by default the packaged rules of the instruments that occur, merged.
    peer_compat : bool
        As in DrizzlePac: missing values of HDRTAB, the keyword that leaves the headers for a renamed
        column, and rules of only those instruments that are among the first chips, as many as there are
        exposures.
    """
    if not chips:
        raise ValueError("blending needs the headers of at least one chip")
    exposures, examples = _survey(chips, peer_compat=peer_compat)
    ruleset = rules or choose_rules({chip.instrument: chip.telescope for chip in examples})
    expanded = _expand(ruleset, examples, peer_compat=peer_compat)
    kinds = [_Gathered(expanded) for _kind in ("primary", "sci", "wht", "ctx")]
    rows: dict[str, list[Value | None]] = {name: [] for name in expanded.columns}
    comments: dict[str, str] = {}
    for index, chip in enumerate(chips):
        if index in exposures:
            kinds[0].add(chip.primary, {})
        kinds[1].add(chip.sci, {})
        kinds[2].add(chip.err, _UNITLESS)
        kinds[3].add(chip.dq, _UNITLESS)
        for name, keyword in expanded.columns.items():
            header, value = chip.primary, _value(chip.primary, keyword)
            if value is None:
                header, value = chip.sci, _value(chip.sci, keyword)
            rows[name].append(value)
            if not comments.get(name) and keyword in header:
                comments[name] = header.comments[keyword]
    primary, sci, wht, ctx = (gathered.blend() for gathered in kinds)
    table = build_table(rows, comments, peer_compat=peer_compat)
    removed = expanded.moved | expanded.deletions
    return BlendedHeaders(primary, sci, wht, ctx, table, ruleset, removed)


@dataclass(frozen=True, slots=True)
class _Expanded:
    """Rules with sections and patterns replaced by the keywords they stand for."""

    columns: Mapping[str, str]
    """Column of HDRTAB -> keyword."""
    values: tuple[tuple[str, str, FunctionName], ...]
    """(keyword, keyword of the product, function), in order: the last one for a target wins."""
    moved: frozenset[str]
    """Keywords that a column takes out of the headers, unless a function puts them back."""
    deletions: frozenset[str]
    """Keywords dropped without trace."""
    titles: tuple[str, ...]
    """Titles of the sections that are emptied, to be removed as well."""


class _Gathered:
    """Values of one kind of header: the first header, and what the rules ask of all of them."""

    def __init__(self, rules: _Expanded) -> None:
        self._rules = rules
        self._template: fits.Header | None = None
        self._values: dict[str, list[Value]] = {keyword: [] for keyword, _target, _name in rules.values}

    def add(self, header: fits.Header, overrides: Mapping[str, Value]) -> None:
        """Take the values of one more header, some of them overridden."""
        if self._template is None:
            self._template = header.copy()
            for keyword in _STRUCTURE:
                self._template.remove(keyword, ignore_missing=True, remove_all=True)
            for keyword, value in overrides.items():
                self._template[keyword] = value
        for keyword, values in self._values.items():
            value = overrides.get(keyword, _value(header, keyword))
            if value is not None:
                values.append(value)

    def blend(self) -> fits.Header:
        """Return the first header with keywords moved, dropped and aggregated."""
        blended: dict[str, Value] = {}
        for keyword, target, function in self._rules.values:
            present = self._values[keyword]
            result = _FUNCTIONS[function](present) if present else None
            if result is not None:
                blended[target] = result
        header = fits.Header() if self._template is None else self._template
        for position in reversed(range(len(header))):
            text = str(header[position]).strip()
            if text.startswith("/") and any(title in text for title in self._rules.titles):
                del header[position]
        for keyword in (self._rules.moved - set(blended)) | self._rules.deletions:
            header.remove(keyword, ignore_missing=True, remove_all=True)
        for keyword, value in blended.items():
            set_value(header, keyword, value)
        return header


def _survey(chips: Sequence[ChipHeaders], *, peer_compat: bool) -> tuple[frozenset[int], list[ChipHeaders]]:
    """Return the positions of the first chip of each exposure, and the first chip of each instrument."""
    exposures: dict[str, int] = {}
    instruments: dict[str, tuple[int, ChipHeaders]] = {}
    for index, chip in enumerate(chips):
        if exposures.setdefault(chip.rootname, index) == index:
            instruments.setdefault(chip.instrument, (index, chip))
    n_surveyed = len(exposures) if peer_compat else len(chips)
    examples = [chip for index, chip in instruments.values() if index < n_surveyed]
    return frozenset(exposures.values()), examples


def _expand(ruleset: RuleSet, examples: Sequence[ChipHeaders], *, peer_compat: bool) -> _Expanded:
    """Replace sections and patterns by keywords, looking at one chip of each instrument."""
    headers = [header for chip in examples for header in (chip.primary, chip.sci, chip.err, chip.dq)]
    columns: dict[str, str] = {}
    values: list[tuple[str, str, FunctionName]] = []
    deletions: set[str] = set()
    titles: list[str] = []
    for rule in ruleset.rules:
        if rule.is_section:
            titles.append(rule.source)
        if rule.action == "delete":
            deletions.update(keyword for header in headers for keyword in _keywords(rule, [header]))
            continue
        for keyword in _keywords(rule, headers):
            target = keyword if rule.is_section or "*" in rule.source else rule.target
            if rule.function is not None:
                values.append((keyword, target, rule.function))
            else:
                columns.setdefault(target, keyword)
    moved = frozenset(columns) if peer_compat else frozenset(columns.values())
    return _Expanded(MappingProxyType(columns), tuple(values), moved, frozenset(deletions), tuple(titles))


def _keywords(rule: Rule, headers: Iterable[fits.Header]) -> list[str]:
    """Return the keywords a rule stands for, from the first header that has any."""
    if not rule.is_section and "*" not in rule.source:
        return [rule.source]
    for header in headers:
        found = _section(header, rule.source) if rule.is_section else _matching(header, rule.source)
        if found:
            return found
    return []


def _matching(header: fits.Header, pattern: str) -> list[str]:
    """Return the keywords that match a pattern with ``*``."""
    expression = re.compile(re.escape(pattern).replace(r"\*", ".*"))
    return list(dict.fromkeys(keyword for keyword in header if keyword and expression.fullmatch(keyword)))


def _section(header: fits.Header, title: str) -> list[str]:
    """Return the keywords between the card that carries the title and the next title."""
    found: list[str] = []
    is_inside = False
    for card in header.cards:
        is_title = card.keyword == "" and str(card.value).strip().startswith("/")
        if is_inside and (is_title or card.keyword == "HISTORY"):
            break
        if is_inside and card.keyword not in ("", "COMMENT"):
            found.append(card.keyword)
        is_inside = is_inside or (is_title and title in str(card.value))
    return list(dict.fromkeys(found))


def _value(header: fits.Header, keyword: str) -> Value | None:
    """Return the value of a keyword, None when absent or undefined."""
    value = header.get(keyword)
    return None if isinstance(value, Undefined) else value


def _numbers(values: Sequence[Value]) -> list[Value]:
    """Return the numbers among the values: text such as N/A takes no part in arithmetic."""
    return [value for value in values if not isinstance(value, str)]


def _arithmetic(function: Callable[[Any], Any]) -> Callable[[Sequence[Value]], Value | None]:
    """Return a function of the numbers among the values; the first value when there is no number."""

    def reduce_numbers(values: Sequence[Value]) -> Value | None:
        numbers = _numbers(values)
        return function(numbers).item() if numbers else values[0]

    return reduce_numbers


def _common(otherwise: str) -> Callable[[Sequence[Value]], Value]:
    """Return a function that gives the common value, or a stand-in when there is none."""

    def common_value(values: Sequence[Value]) -> Value:
        return values[0] if all(value == values[0] for value in values) else otherwise

    return common_value


_FUNCTIONS: Mapping[FunctionName, Callable[[Sequence[Value]], Value | None]] = MappingProxyType(
    {
        "first": lambda values: values[0],
        "last": lambda values: values[-1],
        "min": _arithmetic(np.min),
        "max": _arithmetic(np.max),
        "mean": _arithmetic(np.mean),
        "sum": _arithmetic(np.sum),
        "stddev": _arithmetic(np.std),
        "multi": _common("MULTIPLE"),
        "multi?": _common("?"),
        "int_one": lambda _values: 1,
        "float_one": lambda _values: 1.0,
        "zero": lambda _values: 0,
    }
)
