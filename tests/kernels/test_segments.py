"""Groups of connected pixels against scipy's labels, and centres against plain sums."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mosaic.kernels.segments import light_centres, segment_boxes


def _boxes(is_above: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(box) for box in segment_boxes(np.flatnonzero(is_above), is_above.shape[1]).tolist()]


def _by_scipy(is_above: np.ndarray) -> list[tuple[int, int, int, int]]:
    labels, _ = ndimage.label(is_above, structure=np.ones((3, 3)))
    return [(r.start, r.stop, c.start, c.stop) for r, c in ndimage.find_objects(labels)]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    ny=st.integers(1, 40),
    nx=st.integers(1, 45),
    share=st.floats(0.02, 0.98),
)
def test_groups_are_those_of_scipy_in_the_same_order(seed: int, ny: int, nx: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    is_above = rng.random((ny, nx)) < share
    assert _boxes(is_above) == _by_scipy(is_above)


def test_a_spiral_is_one_group_and_a_chessboard_too() -> None:
    spiral = np.zeros((9, 9), dtype=np.bool_)
    spiral[0, :] = spiral[:, 8] = spiral[8, :] = spiral[2:, 0] = spiral[2, :7] = spiral[2:7, 6] = True
    assert _boxes(spiral) == [(0, 9, 0, 9)]
    assert _boxes(np.indices((8, 9)).sum(axis=0) % 2 == 1) == [(0, 8, 0, 9)]


def test_more_groups_than_there_was_room_for() -> None:
    is_above = np.zeros((200, 300), dtype=np.bool_)
    is_above[::2, ::2] = True
    assert len(_boxes(is_above)) == 15_000


def test_nothing_above_is_no_group() -> None:
    assert _boxes(np.zeros((5, 7), dtype=np.bool_)) == []


def test_centres_weigh_all_light_of_the_grown_box_and_boxes_at_the_edge_are_passed_over() -> None:
    rng = np.random.default_rng(2)
    image = rng.random((60, 70)).astype(np.float32)
    is_above = image > 0.93
    places = np.flatnonzero(is_above)
    boxes = segment_boxes(places, 70)
    above = np.where(is_above, image, 0.0).astype(np.float64)
    wanted = []
    for y0, y1, x0, x1 in boxes + np.array([-2, 2, -3, 3]):
        if min(y0, x0) < 0 or y1 > 60 or x1 > 70:
            continue
        y, x = ndimage.center_of_mass(above[y0:y1, x0:x1])
        wanted.append([round(x0 + x), round(y0 + y)])
    assert 0 < len(wanted) < len(boxes)
    assert light_centres(places, image.ravel()[places], boxes, (60, 70), (2, 3)).tolist() == wanted
