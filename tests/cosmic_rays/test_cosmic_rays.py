"""Rejection against the truth, on small sets: what is found, what is flagged wrongly, what stars lose."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mosaic.simulate import simulate
from mosaic.simulate.rejection import RejectionCounts
from tests.cosmic_rays.measure import Score, mosaic_masks, score
from tests.cosmic_rays.plots import draw
from tests.cosmic_rays.points import ALL, Point
from tests.cosmic_rays.report import find_worse, write_page


@pytest.fixture(scope="module")
def rejected(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Score]:
    """Simulate a point, or take it from before, and score the masks of a run."""
    folder = tmp_path_factory.mktemp("cosmic")

    def reject(point: Point, label: str = "default", **parameters: object) -> Score:
        place = folder / point.name
        if not place.exists():
            simulate(place, **dict(point.exposures().simulated or {}))
        inputs = sorted(place.glob("*_flc.fits"))
        return score(inputs, mosaic_masks(inputs, place / label, **parameters))

    return reject


def test_usual_exposures_lose_cosmic_rays_and_little_else(rejected: Callable[..., Score]) -> None:
    found = rejected(Point())
    assert found.cores.n_hits > 8000
    assert found.cores.completeness > 0.96
    assert found.cores.purity > 0.998
    assert found.light_lost < 1e-3 * found.light
    assert found.light > 0.0


def test_sparing_cores_keeps_undersampled_stars_and_finds_cosmic_rays(rejected: Callable[..., Score]) -> None:
    plain = rejected(Point(fwhm_px=1.1))
    spared = rejected(Point(fwhm_px=1.1), "spared", driz_cr_core=1.0)
    scaled = rejected(Point(fwhm_px=1.1), "scaled", driz_cr_scale="2.0 0.7")
    assert plain.figures["light_lost"] > 0.05
    assert spared.figures["light_lost"] < 0.05 * plain.figures["light_lost"]
    assert spared.figures["peak_rate"] < 0.01
    assert spared.cores.completeness > plain.cores.completeness - 2.5e-3
    # Better than the remedy of old in both.
    assert spared.figures["light_lost"] < scaled.figures["light_lost"]
    assert spared.cores.completeness > scaled.cores.completeness
    assert spared.figures["core_completeness"] > scaled.figures["core_completeness"]


def test_the_truth_knows_where_stars_are_when_the_header_does_not(rejected: Callable[..., Score]) -> None:
    # Stars a third of a pixel from where the median has them are flagged, so cores must be counted there.
    found = rejected(Point(n=2, shift_px=0.3))
    assert found.peaks.core_rate > 10.0 * found.cores.sky_rate
    assert found.peaks.core_rate > 0.03


def test_the_page_says_where_defaults_are_worse(tmp_path: Path) -> None:
    good = Score(RejectionCounts(1000, 960, 970, 965, 500, 1, 9000, 2), light=1e4, light_lost=10.0)
    bad = replace(good, light_lost=500.0)
    results = {
        point.name: {who: good.as_dict() for who in ("peer", "peer_scale", "mosaic", "mosaic_core")}
        for point in ALL
    }
    results = json.loads(json.dumps(results))
    assert find_worse(results) == []
    results[ALL[3].name]["mosaic"] = bad.as_dict()
    assert [line.split(":")[0] for line in find_worse(results)] == [ALL[3].name]
    write_page(results, tmp_path / "page.md")
    draw(results, tmp_path / "img" / "curves.png")
    text = (tmp_path / "page.md").read_text()
    assert text.count("**worse**") == 1
    assert (tmp_path / "img" / "curves.png").stat().st_size > 10_000
