"""Arguments of AstroDrizzle: forms of input and configobj, DrizzlePac's defaults, which value wins."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from configobj import ConfigObj

from mosaic.compat.arguments import parse_call, read_configobj, resolve_inputs
from mosaic.errors import ParameterError
from mosaic.settings import Settings

PARAMETER_FILE = """\
_task_name_ = astrodrizzle
input = "*flt.fits"
output = ""
runfile = "astrodrizzle.log"
coeffs = True
stepsize = 10
resetbits = "4096"
num_cores = None

[STATE OF INPUT FILES]
clean = False

[STEP 2: SKY SUBTRACTION]
skylower = INDEF
sky_bits = 64, 512          # a list without quotes

[STEP 4: CREATE MEDIAN IMAGE]
combine_nsigma = 4 3
combine_type = 'imedian'

[STEP 7a: CUSTOM WCS FOR FINAL OUTPUT]
final_wcs = False
final_scale = 0.04

[INSTRUMENT PARAMETERS]
gain = "1.0","1.4"

[ _RULES_ ]
_rule1_ = from x import y; OUT = "it's not, a value
"""
"""The layout that DrizzlePac's editor writes, with what people do to it."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("b_flt.fits", "a_flt.fits", "c_flc.fits"):
        fits.PrimaryHDU().writeto(name)
    return tmp_path


def _names(paths: tuple[str, ...]) -> list[str]:
    return [Path(path).name for path in paths]


def test_values_not_given_are_those_of_drizzlepac(folder: Path) -> None:
    settings = parse_call("a_flt.fits", None, {}).settings
    # Transcribed from the parameter file of DrizzlePac 3.11 where `Settings` differs.
    assert (settings.stepsize, settings.clean, settings.preserve) == (10, False, True)
    assert (settings.dq_update, settings.peer_compat) == ("inplace", True)
    assert settings.sources["stepsize"] == "AstroDrizzle"


def test_keywords_win_over_the_file_and_the_file_over_the_defaults(folder: Path) -> None:
    (folder / "p.cfg").write_text(PARAMETER_FILE)
    call = parse_call("a_flt.fits", "p.cfg", {"combine_type": "median", "output": "x"})
    assert call.settings.combine_type == "median"
    assert call.settings.combine_nsigma == (4.0, 3.0)
    assert call.settings.sky_bits == "64,512"
    assert call.settings.gain == pytest.approx(1.2)
    assert call.settings.skylower is None
    assert call.output == "x"
    assert call.settings.sources["combine_type"] == "argument"
    assert call.settings.sources["sky_bits"] == "file p.cfg"
    assert "skyclip" not in call.settings.sources


def test_a_frame_is_switched_on_by_a_keyword_and_not_by_a_file(folder: Path) -> None:
    (folder / "p.cfg").write_text(PARAMETER_FILE)
    assert parse_call("a_flt.fits", "p.cfg", {}).settings.final_wcs is False
    switched = parse_call("a_flt.fits", "p.cfg", {"final_rot": 0.0, "driz_sep_scale": None}).settings
    assert switched.final_wcs is True
    assert switched.driz_sep_wcs is True
    assert switched.final_scale == 0.04


@pytest.mark.parametrize("form", ["path", "Path", "ConfigObj", "dict", "defaults"])
def test_a_configobj_may_have_any_form(folder: Path, form: str) -> None:
    (folder / "p.cfg").write_text(PARAMETER_FILE)
    text = PARAMETER_FILE.partition("[ _RULES_ ]")[0]
    made: dict[str, object] = {
        "path": "p.cfg",
        "Path": folder / "p.cfg",
        "ConfigObj": ConfigObj(text.splitlines()),
        "dict": ConfigObj(text.splitlines()).dict(),
        "defaults": "defaults",
    }
    call = parse_call(None, made[form], {})
    assert _names(call.files) == ["a_flt.fits", "b_flt.fits"]
    assert call.settings.combine_type == "imedian"
    assert call.settings.gain == pytest.approx(1.2)


def test_the_saved_parameters_are_the_newest_of_this_task(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = folder / "home"
    (home / ".teal").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    assert not read_configobj("defaults").parameters
    (home / ".teal" / "astrodrizzle.cfg").write_text("_task_name_ = astrodrizzle\nbuild = True\n")
    assert read_configobj("defaults").parameters == {"build": "True"}
    for age, (name, task, value) in enumerate(
        [("c.cfg", "tweakreg", 1), ("b.cfg", "astrodrizzle", 2), ("a.cfg", "astrodrizzle", 3)]
    ):
        (folder / name).write_text(f"_task_name_ = {task}\ncrbit = {value}\n")
        os.utime(folder / name, (1e9 - age, 1e9 - age))
    assert read_configobj("defaults").parameters == {"crbit": "2"}


def test_sections_among_the_keywords_only_group(folder: Path) -> None:
    call = parse_call(
        "a_flt.fits", None, {"STEP 1: STATIC MASK": {"static": False}, "STEP 7": {"final_scale": 0.05}}
    )
    assert call.settings.static is False
    assert call.settings.final_wcs is True
    with pytest.raises(ParameterError, match="static is given twice"):
        parse_call("a_flt.fits", None, {"static": True, "STEP 1": {"static": False}})


def test_everything_wrong_is_told_at_once_with_near_names(folder: Path) -> None:
    (folder / "bad.cfg").write_text("_task_name_ = astrodrizzle\njust words\nclean = 'no\nfinal_scal = 3\n")
    with pytest.raises(ParameterError) as caught:
        parse_call("a_flt.fits", "bad.cfg", {"final_pixfrc": 0.8, "blot": "perhaps"})
    text = str(caught.value)
    for part in (
        "line 2 is neither 'name = value' nor a section",
        "line 3: the value cannot be read",
        "unknown parameter final_scal (did you mean final_scale",
        "unknown parameter final_pixfrc (did you mean final_pixfrac",
        "blot = 'perhaps'",
    ):
        assert part in text
    with pytest.raises(ParameterError, match=r"absent\.cfg: cannot be read"):
        parse_call("a_flt.fits", "absent.cfg", {})
    with pytest.raises(ParameterError, match="configobj is int"):
        parse_call("a_flt.fits", 3, {})
    (folder / "other.cfg").write_text("_task_name_ = tweakreg\nnclip = 3\n")
    with pytest.raises(
        ParameterError, match=r"^other\.cfg holds parameters of tweakreg, not of astrodrizzle$"
    ):
        parse_call("a_flt.fits", "other.cfg", {})


def test_texts_are_sorted_and_lists_keep_their_order(folder: Path) -> None:
    assert _names(resolve_inputs("b_flt.fits,a_flt.fits")[1]) == ["a_flt.fits", "b_flt.fits"]
    assert _names(resolve_inputs("*.fits")[0]) == ["a_flt.fits", "b_flt.fits", "c_flc.fits"]
    assert _names(resolve_inputs(["c_flc.fits", Path("a_flt.fits")])[1]) == ["c_flc.fits", "a_flt.fits"]
    (folder / "list").write_text("b_flt.fits b_ivm.fits\na_flt.fits a_ivm.fits\n")
    entries, files = resolve_inputs("@list")
    assert entries == ("@list",)
    assert _names(files) == ["b_flt.fits", "a_flt.fits"]
    for nothing in ("zzz*.fits", [], ["absent_flt.fits"]):
        with pytest.raises(ParameterError, match="no input"):
            resolve_inputs(nothing)
    with pytest.raises(ParameterError, match="input is int"):
        resolve_inputs(3)


def test_an_association_keeps_its_order(folder: Path) -> None:
    names = np.array(["B", "A", "ABC010"])
    kinds = np.array(["EXP-DTH", "EXP-DTH", "PROD-DTH"])
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("MEMNAME", "14A", array=names),
            fits.Column("MEMTYPE", "14A", array=kinds),
            fits.Column("MEMPRSNT", "L", array=np.array([True, True, True])),
        ]
    )
    fits.HDUList([fits.PrimaryHDU(), table]).writeto("visit_asn.fits")
    call = parse_call("visit_asn.fits", None, {})
    assert (call.inputs, call.output) == (("visit_asn.fits",), "")
    assert _names(call.files) == ["b_flt.fits", "a_flt.fits"]


def test_cores_follow_num_cores_and_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_call("a_flt.fits", None, {"num_cores": 3}).cores == 3
    assert parse_call("a_flt.fits", None, {}).cores is None
    monkeypatch.setenv("ASTRODRIZ_NO_PARALLEL", "1")
    assert parse_call("a_flt.fits", None, {"num_cores": 3}).cores == 1


def test_every_default_of_ours_that_differs_is_a_parameter() -> None:
    assert {"stepsize", "clean", "dq_update", "peer_compat"} <= set(Settings.model_fields)
