"""Reported errors against the scatter of blank sky: a few ways to drizzle, small chips."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.noise.design import ALL, Point, make_set
from tests.noise.measure import DIAMETERS, measure
from tests.noise.plots import draw
from tests.noise.report import find_missed, write_page


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight exposures of blank sky on small chips."""
    return make_set(tmp_path_factory.mktemp("blank"), "acs", chip_shape=(256, 400))


@pytest.mark.parametrize(
    "point",
    [
        Point("square", 0.8, 0.75, 4),
        Point("square", 0.5, 0.5, 1),
        Point("lanczos3", 0.8, 0.5, 8),
        Point("gaussian", 1.0, 0.5, 4),
    ],
    ids=lambda point: point.name,
)
def test_errors_are_those_of_pixels_and_apertures(point: Point, blank: list[Path], tmp_path: Path) -> None:
    found = measure(point, blank, tmp_path).as_dict()
    assert found["pixel"] == pytest.approx(1.0, abs=0.02)
    for diameter in DIAMETERS[:3]:
        # 5 %, and twice what the scatter of so few apertures is uncertain by.
        allowed = 0.05 + 2.0 * found["error"] * diameter / max(DIAMETERS)
        assert found["apertures"][str(diameter)] == pytest.approx(1.0, abs=allowed)


def test_the_page_names_what_misses(tmp_path: Path) -> None:
    apertures = {str(d): 1.01 for d in DIAMETERS}
    good = {"pixel": 0.995, "apertures": apertures, "plain": apertures, "error": 0.01, "unevenness": 0.1}
    results = {point.name: json.loads(json.dumps(good)) for point in ALL}
    assert find_missed(results) == []
    results[ALL[2].name]["pixel"] = 0.9
    results[ALL[5].name]["apertures"]["20"] = 1.2
    assert [name for name, _ in find_missed(results)] == [ALL[2].name, ALL[5].name]
    write_page(results, tmp_path / "noise.md")
    draw(results, tmp_path / "img" / "noise.png")
    assert (tmp_path / "noise.md").read_text().count("**missed**") == 2
