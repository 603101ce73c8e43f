"""Space Telescope Imaging Spectrograph in imaging mode: CCD, NUV-MAMA and FUV-MAMA, in counts.

Covers gain, noise, dark and binning. The time of an exposure is in its SCI header, for a file may hold
several (`mosaic.exposure.imsets`). One count of a MAMA is one photon; of the CCD it is ATODGAIN electrons.
"""

from __future__ import annotations

from typing import Final

from mosaic.errors import MetadataError
from mosaic.exposure.instruments.facts import (
    HeaderPair,
    InstrumentFacts,
    Overrides,
    given_value,
    mean_value,
    resolve_unit,
)
from mosaic.types import ShapeYX

FULL_SHAPE: Final = ShapeYX(1024, 1024)
"""Rows and columns of every STIS detector, unbinned."""

DARK_E_S: Final = {"CCD": 0.009, "NUV-MAMA": 0.0013, "FUV-MAMA": 7.0e-6}
"""Dark current, electrons per second and pixel (STIS Instrument Handbook, typical values)."""

_PEER_DARK_E: Final = {"CCD": 0.009, "NUV-MAMA": 0.0013, "FUV-MAMA": 0.07}
"""Dark of a whole exposure as DrizzlePac has it: rates that were never multiplied by the time."""

_UNITS: Final = ("COUNTS", "COUNTS/S")


def ccd_facts(headers: HeaderPair, overrides: Overrides) -> InstrumentFacts:
    """CCD: read at the top, so charge-transfer trails point to lower rows."""
    gain = mean_value(headers, overrides.gain, overrides.gain_keywords, ("ATODGAIN",), "gain")
    noise = mean_value(headers, overrides.read_noise, overrides.read_noise_keywords, ("READNSE",), "rd noise")
    return _facts(headers, overrides, gain, noise, cte_direction=1)


def mama_facts(headers: HeaderPair, overrides: Overrides) -> InstrumentFacts:
    """MAMA: a photon counter without read noise, amplifiers or charge transfer."""
    gain = given_value(headers, overrides.gain, overrides.gain_keywords, "gain")
    noise = given_value(headers, overrides.read_noise, overrides.read_noise_keywords, "rd noise")
    return _facts(
        headers, overrides, 1.0 if gain is None else gain, 0.0 if noise is None else noise, cte_direction=0
    )


def _facts(
    headers: HeaderPair, overrides: Overrides, gain: float, noise_e: float, *, cte_direction: int
) -> InstrumentFacts:
    unit, notes = resolve_unit(headers, _UNITS)
    exptime = headers.number("EXPTIME") or 0.0
    binning = (_binning(headers, 2), _binning(headers, 1))
    dark = DARK_E_S[headers.detector] * exptime * binning[0] * binning[1]
    return InstrumentFacts(
        native_unit=unit,
        is_rate=unit.endswith("/S"),
        gain=gain,
        atod_gain=gain,
        read_noise_e=noise_e,
        dark_e=_PEER_DARK_E[headers.detector] if overrides.peer_compat else dark,
        cte_direction=cte_direction,
        ccdchip=1,
        flat_keyword="PFLTFILE",
        low_flat_keyword="LFLTFILE",
        full_shape_yx=FULL_SHAPE,
        notes=notes,
        binning_yx=binning,
    )


def _binning(headers: HeaderPair, axis: int) -> int:
    """Detector pixels read out as one along an axis (BINAXIS1, BINAXIS2); 1 when the header does not say.

    Raises
    ------
    MetadataError
        When it is not a whole number of pixels.
    """
    value = headers.number(f"BINAXIS{axis}")
    if value is None:
        return 1
    if value < 1 or value != int(value) or FULL_SHAPE[2 - axis] % int(value):
        problem = f"BINAXIS{axis} is {value:g}, which does not divide {FULL_SHAPE[2 - axis]} pixels"
        raise MetadataError(headers.exposure, problem, "correct it or remove it from the list", headers.chip)
    return int(value)
