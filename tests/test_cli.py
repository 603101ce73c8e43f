"""The command line: light to import, exit codes, one-line errors, progress, log."""

from __future__ import annotations

import dataclasses
import inspect
import io
import logging
import subprocess
import sys
import threading
import types
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from mosaic.cli import app
from mosaic.cli.drizzle import parse_request
from mosaic.cli.logfile import logging_to
from mosaic.cli.progress import Display, LiveProgress
from mosaic.cli.simulate import parse_shape, simulate_command
from mosaic.compat.runastrodriz import PipelineReport
from mosaic.configfile import read_config
from mosaic.errors import BudgetError, MissingFileError, ParameterError
from mosaic.graph.progress import PhaseTotal, TaskRecord
from mosaic.parameters import load_settings
from mosaic.runlog import log_path
from mosaic.settings import Settings
from mosaic.simulate.params import SimulateParams
from mosaic.summary import format_rows, format_timings

ROOT = Path(__file__).resolve().parent.parent
SCIENTIFIC = (
    "numpy",
    "astropy",
    "numba",
    "dask",
    "distributed",
    "zarr",
    "xarray",
    "scipy",
    "matplotlib",
)
runner = CliRunner()


def _python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


# Importing


@pytest.mark.parametrize(
    "arguments", ["--help", "--version", "drizzle --help", "plan --help", "simulate --help"]
)
def test_help_loads_nothing_scientific(arguments: str) -> None:
    code = (
        "import sys\n"
        "from mosaic.cli import app\n"
        "try:\n    app()\nexcept SystemExit as leaving:\n    assert leaving.code == 0, leaving.code\n"
        f"print('LOADED', sorted(set({SCIENTIFIC!r}) & set(sys.modules)))\n"
    )
    done = _python(code, *arguments.split())
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("LOADED []")


def test_a_run_loads_no_coordinate_frames_and_others_can_load_them_later() -> None:
    code = (
        "import sys\n"
        "from mosaic.cli.lean import lean_imports\n"
        "with lean_imports():\n    from mosaic import pipeline\n"
        "from mosaic.cli.progress import Display, LiveProgress\n"
        "LiveProgress(Display.PLAIN).begin([])\n"
        "print([name for name in ('astropy.coordinates', 'fsspec', 'rich') if name in sys.modules])\n"
        "from astropy.coordinates import SkyCoord\n"
        "print(SkyCoord(1.0, 2.0, unit='deg').galactic.b.deg)\n"
    )
    done = _python(code)
    assert done.returncode == 0, done.stderr
    # By the definition of galactic coordinates: NGP at 192.85948, 27.12825 degrees.
    ra, dec, pole_ra, pole_dec = np.radians([1.0, 2.0, 192.85948, 27.12825])
    sine = np.sin(dec) * np.sin(pole_dec) + np.cos(dec) * np.cos(pole_dec) * np.cos(ra - pole_ra)
    absent, found = done.stdout.splitlines()
    assert absent == "[]"
    assert float(found) == pytest.approx(np.degrees(np.arcsin(sine)), abs=1e-3)


@pytest.mark.parametrize(("argument", "code"), [("--version", 0), ("--nonsense", 2)])
def test_the_program_leaves_with_its_code_and_does_what_is_due_at_exit(argument: str, code: int) -> None:
    done = _python(
        "import atexit, threading, time\n"
        "from mosaic.cli import main\n"
        "atexit.register(print, 'at exit')\n"
        "threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()\n"
        "main()\n",
        argument,
    )
    assert done.returncode == code
    assert done.stdout.splitlines()[-2:] == ["thread", "at exit"]


@pytest.mark.parametrize("command", ["drizzle", "plan", "simulate", "parameters"])
def test_every_command_shows_an_example(command: str) -> None:
    done = runner.invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert f"Example: mosaic {command}" in done.output


# Exit codes, with a pipeline that only records


@dataclass
class FakeResult:
    """Result of a run that did nothing."""

    products: tuple[Path, ...] = (Path("out_drc.fits"),)
    timings: tuple[tuple[str, float, str], ...] = (
        ("Initialization", 1.25, ""),
        ("Blot", 0.0, "skipped"),
        ("Total", 1.5, ""),
    )
    rejected: tuple[Exception, ...] = ()
    peak_memory_bytes: int = 412 * 2**20


@dataclass
class FakePipeline:
    """Pipeline that records its calls and raises what it is told to."""

    error: BaseException | None = None
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def drizzle(self, inputs: Sequence[str], output: str, **keywords: Any) -> FakeResult:
        self.calls.append((inputs, output, keywords))
        if self.error is not None:
            raise self.error
        observer = keywords["observer"]
        observer.begin([PhaseTotal("final", 2)])
        observer.task_done(_record("final"))
        observer.message("WARNING", "the sky is falling")
        return FakeResult()

    def plan(self, inputs: Sequence[str], output: str, **keywords: Any) -> Any:
        self.calls.append((inputs, output, keywords))
        if self.error is not None:
            raise self.error
        return types.SimpleNamespace(as_rows=lambda: [("frame", "30 x 20"), ("peak memory", "1 GiB")])


def _record(phase: str) -> TaskRecord:
    return TaskRecord(phase=phase, task="t", seconds=0.5, bytes_read=1, bytes_written=1, peak_rss=1)


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakePipeline:
    fake = FakePipeline()
    monkeypatch.setitem(sys.modules, "mosaic.pipeline", fake)
    monkeypatch.setattr(sys.modules["mosaic"], "pipeline", fake, raising=False)
    monkeypatch.chdir(tmp_path)
    return fake


def test_drizzle_passes_everything_on(pipeline: FakePipeline) -> None:
    done = runner.invoke(
        app,
        ["drizzle", "a.fits", "b.fits", "-o", "out", "-p", "final_scale=0.05", "-p", "build=yes",
         "--cores", "3", "--memory", "2GiB", "--tile", "256", "--scheduler", "serial",
         "--restart", "--on-error", "skip"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    ((inputs, output, keywords),) = pipeline.calls
    assert (tuple(inputs), output) == (("a.fits", "b.fits"), "out")
    settings, options = keywords["settings"], keywords["options"]
    assert (settings.final_scale, settings.final_wcs, settings.build) == (0.05, True, True)
    assert (options.cores, options.memory, options.tile) == (3, 2**31, 256)
    assert (options.scheduler, options.restart, options.on_error) == ("serial", True, "skip")


def test_products_go_to_stdout_and_the_report_to_stderr_and_the_log(pipeline: FakePipeline) -> None:
    done = runner.invoke(app, ["drizzle", "a.fits", "-o", "out", "-p", "runfile=run"])
    assert pipeline.calls
    assert done.stdout == "out_drc.fits\n"
    log = Path("run.log").read_text(encoding="utf-8")
    for text in (
        "Initialization                 1.25 s",
        "(skipped)",
        "Total",
        "412 MiB",
        "the sky is falling",
    ):
        assert text in done.stderr
        assert text in log
    assert "[WARNING ] the sky is falling" in log.splitlines()
    assert log.startswith("[INFO    ] mosaic drizzle: a.fits -> out")


def test_quiet_prints_products_only(pipeline: FakePipeline) -> None:
    done = runner.invoke(app, ["drizzle", "a.fits", "-o", "out", "--quiet"])
    assert pipeline.calls
    assert (done.stdout, done.stderr) == ("out_drc.fits\n", "")
    assert "Total" in Path("astrodrizzle.log").read_text(encoding="utf-8")


def test_plan_prints_two_columns_and_leaves_no_file(pipeline: FakePipeline) -> None:
    done = runner.invoke(app, ["plan", "a.fits", "-o", "out"])
    assert pipeline.calls
    assert done.stdout == "frame        30 x 20\npeak memory  1 GiB\n"
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("error", "exit_code", "text"),
    [
        (ParameterError("skymethod is odd"), 2, "mosaic: skymethod is odd\n"),
        (BudgetError("give at least\n900 MiB"), 1, "mosaic: give at least 900 MiB\n"),
        (
            MissingFileError("a.fits", "no such file", "check the name"),
            1,
            "mosaic: a.fits: no such file; check the name\n",
        ),
        (OSError(28, "No space left on device"), 1, "mosaic: [Errno 28] No space left on device\n"),
        (MemoryError(), 1, "mosaic: out of memory"),
        (KeyboardInterrupt(), 1, "mosaic: interrupted; the same command continues"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("command", ["drizzle", "plan"])
def test_failures_are_one_line_with_an_exit_code(
    pipeline: FakePipeline, command: str, error: BaseException, exit_code: int, text: str
) -> None:
    pipeline.error = error
    done = runner.invoke(app, [command, "a.fits", "-o", "out"])
    assert done.exit_code == exit_code
    assert done.stderr.startswith(text)
    assert done.stderr.count("\n") == 1


def test_the_log_keeps_the_reason_of_a_failure(pipeline: FakePipeline) -> None:
    pipeline.error = BudgetError("give at least 900 MiB")
    runner.invoke(app, ["drizzle", "a.fits", "-o", "out"])
    assert (
        "[ERROR   ] give at least 900 MiB"
        in Path("astrodrizzle.log").read_text(encoding="utf-8").splitlines()
    )


def test_debug_lets_the_traceback_through(pipeline: FakePipeline) -> None:
    pipeline.error = BudgetError("too little")
    done = runner.invoke(app, ["drizzle", "a.fits", "-o", "out", "--debug"])
    assert isinstance(done.exception, BudgetError)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["drizzle"], "no INPUT is given; no output is given"),
        (["drizzle", "a.fits", "-o", "out", "-p", "final_scal=1"], "unknown parameter final_scal"),
        (["drizzle", "a.fits", "-o", "out", "-p", "blot=2", "--memory", "x", "--tile", "1"],
         "blot = '2'.*memory = 'x'.*tile = 1"),
        (["plan", "a.fits", "-o", "out", "-c", "absent.toml"], "parameter file absent.toml: cannot be read"),
        (["simulate", "out", "--chip-shape", "12"], "'12' is not of the form NYxNX"),
        (["parameters", "zzz"], "no parameter contains zzz"),
        (["drizzle", "--nonsense"], "No such option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_bad_usage_exits_with_2(pipeline: FakePipeline, arguments: list[str], text: str) -> None:
    done = runner.invoke(app, arguments)
    assert done.exit_code == 2
    assert not pipeline.calls
    assert _contains_in_order(done.stderr, text.split(".*"))


def _contains_in_order(text: str, parts: Sequence[str]) -> bool:
    position = 0
    for part in parts:
        position = text.find(part, position)
        if position < 0:
            return False
    return True


def test_inputs_and_output_may_come_from_the_parameter_file(tmp_path: Path) -> None:
    config = tmp_path / "run.cfg"
    config.write_text("input = 'x_flc.fits'\noutput = from_file\nnum_cores = 1\n", encoding="utf-8")
    options = dict.fromkeys(("cores", "memory", "tile", "scheduler", "on_error"))
    request = parse_request([], "", config, [], **options)
    assert (request.inputs, request.output, request.options.cores) == (("x_flc.fits",), "from_file", 1)
    request = parse_request(["y.fits"], "given", config, [], **(options | {"cores": 2}))
    assert (request.inputs, request.output, request.options.cores) == (("y.fits",), "given", 2)


def test_unexpected_errors_are_one_line_without_debug() -> None:
    code = (
        "from mosaic.cli.failure import install_excepthook\n"
        "install_excepthook()\n"
        "raise RuntimeError('two\\nlines')"
    )
    done = _python(code)
    assert done.returncode == 1
    assert done.stderr == "mosaic: unexpected RuntimeError: two lines (add --debug for the traceback)\n"
    assert "Traceback" in _python(code, "--debug").stderr


def test_a_reader_that_leaves_early_is_no_error_message() -> None:
    command = f"{sys.executable} -m mosaic.cli parameters | true"
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""


# Parameters and simulate


def test_parameters_lists_every_name_with_its_default() -> None:
    lines = runner.invoke(app, ["parameters"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(Settings.model_fields)
    (line,) = runner.invoke(app, ["parameters", "combine_nsigma"]).stdout.splitlines()
    assert line.split()[1:3] == ["4", "3"]


@pytest.mark.parametrize("name", ["saved.toml", "saved.cfg"])
def test_parameters_are_saved_with_those_of_a_file(tmp_path: Path, name: str) -> None:
    config, saved = tmp_path / "run.cfg", tmp_path / name
    config.write_text("input = '*_flc.fits'\noutput = m51\nskyclip = 3\n", encoding="utf-8")
    arguments = ["parameters", "-c", str(config), "-p", "final_rot=12.5", "--save", str(saved)]
    done = runner.invoke(app, arguments)
    assert (done.exit_code, done.stdout.strip()) == (0, str(saved))
    file = read_config(saved)
    assert (file.inputs, file.output) == (("*_flc.fits",), "m51")
    settings = load_settings(saved)
    assert (settings.skyclip, settings.final_rot, settings.final_wcs) == (3, 12.5, True)
    assert runner.invoke(app, [*arguments, "-p", "skyclip=x"]).exit_code == 2


def test_a_drizzlepac_file_may_leave_the_output_to_the_inputs(tmp_path: Path) -> None:
    config = tmp_path / "astrodrizzle.cfg"
    config.write_text('input = "*_flc.fits"\noutput = ""\n', encoding="utf-8")
    options = dict.fromkeys(("cores", "memory", "tile", "scheduler", "on_error"))
    assert parse_request([], "", config, [], **options).output == ""
    with pytest.raises(ParameterError, match="no output is given"):
        parse_request(["x.fits"], "", None, [], **options)


def test_runastrodriz_passes_its_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, object]] = []

    def fake(name: str, **arguments: object) -> PipelineReport:
        calls.append({"name": name} | arguments)
        return PipelineReport((Path("p_drc.fits"),), Path("p.tra"), None)

    monkeypatch.setattr("mosaic.compat.runastrodriz.process", fake)
    done = runner.invoke(app, ["runastrodriz", "x_asn.fits", "work", "-f", "-b", "-g", "-m", "-n", "2"])
    assert (done.exit_code, done.stdout.split()) == (0, ["p_drc.fits", "p.tra"])
    assert calls == [
        {"name": "x_asn.fits", "force": True, "newpath": "work", "num_cores": 2, "inmemory": False,
         "headerlets": False, "align_to_gaia": False, "force_alignment": False, "do_verify_guiding": False,
         "debug": False, "make_manifest": True, "catalog": None}
    ]  # fmt: skip


def test_simulate_passes_only_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def simulate(outdir: Path, **keywords: Any) -> Any:
        calls.append((outdir, keywords))
        return types.SimpleNamespace(paths=(outdir / "a_flc.fits",))

    monkeypatch.setitem(sys.modules, "mosaic.simulate", types.SimpleNamespace(simulate=simulate))
    done = runner.invoke(
        app, ["simulate", "out", "--exposures", "2", "--chip-shape", "32x64", "--roll", "30"]
    )
    assert done.exit_code == 0, done.output
    assert calls == [(Path("out"), {"exposures": 2, "roll_deg": 30.0, "chip_shape": (32, 64)})]
    assert done.stdout == f"{Path('out/a_flc.fits')}\n"


def test_every_option_of_simulate_is_a_choice_of_the_simulator() -> None:
    options = set(inspect.signature(simulate_command).parameters) - {"outdir", "debug"}
    assert options <= {choice.name for choice in dataclasses.fields(SimulateParams)}


@pytest.mark.parametrize("text", ["12", "x", "3x", "axb", "-3x4"])
def test_chip_shapes_are_rows_by_columns(text: str) -> None:
    assert parse_shape("256x512") == (256, 512)
    with pytest.raises(ParameterError, match="NYxNX"):
        parse_shape(text)


# Progress


class Clock:
    """Clock that moves when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _progress(display: Display, *, is_terminal: bool = False) -> tuple[LiveProgress, io.StringIO, Clock]:
    screen, clock = io.StringIO(), Clock()
    console = Console(file=screen, force_terminal=is_terminal, width=120)
    return LiveProgress(display, console, clock), screen, clock


def test_plain_progress_prints_ten_lines_a_phase_with_rate_time_and_memory() -> None:
    progress, screen, clock = _progress(Display.PLAIN)
    with progress:
        progress.begin([PhaseTotal("final", 40)])
        progress.memory(2**20, 2**31)
        for _ in range(40):
            clock.now += 0.5
            progress.task_done(_record("final"))
    lines = screen.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[0] == "Final drizzle: 4/40 tiles  2.0/s  0:18 left  memory 1 MiB of 2.00 GiB"
    assert lines[-1] == "Final drizzle: 40/40 tiles  2.0/s  memory 1 MiB of 2.00 GiB"


def test_a_small_phase_prints_one_line_per_task() -> None:
    progress, screen, clock = _progress(Display.PLAIN)
    progress.begin([PhaseTotal("sky", 3)])
    for _ in range(3):
        clock.now += 4.0
        progress.task_done(_record("sky"))
    assert [line.split("  ")[0] for line in screen.getvalue().splitlines()] == [
        f"Subtract sky: {n}/3 chips" for n in (1, 2, 3)
    ]
    assert "4.0 s each" in screen.getvalue()


def test_tasks_of_an_earlier_run_count_as_done_but_not_for_the_rate() -> None:
    progress, screen, clock = _progress(Display.PLAIN)
    progress.begin([PhaseTotal("median", 10, n_done=8)])
    clock.now = 2.0
    progress.task_done(_record("median"))
    first, second = screen.getvalue().splitlines()
    assert first == "Separate drizzle, median: 8/10 tiles (done by an earlier run)"
    assert second == "Separate drizzle, median: 9/10 tiles  2.0 s each  0:02 left"


def test_the_rate_of_a_phase_starts_when_the_phase_before_it_ended() -> None:
    progress, screen, clock = _progress(Display.PLAIN)
    progress.begin([PhaseTotal("sky", 1), PhaseTotal("final", 2)])
    clock.now = 100.0
    progress.task_done(_record("sky"))
    clock.now = 101.0
    progress.task_done(_record("final"))
    assert "Final drizzle: 1/2 tiles  1.0/s  0:01 left" in screen.getvalue()


@pytest.mark.parametrize("display", [Display.LIVE, Display.QUIET])
def test_live_bars_need_a_terminal_and_quiet_shows_nothing(display: Display) -> None:
    progress, screen, clock = _progress(display, is_terminal=True)
    with progress:
        progress.begin([PhaseTotal("final", 2), PhaseTotal("unheard of", 1)])
        clock.now = 1.0
        progress.task_done(_record("final"))
        progress.task_done(_record("not announced"))
        progress.memory(2**30, 2**31)
    shown = screen.getvalue()
    if display is Display.QUIET:
        assert shown == ""
    else:
        assert "Final drizzle" in shown
        assert "1/2 tiles" in shown
        assert "memory 1.00 GiB of 2.00 GiB" in shown


def test_the_live_display_is_removed_after_an_error_and_ending_twice_is_harmless() -> None:
    progress, _, _ = _progress(Display.LIVE, is_terminal=True)

    def fail() -> None:
        with progress:
            progress.begin([PhaseTotal("final", 2)])
            raise BudgetError("too little")

    with pytest.raises(BudgetError, match="too little"):
        fail()
    progress.end(ok=False)
    # A second display on the same console is refused by rich while the first one is alive.
    with LiveProgress(Display.LIVE, progress.console) as second:
        second.begin([PhaseTotal("final", 1)])


def test_no_task_is_lost_when_threads_report_at_once() -> None:
    progress, screen, clock = _progress(Display.PLAIN)
    progress.begin([PhaseTotal("final", 400)])
    clock.now = 1.0
    threads = [
        threading.Thread(target=lambda: [progress.task_done(_record("final")) for _ in range(50)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "400/400" in screen.getvalue().splitlines()[-1]


# Log


@pytest.mark.parametrize(
    ("runfile", "expected"), [("", None), ("a", "a.log"), ("a.log", "a.log"), ("x/a.txt", "x/a.txt.log")]
)
def test_the_log_gets_its_ending_and_blank_means_none(runfile: str, expected: str | None) -> None:
    assert log_path(runfile) == (None if expected is None else Path(expected))


def test_the_log_is_appended_to_and_catches_warnings_and_the_screen_stays_clean(tmp_path: Path) -> None:
    screen = io.StringIO()
    runfile = str(tmp_path / "deep" / "run.log")
    for number in (1, 2):
        with logging_to(runfile, lambda: Console(file=screen), quiet=True) as log, warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(capture=True)
            log.info("run %d", number)
            log.debug("unseen")
            log.error("broken %d", number)
            logging.getLogger("mosaic.part").warning("from a part")
            warnings.warn("a library complains", UserWarning, stacklevel=1)
    lines = Path(runfile).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if "run" in line and "INFO" in line] == [
        "[INFO    ] run 1",
        "[INFO    ] run 2",
    ]
    assert lines.count("[WARNING ] from a part") == 2
    assert sum("a library complains" in line for line in lines) >= 2
    assert screen.getvalue().splitlines() == ["broken 1", "broken 2"]
    assert logging.getLogger("mosaic").handlers == []


# Reports


def test_rows_are_aligned() -> None:
    assert format_rows([("a", "1"), ("long name", "2"), ("none", "")]) == "a          1\nlong name  2\nnone"
    assert format_rows([]) == ""


def test_the_total_is_said_to_be_of_the_clock() -> None:
    rows = [("Static Mask", 1.5, ""), ("Blot", 0.25, "off"), ("Total", 9.0, "")]
    lines = list(format_timings(rows))
    assert lines[-1].split() == ["Total", "(wall", "clock)", "9.00", "s"]
    assert lines[2].endswith("(off)")
