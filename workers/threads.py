"""One thread policy: the scheduler owns the cores, every library inside a task uses one thread.

Kernels release the GIL and run one per core; a BLAS or OpenMP pool inside each would put more
threads on the machine than it has cores.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from types import MappingProxyType
from typing import Final

THREAD_ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "VECLIB_MAXIMUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
        "BLOSC_NTHREADS": "1",
    }
)
"""Variables that libraries read when they are first imported."""


def limit_threads(environment: MutableMapping[str, str] | None = None) -> dict[str, str]:
    """Ask every library for one thread; values the user has set are kept.

    Parameters
    ----------
    environment : mutable mapping, optional
        The process environment by default.

    Returns
    -------
    dict of str to str
        What was set.
    """
    target = os.environ if environment is None else environment
    added = {name: value for name, value in THREAD_ENVIRONMENT.items() if name not in target}
    target.update(added)
    return added
