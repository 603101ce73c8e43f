"""Outlines and what they share, against membership of random points; positions against the forward map."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mosaic.errors import WcsError
from mosaic.geometry.outline import (
    OutlineIndex,
    bounding_cap,
    chip_outline,
    intersect_outlines,
    sky_to_chip,
    to_sky,
    to_unit_vectors,
)
from mosaic.geometry.tangent import plane_to_sky, tangent_basis
from mosaic.geometry.wcs import ChipWcs
from mosaic.types import ShapeYX
from tests.support.exposures import write_exposure

CENTRES = [(150.0, 2.0), (0.0, -70.0), (359.99999, 45.0), (20.0, 89.99), (200.0, -90.0)]


def _chip(path: Path, index: int = 1, **changes: object) -> ChipWcs:
    write_exposure(path, **changes)
    with fits.open(path) as hdul:
        return ChipWcs.from_hdulist(hdul, index)


def _quadrilateral(rng: np.random.Generator, centre: tuple[float, float], shift: float) -> np.ndarray:
    """Convex, anticlockwise from outside (east is to the left of north), about an arcminute wide."""
    angle = np.sort(rng.uniform(0.0, 2.0 * np.pi, 4))
    while np.diff(angle, append=angle[0] + 2.0 * np.pi).max() > 2.8:
        angle = np.sort(rng.uniform(0.0, 2.0 * np.pi, 4))
    xi, eta = np.cos(angle) / 60.0, np.sin(angle) / 60.0
    return to_unit_vectors(*plane_to_sky(xi + shift / 60.0, eta, centre))


def _holds(outline: np.ndarray, points: np.ndarray) -> np.ndarray:
    poles = np.cross(outline, np.roll(outline, -1, axis=0))
    return ((points @ poles.T) >= 0.0).all(axis=1)


def _area(outline: np.ndarray, centre: tuple[float, float]) -> float:
    """Shoelace formula on the tangent plane, square arcminutes."""
    east, north, outward = tangent_basis(centre).T
    x, y = (outline @ east) / (outline @ outward), (outline @ north) / (outline @ outward)
    return float(0.5 * np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) * np.rad2deg(60.0) ** 2)


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("seed", range(4))
def test_the_intersection_holds_the_points_that_both_hold(centre: tuple[float, float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = _quadrilateral(rng, centre, 0.0), _quadrilateral(rng, centre, rng.uniform(0.0, 1.2))
    shared = intersect_outlines(first, second)
    xi, eta = rng.uniform(-2.5, 2.5, (2, 20_000)) / 60.0
    points = to_unit_vectors(*plane_to_sky(xi, eta, centre))
    expected = _holds(first, points) & _holds(second, points)
    assert expected.sum() > 50
    np.testing.assert_array_equal(_holds(shared, points), expected)
    # Both orders give the same vertices.
    swapped = intersect_outlines(second, first)
    distance = np.linalg.norm(shared[:, None] - swapped[None], axis=2)
    assert distance.min(axis=1).max() < 1e-15
    assert len(swapped) == len(shared)


def test_areas_of_two_squares_that_overlap_by_a_quarter() -> None:
    centre = (30.0, -20.0)
    x, y = np.array([0.0, 1.0, 1.0, 0.0]) / 60.0, np.array([0.0, 0.0, 1.0, 1.0]) / 60.0
    first = to_unit_vectors(*plane_to_sky(x, y, centre))
    second = to_unit_vectors(*plane_to_sky(x + 0.5 / 60.0, y + 0.5 / 60.0, centre))
    assert _area(first, centre) == pytest.approx(1.0, rel=1e-9)
    assert _area(intersect_outlines(first, second), centre) == pytest.approx(0.25, rel=1e-9)


def test_equal_contained_and_separate_outlines() -> None:
    rng = np.random.default_rng(4)
    outline = _quadrilateral(rng, CENTRES[0], 0.0)
    np.testing.assert_array_equal(intersect_outlines(outline, outline.copy()), outline)
    inner = outline + 0.7 * (outline.mean(axis=0) - outline)
    inner /= np.linalg.norm(inner, axis=1, keepdims=True)
    found = intersect_outlines(outline, inner)
    assert {tuple(v) for v in found} == {tuple(v) for v in inner}
    assert intersect_outlines(outline, _quadrilateral(rng, CENTRES[0], 3.0)).shape == (0, 3)


def test_a_shared_side_is_no_overlap() -> None:
    x, y = np.array([0.0, 1.0, 1.0, 0.0]) / 60.0, np.array([0.0, 0.0, 1.0, 1.0]) / 60.0
    left = to_unit_vectors(*plane_to_sky(x, y, (10.0, 0.0)))
    right = to_unit_vectors(*plane_to_sky(x + 1.0 / 60.0, y, (10.0, 0.0)))
    shared = intersect_outlines(left, right)
    assert len(shared) == 0 or abs(_area(shared, (10.0, 0.0))) < 1e-12


@pytest.mark.parametrize("mirrored", [False, True])
def test_outline_runs_anticlockwise_through_the_outer_corners(tmp_path: Path, *, mirrored: bool) -> None:
    wcs = _chip(tmp_path / "a_flc.fits")
    if mirrored:
        wcs = replace(wcs, cd=((-wcs.cd[0][0], -wcs.cd[0][1]), wcs.cd[1]))
    outline = chip_outline(wcs)
    centre = tuple(float(v[0]) for v in to_sky(outline.mean(axis=0)[None]))
    assert _area(outline, (centre[0], centre[1])) > 0.0
    corners = sky_to_chip(wcs, *to_sky(outline))
    found = {tuple(v) for v in np.round(corners, 6).tolist()}
    assert found == {(-0.5, -0.5), (96.5, -0.5), (96.5, 59.5), (-0.5, 59.5)}
    cap, radius = bounding_cap(outline)
    distance = np.arcsin(np.linalg.norm(np.cross(outline, cap), axis=1))
    assert distance.max() == pytest.approx(radius, rel=1e-6)


def test_peer_outline_has_rows_and_columns_exchanged(tmp_path: Path) -> None:
    # SphericalPolygon.from_wcs(wcs, steps=1) of spherical_geometry 1.3.5 gives, for a chip of 200 rows and
    # 256 columns, the corners (-0.5, -0.5), (199.5, -0.5), (199.5, 255.5), (-0.5, 255.5).
    wcs = replace(_chip(tmp_path / "a_flc.fits", distorted=False), shape_yx=ShapeYX(200, 256))
    corners = sky_to_chip(wcs, *to_sky(chip_outline(wcs, peer=True)))
    found = {tuple(v) for v in np.round(corners, 6).tolist()}
    assert found == {(-0.5, -0.5), (199.5, -0.5), (199.5, 255.5), (-0.5, 255.5)}


@pytest.mark.parametrize("crval", [(150.1, 2.2), (0.0001, -72.0), (12.0, 89.999)])
def test_positions_on_the_chip_invert_the_forward_map(tmp_path: Path, crval: tuple[float, float]) -> None:
    wcs = _chip(tmp_path / "a_flc.fits", crval=crval)
    rng = np.random.default_rng(3)
    x, y = rng.uniform(-20.0, 120.0, 200), rng.uniform(-20.0, 80.0, 200)
    found = sky_to_chip(wcs, *wcs.pixel_to_sky(x, y))
    # Right ascension near 360 degrees has steps of 6e-14 degree: 4e-9 pixel; the iteration stops at 1e-8.
    np.testing.assert_allclose(found, np.stack([x, y], axis=1), rtol=0.0, atol=3e-8)
    coarse = sky_to_chip(wcs, *wcs.pixel_to_sky(x, y), peer=True)
    assert 1e-9 < np.abs(coarse - found).max() < 1e-4


def test_a_distortion_that_folds_over_is_named(tmp_path: Path) -> None:
    wcs = _chip(tmp_path / "a_flc.fits")
    steep = np.zeros((3, 3))
    steep[2, 0] = 0.05
    folded = replace(wcs, sip_a=steep)
    with pytest.raises(WcsError, match="distortion cannot be inverted near RA"), np.errstate(all="ignore"):
        sky_to_chip(folded, *folded.pixel_to_sky(np.array([90.0]), np.array([10.0])))


@pytest.mark.parametrize("centre", CENTRES)
def test_the_index_finds_every_outline_that_may_touch(centre: tuple[float, float]) -> None:
    rng = np.random.default_rng(3)
    outlines = [_quadrilateral(rng, centre, shift) for shift in rng.uniform(0.0, 0.3, 60)]
    outlines += [_quadrilateral(rng, (centre[0] + 90.0, -centre[1]), 0.0)]
    caps = [bounding_cap(outline) for outline in outlines]
    index = OutlineIndex(outlines)
    for i, (middle, radius) in enumerate(caps):
        expected = [
            j
            for j, (other, reach) in enumerate(caps)
            if np.arccos(np.clip(middle @ other, -1.0, 1.0)) <= radius + reach
        ]
        assert index.near(i).tolist() == expected
        assert i in expected
    assert index.near(60).tolist() == [60]
