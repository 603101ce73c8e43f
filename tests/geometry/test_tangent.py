"""Tangent plane and spherical helpers against astropy and elementary vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mosaic.geometry.tangent import (
    local_roll_deg,
    plane_to_sky,
    sky_to_plane,
    spherical_midpoint,
    tangent_basis,
)


@pytest.mark.parametrize("crval", [(10.0, 0.0), (0.0, 89.9), (359.99, -60.0), (120.0, -90.0)])
def test_plane_and_sky_are_inverse_to_rounding(crval: tuple[float, float]) -> None:
    rng = np.random.default_rng(1)
    xi, eta = rng.uniform(-0.2, 0.2, (2, 1000))
    back = sky_to_plane(*plane_to_sky(xi, eta, crval), crval)
    # 6e-14 degree is the spacing of right ascensions near 360, which the pole turns into less.
    np.testing.assert_allclose(back, (xi, eta), rtol=0.0, atol=1e-13)


def test_projection_is_the_ratio_of_vector_components() -> None:
    rng = np.random.default_rng(2)
    crval = (77.0, -33.0)
    ra, dec = rng.uniform(60.0, 90.0, 200), rng.uniform(-50.0, -20.0, 200)
    a, d = np.deg2rad(ra), np.deg2rad(dec)
    direction = np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    east, north, outward = tangent_basis(crval).T @ direction
    expected = np.rad2deg(np.stack([east, north]) / outward)
    np.testing.assert_allclose(sky_to_plane(ra, dec, crval), expected, rtol=0.0, atol=1e-12)


def test_tiny_offsets_keep_their_relative_precision() -> None:
    offset = 1e-9
    xi, eta = sky_to_plane(np.array([0.0 + offset]), np.array([0.0]), (0.0, 0.0))
    assert xi[0] == pytest.approx(offset, rel=1e-14)
    assert eta[0] == pytest.approx(0.0, abs=1e-20)


def test_basis_is_orthonormal_and_right_handed() -> None:
    basis = tangent_basis((211.0, 54.0))
    np.testing.assert_allclose(basis.T @ basis, np.eye(3), atol=1e-15)
    np.testing.assert_allclose(np.cross(basis[:, 0], basis[:, 1]), basis[:, 2], atol=1e-15)


def test_midpoint_is_right_across_the_origin_and_at_the_pole() -> None:
    ra, dec = spherical_midpoint(np.array([359.0, 1.0]), np.array([10.0, 10.0]))
    assert (ra + 180.0) % 360.0 == pytest.approx(180.0, abs=1e-12)
    assert dec == pytest.approx(
        math.degrees(math.atan(math.tan(math.radians(10.0)) / math.cos(math.radians(1.0))))
    )
    _, pole = spherical_midpoint(np.array([0.0, 90.0, 180.0, 270.0]), np.full(4, 89.0))
    assert pole == pytest.approx(90.0, abs=1e-12)


@pytest.mark.parametrize(
    ("pa_v3", "dec", "v2", "v3", "expected"),
    [
        (10.0, 45.0, -27.4596, -33.2604, 9.990885119464206),
        (337.1, -72.0, 257.152, -302.6, -23.203978371862654),
        (201.0, 10.0, -1.019, 0.1, 201.00004483980086),
        (0.0, 0.0, -200.0, -100.0, 0.0),
    ],
)
def test_local_roll_equals_the_values_recorded_from_stwcs(
    pa_v3: float, dec: float, v2: float, v3: float, expected: Any
) -> None:
    assert local_roll_deg(pa_v3, dec, v2, v3) == pytest.approx(expected, abs=1e-12)


def test_local_roll_is_the_orientation_of_v3_at_the_aperture() -> None:
    v2, v3, dec_v1, roll = 257.0, 302.0, -30.0, 112.5
    east, north, v1 = tangent_basis((0.0, dec_v1)).T
    axis3 = north * math.cos(math.radians(roll)) + east * math.sin(math.radians(roll))
    axis2 = np.cross(axis3, v1)
    a2, a3 = math.radians(v2 / 3600.0), math.radians(v3 / 3600.0)
    aperture = math.cos(a3) * (math.cos(a2) * v1 + math.sin(a2) * axis2) + math.sin(a3) * axis3
    ra, dec = math.degrees(math.atan2(aperture[1], aperture[0])), math.degrees(math.asin(aperture[2]))
    east_here, north_here, _ = tangent_basis((ra, dec)).T
    orientation = math.degrees(math.atan2(axis3 @ east_here, axis3 @ north_here))
    # The standard formula is right to the second order in V2 and V3: (1.5e-3 rad)**2 = 1.2e-4 degree.
    assert local_roll_deg(roll, dec, v2, v3) == pytest.approx(orientation, abs=3e-4)


def test_an_aperture_on_the_axis_has_the_roll_of_the_telescope() -> None:
    assert local_roll_deg(40.0, 12.0, 0.0, 0.0) == 40.0
