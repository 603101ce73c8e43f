"""Calls every kernel once on tiny arrays: compiles it, or loads it from the cache on disk.

A new process otherwise pays for this inside its first tasks: about a second with a filled cache,
twenty seconds on two cores without.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from mosaic.graph.plan import final_drop, separate_drop
from mosaic.kernels import pixmap
from mosaic.kernels._compile import cache_folder
from mosaic.kernels.blot import INTERPOLATORS
from mosaic.kernels.crmask import cosmic_ray_band
from mosaic.kernels.drizzle import KERNELS
from mosaic.kernels.exact_map import MapModel
from mosaic.kernels.prepare import count_usable, finish_sums, prepare_drops
from mosaic.kernels.rows import read_window
from mosaic.kernels.sky_pixels import blank_masked, collect_finite
from mosaic.settings import Settings
from mosaic.steps.drizzle import DropShape, DropWindow, TileSum, deposit
from mosaic.steps.median import COMPLETE_WEIGHT, CombineParams, StackFacts, combine_stack
from mosaic.steps.statistics import image_statistics
from mosaic.types import FloatArray, Window

_NY, _NX = 16, 24
"""Shape of the tiny arrays: not square, so that a mix-up of axes fails here already."""
_STATISTICS: Final = ("mean", "median", "mode", "midpt")
_COMBINE_TYPES: Final = ("minmed", "median", "mean", "sum", "minimum")


@dataclass(frozen=True, slots=True)
class WarmupReport:
    """What was made ready."""

    n_parts: int
    """Groups of kernels called."""
    seconds: float
    """Wall time."""


def warm_up(parts: Iterable[str] | None = None) -> WarmupReport:
    """Call kernels with the argument types of a run: all of them, or the parts named (keys of `PARTS`)."""
    start = time.perf_counter()
    names = list(PARTS if parts is None else parts)
    for name in names:
        PARTS[name]()
    return WarmupReport(len(names), time.perf_counter() - start)


def parts_of(settings: Settings) -> list[str]:
    """Parts of the kernels that a run with these parameters calls."""
    combine = settings.combine_type.removeprefix("i")
    return [
        "map",
        f"drizzle/{final_drop(settings).effective_kernel}",
        f"drizzle/{separate_drop(settings).effective_kernel}",
        f"blot/{settings.blot_interp}",
        f"combine/{combine if combine in _COMBINE_TYPES else settings.combine_type}",
        "statistics",
        "cosmic rays",
        "prepare",
    ]


def ensure_compiled(parts: Sequence[str]) -> bool:
    """Fill the kernel cache of this machine with the parts named, if that was not done yet.

    The compiler takes memory that a process never gives back, and several processes that start with an empty
    cache would all compile; so it is done once, before the work, by two processes that take about the same
    time: one for the map, the first of what maps pixels and the first of what does not, one for the rest,
    which finds the map compiled when it comes to need it. Returns whether there was anything to do.
    """
    folder = cache_folder()
    missing = [part for part in dict.fromkeys(parts) if not _marker(folder, part).exists()]
    if not missing:
        return False
    mapping = [part for part in missing if part == "map" or part.startswith(("drizzle/", "blot/"))]
    others = [part for part in missing if part not in mapping]
    groups = [mapping[:2] + others[:1], others[1:] + mapping[2:]]
    command = [sys.executable, "-m", "workers.warmup"]
    compilers = [
        (group, subprocess.Popen([*command, *group], stderr=subprocess.DEVNULL))  # noqa: S603 (own code)
        for group in groups
        if group
    ]
    for group, compiler in compilers:
        # Kernels that cannot be compiled ahead are compiled when they are first called: failure is no error.
        if compiler.wait() == 0:
            for part in group:
                _marker(folder, part).touch()
    return True


def _marker(folder: Path, part: str) -> Path:
    return folder / f"{part.replace('/', '_').replace(' ', '_')}.compiled"


def _model() -> MapModel:
    """Map that changes nothing: no tables, unit matrix."""
    table = np.zeros((1, 1))
    return MapModel(
        step=0,
        crpix_xy=np.ones(2),
        sip_a=table.copy(),
        sip_b=table.copy(),
        npol_x=table.copy(),
        npol_y=table.copy(),
        d2im_x=table.copy(),
        d2im_y=table.copy(),
        table_axes=np.ones((4, 6)),
        homography=np.eye(3),
        nodes=np.zeros((0, 0, 2)),
        cuts_x=np.zeros(0),
        cuts_y=np.zeros(0),
        bends_x=np.zeros(0),
        bends_y=np.zeros(0),
        bend_reach=0.0,
    )


def _plane() -> FloatArray:
    """Tiny image with some structure."""
    return np.arange(_NY * _NX, dtype=np.float32).reshape(_NY, _NX)


def _warm_map() -> None:
    """Positions of a row and of scattered points."""
    x_out, y_out = np.empty(_NX), np.empty(_NX)
    pixmap.map_row(_model(), 0, _NX, 0.0, 0.0, x_out, y_out)
    pixmap.map_points(_model(), np.arange(float(_NX)), np.zeros(_NX), x_out, y_out)


def _warm_drizzle(name: str) -> None:
    """A drizzle kernel, with and without variance and context (the same compiled code)."""
    window = Window(0, _NY, 0, _NX)
    drops = DropWindow(window, _plane(), _plane(), _plane())
    context = np.zeros((_NY, _NX), dtype=np.int32)
    tile = TileSum.empty(window, 0.0, with_variance=True)
    deposit(drops, _model(), DropShape(name, 1.0), 1.0, tile, context, 1)


def _warm_statistics() -> None:
    """Every clipped statistic."""
    values = _plane().ravel()
    for name in _STATISTICS:
        image_statistics(
            values,
            name,
            nclip=1,
            lower_sigma=4.0,
            upper_sigma=4.0,
            lower=None,
            upper=None,
            binwidth=0.1,
        )


def _warm_combine(name: str) -> None:
    """A way to combine a stack."""
    stack = np.stack([_plane()] * 3)
    facts = [StackFacts(mean_weight=1.0, read_noise2_e=1.0, background_rate=1.0)] * 3
    params = CombineParams(
        combine_type=name,
        nsigma=(4.0, 3.0),
        nlow=0,
        nhigh=0,
        lthresh=None,
        hthresh=None,
        grow=1,
        maskpt=0.3,
        newmasks=True,
        complete=COMPLETE_WEIGHT,
    )
    combine_stack(stack, stack, facts, params, 3)


def _warm_blot(name: str) -> None:
    """An interpolator."""
    out = np.zeros((_NY, _NX), dtype=np.float32)
    INTERPOLATORS[name](_plane(), (0, 0), (_NY, _NX), _model(), (0, _NY, 0, _NX), 1.0, False, 1.0, out)


def _warm_prepare() -> None:
    """Pixels from files, values and weights, and what becomes of their sums."""
    value, weight = _plane(), _plane()
    one, none = np.float32(1.0), np.zeros((0, 0), dtype=np.uint8)
    flags = np.zeros((_NY, _NX), dtype=np.uint16)
    for word in (np.uint16, np.uint32):
        read_window(np.int32(-1), 0, 0, True, np.empty((_NY, _NX), dtype=word))
    count_usable(_plane(), flags, np.uint16(1))
    finish_sums(np.ones((_NY, _NX)), np.ones((_NY, _NX)), value, weight)
    prepare_drops(_plane(), flags, np.uint16(1), none, none, 0, one, one, one, one, one, value, weight)
    blank_masked(_plane(), flags, np.uint16(1), none, none, value)
    collect_finite(value, 0, np.array([[0, 0, _NX]]), np.empty(_NX, dtype=np.float32))


def _warm_cosmic_rays() -> None:
    """Cosmic-ray identification."""
    out = np.zeros((_NY, _NX), dtype=np.uint8)
    numbers = (1.0, 1.0, 5.0, 3.5, 3.0, 1.2, 0.7, 0.0, 1, 0, 1, False)
    cosmic_ray_band(_plane(), _plane(), 0, (_NY, _NX), *numbers, out)


PARTS: Final[dict[str, Callable[[], None]]] = {
    "map": _warm_map,
    **{f"drizzle/{name}": partial(_warm_drizzle, name) for name in KERNELS},
    **{f"blot/{name}": partial(_warm_blot, name) for name in INTERPOLATORS},
    **{f"combine/{name}": partial(_warm_combine, name) for name in _COMBINE_TYPES},
    "statistics": _warm_statistics,
    "cosmic rays": _warm_cosmic_rays,
    "prepare": _warm_prepare,
}
"""What can be made ready, by name; each brings along what it calls."""

if __name__ == "__main__":
    warm_up(sys.argv[1:])
