"""TweakReg as scripts call it: the same arguments and file names.

``from mosaic.compat import tweakreg`` stands for ``from drizzlepac import tweakreg``. The noise of the
background is DrizzlePac's unless `sigma_method` says otherwise; its other defects (histogram bias, shared
matches, renaming of failed images) are not reproduced.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mosaic.alignment.result import AlignResult
from mosaic.alignment.run import align
from mosaic.alignment.settings import load_align_settings
from mosaic.errors import ParameterError
from mosaic.exposure.inputs import expand_inputs
from mosaic.runlog import LOGGER_NAME, logging_to_file

__all__ = ["TweakReg", "run"]
__taskname__ = "tweakreg"

_DEFAULT_INPUT = "*flt.fits"
_DEFAULTS = {"sigma_method": "peer"}


def TweakReg(  # noqa: N802  (DrizzlePac's name)
    files: Any = None,  # noqa: ANN401
    editpars: bool = False,  # noqa: FBT001, FBT002
    configobj: Any = None,  # noqa: ANN401
    imagefindcfg: Any = None,  # noqa: ANN401
    refimagefindcfg: Any = None,  # noqa: ANN401
    **input_dict: Any,  # noqa: ANN401
) -> AlignResult:
    """Align exposures as DrizzlePac's function of this name does.

    Parameters
    ----------
    files : str, list of str, optional
        File, pattern (sorted), comma list, ``@list``, association table, or a list; default ``*flt.fits``.
    editpars : bool
        Accepted, no effect: there is no editor.
    configobj : None, str or mapping
        Parameter file (``.cfg``, TOML), or what one holds.
    imagefindcfg, refimagefindcfg : None, str or mapping
        Parameters of source finding for the inputs and for `refimage`.
    **input_dict
        Parameters by name; those of source finding apply to the inputs.

    Returns
    -------
    AlignResult
        Solutions and files (DrizzlePac returns nothing). Images that were not aligned are in ``failed``.

    Raises
    ------
    ParameterError
        For unknown names, names given twice and impossible values, all of them at once.
    MissingFileError, CatalogError, WcsNameExistsError, OutputError
        As their names say.
    """
    names: Mapping[str, Any] = {k: v for k, v in input_dict.items() if k != "input"}
    runfile = str(names.get("runfile") or "tweakreg.log")
    with logging_to_file(runfile):
        parameters = load_align_settings(
            Path(configobj) if isinstance(configobj, str) and configobj else configobj,
            imagefindcfg=imagefindcfg,
            refimagefindcfg=refimagefindcfg,
            keywords=names,
            defaults=_DEFAULTS,
        )
        given = (
            files
            if files is not None
            else input_dict.get("input") or list(parameters.inputs) or _DEFAULT_INPUT
        )
        result = align(_entries(given, is_sorted=True), Path.cwd(), settings=parameters)
        log = logging.getLogger(LOGGER_NAME)
        if editpars:
            log.warning("editpars has no effect: there is no parameter editor")
        if result.message:
            log.warning("%s", result.message)
    return result


def run(configobj: Any) -> AlignResult:  # noqa: ANN401
    """Run TweakReg from a parameter object, the inputs named in it."""
    return TweakReg(configobj=configobj)


def _entries(given: object, *, is_sorted: bool) -> list[str]:
    """Inputs as a list; the names of a pattern in alphabetical order."""
    if isinstance(given, str):
        if is_sorted and any(sign in given for sign in "*?[") and not given.startswith("@"):
            return sorted(file.path for file in expand_inputs([given]).files)
        return [given]
    if isinstance(given, Path):
        return [str(given)]
    if isinstance(given, list | tuple):
        return [str(entry) for entry in given]
    raise ParameterError(f"files is {type(given).__name__}: give a name, a pattern, '@list' or a list")
