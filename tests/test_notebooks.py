"""The notebooks and the demo run from top to bottom."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.io import fits

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))


def _run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "MPLBACKEND": "Agg"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_from_top_to_bottom(notebook: Path, tmp_path: Path) -> None:
    done = _run([str(notebook)], tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_demo_leaves_a_mosaic_pictures_and_a_comparison(tmp_path: Path) -> None:
    done = _run(["-m", "mosaic.cli.demo", "out", "--chip-shape", "256x512", "--debug"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "stars against the truth" in done.stdout
    for name in ("demo_sci.png", "demo_wht.png", "demo.log"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    with fits.open(tmp_path / "out" / "demo_drc.fits") as hdul:
        assert [hdu.name for hdu in hdul] == ["PRIMARY", "SCI", "WHT", "CTX", "ERR", "HDRTAB"]
        assert hdul["WHT"].data.max() > 0
