"""`mosaic wcs`, `mosaic headerlet` and `mosaic tweakback`: output, exit codes, inputs left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from astropy.io import fits
from typer.testing import CliRunner

from mosaic.cli.app import app
from tests.support.exposures import write_exposure


@pytest.fixture
def exposure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An exposure in the working folder."""
    monkeypatch.chdir(tmp_path)
    return write_exposure(tmp_path / "j94f05bgq_flt.fits", primary={"UPWCSVER": "1.7.7"})


def _run(line: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, line.split())
    assert result.exit_code == code, result.output
    return result.output


def test_a_tour(exposure: Path) -> None:
    name = exposure.name
    before = exposure.read_bytes()
    assert "either an output name or in_place" in _run(f"wcs archive {name}", 2)
    assert "work.fits: A (KEPT)" in _run(f"wcs archive {name} --name KEPT -o work.fits")
    _run("headerlet archive work.fits HL1 --wcskey A --in-place")
    _run("headerlet write work.fits HL2 -o a_hlet.fits --author me")
    assert "exists" in _run("headerlet write work.fits HL2 -o a_hlet.fits", 1)
    _run("headerlet attach work.fits a_hlet.fits --compress -o out/")
    _run("headerlet extract out/work.fits --number 2 -o b_hlet.fits")
    assert Path("a_hlet.fits").read_bytes() == Path("b_hlet.fits").read_bytes()
    assert "HL2" in _run("headerlet summary out/work.fits")
    listed = _run("wcs list out/work.fits").splitlines()
    assert [line.split()[0] for line in listed[2:]] == ["primary", "alternate", "headerlet", "headerlet"]
    assert "there are: primary" in _run("wcs use out/work.fits --name nope -o x.fits", 2)
    assert not Path("x.fits").exists()
    assert "x.fits: KEPT" in _run("wcs use out/work.fits --key A -o x.fits")
    assert fits.getval("x.fits", "WCSNAME", 1) == "KEPT"
    _run("headerlet apply x.fits a_hlet.fits --in-place")
    assert fits.getval("x.fits", "HDRNAME", 1) == "HL2"
    _run("headerlet restore x.fits --hdrname HL1 --in-place")
    assert "HL1" in _run("headerlet delete x.fits --hdrname HL1 --in-place")
    _run("wcs delete x.fits --key A --in-place")
    assert "WCSNAMEA" not in fits.getheader("x.fits", 1)
    _run(f"wcs build frame.fits --refimage {name} --name plane")
    Path("s.txt").write_text(f"# refimage: frame.fits[wcs]\n{name} 1 0 0 1\nlost.fits nan nan nan nan\n")
    assert "lost.fits: its fit failed" in _run("wcs shift s.txt -o moved/")
    assert fits.getval(f"moved/{name}", "WCSNAME", 1) == "TWEAK"
    assert "fewer than two WCS" in _run(f"tweakback {name}[sci,1] --original X --in-place", 1)
    assert exposure.read_bytes() == before
