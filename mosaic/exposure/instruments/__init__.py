"""Instrument facts: one registry from (INSTRUME, DETECTOR) to a function of the headers.

Each instrument module turns headers into `InstrumentFacts`; nothing else in mosaic knows about
instrument keywords.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mosaic.errors import InstrumentError
from mosaic.exposure.instruments import acs, nicmos, stis, wfc3, wfpc2
from mosaic.exposure.instruments.facts import HeaderPair, InstrumentFacts, Overrides

FactsFunction = Callable[[HeaderPair, Overrides], InstrumentFacts]

REGISTRY: Final[dict[tuple[str, str], FactsFunction]] = {
    ("ACS", "WFC"): acs.wfc_facts,
    ("ACS", "HRC"): acs.hrc_facts,
    ("ACS", "SBC"): acs.sbc_facts,
    ("WFC3", "UVIS"): wfc3.uvis_facts,
    ("WFC3", "IR"): wfc3.ir_facts,
    ("WFPC2", "PC"): wfpc2.chip_facts,
    ("WFPC2", "WF2"): wfpc2.chip_facts,
    ("WFPC2", "WF3"): wfpc2.chip_facts,
    ("WFPC2", "WF4"): wfpc2.chip_facts,
    ("STIS", "CCD"): stis.ccd_facts,
    ("STIS", "NUV-MAMA"): stis.mama_facts,
    ("STIS", "FUV-MAMA"): stis.mama_facts,
    ("NICMOS", "1"): nicmos.camera_facts,
    ("NICMOS", "2"): nicmos.camera_facts,
    ("NICMOS", "3"): nicmos.camera_facts,
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


def flag_file(instrument: str, path: str) -> str:
    """File that holds the flags of an exposure; empty when they are in the exposure's own file."""
    return wfpc2.flag_file(path) if instrument == "WFPC2" else ""


__all__ = [
    "REGISTRY",
    "HeaderPair",
    "InstrumentFacts",
    "Overrides",
    "flag_file",
    "instrument_facts",
]
