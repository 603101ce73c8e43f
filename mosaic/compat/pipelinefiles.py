"""Files of a pipeline run: members of an association, their calibrated exposures, header updates, footprints.

Covers what `mosaic.compat.runastrodriz` needs to know and to write besides the drizzling itself.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from mosaic.errors import MissingFileError, OutputError, StructureError
from mosaic.exposure.association import is_association, read_association
from mosaic.geometry.tangent import sky_to_plane, spherical_midpoint
from mosaic.geometry.wcs import ChipWcs
from mosaic.headers.keywords import describe_wcsname, set_value
from mosaic.types import DoubleArray

_CALIBRATED: Final = ("_flt", "_flc")
_RAW: Final = "_raw"


@dataclass(frozen=True, slots=True)
class PipelineInput:
    """What a pipeline run works on."""

    path: Path
    """The file that was named."""
    root: str
    """Root of the trailer and of everything else that belongs to the input."""
    product: str
    """Root of the products, lower case."""
    members: tuple[str, ...]
    """Root names of the exposures, lower case."""

    @property
    def folder(self) -> Path:
        """Folder of the input."""
        return self.path.parent

    def calibrated(self, suffix: str) -> list[Path]:
        """Calibrated exposures of one kind (``_flt``, ``_flc``) that exist, in the order of the members."""
        paths = (self.folder / f"{member}{suffix}.fits" for member in self.members)
        return [path for path in paths if path.is_file()]

    def sets(self) -> dict[str, list[Path]]:
        """Calibrated exposures by suffix, kinds without files left out."""
        return {suffix: found for suffix in _CALIBRATED if (found := self.calibrated(suffix))}

    def raw_of(self, path: Path) -> Path:
        """Raw file of a calibrated one; it need not exist."""
        return path.with_name(f"{path.name.removesuffix('.fits').rpartition('_')[0]}{_RAW}.fits")

    def drizcorr(self) -> str:
        """Whether drizzling is wanted: DRIZCORR of the first raw file, else of the first calibrated one."""
        raw = self.folder / f"{self.members[0]}{_RAW}.fits"
        for path in (raw, *(files[0] for files in self.sets().values())):
            if path.is_file():
                return str(fits.getval(path, "DRIZCORR", ext=0) if _has(path, "DRIZCORR") else "").strip()
        return ""

    def exposure_ratio(self) -> float:
        """Longest over shortest exposure time, those without any left out."""
        times = [
            float(fits.getval(path, "EXPTIME", ext=0))
            for files in list(self.sets().values())[:1]
            for path in files
            if _has(path, "EXPTIME")
        ]
        lit = [time for time in times if time > 0.0]
        return max(lit) / min(lit) if lit else 1.0


def find_pipeline_input(name: str) -> PipelineInput:
    """Understand the input of a pipeline run: association table, raw or calibrated exposure.

    Raises
    ------
    MissingFileError
        When the file, or every calibrated exposure of it, is missing.
    StructureError
        When an association table has no members.
    """
    path = Path(name)
    if not path.is_file() and Path(f"{name}.fits").is_file():
        path = Path(f"{name}.fits")
    if not path.is_file():
        raise MissingFileError(name, "the file does not exist", "name an association, raw or calibrated file")
    stem = path.name.removesuffix(".fits")
    root = next((stem.partition(mark)[0] for mark in ("_raw", "_asn") if mark in stem), "")
    root = root or stem.rpartition("_")[0] or stem
    if is_association(path.name):
        association = read_association(str(path), allows_pairs=True)
        members, product = association.members, association.product
    else:
        members, product = (root.lower(),), root.lower()
    if not members:
        raise StructureError(path.name, "no exposure is present (MEMPRSNT)", "fetch its exposures")
    return PipelineInput(path.absolute(), root, product, members)


def edit_headers(path: Path, edit: Callable[[fits.HDUList], None]) -> None:
    """Change headers of a file: on a copy beside it, which then takes its name.

    Raises
    ------
    OutputError
        When the copy cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        shutil.copy2(path, temporary)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            with fits.open(temporary, mode="update", memmap=False) as hdul:
                edit(hdul)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: its headers cannot be updated ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def describe_exposure(hdul: fits.HDUList) -> None:
    """Write the footprint (S_REGION) and the kind of every WCS (WCSTYPE) into the SCI headers."""
    for index, hdu in enumerate(hdul):
        if hdu.name != "SCI":
            continue
        ra, dec = ChipWcs.from_hdulist(hdul, index).corners_sky()
        hdu.header["S_REGION"] = polygon(ra, dec, is_closed=True)
        for keyword in [key for key in hdu.header if key.startswith("WCSNAME") and len(key) <= 8]:
            kind = describe_wcsname(str(hdu.header[keyword]))
            set_value(hdu.header, keyword.replace("NAME", "TYPE"), kind)


def describe_product(hdul: fits.HDUList, exposures: Sequence[Path], trailer: str) -> None:
    """Write the footprint of a product, the convex outline of the exposures in it, and the log's name."""
    hdul[0].header["DRIZPARS"] = trailer
    corners = [_exposure_corners(path) for path in exposures]
    ra, dec = np.concatenate([c[0] for c in corners]), np.concatenate([c[1] for c in corners])
    target = next((hdu for hdu in hdul if hdu.name == "SCI"), hdul[0])
    target.header["S_REGION"] = polygon(*_convex_outline(ra, dec), is_closed=False)


def polygon(ra_deg: DoubleArray, dec_deg: DoubleArray, *, is_closed: bool) -> str:
    """STC-S polygon of sky positions in degrees; closed: the first is repeated at the end."""
    points = list(zip(ra_deg.tolist(), dec_deg.tolist(), strict=True))
    points += points[:1] if is_closed else []
    return "POLYGON ICRS " + " ".join(f"{ra} {dec}" for ra, dec in points)


def _has(path: Path, keyword: str) -> bool:
    return keyword in fits.getheader(path, ext=0)


def _exposure_corners(path: Path) -> tuple[DoubleArray, DoubleArray]:
    with fits.open(path, memmap=False) as hdul:
        found = [
            ChipWcs.from_hdulist(hdul, index).corners_sky()
            for index, hdu in enumerate(hdul)
            if hdu.name == "SCI"
        ]
    return np.concatenate([c[0] for c in found]), np.concatenate([c[1] for c in found])


def _convex_outline(ra_deg: DoubleArray, dec_deg: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Corners of the convex hull on the tangent plane, by Andrew's monotone chain."""
    xi, eta = sky_to_plane(ra_deg, dec_deg, spherical_midpoint(ra_deg, dec_deg))
    order = np.lexsort((eta, xi)).tolist()
    hull: list[int] = []
    for sweep in (order, order[::-1]):
        chain: list[int] = []
        for point in sweep:
            while len(chain) > 1 and _turns_right(xi, eta, chain[-2], chain[-1], point):
                chain.pop()
            chain.append(point)
        hull += chain[:-1]
    return ra_deg[hull], dec_deg[hull]


def _turns_right(xi: DoubleArray, eta: DoubleArray, a: int, b: int, c: int) -> bool:
    return bool((xi[b] - xi[a]) * (eta[c] - eta[a]) - (eta[b] - eta[a]) * (xi[c] - xi[a]) <= 0.0)
