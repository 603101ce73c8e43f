"""A headerlet chosen for a run: read from a copy, the exposure stays as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from mosaic.errors import WcsError
from mosaic.inputs import read_inputs
from mosaic.options import RunOptions
from mosaic.settings import Settings
from mosaic.solutions.apply import attach
from mosaic.solutions.editing import edited, open_solutions
from mosaic.solutions.headerlets import create_headerlet


@pytest.fixture
def with_headerlet(exposure: Path, tmp_path: Path) -> Path:
    """An exposure with a headerlet that lies elsewhere on the sky."""
    with open_solutions(exposure) as hdul:
        for extver in (1, 2):
            hdul["SCI", extver].header["CRVAL2"] += 0.001
            hdul["SCI", extver].header["WCSNAME"] = "ELSEWHERE"
        headerlet = create_headerlet(hdul, "HL1")
    with edited(exposure, tmp_path / "run" / exposure.name) as hdul:
        attach(hdul, headerlet)
    return tmp_path / "run" / exposure.name


@pytest.mark.parametrize("wcskey", ["HL1", "elsewhere"])
def test_a_run_takes_the_headerlet_by_either_name(with_headerlet: Path, tmp_path: Path, wcskey: str) -> None:
    before = with_headerlet.read_bytes()
    inputs = read_inputs(str(with_headerlet), str(tmp_path / "out"), Settings(wcskey=wcskey), RunOptions())
    (exposure,) = inputs.catalogue.exposures
    x, y = np.array([0.0, 96.0]), np.array([59.0, 3.0])
    with fits.open(with_headerlet) as hdul:
        hdul["SCI", 2].header["CRVAL2"] += 0.001
        expected = WCS(hdul["SCI", 2].header, hdul).all_pix2world(x, y, 0)
    np.testing.assert_allclose(exposure.chips[1].wcs.pixel_to_sky(x, y), expected, rtol=0.0, atol=1e-12)
    assert with_headerlet.read_bytes() == before
    assert exposure.chips[0].sci.path.startswith(str(tmp_path / "out.mosaic" / "inputs"))
    assert any(f"headerlet {wcskey}" in note for note in inputs.catalogue.notes)


def test_a_name_that_nothing_has_lists_all_solutions(with_headerlet: Path, tmp_path: Path) -> None:
    with pytest.raises(WcsError, match=r"primary \(IDC_test\), headerlet HL1 \(ELSEWHERE\)"):
        read_inputs(str(with_headerlet), str(tmp_path / "out"), Settings(wcskey="nope"), RunOptions())


def test_the_primary_needs_no_copy(with_headerlet: Path, tmp_path: Path) -> None:
    inputs = read_inputs(
        str(with_headerlet), str(tmp_path / "out"), Settings(wcskey="IDC_test"), RunOptions()
    )
    assert inputs.catalogue.exposures[0].chips[0].sci.path == str(with_headerlet)
