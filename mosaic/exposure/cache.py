"""Rows of inputs that were read a moment ago: neighbouring tiles and later phases want them again.

One bounded cache per process, off until a budget is set. It holds bands of full rows on a fixed grid, decoded
and native-endian (masks still packed), so that any window of any task finds them; it changes the speed of
reads and nothing else.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

BAND_ROWS = 128
"""Rows of a cached band."""


class KeyLocks:
    """Locks by key: of several threads that want the same at a time, one makes it and the others wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_use: dict[Hashable, tuple[threading.Lock, int]] = {}

    @contextmanager
    def holding(self, key: Hashable) -> Iterator[None]:
        """Hold the lock of a key, which is there as long as anyone wants it."""
        with self._lock:
            own, n_users = self._in_use.get(key, (threading.Lock(), 0))
            self._in_use[key] = own, n_users + 1
        try:
            with own:
                yield
        finally:
            with self._lock:
                own, n_users = self._in_use.pop(key)
                if n_users > 1:
                    self._in_use[key] = own, n_users - 1


class RowCache:
    """Least recently used bands, up to a number of bytes; safe to share between threads."""

    def __init__(self) -> None:
        self._bands: OrderedDict[tuple[str, int, int], NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._loading = KeyLocks()
        self._used = 0
        self.max_bytes = 0

    def resize(self, max_bytes: int) -> None:
        """Set the budget; 0 empties the cache and turns it off."""
        with self._lock:
            self.max_bytes = max_bytes
            self._shrink()

    def get(self, key: tuple[str, int, int], load: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Band of a key (file, offset of the array, first row); `load` reads it when it is not held."""
        if self.max_bytes == 0:
            return load()
        band = self._held(key)
        if band is not None:
            return band
        with self._loading.holding(key):
            band = self._held(key)
            if band is not None:
                return band
            band = load()
            with self._lock:
                self._bands[key] = band
                self._used += band.nbytes
                self._shrink()
        return band

    def _held(self, key: tuple[str, int, int]) -> NDArray[Any] | None:
        with self._lock:
            band = self._bands.get(key)
            if band is not None:
                self._bands.move_to_end(key)
        return band

    def _shrink(self) -> None:
        while self._used > self.max_bytes:
            _key, band = self._bands.popitem(last=False)
            self._used -= band.nbytes


ROW_CACHE = RowCache()
"""The cache of this process."""
