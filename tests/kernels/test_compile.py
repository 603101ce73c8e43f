"""What a program of ours may leave out of numba, and what it must not."""

from __future__ import annotations

import subprocess
import sys

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
