"""A job as one process sees it: the plan, its ledger, and what is derived from them once.

Every worker makes its own `Job` from the job folder, so that a task needs nothing but names; maps
and windows are derived on first use and kept. Nothing here is shared between processes.
"""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from mosaic.errors import PlanMismatchError
from mosaic.exposure.cache import ROW_CACHE
from mosaic.exposure.dq import parse_bits, resolve_mask
from mosaic.exposure.kept import BoundedCache
from mosaic.exposure.model import Chip, SkyLevel
from mosaic.exposure.reader import is_lit, read_dq
from mosaic.exposure.scratch import SCRATCH
from mosaic.exposure.units import ProductUnit, product_unit
from mosaic.geometry.cells import ChipCells
from mosaic.geometry.outline import OutlineIndex, chip_outline
from mosaic.geometry.pixmap import build_map_model
from mosaic.graph.cancel import raise_if_withdrawn
from mosaic.graph.ledger import WEIGHT_SOLUTION, Ledger
from mosaic.graph.plan import Layer, Plan, final_drop, reach, separate_drop
from mosaic.graph.singles import STACK_CACHE
from mosaic.graph.software import require_same_software
from mosaic.graph.store import forget_arrays
from mosaic.kernels.exact_map import MapModel
from mosaic.places import Place, is_remote, place_of
from mosaic.steps.drizzle import DropShape
from mosaic.steps.median import COMPLETE_WEIGHT, CombineParams, StackFacts, exposure_background
from mosaic.types import BoolArray, DoubleArray, Window

PEER_BLOT_STEP = 10
"""Step of the coordinate table of the system replaced when it blots, whatever its drizzle uses."""


MODELS_KEPT = 2048
"""Maps of chips that a job keeps; they share the tables of their detector."""

CELLS_BYTES = 48 << 20
"""Memory for coarse boxes of chips that a job keeps."""


@dataclass(frozen=True, slots=True)
class TaskLimits:
    """How much memory a task may use at a time; changes no bit of any result."""

    strip_bytes: int
    """Bytes for the stack of a strip while combining."""
    band_pixels: int
    """Input pixels prepared at a time while drizzling."""
    row_cache_bytes: int = 0
    """Bytes for input rows that the process keeps."""
    stack_cache_bytes: int = 0
    """Bytes for separate drizzles that the process keeps between two phases."""
    n_at_a_time: int = 0
    """Tasks that a process works at a time, whatever number of threads it has; 0: all it is given."""


@dataclass(frozen=True)
class Frame:
    """A layer together with the drops that go into it."""

    layer: Layer
    drop: DropShape
    good_bits: int | None
    """Data-quality bits that count as good; None: flags are ignored."""


class Job:
    """Plan and ledger of a job folder with everything derived from them.

    Parameters
    ----------
    folder : Path or RemotePlace
        The job folder.
    plan : Plan
        Its plan.
    """

    def __init__(self, folder: Place, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan
        self.ledger = Ledger(folder, plan.incarnation)
        self._models: BoundedCache[MapModel] = BoundedCache(MODELS_KEPT)
        self._cells: BoundedCache[ChipCells] = BoundedCache(CELLS_BYTES)
        self._mean_weights: dict[int, float] = {}

    @property
    def store(self) -> str:
        """The job folder as the store functions want it."""
        return str(self.folder)

    def raise_if_withdrawn(self) -> None:
        """Leave a task whose run was cancelled or replaced by another in the same folder.

        Raises
        ------
        RunCancelledError
            When it was.
        """
        raise_if_withdrawn(self.store, self.plan.identity)

    @cached_property
    def separate(self) -> Frame:
        """Frame of the separate drizzles and the median."""
        settings = self.plan.settings
        return Frame(self.plan.separate, separate_drop(settings), parse_bits(settings.driz_sep_bits))

    @cached_property
    def final(self) -> Frame:
        """Frame of the product."""
        settings = self.plan.settings
        return Frame(self.plan.final, final_drop(settings), parse_bits(settings.final_bits))

    @cached_property
    def chip_index(self) -> dict[str, int]:
        """Index of every chip by its task name."""
        return {chip_task(chip): index for index, chip in enumerate(self.plan.chips)}

    @cached_property
    def static_groups(self) -> dict[str, list[int]]:
        """Chips that share a static mask, by task name of the group."""
        groups: dict[str, list[int]] = {}
        for index, chip in enumerate(self.plan.chips):
            groups.setdefault(chip.static_group, []).append(index)
        return {f"g{number:03d}": groups[key] for number, key in enumerate(sorted(groups))}

    @cached_property
    def group_of_chip(self) -> dict[int, str]:
        """Task name of the static group of every chip."""
        return {index: name for name, members in self.static_groups.items() for index in members}

    @cached_property
    def sky(self) -> dict[str, SkyLevel]:
        """Sky of every chip by name, once the sky was solved."""
        levels = self.ledger.require_one("sky_solution").facts["levels"]
        return {name: SkyLevel(*level) for name, level in levels.items()}

    @cached_property
    def outlines(self) -> list[DoubleArray]:
        """Outline of every chip on the sky."""
        return [chip_outline(chip.wcs, peer=self.plan.settings.peer_compat) for chip in self.plan.chips]

    @cached_property
    def outline_index(self) -> OutlineIndex:
        """Finds the outlines near one."""
        return OutlineIndex(self.outlines)

    def mean_weights(self, exposures: Iterable[int]) -> list[float]:
        """Mean weight of the separate drizzle of exposures, once all their tiles were weighed.

        0 where the median does not ask for it.
        """
        wanted = list(exposures)
        if not self.plan.settings.median_newmasks:
            return [0.0] * len(wanted)
        missing = [i for i in wanted if i not in self._mean_weights]
        names = [self.plan.exposures[i].rootname for i in missing]
        for i, record in zip(missing, self.ledger.require_few(WEIGHT_SOLUTION, names), strict=True):
            self._mean_weights[i] = record.facts["mean"]
        return [self._mean_weights[i] for i in wanted]

    @cached_property
    def _inspected(self) -> list[int]:
        return list(self.ledger.require_one("static_solution").facts["n_not_finite"])

    def is_all_finite(self, index: int) -> bool:
        """Whether every science pixel of a chip is a finite number."""
        return self._inspected[index] == 0

    @cached_property
    def _kept_bits(self) -> np.uint16:
        return np.uint16(0xFFFF & ~resolve_mask(self.plan.settings.resetbits, "resetbits"))

    def good_flags(self, index: int, window: Window, good_bits: int | None) -> BoolArray:
        """Pixels of a chip whose flags are all good, ``resetbits`` cleared first."""
        flags, bad_bits = self.flags(index, window, good_bits)
        is_good: BoolArray = (flags & bad_bits) == 0
        return is_good

    def flags(
        self, index: int, window: Window, good_bits: int | None, *, for_sky: bool = False
    ) -> tuple[NDArray[np.uint16], np.uint16]:
        """Flags of a chip and those of them that mask; ignored flags (None) still leave a shadow masked.

        DrizzlePac forgets the shadow where it measures the sky.
        """
        chip = self.plan.chips[index]
        is_shaded = bool(chip.shadow_edge) and not (for_sky and self.plan.settings.peer_compat)
        if good_bits is None and is_shaded:
            return (~is_lit(chip, window)).astype(np.uint16), np.uint16(1)
        return read_dq(chip, window), self.bad_bits(good_bits)

    def bad_bits(self, good_bits: int | None) -> np.uint16:
        """Flags that mask a pixel: neither good nor among ``resetbits``; None: flags are ignored."""
        if good_bits is None:
            return np.uint16(0)
        return np.uint16(int(self._kept_bits) & ~good_bits & 0xFFFF)

    def model(self, frame: Frame, index: int) -> MapModel:
        """Map of a chip to a frame, as drizzling uses it."""
        return self._model(frame, index, self.plan.settings.stepsize)

    def blot_model(self, index: int) -> MapModel:
        """Map of a chip to the separate frame, as blotting uses it."""
        return self._model(self.separate, index, PEER_BLOT_STEP if self.blots_like_peer else 0)

    @property
    def blots_like_peer(self) -> bool:
        """Whether positions in the median come from a coarse table and are rounded to single precision."""
        return self.plan.settings.stepsize > 0 or self.plan.settings.peer_compat

    def _grid_name(self, frame: Frame) -> str:
        """Name of the grid of a frame; frames on the same grid share what is derived from it."""
        return "final" if frame.layer.grid == self.plan.final.grid else "separate"

    def _model(self, frame: Frame, index: int, step: int) -> MapModel:
        key = (f"{self._grid_name(frame)}{step}", index)
        chip, grid = self.plan.chips[index], frame.layer.grid
        return self._models.get(key, lambda: build_map_model(chip.wcs, grid, step), lambda _model: 1)

    def cells(self, frame: Frame, index: int) -> ChipCells:
        """Coarse boxes of a chip in a frame."""
        key = (self._grid_name(frame), index)
        shape = self.plan.chips[index].shape_yx

        def build() -> ChipCells:
            return ChipCells.from_map(self._model(frame, index, 0), shape)

        return self._cells.get(key, build, lambda cells: cells.n_bytes)

    def scale_ratio(self, frame: Frame, index: int) -> float:
        """Output pixel scale over the natural scale of a chip."""
        return frame.layer.grid.scale_arcsec / self.plan.chips[index].idcscale_arcsec

    def chip_window(self, frame: Frame, index: int, target: Window) -> Window:
        """Pixels of a chip that can reach a rectangle of a frame."""
        margin = reach(frame.drop, self.scale_ratio(frame, index))
        return self.cells(frame, index).window_for(target, margin)

    @property
    def keeps_singles(self) -> bool:
        """Whether the separate drizzles are kept as intermediates."""
        return not self.plan.settings.clean and self.plan.settings.driz_separate

    @cached_property
    def product_unit(self) -> ProductUnit:
        """Unit of the final product."""
        settings = self.plan.settings
        return product_unit(self.plan.chips, settings.proc_unit, peer_compat=settings.peer_compat)

    @cached_property
    def combine_params(self) -> CombineParams:
        """How the median is made."""
        s = self.plan.settings
        return CombineParams(
            s.combine_type,
            s.combine_nsigma,
            s.combine_nlow,
            s.combine_nhigh,
            self._threshold(s.combine_lthresh),
            self._threshold(s.combine_hthresh),
            s.combine_grow,
            s.combine_maskpt,
            s.median_newmasks,
            0.0 if s.peer_compat else COMPLETE_WEIGHT,
            s.peer_compat,
        )

    def _threshold(self, value: float | None) -> float | None:
        """Limit of valid values, electrons/s; DrizzlePac converts it again for every exposure."""
        if value is None or not self.plan.settings.peer_compat:
            return value
        for exposure in self.plan.exposures:
            chip = exposure.chips[0]
            value *= chip.gain if chip.native_unit.startswith("COUNTS") else 1.0
            value *= chip.exptime_s if chip.is_rate else 1.0
        return value

    def stack_facts(self, exposures: Collection[int]) -> list[StackFacts]:
        """Numbers of exposures for the combination."""
        means = self.mean_weights(exposures)
        return [self._stack_facts(*pair) for pair in zip(exposures, means, strict=True)]

    def _stack_facts(self, exposure: int, mean_weight: float) -> StackFacts:
        chips = self.plan.exposures[exposure].chips
        skies = [self.sky[chip.name].background for chip in chips]
        return StackFacts(
            mean_weight,
            float(np.mean([chip.read_noise_e**2 for chip in chips])),
            exposure_background(
                skies,
                [chip.to_electrons for chip in chips],
                peer_compat=self.plan.settings.peer_compat,
            )
            / chips[0].exptime_s,
        )

    def weight_unit(self, exposure: int) -> float:
        """Typical weight of an exposure in the separate frame; fixes the resolution of weight sums."""
        return float(self.plan.exposures[exposure].chips[0].exptime_s)


def chip_task(chip: Chip) -> str:
    """Name of a chip in the ledger."""
    return f"{chip.rootname}_{chip.extver}"


def tile_task(tile: int) -> str:
    """Name of a tile in the ledger."""
    return f"t{tile:06d}"


def tile_of(task: str) -> int:
    """Tile of a ledger name."""
    return int(task[1:])


def tile_tasks(tiles: Iterable[int]) -> list[str]:
    """Ledger names of tiles."""
    return [tile_task(tile) for tile in tiles]


def forget_job_state() -> None:
    """Drop everything this process keeps of jobs in memory: handles, rows, masks, stacks."""
    forget_arrays()
    ROW_CACHE.resize(0)
    STACK_CACHE.clear()


def leave_job(identity: str) -> None:
    """Give back what this machine keeps on its disk for a job that has ended."""
    SCRATCH.leave(identity)


@lru_cache(maxsize=16)
def open_job(folder: str, identity: str) -> Job:
    """The job of a folder, made once per process; a worker that outlives a job keeps nothing of it.

    Raises
    ------
    PlanMismatchError
        When the folder holds another job than the caller means.
    ClusterError
        When this process has other versions of what results depend on than the driver.
    """
    forget_job_state()
    place = place_of(folder)
    plan = Plan.read(place)
    if plan.identity != identity:
        raise PlanMismatchError(f"{folder} holds another job; run with --restart or choose another output")
    if any(is_remote(chip.sci.path) for chip in plan.chips):
        SCRATCH.use(plan.identity)
    if plan.software:
        require_same_software(plan.software, f"the worker on {platform.node()}")
    return Job(place, plan)
