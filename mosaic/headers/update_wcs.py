"""Deriving the WCS of exposures anew from their reference files (``updatewcs``), on copies.

Covers staging a copy, finding the reference files and running stwcs on it, without network. stwcs runs in a
process of its own, because it reads the places of references from the environment, changes the warning
filters when imported, and can end in any kind of exception. The files of the user are never touched.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from astropy.io import fits

from mosaic.errors import ExposureError, MissingFileError, OutputError, ParameterError, WcsError
from mosaic.exposure.inputs import InputFile, root_name, strip_compression
from mosaic.exposure.model import Exposure
from mosaic.exposure.references import find_reference
from mosaic.exposure.storage import open_stream, size_and_tag

REFERENCES: Final = ("IDCTAB", "NPOLFILE", "D2IMFILE", "OFFTAB", "DGEOFILE")
"""Keywords of the primary header that name what a WCS is derived from."""
_USED_BY: Final = {
    "ACS": {"IDCTAB", "NPOLFILE", "D2IMFILE"},
    "WFC3": {"IDCTAB", "NPOLFILE", "D2IMFILE"},
    "WFPC2": {"IDCTAB", "OFFTAB", "DGEOFILE"},
}
_EXCEPTION: Final = re.compile(r"[\w.]*(Error|Exception|Exit|Interrupt)\b")
_INSTALL: Final = "updatewcs needs the package stwcs: pip install 'mosaic-hst[updatewcs]'"


@dataclass(frozen=True, slots=True)
class UpdatedInputs:
    """Copies with a new WCS, and the inputs for which there is none."""

    files: tuple[InputFile, ...]
    """Inputs with `prepared_path` set, in the order given."""
    rejected: tuple[ExposureError, ...]
    """Why the other inputs have no new WCS."""
    notes: tuple[str, ...]
    """What was assumed, one line each."""


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy to be made: its input and the references that its header names."""

    file: InputFile
    source: str
    target: Path
    references: dict[str, Path]

    def partial(self, folder: Path) -> Path:
        """Where the copy is until it is complete; helper files are called by its name."""
        return folder / self.target.stem / strip_compression(Path(self.file.path).name)


def update_wcs(files: Sequence[InputFile], exposures: Sequence[Exposure], staging_dir: Path) -> UpdatedInputs:
    """Give copies of exposures a WCS and distortion model derived from their reference files.

    Parameters
    ----------
    files : sequence of InputFile
        The inputs.
    exposures : sequence of Exposure
        What the catalogue made of them; inputs without exposure are passed over.
    staging_dir : Path
        Where the copies go. A copy made before from the same input and references is used again.

    Raises
    ------
    ParameterError
        When stwcs is not installed.
    OutputError
        When a copy cannot be written.
    """
    if importlib.util.find_spec("stwcs") is None:
        raise ParameterError(_INSTALL)
    found = {exposure.path: exposure for exposure in exposures}
    copies: list[_Copy] = []
    rejected: list[ExposureError] = []
    notes: list[str] = []
    for file in files:
        if file.path in found:
            try:
                copies.append(_plan_copy(file, found[file.path].chips[0].sci.path, staging_dir, notes))
            except ExposureError as error:
                rejected.append(error)
    wanted = [copy for copy in copies if not copy.target.exists()]
    failures = _make_copies(wanted, staging_dir) if wanted else {}
    made = [
        replace(copy.file, prepared_path=str(copy.target)) for copy in copies if copy.target not in failures
    ]
    return UpdatedInputs(tuple(made), (*rejected, *failures.values()), tuple(notes))


def copy_with_new_wcs(path: Path, staging_dir: Path) -> Path:
    """Make one copy with a new WCS, of a file of which nothing but its references need be known.

    Raises
    ------
    ExposureError
        When a reference is missing or no WCS can be derived.
    ParameterError
        When stwcs is not installed.
    OutputError
        When the copy cannot be written.
    """
    if importlib.util.find_spec("stwcs") is None:
        raise ParameterError(_INSTALL)
    copy = _plan_copy(InputFile(str(path.absolute())), str(path), staging_dir, [])
    for error in _make_copies([copy], staging_dir).values():
        raise error
    return copy.target


def _plan_copy(file: InputFile, source: str, staging_dir: Path, notes: list[str]) -> _Copy:
    """Find the references of an input, and the name of its copy: the same inputs give the same name."""
    name = root_name(file.path)
    with open_stream(source) as stream:
        primary = fits.Header.fromfile(stream)
    used = _USED_BY.get(str(primary.get("INSTRUME", "")).strip().upper(), {"IDCTAB"})
    references: dict[str, Path] = {}
    for keyword in REFERENCES:
        value = str(primary.get(keyword, "") or "").strip()
        if keyword not in used or value.upper() in {"", "N/A"}:
            continue
        path = find_reference(value, Path(file.path).parent)
        if path is None:
            prefix = value.rpartition("$")[0]
            where = (
                f"set the environment variable {prefix} to its folder" if prefix else "correct the keyword"
            )
            raise MissingFileError(name, f"{keyword} {value} not found", f"{where} or use updatewcs=False")
        references[value] = path
    if not str(primary.get("IDCTAB", "") or "").strip().upper().replace("N/A", ""):
        notes.append(f"{name}: IDCTAB is absent, blank or N/A, no distortion model is derived")
    identity = [(path, *size_and_tag(path)) for path in (source, *sorted(map(str, references.values())))]
    digest = hashlib.sha256(repr(identity).encode()).hexdigest()[:12]
    target = staging_dir.absolute() / f"wcs_{digest}_{strip_compression(Path(file.path).name)}"
    return _Copy(file, source, target, references)


def _make_copies(copies: Sequence[_Copy], staging_dir: Path) -> dict[Path, ExposureError]:
    """Copy the inputs, run stwcs on the copies, and give them their names; what failed, by target."""
    try:
        staging_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=staging_dir.absolute(), prefix=".updatewcs.") as folder:
            environment = _link_references(copies, Path(folder))
            for copy in copies:
                partial = copy.partial(Path(folder))
                partial.parent.mkdir()
                with closing(open_stream(copy.source)) as source, partial.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
            failures = _run_stwcs(copies, environment, Path(folder))
            for copy in copies:
                if copy.target not in failures:
                    copy.partial(Path(folder)).replace(copy.target)
    except OSError as error:
        raise OutputError(f"{staging_dir}: updatewcs cannot write its copies ({error.strerror})") from error
    return failures


def _link_references(copies: Sequence[_Copy], folder: Path) -> dict[str, str]:
    """Environment in which every ``prefix$name`` leads to the reference found for it."""
    environment = dict(os.environ) | {"ASTROMETRY_STEP_CONTROL": "OFF"}
    for copy in copies:
        for value, path in copy.references.items():
            prefix, _, name = value.rpartition("$")
            place = folder / prefix / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                place.symlink_to(path)
            if prefix:
                # stwcs joins the two without a separator.
                environment[prefix] = f"{folder / prefix}{os.sep}"
    return environment


def _run_stwcs(
    copies: Sequence[_Copy], environment: dict[str, str], folder: Path
) -> dict[Path, ExposureError]:
    """Run stwcs on the copies; after one at which it ends, it is started again with those that follow."""
    failures: dict[Path, ExposureError] = {}
    waiting = list(copies)
    while waiting:
        command = [sys.executable, "-W", "ignore", "-m", "mosaic.headers.stwcs_process"]
        command += [str(copy.partial(folder)) for copy in waiting]
        package_root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, (package_root, environment.get("PYTHONPATH"))))
        done = subprocess.run(  # noqa: S603  (our own module on files of ours)
            command,
            env=environment | {"PYTHONPATH": path},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        n_done = len(done.stdout.splitlines())
        if n_done >= len(waiting):
            break
        bad = waiting[n_done]
        reason = _reason(done.stderr) or f"ended with status {done.returncode}"
        failures[bad.target] = WcsError(
            root_name(bad.file.path),
            f"updatewcs failed ({reason})",
            "correct its header or references, use updatewcs=False, or remove it from the list",
        )
        waiting = waiting[n_done + 1 :]
    return failures


def _reason(stderr: str) -> str:
    """The message of the exception at the end of a traceback, in one line."""
    lines = stderr.strip().splitlines()
    starts = [index for index, line in enumerate(lines) if _EXCEPTION.match(line)]
    return " ".join(" ".join(lines[starts[-1] :] if starts else lines[-1:]).split())
