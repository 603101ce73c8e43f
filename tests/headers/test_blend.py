from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from mosaic.headers.blend import ChipHeaders, blend_headers
from mosaic.headers.rulesets import parse_rules

RULES = parse_rules(
    """!VERSION = 1.1
ROOTNAME
EXTVER
EXPTIME
FILTER
CCDAMP
PHOTFLAM
WRTERR
NCOMBINE
NOWHERE
SUNANGLE ANGLE
EXPTIME EXPTIME sum
EXPTIME TEXPTIME sum
EXPSTART EXPSTART min
EXPEND EXPEND max
FILTER FILTER multi
CCDAMP CCDAMP multi?
PHOTFLAM PHOTFLAM mean
NCOMBINE NCOMBINE sum
SCATTER SCATTER stddev
LTM1_1 LTM1_1 float_one
ONE ONE int_one
NIL NIL zero
TARGNAME TARGNAME first
LASTNAME LASTNAME last
<delete> LINENUM
""",
    "test.rules",
)


def primary(rootname: str, **changes: object) -> fits.Header:
    header = fits.Header()
    header["NEXTEND"] = 6
    header["ROOTNAME"] = rootname
    header["TARGNAME"] = f"target of {rootname}"
    header["LASTNAME"] = rootname
    header["EXPTIME"] = 100.0
    header["EXPSTART"] = 55000.5
    header["EXPEND"] = 55000.6
    header["FILTER"] = "F606W"
    header["WRTERR"] = True
    header["LINENUM"] = "01.001"
    header["SUNANGLE"] = 80.0
    for keyword, value in changes.items():
        header[keyword] = value
    return header


def science(extver: int, **changes: object) -> fits.Header:
    header = fits.Header()
    header["EXTNAME"] = "SCI"
    header["EXTVER"] = extver
    header["CCDAMP"] = "AB"
    header["PHOTFLAM"] = 1.0e-19
    header["LTM1_1"] = 2.0
    header["BUNIT"] = "ELECTRONS"
    for keyword, value in changes.items():
        header[keyword] = value
    return header


def chip(head: fits.Header, sci: fits.Header) -> ChipHeaders:
    err, dq = sci.copy(), sci.copy()
    err["EXTNAME"], dq["EXTNAME"] = "ERR", "DQ"
    return ChipHeaders(head, sci, err, dq)


def two_exposures() -> list[ChipHeaders]:
    first = primary("first", EXPTIME=100.0, EXPSTART=55000.5, EXPEND=55000.6)
    second = primary("second", EXPTIME=30.0, EXPSTART=55000.1, EXPEND=55000.2, FILTER="F814W")
    return [
        chip(first, science(1, NCOMBINE=1, PHOTFLAM=1.0e-19, SCATTER=1.0)),
        chip(first, science(2, NCOMBINE=1, PHOTFLAM=2.0e-19, CCDAMP="CD", SCATTER=3.0)),
        chip(second, science(1, NCOMBINE=2, PHOTFLAM=3.0e-19, ONE=7, NIL=7)),
    ]


def test_primary_values_aggregate_over_exposures_not_chips() -> None:
    header = blend_headers(two_exposures(), RULES).primary
    assert header["EXPTIME"] == header["TEXPTIME"] == 130.0
    assert (header["EXPSTART"], header["EXPEND"]) == (55000.1, 55000.6)
    assert header["FILTER"] == "MULTIPLE"
    assert (header["TARGNAME"], header["LASTNAME"]) == ("target of first", "second")


def test_extension_values_aggregate_over_all_chips() -> None:
    header = blend_headers(two_exposures(), RULES).sci
    assert header["NCOMBINE"] == 4
    assert header["PHOTFLAM"] == np.mean([1.0e-19, 2.0e-19, 3.0e-19])
    assert header["CCDAMP"] == "?"
    assert header["SCATTER"] == 1.0  # of 1 and 3
    assert (header["LTM1_1"], header["ONE"], header["NIL"]) == (1.0, 1, 0)


def test_keyword_without_rule_is_that_of_the_first_input() -> None:
    blended = blend_headers(two_exposures(), RULES)
    assert blended.primary["NEXTEND"] == 6
    assert blended.sci["BUNIT"] == "ELECTRONS"


def test_keyword_of_a_column_leaves_the_header_unless_a_function_keeps_it() -> None:
    blended = blend_headers(two_exposures(), RULES)
    assert {"ROOTNAME", "WRTERR", "SUNANGLE", "LINENUM"}.isdisjoint(blended.primary)
    assert "EXPTIME" in blended.primary
    assert "EXTVER" not in blended.sci


def test_weights_and_contexts_come_from_err_and_dq_and_claim_no_unit() -> None:
    blended = blend_headers(two_exposures(), RULES)
    assert (blended.wht["EXTNAME"], blended.ctx["EXTNAME"]) == ("ERR", "DQ")
    assert blended.wht["BUNIT"] == blended.ctx["BUNIT"] == "UNITLESS"


def test_table_has_a_row_for_each_chip_and_a_column_for_each_rule_in_order() -> None:
    made = blend_headers(two_exposures(), RULES).table
    assert made is not None
    table = made.as_hdu()
    assert table.name == "HDRTAB"
    assert table.columns.names == [
        *("ROOTNAME", "EXTVER", "EXPTIME", "FILTER", "CCDAMP"),
        *("PHOTFLAM", "WRTERR", "NCOMBINE", "NOWHERE", "ANGLE"),
    ]
    assert table.columns.formats == ["6A", "K", "D", "5A", "2A", "D", "L", "K", "D", "D"]
    rows = table.data
    assert list(rows["ROOTNAME"]) == ["first", "first", "second"]
    assert list(rows["EXPTIME"]) == [100.0, 100.0, 30.0]
    assert list(rows["EXTVER"]) == [1, 2, 1]
    assert list(rows["CCDAMP"]) == ["AB", "CD", "AB"]
    assert list(rows["ANGLE"]) == [80.0, 80.0, 80.0]
    assert np.isnan(rows["NOWHERE"]).all()


def with_missing_values() -> list[ChipHeaders]:
    chips = two_exposures()
    del chips[2].primary["FILTER"], chips[2].primary["EXPTIME"], chips[2].sci["NCOMBINE"]
    chips[1].primary["EXPTIME"] = fits.card.Undefined()  # the same header as that of the first chip
    return chips


def test_a_value_missing_for_some_chips_is_marked_without_changing_the_type() -> None:
    made = blend_headers(with_missing_values(), RULES).table
    assert made is not None
    table = made.as_hdu()
    assert list(table.data["FILTER"]) == ["F606W", "F606W", ""]
    assert np.isnan(table.data["EXPTIME"]).all()
    column = table.columns["NCOMBINE"]
    assert (column.format, list(table.data["NCOMBINE"])) == ("K", [1, 1, column.null])


def test_a_missing_value_makes_numbers_floats_and_text_nan_for_parity() -> None:
    # fitsblender 0.4.4: numpy types [1, 1, nan] as float64, ["F606W", "F606W", nan] as 32 characters.
    made = blend_headers(with_missing_values(), RULES, peer_compat=True).table
    assert made is not None
    table = made.as_hdu()
    assert (table.columns["FILTER"].format, list(table.data["FILTER"])) == ("32A", ["F606W", "F606W", "nan"])
    assert table.columns["NCOMBINE"].format == "D"
    np.testing.assert_array_equal(table.data["NCOMBINE"], [1.0, 1.0, np.nan])
    assert "TCOMM1" not in table.header


def test_comments_of_the_keywords_describe_the_columns() -> None:
    chips = two_exposures()
    chips[1].sci.comments["CCDAMP"] = "amplifiers"
    chips[2].primary.comments["EXPTIME"] = "exposure duration"
    made = blend_headers(chips, RULES).table
    assert made is not None
    table = made.as_hdu()
    comments = {name: table.header.get(f"TCOMM{i}") for i, name in enumerate(table.columns.names, start=1)}
    assert {name: text for name, text in comments.items() if text} == {
        "CCDAMP": "amplifiers",
        "EXPTIME": "exposure duration",
    }


def test_a_renamed_column_takes_its_keyword_out_of_the_header() -> None:
    rules = parse_rules("!VERSION=1.1\nSUNANGLE LINENUM\n", "x")
    header = blend_headers(two_exposures(), rules).primary
    assert "SUNANGLE" not in header
    assert "LINENUM" in header
    # fitsblender 0.4.4 removes the keyword called like the column instead.
    header = blend_headers(two_exposures(), rules, peer_compat=True).primary
    assert "SUNANGLE" in header
    assert "LINENUM" not in header


def test_text_takes_no_part_in_arithmetic() -> None:
    chips = two_exposures()
    chips[0].sci["PHOTFLAM"] = "N/A"
    assert blend_headers(chips, RULES).sci["PHOTFLAM"] == pytest.approx(2.5e-19, rel=1e-15)
    for each in chips:
        each.sci["PHOTFLAM"] = "N/A"
    assert blend_headers(chips, RULES).sci["PHOTFLAM"] == "N/A"


def test_interleaved_chips_keep_the_order_of_first_appearance() -> None:
    one, two, three = two_exposures()
    header = blend_headers([one, three, two], RULES).primary
    assert (header["TARGNAME"], header["LASTNAME"]) == ("target of first", "second")
    assert header["EXPTIME"] == 130.0


def test_later_rule_for_the_same_keyword_wins() -> None:
    rules = parse_rules("!VERSION=1.1\nEXPTIME EXPTIME sum\nEXPTIME EXPTIME max\n", "x")
    assert blend_headers(two_exposures(), rules).primary["EXPTIME"] == 100.0


def test_rules_without_columns_give_no_table() -> None:
    assert blend_headers(two_exposures(), parse_rules("!VERSION=1.1\n", "x")).table is None


def section_header() -> fits.Header:
    header = primary("first")
    header.append(("", "/ SCAN KEYWORDS"), end=True)
    header.append("", end=True)
    header.append(("SCAN_TYP", "N"), end=True)
    header.append(("SCAN_WID", 1.5), end=True)
    header.append("", end=True)
    header.append(("", "/ OTHER KEYWORDS"), end=True)
    header.append(("KEPT", "a/b"), end=True)
    header.add_history("made / by hand")
    return header


def test_section_moves_to_the_table_with_its_title() -> None:
    chips = [chip(section_header(), science(1))]
    blended = blend_headers(chips, parse_rules("!VERSION=1.1\n/ SCAN KEYWORDS\n", "x"))
    assert blended.table is not None
    assert blended.table.names == ("SCAN_TYP", "SCAN_WID")
    assert "SCAN_TYP" not in blended.primary
    assert "KEPT" in blended.primary
    assert "/ SCAN KEYWORDS" not in list(blended.primary.values())
    assert "/ OTHER KEYWORDS" in list(blended.primary.values())


def test_section_can_be_deleted() -> None:
    chips = [chip(section_header(), science(1))]
    blended = blend_headers(chips, parse_rules("!VERSION=1.1\n<delete> / SCAN KEYWORDS\n", "x"))
    assert blended.table is None
    assert {"SCAN_TYP", "SCAN_WID"}.isdisjoint(blended.primary)
    assert "KEPT" in blended.primary


def test_pattern_stands_for_the_keywords_of_the_first_header_that_has_any() -> None:
    chips = [chip(section_header(), science(1, SCANNED=1))]
    blended = blend_headers(chips, parse_rules("!VERSION=1.1\nSCAN_*\nEXP* EXP* first\n", "x"))
    assert blended.table is not None
    assert blended.table.names == ("SCAN_TYP", "SCAN_WID")
    assert blended.primary["EXPTIME"] == 100.0


def test_inputs_are_not_modified() -> None:
    chips = two_exposures()
    before = [repr(header) for each in chips for header in (each.primary, each.sci, each.err, each.dq)]
    blend_headers(chips, RULES)
    assert before == [
        repr(header) for each in chips for header in (each.primary, each.sci, each.err, each.dq)
    ]


def test_rules_of_all_instruments_that_occur_are_merged() -> None:
    acs = chip(primary("first", INSTRUME="ACS"), science(1))
    wfc3 = chip(primary("second", INSTRUME="WFC3"), science(1))
    assert blend_headers([acs, acs, wfc3]).rules.instrument == "ACS,WFC3"
    # ACS rules move BUNIT into the table; those of WFC3 keep it.
    assert "BUNIT" not in blend_headers([acs]).sci
    assert blend_headers([acs, wfc3]).sci["BUNIT"] == "ELECTRONS"


def test_parity_looks_for_instruments_among_as_many_chips_as_there_are_exposures() -> None:
    # fitsblender 0.4.4 on [WFC3, WFPC2 x 4, ACS]: three exposures, so the rules of ACS are not found.
    wfpc2 = primary("second", INSTRUME="WFPC2")
    chips = [
        chip(primary("first", INSTRUME="WFC3"), science(1)),
        *(chip(wfpc2, science(extver)) for extver in (1, 2, 3, 4)),
        chip(primary("third", INSTRUME="ACS"), science(1)),
    ]
    assert blend_headers(chips).rules.instrument == "WFC3,WFPC2,ACS"
    assert blend_headers(chips, peer_compat=True).rules.instrument == "WFC3,WFPC2"


def test_a_deleted_pattern_goes_from_every_header() -> None:
    chips = [chip(section_header(), science(1, SCANNED=1))]
    blended = blend_headers(chips, parse_rules("!VERSION=1.1\n<delete> SCAN*\n", "x"))
    assert {"SCAN_TYP", "SCAN_WID"}.isdisjoint(blended.primary)
    assert "SCANNED" not in blended.sci


def test_blending_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one chip"):
        blend_headers([], RULES)


def test_exposures_without_rootname_are_told_apart_by_file_name() -> None:
    heads = [primary("", FILENAME=name) for name in ("a_flt.fits", "b_flt.fits")]
    header = blend_headers([chip(head, science(1)) for head in heads], RULES).primary
    assert header["EXPTIME"] == 200.0
