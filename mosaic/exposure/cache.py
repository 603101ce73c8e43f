"""Rows of inputs that were read a moment ago: neighbouring tiles and later phases want them again.

One bounded cache per process, off until a budget is set. It holds bands of full rows on a fixed grid, decoded
and native-endian (masks still packed), so that any window of any task finds them; it changes the speed of
reads and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from mosaic.exposure.kept import BoundedCache

BAND_ROWS = 128
"""Rows of a cached band."""


class RowCache:
    """Least recently used bands, up to a number of bytes; safe to share between threads."""

    def __init__(self) -> None:
        self._bands: BoundedCache[NDArray[Any]] = BoundedCache(0, n_spared=0)

    @property
    def max_bytes(self) -> int:
        """The budget."""
        return self._bands.max_size

    def resize(self, max_bytes: int) -> None:
        """Set the budget; 0 empties the cache and turns it off."""
        self._bands.resize(max_bytes)

    def get(self, key: tuple[str, int, int], load: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Band of a key (file, offset of the array, first row); `load` reads it when it is not held."""
        return load() if self.max_bytes == 0 else self._bands.get(key, load, _size_of)


def _size_of(band: NDArray[Any]) -> int:
    return band.nbytes


ROW_CACHE = RowCache()
"""The cache of this process."""
