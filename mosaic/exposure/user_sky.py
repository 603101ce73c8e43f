"""Sky that the user gives instead of having it measured: ``skyfile``, ``skyuser``.

Covers list files (``image value [value ...]``, one value for all chips or one each) and header keywords.
Does not cover masks (`mosaic.exposure.sky_masks`) nor what is done with the values (`mosaic.steps.sky`).
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, Protocol

from mosaic.errors import ExposureError, MetadataError, ParameterError
from mosaic.exposure.inputs import strip_compression
from mosaic.exposure.instruments import HeaderPair
from mosaic.exposure.model import Chip, Exposure, SkyLevel
from mosaic.geometry.wcs import header_number

_APPLIED: Final = re.compile(r"#.*applied[^=:]*[=:]\s*(?P<answer>.*?)\s*", re.DOTALL)
_YES: Final = frozenset({"yes", "true", "y", "t"})
_NO: Final = frozenset({"no", "false", "n", "f"})


class SkySettings(Protocol):
    """The settings that decide who gives the sky."""

    @property
    def skysub(self) -> bool:
        """Whether sky is subtracted."""

    @property
    def skyfile(self) -> str:
        """File of sky values, used when `skysub` is on."""

    @property
    def skyuser(self) -> str:
        """Keyword or @file of sky already subtracted, used when `skysub` is off."""

    @property
    def skymask_cat(self) -> str:
        """Catalogue of sky masks."""

    @property
    def peer_compat(self) -> bool:
        """Whether DrizzlePac's defects are reproduced."""


@dataclass(frozen=True, slots=True)
class SkyList:
    """What a file of sky values says."""

    values: dict[str, tuple[float, ...]]
    """Values by base name of the image."""
    is_applied: bool
    """Whether a comment says that the values were subtracted already."""


def keyword_sky(headers: HeaderPair, settings: SkySettings) -> SkyLevel | None:
    """Sky of a chip from the keyword named by ``skyuser``: background only, nothing is subtracted.

    Returns
    -------
    SkyLevel or None
        None when no keyword was named.

    Raises
    ------
    MetadataError
        When the SCI header lacks the keyword or its value is not a finite number.
    """
    keyword = settings.skyuser
    if settings.skysub or not keyword or keyword.startswith("@"):
        return None
    value = header_number(headers.science, keyword)
    if value is None and settings.peer_compat and keyword.upper() == "MDRIZSKY":
        value = 0.0
    if value is None:
        problem = f"skyuser={keyword!r}: the keyword is absent or not a finite number"
        raise MetadataError(headers.exposure, problem, "add it or name another", headers.chip)
    return SkyLevel(subtracted=None, background=value, recorded=value)


def read_sky_list(path: str, parameter: str) -> SkyList:
    """Read a file of sky values.

    Raises
    ------
    ParameterError
        When it cannot be read, a value is not a finite number, a line has none, or an image is listed twice.
    """
    place = f"{parameter}={path!r}"
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"{place}: the file cannot be read ({error})") from error
    values: dict[str, tuple[float, ...]] = {}
    is_applied = False
    for number, line in enumerate(lines, 1):
        where = f"{place}, line {number}"
        if line.startswith("#"):
            is_applied = _says_applied(line, where) or is_applied
            continue
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        name = strip_compression(Path(words[0]).name)
        if name in values:
            raise ParameterError(f"{where}: {words[0]} is listed twice; remove one of the lines")
        values[name] = _numbers(words, where)
    return SkyList(values, is_applied)


def _numbers(words: Sequence[str], where: str) -> tuple[float, ...]:
    if len(words) < 2:
        raise ParameterError(f"{where}: {words[0]} has no value; give one for all chips or one for each")
    numbers = []
    for word in words[1:]:
        try:
            number = float(word)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ParameterError(f"{where}: {word!r} is not a finite number; correct it")
        numbers.append(number)
    return tuple(numbers)


def _says_applied(comment: str, where: str) -> bool:
    """Whether a comment says that the values were subtracted already."""
    match = _APPLIED.fullmatch(comment)
    if match is None:
        return False
    answer = match["answer"].lower()
    if answer not in _YES | _NO:
        raise ParameterError(f"{where}: 'applied' is followed by {match['answer']!r}; write yes or no")
    return answer in _YES


def give_user_sky(
    exposures: Sequence[Exposure], settings: SkySettings, *, on_error: Literal["stop", "skip"], grouped: bool
) -> tuple[list[Exposure], list[ExposureError], list[str]]:
    """Put the values of ``skyfile`` or of ``skyuser='@file'`` on the chips and into the fingerprints.

    Parameters
    ----------
    exposures : sequence of Exposure
        All exposures.
    settings : SkySettings
        The parameters.
    on_error : {"stop", "skip"}
        "skip": exposures without a fitting entry are set aside.
    grouped : bool
        Whether only some chips of each file are used.

    Returns
    -------
    tuple
        Exposures with their sky, those set aside, and notes on what had no use.

    Raises
    ------
    MetadataError
        When an exposure has no entry or one with a wrong number of values (on_error="stop").
    ParameterError
        When the file cannot be read.
    """
    notes = _unused(settings)
    is_user = not settings.skysub and settings.skyuser.startswith("@")
    if not is_user and not (settings.skysub and settings.skyfile):
        return list(exposures), [], notes
    parameter, path = ("skyuser", settings.skyuser[1:].strip()) if is_user else ("skyfile", settings.skyfile)
    listed = read_sky_list(path, parameter)
    names = {strip_compression(Path(exposure.path).name): exposure for exposure in exposures}
    notes += [f"{parameter}: {name} is none of the inputs" for name in listed.values if name not in names]
    is_subtracted = settings.peer_compat if is_user else not listed.is_applied
    given: list[Exposure] = []
    rejected: list[ExposureError] = []
    for name, exposure in names.items():
        values = listed.values.get(name)
        try:
            if values is None and settings.peer_compat:
                levels = [_header_sky(chip, parameter) for chip in exposure.chips]
                notes.append(f"{parameter}: no entry for {name}; the MDRIZSKY of its headers is used")
            else:
                chosen = _values_of(exposure, values, f"{parameter}={path!r}", grouped=grouped)
                levels = [SkyLevel(value if is_subtracted else None, value, value) for value in chosen]
        except MetadataError as error:
            if on_error == "stop":
                raise
            rejected.append(error)
            continue
        chips = tuple(
            replace(chip, user_sky=level) for chip, level in zip(exposure.chips, levels, strict=True)
        )
        digest = hashlib.sha256(f"{exposure.fingerprint}{levels}".encode()).hexdigest()
        given.append(replace(exposure, chips=chips, fingerprint=digest))
    return given, rejected, notes


def _values_of(
    exposure: Exposure, values: tuple[float, ...] | None, place: str, *, grouped: bool
) -> list[float]:
    """Value of every chip of an exposure."""
    if values is None:
        problem = f"{place} has no entry for {exposure.filename}"
        raise MetadataError(exposure.rootname, problem, "add a line for it or remove it from the list")
    if len(values) == 1:
        return [values[0]] * len(exposure.chips)
    highest = max(chip.extver for chip in exposure.chips)
    if len(values) < highest or (len(values) > highest and not grouped):
        problem = f"{place} gives {len(values)} values, the file has {highest} SCI extensions"
        raise MetadataError(exposure.rootname, problem, "give one value for all or one for each")
    return [values[chip.extver - 1] for chip in exposure.chips]


def _header_sky(chip: Chip, parameter: str) -> SkyLevel:
    """DrizzlePac's sky of an exposure that is not in the list."""
    known = chip.mdrizsky or 0.0
    return SkyLevel(chip.mdrizsky, known, known if parameter == "skyuser" else None)


def _unused(settings: SkySettings) -> list[str]:
    """Sky parameters that have no effect beside others."""
    notes = []
    if settings.skysub and settings.skyuser:
        notes.append(f"skyuser={settings.skyuser!r} is not used: skysub is on")
    if not settings.skysub and settings.skyfile:
        notes.append(f"skyfile={settings.skyfile!r} is not used: skysub is off")
    if settings.skymask_cat and (not settings.skysub or settings.skyfile):
        reason = "skysub is off" if not settings.skysub else "skyfile gives the sky"
        notes.append(f"skymask_cat={settings.skymask_cat!r} is not used: {reason}")
    return notes
