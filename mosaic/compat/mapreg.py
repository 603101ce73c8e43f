"""``mapreg.MapReg`` and ``map_region_files`` with DrizzlePac's arguments: sky regions to chip regions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from mosaic.compat.tasks import task_values
from mosaic.errors import ParameterError
from mosaic.tools.extensions import parse_image_name
from mosaic.tools.mapreg import MappedRegions, RegionMap, map_regions
from mosaic.tools.region_images import Filter
from mosaic.values import is_blank

__all__ = ["MapReg", "map_region_files", "run"]
__taskname__ = "mapreg"

_DEFAULTS: Final = {
    "input_reg": None, "images": None, "img_wcs_ext": "SCI", "chip_reg": None, "outpath": "./regions",
    "filter": None, "catfname": "exclusions_cat.txt", "append": False, "verbose": True,
}  # fmt: skip
_FILTERS: Final[dict[str, Filter]] = {"fast": "fast", "precise": "precise", "": "all"}


def MapReg(  # noqa: N802  (DrizzlePac's name)
    input_reg: str | Sequence[str],
    images: str | Sequence[str],
    img_wcs_ext: Any = "sci",  # noqa: ANN401  (name, number or list)
    refimg: str | None = "",
    ref_wcs_ext: Any = "sci",  # noqa: ANN401
    chip_reg: str | None = "",
    outpath: str = "./regions",
    filter: str | None = "",  # noqa: A002
    catfname: str | None = "",
    iteractive: bool = False,  # noqa: FBT001, FBT002
    append: bool = False,  # noqa: FBT001, FBT002
    verbose: bool = True,  # noqa: FBT001, FBT002, ARG001
) -> list[MappedRegions]:
    """Map regions to the chips of images and write a region file for each.

    Parameters
    ----------
    input_reg, images : str or sequence of str
        Region files and exposures.
    img_wcs_ext : str, int or list
        Extensions to map to.
    refimg, ref_wcs_ext : str
        Image whose pixels the regions are in, when they are not on the sky.
    chip_reg : str
        Region file that is added to every chip.
    outpath : str
        Existing folder.
    filter : {None, "fast", "precise"}
        Which regions are kept.
    catfname : str
        List for the parameter ``exclusions`` of TweakReg, in `outpath`.
    iteractive, verbose : bool
        Must be False; without effect.
    append : bool
        Add to region files that exist.

    Raises
    ------
    ParameterError
        When a value is impossible.
    OutputError
        When `outpath` does not exist.
    """
    if iteractive:
        raise ParameterError("iteractive=True is not supported; leave it out")
    kind = "" if is_blank(filter) else str(filter).strip().lower()
    if kind not in _FILTERS:
        raise ParameterError(f"filter={filter!r} is neither None, 'fast' nor 'precise'")
    reference = "" if is_blank(refimg) else str(refimg)
    if reference and not parse_image_name(reference).extension and not is_blank(ref_wcs_ext):
        reference = f"{reference}[{ref_wcs_ext}]"
    return map_regions(
        input_reg,
        images,
        Path(outpath),
        RegionMap(img_wcs_ext, _FILTERS[kind], append),
        reference=reference,
        chip_regions="" if is_blank(chip_reg) else str(chip_reg),
        list_name="" if is_blank(catfname) else str(catfname),
    )


map_region_files = MapReg


def run(configObj: Any) -> list[MappedRegions]:  # noqa: ANN401  (DrizzlePac's name)
    """Run `MapReg` from a parameter object or file.

    Raises
    ------
    ParameterError
        For unknown names and impossible values.
    """
    return MapReg(**task_values(__taskname__, configObj, _DEFAULTS))
