"""From files, assignments and keywords to `Settings`, and from those to the steps that run.

Covers the order of precedence, reporting everything that is wrong at once, and the switching of
steps that depend on each other. Does not cover names and defaults (`mosaic.settings`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


_NOT_FROM_TABLE: Final = frozenset({"mdriztab", "updatewcs", "wcskey", "preserve", "restore", "overwrite"})
"""Parameters that have done their work before an MDRIZTAB is read."""


ARGUMENT: Final = "argument"
"""Source of values given on the command line or as keywords."""


@dataclass(frozen=True, slots=True)
class ParameterLayer:
    """Raw values from one source."""

    source: str
    """Where they come from: ``file NAME``, ``mdriztab NAME``, ``argument``."""
    values: Mapping[str, object]
    """Raw values by parameter name."""


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
    problems: list[str] = []
    layers: list[ParameterLayer] = []
    if config is not None:
        file = read_config(config)
        layers.append(ParameterLayer(f"file {file.path.name}", file.parameters))
        problems.extend(file.problems)
    direct = split_assignments(assignments, problems) | names
    for ignored in IGNORED_NAMES & direct.keys():
        if not is_blank(direct[ignored]) and direct[ignored] is not False:
            problems.append(f"{ignored} is not supported")
        del direct[ignored]
    layers.append(ParameterLayer(ARGUMENT, direct))
    return combine_layers(layers, problems)


def split_assignments(assignments: Sequence[str], problems: list[str]) -> dict[str, object]:
    """Texts by name of ``NAME=VALUE``, the last of a name winning; those of another form are problems."""
    direct: dict[str, object] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if equals and name.strip():
            direct[name.strip()] = value.strip()
        else:
            problems.append(f"{text!r} is not of the form NAME=VALUE")
    return direct


def combine_layers(layers: Sequence[ParameterLayer], problems: Sequence[str] = ()) -> Settings:
    """Take settings from several sources, later ones winning, and remember the source of every value.

    A part of a custom frame that comes from the arguments switches that frame on.

    Parameters
    ----------
    layers : sequence of ParameterLayer
        Lowest precedence first.
    problems : sequence of str
        What was wrong already; told together with what is found here.

    Raises
    ------
    ParameterError
        Naming every unknown name and every impossible value at once.
    """
    raw: dict[str, object] = {}
    sources: dict[str, str] = {}
    for layer in layers:
        raw.update(layer.values)
        sources.update(dict.fromkeys(layer.values, layer.source))
        for step in FRAME_STEPS if layer.source == ARGUMENT else ():
            if any(f"{step}_{part}" in layer.values for part in FRAME_PARTS):
                raw[f"{step}_wcs"] = True
                sources[f"{step}_wcs"] = f"{ARGUMENT} {step}_*"
    return _validate(raw, list(problems)).from_sources(sources)


def apply_table(
    settings: Settings, values: Mapping[str, object], place: str
) -> tuple[Settings, tuple[str, ...]]:
    """Take parameters from an MDRIZTAB row: they replace defaults and parameter files, not keywords.

    A part of a custom frame that comes from the table does not switch that frame on.

    Parameters
    ----------
    settings : Settings
        As the user gave them.
    values : mapping of str to object
        Values by parameter name; None for no value.
    place : str
        Table and row, for messages.

    Returns
    -------
    tuple of (Settings, tuple of str)
        Settings to run with, and one sentence for every entry that was not used.

    Raises
    ------
    ParameterError
        Naming every impossible value.
    """
    raw = settings.model_dump()
    used: dict[str, str] = {}
    notes: list[str] = []
    for name, value in values.items():
        if settings.sources.get(name, "").startswith(ARGUMENT):
            continue
        if name not in Settings.model_fields:
            notes.append(f"{place}: unknown parameter {name} is ignored")
        elif name in _NOT_FROM_TABLE:
            notes.append(f"{place}: {name} cannot be set by a table and is ignored")
        elif is_blank(value) and not _may_be_blank(name):
            notes.append(f"{place}: {name} is blank, {raw[name]!r} is kept")
        else:
            raw[name] = value
            used[name] = place
    try:
        changed = _validate(raw, [])
    except ParameterError as error:
        raise ParameterError(f"{place}: {error}; correct it or give the parameter by keyword") from error
    return changed.from_sources({**settings.sources, **used}), tuple(notes)


def _may_be_blank(name: str) -> bool:
    """Whether a parameter has a meaning when it is blank."""
    try:
        Settings.model_validate({name: None})
    except ValidationError as error:
        return not any(part["loc"] and part["loc"][0] == name for part in error.errors())
    return True


def apply_peer_quirks(settings: Settings) -> tuple[Settings, tuple[str, ...]]:
    """Change parameters to what DrizzlePac makes of them (``peer_compat``).

    ``expsq`` has no effect there, and the frame of the separate drizzles is not used when that step was only
    switched on because a later one needs it.

    Parameters
    ----------
    settings : Settings
        As the user gave them.

    Returns
    -------
    tuple of (Settings, tuple of str)
        Settings to run with, and one sentence for every change; nothing changes without `peer_compat`.
    """
    if not settings.peer_compat:
        return settings, ()
    update: dict[str, object] = {}
    for name in ("driz_sep_wt_scl", "final_wt_scl"):
        if getattr(settings, name) == "expsq":
            update[name] = "exptime"
    if settings.driz_sep_wcs and not settings.driz_separate:
        update["driz_sep_wcs"] = False
    notes = (f"peer_compat: {name} is taken as {value}, as DrizzlePac does" for name, value in update.items())
    return settings.model_copy(update=update), tuple(notes)


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
