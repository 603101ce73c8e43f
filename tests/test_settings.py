"""Parameters: defaults of the peer, forms of values, precedence, and everything wrong told at once."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mosaic.configfile import read_config
from mosaic.errors import ParameterError
from mosaic.exposure.dq import parse_bits
from mosaic.options import RunOptions, available_memory, count_cores
from mosaic.parameters import apply_step_gating, load_settings
from mosaic.settings import FRAME_PARTS, FRAME_STEPS, WITHOUT_EFFECT_ON_PRODUCTS, Settings
from mosaic.values import format_memory, parse_bits_text, parse_memory, parse_pair

FRAME_DEFAULTS = {"wcs": False, "refimage": ""} | dict.fromkeys(FRAME_PARTS[1:])
PEER_DEFAULTS: dict[str, object] = {
    "mdriztab": False, "runfile": "astrodrizzle.log", "updatewcs": False, "wcskey": "",
    "proc_unit": "native", "coeffs": True, "context": True, "group": "", "build": False, "crbit": 4096,
    "resetbits": "4096", "num_cores": None, "in_memory": False, "rules_file": "",
    "restore": False, "preserve": True, "overwrite": False,
    "static": True, "static_sig": 4.0,
    "skysub": True, "skymethod": "localmin", "skystat": "median", "skywidth": 0.1, "skylower": None,
    "skyupper": None, "skyclip": 5, "skylsigma": 4.0, "skyusigma": 4.0, "skymask_cat": "",
    "use_static": True, "sky_bits": "0", "skyfile": "", "skyuser": "",
    "driz_separate": True, "driz_sep_kernel": "turbo", "driz_sep_wt_scl": "exptime",
    "driz_sep_pixfrac": 1.0, "driz_sep_fillval": None, "driz_sep_bits": "0", "driz_sep_compress": False,
    "median": True, "median_newmasks": True, "combine_maskpt": 0.3, "combine_type": "minmed",
    "combine_nsigma": (4.0, 3.0), "combine_nlow": 0, "combine_nhigh": 0, "combine_lthresh": None,
    "combine_hthresh": None, "combine_grow": 1, "combine_bufsize": None,
    "blot": True, "blot_interp": "poly5", "blot_sinscl": 1.0, "blot_addsky": True, "blot_skyval": 0.0,
    "driz_cr": True, "driz_cr_corr": False, "driz_cr_snr": (3.5, 3.0), "driz_cr_grow": 1,
    "driz_cr_ctegrow": 0, "driz_cr_scale": (1.2, 0.7),
    "driz_combine": True, "final_wht_type": "EXP", "final_kernel": "square", "final_wt_scl": "exptime",
    "final_pixfrac": 1.0, "final_fillval": None, "final_maskval": None, "final_bits": "0",
    "final_units": "cps",
    "gain": None, "gnkeyword": "", "rdnoise": None, "rnkeyword": "", "exptime": None, "expkeyword": "",
    **{f"{step}_{part}": value for step in FRAME_STEPS for part, value in FRAME_DEFAULTS.items()},
}  # fmt: skip
"""Defaults of AstroDrizzle 3.11, transcribed from its documentation and parameter file."""
OUR_DEFAULTS = {
    "stepsize": 0, "clean": True,
    "driz_cr_core": 0.0, "report": True,
    "final_err": False, "frame_padding": "peer", "peer_compat": False, "dq_update": "none",
}  # fmt: skip
"""Where the default differs from AstroDrizzle's on purpose, and what it does not have."""


def test_defaults_are_those_of_the_peer_but_for_the_declared_exceptions() -> None:
    assert Settings().model_dump() == PEER_DEFAULTS | OUR_DEFAULTS


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_parameter_is_described_and_has_a_default(name: str) -> None:
    field = Settings.model_fields[name]
    assert field.description
    assert field.description.endswith((".", ")"))
    assert not field.is_required()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().final_scale = 0.1  # type: ignore[misc]


# Forms of values


@pytest.mark.parametrize("blank", [None, "", " ", "None", "INDEF", "indef"], ids=repr)
@pytest.mark.parametrize(
    ("name", "expected"),
    [("final_scale", None), ("final_outnx", None), ("final_fillval", None), ("skylower", None),
     ("gain", None),
     ("final_bits", None), ("resetbits", "0"), ("final_refimage", ""), ("runfile", ""), ("group", "")],
)  # fmt: skip
def test_every_blank_means_none_given(name: str, blank: object, expected: object) -> None:
    assert getattr(load_settings(**{name: blank}), name) == expected


@pytest.mark.parametrize("name", ["final_pixfrac", "static_sig", "crbit", "stepsize", "final_wt_scl"])
def test_a_required_number_cannot_be_blank(name: str) -> None:
    with pytest.raises(ParameterError, match=rf"^{name} = 'INDEF': .*cannot be blank"):
        load_settings(**{name: "INDEF"})


@pytest.mark.parametrize(
    ("value", "expected"),
    [("4 3", (4.0, 3.0)), ("3.5,3.0", (3.5, 3.0)), ("3.5; 3.0", (3.5, 3.0)), (5, (5.0, 5.0)),
     ("5", (5.0, 5.0)),
     ([4, 2.5], (4.0, 2.5)), ((4, 3), (4.0, 3.0)), (["4", "3"], (4.0, 3.0)), ("[4, 3]", (4.0, 3.0))],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("name", ["combine_nsigma", "driz_cr_snr", "driz_cr_scale"])
def test_pairs_come_as_text_number_or_list(name: str, value: object, expected: tuple[float, float]) -> None:
    assert getattr(load_settings(**{name: value}), name) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [("1 2 3", "there are 3"), ("4 x", "'x' is not a number"), ("nan", "not finite"), ("-1 3", "negative"),
     ("", "numbers are wanted"), (True, "numbers are wanted"), ([None], "not a number")],
)  # fmt: skip
def test_impossible_pairs_are_refused(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_pair(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), ("0", "0"), (336, "336"), ("64,512", "64,512"), ("64 + 512", "64,512"), ("96", "96"),
     ("~64,512", "~64,512"), ("~(64+512)", "~64,512"), (-13, "-13"), ("32768", "32768"), ("64,64", "64,64")],
    ids=repr,
)  # fmt: skip
def test_bits_have_one_canonical_text(value: object, expected: str) -> None:
    assert parse_bits_text(value) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [("3,4", "power of two"), ("0,4", "power of two"), ("65536", "between 1 and 32768"),
     ("a", "integer or a text"),
     ("64,,512", "integer or a text"), ("~(64", "integer or a text"),
     (1.5, "integer or a text"),
     (True, "integer or a text"), ("~-13", "inverted already")],
)  # fmt: skip
def test_bits_that_cannot_be_read_are_refused(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_bits_text(value)


@given(
    exponents=st.lists(st.integers(0, 15), min_size=1),
    joint=st.sampled_from([",", "+", " , "]),
    is_inverted=st.booleans(),
)
def test_canonical_bits_stay_what_they_are(exponents: list[int], joint: str, *, is_inverted: bool) -> None:
    text = ("~" if is_inverted else "") + joint.join(str(1 << exponent) for exponent in exponents)
    canonical = parse_bits_text(text)
    assert canonical is not None
    assert parse_bits_text(canonical) == canonical
    assert [int(part) for part in canonical.lstrip("~").split(",")] == [
        1 << exponent for exponent in exponents
    ]


@given(st.text(alphabet="0123456789,+~()- ", max_size=12))
def test_bits_that_are_accepted_can_be_read_by_the_masks(text: str) -> None:
    try:
        canonical = parse_bits_text(text)
    except ValueError:
        return
    assert (parse_bits(canonical) is None) == (canonical is None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1.5,0,2.5", 2.0), (1.4, 1.4), ("1.4", 1.4), ([0, 3], 3.0), ((2, 2), 2.0)],
    ids=repr,
)
def test_instrument_values_are_averaged_without_zeros(value: object, expected: float) -> None:
    assert load_settings(gain=value).gain == expected


@pytest.mark.parametrize(
    ("value", "expected"), [("EXPTIME", "exptime"), ("expsq", "expsq"), ("2.5", 2.5), (3, 3.0)], ids=repr
)
def test_weight_scale_is_a_word_or_a_factor(value: object, expected: object) -> None:
    assert load_settings(final_wt_scl=value).final_wt_scl == expected


def test_choices_ignore_case() -> None:
    settings = load_settings(final_kernel="Gaussian", final_wht_type="ivm", skymethod="GlobalMin+Match")
    assert (settings.final_kernel, settings.final_wht_type, settings.skymethod) == (
        "gaussian",
        "IVM",
        "globalmin+match",
    )


@pytest.mark.parametrize("kernel", ["square", "point", "turbo", "gaussian", "lanczos3", "lanczos2", "tophat"])
def test_every_kernel_is_accepted_in_both_steps(kernel: str) -> None:
    settings = load_settings(driz_sep_kernel=kernel, final_kernel=kernel)
    assert settings.driz_sep_kernel == settings.final_kernel == kernel


@pytest.mark.parametrize("interpolator", ["nearest", "linear", "poly3", "poly5", "sinc", "lan3", "lan5"])
def test_every_interpolator_is_accepted(interpolator: str) -> None:
    assert load_settings(blot_interp=interpolator).blot_interp == interpolator


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("final_kernel", "sqare", "'square', 'point'"),
        ("combine_type", "average", "'minmed'"),
        ("final_pixfrac", 1.5, "less than or equal to 1"),
        ("final_pixfrac", -0.1, "greater than or equal to 0"),
        ("final_pixfrac", float("nan"), "finite"),
        ("final_scale", -0.05, "greater than 0"),
        ("final_scale", float("inf"), "finite"),
        ("driz_cr_grow", 0, "greater than or equal to 1"),
        ("combine_grow", -1, "greater than or equal to 0"),
        ("static_sig", 0, "greater than 0"),
        ("stepsize", -1, "greater than or equal to 0"),
        ("crbit", 65536, "less than or equal to 65535"),
        ("crbit", True, "truth value"),
        ("final_dec", 91, "less than or equal to 90"),
        ("final_wt_scl", -2, "greater than 0|'exptime'"),
        ("final_fillval", float("inf"), "finite, or NaN"),
        ("group", "sci;2", "selected as"),
        ("gain", "0,0", "differ from zero"),
        ("gain", "-1", "negative"),
        ("build", "maybe", "boolean"),
        ("final_outnx", 10.5, "integer"),
    ],
)
def test_nonsense_is_refused_with_name_and_value(name: str, value: object, message: str) -> None:
    with pytest.raises(ParameterError, match=message) as caught:
        load_settings(**{name: value})
    assert f"{name} = {value!r}" in str(caught.value)


def test_nan_is_a_possible_filling() -> None:
    settings = load_settings(final_fillval="nan")
    assert settings.final_fillval != settings.final_fillval
    assert json.loads(settings.canonical_json())["final_fillval"] == "NaN"


# What excludes each other


@pytest.mark.parametrize("step", FRAME_STEPS)
@pytest.mark.parametrize(("first", "second"), [("outnx", "outny"), ("ra", "dec"), ("crpix1", "crpix2")])
def test_frame_pairs_are_both_or_neither(step: str, first: str, second: str) -> None:
    pair = {f"{step}_{first}": 10, f"{step}_{second}": 20}
    assert load_settings(**pair)
    for absent in pair:
        rest = {name: value for name, value in pair.items() if name != absent}
        with pytest.raises(ParameterError, match=rf"go together: {absent} is missing"):
            load_settings(**rest)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"skylower": 3, "skyupper": 3}, "skylower = 3 must be less than skyupper = 3"),
        ({"combine_lthresh": 3, "combine_hthresh": 1}, "combine_lthresh = 3 must be less than"),
        ({"gain": 2, "gnkeyword": "ATODGNA"}, "give gain or gnkeyword, not both"),
    ],
)
def test_contradictions_are_refused(names: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        load_settings(**names)


# Everything at once


def test_all_problems_are_told_in_one_line() -> None:
    with pytest.raises(ParameterError) as caught:
        load_settings(
            None,
            ["foo", "final_scal=3"],
            final_kernel="sqare",
            final_outnx=3,
            skylower=3,
            skyupper=2,
            input="x",
        )
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("6 problems")
    parts = (
        "'foo' is not of the form NAME=VALUE",
        "unknown parameter final_scal (did you mean final_scale",
        "final_kernel = 'sqare'",
        "final_outny is missing",
        "skylower = 3",
        "input is not a parameter",
    )
    for part in parts:
        assert part in text


def test_a_pair_with_an_impossible_member_is_not_called_incomplete() -> None:
    with pytest.raises(ParameterError) as caught:
        load_settings(final_outnx="wide", final_outny=20)
    assert "go together" not in str(caught.value)


def test_a_hopeless_name_gets_no_suggestion() -> None:
    with pytest.raises(ParameterError, match=r"^unknown parameter zzzz$"):
        load_settings(zzzz=1)


@pytest.mark.parametrize("value", [False, None, ""], ids=repr)
def test_editpars_is_ignored_as_long_as_it_asks_for_nothing(value: object) -> None:
    assert load_settings(editpars=value) == Settings()
    with pytest.raises(ParameterError, match="wcsmap is not supported"):
        load_settings(wcsmap=object)


# Sources and their precedence


@pytest.mark.parametrize("step", FRAME_STEPS)
@pytest.mark.parametrize("part", FRAME_PARTS)
def test_a_frame_given_directly_switches_itself_on_but_not_from_a_file(
    step: str, part: str, tmp_path: Path
) -> None:
    partner = {
        "outnx": "outny",
        "outny": "outnx",
        "ra": "dec",
        "dec": "ra",
        "crpix1": "crpix2",
        "crpix2": "crpix1",
    }
    names = {f"{step}_{name}": 12 for name in (part, partner.get(part)) if name}
    other = "final" if step == "driz_sep" else "driz_sep"
    file = tmp_path / "frame.toml"
    file.write_text("".join(f"{name} = {value}\n" for name, value in names.items()), encoding="utf-8")
    for settings in (load_settings(**names), load_settings(None, [f"{n}={v}" for n, v in names.items()])):
        assert getattr(settings, f"{step}_wcs") is True
        assert getattr(settings, f"{other}_wcs") is False
    assert getattr(load_settings(file), f"{step}_wcs") is False
    assert getattr(load_settings(file), f"{step}_{part}") in {12, "12"}


def test_keywords_win_over_assignments_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("skyclip = 1\nstatic_sig = 1.0\nskylsigma = 1.0\n", encoding="utf-8")
    settings = load_settings(file, ["static_sig=2", "skylsigma=2"], skylsigma=3)
    assert (settings.skyclip, settings.static_sig, settings.skylsigma) == (1, 2.0, 3.0)


CFG = """\
_task_name_ = astrodrizzle#
input = "*flt.fits"# Input files (name, suffix, or @list)
output = ''
runfile = 'my run.log' # text with a blank
wcskey = ""
stepsize = 10
driz_sep_outnx = 99 ; 1
# a comment = no entry

[STATE OF INPUT FILES]
clean = False
[STEP 2: SUBTRACT SKY]
skyuser = "@sky#1.txt"# the sign is part of the text
skylower = INDEF
skyupper = None
[STEP 4: CREATE MEDIAN IMAGE]
    [[nested]]
combine_nsigma = 5 4
driz_cr_scale = 1.5, 0.5
[STEP 7: DRIZZLE FINAL COMBINED IMAGE]
final_bits = 64, 512
final_scale = 0.04
[ _RULES_ ]
_rule1_ = string(default='')
anything goes here
"""


def test_a_drizzlepac_file_is_read_with_sections_comments_quotes_and_blanks(tmp_path: Path) -> None:
    file = tmp_path / "astrodrizzle.cfg"
    file.write_text(CFG.replace("driz_sep_outnx = 99 ; 1\n", ""), encoding="utf-8")
    config = read_config(file)
    assert (config.inputs, config.output, config.problems) == (("*flt.fits",), "", ())
    settings = load_settings(file)
    assert settings == Settings(
        runfile="my run.log", stepsize=10, clean=False, skyuser="@sky#1.txt", combine_nsigma=(5.0, 4.0),
        driz_cr_scale=(1.5, 0.5), final_bits="64,512", final_scale=0.04, final_wcs=False,
    )  # fmt: skip


def test_tables_of_toml_only_group(tmp_path: Path) -> None:
    flat, grouped = tmp_path / "flat.toml", tmp_path / "grouped.toml"
    flat.write_text(
        "input = ['a.fits', 'b.fits']\nbuild = true\nfinal_bits = 96\nfinal_fillval = ''\n", encoding="utf-8"
    )
    grouped.write_text(
        "input = 'a.fits,b.fits'\nbuild = true\n['STEP 7: DRIZZLE']\nfinal_bits = '96'\n"
        "[x.y]\nfinal_fillval = 'INDEF'\n",
        encoding="utf-8",
    )
    assert load_settings(flat) == load_settings(grouped) == Settings(build=True, final_bits="96")
    assert read_config(flat).inputs == ("a.fits", "b.fits")
    assert read_config(grouped).inputs == ("a.fits,b.fits",)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "final_scale = = 3", "not valid TOML"),
        ("a.toml", "[a]\nbuild = true\n[b]\nbuild = false", "build is given twice"),
        ("a.cfg", "just words\nfinal_scal = 3", "line 1 is neither.*unknown parameter final_scal"),
        ("a.cfg", "build = yes\nbuild = no", "build is given twice"),
    ],
)
def test_unreadable_files_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ParameterError, match=message):
        load_settings(file)


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"absent\.cfg: cannot be read \(No such file"):
        load_settings(tmp_path / "absent.cfg")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ParameterError, match="not UTF-8 text"):
        load_settings(binary)


# The digest of a plan


@pytest.mark.parametrize("name", sorted(WITHOUT_EFFECT_ON_PRODUCTS))
def test_parameters_without_effect_leave_the_canonical_text_alone(name: str) -> None:
    changed = {"runfile": "other", "num_cores": 3, "combine_bufsize": 2.0}.get(
        name, not getattr(Settings(), name)
    )
    assert load_settings(**{name: changed}).canonical_json() == Settings().canonical_json()


def test_equal_settings_have_equal_canonical_texts_and_others_differ() -> None:
    first = load_settings(None, ["final_bits=64+512", "combine_nsigma=4"])
    second = load_settings(combine_nsigma=[4, 4], final_bits="64, 512")
    assert first.canonical_json() == second.canonical_json()
    assert first.canonical_json() != load_settings(combine_nsigma=4).canonical_json()
    assert Settings.model_validate_json(Settings().model_dump_json()) == Settings()


# Steps that depend on each other


@pytest.mark.parametrize("flags", list(itertools.product([False, True], repeat=4)))
def test_steps_needed_by_others_are_switched_on(flags: tuple[bool, ...]) -> None:
    separate, median, blot, rejection = flags
    settings = load_settings(driz_separate=separate, median=median, blot=blot, driz_cr=rejection)
    gated, notes = apply_step_gating(settings, 4)
    expected = (any(flags), any(flags[1:]), any(flags[2:]), rejection)
    assert (gated.driz_separate, gated.median, gated.blot, gated.driz_cr) == expected
    assert len(notes) == sum(expected) - sum(flags)
    assert apply_step_gating(gated, 4) == (gated, ())


@pytest.mark.parametrize("is_separate", [False, True])
def test_one_exposure_has_no_median_and_keeps_its_separate_drizzle(*, is_separate: bool) -> None:
    gated, notes = apply_step_gating(load_settings(driz_separate=is_separate), 1)
    assert (gated.driz_separate, gated.median, gated.blot, gated.driz_cr) == (
        is_separate,
        False,
        False,
        False,
    )
    assert notes[0] == "median switched off: there is only one exposure"
    assert len(notes) == 3


@pytest.mark.parametrize(
    ("combine_type", "n_exposures", "is_on"),
    [("median", 3, False), ("mean", 3, False), ("median", 4, True), ("minmed", 3, True), ("sum", 3, True)],
)
def test_dropping_every_value_switches_the_rejection_off(
    *, combine_type: str, n_exposures: int, is_on: bool
) -> None:
    settings = load_settings(combine_type=combine_type, combine_nlow=1, combine_nhigh=2)
    gated, notes = apply_step_gating(settings, n_exposures)
    assert (gated.median, gated.blot, gated.driz_cr) == (is_on, is_on, is_on)
    assert gated.driz_separate
    assert bool(notes) is not is_on


def test_gating_keeps_a_custom_frame_of_a_step_it_switches_on() -> None:
    gated, _ = apply_step_gating(load_settings(driz_separate=False, driz_sep_scale=0.1), 2)
    assert gated.driz_separate
    assert (gated.driz_sep_wcs, gated.driz_sep_scale) == (True, 0.1)


# How to run


@pytest.mark.parametrize(
    ("value", "expected"),
    [("2GiB", 2**31), ("2 gib", 2**31), ("2G", 2**31), ("1.5 GB", 1_500_000_000), ("800M", 800 * 2**20),
     ("512MB", 512_000_000), (4096, 4096), ("4096", 4096), ("4096 B", 4096), (".5k", 512), ("1TiB", 2**40)],
    ids=repr,
)  # fmt: skip
def test_memory_sizes_are_read_in_binary_and_decimal_units(value: object, expected: int) -> None:
    assert parse_memory(value) == expected


@pytest.mark.parametrize("value", ["", "much", "2GiBB", "-1G", "0", 0, "1e9", None, True, "2 X"], ids=repr)
def test_impossible_memory_sizes_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"a size is|larger than nothing"):
        parse_memory(value)


@given(st.integers(1, 2**50))
def test_memory_is_written_so_that_it_reads_back_close(n_bytes: int) -> None:
    # Whole KiB and MiB and hundredths of GiB: at most half a unit of one is lost.
    assert parse_memory(format_memory(n_bytes)) == pytest.approx(n_bytes, rel=0.5)


def test_default_options_fit_the_machine() -> None:
    options = RunOptions()
    assert options.cores == count_cores() >= 1
    assert 0 < options.memory < available_memory() * 1.5
    assert (options.tile, options.scheduler, options.on_error, options.restart) == (
        1024,
        "threads",
        "stop",
        False,
    )


def test_wrong_options_are_told_at_once() -> None:
    with pytest.raises(ParameterError, match=r"^5 problems.*memory = 'x'.*") as caught:
        RunOptions.resolve(memory="x", tile=3, scheduler="foo", on_error="go", cores=0, restart=None)
    for part in ("tile = 3", "threads, processes, serial,", "on_error = 'go'", "cores = 0"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("scheduler", "is_cluster"),
    [("threads", False), ("serial", False), ("tcp://host:8786", True), ("host:8786", True)],
)
def test_an_address_is_a_cluster(scheduler: str, *, is_cluster: bool) -> None:
    assert RunOptions(scheduler=scheduler).is_cluster is is_cluster
