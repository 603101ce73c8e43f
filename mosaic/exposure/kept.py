"""What was read or derived and is kept for a while: a bounded store of values that can be had again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


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


class BoundedCache(Generic[T]):
    """Least recently used values, up to a total size; safe to share between threads.

    Parameters
    ----------
    max_size : int
        Largest total of the sizes of the values kept.
    n_spared : int
        So many of the latest values stay, whatever their size.
    """

    def __init__(self, max_size: int, n_spared: int = 1) -> None:
        self.max_size = max_size
        self._n_spared = n_spared
        self._values: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._building = KeyLocks()
        self._used = 0

    def resize(self, max_size: int) -> None:
        """Set the largest total, and drop what is too much."""
        with self._lock:
            self.max_size = max_size
            self._shrink()

    def get(self, key: Hashable, build: Callable[[], T], size_of: Callable[[T], int]) -> T:
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
                self._shrink()
        return value

    def _held(self, key: Hashable) -> tuple[T, int] | None:
        with self._lock:
            held = self._values.get(key)
            if held is not None:
                self._values.move_to_end(key)
        return held

    def _shrink(self) -> None:
        while self._used > self.max_size and len(self._values) > self._n_spared:
            _key, (_value, dropped) = self._values.popitem(last=False)
            self._used -= dropped
