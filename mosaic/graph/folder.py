"""The job folder: made for a new job, found again for one to be continued, never shared by two runs."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from mosaic.errors import PlanMismatchError
from mosaic.graph.job import Job, chip_task, forget_job_state
from mosaic.graph.plan import PLAN_NAME, Plan
from mosaic.graph.software import software_versions
from mosaic.graph.store import (
    MASK_BAND_ROWS,
    ArrayDocument,
    create_arrays,
    create_group,
    describe_array,
    describe_mask,
    open_array,
    output_error,
    write_chunk,
)
from mosaic.places import Place, list_names, remove, size_of


def empty_folder(folder: Place) -> None:
    """Remove everything in the job folder but its lock and what the plan was made from; the plan goes first.

    Without the plan nothing else counts, should the rest stay because this process is killed.
    """
    names = list_names(folder)
    for name in sorted(names, key=lambda name: name != PLAN_NAME):
        if name not in {"lock", "inputs", "align"}:
            remove(folder / name)


def open_folder(folder: Place, plan: Plan, *, restart: bool) -> Job:
    """Prepare the job folder of a plan, or find the job to be continued in it.

    Parameters
    ----------
    folder : Path or RemotePlace
        The job folder, locked.
    plan : Plan
        What is to be done.
    restart : bool
        Discard what the folder holds.

    Raises
    ------
    PlanMismatchError
        When the folder holds a job of other inputs or parameters and `restart` is not set.
    OutputError
        When it cannot be written.
    """
    forget_job_state()
    if restart:
        empty_folder(folder)
    if size_of(folder / PLAN_NAME) >= 0:
        earlier = Plan.read(folder)
        if earlier.digest != plan.digest:
            raise PlanMismatchError(
                f"{folder} holds a job of other inputs or parameters; use --restart to discard it, "
                "or choose another output"
            )
        plan = plan.with_tiles_of(earlier)
    else:
        plan = replace(plan, incarnation=uuid.uuid4().hex[:12])
    plan = replace(plan, software=software_versions())
    job = Job(folder, plan)
    try:
        _create_arrays(job)
        plan.write(folder)
    except OSError as error:
        raise output_error(error, folder) from error
    return job


def _create_arrays(job: Job) -> None:
    """Create every array of the job, once, before any worker writes."""
    create_arrays(job.folder, list(_arrays(job)))
    if job.plan.settings.driz_combine:
        create_group(job.folder, "mosaic.zarr", _mosaic_attributes(job.plan))
        for axis, size in zip("yx", job.plan.final.grid.shape_yx, strict=True):
            write_chunk(open_array(job.store, f"mosaic.zarr/{axis}"), (slice(None),), np.arange(size))


def _arrays(job: Job) -> Iterator[ArrayDocument]:
    plan, settings = job.plan, job.plan.settings
    for chip in plan.chips:
        if settings.static:
            yield describe_mask(f"low/{chip_task(chip)}", chip.shape_yx)
        if settings.driz_cr:
            yield describe_mask(f"cosmic_rays/{chip_task(chip)}", chip.shape_yx)
    if settings.static:
        for group, members in job.static_groups.items():
            yield describe_mask(f"static/{group}", plan.chips[members[0]].shape_yx)
    if settings.median:
        yield _separate_plane(job, "median.zarr/median")
    if settings.driz_combine:
        yield from _mosaic_arrays(job)
    if not settings.clean:
        yield from _intermediate_arrays(job)


def _mosaic_attributes(plan: Plan) -> dict[str, Any]:
    return {"mosaic_version": plan.version, "plan": plan.digest, "wcs": plan.final.grid.to_header_cards()}


def _mosaic_arrays(job: Job) -> Iterator[ArrayDocument]:
    plan = job.plan
    unit = job.product_unit.unit(plan.settings.final_units)
    shape, tile = plan.final.grid.shape_yx, plan.final.tile
    planes = {"sci": unit, "wht": "s"} | ({"var": f"({unit})2"} if plan.settings.final_err else {})
    for name, plane_unit in planes.items():
        yield describe_array(
            f"mosaic.zarr/{name}",
            shape=tuple(shape),
            chunks=(tile, tile),
            dtype="float32",
            fill_value=0.0 if name == "wht" else untouched_value(job),
            dimensions=("y", "x"),
            attributes={"units": plane_unit},
        )
    for axis, size in zip("yx", shape, strict=True):
        yield describe_array(
            f"mosaic.zarr/{axis}",
            shape=(size,),
            chunks=(size,),
            dtype="int64",
            fill_value=0,
            dimensions=(axis,),
            attributes={"units": "pixel", "description": "0-based pixel of the output frame"},
        )
    if plan.settings.context:
        yield describe_array(
            "mosaic.zarr/ctx",
            shape=(plan.n_context_planes, *shape),
            chunks=(1, tile, tile),
            dtype="int32",
            fill_value=0,
            dimensions=("plane", "y", "x"),
        )


def untouched_value(job: Job) -> float:
    """Science value of pixels that no chip reaches (``final_fillval``, else ``final_maskval``, else NaN)."""
    settings = job.plan.settings
    for value in (settings.final_fillval, settings.final_maskval):
        if value is not None:
            return float(value)
    return float("nan")


def _separate_plane(job: Job, name: str) -> ArrayDocument:
    layer = job.plan.separate
    return describe_array(
        name,
        shape=tuple(layer.grid.shape_yx),
        chunks=(layer.tile, layer.tile),
        dtype="float32",
        fill_value=0.0,
        dimensions=("y", "x"),
        attributes={"units": "electron/s"},
    )


def _intermediate_arrays(job: Job) -> Iterator[ArrayDocument]:
    if job.keeps_singles:
        for exposure in job.plan.exposures:
            for kind in ("sci", "wht"):
                yield _separate_plane(job, f"intermediates.zarr/single_{kind}/{exposure.rootname}")
    if job.plan.settings.blot:
        for chip in job.plan.chips:
            yield describe_array(
                f"intermediates.zarr/blt/{chip_task(chip)}",
                shape=tuple(chip.shape_yx),
                chunks=(MASK_BAND_ROWS, chip.shape_yx.nx),
                dtype="float32",
                fill_value=0.0,
                dimensions=("y", "x"),
            )
