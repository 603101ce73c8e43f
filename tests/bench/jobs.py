"""Whole jobs that are timed."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.contenders import CONTENDERS
from tests.bench.sets import QUICK
from tests.parity.cases import Case

_PEERS = ("mosaic", "DrizzlePac in memory", "DrizzlePac on disk")


@dataclass(frozen=True, slots=True)
class Job:
    """One set of exposures and the programs that combine it."""

    title: str
    short: str
    """Name in the plots."""
    exposures: str
    """Name of the set."""
    contenders: tuple[str, ...]

    def case(self, name: str, *, is_quick: bool) -> Case:
        """What is run, on small chips if `is_quick`."""
        return Case(name, self.exposures + (QUICK if is_quick else ""))


JOBS = {
    "job-acs4": Job("Four ACS/WFC exposures of one field", "4 ACS/WFC", "acs_full", tuple(CONTENDERS)),
    "job-acs16": Job("Sixteen ACS/WFC exposures, 2 x 2 fields", "16 ACS/WFC", "acs_mosaic", _PEERS),
    "job-ir8": Job("Eight WFC3/IR exposures of one field", "8 WFC3/IR", "ir_8", _PEERS),
}
