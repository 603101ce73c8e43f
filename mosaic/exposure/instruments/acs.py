"""Advanced Camera for Surveys: WFC, HRC and SBC.

Calibrated images are in electrons (SBC: counts, one count being one electron), so the effective
gain is 1; the read-out gain is kept for noise estimates.
"""

from __future__ import annotations

from mosaic.exposure.instruments.facts import (
    AMPLIFIER_GAINS,
    AMPLIFIER_NOISES,
    HeaderPair,
    InstrumentFacts,
    Overrides,
    given_value,
    mean_value,
    resolve_unit,
)


def ccd_facts(
    headers: HeaderPair, overrides: Overrides, units: tuple[str, ...], cte_direction: int
) -> InstrumentFacts:
    """Facts of a detector with amplifiers A to D."""
    unit, notes = resolve_unit(headers, units)
    return InstrumentFacts(
        native_unit=unit,
        is_rate=unit.endswith("/S"),
        gain=1.0,
        atod_gain=mean_value(headers, overrides.gain, overrides.gain_keywords, AMPLIFIER_GAINS, "gain"),
        read_noise_e=mean_value(
            headers, overrides.read_noise, overrides.read_noise_keywords, AMPLIFIER_NOISES, "rd noise"
        ),
        dark_e=headers.number("MEANDARK"),
        cte_direction=cte_direction,
        ccdchip=headers.ccdchip,
        notes=notes,
    )


def wfc_facts(headers: HeaderPair, overrides: Overrides) -> InstrumentFacts:
    """WFC: chip 2 (extension 1) is read at the bottom, its trails go up; chip 1 the other way."""
    direction = -1 if headers.ccdchip == 2 else 1
    return ccd_facts(headers, overrides, ("ELECTRONS", "ELECTRONS/S"), direction)


def hrc_facts(headers: HeaderPair, overrides: Overrides) -> InstrumentFacts:
    """HRC: the amplifier says which way the trails go."""
    amplifiers = set(str(headers.primary.get("CCDAMP", "")).strip().upper())
    direction = 0
    if amplifiers and amplifiers <= {"A", "B"}:
        direction = 1
    elif amplifiers and amplifiers <= {"C", "D"}:
        direction = -1
    return ccd_facts(headers, overrides, ("ELECTRONS", "ELECTRONS/S"), direction)


def sbc_facts(headers: HeaderPair, overrides: Overrides) -> InstrumentFacts:
    """SBC: a photon counter without read noise, amplifiers or charge transfer."""
    unit, notes = resolve_unit(headers, ("COUNTS", "ELECTRONS", "COUNTS/S", "ELECTRONS/S"))
    gain = given_value(headers, overrides.gain, overrides.gain_keywords, "gain")
    noise = given_value(headers, overrides.read_noise, overrides.read_noise_keywords, "rd noise")
    return InstrumentFacts(
        # One count of the photon counter is one electron: products are labelled in electrons.
        native_unit=unit.replace("COUNTS", "ELECTRONS"),
        is_rate=unit.endswith("/S"),
        gain=1.0,
        atod_gain=1.0 if gain is None else gain,
        read_noise_e=0.0 if noise is None else noise,
        dark_e=headers.number("MEANDARK"),
        cte_direction=0,
        ccdchip=headers.ccdchip,
        notes=notes,
    )
