"""``buildwcs`` of DrizzlePac: a headerlet with a WCS made from a reference image or from values."""

# ruff: noqa: FBT001, FBT002  (the signatures are those of the system replaced)
from __future__ import annotations

from pathlib import Path

from mosaic.solutions.buildwcs import UserWcs, as_headerlet, build_wcs
from mosaic.solutions.editing import write_file


def buildwcs(
    outwcs: str,
    wcsname: str = "",
    refimage: str = "",
    undistort: bool = True,
    applycoeffs: bool = False,
    coeffsfile: str = "",
    userwcs: bool = False,
    outscale: float | None = None,
    orient: float | None = None,
    raref: float | None = None,
    decref: float | None = None,
    xrefpix: float | None = None,
    yrefpix: float | None = None,
    outnx: int | None = None,
    outny: int | None = None,
) -> None:
    """Write the headerlet of a WCS.

    Parameters
    ----------
    outwcs : str
        File to write; ``.fits`` is appended when absent.
    wcsname, refimage, undistort, applycoeffs, coeffsfile
        As `mosaic.solutions.buildwcs.build_wcs`.
    userwcs : bool
        Whether the values that follow count.
    outscale, orient, raref, decref, xrefpix, yrefpix, outnx, outny : number, optional
        As `mosaic.solutions.buildwcs.UserWcs`.

    Raises
    ------
    ParameterError
        When there is neither a reference image nor values.
    """
    user = UserWcs(outscale, orient, raref, decref, xrefpix, yrefpix, outnx, outny)
    built = build_wcs(
        wcsname=wcsname,
        refimage=refimage,
        undistort=undistort,
        applycoeffs=applycoeffs,
        coeffsfile=coeffsfile,
        user=user if userwcs else UserWcs(),
    )
    write_file(as_headerlet(built).hdul, Path(outwcs if outwcs.endswith(".fits") else f"{outwcs}.fits"))
