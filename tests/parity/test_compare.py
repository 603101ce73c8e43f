"""Laws of the comparison functions themselves; no oracle is needed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from tests.parity.bounds import rows_hit
from tests.parity.compare import (
    deviation,
    exceeds,
    header_differences,
    local_maximum,
    relative_deviation,
    robust_sigma,
    summarise,
    table_differences,
)
from tests.parity.rows import Row, excuse, judged, map_rounding, relax


def test_robust_sigma_ignores_stars_and_nan() -> None:
    values = np.random.default_rng(3).normal(5.0, 2.0, (120, 80))
    values[:6] += 1e4
    values[6, :3] = np.nan
    # Clipping at 3 sigma narrows a normal distribution by about 1 %; 9000 samples scatter by 1 %.
    assert robust_sigma(values) == pytest.approx(2.0, rel=0.04)


def test_robust_sigma_of_nothing_is_zero() -> None:
    assert robust_sigma(np.full((2, 3), np.nan)) == 0.0


def test_equal_arrays_do_not_deviate() -> None:
    values = np.array([[1.0, np.nan, 3.0]])
    found = deviation(values, values.copy())
    assert (found.n, found.n_differ, found.max) == (3, 0, 0.0)


def test_nan_in_one_array_is_an_infinite_deviation() -> None:
    found = deviation(np.array([1.0, np.nan]), np.array([1.0, 2.0]))
    assert found.n_differ == 1
    assert found.max == np.inf


def test_deviation_looks_only_where_it_is_told() -> None:
    ours, theirs = np.array([[1.0, 2.0, 9.0]]), np.array([[1.0, 2.5, 0.0]])
    found = deviation(ours, theirs, np.array([[True, True, False]]))
    assert (found.n, found.n_differ, found.max) == (2, 1, 0.5)


def test_exceeds_applies_relative_and_absolute_tolerance_and_nan() -> None:
    theirs = np.array([100.0, 100.0, 0.0, np.nan, np.nan])
    ours = np.array([100.9, 101.2, 0.2, np.nan, 1.0])
    assert exceeds(ours, theirs, relative=0.01, absolute=0.1).tolist() == [False, True, True, False, True]


def test_relative_deviation_leaves_masked_zeros_out() -> None:
    found = relative_deviation(np.array([2.2, 1.0]), np.array([2.0, 0.0]), np.array([True, False]))
    assert found == pytest.approx([0.1])


def test_local_maximum_reaches_all_neighbours_and_stops_at_the_border() -> None:
    values = np.zeros((5, 7))
    values[0, 3], values[4, 0] = -2.0, np.nan
    found = local_maximum(values, 1)
    assert np.argwhere(found == 2.0).tolist() == [[y, x] for y in (0, 1) for x in (2, 3, 4)]
    assert np.count_nonzero(found) == 6


def test_header_differences_names_changed_and_absent_keywords() -> None:
    ours, theirs = fits.Header(), fits.Header()
    ours["SAME"], theirs["SAME"] = "a ", "a"
    ours["TIME"], theirs["TIME"] = 1.0, 1.0 + 1e-15
    ours["GAIN"], theirs["GAIN"] = 1, 2
    theirs["EXTRA"] = True
    ours["DATE"], theirs["DATE"] = "x", "y"
    assert header_differences(ours, theirs, ignored=("DATE",)) == ["EXTRA: 'absent' != True", "GAIN: 1 != 2"]


def test_header_differences_of_chosen_keywords() -> None:
    ours, theirs = fits.Header([("A", 1), ("B", 1)]), fits.Header([("A", 2), ("B", 2)])
    assert header_differences(ours, theirs, keywords=["B"]) == ["B: 1 != 2"]


def test_measured_keywords_may_differ_by_rounding_to_single_precision() -> None:
    ours, theirs = (
        fits.Header([("SKY", 2.0), ("A", 2.0)]),
        fits.Header([("SKY", 2.0 + 1e-7), ("A", 2.0 + 1e-7)]),
    )
    assert [text[:3] for text in header_differences(ours, theirs, measured=("SKY",))] == ["A: "]


def _table(**columns: list[float]) -> fits.FITS_rec:
    return fits.BinTableHDU.from_columns(
        [fits.Column(name, "D", array=np.array(values)) for name, values in columns.items()]
    ).data


def test_table_differences_see_values_columns_and_rows() -> None:
    ours, theirs = _table(A=[1.0, np.nan], B=[1.0, 2.0]), _table(A=[1.0, np.nan], C=[1.0, 2.0])
    assert table_differences(ours, theirs) == ["B: only ours", "C: only theirs"]
    assert table_differences(ours, ours) == []
    assert table_differences(_table(A=[1.0]), _table(A=[3.0])) == ["A: 1.0 != 3.0"]
    assert table_differences(_table(A=[1.0]), _table(A=[1.0, 2.0])) == ["rows: 1 != 2"]


def test_summary_counts_what_it_does_not_show() -> None:
    assert summarise([]) == "equal"
    assert summarise(["a", "b", "c"], shown=2) == "3: a; b (+1 more)"


@pytest.mark.parametrize(("own", "passed"), [(1.19, True), (1.1, False)])
def test_a_failed_row_is_judged_by_what_the_table_costs(*, own: float, passed: bool) -> None:
    row = Row(15, "sci", "< 0.1", "1.2", passed=False, figures=(1.2,), limits=(0.1,))
    reference = Row(15, "sci", "< 0.1", "", passed=False, figures=(own,), limits=(0.1,))
    assert [item.passed for item in relax([row], [reference])] == [passed]


def test_a_row_without_figures_is_not_relaxed() -> None:
    row = Row(22, "keywords", "equal", "1: A", passed=False)
    assert relax([row], [row]) == [row]


def test_only_named_rows_are_excused_and_only_when_they_fail() -> None:
    rows = [judged(number, "x", "0", "", (figure, 0)) for number, figure in ((15, 1), (16, 1), (17, 0))]
    rows = [replace(row, apart=(0.01, 0.1)) if row.number == 15 else row for row in rows]
    found = excuse(rows, rows_hit("D-1: why", 15, 17))
    assert [(row.passed, row.reason) for row in found] == [(None, "D-1: why"), (False, ""), (True, "")]


@pytest.mark.parametrize("apart", [(0.06, 0.1), (0.01, 0.6), (np.inf, np.inf), ()])
def test_an_excused_row_outside_its_bound_fails(apart: tuple[float, ...]) -> None:
    row = replace(judged(15, "x", "0", "", (1, 0)), apart=apart)
    (found,) = excuse([row], rows_hit("D-1: why", 15))
    assert found.passed is False
    assert found.bound


def test_a_case_may_state_a_bound_of_its_own_and_name_keywords() -> None:
    row = replace(judged(15, "x", "0", "", (1, 0)), apart=(0.9, 3.0))
    assert excuse([row], rows_hit("D-1: why", 15, limits=(1.0, 4.0)))[0].passed is None
    keywords = judged(23, "x", "equal", "", (2, 0), names=("sci MDRIZSKY", "HDRTAB CRPIX1"))
    assert excuse([keywords], rows_hit("D-1: why", 23))[0].passed is False
    assert excuse([keywords], rows_hit("D-1: why", 23, names=("MDRIZSKY", "CRPIX?")))[0].passed is None


@pytest.mark.parametrize(
    ("pairs", "ratio"), [([(1.0, 4.0), (3.0, 6.0)], 0.5), ([(0, 0)], 0.0), ([(1, 0)], np.inf)]
)
def test_the_ratio_of_a_row_is_its_worst_figure_over_its_limit(
    pairs: list[tuple[float, float]], ratio: float
) -> None:
    row = judged(1, "x", "", "", *pairs)
    assert row.ratio == ratio
    assert row.passed is (ratio <= 1.0)


def test_more_map_error_is_allowed_where_degrees_are_coarser() -> None:
    def header(ra: float) -> fits.Header:
        cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 5.0, "CRPIX2": 5.0, "CRVAL1": ra}
        cards |= {"CRVAL2": 2.0, "CD1_1": -1.4e-5, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1.4e-5}
        return fits.Header({**cards, "NAXIS": 2, "NAXIS1": 9, "NAXIS2": 9})

    near, far = map_rounding(header(0.3)), map_rounding(header(300.0))
    # Four steps of 1.42e-14 deg at 90 deg; two of 5.68e-14 deg at 300 deg.
    assert near == pytest.approx(1e-9 + 4 * 1.42e-14 / 1.4e-5, rel=0.05)
    assert far - near == pytest.approx(2 * 5.68e-14 / 1.4e-5, rel=0.05)
