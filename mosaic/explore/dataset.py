"""From an open session to a lazy `xarray.Dataset`."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from mosaic.explore.session import Session, close_session
from mosaic.graph.lazy import lazy_planes


def dataset_of(session: Session) -> xr.Dataset:
    """The dataset of an open session."""
    job = session.job
    planes = lazy_planes(job, session.budget)
    unit = job.product_unit.unit(job.plan.settings.final_units)
    frame = ("y", "x")
    variables: dict[str, Any] = {
        "sci": (frame, planes["sci"], {"units": unit, "long_name": "science image"}),
        "wht": (frame, planes["wht"], {"units": "s", "long_name": "weight map"}),
    }
    if "var" in planes:
        variables["err"] = (frame, np.sqrt(planes["var"]), {"units": unit, "long_name": "standard error"})
    if "ctx" in planes:
        variables["n_exposures"] = (frame, planes["n_exposures"], {"long_name": "exposures that contribute"})
        variables["ctx"] = (("plane", *frame), planes["ctx"], {"long_name": "context image"})
    ny, nx = job.plan.final.grid.shape_yx
    dataset = xr.Dataset(
        variables,
        coords={"y": ("y", np.arange(ny)), "x": ("x", np.arange(nx))},
        attrs={
            "wcs": [list(card) for card in job.plan.final.grid.to_header_cards()],
            "job": session.name,
            "plan": job.plan.digest,
            "mosaic_version": job.plan.version,
            "warnings": list(session.warnings),
        },
    )
    dataset.set_close(partial(close_session, session.name))
    return dataset
