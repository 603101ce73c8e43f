"""Separate drizzles kept in memory between weighing a tile and combining it, while there is room.

The mean weight of an exposure is needed before any tile that it lies on can be combined, so every tile is
visited twice. A stack that fits the spare memory is kept from the first visit; the others are drizzled again,
to the same bits.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from mosaic.types import FloatArray


class Stack(NamedTuple):
    """Separate drizzles of a tile and its halo."""

    images: FloatArray
    """Shape (n, ny, nx), electrons/s."""
    weights: FloatArray
    """Shape (n, ny, nx), seconds."""

    def only(self, k: int) -> Stack:
        """View of one exposure."""
        return Stack(self.images[k : k + 1], self.weights[k : k + 1])


class StackCache:
    """Stacks by job and tile, up to a number of bytes; safe to share between threads."""

    def __init__(self) -> None:
        self._stacks: dict[tuple[str, str], Stack] = {}
        self._lock = threading.Lock()
        self._reserved: dict[tuple[str, str], int] = {}

    def reserve(self, key: tuple[str, str], n_bytes: int, max_bytes: int) -> bool:
        """Set room aside for a stack; False when there is not enough."""
        with self._lock:
            others = sum(size for other, size in self._reserved.items() if other != key)
            if others + n_bytes > max_bytes:
                return False
            self._reserved[key] = n_bytes
            return True

    def put(self, key: tuple[str, str], stack: Stack) -> None:
        """Keep a stack for which room was reserved."""
        with self._lock:
            self._stacks[key] = stack

    def take(self, key: tuple[str, str]) -> Stack | None:
        """Hand a stack over and forget it."""
        with self._lock:
            self._reserved.pop(key, None)
            return self._stacks.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._stacks.clear()
            self._reserved.clear()


STACK_CACHE = StackCache()
"""The cache of this process."""
