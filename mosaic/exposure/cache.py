"""Rows of inputs that were read a moment ago: neighbouring tiles and later phases want them again.

One bounded cache per process, off until a budget is set. It holds bands of full rows on a fixed grid, decoded
and native-endian (masks still packed), so that any window of any task finds them; it changes the speed of
reads and nothing else.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

BAND_ROWS = 128
"""Rows of a cached band."""


class RowCache:
    """Least recently used bands, up to a number of bytes; safe to share between threads."""

    def __init__(self) -> None:
        self._bands: OrderedDict[tuple[str, int, int], NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._used = 0
        self.max_bytes = 0

    def resize(self, max_bytes: int) -> None:
        """Set the budget; 0 empties the cache and turns it off."""
        with self._lock:
            self.max_bytes = max_bytes
            self._shrink()

    def get(self, key: tuple[str, int, int], load: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Band of a key (file, offset of the array, first row); `load` reads it when it is not held."""
        with self._lock:
            band = self._bands.get(key)
            if band is not None:
                self._bands.move_to_end(key)
                return band
        band = load()
        with self._lock:
            if key not in self._bands:
                self._bands[key] = band
                self._used += band.nbytes
                self._shrink()
        return band

    def _shrink(self) -> None:
        while self._used > self.max_bytes:
            _key, band = self._bands.popitem(last=False)
            self._used -= band.nbytes


ROW_CACHE = RowCache()
"""The cache of this process."""
