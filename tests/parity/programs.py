"""Run DrizzlePac and mosaic on a case, each in a folder of its own."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from mosaic.simulate import simulate
from tests.parity.cases import SETS, Case, ExposureSet
from tests.parity.measure import CommandError, Measured, run_measured
from tests.parity.runs import Run

REPOSITORY = Path(__file__).resolve().parents[2]
ORACLE_PACKAGES = ("drizzlepac==3.11.0", "spherical_geometry<1.4")
OUTPUT = "final"
FLAT = "_pfl.fits"
JOB_REVISION = 1
"""Raised when `oracle_job.py` records something else, so that kept runs are repeated."""
_QUIET = {
    "ASTROMETRY_STEP_CONTROL": "OFF",
    "MPLBACKEND": "Agg",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore",
}


def ensure_oracle(python: Path | None, folder: Path) -> Path:
    """Return an interpreter that has DrizzlePac; make an environment for it if none is given."""
    if python is None:
        python = folder / "bin" / "python"
        if not python.exists():
            venv.create(folder, with_pip=True)
        if not _has_oracle(python):
            install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*install, *ORACLE_PACKAGES], check=True)
    # The path is not resolved: a link to the base interpreter would lose the environment.
    python = Path(os.path.abspath(python))  # noqa: PTH100
    if not _has_oracle(python):
        raise CommandError(f"{python} has no DrizzlePac 3.11.0 with spherical_geometry before 1.4")
    return python


def _has_oracle(python: Path) -> bool:
    code = (
        "from importlib.metadata import version as v; "
        "sphere = tuple(map(int, v('spherical_geometry').split('.')[:2])); "
        "assert v('drizzlepac') == '3.11.0' and sphere < (1, 4)"
    )
    return subprocess.run([str(python), "-c", code], capture_output=True, check=False).returncode == 0


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where sets and runs lie, and what makes them."""

    work: Path
    sets: Path
    """Folder with one sub-folder of exposures per set; missing ones are made."""
    data: Path
    """Folder of real exposures; may be absent."""
    oracle: Path
    """Interpreter with DrizzlePac."""

    def exposures(self, name: str, n: int | None = None) -> tuple[Path, ...]:
        """Return the exposures of a set in order of time, making them if needed; empty if there are none."""
        wanted = SETS[name]
        folder = (self.sets if wanted.simulated is not None else self.work / "sets") / name
        found = _fits_in(folder)
        if not found:
            if wanted.simulated is not None:
                _simulate(folder, wanted.simulated)
            elif wanted.flat_of:
                _add_flat(self.exposures(wanted.flat_of), folder)
            elif not self._gather(folder, wanted):
                return ()
            found = _fits_in(folder)
        return found[:n]

    def _gather(self, folder: Path, wanted: ExposureSet) -> bool:
        sources = sorted(path for pattern in wanted.real for path in self.data.glob(pattern))
        if not sources:
            return False
        folder.mkdir(parents=True, exist_ok=True)
        for source in sources:
            _copy(source, folder / source.name.removesuffix(".gz"))
        if wanted.references:
            reference_folder = folder / "refs"
            reference_folder.mkdir(exist_ok=True)
            for name in wanted.references.values():
                for source in (self.data / name).glob("*.fits*"):
                    _copy(source, reference_folder / source.name.removesuffix(".gz"))
            job = {
                "prepare": True,
                "inputs": [path.name for path in _fits_in(folder)],
                "keywords": dict(wanted.keywords),
                "references": dict.fromkeys(wanted.references, f"{reference_folder}/"),
            }
            _run_job(self.oracle, folder, job)
        return True

    def drizzlepac(self, case: Case, *, stepsize: int = 10, **options: Any) -> tuple[Run, Measured]:
        """Run DrizzlePac on private copies, or return what an earlier equal run left."""
        inputs = self.exposures(case.exposures, case.n_exposures)
        measure_only = options.pop("measure_only", False)
        parameters = dict(case.parameters)
        if not measure_only:
            parameters |= {"clean": False, "stepsize": stepsize, "num_cores": 1, "preserve": False}
            parameters.setdefault("skymethod", "localmin")
        parameters |= options
        job = {
            "prepare": False,
            "extras": not measure_only,
            "inputs": [path.name for path in inputs],
            "output": OUTPUT,
            "parameters": parameters,
        }
        key = _digest(job, inputs)
        label = f"step{stepsize}" if not measure_only else f"cores{options.get('num_cores')}"
        folder = self.work / "drizzlepac" / case.name.replace("/", "_") / label
        record = folder / "measured.json"
        run = Run(folder, OUTPUT, folder, inputs)
        if record.exists():
            kept = json.loads(record.read_text())
            if kept.pop("key") == key and not measure_only:
                return run, Measured(**kept)
        _empty(folder)
        for path in (*inputs, *inputs[0].parent.glob(f"*{FLAT}")):
            _copy(path, folder / path.name)
        measured = _run_job(self.oracle, folder, job)
        record.write_text(json.dumps({"key": key, **measured.to_dict()}))
        return run, measured

    def mosaic(self, case: Case, label: str, *extra: str, **options: Any) -> tuple[Run, Measured]:
        """Run ``mosaic drizzle`` afresh on the exposures themselves, which it does not touch."""
        inputs = self.exposures(case.exposures, case.n_exposures)
        folder = self.work / "mosaic" / case.name.replace("/", "_") / label
        _empty(folder)
        command = [sys.executable, "-m", "mosaic.cli", "drizzle", *map(str, inputs)]
        command += ["-o", str(folder / OUTPUT), "--quiet", "--restart", *extra]
        for name, value in {**case.parameters, **options}.items():
            command += ["-p", f"{name}={_text(value)}"]
        environment = {"PYTHONPATH": str(REPOSITORY), "PYTHONFAULTHANDLER": "1"}
        measured = run_measured(command, folder, environment, folder / "mosaic.out")
        return Run(folder, OUTPUT, folder / f"{OUTPUT}_inputs", inputs), measured


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _run_job(python: Path, folder: Path, job: Mapping[str, Any]) -> Measured:
    (folder / "job.json").write_text(json.dumps(job, indent=1))
    script = Path(__file__).with_name("oracle_job.py")
    return run_measured([str(python), str(script), "job.json"], folder, _QUIET, folder / "oracle.out")


def _simulate(folder: Path, arguments: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    simulate(folder, **arguments)


def _add_flat(exposures: Sequence[Path], folder: Path) -> None:
    """Copy exposures and name a flat field in their headers; the pixels stay as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(5)
    flat = fits.HDUList([fits.PrimaryHDU()])
    with fits.open(exposures[0]) as hdul:
        for hdu in (hdu for hdu in hdul if hdu.name == "SCI"):
            shape = hdu.data.shape
            values = random.normal(1.0, 0.02, shape) + np.linspace(-0.1, 0.1, shape[1])
            flat.append(fits.ImageHDU(values.astype(np.float32), name="SCI", ver=hdu.ver))
            flat[-1].header["CCDCHIP"] = hdu.header["CCDCHIP"]
    flat.writeto(folder / f"parity{FLAT}")
    for path in exposures:
        _copy(path, folder / path.name)
        fits.setval(folder / path.name, "PFLTFILE", value=f"parity{FLAT}")


def _fits_in(folder: Path) -> tuple[Path, ...]:
    ends = ("_flt", "_flc", "_cal", "_mos")
    return tuple(sorted(p for p in folder.glob("*.fits") if p.stem.endswith(ends)))


def _copy(source: Path, target: Path) -> None:
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
    text += "".join(f"{path.name}{path.stat().st_size}{path.stat().st_mtime_ns}" for path in inputs)
    return hashlib.sha256(text.encode()).hexdigest()
