"""Files of an alignment: catalogues, matches, shift file, solution, plots.

Names and columns are TweakReg's; the solution is JSON of our own. Does not cover headers of the inputs
(`wcs_update`).
"""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from mosaic.alignment.images import ChipSources, ImageSources
from mosaic.alignment.plots import write_plots
from mosaic.alignment.result import AlignResult
from mosaic.alignment.settings import AlignSettings
from mosaic.alignment.solution import Solution, corrected_sky, corrected_wcs, sky_rms_deg
from mosaic.geometry.grid import OutputGrid
from mosaic.products.partial import write_whole
from mosaic.runlog import LOGGER_NAME
from mosaic.types import DoubleArray

SOLUTION_NAME = "align_solution.json"


@dataclass(frozen=True, slots=True)
class AlignProducts:
    """What the files are made from."""

    frame: OutputGrid
    """The reference frame."""
    images: Sequence[ImageSources]
    """Images in the order of alignment."""
    solutions: Sequence[Solution]
    """Their solutions."""
    reference_xy: DoubleArray
    """Reference catalogue, (n, 2), pixels relative to the reference pixel."""
    reference_origin: Sequence[str]
    """Where each of its sources comes from."""

    @classmethod
    def of(cls, result: AlignResult) -> AlignProducts:
        """What the files of a result are made from."""
        reference = result.reference
        return cls(result.frame, result.images, result.solutions, reference.xy, reference.origin)


def write_products(products: AlignProducts, settings: AlignSettings, folder: Path) -> list[Path]:
    """Write everything that was asked for.

    Parameters
    ----------
    products : AlignProducts
        Results.
    settings : AlignSettings
        What to write.
    folder : Path
        Where.

    Returns
    -------
    list of Path
        Files written.

    Raises
    ------
    OutputError
        When the folder cannot be written.
    """
    written = [_write_text(folder / SOLUTION_NAME, json.dumps(describe(products), indent=1) + "\n")]
    if settings.writecat and not settings.clean:
        xy = products.reference_xy + products.frame.crpix_xy
        reference = _rows("%.6f  %.6f", xy.T)
        for image, solution in zip(products.images, products.solutions, strict=True):
            written += _write_catalogs(folder, image, reference, settings)
            if solution.status == "aligned":
                written += _write_matches(folder, image, solution, products)
        written += _write_lists(folder, products, settings)
    if settings.shiftfile:
        written += _write_shifts(folder, products, settings)
    if settings.see2dplot or settings.residplot != "no plot":
        if importlib.util.find_spec("matplotlib") is None:
            logging.getLogger(LOGGER_NAME).warning("no plots: matplotlib is not installed (extra 'plots')")
        else:
            written += write_plots(products.images, products.solutions, settings, folder)
    return written


def describe(products: AlignProducts) -> dict[str, Any]:
    """Solution as plain data: frame, and for every image its status, fit and new WCS."""
    frame = products.frame
    return {
        "frame": {
            "crpix": list(frame.crpix_xy),
            "crval_deg": list(frame.crval_deg),
            "cd": [list(row) for row in frame.cd],
            "shape_yx": list(frame.shape_yx),
        },
        "images": [
            _describe_image(image, solution, frame)
            for image, solution in zip(products.images, products.solutions, strict=True)
        ],
    }


def _describe_image(image: ImageSources, solution: Solution, frame: OutputGrid) -> dict[str, Any]:
    offset, fit = solution.offset, solution.fit
    about: dict[str, Any] = {
        "file": image.name,
        "path": image.path,
        "status": solution.status,
        "reason": solution.reason,
        "n_sources": len(image),
        "n_fixed_left_out": sum(chip.n_fixed for chip in image.chips),
        "background_sigma": {str(c.extver): None if math.isnan(c.sigma) else c.sigma for c in image.chips},
    }
    if offset is not None:
        about["first_offset"] = {
            "xy_px": list(offset.xy),
            "n_at_peak": offset.n_at_peak,
            "second_peak_ratio": offset.second_ratio,
            "significance": offset.significance,
        }
    if not solution.is_good:
        return about
    chips = {}
    for chip in image.chips:
        crval, cd = corrected_wcs(chip.wcs, frame, fit)
        chips[str(chip.extver)] = {"crval_deg": list(crval), "cd": [list(row) for row in cd]}
    about |= {"shift_px": fit.offset_xy.tolist(), "matrix": fit.matrix.tolist(), "chips": chips}
    if solution.status == "aligned":
        lengths = np.hypot(*fit.residuals.T)
        about |= {
            "rotation_deg": fit.rotation_deg,
            "scale": fit.scale,
            "skew_deg": fit.skew_deg,
            "n_matches": solution.n_matches,
            "n_used": solution.n_used,
            "rms_px": list(fit.rms_xy),
            "rmse_px": fit.rmse,
            "mae_px": float(lengths.mean()),
            "median_residual_px": float(np.median(lengths)),
            "rms_sky_deg": list(sky_rms_deg(frame, fit)),
        }
    return about


def _write_text(path: Path, text: str) -> Path:
    return write_whole(path, text.encode())


def _rows(form: str, columns: Iterable[Sequence[Any] | np.ndarray]) -> str:
    values = [column.tolist() if isinstance(column, np.ndarray) else column for column in columns]
    n = len(values[0])
    return f"{form}\n" * n % tuple(chain.from_iterable(zip(*values, strict=True)))


def _catalog_name(image: ImageSources, chip: ChipSources) -> str:
    return f"{image.root}_sci{max(1, chip.extver)}_xy_catalog.coo"


def _write_catalogs(folder: Path, image: ImageSources, reference: str, settings: AlignSettings) -> list[Path]:
    """Write what was found on every chip, and the sky and reference catalogues that go with the image."""
    written = []
    for chip in image.chips:
        s = chip.sources
        columns = [s.x + 1.0, s.y + 1.0, s.flux, np.arange(len(s))]
        names, form = "#    X      Y         Flux       ID", "%.10g  %.10g  %.7g  %d"
        if settings.use_sharp_round:
            columns += [s.sharp, s.round1, s.round2]
            names, form = f"{names}   Sharp   Round1   Round2", f"{form}  %g  %g  %g"
        head = (
            f"# Source catalog derived for {image.name}, background sigma {chip.sigma:.6g}\n"
            f"# Columns: \n{names}\n#   (pixels)   (pixels)\n"
        )
        written.append(_write_text(folder / _catalog_name(image, chip), head + _rows(form, columns)))
    head = f"# Sky positions for: {image.name}\n# RA        Dec\n# (deg)     (deg)\n"
    sky = _rows("%0.12f  %0.12f", image.sky())
    written.append(_write_text(folder / f"{image.root}_sky_catalog.coo", head + sky))
    head = f"# Reference positions for: {image.name}\n# X  Y  (pixels of the reference frame)\n"
    return [*written, _write_text(folder / f"{image.root}_refxy_catalog.coo", head + reference)]


def _write_matches(
    folder: Path, image: ImageSources, solution: Solution, products: AlignProducts
) -> list[Path]:
    """Write the matches of an image, without and with the fit."""
    frame, fit, rows = products.frame, solution.fit, solution.image_rows
    ra, dec = (values[rows] for values in image.sky())
    crpix = np.array(frame.crpix_xy)
    moved = np.stack(frame.sky_to_pixel(ra, dec), axis=1) + 1.0
    chip_xy = np.stack([image.column("x")[rows], image.column("y")[rows]], axis=1) + 1.0
    reference = solution.reference_xy
    ids = solution.reference_rows
    origin = [products.reference_origin[i] if i >= 0 else "images" for i in ids]
    columns = [*(reference + crpix).T, *moved.T, *(reference + crpix).T, *chip_xy.T, ids, rows, origin]
    head = f"# Input image: {image.name}\n# Ref_X Ref_Y Input_X Input_Y Ref_X0 Ref_Y0 Input_X0 Input_Y0 "
    text = head + "Ref_ID Input_ID Ref_Source\n" + _rows("%15.6f" * 8 + "%8d%8d %s", columns)
    raw = _write_text(folder / f"{image.root}_xy_catalog.match", text)
    fitted = fit.to_reference(moved - crpix)
    sky = corrected_sky(frame, fit, ra, dec)
    columns = [
        *reference.T, *(moved - crpix).T, *(fitted + crpix).T, *(fitted - reference).T,
        *(reference + crpix).T, *chip_xy.T, ids, rows, image.extver[rows], *sky, origin,
    ]  # fmt: skip
    text = _fit_heading(image, solution, frame) + _rows("%15.6f" * 12 + "%8d%8d%8d%20.12f%20.12f %s", columns)
    return [raw, _write_text(folder / f"{image.root}_catalog_fit.match", text)]


def _fit_heading(image: ImageSources, solution: Solution, frame: OutputGrid) -> str:
    fit = solution.fit
    rms_arcsec = np.array(fit.rms_xy) * frame.scale_arcsec
    lines = [
        f"Input image: {image.name}",
        f"Coordinate mapping parameters, pixels of {frame.scale_arcsec:.6g} arcsec:",
        f"    X and Y rms: {fit.rms_xy[0]:20.6g}  {fit.rms_xy[1]:20.6g}",
        f"    X and Y shift: {fit.offset_xy[0]:20.6g}  {fit.offset_xy[1]:20.6g}",
        f"    X and Y rms (arcsec): {rms_arcsec[0]:20.6g}  {rms_arcsec[1]:20.6g}",
        f"    Rotation, deg: {fit.rotation_deg:20.6g}   Scale: {fit.scale:20.8f}",
        f"    Matches: {solution.n_matches}, used: {solution.n_used}",
        "Columns: Ref X, Ref Y, Input X, Input Y (frame, relative to CRPIX), Fit X, Fit Y (frame),",
        "    Residual X, Residual Y, Original Ref X, Y, Original X, Y (chip), Ref ID, Input ID, EXTVER,",
        "    RA, Dec, Ref source",
    ]
    return "".join(f"# {line}\n" for line in lines)


def _write_lists(folder: Path, products: AlignProducts, settings: AlignSettings) -> list[Path]:
    """Write the list of catalogues, and the grown reference catalogue."""
    lines = [
        " ".join([image.name, *(_catalog_name(image, chip) for chip in image.chips)]) + "\n"
        for image in products.images
    ]
    first = products.images[0]
    written = [_write_text(folder / f"{first.root}_xy_catfile.list", "".join(lines))]
    if settings.expand_refcat:
        frame = products.frame
        xy = products.reference_xy + np.array(frame.crpix_xy) - 1.0
        base = Path(settings.refcat).stem or Path(settings.refimage).stem or first.root
        text = "# RA (deg)  Dec (deg)  Source\n" + _rows(
            "%0.12f  %0.12f  %s", [*frame.pixel_to_sky(xy[:, 0], xy[:, 1]), products.reference_origin]
        )
        written.append(_write_text(folder / f"cumulative_sky_refcat_{base}.coo", text))
    return written


def _write_shifts(folder: Path, products: AlignProducts, settings: AlignSettings) -> list[Path]:
    """Write the shift file and the frame that it cites."""
    lines = [
        "# frame: output\n",
        f"# refimage: {settings.outwcs}[wcs]\n",
        "# form: delta\n",
        "# units: pixels\n",
    ]
    for image, solution in zip(products.images, products.solutions, strict=True):
        fit = solution.fit
        if not solution.is_good:
            lines.append(f"{image.name}    nan  nan    nan     nan   0.000000  0.000000\n")
            continue
        rms = fit.rms_xy if solution.status == "aligned" else (0.0, 0.0)
        lines.append(
            f"{image.name}    {fit.offset_xy[0]:.6f}  {fit.offset_xy[1]:.6f}    "
            f"{fit.rotation_deg % 360.0:.6f}     {fit.scale:.6f}   {rms[0]:.6f}  {rms[1]:.6f}\n"
        )
    shifts = _write_text(folder / settings.outshifts, "".join(lines))
    frame = products.frame
    header = fits.Header()
    for keyword, value, comment in frame.to_header_cards():
        header[keyword.replace("CD", "PC") if keyword.startswith("CD") else keyword] = (value, comment)
    header["CDELT1"] = header["CDELT2"] = 1.0
    header["NPIX1"], header["NPIX2"] = frame.shape_yx.nx, frame.shape_yx.ny
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(header=header, name="WCS")]).writeto(buffer)
    return [shifts, write_whole(folder / settings.outwcs, buffer.getvalue())]
