"""The pipeline: when it drizzles, with which parameters, and what it writes beside the products."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from mosaic.compat import runastrodriz
from mosaic.compat.pipelinefiles import find_pipeline_input
from mosaic.errors import MissingFileError, OutputError, ParameterError, StructureError
from mosaic.simulate import simulate


@pytest.fixture
def table(visit: list[Path]) -> Path:
    """Association table of the exposures in the working directory."""
    (path,) = visit[0].parent.glob("*_asn.fits")
    return path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Record the calls of AstroDrizzle; an empty product takes the place of each result."""
    recorded: list[dict[str, Any]] = []

    def fake(inputs: list[str], **parameters: Any) -> Any:
        recorded.append({"inputs": [Path(name).name for name in inputs], **parameters})
        suffix = "drc" if inputs[0].endswith("_flc.fits") else "drz"
        product = Path(f"{parameters['output']}_{suffix}.fits")
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((2, 2)), name="SCI")]).writeto(product)
        made = (product, *map(Path, inputs))
        return type("Made", (), {"products": made, "files": made})()

    monkeypatch.setattr(runastrodriz, "AstroDrizzle", fake)
    monkeypatch.setattr(runastrodriz, "verify", lambda *_: [])
    return recorded


def test_an_association_becomes_a_product_with_trailer_and_manifest(visit: list[Path], table: Path) -> None:
    before = {path.name for path in Path().iterdir()}
    report = runastrodriz.process(table.name, num_cores=1, make_manifest=True)
    root = table.name.removesuffix("_asn.fits")
    made = {path.name for path in Path().iterdir()} - before
    assert made == {
        f"{root}_drc.fits", f"{root}_drc_parameters.toml", f"{root}.tra", f"{root}_manifest.txt",
        *(path.name.replace("_flc.fits", "_flt_hlet.fits") for path in visit),
    }  # fmt: skip
    assert [path.name for path in report.products] == [f"{root}_drc.fits"]
    listed = Path(f"{root}_manifest.txt").read_text().split()
    headerlets = [path.name.replace("_flc.fits", "_flt_hlet.fits") for path in visit]
    assert listed == [f"{root}_drc.fits", *headerlets, *(path.name for path in visit), f"{root}.tra"]
    trailer = report.trailer.read_text()
    for part in (
        "a priori alignment skipped", "a posteriori alignment to Gaia skipped", "names no MDRIZTAB",
        "update of the WCS skipped", "pipeline-default alignment verified", "SKYCELL not written",
    ):  # fmt: skip
        assert part in trailer
    for path, name in zip(visit, headerlets, strict=True):
        with fits.open(name) as headerlet, fits.open(path) as hdul:
            assert headerlet[0].header["DESTIM"] == hdul[0].header["ROOTNAME"]
            for extver in (1, 2):
                for keyword in ("CRVAL1", "CRPIX2", "CD1_2", "A_2_0", "WCSNAME"):
                    value = hdul["SCI", extver].header[keyword]
                    assert headerlet["SIPWCS", extver].header[keyword] == value
    assert fits.getval(f"{root}_drc.fits", "DRIZCORR") == "COMPLETE"
    assert fits.getval(f"{root}_drc.fits", "DRIZPARS") == f"{root}.tra"
    assert fits.getval(table, "DRIZCORR") == "COMPLETE"
    assert not logging.getLogger("mosaic").handlers


def test_footprints_are_those_of_astropy(visit: list[Path], calls: list[dict[str, Any]]) -> None:
    runastrodriz.process(visit[0].name, force=True)
    points = []
    with fits.open(visit[0]) as hdul:
        for extver in (1, 2):
            words = hdul["SCI", extver].header["S_REGION"].split()
            assert words[:2] == ["POLYGON", "ICRS"]
            found = np.array(words[2:], dtype=float).reshape(-1, 2)
            expected = WCS(hdul["SCI", extver].header, hdul).calc_footprint(center=True)
            np.testing.assert_allclose(found, np.vstack([expected, expected[:1]]), atol=1e-10)
            points.append(expected)
    words = fits.getval(f"{visit[0].name[:9]}_drc.fits", "S_REGION", "SCI").split()
    hull = np.array(words[2:], dtype=float).reshape(-1, 2)
    corners = np.vstack(points)
    # Every corner of the outline is a corner of a chip, and all corners lie on its left side or on it.
    for point in hull:
        assert np.min(np.hypot(*(corners - point).T)) < 1e-10
    turns = [
        np.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
        for a, b in zip(hull, np.roll(hull, -1, axis=0), strict=True)
        for c in corners
        if min(np.hypot(*(c - a)), np.hypot(*(c - b))) > 1e-10
    ]
    assert len(hull) >= 4
    assert len({turn for turn in turns if turn}) == 1


def test_drizcorr_of_the_raw_file_decides(
    visit: list[Path], table: Path, calls: list[dict[str, Any]]
) -> None:
    root = visit[0].name.removesuffix("_flc.fits")
    raw = Path(f"{root}_raw.fits")
    for switch, n_calls in (("OMIT", 0), ("PERFORM", 1)):
        fits.PrimaryHDU(header=fits.Header([("DRIZCORR", switch)])).writeto(raw, overwrite=True)
        report = runastrodriz.process(table.name)
        assert len(calls) == n_calls == len(report.products)
        assert ("DRIZCORR is OMIT" in report.trailer.read_text()) is (switch == "OMIT")
        report.trailer.unlink()
    assert "S_REGION" in fits.getheader(visit[0], ("SCI", 1))
    raw.unlink()
    fits.setval(visit[0], "DRIZCORR", value="COMPLETE")
    assert not runastrodriz.process(str(raw.with_name(visit[0].name))).products
    for product in Path().glob("*_drc.fits"):
        product.unlink()
    assert runastrodriz.process(visit[0].name, force=True).products


def test_flt_and_flc_files_are_both_drizzled(
    visit: list[Path], table: Path, calls: list[dict[str, Any]]
) -> None:
    for path in visit[:2]:
        shutil.copy(path, path.name.replace("_flc", "_flt"))
    report = runastrodriz.process(table.name, num_cores=2)
    assert [call["inputs"] for call in calls] == [
        [path.name.replace("_flc", "_flt") for path in visit[:2]],
        [path.name for path in visit],
    ]
    assert len(report.products) == 2
    assert "1 of 3 members have no flt file" in report.trailer.read_text()
    for call in calls:
        # The parameters that the pipeline fixes, from the description of its flow.
        expected = {"stepsize": 10, "preserve": False, "clean": True, "resetbits": "4096,8192",
                    "num_cores": 2, "driz_sep_kernel": "turbo", "driz_sep_fillval": 0.0,
                    "final_fillval": "INDEF",
                    "mdriztab": False, "build": True}  # fmt: skip
        assert expected.items() <= call.items()
        assert "combine_type" not in call


def test_exposures_of_very_different_length_are_combined_by_a_plain_median(
    visit: list[Path], table: Path, calls: list[dict[str, Any]]
) -> None:
    exptime = fits.getval(visit[0], "EXPTIME")
    fits.setval(visit[0], "EXPTIME", value=2.0 * exptime)
    runastrodriz.process(table.name)
    assert "combine_type" not in calls[0]
    fits.setval(visit[0], "EXPTIME", value=2.1 * exptime)
    fits.setval(visit[1], "MDRIZTAB", value="jref$table_mdz.fits")
    Path(f"{table.name.removesuffix('_asn.fits')}_drc.fits").unlink()
    runastrodriz.process(table.name)
    assert (calls[1]["combine_type"], calls[1]["combine_nhigh"]) == ("median", 0)
    fits.setval(visit[0], "MDRIZTAB", value="jref$table_mdz.fits")
    Path(f"{table.name.removesuffix('_asn.fits')}_drc.fits").unlink()
    runastrodriz.process(table.name)
    assert calls[2]["mdriztab"] is True
    assert "build" not in calls[2]


def test_work_in_a_scratch_folder_comes_back(
    visit: list[Path], table: Path, calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = table.name.removesuffix("_asn.fits")
    report = runastrodriz.process(table.name, newpath="scratch", make_manifest=True)
    assert not list(Path("scratch").iterdir())
    assert report.products[0] == Path().absolute() / f"{root}_drc.fits"
    assert all(path.is_file() for path in (*report.products, report.trailer, report.manifest) if path)

    def fail(*_: Any, **__: Any) -> None:
        raise OutputError("disk full: no space")

    monkeypatch.setattr(runastrodriz, "AstroDrizzle", fail)
    before = [path.read_bytes() for path in visit]
    with pytest.raises(OutputError, match="disk full"):
        runastrodriz.process(table.name, newpath="scratch")
    assert [path.read_bytes() for path in visit] == before
    assert "could not complete: disk full" in (Path("scratch") / root / f"{root}.tra").read_text()
    with pytest.raises(OutputError, match="cannot be made for the work"):
        runastrodriz.process(table.name, newpath="scratch")


def test_inputs_that_cannot_be_worked_on_are_named(visit: list[Path], table: Path) -> None:
    with pytest.raises(MissingFileError, match="nothing_asn: the file does not exist"):
        runastrodriz.process("nothing_asn")
    for path in visit:
        path.unlink()
    with pytest.raises(MissingFileError, match="no calibrated exposure"):
        runastrodriz.process(table.name)
    fits.PrimaryHDU().writeto("empty_asn.fits")
    with pytest.raises(StructureError, match="association table has no MEMNAME"):
        runastrodriz.process("empty_asn.fits")


def test_roots_follow_the_kind_of_input(visit: list[Path], table: Path) -> None:
    root = visit[0].name.removesuffix("_flc.fits")
    fits.PrimaryHDU().writeto(f"{root}_raw.fits")
    for name in (visit[0].name, f"{root}_raw", f"{root}_raw.fits"):
        found = find_pipeline_input(name)
        assert (found.root, found.product, found.members) == (root, root, (root,))
    found = find_pipeline_input(table.name)
    assert found.root == found.product == table.name.removesuffix("_asn.fits")
    assert found.members == tuple(path.name.removesuffix("_flc.fits") for path in visit)


def _moved(path: Path, dx_arcsec: float, dy_arcsec: float) -> None:
    with fits.open(path, mode="update") as hdul:
        for hdu in (hdu for hdu in hdul if hdu.name == "SCI"):
            ra, dec = hdu.header["CRVAL1"], hdu.header["CRVAL2"]
            # Without a comment, for which more digits may leave no room.
            hdu.header.set("CRVAL1", ra + dx_arcsec / 3600.0 / np.cos(np.radians(dec)), "")
            hdu.header.set("CRVAL2", dec + dy_arcsec / 3600.0, "")


def test_an_exposure_out_of_place_is_told(visit: list[Path], table: Path) -> None:
    _moved(visit[1], 0.15, -0.1)
    report = runastrodriz.process(table.name, num_cores=1, headerlets=False)
    trailer = report.trailer.read_text()
    assert "pipeline-default alignment NOT verified" in trailer
    assert not list(Path().glob("*_hlet.fits"))


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Path]:
    """Exposures with enough stars to align, and a catalogue of these."""
    folder = tmp_path_factory.mktemp("field")
    made = simulate(
        folder, instrument="acs/hrc", exposures=3, pattern="line", chip_shape=(260, 240), n_stars=90,
        n_galaxies=0, seed=8, workers=1,
    )  # fmt: skip
    sources = Table.read(folder / "sources.ecsv")
    catalog = folder / "local_catalog.txt"
    catalog.write_text("".join(f"{row['ra']} {row['dec']}\n" for row in sources))
    return [Path(path) for path in made.files], catalog


def _centre(path: Path) -> np.ndarray:
    with fits.open(path) as hdul:
        return np.array(WCS(hdul["SCI", 1].header, hdul).all_pix2world(120.0, 130.0, 0))


def test_exposures_are_aligned_to_a_catalogue_at_hand(
    field: tuple[list[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [Path(shutil.copy(path, tmp_path)) for path in field[0]]
    (asn,) = field[0][0].parent.glob("*_asn.fits")
    shutil.copy(asn, tmp_path)
    truth = [_centre(path) for path in paths]
    for path in paths:
        _moved(path, 0.21, -0.13)
    report = runastrodriz.process(asn.name, num_cores=1, catalog=field[1])
    trailer = report.trailer.read_text()
    assert "a posteriori alignment verified" in trailer, trailer
    for path, expected in zip(paths, truth, strict=True):
        assert fits.getval(path, "WCSNAME", ("SCI", 1)).endswith("-FIT_REL_LOCAL_CATALO")
        # Some dozen stars of 0.1 pixel (0.0027 arcsec) each.
        assert 3600.0 * np.abs(_centre(path) - expected).max() < 0.01
    assert fits.getval(report.products[0], "WCSNAME", "SCI").endswith("-FIT_REL_LOCAL_CATALO")


def test_an_alignment_that_fails_leaves_everything_as_it_was(
    visit: list[Path], table: Path, calls: list[dict[str, Any]]
) -> None:
    nowhere = Path("nowhere.txt")
    nowhere.write_text("".join(f"{10.0 + k / 1e4} -70.0\n" for k in range(40)))
    before = [fits.getheader(path, ("SCI", 1))["CRVAL1"] for path in visit]
    report = runastrodriz.process(table.name, catalog=nowhere)
    assert "a posteriori alignment not accepted: the WCS is that of before" in report.trailer.read_text()
    assert [fits.getheader(path, ("SCI", 1))["CRVAL1"] for path in visit] == before
    assert len(calls) == 1


def test_switches_of_the_environment_win(
    visit: list[Path], calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTROMETRY_COMPUTE_APOSTERIORI", "off")
    monkeypatch.setenv("ASTROMETRY_APPLY_APRIORI", "No")
    report = runastrodriz.process(visit[0].name, force=True)
    assert "alignment" not in report.trailer.read_text()
    assert calls[0]["resetbits"] == "4096"
    monkeypatch.setenv("ASTROMETRY_APPLY_APRIORI", "perhaps")
    with pytest.raises(ParameterError, match="ASTROMETRY_APPLY_APRIORI='perhaps' in the environment"):
        runastrodriz.process(visit[0].name, force=True)


def test_idctab_comes_from_the_raw_file_when_asked_for(
    visit: list[Path], calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = visit[0].name.removesuffix("_flc.fits")
    header = fits.Header([("DRIZCORR", "PERFORM"), ("IDCTAB", "jref$newer_idc.fits")])
    fits.PrimaryHDU(header=header).writeto(f"{root}_raw.fits")
    runastrodriz.process(f"{root}_raw.fits")
    assert fits.getval(visit[0], "IDCTAB") != "jref$newer_idc.fits"
    monkeypatch.setenv("PIPELINE_RESET_IDCTAB", "on")
    Path(f"{root}_drc.fits").unlink()
    runastrodriz.process(f"{root}_raw.fits")
    assert fits.getval(visit[0], "IDCTAB") == "jref$newer_idc.fits"
