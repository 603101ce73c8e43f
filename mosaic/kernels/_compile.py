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

from llvmlite.binding import Linkage, create_new_module_pass_manager
from numba import config, njit
from numba.core.compiler import Compiler


def do_without_linear_algebra() -> None:
    """Import what numba compiles functions with, but neither SciPy's linear algebra nor cffi.

    They serve for matrix products and for functions of C, which no kernel contains, and take a third of a
    second to load. Only a program that is all our own may call this: in a notebook others compile with numba,
    too.
    """
    absent = [name for name in ("scipy.linalg", "cffi") if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # the way to say that there is none
    try:
        importlib.import_module("numba.core.typing.cffi_utils")
        importlib.import_module("numba.np.arraymath")
    finally:
        for name in absent:
            del sys.modules[name]


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


class _PartCompiler(Compiler):  # type: ignore[misc]  # numba is not followed
    """Leaves the optimisation of a part, and its machine code, to the kernels that it becomes part of.

    numba would optimise each part with all that it calls, and all of that again in whatever calls it: a
    quarter of the time that the first run on a machine spends on compiling. Nearly as much goes into the
    entrances from Python and C, which parts do without.
    """

    def define_pipelines(self) -> Any:  # noqa: ANN401
        """Give the passes of numba a library that is only there to be linked."""
        library = self.state.targetctx.codegen().create_library(self.state.func_id.func_qualname)
        library.enable_object_caching()
        library._optimize_final_module = _do_nothing  # noqa: SLF001 (numba has no other way)
        library._finalize_final_module = partial(_finalize_without_code, library)  # noqa: SLF001
        self.state.library = library
        return super().define_pipelines()


def _do_nothing() -> None:
    """Stand in for an optimisation."""


def _finalize_without_code(library: Any) -> None:  # noqa: ANN401
    """Finish the library of a part, keeping its functions for linking and from the engine.

    Of a function that several kernels contain the engine keeps the one it gets first. That would be the one
    of the part, which is not optimised.
    """
    library._finalized = True  # noqa: SLF001
    linked = library._get_module_for_linking()  # noqa: SLF001
    module = library._final_module  # noqa: SLF001
    if linked is module:
        library._shared_module = module.clone()  # noqa: SLF001
    for function in module.functions:
        if not function.is_declaration:
            function.linkage = Linkage.internal
    passes = create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, library.codegen._pass_builder())  # noqa: SLF001
    type(library)._finalize_final_module(library)  # noqa: SLF001


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
            pipeline_class=_PartCompiler if is_part else Compiler,
        )(function)
    finally:
        config.CACHE_DIR = previous
