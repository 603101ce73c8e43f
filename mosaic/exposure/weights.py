"""Weight of input pixels for the final and the separate drizzle: EXP, ERR, IVM.

With s the output scale over the natural scale of the chip, G the effective gain, and everything in
electrons: EXP is the exposure time; ERR is the inverse variance of the rate, from the ERR array;
IVM the inverse variance of the background rate, ``F² / (dark + sky F + RN²) · t²`` with F the flat
field, or a map of the user. ERR and IVM carry ``1 / s⁴``, because values carry ``s²``. Pixels
whose error or inverse variance is not finite or not positive weigh nothing. (DrizzlePac Handbook,
weight maps.)
"""

from __future__ import annotations

import numpy as np

from mosaic.errors import MetadataError, ParameterError
from mosaic.exposure.model import Chip
from mosaic.exposure.reader import read_err, read_rows
from mosaic.types import BoolArray, FloatArray, Window


def input_weight(
    chip: Chip,
    window: Window,
    mask: BoolArray,
    wht_type: str = "EXP",
    wt_scl: str | float = "exptime",
    sky: float = 0.0,
    scale_ratio: float = 1.0,
    *,
    peer_compat: bool = False,
) -> FloatArray:
    """Compute the final weight of the pixels of a window.

    Parameters
    ----------
    chip : Chip
        The chip.
    window : Window
        Pixels wanted, 0-based.
    mask : ndarray of bool, shape of the window
        True where a pixel may be used.
    wht_type : {"EXP", "ERR", "IVM"}
        Kind of weight. ERR without an ERR array falls back to EXP.
    wt_scl : str or float
        For EXP only: "exptime", "expsq" (weight goes with the square of the exposure time), or a factor.
    sky : float
        Sky level of the chip, native units (IVM without a map of the user).
    scale_ratio : float
        Output pixel scale over natural pixel scale.
    peer_compat : bool
        As DrizzlePac for ERR: times the squared exposure time also for rates; 1 without an ERR array.

    Returns
    -------
    ndarray of float32, shape of the window
        Zero where `mask` is False.
    """
    kind = wht_type.strip().upper()
    if kind not in {"EXP", "ERR", "IVM"}:
        raise ParameterError(f"final_wht_type={wht_type!r} is unknown; choose EXP, ERR or IVM")
    if kind == "ERR" and chip.err is None and peer_compat:
        return np.where(mask, np.float32(scale_ratio**-4), np.float32(0.0))
    if kind == "EXP" or (kind == "ERR" and chip.err is None):
        level = np.float32(np.float32(chip.exptime_s) * exposure_scale(chip.exptime_s, wt_scl))
        return np.where(mask, level, np.float32(0.0))
    if kind == "ERR":
        weight = _error_weight(chip, window)
        factor = scale_ratio**-4 * (chip.exptime_s**2 if peer_compat and chip.is_rate else 1.0)
    else:
        weight = _background_weight(chip, window, sky) if chip.ivm is None else _user_weight(chip, window)
        factor = chip.exptime_s**2 * scale_ratio**-4
    with np.errstate(over="ignore", invalid="ignore"):
        weight = weight * np.float32(factor)
        is_used = mask & np.isfinite(weight) & (weight > 0.0)
    return np.where(is_used, weight, np.float32(0.0))


def exposure_scale(exptime_s: float, wt_scl: str | float) -> float:
    """Factor on top of the exposure time that `wt_scl` asks for."""
    if isinstance(wt_scl, str):
        word = wt_scl.strip().lower()
        if word in {"exptime", "", "none", "indef"}:
            return 1.0
        if word == "expsq":
            return exptime_s
        try:
            return float(word)
        except ValueError as error:
            raise ParameterError(f"wt_scl={wt_scl!r} is unknown; give exptime, expsq or a number") from error
    return float(wt_scl)


def _error_weight(chip: Chip, window: Window) -> FloatArray:
    """Inverse variance of the rate in electrons per second."""
    err_e = read_err(chip, window) * np.float32(chip.gain)
    time = np.float32(1.0 if chip.is_rate else chip.exptime_s)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        weight: FloatArray = np.where(err_e > 0.0, (time / err_e) ** 2, np.float32(0.0))
    return weight


def _background_weight(chip: Chip, window: Window, sky: float) -> FloatArray:
    """Inverse variance of the background in electrons, per exposure."""
    noise = chip.dark_e + chip.read_noise_e**2
    sky_e = sky * chip.to_electrons
    if chip.flat is None:
        variance = noise + sky_e
        if not variance > 0.0:
            problem = f"IVM weight impossible: dark + sky + noise² is {variance:g} electrons²"
            raise MetadataError(
                chip.rootname, problem, "choose final_wht_type EXP or ERR", f"sci,{chip.extver}"
            )
        return np.full(window.shape_yx, 1.0 / variance, dtype=np.float32)
    dy, dx = chip.flat_origin_yx
    in_flat = Window(window.y0 + dy, window.y1 + dy, window.x0 + dx, window.x1 + dx)
    flat = read_rows(chip.flat, in_flat).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = flat**2 / (noise + sky_e * flat)
    return weight.astype(np.float32)


def _user_weight(chip: Chip, window: Window) -> FloatArray:
    """Inverse variance map that the user gave."""
    assert chip.ivm is not None
    return np.ascontiguousarray(read_rows(chip.ivm, window), dtype=np.float32)
