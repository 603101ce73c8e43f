"""Parameter files that are written: they give the same parameters back, and say where each came from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from configobj import ConfigObj
from hypothesis import given
from hypothesis import strategies as st

from mosaic.configfile import read_config
from mosaic.errors import OutputError
from mosaic.parameters import ParameterLayer, combine_layers, load_settings
from mosaic.provenance import format_cfg, format_toml, write_parameter_file
from mosaic.settings import Settings

CHANGES: dict[str, Any] = {
    "runfile": 'a "quoted" name.log',
    "build": True,
    "final_bits": None,
    "driz_sep_bits": "~64,512",
    "combine_nsigma": (5.0, 2.5),
    "final_wcs": True,
    "final_scale": 0.1 + 0.2,
    "final_fillval": float("-1e-30"),
    "gain": 1.5,
    "num_cores": 3,
    "final_wt_scl": 0.25,
    "skyfile": "sky, of.txt",
}


def test_both_forms_give_the_same_parameters_back(tmp_path: Path) -> None:
    settings = Settings.model_validate(CHANGES)
    for name, text in (
        ("a.toml", format_toml(settings, ["x.fits", "y.fits"], "m51", "title")),
        ("a.cfg", format_cfg(settings, "x.fits,y.fits", "m51")),
    ):
        path = tmp_path / name
        write_parameter_file(path, text)
        assert load_settings(path) == settings
        assert read_config(path).output == "m51"
    assert read_config(tmp_path / "a.toml").inputs == ("x.fits", "y.fits")
    assert not list(tmp_path.glob(".*"))


@given(scale=st.floats(1e-6, 1e6), fill=st.floats(allow_infinity=False, width=32))
def test_numbers_survive_exactly(tmp_path_factory: pytest.TempPathFactory, scale: float, fill: float) -> None:
    settings = Settings(final_scale=scale, final_fillval=fill)
    folder = tmp_path_factory.mktemp("numbers")
    for name, text in (("a.toml", format_toml(settings)), ("a.cfg", format_cfg(settings))):
        (folder / name).write_text(text)
        found = load_settings(folder / name)
        assert found.final_scale == scale
        same = found.final_fillval == fill
        assert same or (
            math.isnan(fill) and found.final_fillval is not None and math.isnan(found.final_fillval)
        )


def test_a_cfg_has_the_sections_of_drizzlepac_and_only_its_names(tmp_path: Path) -> None:
    parsed = ConfigObj(format_cfg(Settings()).splitlines())
    # Section titles and some of their members, as the parameter file of DrizzlePac 3.11 has them.
    assert parsed["_task_name_"] == "astrodrizzle"
    assert list(parsed.sections) == [
        "STATE OF INPUT FILES", "STEP 1: STATIC MASK", "STEP 2: SKY SUBTRACTION",
        "STEP 3: DRIZZLE SEPARATE IMAGES", "STEP 3a: CUSTOM WCS FOR SEPARATE OUTPUTS",
        "STEP 4: CREATE MEDIAN IMAGE", "STEP 5: BLOT BACK THE MEDIAN IMAGE",
        "STEP 6: REMOVE COSMIC RAYS WITH DERIV, DRIZ_CR", "STEP 7: DRIZZLE FINAL COMBINED IMAGE",
        "STEP 7a: CUSTOM WCS FOR FINAL OUTPUT", "INSTRUMENT PARAMETERS", "_RULES_",
    ]  # fmt: skip
    members = {
        "STATE OF INPUT FILES": ["restore", "preserve", "overwrite", "clean"],
        "STEP 1: STATIC MASK": ["static", "static_sig"],
        "STEP 5: BLOT BACK THE MEDIAN IMAGE": [
            "blot", "blot_interp", "blot_sinscl", "blot_addsky", "blot_skyval",
        ],
        "INSTRUMENT PARAMETERS": ["gain", "gnkeyword", "rdnoise", "rnkeyword", "exptime", "expkeyword"],
    }  # fmt: skip
    for section, names in members.items():
        assert list(parsed[section]) == names
    ours = {"mdriztab", "updatewcs", "final_err", "frame_padding", "peer_compat", "dq_update"}
    assert not ours & {name for section in parsed.values() if isinstance(section, dict) for name in section}
    assert not ours & set(parsed.scalars)


def test_every_value_has_its_source(tmp_path: Path) -> None:
    file = tmp_path / "run.cfg"
    file.write_text("skyclip = 3\nfinal_scale = 0.1\nbuild = yes\n")
    settings = load_settings(file, ["final_rot=0"], build=False)
    lines = dict(line.split("  # ") for line in format_toml(settings).splitlines())
    by_name = {
        entry.split(" = ")[0]: (entry.split(" = ")[1].strip(), source) for entry, source in lines.items()
    }
    assert by_name["skyclip"] == ("3", "file run.cfg")
    assert by_name["final_scale"] == ("0.1", "file run.cfg")
    assert by_name["build"] == ("false", "argument")
    assert by_name["final_rot"] == ("0.0", "argument")
    assert by_name["final_wcs"] == ("true", "argument final_*")
    assert by_name["final_bits"] == ('"0"', "default")
    assert set(by_name) == set(Settings.model_fields)


def test_sources_do_not_make_settings_differ() -> None:
    one = combine_layers([ParameterLayer("table", {"build": True})])
    other = combine_layers([ParameterLayer("argument", {"build": "yes"})])
    assert one == other
    assert hash(one) == hash(other)
    assert one != Settings()
    assert one != "text"
    assert one.canonical_json() == other.canonical_json()
    assert one.model_copy(update={"clean": False}).sources == {"build": "table"}
    assert dict(one.from_sources({"clean": "x"}).sources) == {"build": "table", "clean": "x"}
    assert "clean" not in one.sources


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(OutputError, match=r"taken/p\.toml: cannot be written \(File exists"):
        write_parameter_file(tmp_path / "taken" / "p.toml", "x")
