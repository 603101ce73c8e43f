"""Laws of simulated STIS and NICMOS exposures: structure, units, flags, positions and fluxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from mosaic.exposure.catalogue import read_catalogue
from mosaic.geometry.grid import default_grid
from mosaic.simulate import SimulatedSet, simulate
from tests.simulate.conftest import (
    CLEAN,
    chips_of,
    corner_area_arcsec2,
    isolated,
    stars_of,
    weighted_centroid,
)
from tests.support.exposures import default_settings

REACH = 12
# Electrons in one count: the measured gains of the NICMOS cameras, ATODGAIN of the STIS CCD.
GAINS = {
    "stis/ccd": 4.016,
    "stis/nuv-mama": 1.0,
    "stis/fuv-mama": 1.0,
    "nicmos/nic1": 5.4,
    "nicmos/nic2": 5.4,
    "nicmos/nic3": 6.5,
}
STIS = {
    "primary": "DETECTOR OBSTYPE OPT_ELEM FILTER APERTURE TEXPTIME TEXPSTRT TEXPEND TDATEOBS CCDAMP CCDGAIN "
    "ATODGAIN READNSE PFLTFILE LFLTFILE PHOTFLAM PHOTPLAM PHOTMODE PA_V3 IDCTAB ASN_ID SUBARRAY MTFLAG",
    "sci": "EXPNAME BUNIT EXPTIME EXPSTART EXPEND DATE-OBS TIME-OBS NGOODPIX SDQFLAGS NCOMBINE MEANDARK",
}
NICMOS = {
    "primary": "CAMERA FILTER APERTURE EXPTIME EXPSTART EXPEND DATE-OBS UNITCORR ADCGAIN FLATFILE PHOTFLAM "
    "PHOTPLAM PHOTMODE PA_V3 IDCTAB ASN_ID MTFLAG NSAMP SAMP_SEQ",
    "sci": "EXPNAME BUNIT SAMPTIME NCOMBINE",
}
WCS_KEYS = "CRPIX1 CRVAL1 CD1_1 CTYPE1 ORIENTAT VAFACTOR IDCSCALE IDCTHETA IDCV2REF A_ORDER WCSNAME LTV1"


@pytest.fixture(scope="module", params=sorted(GAINS))
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, SimulatedSet]:
    """Two exposures of each detector without noise: stars on a flat sky."""
    choices = {"chip_shape": (360, 390), "n_stars": 20, "star_rate_range": (20.0, 60.0), "roll_deg": 3.0}
    folder = tmp_path_factory.mktemp("clean")
    return request.param, simulate(folder, instrument=request.param, exposures=2, seed=5, **choices, **CLEAN)


def test_extensions_and_keywords_are_complete(made: tuple[str, SimulatedSet]) -> None:
    name, simulated = made
    wanted = STIS if name.startswith("stis") else NICMOS
    companions = [] if name.startswith("stis") else ["SAMP", "TIME"]
    with fits.open(simulated.files[0]) as file:
        file.verify("exception")
        assert [hdu.name for hdu in file[1:]] == ["SCI", "ERR", "DQ", *companions]
        assert [key for key in wanted["primary"].split() if key not in file[0].header] == []
        assert [key for key in f"{wanted['sci']} {WCS_KEYS}".split() if key not in file["SCI"].header] == []
        for hdu in file:
            assert "@" not in [card.value for card in hdu.header.cards]
        # The time of a STIS exposure is in its SCI header only.
        assert ("EXPTIME" in file[0].header) == name.startswith("nicmos")
        assert file["SCI"].header["BUNIT"] == ("COUNTS" if name.startswith("stis") else "COUNTS/S")


def test_detectors_have_their_size(tmp_path: Path) -> None:
    for name, shape in (("stis/nuv-mama", (1024, 1024)), ("nicmos/nic1", (256, 256))):
        simulated = simulate(tmp_path / name, instrument=name, exposures=1, n_stars=0, n_galaxies=0)
        assert fits.getdata(simulated.files[0], "SCI").shape == shape


def test_pixels_are_counts_of_the_true_sky(made: tuple[str, SimulatedSet]) -> None:
    name, simulated = made
    sky = Table.read(simulated.sky, format="ascii.ecsv")
    for number, path in enumerate(simulated.files):
        ((header, sci, _),) = chips_of(path)
        exptime = fits.getval(path, "EXPTIME", 0 if name.startswith("nicmos") else 1)
        electrons = np.median(sci) * GAINS[name] * (exptime if header["BUNIT"].endswith("/S") else 1.0)
        assert electrons == pytest.approx(sky["sky_e"][number], rel=1e-3)
        assert np.median(sci) == pytest.approx(sky["sky_native"][number], rel=1e-3)


def test_flux_and_position_of_the_stars_are_true(made: tuple[str, SimulatedSet]) -> None:
    name, simulated = made
    stars, sky = stars_of(simulated), Table.read(simulated.sky, format="ascii.ecsv")
    nominal = float(stars.meta["idcscale_arcsec"]) ** 2
    offsets, ratios = [], []
    for number, path in enumerate(simulated.files):
        ((header, sci, wcs),) = chips_of(path)
        per_count = GAINS[name] / (1.0 if header["BUNIT"].endswith("/S") else stars.meta["exptime_s"])
        x, y = wcs.all_world2pix(stars["ra"], stars["dec"], 0, quiet=True)
        # 5 sigma of the widest Gaussian.
        reach = int(np.ceil(5 * max(stars.meta["psf_sigma_arcsec"]) / np.sqrt(nominal) / 0.9)) + 2
        for row in isolated(x, y, sci.shape, max(reach, REACH)):
            ix, iy = round(x[row]), round(y[row])
            rows, columns = np.mgrid[iy - reach : iy + reach + 1, ix - reach : ix + reach + 1]
            cut = sci[rows, columns] - sky["sky_native"][number]
            area = corner_area_arcsec2(wcs, columns.astype(float), rows.astype(float)) / nominal
            ratios.append((cut * area).sum() * per_count / stars["rate_e_s"][row])
            guess = (x[row] - ix + reach, y[row] - iy + reach)
            found = weighted_centroid(cut, guess, 2.0)
            offsets.append(np.hypot(found[0] - guess[0], found[1] - guess[1]))
    assert len(ratios) > 2
    np.testing.assert_allclose(ratios, 1.0, atol=2e-4)
    # Skewed pixels and a moving weight bias a moment by a few thousandths of a pixel.
    assert max(offsets) < 0.02


def test_the_default_frame_has_the_orientation_of_the_chip(made: tuple[str, SimulatedSet]) -> None:
    # PA_V3, IDCV2REF, IDCV3REF and IDCTHETA orient the frame, the CD matrix the chip: one attitude.
    _, simulated = made
    chip = read_catalogue([str(simulated.files[0])], default_settings()).exposures[0].chips[0]
    header = fits.getheader(simulated.files[0], "SCI")
    grid = default_grid([chip.wcs])
    assert (grid.orientat_deg - header["ORIENTAT"] + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=0.1)
    assert grid.scale_arcsec == header["IDCSCALE"]


def test_photflam_is_per_count(tmp_path: Path) -> None:
    # Of the inverse sensitivities that the archive gives (F222M of camera 2: 3.2176e-19 per DN).
    simulated = simulate(
        tmp_path, instrument="nicmos/nic2", filter_name="F222M", exposures=1, chip_shape=(64, 64), n_stars=1
    )
    assert fits.getval(simulated.files[0], "PHOTFLAM") == pytest.approx(3.2176e-19, rel=2e-4)


@pytest.mark.parametrize(("name", "bad", "hot"), [("stis/ccd", 4, 16), ("nicmos/nic2", 32, 32)])
def test_flags_are_those_of_the_instrument(tmp_path: Path, name: str, bad: int, hot: int) -> None:
    simulated = simulate(
        tmp_path, instrument=name, exposures=1, chip_shape=(200, 256), n_stars=0, n_galaxies=0
    )
    flags = fits.getdata(simulated.files[0], "DQ")
    assert (flags & bad).astype(bool).sum() > 100
    assert (flags & hot).astype(bool).sum() > 100
    if name.startswith("nicmos"):
        assert set(np.unique(flags)) <= {0, 4, 32, 36, 64, 96, 128, 160}


def test_only_charge_coupled_and_infrared_detectors_are_struck(tmp_path: Path) -> None:
    struck = {}
    for name in ("stis/ccd", "stis/fuv-mama", "nicmos/nic2"):
        simulated = simulate(tmp_path / name, instrument=name, exposures=1, chip_shape=(250, 250), n_stars=0)
        struck[name] = sum(np.load(path)["index_1"].size for path in simulated.cosmic_rays)
    assert struck["stis/fuv-mama"] == 0
    assert struck["stis/ccd"] > 500
    assert 5 < struck["nicmos/nic2"] < 200
