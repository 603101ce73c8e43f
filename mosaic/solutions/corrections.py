"""Writing a correction of pointing into the headers of an exposure.

Covers archiving the old primary WCS, the new CRVAL and CD of every chip with what is known of the fit, and
the table WCSCORR. Does not cover computing the change (`mosaic.geometry.correction`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from astropy.io import fits

from mosaic.errors import ParameterError
from mosaic.geometry.correction import LinearWcs, correct_chip
from mosaic.geometry.tangent import Matrix2, PairXY
from mosaic.solutions import alternates
from mosaic.solutions.alternates import ArchiveMode
from mosaic.solutions.wcscorr import record_solutions, unrecorded
from mosaic.types import DoubleArray


@dataclass(frozen=True, slots=True)
class FitFacts:
    """What is known of the fit behind a new WCS; None is not written."""

    rms_ra_deg: float | None = None
    rms_dec_deg: float | None = None
    nmatch: int | None = None
    history: tuple[str, ...] = field(default=())
    """Lines for HISTORY of every chip."""


def require_free_name(header: fits.Header, name: str, place: str) -> None:
    """Refuse a WCSNAME that an alternate has already.

    Raises
    ------
    ParameterError
        With the names there are.
    """
    names = alternates.wcs_names(header, include_primary=False)
    if name.strip().upper() in {other.upper() for other in names.values()}:
        listed = ", ".join(f"{key} ({other})" for key, other in names.items())
        raise ParameterError(
            f"{place}: the name {name!r} is used already (there are: {listed}); give another name"
        )


def correct_exposure(
    hdul: fits.HDUList,
    indices: Sequence[int],
    change: DoubleArray,
    wcsname: str,
    facts: FitFacts | None = None,
    *,
    reuse_name: bool = False,
) -> tuple[str, str]:
    """Apply a change to the primary WCS of chips; the old one becomes an alternate.

    Parameters
    ----------
    hdul : HDUList
        The exposure, changed in memory.
    indices : sequence of int
        Its science extensions.
    change : ndarray of float64, shape (3, 3)
        Homography of directions.
    wcsname : str
        WCSNAME of the new primary WCS.
    facts : FitFacts, optional
        What is known of the fit.
    reuse_name : bool
        Allow a name that an alternate has already.

    Returns
    -------
    (str, str)
        Key and name under which the old primary WCS is kept.

    Raises
    ------
    ParameterError
        When the name is taken, or no key is free.
    WcsError
        When a chip has no WCS.
    """
    place = str(hdul.filename() or "exposure")
    facts = facts or FitFacts()
    headers = [hdul[index].header for index in indices]
    if not reuse_name:
        for header in headers:
            require_free_name(header, wcsname, place)
    new = [correct_chip(w.crval_deg, w.cd, change) for w in (LinearWcs.from_header(h) for h in headers)]
    before = unrecorded(hdul)
    taken = [*alternates.wcs_names(headers[0], include_primary=False).values(), wcsname]
    old_name = str(headers[0].get("WCSNAME", "")).strip() or alternates.DEFAULT_NAME
    archived = alternates.archive(
        headers,
        key=alternates.next_key(headers[0]),
        name=alternates.unique_name(old_name, taken),
        mode=ArchiveMode.NO_CONFLICT,
        where=place,
    )
    if archived is None:
        raise ParameterError(f"{place}: the WCS {old_name!r} cannot be archived; rename it (WCSNAME)")
    set_solution(hdul, dict(zip(indices, new, strict=True)), wcsname, facts)
    record_solutions(hdul, earlier=before)
    return archived


def set_solution(
    hdul: fits.HDUList, terms: Mapping[int, tuple[PairXY, Matrix2]], wcsname: str, facts: FitFacts
) -> None:
    """Make CRVAL and CD the primary WCS of science extensions; the old one is not kept.

    Parameters
    ----------
    hdul : HDUList
        The exposure, changed in memory.
    terms : mapping of int to (pair of float, 2 x 2)
        CRVAL and CD, degrees, by index of the extension.
    wcsname : str
        WCSNAME.
    facts : FitFacts
        What is known of the fit.
    """
    for index, (crval, cd) in terms.items():
        alternates.set_linear(hdul[index].header, crval, cd)
        _describe(hdul[index].header, wcsname, facts)
        alternates.copy_to_companions(hdul, index)


def _describe(header: fits.Header, wcsname: str, facts: FitFacts) -> None:
    """Write name, type and quality of a new primary WCS; what told of the old one goes."""
    for keyword in alternates.FIT_KEYWORDS:
        header.remove(keyword, ignore_missing=True)
    header["WCSNAME"] = (wcsname, "Coordinate system title")
    header["WCSTYPE"] = (alternates.describe_name(wcsname), "What the name of the WCS means")
    header["FITNAME"] = (wcsname, "Name of the fit")
    for keyword, value, comment in (
        ("CRDER1", facts.rms_ra_deg, "[deg] RMS of the fit in RA"),
        ("CRDER2", facts.rms_dec_deg, "[deg] RMS of the fit in Dec"),
        ("NMATCH", facts.nmatch, "Number of sources used for the fit"),
    ):
        if value is not None:
            header[keyword] = (value, comment)
    for keyword, rms in (("RMS_RA", facts.rms_ra_deg), ("RMS_DEC", facts.rms_dec_deg)):
        if rms is not None:
            header[keyword] = (rms * 3.6e6, "[mas] RMS of the fit")
    for line in facts.history:
        header.add_history(line)
