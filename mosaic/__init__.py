"""Hubble exposures in, science mosaics out: parallel, within a stated memory, the same bits every time.

``mosaic.drizzle(inputs, output, **parameters)`` makes a mosaic, ``mosaic.plan(...)`` says what it would
take, ``mosaic.open_mosaic(...)`` lets one look at it before it is made, ``mosaic.align(...)`` brings
exposures into line. Nothing scientific is imported before one of them is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mosaic.alignment.run import align
    from mosaic.explore.door import open_mosaic
    from mosaic.options import RunOptions
    from mosaic.pipeline import PlanReport, Result, drizzle, plan

__all__ = ["PlanReport", "Result", "RunOptions", "align", "drizzle", "open_mosaic", "plan"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import a public name when it is first used."""
    if name == "RunOptions":
        from mosaic.options import RunOptions  # noqa: PLC0415

        return RunOptions
    if name == "align":
        from mosaic.alignment import require_libraries  # noqa: PLC0415

        require_libraries()
        from mosaic.alignment.run import align  # noqa: PLC0415

        return align
    if name == "open_mosaic":
        from mosaic.explore.door import open_mosaic  # noqa: PLC0415

        return open_mosaic
    if name in __all__:
        from mosaic import pipeline  # noqa: PLC0415

        return getattr(pipeline, name)
    raise AttributeError(f"module 'mosaic' has no attribute {name!r}")
