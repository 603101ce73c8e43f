"""The quintic through six equidistant values, and its use for sixteen pixels of a row side by side.

Each pixel reads its 36 nodes wherever they lie, so how the frame is scaled and turned makes no difference.
The order of operations is that of a single pixel: the same function states both.

Covers positions whose nodes are all pixels of the image. Does not cover the border of the frame
(`mosaic.kernels.blot_polynomial`).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from mosaic.kernels._compile import part
from mosaic.kernels.vectors import DOUBLE, INDEX, Code, Vector, intrinsic_of

N_SIDE: Final = 16
"""Pixels interpolated side by side."""

# A Python number would lift the single-precision expressions to double.
_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
_FOUR = np.float32(4.0)
_SIX = np.float32(6.0)
_SIXTH = np.float32(1.0 / 6.0)
_PER_120 = np.float32(1.0 / 120.0)

_SINGLE: Final = ir.FloatType()
_SINGLES: Final = ir.VectorType(_SINGLE, N_SIDE)
_INDICES: Final = ir.VectorType(INDEX, N_SIDE)
_NO: Final = ir.Constant(ir.IntType(1), 0)
_N_NODES: Final = 6
_N_READ: Final = 8
"""Pixels of the image read for a row of nodes: two rows fill a vector."""
_BEFORE: Final = 2
"""Nodes before that of the truncated position."""


@part
def everett5(
    a: np.float32,
    b: np.float32,
    c: np.float32,
    d: np.float32,
    e: np.float32,
    f: np.float32,
    s: np.float32,
    t: np.float32,
) -> np.float32:
    """Everett's form of the quintic through six equidistant values, at fraction s = 1 - t after `c`."""
    s2, t2 = s * s, t * t
    second_c = _SIXTH * (d - _TWO * c + b)
    second_d = _SIXTH * (e - _TWO * d + c)
    fourth_c = _PER_120 * (a - _FOUR * b + _SIX * c - _FOUR * d + e)
    fourth_d = _PER_120 * (b - _FOUR * c + _SIX * d - _FOUR * e + f)
    upper = s * (d + (s2 - _ONE) * (second_d + (s2 - _FOUR) * fourth_d))
    return upper + t * (c + (t2 - _ONE) * (second_c + (t2 - _FOUR) * fourth_c))


def _lies_within(code: Code, position: Any, origin: Any, size: Any) -> Any:  # noqa: ANN401
    """For which positions along an axis all nodes are pixels of the image."""
    build = code.builder
    first, stop = code.at(origin, _BEFORE), code.at(origin, size, _BEFORE + 1 - _N_NODES)
    low, high = (code.spread(build.sitofp(bound, DOUBLE)).value for bound in (first, stop))
    return build.and_(
        build.fcmp_ordered(">=", position, low),
        build.fcmp_ordered("<", position, high),
    )


def _split(code: Code, position: Any, origin: Any) -> tuple[Any, Vector]:  # noqa: ANN401
    """Lowest node along an axis in the image, and the fraction after the truncated position."""
    build = code.builder
    whole = build.fptosi(position, _INDICES)
    fraction = build.fptrunc(build.fsub(position, build.sitofp(whole, position.type)), _SINGLES)
    return build.sub(whole, code.spread(code.at(origin, _BEFORE)).value), Vector(build, fraction)


class _Nodes:
    """Nodes of the pixels: eight in a row are read for each pixel, then sorted by their number."""

    def __init__(self, code: Code, pixels: Any, lowest: Any) -> None:  # noqa: ANN401
        """Take the places of the lowest nodes in the flat image."""
        self.code, self.pixels = code, pixels
        self.lowest = [code.builder.extract_element(lowest, ir.IntType(32)(k)) for k in range(N_SIDE)]

    def along_x(self, distance: Any) -> list[Vector]:  # noqa: ANN401
        """Six nodes of each pixel, the first one so far from the lowest one."""
        low, high = self._of_eight(0, distance), self._of_eight(N_SIDE // 2, distance)
        found = []
        for p in range(_N_NODES):
            half = [p // 4 * 4 + start + k for start in (0, _N_READ) for k in range(4)]
            order = half + [N_SIDE + place for place in half]
            found.append(Vector(self.code.builder, self._mixed(low[p % 4], high[p % 4], order)))
        return found

    def _of_eight(self, first: int, distance: Any) -> list[Any]:  # noqa: ANN401
        """Four vectors; number p has nodes p and p + 4 of four pixels, then the same of the next four."""
        both = list(range(N_SIDE))
        rows = [
            self._mixed(self._read(k, distance), self._read(k + 4, distance), both)
            for k in range(first, first + 4)
        ]
        pairs = [self._zipped(rows[a], rows[a + 1], 1, half) for half in (0, 2) for a in (0, 2)]
        return [self._zipped(pairs[a], pairs[a + 1], 2, half) for a in (0, 2) for half in (0, 2)]

    def _read(self, pixel: int, distance: Any) -> Any:  # noqa: ANN401
        """Eight pixels of the image, the first one so far from the lowest node of a pixel."""
        build = self.code.builder
        place = build.gep(self.pixels.data, [self.code.at(self.lowest[pixel], distance)])
        return build.load(build.bitcast(place, ir.VectorType(_SINGLE, _N_READ).as_pointer()), align=4)

    def _zipped(self, one: Any, other: Any, length: int, half: int) -> Any:  # noqa: ANN401
        """Two numbers of each four of two vectors, alternately so many of the one and of the other."""
        return self._mixed(
            one,
            other,
            [
                vector + four + half + start + k
                for four in range(0, N_SIDE, 4)
                for start in range(0, 2, length)
                for vector in (0, N_SIDE)
                for k in range(length)
            ],
        )

    def _mixed(self, one: Any, other: Any, order: list[int]) -> Any:  # noqa: ANN401
        """Numbers of two vectors, those of the other counted on from those of the one."""
        places = ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order)
        return self.code.builder.shuffle_vector(one, other, places)


def _generate_quintics(code: Code) -> Any:  # noqa: ANN401
    """Biquintic values of `N_SIDE` pixels; nothing, and false, if nodes are not pixels of the image.

    Arguments: the image, and row and column of the frame at its first pixel; positions x and y and the place
    of the first of them; factor; values.
    """
    image, origin_y, origin_x, x, y, first, scale, out = code.arguments
    build = code.builder
    ny, nx = cgutils.unpack_tuple(build, image.shape, 2)
    at_x, at_y = (build.load(code.place(positions, first), align=8) for positions in (x, y))
    is_done = cgutils.alloca_once_value(build, _NO)
    within = build.and_(_lies_within(code, at_x, origin_x, nx), _lies_within(code, at_y, origin_y, ny))
    with build.if_then(Vector(build, within).all()):
        column, s = _split(code, at_x, origin_x)
        row, t = _split(code, at_y, origin_y)
        lowest = build.add(build.mul(row, code.spread(nx).value), column)
        # More is read of a row than its nodes, which may lie beyond the last pixel of the image.
        last = code.at(build.mul(nx, code.at(ny, 1 - _N_NODES)), -_N_READ)
        is_readable = build.icmp_signed("<=", lowest, code.spread(last).value)
        with build.if_then(Vector(build, is_readable).all()):
            one = code.spread(ir.Constant(_SINGLE, 1.0))
            nodes, fractions = _Nodes(code, image, lowest), (s, one - s)
            rows = [everett5.py_func(*nodes.along_x(code.times(nx, q)), *fractions) for q in range(_N_NODES)]
            values = everett5.py_func(*rows, t, one - t) * code.spread(scale)
            build.store(values.value, code.place(out, first, _SINGLE), align=4)
            build.store(build.not_(_NO), is_done)
    return build.load(is_done)


quintics = intrinsic_of(types.boolean, _generate_quintics, N_SIDE)
