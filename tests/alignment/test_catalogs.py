"""Catalogue files, regions and parameters."""

from __future__ import annotations

from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time

from mosaic.alignment.catalogs import FluxLimits, read_catalog_list, read_columns, read_reference, select_rows
from mosaic.alignment.exclusions import read_exclusions, region_mask
from mosaic.alignment.settings import load_align_settings
from mosaic.errors import CatalogError, ParameterError
from mosaic.geometry.wcs import ChipWcs
from mosaic.types import ShapeYX

ALL = FluxLimits(None, None, "counts", None)
SHAPE = ShapeYX(40, 60)


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_text_columns_comments_and_undefined_values(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.coo", "# x y f\n 1.5 2.5 10\n3 INDEF 4\n\n5 6 20\n")
    for spec in (("1", "2", "3"), ("c1", "c2", "c3")):
        catalog = read_columns(path, spec)
        assert catalog.first.tolist() == [1.5, 5.0]
        assert (catalog.second.tolist(), catalog.flux.tolist()) == ([2.5, 6.0], [10.0, 20.0])
    with pytest.raises(CatalogError, match="no column '4'"):
        read_columns(path, ("1", "4", ""))
    with pytest.raises(CatalogError, match="cannot be read"):
        read_columns(tmp_path / "absent.coo", ("1", "2", ""))


@pytest.mark.parametrize("columns", [("1,2,3", "4,5,6"), ("1-3", "4-6"), ("c1:c3", "c4:c6")])
def test_sexagesimal_parts_keep_the_sign_of_zero(tmp_path: Path, columns: tuple[str, str]) -> None:
    path = _write(tmp_path / "s.coo", "23 59 59.9999 -00 30 00.0\n01 00 00 12 30 36\n")
    catalog = read_columns(path, (*columns, ""))
    wanted = SkyCoord(["23h59m59.9999s", "1h"], ["-0d30m", "12d30m36s"])
    assert np.allclose(catalog.first, wanted.ra.deg, rtol=0, atol=1e-11)
    assert np.allclose(catalog.second, wanted.dec.deg, rtol=0, atol=1e-11)


def test_sexagesimal_words(tmp_path: Path) -> None:
    path = _write(tmp_path / "w.coo", "10:00:24.0 -02:12:00\n")
    catalog = read_columns(path, ("1", "2", ""))
    assert (catalog.first[0], catalog.second[0]) == pytest.approx((150.1, -2.2), abs=1e-12)


def test_limits_turn_round_for_magnitudes_and_nbright_needs_none(tmp_path: Path) -> None:
    catalog = read_columns(_write(tmp_path / "f.coo", "1 1 18\n2 2 25\n3 3 21\n"), ("1", "2", "3"))
    assert select_rows(catalog, FluxLimits(20.0, None, "counts", None), "f").tolist() == [1, 2]
    assert select_rows(catalog, FluxLimits(22.0, 19.0, "mag", None), "f").tolist() == [2]
    assert select_rows(catalog, FluxLimits(None, None, "mag", 2), "f").tolist() == [0, 2]
    assert select_rows(catalog, FluxLimits(None, None, "cps", 1), "f").tolist() == [1]
    with pytest.raises(CatalogError, match="none of its 3 sources"):
        select_rows(catalog, FluxLimits(99.0, None, "counts", None), "f")


@pytest.mark.parametrize("ending", ["ecsv", "fits"])
def test_proper_motions_are_those_of_astropy(tmp_path: Path, ending: str) -> None:
    table = Table(
        {"RA": [150.0, 150.1], "Dec": [60.0, -10.0], "pmra": [900.0, np.nan], "pmdec": [-500.0, np.nan]}
    )
    table["ref_epoch"] = 2016.0
    table["gmag"] = [17.0, 15.0]
    path = tmp_path / f"gaia.{ending}"
    table.write(path)
    epoch = Time(2006.5, format="jyear", scale="utc")
    found = read_reference(path, ("1", "2", "gmag"), ALL, epoch.mjd)
    star = SkyCoord(
        150 * u.deg,
        60 * u.deg,
        pm_ra_cosdec=900 * u.mas / u.yr,
        pm_dec=-500 * u.mas / u.yr,
        distance=100 * u.pc,
        radial_velocity=0 * u.km / u.s,
        obstime=Time(2016.0, format="jyear"),
    )
    wanted = star.apply_space_motion(new_obstime=epoch)
    # Linear in the plane against along a great circle: 10 arcsec of motion differ by some microarcseconds.
    assert found.first[0] == pytest.approx(wanted.ra.deg, abs=3e-7)
    assert found.second[0] == pytest.approx(wanted.dec.deg, abs=3e-7)
    assert (found.first[1], found.second[1]) == (150.1, -10.0)


def test_every_image_must_have_a_line_in_the_list_of_catalogues(tmp_path: Path) -> None:
    path = _write(tmp_path / "list", "a_flc.fits a1.coo a2.coo\n# comment\n")
    found = read_catalog_list(path, ["/data/a_flc.fits"])
    assert found == {"/data/a_flc.fits": (Path("a1.coo"), Path("a2.coo"))}
    with pytest.raises(CatalogError, match=r"no line for b_flc\.fits"):
        read_catalog_list(path, ["b_flc.fits"])


def test_exclusions_name_masks_relative_to_their_file(tmp_path: Path) -> None:
    path = _write(tmp_path / "ex.txt", "a_flc.fits None one.reg\nb_flc.fits two.reg\n")
    assert read_exclusions(path) == {
        "a_flc.fits": (None, tmp_path / "one.reg"),
        "b_flc.fits": (tmp_path / "two.reg",),
    }


def test_regions_exclude_include_and_follow_their_order(tmp_path: Path) -> None:
    y, x = np.mgrid[1 : SHAPE.ny + 1, 1 : SHAPE.nx + 1]
    circle = np.hypot(x - 20, y - 15) <= 6
    box = (np.abs(x - 30) <= 10) & (np.abs(y - 20) <= 4)
    mask, ignored = region_mask(
        _write(tmp_path / "a.reg", "# DS9\nglobal color=green\nimage\n-circle(20,15,6)\nannulus(1,1,2,3)\n"),
        SHAPE, None,
    )  # fmt: skip
    assert np.array_equal(mask, ~circle)
    assert ignored == ["annulus(1,1,2,3)"]
    mask, _ = region_mask(
        _write(tmp_path / "b.reg", "image;box(30,20,20,8,0)\n-circle(20,15,6)\n"), SHAPE, None
    )
    assert np.array_equal(mask, box & ~circle)
    mask, _ = region_mask(_write(tmp_path / "c.reg", "-circle(20,15,6)\nbox(30,20,20,8,0)\n"), SHAPE, None)
    assert np.array_equal(mask, ~circle | box)
    with pytest.raises(CatalogError, match="cannot be understood"):
        region_mask(_write(tmp_path / "d.reg", "circle(20,fifteen,6)\n"), SHAPE, None)


def test_a_turned_box_is_the_polygon_of_its_corners(tmp_path: Path) -> None:
    angle = np.radians(33.0)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = np.array([[-12.03, -5.01], [12.03, -5.01], [12.03, 5.01], [-12.03, 5.01]]) @ turn + [30.0, 20.0]
    polygon = ",".join(f"{value:.9f}" for value in corners.ravel())
    one, _ = region_mask(_write(tmp_path / "a.reg", "box(30,20,24.06,10.02,33)\n"), SHAPE, None)
    two, _ = region_mask(_write(tmp_path / "b.reg", f"polygon({polygon})\n"), SHAPE, None)
    assert np.array_equal(one, two)
    # Pick's theorem has an error of about half the perimeter.
    assert one.sum() == pytest.approx(24.06 * 10.02, abs=35)


def test_a_circle_on_the_sky_is_a_circle_of_separations(tmp_path: Path) -> None:
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 40.0, "CRVAL2": 70.0}
    cards |= {"CRPIX1": 25.0, "CRPIX2": 18.0, "CD1_1": -2e-5, "CD1_2": 1e-5, "CD2_1": 1e-5, "CD2_2": 2e-5}
    header = fits.Header(cards)
    hdul = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(header=header)])
    wcs = ChipWcs.from_hdulist(hdul, 1, shape_yx=SHAPE)
    path = _write(tmp_path / "sky.reg", 'fk5\n-circle(2:40:00.12,70:00:00.3,0.8")\n')
    mask, _ = region_mask(path, SHAPE, wcs)
    y, x = np.mgrid[0.0 : SHAPE.ny, 0.0 : SHAPE.nx]
    ra, dec = wcs.pixel_to_sky(x.ravel(), y.ravel())
    centre = SkyCoord("2h40m0.12s", "70d0m0.3s")
    outside = centre.separation(SkyCoord(ra, dec, unit="deg")).arcsec > 0.8
    assert 0 < (~outside).sum() < outside.size
    assert np.array_equal(mask.ravel(), outside)


def test_fits_masks_exclude_their_zeros(tmp_path: Path) -> None:
    data = np.ones(SHAPE, dtype=np.uint8)
    data[3:9, 5:20] = 0
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data)]).writeto(tmp_path / "m.fits")
    mask, _ = region_mask(tmp_path / "m.fits", SHAPE, None)
    assert np.array_equal(mask, data != 0)
    with pytest.raises(CatalogError, match="no image of shape"):
        region_mask(tmp_path / "m.fits", ShapeYX(4, 5), None)


def test_parameters_come_from_files_finding_files_and_keywords(tmp_path: Path) -> None:
    config = _write(
        tmp_path / "t.cfg",
        "_task_name_ = tweakreg\ninput = *flc.fits\n[OBJECT MATCHING]\nminobj = 7\nsearchrad = 2.0\n"
        "[CATALOG FITTING]\nfitgeometry = general\nnclip = None\n",
    )
    find = _write(tmp_path / "f.cfg", "_task_name_ = imagefindpars\nthreshold = 20.0\ndqbits = ~4096\n")
    loaded = load_align_settings(config, ["searchrad=3"], imagefindcfg=find, keywords={"refxcol": 3})
    align = loaded.align
    assert (align.minobj, align.searchrad, align.fitgeometry, align.nclip) == (7, 3.0, "general", 0)
    assert (align.threshold, align.dqbits, align.refxcol) == (20.0, "~4096", "3")
    assert (loaded.reference.threshold, loaded.inputs) == (4.0, ("*flc.fits",))


def test_every_wrong_parameter_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ParameterError) as caught:
        load_align_settings(
            imagefindcfg={"threshold": 5, "peakmn": 1},
            refimagefindcfg={"conv_width": -1},
            keywords={"threshold": 6, "searchrd": 2, "fitgeometry": "affine"},
        )
    text = str(caught.value)
    wanted = ["peakmn (did you mean peakmin", "searchrd (did you mean searchrad", "threshold is given twice"]
    for part in (*wanted, "fitgeometry = 'affine'", "refimagefindcfg: conv_width = -1"):
        assert part in text
    other = _write(tmp_path / "a.cfg", "_task_name_ = astrodrizzle\nbuild = True\n")
    with pytest.raises(ParameterError, match="holds parameters of astrodrizzle, not of tweakreg"):
        load_align_settings(other)
