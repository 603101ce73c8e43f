"""``buildwcs`` of DrizzlePac: a headerlet with a WCS made from a reference image or from values."""

# ruff: noqa: FBT001, FBT002  (the signatures are those of the system replaced)
from __future__ import annotations

from pathlib import Path
from typing import Any

from mosaic.compat.tasks import number_or_none, task_values
from mosaic.errors import ParameterError
from mosaic.solutions.buildwcs import UserWcs, as_headerlet, build_wcs
from mosaic.solutions.editing import write_file

__all__ = ["buildwcs", "run"]
__taskname__ = "buildwcs"

_USER = ("outscale", "orient", "raref", "decref", "xrefpix", "yrefpix", "outnx", "outny")
_DEFAULTS = {
    "outwcs": None, "wcsname": None, "refimage": None, "undistort": True, "applycoeffs": False,
    "coeffsfile": None, "userwcs": False, **dict.fromkeys(_USER),
}  # fmt: skip


def buildwcs(
    outwcs: str,
    configObj: Any = None,  # noqa: ANN401
    editpars: bool = False,
    **input_dict: Any,  # noqa: ANN401
) -> None:
    """Write the headerlet of a WCS.

    Parameters
    ----------
    outwcs : str
        File to write; ``.fits`` is appended when absent.
    configObj : mapping or path, optional
        Parameter object or file.
    editpars : bool
        Accepted, no effect: there is no editor.
    **input_dict
        Parameters by name: ``wcsname``, ``refimage``, ``undistort``, ``applycoeffs``, ``coeffsfile`` as
        `mosaic.solutions.buildwcs.build_wcs`; ``userwcs``, whether those of
        `mosaic.solutions.buildwcs.UserWcs` count.

    Raises
    ------
    ParameterError
        When there is neither a reference image nor values, or a name is unknown.
    """
    del editpars
    values = {} if configObj is None else task_values(__taskname__, configObj, _DEFAULTS)
    run(values | input_dict | {"outwcs": outwcs})


def run(configObj: Any, wcsmap: Any = None) -> None:  # noqa: ANN401
    """Write the headerlet of a WCS whose parameters are all in an object or file.

    Parameters
    ----------
    configObj : mapping or path
        Parameter object or file.
    wcsmap : object
        Without meaning here.

    Raises
    ------
    ParameterError
        As `buildwcs` does.
    """
    del wcsmap
    values = task_values(__taskname__, configObj, _DEFAULTS)
    if values["outwcs"] is None:
        raise ParameterError(f"{__taskname__}: name the file to write (outwcs)")
    numbers = {name: number_or_none(__taskname__, name, values[name]) for name in _USER}
    sides = {name: None if value is None else int(value) for name, value in numbers.items()}
    user = UserWcs(
        outscale=numbers["outscale"],
        orient=numbers["orient"],
        raref=numbers["raref"],
        decref=numbers["decref"],
        xrefpix=numbers["xrefpix"],
        yrefpix=numbers["yrefpix"],
        outnx=sides["outnx"],
        outny=sides["outny"],
    )
    built = build_wcs(
        wcsname=values["wcsname"] or "",
        refimage=values["refimage"] or "",
        undistort=values["undistort"],
        applycoeffs=values["applycoeffs"],
        coeffsfile=values["coeffsfile"] or "",
        user=user if values["userwcs"] else UserWcs(),
    )
    name = str(values["outwcs"])
    write_file(as_headerlet(built).hdul, Path(name if name.endswith(".fits") else f"{name}.fits"))
