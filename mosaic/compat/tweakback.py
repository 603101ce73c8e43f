"""``apply_tweak`` and ``tweakback`` of DrizzlePac: a corrected drizzled WCS carried over to the inputs.

Files are updated in place, as there; all are computed before the first is written.
"""

# ruff: noqa: FBT001, FBT002  (the signatures are those of the system replaced)
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mosaic.compat.tasks import task_values
from mosaic.errors import MissingFileError, ParameterError
from mosaic.exposure.inputs import expand_inputs
from mosaic.solutions.tweakback import (
    Choice,
    DrizzledCorrection,
    apply_correction,
    find_inputs,
    original_by_default,
    read_correction,
)

__all__ = ["apply_tweak", "run", "tweakback"]
__taskname__ = "tweakback"

_DEFAULTS = {
    "drzfile": None, "newname": None, "input": None, "origwcs": None, "wcsname": None, "extname": "SCI",
    "verbose": True, "force": False,
}  # fmt: skip


def apply_tweak(
    drz_file: str,
    orig_wcs_name: str | None,
    output_wcs_name: str | None = None,
    input_files: str | Sequence[str] | None = None,
    default_extname: str = "SCI",
    **kwargs: str | None,
) -> None:
    """Apply the correction between two WCS of a drizzled image to the exposures it was made of.

    Parameters
    ----------
    drz_file : str
        Drizzled file, with an extension in brackets where it has several images.
    orig_wcs_name : str or None
        WCSNAME of the drizzled WCS before the correction; None with `orig_wcs_key`.
    output_wcs_name : str, optional
        WCSNAME of the new primary WCS; by default that of the corrected drizzled WCS.
    input_files : str or sequence of str, optional
        Exposures; by default those named by D001DATA, … of the drizzled file.
    default_extname : str
        EXTNAME of the extensions to correct.
    **kwargs
        ``tweaked_wcs_name``, ``tweaked_wcs_key`` (by default the primary WCS), ``orig_wcs_key``.

    Raises
    ------
    ParameterError
        When a WCS is not there, an argument is unknown, or the output name is used already.
    MissingFileError, StructureError, WcsError, OutputError
        When a file cannot be read, used or written.
    """
    unknown = sorted(set(kwargs) - {"tweaked_wcs_name", "tweaked_wcs_key", "orig_wcs_key"})
    if unknown:
        raise ParameterError(
            f"apply_tweak has no argument {unknown[0]!r}; "
            "it has tweaked_wcs_name, tweaked_wcs_key and orig_wcs_key"
        )
    correction = read_correction(
        drz_file,
        Choice(orig_wcs_name or "", kwargs.get("orig_wcs_key")),
        Choice(kwargs.get("tweaked_wcs_name") or "", kwargs.get("tweaked_wcs_key")),
    )
    files = _inputs(correction, drz_file, input_files)
    apply_correction(
        correction,
        drz_file,
        [(file, file) for file in files],
        wcsname=output_wcs_name or "",
        extname=default_extname,
    )


def tweakback(
    drzfile: str,
    input: str | Sequence[str] | None = None,  # noqa: A002  (DrizzlePac's name)
    origwcs: str | None = None,
    newname: str | None = None,
    wcsname: str | None = None,
    extname: str = "SCI",
    force: bool = False,
    verbose: bool = False,
) -> None:
    """Apply a correction, by the older interface.

    Parameters
    ----------
    drzfile : str
        Drizzled file.
    input : str or sequence of str, optional
        Exposures; by default those the drizzled file names.
    origwcs : str, optional
        Original WCSNAME; by default the first alternate called ``IDC_…``, else the last but one WCS.
    newname : str, optional
        WCSNAME of the new WCS; by default that of the corrected one.
    wcsname : str, optional
        Corrected WCS; by default the primary one.
    extname : str
        EXTNAME of the extensions to correct.
    force : bool
        Allow a name that is there already.
    verbose : bool
        Without effect.
    """
    del verbose
    original = Choice(origwcs) if origwcs and origwcs.strip() else original_by_default(drzfile)
    correction = read_correction(drzfile, original, Choice((wcsname or "").strip()))
    files = _inputs(correction, drzfile, input)
    apply_correction(
        correction,
        drzfile,
        [(file, file) for file in files],
        wcsname=newname or "",
        extname=extname,
        reuse_name=force,
    )


def run(configobj: Any) -> None:  # noqa: ANN401
    """Run `tweakback` from a parameter object or file.

    Raises
    ------
    ParameterError
        For unknown names and impossible values, and when there is no drizzled file.
    """
    values = task_values(__taskname__, configobj, _DEFAULTS)
    if values["drzfile"] is None:
        raise ParameterError(f"{__taskname__}: name the drizzled file (drzfile)")
    tweakback(**values)


def _inputs(correction: DrizzledCorrection, product: str, given: str | Sequence[str] | None) -> list[Path]:
    """Exposures that the user names, or the drizzled file."""
    if not given:
        return find_inputs(correction, product)
    expanded = expand_inputs([given] if isinstance(given, str) else list(given))
    if expanded.rejected:
        raise expanded.rejected[0]
    if not expanded.files:
        raise MissingFileError(str(given), "names no exposure", "correct the list of inputs")
    return [Path(file.path) for file in expanded.files]
