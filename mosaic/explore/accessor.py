"""``dataset.mosaic``: where a dataset is on the sky, cut-outs, pictures, previews and parameter scans.

Works on what `mosaic.open_mosaic` gives and on a finished ``ROOT.mosaic/mosaic.zarr`` opened with xarray,
whole or cut; previews and scans need the former.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import xarray as xr
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable
from astropy.visualization import make_lupton_rgb
from astropy.wcs import WCS
from numpy.typing import NDArray

from mosaic.errors import ParameterError
from mosaic.explore.dataset import dataset_of
from mosaic.explore.session import Session, find_session, sibling
from mosaic.geometry.grid import OutputGrid
from mosaic.geometry.tangent import Matrix2
from mosaic.types import ShapeYX

PREVIEW_TILES: Final = 6
"""Tiles along the longer side of a preview: enough to keep all cores busy."""
SMALLEST_PREVIEW_TILE: Final = 16
COARSE: Final[Mapping[str, object]] = {"final_kernel": "point", "final_err": False, "context": False}
"""Parameters of the product of a preview: a plain average of what lies in each large pixel."""
QUICK: Final[Mapping[str, object]] = {
    **dict.fromkeys(("static", "driz_separate", "median", "blot", "driz_cr"), False),
    "resetbits": "0",
}
"""Further parameters of a preview without rejection: flags of earlier cosmic rays stay."""


@xr.register_dataset_accessor("mosaic")  # type: ignore[no-untyped-call]
class MosaicAccessor:
    """Sky, pictures and further mosaics of a dataset.

    Parameters
    ----------
    dataset : xarray.Dataset
        With coordinates ``y`` and ``x`` in pixels of the frame, one apart, and the frame in the attribute
        ``wcs``.
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    @property
    def grid(self) -> OutputGrid:
        """Frame of the dataset as it is cut."""
        try:
            cards = {name: value for name, value, _comment in self._dataset.attrs["wcs"]}
            x0, y0 = (int(self._dataset[axis][0]) for axis in "xy")
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ParameterError(
                f"this dataset has no frame on the sky ({type(error).__name__}: {error}); use one of "
                "mosaic.open_mosaic(...), or mosaic.zarr of a job folder, and keep its attributes"
            ) from error
        cd: Matrix2 = ((cards["CD1_1"], cards["CD1_2"]), (cards["CD2_1"], cards["CD2_2"]))
        return OutputGrid(
            ShapeYX(self._dataset.sizes["y"], self._dataset.sizes["x"]),
            (cards["CRPIX1"] - x0, cards["CRPIX2"] - y0),
            (cards["CRVAL1"], cards["CRVAL2"]),
            cd,
            cards.get("WCSNAME", ""),
        )

    @property
    def wcs(self) -> WCS:
        """World coordinate system of the dataset as it is cut, 0-based pixels (x, y)."""
        header = fits.Header(self.grid.to_header_cards())
        header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = 2, *reversed(self.grid.shape_yx)
        return WCS(header)

    def cutout(self, centre: SkyCoord, size: Any) -> xr.Dataset:  # noqa: ANN401 (as astropy's Cutout2D)
        """Cut a rectangle out, without computing anything.

        Parameters
        ----------
        centre : SkyCoord
            Where its middle is, to the nearest pixel.
        size : int, Quantity, or pair (height, width) of them
            Sides along y and x, in pixels or as angles.

        Returns
        -------
        xarray.Dataset
            Whatever of the rectangle lies in the dataset.

        Raises
        ------
        ParameterError
            When nothing does, or the size is no size.
        """
        grid = self.grid
        sky = centre.icrs
        x, y = (float(axis[0]) for axis in grid.sky_to_pixel(np.array([sky.ra.deg]), np.array([sky.dec.deg])))
        height, width = (_pixels(side, grid.scale_arcsec) for side in _pair(size))
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ParameterError(f"{centre.to_string('hmsdms')} is 90 degrees or more from the mosaic")
        y0, x0 = round(y - (height - 1) / 2), round(x - (width - 1) / 2)
        shape = grid.shape_yx
        rows, columns = (
            slice(max(0, first), max(0, min(first + side, n)))
            for first, side, n in ((y0, height, shape.ny), (x0, width, shape.nx))
        )
        if rows.start >= rows.stop or columns.start >= columns.stop:
            raise ParameterError(
                f"{centre.to_string('hmsdms')} with {height} x {width} pixels lies outside the mosaic: "
                f"pixel ({x:.0f}, {y:.0f}) of {shape.nx} x {shape.ny}"
            )
        return self._dataset.isel(y=rows, x=columns)

    def footprints(self) -> QTable:
        """Outlines of all chips.

        Returns
        -------
        astropy.table.QTable
            A row a chip: ``exposure``, ``chip`` (EXTVER), ``filters``, ``exptime``, the four ``corners``
            (SkyCoord) of its outer pixel edges, and their positions ``x``, ``y`` in the dataset as it is cut.
        """
        plan = self._session.job.plan
        rows = [(exposure, chip) for exposure in plan.exposures for chip in exposure.chips]
        corners = np.array([_corners(chip.wcs) for _exposure, chip in rows])
        x, y = self.grid.sky_to_pixel(corners[:, 0].ravel(), corners[:, 1].ravel())
        return QTable(
            {
                "exposure": [exposure.rootname for exposure, _chip in rows],
                "chip": [chip.extver for _exposure, chip in rows],
                "filters": [exposure.filters for exposure, _chip in rows],
                "exptime": [chip.exptime_s for _exposure, chip in rows] * units.s,
                "corners": SkyCoord(corners[:, 0], corners[:, 1], unit="deg"),
                "x": np.reshape(x, (-1, 4)),
                "y": np.reshape(y, (-1, 4)),
            }
        )

    def preview(self, factor: int = 16, *, reject: bool = False) -> xr.Dataset:
        """Open the same field in pixels `factor` times as large.

        Parameters
        ----------
        factor : int
            Side of a preview pixel in pixels of the mosaic, 2 or more.
        reject : bool
            Whether cosmic rays are rejected as in the mosaic: this takes the time of everything before its
            final drizzle, and saves that time later. Otherwise only what the exposures themselves flag is
            left out and cosmic rays are merely diluted, within seconds.

        Returns
        -------
        xarray.Dataset
            ``sci`` and ``wht``.
        """
        if factor < 2:
            raise ParameterError(f"factor={factor} must be 2 or more: a preview is coarser than its mosaic")
        session, grid = self._session, self.grid
        side = max(grid.shape_yx) / factor
        tile = max(SMALLEST_PREVIEW_TILE, math.ceil(side / PREVIEW_TILES))
        options = session.options if reject else session.options.model_copy(update={"tile": tile})
        changes = {**COARSE, **({} if reject else QUICK), **_frame_of(grid, factor * grid.scale_arcsec)}
        return dataset_of(sibling(session, changes, shares=reject, options=options))

    def scan(self, **values: Sequence[object]) -> list[xr.Dataset]:
        """Open the field of the dataset, as it is cut, once for every combination of final parameters.

        Everything before the final drizzle (sky, median, cosmic rays) is done once for all of them and for
        the dataset itself.

        Parameters
        ----------
        **values
            Sequences of values by the name of a parameter of the final drizzle, as
            ``final_scale=[0.03, 0.05], final_pixfrac=[0.6, 0.8, 1]``. ``final_scale`` is in arcsec and
            changes the number of pixels, not the field.

        Returns
        -------
        list of xarray.Dataset
            The last parameter varies fastest; each says its values in the attribute ``parameters``.

        Raises
        ------
        ParameterError
            When a name is not one of the final drizzle.
        """
        fixed = {f"final_{part}" for part in ("ra", "dec", "outnx", "outny", "crpix1", "crpix2", "refimage")}
        wrong = [name for name in values if not name.startswith("final_") or name in fixed]
        if wrong or not values:
            raise ParameterError(
                f"cannot scan {', '.join(wrong) or 'nothing'}: give sequences of values of final_scale, "
                "final_pixfrac, final_kernel or other parameters of the final drizzle"
            )
        datasets = []
        for combination in itertools.product(*values.values()):
            chosen = dict(zip(values, combination, strict=True))
            scale = float(str(chosen.get("final_scale", self.grid.scale_arcsec)))
            opened = sibling(self._session, _frame_of(self.grid, scale) | chosen, shares=True)
            datasets.append(dataset_of(opened).assign_attrs(parameters=chosen))
        return datasets

    def rgb(
        self, green: xr.Dataset, blue: xr.Dataset, *, stretch: float | None = None, q: float = 8.0
    ) -> xr.DataArray:
        """Make a colour picture of three filters on one frame, this one being red (Lupton et al. 2004).

        Parameters
        ----------
        green, blue : xarray.Dataset
            The other filters, cut alike.
        stretch : float, optional
            Value of the sky-subtracted images at which the stretch leaves the linear part; by default ten
            times the noise of the blank sky.
        q : float
            Softening of the asinh stretch.

        Returns
        -------
        xarray.DataArray
            Dimensions (y, x, band), uint8; ``.plot.imshow()`` shows it.

        Raises
        ------
        ParameterError
            When the frames differ.
        """
        images = [self._dataset, green, blue]
        grids = [replace(dataset.mosaic.grid, wcsname="") for dataset in images]
        if any(grid != grids[0] for grid in grids):
            raise ParameterError(
                "the three datasets lie on different frames; open them with one final_refimage, "
                "or the same final_ra, final_dec, final_scale, final_rot, final_outnx and final_outny"
            )
        planes = [np.nan_to_num(np.asarray(dataset["sci"].data, dtype=np.float32)) for dataset in images]
        noises = [_noise(plane) for plane in planes]
        scaled = [plane - np.float32(np.median(plane[plane != 0.0])) for plane in planes]
        colours = make_lupton_rgb(*scaled, stretch=stretch or 10.0 * max(noises), Q=q)
        coords = {axis: self._dataset[axis].values for axis in "yx"} | {"band": ["red", "green", "blue"]}
        return xr.DataArray(colours, dims=("y", "x", "band"), coords=coords)

    def plot(self, name: str = "sci") -> Any:  # noqa: ANN401 (matplotlib is optional)
        """Draw a plane with the outlines of the exposures, compass and scale bar.

        Parameters
        ----------
        name : {"sci", "err", "wht", "n_exposures"}
            Which plane.

        Returns
        -------
        matplotlib.figure.Figure
            A notebook shows it.
        """
        from mosaic.quality.preview import draw_preview, draw_weight_map  # noqa: PLC0415 (matplotlib)

        if name not in self._dataset or self._dataset[name].ndim != 2:
            flat = [str(found) for found, array in self._dataset.items() if array.ndim == 2]
            raise ParameterError(f"no plane {name!r} to draw; there are {', '.join(flat)}")
        plane = _LazyPlane(self._dataset[name])
        unit = str(self._dataset[name].attrs.get("units", ""))
        if name in {"wht", "n_exposures"}:
            label = {"wht": "weight (s)", "n_exposures": "exposures"}[name]
            return draw_weight_map(plane, self.grid, label=label)
        outlines = []
        if self._dataset.attrs.get("job"):
            table = self.footprints()
            outlines = [np.column_stack(xy) for xy in zip(table["x"], table["y"], strict=True)]
        return draw_preview(plane, self.grid, footprints=outlines, unit=unit)

    @property
    def _session(self) -> Session:
        return find_session(str(self._dataset.attrs.get("job", "")))


class _LazyPlane:
    """A lazy plane read in bands of rows, so that a picture of a large mosaic needs little memory."""

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array
        self.shape: tuple[int, ...] = array.shape
        self.dtype: np.dtype[Any] = array.dtype

    def rows(self, plane: int, y0: int, y1: int) -> NDArray[Any]:
        """Rows ``y0 <= y < y1``."""
        del plane
        return np.asarray(self._array[y0:y1].data)


def _corners(wcs: Any) -> NDArray[np.float64]:  # noqa: ANN401
    ny, nx = wcs.shape_yx
    return np.array(
        wcs.pixel_to_sky(
            np.array([-0.5, nx - 0.5, nx - 0.5, -0.5]), np.array([-0.5, -0.5, ny - 0.5, ny - 0.5])
        )
    )


def _frame_of(grid: OutputGrid, scale_arcsec: float) -> dict[str, object]:
    """Parameters of a frame over the same field with pixels of another size."""
    ny, nx = grid.shape_yx
    ra, dec = grid.pixel_to_sky(np.array([(nx - 1) / 2]), np.array([(ny - 1) / 2]))
    ratio = grid.scale_arcsec / scale_arcsec
    return {
        "final_wcs": True,
        "final_refimage": "",
        "final_ra": float(ra[0]),
        "final_dec": float(dec[0]),
        "final_rot": grid.orientat_deg,
        "final_scale": scale_arcsec,
        "final_outnx": max(1, round(nx * ratio)),
        "final_outny": max(1, round(ny * ratio)),
        "final_crpix1": None,
        "final_crpix2": None,
    }


def _pair(size: Any) -> tuple[Any, Any]:  # noqa: ANN401
    sides = np.atleast_1d(size)
    if sides.shape not in {(1,), (2,)}:
        raise ParameterError(f"size {size!r} must be one side, or (height, width)")
    return sides[0], sides[-1]


def _pixels(side: Any, scale_arcsec: float) -> int:  # noqa: ANN401
    """Whole pixels of a side given in pixels or as an angle."""
    if isinstance(side, units.Quantity) and side.unit != units.pixel:
        try:
            value = float(side.to_value(units.arcsec)) / scale_arcsec
        except units.UnitConversionError as error:
            raise ParameterError(f"size {side} is neither an angle nor a number of pixels") from error
    else:
        value = float(getattr(side, "value", side))
    if not (math.isfinite(value) and value > 0):
        raise ParameterError(f"size {side} must be positive")
    return max(1, round(value))


def _noise(plane: NDArray[np.float32]) -> float:
    """Robust scatter of the pixels that are there."""
    values = plane[plane != 0.0]
    if values.size == 0:
        return 1.0
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) or 1.0
