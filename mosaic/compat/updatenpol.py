"""``updatenpol.update`` with DrizzlePac's arguments: name NPOLFILE and D2IMFILE, derive the WCS.

Files that have no DGEOFILE are updated too. Does not cover asking for file names on the terminal.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from mosaic.errors import ParameterError
from mosaic.tools.extensions import find_files
from mosaic.tools.updatenpol import Assignment, assign_references, derive_wcs, reference_folder

__all__ = ["update"]


def update(
    input: str | Sequence[str],  # noqa: A002  (DrizzlePac's signature)
    refdir: str = "jref$",
    local: bool | None = None,  # noqa: FBT001
    interactive: bool = False,  # noqa: FBT001, FBT002
    wcsupdate: bool = True,  # noqa: FBT001, FBT002
) -> list[Assignment]:
    """Write NPOLFILE and D2IMFILE into exposures in place.

    Parameters
    ----------
    input : str or sequence of str
        Exposures.
    refdir : str
        Folder of the references, or ``name$`` for the folder in the environment variable ``name``.
    local : bool, optional
        Copy the references beside each exposure and name the copies.
    interactive : bool
        Must be False.
    wcsupdate : bool
        Derive the WCS anew from the references, as `updatewcs` does.

    Raises
    ------
    ParameterError
        When `refdir` leads nowhere.
    MissingFileError
        When no reference fits.
    """
    if interactive:
        raise ParameterError(
            "interactive=True is not supported: set NPOLFILE and D2IMFILE in the headers instead"
        )
    folder, prefix = reference_folder(refdir)
    if not local:
        done = assign_references(input, folder, prefix)
    else:
        done = []
        for path in find_files(input):
            (chosen,) = assign_references(str(path), folder, "", dry_run=True)
            for name in filter(None, (chosen.npolfile, chosen.d2imfile)):
                if (folder / name).resolve() != (path.parent / name).resolve():
                    shutil.copy(folder / name, path.parent / name)
            done += assign_references(str(path), folder, "")
    if wcsupdate:
        for assignment in done:
            derive_wcs(assignment.path)
    return done
