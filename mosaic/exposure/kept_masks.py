"""Cosmic-ray masks that an earlier run left, which DrizzlePac applies when it makes none itself.

Covers finding them. A mask of another shape is not of this exposure and is left alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from astropy.io import fits

from mosaic.exposure.blocks import data_block
from mosaic.exposure.instruments import HeaderPair
from mosaic.exposure.model import Chip, Exposure
from mosaic.exposure.storage import size_and_tag


def give_kept_masks(
    exposures: Sequence[Exposure], folder: Path, name_of: Callable[[str, int], str]
) -> tuple[list[Exposure], list[str]]:
    """Put the masks found in a folder on the chips and into the fingerprints of the exposures.

    Parameters
    ----------
    exposures : sequence of Exposure
        The exposures.
    folder : Path
        Where the masks of an earlier run would be.
    name_of : callable
        Name of the mask of a chip from root name and EXTVER.

    Returns
    -------
    tuple
        The exposures, and one line for each mask that is used.
    """
    given: list[Exposure] = []
    notes: list[str] = []
    for exposure in exposures:
        digest = hashlib.sha256(exposure.fingerprint.encode())
        chips: list[Chip] = []
        for chip in exposure.chips:
            path = folder / name_of(exposure.rootname, chip.extver)
            masked = _masked(chip, path)
            if masked is not chip:
                notes.append(f"peer_compat: {path.name} of an earlier run is applied, as DrizzlePac does")
                digest.update(f"{path}:{size_and_tag(str(path))}".encode())
            chips.append(masked)
        changed = tuple(chips) != exposure.chips
        fingerprint = digest.hexdigest() if changed else exposure.fingerprint
        given.append(replace(exposure, chips=tuple(chips), fingerprint=fingerprint))
    return given, notes


def _masked(chip: Chip, path: Path) -> Chip:
    """The chip with the mask in a file; the chip itself when there is none of its shape."""
    if not path.is_file():
        return chip
    with fits.open(path, memmap=False) as hdul:
        headers = HeaderPair(chip.rootname, f"sci,{chip.extver}", hdul[0].header, hdul[0].header, chip.extver)
        block = data_block(hdul[0], str(path), headers)
    return chip if block is None or block.shape_yx != chip.shape_yx else replace(chip, kept_hits=block)
