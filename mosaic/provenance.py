"""Writing parameters as a file that can be given back: TOML with the source of every value, or ``.cfg``.

Covers the text of both forms. Reading them is in `mosaic.configfile`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Final

from mosaic.errors import OutputError
from mosaic.places import Place, put
from mosaic.settings import Settings

_SECTIONS: Final = MappingProxyType(
    {
        "restore": "STATE OF INPUT FILES",
        "static": "STEP 1: STATIC MASK",
        "skysub": "STEP 2: SKY SUBTRACTION",
        "driz_separate": "STEP 3: DRIZZLE SEPARATE IMAGES",
        "driz_sep_wcs": "STEP 3a: CUSTOM WCS FOR SEPARATE OUTPUTS",
        "median": "STEP 4: CREATE MEDIAN IMAGE",
        "blot": "STEP 5: BLOT BACK THE MEDIAN IMAGE",
        "driz_cr": "STEP 6: REMOVE COSMIC RAYS WITH DERIV, DRIZ_CR",
        "driz_combine": "STEP 7: DRIZZLE FINAL COMBINED IMAGE",
        "final_wcs": "STEP 7a: CUSTOM WCS FOR FINAL OUTPUT",
        "gain": "INSTRUMENT PARAMETERS",
    }
)
"""First parameter of every section of a DrizzlePac file; the order is that of `Settings`."""
_FIRST_OF_OURS: Final = "final_err"
_NOT_IN_CFG: Final = frozenset({"mdriztab", "updatewcs"})
"""Parameters that DrizzlePac takes as arguments only."""


def sections() -> Iterator[tuple[str, list[str]]]:
    """Sections of the parameters, as DrizzlePac divides them, with the names in each; ours come last."""
    title = "GENERAL"
    names: list[str] = []
    for name in Settings.model_fields:
        started = "OF OUR OWN" if name == _FIRST_OF_OURS else _SECTIONS.get(name)
        if started is not None:
            yield title, names
            title, names = started, []
        names.append(name)
    yield title, names


def parameters_place(folder: Place, stem: str) -> Place:
    """Where the parameters of a product are written when its job folder is not kept."""
    return folder / f"{stem}_parameters.toml"


def format_toml(settings: Settings, inputs: Sequence[str] = (), output: str = "", title: str = "") -> str:
    """Write parameters as TOML, each with its source as a comment; blank values are empty texts.

    Parameters
    ----------
    settings : Settings
        The parameters.
    inputs, output
        Entries ``input`` and ``output``; left out when empty.
    title : str
        First line, as a comment.
    """
    lines = [f"# {title}"] if title else []
    if inputs:
        lines.append(f"input = {json.dumps(list(inputs))}")
    if output:
        lines.append(f"output = {json.dumps(output)}")
    for name in Settings.model_fields:
        entry = f"{name} = {_toml_value(getattr(settings, name))}"
        lines.append(f"{entry:<40}  # {settings.sources.get(name, 'default')}")
    return "\n".join(lines) + "\n"


def format_cfg(settings: Settings, inputs: str = "", output: str = "") -> str:
    """Write parameters in the layout of a DrizzlePac ``.cfg`` file, so that DrizzlePac reads it too.

    What DrizzlePac does not know (`final_err` and what follows it, `mdriztab`, `updatewcs`) is left out.
    """
    lines = ["_task_name_ = astrodrizzle", f"input = {_quoted(inputs)}", f"output = {_quoted(output)}"]
    lines += list(_cfg_lines(settings))
    return "\n".join([*lines, "", "[ _RULES_ ]"]) + "\n"


def _cfg_lines(settings: Settings) -> Iterator[str]:
    for name in Settings.model_fields:
        if name == _FIRST_OF_OURS:
            return
        if name in _SECTIONS:
            yield ""
            yield f"[{_SECTIONS[name]}]"
        if name not in _NOT_IN_CFG:
            yield f"{name} = {_cfg_value(name, getattr(settings, name))}"


def write_parameter_file(place: Place, text: str) -> None:
    """Write a parameter file: it appears whole or not at all.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    try:
        put(place, text.encode())
    except OSError as error:
        raise OutputError(f"{place}: cannot be written ({error.strerror or error})") from error


def _toml_value(value: object) -> str:
    if value is None:
        return '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, tuple):
        return f"[{', '.join(_toml_value(part) for part in value)}]"
    return json.dumps(value)


def _cfg_value(name: str, value: object) -> str:
    if isinstance(value, tuple):
        return _quoted(" ".join(f"{part!r}" for part in value))
    if isinstance(value, str):
        return _quoted(value)
    if value is None:
        # The instrument values are texts there, for which blank is the empty one.
        return '""' if name in {"gain", "rdnoise", "exptime"} else "None"
    is_text = name in {"gain", "rdnoise", "exptime", "driz_sep_wt_scl", "final_wt_scl"}
    return f'"{value}"' if is_text else str(value)


def _quoted(text: str) -> str:
    """Quote a text for a ConfigObj file, which knows no escapes."""
    return f"'{text}'" if '"' in text else f'"{text}"'
