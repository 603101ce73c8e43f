"""FITS checksums, summed while bytes stream by.

Covers the 32-bit ones' complement sum of the FITS checksum convention (DATASUM) and its ASCII coding
(CHECKSUM). Does not cover where the keywords go.
"""

from __future__ import annotations

import numpy as np

_EXCLUDED = frozenset(b":;<=>?@[\\]^_`")


class OnesComplementSum:
    """Sum of big-endian 32-bit words with end-around carry, fed in pieces of any length."""

    def __init__(self, start: int = 0) -> None:
        self._sum = start
        self._rest = b""

    def update(self, data: bytes | memoryview) -> None:
        """Add bytes; a word may be split between two calls."""
        view = memoryview(data).cast("B")
        if self._rest:
            missing = 4 - len(self._rest)
            self._rest += bytes(view[:missing])
            view = view[missing:]
            if len(self._rest) < 4:
                return
            self._add(memoryview(self._rest))
            self._rest = b""
        whole = len(view) - len(view) % 4
        self._add(view[:whole])
        self._rest = bytes(view[whole:])

    def _add(self, words: memoryview) -> None:
        """Add whole words."""
        total = self._sum + int(np.frombuffer(words, dtype=">u4").sum(dtype=np.uint64))
        while total >> 32:
            total = (total & 0xFFFFFFFF) + (total >> 32)
        self._sum = total

    @property
    def value(self) -> int:
        """The sum, as if zero bytes filled the last word."""
        if not self._rest:
            return self._sum
        padded = OnesComplementSum(self._sum)
        padded.update(self._rest.ljust(4, b"\0"))
        return padded.value


def encode_checksum(total: int) -> str:
    """Return the 16 characters of CHECKSUM that bring the sum of an HDU to zero.

    Each byte of the complement is spread over four characters that add up to it, none of them
    punctuation; the string is rotated by one because values in a header start at column 12.
    """
    complement = 0xFFFFFFFF - total
    coded = [0] * 16
    for place in range(4):
        byte = (complement >> (8 * (3 - place))) & 0xFF
        parts = [byte // 4 + ord("0")] * 4
        parts[0] += byte % 4
        while any(part in _EXCLUDED for part in parts):
            for pair in (0, 2):
                if parts[pair] in _EXCLUDED or parts[pair + 1] in _EXCLUDED:
                    parts[pair] += 1
                    parts[pair + 1] -= 1
        for index, part in enumerate(parts):
            coded[4 * index + place] = part
    return bytes(coded[-1:] + coded[:-1]).decode("ascii")
