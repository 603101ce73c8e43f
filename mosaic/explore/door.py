"""`open_mosaic`: a mosaic as a lazy `xarray.Dataset`, computed where it is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import xarray as xr

import mosaic.explore.accessor  # noqa: F401 (registers `.mosaic`)
from mosaic.errors import ParameterError
from mosaic.explore.dataset import dataset_of
from mosaic.explore.session import open_session
from mosaic.options import RunOptions
from mosaic.pipeline import resolve_alignment

if TYPE_CHECKING:
    from mosaic.alignment.settings import AlignChoice


def open_mosaic(
    inputs: str | Sequence[str],
    output: str = "",
    *,
    options: RunOptions | None = None,
    align: AlignChoice = None,
    **parameters: object,
) -> xr.Dataset:
    """Open the mosaic of some exposures without making it: pixels are computed when they are asked for.

    Every slice computes only the tiles it touches and what these depend on, with the same bits as a batch run
    with the same parameters. What was computed is kept in the job folder and not computed again.

    Parameters
    ----------
    inputs : str or sequence of str
        Exposures, as for `mosaic.drizzle`.
    output : str, optional
        Root of the job folder ``<output>.mosaic``, which `mosaic.drizzle` with the same output and parameters
        continues, and the other way round. By default a private folder that goes with the process.
    options : RunOptions, optional
        Cores and memory of the tasks in this process, side of the tiles. Dask's own scheduler settings decide
        where tasks run: threads of this process by default, a cluster when a `distributed.Client` is active
        (`output` must then lie where all its workers see it).
    align : bool, mapping or AlignParameters, optional
        Align the exposures first, as `mosaic.drizzle` does: their sources are found when the mosaic is
        opened. No headerlets are written.
    **parameters
        Parameters by DrizzlePac's names. ``final_err`` is on unless given.

    Returns
    -------
    xarray.Dataset
        ``sci`` and ``err`` (electron/s, or as ``proc_unit`` and ``final_units`` say), ``wht`` (s for EXP
        weights) and ``n_exposures`` over (y, x), float32, NaN or ``final_fillval`` where there is no
        coverage; ``ctx`` over (plane, y, x). Coordinates are 0-based pixels of the whole frame. The accessor
        ``.mosaic`` knows where it is on the sky. Close it to give its folder back before the process ends.

    Raises
    ------
    MosaicError
        As `mosaic.plan` does; errors of pixels appear when they are computed.
    AlignmentError
        When an exposure cannot be aligned, unless ``options.on_error`` is "skip".
    OutputError
        When another process works in the job folder.
    """
    named = (inputs,) if isinstance(inputs, str) else tuple(map(str, inputs))
    chosen = {"final_err": True, "runfile": ""} | parameters
    if not chosen.get("driz_combine", True):
        raise ParameterError("driz_combine=False makes no mosaic to open; leave it out")
    return dataset_of(
        open_session(named, output, options or RunOptions(), chosen, align=resolve_alignment(align))
    )
