"""All WCS solutions that a file holds: the primary, the alternates and the headerlets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from astropy.io import fits

from mosaic.geometry.correction import LinearWcs
from mosaic.geometry.wcs import header_number
from mosaic.solutions.alternates import wcs_names
from mosaic.solutions.distortion import current_distname
from mosaic.solutions.editing import open_solutions, science_indices
from mosaic.solutions.headerlets import from_extension, headerlet_extensions


@dataclass(frozen=True, slots=True)
class Solution:
    """One WCS solution; numbers are those of the first science extension."""

    source: Literal["primary", "alternate", "headerlet"]
    key: str
    """Letter of an alternate, running number of a headerlet, blank for the primary WCS."""
    wcsname: str
    hdrname: str
    crval_deg: tuple[float, float]
    orientat_deg: float
    rms_mas: tuple[float, float] | None
    """RMS of the fit in RA and Dec, milliarcseconds; None when unknown."""
    nmatch: int | None
    distname: str
    n_chips: int


def list_solutions(path: str | Path, extname: str = "SCI") -> list[Solution]:
    """List the solutions of a file in order: primary, alternates by key, headerlets by number.

    Parameters
    ----------
    path : path
        An exposure, a drizzled file or a headerlet.
    extname : str
        EXTNAME of the extensions; files without it are asked for SIPWCS and the primary HDU.

    Raises
    ------
    MissingFileError, StructureError, WcsError
        When it cannot be read, has no such extension, or a WCS is broken.
    """
    with open_solutions(path) as hdul:
        there = {hdu.name for hdu in hdul}
        name = next((n for n in (extname.upper(), "SIPWCS") if n in there), "PRIMARY")
        indices = science_indices(hdul, name, path=str(path))
        header = hdul[indices[0]].header
        distname = current_distname(hdul)
        found = [
            _solution(header, "alternate" if key.strip() else "primary", key.strip(), distname, len(indices))
            for key in wcs_names(header)
        ]
        for number, index in enumerate(headerlet_extensions(hdul), 1):
            headerlet = from_extension(hdul, index)
            sips = [sip for _extname, _extver, sip in headerlet.targets]
            source = headerlet.hdul[sips[0]].header.copy()
            source["HDRNAME"], source["WCSNAME"] = headerlet.hdrname, headerlet.wcsname
            if "NMATCH" not in source:
                source["NMATCH"] = headerlet.hdul[0].header.get("NMATCH", 0)
            solution = _solution(source, "headerlet", "", headerlet.distname, len(sips))
            found.append(replace(solution, key=str(number)))
    return found


def _solution(
    header: fits.Header,
    source: Literal["primary", "alternate", "headerlet"],
    key: str,
    distname: str,
    n_chips: int,
) -> Solution:
    """Solution of one header and key."""
    linear = LinearWcs.from_header(header, key)
    errors = [header_number(header, f"CRDER{axis}{key}") for axis in "12"]
    rms = (errors[0] * 3.6e6, errors[1] * 3.6e6) if errors[0] and errors[1] else None
    if rms is None:
        fits_rms = [header_number(header, f"{name}{key}") for name in ("RMS_RA", "RMS_DEC")]
        rms = (fits_rms[0], fits_rms[1]) if fits_rms[0] and fits_rms[1] else None
    nmatch = header_number(header, f"NMATCH{key}")
    return Solution(
        source,
        key,
        str(header.get(f"WCSNAME{key}", "")).strip(),
        str(header.get(f"HDRNAME{key}", "")).strip(),
        linear.crval_deg,
        linear.orientat_deg,
        rms,
        int(nmatch) if nmatch else None,
        distname,
        n_chips,
    )
