"""Drizzle chip windows into a rectangle of the output: separate and final are the same function.

A drop of side `pixfrac` input pixels carries its value ``d`` (rate times s**2, s = output / input pixel
scale) and weight ``w``; an output pixel is ``sum(k w d) / sum(k w)`` with k the share of the drop
it receives (Fruchter & Hook 2002, PASP 114, 144). Sums are float64 in a fixed order, divided once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mosaic.kernels.drizzle import KERNELS
from mosaic.kernels.exact_map import MapModel
from mosaic.kernels.prepare import finish_sums
from mosaic.types import DoubleArray, FloatArray, IntArray, Window

POINT_PIXFRAC = 0.001
"""Drops this small or smaller are points."""

_NO_PLANE = np.zeros((0, 0), dtype=np.float64)
_NO_VARIANCE = np.zeros((0, 0), dtype=np.float32)
_NO_CONTEXT = np.zeros((0, 0), dtype=np.int32)


@dataclass(frozen=True, slots=True)
class DropShape:
    """Kernel and size of the drops."""

    kernel: str
    """square, turbo, point, gaussian, lanczos2, lanczos3 or tophat."""
    pixfrac: float
    """Side of a drop in input pixels."""

    @property
    def effective_kernel(self) -> str:
        """The kernel in force: drops without size are points."""
        return "point" if self.pixfrac <= POINT_PIXFRAC else self.kernel


@dataclass(slots=True)
class TileSum:
    """Accumulators of a rectangle of the output; what drizzling adds to."""

    window: Window
    """Rectangle of the output grid."""
    total: DoubleArray
    """Sum of weight times value; the initial value where nothing was touched."""
    weight: DoubleArray
    """Sum of weights."""
    variance: DoubleArray
    """Sum of squared weight times variance; shape (0, 0) when not wanted."""

    @classmethod
    def empty(cls, window: Window, initial: float, *, with_variance: bool = False) -> TileSum:
        """Accumulators in which nothing was deposited."""
        shape = window.shape_yx
        return cls(
            window,
            np.full(shape, initial, dtype=np.float64),
            np.zeros(shape, dtype=np.float64),
            np.zeros(shape, dtype=np.float64) if with_variance else _NO_PLANE,
        )

    def clear(self, initial: float) -> None:
        """Forget what was deposited: the same memory serves for the next image."""
        self.total.fill(initial)
        self.weight.fill(0.0)
        self.variance.fill(0.0)

    def finish(self, image_out: FloatArray, weight_out: FloatArray) -> None:
        """Write the weighted mean and the weight, both float32.

        Where the weight is zero the mean holds the last masked or the initial value.
        """
        finish_sums(self.total, self.weight, image_out, weight_out)

    def image_variance(self) -> FloatArray:
        """Variance of the weighted mean, float32; NaN where the weight is zero."""
        result = np.full(self.variance.shape, np.nan)
        np.divide(self.variance, self.weight**2, out=result, where=self.weight != 0.0)
        return result.astype(np.float32)


@dataclass(frozen=True, slots=True)
class DropWindow:
    """Pixels of a window of a chip, ready to be dropped."""

    window: Window
    """Where the pixels lie in the chip."""
    value: FloatArray
    """Rate times s**2; NaN = absent."""
    weight: FloatArray
    """Input weights; 0 = masked."""
    variance: FloatArray | None = None
    """Variance of `value`, when wanted."""


def deposit(
    drops: DropWindow,
    model: MapModel,
    shape: DropShape,
    scale_ratio: float,
    tile: TileSum,
    context: IntArray | None = None,
    context_bit: int = 0,
) -> int:
    """Drop a window of a chip onto a tile and return how many pixels missed it.

    Parameters
    ----------
    drops : DropWindow
        Values, weights and place of the input pixels.
    model : MapModel
        Chip to output pixels.
    shape : DropShape
        Kernel and pixfrac.
    scale_ratio : float
        Output pixel scale over the chip's natural scale.
    tile : TileSum
        Accumulators, changed in place.
    context : IntArray, optional
        Context plane of the tile: `context_bit` is set where weight arrives.
    context_bit : int
        Bit of the chip, as int32.
    """
    drizzle = KERNELS[shape.effective_kernel]
    return int(
        drizzle(
            drops.value,
            drops.weight,
            _NO_VARIANCE if drops.variance is None else drops.variance,
            model,
            (drops.window.y0, drops.window.x0),
            shape.pixfrac,
            scale_ratio,
            (tile.window.y0, tile.window.x0),
            tile.total,
            tile.weight,
            tile.variance,
            _NO_CONTEXT if context is None else context,
            np.int32(context_bit),
        )
    )


def drop_values(
    sci: FloatArray,
    *,
    sky: float | None,
    gain: float,
    time_s: float,
    scale_ratio: float,
) -> FloatArray:
    """Value that a pixel carries: sky-subtracted electron rate times the squared scale ratio.

    A rate comes with a `time_s` of 1. Single precision throughout, in the order of the system replaced, so
    that values agree to its last bits.
    """
    value = sci - np.float32(0.0 if sky is None else sky)
    if gain != 1.0:
        value *= np.float32(gain)
    if time_s != 1.0:
        value *= np.float32(1.0 / time_s)
    value *= np.float32(scale_ratio * scale_ratio)
    return value
