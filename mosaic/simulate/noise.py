"""From expected photons to calibrated pixels: defects, counts, noise, saturation, flat field.

Covers SCI, ERR and DQ of one chip. Does not cover headers (`cards`).

WFPC2 stores SCI in counts, divided by the gain, and its light falls off in the penumbra of the pyramid.

With r the photon rate of sources in the pixel (electrons per second, see `scene`), t the exposure time,
b the sky in a pixel of nominal area (electrons) and P the pixel's area on the sky over the nominal area
IDCSCALE**2, the detector collects ``n = Poisson(t r + P b + D) + N(0, read noise) + cosmic rays``,
D the dark. Calibration removes the dark and divides by the flat field, in which P is contained (a
uniform sky comes out uniform): ``SCI = (n - D) / P``, ``ERR = sqrt(max(n, 0) + read noise**2) / P``.
A calibrated value is thus surface brightness times the nominal pixel area: a star of rate F gives
``SCI = t F * (integral of the PSF over the pixel) / P``. Summed with the true areas as weights,
``sum(SCI * P) = t F``; drizzling weights by area and so recovers F, while a plain sum of a calibrated
image does not. Rate detectors (WFC3/IR, NICMOS) store SCI / t and ERR / t; detectors read in counts
divide by their gain besides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mosaic.simulate.detectors import DetectorFacts
from mosaic.simulate.optics import ChipOptics
from mosaic.types import BoolArray, DoubleArray, FloatArray, IntArray

DQ_SHADOW = 2
DQ_BAD_PIXEL = 4
DQ_HOT = 16
DQ_WARM = 64
DQ_BIAS = 128
DQ_SATURATED = 256
_FULLY_LIT = 0.995


@dataclass(frozen=True, slots=True)
class Defects:
    """What is wrong with a chip, in every exposure alike."""

    dq: IntArray
    """DQ bits of the defects, int32, shape (ny, nx)."""
    extra_dark_e_s: FloatArray
    """Dark current of hot and warm pixels above the normal one, electrons per second."""
    residual: FloatArray
    """Share of that extra dark that calibration leaves behind (negative: takes too much)."""
    throughput: FloatArray
    """Share of the light that arrives, shape (ny, nx) or (1, 1)."""


@dataclass(frozen=True, slots=True)
class Exposed:
    """One chip of one exposure, calibrated."""

    sci: FloatArray
    """Science values in the file's unit."""
    err: FloatArray
    """One-sigma errors in the file's unit."""
    dq: IntArray
    """Data-quality flags."""
    cosmic_e: FloatArray
    """Truth: charge left by cosmic rays, electrons per pixel before flat-fielding."""


def make_defects(optics: ChipOptics, facts: DetectorFacts, random: np.random.Generator) -> Defects:
    """Hot and warm pixels and bad columns of a chip."""
    ny, nx = optics.shape_yx
    dq = np.zeros((ny, nx), dtype=np.int32)
    extra = np.zeros((ny, nx), dtype=np.float32)
    share = np.zeros((ny, nx), dtype=np.float32)
    for bit, fraction, low, mean in (
        (DQ_WARM, float(facts.table["warm_fraction"]), 0.04, 0.03),
        (DQ_HOT, float(facts.table["hot_fraction"]), 0.14, 0.8),
    ):
        count = round(fraction * ny * nx)
        rows, columns = random.integers(0, ny, count), random.integers(0, nx, count)
        extra[rows, columns] = low + random.exponential(mean, count)
        share[rows, columns] = 0.08 * random.standard_normal(count)
        dq[rows, columns] = bit
    n_column = max(1, round(float(facts.table["bad_columns_per_1000"]) * nx / 1000.0))
    for bit in (DQ_BAD_PIXEL, DQ_BIAS):
        for column in random.integers(1, nx - 1, n_column):
            start = int(random.integers(0, ny // 2))
            dq[start:, column] |= bit
    light = pyramid_throughput(optics, facts)
    return Defects(dq | np.where(light < _FULLY_LIT, DQ_SHADOW, 0), extra, share, light)


def no_defects(optics: ChipOptics, facts: DetectorFacts) -> Defects:
    """A perfect chip; the shadow of the pyramid, where there is one, is no defect."""
    zeros = np.zeros(optics.shape_yx, dtype=np.float32)
    light = pyramid_throughput(optics, facts)
    flags = np.broadcast_to(np.where(light < _FULLY_LIT, DQ_SHADOW, 0), optics.shape_yx)
    return Defects(flags.astype(np.int32), zeros, zeros, light)


def pyramid_throughput(optics: ChipOptics, facts: DetectorFacts) -> FloatArray:
    """Share of the light that WFPC2's pyramid sends to a chip: none at its inner edges, all past a penumbra.

    Returns
    -------
    FloatArray, shape (ny, nx), or (1, 1) where there is no pyramid
        Product of a linear rise along y and one along x, both complete at the edge of the shadow.
    """
    edges = facts.table["chips"][optics.extver - 1].get("shadow_yx_px")
    if edges is None:
        return np.ones((1, 1), dtype=np.float32)
    shrink = optics.shape_yx.ny / float(facts.table["shape_yx"][0])
    width = float(facts.table["penumbra_px"]) * shrink
    rise = [
        np.clip((np.arange(n) - (edge * shrink - width)) / width, 0.0, 1.0)
        for n, edge in zip(optics.shape_yx, edges, strict=True)
    ]
    return np.asarray(rise[0][:, None] * rise[1], dtype=np.float32)


def read_noise_e(optics: ChipOptics, facts: DetectorFacts) -> DoubleArray:
    """Read noise of every column, electrons, shape (nx,): the left and right amplifier."""
    noise = facts.table["read_noise_e"]
    left, right = (float(noise[amp]) for amp in facts.table["chip_amps"][optics.extver - 1])
    nx = optics.shape_yx.nx
    return np.where(np.arange(nx) < nx // 2, left, right)


def expose(
    photons_e: DoubleArray,
    area: FloatArray,
    sky_e: float,
    exptime_s: float,
    noise_e: DoubleArray,
    facts: DetectorFacts,
    defects: Defects,
    cosmic_e: FloatArray,
    random: np.random.Generator | None,
    electrons_per_count: float = 1.0,
) -> Exposed:
    """Calibrated pixels of one chip (formula in the module docstring).

    Parameters
    ----------
    photons_e : DoubleArray
        Expected electrons of sources, t r.
    area : FloatArray
        P, pixel area over nominal area.
    sky_e : float
        b, electrons per nominal pixel.
    exptime_s : float
        t, seconds.
    noise_e : DoubleArray
        Read noise of every column, electrons.
    facts : DetectorFacts
        Dark, full well, unit.
    defects : Defects
        Hot and warm pixels, bad columns.
    cosmic_e : FloatArray
        Charge of cosmic rays.
    random : numpy.random.Generator or None
        Random stream of this chip and exposure; None leaves the expected values.
    electrons_per_count : float
        Electrons of one unit of the file (before division by time).
    """
    extra = defects.extra_dark_e_s.astype(np.float64) * exptime_s
    dark = float(facts.table["dark_e_s"]) * exptime_s
    expected = (photons_e + sky_e * area) * defects.throughput + dark + extra
    dead = (defects.dq & DQ_BAD_PIXEL) > 0
    expected[dead] *= 0.3
    counts = expected if random is None else random.poisson(expected).astype(np.float64)
    counts += cosmic_e
    full_well = float(facts.table["full_well_e"])
    dq = defects.dq.copy()
    dq[counts > full_well] |= DQ_SATURATED
    np.minimum(counts, full_well, out=counts)
    if random is not None:
        counts += noise_e * random.standard_normal(counts.shape)
    counts[(defects.dq & DQ_BIAS) > 0] += 25.0
    unit = (1.0 / exptime_s if facts.is_rate else 1.0) / electrons_per_count
    err = np.sqrt(np.maximum(counts, 0.0) + noise_e**2) / area * unit
    sci = (counts - dark - extra * (1.0 - defects.residual)) / area * unit
    return Exposed(sci.astype(np.float32), err.astype(np.float32), dq, cosmic_e)


def good_pixels(dq: IntArray, flags: int) -> BoolArray:
    """True where none of `flags` is set."""
    return np.asarray((dq & flags) == 0, dtype=np.bool_)
