"""``updatenpol.update`` with DrizzlePac's arguments: name NPOLFILE and D2IMFILE, derive the WCS.

Files that have no DGEOFILE are updated too. Does not cover asking for file names on the terminal.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from typing import Any

from mosaic.compat.tasks import run_main, task_values
from mosaic.errors import ParameterError
from mosaic.tools.extensions import find_files
from mosaic.tools.updatenpol import Assignment, assign_references, derive_wcs, reference_folder

__all__ = ["main", "run", "update"]
__taskname__ = "updatenpol"

_DEFAULTS = {
    "input": "*flt.fits", "refdir": "jref$", "local": False, "interactive": False, "wcsupdate": True,
}  # fmt: skip


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


def run(configobj: Any = None, editpars: bool = False) -> list[Assignment]:  # noqa: ANN401, FBT001, FBT002, ARG001
    """Run `update` from a parameter object or file; None takes all defaults, and there is no editor.

    Raises
    ------
    ParameterError
        For unknown names and impossible values.
    """
    return update(**task_values(__taskname__, {} if configobj is None else configobj, _DEFAULTS))


def main() -> None:
    """Carry out the command ``updatenpol [-l] [-i] FILE ... [REFDIR]``."""
    parser = argparse.ArgumentParser(prog=__taskname__, description="Name NPOLFILE and D2IMFILE in headers.")
    parser.add_argument("-l", dest="local", action="store_true", help="copy the references beside the files")
    parser.add_argument("-i", dest="interactive", action="store_true", help="ask for names (not supported)")
    parser.add_argument("input", help="file, pattern, comma list or @list")
    parser.add_argument("more", nargs="*", help="more files, and last the folder of the references")
    given = parser.parse_args()
    *more, folder = given.more or ["jref$"]
    run_main(lambda: update([given.input, *more], folder, local=given.local, interactive=given.interactive))


if __name__ == "__main__":
    main()
