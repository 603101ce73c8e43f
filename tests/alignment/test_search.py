"""Chips are searched while more are added, within the memory granted."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from mosaic.alignment import search as searching
from mosaic.alignment.finding import Sources
from mosaic.alignment.images import ChipSources
from mosaic.alignment.search import ChipPlace, Found, Search
from mosaic.alignment.settings import FindSettings
from mosaic.errors import BudgetError
from mosaic.geometry.wcs import ChipWcs
from mosaic.types import ShapeYX

ONE_CHIP_BYTES = 8 * 16 * 40


def _place(name: str, ny: int = 8) -> ChipPlace:
    zero = np.zeros((1, 1))
    axes = np.tile([1.0, 0.0, 1.0, 1.0, 0.0, 1.0], (4, 1))
    wcs = ChipWcs(ShapeYX(ny, 16), (1.0, 1.0), (0.0, 0.0), ((1.0, 0.0), (0.0, 1.0)), *([zero] * 6), axes)
    return ChipPlace(name, 1, 1, wcs, None)


def _nothing(place: ChipPlace) -> Found:
    sources = Sources.from_positions(*(np.empty(0) for _ in range(3)))
    return ChipSources(place.extver, place.hdu_index, place.wcs, 1.0, sources), [place.path]


def test_a_chip_is_begun_before_the_next_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    def find(place: ChipPlace, _find: FindSettings, _block: int) -> Found:
        begun.set()
        return _nothing(place)

    monkeypatch.setattr(searching, "_find", find)
    with Search(FindSettings(), 0, cores=1, memory_bytes=ONE_CHIP_BYTES) as search:
        search.add(_place("a"))
        assert begun.wait(60.0)
        search.add(_place("b"))
        results = search.results()
    assert [ignored for _, ignored in results.values()] == [["a"], ["b"]]


def test_chips_searched_at_a_time_fit_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    lock, running, most = threading.Lock(), [0], [0]

    def find(place: ChipPlace, _find: FindSettings, _block: int) -> Found:
        n_bytes = 40 * place.wcs.shape_yx.ny * place.wcs.shape_yx.nx
        with lock:
            running[0] += n_bytes
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.01)
        with lock:
            running[0] -= n_bytes
        return _nothing(place)

    monkeypatch.setattr(searching, "_find", find)
    with Search(FindSettings(), 0, cores=4, memory_bytes=3 * ONE_CHIP_BYTES) as search:
        for k in range(12):
            search.add(_place(str(k), 8 * (1 + k % 3)))
        assert len(search.results()) == 12
    assert 0 < most[0] <= 3 * ONE_CHIP_BYTES


def test_a_chip_that_does_not_fit_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "_find", lambda place, _find, _block: _nothing(place))
    with Search(FindSettings(), 0, cores=2, memory_bytes=ONE_CHIP_BYTES) as search:
        search.add(_place("a"))
        search.add(_place("b", 16))
        with pytest.raises(BudgetError, match=f"takes {2 * ONE_CHIP_BYTES} bytes, {ONE_CHIP_BYTES} were"):
            search.results()
