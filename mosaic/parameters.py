"""From files, assignments and keywords to `Settings`, and from those to the steps that run.

Covers the order of precedence, reporting everything that is wrong at once, and the switching of
steps that depend on each other. Does not cover names and defaults (`mosaic.settings`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from mosaic.configfile import IGNORED_NAMES, read_config
from mosaic.errors import ParameterError
from mosaic.settings import FRAME_PARTS, FRAME_STEPS, Settings
from mosaic.values import is_blank

_REJECTION_STEPS: Final = ("driz_cr", "blot", "median", "driz_separate")
"""Steps of cosmic-ray rejection, each needing the one after it in this list."""


_UNAVAILABLE: Final = (
    "mdriztab",
    "updatewcs",
    "wcskey",
    "restore",
    "overwrite",
    "driz_sep_compress",
)
"""Parameters whose values other than blank or false are refused, so that none is ignored in silence."""


def load_settings(
    config: Path | None = None, assignments: Sequence[str] = (), /, **names: object
) -> Settings:
    """Take settings from a parameter file, then ``NAME=VALUE`` texts, then keywords; later ones win.

    A part of a custom frame (``final_scale``, ``driz_sep_ra``, …) that comes as an assignment or
    keyword switches that frame on; one that comes from the file does not.

    Parameters
    ----------
    config : Path, optional
        TOML or DrizzlePac ``.cfg`` file; its ``input`` and ``output`` are not used here.
    assignments : sequence of str
        Texts of the form ``NAME=VALUE``.
    **names
        Values by parameter name.

    Raises
    ------
    ParameterError
        Naming every unknown name (with the near ones) and every impossible value at once.
    """
    raw: dict[str, object] = {}
    problems: list[str] = []
    if config is not None:
        file = read_config(config)
        raw.update(file.parameters)
        problems.extend(file.problems)
    direct: dict[str, object] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if equals and name.strip():
            direct[name.strip()] = value.strip()
        else:
            problems.append(f"{text!r} is not of the form NAME=VALUE")
    direct.update(names)
    for ignored in IGNORED_NAMES & direct.keys():
        if not is_blank(direct[ignored]) and direct[ignored] is not False:
            problems.append(f"{ignored} is not supported")
        del direct[ignored]
    raw.update(direct)
    for step in FRAME_STEPS:
        if any(f"{step}_{part}" in direct for part in FRAME_PARTS):
            raw[f"{step}_wcs"] = True
    return _validate(raw, problems)


def refuse_unavailable(settings: Settings) -> None:
    """Refuse parameters of DrizzlePac that this version knows but cannot honour yet.

    Raises
    ------
    ParameterError
        Naming every one of them: none is ever ignored in silence.
    """
    wanted = [name for name in _UNAVAILABLE if getattr(settings, name)]
    if wanted:
        given = ", ".join(f"{name}={getattr(settings, name)!r}" for name in wanted)
        raise ParameterError(f"{given}: not available in this version; leave the default")


def apply_step_gating(settings: Settings, n_exposures: int) -> tuple[Settings, tuple[str, ...]]:
    """Switch steps on that others need, and off where they cannot work.

    Parameters
    ----------
    settings : Settings
        As the user gave them.
    n_exposures : int
        Number of exposures that can be used (files, not chips).

    Returns
    -------
    tuple of (Settings, tuple of str)
        Settings to run with, and one sentence for every change.
    """
    steps = {name: bool(getattr(settings, name)) for name in _REJECTION_STEPS}
    notes: list[str] = []
    if n_exposures <= 1:
        _switch_off(steps, notes, "there is only one exposure")
    elif _drops_every_value(settings, n_exposures):
        dropped = settings.combine_nlow + settings.combine_nhigh
        _switch_off(
            steps,
            notes,
            f"combine_nlow + combine_nhigh = {dropped} drops all values of {n_exposures} exposures",
        )
    else:
        for later, earlier in pairwise(_REJECTION_STEPS):
            if steps[later] and not steps[earlier]:
                steps[earlier] = True
                notes.append(f"{earlier} switched on: {later} needs it")
    return settings.model_copy(update=steps), tuple(notes)


def _switch_off(steps: dict[str, bool], notes: list[str], reason: str) -> None:
    """Switch off everything that needs a median; the separate drizzle stays as it is."""
    for name in ("median", "blot", "driz_cr"):
        if steps[name]:
            steps[name] = False
            notes.append(f"{name} switched off: {reason}")


def _drops_every_value(settings: Settings, n_exposures: int) -> bool:
    """Whether combining would have no value left; types that take no part in dropping never do."""
    is_dropping = settings.combine_type not in {"minmed", "iminmed", "sum"}
    return is_dropping and n_exposures - settings.combine_nlow - settings.combine_nhigh < 1


def _validate(raw: Mapping[str, object], problems: list[str]) -> Settings:
    """Make settings of raw values, or one error with everything that is wrong."""
    known = {name: value for name, value in raw.items() if name in Settings.model_fields}
    problems = [*problems, *(_describe_unknown(name) for name in raw if name not in known)]
    try:
        settings = Settings.model_validate(known)
    except ValidationError as error:
        problems.extend(describe_problems(error))
        bad = {str(part["loc"][0]) for part in error.errors() if part["loc"]}
        problems.extend(_contradictions_besides(known, bad))
    else:
        if not problems:
            return settings
    raise ParameterError(join_problems(problems))


def _contradictions_besides(known: Mapping[str, object], bad: set[str]) -> list[str]:
    """Contradictions among the values that are possible on their own."""
    if not bad:
        return []
    try:
        Settings.model_validate({name: value for name, value in known.items() if name not in bad})
    except ValidationError as error:
        texts = (text for part in describe_problems(error) for text in part.split("; "))
        return [text for text in texts if not any(re.search(rf"\b{name}\b", text) for name in bad)]
    return []


def _describe_unknown(name: str) -> str:
    """One sentence on a name that does not exist, with the near ones."""
    if name in {"input", "output"}:
        return f"{name} is not a parameter here: give it as the argument of the same meaning"
    near = difflib.get_close_matches(name.lower(), Settings.model_fields, n=3, cutoff=0.6)
    return f"unknown parameter {name}" + (f" (did you mean {' or '.join(near)}?)" if near else "")


def describe_problems(error: ValidationError) -> list[str]:
    """One sentence for every wrong value of a model: name, value, what is wanted."""
    sentences: dict[str, str] = {}
    for part in error.errors(include_url=False):
        text = part["msg"].removeprefix("Value error, ")
        name = str(part["loc"][0]) if part["loc"] else ""
        text = text[:1].lower() + text[1:] if name else text
        sentence = f"{name} = {part['input']!r}: {text}" if name else text
        # A value that fits none of several types is reported once per type: the first says enough.
        sentences.setdefault(name or sentence, sentence)
    return list(sentences.values())


def join_problems(problems: Sequence[str]) -> str:
    """All problems in one line."""
    intro = f"{len(problems)} problems with the parameters: " if len(problems) > 1 else ""
    return intro + "; ".join(problems)
