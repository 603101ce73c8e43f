"""Everything a job may hold is in its budget, and what grows with its length is small."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mosaic.errors import BudgetError
from mosaic.graph.budget import MIB, PLAN_BYTES_PER_CHIP, Budget, plan_budget
from mosaic.graph.plan import Plan
from tests.scale.dry import make_plan


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Forty-eight full-frame exposures on two by one fields' worth of sky."""
    return make_plan(48)


def _changed(plan: Plan, **settings: object) -> Plan:
    return replace(plan, settings=plan.settings.model_copy(update=settings))


def _deepened(plan: Plan, copies: int) -> Plan:
    def deeper(layer: object) -> object:
        chips = {tile: members * copies for tile, members in layer.chips_of_tile.items()}  # type: ignore[attr-defined]
        return replace(layer, chips_of_tile=chips)  # type: ignore[type-var]

    return replace(
        plan, exposures=plan.exposures * copies, separate=deeper(plan.separate), final=deeper(plan.final)
    )


def _smallest(plan: Plan) -> float:
    """Smallest grant, MiB, as the error names it."""
    with pytest.raises(BudgetError, match="needs at least") as caught:
        plan_budget(plan, granted_bytes=1, cores=2, separate_processes=False)
    return float(str(caught.value).split("at least ")[1].split(" MiB")[0])


def _budget(plan: Plan, granted_mib: int = 2048) -> Budget:
    return plan_budget(plan, granted_bytes=granted_mib * MIB, cores=2, separate_processes=False)


@pytest.mark.parametrize("settings", [{}, {"clean": False}, {"driz_cr_corr": True}, {"final_err": True}])
def test_depth_costs_nothing_but_the_plan(plan: Plan, settings: dict[str, object]) -> None:
    shallow, deep = _changed(plan, **settings), _changed(_deepened(plan, 10), **settings)
    more = PLAN_BYTES_PER_CHIP * (len(deep.chips) - len(shallow.chips)) / MIB
    assert _smallest(deep) <= _smallest(shallow) + more + 1.0
    assert _budget(deep).peak_bytes <= 2048 * MIB
    assert _budget(deep).limits.strip_bytes > 0


def test_a_cleaned_copy_of_an_exposure_is_in_the_budget(plan: Plan) -> None:
    pixels = 2 * 2048 * 4096
    cleaned = _budget(_changed(plan, driz_cr_corr=True))
    # SCI, ERR and DQ take 10 bytes a pixel in memory and as many again in the copy that is being written.
    assert cleaned.export_bytes > 20 * pixels
    assert cleaned.export_bytes > _budget(plan).export_bytes or _budget(plan).export_bytes > 20 * pixels
    assert _smallest(_changed(plan, driz_cr_corr=True)) * MIB > 20 * pixels


def test_the_smallest_grant_is_enough(plan: Plan) -> None:
    smallest = int(_smallest(plan)) + 1
    budget = _budget(plan, smallest)
    assert budget.peak_bytes <= smallest * MIB
    assert budget.n_parallel == 1


def test_context_planes_count_where_chips_are() -> None:
    # Fields of 24 exposures are seen by 48 chips each: planes grow with the fields, chips of a tile do not.
    small, large = make_plan(96), make_plan(384)
    per_pixel = [
        (_budget(p, 8192).product_bytes / (4 * p.final.grid.shape_yx.ny * p.final.grid.shape_yx.nx)) - 2.0
        for p in (small, large)
    ]
    assert large.n_context_planes == 4 * small.n_context_planes
    assert per_pixel[1] < 1.3 * per_pixel[0] < 8.0
