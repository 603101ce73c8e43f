"""Pixels inside polygons, against exact arithmetic pixel row by pixel row."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import numpy as np
import pytest

from mosaic.geometry.scan import scan_polygon
from mosaic.types import ShapeYX

SHAPE = ShapeYX(40, 57)


def _filled(vertices: np.ndarray, shape: ShapeYX = SHAPE, *, peer: bool = False) -> np.ndarray:
    image = np.zeros(shape, dtype=np.int64)
    for row, first, end in scan_polygon(vertices.astype(np.float64), shape, peer=peer):
        image[row, first:end] += 1
    return image


def _exact(vertices: np.ndarray, shape: ShapeYX = SHAPE) -> np.ndarray:
    """The same rule with fractions, one row and one side at a time."""
    image = np.zeros(shape, dtype=np.int64)
    points = [(int(x), int(y)) for x, y in vertices]
    low, high = min(y for _, y in points), max(y for _, y in points)
    for row in range(max(low, 0), min(high, shape.ny - 1) + 1):
        crossings = []
        for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
            inside = min(y0, y1) <= row < max(y0, y1) or (row == high == max(y0, y1) and y0 != y1)
            if inside:
                crossings.append(ceil(x0 + Fraction(row - y0, y1 - y0) * (x1 - x0)))
        crossings.sort()
        for first, last in zip(crossings[::2], crossings[1::2], strict=True):
            image[row, max(first, 0) : max(min(last, shape.nx - 1) + 1, 0)] = 1
    return image


def _convex(rng: np.random.Generator) -> np.ndarray:
    angle = np.sort(rng.uniform(0.0, 2.0 * np.pi, rng.integers(3, 8)))
    centre, size = rng.uniform(0.0, 50.0, 2), rng.uniform(5.0, 40.0, 2)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.rint(centre + points * size).astype(np.int64)


@pytest.mark.parametrize("seed", range(60))
def test_rows_are_filled_between_their_crossings(seed: int) -> None:
    vertices = _convex(np.random.default_rng(seed))
    # A crossing that is a whole number may round to the next float: rows without one must be equal.
    found, expected = _filled(vertices), _exact(vertices)
    assert found.max() <= 1
    assert np.abs(found - expected).sum() <= 2
    assert expected.sum() > 0 or found.sum() == 0


def test_a_rectangle_has_both_of_its_ends() -> None:
    found = _filled(np.array([(3, 5), (10, 5), (10, 9), (3, 9)]))
    assert found.sum() == 8 * 5
    assert found[5:10, 3:11].all()


def test_vertices_are_rounded_half_to_even() -> None:
    found = scan_polygon(np.array([(-0.5, 0.5), (7.5, 0.5), (7.5, 3.5), (-0.5, 3.5)]), SHAPE)
    np.testing.assert_array_equal(found, [(row, 0, 9) for row in range(5)])


def test_what_lies_outside_the_image_is_cut() -> None:
    found = _filled(np.array([(-20, -20), (200, -20), (200, 200), (-20, 200)]))
    np.testing.assert_array_equal(found, np.ones(SHAPE, dtype=np.int64))
    assert scan_polygon(np.array([(60.0, 3.0), (80.0, 3.0), (70.0, 30.0)]), SHAPE).shape == (0, 3)
    assert scan_polygon(np.array([(5.0, 50.0), (9.0, 50.0), (9.0, 60.0)]), SHAPE).shape == (0, 3)


def test_lines_and_points_hold_no_pixel() -> None:
    assert scan_polygon(np.array([(5.0, 3.0), (9.0, 3.0), (7.0, 3.2)]), SHAPE).shape == (0, 3)
    assert scan_polygon(np.array([(5.0, 3.0), (5.0, 9.0), (5.2, 7.0)]), SHAPE).shape == (0, 3)


def test_runs_that_meet_share_no_pixel() -> None:
    # A "W": between its arms the runs of a row touch in column 10 at the row where they part.
    vertices = np.array([(0, 10), (5, 0), (10, 5), (15, 0), (20, 10)])
    found = _filled(vertices)
    assert found.max() == 1
    np.testing.assert_array_equal(found, _exact(vertices))


def test_a_run_left_of_the_image_is_empty_except_for_the_peer() -> None:
    # Recorded with stsci.skypac 1.0.12:
    # region.Polygon(True, [(-9, 2), (-4, 2), (-4, 4), (-9, 4), (-9, 2)]).scan(zeros((40, 57))).sum(axis=1)
    # is 54 in rows 2 to 4 and 0 elsewhere.
    vertices = np.array([(-9, 2), (-4, 2), (-4, 4), (-9, 4)])
    assert _filled(vertices).sum() == 0
    np.testing.assert_array_equal(_filled(vertices, peer=True).sum(axis=1)[:6], [0, 0, 54, 54, 54, 0])
