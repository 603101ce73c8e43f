"""The rejection report counts what it says, on a chip small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mosaic.simulate.rejection import RejectionCounts, count_rejection, star_cores


def test_cores_are_discs_of_the_radius() -> None:
    cores = star_cores((7, 9), np.array([4.0, -0.6]), np.array([3.0, 0.0]))
    rows, columns = np.indices((7, 9))
    expected = (columns - 4.0) ** 2 + (rows - 3.0) ** 2 <= 1.5**2
    expected |= (columns + 0.6) ** 2 + rows**2 <= 1.5**2
    np.testing.assert_array_equal(cores, expected)
    assert cores.sum() == 9 + 2


def test_counts_by_hand() -> None:
    shape = (2, 5)
    noise = np.full(shape, 10.0, dtype=np.float32)
    charge = np.zeros(shape, dtype=np.float32)
    flagged = np.zeros(shape, dtype=bool)
    usable = np.ones(shape, dtype=bool)
    core = np.zeros(shape, dtype=bool)
    charge[0, :4] = [100.0, 60.0, 20.0, 500.0]
    flagged[0, :4] = [True, False, True, True]
    usable[0, 3] = False
    core[1, 0] = core[1, 1] = True
    flagged[1, 0] = flagged[1, 4] = True
    counts = count_rejection(flagged, charge, noise, usable, core)
    assert counts == RejectionCounts(2, 1, 4, 2, 2, 1, 4, 1)
    both = counts + counts
    assert (both.completeness, both.purity, both.core_rate, both.sky_rate) == (0.5, 0.5, 0.5, 0.25)
    assert [line.split("%")[0].split()[-1] for line in both.lines()] == ["50.00", "50.00", "50.000", "25.000"]


def test_nothing_to_count_is_no_error() -> None:
    assert RejectionCounts().completeness == pytest.approx(0.0)
