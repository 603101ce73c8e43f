"""`run` and `main` of the coordinate and data tasks: signatures, and parameters from objects and files."""

from __future__ import annotations

import inspect
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mosaic.compat import buildwcs, photeq, pixreplace, pixtopix, pixtosky, resetbits, skytopix, updatenpol
from mosaic.compat.tasks import task_values
from mosaic.errors import ParameterError
from tests.support.exposures import write_exposure

# DrizzlePac 3.11: name and default of the parameters of `run`.
RUN = {
    "photeq": "(configObj)",
    "pixtopix": "(configObj)",
    "pixtosky": "(configObj)",
    "skytopix": "(configObj)",
    "mapreg": "(configObj)",
    "resetbits": "(configobj=None)",
    "updatenpol": "(configobj=None, editpars=False)",
    "tweakback": "(configobj)",
    "pixreplace": "(configObj)",
    "buildwcs": "(configObj, wcsmap=None)",
}


def _plain(function: object) -> str:
    """Signature without types."""
    signature = inspect.signature(function)
    parameters = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_exposure(tmp_path / "a_flt.fits")


@pytest.mark.parametrize("task", RUN)
def test_signatures_are_those_of_drizzlepac(task: str) -> None:
    module = import_module(f"mosaic.compat.{task}")
    assert _plain(module.run) == RUN[task]
    assert module.__taskname__ == task


def test_a_task_with_defaults_names_what_is_wrong() -> None:
    defaults = {"hms": False, "precision": 6, "output": None, "input": None, "name": "x"}
    given = {"Section": {"hms": "yes"}, "precision": "3", "input": ["a", "b"], "output": "INDEF"}
    found = task_values("pixtosky", given, defaults)
    assert found == {"hms": True, "precision": 3, "output": None, "input": ["a", "b"], "name": "x"}
    for wrong, message in (
        ({"hsm": True}, "there is no parameter hsm"),
        ({"hms": "perhaps"}, "hms: 'perhaps' is neither True nor False"),
        ({"precision": "many"}, "precision: 'many' is not a number"),
        ({"_task_name_": "mapreg"}, "holds parameters of mapreg"),
        (7, "configobj is int"),
    ):
        with pytest.raises(ParameterError, match=message):
            task_values("pixtosky", wrong, defaults)


def test_coordinate_tasks_do_what_their_functions_do(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{image}[sci,1]"
    config = tmp_path / "pixtosky.cfg"
    config.write_text(
        f'_task_name_ = pixtosky\ninput = "{name}"\nx = 10.5\ny = 20\nhms = False\nprecision = 9\n[_RULES_]\n'
    )
    ra, dec = pixtosky.run(str(config))
    # Without an output file the result is shown.
    assert f"{ra:.9f}" in capsys.readouterr().out
    assert (ra, dec) == pixtosky.xy2rd(name, 10.5, 20.0, hms=False, verbose=False)
    x, y = skytopix.run({"input": name, "ra": str(ra), "dec": str(dec), "output": str(tmp_path / "xy.txt")})
    assert (x, y) == pytest.approx((10.5, 20.0), abs=1e-8)
    assert "10.500" in (tmp_path / "xy.txt").read_text()
    other = {"inimage": name, "outimage": name, "x": 3, "y": 4, "verbose": True}
    assert pixtopix.run(other) == pytest.approx((3.0, 4.0), abs=1e-8)
    (tmp_path / "list.txt").write_text("1 2\n3 4\n")
    xs, _ = pixtopix.run({"inimage": name, "outimage": name, "coords": str(tmp_path / "list.txt")})
    assert xs == pytest.approx([1.0, 3.0], abs=1e-8)
    with pytest.raises(ParameterError, match="x: 'ten' is not a number"):
        pixtosky.run({"input": name, "x": "ten", "y": 1})


def test_pixels_are_replaced_in_the_extensions_named(image: Path) -> None:
    with fits.open(image, mode="update") as hdul:
        hdul["SCI", 1].data[2, 3] = hdul["SCI", 2].data[2, 3] = np.nan
        last = hdul.index_of(("SCI", 2))
    pixreplace.run({"input": str(image), "pixvalue": None, "newvalue": "-9", "ext": f"0, {last}"})
    with fits.open(image) as hdul:
        assert np.isnan(hdul["SCI", 1].data[2, 3])
        assert hdul["SCI", 2].data[2, 3] == -9.0
    with pytest.raises(ParameterError, match="ext: 'sci' is not a number"):
        pixreplace.run({"input": str(image), "ext": "sci"})


def test_bits_are_reset_by_object_and_by_command(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flags() -> list[int]:
        with fits.open(image) as hdul:
            return [int(hdul["DQ", version].data[5, 6]) for version in (1, 2)]

    with fits.open(image, mode="update") as hdul:
        for version in (1, 2):
            hdul["DQ", version].data[5, 6] = 4096 + 64 + 1
    resetbits.run({"input": str(image), "extver": "1"})
    assert flags() == [65, 4161]
    monkeypatch.setattr("sys.argv", ["resetbits", str(image), "64,1", "1,2", "dq"])
    resetbits.main()
    assert flags() == [0, 4096]
    monkeypatch.setattr("sys.argv", ["resetbits", str(image), "4096", "7"])
    with pytest.raises(SystemExit) as stopped:
        resetbits.main()
    assert "7" in str(stopped.value)
    monkeypatch.setattr("sys.argv", ["resetbits", str(image)])
    with pytest.raises(SystemExit) as stopped:
        resetbits.main()
    assert stopped.value.code == 2


def test_photeq_reads_its_parameters(image: Path) -> None:
    with fits.open(image, mode="update") as hdul:
        hdul["SCI", 1].header["PHOTFLAM"], hdul["SCI", 2].header["PHOTFLAM"] = 2e-19, 1e-19
        hdul[0].header.remove("PHOTFLAM", ignore_missing=True)
    before = fits.getdata(image, "SCI", 2)
    photeq.run({"files": str(image), "ref_phot": "4e-19", "readonly": False, "logfile": ""})
    assert fits.getval(image, "PHOTFLAM", ("SCI", 2)) == 4e-19
    np.testing.assert_allclose(fits.getdata(image, "SCI", 2), 0.25 * before, rtol=1e-6)
    with pytest.raises(ParameterError, match="ref_phot: 'much' is not a number"):
        photeq.run({"files": str(image), "ref_phot": "much"})


def test_references_are_named_by_command(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "jref").mkdir()
    monkeypatch.setenv("jref", str(tmp_path / "jref"))
    monkeypatch.setattr("sys.argv", ["updatenpol", str(image)])
    with pytest.raises(SystemExit) as stopped:
        updatenpol.main()
    assert "npl" in str(stopped.value)
    monkeypatch.setattr("sys.argv", ["updatenpol", "-i", str(image), str(tmp_path / "jref")])
    with pytest.raises(SystemExit) as stopped:
        updatenpol.main()
    assert "interactive" in str(stopped.value)
    monkeypatch.setattr("sys.argv", ["updatenpol", "-h"])
    with pytest.raises(SystemExit):
        updatenpol.main()
    assert "references" in capsys.readouterr().out


def test_a_wcs_is_built_from_sections(image: Path, tmp_path: Path) -> None:
    user = {"userwcs": True, "outscale": 0.05, "orient": 30, "raref": 150.0, "decref": 2.0}
    user |= {"xrefpix": 50, "yrefpix": 40, "outnx": 100, "outny": "80"}
    given = {"wcsname": "MINE", "Distortion Model": {"applycoeffs": False}, "User WCS Parameters": user}
    buildwcs.run({"outwcs": str(tmp_path / "one"), **given})
    buildwcs.buildwcs(str(tmp_path / "two.fits"), given, orient=30.0)
    buildwcs.buildwcs(str(tmp_path / "three"), wcsname="MINE", **user)
    for name in ("one", "two", "three"):
        header = fits.getheader(tmp_path / f"{name}.fits", 1)
        assert (header["WCSNAME"], header["CRVAL1"], header["CRPIX2"]) == ("MINE", 150.0, 40.0)
        assert header["ORIENTAT"] == pytest.approx(30.0)
    shutil.copy(image, tmp_path / "b_flt.fits")
    with pytest.raises(ParameterError, match="outwcs"):
        buildwcs.run({"refimage": str(image)})
    with pytest.raises(ParameterError, match="there is no parameter outscael"):
        buildwcs.buildwcs(str(tmp_path / "four"), outscael=1)
