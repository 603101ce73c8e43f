"""The WCS and the errors that follow from a solution, judged by astropy's WCS."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from mosaic.alignment.fitting import Fit
from mosaic.alignment.solution import corrected_wcs, sky_rms_deg
from mosaic.geometry.grid import OutputGrid
from mosaic.geometry.wcs import ChipWcs
from mosaic.types import ShapeYX

SCALE_DEG = 0.05 / 3600
NOTHING = np.zeros((0, 2)), np.zeros(0, dtype=bool)


def _header(crval: tuple[float, float], crpix: tuple[float, float], orient_deg: float) -> fits.Header:
    c, s = np.cos(np.radians(orient_deg)), np.sin(np.radians(orient_deg))
    cd = SCALE_DEG * np.array([[-c, s], [s, c]])
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": crval[0], "CRVAL2": crval[1]}
    cards |= {"CRPIX1": crpix[0], "CRPIX2": crpix[1], "CUNIT1": "deg", "CUNIT2": "deg"}
    cards |= {f"CD{i + 1}_{j + 1}": cd[i, j] for i in range(2) for j in range(2)}
    return fits.Header(cards)


def _frame(header: fits.Header) -> OutputGrid:
    cd = ((header["CD1_1"], header["CD1_2"]), (header["CD2_1"], header["CD2_2"]))
    return OutputGrid(
        ShapeYX(4000, 4200), (header["CRPIX1"], header["CRPIX2"]), (header["CRVAL1"], header["CRVAL2"]), cd
    )


@pytest.mark.parametrize("dec", [2.0, -60.0, 85.0])
@pytest.mark.parametrize("case", ["shift", "rotation", "scale", "skew"])
def test_corrected_wcs_agrees_at_the_corners_with_the_correction(dec: float, case: str) -> None:
    turn = np.radians(0.5)
    matrix = {
        "shift": np.eye(2),
        "rotation": np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]),
        "scale": 1.001 * np.eye(2),
        "skew": np.array([[1.0, 1e-4], [0.0, 1.0]]),
    }[case]
    fit = Fit(matrix, np.array([50.0, -30.0]) if case == "shift" else np.zeros(2), *NOTHING)
    frame_header = _header((10.0, dec), (2000.0, 2000.0), 20.0)
    chip_header = _header((10.0, dec + 0.01), (2048.0, 1024.0), 21.0)
    hdu = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(header=chip_header)])
    chip = ChipWcs.from_hdulist(hdu, 1, shape_yx=ShapeYX(2048, 4096))
    new_header = chip_header.copy()
    crval, cd = corrected_wcs(chip, _frame(frame_header), fit)
    new_header["CRVAL1"], new_header["CRVAL2"] = crval
    for i in range(2):
        for j in range(2):
            new_header[f"CD{i + 1}_{j + 1}"] = cd[i][j]
    corners = np.array([[1.0, 1.0], [4096, 1], [4096, 2048], [1, 2048]])
    frame = WCS(frame_header)
    xy = frame.wcs_world2pix(WCS(chip_header).wcs_pix2world(corners, 1), 1) - [2000.0, 2000.0]
    moved = (xy - fit.offset_xy) @ np.linalg.inv(matrix) + [2000.0, 2000.0]
    wanted = WCS(new_header).wcs_world2pix(frame.wcs_pix2world(moved, 1), 1)
    # The homography of a chip 150 arcsec from the tangent point: below 1e-5 pixels for these corrections but
    # for the rotation, whose pivot is 700 pixels away.
    assert np.abs(wanted - corners).max() < 2e-5


@pytest.mark.parametrize("orient", [0.0, 45.0, 90.0])
@pytest.mark.parametrize("dec", [0.0, 60.0, -89.0])
def test_sky_rms_is_the_scatter_east_and_north_in_true_angle(dec: float, orient: float) -> None:
    residuals = np.random.default_rng(0).normal(0, (0.03, 0.01), (4000, 2))
    residuals -= residuals.mean(axis=0)
    fit = Fit(np.eye(2), np.zeros(2), residuals, np.ones(4000, dtype=bool))
    header = _header((100.0, dec), (0.0, 0.0), orient)
    sky = WCS(header).wcs_pix2world(residuals, 0 + 0)
    centre = SkyCoord(*WCS(header).wcs_pix2world([[0.0, 0.0]], 0)[0], unit="deg")
    east, north = centre.spherical_offsets_to(SkyCoord(*sky.T, unit="deg"))
    # The residuals of x and y are independent but for their number: 4000 give 1 per cent.
    assert sky_rms_deg(_frame(header), fit) == pytest.approx((east.deg.std(), north.deg.std()), rel=0.03)
