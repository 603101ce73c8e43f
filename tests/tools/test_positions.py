"""Coordinates of images: astropy.wcs as oracle, round trips, files and forms of input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from typer.testing import CliRunner

from mosaic.cli.app import app
from mosaic.compat import pixtopix, pixtosky, skytopix
from mosaic.errors import MissingFileError, ParameterError, StructureError
from mosaic.geometry.wcs import ChipWcs
from mosaic.tools.extensions import read_wcs
from mosaic.tools.positions import pixel_to_pixel, pixel_to_sky, sky_to_pixel
from tests.support.exposures import write_exposure

X, Y = np.array([1.0, 10.5, 48.25, 97.0, -20.0]), np.array([1.0, 20.25, 33.5, 60.0, 80.0])


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_exposure(tmp_path / "jaaa01aaq_flc.fits")


def astropy_wcs(path: Path, extver: int) -> WCS:
    with fits.open(path) as hdul:
        return WCS(hdul["SCI", extver].header, hdul)


@pytest.mark.parametrize("extver", [1, 2])
def test_sky_of_pixels_is_that_of_astropy(image: Path, extver: int) -> None:
    expected = astropy_wcs(image, extver).all_pix2world(X, Y, 1)
    found = pixel_to_sky(read_wcs(f"{image}[SCI, {extver}]"), X, Y)
    # Two rounding errors of an RA of 150 degrees.
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=6e-14)


def test_pixels_come_back(image: Path) -> None:
    wcs = read_wcs(f"{image}[sci,1]")
    found = sky_to_pixel(wcs, *pixel_to_sky(wcs, X, Y))
    # An RA of 150 degrees is stored to 2.8e-14 degrees = 2e-9 pixel.
    np.testing.assert_allclose(found, (X, Y), rtol=0.0, atol=5e-9)


def test_a_position_does_not_depend_on_the_others(image: Path) -> None:
    wcs = read_wcs(f"{image}[sci,1]")
    rng = np.random.default_rng(1)
    ra, dec = pixel_to_sky(wcs, rng.uniform(-50, 150, 300), rng.uniform(-50, 150, 300))
    together = np.stack(sky_to_pixel(wcs, ra, dec))
    alone = np.concatenate(
        [np.stack(sky_to_pixel(wcs, ra[i : i + 1], dec[i : i + 1])) for i in range(300)], axis=1
    )
    np.testing.assert_array_equal(together, alone)


def folded(wcs: ChipWcs) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A sky position that the chip reaches, one too far to be inverted, and one behind the tangent plane."""
    ra, dec = pixel_to_sky(wcs, np.array([50.0]), np.array([30.0]))
    return np.array([ra[0], ra[0] + 5.0, ra[0] + 180.0]), np.array([dec[0], dec[0], -dec[0]])


def test_positions_that_cannot_be_inverted_are_nan(image: Path, caplog: pytest.LogCaptureFixture) -> None:
    wcs = read_wcs(f"{image}[sci,1]")
    x, y = sky_to_pixel(wcs, *folded(wcs))
    np.testing.assert_array_equal(np.isnan(x), [False, True, True])
    np.testing.assert_array_equal(np.isnan(y), [False, True, True])
    assert x[0] == pytest.approx(50.0, abs=1e-8)
    assert "2 of 3 positions" in caplog.text


def test_linear_positions_are_given_on_request(image: Path) -> None:
    wcs = read_wcs(f"{image}[sci,1]")
    ra, dec = folded(wcs)
    x, y = sky_to_pixel(wcs, ra, dec, fallback="linear")
    expected = astropy_wcs(image, 1).wcs_world2pix(ra[1:2], dec[1:2], 1)
    np.testing.assert_allclose((x[1], y[1]), np.ravel(expected), rtol=1e-12)
    with pytest.raises(ParameterError, match="fallback"):
        sky_to_pixel(wcs, ra, dec, fallback="no")  # type: ignore[arg-type]


def test_pixels_of_another_chip_lie_at_the_same_sky(image: Path) -> None:
    first, second = f"{image}[sci,1]", f"{image}[sci,2]"
    there = pixel_to_pixel(first, second, X, Y)
    expected = astropy_wcs(image, 1).all_pix2world(X, Y, 1)
    np.testing.assert_allclose(astropy_wcs(image, 2).all_pix2world(*there, 1), expected, rtol=0.0, atol=2e-12)
    np.testing.assert_allclose(pixel_to_pixel(first, second, *there, "backward"), (X, Y), rtol=0.0, atol=1e-8)


def test_blank_output_is_the_undistorted_frame_of_all_chips(image: Path) -> None:
    x, y = pixel_to_pixel(f"{image}[sci,1]", "", X, Y)
    ux, uy = pixel_to_pixel(f"{image}[sci,2]", "", X, Y)
    # One linear frame for both chips: a linear fit of sky offsets reproduces positions of both.
    ra, dec = pixel_to_sky(read_wcs(f"{image}[sci,1]"), X, Y)
    ra2, dec2 = pixel_to_sky(read_wcs(f"{image}[sci,2]"), X, Y)
    sky = np.stack([np.ones(10), np.r_[ra, ra2] - ra[0], np.r_[dec, dec2] - dec[0]], axis=1)
    solution = np.linalg.lstsq(sky, np.stack([np.r_[x, ux], np.r_[y, uy]], axis=1), rcond=None)[0]
    # The sphere departs from its plane by about (size in radians)**2 * size = 1e-6 pixel here.
    np.testing.assert_allclose(sky @ solution, np.stack([np.r_[x, ux], np.r_[y, uy]], axis=1), atol=1e-4)
    scale = np.hypot(*(solution[1:] / [[np.cos(np.deg2rad(dec[0]))], [1.0]]).T) / 1.0
    np.testing.assert_allclose(3600.0 / scale, 0.05, rtol=1e-4)


def test_kinds_of_input_give_the_same_kind_of_output(image: Path) -> None:
    name = f"{image}[sci,1]"
    ra, dec = pixtosky.xy2rd(name, 10.5, 20.25, hms=False, verbose=False)
    assert isinstance(ra, float)
    many = pixtosky.xy2rd(name, [10.5, 11.0], [20.25, 21.0], hms=False, verbose=False)
    assert many[0].shape == (2,)
    assert many[0][0] == ra
    texts = pixtosky.xy2rd(name, 10.5, 20.25, verbose=False)
    x, y = skytopix.rd2xy(name, *texts, verbose=False)
    # Six decimals of a second of time are 7.5e-6 arcsec in the worst case: 1.5e-4 pixel.
    assert (x, y) == pytest.approx((10.5, 20.25), abs=1.6e-4)
    assert skytopix.rd2xy(name, ra, dec, verbose=False) == pytest.approx((10.5, 20.25), abs=1e-8)
    assert isinstance(pixtopix.tran(name, name, x=1.0, y=2.0, verbose=False)[0], float)
    assert isinstance(pixtopix.tran(name, name, x=[1.0], y=[2.0], verbose=False)[0], list)


def test_file_has_one_header_line_and_rounded_columns(image: Path, tmp_path: Path) -> None:
    name = f"{image}[sci,1]"
    ra, dec = pixtosky.xy2rd(
        name, X, Y, hms=False, precision=4, output=str(tmp_path / "out.txt"), verbose=False
    )
    lines = (tmp_path / "out.txt").read_text().splitlines()
    assert lines[0] == f"# Coordinates converted from {name}"
    assert lines[1:] == [f"{a:.4f}    {d:.4f}" for a, d in zip(ra, dec, strict=True)]


@pytest.mark.parametrize(
    ("columns", "is_compat"), [("c2,c3", False), ("2,3", False), ("1,2", True), (None, True)]
)
def test_columns_count_from_one_and_in_drizzlepac_digits_from_zero(
    image: Path, tmp_path: Path, columns: str | None, *, is_compat: bool
) -> None:
    text = "# id x y\n7 10.5 20.25\n8 11.0 21.0\n" if columns else "10.5 20.25\n11.0 21.0\n"
    (tmp_path / "in.txt").write_text(text)
    name = f"{image}[sci,1]"
    expected = pixtosky.xy2rd(name, [10.5, 11.0], [20.25, 21.0], hms=False, verbose=False)
    if is_compat:
        found = pixtosky.xy2rd(
            name, coordfile=str(tmp_path / "in.txt"), colnames=columns, hms=False, verbose=False
        )
        np.testing.assert_array_equal(found, expected)
        return
    result = CliRunner().invoke(
        app,
        ["pixtosky", name, "--coordfile", str(tmp_path / "in.txt"), "--columns", str(columns), "--degrees"],
    )
    assert result.exit_code == 0, result.output
    assert f"10.5000  20.2500    {expected[0][0]:.6f}  {expected[1][0]:.6f}" in result.output


@pytest.mark.parametrize("suffix", ["fits", "ecsv"])
def test_tables_are_read_by_column_name(image: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"in.{suffix}"
    Table({"id": [1, 2], "xpix": [10.5, 11.0], "ypix": [20.25, 21.0]}).write(path)
    name = f"{image}[sci,1]"
    found = pixtopix.tran(name, "", coordfile=str(path), colnames=["xpix", "ypix"], verbose=False)
    assert found == pixtopix.tran(name, "", x=[10.5, 11.0], y=[20.25, 21.0], verbose=False)
    with pytest.raises(ParameterError, match="no column 'zpix'"):
        pixtopix.tran(name, "", coordfile=str(path), colnames="xpix,zpix", verbose=False)


def test_missing_things_are_errors(image: Path, tmp_path: Path) -> None:
    with pytest.raises(StructureError, match=r"no extension \[sci,3\]"):
        read_wcs(f"{image}[sci,3]")
    with pytest.raises(StructureError, match=r"no extension \[99\]"):
        read_wcs(f"{image}[99]")
    with pytest.raises(MissingFileError, match="cannot be opened"):
        read_wcs(str(tmp_path / "none.fits[1]"))
    with pytest.raises(ParameterError, match="no positions"):
        pixtopix.tran(f"{image}[1]", "")
    with pytest.raises(ParameterError, match="direction"):
        pixel_to_pixel(f"{image}[1]", "", X, Y, "sideways")  # type: ignore[arg-type]
    (tmp_path / "bad.txt").write_text("1.0 two\n")
    with pytest.raises(ParameterError, match="'two' in row 1"):
        pixtosky.xy2rd(f"{image}[1]", coordfile=str(tmp_path / "bad.txt"))


def test_command_line_takes_negative_declinations(image: Path, tmp_path: Path) -> None:
    southern = write_exposure(tmp_path / "jsss01aaq_flc.fits", crval=(150.1, -0.002))
    ra, dec = (
        float(v[0]) for v in pixel_to_sky(read_wcs(f"{southern}[1]"), np.array([40.0]), np.array([20.0]))
    )
    assert -1.0 < dec < 0.0
    result = CliRunner().invoke(app, ["skytopix", f"{southern}[1]", repr(ra), repr(dec), "--precision", "3"])
    assert result.exit_code == 0, result.output
    assert "40.000  20.000" in result.output
    result = CliRunner().invoke(app, ["pixtosky", f"{southern}[1]", "40", "20"])
    assert " -00:00:0" in result.output
    assert CliRunner().invoke(app, ["pixtosky", f"{image}[1]", "1", "2", "3"]).exit_code == 2
    assert CliRunner().invoke(app, ["pixtosky", f"{image}[1]", "1", "2", "--degres"]).exit_code == 2
    result = CliRunner().invoke(app, ["pixtopix", f"{image}[1]", "", "-20", "80"])
    assert "-20.0000  80.0000" in result.output


PEER_X, PEER_Y = [1.0, 10.5, 48.25, 97.0], [1.0, 20.25, 33.5, 60.0]
PEER = {
    "ra": [150.10033797837485, 150.1003636137367, 150.10002050128688, 150.09964203514699],
    "dec": [2.1992869096783756, 2.1995830919132704, 2.2000267367912416, 2.2007098507869967],
    "ra_text": ["10:0:24.0811", "10:0:24.0873", "10:0:24.0049", "10:0:23.9141"],
    "dec_text": ["2:11:57.4329", "2:11:58.4991", "2:12:0.0963", "2:12:2.5555"],
    "x_back": [1.0000000012138903, 10.500000002924669, 48.2499999507023, 96.9999999558815],
    "y_back": [0.9999999987018953, 20.24999998802748, 33.50000002557516, 60.00000002058405],
    "x_frame": [139.2849164519301, 118.88876659370034, 98.88698333718553, 63.945178418959586],
    "y_frame": [21.417379895744652, 27.910423398930767, 62.97665751245365, 107.01755441678065],
}
"""drizzlepac 3.11 (stwcs 1.7.7) on ``[sci,1]`` of this very exposure, made by `write_exposure`: ``xy2rd`` in
degrees and with ``hms=True, precision=4``, ``rd2xy`` of these degrees, ``tran`` to a blank image."""


def test_positions_and_texts_are_those_of_drizzlepac(image: Path) -> None:
    name = f"{image}[sci,1]"
    ra, dec = pixtosky.xy2rd(name, x=PEER_X, y=PEER_Y, hms=False, verbose=False)
    np.testing.assert_allclose((ra, dec), (PEER["ra"], PEER["dec"]), rtol=0.0, atol=1e-12)
    texts = pixtosky.xy2rd(name, x=PEER_X, y=PEER_Y, precision=4, verbose=False)
    assert texts == (PEER["ra_text"], PEER["dec_text"])
    # DrizzlePac stops its inverse at 1e-4 pixel, which leaves 5e-8 here; ours leaves 5e-9.
    back = skytopix.rd2xy(name, ra=PEER["ra"], dec=PEER["dec"], verbose=False)
    np.testing.assert_allclose(back, (PEER["x_back"], PEER["y_back"]), rtol=0.0, atol=1e-7)
    np.testing.assert_allclose(back, (PEER_X, PEER_Y), rtol=0.0, atol=5e-9)
    frame = pixtopix.tran(name, "", x=PEER_X, y=PEER_Y, verbose=False)
    np.testing.assert_allclose(frame, (PEER["x_frame"], PEER["y_frame"]), rtol=0.0, atol=1e-7)


def test_listing_has_the_form_of_drizzlepac(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{image}[sci,1]"
    pixtosky.xy2rd(name, x=10.5, y=20.25, precision=4)
    assert capsys.readouterr().out == (
        f"# Coordinate transformations for  {name}\n# X      Y         RA             Dec\n\n"
        "10.5000  20.2500    10:0:24.0873  2:11:58.4991\n"
    )
