"""What must be known of an instrument before its chips can be described: where its files keep things."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class InputTraits:
    """How the files of an instrument are laid out."""

    filter_keywords: tuple[str, ...] = ("FILTER", "FILTER1", "FILTER2")
    """Keywords of the primary header that name the filters, in the order they are joined."""
    is_timed_by_chip: bool = False
    """Whether EXPTIME, EXPSTART and EXPEND of the SCI header go before those of the primary one."""
    imset_is_exposure: bool = False
    """Whether every group of SCI, ERR and DQ is an exposure of its own."""
    only_first_imset: bool = False
    """Whether groups after the first are not science images."""
    is_imaging_only: bool = False
    """Whether OBSTYPE tells images from spectra."""


_TRAITS: Final = {
    "STIS": InputTraits(
        filter_keywords=("OPT_ELEM", "FILTER"),
        is_timed_by_chip=True,
        imset_is_exposure=True,
        is_imaging_only=True,
    ),
    "WFPC2": InputTraits(filter_keywords=("FILTNAM1", "FILTNAM2")),
    "NICMOS": InputTraits(filter_keywords=("FILTER", "FILTER2"), only_first_imset=True),
}


def input_traits(instrument: str) -> InputTraits:
    """Layout of the files of an instrument (INSTRUME, upper case)."""
    return _TRAITS.get(instrument, InputTraits())
