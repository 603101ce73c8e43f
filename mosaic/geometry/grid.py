"""The output frame: default from the exposures, custom by the user, or a reference image.

Covers the frame rules of AstroDrizzle (DrizzlePac Handbook, output frames) so that the frames agree
to rounding. Does not cover other projections than TAN. An `OutputGrid` is plain numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from astropy.io import fits

from mosaic.errors import ParameterError, WcsError
from mosaic.geometry.tangent import (
    Matrix2,
    PairXY,
    local_roll_deg,
    plane_to_sky,
    sky_to_plane,
    spherical_midpoint,
)
from mosaic.geometry.wcs import ChipWcs, header_number
from mosaic.types import DoubleArray, ShapeYX

Padding = Literal["peer", "edges"]
_SAME_SCALE: Final = 10.0 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class OutputGrid:
    """A TAN frame without distortion."""

    shape_yx: ShapeYX
    """Rows and columns."""
    crpix_xy: PairXY
    """Reference pixel, FITS 1-based."""
    crval_deg: PairXY
    """Tangent point, degrees."""
    cd: Matrix2
    """CD matrix, degrees per pixel."""
    wcsname: str = ""
    """WCSNAME."""
    pscale_arcsec: float | None = None
    """Pixel scale as the user gave it; None: from the CD matrix."""
    rot_deg: float | None = None
    """Orientation as the user gave it; None: from the CD matrix."""

    @property
    def scale_arcsec(self) -> float:
        """Pixel scale, arcsec: as requested, else from the first column of the CD matrix."""
        if self.pscale_arcsec is not None:
            return self.pscale_arcsec
        return math.sqrt(self.cd[0][0] ** 2 + self.cd[1][0] ** 2) * 3600.0

    @property
    def orientat_deg(self) -> float:
        """Position angle of +y east of north, degrees: as requested, else from the CD matrix."""
        if self.rot_deg is not None:
            return self.rot_deg
        return math.degrees(math.atan2(self.cd[0][1], self.cd[1][1]))

    def sky_to_pixel(self, ra_deg: DoubleArray, dec_deg: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
        """0-based positions x, y of sky positions in degrees; NaN 90 degrees or more from the tangent."""
        pixel = _project(self.cd, self.crval_deg, ra_deg, dec_deg)
        return pixel[0] + (self.crpix_xy[0] - 1.0), pixel[1] + (self.crpix_xy[1] - 1.0)

    def pixel_to_sky(self, x: DoubleArray, y: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
        """Sky positions, degrees, of 0-based pixel positions."""
        u = np.asarray(x, dtype=np.float64) - (self.crpix_xy[0] - 1.0)
        v = np.asarray(y, dtype=np.float64) - (self.crpix_xy[1] - 1.0)
        (cd11, cd12), (cd21, cd22) = self.cd
        return plane_to_sky(cd11 * u + cd12 * v, cd21 * u + cd22 * v, self.crval_deg)

    def to_header_cards(self) -> list[tuple[str, str | float | int, str]]:
        """FITS cards (keyword, value, comment) of the frame, without NAXIS."""
        (cd11, cd12), (cd21, cd22) = self.cd
        cards: list[tuple[str, str | float | int, str]] = [
            ("WCSAXES", 2, "number of World Coordinate System axes"),
            ("CRPIX1", self.crpix_xy[0], "x-coordinate of reference pixel"),
            ("CRPIX2", self.crpix_xy[1], "y-coordinate of reference pixel"),
            ("CRVAL1", self.crval_deg[0], "first axis value at reference pixel"),
            ("CRVAL2", self.crval_deg[1], "second axis value at reference pixel"),
            ("CTYPE1", "RA---TAN", "the coordinate type for the first axis"),
            ("CTYPE2", "DEC--TAN", "the coordinate type for the second axis"),
            ("CD1_1", cd11, "partial of first axis coordinate w.r.t. x"),
            ("CD1_2", cd12, "partial of first axis coordinate w.r.t. y"),
            ("CD2_1", cd21, "partial of second axis coordinate w.r.t. x"),
            ("CD2_2", cd22, "partial of second axis coordinate w.r.t. y"),
            ("ORIENTAT", self.orientat_deg, "position angle of image y axis (deg. e of n)"),
            ("VAFACTOR", 1.0, "velocity aberration plate scale factor"),
        ]
        return cards + ([("WCSNAME", self.wcsname, "coordinate system title")] if self.wcsname else [])


@dataclass(frozen=True, slots=True)
class CustomFrame:
    """What the user asks of a frame (`final_*` or `driz_sep_*`); None: keep."""

    rot: float | None = None
    """Position angle of output +y, degrees east of north."""
    scale: float | None = None
    """Pixel scale, arcsec."""
    outnx: float | None = None
    """Columns; both or neither of outnx, outny."""
    outny: float | None = None
    """Rows."""
    ra: float | None = None
    """Right ascension of the reference pixel, degrees; both or neither of ra, dec."""
    dec: float | None = None
    """Declination of the reference pixel, degrees."""
    crpix1: float | None = None
    """Reference pixel along x, FITS 1-based; both or neither of crpix1, crpix2."""
    crpix2: float | None = None
    """Reference pixel along y."""

    def __post_init__(self) -> None:
        for first, second in (("outnx", "outny"), ("ra", "dec"), ("crpix1", "crpix2")):
            given = (getattr(self, first) is not None, getattr(self, second) is not None)
            if given[0] != given[1]:
                raise ParameterError(
                    f"{first} and {second} belong together: {first}={getattr(self, first)}, "
                    f"{second}={getattr(self, second)}; give both or neither"
                )
        if self.scale is not None and not self.scale > 0.0:
            raise ParameterError(f"scale={self.scale} must be positive (arcsec per pixel)")


def default_grid(
    chip_wcs: Sequence[ChipWcs], *, coeffs: bool = True, padding: Padding = "peer"
) -> OutputGrid:
    """Build the frame that holds all chips, oriented and scaled like the first.

    Parameters
    ----------
    chip_wcs : sequence of ChipWcs
        Active chips in processing order.
    coeffs : bool
        False: ignore distortion.
    padding : {"peer", "edges"}
        "peer": the extreme corner centres fall on the first pixel of each axis, as DrizzlePac does
        (up to half an input pixel and any bulge of the edges is cut); "edges": no flux is cut.
    """
    if not chip_wcs:
        raise ParameterError("no chip to build an output frame from; give at least one exposure")
    chips = list(chip_wcs) if coeffs else [wcs.without_distortion() for wcs in chip_wcs]
    first = chips[0]
    if not coeffs and len(chips) == 1 and padding == "peer":
        grid = OutputGrid(first.shape_yx, first.crpix_xy, first.crval_deg, first.cd, first.wcsname)
        return replace(grid, cd=_perfect_cd(grid.cd))
    corners = [wcs.corners_sky() for wcs in chips]
    ra, dec = np.concatenate([c[0] for c in corners]), np.concatenate([c[1] for c in corners])
    crval = spherical_midpoint(ra, dec)
    cd = _orthogonal_cd(first) if coeffs else first.cd
    if padding == "edges":
        outlines = [wcs.outline_sky() for wcs in chips]
        ra, dec = np.concatenate([c[0] for c in outlines]), np.concatenate([c[1] for c in outlines])
        # The final CD differs from the provisional one when distortion is ignored.
        cd = _perfect_cd(cd)
    plane = _project(cd, crval, ra, dec)
    if not np.isfinite(plane).all():
        raise ParameterError(
            "the exposures spread over 90 degrees or more of sky, which one tangent frame cannot hold; "
            "split the list"
        )
    nx, ny = (max(1, math.ceil(float(axis.max() - axis.min()))) for axis in plane)
    crpix = (nx / 2.0, ny / 2.0)
    # 0-based position of the lowest corner, then the (1-based) position that must move onto CRPIX.
    edge = 0.5 if padding == "edges" else 0.0
    shifted = [c + (float(((axis + c) - 1.0).min()) + edge) for c, axis in zip(crpix, plane, strict=True)]
    u, v = shifted[0] - crpix[0], shifted[1] - crpix[1]
    ra0, dec0 = plane_to_sky(
        np.array([cd[0][0] * u + cd[0][1] * v]), np.array([cd[1][0] * u + cd[1][1] * v]), crval
    )
    return OutputGrid(ShapeYX(ny, nx), crpix, (float(ra0[0]), float(dec0[0])), _perfect_cd(cd), first.wcsname)


def custom_grid(base: OutputGrid, frame: CustomFrame) -> OutputGrid:
    """Change a frame as the user asks; a frame without requests is `base`.

    Orientation and scale change about the reference pixel; the size follows unless it is given.
    """
    ratio = None
    if frame.scale is not None and abs(frame.scale - base.scale_arcsec) > _SAME_SCALE * base.scale_arcsec:
        ratio = base.scale_arcsec / frame.scale
    turn = None
    if frame.rot is not None and base.orientat_deg != frame.rot:
        turn = base.orientat_deg - frame.rot
    shape, crpix = _custom_size(base, frame, ratio, turn)
    if frame.crpix1 is not None and frame.crpix2 is not None:
        crpix = (float(frame.crpix1), float(frame.crpix2))
    crval = base.crval_deg
    if frame.ra is not None and frame.dec is not None:
        crval = (float(frame.ra), float(frame.dec))
    cd = np.array(base.cd)
    if ratio is not None:
        cd = cd / ratio
    if turn is not None:
        cd = cd @ _rotation(turn)
    return OutputGrid(
        shape_yx=shape,
        crpix_xy=crpix,
        crval_deg=crval,
        cd=_matrix(cd),
        wcsname=base.wcsname,
        pscale_arcsec=base.pscale_arcsec if ratio is None else frame.scale,
        rot_deg=base.rot_deg if turn is None else base.orientat_deg - turn,
    )


def reference_grid(reference: str | Path) -> OutputGrid:
    """Take the linear WCS and the size of an image; its distortion, if any, is ignored.

    Parameters
    ----------
    reference : str or Path
        ``file``, ``file[n]``, ``file[name]`` or ``file[name,ver]``; without an extension the first
        HDU that has CRVAL1 and a CD matrix is used.
    """
    text = str(reference).strip()
    path, extension = text, ""
    if text.endswith("]") and "[" in text:
        path, extension = text[:-1].rsplit("[", 1)
    if not Path(path).is_file():
        raise ParameterError(f"reference image {path!r} does not exist; correct final_refimage")
    try:
        with fits.open(path, memmap=False) as hdul:
            index = _reference_hdu(hdul, extension, text)
            wcs = ChipWcs.from_hdulist(hdul, index, exposure=text).without_distortion()
    except (OSError, WcsError) as error:
        raise ParameterError(f"reference image {text!r} cannot be used: {error}") from error
    if min(wcs.shape_yx) < 1:
        raise ParameterError(f"reference image {text!r} has no size (NAXIS1, NAXIS2); give one with pixels")
    return OutputGrid(wcs.shape_yx, wcs.crpix_xy, wcs.crval_deg, wcs.cd, wcs.wcsname)


def _reference_hdu(hdul: fits.HDUList, extension: str, text: str) -> int:
    """Index of the wanted HDU."""
    if not extension:
        for index, hdu in enumerate(hdul):
            if header_number(hdu.header, "CRVAL1") is not None and "CD1_1" in hdu.header:
                return index
        raise ParameterError(
            f"reference image {text!r} has no extension with CRVAL1 and a CD matrix; name another"
        )
    name, _, version = extension.partition(",")
    key: Any = int(name) if name.strip().isdigit() else (name.strip(), int(version or 1))
    try:
        return int(hdul.index_of(key))
    except (KeyError, ValueError) as error:
        raise ParameterError(f"reference image {text!r} has no extension {extension!r}") from error


def _custom_size(
    base: OutputGrid, frame: CustomFrame, ratio: float | None, turn: float | None
) -> tuple[ShapeYX, PairXY]:
    """Size and reference pixel that follow from the request."""
    ny, nx = base.shape_yx
    crpix = np.array(base.crpix_xy)
    if frame.outnx is not None and frame.outny is not None:
        shape = ShapeYX(_round_away(frame.outny), _round_away(frame.outnx))
        if min(shape) < 1:
            raise ParameterError(
                f"outnx={frame.outnx}, outny={frame.outny}: the frame must have at least one pixel"
            )
        return shape, ((shape.nx + 1.0) / 2.0, (shape.ny + 1.0) / 2.0)
    if turn is not None:
        corners = np.array([[0.5, 0.5], [nx + 0.5, 0.5], [0.5, ny + 0.5], [nx + 0.5, ny + 0.5]]) - crpix
        if ratio is not None:
            corners = corners * ratio
        turned = corners @ _rotation(turn)
        low, high = turned.min(axis=0), turned.max(axis=0)
        columns, rows = (max(1, math.ceil(float(extent))) for extent in high - low)
        return ShapeYX(rows, columns), (float(-low[0] + 0.5), float(-low[1] + 0.5))
    if ratio is not None:
        moved = 1.0 + ratio * (crpix - 1.0)
        shape = ShapeYX(max(1, math.ceil(ratio * ny)), max(1, math.ceil(ratio * nx)))
        return shape, (float(moved[0]), float(moved[1]))
    return base.shape_yx, base.crpix_xy


def _orthogonal_cd(first: ChipWcs) -> Matrix2:
    """Square CD matrix with the scale and orientation of the first chip.

    With IDCV2REF the orientation comes from PA_V3, not from the CD matrix: an alignment that
    rotated the WCS does not rotate the default frame.
    """
    scale = first.natural_scale_arcsec / 3600.0
    if first.idcv2ref is not None and first.idcv3ref is not None and first.pa_v3 is not None:
        roll = local_roll_deg(first.pa_v3, first.crval_deg[1], first.idcv2ref, first.idcv3ref)
        angle = math.radians(roll + (first.idctheta or 0.0))
        turned = np.array(
            [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
        ) @ np.array(first.parity)
        rot, determinant = (
            math.atan2(turned[0, 1], turned[1, 1]),
            float(np.linalg.det(np.array(first.parity))),
        )
    else:
        rot = math.atan2(first.cd[0][1], first.cd[1][1])
        determinant = float(np.linalg.det(np.array(first.cd)))
    par = -1.0 if determinant < 0.0 else 1.0
    sine, cosine = math.sin(rot), math.cos(rot)
    return (scale * (par * cosine), scale * sine), (scale * (-par * sine), scale * cosine)


def _perfect_cd(cd: Matrix2) -> Matrix2:
    """Square CD matrix with east to the left, of the same scale (first column) and orientation."""
    pscale = math.sqrt(cd[0][0] ** 2 + cd[1][0] ** 2) * 3600.0
    orientat = math.radians(math.degrees(math.atan2(cd[0][1], cd[1][1])))
    scale = pscale / 3600.0
    sine, cosine = math.sin(orientat), math.cos(orientat)
    return (scale * -cosine, scale * sine), (scale * sine, scale * cosine)


def _project(cd: Matrix2, crval_deg: PairXY, ra_deg: DoubleArray, dec_deg: DoubleArray) -> DoubleArray:
    """Pixel offsets (2, n) from the reference pixel of sky positions."""
    (cd11, cd12), (cd21, cd22) = cd
    xi, eta = sky_to_plane(
        np.asarray(ra_deg, dtype=np.float64), np.asarray(dec_deg, dtype=np.float64), crval_deg
    )
    determinant = cd11 * cd22 - cd12 * cd21
    return np.stack([(cd22 * xi - cd12 * eta) / determinant, (cd11 * eta - cd21 * xi) / determinant])


def _rotation(angle_deg: float) -> DoubleArray:
    """Rotation applied to row vectors."""
    angle = math.radians(angle_deg)
    return np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])


def _matrix(values: DoubleArray) -> Matrix2:
    return (float(values[0, 0]), float(values[0, 1])), (float(values[1, 0]), float(values[1, 1]))


def _round_away(value: float) -> int:
    """Round half away from zero."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))
