"""Region files: parser, map to pixels through the distortion, masks, and the files per chip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from typer.testing import CliRunner

from mosaic.cli.app import app
from mosaic.compat import mapreg
from mosaic.errors import OutputError, ParameterError
from mosaic.tools.extensions import read_wcs
from mosaic.tools.positions import pixel_to_sky
from mosaic.tools.region_images import combined_mask, region_mask, to_image, to_sky
from mosaic.tools.regions import Region, parse_regions, read_regions
from mosaic.types import ShapeYX
from tests.support.exposures import write_exposure

DS9 = """# Region file format: DS9 version 4.1
global color=green dashlist=8 3 width=1 font="helvetica 10 normal roman"
fk5
circle(10:00:24.0,+02:12:00.0,1.5") # color=red
-ellipse(150.1,2.2,3",1.5",30)
box(150.1d,2.2d,0.1',3.0",20); point(150.1,2.2) # point=x
annulus(150.1,2.2,1",2")
galactic
circle(10,10,1)
image
polygon(1,1,10,1,10,10)
circle 20 30 5
line(1,2,3,4)
panda(1,2,3,4,5,6,7,8)
"""


def test_shapes_signs_units_and_what_is_ignored() -> None:
    found = parse_regions(DS9)
    assert [r.shape for r in found.regions] == [
        "circle", "ellipse", "box", "point", "annulus", "polygon", "circle", "line",
    ]  # fmt: skip
    assert [r.frame for r in found.regions] == ["sky"] * 5 + ["image"] * 3
    assert [r.is_excluded for r in found.regions] == [False, True] + [False] * 6
    circle, ellipse, box = found.regions[:3]
    assert circle.points[0] == pytest.approx((150.1, 2.2), abs=1e-12)
    assert circle.sizes == pytest.approx((1.5 / 3600.0,), rel=1e-14)
    assert circle.comment == "color=red"
    assert ellipse.angle_deg == 30.0
    assert box.sizes == pytest.approx((6.0 / 3600.0, 3.0 / 3600.0), rel=1e-14)
    assert found.regions[5].points == ((1.0, 1.0), (10.0, 1.0), (10.0, 10.0))
    assert found.regions[6].sizes == (5.0,)
    assert [line.split(":")[0] for line in found.ignored] == ["line 8", "line 9", "line 14"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image\ncircle(1,2)", "line 2: circle needs 3 values"),
        ("image\npolygon(1,2,3,4)", "three vertices"),
        ("image\ncircle(1,2,-3)", "negative"),
        ("fk5\ncircle(150,2,3p)", "in pixels"),
        ("fk5\ncircle(150,91,3)", "beyond the poles"),
    ],
)
def test_wrong_shapes_are_refused(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        parse_regions(text)


def test_text_leads_back_to_the_shapes() -> None:
    for region in parse_regions(DS9).regions:
        (again,) = parse_regions(("fk5\n" if region.frame == "sky" else "image\n") + region.to_text()).regions
        assert (again.shape, again.is_excluded, again.comment) == (
            region.shape,
            region.is_excluded,
            region.comment,
        )
        np.testing.assert_allclose(again.points, region.points, atol=1e-8)
        np.testing.assert_allclose(again.sizes, region.sizes, atol=5e-5)


@pytest.mark.parametrize(
    ("region", "area"),
    [
        (Region("circle", "image", ((50.3, 40.7),), (20.0,)), np.pi * 400.0),
        (Region("ellipse", "image", ((50.3, 40.7),), (25.0, 10.0), 35.0), np.pi * 250.0),
        (Region("box", "image", ((50.3, 40.7),), (40.0, 21.0), 63.0), 840.0),
        (Region("annulus", "image", ((50.3, 40.7),), (10.0, 20.0)), np.pi * 300.0),
        (Region("polygon", "image", ((10.2, 10.1), (80.7, 15.3), (40.1, 70.9))), 2034.19),
    ],
)
def test_masks_have_the_area_and_centre_of_the_shape(region: Region, area: float) -> None:
    mask = region_mask(region, ShapeYX(90, 110))
    # Pixels are counted by their centres: the error of the area is a fraction of the pixels on the border.
    assert np.count_nonzero(mask) == pytest.approx(area, abs=0.35 * np.sqrt(2.0 * np.pi * area))
    y, x = np.nonzero(mask)
    centre = np.mean(region.points, axis=0)
    np.testing.assert_allclose((x.mean() + 1.0, y.mean() + 1.0), centre, atol=0.15)


def test_shapes_are_cut_at_the_edge_and_orientation_is_anticlockwise() -> None:
    assert region_mask(Region("circle", "image", ((1.0, 1.0),), (2.0,)), ShapeYX(5, 7)).sum() == 6
    assert not region_mask(Region("circle", "image", ((100.0, 1.0),), (2.0,)), ShapeYX(5, 7)).any()
    mask = region_mask(Region("box", "image", ((20.0, 20.0),), (30.0, 2.0), 45.0), ShapeYX(40, 40))
    assert mask[27, 27]
    assert not mask[11, 27]


def test_signs_work_in_file_order() -> None:
    shape = ShapeYX(30, 40)
    big, small = (
        Region("circle", "image", ((20.0, 15.0),), (10.0,)),
        Region("circle", "image", ((20.0, 15.0),), (4.0,)),
    )
    minus = Region("circle", "image", ((20.0, 15.0),), (4.0,), is_excluded=True)
    ring = combined_mask([big, minus], shape)
    np.testing.assert_array_equal(ring, region_mask(big, shape) & ~region_mask(small, shape))
    np.testing.assert_array_equal(combined_mask([minus, big], shape), region_mask(big, shape))
    np.testing.assert_array_equal(combined_mask([minus], shape), ~region_mask(small, shape))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_exposure(tmp_path / "jaaa01aaq_flc.fits")


@pytest.mark.parametrize("shape", ["circle", "ellipse", "box", "polygon"])
def test_pixels_of_a_mapped_shape_lie_in_it_on_the_sky(image: Path, shape: str) -> None:
    """Every pixel centre is judged on the sky, with astropy's positions and the definition of the shape."""
    wcs = read_wcs(f"{image}[sci,1]")
    ra0, dec0 = (float(v[0]) for v in pixel_to_sky(wcs, np.array([50.0]), np.array([30.0])))
    arcsec = 1.0 / 3600.0
    cos = np.cos(np.deg2rad(dec0))
    vertices = [(-0.8, -0.6), (0.9, -0.2), (0.1, 0.8)]
    region = {
        "circle": Region("circle", "sky", ((ra0, dec0),), (0.9 * arcsec,)),
        "ellipse": Region("ellipse", "sky", ((ra0, dec0),), (1.3 * arcsec, 0.6 * arcsec), 25.0),
        "box": Region("box", "sky", ((ra0, dec0),), (2.0 * arcsec, 1.1 * arcsec), 25.0),
        "polygon": Region(
            "polygon", "sky", tuple((ra0 - w * arcsec / cos, dec0 + n * arcsec) for w, n in vertices)
        ),
    }[shape]
    mapped = to_image(region, wcs)
    assert mapped is not None
    mask = region_mask(mapped, ShapeYX(60, 97))
    with fits.open(image) as hdul:
        y, x = np.mgrid[:60, :97]
        ra, dec = WCS(hdul["SCI", 1].header, hdul).all_pix2world(x, y, 0)
    west, north = -(ra - ra0) * cos / arcsec, (dec - dec0) / arcsec
    turn = np.deg2rad(25.0)
    along, across = west * np.cos(turn) + north * np.sin(turn), north * np.cos(turn) - west * np.sin(turn)
    if shape == "circle":
        margin = 0.9 - np.hypot(west, north)
    elif shape == "ellipse":
        margin = 0.6 * (1.0 - np.hypot(along / 1.3, across / 0.6))
    elif shape == "box":
        margin = np.minimum(1.0 - np.abs(along), 0.55 - np.abs(across))
    else:
        sides = []
        for (aw, an), (bw, bn) in zip(vertices, vertices[1:] + vertices[:1], strict=True):
            cross = (bw - aw) * (north - an) - (bn - an) * (west - aw)
            sides.append(cross / np.hypot(bw - aw, bn - an))
        margin = np.min(sides, axis=0)
    # The tables of this exposure bend by some 0.1 pixel between nodes 16 pixels apart; shapes are twice as
    # large: 0.02 arcsec = 0.4 pixel.
    clear = np.abs(margin) > 0.02
    np.testing.assert_array_equal(mask[clear], (margin > 0.0)[clear])
    assert 0 < mask.sum() < mask.size / 2


def test_shapes_come_back_from_the_sky(tmp_path: Path) -> None:
    path = write_exposure(tmp_path / "jplain1aq_flc.fits", distorted=False)
    with fits.open(path, mode="update") as hdul:
        header = hdul["SCI", 1].header
        for key, value in zip(("CD1_1", "CD1_2", "CD2_1", "CD2_2"), (-0.8, 0.6, 0.6, 0.8), strict=True):
            header[key] = value * 1e-5
    wcs = read_wcs(f"{path}[sci,1]")
    for region in (
        Region("ellipse", "image", ((30.0, 20.0),), (8.0, 4.0), 15.0),
        Region("box", "image", ((30.0, 20.0),), (8.0, 4.0), 15.0),
        Region("circle", "image", ((30.0, 20.0),), (8.0,)),
        Region("line", "image", ((30.0, 20.0), (1.0, 2.0))),
    ):
        again = to_image(to_sky(region, wcs), wcs)
        assert again is not None
        assert again.shape == region.shape
        np.testing.assert_allclose(again.points, region.points, atol=1e-6)
        np.testing.assert_allclose(again.sizes, region.sizes, rtol=1e-6)
        assert again.angle_deg == pytest.approx(region.angle_deg, abs=1e-4)


def test_every_chip_gets_a_file_and_the_list_names_them(image: Path, tmp_path: Path) -> None:
    out = tmp_path / "regions"
    out.mkdir()
    wcs = read_wcs(f"{image}[sci,2]")
    ra, dec = (float(v[0]) for v in pixel_to_sky(wcs, np.array([40.0]), np.array([25.0])))
    (tmp_path / "sky.reg").write_text(f'fk5\ncircle({ra!r},{dec!r},0.5")\n-circle({ra!r},{dec!r},0.2")\n')
    (tmp_path / "chip.reg").write_text("image\nbox(5,5,4,4,0)\n")
    mapreg.MapReg(
        str(tmp_path / "sky.reg"), str(image), outpath=str(out), filter="precise", catfname="list.txt"
    )
    assert (out / "list.txt").read_text() == "jaaa01aaq_flc.fits None jaaa01aaq_flc_sci2_twreg.reg\n"
    found = read_regions(out / "jaaa01aaq_flc_sci2_twreg.reg").regions
    assert [region.is_excluded for region in found] == [False, True]
    np.testing.assert_allclose([region.points[0] for region in found], [(40.0, 25.0)] * 2, atol=1e-4)
    done = mapreg.map_region_files(
        str(tmp_path / "sky.reg"), str(image), img_wcs_ext="sci,2;1", chip_reg=str(tmp_path / "chip.reg"),
        outpath=str(out), filter="fast", append=True,
    )  # fmt: skip
    assert [(item.extension, item.n_regions) for item in done] == [("sci,2", 5), ("1", 1)]
    assert (out / "jaaa01aaq_flc_extn1_twreg.reg").is_file()


def test_pixel_regions_need_their_image(image: Path, tmp_path: Path) -> None:
    (tmp_path / "pix.reg").write_text("image\ncircle(40,25,6)\n")
    with pytest.raises(ParameterError, match="need a reference image"):
        mapreg.MapReg(str(tmp_path / "pix.reg"), str(image), outpath=str(tmp_path))
    done = mapreg.MapReg(
        str(tmp_path / "pix.reg"), str(image), img_wcs_ext="sci,1", refimg=str(image), ref_wcs_ext="sci,1",
        outpath=str(tmp_path),
    )  # fmt: skip
    assert done[0].path is not None
    (again,) = read_regions(done[0].path).regions
    np.testing.assert_allclose(again.points[0], (40.0, 25.0), atol=1e-4)
    with pytest.raises(OutputError, match="not a folder"):
        mapreg.MapReg(str(tmp_path / "pix.reg"), str(image), outpath=str(tmp_path / "none"))
    with pytest.raises(ParameterError, match="filter"):
        mapreg.MapReg(str(tmp_path / "pix.reg"), str(image), outpath=str(tmp_path), filter="slow")
    with pytest.raises(ParameterError, match="no extension 'foo'"):
        mapreg.MapReg(str(tmp_path / "pix.reg"), str(image), "foo", f"{image}[sci,1]", outpath=str(tmp_path))


def test_command_line_maps_regions(image: Path, tmp_path: Path) -> None:
    (tmp_path / "sky.reg").write_text('fk5\ncircle(150.1,2.2,0.5")\ngalactic;circle(1,2,3)\n')
    arguments = ["mapreg", str(image), "--regions", str(tmp_path / "sky.reg"), "--outpath", str(tmp_path)]
    result = CliRunner().invoke(app, [*arguments, "--extensions", "sci,1"])
    assert result.exit_code == 0, result.output
    assert "[sci,1]: 1 regions" in result.output
