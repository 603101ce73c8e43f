"""How every kernel is compiled: without the GIL, cached on local disk, IEEE arithmetic.

Neither ``fastmath`` (it would let the bits of a pixel depend on its place in a vector) nor
``parallel`` (its thread pool must not be entered from two Dask threads) is ever used. numba notices a
change of the file of a kernel but not of the kernels that it calls, so the cache folder carries a digest of
all of them.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import config, njit


def do_without_linear_algebra() -> None:
    """Import what numba compiles array functions with, but not SciPy's linear algebra.

    It serves for matrix products, which no kernel contains, and takes a quarter of a second to load. Only a
    program that is all our own may call this: in a notebook others compile with numba, too.
    """
    if "scipy.linalg" in sys.modules:
        return
    sys.modules["scipy.linalg"] = None  # the way to say that there is none
    try:
        importlib.import_module("numba.np.arraymath")
    finally:
        del sys.modules["scipy.linalg"]


@cache
def cache_folder() -> Path:
    """Folder of the compiled kernels: of this user, on this machine, of these very sources where they lie."""
    # numba names its files after the place of the source, so another installation starts anew.
    digest = hashlib.blake2b(str(Path(__file__).parent).encode(), digest_size=8)
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    root = os.environ.get("NUMBA_CACHE_DIR") or f"{tempfile.gettempdir()}/mosaic-kernels-{os.getuid()}"
    return Path(root) / digest.hexdigest()


def kernel(function: Callable[..., Any]) -> Any:  # noqa: ANN401
    """Compile a function when it is first called, or load it from the cache."""
    return _compiled(function, forceinline=False, counts=True)


def inlined(function: Callable[..., Any]) -> Any:  # noqa: ANN401
    """Compile a function as part of each kernel that calls it: a call would pass dozens of arguments."""
    return _compiled(function, forceinline=True, counts=False)


def part(function: Callable[..., Any]) -> Any:  # noqa: ANN401
    """Compile a function that kernels call and that makes no array.

    It does not count the references to the arrays that it is given, which costs more than most of what these
    functions do, above all when two threads count the same ones. Python must not call it.
    """
    return _compiled(function, forceinline=False, counts=False)


def _compiled(function: Callable[..., Any], *, forceinline: bool, counts: bool) -> Any:  # noqa: ANN401
    # numba chooses the cache folder while it decorates; the setting of other users of numba is kept.
    previous = config.CACHE_DIR
    config.CACHE_DIR = str(cache_folder())
    try:
        return njit(nogil=True, cache=True, error_model="numpy", forceinline=forceinline, _nrt=counts)(
            function
        )
    finally:
        config.CACHE_DIR = previous
