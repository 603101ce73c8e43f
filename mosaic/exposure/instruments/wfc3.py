"""Wide Field Camera 3: UVIS (electrons) and IR (electrons per second)."""

from __future__ import annotations

from mosaic.exposure.instruments.acs import ccd_facts
from mosaic.exposure.instruments.facts import HeaderPair, InstrumentFacts, Overrides


def uvis_facts(headers: HeaderPair, overrides: Overrides) -> InstrumentFacts:
    """UVIS: chip 2 (extension 1) is read at the bottom, its trails go up; chip 1 the other way."""
    direction = -1 if headers.ccdchip == 2 else 1
    return ccd_facts(headers, overrides, ("ELECTRONS", "ELECTRONS/S"), direction)


def ir_facts(headers: HeaderPair, overrides: Overrides) -> InstrumentFacts:
    """IR: no charge transfer; the unit says whether the image is a rate."""
    return ccd_facts(headers, overrides, ("ELECTRONS/S", "ELECTRONS"), 0)
