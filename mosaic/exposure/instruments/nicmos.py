"""Near Infrared Camera and Multi-Object Spectrometer: cameras 1 to 3, in counts per second.

Covers units, gain, noise and dark. Gains are those measured in flight, not the commanded ADCGAIN (NICMOS Data
Handbook); read noise and dark current are typical values of each camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mosaic.exposure.instruments.facts import (
    HeaderPair,
    InstrumentFacts,
    Overrides,
    given_value,
    resolve_unit,
)


@dataclass(frozen=True, slots=True)
class _Camera:
    gain: float
    """Electrons per count."""
    read_noise_e: float
    """Electrons."""
    dark_e_s: float
    """Electrons per second and pixel."""


_CAMERAS: Final = {
    "1": _Camera(5.4, 26.0, 0.08),
    "2": _Camera(5.4, 26.0, 0.08),
    "3": _Camera(6.5, 29.0, 0.15),
}


def camera_facts(headers: HeaderPair, overrides: Overrides) -> InstrumentFacts:
    """Facts of any of the three cameras; a detector without charge transfer."""
    camera = _CAMERAS[headers.detector]
    unit, notes = _resolve_rate(headers)
    gain = given_value(headers, overrides.gain, overrides.gain_keywords, "gain")
    if gain is None or overrides.peer_compat:
        # DrizzlePac takes no gain from the user for these cameras.
        gain = camera.gain
    noise = given_value(headers, overrides.read_noise, overrides.read_noise_keywords, "rd noise")
    return InstrumentFacts(
        native_unit=unit,
        is_rate=unit.endswith("/S"),
        gain=gain,
        atod_gain=gain,
        read_noise_e=camera.read_noise_e if noise is None else noise,
        dark_e=camera.dark_e_s * (headers.number("EXPTIME") or 0.0),
        cte_direction=0,
        ccdchip=int(headers.detector),
        flat_keyword="FLATFILE",
        flat_is_inverse=True,
        notes=notes,
    )


def _resolve_rate(headers: HeaderPair) -> tuple[str, tuple[str, ...]]:
    """Unit from BUNIT; without it, UNITCORR tells whether counts were divided by the time."""
    switch = str(headers.primary.get("UNITCORR", "")).strip().upper()
    expected = ("COUNTS", "COUNTS/S") if switch == "OMIT" else ("COUNTS/S", "COUNTS")
    unit, notes = resolve_unit(headers, expected)
    if switch == "PERFORM" and unit == "COUNTS":
        place = f"{headers.exposure}[{headers.chip}]"
        notes += (f"{place}: BUNIT says COUNTS, UNITCORR=PERFORM says a rate; taken as counts",)
    return unit, notes
