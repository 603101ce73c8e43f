"""Alignment within a run: a sharp mosaic from badly pointed exposures, whose files nobody touches."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

import mosaic
from mosaic import pipeline
from mosaic.alignment.injob import JobAlignment, write_job_headerlets
from mosaic.alignment.settings import load_align_settings
from mosaic.cli import app
from mosaic.compat import headerlet
from mosaic.errors import AlignmentError, ParameterError, PlanMismatchError
from mosaic.exposure.catalogue import read_catalogue
from mosaic.options import RunOptions
from mosaic.parameters import load_settings
from mosaic.simulate import SimulatedSet
from mosaic.solutions.corrections import FitFacts
from tests.alignment.conftest import pointing_errors

ALIGN = {"threshold": 15.0, "searchrad": 1.5, "minobj": 10, "see2dplot": False, "residplot": "No plot"}


def _drizzle(
    inputs: list[str], root: Path, align: object, group: str = "", **choices: object
) -> pipeline.Result:
    options = RunOptions.resolve(**{"scheduler": "serial", "memory": 2 << 30, "tile": 256} | choices)
    return mosaic.drizzle(
        inputs, str(root), options=options, align=align, runfile="", build=True, group=group
    )


@pytest.fixture(scope="module")
def aligned(pointed: SimulatedSet, tmp_path_factory: pytest.TempPathFactory) -> pipeline.Result:
    folder = tmp_path_factory.mktemp("aligned")
    return _drizzle([str(p) for p in pointed.paths], folder / "m", ALIGN | {"headerlet": True})


def _science(result: pipeline.Result) -> np.ndarray:
    return np.nan_to_num(fits.getdata(result.products[0], "SCI")).astype(np.float64)


def test_stars_of_an_aligned_mosaic_are_those_of_exposures_pointed_well(
    pointed: SimulatedSet, aligned: pipeline.Result, tmp_path: Path
) -> None:
    plain = _drizzle([str(p) for p in pointed.paths], tmp_path / "plain", None)
    # Misplaced stars smear and their cores are taken for cosmic rays: the sum of squares tells.
    sharp, blurred = _science(aligned), _science(plain)
    assert (sharp**2).sum() > 1.5 * (blurred**2).sum()


def test_it_is_the_same_as_aligning_files_and_drizzling_them(
    aligned: pipeline.Result, copies: list[str], tmp_path: Path
) -> None:
    mosaic.align(copies, **ALIGN, updatehdr=True)
    apart = _drizzle(copies, tmp_path / "m", None)
    # Headers hold CRVAL and CD to the last digit or the one before: 1e-10 pixels.
    np.testing.assert_allclose(_science(apart), _science(aligned), rtol=0, atol=1e-5)


def test_inputs_stay_and_the_solution_lives_in_the_job(
    pointed: SimulatedSet, aligned: pipeline.Result
) -> None:
    # The simulator wrote a WCS by one name; the run used another, and only its products tell.
    for path in pointed.paths:
        assert fits.getval(path, "WCSNAME", "SCI", 1) != "TWEAK"
    told = json.loads((aligned.job_folder / "align" / "align_solution.json").read_text())
    assert {about["status"] for about in told["images"].values()} == {"reference", "aligned"}
    kept = load_align_settings(aligned.job_folder / "align" / "parameters.toml")
    assert kept.align == load_align_settings(keywords=ALIGN | {"headerlet": True}).align
    assert len(aligned.alignment) == 3
    assert aligned.timings[0][0] == "Alignment"
    with fits.open(aligned.products[0]) as hdul:
        assert hdul["SCI"].header["WCSNAME"] == "TWEAK"
        table = hdul["HDRTAB"].data
        about = told["images"][pointed.paths[1].name[:9]]
        row = next(i for i in range(len(table)) if table["ROOTNAME"][i].startswith(pointed.paths[1].name[:9]))
        chip = about["chips"][str(table["EXTVER"][row])]
        assert [table["CRVAL1"][row], table["CRVAL2"][row]] == pytest.approx(chip["crval_deg"], rel=1e-13)
        assert table["WCSNAME"][row] == "TWEAK"


def test_headerlets_bring_the_inputs_to_the_same_solution(
    pointed: SimulatedSet, aligned: pipeline.Result, tmp_path: Path
) -> None:
    originals = sorted(pointed.paths)
    copies = [Path(shutil.copy(path, tmp_path / path.name)) for path in originals]
    made = {path.name: path for path in aligned.products if path.name.endswith("_hlet.fits")}
    assert sorted(made) == sorted(f"{path.name[:9]}_hlet.fits" for path in originals)
    for copy in copies:
        headerlet.apply_headerlet_as_primary(str(copy), str(made[f"{copy.name[:9]}_hlet.fits"]))
    for shift, turn in pointing_errors(pointed, originals, copies):
        # The limits of the same sources aligned by file.
        assert shift < 0.025
        assert abs(turn) < 0.009
    assert fits.getheader(made[f"{copies[1].name[:9]}_hlet.fits"], 1)["NMATCH"] > 30


def test_a_run_that_is_repeated_measures_nothing_and_makes_the_same_bits(
    pointed: SimulatedSet, aligned: pipeline.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = [str(p) for p in pointed.paths]
    shutil.copytree(aligned.job_folder, tmp_path / "m.mosaic")
    again = _drizzle(inputs, tmp_path / "fresh", ALIGN, scheduler="threads", cores=2, tile=96)
    assert np.array_equal(_science(again), _science(aligned))
    monkeypatch.setattr(
        "mosaic.alignment.injob.read_exposures", lambda *_, **__: pytest.fail("measured again")
    )
    repeated = _drizzle(inputs[::-1], tmp_path / "m", ALIGN | {"headerlet": True})
    assert np.array_equal(_science(repeated), _science(aligned))


def test_another_alignment_is_another_job(
    pointed: SimulatedSet, aligned: pipeline.Result, tmp_path: Path
) -> None:
    shutil.copytree(aligned.job_folder, tmp_path / "m.mosaic")
    inputs = [str(p) for p in pointed.paths]
    for other in (None, ALIGN | {"fitgeometry": "shift"}):
        with pytest.raises(PlanMismatchError, match="--restart"):
            _drizzle(inputs, tmp_path / "m", other)


@pytest.fixture
def with_stranger(pointed: SimulatedSet, tmp_path: Path) -> list[str]:
    """The same exposures, the last one of another sky."""
    copies = [Path(shutil.copy(path, tmp_path / path.name)) for path in sorted(pointed.paths)]
    with fits.open(copies[2], mode="update") as hdul:
        for version in (1, 2):
            hdul["SCI", version].data = hdul["SCI", version].data[::-1, ::-1].copy()
    return [str(path) for path in copies]


def test_an_exposure_that_cannot_be_aligned_stops_the_run_or_is_set_aside(
    with_stranger: list[str], tmp_path: Path
) -> None:
    name = Path(with_stranger[2]).name[:9]
    with pytest.raises(AlignmentError, match=rf"{name}: not aligned: .*; correct the alignment") as caught:
        _drizzle(with_stranger, tmp_path / "m", ALIGN)
    assert "\n" not in str(caught.value)
    skipped = _drizzle(with_stranger, tmp_path / "m", ALIGN, on_error="skip")
    assert [error.exposure for error in skipped.rejected] == [name]
    never = _drizzle(with_stranger[:2], tmp_path / "never", ALIGN)
    assert np.array_equal(_science(skipped), _science(never))


def test_one_exposure_alone_has_nothing_to_align_to(pointed: SimulatedSet, tmp_path: Path) -> None:
    result = _drizzle([str(pointed.paths[0])], tmp_path / "m", True)
    assert result.alignment == ("one exposure and no reference: nothing to align",)
    assert fits.getheader(result.products[0], "SCI")["WCSNAME"] != "TWEAK"


@pytest.mark.parametrize(
    ("align", "text"),
    [
        ({"updatehdr": True}, "leaves its inputs alone; set headerlet"),
        ({"serchrad": 2}, "unknown parameter serchrad .did you mean searchrad"),
    ],
)
def test_parameters_are_checked_before_any_work(
    pointed: SimulatedSet, tmp_path: Path, align: dict[str, object], text: str
) -> None:
    with pytest.raises(ParameterError, match=text):
        _drizzle([str(p) for p in pointed.paths], tmp_path / "m", align)
    assert not (tmp_path / "m.mosaic").exists()


def test_a_moving_target_is_not_aligned_to_its_stars(pointed: SimulatedSet, tmp_path: Path) -> None:
    copies = [str(shutil.copy(path, tmp_path / path.name)) for path in sorted(pointed.paths)]
    fits.setval(copies[1], "MTFLAG", value="T")
    with pytest.raises(ParameterError, match="follows a moving target"):
        _drizzle(copies, tmp_path / "m", ALIGN)


def test_the_command_aligns_and_the_plan_tells_of_it(
    pointed: SimulatedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inputs = [str(p) for p in pointed.paths]
    chosen = [word for name, value in ALIGN.items() for word in ("-a", f"{name}={value}")]
    common = [*inputs, "-o", "m", "--memory", "2GiB", "--scheduler", "serial", *chosen]
    planned = CliRunner().invoke(app, ["plan", *common])
    assert planned.exit_code == 0, planned.output
    assert "measured by the run" in planned.output
    done = CliRunner().invoke(app, ["drizzle", *common, "-a", "headerlet=true"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "m.mosaic" / "align" / "align_solution.json").is_file()
    assert len(list(tmp_path.glob("*_hlet.fits"))) == 3
    assert "alignment: " in (tmp_path / "astrodrizzle.log").read_text()
    wrong = CliRunner().invoke(app, ["drizzle", *common, "-a", "fitgeometry=square"])
    assert wrong.exit_code == 2


def test_chips_that_a_run_leaves_out_move_with_the_others_in_a_headerlet(
    pointed: SimulatedSet, tmp_path: Path
) -> None:
    originals = sorted(pointed.paths)
    made = _drizzle([str(p) for p in originals], tmp_path / "m", ALIGN | {"headerlet": True}, group="1")
    headerlets = {path.name: path for path in made.products if path.name.endswith("_hlet.fits")}
    copies = [Path(shutil.copy(path, tmp_path / path.name)) for path in originals]
    for copy in copies:
        headerlet.apply_headerlet_as_primary(str(copy), str(headerlets[f"{copy.name[:9]}_hlet.fits"]))
    # Half the stars, all on one side: twice the errors of both chips, judged over both.
    for shift, turn in pointing_errors(pointed, originals, copies):
        assert shift < 0.08
        assert abs(turn) < 0.02
    assert not made.warnings


def test_a_headerlet_of_several_exposures_in_a_file(pointed: SimulatedSet, tmp_path: Path) -> None:
    path = str(min(pointed.paths))
    exposure = read_catalogue([path], load_settings(None, ())).exposures[0]
    parts, facts = [], {}
    for number, chip in enumerate(exposure.chips, 1):
        ra, dec = chip.wcs.crval_deg
        moved = replace(chip.wcs, crval_deg=(ra + 1e-5 * number, dec))
        chips = (replace(chip, extver=1, wcs=moved),)
        parts.append(replace(exposure, rootname=f"part{number}", chips=chips, wcs_solution="TWEAK"))
        facts[f"part{number}"] = FitFacts(1e-6, 1e-6, 10 * number)
    settings = load_align_settings(keywords={"headerlet": True}).align
    for used, crval_moved, n_notes in ((parts, [1e-5, 2e-5], 0), (parts[1:], [0.0, 2e-5], 1)):
        (made,), notes = write_job_headerlets(
            JobAlignment(tuple(used), (), (), facts), settings, tmp_path / str(n_notes)
        )
        assert made.name == f"{exposure.rootname}_hlet.fits"
        assert len(notes) == n_notes
        assert all("[sci,1] keep their WCS" in note for note in notes)
        with fits.open(made) as hdul:
            for number, moved_deg in enumerate(crval_moved, 1):
                header = hdul["SIPWCS", number].header
                before = exposure.chips[number - 1].wcs.crval_deg[0]
                assert header["CRVAL1"] - before == pytest.approx(moved_deg, abs=1e-12)
                assert header.get("NMATCH") == (10 * number if moved_deg else None)
