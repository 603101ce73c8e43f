"""A small simulated set in a folder of its own for every test, as a user's working directory."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mosaic.simulate import simulate


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three dithered ACS/WFC exposures with two small chips each, and their association table."""
    made = simulate(
        tmp_path_factory.mktemp("originals"),
        instrument="acs/wfc",
        exposures=3,
        pattern="line",
        chip_shape=(96, 140),
        n_stars=25,
        n_galaxies=2,
        seed=5,
        workers=1,
    )
    return [Path(path) for path in made.files]


@pytest.fixture
def visit(originals: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Copies of the exposures in the working directory."""
    monkeypatch.chdir(tmp_path)
    for table in originals[0].parent.glob("*_asn.fits"):
        shutil.copy(table, tmp_path)
    return [Path(shutil.copy(path, tmp_path)) for path in originals]


Snapshot = Callable[[], dict[str, bytes]]
