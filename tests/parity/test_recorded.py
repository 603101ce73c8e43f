"""Mosaic against recorded figures of DrizzlePac 3.11.0, with the tolerances of class B.

The recipe of the record is `tests.parity.recorded`; the exposures are simulated anew with fixed seeds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.parity.cases import Case
from tests.parity.compare import Array
from tests.parity.oracle import Oracle
from tests.parity.programs import Workshop
from tests.parity.recorded import RECORD, describe, fingerprint, recorded_cases
from tests.parity.runs import Run


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    folder = tmp_path_factory.mktemp("recorded")
    return Workshop(folder, folder / "sets", folder / "none", Oracle(Path("none")))


@pytest.fixture(scope="module")
def record() -> dict[str, Array]:
    with np.load(RECORD) as arrays:
        return dict(arrays)


def _allowed(name: str, values: Array, near: Array, facts: dict[str, Any]) -> Array:
    """Tolerances of section 17, class B: rows 9, 11, 15; 10, 16, 17; 12."""
    size = np.abs(values.astype(np.float64))
    if name.endswith("wht"):
        return np.asarray(1e-6 * size + 2.0 * facts["map_px"] * size.max())
    if name.endswith("blt"):
        return np.asarray(1e-3 * facts["electron"] + 5e-6 * near)
    if name.endswith(("ctx", "dq")):
        return np.zeros(size.shape)
    return np.asarray(2e-6 * size + 2e-4 * facts["sigma"])


@pytest.mark.parametrize("case", recorded_cases(), ids=lambda case: case.name)
def test_products_agree_with_the_recorded_figures(
    case: Case, shop: Workshop, record: dict[str, Array]
) -> None:
    theirs = json.loads(str(record[f"{case.name}|facts"]))
    run = shop.mosaic(case, "run", stepsize=10, peer_compat=True, clean=False, dq_update="copy")[0]
    assert fingerprint(run) == pytest.approx(theirs["inputs"], rel=1e-9), (
        "the simulator makes other exposures than those recorded: run python -m tests.parity record"
    )
    ours, planes = describe(run)
    _compare_facts(ours, theirs)
    n_compared = 0
    for name, plane in planes:
        key = f"{case.name}|{name}"
        if f"{key}|bits" in record:
            differ = np.bitwise_count(np.packbits(plane == 0) ^ record[f"{key}|bits"]).sum()
            assert differ <= (0 if name.endswith("static") else 5), f"{name}: {differ} pixels differ"
        else:
            _compare_plane(name, plane, key, record, theirs)
        n_compared += 1
    assert n_compared == sum(
        key.startswith(f"{case.name}|") and key.endswith(("|bits", "|values")) for key in record
    )


def _compare_facts(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Rows 1-3, 7, 19, 21, 22."""
    for name, value in theirs["frame"].items():
        scale = 1e-17 if name.startswith("CD") else 1e-11 if name.startswith("CRPIX") else 1.2e-13
        at_pole = 1e4 if abs(theirs["frame"]["CRVAL2"]) > 89.9 and name == "CRVAL1" else 1.0
        assert abs(ours["frame"][name] - value) <= 2.0 * scale * at_pole, name
    assert ours["sky"] == pytest.approx(theirs["sky"], rel=2e-7)
    for name in ("n_nan", "n_empty", "totals"):
        assert ours[name] == theirs[name], name
    for name in ("sum_sci", "sum_wht"):
        assert ours[name] == pytest.approx(theirs[name], rel=1e-6), name


def _compare_plane(
    name: str, plane: Array, key: str, record: dict[str, Array], facts: dict[str, Any]
) -> None:
    where, values = record[f"{key}|where"], record[f"{key}|values"].astype(np.float64)
    found = plane.ravel()[where].astype(np.float64)
    near = record.get(f"{key}|near", np.zeros(0))
    assert np.array_equal(np.isnan(found), np.isnan(values)), f"{name}: other pixels are NaN"
    with np.errstate(invalid="ignore"):
        over = np.abs(found - values) > _allowed(name, np.nan_to_num(values), near, facts)
    assert not over.any(), (
        f"{name}: {over.sum()} of {over.size} samples differ, as {found[over][:3]}, {values[over][:3]}"
    )


def test_the_record_is_of_the_cases_named(record: dict[str, Array]) -> None:
    assert {key.partition("|")[0] for key in record} == {case.name for case in recorded_cases()}
    assert RECORD.stat().st_size < 250_000


def test_a_run_of_another_kernel_does_not_agree(shop: Workshop, record: dict[str, Array]) -> None:
    case = next(case for case in recorded_cases() if case.name == "kernels/turbo-p0.8-s1.7-r123")
    changed = Case("other/kernel", case.exposures, {**case.parameters, "final_kernel": "square"})
    run: Run = shop.mosaic(changed, "run", stepsize=10, peer_compat=True, clean=False, dq_update="copy")[0]
    facts = json.loads(str(record[f"{case.name}|facts"]))
    with pytest.raises(AssertionError, match="samples differ"):
        _compare_plane("sci", run.plane("sci"), f"{case.name}|sci", record, facts)
