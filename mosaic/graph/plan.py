"""The plan: plain data that says which tile needs which chips, before any pixel is read.

Covers output frames, tiles and their chips, and the digest that tells whether a job folder
belongs to the same run. Does not cover memory (`mosaic.graph.budget`) or carrying it out.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from mosaic.errors import PlanMismatchError, StoreError
from mosaic.exposure.model import Chip, Exposure
from mosaic.geometry.frames import RunGrids
from mosaic.geometry.grid import OutputGrid
from mosaic.geometry.pixmap import build_map_model
from mosaic.geometry.reach import ChipOutline, TileGrid, lattice_step
from mosaic.graph import codec
from mosaic.kernels.blot import INTERPOLATORS, interpolator_halo
from mosaic.kernels.drizzle import kernel_half_width
from mosaic.places import Place, get, put
from mosaic.settings import Settings
from mosaic.steps.drizzle import DropShape
from mosaic.types import ShapeYX, Window

PLAN_NAME = "plan.json"
"""The plan in its job folder."""

FORMAT = 5
"""Version of plan.json and of the arithmetic: raised when either changes; no job is continued across."""

BLOT_MARGIN = 2.0 + max(interpolator_halo(name) for name in INTERPOLATORS)
"""Pixels of the median around a mapped position that any interpolator can reach, with room to spare."""


@dataclass(frozen=True)
class Layer:
    """One output grid with its tiles and the chips that reach each tile."""

    grid: OutputGrid
    """Frame of the layer."""
    tile: int
    """Side of a tile, pixels."""
    chips_of_tile: dict[int, tuple[int, ...]]
    """Chip indices, ascending, of every tile that any chip may reach."""
    box_of_chip: tuple[Window, ...] = ()
    """Rectangle of the grid, not cut at its frame, that holds the image of each chip."""

    @property
    def n_columns(self) -> int:
        """Tiles along x."""
        return math.ceil(self.grid.shape_yx.nx / self.tile)

    @property
    def n_tiles(self) -> int:
        """Tiles of the whole grid, empty ones included."""
        return self.n_columns * math.ceil(self.grid.shape_yx.ny / self.tile)

    def window(self, tile: int) -> Window:
        """Pixels of a tile."""
        row, column = divmod(tile, self.n_columns)
        shape: ShapeYX = self.grid.shape_yx
        return Window(
            row * self.tile,
            min((row + 1) * self.tile, shape.ny),
            column * self.tile,
            min((column + 1) * self.tile, shape.nx),
        )

    def tiles_in(self, box: Window) -> list[int]:
        """Tiles that a rectangle touches, the rectangle cut at the grid."""
        shape = self.grid.shape_yx
        cut = box.intersect(Window(0, shape.ny, 0, shape.nx))
        if cut.is_empty:
            return []
        return [
            row * self.n_columns + column
            for row in range(cut.y0 // self.tile, (cut.y1 - 1) // self.tile + 1)
            for column in range(cut.x0 // self.tile, (cut.x1 - 1) // self.tile + 1)
        ]


@dataclass(frozen=True)
class Plan:
    """Everything needed to run or repeat a mosaic."""

    settings: Settings
    """Parameters, steps that do not apply already switched off."""
    exposures: tuple[Exposure, ...]
    """Inputs in the order of accumulation: (EXPSTART, root name)."""
    separate: Layer
    """Frame of the separate drizzles, the median and the blot."""
    final: Layer
    """Frame of the product."""
    version: str
    """Version of mosaic that made the plan."""
    header_rules: tuple[tuple[str, str, str], ...] = ()
    """Rules files of the user for blending headers: name, text, instrument (empty: all)."""
    incarnation: str = ""
    """Tells a job from an earlier one of the same inputs and parameters in the same folder."""
    software: dict[str, str] = field(default_factory=dict)
    """Versions that the driver runs with; not part of the identity."""

    @cached_property
    def chips(self) -> tuple[Chip, ...]:
        """All chips in the order of accumulation; the context number (uid) is the index plus one."""
        return tuple(chip for exposure in self.exposures for chip in exposure.chips)

    @cached_property
    def exposure_of_chip(self) -> tuple[int, ...]:
        """Index of the exposure of every chip."""
        return tuple(i for i, exposure in enumerate(self.exposures) for _ in exposure.chips)

    @cached_property
    def digest(self) -> str:
        """Identity of the job: inputs and parameters, not the way it is carried out."""
        identity = {
            "format": FORMAT,
            "settings": self.settings.canonical_json(),
            "inputs": [(e.rootname, e.fingerprint) for e in self.exposures],
            "frames": [codec.encode(layer.grid, {}) for layer in (self.separate, self.final)],
        }
        if self.header_rules:
            identity["rules"] = [(text, instrument) for _name, text, instrument in self.header_rules]
        return hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=16).hexdigest()

    @property
    def identity(self) -> str:
        """What a task is told of the job it belongs to."""
        return f"{self.digest}-{self.incarnation}"

    @property
    def n_context_planes(self) -> int:
        """Planes of the context image: 32 chips each."""
        return max(1, (len(self.chips) + 31) // 32)

    def write(self, folder: Place) -> None:
        """Write ``plan.json``: it appears whole or not at all."""
        arrays: dict[str, dict[str, Any]] = {}
        body = {
            "digest": self.digest,
            "incarnation": self.incarnation,
            "version": self.version,
            "software": self.software,
            "settings": json.loads(self.settings.model_dump_json()),
            "exposures": codec.encode(self.exposures, arrays),
            "layers": [
                {
                    "grid": codec.encode(layer.grid, arrays),
                    "tile": layer.tile,
                    "chips_of_tile": [[t, list(c)] for t, c in sorted(layer.chips_of_tile.items())],
                    "box_of_chip": [list(box) for box in layer.box_of_chip],
                }
                for layer in (self.separate, self.final)
            ],
            "arrays": arrays,
            "header_rules": self.header_rules,
        }
        put(folder / PLAN_NAME, json.dumps(body).encode())

    @classmethod
    def read(cls, folder: Place) -> Plan:
        """Read ``plan.json`` of a job folder.

        Raises
        ------
        StoreError
            When it is missing or damaged.
        """
        try:
            body = json.loads(get(folder / PLAN_NAME))
            arrays = codec.decode_arrays(body["arrays"])
            layers = [
                Layer(
                    codec.decode(layer["grid"], arrays),
                    layer["tile"],
                    {tile: tuple(chips) for tile, chips in layer["chips_of_tile"]},
                    tuple(Window(*box) for box in layer["box_of_chip"]),
                )
                for layer in body["layers"]
            ]
            plan = cls(
                Settings.model_validate(body["settings"]),
                codec.decode(body["exposures"], arrays),
                layers[0],
                layers[1],
                body["version"],
                tuple((name, text, instrument) for name, text, instrument in body.get("header_rules", ())),
                body.get("incarnation", ""),
                body.get("software", {}),
            )
        except (OSError, KeyError, ValueError, TypeError) as error:
            problem = f"{folder}/plan.json is missing or damaged ({error}); run with --restart"
            raise StoreError(problem) from error
        if plan.digest != body["digest"]:
            raise PlanMismatchError(f"{folder}/plan.json was made by another version; run with --restart")
        return plan

    def with_tiles_of(self, other: Plan) -> Plan:
        """The same plan on the tiles of an earlier one, so that its job can be continued."""
        return replace(self, separate=other.separate, final=other.final, incarnation=other.incarnation)


def reach(shape: DropShape, scale_ratio: float) -> float:
    """Output pixels that a drop can reach from the centre of its pixel."""
    return float(kernel_half_width(shape.effective_kernel, shape.pixfrac, scale_ratio)) + 1.0


def even_side(shape: ShapeYX, wanted: int) -> int:
    """Side of a tile near `wanted` that divides the longer axis of a frame evenly: slivers cost the most."""
    longest = max(shape)
    return math.ceil(longest / math.ceil(longest / (1.1 * wanted)))


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """What a layer is planned from."""

    grid: OutputGrid
    """Output frame."""
    tile: int
    """Side of a tile, pixels; made a little smaller or up to a tenth larger where that avoids slivers."""
    drop: DropShape
    """Kernel and pixfrac, which decide how far a pixel reaches."""
    halo: float
    """Pixels around a tile that are worked on with it."""


def plan_layers(chips: Sequence[Chip], specs: Sequence[LayerSpec]) -> tuple[Layer, ...]:
    """Find which chips reach which tiles of each grid; work follows the tiles found, not their number.

    Parameters
    ----------
    chips : sequence of Chip
        Chips in the order of accumulation.
    specs : sequence of LayerSpec
        The layers; those with the same frame share the maps of the chips.
    """
    sides = [even_side(spec.grid.shape_yx, spec.tile) for spec in specs]
    found: list[dict[int, list[int]]] = [{} for _ in specs]
    boxes: list[list[Window]] = [[] for _ in specs]
    for index, chip in enumerate(chips):
        outlines: dict[tuple[OutputGrid, int], ChipOutline] = {}
        for number, (spec, side) in enumerate(zip(specs, sides, strict=True)):
            ratio = spec.grid.scale_arcsec / chip.idcscale_arcsec
            key = (spec.grid, lattice_step(side, ratio))
            if key not in outlines:
                model = build_map_model(chip.wcs, spec.grid, in_patches=False)
                outlines[key] = ChipOutline.from_map(model, chip.shape_yx, key[1])
            boxes[number].append(outlines[key].box())
            reached = outlines[key].tiles(
                TileGrid(spec.grid.shape_yx, side), spec.halo + reach(spec.drop, ratio)
            )
            for tile in reached.tolist():
                found[number].setdefault(tile, []).append(index)
    return tuple(
        Layer(spec.grid, side, {tile: tuple(members) for tile, members in sorted(tiles.items())}, tuple(held))
        for spec, side, tiles, held in zip(specs, sides, found, boxes, strict=True)
    )


def plan_frames(chips: Sequence[Chip], settings: Settings, grids: RunGrids, tile: int) -> tuple[Layer, ...]:
    """Plan the layers of a run: that of the separate drizzles and the median, and that of the product."""
    halo = max(float(settings.combine_grow), BLOT_MARGIN)
    return plan_layers(
        chips,
        [
            LayerSpec(grids.separate, tile, separate_drop(settings), halo),
            LayerSpec(grids.final, tile, final_drop(settings), 0.0),
        ],
    )


def separate_drop(settings: Settings) -> DropShape:
    """Drops of the separate drizzle."""
    return DropShape(settings.driz_sep_kernel, settings.driz_sep_pixfrac)


def final_drop(settings: Settings) -> DropShape:
    """Drops of the final drizzle."""
    return DropShape(settings.final_kernel, settings.final_pixfrac)
