"""What the instrument modules share: the headers of a chip, user overrides, units.

Covers the rules for mean gain and read noise (zero entries are unused amplifiers and are left out
of the mean) and the interpretation of BUNIT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from astropy.io import fits

from mosaic.errors import MetadataError, ParameterError
from mosaic.geometry.wcs import header_number
from mosaic.types import ShapeYX

AMPLIFIER_GAINS: Final = ("ATODGNA", "ATODGNB", "ATODGNC", "ATODGND")
AMPLIFIER_NOISES: Final = ("READNSEA", "READNSEB", "READNSEC", "READNSED")
_QUANTITIES: Final = {
    "ELECTRON": "ELECTRONS", "ELECTRONS": "ELECTRONS",
    "COUNT": "COUNTS", "COUNTS": "COUNTS", "DN": "COUNTS",
}  # fmt: skip
_PER_SECOND: Final = frozenset({"S", "SEC", "SECOND", "SECONDS"})
_BLANK: Final = frozenset({"", "none", "indef"})
_WFPC2_CHIPS: Final = {1: "PC", 2: "WF2", 3: "WF3", 4: "WF4"}


class InstrumentSettings(Protocol):
    """The instrument parameters of `mosaic.settings.Settings`."""

    @property
    def gain(self) -> object:
        """Gain, electrons per DN: numbers, or blank."""

    @property
    def gnkeyword(self) -> object:
        """Keywords to take the gain from."""

    @property
    def rdnoise(self) -> object:
        """Read noise, electrons: numbers, or blank."""

    @property
    def rnkeyword(self) -> object:
        """Keywords to take the read noise from."""

    @property
    def exptime(self) -> object:
        """Exposure time, seconds: numbers, or blank."""

    @property
    def expkeyword(self) -> object:
        """Keywords to take the exposure time from."""

    @property
    def peer_compat(self) -> bool:
        """Whether DrizzlePac's numbers are taken where they are known to be wrong."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """User values for instrument facts; each is a mean of non-zero numbers, or keywords to take it from."""

    gain: float | None = None
    gain_keywords: tuple[str, ...] = ()
    read_noise: float | None = None
    read_noise_keywords: tuple[str, ...] = ()
    exptime: float | None = None
    exptime_keywords: tuple[str, ...] = ()
    peer_compat: bool = False
    """Take DrizzlePac's numbers where they are known to be wrong."""


@dataclass(frozen=True, slots=True)
class HeaderPair:
    """Primary and SCI header of one chip."""

    exposure: str
    """Name for messages."""
    chip: str
    """Extension for messages, ``sci,1``."""
    primary: fits.Header
    science: fits.Header
    extver: int
    """EXTVER of the SCI extension."""

    @property
    def instrument(self) -> str:
        """INSTRUME, upper case."""
        return str(self.primary.get("INSTRUME", "")).strip().upper()

    @property
    def detector(self) -> str:
        """DETECTOR, upper case; CAMERA for NICMOS; for WFPC2 the name of the chip, numbered in SCI."""
        if self.instrument == "WFPC2":
            return _WFPC2_CHIPS.get(self.detector_number, str(self.science.get("DETECTOR", "")))
        keyword = "CAMERA" if self.instrument == "NICMOS" else "DETECTOR"
        return str(self.primary.get(keyword, self.science.get(keyword, ""))).strip().upper()

    @property
    def detector_number(self) -> int:
        """DETECTOR of the SCI header as a number (WFPC2: PC 1, WF 2 to 4); 0 when it is none."""
        number = header_number(self.science, "DETECTOR")
        return int(number) if number is not None else 0

    @property
    def ccdchip(self) -> int:
        """CCDCHIP; EXTVER when absent."""
        number = header_number(self.science, "CCDCHIP")
        return int(number) if number is not None else self.extver

    def number(self, keyword: str) -> float | None:
        """Finite number of a keyword in the primary, else the SCI header."""
        value = header_number(self.primary, keyword)
        return header_number(self.science, keyword) if value is None else value


@dataclass(frozen=True, slots=True)
class InstrumentFacts:
    """What the pipeline needs to know of a detector in one exposure."""

    native_unit: str
    """ELECTRONS, ELECTRONS/S, COUNTS or COUNTS/S."""
    is_rate: bool
    """Whether `native_unit` is per second."""
    gain: float
    """Effective gain: native unit times gain is electrons."""
    atod_gain: float
    """Gain of the read-out, electrons per DN."""
    read_noise_e: float
    """Read noise, electrons."""
    dark_e: float | None
    """Dark signal of the exposure, electrons per pixel; None when the header does not say."""
    cte_direction: int
    """+1, -1, or 0 for a detector without charge transfer."""
    ccdchip: int
    """Detector chip."""
    flat_keyword: str = "PFLTFILE"
    """Keyword of the flat field for IVM weights."""
    notes: tuple[str, ...] = ()
    """Assumptions made because keywords are absent."""
    flat_is_inverse: bool = False
    """Whether the flat field holds the factor that corrects, one over the response."""
    dark_keyword: str = "MEANDARK"
    """Keyword that `dark_e` comes from."""
    binning: int = 1
    """Detector pixels per image pixel along each axis."""
    shadow_edge: tuple[float, ...] = ()
    """Edge of the pyramid's shadow (see `mosaic.exposure.model.Chip`); empty for detectors without."""
    low_flat_keyword: str = ""
    """Keyword of a second flat field, coarsely sampled, that the first is multiplied by; empty: none."""
    full_shape_yx: ShapeYX | None = None
    """Rows and columns of the whole detector, where flat fields may be coarser or finer than it."""
    binning_yx: tuple[int, int] = (1, 1)
    """Detector pixels per image pixel along y and x, where the flat field is that of single pixels."""


def resolve_overrides(settings: InstrumentSettings) -> Overrides:
    """Turn settings into overrides; a value and keywords for the same quantity are refused."""
    resolved: list[tuple[float | None, tuple[str, ...]]] = []
    for name, key_name in (("gain", "gnkeyword"), ("rdnoise", "rnkeyword"), ("exptime", "expkeyword")):
        value = _mean_of_entries(getattr(settings, name), name)
        keywords = _entries(getattr(settings, key_name))
        if value is not None and keywords:
            raise ParameterError(
                f"{name}={value} and {key_name}={','.join(keywords)} are both given; give only one"
            )
        resolved.append((value, tuple(word.upper() for word in keywords)))
    (gain, gain_keys), (noise, noise_keys), (exptime, exptime_keys) = resolved
    return Overrides(gain, gain_keys, noise, noise_keys, exptime, exptime_keys, settings.peer_compat)


def mean_value(
    headers: HeaderPair,
    override: float | None,
    override_keywords: Sequence[str],
    default_keywords: Sequence[str],
    what: str,
) -> float:
    """User value, else the mean of the non-zero keyword values (0 when all are zero).

    With the user's own keywords all must be present; of the default keywords at least one.
    """
    if override is not None:
        return override
    keywords = override_keywords or default_keywords
    found = {word: headers.number(word) for word in keywords}
    absent = [word for word, value in found.items() if value is None]
    if (override_keywords and absent) or len(absent) == len(keywords):
        raise MetadataError(
            headers.exposure,
            f"{what} unknown: {', '.join(absent)} absent",
            f"give the value as a parameter ({what.replace(' ', '')}=...) or remove it from the list",
            headers.chip,
        )
    used = [value for value in found.values() if value]
    return sum(used) / len(used) if used else 0.0


def given_value(
    headers: HeaderPair, override: float | None, override_keywords: Sequence[str], what: str
) -> float | None:
    """User value, else the mean of the user's keywords; None when the user gave neither."""
    if override is None and not override_keywords:
        return None
    return mean_value(headers, override, override_keywords, (), what)


def resolve_unit(headers: HeaderPair, expected: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Native unit from BUNIT (SCI, else primary).

    Parameters
    ----------
    expected : tuple of str
        Units that this detector's calibrated images come in; the first is taken when BUNIT is absent.

    Returns
    -------
    unit : str
        ELECTRONS, COUNTS, ELECTRONS/S or COUNTS/S.
    notes : tuple of str
        The assumption made when BUNIT is absent.
    """
    raw = str(headers.science.get("BUNIT", headers.primary.get("BUNIT", "")) or "").strip()
    if raw.lower() in _BLANK:
        return expected[0], (f"{headers.exposure}[{headers.chip}]: BUNIT absent, taken as {expected[0]}",)
    quantity, _, per = raw.upper().replace(" ", "").partition("/")
    unit = _QUANTITIES.get(quantity, "")
    if unit and per in _PER_SECOND:
        unit += "/S"
    elif per:
        unit = ""
    if unit not in expected:
        problem = f"BUNIT is {raw!r}, {headers.instrument}/{headers.detector} needs {' or '.join(expected)}"
        raise MetadataError(
            headers.exposure, problem, "calibrate the exposure or correct BUNIT", headers.chip
        )
    return unit, ()


def _entries(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    parts = value if isinstance(value, (list, tuple)) else str(value).split(",")
    return tuple(text for text in (str(part).strip() for part in parts) if text.lower() not in _BLANK)


def _mean_of_entries(value: object, name: str) -> float | None:
    entries = _entries(value)
    if not entries:
        return None
    try:
        numbers = [float(entry) for entry in entries]
    except ValueError as error:
        raise ParameterError(f"{name}={value!r} is not a number or a comma list of numbers") from error
    used = [number for number in numbers if number]
    return sum(used) / len(used) if used else 0.0
