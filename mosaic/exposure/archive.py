"""The archive of originals, ``OrIg_files`` in the working directory.

Covers keeping read-only copies of inputs before they are modified (``preserve``, ``overwrite``), taking
inputs back from there (``restore``), and refusing in time to modify what cannot be modified. An archived copy
keeps its time of modification, so that a job on restored inputs can be continued.
"""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mosaic.errors import OutputError
from mosaic.exposure.inputs import InputFile
from mosaic.exposure.model import Exposure
from mosaic.places import is_remote

ARCHIVE: Final = "OrIg_files"
"""Name of the folder."""
_ARCHIVED_MODE: Final = 0o444
_RESTORED_MODE: Final = 0o666


def manage_originals(
    files: Sequence[InputFile], folder: Path, *, preserve: bool, restore: bool, overwrite: bool
) -> list[str]:
    """Archive inputs and take them back, before anything reads them.

    Parameters
    ----------
    files : sequence of InputFile
        Inputs; URLs are never modified, so they are passed over.
    folder : Path
        Working directory: the archive is the folder `ARCHIVE` in it.
    preserve : bool
        Archive files that the archive does not hold yet (mode 0444).
    restore : bool
        Copy what the archive held before over the inputs (mode 0666).
    overwrite : bool
        Archive every file anew; `preserve` and `restore` are then without effect.

    Returns
    -------
    list of str
        What was done, one line for each file.

    Raises
    ------
    OutputError
        When the archive or an input cannot be written.
    """
    notes: list[str] = []
    archive = folder / ARCHIVE
    for file in files:
        if is_remote(file.path):
            continue
        named = Path(file.path)
        kept = archive / named.name
        if named.parent.resolve() == archive.resolve():
            raise OutputError(
                f"{named}: inputs in the archive {ARCHIVE} are never modified; copy them elsewhere"
            )
        if overwrite or (preserve and not kept.exists()):
            _copy(named, kept, _ARCHIVED_MODE)
            notes.append(f"{named.name}: original kept in {archive}")
        elif restore and kept.exists():
            if not filecmp.cmp(named, kept, shallow=False):
                _copy(kept, named, _RESTORED_MODE)
            notes.append(f"{named.name}: taken back from {archive}")
    return notes


def require_replaceable(exposures: Sequence[Exposure]) -> None:
    """Refuse inputs that cannot be updated in place, before the work and not after it.

    Raises
    ------
    OutputError
        Naming every input that is behind a URL, compressed or read-only.
    """
    problems = []
    for exposure in exposures:
        path = Path(exposure.path)
        if is_remote(exposure.path):
            problems.append(f"{exposure.path} is behind a URL")
        elif any(chip.sci.path != exposure.path for chip in exposure.chips):
            problems.append(f"{path.name} is compressed")
        elif not _is_writable(path):
            problems.append(f"{path.name} is read-only")
    if problems:
        raise OutputError(
            f"dq_update='inplace': {', '.join(problems)}; make them writable plain files or choose 'copy'"
        )


def _is_writable(path: Path) -> bool:
    # The superuser may write everything: the mode still says what the owner wants.
    return bool(path.stat().st_mode & 0o222) and os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _copy(source: Path, target: Path, mode: int) -> None:
    """Copy under a temporary name, then rename."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(exist_ok=True)
        try:
            shutil.copy2(source, temporary)
            temporary.chmod(mode)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{target}: cannot be written ({error.strerror}); check disk and permissions"
        ) from error
