"""Exposures of a survey that exist as metadata only: pointings of a full-frame ACS/WFC over a square of sky.

Covers what the planner needs of an exposure: shape, distortion with all its tables, pointing, times, places
of pixels. No file is made, so nothing that reads pixels or headers works on them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from astropy.io import fits

from mosaic.exposure.model import Chip, DataBlock, Exposure
from mosaic.geometry.wcs import ChipWcs
from mosaic.simulate.cards import ExposureFacts, primary_header, science_header
from mosaic.simulate.detectors import DetectorFacts, detector_facts
from mosaic.simulate.files import _lookup_hdus
from mosaic.simulate.noise import Exposed
from mosaic.simulate.params import SimulateParams
from mosaic.simulate.pointing import Pointing, chip_wcs, local_position_angle
from mosaic.types import ShapeYX

DEPTH = 24
"""Exposures of a field; 12,880 of them make 23 x 23 fields, a frame of about 90,000 pixels a side."""

PITCH_PX = 3880.0
"""Distance of neighbouring fields, detector pixels: fields overlap by a twentieth."""

_EXPTIME_S = 500.0
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def survey(
    n_exposures: int, *, depth: int = DEPTH, chip_shape: tuple[int, int] | None = None, roll_deg: float = 0.05
) -> tuple[Exposure, ...]:
    """Exposures in the order they were taken: field by field, each with its dithers.

    Parameters
    ----------
    n_exposures : int
        How many.
    depth : int
        Exposures of a field.
    chip_shape : tuple of int, optional
        Rows and columns of a chip, for tests.
    roll_deg : float
        Roll added from one exposure to the next, degrees.
    """
    shape = None if chip_shape is None else ShapeYX(*chip_shape)
    facts = detector_facts("acs/wfc", None, shape)
    pitch = PITCH_PX if shape is None else 0.95 * shape.nx
    side = max(1, math.isqrt(max(1, n_exposures // depth)))
    params = SimulateParams(exposures=depth, exptime_s=_EXPTIME_S)
    templates: list[Chip] = []
    exposures = []
    for index, (x, y) in enumerate(_offsets(n_exposures, side, pitch)):
        pointing = _pointing(facts, index, (x, y), roll_deg)
        templates = templates or _templates(facts, params, pointing)
        exposures.append(_exposure(facts, params, pointing, templates))
    return tuple(exposures)


def _offsets(n_exposures: int, side: int, pitch: float) -> Iterator[tuple[float, float]]:
    """Detector offsets: fields row by row; what the division leaves over goes to the first fields."""
    n_fields = side * side
    for field in range(n_fields):
        row, column = divmod(field, side)
        depth = n_exposures // n_fields + (field < n_exposures % n_fields)
        for step in range(depth):
            yield (
                (column - (side - 1) / 2) * pitch + 4.25 * (step % 5) + 0.3 * step,
                (row - (side - 1) / 2) * pitch + 60.5 * (step % 3) + 0.7 * step,
            )


def _pointing(facts: DetectorFacts, index: int, xy: tuple[float, float], roll_deg: float) -> Pointing:
    pa_v3 = 110.0 + roll_deg * (index % 7)
    name = "".join(_DIGITS[index // 36**power % 36] for power in (2, 1, 0))
    return Pointing(
        index=index,
        rootname=f"jsrv{name}q",
        field=0,
        step=index,
        postarg_xy_arcsec=(xy[0] * facts.idcscale_arcsec, xy[1] * facts.idcscale_arcsec),
        pa_v3_deg=pa_v3,
        pa_local_deg=local_position_angle(pa_v3, 2.2, facts.aperture_v2v3_arcsec),
        shift_arcsec=(0.0, 0.0),
        roll_error_deg=0.0,
        vafactor=1.0,
        expstart_mjd=57100.25 + index * (_EXPTIME_S + 160.0) / 86400.0,
    )


def _templates(facts: DetectorFacts, params: SimulateParams, pointing: Pointing) -> list[Chip]:
    """Chips of one exposure, their distortion read from headers as the catalogue reads it."""
    about = ExposureFacts(params, facts, pointing, _EXPTIME_S, 1)
    target = (params.target_ra_deg, params.target_dec_deg)
    nothing = Exposed(*(np.zeros((1, 1), dtype=np.float32) for _ in range(2)), np.zeros((1, 1), int), None)
    hdus = [fits.PrimaryHDU(header=primary_header(about, 1))]
    for optics in facts.chips:
        wcs = chip_wcs(optics, facts, pointing, target, is_true=False)
        hdus.append(fits.ImageHDU(header=science_header(about, optics, wcs, nothing)))
    hdul = fits.HDUList([*hdus, *_lookup_hdus(facts)])
    chips = []
    for number, optics in enumerate(facts.chips):
        shape = ShapeYX(*optics.shape_yx)
        wcs = ChipWcs.from_hdulist(hdul, number + 1, shape_yx=shape)
        chips.append(_template(facts, wcs, number + 1, optics.ccdchip, shape))
    return chips


def _template(facts: DetectorFacts, wcs: ChipWcs, extver: int, ccdchip: int, shape: ShapeYX) -> Chip:
    size = shape.ny * shape.nx
    start = 2880 * 20 + (extver - 1) * (10 * size + 3 * 2880 * 10)
    return Chip(
        rootname="",
        path="",
        extver=extver,
        file_extver=extver,
        hdu_index=3 * extver - 2,
        ccdchip=ccdchip,
        instrument=facts.instrument,
        detector=facts.detector,
        shape_yx=shape,
        sci=DataBlock("", start, shape, -32),
        err=DataBlock("", start + 4 * size, shape, -32),
        dq=DataBlock("", start + 8 * size, shape, 16),
        ivm=None,
        flat=None,
        flat_origin_yx=(0, 0),
        wcs=wcs,
        idcscale_arcsec=facts.idcscale_arcsec,
        exptime_s=_EXPTIME_S,
        is_rate=False,
        native_unit="ELECTRONS",
        gain=1.0,
        read_noise_e=4.0,
        dark_e=3.0,
        cte_direction=1 if extver == 1 else -1,
        mdrizsky=None,
        static_group=f"{facts.instrument} {facts.detector} {ccdchip} {shape}",
    )


def _exposure(
    facts: DetectorFacts, params: SimulateParams, pointing: Pointing, templates: list[Chip]
) -> Exposure:
    root = pointing.rootname
    path = f"/archive/acs/{root[:6]}/{root}_flc.fits"
    target = (params.target_ra_deg, params.target_dec_deg)
    chips = []
    for optics, chip in zip(facts.chips, templates, strict=True):
        sky = chip_wcs(optics, facts, pointing, target, is_true=False)
        cd = ((sky.cd[0, 0].item(), sky.cd[0, 1].item()), (sky.cd[1, 0].item(), sky.cd[1, 1].item()))
        blocks = {
            name: None if (block := getattr(chip, name)) is None else replace(block, path=path)
            for name in ("sci", "err", "dq")
        }
        wcs = replace(chip.wcs, crval_deg=sky.crval_deg, cd=cd, pa_v3=pointing.pa_v3_deg)
        chips.append(replace(chip, rootname=root, path=path, wcs=wcs, **blocks))
    return Exposure(
        path=path,
        rootname=root,
        filename=f"{root}_flc.fits",
        instrument=facts.instrument,
        detector=facts.detector,
        filters="F814W",
        expstart_mjd=pointing.expstart_mjd,
        expend_mjd=pointing.expstart_mjd + _EXPTIME_S / 86400.0,
        exptime_s=_EXPTIME_S,
        fingerprint=f"{pointing.index:032x}",
        chips=tuple(chips),
    )
