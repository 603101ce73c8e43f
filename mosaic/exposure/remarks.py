"""What the headers of a usable exposure make the user want to know."""

from __future__ import annotations

from astropy.io import fits


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
    if old.upper() not in {"", "N/A", "NONE"} and "NPOLFILE" not in primary:
        remarks.append(
            f"{exposure}: DGEOFILE {old} without NPOLFILE: its residual distortion is not corrected; "
            "fetch the exposure anew from the archive, or give it an NPOLFILE and use updatewcs"
        )
    return remarks
