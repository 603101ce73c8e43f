"""Copies of inputs for workers that do not see the disk they were made on: sent to the job folder.

Covers the paths in the descriptions of exposures. Does not cover how copies are made
(`mosaic.exposure.staging`).
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TypeVar

from mosaic.exposure.model import Exposure
from mosaic.places import RemotePlace, size_of, upload

T = TypeVar("T")


def share_copies(
    exposures: tuple[Exposure, ...], staging_dir: Path, folder: RemotePlace
) -> tuple[Exposure, ...]:
    """Send every copy that the exposures name to an object store, and name it there instead.

    Parameters
    ----------
    exposures : tuple of Exposure
        As the catalogue described them.
    staging_dir : Path
        Where their copies are; names of copies tell their content.
    folder : RemotePlace
        Where they go; what is there already is not sent again.

    Raises
    ------
    OutputError
        When the object store does not keep what it is sent.
    """
    sent: dict[str, str] = {}

    def share(path: str) -> str:
        if path not in sent:
            copy = Path(path)
            target = folder / copy.name
            if size_of(target) != copy.stat().st_size:
                upload(copy, target)
            sent[path] = target.url
        return sent[path]

    def renamed(value: T) -> T:
        if isinstance(value, str):
            return share(value) if Path(value).is_relative_to(staging_dir) else value  # type: ignore[return-value]
        if isinstance(value, tuple) and type(value) is tuple:
            return tuple(renamed(part) for part in value)  # type: ignore[return-value]
        if is_dataclass(value) and not isinstance(value, type):
            changes = {}
            for entry in fields(value):
                before = getattr(value, entry.name)
                after = renamed(before)
                if after is not before:
                    changes[entry.name] = after
            return replace(value, **changes) if changes else value
        return value

    return tuple(renamed(exposure) for exposure in exposures)
