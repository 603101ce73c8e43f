from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mosaic.errors import ParameterError
from mosaic.headers.rulesets import (
    Rule,
    RulesFile,
    choose_rules,
    default_rules,
    find_rules_files,
    parse_rules,
)

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


def test_label_changes_with_any_rule_and_shows_no_folder() -> None:
    label = parse_rules(TEXT, "/home/someone/my.rules").label
    assert label.startswith("my.rules sha256:")
    assert "/" not in label
    assert parse_rules(TEXT, "my.rules").label == label
    assert parse_rules(TEXT.replace("sum", "max"), "my.rules").label != label
    assert parse_rules(TEXT + "# another comment\n", "my.rules").label == label


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
        ("!VERSION = 1.1\n!TELESCOPE = HST\n", "line 2: unknown directive '!TELESCOPE = HST'"),
        ("!VERSION = 1.1\nHISTORY\n", "line 2: HISTORY has no value to blend; use '<delete> HISTORY'"),
    ],
)
def test_a_faulty_rules_file_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message.replace("(", r"\(")):
        parse_rules(text, "bad.rules")


def test_what_drizzlepac_ignores_is_ignored_when_asked() -> None:
    # DrizzlePac 3.11 with fitsblender 0.4.4: a function it does not know makes the line a table column.
    text = "!VERSION = 1.1\n!TELESCOPE = HST\nEXPTIME TOTAL median\n"
    assert parse_rules(text, "x", lenient=True).rules == (Rule("column", "EXPTIME", "TOTAL"),)


def test_a_missing_rules_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"none\.rules cannot be read"):
        find_rules_files(str(tmp_path / "none.rules"), ["ACS"])


def write_rules(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")


def test_a_named_file_is_for_all_instruments_and_the_folder_is_not_searched(tmp_path: Path) -> None:
    write_rules(tmp_path, "mine.rules", "!VERSION = 1.1\n!INSTRUMENT = ACS\nA\n")
    write_rules(tmp_path, "a.rules", "!VERSION = 1.1\n!INSTRUMENT = ACS\nB\n")
    files = find_rules_files(str(tmp_path / "mine.rules"), ["ACS", "WFC3"], tmp_path)
    chosen = choose_rules({"WFC3": "HST", "ACS": "HST"}, files)
    assert chosen.rules == (Rule("column", "A", "A"),)
    assert find_rules_files("", ["ACS"]) == ()


def test_local_files_are_chosen_as_drizzlepac_chooses_them(tmp_path: Path) -> None:
    # In alphabetical order, version at most 1.1, of the instrument by its directive or by its name.
    write_rules(tmp_path, "a_new.rules", "!VERSION = 1.2\n!INSTRUMENT = ACS\nNEWER\n")
    write_rules(tmp_path, "b_none.rules", "!INSTRUMENT = ACS\nNOVERSION\n")
    write_rules(tmp_path, "c_first.rules", "!VERSION = 1.0\n!INSTRUMENT = acs\nTAKEN\n")
    write_rules(tmp_path, "d_second.rules", "!VERSION = 1.1\n!INSTRUMENT = ACS\nLATER\n")
    write_rules(tmp_path, "wfc3_header.rules", "!VERSION = 1.1\nBYNAME\n")
    write_rules(tmp_path, "z_unnamed.rules", "!VERSION = 1.1\nNOBODY\n")
    files = find_rules_files("", ["ACS", "WFC3", "STIS"], tmp_path)
    assert [(Path(file.name).name, file.instrument) for file in files] == [
        ("c_first.rules", "ACS"),
        ("wfc3_header.rules", "WFC3"),
    ]
    chosen = choose_rules({"WFC3": "HST", "ACS": "HST"}, files)
    assert [rule.source for rule in chosen.rules] == ["BYNAME", "TAKEN"]
    assert choose_rules({"STIS": "HST"}, files) == default_rules("STIS")


def test_a_job_keeps_the_text_and_not_the_file(tmp_path: Path) -> None:
    write_rules(tmp_path, "mine.rules", "!VERSION = 1.1\nA\n")
    files = find_rules_files(str(tmp_path / "mine.rules"), ["ACS"])
    (tmp_path / "mine.rules").unlink()
    assert files == (RulesFile(str(tmp_path / "mine.rules"), "!VERSION = 1.1\nA\n"),)
    assert choose_rules({"ACS": "HST"}, files).name == "mine.rules"


@pytest.mark.parametrize(
    ("instrument", "version", "n_columns", "columns", "n_values", "values"),
    # Of the rules files of fitsblender 0.4.4: lines of one or two words joined by blanks in their order, and
    # lines of three words sorted and joined by commas; first 16 digits of the SHA-256 of either.
    [
        ("acs", 1.1, 293, "525ceec5634b5ac0", 142, "3ad4c642988832dd"),
        ("wfc3", 1.1, 276, "b73a96c4d6e9b5d1", 196, "b4b25f5fc297fc0a"),
        ("stis", 1.0, 275, "d0c97c4ec4148f0a", 195, "628232c24e370635"),
        ("nicmos", 1.0, 275, "d0c97c4ec4148f0a", 195, "628232c24e370635"),
        ("wfpc2", 1.0, 274, "34cdcf69c9e59111", 195, "11f8beafc4d1ab1e"),
        ("hst", 1.1, 312, "5cbc658f8c9b5bd9", 141, "30b7ddfb6a62db6e"),
    ],
)
def test_packaged_rules_are_those_of_drizzlepac(
    instrument: str, version: float, n_columns: int, columns: str, n_values: int, values: str
) -> None:
    ruleset = default_rules(instrument)
    lines = [str(rule) for rule in ruleset.rules]
    in_table = [line for line in lines if len(line.split()) < 3]
    in_header = sorted(line for line in lines if len(line.split()) == 3)
    assert (ruleset.version, len(in_table), len(in_header)) == (version, n_columns, n_values)
    assert hashlib.sha256(" ".join(in_table).encode()).hexdigest()[:16] == columns
    assert hashlib.sha256(",".join(in_header).encode()).hexdigest()[:16] == values


def test_an_instrument_without_rules_gets_those_of_its_telescope() -> None:
    assert default_rules("FOC", "HST").name == "hst.toml"
    with pytest.raises(ParameterError, match=r"no header rules for instrument 'FOC' \(there are acs, hst"):
        default_rules("FOC", "JWST")
