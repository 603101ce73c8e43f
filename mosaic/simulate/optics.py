"""Distortion of a chip: pixel to focal plane, its inverse, and the area of every pixel.

Covers D2IM, SIP and NPOL as the FITS distortion conventions combine them:
``x' = x + D2IM(x)``, ``u = x' - CRPIX + SIP(x' - CRPIX) + NPOL(x')``. Does not cover the sky
(`pointing`). Positions are FITS 1-based here. This code is independent of `mosaic.geometry`, so that
a set made with it tests that package.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mosaic.types import DoubleArray, FloatArray, ShapeYX

_AREA_ROWS = 256


@dataclass(frozen=True, slots=True)
class LookupTables:
    """Two look-up tables with a node at FITS pixels 1, 1 + step, 1 + 2 step and so on."""

    values: DoubleArray
    """Displacements dx and dy, pixels, shape (2, ny_nodes, nx_nodes)."""
    step_px: float
    """Distance of the nodes (CDELT of the extension; CRPIX = CRVAL = 1)."""

    def at(self, x: DoubleArray, y: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
        """Displacements at FITS positions, bilinear, constant beyond the edge."""
        ny, nx = self.values.shape[1:]
        fx = np.clip((x - 1.0) / self.step_px, 0.0, nx - 1.0)
        fy = np.clip((y - 1.0) / self.step_px, 0.0, ny - 1.0)
        ix, iy = np.minimum(fx.astype(np.int64), nx - 2), np.minimum(fy.astype(np.int64), ny - 2)
        wx, wy = fx - ix, fy - iy
        table = self.values
        below = table[:, iy, ix] * (1.0 - wx) + table[:, iy, ix + 1] * wx
        above = table[:, iy + 1, ix] * (1.0 - wx) + table[:, iy + 1, ix + 1] * wx
        both = below * (1.0 - wy) + above * wy
        return both[0], both[1]

    def on_grid(self, x: DoubleArray, y: DoubleArray) -> DoubleArray:
        """Displacements on the grid of columns `x` and rows `y`, shape (2, len(y), len(x))."""
        ny, nx = self.values.shape[1:]
        return np.asarray(
            _hat_weights(y, ny, self.step_px) @ self.values @ _hat_weights(x, nx, self.step_px).T
        )


def _hat_weights(position: DoubleArray, n_node: int, step_px: float) -> DoubleArray:
    """Weight of every node at every position of one axis, shape (len(position), n_node)."""
    f = np.clip((position - 1.0) / step_px, 0.0, n_node - 1.0)
    return np.maximum(0.0, 1.0 - np.abs(f[:, None] - np.arange(n_node)[None, :]))


@dataclass(frozen=True, slots=True)
class ChipOptics:
    """Geometry of one chip."""

    extver: int
    """EXTVER of its SCI extension."""
    ccdchip: int
    """CCDCHIP."""
    shape_yx: ShapeYX
    """Rows and columns."""
    crpix_xy: tuple[float, float]
    """Reference pixel, FITS 1-based."""
    v2v3_arcsec: DoubleArray
    """Where the reference pixel lies in the V2, V3 plane, arcsec, shape (2,)."""
    focal: DoubleArray
    """Distorted pixel offset to V2, V3 offset, arcsec per pixel, 2 x 2."""
    idc_linear: tuple[float, ...]
    """Linear part of the polynomial: CX11, CX10, CY11, CY10, arcsec per pixel."""
    idcscale_arcsec: float
    """Nominal pixel scale of the chip (IDCSCALE)."""
    idctheta_deg: float
    """Rotation of the chip in the focal plane (IDCTHETA)."""
    sip_a: DoubleArray
    """SIP A[p, q] of u**p v**q."""
    sip_b: DoubleArray
    """SIP B, likewise."""
    npol: LookupTables | None
    """Fine distortion that is added to SIP."""
    d2im: LookupTables | None
    """Detector correction that comes before SIP."""

    def distort(self, x: DoubleArray, y: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
        """Distorted offset from the reference pixel, pixels, of FITS positions."""
        if self.d2im is not None:
            dx, dy = self.d2im.at(x, y)
            x, y = x + dx, y + dy
        u, v = x - self.crpix_xy[0], y - self.crpix_xy[1]
        u_out = u + np.polynomial.polynomial.polyval2d(u, v, self.sip_a)
        v_out = v + np.polynomial.polynomial.polyval2d(u, v, self.sip_b)
        if self.npol is not None:
            dx, dy = self.npol.at(x, y)
            u_out, v_out = u_out + dx, v_out + dy
        return u_out, v_out

    def undistort(self, u_out: DoubleArray, v_out: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
        """FITS positions whose distorted offsets are given (fixed-point iteration to 1e-10 pixel).

        Far outside the chip the polynomial means nothing: positions there come out as NaN.
        """
        far = 2.0 * max(self.shape_yx)
        is_near = (np.abs(u_out) < far) & (np.abs(v_out) < far)
        u_goal, v_goal = np.where(is_near, u_out, 0.0), np.where(is_near, v_out, 0.0)
        x, y = u_goal + self.crpix_xy[0], v_goal + self.crpix_xy[1]
        for _ in range(60):
            u, v = self.distort(x, y)
            step_x, step_y = u_goal - u, v_goal - v
            x, y = x + np.clip(step_x, -far, far), y + np.clip(step_y, -far, far)
            if x.size == 0 or max(np.max(np.abs(step_x)), np.max(np.abs(step_y))) < 1e-10:
                break
        is_good = is_near & (np.hypot(step_x, step_y) < 1e-6)
        return np.where(is_good, x, np.nan), np.where(is_good, y, np.nan)

    def jacobian(self, x: DoubleArray, y: DoubleArray) -> DoubleArray:
        """Derivative of the V2, V3 position (arcsec) by the pixel position, shape (n, 2, 2)."""
        h = 0.5
        xp, yp = self.distort(x + h, y), self.distort(x, y + h)
        xm, ym = self.distort(x - h, y), self.distort(x, y - h)
        by_x = np.stack([xp[0] - xm[0], xp[1] - xm[1]], axis=-1)
        by_y = np.stack([yp[0] - ym[0], yp[1] - ym[1]], axis=-1)
        return np.asarray(self.focal @ np.stack([by_x, by_y], axis=-1))

    def pixel_area(self) -> FloatArray:
        """Area of every pixel over the nominal area of the chip, shape (ny, nx), float32.

        The four corners are mapped and the quadrilateral's area taken. For speed SIP at the
        D2IM-corrected corner is expanded to first order in the correction and NPOL is taken at the
        uncorrected corner: the area is off by less than 2e-5 of itself.
        """
        ny, nx = self.shape_yx
        unit = abs(float(np.linalg.det(self.focal))) / self.idcscale_arcsec**2
        area = np.empty((ny, nx), dtype=np.float32)
        for y0 in range(0, ny, _AREA_ROWS):
            y1 = min(ny, y0 + _AREA_ROWS)
            edges_y = np.linspace(y0 + 0.5, y1 + 0.5, y1 - y0 + 1)
            u, v = self._corners(np.linspace(0.5, nx + 0.5, nx + 1), edges_y)
            # Half the cross product of the diagonals is the area of a quadrilateral.
            du1, dv1 = u[1:, 1:] - u[:-1, :-1], v[1:, 1:] - v[:-1, :-1]
            du2, dv2 = u[1:, :-1] - u[:-1, 1:], v[1:, :-1] - v[:-1, 1:]
            area[y0:y1] = 0.5 * unit * np.abs(du1 * dv2 - dv1 * du2)
        return area

    def _corners(self, x: DoubleArray, y: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
        u, v = x - self.crpix_xy[0], y - self.crpix_xy[1]
        order = self.sip_a.shape[0] - 1
        power = np.arange(order + 1)
        up, vp = u[:, None] ** power, v[:, None] ** power
        u_by = np.concatenate([np.zeros((u.size, 1)), up[:, :-1] * power[1:]], axis=1)
        v_by = np.concatenate([np.zeros((v.size, 1)), vp[:, :-1] * power[1:]], axis=1)
        u_out, v_out = vp @ self.sip_a.T @ up.T, vp @ self.sip_b.T @ up.T
        if self.d2im is not None:
            dx, dy = self.d2im.on_grid(x, y)
            u_out += dx + (vp @ self.sip_a.T @ u_by.T) * dx + (v_by @ self.sip_a.T @ up.T) * dy
            v_out += dy + (vp @ self.sip_b.T @ u_by.T) * dx + (v_by @ self.sip_b.T @ up.T) * dy
        if self.npol is not None:
            dx, dy = self.npol.on_grid(x, y)
            u_out, v_out = u_out + dx, v_out + dy
        return u_out + u, v_out + v[:, None]
