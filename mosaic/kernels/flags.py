"""Flags of pixels, a byte each, spread over their neighbourhoods.

Masks are uint8, 1 = the pixel has the property; images end at their borders.
"""

from __future__ import annotations

import numpy as np

from mosaic.kernels._compile import kernel, part
from mosaic.types import ByteArray


@part
def merge_row(source: ByteArray, shift: int, target: ByteArray) -> None:
    """Set ``target[x]`` where ``source[x - shift]`` is set."""
    n = source.shape[0] - abs(shift)
    # Slices, for an index that might be negative would keep the loop from being vectorised.
    given, merged = source[max(0, -shift) :], target[max(0, shift) :]
    for x in range(n):
        merged[x] |= given[x]


@kernel
def spread(mask: ByteArray, before: int, after: int, out: ByteArray) -> None:
    """Spread each set pixel over `before` pixels below and left of it and `after` above and right."""
    rows, nx = mask.shape
    wide = np.zeros((rows, nx), np.uint8)
    for i in range(rows):
        for shift in range(-before, after + 1):
            merge_row(mask[i], shift, wide[i])
    for i in range(rows):
        out[i, :] = 0
        for j in range(max(0, i - after), min(rows, i + before + 1)):
            merge_row(wide[j], 0, out[i])
