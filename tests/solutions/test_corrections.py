"""TweakBack, shift files and built WCS on small exposures, judged through astropy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from mosaic.errors import MissingFileError, ParameterError, StructureError
from mosaic.solutions import alternates
from mosaic.solutions.buildwcs import UserWcs, as_headerlet, build_wcs
from mosaic.solutions.editing import edited, write_file
from mosaic.solutions.shiftfile import apply_shift_file, read_shift_file
from mosaic.solutions.tweakback import Choice, apply_correction, find_inputs, read_correction
from mosaic.solutions.wcscorr import record_solutions

SCALE = 0.05 / 3600.0
SHIFTS = "# frame: output\n# refimage: product_drc.fits[sci,1]\n# form: delta\n# units: pixels\n"


@pytest.fixture
def product(exposure: Path, tmp_path: Path) -> Path:
    """A drizzled file, moved by 3.5 and -2 pixels and turned by 0.2 degrees after it was made."""
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    turned = np.deg2rad(0.2)
    cd = SCALE * np.array([[-np.cos(turned), np.sin(turned)], [np.sin(turned), np.cos(turned)]])
    for key, matrix, dx, dy in (("A", SCALE * np.diag([-1.0, 1.0]), 0.0, 0.0), ("", cd, 3.5, -2.0)):
        header[f"CTYPE1{key}"], header[f"CTYPE2{key}"] = "RA---TAN", "DEC--TAN"
        header[f"CRPIX1{key}"], header[f"CRPIX2{key}"] = 60.0, 70.0
        header[f"CRVAL1{key}"] = 150.1 + dx * SCALE / np.cos(np.deg2rad(2.2))
        header[f"CRVAL2{key}"] = 2.2 + dy * SCALE
        for i in (1, 2):
            for j in (1, 2):
                header[f"CD{i}_{j}{key}"] = matrix[i - 1, j - 1]
        header[f"WCSNAME{key}"] = "TWEAK_DRZ" if not key else "IDC_test"
    header["CRDER1"], header["CRDER2"], header["NMATCH"] = 1.5e-6, 2.5e-6, 42
    header["CRDER1A"], header["CRDER2A"] = 9.0, 9.0
    image = fits.ImageHDU(np.zeros((140, 120), np.float32), header, name="SCI")
    weight = fits.ImageHDU(np.zeros((140, 120), np.float32), header, name="WHT")
    primary = fits.PrimaryHDU()
    primary.header["D001DATA"] = f"{exposure.name}[sci,1]"
    primary.header["D002DATA"] = f"{exposure.name}[sci,2]"
    fits.HDUList([primary, image, weight]).writeto(tmp_path / "product_drc.fits")
    return tmp_path / "product_drc.fits"


def _moved(path: Path, old: Path, product: Path, extver: int) -> float:
    """Largest distance between where pixels are and where they were meant to be, pixels of the product."""
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(0.0, 96.0, 5), np.linspace(0.0, 59.0, 4)))
    with fits.open(path) as new, fits.open(old) as before, fits.open(product) as drizzled:
        header = drizzled["SCI"].header
        first = WCS(header, key="A").wcs_world2pix(
            *WCS(before["SCI", extver].header, before).all_pix2world(x, y, 0), 0
        )
        second = WCS(header).wcs_world2pix(*WCS(new["SCI", extver].header, new).all_pix2world(x, y, 0), 0)
    return float(np.max(np.hypot(*np.subtract(first, second))))


def test_tweakback_moves_every_pixel_with_the_product(exposure: Path, product: Path, tmp_path: Path) -> None:
    correction = read_correction(str(product), Choice("idc_TEST"), Choice())
    assert find_inputs(correction, str(product)) == [exposure]
    before = exposure.read_bytes()
    target = tmp_path / "out" / exposure.name
    assert apply_correction(correction, str(product), [(exposure, target)]) == [target]
    assert exposure.read_bytes() == before
    for extver in (1, 2):
        assert _moved(target, exposure, product, extver) < 1e-5
    with fits.open(target) as hdul, fits.open(exposure) as old:
        header = hdul["SCI", 2].header
        assert (header["WCSNAME"], header["WCSNAMEA"]) == ("TWEAK_DRZ", "IDC_test")
        assert header["CRVAL1A"] == old["SCI", 2].header["CRVAL1"]
        # The error of the fit, where DrizzlePac copies that of the WCS before it.
        assert (header["CRDER1"], header["CRDER2"], header["NMATCH"]) == (1.5e-6, 2.5e-6, 42)
        assert header["RMS_RA"] == pytest.approx(5.4)
        assert any("product_drc.fits" in line for line in header["HISTORY"])
        assert sorted(set(hdul["WCSCORR"].data["WCS_ID"]) - {""}) == ["IDC_test", "TWEAK_DRZ"]
        np.testing.assert_array_equal(hdul["SCI", 2].data, old["SCI", 2].data)


def test_tweakback_refuses_before_it_writes(exposure: Path, product: Path, tmp_path: Path) -> None:
    correction = read_correction(str(product), Choice(key="A"), Choice(key=" "))
    with edited(exposure, tmp_path / "taken_flt.fits") as hdul:
        alternates.archive([hdul["SCI", v].header for v in (1, 2)], key="B", name="tweak_drz")
    pairs = [(exposure, tmp_path / "out.fits"), (tmp_path / "taken_flt.fits", tmp_path / "out2.fits")]
    with pytest.raises(ParameterError, match=r"'TWEAK_DRZ' is used already \(there are: B \(tweak_drz\)\)"):
        apply_correction(correction, str(product), pairs)
    assert not (tmp_path / "out.fits").exists()
    apply_correction(correction, str(product), pairs, wcsname="NEW")
    assert fits.getval(tmp_path / "out2.fits", "WCSNAME", 1) == "NEW"


@pytest.mark.parametrize(
    ("name", "original", "kind", "message"),
    [
        ("no.fits", Choice("IDC_test"), MissingFileError, "does not exist"),
        ("product_drc.fits", Choice("x"), ParameterError, r"called 'x' \(there are: primary \(TWEAK_DRZ\)"),
        ("product_drc.fits", Choice(), ParameterError, "name the original WCS"),
        ("product_drc.fits[sci,9]", Choice("IDC_test"), StructureError, "no extension sci,9"),
        ("product_drc.fits", Choice(key="?"), ParameterError, "no WCS with key"),
        ("plain.fits", Choice("IDC_test"), StructureError, "fewer than two WCS"),
    ],
)  # fmt: skip
def test_what_tweakback_needs(
    product: Path, name: str, original: Choice, kind: type[Exception], message: str
) -> None:
    with fits.open(product) as hdul:
        for keyword in [k for k in hdul["SCI"].header if k.endswith("A")]:
            del hdul["SCI"].header[keyword]
        hdul.writeto(product.with_name("plain.fits"))
    with pytest.raises(kind, match=message):
        read_correction(str(product.with_name(name)), original, Choice())


def test_inputs_of_a_product_are_found_or_named(product: Path, exposure: Path, tmp_path: Path) -> None:
    correction = read_correction(str(product), Choice("IDC_test"), Choice())
    exposure.unlink()
    with pytest.raises(MissingFileError, match="name the exposures"):
        find_inputs(correction, str(product), tmp_path)


def test_shift_file(exposure: Path, product: Path, tmp_path: Path) -> None:
    rows = f"{exposure.name} 1.5 -0.5 0.0 1.0 0.1 0.2  # good\nlost_flt.fits nan nan nan nan 0 0\n"
    (tmp_path / "shifts.txt").write_text(SHIFTS + rows)
    file = read_shift_file(tmp_path / "shifts.txt")
    assert [(s.image, s.has_failed) for s in file.shifts] == [(exposure.name, False), ("lost_flt.fits", True)]
    skipped: list[str] = []
    targets = [tmp_path / "out.fits", tmp_path / "lost.fits"]
    assert apply_shift_file(file, targets, wcsname="SHIFTED", skipped=skipped) == targets[:1]
    assert skipped == ["lost_flt.fits"]
    with fits.open(tmp_path / "out.fits") as new, fits.open(exposure) as old, fits.open(product) as drizzled:
        frame = WCS(drizzled["SCI"].header)
        x, y = np.array([0.0, 96.0, 40.0]), np.array([0.0, 30.0, 59.0])
        first = frame.wcs_world2pix(*WCS(old["SCI", 2].header, old).all_pix2world(x, y, 0), 0)
        second = frame.wcs_world2pix(*WCS(new["SCI", 2].header, new).all_pix2world(x, y, 0), 0)
        # A measured offset is taken away.
        np.testing.assert_allclose(np.subtract(first, second), [[1.5] * 3, [-0.5] * 3], atol=1e-6)
        header = new["SCI", 1].header
        cd = np.array([[drizzled["SCI"].header[f"CD{i}_{j}"] for j in (1, 2)] for i in (1, 2)])
        expected = np.sqrt((cd**2) @ np.array([0.01, 0.04]))
        assert (header["CRDER1"], header["CRDER2"]) == pytest.approx(tuple(expected))


@pytest.mark.parametrize("row", ["a.fits 1 2 3", "a.fits 1 2 3 4 5", "a.fits 1 2 x 4"])
def test_bad_rows_are_named(tmp_path: Path, row: str) -> None:
    (tmp_path / "s.txt").write_text(SHIFTS + row)
    with pytest.raises(ParameterError, match="line 5: "):
        read_shift_file(tmp_path / "s.txt")


def test_a_shift_file_without_reference_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("a.fits 1 2 0 1\n")
    with pytest.raises(MissingFileError, match="names no reference"):
        apply_shift_file(read_shift_file(tmp_path / "s.txt"), [tmp_path / "x"])
    (tmp_path / "s.txt").write_text("# refimage: gone.fits[wcs]\na.fits 1 2 0 1\n")
    with pytest.raises(MissingFileError, match=r"gone\.fits"):
        apply_shift_file(read_shift_file(tmp_path / "s.txt"), [tmp_path / "x"])


USER = UserWcs(0.04, 30.0, 10.0, -5.0, 50.5, 60.5, 100, 120)


def test_a_wcs_of_values(exposure: Path, tmp_path: Path) -> None:
    built = build_wcs(wcsname="mine", user=USER)
    wcs = WCS(built.header)
    np.testing.assert_allclose(wcs.wcs_pix2world([[50.5, 60.5]], 1), [[10.0, -5.0]], atol=1e-13)
    up = wcs.wcs_pix2world([[50.5, 61.5]], 1)[0]
    step = np.array([(up[0] - 10.0) * np.cos(np.deg2rad(-5.0)), up[1] + 5.0]) * 3600.0
    np.testing.assert_allclose(step, [0.04 * np.sin(np.pi / 6), 0.04 * np.cos(np.pi / 6)], atol=1e-9)
    assert (built.shape_yx, built.has_distortion) == ((120, 100), False)
    assert built.header["ORIENTAT"] == pytest.approx(30.0, abs=1e-12)
    write_file(as_headerlet(built).hdul, tmp_path / "mine_hlet.fits")
    assert fits.getval(tmp_path / "mine_hlet.fits", "NPIX2", 1) == 120
    with pytest.raises(ParameterError, match="needs all eight values: outny missing"):
        build_wcs(user=UserWcs(0.04, 30.0, 10.0, -5.0, 50.5, 60.5, 100))
    with pytest.raises(ParameterError, match="nothing to build"):
        build_wcs()
    with pytest.raises(ParameterError, match="needs coeffsfile"):
        build_wcs(refimage=str(exposure), applycoeffs=True, undistort=False)
    with pytest.raises(ParameterError, match="outscale=-1"):
        build_wcs(refimage=str(exposure), user=UserWcs(outscale=-1.0))


def test_a_wcs_of_an_image_with_its_distortion(exposure: Path) -> None:
    built = build_wcs(refimage=str(exposure), undistort=False)
    assert built.has_distortion
    made = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((2, 2)), built.header), *built.tables])
    with fits.open(exposure) as hdul:
        expected = WCS(hdul["SCI", 1].header, hdul).all_pix2world([[3.0, 4.0], [90.0, 50.0]], 0)
    found = WCS(made[1].header, made).all_pix2world([[3.0, 4.0], [90.0, 50.0]], 0)
    np.testing.assert_array_equal(found, expected)
    moved = build_wcs(refimage=str(exposure), undistort=False, user=UserWcs(raref=20.0, decref=3.0))
    assert moved.linear.crval_deg == (20.0, 3.0)
    assert moved.header["A_2_0"] == built.header["A_2_0"]


def test_a_wcs_without_distortion_is_square_and_holds_the_image(exposure: Path) -> None:
    built = build_wcs(refimage=str(exposure), user=UserWcs(outscale=0.1))
    cd = built.linear.cd_array * 3600.0
    np.testing.assert_allclose(cd @ cd.T, 0.01 * np.eye(2), atol=1e-12)
    assert not built.has_distortion


def test_wcscorr_is_stored_as_astropy_stores_its_rows(exposure: Path, tmp_path: Path) -> None:
    with edited(exposure, tmp_path / "a.fits") as hdul:
        assert record_solutions(hdul, "a") == 2
        table = np.array(hdul["WCSCORR"].data)
    again = fits.BinTableHDU(table.astype(table.dtype.newbyteorder("=")), name="WCSCORR", ver=1)
    again.header["TROWS"] = (2, "Number of updated rows in table")
    with fits.open(tmp_path / "a.fits") as hdul:
        place = hdul["WCSCORR"].fileinfo()
        written = (tmp_path / "a.fits").read_bytes()[place["hdrLoc"] : place["datLoc"] + place["datSpan"]]
    again.writeto(tmp_path / "again.fits")
    assert written == (tmp_path / "again.fits").read_bytes()[2880:]


def test_wcscorr_rows_are_added_once(exposure: Path, tmp_path: Path) -> None:
    with edited(exposure, tmp_path / "a.fits") as hdul:
        assert record_solutions(hdul) == 2
        assert record_solutions(hdul) == 0
        hdul["SCI", 2].header["CRVAL1"] += 1.0
        assert record_solutions(hdul, "moved") == 1
    with fits.open(tmp_path / "a.fits") as hdul:
        table, header = hdul["WCSCORR"].data, hdul["SCI", 2].header
        assert hdul["WCSCORR"].header["TROWS"] == 3
        assert list(table["DESCRIP"][:3]) == ["", "", "moved"]
        assert table["CRVAL1"][2] == header["CRVAL1"]
        orientat = np.degrees(np.arctan2(header["CD1_2"], header["CD2_2"]))
        assert table["ORIENTAT"][2] == pytest.approx(orientat)
        assert table["PA_V3"][2] == 112.5
        assert table.columns["WCS_ID"].format == "40A"
        assert table.columns["DESCRIP"].format == "128A"
        assert table.names[:4] == ["WCS_ID", "EXTVER", "WCS_key", "HDRNAME"]
    with fits.open(exposure) as hdul:
        hdul[0].header["D001DATA"] = "x"
        assert record_solutions(hdul) == 0
