"""An exposure of two chips with a full distortion model and names of reference files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.exposures import write_exposure

PRIMARY = {
    "IDCTAB": "jref$11d1433lj_idc.fits",
    "NPOLFILE": "jref$02c1450oj_npl.fits",
    "D2IMFILE": "jref$02c1450tj_d2i.fits",
    "UPWCSVER": "1.7.7",
}


@pytest.fixture
def exposure(tmp_path: Path) -> Path:
    """Path of the exposure, which no test may change unasked."""
    return write_exposure(tmp_path / "j94f05bgq_flt.fits", primary=PRIMARY)
