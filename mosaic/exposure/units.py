"""Unit of a product: electrons, or the native counts of detectors that are read in counts (``proc_unit``).

Drizzling works in electrons. In native counts a pixel keeps the value that its own chip has: it is divided
by the gain of that chip, before chips are added. A product has one unit, so a detector chip that was read
with several gains is put into the counts of its first exposure, and native counts of several instruments,
which have no common unit, stay electrons. DrizzlePac instead divides the finished product by the gain of
its last chip; `peer_compat` does that, and labels it as DrizzlePac does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mosaic.exposure.model import Chip


@dataclass(frozen=True, slots=True)
class ProductUnit:
    """What the science values of a product are."""

    quantity: Literal["ELECTRONS", "COUNTS"]
    """Unit without the time."""
    divisors: tuple[float, ...]
    """Electrons in one unit for every chip, in the order of accumulation: applied before chips are added."""
    final_divisor: float = 1.0
    """Electrons in one unit for the finished product, where chips were added in electrons."""
    peer_labels: tuple[str, str] | None = None
    """BUNIT as DrizzlePac writes it, per second and for counts; None: what the values are."""
    notes: tuple[str, ...] = ()
    """What the user should know, one line each."""

    def bunit(self, final_units: str) -> str:
        """BUNIT for ``final_units`` cps or counts."""
        is_rate = final_units == "cps"
        if self.peer_labels is not None:
            return self.peer_labels[0 if is_rate else 1]
        return f"{self.quantity}/S" if is_rate else self.quantity

    def unit(self, final_units: str) -> str:
        """Unit of the values as astropy spells it, for ``final_units`` cps or counts."""
        name = {"ELECTRONS": "electron", "COUNTS": "count"}[self.quantity]
        return f"{name}/s" if final_units == "cps" else name


def is_count_detector(chip: Chip) -> bool:
    """Whether the native unit of a chip is counts."""
    return chip.native_unit.startswith("COUNTS")


def product_unit(chips: Sequence[Chip], proc_unit: str, *, peer_compat: bool) -> ProductUnit:
    """Decide the unit of the final product.

    Parameters
    ----------
    chips : sequence of Chip
        Chips in the order of accumulation.
    proc_unit : str
        "native" or "electrons".
    peer_compat : bool
        Divide by the gain of the last chip and label as DrizzlePac does.
    """
    wants_native = proc_unit == "native"
    electrons = (1.0,) * len(chips)
    if peer_compat:
        return _peer_unit(chips[-1], electrons, wants_native=wants_native)
    if not (wants_native and any(is_count_detector(chip) for chip in chips)):
        return ProductUnit("ELECTRONS", electrons)
    kinds = sorted({f"{chip.instrument} ({chip.native_unit})" for chip in chips})
    if len({chip.instrument for chip in chips}) > 1 or not all(is_count_detector(chip) for chip in chips):
        note = f"proc_unit='native': {', '.join(kinds)} have no common unit; the product is in electrons"
        return ProductUnit("ELECTRONS", electrons, notes=(note,))
    first: dict[tuple[str, int], Chip] = {}
    notes: dict[tuple[str, int, float], str] = {}
    for chip in chips:
        key = (chip.detector, chip.ccdchip)
        reference = first.setdefault(key, chip)
        if chip.gain != reference.gain:
            notes.setdefault(
                (*key, chip.gain),
                f"{chip.name} has gain {chip.gain:g}, {reference.name} {reference.gain:g}: the product is "
                "in counts of the latter, and so is its PHOTFLAM",
            )
    divisors = tuple(first[chip.detector, chip.ccdchip].gain for chip in chips)
    return ProductUnit("COUNTS", divisors, notes=tuple(notes.values()))


def separate_bunit(chip: Chip, *, peer_compat: bool) -> str:
    """BUNIT of the separate drizzle of an exposure: always electrons per second, whatever DrizzlePac says."""
    return "COUNTS/S" if peer_compat and is_count_detector(chip) else "ELECTRONS/S"


def _peer_unit(last: Chip, electrons: tuple[float, ...], *, wants_native: bool) -> ProductUnit:
    """Unit of a product as DrizzlePac decides it: by the last chip alone."""
    if not is_count_detector(last):
        return ProductUnit("ELECTRONS", electrons)
    if not wants_native:
        return ProductUnit("ELECTRONS", electrons, peer_labels=("COUNTS/S", "COUNTS"))
    rate = "counts/s" if last.instrument == "NICMOS" else "counts"
    return ProductUnit("COUNTS", electrons, last.gain, (rate, "counts"))
