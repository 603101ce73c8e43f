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
from functools import cache, partial
from pathlib import Path
from typing import Any

from llvmlite.binding import Linkage
from numba import config, njit
from numba.core.compiler import Compiler


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
    return _compiled(function, forceinline=False, is_part=False)


def inlined(function: Callable[..., Any]) -> Any:  # noqa: ANN401
    """Compile a function as part of each kernel that calls it: a call would pass dozens of arguments."""
    return _compiled(function, forceinline=True, is_part=True)


def part(function: Callable[..., Any]) -> Any:  # noqa: ANN401
    """Compile a function that kernels call and that makes no array.

    It does not count the references to the arrays that it is given, which costs more than most of what these
    functions do, above all when two threads count the same ones. Python must not call it.
    """
    return _compiled(function, forceinline=False, is_part=True)


class _KernelCompiler(Compiler):  # type: ignore[misc]  # numba is not followed
    """Keeps the parts of a kernel to itself.

    Each part is also compiled alone, without being optimised. Where the kernel does not take in a part as a
    whole, the process that compiles both would call the one that came first, which is that one.
    """

    def define_pipelines(self) -> Any:  # noqa: ANN401
        """Give the passes of numba a library that hides what it was made of."""
        library = self.state.targetctx.codegen().create_library(self.state.func_id.func_qualname)
        library.enable_object_caching()
        library._optimize_final_module = partial(  # noqa: SLF001 (numba has no other way)
            _hide_parts,
            library,
            library._optimize_final_module,  # noqa: SLF001
        )
        self.state.library = library
        return super().define_pipelines()


def _hide_parts(library: Any, optimize: Callable[[], None]) -> None:  # noqa: ANN401
    """Optimise a library whose parts nobody else can call."""
    for function in library._final_module.functions:  # noqa: SLF001
        if function.linkage == Linkage.linkonce_odr and function.name.startswith("_ZN6mosaic"):
            function.linkage = Linkage.internal
    optimize()


class _PartCompiler(Compiler):  # type: ignore[misc]  # numba is not followed
    """Leaves the optimisation of a part to the kernels that it becomes part of.

    numba would optimise each part with all that it calls, and all of that again in whatever calls it: a
    quarter of the time that the first run on a machine spends on compiling. Nearly as much goes into the
    entrances from Python and C, which parts do without.
    """

    def define_pipelines(self) -> Any:  # noqa: ANN401
        """Give the passes of numba a library that is not optimised."""
        library = self.state.targetctx.codegen().create_library(self.state.func_id.func_qualname)
        library.enable_object_caching()
        library._optimize_final_module = _do_nothing  # noqa: SLF001 (numba has no other way)
        self.state.library = library
        return super().define_pipelines()


def _do_nothing() -> None:
    """Stand in for an optimisation."""


def _compiled(function: Callable[..., Any], *, forceinline: bool, is_part: bool) -> Any:  # noqa: ANN401
    # numba chooses the cache folder while it decorates; the setting of other users of numba is kept.
    previous = config.CACHE_DIR
    config.CACHE_DIR = str(cache_folder())
    try:
        return njit(
            nogil=True,
            cache=True,
            error_model="numpy",
            forceinline=forceinline,
            _nrt=not is_part,
            no_cpython_wrapper=is_part,
            no_cfunc_wrapper=is_part,
            pipeline_class=_PartCompiler if is_part else _KernelCompiler,
        )(function)
    finally:
        config.CACHE_DIR = previous
