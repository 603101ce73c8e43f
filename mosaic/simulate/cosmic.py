"""Cosmic-ray tracks on a chip.

Covers the charge that tracks leave. Does not cover flagging: DQ never knows of them, only the truth does.

Model: straight tracks of isotropic direction; length 1 px plus an exponential of mean 4 px with a tail
of long grazing tracks; charge log-normal about 2000 electrons times the square root of the length;
deposited in steps of a quarter of a pixel with gamma fluctuations and 0.3 px of diffusion.
"""

from __future__ import annotations

import numpy as np

from mosaic.types import FloatArray, ShapeYX

_PIXELS_PER_TRACK = 9.5
_STEPS_PER_PX = 4
_LOWEST_E = 15.0


def cosmic_ray_charge(shape_yx: ShapeYX, fraction_struck: float, random: np.random.Generator) -> FloatArray:
    """Charge of all tracks, electrons per pixel, float32 of `shape_yx`; 0 where none struck.

    Parameters
    ----------
    shape_yx : ShapeYX
        Rows and columns.
    fraction_struck : float
        Fraction of pixels with noticeable charge.
    random : numpy.random.Generator
        Random stream of this chip and exposure.
    """
    ny, nx = shape_yx
    n_track = int(random.poisson(fraction_struck * ny * nx / _PIXELS_PER_TRACK))
    if n_track == 0:
        return np.zeros(shape_yx, dtype=np.float32)
    length = 1.0 + random.exponential(4.0, n_track) * np.where(random.random(n_track) < 0.05, 6.0, 1.0)
    angle = random.random(n_track) * 2.0 * np.pi
    start_x, start_y = random.random(n_track) * nx - 0.5, random.random(n_track) * ny - 0.5
    charge = random.lognormal(np.log(2000.0), 0.8, n_track) * np.sqrt(length / 4.0)
    n_step = np.ceil(length * _STEPS_PER_PX).astype(np.int64)
    track = np.repeat(np.arange(n_track), n_step)
    first = np.repeat(np.cumsum(n_step) - n_step, n_step)
    along = (np.arange(track.size) - first + 0.5) / _STEPS_PER_PX
    jitter = random.standard_normal((2, track.size)) * 0.3
    x = start_x[track] + along * np.cos(angle[track]) + jitter[0]
    y = start_y[track] + along * np.sin(angle[track]) + jitter[1]
    step_charge = charge[track] / n_step[track] * random.gamma(3.0, 1.0 / 3.0, track.size)
    column, row = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
    inside = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
    total = np.bincount(row[inside] * nx + column[inside], step_charge[inside], minlength=ny * nx)
    total[total < _LOWEST_E] = 0.0
    return total.reshape(shape_yx).astype(np.float32)
