"""Coordinate maps that the user programs (argument ``wcsmap`` of AstroDrizzle).

A map is sampled at nodes every few pixels of each chip and carried on as a table of offsets in the chip,
bilinear between nodes; everything after it, from tiles to blotting, works as with any other distortion.
Covers maps that name the same place of the sky in both output frames. Does not cover maps that depend on
the frame in another way: they are refused.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS

from mosaic.errors import ParameterError
from mosaic.exposure.model import Chip, Exposure
from mosaic.exposure.storage import open_fits
from mosaic.geometry.frames import RunGrids
from mosaic.geometry.grid import OutputGrid
from mosaic.geometry.pixmap import build_homography, map_pixels
from mosaic.geometry.wcs import ChipWcs
from mosaic.types import DoubleArray

DEFAULT_STEP: Final = 10
"""Pixels between nodes when `stepsize` is 0."""
_TOLERANCE_PX: Final = 0.01
"""Largest disagreement of a map between the two output frames, output pixels."""
_CHECK_POINTS: Final = 7


class PixelMapping(Protocol):
    """What a user's class must offer: made of two WCS, maps 1-based pixels to 1-based pixels."""

    def forward(self, pixx: DoubleArray, pixy: DoubleArray) -> tuple[Any, Any]:
        """Return output positions of input positions, both FITS 1-based."""


MappingFactory = Callable[[Any, Any], PixelMapping]


class WCSMap:
    """The exact map through astropy: `PYTHON_WCSMAP` of DrizzlePac.

    Parameters
    ----------
    input : WCS
        Chip, all distortions included.
    output : WCS
        Frame; only its linear terms are used.
    origin : int
        Number of the first pixel.
    """

    def __init__(self, input: WCS, output: WCS, origin: int = 1) -> None:  # noqa: A002  (DrizzlePac's name)
        self.input = input
        self.output = output
        self.origin = origin

    def forward(self, pixx: DoubleArray, pixy: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
        """Return output positions of chip positions."""
        sky = self.input.all_pix2world(pixx, pixy, self.origin)
        x, y = self.output.wcs_world2pix(*sky, self.origin)
        return x, y

    def backward(self, pixx: DoubleArray, pixy: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
        """Return chip positions of output positions."""
        sky = self.output.wcs_pix2world(pixx, pixy, self.origin)
        x, y = self.input.all_world2pix(*sky, self.origin)
        return x, y


def remapper(factory: MappingFactory, step: int) -> Callable[[Sequence[Exposure], RunGrids], list[Exposure]]:
    """Make the function that replaces the distortion of all chips by samples of the user's map.

    Parameters
    ----------
    factory : callable (input_wcs, output_wcs) -> object with ``forward(x, y)``
        The user's class. Both arguments are astropy WCS objects with the attributes ``pscale``,
        ``orientat``, ``naxis1``, ``naxis2`` (and ``filename``, ``extname`` for the input) of the HSTWCS that
        DrizzlePac gives.
    step : int
        Pixels between nodes; 0 takes `DEFAULT_STEP`.
    """

    def remap(exposures: Sequence[Exposure], grids: RunGrids) -> list[Exposure]:
        return [_remap_exposure(exposure, grids, factory, step or DEFAULT_STEP) for exposure in exposures]

    return remap


def _remap_exposure(exposure: Exposure, grids: RunGrids, factory: MappingFactory, step: int) -> Exposure:
    digest = hashlib.sha256(exposure.fingerprint.encode())
    chips = []
    for chip in exposure.chips:
        wcs = _sampled_wcs(chip, grids, factory, step)
        digest.update(wcs.npol_x.tobytes() + wcs.npol_y.tobytes())
        chips.append(replace(chip, wcs=wcs))
    return replace(exposure, chips=tuple(chips), fingerprint=digest.hexdigest())


def _sampled_wcs(chip: Chip, grids: RunGrids, factory: MappingFactory, step: int) -> ChipWcs:
    """Chip with the offsets that the map implies as its only distortion."""
    source = _input_wcs(chip)
    grid = grids.final
    ny, nx = chip.shape_yx
    # Nodes from FITS pixel 0 to beyond the last edge, so that every drop corner lies between some.
    x1 = np.arange(nx // step + 2, dtype=np.float64) * step
    y1 = np.arange(ny // step + 2, dtype=np.float64) * step
    node_y, node_x = np.meshgrid(y1, x1, indexing="ij")
    u, v = _to_chip_plane(_evaluate(factory, source, grid, chip, node_x, node_y), chip.wcs, grid)
    axes = np.tile(np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0]), (4, 1))
    axes[:2, 2] = axes[:2, 5] = float(step)
    sampled = replace(
        chip.wcs.without_distortion(),
        npol_x=np.ascontiguousarray(u - (node_x - chip.wcs.crpix_xy[0])),
        npol_y=np.ascontiguousarray(v - (node_y - chip.wcs.crpix_xy[1])),
        table_axes=axes,
    )
    if grids.separate != grid:
        _require_same_sky(factory, source, chip, sampled, grids.separate)
    return sampled


def _evaluate(
    factory: MappingFactory, source: WCS, grid: OutputGrid, chip: Chip, x1: DoubleArray, y1: DoubleArray
) -> DoubleArray:
    """0-based output positions (2, …) of FITS 1-based chip positions."""
    found = factory(source, _output_wcs(grid)).forward(x1.ravel().copy(), y1.ravel().copy())
    out = np.stack([np.asarray(axis, dtype=np.float64).reshape(x1.shape) for axis in found]) - 1.0
    if not np.isfinite(out).all():
        raise ParameterError(
            f"wcsmap returned positions that are not finite for {chip.name}; it must reach one step "
            "around the chip"
        )
    return out


def _to_chip_plane(out_xy: DoubleArray, wcs: ChipWcs, grid: OutputGrid) -> tuple[DoubleArray, DoubleArray]:
    """Offsets from the reference pixel of the chip that an undistorted chip has at output positions."""
    back = np.linalg.inv(build_homography(wcs, grid))
    x, y = out_xy
    weight = back[2, 0] * x + back[2, 1] * y + back[2, 2]
    u = (back[0, 0] * x + back[0, 1] * y + back[0, 2]) / weight
    v = (back[1, 0] * x + back[1, 1] * y + back[1, 2]) / weight
    return u, v


def _require_same_sky(
    factory: MappingFactory, source: WCS, chip: Chip, sampled: ChipWcs, grid: OutputGrid
) -> None:
    """Refuse a map that means another place of the sky in the frame of the separate drizzles."""
    ny, nx = chip.shape_yx
    y, x = np.meshgrid(
        np.linspace(0.0, ny - 1.0, _CHECK_POINTS), np.linspace(0.0, nx - 1.0, _CHECK_POINTS), indexing="ij"
    )
    expected = _evaluate(factory, source, grid, chip, x + 1.0, y + 1.0)
    off = float(np.max(np.hypot(*(expected - np.stack(map_pixels(sampled, grid, x, y))))))
    if off > _TOLERANCE_PX:
        raise ParameterError(
            f"wcsmap names places of the sky in {chip.name} that differ by {off:.3g} pixels between the "
            "final frame and that of the separate drizzles; give both the same frame (driz_sep_* and final_*)"
        )


def _input_wcs(chip: Chip) -> WCS:
    """WCS of a chip as astropy reads it, with what HSTWCS adds."""
    with warnings.catch_warnings(), open_fits(chip.sci.path) as hdul:
        warnings.simplefilter("ignore", AstropyWarning)
        header = hdul[chip.hdu_index].header
        wcs = WCS(header, hdul)
    wcs.idcscale = wcs.pscale = chip.idcscale_arcsec
    wcs.orientat = float(np.degrees(np.arctan2(chip.wcs.cd[0][1], chip.wcs.cd[1][1])))
    wcs.naxis2, wcs.naxis1 = chip.shape_yx
    wcs.filename, wcs.extname = chip.path, ("SCI", chip.extver)
    wcs.instrument, wcs.detector = chip.instrument, chip.detector
    return wcs


def _output_wcs(grid: OutputGrid) -> WCS:
    """WCS of an output frame, with what HSTWCS adds."""
    header = fits.Header(grid.to_header_cards())
    header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = 2, grid.shape_yx.nx, grid.shape_yx.ny
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        wcs = WCS(header)
    wcs.pscale, wcs.orientat = grid.scale_arcsec, grid.orientat_deg
    wcs.naxis2, wcs.naxis1 = grid.shape_yx
    return wcs
