"""What an exposure is: metadata only, no pixels.

Covers the frozen descriptions that the catalogue makes of each file and its chips. Does not
cover reading pixels (`mosaic.exposure.reader`) or mapping them (`mosaic.geometry`).
"""

from __future__ import annotations

from dataclasses import dataclass

from mosaic.geometry.wcs import ChipWcs
from mosaic.types import ShapeYX


@dataclass(frozen=True, slots=True)
class DataBlock:
    """Where the pixels of one extension lie in a file, so that rows can be read without parsing headers."""

    path: str
    """File that holds the pixels (the staged copy when the input is compressed)."""
    offset: int
    """Byte offset of the first pixel; -1 when the extension has no data and is constant."""
    shape_yx: ShapeYX
    """Rows and columns."""
    bitpix: int
    """FITS BITPIX of the stored values (big-endian)."""
    bscale: float = 1.0
    """FITS BSCALE."""
    bzero: float = 0.0
    """FITS BZERO."""
    constant: float = 0.0
    """Value of every pixel when `offset` is -1 (FITS PIXVALUE)."""


@dataclass(frozen=True, slots=True)
class SkyLevel:
    """Sky of one chip, native units."""

    subtracted: float | None
    """Value taken off the pixels before drizzling; None when nothing is taken off."""
    background: float
    """Value used as background in noise models."""
    recorded: float | None
    """Value for MDRIZSKY of updated copies and products; None leaves their headers as they are."""


@dataclass(frozen=True, slots=True)
class Chip:
    """One SCI extension with its ERR and DQ."""

    rootname: str
    """Root name of the exposure."""
    path: str
    """File as the user named it."""
    extver: int
    """Number of the chip in its exposure: EXTVER of the SCI extension, 1 for an imset taken out of a file."""
    file_extver: int
    """EXTVER that its extensions have in the file."""
    hdu_index: int
    """Index of the SCI extension in the file."""
    ccdchip: int
    """Detector chip (CCDCHIP, DETECTOR or CAMERA number)."""
    instrument: str
    """ACS, WFC3, …"""
    detector: str
    """WFC, HRC, SBC, UVIS, IR, …"""
    shape_yx: ShapeYX
    """Rows and columns."""
    sci: DataBlock
    """Science pixels in native units."""
    err: DataBlock | None
    """Errors in native units, if the file has them."""
    dq: DataBlock | None
    """Data-quality flags, if the file has them."""
    ivm: DataBlock | None
    """Inverse-variance map given by the user, if any."""
    flat: DataBlock | None
    """Flat field for IVM weights, cut-out origin in `flat_origin_yx`, if found."""
    flat_origin_yx: tuple[int, int]
    """Row and column, on the detector, of the chip's first pixel in the flat field (from LTV)."""
    wcs: ChipWcs
    """Full distortion model."""
    idcscale_arcsec: float
    """Natural pixel scale (IDCSCALE, else from the CD matrix)."""
    exptime_s: float
    """Exposure time used for rates and weights."""
    is_rate: bool
    """Whether the native unit is per second."""
    native_unit: str
    """BUNIT as understood (ELECTRONS, COUNTS, ELECTRONS/S, COUNTS/S)."""
    gain: float
    """Effective gain G: native unit times `gain` is electrons (or electrons per second)."""
    read_noise_e: float
    """Read noise, electrons."""
    dark_e: float
    """Dark current of the exposure, electrons per pixel."""
    cte_direction: int
    """Direction of charge-transfer trails along y: +1, -1, or 0 for none."""
    mdrizsky: float | None
    """Sky recorded in the header (MDRIZSKY), native units."""
    static_group: str
    """Key of the static-mask group: instrument, detector, chip, shape and (if not 0, 0) subarray origin."""
    atod_gain: float = 1.0
    """Gain of the read-out, electrons per DN (mean of the amplifiers)."""
    flat_is_inverse: bool = False
    """Whether `flat` holds the factor that corrects, one over the response."""
    sky_gain: float = 1.0
    """Electrons of a native unit in which sky brightness compares; 1 with `peer_compat`: native units."""
    binning: int = 1
    """Detector pixels per image pixel along each axis."""
    shadow_edge: tuple[float, ...] = ()
    """Edge of the shadow of WFPC2's pyramid, six coefficients (a, b, c) along y, then along x: a detector
    pixel at 0-based n is lit where ``n + 0.5 - (a + b n + c n**2) >= 1``. Empty: no shadow. It masks where
    data quality is ignored (bits None); otherwise the flags tell of the shadow."""
    low_flat: DataBlock | None = None
    """Coarsely sampled flat field that multiplies `flat`, if the detector has one."""
    full_shape_yx: ShapeYX | None = None
    """Rows and columns of the whole detector, over which `low_flat` is stretched."""
    user_sky: SkyLevel | None = None
    """Sky that the user gave (``skyfile``, ``skyuser``); None when it is to be measured."""
    sky_mask: DataBlock | None = None
    """Mask of the user for the sky, non-zero = good (``skymask_cat``), if any."""
    binning_yx: tuple[int, int] = (1, 1)
    """Detector pixels per image pixel along y and x, where the flat field is that of single pixels."""
    is_undivided: bool = False
    """DrizzlePac takes an image without BUNIT for a rate (`peer_compat`): its values are not divided by the
    time."""
    kept_hits: DataBlock | None = None
    """Cosmic-ray mask of an earlier run, zero = hit, that DrizzlePac still applies (`peer_compat`)."""

    @property
    def name(self) -> str:
        """``rootname[sci,n]``, as messages and keywords show it."""
        return f"{self.rootname}[sci,{self.extver}]"

    @property
    def value_time_s(self) -> float:
        """What a value is divided by to become a rate."""
        return 1.0 if self.is_rate or self.is_undivided else self.exptime_s

    @property
    def to_electrons(self) -> float:
        """Factor C: native value times C is total electrons."""
        return self.gain * self.exptime_s if self.is_rate else self.gain


@dataclass(frozen=True, slots=True)
class Exposure:
    """One input file, or one of several exposures in it."""

    path: str
    """File as the user named it (absolute)."""
    rootname: str
    """Root name, lower case, unique within a run."""
    filename: str
    """Base name of the file, or of the file that an imset would have on its own."""
    instrument: str
    """INSTRUME."""
    detector: str
    """DETECTOR (CAMERA for NICMOS)."""
    filters: str
    """Non-blank filter names joined by commas."""
    expstart_mjd: float
    """EXPSTART."""
    expend_mjd: float
    """EXPEND."""
    exptime_s: float
    """EXPTIME of the primary header."""
    fingerprint: str
    """Digest of all header bytes, file size and modification time: tells whether an input changed."""
    chips: tuple[Chip, ...]
    """Chips in the order of their extensions."""
    is_moving_target: bool = False
    """Whether the telescope followed a moving target (MTFLAG)."""
    flag_path: str = ""
    """File of the flags as it is named beside the input; empty when they are in the same file."""
    is_imset: bool = False
    """Whether its file holds other exposures besides."""
    wcs_solution: str = ""
    """Name of the WCS that an alignment found for its chips; empty: their WCS is that of the file."""
