"""A healthy run gets no verdict that is not well, whatever its seed, detector or frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mosaic.quality.report import Report
from tests.support.broken import expose, report_of, run

UVIS = {"instrument": "wfc3/uvis", "exposures": 3, "pattern": "line"}
IR = {"instrument": "wfc3/ir", "chip_shape": (256, 256), "n_stars": 45, "n_galaxies": 2}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "seed 11": ({"seed": 11}, {}),
    "seed 12": ({"seed": 12}, {}),
    "seed 13": ({"seed": 13}, {}),
    "half the scale, with errors": ({}, {"final_scale": 0.03, "final_pixfrac": 0.8, "final_err": True}),
    "three exposures of UVIS": (UVIS, {}),
    # Samples up the ramp have no cosmic rays.
    "IR": (IR, {"driz_cr": False}),
}
UNMEASURED = {"jitter", "reported_errors"}
"""No jitter files are simulated; ERR is made only when asked for."""
ALSO_UNMEASURED = {
    "half the scale, with errors": set(),
    "three exposures of UVIS": {"dither"},
    "IR": {
        *("cosmic_ray_fraction", "star_cores", "flag_pattern", "repeated_pixels", "rejection_alignment"),
        "seams",
    },
}


@pytest.mark.parametrize("case", CASES)
def test_healthy_run_gets_no_complaint(case: str, tmp_path: Path) -> None:
    choices, parameters = CASES[case]
    report = report_of(run(tmp_path / "run", expose(tmp_path, **choices).files, **parameters))
    complaints = {check.name: check.shown for check in report.checks if check.verdict in {"look", "bad"}}
    assert not complaints
    assert report.verdict == "ok"
    unmeasured = {check.name for check in report.checks if check.verdict == "none"}
    assert unmeasured <= UNMEASURED | ALSO_UNMEASURED.get(case, set())
    _assert_complete(report)


def _assert_complete(report: Report) -> None:
    """Every check says what it is held against, once."""
    names = [check.name for check in report.checks]
    assert len(names) == len(set(names)) == 45
    assert all(check.limit and check.shown and check.title for check in report.checks)
