"""Copies of inputs in which the headerlet that a run asks for (``wcskey``) is the primary WCS."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from astropy.io import fits

from mosaic.errors import ExposureError, ParameterError, WcsError
from mosaic.exposure.inputs import InputFile, root_name, strip_compression
from mosaic.exposure.storage import size_and_tag
from mosaic.places import is_remote
from mosaic.products.partial import describe_failure
from mosaic.solutions.alternates import wcs_names
from mosaic.solutions.apply import apply_as_primary, find_solution
from mosaic.solutions.editing import open_solutions, write_file
from mosaic.solutions.headerlets import Headerlet, headerlet_extensions

_REMEDY: Final = "choose another wcskey, or restore the exposure"


@dataclass(frozen=True, slots=True)
class StagedInputs:
    """Inputs, some with a copy to read in their place, and those whose headerlet cannot be used."""

    files: tuple[InputFile, ...]
    rejected: tuple[ExposureError, ...]
    notes: tuple[str, ...]


def stage_headerlets(files: Sequence[InputFile], wcskey: str, staging_dir: Path) -> StagedInputs:
    """Make copies of the inputs that hold the wanted solution as a headerlet only.

    Parameters
    ----------
    files : sequence of InputFile
        The inputs. Remote files are passed over.
    wcskey : str
        HDRNAME or WCSNAME; letters and names of alternates need no copy.
    staging_dir : Path
        Where copies go; one made before of the same file is used again.

    Raises
    ------
    OutputError
        When a copy cannot be written.
    """
    if len(wcskey) < 2:
        return StagedInputs(tuple(files), (), ())
    staged: list[InputFile] = []
    rejected: list[ExposureError] = []
    notes: list[str] = []
    for file in files:
        try:
            target = _stage(file, wcskey, staging_dir)
        except ExposureError as error:
            rejected.append(error)
            continue
        if target is None:
            staged.append(file)
        else:
            notes.append(f"{root_name(file.path)}: headerlet {wcskey} is used as the WCS")
            staged.append(replace(file, prepared_path=str(target)))
    return StagedInputs(tuple(staged), tuple(rejected), tuple(notes))


def _stage(file: InputFile, wcskey: str, staging_dir: Path) -> Path | None:
    """Copy with the headerlet applied; None when none is needed or possible."""
    if is_remote(file.path) or file.prepared_path or not _is_readable(file.path):
        return None
    with open_solutions(file.path) as hdul:
        science = next((i for i, hdu in enumerate(hdul) if hdu.name == "SCI"), None)
        if science is None or not headerlet_extensions(hdul):
            return None
        names = wcs_names(hdul[science].header)
        if wcskey.lower() in {name.lower() for name in names.values()}:
            return None
        try:
            found = find_solution(hdul, wcskey, science)
        except ParameterError as error:
            name = root_name(file.path)
            raise WcsError(name, f"wcskey={wcskey!r}: {error}", "choose one of them") from error
        if not isinstance(found, Headerlet):
            return None
        identity = repr((file.path, *size_and_tag(file.path), wcskey))
        digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
        target = staging_dir.absolute() / f"wcs_{digest}_{strip_compression(Path(file.path).name)}"
        if not target.exists():
            try:
                apply_as_primary(hdul, found, attach_it=False, archive=False, force=True)
            except ParameterError as error:
                raise WcsError(root_name(file.path), str(error), _REMEDY) from error
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise describe_failure(target, error) from error
            write_file(hdul, target, Path(file.path).stat().st_size)
    return target


def _is_readable(path: str) -> bool:
    """Whether a file can be read as FITS; of others the catalogue says what is wrong."""
    if path.endswith(".fz"):
        return False
    try:
        with fits.open(path, memmap=False) as hdul:
            return len(hdul) > 1
    except (OSError, ValueError, TypeError, KeyError):
        return False
