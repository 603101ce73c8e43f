"""The harness's own arithmetic, texts and refusals; nothing is timed here."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from mosaic.simulate import simulate
from tests.bench import contenders, figures
from tests.bench.__main__ import CASES, main, parse_arguments
from tests.bench.contenders import (
    CONTENDERS,
    Contender,
    Outcome,
    Tools,
    find_oracle,
    read_stages,
    run_in_turn,
)
from tests.bench.figures import Target
from tests.bench.growth import fixed_frame
from tests.bench.jobs import JOBS
from tests.bench.kernels import affine_of, pixel_positions, wall_of_threads
from tests.bench.plots import draw
from tests.bench.prepare import tpv_header
from tests.bench.report import overhead_of, peak_bytes, targets, write
from tests.bench.results import Results
from tests.bench.sets import AREAS, KNOWN, QUICK
from tests.parity.cases import Case, ExposureSet
from tests.parity.measure import CommandError, Measured, run_measured
from tests.parity.oracle import Oracle
from tests.parity.programs import Workshop
from tests.support.maps import distorted_model, linear_model

MIB = 1 << 20


def _run(seconds: float, cpu: float = 0.0, mib: float = 100.0, **stages: float) -> dict[str, Any]:
    measured = Measured(seconds, 0, int(mib * MIB), 1, cpu, 0, 30 * MIB)
    return Outcome(measured, stages, 10 * MIB, 20 * MIB).to_dict()


def _row(*runs: dict[str, Any], error: str | None = None, **more: Any) -> dict[str, Any]:
    return {"runs": list(runs), "error": error, **more}


def test_median_ratio_and_spread() -> None:
    assert figures.median([3.0, 1.0, 10.0]) == 3.0
    assert figures.median([3.0, 1.0]) == 2.0
    assert figures.median([]) is None
    assert figures.ratio(6.0, 4.0) == 1.5
    assert (figures.ratio(None, 4.0), figures.ratio(6.0, None), figures.ratio(6.0, 0.0)) == (None, None, None)


def test_cost_per_exposure_leaves_fixed_costs_out() -> None:
    counts = [4, 8, 16]
    assert figures.increments(counts, [7.0 + 0.5 * n for n in counts]) == pytest.approx([0.5, 0.5])
    assert figures.straight_line(counts, [7.0 + 0.5 * n for n in counts]) == pytest.approx((7.0, 0.5))
    assert figures.change_of_increment(counts, [7.0 + 0.5 * n for n in counts]) == pytest.approx(0.0)
    # Squares: one more costs 4 from 1 to 3, 8 from 3 to 5.
    assert figures.change_of_increment([1, 2, 3, 4, 5], [1.0, 4.0, 9.0, 16.0, 25.0]) == pytest.approx(1.0)
    assert figures.change_of_increment([1, 2], [1.0, 4.0]) is None


def test_overhead_is_what_neither_tasks_nor_serial_steps_took() -> None:
    assert figures.overhead(total=10.0, serial=3.0, work=12.0, n_parallel=2) == pytest.approx(0.1)


def test_overhead_is_read_from_the_timing_table() -> None:
    stages = {"Initialization": 1.0, "Export": 2.0, "Final Drizzle": 8.0, "Static Mask": 4.0}
    row = _row(_run(11.0, **stages, **{"Total (wall clock)": 10.0}))
    assert overhead_of(row, 2) == pytest.approx(0.1)
    assert overhead_of(_row(), 2) is None


@pytest.mark.parametrize(
    ("measured", "is_minimum", "verdict"),
    [(2.0, True, "met"), (1.9, True, "**missed**"), (2.1, False, "**missed**"), (None, True, "not measured")],
)
def test_targets_are_judged(measured: float | None, *, is_minimum: bool, verdict: str) -> None:
    cells = Target("speed", measured, 2.0, is_minimum).cells()
    assert cells[0] == "speed"
    assert cells[1] == (">= 2" if is_minimum else "<= 2")
    assert cells[3] == verdict


def test_texts_of_figures() -> None:
    assert [figures.number(x) for x in (None, 0.456, 12.34, 1234.5)] == ["-", "0.46", "12.3", "1234"]
    assert figures.repeated([3.0, 1.0, 10.0]) == "3.00 (1.00 - 10.0)"
    assert (figures.repeated([2.0]), figures.repeated([])) == ("2.00", "-")
    assert (figures.mebibytes(3.4 * MIB), figures.mebibytes(0)) == ("3", "-")


def test_table_keeps_its_columns_whatever_the_cells_hold() -> None:
    assert figures.table(["a", "b"], [["1|2", "x\ny"]]) == ["| a | b |", "| --- | --- |", "| 1\\|2 | x y |"]


def test_timing_reports_of_both_programs_are_read(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.log", tmp_path / "theirs.log"
    ours.write_text(
        "[INFO    ] Step                        All cores\n"
        "[INFO    ] Initialization                 1.50 s\n"
        "[INFO    ] Separate Drizzle               0.00 s  (off or done before)\n"
        "[INFO    ] Total (wall clock)             3.25 s\n[INFO    ] Peak memory   539 MiB\n"
    )
    theirs.write_text(
        "[INFO    ]    Driz_CR                       2.9197 sec \n[INFO    ] reference sky: 3 s\n"
    )
    expected = {"Initialization": 1.5, "Separate Drizzle": 0.0, "Total (wall clock)": 3.25}
    assert read_stages(ours) == expected
    assert read_stages(theirs) == {"Driz_CR": 2.9197}
    assert read_stages(tmp_path / "absent.log") == {}


def test_targets_use_the_faster_peer_and_the_whole_memory() -> None:
    rows = {
        "mosaic": _row(_run(2.0, 4.0), _run(4.0, 4.0), _run(3.0, 4.0)),
        "DrizzlePac in memory": _row(_run(45.0, 60.0)),
        "DrizzlePac on disk": _row(_run(36.0, 80.0)),
        "SWarp": _row(error="no SWarp on PATH"),
    }
    counts = [_row(_run(1.0, 2.0 + n, 900.0 + n), n=n) for n in (4, 16, 64)]
    found = {t.label: t for t in targets({"job-acs4": {"rows": rows}, "exposures": {"rows": counts}})}
    assert found["4 x ACS/WFC, wall, DrizzlePac / mosaic"].measured == 12.0
    assert found["4 x ACS/WFC, CPU, DrizzlePac / mosaic"].measured == 15.0
    assert found["16 x ACS/WFC, wall, DrizzlePac / mosaic"].measured is None
    assert found["4 x ACS/WFC, wall, SWarp / mosaic"].is_met is None
    assert found["memory, 64 exposures, MiB"].measured == pytest.approx(964.0)
    assert found["cost of one more exposure, change from few to many"].measured == pytest.approx(
        0.0, abs=1e-9
    )
    assert found["disk written / products, 4 x ACS/WFC"].measured == 3.0


def test_peak_is_the_larger_of_the_two_ways_to_see_it() -> None:
    run = _run(1.0, mib=10.0)
    run["measured"]["largest_rss_bytes"] = 12 * MIB
    assert peak_bytes(_row(run)) == 12 * MIB
    assert peak_bytes(_row()) is None


def _tools(tmp_path: Path, oracle: Path) -> Tools:
    shop = Workshop(tmp_path, tmp_path / "sets", tmp_path, Oracle(oracle), known=KNOWN)
    folder = tmp_path / "sets" / "acs_full"
    folder.mkdir(parents=True)
    (folder / "j1_flc.fits").write_bytes(b"x")
    return Tools(shop, tmp_path / "nothing" / "python")


def test_missing_contenders_are_refused_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(contenders, "swarp_program", lambda: None)
    tools = _tools(tmp_path, tmp_path / "no-oracle")
    missing = {name: contender.missing(tools) for name, contender in CONTENDERS.items()}
    assert missing["mosaic"] is None
    assert "apt-get install swarp" in str(missing["SWarp"])
    assert "--others-python" in str(missing["reproject"])
    assert "--oracle-python" in str(missing["DrizzlePac on disk"])
    kept: list[dict[str, Any]] = []
    run_in_turn(tools, Case("job", "acs_full"), ("SWarp", "reproject"), 2, kept.append)
    assert kept == []
    assert capsys.readouterr().out.count("left out") == 2


def test_an_interpreter_without_the_peer_is_refused() -> None:
    assert "has no DrizzlePac" in str(find_oracle(Path(sys.executable))[1])


def test_a_failing_contender_is_not_run_again_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, bool]] = []

    def contender(name: str, *, fails: bool) -> Contender:
        def run(tools: Tools, case: Case) -> Outcome:
            calls.append((name, tools.is_sampled))
            if fails:
                raise CommandError("exit status 1: first line\nlast line")
            return Outcome(Measured(1.0, 0, 0, 1), {}, 1, 1)

        return Contender(name, run, lambda _: None, lambda _: "1")

    found = {"good": contender("good", fails=False), "bad": contender("bad", fails=True)}
    monkeypatch.setattr(contenders, "CONTENDERS", found)
    kept: list[dict[str, Any]] = []
    run_in_turn(_tools(tmp_path, tmp_path), Case("job", "acs_full"), ("bad", "good"), 3, kept.append)
    assert calls == [("bad", True), ("good", True), ("good", False), ("good", False)]
    assert kept[-1]["bad"]["error"] == "failed: exit status 1: last line"
    assert len(kept[-1]["good"]["runs"]) == 3


def test_measured_command_reports_cost_and_failure(tmp_path: Path) -> None:
    code = "import sys; open('out', 'wb').write(bytes(4_000_000)); sys.exit(int(sys.argv[1]))"
    command = [sys.executable, "-c", code]
    found = run_measured([*command, "0"], tmp_path, {}, tmp_path / "log", is_sampled=False)
    assert found.seconds > 0.0
    assert found.cpu_seconds > 0.0
    assert found.largest_rss_bytes > 4 * MIB
    assert found.peak_pss_bytes == 0
    with pytest.raises(CommandError, match="exit status 3"):
        run_measured([*command, "3"], tmp_path, {}, tmp_path / "log")
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(CommandError, match="did not end within"):
        run_measured(sleep, tmp_path, {}, tmp_path / "log", timeout_s=0.2)


def test_results_of_several_calls_add_up(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    Results(path).put("kernels", {"rows": []})
    Results(path).put("start", {"rows": [1]})
    assert set(json.loads(path.read_text())["cases"]) == {"kernels", "start"}
    assert Results(path).case("start")["rows"] == [1]
    assert Results(path).case("area") == {}


def test_page_is_written_from_partial_results(tmp_path: Path) -> None:
    rows = {
        "mosaic": _row(_run(2.0, 4.0, **{"Final Drizzle": 3.0})),
        "DrizzlePac on disk": _row(_run(36.0, 80.0, **{"Final Drizzle": 15.0})),
        "SWarp": _row(error="no SWarp on PATH"),
    }
    content = {
        "machine": {"processor": "P"},
        "versions": {"mosaic": "1"},
        "cases": {"job-acs4": {"rows": rows, "when": "now", "load": 0.1}},
    }
    page = write(content, ["img/a.png"], is_quick=False)
    assert "| 4 x ACS/WFC, wall, DrizzlePac / mosaic | >= 10 | 18.0 | met |" in page
    assert "| Final Drizzle | 1.50 | 15.0 | 10.0 |" in page
    assert "| SWarp | no SWarp on PATH |" in page
    assert page.count("Not run.") == len(CASES) - 1
    assert "Quick run" not in page
    assert "Quick run" in write(content, [], is_quick=True)
    assert [path.name for path in draw(content["cases"], tmp_path)] == ["performance-jobs.png"]


def test_page_can_be_made_without_running_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "page.md"
    assert main(["--report-only", "--work", str(tmp_path), "--report", str(report)]) == 0
    assert report.read_text().count("not measured") == len(targets({}))
    assert str(report) in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["nonsense"], ["--repeats", "0"], ["--contenders", "nobody"]])
def test_bad_usage_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_arguments(arguments)
    capsys.readouterr()


def test_a_quick_run_never_replaces_the_page(tmp_path: Path) -> None:
    assert parse_arguments(["--quick", "--work", str(tmp_path)]).report == tmp_path / "performance.md"
    assert parse_arguments([]).report.parts[-2:] == ("docs", "performance.md")


def test_every_set_exists_in_both_sizes() -> None:
    names = {job.exposures for job in JOBS.values()} | {"growth", *(f"area_{fields}" for fields in AREAS)}
    assert names | {name + QUICK for name in names} <= set(KNOWN)
    for fields, n in AREAS.items():
        columns, rows = map(int, fields.split("x"))
        assert columns * rows * n == 16


@pytest.fixture(scope="module")
def exposure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    return simulate(folder, instrument="acs/wfc", exposures=1, chip_shape=(160, 256), seed=5).files[0]


def test_plain_images_keep_the_sky_to_a_tenth_of_a_pixel(exposure: Path) -> None:
    with fits.open(exposure) as hdul:
        header = hdul["SCI", 1].header
        x, y = (a.ravel() for a in np.meshgrid(np.arange(1.0, 256.0, 7), np.arange(1.0, 160.0, 7)))
        true = WCS(header, hdul).all_pix2world(x, y, 1)
        plain = WCS(tpv_header(header, hdul)).all_pix2world(x, y, 1)
    offset_px = np.hypot((plain[0] - true[0]) * np.cos(np.radians(true[1])), plain[1] - true[1]) * 3600 / 0.05
    assert offset_px.max() < 0.1
    assert offset_px.max() > 0.0  # the look-up tables are not in the polynomial


def test_a_run_that_would_fill_the_disk_is_refused(
    exposure: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = exposure.parent.name
    shop = Workshop(
        tmp_path, exposure.parent.parent, tmp_path, Oracle(tmp_path), known={name: ExposureSet(name, {})}
    )
    contenders.require_disk(Tools(shop), Case("job", name), in_memory=False)
    monkeypatch.setattr(contenders.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 100_000))
    with pytest.raises(CommandError, match="GiB of disk"):
        contenders.require_disk(Tools(shop), Case("job", name), in_memory=True)


def test_fixed_frame_is_that_of_all_exposures(exposure: Path, tmp_path: Path) -> None:
    parameters = fixed_frame((exposure,), tmp_path)
    with fits.open(exposure) as hdul:
        middle = WCS(hdul["SCI", 1].header, hdul).all_pix2world(128.0, 160.0, 1)
    assert parameters["final_ra"] == parameters["driz_sep_ra"]
    assert abs(parameters["final_ra"] - middle[0]) * 3600 < 5.0
    assert abs(parameters["final_dec"] - middle[1]) * 3600 < 5.0
    assert parameters["final_scale"] == pytest.approx(0.05, rel=0.02)
    assert 0.9 * 256 * 320 < parameters["final_outnx"] * parameters["final_outny"] < 2.0 * 256 * 320


def test_affine_map_is_recovered_and_positions_follow_it() -> None:
    model = linear_model(((0.9, -0.2), (0.3, 1.1)), (5.0, -3.0))
    found = affine_of(model, (40, 60))
    np.testing.assert_allclose(found.homography, model.homography, atol=1e-10)
    positions = pixel_positions(found, (40, 60))
    np.testing.assert_allclose(positions[7, 11], [0.9 * 11 - 0.2 * 7 + 5.0, 0.3 * 11 + 1.1 * 7 - 3.0])
    bent = distorted_model(3, (40, 60))
    offset = pixel_positions(affine_of(bent, (40, 60)), (40, 60)) - pixel_positions(bent, (40, 60))
    assert np.abs(offset).max() < 2.0


def test_threads_are_timed_from_the_first_start_to_the_last_end() -> None:
    inside = threading.Barrier(2)

    def meet() -> float:
        inside.wait(timeout=10.0)  # both works are under way, or this fails
        return 0.0

    assert wall_of_threads([meet, meet]) > 0.0
