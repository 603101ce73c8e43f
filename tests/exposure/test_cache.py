"""What is kept in memory is made once, however many threads want it at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mosaic.exposure.cache import RowCache
from mosaic.exposure.kept import BoundedCache, KeyLocks

N_THREADS = 4


def _get_at_once(get: Callable[[Callable[[], np.ndarray]], np.ndarray]) -> int:
    """How often a value is made that all threads ask for at the same time."""
    made: list[int] = []
    barrier = threading.Barrier(N_THREADS)

    def make() -> np.ndarray:
        made.append(1)
        return np.full(8, 3.0)

    def ask(_number: int) -> np.ndarray:
        barrier.wait()
        return get(make)

    with ThreadPoolExecutor(N_THREADS) as pool:
        answers = list(pool.map(ask, range(N_THREADS)))
    assert all((answer == 3.0).all() for answer in answers)
    return len(made)


@pytest.mark.parametrize(("max_bytes", "n_made"), [(1000, 1), (0, N_THREADS)])
def test_rows_are_read_once_for_all_threads_unless_nothing_is_kept(max_bytes: int, n_made: int) -> None:
    for _ in range(20):
        cache = RowCache()
        cache.resize(max_bytes)
        assert _get_at_once(lambda load, cache=cache: cache.get(("file", 0, 0), load)) == n_made


def test_what_a_job_derives_is_derived_once_for_all_threads() -> None:
    for _ in range(20):
        cache: BoundedCache[np.ndarray] = BoundedCache(1000)
        made = _get_at_once(
            lambda build, cache=cache: cache.get(("final", 0), build, lambda value: value.nbytes)
        )
        assert made == 1


def test_the_oldest_rows_make_room() -> None:
    cache = RowCache()
    cache.resize(128)
    first, second, third = (cache.get(("file", 0, y), lambda y=y: np.full(8, float(y))) for y in range(3))
    assert cache.get(("file", 0, 2), lambda: first) is third
    assert cache.get(("file", 0, 1), lambda: first) is second
    assert cache.get(("file", 0, 0), lambda: third) is third


def test_a_failure_leaves_the_key_to_the_next() -> None:
    locks = KeyLocks()
    with pytest.raises(ZeroDivisionError), locks.holding("key"):
        raise ZeroDivisionError
    with locks.holding("key"), locks.holding("another"):
        pass
