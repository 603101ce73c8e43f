"""Where finished files end up: where they were written, or in an object store that they are sent to.

A product is written on a disk in any case, for it is written band by band and read back; an object appears
under its name when it was compared with the file. Does not cover the job folder (`mosaic.graph`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mosaic.places import Place, upload


@contextmanager
def folder_on_disk(folder: Place) -> Iterator[Path]:
    """Folder to write files into: the one they belong to, or one that goes once they were delivered."""
    if isinstance(folder, Path):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="mosaic-products-") as written:
        yield Path(written)


def deliver(files: Sequence[Path], written: Path, folder: Place) -> list[Place]:
    """Send files to the folder they belong to, and return where they are.

    Parameters
    ----------
    files : sequence of Path
        Files; those outside of `written` stay where they are.
    written : Path
        Folder that they were written into.
    folder : Path or RemotePlace
        Folder that they belong to.

    Raises
    ------
    OutputError
        When the object store does not keep what it is sent.
    """
    if isinstance(folder, Path):
        return list(files)
    delivered: list[Place] = []
    for file in files:
        if not file.is_relative_to(written):
            delivered.append(file)
            continue
        target = folder
        for part in file.relative_to(written).parts:
            target /= part
        upload(file, target)
        delivered.append(target)
    return delivered
