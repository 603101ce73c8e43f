"""What the headers of a usable exposure make the user want to know."""

from __future__ import annotations

from astropy.io import fits

from mosaic.geometry.wcs import header_number


def header_remarks(primary: fits.Header, exposure: str) -> list[str]:
    """One sentence for everything in a primary header that makes the result less than it could be.

    Parameters
    ----------
    primary : Header
        Primary header.
    exposure : str
        Name for the sentences.
    """
    remarks = []
    old = str(primary.get("DGEOFILE", "") or "").strip()
    is_converted = str(primary.get("INSTRUME", "")).strip().upper() == "WFPC2" or "NPOLFILE" in primary
    if old.upper() not in {"", "N/A"} and not is_converted:
        remarks.append(
            f"{exposure}: DGEOFILE {old} without NPOLFILE: its residual distortion is not corrected; "
            "fetch the exposure anew from the archive, or give it an NPOLFILE and use updatewcs"
        )
    if header_number(primary, "PA_V3") is None:
        remarks.append(f"{exposure}: PA_V3 absent, the default orientation is that of its CD matrix")
    return remarks
