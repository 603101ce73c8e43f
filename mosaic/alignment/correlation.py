"""Alignment by cross-correlation, for fields whose light is in no point sources: nebulae and galaxies.

Exposures are brought into the frame as medians of blocks of pixels, which cosmic rays do not survive. The
correlation of whole images gives a first offset; then patches all over the overlap are correlated one by one,
and their centres are matches like those of stars: one solution is fitted to them, patches that disagree are
left out, and the images are compared again with it until nothing changes. Does not cover reading pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy import ndimage

from mosaic.alignment.finding import Sources
from mosaic.alignment.fitting import IDENTITY, SMALLEST_SET, Fit, SingularFitError, fit_linear
from mosaic.alignment.images import ChipSources, ImageSources
from mosaic.alignment.result import AlignResult
from mosaic.alignment.settings import AlignSettings
from mosaic.alignment.solution import Solution, frame_positions
from mosaic.alignment.solve import Reference
from mosaic.geometry.grid import OutputGrid
from mosaic.types import BoolArray, DoubleArray, FloatArray

_NODE: Final = 16
"""Cells between exact positions of the map from frame to chip; the distortion between is linear enough."""
_NEWTON_STEPS: Final = 8
_ROUNDS: Final = 8
_SETTLED: Final = 0.003
"""Cells by which a fit may still change."""
_PATCH: Final = (24, 96)
"""Smallest and largest side of a patch, cells."""
_PATCHES_ACROSS: Final = 8
_REACH: Final = 4
"""Cells by which a patch may lie off the solution so far."""
_COVERED: Final = 0.6
_SMOOTH_CELLS: Final = 24.0
"""Light that varies on larger scales (sky, flats) is taken off."""
_CLIP: Final = 12.0
"""Deviations beyond which light counts no more: one bright star must not decide."""
_SPECK_SIGMA: Final = 4.0
_CORRELATED: Final = 0.15
_AGREEING: Final = 0.5
_FEWEST: Final = 4


@dataclass(frozen=True, slots=True)
class _Picture:
    """Light of an image in the cells of the frame, its large scales taken off."""

    light: DoubleArray
    """Zero where nothing is known."""
    is_known: BoolArray


@dataclass(frozen=True, slots=True)
class _Cells:
    """The frame divided into square cells of whole pixels."""

    frame: OutputGrid
    size: int
    """Pixels along a cell."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        return self.frame.shape_yx.ny // self.size, self.frame.shape_yx.nx // self.size

    def positions(self, rows: DoubleArray, columns: DoubleArray) -> DoubleArray:
        """Centres of cells, (n, 2), frame pixels relative to the reference pixel."""
        half = 0.5 * (self.size - 1)
        x = columns * self.size + half - (self.frame.crpix_xy[0] - 1.0)
        y = rows * self.size + half - (self.frame.crpix_xy[1] - 1.0)
        return np.stack([x, y], axis=-1)


def align_by_correlation(
    images: Sequence[ImageSources],
    reference: ImageSources | None,
    frame: OutputGrid,
    settings: AlignSettings,
    radius_px: float,
) -> AlignResult:
    """Align images whose chips hold medians of blocks.

    Parameters
    ----------
    images : sequence of ImageSources
        Images; the first is the reference when there is no other.
    reference : ImageSources, optional
        Reference image.
    frame : OutputGrid
        The reference frame.
    settings : AlignSettings
        Parameters.
    radius_px : float
        Largest first offset per axis, frame pixels.

    Returns
    -------
    AlignResult
        The sources of its images are the centres of the patches that agree.
    """
    cells = _Cells(frame, settings.correlation_block)
    leader = images[0] if reference is None else reference
    target = _sampled(leader, cells, IDENTITY)
    side = int(np.clip(min(cells.shape) // _PATCHES_ACROSS, *_PATCH))
    rows, columns = (
        axis.ravel().astype(np.float64)
        for axis in np.mgrid[side // 2 : cells.shape[0] - side // 2 : side // 2,
                             side // 2 : cells.shape[1] - side // 2 : side // 2]
    )  # fmt: skip
    patches = cells.positions(rows - 0.5, columns - 0.5)
    corners = np.stack([rows, columns], axis=1).astype(np.intp) - side // 2
    found: list[ImageSources] = []
    solutions: list[Solution] = []
    for image in images:
        if image is leader:
            found.append(image)
            solutions.append(Solution(image.path, "reference"))
            continue
        solution, places = _align_image(image, target, cells, (corners, patches, side), settings, radius_px)
        placed, rows_of_places = _with_places(image, frame, places)
        found.append(placed)
        solutions.append(replace(solution, image_rows=rows_of_places))
    return AlignResult(
        frame, tuple(found), tuple(solutions), Reference(patches, (leader.name,) * len(patches))
    )


def _align_image(
    image: ImageSources,
    target: DoubleArray,
    cells: _Cells,
    patches: tuple[np.ndarray, DoubleArray, int],
    settings: AlignSettings,
    radius_px: float,
) -> tuple[Solution, DoubleArray]:
    """Solution of an image, and the places of the patches it rests on as the WCS of the image puts them."""
    nothing = np.empty((0, 2))
    sampled = _sampled(image, cells, IDENTITY)
    if not (np.isfinite(target) & np.isfinite(sampled)).any():
        return Solution(image.path, "not_enough_matches", "no overlap with the reference"), nothing
    one, two = (_picture(values, np.isfinite(values)) for values in (target, sampled))
    first = _whole_shift(one, two, int(np.ceil(radius_px / cells.size)))
    fit = replace(IDENTITY, offset_xy=(np.zeros(2) if first is None else first) * cells.size)
    corners, centres, side = patches
    n_fit = max(_FEWEST, SMALLEST_SET[settings.fitgeometry] + 1)
    kept, moved = np.empty(0, dtype=np.intp), nothing
    for _ in range(_ROUNDS):
        sampled = _sampled(image, cells, fit)
        # Large scales are those of the same cells in both: else each edge bends the light of one alone.
        shared = np.isfinite(target) & np.isfinite(sampled)
        one, two = (_picture(values, shared) for values in (target, sampled))
        kept, shifts, weights = _patch_shifts(one, two, corners, side)
        if len(kept) < n_fit:
            text = (
                f"{len(kept)} of {len(corners)} patches of {side * cells.size} pixels show the same light, "
                f"fewer than {n_fit}; enlarge searchrad, or match sources (method=sources)"
            )
            return Solution(image.path, "not_enough_matches", text, n_matches=len(kept)), nothing
        moved = (centres[kept] + shifts * cells.size) @ fit.matrix + fit.offset_xy
        before = fit
        try:
            fit = fit_linear(
                centres[kept],
                moved,
                settings.fitgeometry,
                nclip=max(1, settings.nclip),
                sigma=settings.sigma,
                weights=weights,
            )
        except SingularFitError as error:
            return Solution(image.path, "singular", f"{error}; choose another fitgeometry"), nothing
        if np.abs(fit.to_reference(moved) - before.to_reference(moved)).max() < _SETTLED * cells.size:
            break
    n_used = int(fit.used.sum())
    spread = max(fit.rms_xy) / cells.size
    if n_used < n_fit or spread > _AGREEING or 2 * n_used < len(kept):
        text = (
            f"patches disagree: {n_used} of {len(kept)} agree, to {spread * cells.size:.2f} pixels rms per "
            "axis; the light may differ between the images, or searchrad be too small"
        )
        return Solution(image.path, "ambiguous", text, n_matches=len(kept)), nothing
    used = kept[fit.used]
    found = Solution(image.path, "aligned", fit=fit, n_matches=len(kept))
    return replace(found, reference_rows=used, reference_xy=centres[used]), moved[fit.used]


def _patch_shifts(
    target: _Picture, picture: _Picture, corners: np.ndarray, side: int
) -> tuple[np.ndarray, DoubleArray, DoubleArray]:
    """Patches that show the same light in both pictures, their shifts in cells (x, y), and their weights.

    The variance of a shift is that of the noise over the bend of the surface at its peak: patches with
    much light tell most.
    """
    window = np.hanning(side + 2)[1:-1]
    taper = window[:, None] * window[None, :]
    wide = (side + 2 * _REACH,) * 2
    kept, shifts, bends = [], [], []
    for number, (row, column) in enumerate(corners):
        place = (slice(row, row + side), slice(column, column + side))
        around = (slice(row - _REACH, row + side + _REACH), slice(column - _REACH, column + side + _REACH))
        weight = taper * target.is_known[place]
        if (target.is_known[place] & picture.is_known[place]).mean() < _COVERED or min(row, column) < _REACH:
            continue
        light, other = target.light[place], picture.light[around]
        if other.shape != wide:
            continue
        # Sum of weighted squared differences for every shift: unlike a plain correlation of cut-outs its
        # minimum is not drawn to zero shift.
        spectra = np.fft.rfft2(np.stack([other, other**2]))
        weights = np.conj(np.fft.rfft2(np.stack([weight * light, weight]), s=wide))
        products, energies = np.fft.irfft2(weights * spectra, s=wide)[:, : 2 * _REACH + 1, : 2 * _REACH + 1]
        own = float((weight * light**2).sum())
        peak = _peak(products - 0.5 * energies - 0.5 * own)
        if peak is None:
            continue
        shift, bend = peak
        at = tuple(np.round(shift[::-1]).astype(int) + _REACH)
        if products[at] > _CORRELATED * np.sqrt(own * energies[at]):
            kept.append(number)
            shifts.append(shift)
            bends.append(bend)
    places = np.array(shifts, dtype=np.float64).reshape(-1, 2)
    return np.array(kept, dtype=np.intp), places, np.array(bends, dtype=np.float64)


def _whole_shift(one: _Picture, two: _Picture, reach: int) -> DoubleArray | None:
    """Shift (x, y) of the second picture at which their correlation is highest, cells; None: at the rim."""
    ny, nx = one.light.shape
    reach = max(1, min(reach, ny // 2 - 2, nx // 2 - 2))
    spectrum = np.conj(np.fft.rfft2(one.light)) * np.fft.rfft2(two.light)
    surface = np.fft.irfft2(spectrum, s=(ny, nx))
    peak = _peak(np.roll(surface, (reach + 1, reach + 1), axis=(0, 1))[: 2 * reach + 3, : 2 * reach + 3])
    return None if peak is None else peak[0]


def _peak(surface: DoubleArray) -> tuple[DoubleArray, float] | None:
    """Highest place (x, y) from the middle of a surface of odd sides, and how much the surface bends there.

    Refined by a parabola per axis.

    None when it lies at the rim.
    """
    side = surface.shape[0]
    row, column = divmod(int(np.argmax(surface)), side)
    if not (0 < row < side - 1 and 0 < column < side - 1):
        return None
    middle = surface[row, column]
    shift, bends = [], []
    for before, after, place in (
        (surface[row, column - 1], surface[row, column + 1], column),
        (surface[row - 1, column], surface[row + 1, column], row),
    ):
        bend = before - 2.0 * middle + after
        if bend >= 0.0:
            return None
        shift.append(place - side // 2 + 0.5 * (before - after) / bend)
        bends.append(-bend)
    return np.array(shift), float(min(bends))


def _sampled(image: ImageSources, cells: _Cells, fit: Fit) -> DoubleArray:
    """Light of an image in the cells, each cell p showing what the WCS of the image puts at p F + offset."""
    total = np.full(cells.shape, np.nan)
    for chip in image.chips:
        values = _sample(chip, cells, fit)
        total = np.where(np.isfinite(total), total, values)
    return total


def _picture(total: DoubleArray, is_known: BoolArray) -> _Picture:
    """Light of the cells that count, its large scales taken off."""
    if not is_known.any():
        return _Picture(np.zeros(total.shape), is_known)
    weight = ndimage.gaussian_filter(is_known.astype(np.float64), _SMOOTH_CELLS, mode="constant")
    filled = np.where(is_known, total, 0.0)
    smooth = ndimage.gaussian_filter(filled, _SMOOTH_CELLS, mode="constant")
    light = np.where(is_known, filled - smooth / np.maximum(weight, 1e-6), 0.0)
    deviation = 1.4826 * float(np.median(np.abs(light[is_known])))
    return _Picture(np.clip(light, -_CLIP * deviation, _CLIP * deviation), is_known)


def _sample(chip: ChipSources, cells: _Cells, fit: Fit) -> DoubleArray:
    """Blocks of a chip interpolated at the cells; NaN off the chip and at blocks without good pixels."""
    if chip.light is None:
        return np.full(cells.shape, np.nan)
    ny, nx = cells.shape
    rows, columns = (np.arange(0, n + _NODE, _NODE, dtype=np.float64) for n in (ny, nx))
    grid_y, grid_x = np.meshgrid(rows, columns, indexing="ij")
    wanted = cells.positions(grid_y.ravel(), grid_x.ravel()) @ fit.matrix + fit.offset_xy
    x, y = _chip_pixels(chip, cells.frame, wanted)
    at = np.mgrid[:ny, :nx] / _NODE
    half = 0.5 * (cells.size - 1)
    block_x, block_y = (
        (ndimage.map_coordinates(values.reshape(grid_x.shape), at, order=1) - half) / cells.size
        for values in (x, y)
    )
    return np.asarray(
        ndimage.map_coordinates(
            _without_specks(chip.light), [block_y, block_x], order=1, mode="constant", cval=np.nan
        )
    )


def _without_specks(light: FloatArray) -> DoubleArray:
    """Blocks with those replaced that stand out of their neighbours: what is left of long cosmic-ray tracks.

    Stars go with them; the light that is compared is wider than a few blocks.
    """
    is_known = np.isfinite(light)
    filled = np.where(is_known, light, np.median(light[is_known]) if is_known.any() else 0.0).astype(
        np.float64
    )
    around = ndimage.median_filter(filled, 5, mode="nearest")
    excess = np.abs(filled - around)
    is_speck = excess > _SPECK_SIGMA * 1.4826 * float(np.median(excess))
    return np.where(is_known, np.where(is_speck, around, filled), np.nan)


def _chip_pixels(
    chip: ChipSources, frame: OutputGrid, wanted: DoubleArray
) -> tuple[DoubleArray, DoubleArray]:
    """0-based pixels of a chip that its WCS puts at positions of the frame; coarse far outside the chip."""
    ny, nx = chip.wcs.shape_yx
    lattice = np.array([[x, y] for x in np.linspace(0, nx - 1, 5) for y in np.linspace(0, ny - 1, 5)])
    lattice_frame = frame_positions(frame, *chip.wcs.pixel_to_sky(*lattice.T))
    linear = fit_linear(lattice_frame, lattice, "general")
    low, high = np.array([-0.2 * nx, -0.2 * ny]), np.array([1.2 * nx, 1.2 * ny])
    pixels = wanted @ linear.matrix + linear.offset_xy
    is_far = np.logical_or.reduce((pixels < low) | (pixels > high), axis=1)[:, None]
    for _ in range(_NEWTON_STEPS):
        inside = np.clip(pixels, low, high)
        left = wanted - frame_positions(frame, *chip.wcs.pixel_to_sky(*inside.T))
        pixels = np.where(is_far, pixels, inside + left @ linear.matrix)
    return pixels[:, 0], pixels[:, 1]


def _with_places(
    image: ImageSources, frame: OutputGrid, places: DoubleArray
) -> tuple[ImageSources, np.ndarray]:
    """Image whose sources are places of the frame, each on the chip nearest to it, and their rows."""
    if not len(places):
        return image, np.empty(0, dtype=np.intp)
    pixels = [np.stack(_chip_pixels(chip, frame, places), axis=1) for chip in image.chips]
    outside = np.stack(
        [
            np.maximum(np.maximum(-xy, xy - [chip.wcs.shape_yx.nx - 1, chip.wcs.shape_yx.ny - 1]), 0.0).sum(
                axis=1
            )
            for chip, xy in zip(image.chips, pixels, strict=True)
        ]
    )
    nearest = outside.argmin(axis=0)
    chips = []
    for number, (chip, xy) in enumerate(zip(image.chips, pixels, strict=True)):
        own = xy[nearest == number]
        sources = Sources.from_positions(own[:, 0], own[:, 1], np.full(len(own), np.nan))
        chips.append(replace(chip, sources=sources))
    rows = np.empty(len(places), dtype=np.intp)
    rows[np.argsort(nearest, kind="stable")] = np.arange(len(places))
    return replace(image, chips=tuple(chips)), rows
