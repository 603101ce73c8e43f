"""Names of a distortion model: SIPNAME and DISTNAME, from the reference files that an exposure names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from astropy.io import fits

ABSENT: Final = "NOMODEL"
"""Name of a model that is not there."""


@dataclass(frozen=True, slots=True)
class DistortionNames:
    """What a distortion model is called, and the files it comes from."""

    sipname: str
    npolname: str
    d2imname: str
    idctab: str
    npolfile: str
    d2imfile: str

    @property
    def distname(self) -> str:
        """DISTNAME: two solutions share their distortion when these are equal."""
        return f"{self.sipname}-{self.npolname}-{self.d2imname}"


def distortion_names(
    hdul: fits.HDUList, *, sipname: str = "", npolfile: str = "", d2imfile: str = ""
) -> DistortionNames:
    """Names of the model of an exposure; what is given counts more than its headers.

    Parameters
    ----------
    hdul : HDUList
        The exposure.
    sipname, npolfile, d2imfile : str
        Values to use instead of those of the headers.
    """
    header = hdul[0].header
    idctab = str(header.get("IDCTAB", "N/A")).strip()
    root = _root(idctab, "_idc")
    known = str(header.get("SIPNAME", "")).strip()
    if not sipname:
        if root != ABSENT:
            rootname = str(header.get("ROOTNAME", "")).strip()
            sipname = known if known and root in known else f"{rootname}_{root}"
        else:
            has_sip = any("A_ORDER" in hdu.header or "B_ORDER" in hdu.header for hdu in hdul)
            sipname = known or ("UNKNOWN" if has_sip else "NOMODEL")
    npolfile = npolfile or str(header.get("NPOLFILE", "")).strip()
    d2imfile = d2imfile or str(header.get("D2IMFILE", "N/A")).strip()
    npolname, d2imname = _root(npolfile, "_npl"), _root(d2imfile, "_d2i")
    return DistortionNames(sipname, npolname, d2imname, idctab, npolfile, d2imfile)


def current_distname(hdul: fits.HDUList) -> str:
    """DISTNAME of the exposure, or the one its reference files give."""
    recorded = str(hdul[0].header.get("DISTNAME", "")).strip()
    return recorded if recorded not in {"", "N/A"} else distortion_names(hdul).distname


def _root(value: str, suffix: str) -> str:
    """Stem of a reference file without its suffix; NOMODEL when there is no file."""
    if value.strip().upper() in {"", "N/A", "NONE", "INDEF"}:
        return ABSENT
    name = value.replace("$", "/").rpartition("/")[2]
    return name.removesuffix(".fits").removesuffix(suffix)
