"""The report of a run: its files, its page, its pictures, and the command that makes it again."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image
from typer.testing import CliRunner

from mosaic.cli import app
from mosaic.errors import ParameterError
from mosaic.graph.job import forget_job_state
from mosaic.pipeline import Result, drizzle
from mosaic.products.fits import MemoryPlane
from mosaic.quality import pictures, zoom
from mosaic.quality import report as report_module
from mosaic.simulate import SimulatedSet
from tests.support.broken import SERIAL, expose

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> SimulatedSet:
    return expose(tmp_path_factory.mktemp("field"))


def _drizzle(field: SimulatedSet, folder: Path, **parameters: object) -> Result:
    files = [str(path) for path in field.files]
    return drizzle(files, str(folder / "m"), options=SERIAL, settings=None, **parameters)


@pytest.fixture(scope="module")
def made(field: SimulatedSet, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return _drizzle(field, tmp_path_factory.mktemp("run"), build=True)


def test_every_run_writes_its_report(made: Result) -> None:
    folder = made.job_folder / "report"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["preview.jpg", "report.html", "report.json", "thumbnail.png"]
    record = json.loads((folder / "report.json").read_text())
    assert record["verdict"] == "ok"
    assert record["title"] == "m"
    assert record["counts"]["ok"] + record["counts"]["none"] == len(record["checks"]) == 45
    assert {row["exposure"] for row in record["alignment"]} == {f"jsim010{n}q" for n in range(1, 5)}
    with Image.open(folder / "thumbnail.png") as image:
        assert max(image.size) == pictures.THUMBNAIL_SIDE
    assert not made.warnings
    assert any(step == "Report" for step, _seconds, _note in made.timings)


def test_page_is_whole_and_needs_no_other_file(made: Result) -> None:
    page = (made.job_folder / "report" / "report.html").read_text()
    record = json.loads((made.job_folder / "report" / "report.json").read_text())
    for check in record["checks"]:
        assert f'id="{check["name"]}"' in page
    sources = re.findall(r'(?:src|href)="([^"#][^"]*)"', page)
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    for kind, data in re.findall(r'src="data:image/(\w+);base64,([^"]+)"', page):
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.format == kind.upper()
            image.load()
    for name in ("science", "weight", "depth", "cosmic_rays", "stars", "residuals", "phases", "shapes"):
        assert f'id="picture-{name}"' in page
    linked = set(re.findall(r'href="#picture-(\w+)"', page))
    assert linked == set(re.findall(r'id="picture-(\w+)"', page)) & linked
    assert 'name="viewport"' in page


def test_no_report_unless_wanted(field: SimulatedSet, tmp_path: Path) -> None:
    result = _drizzle(field, tmp_path, report=False)
    assert not (result.job_folder / "report").exists()


def test_a_report_that_fails_does_not_spoil_the_run(
    field: SimulatedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_named: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(report_module, "make_report", fail)
    result = _drizzle(field, tmp_path)
    assert all(path.exists() for path in result.products)
    assert any("no quality report: ZeroDivisionError" in warning for warning in result.warnings)


@pytest.mark.parametrize("name", ["m", "m.mosaic", "m_drc.fits"])
def test_report_is_made_again_from_any_name_of_the_run(made: Result, name: str) -> None:
    folder = made.job_folder / "report"
    outcome = RUNNER.invoke(app, ["report", str(made.job_folder.parent / name), "--no-zoom"])
    assert outcome.exit_code == 0, outcome.output
    assert "checks ok" in outcome.output
    record = json.loads((folder / "report.json").read_text())
    assert record["full"]
    assert not (folder / "zoom.html").exists()


def test_zoomable_page_goes_when_the_mosaic_is_looked_at_anew(made: Result) -> None:
    folder = made.job_folder / "report"
    assert RUNNER.invoke(app, ["report", str(made.job_folder)]).exit_code == 0
    page = (folder / "zoom.html").read_text()
    assert 'href="zoom.html"' in (folder / "report.html").read_text()
    assert all(
        not source.startswith(("http", "//")) for source in re.findall(r'(?:src|href)="([^"]+)"', page)
    )
    assert (folder / "zoom" / "openseadragon.min.js").stat().st_size > 100_000
    data = json.loads(page.split("const data = ", 1)[1].split(";\n", 1)[0])
    for layer in data["layers"]:
        _assert_whole(folder / "zoom" / layer["name"], data["ny"], data["nx"])
    assert len(data["outlines"]) == 8
    assert RUNNER.invoke(app, ["report", str(made.job_folder), "--brief", "--no-zoom"]).exit_code == 0
    assert not (folder / "zoom").exists()


def _assert_whole(folder: Path, ny: int, nx: int) -> None:
    """Every picture of every level is there, in the sizes of the Deep Zoom format."""
    top = int(np.ceil(np.log2(max(ny, nx))))
    for level in range(top + 1):
        height, width = (-(-size // 2 ** (top - level)) for size in (ny, nx))
        for row in range(-(-height // zoom.TILE)):
            for column in range(-(-width // zoom.TILE)):
                with Image.open(folder / str(level) / f"{column}_{row}.jpg") as image:
                    expected = (
                        min(zoom.TILE, width - column * zoom.TILE),
                        min(zoom.TILE, height - row * zoom.TILE),
                    )
                    assert image.size == expected


def test_unfinished_and_unknown_jobs_are_refused(made: Result, tmp_path: Path) -> None:
    outcome = RUNNER.invoke(app, ["report", str(tmp_path / "nothing")])
    assert outcome.exit_code == 1
    assert "no job folder" in outcome.output
    copied = tmp_path / "m.mosaic"
    shutil.copytree(made.job_folder, copied)
    shutil.rmtree(copied / "ledger" / "final")
    forget_job_state()
    outcome = RUNNER.invoke(app, ["report", str(copied)])
    assert outcome.exit_code == 1
    assert len(outcome.output.strip().splitlines()) == 1


def test_strict_fails_on_bad_checks(field: SimulatedSet, made: Result, tmp_path: Path) -> None:
    assert RUNNER.invoke(app, ["report", str(made.job_folder), "--strict", "--no-zoom"]).exit_code == 0
    coarse = _drizzle(field, tmp_path, final_scale=0.15, report=False)
    outcome = RUNNER.invoke(app, ["report", str(coarse.job_folder), "--strict", "--brief", "--no-zoom"])
    assert outcome.exit_code == 1
    assert "bad   Output scale" in outcome.output
    both = RUNNER.invoke(
        app, ["report", str(made.job_folder), "--rgb", str(coarse.job_folder), str(made.job_folder)]
    )
    # Bad usage, not a failure.
    assert both.exit_code == 2
    assert "different frames" in both.output


def test_colour_picture_of_three_runs(made: Result) -> None:
    names = [str(made.job_folder)] * 2
    assert RUNNER.invoke(app, ["report", str(made.job_folder), "--no-zoom", "--rgb", *names]).exit_code == 0
    page = (made.job_folder / "report" / "report.html").read_text()
    match = re.search(r'id="picture-colour".*?base64,([^"]+)"', page, re.DOTALL)
    assert match is not None
    with Image.open(io.BytesIO(base64.b64decode(match[1]))) as image:
        colours = np.asarray(image.convert("RGB"), dtype=float)
    # The same image in all three channels is grey; JPEG rounds a little.
    bright = colours.max(axis=2) > 100
    assert bright.any()
    assert np.abs(colours[bright] - colours[bright].mean(axis=1, keepdims=True)).max() < 12


# Pictures


def test_colours_follow_the_brighter_filter() -> None:
    random = np.random.default_rng(5)
    planes = [random.normal(scale, scale, (60, 80)).astype(np.float32) for scale in (1.0, 20.0, 0.1)]
    planes[0][30, 20] += 400.0
    planes[2][30, 60] += 40.0
    planes[1][:5] = np.nan
    colours = pictures.colour_composite(planes)
    assert colours[30, 20].argmax() == 0
    assert colours[30, 60].argmax() == 2
    assert (colours[2, 2] == colours[0, 0]).all()
    with pytest.raises(ParameterError, match="three images of one frame, not 80 x 60, 80 x 60"):
        pictures.colour_composite(planes[:2])


def test_maps_decode_to_their_colours() -> None:
    values = np.linspace(0.0, 7.0, 12, dtype=np.float32).reshape(3, 4)
    values[1, 2] = np.nan
    with Image.open(io.BytesIO(pictures.encode_map(values, 5.0))) as image:
        decoded = np.asarray(image.convert("RGB"))
    # The first row of an image lies at the bottom.
    assert np.array_equal(decoded[::-1], pictures.map_colours(values, 5.0))
    colours = pictures.map_colours(values, 5.0).astype(int)
    assert (colours[2, 3] == colours[2, 2]).all()
    assert colours[0, 0].tolist() == [68, 1, 84]


def test_stretch_keeps_order_and_the_sky_dark() -> None:
    image = np.random.default_rng(3).normal(100.0, 5.0, (200, 200)).astype(np.float32)
    image[50, 50] = 5000.0
    stretch = pictures.Stretch.of(image)
    ramp = np.linspace(50.0, 6000.0, 500, dtype=np.float32)
    assert np.all(np.diff(stretch(ramp).astype(int)) >= 0)
    assert 20 < np.median(stretch(image)) < 110
    assert stretch(np.array([np.nan, -1e9, 1e9], dtype=np.float32)).tolist() == [0, 0, 255]
    empty = pictures.Stretch.of(np.full((9, 9), np.nan, dtype=np.float32))
    assert np.isfinite(empty.high)


@pytest.mark.parametrize("shape", [(8, 6), (7, 5), (1, 1)])
def test_half_the_resolution_is_the_mean_of_what_is_there(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    image[0, 0] = np.nan
    half = zoom.halve(image)
    for j, i in np.ndindex(half.shape):
        block = image[2 * j : 2 * j + 2, 2 * i : 2 * i + 2]
        block = block[np.isfinite(block)]
        # float32 result of a float64 sum.
        expected = block.mean(dtype=np.float64) if block.size else np.nan
        np.testing.assert_allclose(half[j, i], expected, rtol=1e-6)


def test_pyramid_shows_the_plane_upright(tmp_path: Path) -> None:
    ny, nx = 300, 700
    values = 1.0 + np.add.outer(np.arange(ny), np.arange(nx)).astype(np.float32) / 5.0

    def paint(part: np.ndarray) -> np.ndarray:
        return np.repeat(np.nan_to_num(part)[..., None], 3, axis=2).astype(np.uint8)

    n = zoom.write_pyramid(MemoryPlane(values), tmp_path, paint)
    _assert_whole(tmp_path, ny, nx)
    assert n == len(list(tmp_path.rglob("*.jpg")))
    with Image.open(tmp_path / "10" / "0_0.jpg") as image:
        first = np.asarray(image.convert("L"), dtype=float)
    # The upper left picture holds the last rows of the plane; JPEG of a smooth ramp errs by little.
    np.testing.assert_allclose(first, values[:-257:-1, :256], atol=4.0)
    with Image.open(tmp_path / "9" / "0_0.jpg") as image:
        second = np.asarray(image.convert("L"), dtype=float)
    means = values[::-1].reshape(150, 2, 350, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(second, means[:, :256], atol=4.0)


def _told(job_folder: Path) -> dict[str, object]:
    record = json.loads((job_folder / "report" / "report.json").read_text())
    del record["seconds"]
    return record


def test_what_is_made_ahead_is_what_is_made_afterwards(field: SimulatedSet, tmp_path: Path) -> None:
    files = [str(path) for path in field.files]
    results = []
    for name, memory in (("ample", 4 << 30), ("tight", 560 << 20)):
        options = SERIAL.model_copy(update={"memory": memory, "scheduler": "threads", "cores": 2})
        results.append(drizzle(files, str(tmp_path / name / "m"), options=options, clean=True))
    ample, tight = results
    assert ample.budget.reports_beside
    assert not tight.budget.reports_beside
    assert _told(ample.job_folder) == _told(tight.job_folder)
    for one, other in zip(ample.files, tight.files, strict=True):
        with fits.open(one) as first, fits.open(other) as second:
            difference = fits.FITSDiff(first, second, ignore_keywords=["DATE", "HISTORY"])
            assert difference.identical, difference.report()
