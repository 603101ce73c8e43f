"""Copies of the inputs in ``OrIg_files``, made before anything is written into them, and the way back.

Covers `preserve`, `overwrite` and `restore`. The folder lies in the working directory, wherever the inputs
are, as DrizzlePac has it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mosaic.errors import OutputError
from mosaic.exposure.storage import is_remote

FOLDER: Final = "OrIg_files"
"""Name of the archive, in the working directory."""
_READ_ONLY: Final = 0o444
_READ_WRITE: Final = 0o666


def archive_inputs(paths: Sequence[str], *, preserve: bool, overwrite: bool, restore: bool) -> list[str]:
    """Copy inputs to the archive, or back from it.

    Parameters
    ----------
    paths : sequence of str
        Input files; remote ones are passed over.
    preserve : bool
        Copy those that the archive lacks; the copies are read-only.
    overwrite : bool
        Copy all of them; `preserve` and `restore` do not act then.
    restore : bool
        Copy back those that the archive already held.

    Returns
    -------
    list of str
        One sentence for every file copied.

    Raises
    ------
    OutputError
        When a copy cannot be made; no file is left half-written.
    """
    notes = []
    for path in map(Path, (path for path in paths if not is_remote(path))):
        kept = Path(FOLDER) / path.name
        if kept.absolute() == path.absolute():
            raise OutputError(f"{path} is the archived copy itself: run outside {FOLDER}")
        is_archived = kept.exists()
        if overwrite or (preserve and not is_archived):
            _copy(path, kept, _READ_ONLY)
            notes.append(f"{path.name} preserved in {FOLDER}")
        elif restore and is_archived:
            _copy(kept, path, _READ_WRITE)
            notes.append(f"{path.name} restored from {FOLDER}")
    return notes


def require_writable(paths: Sequence[str]) -> None:
    """Refuse inputs that may not be changed, before anything is done.

    Raises
    ------
    OutputError
        Naming all of them.
    """
    refused = [path for path in paths if is_remote(path) or path.endswith((".gz", ".fz"))]
    refused += [path for path in paths if path not in refused and not _is_writable(Path(path))]
    if refused:
        raise OutputError(
            f"{', '.join(refused)}: AstroDrizzle writes cosmic rays and sky into its inputs, and these are "
            "read-only, compressed or remote; make them writable, or give dq_update='none' (or 'copy')"
        )


def _is_writable(path: Path) -> bool:
    return not path.exists() or (os.access(path, os.W_OK) and bool(path.stat().st_mode & 0o222))


def _copy(source: Path, target: Path, mode: int) -> None:
    """Copy under a temporary name, compare the sizes and rename."""
    temporary = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, temporary)
        if temporary.stat().st_size != source.stat().st_size:
            raise OutputError(f"{target}: the copy of {source} is incomplete; check the disk")
        temporary.chmod(mode)
        temporary.replace(target)
    except OSError as error:
        raise OutputError(f"{target}: {source} cannot be copied ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)
