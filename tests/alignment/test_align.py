"""Whole alignments of simulated exposures, judged by their truth."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from typer.testing import CliRunner

import mosaic
from mosaic.alignment.result import AlignResult
from mosaic.alignment.run import align
from mosaic.alignment.settings import load_align_settings
from mosaic.cli import app
from mosaic.compat.tweakreg import TweakReg
from mosaic.errors import (
    AlignmentError,
    MissingFileError,
    OutputError,
    ParameterError,
    TruncatedFileError,
    WcsNameExistsError,
)
from mosaic.options import RunOptions
from mosaic.products.partial import PartialFile
from mosaic.simulate import SimulatedSet
from tests.alignment.conftest import pointing_errors

OPTIONS = RunOptions.resolve(cores=2, memory="500MB")
FIND = {"threshold": 15.0, "searchrad": 1.5, "minobj": 10}
QUIET = {"see2dplot": False, "residplot": "No plot", "writecat": False}


def _align(inputs: list[str], folder: Path, **names: object) -> AlignResult:
    parameters = load_align_settings(keywords={**FIND, **QUIET, **names})
    return align(inputs, folder, options=OPTIONS, settings=parameters)


@pytest.mark.parametrize("solve", ["sequential", "global"])
def test_pointing_errors_are_recovered(
    pointed: SimulatedSet, copies: list[str], tmp_path: Path, solve: str
) -> None:
    originals = sorted(pointed.paths)
    before = pointing_errors(pointed, originals, originals)
    assert min(abs(shift) for shift, _ in before) > 1.0
    result = _align(copies, tmp_path, solve=solve, updatehdr=True)
    assert [s.status for s in result.solutions] == ["reference", "aligned", "aligned"]
    assert len(result.updated) == 3
    for shift, turn in pointing_errors(pointed, originals, copies):
        # About 90 stars of 0.05 pixels rms per axis: 0.008 for the shift, 0.003 degrees for the roll
        # (lever 130 pixels rms), at one sigma.
        assert shift < 0.025
        assert abs(turn) < 0.009


def test_inputs_stay_as_they_are_unless_an_update_is_asked_for(copies: list[str], tmp_path: Path) -> None:
    before = [Path(path).read_bytes() for path in copies]
    result = _align(copies, tmp_path)
    assert result.is_complete
    assert [Path(path).read_bytes() for path in copies] == before
    told = json.loads((tmp_path / "align_solution.json").read_text())
    assert [image["status"] for image in told["images"]] == ["reference", "aligned", "aligned"]
    assert told["images"][1]["shift_px"] == result.solutions[1].fit.offset_xy.tolist()


def test_threads_do_not_change_a_solution(copies: list[str], tmp_path: Path) -> None:
    parameters = load_align_settings(keywords={**FIND, **QUIET})
    results = [
        align(copies, tmp_path / str(n), options=RunOptions.resolve(cores=n), settings=parameters)
        for n in (1, 2)
    ]
    texts = [(tmp_path / str(n) / "align_solution.json").read_text() for n in (1, 2)]
    assert texts[0] == texts[1]
    assert results[0].is_complete


def test_headers_tell_the_new_wcs_and_keep_the_old(copies: list[str], tmp_path: Path) -> None:
    with fits.open(copies[1]) as hdul:
        old, pixels = hdul["SCI", 2].header.copy(), hdul["SCI", 2].data.copy()
    result = _align(copies, tmp_path, updatehdr=True, wcsname="MINE")
    with fits.open(copies[1]) as hdul:
        new = hdul["SCI", 2].header
        assert np.array_equal(hdul["SCI", 2].data, pixels)
        for name in ("ERR", "DQ"):
            same = ("CRVAL1", "CRVAL2", "CD1_1", "CD2_2", "WCSNAME")
            assert [hdul[name, 2].header[key] for key in same] == [new[key] for key in same]
        reference = fits.getheader(copies[0], "SCI", 1)
    key = next(letter for letter in "ABCDEFG" if new.get(f"WCSNAME{letter}") == old["WCSNAME"])
    for keyword in ("CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2", "CRPIX1"):
        assert new[f"{keyword}{key}"] == pytest.approx(old[keyword], rel=1e-13)
    assert (new["WCSNAME"], new["FITNAME"], new["WCSTYPE"]) == ("MINE", "MINE", "user-defined")
    assert new["NMATCH"] == new["NMATCHES"] == result.solutions[1].n_used
    assert new["CRPIX1"] == old["CRPIX1"]
    assert new["A_ORDER"] == old["A_ORDER"]
    assert new["CRVAL1"] != old["CRVAL1"]
    # 0.05 pixels of 0.05 arcsec are 2.5 mas, within a factor of two.
    assert 1.2 < new["RMS_RA"] < 5.0
    assert new["CRDER1"] * 3.6e6 == pytest.approx(new["RMS_RA"])
    assert reference["WCSNAME"] == "MINE"
    assert "NMATCH" not in reference


def test_wcscorr_and_a_second_update_keep_what_there_was(copies: list[str], tmp_path: Path) -> None:
    columns = [
        ("WCS_ID", "40A"),
        ("EXTVER", "I"),
        ("CRVAL1", "D"),
        ("ORIENTAT", "D"),
        ("NMatch", "J"),
        ("DESCRIP", "128A"),
    ]
    for path in copies:
        table = fits.BinTableHDU.from_columns(
            [fits.Column(*column) for column in columns], nrows=3, name="WCSCORR"
        )
        table.data["WCS_ID"][0] = "IDC_old"
        table.header["TROWS"] = 1
        fits.append(path, table.data, table.header)
    names = fits.getheader(copies[1], "SCI", 1)["WCSNAME"]
    _align(copies, tmp_path, updatehdr=True)
    _align(copies, tmp_path, updatehdr=True, wcsname="AGAIN")
    _align(copies, tmp_path, updatehdr=True, wcsname="AGAIN", reusename=True)
    with fits.open(copies[1]) as hdul:
        header, table = hdul["SCI", 1].header, hdul["WCSCORR"]
        ids = [str(name).strip() for name in table.data["WCS_ID"]]
        assert ids[0] == "IDC_old"
        assert {"IDC_old", names, "TWEAK", "AGAIN"} <= set(ids)
        rows = [i for i, name in enumerate(ids) if name == "AGAIN" and table.data["EXTVER"][i] == 1]
        assert np.isclose(table.data["CRVAL1"][rows], header["CRVAL1"], rtol=0, atol=1e-10).any()
        assert np.isclose(table.data["ORIENTAT"][rows], header["ORIENTAT"], rtol=0, atol=1e-7).any()
        assert table.data["NMatch"][rows].min() > 10
    assert {names, "TWEAK", "AGAIN-1"} <= {header.get(f"WCSNAME{key}") for key in "ABCDEFGH"}


def test_a_name_that_exists_is_refused_before_any_work_but_not_in_a_dry_run(
    copies: list[str], tmp_path: Path
) -> None:
    name = fits.getheader(copies[0], "SCI", 1)["WCSNAME"]
    with pytest.raises(WcsNameExistsError, match="set reusename"):
        _align(copies, tmp_path, updatehdr=True, wcsname=name.lower())
    assert _align(copies, tmp_path, wcsname=name).is_complete
    assert _align(copies, tmp_path, updatehdr=True, wcsname=name, reusename=True).is_complete
    assert fits.getheader(copies[0], "SCI", 1)["WCSNAME"] == name


def test_files_that_cannot_be_written_are_refused_before_any_work(
    copies: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for closed in (copies[1], str(Path(copies[1]).parent)):
        monkeypatch.setattr("os.access", lambda path, _mode, closed=closed: str(path) != closed)
        with pytest.raises(OutputError, match=f"{re.escape(closed)} cannot be written; change"):
            _align(copies, tmp_path, updatehdr=True)
    assert all("TWEAK" not in fits.getheader(path, "SCI", 1).values() for path in copies)


def test_a_catalogue_gives_absolute_positions(
    pointed: SimulatedSet, copies: list[str], tmp_path: Path
) -> None:
    result = _align(copies, tmp_path, refcat=str(pointed.paths[0].parent / "sources.ecsv"), updatehdr=True)
    assert result.is_complete
    stars = Table.read(pointed.paths[0].parent / "sources.ecsv")
    fresh = align(copies, tmp_path, options=OPTIONS, **FIND, **QUIET)
    for image in fresh.images:
        ra, dec = image.sky()
        east = (ra[:, None] - np.asarray(stars["ra"])) * np.cos(np.radians(2.2)) * 3600
        north = (dec[:, None] - np.asarray(stars["dec"])) * 3600
        nearest = np.hypot(east, north).argmin(axis=1)
        offsets = np.stack([east, north], axis=-1)[np.arange(len(ra)), nearest]
        near = np.hypot(*offsets.T) < 0.03
        assert near.sum() > 60
        # 0.05 arcsec pixels: 0.02 of one.
        assert np.abs(offsets[near].mean(axis=0)).max() < 0.001


def test_an_image_is_a_reference(pointed: SimulatedSet, copies: list[str], tmp_path: Path) -> None:
    result = _align(copies[1:], tmp_path, refimage=copies[0], updatehdr=True)
    assert [s.status for s in result.solutions] == ["aligned", "aligned"]
    originals = sorted(pointed.paths)
    errors = pointing_errors(pointed, originals, [originals[0], *copies[1:]])
    assert max(shift for shift, _ in errors) < 0.025


def test_an_image_without_matches_is_left_alone_with_its_reason(copies: list[str], tmp_path: Path) -> None:
    with fits.open(copies[2], mode="update") as hdul:
        for version in (1, 2):
            hdul["SCI", version].data = hdul["SCI", version].data[::-1, ::-1].copy()
    before = Path(copies[2]).read_bytes()
    result = _align(copies, tmp_path, updatehdr=True, shiftfile=True)
    assert [s.status for s in result.solutions][:2] == ["reference", "aligned"]
    assert result.solutions[2].status in {"ambiguous", "not_enough_matches"}
    assert result.solutions[2].reason
    assert Path(copies[2]).read_bytes() == before
    assert "nan nan" in " ".join((tmp_path / "shifts.txt").read_text().splitlines()[-1].split())


def test_hot_pixels_do_not_undo_the_dither(pointed: SimulatedSet, copies: list[str], tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    y, x = rng.integers(10, 270, 200), rng.integers(10, 310, 200)
    for path in copies:
        with fits.open(path, mode="update") as hdul:
            for version in (1, 2):
                hdul["SCI", version].data[y, x] += 20_000.0
    trapped = _align(copies, tmp_path, reject_fixed=False, searchrad=0.6)
    # With the hot pixels in, every image is shifted back by its dither: hot pixels coincide.
    first = np.array([trapped.images[0].chips[0].wcs.crval_deg])
    for image, solution in zip(trapped.images[1:], trapped.solutions[1:], strict=True):
        assert solution.n_used > 250
        moved = (np.array(image.chips[0].wcs.crval_deg) - first)[0] * 3600 / 0.05
        assert np.hypot(*solution.fit.offset_xy) == pytest.approx(np.hypot(*moved), abs=0.5)
    result = _align(copies, tmp_path, updatehdr=True)
    assert not result.failed, [s.reason for s in result.failed]
    originals = sorted(pointed.paths)
    assert max(shift for shift, _ in pointing_errors(pointed, originals, copies)) < 0.03


def test_too_few_sources_and_nothing_to_align(copies: list[str], tmp_path: Path) -> None:
    result = _align(copies, tmp_path, threshold=1e6)
    assert [s.status for s in result.solutions] == ["too_few_sources"] * 3
    assert "fewer than two images" in result.message
    assert not _align(copies[:1], tmp_path).is_complete


def test_the_order_follows_the_overlap_when_the_user_does_not_insist(
    copies: list[str], tmp_path: Path
) -> None:
    result = _align(copies, tmp_path, enforce_user_order=False)
    forwards = [image.path for image in result.images]
    assert sorted(forwards) == sorted(copies)
    assert [
        image.path for image in _align(copies[::-1], tmp_path, enforce_user_order=False).images
    ] == forwards
    assert [image.path for image in _align(copies[::-1], tmp_path).images] == copies[::-1]


def test_the_reference_grows_when_asked_to(copies: list[str], tmp_path: Path) -> None:
    plain, grown = (_align(copies, tmp_path, expand_refcat=e, writecat=True) for e in (False, True))
    assert len(grown.reference.xy) > len(plain.reference.xy)
    names = {path.name for path in grown.products}
    assert any(name.startswith("cumulative_sky_refcat_") for name in names)


def test_pixels_of_a_catalogue_need_a_frame(copies: list[str], tmp_path: Path) -> None:
    path = tmp_path / "ref.coo"
    path.write_text("10 10\n20 20\n")
    with pytest.raises(ParameterError, match="refxyunits = pixels needs refimage"):
        _align(copies, tmp_path, refcat=str(path), refxyunits="pixels")


def test_tweakreg_writes_the_files_that_scripts_read(
    copies: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = TweakReg(
        "*_flc.fits", imagefindcfg={"threshold": 15.0}, searchrad=1.5, minobj=10, shiftfile=True,
        outshifts="s.txt", interactive=False, updatehdr=False, clean=False,
    )  # fmt: skip
    assert result.is_complete
    roots = [Path(path).stem for path in copies]
    names = {path.name for path in result.products}
    wanted = {f"{root}_sci{n}_xy_catalog.coo" for root in roots for n in (1, 2)}
    wanted |= {f"{root}_{what}_catalog.coo" for root in roots for what in ("sky", "refxy")}
    wanted |= {f"{root}_{what}.match" for root in roots[1:] for what in ("xy_catalog", "catalog_fit")}
    wanted |= {f"{what}_{root}.png" for root in roots[1:] for what in ("hist2d", "residuals", "vector")}
    wanted |= {"s.txt", "shifts_wcs.fits", f"{roots[0]}_xy_catfile.list", "align_solution.json"}
    assert names == wanted
    rows = np.genfromtxt(tmp_path / f"{roots[1]}_catalog_fit.match", dtype=None, encoding=None)
    solution = result.solutions[1]
    assert len(rows) == solution.n_used
    # Columns 11, 12 and 15: place on the chip; 5 to 8: fitted position and residual.
    chips = {chip.extver: chip.sources for chip in result.images[1].chips}
    for row in rows[:5]:
        chip = chips[row[14]]
        assert np.hypot(chip.x + 1 - row[10], chip.y + 1 - row[11]).min() < 1e-5
        assert row[4] - result.frame.crpix_xy[0] - row[0] == pytest.approx(row[6], abs=3e-6)
    assert np.std([row[6] for row in rows]) == pytest.approx(solution.fit.rms_xy[0], abs=1e-5)
    shifts = np.genfromtxt(tmp_path / "s.txt", dtype=None, encoding=None)
    assert [row[0] for row in shifts] == [Path(path).name for path in copies]
    assert [shifts[1][1], shifts[1][2]] == pytest.approx(solution.fit.offset_xy.tolist(), abs=1e-6)
    assert (tmp_path / "tweakreg.log").is_file()


def test_catalogues_written_by_one_run_are_read_by_the_next(
    copies: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = _align(copies, tmp_path, writecat=True)
    listed = _align(copies, tmp_path, catfile=f"{Path(copies[0]).stem}_xy_catfile.list", fluxcol="3")
    for one, two in zip(found.solutions[1:], listed.solutions[1:], strict=True):
        assert np.allclose(one.fit.offset_xy, two.fit.offset_xy, rtol=0, atol=1e-5)
    assert replace(listed, products=()).is_complete


def test_the_command_tells_shifts_and_fails_when_an_image_is_not_aligned(
    copies: list[str], tmp_path: Path
) -> None:
    quiet = ["-p", "see2dplot=False", "-p", "residplot=No plot"]
    arguments = ["align", *copies, "-o", str(tmp_path / "out"), "-p", "searchrad=1.5", *quiet]
    done = CliRunner().invoke(app, [*arguments, "-p", "threshold=15"])
    assert done.exit_code == 0, done.output
    assert done.output.count("aligned  shift") == 2
    failed = CliRunner().invoke(app, [*arguments, "-p", "threshold=1e6"])
    assert failed.exit_code == 1
    assert "nothing to align" in failed.output
    wrong = CliRunner().invoke(app, [*arguments, "-p", "serchrad=2"])
    assert wrong.exit_code == 2


def test_the_function_gives_a_table_and_writes_nothing_unless_told_where(
    copies: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    before = [Path(path).read_bytes() for path in copies]
    result = mosaic.align(copies, options=OPTIONS, **FIND)
    assert not list(Path().iterdir())
    assert [Path(path).read_bytes() for path in copies] == before
    table = result.table()
    assert list(table["status"]) == ["reference", "aligned", "aligned"]
    assert list(table["file"]) == [Path(path).name for path in copies]
    assert table["dx"][1] == result.solutions[1].fit.offset_xy[0]
    assert table["rms_ra"].unit == "mas"
    assert table["dx", "scale"].pformat()[-1].split()[-1] == f"{result.solutions[2].fit.scale:.6f}"
    # 0.05 pixels of 50 mas.
    assert 1.2 < table["rms_ra"][1] < 5.0
    result.require_complete()
    with pytest.raises(ParameterError, match="name the output folder"):
        mosaic.align(copies, options=OPTIONS, headerlet=True)


def test_a_file_that_cannot_be_read_stops_or_is_set_aside_with_its_reason(
    copies: list[str], tmp_path: Path
) -> None:
    Path(copies[1]).write_bytes(b"not fits")
    with pytest.raises(MissingFileError, match="cannot be read"):
        _align(copies, tmp_path)
    options = RunOptions.resolve(cores=2, memory="500MB", on_error="skip")
    result = mosaic.align(copies, options=options, updatehdr=True, **FIND)
    assert [s.status for s in result.solutions] == ["reference", "aligned"]
    assert list(result.table()["status"]) == ["reference", "aligned", "unusable"]
    assert not result.is_complete
    with pytest.raises(AlignmentError, match="not aligned: cannot be read"):
        result.require_complete()
    assert Path(copies[1]).read_bytes() == b"not fits"


def test_a_header_that_cannot_be_written_leaves_that_file_and_updates_the_others(
    copies: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Path(copies[1]).read_bytes()
    publish = PartialFile.publish

    def fail_at_second(out: PartialFile) -> None:
        if out.path == Path(copies[1]):
            raise OutputError(f"{out.path}: the disk is full")
        publish(out)

    monkeypatch.setattr(PartialFile, "publish", fail_at_second)
    result = _align(copies, tmp_path, updatehdr=True)
    assert [s.status for s in result.solutions] == ["reference", "not_written", "aligned"]
    assert "the file is as it was" in result.solutions[1].reason
    assert Path(copies[1]).read_bytes() == before
    assert result.updated == (Path(copies[0]), Path(copies[2]))
    assert not list(tmp_path.glob(".*partial"))
    assert fits.getheader(copies[2], "SCI", 1)["WCSNAME"] == "TWEAK"


@pytest.mark.parametrize("call", ["os.replace", "os.chmod", "io.open"])
def test_a_file_whose_permissions_change_while_it_is_aligned_is_told_of(
    copies: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    before = Path(copies[1]).read_bytes()
    original = {"os.replace": os.replace, "os.chmod": os.chmod, "io.open": io.open}[call]
    temporary = f".{Path(copies[1]).name}.partial"

    def refuse(path: Any, *rest: Any, **more: Any) -> Any:
        if str(path).endswith(temporary):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return original(path, *rest, **more)

    monkeypatch.setattr(call, refuse)
    result = _align(copies, tmp_path / "out", updatehdr=True)
    monkeypatch.undo()
    assert list(result.table()["status"]) == ["reference", "not_written", "aligned"]
    reason = result.table()["reason"][1]
    assert f"{copies[1]}: cannot be written (Permission denied)" in reason
    assert "change its permissions" in reason
    assert Path(copies[1]).read_bytes() == before
    assert not list(tmp_path.glob(".*partial"))
    for path in (copies[0], copies[2]):
        assert fits.getheader(path, "SCI", 1)["WCSNAME"] == "TWEAK"


def test_headerlets_of_files_say_what_the_updated_headers_say(copies: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    texts = {"headerlet": True, "author": "A. Uthor", "hdrfile": "v1", "catalog": "GAIAEDR3"}
    dry = _align(copies, folder, **texts)
    names = [f"{Path(path).name[:9]}_v1_hlet.fits" for path in copies]
    assert [path.name for path in dry.products if "hlet" in path.name] == names
    made = [fits.getheader(folder / name, "SIPWCS", 1) for name in names]
    with pytest.raises(OutputError, match="exists already; set clobber"):
        _align(copies, folder, updatehdr=True, **texts)
    _align(copies, folder, updatehdr=True, clobber=True, **texts)
    for path, name, header in zip(copies, names, made, strict=True):
        with fits.open(path) as hdul:
            for keyword in ("CRVAL1", "CRVAL2", "CD1_1", "CD2_1", "WCSNAME", "NMATCH", "RMS_RA"):
                assert hdul["SCI", 1].header.get(keyword) == header.get(keyword), keyword
            attached = [hdu for hdu in hdul if hdu.header.get("XTENSION") == "HDRLET"]
            assert [hdu.header["HDRNAME"] for hdu in attached] == ["TWEAK"]
        primary = fits.getheader(folder / name)
        assert (primary["AUTHOR"], primary["CATALOG"], primary["DESTIM"]) == (
            "A. Uthor", "GAIAEDR3", Path(path).name[:9],
        )  # fmt: skip


def test_sources_of_copies_without_cosmic_rays_stand_for_those_of_the_inputs(
    copies: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "clean"
    folder.mkdir()
    for path in copies:
        shutil.copy(path, folder / f"{Path(path).name[:9]}_crclean.fits")
        with fits.open(path, mode="update") as hdul:
            # Two hits in a hundred pixels.
            for version in (1, 2):
                data = hdul["SCI", version].data
                data[np.random.default_rng(version).random(data.shape) < 0.02] += 3e4
    plain = _align(copies, tmp_path)
    cleaned = _align(copies, tmp_path, cleaned=str(folder), updatehdr=True)
    assert cleaned.is_complete
    assert len(cleaned.images[0]) < len(plain.images[0])
    assert fits.getheader(copies[1], "SCI", 1)["WCSNAME"] == "TWEAK"
    (folder / f"{Path(copies[1]).name[:9]}_crclean.fits").unlink()
    with pytest.raises(TruncatedFileError, match=r"pixels cannot be read: .*crclean"):
        _align(copies, tmp_path, cleaned=str(folder))
