"""Reference files that headers name, such as ``jref$name_idc.fits``."""

from __future__ import annotations

import os
from pathlib import Path


def find_reference(reference: str, folder: Path) -> Path | None:
    """File of a reference; None when there is none.

    Parameters
    ----------
    reference : str
        Value of the keyword: a path, or ``prefix$name``; blank and N/A name nothing.
    folder : Path
        Folder of the exposure.

    Notes
    -----
    A prefix is an environment variable with a folder (a final separator does not matter). Other places are
    the folder of the exposure and the working directory.
    """
    reference = reference.strip()
    if not reference or reference.upper() == "N/A":
        return None
    prefix, _, name = reference.rpartition("$")
    if not prefix:
        roots = [Path.cwd(), folder]
    else:
        roots = [*([Path(os.environ[prefix])] if prefix in os.environ else []), folder, Path.cwd()]
    return next((root.absolute() / name for root in roots if (root / name).is_file()), None)
