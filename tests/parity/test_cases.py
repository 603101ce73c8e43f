"""The design of the cases covers what it says; no oracle is needed."""

from __future__ import annotations

import itertools

from mosaic.parameters import load_settings
from tests.parity.groups import ALL, KERNELS, PIXFRACS, ROTATIONS, SCALES, kernel_design
from tests.parity.recipes import RECIPES
from tests.parity.sets import SETS


def test_the_kernel_design_covers_every_pair() -> None:
    levels = (KERNELS, PIXFRACS, SCALES, ROTATIONS)
    design = kernel_design()
    for first, second in itertools.combinations(range(4), 2):
        covered = {(point[first], point[second]) for point in design}
        assert covered == set(itertools.product(levels[first], levels[second]))
    assert len(set(design)) == len(design)


def test_names_are_unique_and_sets_known() -> None:
    names = [case.name for case in ALL]
    assert len(set(names)) == len(names)
    assert {case.exposures for case in ALL} <= SETS.keys()
    bases = {base for item in SETS.values() for base in item.base}
    assert bases <= SETS.keys()
    assert {item.recipe for item in SETS.values()} - {""} <= RECIPES.keys()


def test_the_parameters_of_all_cases_exist() -> None:
    for case in ALL:
        load_settings(None, (), **case.parameters)
