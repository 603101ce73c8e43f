"""The job folder: made for a new job, found again for one to be continued, never shared by two runs."""

from __future__ import annotations

import uuid
from dataclasses import replace

import numpy as np

from mosaic.errors import PlanMismatchError
from mosaic.graph.job import Job, chip_task, forget_job_state
from mosaic.graph.plan import PLAN_NAME, Plan
from mosaic.graph.software import software_versions
from mosaic.graph.store import (
    MASK_BAND_ROWS,
    create_array,
    create_group,
    create_mask,
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
    plan, settings, folder = job.plan, job.plan.settings, job.folder
    for chip in plan.chips:
        if settings.static:
            create_mask(folder, f"low/{chip_task(chip)}", chip.shape_yx)
        if settings.driz_cr:
            create_mask(folder, f"cosmic_rays/{chip_task(chip)}", chip.shape_yx)
    if settings.static:
        for group, members in job.static_groups.items():
            create_mask(folder, f"static/{group}", plan.chips[members[0]].shape_yx)
    if settings.median:
        _create_plane(job, "median.zarr/median", "float32", 0.0)
    if settings.driz_combine:
        _create_mosaic(job)
    if not settings.clean:
        _create_intermediates(job)


def _create_mosaic(job: Job) -> None:
    plan, folder = job.plan, job.folder
    unit = job.product_unit.unit(plan.settings.final_units)
    create_group(
        folder,
        "mosaic.zarr",
        {"mosaic_version": plan.version, "plan": plan.digest, "wcs": plan.final.grid.to_header_cards()},
    )
    shape, tile = plan.final.grid.shape_yx, plan.final.tile
    planes = {"sci": unit, "wht": "s"} | ({"var": f"({unit})2"} if plan.settings.final_err else {})
    for name, plane_unit in planes.items():
        create_array(
            folder,
            f"mosaic.zarr/{name}",
            shape=tuple(shape),
            chunks=(tile, tile),
            dtype="float32",
            fill_value=0.0 if name == "wht" else untouched_value(job),
            dimensions=("y", "x"),
            attributes={"units": plane_unit},
        )
    for axis, size in zip("yx", shape, strict=True):
        name = f"mosaic.zarr/{axis}"
        create_array(
            folder,
            name,
            shape=(size,),
            chunks=(size,),
            dtype="int64",
            fill_value=0,
            dimensions=(axis,),
            attributes={"units": "pixel", "description": "0-based pixel of the output frame"},
        )
        write_chunk(open_array(str(folder), name), (slice(None),), np.arange(size))
    if plan.settings.context:
        create_array(
            folder,
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


def _create_plane(job: Job, name: str, dtype: str, fill_value: float) -> None:
    layer = job.plan.separate
    create_array(
        job.folder,
        name,
        shape=tuple(layer.grid.shape_yx),
        chunks=(layer.tile, layer.tile),
        dtype=dtype,
        fill_value=fill_value,
        dimensions=("y", "x"),
        attributes={"units": "electron/s"},
    )


def _create_intermediates(job: Job) -> None:
    if job.keeps_singles:
        for exposure in job.plan.exposures:
            for kind in ("sci", "wht"):
                _create_plane(job, f"intermediates.zarr/single_{kind}/{exposure.rootname}", "float32", 0.0)
    if job.plan.settings.blot:
        for chip in job.plan.chips:
            create_array(
                job.folder,
                f"intermediates.zarr/blt/{chip_task(chip)}",
                shape=tuple(chip.shape_yx),
                chunks=(MASK_BAND_ROWS, chip.shape_yx.nx),
                dtype="float32",
                fill_value=0.0,
                dimensions=("y", "x"),
            )
