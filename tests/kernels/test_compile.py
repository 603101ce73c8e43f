"""What a program of ours may leave out of numba, and what it must not; whose parts a kernel calls."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from mosaic.kernels._compile import do_without_linear_algebra
do_without_linear_algebra()
import numpy as np
from mosaic.kernels.prepare import finish_sums
out = np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32)
finish_sums(np.full((2, 2), 6.0), np.full((2, 2), 2.0), *out)
assert (out[0] == 3).all()
print("scipy.linalg" in sys.modules)
import scipy.linalg
print(scipy.linalg.det(np.eye(2)))
"""


def test_kernels_run_without_linear_algebra_which_others_can_load_later() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "1.0"]


PARTS = """
import numpy as np
from mosaic.kernels.crmask import derivative
derivative(np.ones((8, 8), np.float32), 0, 8, np.zeros((8, 8), np.float32))
(compiled,) = derivative.overloads.values()
for function in compiled.library.get_defined_functions():
    if function.name.startswith("_ZN6mosaic"):
        print("derivative" if "10derivative" in function.name else "part", function.linkage.name)
"""


def test_a_kernel_calls_its_own_parts_and_not_those_compiled_alone(tmp_path: Path) -> None:
    """Symbols that are not its own lead to the first that was compiled: a part without optimisation."""
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", PARTS], check=True, capture_output=True, text=True, env=env)
    assert set(done.stdout.splitlines()) <= {"derivative external", "part internal"}
    assert "derivative external" in done.stdout
