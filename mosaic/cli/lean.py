"""Imports of a program that is all our own: without what its libraries load and it does not need."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_COORDINATES = ("astropy.coordinates", "astropy.coordinates.spectral_coordinate")


class _Absent(ModuleType):
    """Stands for a module while others are loaded that take names from it: all are empty classes."""

    def __getattr__(self, name: str) -> type:
        """Return a class that can be called with anything."""
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__init__": lambda _self, *_arguments, **_options: None})


def do_without_frames() -> None:
    """Import astropy's WCS without its coordinate frames, times and tables.

    They serve for its high-level interface, which no code of ours uses, and take a tenth of a second to load.
    """
    if _COORDINATES[0] in sys.modules:
        return
    sys.modules.update({name: _Absent(name) for name in _COORDINATES})
    try:
        importlib.import_module("astropy.wcs")
    finally:
        for name in _COORDINATES:
            del sys.modules[name]


@contextmanager
def lean_imports() -> Iterator[None]:
    """Import only what is needed, and look for no garbage then or later among what was imported.

    Without it a run takes three quarters of a second more.
    """
    gc.disable()
    try:
        from mosaic.kernels._compile import do_without_linear_algebra

        do_without_linear_algebra()
        do_without_frames()
        yield
    finally:
        gc.freeze()
        gc.enable()
