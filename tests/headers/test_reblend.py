from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from mosaic.cli.app import app
from mosaic.errors import (
    ExposureError,
    MissingFileError,
    OutputError,
    ParameterError,
    StructureError,
    TruncatedFileError,
)
from mosaic.headers import blendheaders
from mosaic.headers.product import build_product_headers
from mosaic.products.fits import MemoryPlane, write_products
from mosaic.products.partial import PartialFile
from tests.support.products import make_facts

RECORDED_ANEW = {"FILENAME", "DATE", "HISTORY", "BLENDVER", "RULEFILE", "RULESVER"}


def make_product(folder: Path, *, build: bool = True, **changes: Any) -> dict[str, Path]:
    """Write a product of two exposures; return its files by kind."""
    facts = make_facts(folder, build=build, **changes)
    rng = np.random.default_rng(7)
    sci, wht = rng.normal(size=(2, 40, 61)).astype(np.float32)
    ctx = rng.integers(0, 15, (40, 61)).astype(np.int32)
    planes = {"sci": MemoryPlane(sci), "wht": MemoryPlane(wht), "ctx": MemoryPlane(ctx)}
    paths = write_products(facts.names, build_product_headers(facts), planes, build=build)  # type: ignore[arg-type]
    return {"all": paths[0]} if build else dict(zip(("sci", "wht", "ctx"), paths, strict=True))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a built product and its inputs, not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    make_product(folder)
    return folder


@pytest.fixture
def product(made: Path, tmp_path: Path) -> Path:
    """Copy of the product, its inputs beside it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "m51_drc.fits"


def change_inputs(folder: Path, keyword: str, value: object) -> None:
    for path in folder.glob("j?_flc.fits"):
        with fits.open(path, mode="update") as hdus:
            hdus[0].header[keyword] = value


def difference(first: Path, second: Path) -> set[str]:
    """Keywords that differ between two files; their pixels and tables must not."""
    with fits.open(first) as one, fits.open(second) as two:
        assert [hdu.name for hdu in one] == [hdu.name for hdu in two]
        found: set[str] = set()
        for left, right in zip(one, two, strict=True):
            keys = {key for key in (*left.header, *right.header) if key}
            found |= {key for key in keys if str(left.header.get(key)) != str(right.header.get(key))}
            if left.data is not None:
                assert np.asarray(left.data).tobytes() == np.asarray(right.data).tobytes()
    return found


@pytest.mark.parametrize("instrument", ["ACS", "WFC3"])
@pytest.mark.parametrize("build", [True, False])
def test_the_same_inputs_and_rules_give_the_same_product(
    tmp_path: Path, instrument: str, *, build: bool
) -> None:
    for kind, path in make_product(tmp_path, build=build, instrument=instrument).items():
        (again,) = blendheaders(str(path), output=str(tmp_path / f"again_{kind}.fits"))
        assert difference(path, again) <= RECORDED_ANEW
        assert fits.getval(again, "FILENAME") == f"again_{kind}.fits"


def test_changed_inputs_show_and_what_drizzling_wrote_stays(product: Path, tmp_path: Path) -> None:
    change_inputs(tmp_path, "FILTER1", "F814W")
    change_inputs(tmp_path, "EXPTIME", 1.0)
    change_inputs(tmp_path, "NEWWORD", "hello")
    before = product.read_bytes()
    (again,) = blendheaders(str(product), output=str(tmp_path / "again.fits"))
    assert product.read_bytes() == before
    header = fits.getheader(again)
    assert (header["FILTER1"], header["NEWWORD"]) == ("F814W", "hello")
    assert (header["EXPTIME"], header["TEXPTIME"], header["D001DEXP"]) == (150.0, 150.0, 100.0)
    assert (header["DRIZCORR"], header["ASN_MTYP"], header["ROOTNAME"]) == ("COMPLETE", "PROD-DTH", "m51")
    assert list(fits.getdata(again, "HDRTAB")["FILTER1"]) == ["F814W"] * 4
    assert "Drizzled with:" in list(header["HISTORY"])
    with fits.open(again) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI", "WHT", "CTX", "HDRTAB"]
        assert hdus[0].header["NEXTEND"] == 4
        assert (hdus["SCI"].header["CCDCHIP"], hdus["SCI"].header["CRPIX1"]) == ("-999", 30.5)


def test_without_output_the_product_itself_is_replaced(product: Path, tmp_path: Path) -> None:
    change_inputs(tmp_path, "FILTER1", "F814W")
    assert blendheaders([str(product)]) == [product]
    assert fits.getval(product, "FILTER1") == "F814W"
    assert fits.getval(product, "FILENAME") == "m51_drc.fits"


def test_an_interrupted_replacement_leaves_the_product(
    product: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = product.read_bytes()
    real_write = PartialFile.write

    def fail_late(self: PartialFile, data: bytes) -> None:
        if self.position > 20000:
            raise OutputError("disk full")
        real_write(self, data)

    monkeypatch.setattr(PartialFile, "write", fail_late)
    with pytest.raises(OutputError, match="disk full"):
        blendheaders(str(product))
    assert product.read_bytes() == before
    assert not list(tmp_path.glob("*partial*"))


def test_inputs_can_be_named_and_then_decide_the_rows(product: Path, tmp_path: Path) -> None:
    output = str(tmp_path / "again.fits")
    blendheaders(str(product), ["jb_flc.fits[SCI,2]", str(tmp_path / "ja_flc.fits")], output)
    rows = fits.getdata(output, "HDRTAB")
    assert list(zip(rows["ROOTNAME"], rows["EXTVER"], strict=True)) == [("jb", 2), ("ja", 1), ("ja", 2)]


def test_sky_that_only_the_table_knows_is_kept(product: Path, tmp_path: Path) -> None:
    with fits.open(product, mode="update") as hdus:
        hdus["HDRTAB"].data["MDRIZSKY"] = [1.5, 2.5, 3.5, np.nan]
    (again,) = blendheaders(str(product), output=str(tmp_path / "again.fits"))
    np.testing.assert_array_equal(fits.getdata(again, "HDRTAB")["MDRIZSKY"], [1.5, 2.5, 3.5, np.nan])
    assert fits.getval(again, "MDRIZSKY", extname="SCI") == 2.5  # mean of the chips that have it


def test_rules_of_the_user_are_applied_and_named(product: Path, tmp_path: Path) -> None:
    rules = tmp_path / "my.rules"
    rules.write_text(
        "!VERSION = 1.1\nEXPNAME\nFILTER1 BAND\n<delete> RULES*\n<delete> TELESCOP\n", encoding="utf-8"
    )
    (again,) = blendheaders(str(product), output=str(tmp_path / "again.fits"), rules_file=str(rules))
    header = fits.getheader(again)
    assert {"FILTER1", "TELESCOP"}.isdisjoint(header)
    assert header["RULEFILE"].startswith("my.rules sha256:")
    rows = fits.getdata(again, "HDRTAB")
    assert rows.names == ["EXPNAME", "BAND"]
    assert list(rows["BAND"]) == ["F606W"] * 4


def test_rules_without_columns_remove_the_table(product: Path, tmp_path: Path) -> None:
    rules = tmp_path / "my.rules"
    rules.write_text("!VERSION = 1.1\nFILTER1 FILTER1 multi\n", encoding="utf-8")
    blendheaders(str(product), rules_file=str(rules))
    with fits.open(product) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI", "WHT", "CTX"]
        assert hdus[0].header["NEXTEND"] == 3


def test_rules_of_the_working_directory_count_only_for_parity(
    product: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.rules").write_text("!VERSION = 1.1\n!INSTRUMENT = ACS\nEXPNAME\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names = []
    for peer_compat in (False, True):
        blendheaders(str(product), output="again.fits", peer_compat=peer_compat)
        names.append(fits.getdata("again.fits", "HDRTAB").names)
    assert len(names[0]) == 293
    assert names[1] == ["EXPNAME"]


def test_only_the_extensions_asked_for_are_renewed(product: Path, tmp_path: Path) -> None:
    for number, root in enumerate(("ja", "jb")):
        with fits.open(tmp_path / f"{root}_flc.fits", mode="update") as hdus:
            for hdu in hdus[1:]:
                hdu.header["TRACE"] = f"{hdu.name}{number}"
    (again,) = blendheaders(
        str(product), output=str(tmp_path / "b.fits"), extensions={"DQ": "SCI", "ERR": "CON"}
    )
    with fits.open(again) as hdus:
        traces = [hdu.header.get("TRACE") for hdu in hdus]
    assert traces == [None, "DQ0", None, "ERR0", None]
    (again,) = blendheaders(str(product), output=str(tmp_path / "c.fits"), errext="INDEF", dqext="")
    with fits.open(again) as hdus:
        assert [hdu.header.get("TRACE") for hdu in hdus] == [None, "SCI0", "SCI0", "SCI0", None]


def test_records_are_read_by_number_beyond_a_thousand(product: Path, tmp_path: Path) -> None:
    with fits.open(product, mode="update") as hdus:
        header = hdus[0].header
        names = [header[f"D00{number}DATA"] for number in (1, 2, 3, 4)]
        for number in (1, 2, 3, 4):
            del header[f"D00{number}DATA"]
        for number, name in zip((1000, 999, 100, 2), names, strict=True):
            header[f"D{number:03d}DATA" if number < 1000 else f"HIERARCH D{number}DATA"] = name
    (again,) = blendheaders(str(product), output=str(tmp_path / "again.fits"))
    rows = fits.getdata(again, "HDRTAB")
    assert list(zip(rows["ROOTNAME"], rows["EXTVER"], strict=True)) == [
        ("jb", 2),
        ("jb", 1),
        ("ja", 2),
        ("ja", 1),
    ]


def test_what_cannot_be_done_is_said(product: Path, tmp_path: Path) -> None:
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ParameterError, "not of the form FILE", {"inputs": ["a.fits[sci,1][2]"]}),
        (ParameterError, "has no header 'ERR'", {"extensions": {"SCI": "ERR"}}),
        (ParameterError, "must say which", {"extensions": {"ERR": "WHT"}}),
        (MissingFileError, "nowhere.fits: is neither in", {"inputs": ["nowhere.fits"]}),
        (StructureError, r"ja_flc.fits\[SCI,3\]: has no such", {"inputs": ["ja_flc.fits[sci,3]"]}),
        (StructureError, r"ja_flc.fits\[DATA,1\]: has no such", {"inputs": "ja_flc.fits", "sciext": "DATA"}),
    ]
    for kind, message, arguments in cases:
        with pytest.raises(kind, match=message):
            blendheaders(str(product), output=str(tmp_path / "x.fits"), **arguments)
    with pytest.raises(ParameterError, match="one file for 2 products"):
        blendheaders([str(product), str(tmp_path / "ja_flc.fits")], output="x.fits")
    with pytest.raises(ExposureError, match="does not exist"):
        blendheaders(str(tmp_path / "none.fits"))
    shutil.copy(product, tmp_path / "m51_drc.fits.gz")
    with pytest.raises(ParameterError, match="only plain FITS files"):
        blendheaders(str(tmp_path / "m51_drc.fits.gz"))
    (tmp_path / "junk.fits").write_bytes(b"junk" * 1000)
    with pytest.raises(TruncatedFileError, match=r"junk\.fits: unreadable"):
        blendheaders(str(tmp_path / "junk.fits"))
    with pytest.raises(ParameterError, match="no keyword DnnnDATA"):
        blendheaders(str(tmp_path / "ja_flc.fits"))
    assert not (tmp_path / "x.fits").exists()


def test_the_command_writes_a_copy_or_says_that_it_needs_to_know(product: Path, tmp_path: Path) -> None:
    change_inputs(tmp_path, "FILTER1", "F814W")
    before = product.read_bytes()
    runner = CliRunner()
    refused = runner.invoke(app, ["blendheaders", str(product)])
    assert (refused.exit_code, "either --output FILE or --in-place" in refused.output) == (2, True)
    done = runner.invoke(app, ["blendheaders", str(product), "-o", str(tmp_path / "b.fits")])
    assert (done.exit_code, done.output.strip()) == (0, str(tmp_path / "b.fits"))
    assert product.read_bytes() == before
    assert fits.getval(tmp_path / "b.fits", "FILTER1") == "F814W"
    assert runner.invoke(app, ["blendheaders", str(product), "--in-place"]).exit_code == 0
    assert fits.getval(product, "FILTER1") == "F814W"
