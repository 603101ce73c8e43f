"""World coordinate system of a chip: linear TAN terms, SIP, and the NPOL and D2IM tables.

Covers reading it from FITS headers and mapping pixels to the sky in plain numpy. Does not cover
other projections than TAN, nor deriving the model from reference files. A `ChipWcs` holds numbers
and arrays only, so it may be shared by threads and sent between processes.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS
from astropy.wcs import WcsError as AstropyWcsError

from mosaic.errors import WcsError
from mosaic.geometry.tangent import Matrix2, PairXY, plane_to_sky
from mosaic.types import DoubleArray, ShapeYX

_LINEAR_KEYS: Final = ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2")
_MODEL_CARDS: Final = re.compile(
    r"(SIMPLE|XTENSION|BITPIX|NAXIS\d*|WCSAXES|CRPIX\d|CRVAL\d|CTYPE\d|CUNIT\d|C[DP]\d_\d|PC\d_\d|CDELT\d|CROTA\d"
    r"|P[VS]\d_\d+|LONPOLE|LATPOLE|RADESYS|EQUINOX|[AB]P?_(ORDER|DMAX|\d+_\d+)|AXISCORR"
    r"|D2IM(DIS|ERR)?\d(\..*)?|D2IMEXT|CPDIS\d|CPERR\d|CQ\w+|D[PQ]\d(\..*)?)$"
)
"""Cards that astropy makes a WCS of."""
_CD_KEYS: Final = ("CD1_1", "CD1_2", "CD2_1", "CD2_2")
_PC_KEYS: Final = ("PC1_1", "PC1_2", "PC2_1", "PC2_2")
_FIT_KEYS: Final = ("WCSTYPE", "RMS_RA", "RMS_DEC", "NMATCH", "FITNAME", "HDRNAME")
"""What a header says of the fit that a WCS comes from."""
_REMEDY: Final = "restore its WCS (mosaic updatewcs) or remove it from the list"
_ARRAYS: Final = ("sip_a", "sip_b", "npol_x", "npol_y", "d2im_x", "d2im_y", "table_axes")
_PLAIN_AXES: Final = (1.0, 0.0, 1.0, 1.0, 0.0, 1.0)

_PARITY_WFC: Final[Matrix2] = ((1.0, 0.0), (0.0, -1.0))
_PARITY_OTHER: Final[Matrix2] = ((-1.0, 0.0), (0.0, 1.0))
_MIRRORED: Final = {
    ("ACS", "HRC"), ("ACS", "SBC"), ("WFC3", "UVIS"), ("WFC3", "IR"),
    ("STIS", ""), ("NICMOS", ""), ("WFPC2", ""),
}  # fmt: skip


def detector_parity(instrument: str, detector: str) -> Matrix2:
    """Handedness of detector axes relative to V2, V3; a detector not listed is taken like ACS/WFC."""
    mirrored = (instrument, detector) in _MIRRORED or (instrument, "") in _MIRRORED
    return _PARITY_OTHER if mirrored else _PARITY_WFC


@dataclass(frozen=True, slots=True, eq=False)
class ChipWcs:
    """Full distortion model of one chip.

    Absent SIP polynomials and tables are (1, 1) arrays of zero.
    """

    shape_yx: ShapeYX
    """Rows and columns of the chip."""
    crpix_xy: PairXY
    """Reference pixel, FITS 1-based."""
    crval_deg: PairXY
    """Tangent point, degrees."""
    cd: Matrix2
    """CD matrix, degrees per pixel."""
    sip_a: DoubleArray
    """SIP A[p, q] of u**p * v**q."""
    sip_b: DoubleArray
    """SIP B, likewise."""
    npol_x: DoubleArray
    """Non-polynomial correction of x, pixels, (ny, nx) of the table."""
    npol_y: DoubleArray
    """Non-polynomial correction of y, likewise."""
    d2im_x: DoubleArray
    """Detector-to-image correction of x, likewise."""
    d2im_y: DoubleArray
    """Detector-to-image correction of y, likewise."""
    table_axes: DoubleArray
    """Axes of npol_x, npol_y, d2im_x, d2im_y, (4, 6): crpix1, crval1, cdelt1, crpix2, crval2, cdelt2."""
    wcsname: str = ""
    """WCSNAME."""
    parity: Matrix2 = _PARITY_WFC
    """Handedness of the detector."""
    idcscale: float | None = None
    """Natural pixel scale IDCSCALE, arcsec."""
    pa_v3: float | None = None
    """PA_V3, degrees."""
    idcv2ref: float | None = None
    """IDCV2REF, arcsec."""
    idcv3ref: float | None = None
    """IDCV3REF, arcsec."""
    idctheta: float | None = None
    """IDCTHETA, degrees."""

    @classmethod
    def from_hdulist(
        cls,
        hdul: fits.HDUList,
        hdu_index: int,
        *,
        exposure: str = "",
        chip: str = "",
        shape_yx: ShapeYX | None = None,
        key: str = "",
    ) -> ChipWcs:
        """Read the model of one extension.

        Parameters
        ----------
        hdul : HDUList
            Open file; the tables WCSDVARR and D2IMARR are taken from it.
        hdu_index : int
            Index of the SCI extension.
        exposure, chip : str
            Names used in error messages.
        shape_yx : ShapeYX, optional
            Rows and columns, when the header does not give them (NAXIS = 0 with PIXVALUE).
        key : str, optional
            Letter of the alternate WCS whose linear terms are taken; the distortion is that of the
            extension, as when the alternate is restored as primary.

        Raises
        ------
        WcsError
            When keywords are absent or not finite, the projection is not TAN, or a table is missing.
        """
        header = hdul[hdu_index].header
        place = (exposure or str(hdul.filename() or "exposure"), chip)
        if key:
            header = with_alternate(header, key)
        _require_tangent(header, place)
        astropy_wcs = _astropy_wcs(header, hdul, place)
        cd = astropy_wcs.pixel_scale_matrix
        primary = hdul[0].header
        tables, axes = _tables(astropy_wcs)
        sip = astropy_wcs.sip
        return cls(
            shape_yx=shape_yx or ShapeYX(int(header.get("NAXIS2", 0)), int(header.get("NAXIS1", 0))),
            crpix_xy=_pair(astropy_wcs.wcs.crpix),
            crval_deg=_pair(astropy_wcs.wcs.crval),
            cd=(_pair(cd[0]), _pair(cd[1])),
            sip_a=_frozen(np.zeros((1, 1)) if sip is None or sip.a is None else sip.a),
            sip_b=_frozen(np.zeros((1, 1)) if sip is None or sip.b is None else sip.b),
            npol_x=tables[0],
            npol_y=tables[1],
            d2im_x=tables[2],
            d2im_y=tables[3],
            table_axes=axes,
            wcsname=str(header.get("WCSNAME", "")).strip(),
            parity=detector_parity(
                str(primary.get("INSTRUME", "")).strip().upper(),
                str(primary.get("DETECTOR", "")).strip().upper(),
            ),
            idcscale=header_number(header, "IDCSCALE"),
            pa_v3=header_number(primary, "PA_V3"),
            idcv2ref=header_number(header, "IDCV2REF"),
            idcv3ref=header_number(header, "IDCV3REF"),
            idctheta=header_number(header, "IDCTHETA"),
        )

    @property
    def has_distortion(self) -> bool:
        """Whether any SIP, NPOL or D2IM term is non-zero."""
        return any(bool(np.any(getattr(self, name))) for name in _ARRAYS[:6])

    @property
    def natural_scale_arcsec(self) -> float:
        """IDCSCALE, or the square root of the pixel area given by the CD matrix."""
        if self.idcscale is not None and self.idcscale > 0.0:
            return self.idcscale
        return math.sqrt(abs(float(np.linalg.det(np.array(self.cd))))) * 3600.0

    def without_distortion(self) -> ChipWcs:
        """Keep the linear terms only (`coeffs=False`)."""
        zero = _frozen(np.zeros((1, 1)))
        return replace(
            self,
            sip_a=zero, sip_b=zero, npol_x=zero, npol_y=zero, d2im_x=zero, d2im_y=zero,
            table_axes=_frozen(np.tile(np.array(_PLAIN_AXES), (4, 1))),
        )  # fmt: skip

    def distort(self, x: DoubleArray, y: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
        """Offsets (u, v) from the reference pixel after all distortion terms.

        The D2IM correction is applied to the pixel; SIP and NPOL are both evaluated at the
        corrected pixel and added.

        Parameters
        ----------
        x, y : ndarray of float64
            0-based pixel positions.
        """
        x1, y1 = np.asarray(x, dtype=np.float64) + 1.0, np.asarray(y, dtype=np.float64) + 1.0
        xc = x1 + interpolate_table(self.d2im_x, self.table_axes[2], x1, y1)
        yc = y1 + interpolate_table(self.d2im_y, self.table_axes[3], x1, y1)
        u, v = xc - self.crpix_xy[0], yc - self.crpix_xy[1]
        du = evaluate_sip(self.sip_a, u, v) + interpolate_table(self.npol_x, self.table_axes[0], xc, yc)
        dv = evaluate_sip(self.sip_b, u, v) + interpolate_table(self.npol_y, self.table_axes[1], xc, yc)
        return u + du, v + dv

    def pixel_to_sky(self, x: DoubleArray, y: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
        """Sky positions of pixels with full distortion.

        Parameters
        ----------
        x, y : ndarray of float64
            0-based pixel positions.

        Returns
        -------
        ra_deg, dec_deg : ndarray of float64
            Degrees.
        """
        u, v = self.distort(x, y)
        (cd11, cd12), (cd21, cd22) = self.cd
        return plane_to_sky(cd11 * u + cd12 * v, cd21 * u + cd22 * v, self.crval_deg)

    def corners_sky(self) -> tuple[DoubleArray, DoubleArray]:
        """Sky positions of the corner pixel centres (1, 1), (1, ny), (nx, ny), (nx, 1), FITS 1-based."""
        ny, nx = self.shape_yx
        x = np.array([0.0, 0.0, nx - 1.0, nx - 1.0])
        y = np.array([0.0, ny - 1.0, ny - 1.0, 0.0])
        return self.pixel_to_sky(x, y)

    def outline_sky(self, spacing_px: int = 1) -> tuple[DoubleArray, DoubleArray]:
        """Sky positions along the outer pixel edges, anticlockwise in the chip, closed implicitly.

        Parameters
        ----------
        spacing_px : int
            Largest distance between neighbouring points, input pixels.
        """
        ny, nx = self.shape_yx
        xs = np.linspace(-0.5, nx - 0.5, -(-nx // spacing_px) + 1)
        ys = np.linspace(-0.5, ny - 0.5, -(-ny // spacing_px) + 1)
        x = np.concatenate([xs[:-1], np.full(ys.size - 1, nx - 0.5), xs[:0:-1], np.full(ys.size - 1, -0.5)])
        y = np.concatenate([np.full(xs.size - 1, -0.5), ys[:-1], np.full(xs.size - 1, ny - 0.5), ys[:0:-1]])
        return self.pixel_to_sky(x, y)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ChipWcs):
            return NotImplemented
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    def __hash__(self) -> int:
        return hash((self.shape_yx, self.crpix_xy, self.crval_deg, self.cd, self.wcsname))


def evaluate_sip(coefficients: DoubleArray, u: DoubleArray, v: DoubleArray) -> DoubleArray:
    """Sum of coefficients[p, q] * u**p * v**q by Horner's rule in u, then v inside each term."""
    total = np.zeros_like(u)
    for row in coefficients[::-1]:
        inner = np.zeros_like(v)
        for coefficient in row[::-1]:
            inner = inner * v + coefficient
        total = total * u + inner
    return total


def interpolate_table(table: DoubleArray, axes: DoubleArray, x: DoubleArray, y: DoubleArray) -> DoubleArray:
    """Bilinear value of a distortion table, held at its edge values outside.

    Parameters
    ----------
    table : ndarray of float64, shape (ny, nx)
        Node values.
    axes : ndarray of float64, shape (6,)
        crpix1, crval1, cdelt1, crpix2, crval2, cdelt2.
    x, y : ndarray of float64
        FITS 1-based pixel positions.
    """
    ny, nx = table.shape
    column = np.clip((x - axes[1]) / axes[2] + axes[0] - 1.0, 0.0, nx - 1.0)
    row = np.clip((y - axes[4]) / axes[5] + axes[3] - 1.0, 0.0, ny - 1.0)
    left, low = np.floor(column).astype(np.intp), np.floor(row).astype(np.intp)
    right, high = np.minimum(left + 1, nx - 1), np.minimum(low + 1, ny - 1)
    fx, fy = column - left, row - low
    lower = table[low, left] * (1.0 - fx) + table[low, right] * fx
    upper = table[high, left] * (1.0 - fx) + table[high, right] * fx
    value: DoubleArray = lower * (1.0 - fy) + upper * fy
    return value


def with_alternate(header: fits.Header, key: str) -> fits.Header:
    """Copy of a header in which an alternate WCS stands in the place of the primary.

    CTYPE stays, because the alternate's says nothing of the distortion that both share.

    Parameters
    ----------
    header : Header
        SCI header.
    key : str
        Letter of the alternate.
    """
    restored = header.copy()
    matrix = cd_terms(header, key)
    for name in (*_CD_KEYS, *_PC_KEYS, "CDELT1", "CDELT2"):
        restored.remove(name, ignore_missing=True)
    restored.update(matrix)
    for name in (*_LINEAR_KEYS, "WCSNAME"):
        restored[name] = header.get(f"{name}{key}", "")
    for name in _FIT_KEYS:
        restored.remove(name, ignore_missing=True)
        if f"{name}{key}" in header:
            restored[name] = header[f"{name}{key}"]
    return restored


def cd_terms(header: fits.Header, key: str = "") -> dict[str, Any]:
    """CD matrix of the primary WCS or of an alternate by keyword, from PC and CDELT when there is none."""
    matrix = {name: header[f"{name}{key}"] for name in _CD_KEYS if f"{name}{key}" in header}
    if not matrix:
        steps = {axis: header_number(header, f"CDELT{axis}{key}") or 1.0 for axis in "12"}
        for name in _PC_KEYS:
            factor = header_number(header, f"{name}{key}")
            unit = 1.0 if name[2] == name[4] else 0.0
            matrix[name.replace("PC", "CD")] = steps[name[2]] * (unit if factor is None else factor)
    return matrix


def header_number(header: Mapping[str, Any], keyword: str) -> float | None:
    """Finite float of a keyword, or None when it is absent, undefined, unreadable or not finite."""
    try:
        value = header.get(keyword)
        number = float(value) if isinstance(value, (int, float, str)) else math.nan
    except (ValueError, fits.VerifyError):
        return None
    return number if math.isfinite(number) else None


def _require_tangent(header: fits.Header, place: tuple[str, str]) -> None:
    """Refuse absent or non-finite linear terms and projections other than TAN."""
    needed = list(_LINEAR_KEYS)
    if any(key in header for key in _CD_KEYS):
        # An absent element of a CD matrix that is partly given counts as zero in the FITS standard.
        needed += [key for key in _CD_KEYS if key in header]
    else:
        needed += ["CDELT1", "CDELT2"] if "CDELT1" in header else list(_CD_KEYS)
    absent = [key for key in needed if key not in header]
    if absent:
        raise WcsError(place[0], f"no WCS: {', '.join(absent)} absent", _REMEDY, place[1])
    broken = [key for key in needed if header_number(header, key) is None]
    if broken:
        raise WcsError(place[0], f"WCS not finite: {', '.join(broken)} is not a number", _REMEDY, place[1])
    cd11, cd12, cd21, cd22 = (header_number(header, key) or 0.0 for key in _CD_KEYS)
    if "CDELT1" not in needed and cd11 * cd22 == cd12 * cd21:
        raise WcsError(
            place[0], f"the CD matrix is singular ({cd11}, {cd12}, {cd21}, {cd22})", _REMEDY, place[1]
        )
    types = tuple(str(header.get(key, "")).strip().upper() for key in ("CTYPE1", "CTYPE2"))
    if types not in {("RA---TAN", "DEC--TAN"), ("RA---TAN-SIP", "DEC--TAN-SIP")}:
        remedy = "only RA---TAN and RA---TAN-SIP (with DEC) are supported: remove it from the list"
        raise WcsError(place[0], f"CTYPE1, CTYPE2 are {types[0]!r}, {types[1]!r}", remedy, place[1])


def _astropy_wcs(header: fits.Header, hdul: fits.HDUList, place: tuple[str, str]) -> WCS:
    """Let astropy parse the header and load the tables it names."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            # Parsing takes as long as there are cards, and alternate WCS are many of them.
            model = fits.Header([card for card in header.cards if _MODEL_CARDS.match(card.keyword)])
            parsed = WCS(model, hdul, fix=False)
            parsed.wcs.set()
    except (AstropyWcsError, KeyError, ValueError, TypeError, IndexError) as error:
        cause = " ".join(str(error).split())
        raise WcsError(place[0], f"WCS unusable: {cause}", _REMEDY, place[1]) from error
    if abs(parsed.wcs.lonpole - 180.0) > 0.0:
        raise WcsError(place[0], f"LONPOLE is {parsed.wcs.lonpole}", "only 180 is supported", place[1])
    return parsed


def _tables(astropy_wcs: WCS) -> tuple[list[DoubleArray], DoubleArray]:
    """Four tables and their axes in the order npol_x, npol_y, d2im_x, d2im_y."""
    tables: list[DoubleArray] = []
    axes = np.empty((4, 6))
    found = (astropy_wcs.cpdis1, astropy_wcs.cpdis2, astropy_wcs.det2im1, astropy_wcs.det2im2)
    for index, lookup in enumerate(found):
        if lookup is None:
            tables.append(_frozen(np.zeros((1, 1))))
            axes[index] = _PLAIN_AXES
            continue
        tables.append(_frozen(lookup.data))
        (p1, p2), (v1, v2), (d1, d2) = lookup.crpix, lookup.crval, lookup.cdelt
        axes[index] = (p1, v1, d1, p2, v2, d2)
    return tables, _frozen(axes)


def _pair(values: Any) -> PairXY:  # noqa: ANN401  (any sequence of two numbers)
    return float(values[0]), float(values[1])


def _frozen(values: Any) -> DoubleArray:  # noqa: ANN401  (array of any numeric type)
    array = np.array(values, dtype=np.float64, order="C")
    array.setflags(write=False)
    return array
