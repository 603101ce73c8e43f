"""Corrections carried over to chips: recorded figures of DrizzlePac 3.11, and positions through astropy."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from mosaic.errors import WcsError
from mosaic.geometry.correction import (
    LinearWcs,
    change_of_frame,
    correct_chip,
    fit_matrix,
    measured_in_frame,
)

OLD = (137.5, 206.0, 150.10005398507144, 2.199984449032854,
       -4.7507344403152e-06, -1.3051120903796e-05, -1.3051120903796e-05, 4.75073444031525e-06)  # fmt: skip
NEW = (137.5, 206.0, 150.1002484295159, 2.199873337921743,
       -4.7622171239041e-06, -1.3047231076333e-05, -1.3047231076333e-05, 4.76221712390419e-06)  # fmt: skip
"""A drizzled image of simulated ACS exposures, moved by (0.7, -0.4) arcsec and turned by 0.05 degrees."""
TWEAKBACK = [
    (
        (128.0, 100.0, 150.10134600960842, 2.199575033416361,
         -5.1236868236373e-06, -1.3308813278786e-05, -1.2865074084866e-05, 4.26490920527382e-06),
        (150.10154012175, 2.1994627875774,
         -5.1350144181265e-06, -1.3305352510607e-05, -1.2860855106844e-05, 4.2766072511425e-06),
    ),
    (
        (128.0, 100.0, 150.09865398962455, 2.2004249653706784,
         -5.2335006110717e-06, -1.289598775758e-05, -1.2645783493015e-05, 4.02421155393129e-06),
        (150.09884879142, 2.2003150837524,
         -5.2446390768187e-06, -1.2892728877998e-05, -1.2641464412963e-05, 4.035544595975e-06),
    ),
]  # fmt: skip
"""Chip, and what tweakback.apply_tweak made of it."""
SHIFTED = (
    (128.0, 100.0, 150.10138463803702, 2.199620106688046,
     -5.1237606983584e-06, -1.3309004194512e-05, -1.2865258609086e-05, 4.26497076567172e-06),
    (150.10140035763, 2.1997916757119,
     -5.1900146410897e-06, -1.3283833741783e-05, -1.2835687186873e-05, 4.3337311140758e-06),
)  # fmt: skip
"""Chip, and updatehdr.updatewcs_with_shift(rot=0.3, scale=1.0002, xsh=12.5, ysh=-3.25) in the frame OLD."""


def _wcs(values: tuple[float, ...]) -> LinearWcs:
    return LinearWcs(values[:2], values[2:4], (values[4:6], values[6:8]))


def _astropy(linear: LinearWcs) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crpix, wcs.wcs.crval, wcs.wcs.cd = linear.crpix_xy, linear.crval_deg, linear.cd
    return wcs


def _agrees_with_peer(crval: tuple[float, float], cd: object, peer: tuple[float, ...]) -> None:
    # DrizzlePac writes 14 digits of CRVAL. Its finite differences are good for some 3e-9 of CD, as found
    # with 40-digit arithmetic, where the closed form is good to 1e-13.
    np.testing.assert_allclose(crval, peer[:2], rtol=1e-13)
    np.testing.assert_allclose(np.ravel(cd), peer[2:], rtol=0.0, atol=1.2e-8 * 1.3e-5)


@pytest.mark.parametrize(("chip", "peer"), TWEAKBACK)
def test_tweakback_is_that_of_drizzlepac(chip: tuple[float, ...], peer: tuple[float, ...]) -> None:
    start = _wcs(chip)
    crval, cd = correct_chip(start.crval_deg, start.cd, change_of_frame(_wcs(OLD), _wcs(NEW)))
    _agrees_with_peer(crval, cd, peer)


def test_a_shift_is_that_of_drizzlepac() -> None:
    chip, peer = SHIFTED
    start = _wcs(chip)
    change = measured_in_frame(_wcs(OLD), fit_matrix(0.3, 1.0002), (12.5, -3.25))
    crval, cd = correct_chip(start.crval_deg, start.cd, change)
    _agrees_with_peer(crval, cd, peer)


@pytest.mark.parametrize("crval", [(0.0001, -60.0), (359.9999, 5.0), (150.0, 89.99), (12.0, -89.999)])
def test_every_pixel_goes_where_the_drizzled_pixel_goes(crval: tuple[float, float]) -> None:
    scale = 0.05 / 3600.0
    old = LinearWcs((500.0, 400.0), crval, ((-scale, 0.0), (0.0, scale)))
    turned = fit_matrix(0.4, 1.0003) * scale @ np.diag([-1.0, 1.0])
    cd = ((turned[0, 0], turned[0, 1]), (turned[1, 0], turned[1, 1]))
    new = LinearWcs((498.0, 401.0), (crval[0] + 2e-4, crval[1] - 1e-4), cd)
    chip = LinearWcs((1024.0, 512.0), (crval[0] + 3e-3, crval[1] + 2e-3), ((1e-5, 8e-6), (-9e-6, 1e-5)))
    moved, matrix = correct_chip(chip.crval_deg, chip.cd, change_of_frame(old, new))
    corrected = _astropy(LinearWcs(chip.crpix_xy, moved, matrix))
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(1, 2048, 7), np.linspace(1, 1024, 5)))
    sky = _astropy(chip).wcs_pix2world(x, y, 1)
    drizzled = _astropy(old).wcs_world2pix(*sky, 1)
    wanted = _astropy(new).wcs_pix2world(*drizzled, 1)
    found = corrected.wcs_world2pix(*wanted, 1)
    # The derivative at CRPIX carries over; across the chip a projective term of 1e-5 pixels is left over.
    np.testing.assert_allclose(found, (x, y), rtol=0.0, atol=1e-4)
    at_centre = corrected.wcs_world2pix(
        *_astropy(new).wcs_pix2world(
            *_astropy(old).wcs_world2pix(*_astropy(chip).wcs_pix2world(1024.0, 512.0, 1), 1), 1
        ),
        1,
    )
    np.testing.assert_allclose(at_centre, chip.crpix_xy, rtol=0.0, atol=1e-6)


def test_no_change_changes_nothing() -> None:
    start = _wcs(TWEAKBACK[0][0])
    crval, cd = correct_chip(start.crval_deg, start.cd, change_of_frame(_wcs(OLD), _wcs(OLD)))
    np.testing.assert_allclose(crval, start.crval_deg, rtol=1e-15)
    np.testing.assert_allclose(cd, start.cd, rtol=1e-12)


def test_a_header_without_wcs_is_named() -> None:
    header = fits.Header({"ROOTNAME": "j1", "CRVAL1": 1.0, "CRVAL2": 2.0, "CRPIX1": 1.0, "CD1_1": 1.0})
    with pytest.raises(WcsError, match="CRPIX2 absent"):
        LinearWcs.from_header(header)
    header["CRPIX2"] = 1.0
    with pytest.raises(WcsError, match="CD matrix absent, singular"):
        LinearWcs.from_header(header)
