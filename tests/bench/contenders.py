"""The programs that are run on whole jobs, how each is started, and why one may be missing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mosaic import pipeline
from tests.bench.prepare import FRAME, Prepared
from tests.parity.cases import Case
from tests.parity.measure import CommandError, Measured, run_measured
from tests.parity.oracle import QUIET, ensure_oracle
from tests.parity.programs import OUTPUT, REPOSITORY, Workshop
from tests.parity.runs import Run

CORES = 2
COADD = "coadd.fits"
_ENDED = "ended"
"""Folders of runs that are over."""
_STEP = re.compile(r"^\[INFO *\] +(\S[^:\n]*?) {2,}([0-9.]+) s(?:ec)?\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of one program."""

    measured: Measured
    stages: Mapping[str, float]
    """Seconds by step, as the program reports them."""
    product_bytes: int
    """Size of the products."""
    left_bytes: int
    """Size of everything the run left besides copies of its inputs."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Tools:
    """Where everything is."""

    shop: Workshop
    others: Path | None = None
    """Interpreter that has `reproject`."""
    prepared: dict[str, Prepared] = field(default_factory=dict)
    """Inputs of programs that want plain images, by case."""
    is_sampled: bool = True
    """Whether the memory of runs is sampled."""

    @property
    def oracle(self) -> Path:
        """Interpreter with DrizzlePac."""
        return self.shop.oracle.python

    def inputs_for_others(self, case: Case) -> Prepared:
        """Single-extension images of a case; made once, outside the timing."""
        if case.name not in self.prepared:
            exposures = self.shop.exposures(case.exposures, case.n_exposures)
            folder = self.shop.work / "plain" / case.name
            self.prepared[case.name] = Prepared.make(exposures, folder)
        return self.prepared[case.name]


@dataclass(frozen=True, slots=True)
class Contender:
    """A program with the options it is run with."""

    name: str
    run: Callable[[Tools, Case], Outcome]
    missing: Callable[[Tools], str | None]
    """Why it cannot be run; None when it can."""
    version: Callable[[Tools], str]


def read_stages(log: Path) -> dict[str, float]:
    """Timing report at the end of a log, of either program; steps that did not run are absent."""
    if not log.exists():
        return {}
    return {name: float(seconds) for name, seconds in _STEP.findall(log.read_text(errors="replace"))}


def run_mosaic(tools: Tools, case: Case, cores: int = CORES, *extra: str) -> Outcome:
    """Run ``mosaic drizzle`` with default parameters; the job folder it keeps counts as left on disk."""
    run, measured = tools.shop.time_mosaic(case, cores, *extra, is_sampled=tools.is_sampled)
    return _outcome(run, measured, read_stages(run.folder / "astrodrizzle.log"))


def run_drizzlepac(tools: Tools, case: Case, *, in_memory: bool) -> Outcome:
    """Run AstroDrizzle with default parameters, except that it keeps neither intermediates nor originals."""
    require_disk(tools, case, in_memory=in_memory)
    options = {"in_memory": in_memory, "clean": True, "preserve": False}
    run, measured = tools.shop.time_drizzlepac(case, CORES, is_sampled=tools.is_sampled, **options)
    return _outcome(run, measured, read_stages(run.folder / "astrodrizzle.log"))


def require_disk(tools: Tools, case: Case, *, in_memory: bool) -> None:
    """Refuse a run of DrizzlePac that would fill the disk.

    It works on copies of the exposures and, on disk, keeps two planes of the whole frame for each of them.

    Raises
    ------
    CommandError
        Naming what is needed.
    """
    exposures = tools.shop.exposures(case.exposures, case.n_exposures)
    shape = pipeline.plan(list(map(str, exposures)), str(tools.shop.work / "plan")).plan.final.grid.shape_yx
    planes = 6 if in_memory else 6 + 2 * len(exposures)
    needed = 2 * sum(path.stat().st_size for path in exposures) + 4 * planes * shape.ny * shape.nx
    free = shutil.disk_usage(tools.shop.work).free
    if free < needed:
        raise CommandError(f"needs about {needed / 2**30:.1f} GiB of disk, {free / 2**30:.1f} GiB are free")


def _outcome(run: Run, measured: Measured, stages: Mapping[str, float]) -> Outcome:
    found = [*run.folder.glob(f"{OUTPUT}_dr?*.fits"), *run.folder.glob(COADD.replace(".", "*."))]
    products = sum(path.stat().st_size for path in found)
    copies = {path.name for path in run.inputs}
    left = sum(p.stat().st_size for p in run.folder.rglob("*") if p.is_file() and p.name not in copies)
    _set_aside(run.folder, copies)
    return Outcome(measured, stages, products, left)


def _set_aside(folder: Path, copies: Collection[str]) -> None:
    """Move what a run left out of the way of the next, less the copies of its inputs.

    It is removed when the case is over (`remove_ended`): for a minute after many files were removed ext4
    makes new ones slowly, at the cost of whichever program runs next.
    """
    for path in [path for path in folder.rglob("*") if path.name in copies]:
        path.unlink()
    ended = folder.parent / _ENDED
    ended.mkdir(exist_ok=True)
    folder.rename(ended / f"{folder.name}-{time.time_ns()}")


def remove_ended(work: Path) -> None:
    """Remove what the runs of a case left."""
    for folder in work.rglob(_ENDED):
        shutil.rmtree(folder)


def swarp_command(prepared: Prepared, program: str) -> list[str]:
    """Command line of SWarp: resample with its default Lanczos-3 and combine by the median."""
    options = {
        "IMAGEOUT_NAME": COADD,
        "WEIGHTOUT_NAME": "coadd.weight.fits",
        "WEIGHT_TYPE": "MAP_WEIGHT",
        "COMBINE_TYPE": "MEDIAN",
        "RESAMPLE_DIR": ".",
        "NTHREADS": str(CORES),
        "WRITE_XML": "N",
    }
    settings = [part for name, value in options.items() for part in (f"-{name}", value)]
    return [program, *map(str, prepared.images), *settings]


def _run_swarp(tools: Tools, case: Case) -> Outcome:
    prepared = tools.inputs_for_others(case)
    folder = _fresh(tools.shop.work / "swarp" / case.name)
    shutil.copyfile(prepared.frame_text, folder / f"{Path(COADD).stem}.head")
    return _run_plain(tools, folder, swarp_command(prepared, str(swarp_program())))


def _run_reproject(tools: Tools, case: Case) -> Outcome:
    prepared = tools.inputs_for_others(case)
    folder = _fresh(tools.shop.work / "reproject" / case.name)
    job = {"images": list(map(str, prepared.images)), "frame": str(prepared.folder / FRAME), "output": COADD}
    (folder / "job.json").write_text(json.dumps(job))
    script = Path(__file__).with_name("reproject_job.py")
    return _run_plain(tools, folder, [str(tools.others), str(script), "job.json"])


def _run_plain(tools: Tools, folder: Path, command: list[str]) -> Outcome:
    measured = run_measured(command, folder, QUIET, folder / "out.log", is_sampled=tools.is_sampled)
    if not (folder / COADD).exists():
        raise CommandError(f"{command[0]} wrote no {COADD}")
    return _outcome(Run(folder, OUTPUT, folder, ()), measured, {})


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def swarp_program() -> str | None:
    """Path of SWarp, under either of its names."""
    return shutil.which("SWarp") or shutil.which("swarp")


def _swarp_missing(_: Tools) -> str | None:
    return None if swarp_program() else "no SWarp on PATH (Debian: apt-get install swarp)"


def _swarp_version(_: Tools) -> str:
    done = subprocess.run([str(swarp_program()), "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"version\s+(\S+)", done.stdout + done.stderr)
    return found.group(1) if found else "unknown"


def find_oracle(python: Path | None) -> tuple[Path, str | None]:
    """Interpreter with DrizzlePac, and why it cannot be used if so; nothing is installed here."""
    folder = REPOSITORY / ".parity-venv"
    python = python or folder / "bin" / "python"
    if not python.exists():
        return python, f"{python} does not exist: give --oracle-python, or run 'make bench'"
    try:
        return ensure_oracle(python, folder), None
    except CommandError as error:
        return python, str(error)


def _drizzlepac_missing(tools: Tools) -> str | None:
    return find_oracle(tools.oracle)[1]


def _module_version(python: Path | None, distribution: str) -> str | None:
    """Version of a package in another interpreter; None when there is no such interpreter or package."""
    if python is None or not python.exists():
        return None
    code = f"from importlib.metadata import version; print(version({distribution!r}))"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _reproject_missing(tools: Tools) -> str | None:
    if _module_version(tools.others, "reproject") is None:
        return (
            f"{tools.others or 'no interpreter'} has no reproject: give --others-python, or run 'make bench'"
        )
    return None


def find_others(python: Path | None) -> Path:
    """Interpreter with reproject: the one given, that of ``make bench``, or this one."""
    made = REPOSITORY / ".bench-venv" / "bin" / "python"
    return (python or (made if made.exists() else Path(sys.executable))).absolute()


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender(
            "mosaic",
            run_mosaic,
            lambda _: None,
            lambda _: _module_version(Path(sys.executable), "mosaic-hst") or "not installed",
        ),
        Contender(
            "DrizzlePac in memory",
            lambda tools, case: run_drizzlepac(tools, case, in_memory=True),
            _drizzlepac_missing,
            lambda tools: _module_version(tools.oracle, "drizzlepac") or "unknown",
        ),
        Contender(
            "DrizzlePac on disk",
            lambda tools, case: run_drizzlepac(tools, case, in_memory=False),
            _drizzlepac_missing,
            lambda tools: _module_version(tools.oracle, "drizzlepac") or "unknown",
        ),
        Contender("SWarp", _run_swarp, _swarp_missing, _swarp_version),
        Contender(
            "reproject",
            _run_reproject,
            _reproject_missing,
            lambda tools: _module_version(tools.others, "reproject") or "unknown",
        ),
    )
}


def describe_failure(error: Exception) -> str:
    """One line for the page: how the program ended, and the last it said."""
    lines = str(error).strip().splitlines()
    parts = [lines[0].partition(":")[0], lines[-1]] if len(lines) > 1 else lines
    return f"failed: {': '.join(parts)[:200]}"


def run_in_turn(
    tools: Tools,
    case: Case,
    names: tuple[str, ...],
    repeats: int,
    keep: Callable[[dict[str, Any]], None],
) -> None:
    """Run every contender `repeats` times, one after the other in each round.

    The memory is sampled in the first round only: it costs a few percent. A contender that fails is not run
    again; its row says why. What is known is handed to `keep` after every run.
    """
    rows: dict[str, dict[str, Any]] = {name: {"runs": [], "error": None} for name in names}
    for name in names:
        rows[name]["error"] = CONTENDERS[name].missing(tools)
    for repeat in range(repeats):
        for name in names:
            if rows[name]["error"]:
                if repeat == 0:
                    print(f"{case.name}: {name}: left out: {rows[name]['error']}", flush=True)
                continue
            read_through(tools.shop.exposures(case.exposures, case.n_exposures))
            try:
                outcome = CONTENDERS[name].run(replace(tools, is_sampled=repeat == 0), case)
            except (CommandError, OSError) as error:
                rows[name]["error"] = describe_failure(error)
                print(f"{case.name}: {name}: {error}", flush=True)
            else:
                rows[name]["runs"].append(outcome.to_dict())
                cost = outcome.measured
                print(f"{case.name}: {name}: {cost.seconds:.1f} s, CPU {cost.cpu_seconds:.1f} s", flush=True)
            keep(rows)


def read_through(paths: tuple[Path, ...]) -> None:
    """Read files once, so that every contender finds them in the page cache."""
    for path in paths:
        with path.open("rb") as file:
            while file.read(1 << 24):
                pass
