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
from numpy.typing import NDArray

from mosaic.errors import MetadataError, ParameterError
from mosaic.exposure.model import Chip, DataBlock
from mosaic.exposure.reader import read_err, read_rows
from mosaic.types import BoolArray, DoubleArray, FloatArray, ShapeYX, Window


def input_weight(
    chip: Chip,
    window: Window,
    mask: BoolArray,
    wht_type: str = "EXP",
    wt_scl: str | float = "exptime",
    sky: float = 0.0,
    scale_ratio: float = 1.0,
    *,
    unit_e: float = 1.0,
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
        Kind of weight. ERR without an ERR array (WFPC2) falls back to EXP.
    wt_scl : str or float
        For EXP only: "exptime", "expsq" (weight goes with the square of the exposure time), or a factor.
    sky : float
        Sky level of the chip, native units (IVM without a map of the user).
    scale_ratio : float
        Output pixel scale over natural pixel scale.
    unit_e : float
        Electrons in the unit of the values that are weighed: ERR and IVM are inverse variances in it.
    peer_compat : bool
        As DrizzlePac: ERR without an ERR array weighs 1; ERR and maps of the user are taken in the unit of
        the file; ERR of a rate counts the exposure time; the sky in IVM lacks the gain.

    Returns
    -------
    ndarray of float32, shape of the window
        Zero where `mask` is False.
    """
    kind = wht_type.strip().upper()
    if kind not in {"EXP", "ERR", "IVM"}:
        raise ParameterError(f"final_wht_type={wht_type!r} is unknown; choose EXP, ERR or IVM")
    if kind == "ERR" and chip.err is None:
        # The peer forgets the exposure time here, and its scale.
        kind = "EXP"
        if peer_compat:
            return mask.astype(np.float32)
    if kind == "EXP":
        level = np.float32(np.float32(chip.exptime_s) * exposure_scale(chip.exptime_s, wt_scl))
        return np.where(mask, level, np.float32(0.0))
    if kind == "ERR":
        weight = _error_weight(chip, window, peer_compat=peer_compat)
        factor = scale_ratio**-4
    elif chip.ivm is None:
        weight = _background_weight(chip, window, sky, peer_compat=peer_compat)
        factor = chip.exptime_s**2 * scale_ratio**-4
    else:
        # The map belongs to the file's own counts.
        weight = _user_weight(chip, window)
        factor = chip.exptime_s**2 * scale_ratio**-4 / (1.0 if peer_compat else chip.gain**2)
    factor *= unit_e**2
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


def _error_weight(chip: Chip, window: Window, *, peer_compat: bool) -> FloatArray:
    """Inverse variance of the rate in electrons per second."""
    err_e = read_err(chip, window) * np.float32(1.0 if peer_compat else chip.gain)
    time = np.float32(1.0 if chip.is_rate and not peer_compat else chip.exptime_s)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        weight: FloatArray = np.where(err_e > 0.0, (time / err_e) ** 2, np.float32(0.0))
    return weight


def _background_weight(chip: Chip, window: Window, sky: float, *, peer_compat: bool) -> FloatArray:
    """Inverse variance of the background in electrons, per exposure."""
    noise = chip.dark_e + chip.read_noise_e**2
    sky_e = sky * chip.to_electrons / (chip.gain if peer_compat else 1.0)
    if chip.flat is None and chip.low_flat is None:
        variance = noise + sky_e
        if not variance > 0.0:
            problem = f"IVM weight impossible: dark + sky + noise² is {variance:g} electrons²"
            raise MetadataError(
                chip.rootname, problem, "choose final_wht_type EXP or ERR", f"sci,{chip.extver}"
            )
        return np.full(window.shape_yx, 1.0 / variance, dtype=np.float32)
    flat = _flat_field(chip, window)
    with np.errstate(divide="ignore", invalid="ignore"):
        flat = 1.0 / flat if chip.flat_is_inverse else flat
        weight = flat**2 / (noise + sky_e * flat)
    return weight.astype(np.float32)


def _flat_field(chip: Chip, window: Window) -> DoubleArray:
    """Flat field of the pixels of a window: the mean over the detector pixels that each is made of."""
    (dy, dx), (by, bx) = chip.flat_origin_yx, chip.binning_yx
    ny, nx = window.shape_yx
    y0, x0 = dy + window.y0 * by, dx + window.x0 * bx
    on_detector = Window(y0, y0 + ny * by, x0, x0 + nx * bx)
    flat = np.ones(on_detector.shape_yx)
    if chip.flat is not None:
        flat = _on_detector(chip.flat, on_detector, chip.full_shape_yx or chip.flat.shape_yx)
    if chip.low_flat is not None and chip.full_shape_yx is not None:
        flat *= _stretched(chip.low_flat, on_detector, chip.full_shape_yx)
    return flat if by == bx == 1 else _block_means(flat, by, bx)


def _block_means(values: DoubleArray, by: int, bx: int) -> DoubleArray:
    """Means of blocks of `by` rows and `bx` columns."""
    ny, nx = values.shape
    means: DoubleArray = values.reshape(ny // by, by, nx // bx, bx).mean(axis=(1, 3))
    return means


def _on_detector(block: DataBlock, window: Window, full: ShapeYX) -> DoubleArray:
    """Window of the detector out of an image of it: finer pixels are averaged, coarser ones repeated."""
    rows, row_of, fine_y = _samples(window.y0, window.y1, block.shape_yx.ny, full.ny)
    columns, column_of, fine_x = _samples(window.x0, window.x1, block.shape_yx.nx, full.nx)
    values = read_rows(block, Window(*rows, *columns)).astype(np.float64)
    if fine_y > 1 or fine_x > 1:
        values = _block_means(values, fine_y, fine_x)
    return values if block.shape_yx == full else np.ascontiguousarray(values[row_of][:, column_of])


def _samples(
    first: int, last: int, n_own: int, n_detector: int
) -> tuple[tuple[int, int], NDArray[np.intp], int]:
    """Range of an image's pixels that detector pixels need, which each takes, and how many make one."""
    fine, coarse = max(1, n_own // n_detector), max(1, n_detector // n_own)
    start = first // coarse
    taken = np.arange(first, last) // coarse - start
    return (start * fine, ((last - 1) // coarse + 1) * fine), taken, fine


def _stretched(block: DataBlock, window: Window, full: ShapeYX) -> DoubleArray:
    """Window of a coarse image stretched over the whole detector, bilinear between the middles of its pixels.

    Beyond the outermost middles the last two pixels of an axis are continued in a line.
    """
    rows, below, dy = _nodes(window.y0, window.y1, full.ny // block.shape_yx.ny, block.shape_yx.ny)
    columns, left, dx = _nodes(window.x0, window.x1, full.nx // block.shape_yx.nx, block.shape_yx.nx)
    box = Window(*rows, *columns)
    coarse = read_rows(block, box).astype(np.float64)
    upper, right = np.minimum(below + 1, box.shape_yx.ny - 1), np.minimum(left + 1, box.shape_yx.nx - 1)
    along_x = coarse[:, left] * (1.0 - dx) + coarse[:, right] * dx
    stretched: DoubleArray = along_x[below] * (1.0 - dy)[:, None] + along_x[upper] * dy[:, None]
    return stretched


def _nodes(
    first: int, last: int, factor: int, n_node: int
) -> tuple[tuple[int, int], NDArray[np.intp], DoubleArray]:
    """Range of nodes that pixels need, the node before each pixel counted from there, and its distance."""
    position = (np.arange(first, last) + 0.5) / factor - 0.5
    node = np.clip(np.floor(position), 0, max(0, n_node - 2)).astype(np.intp)
    start = int(node[0])
    return (start, min(int(node[-1]) + 2, n_node)), node - start, position - node


def _user_weight(chip: Chip, window: Window) -> FloatArray:
    """Inverse variance map that the user gave."""
    assert chip.ivm is not None
    return np.ascontiguousarray(read_rows(chip.ivm, window), dtype=np.float32)
