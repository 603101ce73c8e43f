"""Instrument facts: one registry from (INSTRUME, DETECTOR) to a function of the headers.

Each instrument module turns headers into `InstrumentFacts`; nothing else in mosaic knows about
instrument keywords.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mosaic.errors import InstrumentError
from mosaic.exposure.instruments import acs, wfc3
from mosaic.exposure.instruments.facts import HeaderPair, InstrumentFacts, Overrides

FactsFunction = Callable[[HeaderPair, Overrides], InstrumentFacts]

REGISTRY: Final[dict[tuple[str, str], FactsFunction]] = {
    ("ACS", "WFC"): acs.wfc_facts,
    ("ACS", "HRC"): acs.hrc_facts,
    ("ACS", "SBC"): acs.sbc_facts,
    ("WFC3", "UVIS"): wfc3.uvis_facts,
    ("WFC3", "IR"): wfc3.ir_facts,
}


def instrument_facts(headers: HeaderPair, overrides: Overrides) -> InstrumentFacts:
    """Facts of one chip.

    Raises
    ------
    InstrumentError
        When the instrument or detector is not supported.
    MetadataError
        When a keyword that is needed is absent or impossible.
    """
    key = (headers.instrument, headers.detector)
    if key not in REGISTRY:
        known = ", ".join("/".join(pair) for pair in REGISTRY)
        problem = f"INSTRUME={key[0]!r}, DETECTOR={key[1]!r} is not supported"
        raise InstrumentError(headers.exposure, problem, f"supported are {known}: remove it from the list")
    return REGISTRY[key](headers, overrides)


__all__ = ["REGISTRY", "HeaderPair", "InstrumentFacts", "Overrides", "instrument_facts"]
