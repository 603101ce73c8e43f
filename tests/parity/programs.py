"""Run DrizzlePac and mosaic on a case, each in a folder of its own."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import Any

from astropy.io import fits

from mosaic import pipeline
from mosaic.options import RunOptions
from mosaic.parameters import load_settings
from mosaic.simulate import simulate
from tests.parity.cases import Case, ExposureSet
from tests.parity.measure import CommandError, Measured, run_measured
from tests.parity.oracle import LOG, QUIET, SCRIPT, Oracle
from tests.parity.recipes import COMPANIONS, RECIPES
from tests.parity.runs import Run
from tests.parity.scripts import CONFIG, CONFIG_CHANGES, IMPORTS, SCRIPTS
from tests.parity.sets import SETS

REPOSITORY = Path(__file__).resolve().parents[2]
OUTPUT = "final"
"""Root of the product names, but for the pipeline."""
JOB_REVISION = 2
"""Raised when `oracle_job.py` records something else, so that kept runs are repeated."""
_EXPOSURE_ENDS = ("_flt", "_flc", "_cal", "_c0m", "_mos")
_REFERENCES = {"idc": "qbu1641sj_idc", "npl": "qbu16424j_npl", "d2i": "02c1450oj_d2i"}
"""Reference files of ACS/WFC among the real data, by kind."""
_COMPANIONS = (
    *COMPANIONS,
    "*_c1m.fits",
    "reference.fits",
    "pipeline_asn.fits",
    *(f"parity_{kind}.fits" for kind in (*_REFERENCES, "mdz")),
)
_CORES = 2


@dataclass(frozen=True)
class Workshop:
    """Where sets and runs lie, and what makes them."""

    work: Path
    sets: Path
    """Folder with one sub-folder of exposures per simulated set; missing ones are made."""
    data: Path
    """Folder of real exposures; may be absent."""
    oracle: Oracle
    lock: RLock = field(default_factory=RLock)
    """Held while a set is made."""
    known: Mapping[str, ExposureSet] = field(default_factory=lambda: SETS)
    """Sets by name."""

    def exposures(self, name: str, n: int | None = None) -> tuple[Path, ...]:
        """Return the exposures of a set by name, making them if needed; empty if there are none."""
        wanted = self.known[name]
        folder = (self.sets if wanted.simulated is not None else self.work / "sets") / name
        with self.lock:
            found = exposures_in(folder)
            if not found and not self._make(folder, wanted):
                return ()
            return (found or exposures_in(folder))[:n]

    def exposures_of(self, case: Case) -> tuple[Path, ...]:
        """Return the exposures of a case in the order in which both programs get them."""
        found = self.exposures(case.exposures, case.n_exposures)
        return found if case.is_by_name else tuple(sorted(found, key=_start))

    def _make(self, folder: Path, wanted: ExposureSet) -> bool:
        if wanted.real:
            return self._gather(folder, wanted)
        if wanted.needs_references and not self._copy_references(folder):
            return False
        if wanted.base:
            make_derived(folder, wanted, [self.exposures(name) for name in wanted.base])
        else:
            make_simulated(folder, wanted)
        return True

    def _copy_references(self, folder: Path) -> bool:
        sources = {kind: self.data / "refs" / f"{name}.fits.gz" for kind, name in _REFERENCES.items()}
        if not all(source.is_file() for source in sources.values()):
            return False
        folder.mkdir(parents=True, exist_ok=True)
        for kind, source in sources.items():
            copy(source, folder / f"parity_{kind}.fits")
        return True

    def _gather(self, folder: Path, wanted: ExposureSet) -> bool:
        sources = sorted(path for pattern in wanted.real for path in self.data.glob(pattern))
        if not sources:
            return False
        folder.mkdir(parents=True, exist_ok=True)
        for source in sources:
            copy(source, folder / source.name.removesuffix(".gz"))
        if wanted.references:
            reference_folder = folder / "refs"
            reference_folder.mkdir(exist_ok=True)
            for name in wanted.references.values():
                for source in (self.data / name).glob("*.fits*"):
                    copy(source, reference_folder / source.name.removesuffix(".gz"))
            job = {
                "prepare": True,
                "inputs": [path.name for path in exposures_in(folder)],
                "keywords": dict(wanted.keywords),
                "references": dict.fromkeys(wanted.references, f"{reference_folder}/"),
            }
            self.oracle.run(folder, job)
        return True

    def parameters(self, case: Case, *, for_oracle: bool) -> dict[str, Any]:
        """Return the parameters of a case for one of the programs, places filled in."""
        folder = self.exposures_of(case)[0].parent
        chosen = {**case.parameters, **(case.for_oracle if for_oracle else {})}
        return {
            name: value.replace("{folder}", str(folder)) if isinstance(value, str) else value
            for name, value in chosen.items()
        }

    def drizzlepac(self, case: Case, *, stepsize: int = 10) -> tuple[Run, Measured]:
        """Run DrizzlePac on private copies, or return what an earlier equal run left.

        Raises
        ------
        CommandError
            When it fails, or failed before on the same job.
        """
        inputs = self.exposures_of(case)
        parameters = {"clean": False, "stepsize": stepsize, "num_cores": 1, "preserve": False}
        parameters |= {"skymethod": "localmin", **self.parameters(case, for_oracle=True)}
        job = _job(case, inputs, parameters, extras=True)
        if case.script:
            job |= {"script": SCRIPTS[case.script], "config": [CONFIG, CONFIG_CHANGES]}
        key = _digest(job, inputs)
        folder = self.work / "drizzlepac" / case.name.replace("/", "_") / f"step{stepsize}"
        record = folder / "measured.json"
        run = Run(folder, case.output, folder, inputs)
        if record.exists():
            kept = json.loads(record.read_text())
            if kept.pop("key") == key:
                if "error" in kept:
                    raise CommandError(kept["error"])
                return run, Measured(**kept)
        _fill_folder(folder, inputs)
        try:
            measured = self.oracle.run(folder, job)
        except CommandError as error:
            record.write_text(json.dumps({"key": key, "error": str(error)}))
            raise
        record.write_text(json.dumps({"key": key, **measured.to_dict()}))
        return run, measured

    def time_drizzlepac(
        self, case: Case, cores: int, *, is_sampled: bool = True, **options: Any
    ) -> tuple[Run, Measured]:
        """Time a whole job of DrizzlePac, start of the interpreter included."""
        inputs = self.exposures_of(case)
        folder = self.work / "drizzlepac" / "timing"
        _fill_folder(folder, inputs)
        parameters = {"num_cores": cores, **self.parameters(case, for_oracle=True), **options}
        (folder / "job.json").write_text(json.dumps(_job(case, inputs, parameters, extras=False), indent=1))
        command = [str(self.oracle.python), str(SCRIPT), "job.json"]
        measured = run_measured(command, folder, QUIET, folder / LOG, is_sampled=is_sampled)
        return Run(folder, case.output, folder, inputs), measured

    def mosaic_script(self, case: Case) -> tuple[Run, Measured]:
        """Run a user's script with its import changed, or the command that takes its parameter file."""
        inputs = self.exposures_of(case)
        name = case.name.replace("/", "_")
        folder = self.work / "mosaic" / name / "script"
        _fill_folder(folder, inputs)
        config = self.work / "drizzlepac" / name / "step10" / CONFIG
        if config.exists():
            copy(config, folder / CONFIG)
        command = [sys.executable, "script.py"]
        updated = folder
        if case.script.endswith("-command"):
            command = [sys.executable, "-m", "mosaic.cli", "drizzle", "-c", CONFIG, "-o", case.output]
            command += ["-p", "peer_compat=true", "-p", "dq_update=copy", *(path.name for path in inputs)]
            updated = folder / f"{case.output}_inputs"
        else:
            (folder / "script.py").write_text(SCRIPTS[case.script].replace(*IMPORTS))
        measured = run_measured(command, folder, {"PYTHONPATH": str(REPOSITORY)}, folder / "mosaic.out")
        return Run(folder, case.output, updated, inputs), measured

    def mosaic(self, case: Case, label: str, **options: Any) -> tuple[Run, Measured]:
        """Run mosaic afresh, in this process, on the exposures themselves, which it does not touch."""
        inputs = self.exposures_of(case)
        folder = self.work / "mosaic" / case.name.replace("/", "_") / label
        _empty(folder)
        settings = load_settings(None, (), **(options | self.parameters(case, for_oracle=False)))
        start = time.perf_counter()
        listing = [f"@{inputs[0].with_name(case.listing)}"] if case.listing else [str(p) for p in inputs]
        pipeline.drizzle(
            listing,
            str(folder / case.output),
            options=RunOptions.resolve(cores=_CORES, restart=True, keep_job=False),
            settings=settings,
        )
        measured = Measured(time.perf_counter() - start, 0, 0, 1)
        return Run(folder, case.output, folder / f"{case.output}_inputs", inputs), measured

    def time_mosaic(
        self, case: Case, cores: int, *extra: str, is_sampled: bool = True
    ) -> tuple[Run, Measured]:
        """Time a whole job of ``mosaic drizzle``, start of the interpreter included."""
        inputs = self.exposures_of(case)
        folder = self.work / "mosaic" / "timing"
        _empty(folder)
        command = [sys.executable, "-m", "mosaic.cli", "drizzle", *map(str, inputs)]
        command += ["-o", str(folder / case.output), "--quiet", "--restart", "--cores", str(cores), *extra]
        for name, value in self.parameters(case, for_oracle=False).items():
            command += ["-p", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
        environment = {"PYTHONPATH": str(REPOSITORY), "PYTHONFAULTHANDLER": "1"}
        measured = run_measured(command, folder, environment, folder / "mosaic.out", is_sampled=is_sampled)
        return Run(folder, case.output, folder / f"{case.output}_inputs", inputs), measured


def make_simulated(folder: Path, wanted: ExposureSet) -> None:
    """Simulate a set."""
    folder.mkdir(parents=True, exist_ok=True)
    simulate(folder, **dict(wanted.simulated or {}))


def make_derived(folder: Path, wanted: ExposureSet, bases: Sequence[Sequence[Path]]) -> None:
    """Copy other sets and edit the copies."""
    folder.mkdir(parents=True, exist_ok=True)
    for exposures in bases:
        for path in (*exposures, *companions_of(exposures[0].parent)):
            copy(path, folder / path.name)
    if wanted.recipe:
        RECIPES[wanted.recipe](exposures_in(folder), **wanted.options)


@lru_cache(maxsize=1024)
def _start(path: Path) -> tuple[float, str]:
    """Start of an exposure and its name; where the header does not tell, in front."""
    with fits.open(path) as hdul:
        start = next((hdu.header["EXPSTART"] for hdu in hdul[:2] if "EXPSTART" in hdu.header), 0.0)
    return float(start), path.name


def exposures_in(folder: Path) -> tuple[Path, ...]:
    """Return the exposures in a folder by name."""
    return tuple(sorted(p for p in folder.glob("*.fits") if p.stem.endswith(_EXPOSURE_ENDS)))


def companions_of(folder: Path) -> list[Path]:
    """Return the files beside exposures that a run needs."""
    return [path for pattern in _COMPANIONS for path in sorted(folder.glob(pattern))]


def _job(
    case: Case, inputs: Sequence[Path], parameters: Mapping[str, Any], *, extras: bool
) -> dict[str, Any]:
    names = [path.name for path in inputs]
    return {
        "prepare": False,
        "extras": extras,
        "inputs": names,
        "argument": f"@{case.listing}" if case.listing else names,
        "output": case.output,
        "parameters": dict(parameters),
    }


def _fill_folder(folder: Path, inputs: Sequence[Path]) -> None:
    _empty(folder)
    for path in (*inputs, *companions_of(inputs[0].parent)):
        copy(path, folder / path.name)


def copy(source: Path, target: Path) -> None:
    """Copy a file, unpacked and writable."""
    if source.suffix == ".gz":
        with gzip.open(source) as packed, target.open("wb") as out:
            shutil.copyfileobj(packed, out)
    else:
        shutil.copyfile(source, target)
    target.chmod(0o644)


def _empty(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def _digest(job: Mapping[str, Any], inputs: Sequence[Path]) -> str:
    text = f"{JOB_REVISION}{json.dumps(job, sort_keys=True)}"
    files = (*inputs, *companions_of(inputs[0].parent))
    text += "".join(f"{path.name}{path.stat().st_size}{path.stat().st_mtime_ns}" for path in files)
    return hashlib.sha256(text.encode()).hexdigest()
