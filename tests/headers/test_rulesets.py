from __future__ import annotations

from pathlib import Path

import pytest

from mosaic.errors import ParameterError
from mosaic.headers.rulesets import Rule, default_rules, parse_rules, read_rules

TEXT = """!VERSION = 1.1
!INSTRUMENT = acs
# a comment
ROOTNAME
ROOTNAME
PA_V3 PA_ORIG
EXPTIME  TEXPTIME  sum   # total
date-obs DATE-OBS first
FILTER*  FILTER*   multi?
<delete> LINENUM
<delete> / DIAGNOSTIC
/ SCAN KEYWORDS
 IGNORED because of the leading blank

"""


def test_every_form_of_a_line_becomes_the_rule_it_says() -> None:
    ruleset = parse_rules(TEXT, "my.rules")
    assert (ruleset.version, ruleset.instrument, ruleset.name) == (1.1, "ACS", "my.rules")
    assert ruleset.rules == (
        Rule("column", "ROOTNAME", "ROOTNAME"),
        Rule("column", "PA_V3", "PA_ORIG"),
        Rule("value", "EXPTIME", "TEXPTIME", "sum"),
        Rule("value", "DATE-OBS", "DATE-OBS", "first"),
        Rule("value", "FILTER*", "FILTER*", "multi?"),
        Rule("delete", "LINENUM", "LINENUM"),
        Rule("delete", "DIAGNOSTIC", "DIAGNOSTIC", is_section=True),
        Rule("column", "SCAN KEYWORDS", "SCAN KEYWORDS", is_section=True),
    )


def test_printed_rules_parse_back_to_the_same_rules() -> None:
    ruleset = parse_rules(TEXT, "my.rules")
    text = "\n".join(["!VERSION=1.1", *map(str, ruleset.rules)])
    assert parse_rules(text, "again").rules == ruleset.rules


def test_summary_names_every_keyword_once_and_fits_history_cards() -> None:
    lines = parse_rules(TEXT, "my.rules").summary()
    assert "sum: EXPTIME>TEXPTIME" in lines
    assert "HDRTAB: ROOTNAME PA_V3>PA_ORIG /SCAN KEYWORDS/" in lines
    assert "deleted: LINENUM /DIAGNOSTIC/" in lines
    assert max(map(len, default_rules("ACS").summary())) <= 70


def test_merging_appends_only_rules_that_are_new() -> None:
    first = parse_rules("!VERSION=1.0\nA\nB\n", "one")
    second = parse_rules("!VERSION=1.1\nB\nC\nA A sum\n", "two")
    merged = first.merge(second)
    assert [str(rule) for rule in merged.rules] == ["A", "B", "C", "A A sum"]
    assert (merged.name, merged.version) == ("one,two", 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A\n", "has no line '!VERSION = 1.1'"),
        ("!VERSION = 1.2\nA\n", "version 1.2 is newer than the supported 1.1"),
        ("!VERSION = new\nA\n", "version 'new' is not a number"),
        ("!VERSION = 1.1\nA A median\n", "line 2: unknown function 'median'; use one of first, last"),
        ("!VERSION = 1.1\nA\n<delete>\n", "line 3: '<delete>' names no keyword"),
        ("!VERSION = 1.1\n/\n", "line 2: a section needs a title"),
    ],
)
def test_a_faulty_rules_file_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message.replace("(", r"\(")):
        parse_rules(text, "bad.rules")


def test_a_missing_rules_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"none\.rules cannot be read"):
        read_rules(tmp_path / "none.rules")


def test_rules_are_read_from_the_file_that_was_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.rules"
    path.write_text("!VERSION = 1.1\nA\n", encoding="utf-8")
    assert read_rules(path).rules == (Rule("column", "A", "A"),)


def test_packaged_rules_hold_the_published_aggregations() -> None:
    # Number of HDRTAB columns and key aggregations as DrizzlePac documents them.
    acs, wfc3 = default_rules("ACS"), default_rules("wfc3")
    assert sum(rule.action == "column" for rule in acs.rules) == 293
    for ruleset in (acs, wfc3):
        values = {(rule.source, rule.target): rule.function for rule in ruleset.rules if rule.function}
        assert values["EXPTIME", "EXPTIME"] == values["EXPTIME", "TEXPTIME"] == "sum"
        assert (values["EXPSTART", "EXPSTART"], values["EXPEND", "EXPEND"]) == ("min", "max")
        assert {values[key, key] for key in ("PHOTFLAM", "PHOTPLAM", "PHOTZPT", "PHOTBW")} == {"mean"}
        assert values["LTM1_1", "LTM1_1"] == "float_one"
        assert values["WCSNAME", "WCSNAME"] == "first"
    assert Rule("column", "BUNIT", "BUNIT") in acs.rules
    assert Rule("value", "BUNIT", "BUNIT", "first") in wfc3.rules


def test_an_instrument_without_rules_is_named() -> None:
    with pytest.raises(ParameterError, match=r"no header rules for instrument 'COS' \(there are acs, wfc3"):
        default_rules("COS")
