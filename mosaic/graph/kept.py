"""What a job derives and keeps for a while: a bounded store of values that can be derived again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from mosaic.exposure.cache import KeyLocks

T = TypeVar("T")


class BoundedCache(Generic[T]):
    """Least recently used values, up to a total size; safe to share between threads.

    Parameters
    ----------
    max_size : int
        Largest total of the sizes of the values kept. The last value stays, whatever its size.
    """

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self._values: OrderedDict[tuple[str, int], tuple[T, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._building = KeyLocks()
        self._used = 0

    def get(self, key: tuple[str, int], build: Callable[[], T], size_of: Callable[[T], int]) -> T:
        """Value of a key; `build` makes it when it is not held."""
        held = self._held(key)
        if held is not None:
            return held[0]
        with self._building.holding(key):
            held = self._held(key)
            if held is not None:
                return held[0]
            value = build()
            size = size_of(value)
            with self._lock:
                self._values[key] = (value, size)
                self._used += size
                while self._used > self.max_size and len(self._values) > 1:
                    _key, (_value, dropped) = self._values.popitem(last=False)
                    self._used -= dropped
        return value

    def _held(self, key: tuple[str, int]) -> tuple[T, int] | None:
        with self._lock:
            held = self._values.get(key)
            if held is not None:
                self._values.move_to_end(key)
        return held
