"""Where each exposure looks: dither patterns, roll, unrecorded errors, and the sky of each chip.

Covers the tangent-plane WCS of a chip (CRVAL, CD) and the projection of sky positions. Does not cover
distortion (`optics`).

A point of the focal plane at offset ``d`` (V2, V3 arcsec) from the aperture lies in the plane tangent
at the target at ``(xi, eta) = va R(p) d``, with xi to the east, p the local position angle of V3,
``R(p) = [[cos p, sin p], [-sin p, cos p]]`` and va the velocity aberration factor. An unrecorded roll
is added to p and an unrecorded shift to (xi, eta); the header WCS is made without both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mosaic.simulate.detectors import DetectorFacts
from mosaic.simulate.optics import ChipOptics
from mosaic.simulate.params import SimulateParams
from mosaic.simulate.randomness import generator
from mosaic.types import DoubleArray

ARCSEC = 3600.0
_BOX4_PX = ((0.0, 0.0), (4.0, 1.5), (2.5, 4.25), (-1.5, 2.75))
_OVERHEAD_S = 160.0
_GAP_STEP_PX = 60.5
_GAP_FULL_PX = 50.0


@dataclass(frozen=True, slots=True)
class Pointing:
    """Attitude of one exposure."""

    index: int
    """Number of the exposure within the set, from 0."""
    rootname: str
    """Nine-letter root name."""
    field: int
    """Number of the field of a mosaic, from 0."""
    step: int
    """Number of the dither step within the field, from 0."""
    postarg_xy_arcsec: tuple[float, float]
    """Offset along the detector axes, arcsec (POSTARG1, POSTARG2)."""
    pa_v3_deg: float
    """Position angle of V3 at the telescope axis (PA_V3)."""
    pa_local_deg: float
    """Position angle of V3 at the aperture."""
    shift_arcsec: tuple[float, float]
    """Unrecorded shift to the east and north, arcsec."""
    roll_error_deg: float
    """Unrecorded roll about the target, degrees."""
    vafactor: float
    """Velocity aberration factor."""
    expstart_mjd: float
    """Start of the exposure, MJD."""


@dataclass(frozen=True, slots=True)
class TangentWcs:
    """Sky of one chip: CRVAL and CD of its distorted pixel offsets."""

    crval_deg: tuple[float, float]
    """Right ascension and declination of the reference pixel."""
    cd: DoubleArray
    """Degrees per pixel, 2 x 2."""

    @property
    def orientat_deg(self) -> float:
        """Position angle of the y axis (ORIENTAT)."""
        return float(np.degrees(np.arctan2(self.cd[0, 1], self.cd[1, 1])))


def turn(angle_deg: float) -> DoubleArray:
    """Matrix ``[[cos, sin], [-sin, cos]]``."""
    angle = np.radians(angle_deg)
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def plane_to_sky(
    xi_deg: DoubleArray, eta_deg: DoubleArray, center_deg: tuple[float, float]
) -> tuple[DoubleArray, DoubleArray]:
    """Gnomonic tangent-plane position to right ascension and declination, degrees."""
    ra0, dec0 = np.radians(center_deg)
    xi, eta = np.radians(xi_deg), np.radians(eta_deg)
    across = np.cos(dec0) - eta * np.sin(dec0)
    ra = ra0 + np.arctan2(xi, across)
    dec = np.arctan2(np.sin(dec0) + eta * np.cos(dec0), np.hypot(xi, across))
    return np.degrees(ra) % 360.0, np.degrees(dec)


def sky_to_plane(
    ra_deg: DoubleArray, dec_deg: DoubleArray, center_deg: tuple[float, float]
) -> tuple[DoubleArray, DoubleArray]:
    """Right ascension and declination to gnomonic tangent-plane position, degrees; NaN behind."""
    ra0, dec0 = np.radians(center_deg)
    dra, dec = np.radians(ra_deg) - ra0, np.radians(dec_deg)
    depth = np.sin(dec) * np.sin(dec0) + np.cos(dec) * np.cos(dec0) * np.cos(dra)
    depth = np.where(depth > 0.1, depth, np.nan)
    xi = np.cos(dec) * np.sin(dra) / depth
    eta = (np.sin(dec) * np.cos(dec0) - np.cos(dec) * np.sin(dec0) * np.cos(dra)) / depth
    return np.degrees(xi), np.degrees(eta)


def local_position_angle(pa_v3_deg: float, dec_deg: float, v2v3_arcsec: DoubleArray) -> float:
    """Position angle of V3 at a point of the focal plane whose declination is known.

    The triangle telescope axis, point, pole: with rho the distance of the point from the axis and A
    the angle at the point's opposite corner, the angle at the point follows from A, rho and the
    declination (spherical sine and cosine rules).
    """
    v2, v3 = np.radians(v2v3_arcsec / ARCSEC)
    rho = np.hypot(v2, v3)
    if rho < 1e-9:
        return pa_v3_deg
    # Position angle, at the axis, of the direction to the point.
    direction = np.radians(pa_v3_deg) + np.arctan2(v2, v3)
    # The axis lies at the opposite direction; solve its declination from that of the point.
    dec_axis = np.radians(dec_deg)
    for _ in range(20):
        sine = np.sin(dec_axis) * np.cos(rho) + np.cos(dec_axis) * np.sin(rho) * np.cos(direction)
        dec_axis += np.radians(dec_deg) - np.arcsin(sine)
    dra = np.arctan2(
        np.sin(direction) * np.sin(rho) * np.cos(dec_axis),
        np.cos(rho) - np.sin(dec_axis) * np.sin(np.radians(dec_deg)),
    )
    back = np.arctan2(
        np.sin(dra) * np.cos(dec_axis),
        np.sin(np.radians(dec_deg)) * np.cos(dec_axis) * np.cos(dra)
        - np.cos(np.radians(dec_deg)) * np.sin(dec_axis),
    )
    return float(np.degrees(back - np.arctan2(v2, v3))) % 360.0


def dither_offsets_px(params: SimulateParams, facts: DetectorFacts) -> list[tuple[int, int, float, float]]:
    """Field, step and detector offset (x, y pixels) of every exposure, in the order they are taken."""
    ny, nx = facts.chips[0].shape_yx
    columns, rows = params.n_columns_rows
    gap = _GAP_FULL_PX * ny / float(facts.table["shape_yx"][0]) if len(facts.chips) == 2 else 0.0
    across, up = (2, 2) if len(facts.chips) == 4 else (1, len(facts.chips))
    field_x, field_y = 0.9 * across * nx, 0.9 * (up * ny + gap)
    offsets = []
    for number in range(columns * rows):
        column, row = number % columns, number // columns
        x0, y0 = (column - (columns - 1) / 2) * field_x, (row - (rows - 1) / 2) * field_y
        for step in range(params.exposures):
            dx, dy = _dither(params.pattern, step, gap)
            offsets.append((number, step, x0 + dx, y0 + dy))
    return offsets


def _dither(pattern: str, step: int, gap_px: float) -> tuple[float, float]:
    if pattern == "line":
        return 2.5 * step, (gap_px * _GAP_STEP_PX / _GAP_FULL_PX + 0.25 if gap_px else 3.25) * step
    cycle = step // len(_BOX4_PX)
    dx, dy = _BOX4_PX[step % len(_BOX4_PX)]
    return dx + 7.25 * cycle, dy - 5.5 * cycle


def base36(number: int) -> str:
    """Two letters or digits."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return digits[number // 36 % 36] + digits[number % 36]


def plan_pointings(params: SimulateParams, facts: DetectorFacts, exptime_s: float) -> tuple[Pointing, ...]:
    """Attitudes of all exposures of a set."""
    pointings = []
    letter = facts.table["root_letter"]
    for index, (field, step, x, y) in enumerate(dither_offsets_px(params, facts)):
        errors = generator(params.seed, "pointing", index).standard_normal(3)
        pa_v3 = params.pa_v3_deg + index * params.roll_deg
        pointings.append(
            Pointing(
                index=index,
                rootname=f"{letter}{params.program}{base36(field + 1)}{base36(step + 1)}q",
                field=field,
                step=step,
                postarg_xy_arcsec=(x * facts.idcscale_arcsec, y * facts.idcscale_arcsec),
                pa_v3_deg=pa_v3 % 360.0,
                pa_local_deg=local_position_angle(pa_v3, params.target_dec_deg, facts.aperture_v2v3_arcsec),
                shift_arcsec=(
                    float(errors[0]) * params.pointing_rms_arcsec,
                    float(errors[1]) * params.pointing_rms_arcsec,
                ),
                roll_error_deg=float(errors[2]) * params.pointing_roll_rms_deg,
                vafactor=1.0 + 2.5e-5 * float(np.sin(0.9 * index + 0.4)),
                expstart_mjd=params.start_mjd + index * (exptime_s + _OVERHEAD_S) / 86400.0,
            )
        )
    return tuple(pointings)


def chip_wcs(
    optics: ChipOptics,
    facts: DetectorFacts,
    pointing: Pointing,
    target_deg: tuple[float, float],
    *,
    is_true: bool,
) -> TangentWcs:
    """WCS of a chip: as it really was (`is_true`) or as the header says, without the pointing errors."""
    roll = pointing.roll_error_deg if is_true else 0.0
    shift = np.asarray(pointing.shift_arcsec if is_true else (0.0, 0.0))
    rotation = pointing.vafactor * turn(pointing.pa_local_deg + roll)
    aperture = facts.aperture_v2v3_arcsec + facts.axes @ np.asarray(pointing.postarg_xy_arcsec)
    xi, eta = (rotation @ (optics.v2v3_arcsec - aperture) + shift) / ARCSEC
    ra, dec = plane_to_sky(xi, eta, target_deg)
    crval = (float(ra), float(dec))
    # Derivative of the plane tangent at CRVAL by the plane tangent at the target, by central differences.
    h = 1.0 / ARCSEC
    step_xi, step_eta = np.array([h, -h, 0.0, 0.0]), np.array([0.0, 0.0, h, -h])
    xi2, eta2 = sky_to_plane(*plane_to_sky(xi + step_xi, eta + step_eta, target_deg), crval)
    change = np.array([[xi2[0] - xi2[1], xi2[2] - xi2[3]], [eta2[0] - eta2[1], eta2[2] - eta2[3]]]) / (2 * h)
    return TangentWcs(crval, change @ rotation @ optics.focal / ARCSEC)


def sky_to_pixel(
    ra_deg: DoubleArray, dec_deg: DoubleArray, optics: ChipOptics, wcs: TangentWcs
) -> tuple[DoubleArray, DoubleArray]:
    """FITS 1-based positions on a chip; NaN where the chip's model does not reach."""
    xi, eta = sky_to_plane(ra_deg, dec_deg, wcs.crval_deg)
    u, v = np.linalg.inv(wcs.cd) @ np.stack([xi, eta])
    return optics.undistort(u, v)


def pixel_to_sky(
    x: DoubleArray, y: DoubleArray, optics: ChipOptics, wcs: TangentWcs
) -> tuple[DoubleArray, DoubleArray]:
    """Right ascension and declination, degrees, of FITS 1-based positions on a chip."""
    u, v = optics.distort(x, y)
    xi, eta = wcs.cd @ np.stack([u, v])
    return plane_to_sky(xi, eta, wcs.crval_deg)
