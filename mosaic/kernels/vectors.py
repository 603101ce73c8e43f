"""Vectors of LLVM with the operators of Python, and functions of numba made of them.

A loop over the few pixels of a vector would have to prove anew each time that the arrays do not overlap,
which costs more than the work; code written with these reads all it needs before it writes. Every operation
is that of IEEE 754 for each number by itself. Covers what `mosaic.kernels.stretches` and
`mosaic.kernels.quintics` need.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

N_LANES: Final = 8
"""Numbers in a vector if nothing else is said; processors with shorter ones take several."""
DOUBLE: Final = ir.DoubleType()
VECTOR: Final = ir.VectorType(DOUBLE, N_LANES)
INDEX: Final = ir.IntType(64)


class Vector:
    """A vector of LLVM with the operators of Python."""

    __array_ufunc__ = None
    """Numbers of numpy leave the operators to the vector."""

    def __init__(self, builder: Any, value: Any) -> None:  # noqa: ANN401  (llvmlite is not typed)
        self.builder = builder
        self.value = value

    def _with(self, other: Vector | float) -> Any:  # noqa: ANN401
        if isinstance(other, Vector):
            return other.value
        return ir.Constant(self.value.type, [float(other)] * self.value.type.count)

    def __add__(self, other: Vector | float) -> Vector:
        return Vector(self.builder, self.builder.fadd(self.value, self._with(other)))

    def __sub__(self, other: Vector | float) -> Vector:
        return Vector(self.builder, self.builder.fsub(self.value, self._with(other)))

    def __mul__(self, other: Vector | float) -> Vector:
        return Vector(self.builder, self.builder.fmul(self.value, self._with(other)))

    __rmul__ = __mul__

    def __gt__(self, other: Vector | float) -> Vector:
        return Vector(self.builder, self.builder.fcmp_ordered(">", self.value, self._with(other)))

    def is_zero(self) -> Vector:
        """Which numbers are zero."""
        return Vector(self.builder, self.builder.fcmp_ordered("==", self.value, self._with(0.0)))

    def choose(self, yes: Vector, no: Vector | float) -> Vector:
        """``yes if self else no``, number by number."""
        return Vector(self.builder, self.builder.select(self.value, yes.value, yes._with(no)))

    def or_not(self, other: Vector) -> Vector:
        """``self or not other``, of truths."""
        return Vector(self.builder, self.builder.or_(self.value, self.builder.not_(other.value)))

    def all(self) -> Any:  # noqa: ANN401
        """Whether all truths are."""
        bits = self.builder.bitcast(self.value, ir.IntType(self.value.type.count))
        return self.builder.icmp_signed("==", bits, ir.Constant(bits.type, -1))

    def most(self, other: Vector | float) -> Vector:
        """The larger of both."""
        return (self > other).choose(self, other)

    def least(self, other: Vector) -> Vector:
        """The smaller of both."""
        return (other > self).choose(self, other)

    def shifted(self, distance: int) -> Vector:
        """The numbers `distance` places further on; at the end those of the beginning."""
        places = [(k + distance) % N_LANES for k in range(N_LANES)]
        mask = ir.Constant(ir.VectorType(ir.IntType(32), N_LANES), places)
        return Vector(self.builder, self.builder.shuffle_vector(self.value, self.value, mask))

    def first(self) -> Any:  # noqa: ANN401
        """The first number."""
        return self.builder.extract_element(self.value, ir.Constant(ir.IntType(32), 0))


class Variable:
    """A vector that changes."""

    def __init__(self, builder: Any, slot: Any) -> None:  # noqa: ANN401
        self.builder = builder
        self.slot = slot

    def get(self) -> Vector:
        """The vector as it is now."""
        return Vector(self.builder, self.builder.load(self.slot))

    def set(self, vector: Vector) -> None:
        """Change it."""
        self.builder.store(vector.value, self.slot)


class Code:
    """What the functions below have in common: reading and writing arrays a vector at a time."""

    def __init__(self, context: Any, builder: Any, kinds: Any, arguments: Any, n_lanes: int) -> None:  # noqa: ANN401
        self.builder = builder
        self.n_lanes = n_lanes
        self.arguments = [
            context.make_array(kind)(context, builder, value) if isinstance(kind, types.Array) else value
            for kind, value in zip(kinds, arguments, strict=True)
        ]

    def place(self, array: Any, index: Any, element: Any = DOUBLE) -> Any:  # noqa: ANN401
        """Pointer to a vector of elements of an array from an index."""
        pointer = self.builder.gep(array.data, [index])
        return self.builder.bitcast(pointer, ir.VectorType(element, self.n_lanes).as_pointer())

    def at(self, *terms: Any) -> Any:  # noqa: ANN401
        """Sum of indices and numbers."""
        total = ir.Constant(INDEX, sum(term for term in terms if isinstance(term, int)))
        for term in terms:
            total = total if isinstance(term, int) else self.builder.add(total, term)
        return total

    def times(self, index: Any, factor: int) -> Any:  # noqa: ANN401
        """An index times a number."""
        return self.builder.mul(index, ir.Constant(INDEX, factor))

    def read(self, array: Any, *terms: Any) -> Vector:  # noqa: ANN401
        """Vector of an array of float64 from the index that is the sum of the terms."""
        return Vector(self.builder, self.builder.load(self.place(array, self.at(*terms)), align=8))

    def write(self, vector: Vector, array: Any, *terms: Any) -> None:  # noqa: ANN401
        """Write a vector to where `read` would read it."""
        self.builder.store(vector.value, self.place(array, self.at(*terms)), align=8)

    def fetch(self, array: Any, *terms: Any) -> None:  # noqa: ANN401
        """Ask for an element of an array ahead of time; nothing happens if there is none."""
        byte = ir.IntType(8).as_pointer()
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        hint = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        place = self.builder.bitcast(self.builder.gep(array.data, [self.at(*terms)]), byte)
        self.builder.call(hint, [place, flag(0), flag(3), flag(1)])

    def constant(self, number: float) -> Vector:
        """A vector of one number that is known beforehand."""
        return Vector(self.builder, ir.Constant(ir.VectorType(DOUBLE, self.n_lanes), [number] * self.n_lanes))

    def variable(self, vector: Vector) -> Variable:
        """A vector that loops may change."""
        return Variable(self.builder, cgutils.alloca_once_value(self.builder, vector.value))

    def places(self, first: Any) -> Vector:  # noqa: ANN401
        """Numbers that count up from an index."""
        kind = ir.VectorType(DOUBLE, self.n_lanes)
        count = Vector(self.builder, ir.Constant(kind, [float(k) for k in range(self.n_lanes)]))
        return count + self.spread(self.builder.sitofp(first, DOUBLE))

    def spread(self, value: Any) -> Vector:  # noqa: ANN401
        """A vector of one number."""
        kind = ir.VectorType(value.type, self.n_lanes)
        first = self.builder.insert_element(
            ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0)
        )
        nowhere = ir.Constant(ir.VectorType(ir.IntType(32), self.n_lanes), [0] * self.n_lanes)
        return Vector(
            self.builder, self.builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), nowhere)
        )


def intrinsic_of(result: Any, generate: Callable[[Code], Any], n_lanes: int = N_LANES) -> Any:  # noqa: ANN401
    """Make a function of numba out of a writer of LLVM code for vectors of so many numbers."""

    def typer(_context: Any, arguments: Any) -> Any:  # noqa: ANN401
        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:  # noqa: ANN401
            # Its arguments come as one tuple.
            kinds = signature.args[0].types
            parts = cgutils.unpack_tuple(builder, values[0], len(kinds))
            found = generate(Code(context, builder, kinds, parts, n_lanes))
            return context.get_dummy_value() if found is None else found

        return result(arguments), code

    return intrinsic(typer)
