"""Drizzle kernels by name.

Covers the registry and how far each kernel reaches. Does not cover the arithmetic
(`drizzle_square`, `drizzle_turbo`, `drizzle_simple`) nor the choice of windows (`mosaic.geometry.tiles`).
"""

from __future__ import annotations

from collections.abc import Callable

from mosaic.errors import ParameterError
from mosaic.kernels.drizzle_simple import (
    drizzle_gaussian,
    drizzle_lanczos2,
    drizzle_lanczos3,
    drizzle_point,
    drizzle_tophat,
    gaussian_reach,
)
from mosaic.kernels.drizzle_square import drizzle_square
from mosaic.kernels.drizzle_turbo import drizzle_turbo

KERNELS: dict[str, Callable[..., int]] = {
    "square": drizzle_square,
    "turbo": drizzle_turbo,
    "point": drizzle_point,
    "gaussian": drizzle_gaussian,
    "lanczos2": drizzle_lanczos2,
    "lanczos3": drizzle_lanczos3,
    "tophat": drizzle_tophat,
}
"""Kernel functions by name; all take the arguments of `drizzle_square`."""


def kernel_half_width(name: str, pixfrac: float, scale_ratio: float) -> float:
    """How far a kernel reaches around the mapped centre of an input pixel.

    Parameters
    ----------
    name : str
        Name of a kernel.
    pixfrac : float
        Size of the drop, input pixels.
    scale_ratio : float
        Output over input pixel scale.

    Returns
    -------
    float
        Output pixels along each axis, including the half pixel of the receiving pixel; an
        undistorted input pixel of any orientation is covered.

    Raises
    ------
    ParameterError
        If there is no such kernel.
    """
    drop = pixfrac / scale_ratio
    reach = {
        "square": 0.75 * drop,
        "turbo": 0.5 * drop,
        "point": 0.0,
        "gaussian": float(gaussian_reach(pixfrac, scale_ratio)),
        "lanczos2": 2.0 * drop,
        "lanczos3": 3.0 * drop,
        "tophat": 0.5 * drop,
    }
    if name not in reach:
        raise ParameterError(f"kernel {name!r} is not one of {', '.join(KERNELS)}")
    return reach[name] + 0.5


__all__ = [
    "KERNELS",
    "drizzle_gaussian",
    "drizzle_lanczos2",
    "drizzle_lanczos3",
    "drizzle_point",
    "drizzle_square",
    "drizzle_tophat",
    "drizzle_turbo",
    "kernel_half_width",
]
