"""A WCS made from a reference image, from values, or from both (``buildwcs``), and a headerlet of it.

The distortion of an image given as ``coeffsfile`` may be taken over. Does not cover deriving a WCS from
reference tables (`mosaic.headers.update_wcs`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from astropy.io import fits

from mosaic.errors import MissingFileError, ParameterError
from mosaic.geometry.correction import LinearWcs, fit_matrix
from mosaic.geometry.grid import default_grid
from mosaic.geometry.tangent import Matrix2, PairXY
from mosaic.geometry.wcs import ChipWcs
from mosaic.solutions.alternates import set_orientation
from mosaic.solutions.editing import open_solutions, science_indices
from mosaic.solutions.headerlets import WCS_CARDS, Headerlet, create_headerlet
from mosaic.types import DoubleArray, ShapeYX


@dataclass(frozen=True, slots=True)
class UserWcs:
    """Values that make a WCS, or change one; None leaves what there is."""

    outscale: float | None = None
    """Arcseconds per pixel."""
    orient: float | None = None
    """Position angle of the y axis, degrees."""
    raref: float | None = None
    """Degrees."""
    decref: float | None = None
    """Degrees."""
    xrefpix: float | None = None
    """FITS 1-based."""
    yrefpix: float | None = None
    """FITS 1-based."""
    outnx: int | None = None
    outny: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BuiltWcs:
    """A WCS with its size, as header cards, and the distortion tables that go with it."""

    header: fits.Header
    tables: tuple[fits.ImageHDU, ...]
    shape_yx: ShapeYX

    @property
    def linear(self) -> LinearWcs:
        """Its linear terms."""
        return LinearWcs.from_header(self.header)

    @property
    def has_distortion(self) -> bool:
        """Whether it has SIP polynomials or tables."""
        return "A_ORDER" in self.header or bool(self.tables)


def build_wcs(
    *,
    wcsname: str = "",
    refimage: str = "",
    undistort: bool = True,
    applycoeffs: bool = False,
    coeffsfile: str = "",
    user: UserWcs | None = None,
) -> BuiltWcs:
    """Make a WCS.

    Parameters
    ----------
    wcsname : str
        WCSNAME; by default ``User_`` and the date.
    refimage : str
        Image whose WCS is taken: its only or first SCI extension, or the primary HDU; all SCI extensions
        count for the undistorted frame.
    undistort : bool
        Whether the result has no distortion.
    applycoeffs : bool
        With `undistort` false: take the distortion of `coeffsfile` instead of that of the reference image.
    coeffsfile : str
        Exposure whose distortion is taken.
    user : UserWcs, optional
        Values; all eight are needed without a reference image.

    Raises
    ------
    ParameterError
        When nothing is given, a value is missing or impossible, or `coeffsfile` is missing.
    MissingFileError, StructureError, WcsError
        When an image cannot be read.
    """
    user = user or UserWcs()
    if refimage:
        built = _undistorted(refimage) if undistort else _of_image(refimage)
        built = _changed(built, user)
    else:
        built = _from_values(user)
    if applycoeffs and not undistort:
        if not coeffsfile:
            raise ParameterError("applycoeffs needs coeffsfile: an exposure with the distortion to take")
        built = _with_distortion(built, coeffsfile, keep_linear=bool(refimage))
    built.header["WCSNAME"] = (wcsname or f"User_{datetime.now(tz=UTC):%Y-%m-%d}", "Coordinate system title")
    set_orientation(built.header)
    return built


def as_headerlet(built: BuiltWcs, hdrname: str = "", destim: str = "") -> Headerlet:
    """Headerlet of a WCS that was built."""
    science = fits.ImageHDU(header=built.header, name="SCI", ver=1)
    primary = fits.PrimaryHDU()
    for keyword in ("IDCTAB", "NPOLFILE", "D2IMFILE"):
        primary.header[keyword] = "N/A"
    hdul = fits.HDUList([primary, science, *built.tables])
    name = str(built.header["WCSNAME"])
    headerlet = create_headerlet(hdul, hdrname or name, destim=destim or name)
    sip = headerlet.hdul["SIPWCS"].header
    sip["NPIX1"] = (built.shape_yx.nx, "Columns of the image")
    sip["NPIX2"] = (built.shape_yx.ny, "Rows of the image")
    return headerlet


def _from_values(user: UserWcs) -> BuiltWcs:
    """Linear WCS of eight values, parity of the sky (RA to the left)."""
    values = {name: getattr(user, name) for name in UserWcs.__dataclass_fields__}
    absent = [name for name, value in values.items() if value is None]
    if len(absent) == len(values):
        raise ParameterError("nothing to build a WCS from; give refimage or all of " + ", ".join(values))
    if absent:
        raise ParameterError(f"without refimage a WCS needs all eight values: {', '.join(absent)} missing")
    base = _header(LinearWcs((1.0, 1.0), (0.0, 0.0), ((-1 / 3600, 0.0), (0.0, 1 / 3600))))
    return _changed(BuiltWcs(base, (), ShapeYX(1, 1)), user)


def _undistorted(refimage: str) -> BuiltWcs:
    """Frame without distortion that holds an image: its own when it has none."""
    with open_solutions(refimage) as hdul:
        indices = _science(hdul)
        chips = [ChipWcs.from_hdulist(hdul, i, exposure=refimage, chip=str(i)) for i in indices]
    if len(chips) == 1 and not chips[0].has_distortion:
        chip = chips[0]
        linear, shape = LinearWcs(chip.crpix_xy, chip.crval_deg, chip.cd), chip.shape_yx
    else:
        grid = default_grid(chips)
        linear, shape = LinearWcs(grid.crpix_xy, grid.crval_deg, grid.cd), grid.shape_yx
    return BuiltWcs(_header(linear), (), shape)


def _of_image(path: str) -> BuiltWcs:
    """WCS of the first science extension with its distortion."""
    with open_solutions(path) as hdul:
        index = _science(hdul)[0]
        ChipWcs.from_hdulist(hdul, index, exposure=path)
        header = hdul[index].header
        cards = [fits.Card.fromstring(c.image) for c in header.cards if WCS_CARDS.match(c.keyword)]
        shape = ShapeYX(int(header.get("NAXIS2", 0)), int(header.get("NAXIS1", 0)))
        made = create_headerlet(hdul, "reference", sciext=hdul[index].name or "PRIMARY")
        wanted = int(hdul[index].ver)
        sips = [i for i, hdu in enumerate(made.hdul) if hdu.name == "SIPWCS"]
        first = next(i for i in sips if made.hdul[i].ver == wanted)
        last = next((i for i in sips if i > first), len(made.hdul))
        tables = tuple(made.hdul[first + 1 : last])
    return BuiltWcs(fits.Header(cards), tables, shape)


def _with_distortion(built: BuiltWcs, coeffsfile: str, *, keep_linear: bool) -> BuiltWcs:
    """Replace the distortion by that of another exposure.

    Without a reference image the matrix is multiplied by the linear terms of the model, per IDCSCALE.
    """
    model = _of_image(coeffsfile)
    header = model.header.copy()
    linear = built.linear
    matrix = linear.cd_array
    if not keep_linear:
        matrix = matrix @ _model_terms(header, coeffsfile)
    # The polynomial is about CRPIX of the model, and stays about the reference pixel.
    _write_linear(header, replace(linear, cd=_as_pairs(matrix)))
    return BuiltWcs(header, model.tables, built.shape_yx)


def _model_terms(header: fits.Header, place: str) -> DoubleArray:
    """Linear terms of a distortion model, pixels."""
    names = ("OCX11", "OCX10", "OCY11", "OCY10", "IDCSCALE")
    absent = [name for name in names if name not in header]
    if absent:
        problem = f"has no linear terms of its model ({', '.join(absent)} absent)"
        raise MissingFileError(place, problem, "name an exposure whose WCS was made from an IDCTAB")
    cx11, cx10, cy11, cy10, scale = (float(header[name]) for name in names)
    return np.array([[cx11, cx10], [cy11, cy10]]) / scale


def _changed(built: BuiltWcs, user: UserWcs) -> BuiltWcs:
    """Return a WCS with the user's values."""
    linear, shape = built.linear, built.shape_yx
    cd = linear.cd_array
    if user.orient is not None:
        cd = _turn(cd, user.orient - linear.orientat_deg)
    if user.outscale is not None:
        if not (math.isfinite(user.outscale) and user.outscale > 0):
            raise ParameterError(f"outscale={user.outscale}: arcseconds per pixel must be above zero")
        cd = cd * (user.outscale / (3600.0 * math.sqrt(abs(float(np.linalg.det(cd))))))
    crpix: PairXY = linear.crpix_xy
    if user.outnx is not None or user.outny is not None:
        nx, ny = user.outnx or shape.nx, user.outny or shape.ny
        if min(nx, ny) < 1:
            raise ParameterError(f"outnx={nx}, outny={ny}: an image has at least one pixel")
        shape, crpix = ShapeYX(ny, nx), (nx / 2.0, ny / 2.0)
    crpix = (
        crpix[0] if user.xrefpix is None else user.xrefpix,
        crpix[1] if user.yrefpix is None else user.yrefpix,
    )
    crval = (
        linear.crval_deg[0] if user.raref is None else user.raref,
        linear.crval_deg[1] if user.decref is None else user.decref,
    )
    header = built.header.copy()
    _write_linear(header, LinearWcs(crpix, crval, _as_pairs(cd)))
    return BuiltWcs(header, built.tables, shape)


def _turn(cd: DoubleArray, angle_deg: float) -> DoubleArray:
    """Turn the axes on the sky: ORIENTAT grows by the angle, whatever the parity."""
    turned: DoubleArray = fit_matrix(-angle_deg) @ cd
    return turned


def _science(hdul: fits.HDUList) -> list[int]:
    """Indices of the science extensions, or of the first HDU with a WCS."""
    if any(hdu.name == "SCI" for hdu in hdul):
        return science_indices(hdul)
    found = [index for index, hdu in enumerate(hdul) if "CRVAL1" in hdu.header]
    return found[:1] or science_indices(hdul)


def _header(linear: LinearWcs) -> fits.Header:
    """Header of a WCS without distortion."""
    header = fits.Header()
    header["WCSAXES"] = (2, "Number of coordinate axes")
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CUNIT1"], header["CUNIT2"] = "deg", "deg"
    header["RADESYS"] = "ICRS"
    _write_linear(header, linear)
    return header


def _write_linear(header: fits.Header, linear: LinearWcs) -> None:
    """Write CRPIX, CRVAL and CD."""
    header["CRPIX1"], header["CRPIX2"] = linear.crpix_xy
    header["CRVAL1"], header["CRVAL2"] = linear.crval_deg
    (header["CD1_1"], header["CD1_2"]), (header["CD2_1"], header["CD2_2"]) = linear.cd


def _as_pairs(matrix: DoubleArray) -> Matrix2:
    """Matrix as tuples."""
    (a, b), (c, d) = matrix.tolist()
    return (a, b), (c, d)
