"""What a program of ours may leave out of numba, and what it must not; whose parts a kernel calls."""

from __future__ import annotations

import subprocess
import sys

from mosaic.kernels._compile import kernel, part

PROGRAM = """
import sys
from mosaic.kernels._compile import do_without_linear_algebra
do_without_linear_algebra()
import numpy as np
from mosaic.kernels.prepare import finish_sums
out = np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32)
finish_sums(np.full((2, 2), 6.0), np.full((2, 2), 2.0), *out)
assert (out[0] == 3).all()
print({"scipy.linalg", "cffi"} & set(sys.modules) or "neither")
import scipy.linalg
print(scipy.linalg.det(np.eye(2)))
import cffi
print(hasattr(cffi, "FFI"))
"""


def test_kernels_run_without_what_others_can_load_later() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["neither", "1.0", "True"]


@part
def _thrice(number: float) -> float:
    return 3.0 * number


@kernel
def _nine_times(number: float) -> float:
    return float(_thrice(_thrice(number)))


def test_the_engine_gets_no_code_of_a_part_that_would_stand_in_for_that_of_a_kernel() -> None:
    assert _nine_times(2.0) == 18.0
    (compiled,) = _thrice.overloads.values()
    assert compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name) == 0
    assert not any(not f.is_declaration for f in compiled.library._final_module.functions)
