"""Making one of the solutions of a file its primary WCS: an alternate or an attached headerlet."""

from __future__ import annotations

from astropy.io import fits

from mosaic.solutions import alternates
from mosaic.solutions.alternates import ArchiveMode, find_key
from mosaic.solutions.apply import apply_as_primary, find_solution
from mosaic.solutions.editing import science_indices
from mosaic.solutions.headerlets import Headerlet
from mosaic.solutions.wcscorr import record_solutions


def use_solution(
    hdul: fits.HDUList, *, name: str = "", key: str | None = None, archive: bool = True, extname: str = "SCI"
) -> str:
    """Make a solution the primary WCS.

    Parameters
    ----------
    hdul : HDUList
        The file, changed in memory.
    name : str
        WCSNAME of a WCS, or HDRNAME or WCSNAME of an attached headerlet.
    key : str, optional
        Letter of an alternate, instead of `name`.
    archive : bool
        Keep the present primary WCS: as an alternate, and as a headerlet when a headerlet replaces it.
    extname : str
        EXTNAME of the extensions.

    Returns
    -------
    str
        WCSNAME of the new primary WCS.

    Raises
    ------
    ParameterError
        When there is no such solution; those there are, are listed.
    StructureError, WcsError
        When extensions are missing or a headerlet is broken.
    """
    place = str(hdul.filename() or "exposure")
    indices = science_indices(hdul, extname, path=place)
    headers = [hdul[index].header for index in indices]
    found: str | Headerlet
    if key is None and name:
        found = find_solution(hdul, name, indices[0])
    else:
        found = find_key(headers[0], key=key, name=name, where=place)
    if isinstance(found, Headerlet):
        apply_as_primary(hdul, found, attach_it=False, archive=archive, force=True)
        return found.wcsname
    if not found.strip():
        return str(headers[0].get("WCSNAME", "")).strip()
    for header in headers:
        find_key(header, key=found, where=place)
    record_solutions(hdul)
    if archive:
        alternates.archive(headers, mode=ArchiveMode.AUTO_RENAME, where=place)
    alternates.restore(headers, found)
    for index in indices:
        alternates.copy_to_companions(hdul, index)
    record_solutions(hdul)
    return str(headers[0].get("WCSNAME", "")).strip()
