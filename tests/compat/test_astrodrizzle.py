"""What a script sees that calls AstroDrizzle: files by name, inputs updated and archived, products."""

from __future__ import annotations

import logging
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

import mosaic.compat
from mosaic.compat import astrodrizzle
from mosaic.errors import OutputError, ParameterError
from mosaic.headers.update_wcs import UpdatedInputs

BITS: dict[str, Any] = {"driz_sep_bits": "64,16", "final_bits": "64,16", "num_cores": 1}


def _files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _roots(visit: list[Path]) -> list[str]:
    return [path.name.removesuffix("_flc.fits") for path in visit]


@pytest.fixture(scope="module")
def kept_run(
    originals: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Path], set[str]]:
    """One run with everything kept: its folder, its inputs, and the files that were there before."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for path in originals:
            (folder / path.name).write_bytes(path.read_bytes())
        before = _files(folder)
        astrodrizzle.AstroDrizzle("*_flc.fits", output="visit", driz_cr_corr=True, **BITS)
    return folder, [folder / path.name for path in originals], before


def test_the_module_stands_for_drizzlepacs() -> None:
    assert mosaic.compat.astrodrizzle is astrodrizzle
    assert {"AstroDrizzle", "run", "help", "getHelpAsString", "PYTHON_WCSMAP"} <= set(dir(astrodrizzle))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mosaic.compat.nothing  # noqa: B018


def test_files_have_drizzlepacs_names(kept_run: tuple[Path, list[Path], set[str]]) -> None:
    folder, inputs, before = kept_run
    # The names that DrizzlePac 3.11 leaves behind with clean=False, build=False, driz_cr_corr=True.
    expected = {"visit_drc_sci.fits", "visit_drc_wht.fits", "visit_drc_ctx.fits", "visit_med.fits"}
    expected |= {f"_96x140_{chip}_staticMask.fits" for chip in (1, 2)} | {"OrIg_files", "astrodrizzle.log"}
    for root in _roots(inputs):
        expected |= {f"{root}_single_sci.fits", f"{root}_single_wht.fits", f"{root}_crclean.fits"}
        for chip in (1, 2):
            expected |= {
                f"{root}_sci{chip}_{end}.fits" for end in ("blt", "crmask", "single_mask", "final_mask")
            }
            expected.add(f"{root}_skymatch_mask_sci{chip}.fits")
    assert _files(folder) - before - expected == {"visit_drc_parameters.toml"}
    assert expected <= _files(folder)
    assert _files(folder / "OrIg_files") == {path.name for path in inputs}


def test_inputs_get_the_cosmic_rays_and_the_sky_and_nothing_else(
    kept_run: tuple[Path, list[Path], set[str]], originals: list[Path]
) -> None:
    folder, inputs, _ = kept_run
    n_hits = 0
    for path, original in zip(inputs, originals, strict=True):
        archived = folder / "OrIg_files" / path.name
        assert archived.read_bytes() == original.read_bytes()
        assert stat.S_IMODE(archived.stat().st_mode) & 0o222 == 0
        root = path.name.removesuffix("_flc.fits")
        with fits.open(path) as new, fits.open(original) as old:
            for chip in (1, 2):
                mask = fits.getdata(folder / f"{root}_sci{chip}_crmask.fits")
                changed = np.where(mask == 0, old["DQ", chip].data | 4096, old["DQ", chip].data & ~4096)
                np.testing.assert_array_equal(new["DQ", chip].data, changed)
                np.testing.assert_array_equal(new["SCI", chip].data, old["SCI", chip].data)
                n_hits += int((mask == 0).sum())
                differing = set(
                    fits.HeaderDiff(old["SCI", chip].header, new["SCI", chip].header).diff_keywords[0]
                )
                assert differing <= {"MDRIZSKY"}
                assert new["SCI", chip].header["MDRIZSKY"] > 0.0
    assert n_hits > 50


def test_the_sky_is_the_lower_of_the_two_chip_medians(
    kept_run: tuple[Path, list[Path], set[str]], originals: list[Path]
) -> None:
    folder, inputs, _ = kept_run
    original = originals[0]
    root = inputs[0].name.removesuffix("_flc.fits")
    medians = []
    for chip in (1, 2):
        is_good = fits.getdata(folder / f"{root}_skymatch_mask_sci{chip}.fits") == 1
        values = fits.getdata(original, ("SCI", chip))[is_good].astype(np.float64)
        for _ in range(5):
            mean, sigma = values.mean(), values.std(ddof=1)
            values = values[np.abs(values - mean) <= 4.0 * sigma]
        medians.append(np.median(values))
    # Both chips have one natural scale: brightness and value are proportional; clipping in single precision.
    assert fits.getval(inputs[0], "MDRIZSKY", ("SCI", 1)) == pytest.approx(min(medians), rel=1e-4)


def test_weight_maps_are_exposure_time_where_all_masks_are_good(
    kept_run: tuple[Path, list[Path], set[str]], originals: list[Path]
) -> None:
    folder, inputs, _ = kept_run
    root, original = inputs[1].name.removesuffix("_flc.fits"), originals[1]
    exptime = fits.getval(original, "EXPTIME")
    for chip in (1, 2):
        flags = fits.getdata(original, ("DQ", chip)) & ~(4096 | 64 | 16)
        is_good = (flags == 0) & (fits.getdata(folder / f"_96x140_{chip}_staticMask.fits") == 1)
        single = fits.getdata(folder / f"{root}_sci{chip}_single_mask.fits")
        np.testing.assert_array_equal(single, np.where(is_good, exptime, 0.0))
        is_good &= fits.getdata(folder / f"{root}_sci{chip}_crmask.fits") == 1
        final = fits.getdata(folder / f"{root}_sci{chip}_final_mask.fits")
        np.testing.assert_array_equal(final, np.where(is_good, exptime, 0.0))


def test_the_log_holds_parameters_with_their_source_and_the_products(
    kept_run: tuple[Path, list[Path], set[str]],
) -> None:
    text = (kept_run[0] / "astrodrizzle.log").read_text()
    for part in ("stepsize = 10", "# AstroDrizzle", "original kept in", "wrote visit_drc_sci.fits"):
        assert part in text
    assert not logging.getLogger("mosaic").handlers


def test_the_parameters_file_repeats_the_run(
    kept_run: tuple[Path, list[Path], set[str]], visit: list[Path]
) -> None:
    folder = kept_run[0]
    text = (folder / "visit_drc_parameters.toml").read_text().replace(str(folder), str(visit[0].parent))
    Path("again.toml").write_text(text)
    astrodrizzle.AstroDrizzle(configobj="again.toml", clean=True)
    for kind in ("sci", "wht", "ctx"):
        first = fits.getdata(folder / f"visit_drc_{kind}.fits")
        np.testing.assert_array_equal(fits.getdata(f"visit_drc_{kind}.fits"), first)


def test_a_second_call_replaces_the_first(visit: list[Path]) -> None:
    before = _files(Path())
    astrodrizzle.AstroDrizzle(visit[:2], output="two", clean=True, in_memory=True, build=True, **BITS)
    shape = fits.getdata("two_drc.fits", "SCI").shape
    astrodrizzle.AstroDrizzle(
        visit[:2], output="two", clean=True, build=True, final_scale=0.025, context=False, **BITS
    )
    made = _files(Path()) - before
    assert made == {"two_drc.fits", "two_drc_parameters.toml", "OrIg_files", "astrodrizzle.log"}
    # Half the scale is twice the size, rounded up.
    assert fits.getdata("two_drc.fits", "SCI").shape == (2 * shape[0], 2 * shape[1])


def test_dq_update_none_leaves_the_inputs_alone(visit: list[Path]) -> None:
    before = {path: path.read_bytes() for path in visit}
    astrodrizzle.AstroDrizzle(
        visit, output="m", clean=True, dq_update="none", runfile="", blot=False, driz_cr=False, median=False
    )
    assert {path: path.read_bytes() for path in visit} == before
    assert not Path("OrIg_files").exists()
    assert not Path("astrodrizzle.log").exists()


def test_read_only_inputs_are_refused_before_anything_is_done(visit: list[Path]) -> None:
    visit[1].chmod(0o444)
    before = {path: path.read_bytes() for path in visit}
    with pytest.raises(OutputError, match=f"{visit[1].name} is read-only"):
        astrodrizzle.AstroDrizzle(visit, output="m")
    assert {path: path.read_bytes() for path in visit} == before
    assert not list(Path().glob("m_*"))
    assert "stopped" in Path("astrodrizzle.log").read_text()


def test_restore_brings_the_originals_back(visit: list[Path]) -> None:
    options: dict[str, Any] = {
        "median": False,
        "blot": False,
        "driz_cr": False,
        "clean": True,
        "num_cores": 1,
    }
    original = visit[0].read_bytes()
    astrodrizzle.AstroDrizzle(visit[:2], output="m", **options)
    updated = visit[0].read_bytes()
    assert updated != original
    astrodrizzle.AstroDrizzle(
        visit[:2], output="m", restore=True, driz_combine=False, dq_update="copy", **options
    )
    assert visit[0].read_bytes() in {original, updated}
    astrodrizzle.AstroDrizzle(visit[:2], output="m", restore=True, skysub=False, **options)
    # The archived original has no MDRIZSKY; without subtraction 0 is written.
    assert fits.getval(visit[0], "MDRIZSKY", ("SCI", 1)) == 0.0


def test_the_first_input_decides_the_frame_as_in_drizzlepac(visit: list[Path]) -> None:
    fits.setval(visit[2], "PA_V3", value=fits.getval(visit[2], "PA_V3") + 20.0)
    options: dict[str, Any] = {
        "median": False, "blot": False, "driz_cr": False, "clean": True, "build": True, "dq_update": "none",
        "runfile": "",
    }  # fmt: skip
    angles = {}
    for name, inputs in (("first", visit), ("last", visit[::-1])):
        astrodrizzle.AstroDrizzle(inputs, output=name, **options)
        angles[name] = fits.getval(f"{name}_drc.fits", "ORIENTAT", "SCI")
        order = [fits.getval(f"{name}_drc.fits", f"D00{n}DATA")[:9] for n in (1, 3, 5)]
        assert order == [path.name[:9] for path in inputs]
    # The frame of a set that starts with the exposure turned by 20 degrees is turned by as much.
    assert (angles["last"] - angles["first"]) % 360.0 == pytest.approx(20.0, abs=0.01)
    astrodrizzle.AstroDrizzle(visit[::-1], output="sorted", **options, peer_compat=False)
    assert fits.getval("sorted_drc.fits", "ORIENTAT", "SCI") == angles["first"]


def test_a_reference_frame_may_be_a_wcs_object(visit: list[Path]) -> None:
    from astropy.wcs import WCS  # noqa: PLC0415

    frame = WCS(naxis=2)
    frame.wcs.ctype = "RA---TAN", "DEC--TAN"
    frame.wcs.crval = [fits.getval(visit[0], f"CRVAL{axis}", ("SCI", 1)) for axis in (1, 2)]
    frame.wcs.crpix = 60.0, 50.0
    frame.wcs.cd = np.array([[-1.0, 0.0], [0.0, 1.0]]) * 0.06 / 3600.0
    frame.pixel_shape = (121, 103)
    options: dict[str, Any] = {
        "median": False, "blot": False, "driz_cr": False, "clean": True, "dq_update": "none", "runfile": "",
    }  # fmt: skip
    astrodrizzle.AstroDrizzle(visit[:2], output="ref", final_refimage=frame, **options)
    header = fits.getheader("ref_drc_sci.fits")
    assert (header["NAXIS1"], header["NAXIS2"], header["CRPIX1"], header["CRPIX2"]) == (121, 103, 60.0, 50.0)
    assert header["CD2_2"] == pytest.approx(0.06 / 3600.0)
    with pytest.raises(ParameterError, match="final_refimage: the WCS object has no size"):
        astrodrizzle.AstroDrizzle(visit[:2], output="ref", final_refimage=WCS(naxis=2), **options)


def test_bad_calls_raise(visit: list[Path]) -> None:
    with pytest.raises(ParameterError, match=r"unknown parameter final_scal \(did you mean final_scale"):
        astrodrizzle.AstroDrizzle(visit, final_scal=0.1)
    with pytest.raises(ParameterError, match="no input"):
        astrodrizzle.AstroDrizzle("zzz_flt.fits")
    with pytest.raises(ParameterError, match="'99' is not a SCI extension"):
        astrodrizzle.AstroDrizzle(visit, output="m", group="99")


def test_help_names_every_parameter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    astrodrizzle.help(str(tmp_path / "help.txt"))
    astrodrizzle.help()
    text = (tmp_path / "help.txt").read_text()
    assert capsys.readouterr().out == text
    assert "final_pixfrac:" in text
    assert "Parameters" in text
    assert "Parameters" not in astrodrizzle.getHelpAsString(show_ver=False)


def test_run_takes_everything_from_the_object(visit: list[Path]) -> None:
    configobj = {
        "input": "*_flc.fits",
        "output": "obj",
        "STEP 4": {"median": "no"},
        "STEP 5": {"blot": "False", "driz_cr": 0},
        "STATE OF INPUT FILES": {"clean": "yes", "preserve": False},
        "runfile": "mine",
    }
    result = astrodrizzle.run(configobj, input_dict={"build": True})
    assert result.products[0].name == "obj_drc.fits"
    assert Path("mine.log").is_file()
    assert not Path("OrIg_files").exists()


@pytest.mark.parametrize("n_exposures", [1, 2])
def test_separate_products_are_made_also_without_a_median(visit: list[Path], n_exposures: int) -> None:
    inputs = visit[:n_exposures]
    options: dict[str, Any] = {"driz_sep_bits": "64,16", "dq_update": "none", "runfile": "", "num_cores": 1}
    steps = {"median": False, "blot": False, "driz_cr": False}
    with_median = {"blot": False, "driz_cr": False, "driz_combine": False}
    astrodrizzle.AstroDrizzle(inputs, output="alone", driz_combine=False, **steps, **options)
    assert not list(Path().glob("alone_dr*.fits"))
    singles = {path.name: fits.getdata(path) for path in Path().glob("*_single_???.fits")}
    assert len(singles) == 2 * n_exposures
    for name, pixels in singles.items():
        assert np.count_nonzero(pixels) > 0.5 * pixels.size, name
        Path(name).unlink()
    if n_exposures > 1:
        astrodrizzle.AstroDrizzle(inputs, output="all", **with_median, **options)
        for name, pixels in singles.items():
            np.testing.assert_array_equal(fits.getdata(name), pixels)


def test_a_run_without_product_flags_nothing(visit: list[Path]) -> None:
    original = {(path, chip): fits.getdata(path, ("DQ", chip)) & ~4096 for path in visit for chip in (1, 2)}
    astrodrizzle.AstroDrizzle(visit, output="m", driz_combine=False, clean=True, runfile="", **BITS)
    for (path, chip), flags in original.items():
        np.testing.assert_array_equal(fits.getdata(path, ("DQ", chip)), flags)
    assert not list(Path().glob("m_dr?*.fits"))


def test_a_new_wcs_ends_up_in_the_inputs(visit: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(files: Any, _exposures: Any, folder: Path) -> UpdatedInputs:
        made = []
        for file in files:
            folder.mkdir(parents=True, exist_ok=True)
            copy = Path(shutil.copy(file.path, folder))
            fits.setval(copy, "WCSNAME", value="NEW", ext=("SCI", 1))
            made.append(replace(file, prepared_path=str(copy)))
        return UpdatedInputs(tuple(made), (), ())

    monkeypatch.setattr("mosaic.inputs.update_wcs", fake)
    originals = [path.read_bytes() for path in visit[:2]]
    options: dict[str, Any] = {
        "median": False,
        "blot": False,
        "driz_cr": False,
        "clean": True,
        "num_cores": 1,
    }
    result = astrodrizzle.AstroDrizzle(visit[:2], output="m", updatewcs=True, **options)
    for path, original in zip(visit, originals, strict=False):
        header = fits.getheader(path, ("SCI", 1))
        assert header["WCSNAME"] == "NEW"
        assert header["MDRIZSKY"] > 0.0
        assert (Path("OrIg_files") / path.name).read_bytes() == original
    assert {path.name for path in result.products} >= {path.name for path in visit[:2]}
    assert not Path("m_inputs").exists()
