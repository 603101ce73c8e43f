"""From AstroDrizzle's arguments to inputs, output, settings and resources.

Covers the forms of `input`, `configobj` and keywords, DrizzlePac's own defaults, and which value wins.
Does not cover what is done with them (`mosaic.compat.astrodrizzle`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from mosaic.configfile import ConfigFile, flatten_config, read_config
from mosaic.errors import MissingFileError, ParameterError
from mosaic.exposure.association import is_association
from mosaic.exposure.inputs import expand_inputs
from mosaic.parameters import ARGUMENT, ParameterLayer, combine_layers
from mosaic.settings import Settings
from mosaic.values import is_blank

DEFAULT_INPUT: Final = "*flt.fits"
"""Input of AstroDrizzle when none is given."""
PEER_DEFAULTS: Final = MappingProxyType(
    {"stepsize": 10, "clean": False, "dq_update": "inplace", "peer_compat": True}
)
"""Where AstroDrizzle differs from the defaults of `Settings`: scripts rely on what it leaves behind."""
_SERIAL_SWITCH: Final = "ASTRODRIZ_NO_PARALLEL"


@dataclass(frozen=True, slots=True)
class Call:
    """A call of AstroDrizzle, understood."""

    inputs: tuple[str, ...]
    """Entries for the catalogue, in the order in which they are to be drizzled."""
    files: tuple[str, ...]
    """Files they stand for."""
    output: str
    """Root of the product names; empty: from the first input."""
    settings: Settings
    """Parameters with the source of each."""
    replaces_inputs: bool
    """Whether the updated copies take the place of the inputs (a new WCS was asked for)."""

    @property
    def cores(self) -> int | None:
        """Processor cores, as `num_cores` and the environment say; None: all."""
        if os.environ.get(_SERIAL_SWITCH):
            return 1
        return self.settings.num_cores


def parse_call(
    given: object, configobj: object, keywords: Mapping[str, Any], *, mdriztab: bool = False
) -> Call:
    """Understand the arguments of AstroDrizzle.

    Parameters
    ----------
    given : str, path, sequence of them, or None
        Argument ``input``; None takes it from `configobj`, else DrizzlePac's default.
    configobj : None, "defaults", path, or mapping
        Parameter file, or an object that holds one; sections only group.
    keywords : mapping
        Keyword arguments by name; a mapping among them is a section.
    mdriztab : bool
        Whether the MDRIZTAB table of the first input applies.

    Raises
    ------
    ParameterError
        Naming everything that is unknown or impossible.
    """
    config = read_configobj(configobj)
    direct = dict(_flat_keywords(keywords))
    if mdriztab:
        direct["mdriztab"] = True
    output = direct.pop("output", None)
    source = direct.pop("input", given if not _is_nothing(given) else None)
    # A new WCS is derived on copies, which then take the place of the inputs.
    is_copied = not is_blank_or_false({**config.parameters, **direct}.get("updatewcs")) and not (
        {"dq_update"} & (config.parameters.keys() | direct.keys())
    )
    layers = [
        ParameterLayer("AstroDrizzle", {**PEER_DEFAULTS, **({"dq_update": "copy"} if is_copied else {})}),
        ParameterLayer(f"file {config.path.name}" if config.path.suffix else "configobj", config.parameters),
        ParameterLayer(ARGUMENT, direct),
    ]
    settings = combine_layers(layers, config.problems)
    entries, files = resolve_inputs(config.inputs or DEFAULT_INPUT if source is None else source)
    return Call(entries, files, str(output or config.output or "").strip(), settings, is_copied)


def read_configobj(configobj: object) -> ConfigFile:
    """Read whatever `configobj` may be; None is an empty file.

    ``"defaults"`` means what was saved last: the newest ``.cfg`` file of this task in the working directory,
    else ``~/.teal/astrodrizzle.cfg``, else nothing.

    Raises
    ------
    ParameterError
        When a file does not exist, or the object is neither a path nor a mapping.
    """
    if configobj is None or configobj == "":
        return flatten_config({}, Path())
    if isinstance(configobj, Mapping):
        return flatten_config(configobj, Path())
    if configobj == "defaults":
        saved = _saved_config()
        return flatten_config({}, Path()) if saved is None else read_config(saved)
    if isinstance(configobj, str | os.PathLike):
        return read_config(Path(configobj))
    raise ParameterError(
        f"configobj is {type(configobj).__name__}: give a path, a ConfigObj or dict, 'defaults' or None"
    )


def _saved_config() -> Path | None:
    """Find the parameter file that ``"defaults"`` stands for."""
    here = sorted(Path().glob("*.cfg"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in here:
        text = path.read_text(encoding="utf-8", errors="replace")
        if any(line.replace(" ", "").startswith("_task_name_=astrodrizzle") for line in text.splitlines()):
            return path
    saved = Path.home() / ".teal" / "astrodrizzle.cfg"
    return saved if saved.is_file() else None


def _flat_keywords(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords with their sections opened.

    Raises
    ------
    ParameterError
        When a name is given both on its own and in a section.
    """
    flat: dict[str, Any] = {}
    for name, value in keywords.items():
        entries = _flat_keywords(value) if isinstance(value, Mapping) else {name: value}
        for key, entry in entries.items():
            if key in flat:
                raise ParameterError(f"{key} is given twice: as a keyword and in a section")
            flat[key] = entry
    return flat


def is_blank_or_false(value: object) -> bool:
    """Whether a value in any form means no."""
    return is_blank(value) or str(value).strip().lower() in {"false", "no", "off", "0", "n", "f"}


def _is_nothing(given: object) -> bool:
    return given is None or (isinstance(given, str | Sequence) and len(given) == 0)


def resolve_inputs(given: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Turn the argument `input` into entries in drizzling order, and the files they stand for.

    The names of a text (patterns, comma lists) are sorted; a list, an ``@file`` and an association keep
    their order.

    Raises
    ------
    ParameterError
        When nothing is left.
    """
    if isinstance(given, str):
        entries = [given.strip()]
    elif isinstance(given, os.PathLike):
        entries = [os.fspath(given)]
    elif isinstance(given, Sequence):
        entries = [os.fspath(entry).strip() for entry in given]
    else:
        raise ParameterError(f"input is {type(given).__name__}: give a name, a pattern, '@list' or a list")
    found = expand_inputs(entries)
    missing = [str(error) for error in found.rejected if isinstance(error, MissingFileError)]
    if not found.files:
        raise ParameterError(f"no input files: {'; '.join(missing) or 'the list is empty'}")
    files = tuple(file.path for file in found.files)
    if isinstance(given, str) and not given.startswith("@") and not is_association(given):
        files = tuple(sorted(files))
        return files, files
    return tuple(entries), files
