"""AstroDrizzle as scripts call it: the same arguments, file names, side effects and numbers.

``from mosaic.compat import astrodrizzle`` stands for ``from drizzlepac import astrodrizzle``. Values not
given are DrizzlePac's: a coordinate table of step 10, intermediate files kept, cosmic rays and sky written
into the inputs after copies of them were put in ``OrIg_files``, known defects reproduced (``peer_compat``).
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mosaic import pipeline
from mosaic.compat.arguments import Call, parse_call
from mosaic.compat.reference import referenced_files
from mosaic.compat.wcsmap import MappingFactory, WCSMap, remapper
from mosaic.errors import MosaicError, PlanMismatchError
from mosaic.exposure.archive import manage_originals
from mosaic.exposure.inputs import expand_inputs
from mosaic.graph.progress import SilentObserver
from mosaic.options import RunOptions
from mosaic.pipeline import Result
from mosaic.places import Place
from mosaic.provenance import format_toml
from mosaic.runlog import LOGGER_NAME, logging_to_file
from mosaic.settings import Settings
from mosaic.summary import format_summary

__all__ = ["PYTHON_WCSMAP", "AstroDrizzle", "getHelpAsString", "help", "run"]
__taskname__ = "astrodrizzle"

PYTHON_WCSMAP = WCSMap
"""The exact coordinate map: as argument ``wcsmap`` it is the same as ``stepsize=0``."""


class _LogObserver(SilentObserver):
    """Sends the messages of a run to its log."""

    def message(self, level: str, text: str) -> None:
        """Log a message."""
        _log_message(level, text)


def AstroDrizzle(  # noqa: N802  (DrizzlePac's name)
    input: Any = None,  # noqa: A002, ANN401
    mdriztab: bool = False,  # noqa: FBT001, FBT002
    editpars: bool = False,  # noqa: FBT001, FBT002
    configobj: Any = None,  # noqa: ANN401
    wcsmap: MappingFactory | None = None,
    **input_dict: Any,  # noqa: ANN401
) -> Result:
    """Combine exposures as DrizzlePac's function of this name does.

    Parameters
    ----------
    input : str, list of str, optional
        File, pattern, comma list, ``@list``, association table, or a list of these; default ``*flt.fits``.
    mdriztab : bool
        Take parameters from the MDRIZTAB table of the first input.
    editpars : bool
        Accepted, no effect: there is no editor.
    configobj : None, str, or mapping
        Parameter file (``.cfg``, TOML), ``"defaults"`` for the saved one, or a ConfigObj or dictionary, with
        or without sections.
    wcsmap : class, optional
        Coordinate map: ``wcsmap(input_wcs, output_wcs).forward(x, y)`` gives 1-based output pixels of 1-based
        input pixels. It is sampled every `stepsize` pixels (`mosaic.compat.wcsmap`).
    **input_dict
        Parameters by name, or mappings of them by section. A part of a custom frame (``final_scale``, …)
        given here switches that frame on. ``peer_compat=False`` corrects DrizzlePac's known defects;
        ``dq_update="none"`` or ``"copy"`` leaves the inputs alone.

    Returns
    -------
    Result
        Products, timings, exposures set aside (DrizzlePac returns nothing).

    Raises
    ------
    ParameterError
        For unknown names and impossible values, all of them at once; DrizzlePac prints a message and returns.
    ExposureError, OutputError, BudgetError
        As their names say.
    """
    with referenced_files(input_dict) as keywords:
        call = parse_call(input, configobj, keywords, mdriztab=mdriztab)
        with logging_to_file(call.settings.runfile) as log:
            log.info("AstroDrizzle (mosaic %s): %s", version("mosaic-hst"), ", ".join(call.inputs))
            if editpars:
                log.warning("editpars has no effect: there is no parameter editor")
            for line in format_toml(call.settings).splitlines():
                log.info("%s", line)
            try:
                result = _drizzle(call, wcsmap)
            except (MosaicError, OSError) as error:
                log.error("AstroDrizzle stopped: %s", error)  # noqa: TRY400  (the caller gets the traceback)
                raise
            for line in format_summary(result):
                log.info("%s", line)
            for product in result.products:
                log.info("wrote %s", product)
    return result


def run(configobj: Any, wcsmap: MappingFactory | None = None, input_dict: Any = None) -> Result:  # noqa: ANN401
    """Run AstroDrizzle from a parameter object, the inputs named in it.

    Parameters
    ----------
    configobj : str or mapping
        As for `AstroDrizzle`.
    wcsmap : class, optional
        As for `AstroDrizzle`.
    input_dict : mapping, optional
        Parameters that win over `configobj`.
    """
    return AstroDrizzle(configobj=configobj, wcsmap=wcsmap, **dict(input_dict or {}))


def help(file: str | None = None) -> None:  # noqa: A001
    """Write the help of AstroDrizzle to the screen, or to a file."""
    text = getHelpAsString(docstring=True)
    if file:
        Path(file).write_text(text + "\n", encoding="utf-8")
    else:
        sys.stdout.write(text + "\n")


def getHelpAsString(docstring: bool = False, show_ver: bool = True) -> str:  # noqa: FBT001, FBT002, N802
    """Return the parameters with their defaults and meanings.

    Parameters
    ----------
    docstring : bool
        Put the text on the function first.
    show_ver : bool
        Put the version first.
    """
    lines = [f"astrodrizzle of mosaic {version('mosaic-hst')}"] if show_ver else []
    lines += [AstroDrizzle.__doc__ or ""] if docstring else []
    lines += [f"{name}: {field.description}" for name, field in Settings.model_fields.items()]
    return "\n".join(lines)


def _drizzle(call: Call, wcsmap: MappingFactory | None) -> Result:
    """Drizzle; what an earlier run with other parameters left is discarded."""
    settings = call.settings
    if call.replaces_inputs:
        _archive(call)
    # What is kept in memory leaves no intermediate files.
    engine = settings.model_copy(update={"clean": settings.clean or settings.in_memory})
    remap = None
    if wcsmap is not None:
        remap = None if wcsmap is WCSMap else remapper(wcsmap, settings.stepsize)
        engine = engine.model_copy(update={"stepsize": 0})
    options = RunOptions.resolve(cores=call.cores, on_error="skip", keep_job=False)
    while True:
        try:
            result = pipeline.drizzle(
                call.inputs,
                call.output,
                options=options,
                observer=_LogObserver(),
                settings=engine,
                remap=remap,
            )
        except PlanMismatchError:
            if options.restart:
                raise
            options = options.model_copy(update={"restart": True})
        else:
            return _with_inputs_replaced(call, result) if call.replaces_inputs else result


def _archive(call: Call) -> None:
    """Keep the originals of inputs that updated copies will replace."""
    settings = call.settings
    files = expand_inputs(call.inputs).files
    for line in manage_originals(
        files, Path.cwd(), preserve=settings.preserve, restore=False, overwrite=settings.overwrite
    ):
        _log_message("INFO", line)


def _with_inputs_replaced(call: Call, result: Result) -> Result:
    """Give the updated copies of the inputs the names of the inputs."""
    places = {Path(path).name: Path(path) for path in call.files}
    products: list[Place] = []
    for path in result.products:
        target = places.get(path.name)
        if target is not None and isinstance(path, Path):
            path.replace(target)
            with suppress(OSError):
                # Empty once the last copy has left.
                path.parent.rmdir()
        products.append(target or path)
    return replace(result, products=tuple(products))


def _log_message(level: str, text: str) -> None:
    logging.getLogger(LOGGER_NAME).log(logging.getLevelNamesMapping()[level], "%s", text)
