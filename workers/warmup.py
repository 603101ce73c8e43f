"""Calls every kernel once on tiny arrays: compiles it, or loads it from the cache on disk.

A new process otherwise pays for this inside its first tasks: about a second with a filled cache,
half a minute without.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from mosaic.kernels import pixmap
from mosaic.kernels._compile import cache_folder
from mosaic.kernels.blot import INTERPOLATORS
from mosaic.kernels.crmask import cosmic_ray_band
from mosaic.kernels.drizzle import KERNELS
from mosaic.kernels.pixmap import MapModel
from mosaic.kernels.prepare import finish_sums, prepare_drops, select_usable
from mosaic.kernels.sky_pixels import blank_masked, collect_finite
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

    n_kernels: int
    """Kernels called."""
    seconds: float
    """Wall time."""


def warm_up() -> WarmupReport:
    """Call every kernel that a run may need, with the argument types of a run."""
    start = time.perf_counter()
    n_kernels = sum(warm() for warm in _WARMERS)
    return WarmupReport(n_kernels, time.perf_counter() - start)


def ensure_compiled() -> bool:
    """Fill the kernel cache of this machine in a process of its own, if that was not done yet.

    The compiler takes memory that a process never gives back, and several processes that start with an empty
    cache would all compile; so it is done once, before the work. Returns whether there was anything to do.
    """
    marker = cache_folder() / "complete"
    if marker.exists():
        return False
    # Kernels that cannot be compiled ahead are compiled when they are first called, so failure is no error.
    done = subprocess.run([sys.executable, "-m", "workers.warmup"], check=False, capture_output=True)
    if done.returncode == 0:
        marker.touch()
    return True


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
        cuts=np.zeros(0),
        bends_x=np.zeros(0),
        bends_y=np.zeros(0),
        bend_reach=0.0,
    )


def _plane() -> FloatArray:
    """Tiny image with some structure."""
    return np.arange(_NY * _NX, dtype=np.float32).reshape(_NY, _NX)


def _warm_pixmap() -> int:
    """Positions of a row and of scattered points."""
    x_out, y_out = np.empty(_NX), np.empty(_NX)
    pixmap.map_row(_model(), 0, _NX, 0.0, 0.0, x_out, y_out)
    pixmap.map_points(_model(), np.arange(float(_NX)), np.zeros(_NX), x_out, y_out)
    return 2


def _warm_drizzle() -> int:
    """Every drizzle kernel, with and without variance and context (the same compiled code)."""
    window = Window(0, _NY, 0, _NX)
    drops = DropWindow(window, _plane(), _plane(), _plane())
    context = np.zeros((_NY, _NX), dtype=np.int32)
    for name in KERNELS:
        tile = TileSum.empty(window, 0.0, with_variance=True)
        deposit(drops, _model(), DropShape(name, 1.0), 1.0, tile, context, 1)
    return len(KERNELS)


def _warm_statistics() -> int:
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
    return len(_STATISTICS)


def _warm_combine() -> int:
    """Every way to combine a stack."""
    stack = np.stack([_plane()] * 3)
    facts = [StackFacts(mean_weight=1.0, read_noise2_e=1.0, background_rate=1.0)] * 3
    for name in _COMBINE_TYPES:
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
    return len(_COMBINE_TYPES)


def _warm_blot() -> int:
    """Every interpolator."""
    out = np.zeros((_NY, _NX), dtype=np.float32)
    for interpolate in INTERPOLATORS.values():
        interpolate(_plane(), (0, 0), (_NY, _NX), _model(), (0, _NY, 0, _NX), 1.0, False, 1.0, out)
    return len(INTERPOLATORS)


def _warm_prepare() -> int:
    """Values and weights, and what becomes of their sums."""
    value, weight = _plane(), _plane()
    one, none = np.float32(1.0), np.zeros((0, 0), dtype=np.uint8)
    flags = np.zeros((_NY, _NX), dtype=np.uint16)
    select_usable(_plane(), flags, np.uint16(1), none, 0, np.empty(_NY * _NX, dtype=np.float32))
    finish_sums(np.ones((_NY, _NX)), np.ones((_NY, _NX)), value, weight)
    prepare_drops(_plane(), flags, np.uint16(1), none, none, 0, one, one, one, one, one, value, weight)
    blank_masked(_plane(), flags, np.uint16(1), none, none, value)
    collect_finite(value, 0, np.array([[0, 0, _NX]]), np.empty(_NX, dtype=np.float32))
    return 5


def _warm_cosmic_rays() -> int:
    """Cosmic-ray identification."""
    out = np.zeros((_NY, _NX), dtype=np.uint8)
    cosmic_ray_band(_plane(), _plane(), 0, (_NY, _NX), 1.0, 1.0, 5.0, 3.5, 3.0, 1.2, 0.7, 1, 0, 1, False, out)
    return 1


_WARMERS: Final[tuple[Callable[[], int], ...]] = (
    _warm_pixmap,
    _warm_drizzle,
    _warm_blot,
    _warm_combine,
    _warm_statistics,
    _warm_cosmic_rays,
    _warm_prepare,
)

if __name__ == "__main__":
    warm_up()
