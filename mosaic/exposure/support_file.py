"""What the support file (``_spt``) of an exposure tells that the exposure itself does not: PA_V3."""

from __future__ import annotations

from pathlib import Path

from astropy.io import fits

from mosaic.geometry.wcs import header_number
from mosaic.places import is_remote


def supply_pa_v3(hdul: fits.HDUList, path: str, rootname: str) -> tuple[str, ...]:
    """Put PA_V3 into the open file's primary header (in memory) when only the support file has it.

    PA_V3 orients the default output frame. It is wanted only where the chips tell their place in the focal
    plane (IDCV2REF); without it the CD matrix of the first chip orients the frame.

    Returns
    -------
    tuple of str
        A note when it is nowhere to be found.
    """
    primary = hdul[0].header
    wanted = any(header_number(hdu.header, "IDCV2REF") is not None for hdu in hdul if hdu.name == "SCI")
    if not wanted or header_number(primary, "PA_V3") is not None:
        return ()
    if not is_remote(path):
        support = Path(path).with_name(f"{rootname}_spt.fits")
        if support.is_file() and (value := _read_pa_v3(support)) is not None:
            primary["PA_V3"] = value
            return ()
    return (f"{rootname}: PA_V3 absent, the frame is oriented by the CD matrix",)


def _read_pa_v3(support: Path) -> float | None:
    try:
        return header_number(fits.getheader(support), "PA_V3")
    except OSError:
        return None
