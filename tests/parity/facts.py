"""Header keywords that are compared strictly, and those that may differ, each with its reason."""

from __future__ import annotations

import re
from typing import Final

FRAME = ("NAXIS1", "NAXIS2", "CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")
"""Size and linear WCS of a frame."""

TOTAL_KEYWORDS = ("EXPTIME", "TEXPTIME", "EXPSTART", "EXPEND", "NDRIZIM", "NCOMBINE")
"""Totals of the product."""

CHIP_KEYWORDS = (
    "GEOM", "DATA", "DEXP", "OUDA", "OUWE", "OUCO", "WTSC",
    "KERN", "PIXF", "COEF", "OUUN", "FVAL", "WKEY", "SCAL",
)  # fmt: skip
"""Endings of the keywords that describe each drizzled chip. VER names the program; MASK names a file that
only one program writes; ISCL is that of the last chip in the reference, of the chip itself in ours."""

IGNORED = (
    "DATE",  # when the file was written
    "FILENAME",
    "DRIZPARS",  # name of the log
    "PROD_VER",  # name and version of the program
    "RULESVER",
    "BLENDVER",
    "RULEFILE",
    "CHECKSUM",
    "DATASUM",
    "BUNIT",  # the reference loses it for ACS counts and mislabels rates as COUNTS
    "ROOTNAME",  # the reference gives the whole file name for _drc products
    "DATE-OBS",  # the reference loses it from the simple science file of the real UVIS set
    "S_REGION",  # the reference leaves the outline of the first chip
    "MJDREF",  # the WCS library of the reference adds it to some extensions
    "CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2", "ORIENTAT",  # row 2
    "WCSTYPEO",  # what the reference forgets of an alternate WCS that it removes
    "EXTEND",
    "NEXTEND",
    *(f"D{i:03d}{end}" for i in range(1, 100) for end in ("VER", "MASK", "ISCL")),
)  # fmt: skip
"""Keywords of the products that are not compared in row 23."""

IGNORED_COLUMNS = ("DATE", "FILENAME", "BUNIT")
"""Columns of HDRTAB that are not compared in row 23."""

MEASURED = ("MDRIZSKY",)
"""Keywords that hold a measurement: they may differ by what row 7 allows."""

WCS_CARDS: Final = re.compile(
    r"(CRVAL|CRPIX|CTYPE|CDELT|LTV|OC[XY])\d+O?|(CD|PC|LTM)\d_\d|[AB]_(ORDER|DMAX|\d_\d)|CPDIS\d|CPERR\d"
    r"|DP\d.*|D2IM.*|NPOLEXT|IDC.*|WCSNAMEO?|ORIENTAT|VAFACTOR|RADESYS|LONPOLE|LATPOLE"
)
"""Keywords of a WCS and of the distortion in a SCI header."""
IGNORED_OF_HEADERLETS = ("DATE", "UPWCSVER", "PYWCSVER", "CHECKSUM", "DATASUM", "EXTEND")
"""Keywords of headerlets that name the time and the program."""
