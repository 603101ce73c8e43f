"""The process in which stwcs updates the WCS of copies: one line on the standard output for each one done."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

from astropy.io import fits


def main(paths: Sequence[str]) -> None:
    """Update the WCS of files in place; the first that cannot be ends the process."""
    with redirect_stdout(sys.stderr):
        from stwcs.updatewcs import updatewcs  # noqa: PLC0415  (an optional package, slow to import)

    for path in paths:
        with redirect_stdout(sys.stderr):
            updatewcs(path, checkfiles=False, use_db=False)
            _forget_folder(path)
        sys.stdout.write(f"{path}\n")
        sys.stdout.flush()


def _forget_folder(path: str) -> None:
    """Name a table made of a WFPC2 DGEOFILE without the folder of this process, which does not last."""
    folder = str(Path(path).parent)
    with fits.open(path, mode="update", memmap=False) as hdul:
        for hdu in hdul:
            for keyword in ("D2IMFILE", "D2IMEXT"):
                if str(hdu.header.get(keyword, "")).startswith(folder):
                    hdu.header[keyword] = Path(hdu.header[keyword]).name


if __name__ == "__main__":
    main(sys.argv[1:])
