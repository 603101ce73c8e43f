"""What the functions ``run`` of DrizzlePac's tasks are given: a parameter object, a mapping or a file.

Covers reading it, the defaults of a task and the forms of its values. Does not cover the tasks themselves.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mosaic.configfile import flatten_config, read_config
from mosaic.errors import MosaicError, ParameterError
from mosaic.values import is_blank

_TRUE, _FALSE = {"true", "yes", "on", "1", "y", "t"}, {"false", "no", "off", "0", "n", "f"}


def task_values(task: str, given: object, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the parameters of a task.

    Parameters
    ----------
    task : str
        Its name; a file that holds parameters of another task is refused.
    given : mapping or path
        Parameters by name, or in sections, which only group; or a file (``.cfg``, TOML) with them.
    defaults : mapping
        Every parameter with its default, which decides the form: a truth value, a number, or a text.

    Returns
    -------
    dict
        Truth values and numbers as such; blank texts as None.

    Raises
    ------
    ParameterError
        Naming everything that is unknown or impossible.
    """
    if isinstance(given, Mapping):
        config = flatten_config(given, Path(task), task=task)
    elif isinstance(given, str | os.PathLike) and str(given):
        config = read_config(Path(given), task)
    else:
        raise ParameterError(
            f"{task}: configobj is {type(given).__name__}: give a path, a ConfigObj or a dict"
        )
    named = dict(config.parameters)
    if config.inputs:
        named["input"] = config.inputs[0] if len(config.inputs) == 1 else list(config.inputs)
    if config.output:
        named["output"] = config.output
    problems = [
        *config.problems,
        *(f"there is no parameter {name}" for name in named.keys() - defaults.keys()),
    ]
    values = {}
    for name, default in defaults.items():
        try:
            values[name] = _value(named.get(name, default), default)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise ParameterError(f"{task}: {'; '.join(sorted(problems))}")
    return values


def number_or_none(task: str, name: str, value: object) -> float | None:
    """Bring a value that may be blank to a number.

    Raises
    ------
    ParameterError
        When it is something else.
    """
    if value is None:
        return None
    try:
        return float(str(value))
    except ValueError:
        raise ParameterError(f"{task}: {name}: {value!r} is not a number") from None


def run_main(work: Callable[[], object]) -> None:
    """Do the work of a command; an error ends the program with one line."""
    try:
        work()
    except MosaicError as error:
        sys.exit(" ".join(str(error).split()))


def _value(value: Any, default: Any) -> Any:  # noqa: ANN401  (values of any type)
    """Bring a value into the form of the default."""
    if isinstance(default, bool):
        text = str(value).strip().lower()
        if text not in _TRUE | _FALSE:
            raise ValueError(f"{value!r} is neither True nor False")
        return text in _TRUE
    if is_blank(value):
        return None
    if isinstance(default, int | float):
        try:
            return type(default)(value)
        except (TypeError, ValueError):
            raise ValueError(f"{value!r} is not a number") from None
    return value.strip() if isinstance(value, str) else value
