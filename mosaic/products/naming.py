"""Names of products and of intermediate files, as DrizzlePac gives them.

Covers the rules that turn the `output` parameter into file names, and the names of separate drizzles,
median, blots and masks. Does not cover what is written into them (`mosaic.products.fits`) nor the
search for inputs. All names are base names; `folder` says where they go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mosaic.errors import ParameterError
from mosaic.places import Place, split_place
from mosaic.types import ShapeYX

ProductKind = Literal["sci", "wht", "ctx", "err"]

_SPLIT = re.compile(r"_dr[zc]")
_PRODUCT_SUFFIX = re.compile(r"_dr[a-z]$")
_EXPOSURE_SUFFIX = re.compile(r"_(crj|flt|flc|sfl|cal|raw|c0h|c0m|c0f|c1f)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ProductNames:
    """Names of the final products and of the intermediates that belong to the whole product."""

    folder: Place
    """Where all files go."""
    root: str
    """Text before `_drz` or `_drc` (DrizzlePac's product root; a WFPC2 root keeps its `_drw`)."""
    suffix: str
    """`_drz`, `_drc` or empty, with whatever follows it in the requested name."""

    @property
    def stem(self) -> str:
        """Root and suffix: what all final products begin with."""
        return self.root + self.suffix

    @property
    def rootname(self) -> str:
        """Value of the ROOTNAME keyword: the product name without any `_dr?`."""
        return _PRODUCT_SUFFIX.sub("", self.root)

    @property
    def built(self) -> str:
        """The multi-extension product (``build=True``)."""
        return f"{self.stem}.fits"

    def simple(self, kind: ProductKind) -> str:
        """Return the name of one single-image product (``build=False``)."""
        return f"{self.stem}_{kind}.fits"

    def place(self, name: str) -> Place:
        """Return where a file of this name goes."""
        return self.folder / name

    def path(self, name: str) -> Path:
        """Return the full path of one of the names; files are written on a disk, wherever they go then."""
        if not isinstance(self.folder, Path):
            raise ValueError(f"{self.folder} is not on a disk: write elsewhere and deliver")  # noqa: TRY004
        return self.folder / name

    @property
    def median(self) -> str:
        """The combined separate drizzles."""
        return f"{self.root}_med.fits"

    def static_mask(self, shape_yx: ShapeYX, ccdchip: int, group: str = "") -> str:
        """Return the name of a static mask.

        Parameters
        ----------
        shape_yx : ShapeYX
            Rows and columns of the chip.
        ccdchip : int
            Detector chip.
        group : str, optional
            Instrument and detector, to keep masks of a mixed run apart; empty gives DrizzlePac's name.
        """
        visit = self.root.rpartition("_")[0].lower()
        instrument = f"{group.lower()}_" if group else ""
        return f"{visit}_{instrument}{shape_yx.ny}x{shape_yx.nx}_{ccdchip}_staticMask.fits"


@dataclass(frozen=True, slots=True)
class ExposureNames:
    """Names of the intermediates that belong to one exposure."""

    root: str
    """Root name of the exposure."""

    @property
    def single_sci(self) -> str:
        """Separate drizzle, science."""
        return f"{self.root}_single_sci.fits"

    @property
    def single_wht(self) -> str:
        """Separate drizzle, weight."""
        return f"{self.root}_single_wht.fits"

    @property
    def cleaned(self) -> str:
        """Copy of the exposure with its cosmic rays replaced."""
        return f"{self.root}_crclean.fits"

    def blot(self, extver: int) -> str:
        """Return the name of the blotted median of a chip."""
        return f"{self.root}_sci{extver}_blt.fits"

    def cosmic_ray_mask(self, extver: int) -> str:
        """Return the name of the cosmic-ray mask of a chip."""
        return f"{self.root}_sci{extver}_crmask.fits"

    def weight_map(self, extver: int, step: Literal["single", "final"]) -> str:
        """Return the name of the input weight map of a chip in one of the two drizzle steps."""
        return f"{self.root}_sci{extver}_{step}_mask.fits"

    def sky_mask(self, extver: int) -> str:
        """Return the name of the mask that the sky step used for a chip."""
        return f"{self.root}_skymatch_mask_sci{extver}.fits"

    def dq_mask(self, extver: int) -> str:
        """Return the name of the data-quality mask of a WFPC2 chip."""
        return f"{self.root}_sci{extver}_dqmask.fits"


def product_extension(first_input: str, instrument: str) -> str:
    """Return `_drc`, `_drz` or `_drw`, from the first input and its instrument."""
    if instrument.upper() == "WFPC2":
        return "_drw"
    name = Path(first_input).name.removesuffix(".gz")
    return "_drc" if name.endswith("_flc.fits") else "_drz"


def exposure_root(filename: str) -> str:
    """Return the root name of an exposure file: its base name without calibration suffix and extension."""
    name = Path(filename).name
    for ending in (".gz", ".fits"):
        name = name.removesuffix(ending)
    return _EXPOSURE_SUFFIX.sub("", name)


def resolve_product_names(
    output: str,
    first_input: str,
    *,
    instrument: str,
    n_exposures: int,
    association: str = "",
) -> ProductNames:
    """Resolve the names of the products of a run.

    Parameters
    ----------
    output : str
        The `output` parameter, with or without folder, suffix and extension; empty when not given.
    first_input : str
        First input file: its suffix decides between `_drz` and `_drc`, its root is the name of a
        product of one exposure.
    instrument : str
        INSTRUME of the first input.
    n_exposures : int
        Number of exposures.
    association : str, optional
        Product name of the association table, used when `output` is empty.
    """
    extension = product_extension(first_input, instrument)
    folder, name = split_place(output)
    if not name:
        name = association or (exposure_root(first_input) if n_exposures == 1 else "final")
    if ".fits" not in name and extension not in name:
        name += extension
    name = name.partition(".fits")[0]
    cut = _SPLIT.search(name)
    at = cut.start() if cut else len(name)
    if not name[:at]:
        raise ParameterError(f"output {output!r} leaves no name for the products; give one such as 'm51'")
    return ProductNames(folder, name[:at], name[at:])
