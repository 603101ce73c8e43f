"""Regions on the pixels of an image: from the sky to pixels through the distortion, and as masks.

Positions and vertices are mapped exactly. Radii and angles follow the local linear map at the centre;
where that is not a similarity to within `MAX_SHEAR`, boxes become polygons of four vertices and circles
ellipses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np

from mosaic.geometry.wcs import ChipWcs
from mosaic.tools.positions import pixel_to_sky, sky_to_pixel
from mosaic.tools.regions import Region
from mosaic.types import BoolArray, DoubleArray, ShapeYX

MAX_SHEAR: Final = 1e-3
"""Difference of the two scales, relative, up to which a map counts as a similarity."""
_STEP_DEG: Final = 0.1 / 3600.0
Filter = Literal["all", "fast", "precise"]


def to_image(region: Region, wcs: ChipWcs) -> Region | None:
    """Shape in pixels of an image.

    Parameters
    ----------
    region : Region
        Shape on the sky; one in pixels is returned as it is.
    wcs : ChipWcs
        Model of the image.

    Returns
    -------
    Region or None
        None when it lies where the distortion cannot be inverted, and so not on the image.
    """
    if region.frame == "image":
        return region
    ra, dec = (np.array(axis) for axis in zip(*region.points, strict=True))
    if not _near(wcs, ra, dec).all():
        return None
    x, y = sky_to_pixel(wcs, ra, dec)
    if not np.isfinite(x).all():
        return None
    points = tuple(zip(x.tolist(), y.tolist(), strict=True))
    if not region.sizes:
        return replace(region, frame="image", points=points)
    jacobian = local_jacobian(wcs, *region.points[0])
    u, scales, vt = np.linalg.svd(jacobian)
    is_similar = scales[0] - scales[1] <= MAX_SHEAR * scales[1]
    if region.shape == "box" and not is_similar:
        return _box_polygon(region, wcs)
    if region.shape in {"circle", "annulus"} or is_similar:
        return _scaled(region, points, jacobian, (u, scales, vt), is_similar=bool(is_similar))
    half, angle = _sheared_ellipse(jacobian, region.sizes, region.angle_deg)
    return replace(region, frame="image", points=points, sizes=half, angle_deg=angle)


def to_sky(region: Region, wcs: ChipWcs) -> Region:
    """Shape on the sky of one in pixels of a reference image."""
    if region.frame == "sky":
        return region
    x, y = (np.array(axis) for axis in zip(*region.points, strict=True))
    ra, dec = pixel_to_sky(wcs, x, y)
    points = tuple(zip(ra.tolist(), dec.tolist(), strict=True))
    if not region.sizes:
        return replace(region, frame="sky", points=points)
    inverse = np.asarray(np.linalg.inv(local_jacobian(wcs, *points[0])), dtype=np.float64)
    scale = math.sqrt(abs(float(np.linalg.det(inverse))))
    return replace(
        region,
        frame="sky",
        points=points,
        sizes=tuple(size * scale for size in region.sizes),
        angle_deg=_turned(inverse, region),
    )


def local_jacobian(wcs: ChipWcs, ra_deg: float, dec_deg: float) -> DoubleArray:
    """Pixels per degree towards west and towards north at a position, shape (2, 2): columns west, north."""
    west = _STEP_DEG / max(math.cos(math.radians(dec_deg)), 1e-12)
    ra = np.array([ra_deg - west, ra_deg + west, ra_deg, ra_deg])
    dec = np.array([dec_deg, dec_deg, dec_deg + _STEP_DEG, dec_deg - _STEP_DEG])
    x, y = sky_to_pixel(wcs, ra, dec)
    columns = [[x[0] - x[1], x[2] - x[3]], [y[0] - y[1], y[2] - y[3]]]
    return np.array(columns) / (2.0 * _STEP_DEG)


def is_inside(region: Region, shape_yx: ShapeYX, how: Filter) -> bool:
    """Whether a shape in pixels is kept for an image.

    Parameters
    ----------
    region : Region
        Shape in pixels.
    shape_yx : ShapeYX
        Rows and columns of the image.
    how : {"all", "fast", "precise"}
        "all": always; "fast": the box around the shape overlaps the image; "precise": a pixel centre of the
        image or the centre of the shape lies in both.
    """
    if how == "all":
        return True
    (low_x, high_x), (low_y, high_y) = _bounds(region)
    ny, nx = shape_yx
    if low_x > nx + 0.5 or high_x < 0.5 or low_y > ny + 0.5 or high_y < 0.5:
        return False
    if how == "fast" or region.shape in {"point", "text", "line"}:
        return True
    centre_x, centre_y = np.mean(region.points, axis=0)
    on_image = 0.5 <= centre_x <= nx + 0.5 and 0.5 <= centre_y <= ny + 0.5
    return bool(on_image and region.shape != "annulus") or bool(region_mask(region, shape_yx).any())


def region_mask(region: Region, shape_yx: ShapeYX) -> BoolArray:
    """Pixels whose centre lies in a shape; lines, points and texts cover none.

    Parameters
    ----------
    region : Region
        Shape in pixels.
    shape_yx : ShapeYX
        Rows and columns of the image.
    """
    mask = np.zeros(shape_yx, dtype=np.bool_)
    (low_x, high_x), (low_y, high_y) = _bounds(region)
    x0, x1 = max(0, math.floor(low_x) - 1), min(shape_yx.nx, math.ceil(high_x))
    y0, y1 = max(0, math.floor(low_y) - 1), min(shape_yx.ny, math.ceil(high_y))
    if x0 < x1 and y0 < y1:
        y, x = np.meshgrid(np.arange(y0, y1) + 1.0, np.arange(x0, x1) + 1.0, indexing="ij")
        mask[y0:y1, x0:x1] = _contains(region, x, y)
    return mask


def combined_mask(regions: Sequence[Region], shape_yx: ShapeYX) -> BoolArray:
    """Pixels that shapes select, in file order: a shape adds its pixels, one with a minus takes them away.

    Without any shape that adds, all pixels are selected at first.
    """
    selected = np.full(shape_yx, all(region.is_excluded for region in regions), dtype=np.bool_)
    for region in regions:
        inside = region_mask(region, shape_yx)
        selected = selected & ~inside if region.is_excluded else selected | inside
    return selected


def _near(wcs: ChipWcs, ra: DoubleArray, dec: DoubleArray) -> BoolArray:
    """Whether positions are near enough for the distortion to mean something: within two diagonals."""
    ny, nx = wcs.shape_yx
    centre_ra, centre_dec = pixel_to_sky(wcs, np.array([(nx + 1) / 2.0]), np.array([(ny + 1) / 2.0]))
    reach = 2.0 * math.hypot(nx, ny) * wcs.natural_scale_arcsec / 3600.0
    half_ra, half_dec = np.deg2rad(ra - centre_ra) / 2.0, np.deg2rad(dec - centre_dec) / 2.0
    cosines = np.cos(np.deg2rad(dec)) * np.cos(np.deg2rad(centre_dec))
    haversine = np.sin(half_dec) ** 2 + cosines * np.sin(half_ra) ** 2
    near: BoolArray = np.rad2deg(2.0 * np.arcsin(np.sqrt(np.minimum(haversine, 1.0)))) < reach
    return near


def _scaled(
    region: Region,
    points: tuple[tuple[float, float], ...],
    jacobian: DoubleArray,
    parts: tuple[DoubleArray, DoubleArray, DoubleArray],
    *,
    is_similar: bool,
) -> Region:
    """Shape whose sizes are multiplied by the local scale."""
    u, scales, _ = parts
    if region.shape == "circle" and not is_similar:
        angle = math.degrees(math.atan2(u[1, 0], u[0, 0])) % 180.0
        sizes = (region.sizes[0] * scales[0], region.sizes[0] * scales[1])
        return replace(region, shape="ellipse", frame="image", points=points, sizes=sizes, angle_deg=angle)
    scale = math.sqrt(scales[0] * scales[1])
    return replace(
        region,
        frame="image",
        points=points,
        sizes=tuple(float(size * scale) for size in region.sizes),
        angle_deg=_turned(jacobian, region),
    )


def _turned(jacobian: DoubleArray, region: Region) -> float:
    """Direction of the axis of a shape after a linear map, [0, 360); 0 when it has none."""
    if region.shape in {"circle", "annulus"}:
        return 0.0
    angle = math.radians(region.angle_deg)
    x, y = jacobian @ (math.cos(angle), math.sin(angle))
    return math.degrees(math.atan2(y, x)) % 360.0


def _sheared_ellipse(
    jacobian: DoubleArray, half: Sequence[float], angle_deg: float
) -> tuple[tuple[float, ...], float]:
    """Half-axes and angle of the image of an ellipse under a linear map."""
    angle = math.radians(angle_deg)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    u, lengths, _ = np.linalg.svd(jacobian @ turn @ np.diag(half))
    return (float(lengths[0]), float(lengths[1])), math.degrees(math.atan2(u[1, 0], u[0, 0])) % 180.0


def _box_polygon(region: Region, wcs: ChipWcs) -> Region | None:
    """Box on the sky as the polygon of its corners, each mapped through the distortion."""
    (ra, dec), (width, height) = region.points[0], region.sizes
    angle = math.radians(region.angle_deg)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (width / 2.0, height / 2.0)
    west = corners[:, 0] * math.cos(angle) - corners[:, 1] * math.sin(angle)
    north = corners[:, 0] * math.sin(angle) + corners[:, 1] * math.cos(angle)
    x, y = sky_to_pixel(wcs, ra - west / math.cos(math.radians(dec)), dec + north)
    if not np.isfinite(x).all():
        return None
    points = tuple(zip(x.tolist(), y.tolist(), strict=True))
    return replace(region, shape="polygon", frame="image", points=points, sizes=(), angle_deg=0.0)


def _bounds(region: Region) -> tuple[tuple[float, float], tuple[float, float]]:
    """Box around a shape: lowest and highest x, lowest and highest y."""
    points = np.array(region.points)
    reach = np.zeros(2)
    if region.shape in {"circle", "annulus"}:
        reach[:] = max(region.sizes)
    elif region.shape in {"ellipse", "box"}:
        angle = math.radians(region.angle_deg)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        if region.shape == "ellipse":
            reach = np.hypot(*(turn * np.array(region.sizes)).T)
        else:
            reach = np.abs(turn) @ (np.array(region.sizes) / 2.0)
    low, high = points.min(axis=0) - reach, points.max(axis=0) + reach
    return (float(low[0]), float(high[0])), (float(low[1]), float(high[1]))


def _contains(region: Region, x: DoubleArray, y: DoubleArray) -> BoolArray:
    """Where positions lie in a shape, its border included."""
    if region.shape == "polygon":
        return _in_polygon(np.array(region.points), x, y)
    if region.shape in {"point", "text", "line"}:
        return np.zeros(x.shape, dtype=np.bool_)
    dx, dy = x - region.points[0][0], y - region.points[0][1]
    inside: BoolArray
    if region.shape == "circle":
        inside = np.hypot(dx, dy) <= region.sizes[0]
        return inside
    if region.shape == "annulus":
        radius = np.hypot(dx, dy)
        inside = (radius >= min(region.sizes)) & (radius <= max(region.sizes))
        return inside
    angle = math.radians(region.angle_deg)
    along, across = dx * math.cos(angle) + dy * math.sin(angle), dy * math.cos(angle) - dx * math.sin(angle)
    if region.shape == "box":
        inside = (np.abs(along) <= region.sizes[0] / 2.0) & (np.abs(across) <= region.sizes[1] / 2.0)
    else:
        major, minor = (max(size, 1e-300) for size in region.sizes)
        inside = (along / major) ** 2 + (across / minor) ** 2 <= 1.0
    return inside


def _in_polygon(vertices: DoubleArray, x: DoubleArray, y: DoubleArray) -> BoolArray:
    """Even-odd rule: crossings of the ray towards larger x."""
    inside = np.zeros(x.shape, dtype=np.bool_)
    for (xa, ya), (xb, yb) in zip(vertices, np.roll(vertices, -1, axis=0), strict=True):
        if ya != yb:
            crosses = (y < ya) != (y < yb)
            inside ^= crosses & (x < xa + (y - ya) * (xb - xa) / (yb - ya))
    return inside
