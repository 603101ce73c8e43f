"""Wide Field Planetary Camera 2: PC and WF2 to WF4, in counts (DN).

Covers gain and read noise of each chip (WFPC2 Instrument Handbook), the shadow of the pyramid, and where
the flags are: calibrated image (``_c0m``, ``_c0f``, ``.c0h``) and data quality (``_c1m``, …) are two files.
"""

from __future__ import annotations

from typing import Final

from mosaic.errors import MetadataError
from mosaic.exposure.instruments.facts import (
    HeaderPair,
    InstrumentFacts,
    Overrides,
    given_value,
    resolve_unit,
)

_GAIN_AND_NOISE: Final = {
    (1, 7): (7.12, 5.24), (1, 15): (13.99, 7.02),
    (2, 7): (7.12, 5.51), (2, 15): (14.50, 7.84),
    (3, 7): (6.90, 5.22), (3, 15): (13.95, 6.99),
    (4, 7): (7.10, 5.19), (4, 15): (13.95, 8.32),
}  # fmt: skip
"""Electrons per DN and read noise in electrons by detector number and ATODGAIN."""

_DARK_E_S: Final = 0.005
"""Dark current, electrons per second and pixel."""

_SHADOW_EDGE: Final = {
    1: (52.20921, 0.009072887, -9.941337e-6, 42.62779, 0.009122855, -1.106709e-5),
    2: (21.77283, 0.01842164, -1.398300e-5, 47.68184, 0.00265608, -1.468158e-5),
    3: (44.18944, 0.0138938, -1.412296e-5, 30.23626, 0.008156041, -1.491324e-5),
    4: (44.56632, 0.003509023, -1.278723e-5, 40.91462, 0.01273679, -1.063462e-5),
}
"""Edge of the pyramid's shadow by detector number: coefficients along y, then along x (see `reader`)."""

_FLAG_SUFFIX: Final = {f"_c0{kind}.fits": f"_c1{kind}.fits" for kind in "mfh"} | {".c0h": ".c1h"}
"""Endings of a calibrated image and of the file of its flags."""


def chip_facts(headers: HeaderPair, overrides: Overrides) -> InstrumentFacts:
    """Facts of any of the four chips.

    Raises
    ------
    MetadataError
        When ATODGAIN is neither 7 nor 15 and the gain or the read noise is wanted from it.
    """
    unit, _absent = resolve_unit(headers, ("COUNTS", "COUNTS/S"))
    number = headers.detector_number
    gain = given_value(headers, overrides.gain, overrides.gain_keywords, "gain")
    noise = given_value(headers, overrides.read_noise, overrides.read_noise_keywords, "rd noise")
    if gain is None or noise is None:
        table_gain, table_noise = _from_table(headers, number)
        gain = table_gain if gain is None else gain
        noise = table_noise if noise is None else noise
    dark_time = headers.number("DARKTIME")
    return InstrumentFacts(
        native_unit=unit,
        is_rate=unit.endswith("/S"),
        gain=gain,
        atod_gain=gain,
        read_noise_e=noise,
        dark_e=None if dark_time is None else _DARK_E_S * dark_time,
        cte_direction=-1,
        ccdchip=number,
        flat_keyword="FLATFILE",
        flat_is_inverse=True,
        dark_keyword="DARKTIME",
        binning=2 if str(headers.primary.get("MODE", "")).strip().upper() == "AREA" else 1,
        shadow_edge=_SHADOW_EDGE[number],
    )


def flag_file(path: str) -> str:
    """File that holds the flags of an exposure; empty when they are in the exposure's own file.

    ``u1_c0m.fits`` has ``u1_c1m.fits``, ``u1.c0h`` has ``u1.c1h``; everything else (``_flt``) its own DQ.
    """
    folder, slash, name = path.rpartition("/")
    for science, flags in _FLAG_SUFFIX.items():
        at = name.lower().rfind(science)
        if at > 0:
            changed = flags.upper() if name[at : at + len(science)].isupper() else flags
            return f"{folder}{slash}{name[:at]}{changed}{name[at + len(science) :]}"
    return ""


def _from_table(headers: HeaderPair, number: int) -> tuple[float, float]:
    value = headers.number("ATODGAIN")
    found = None if value is None else _GAIN_AND_NOISE.get((number, int(value) if value == int(value) else 0))
    if found is None:
        said = "is absent" if value is None else f"is {value:g}"
        raise MetadataError(
            headers.exposure,
            f"gain and read noise unknown: ATODGAIN {said}, not 7 or 15",
            "correct it, or give gain=... and rdnoise=...",
            headers.chip,
        )
    return found
