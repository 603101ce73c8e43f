"""DrizzlePac's calls under DrizzlePac's names: an existing script runs after changing its import line.

``from mosaic.compat import astrodrizzle`` stands for ``from drizzlepac import astrodrizzle``; nothing is
imported before it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

__all__ = [
    "altwcs",
    "astrodrizzle",
    "buildwcs",
    "headerlet",
    "mapreg",
    "photeq",
    "pixreplace",
    "pixtopix",
    "pixtosky",
    "resetbits",
    "runastrodriz",
    "skytopix",
    "tweakback",
    "tweakreg",
    "updatehdr",
    "updatenpol",
]


def __getattr__(name: str) -> ModuleType:
    """Import a task when it is first used."""
    if name in __all__:
        return import_module(f"mosaic.compat.{name}")
    raise AttributeError(f"module 'mosaic.compat' has no attribute {name!r}")
