"""All parameters of a run: the one home of their names, meanings, ranges and defaults.

Covers the flat model `Settings` with DrizzlePac's names. Does not cover where values come from
(`mosaic.parameters`), the forms they may have (`mosaic.values`), nor how a run is carried out
(`mosaic.options`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from mosaic import values as v

Kernel: TypeAlias = Annotated[
    Literal["square", "point", "turbo", "gaussian", "lanczos3", "lanczos2", "tophat"], v.Lower
]
Interpolator: TypeAlias = Annotated[
    Literal["nearest", "linear", "poly3", "poly5", "sinc", "lan3", "lan5"], v.Lower
]
SkyMethod: TypeAlias = Annotated[Literal["localmin", "globalmin", "match", "globalmin+match"], v.Lower]
SkyStatistic: TypeAlias = Annotated[Literal["median", "mode", "mean", "midpt"], v.Lower]
CombineType: TypeAlias = Annotated[
    Literal["minmed", "iminmed", "median", "imedian", "mean", "imean", "sum", "minimum"], v.Lower
]
WeightType: TypeAlias = Annotated[Literal["EXP", "ERR", "IVM"], v.Upper]
FrameStep: TypeAlias = Literal["driz_sep", "final"]

FRAME_PARTS: Final = ("refimage", "rot", "scale", "outnx", "outny", "ra", "dec", "crpix1", "crpix2")
"""Parts of a custom output frame; with the prefix of their step they are parameter names."""
FRAME_STEPS: Final[tuple[FrameStep, ...]] = ("driz_sep", "final")
WITHOUT_EFFECT_ON_PRODUCTS: Final = frozenset(
    {"runfile", "num_cores", "in_memory", "combine_bufsize", "preserve", "restore", "overwrite", "report"}
)
"""Parameters that say how to run: a job may be continued with other values of these."""


class Settings(BaseModel):
    """Every AstroDrizzle parameter by its DrizzlePac name, and six of our own.

    A custom frame (``driz_sep_*``, ``final_*``) acts only when ``driz_sep_wcs`` or ``final_wcs`` is
    true; `mosaic.parameters.load_settings` sets these when a part of the frame is given by keyword.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, ser_json_inf_nan="strings", allow_inf_nan=True
    )

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    mdriztab: bool = Field(
        default=False, description="Take parameters from the MDRIZTAB table of the first input."
    )
    runfile: v.Text = Field(
        default="astrodrizzle.log",
        description="Log file, appended to; '.log' is added if absent; blank: none.",
    )
    updatewcs: bool = Field(
        default=False,
        description="Derive the WCS of every input anew from its references, on copies (needs stwcs).",
    )
    wcskey: v.Text = Field(
        default="",
        description="WCS to use: letter or name of an alternate, HDRNAME of a headerlet; blank: primary.",
    )
    proc_unit: Annotated[Literal["native", "electrons"], v.Lower] = Field(
        default="native", description="Unit of products of detectors read in counts: native or electrons."
    )
    coeffs: bool = Field(default=True, description="Apply the distortion model of the inputs.")
    context: bool = Field(default=True, description="Make the context plane: which exposures contributed.")
    group: v.ChipGroup = Field(default="", description="Chips to use: '4', '1,4' or 'sci,2'; blank: all.")
    build: bool = Field(default=False, description="One multi-extension product instead of separate files.")
    crbit: v.Flags = Field(
        default=4096,
        description="Data-quality bit of cosmic rays found here; counted as good while finding them.",
    )
    stepsize: v.Count = Field(
        default=0,
        description="Grid step of the coordinate map in input pixels; 0: exact for every pixel "
        "(DrizzlePac's default is a table of step 10).",
    )
    resetbits: v.ResetBits = Field(
        default="4096", description="Data-quality bits cleared before processing; 0 or blank: none."
    )
    num_cores: v.SideOrNone = Field(default=None, description="Processor cores to use; blank: all available.")
    in_memory: bool = Field(
        default=False, description="Accepted for DrizzlePac's sake: singles stay in memory anyway."
    )
    rules_file: v.Text = Field(
        default="", description="Header blending rules; blank: those of the instrument."
    )

    restore: bool = Field(
        default=False, description="Copy originals from OrIg_files back over the inputs, if it has them."
    )
    preserve: bool = Field(
        default=True,
        description="Keep originals in OrIg_files before inputs are modified (dq_update=inplace).",
    )
    overwrite: bool = Field(
        default=False, description="Keep inputs in OrIg_files anew, whatever it holds; no restore."
    )
    clean: bool = Field(
        default=True, description="Leave no intermediate products (DrizzlePac's default keeps them)."
    )

    static: bool = Field(default=True, description="Mask pixels that are low in every exposure of a chip.")
    static_sig: v.Positive = Field(
        default=4.0, description="Pixels below mode - static_sig * rms are bad (sigma, > 0)."
    )

    skysub: bool = Field(default=True, description="Compute and subtract the sky.")
    skymethod: SkyMethod = Field(default="localmin", description="How sky values are made consistent.")
    skystat: SkyStatistic = Field(default="median", description="Statistic that measures the sky.")
    skywidth: v.Positive = Field(default=0.1, description="Histogram bin of mode and midpt, in sigma (> 0).")
    skylower: v.FloatOrNone = Field(
        default=None, description="Smallest value used, native units of the input."
    )
    skyupper: v.FloatOrNone = Field(
        default=None, description="Largest value used, native units of the input."
    )
    skyclip: v.Count = Field(default=5, description="Clipping iterations.")
    skylsigma: v.Positive = Field(default=4.0, description="Lower clipping limit, sigma (> 0).")
    skyusigma: v.Positive = Field(default=4.0, description="Upper clipping limit, sigma (> 0).")
    skymask_cat: v.Text = Field(default="", description="Catalogue of user masks for the sky; blank: none.")
    use_static: bool = Field(default=True, description="Leave pixels of the static mask out of the sky.")
    sky_bits: v.Bits = Field(
        default="0", description="Data-quality bits good for the sky; blank: ignore flags."
    )
    skyfile: v.Text = Field(
        default="", description="File of sky values to use instead of computing (skysub true)."
    )
    skyuser: v.Text = Field(
        default="", description="Header keyword or '@file' of sky already subtracted (skysub false)."
    )

    driz_separate: bool = Field(default=True, description="Drizzle every exposure alone.")
    driz_sep_kernel: Kernel = Field(default="turbo", description="Kernel of the separate drizzle.")
    driz_sep_wt_scl: v.WeightScale = Field(
        default="exptime", description="Weight of an exposure: exptime, expsq or a factor (> 0)."
    )
    driz_sep_pixfrac: v.Fraction = Field(
        default=1.0, description="Drop size, input pixels, [0, 1]; <= 0.001: point."
    )
    driz_sep_fillval: v.Filling = Field(
        default=None, description="Value of pixels without weight; blank: as they are."
    )
    driz_sep_bits: v.Bits = Field(default="0", description="Good data-quality bits; blank: ignore flags.")
    driz_sep_compress: bool = Field(default=False, description="Write separate products compressed.")
    driz_sep_wcs: bool = Field(
        default=False, description="Use the frame below for separate products and the median."
    )
    driz_sep_refimage: v.Text = Field(
        default="", description="Image whose frame is taken: file or file[ext]."
    )
    driz_sep_rot: v.FloatOrNone = Field(
        default=None, description="Position angle of +y, degrees east of north."
    )
    driz_sep_scale: v.PositiveOrNone = Field(default=None, description="Pixel scale, arcsec (> 0).")
    driz_sep_outnx: v.SideOrNone = Field(default=None, description="Columns of the frame (with outny).")
    driz_sep_outny: v.SideOrNone = Field(default=None, description="Rows of the frame (with outnx).")
    driz_sep_ra: v.RightAscension = Field(
        default=None, description="Right ascension of CRVAL, degrees (with dec)."
    )
    driz_sep_dec: v.Declination = Field(default=None, description="Declination of CRVAL, degrees (with ra).")
    driz_sep_crpix1: v.FloatOrNone = Field(
        default=None, description="Reference pixel, x, 1-based (with crpix2)."
    )
    driz_sep_crpix2: v.FloatOrNone = Field(
        default=None, description="Reference pixel, y, 1-based (with crpix1)."
    )

    median: bool = Field(default=True, description="Combine the separate products.")
    median_newmasks: bool = Field(default=True, description="Mask pixels of low weight while combining.")
    combine_maskpt: v.NotNegative = Field(
        default=0.3, description="Weights below this fraction of the mean weight are bad (>= 0)."
    )
    combine_type: CombineType = Field(default="minmed", description="How the separate products are combined.")
    combine_nsigma: v.Pair = Field(
        default=(4.0, 3.0), description="Thresholds of minmed, sigma: one or two numbers (>= 0)."
    )
    combine_nlow: v.Count = Field(default=0, description="Lowest values dropped per pixel (not minmed, sum).")
    combine_nhigh: v.Count = Field(
        default=0, description="Highest values dropped per pixel (not minmed, sum)."
    )
    combine_lthresh: v.FloatOrNone = Field(
        default=None, description="Smallest valid value, electrons/s (not minmed)."
    )
    combine_hthresh: v.FloatOrNone = Field(
        default=None, description="Values must be below this, electrons/s (not minmed)."
    )
    combine_grow: v.Count = Field(default=1, description="Growth radius of minmed, pixels.")
    combine_bufsize: v.PositiveOrNone = Field(
        default=None, description="Accepted for DrizzlePac's sake, no effect."
    )

    blot: bool = Field(default=True, description="Resample the median back to every chip.")
    blot_interp: Interpolator = Field(default="poly5", description="Interpolation of the median.")
    blot_sinscl: v.Positive = Field(default=1.0, description="Scale of the sinc interpolator (> 0).")
    blot_addsky: bool = Field(default=True, description="Add the sky back.")
    blot_skyval: v.Number = Field(
        default=0.0, description="Value added when blot_addsky is false, native units."
    )

    driz_cr: bool = Field(default=True, description="Find cosmic rays by comparison with the median.")
    driz_cr_corr: bool = Field(default=False, description="Also write every input with cosmic rays replaced.")
    driz_cr_snr: v.Pair = Field(
        default=(3.5, 3.0), description="Signal to noise of hits and their neighbours (>= 0)."
    )
    driz_cr_grow: v.Side = Field(
        default=1, description="Side of the block around hits, pixels; 1: no growth (>= 1)."
    )
    driz_cr_ctegrow: v.Count = Field(default=0, description="Length of the charge-transfer tail, pixels.")
    driz_cr_scale: v.Pair = Field(default=(1.2, 0.7), description="Multipliers of the derivative (>= 0).")
    driz_cr_core: v.NotNegative = Field(
        default=0.0,
        description="Spare the cores of undersampled stars: share of their height in the median by which the "
        "strict test is raised (>= 0, 1 is enough; 0: as DrizzlePac). (ours)",
    )

    driz_combine: bool = Field(default=True, description="Make the final product.")
    final_wht_type: WeightType = Field(
        default="EXP", description="Weights: exposure time, ERR arrays or inverse variance."
    )
    final_kernel: Kernel = Field(default="square", description="Kernel of the final drizzle.")
    final_wt_scl: v.WeightScale = Field(
        default="exptime", description="Weight of an exposure for EXP: exptime, expsq or a factor (> 0)."
    )
    final_pixfrac: v.Fraction = Field(
        default=1.0, description="Drop size, input pixels, [0, 1]; <= 0.001: point."
    )
    final_fillval: v.Filling = Field(
        default=None,
        description="Value of all pixels without weight; blank: untouched ones become final_maskval.",
    )
    final_maskval: v.Filling = Field(default=None, description="Initial value of the product; blank: NaN.")
    final_bits: v.Bits = Field(default="0", description="Good data-quality bits; blank: ignore flags.")
    final_units: Annotated[Literal["cps", "counts"], v.Lower] = Field(
        default="cps", description="Product per second (cps) or times the total exposure time (counts)."
    )
    final_wcs: bool = Field(default=False, description="Use the frame below for the product.")
    final_refimage: v.Text = Field(default="", description="Image whose frame is taken: file or file[ext].")
    final_rot: v.FloatOrNone = Field(default=None, description="Position angle of +y, degrees east of north.")
    final_scale: v.PositiveOrNone = Field(default=None, description="Pixel scale, arcsec (> 0).")
    final_outnx: v.SideOrNone = Field(default=None, description="Columns of the frame (with outny).")
    final_outny: v.SideOrNone = Field(default=None, description="Rows of the frame (with outnx).")
    final_ra: v.RightAscension = Field(
        default=None, description="Right ascension of CRVAL, degrees (with dec)."
    )
    final_dec: v.Declination = Field(default=None, description="Declination of CRVAL, degrees (with ra).")
    final_crpix1: v.FloatOrNone = Field(
        default=None, description="Reference pixel, x, 1-based (with crpix2)."
    )
    final_crpix2: v.FloatOrNone = Field(
        default=None, description="Reference pixel, y, 1-based (with crpix1)."
    )

    gain: v.MeanOrNone = Field(
        default=None, description="Gain, electrons per count; several values: their mean."
    )
    gnkeyword: v.Text = Field(
        default="", description="Header keyword(s) of the gain; blank: of the instrument."
    )
    rdnoise: v.MeanOrNone = Field(
        default=None, description="Read noise, electrons; several values: their mean."
    )
    rnkeyword: v.Text = Field(default="", description="Header keyword(s) of the read noise.")
    exptime: v.MeanOrNone = Field(default=None, description="Exposure time, s, for every input.")
    expkeyword: v.Text = Field(default="", description="Header keyword of the exposure time.")

    final_err: bool = Field(
        default=False, description="Make the error plane, carried with squared weights. (ours)"
    )
    frame_padding: Annotated[Literal["peer", "edges"], v.Lower] = Field(
        default="peer",
        description="Default frame through pixel centres (peer) or full pixels (edges). (ours)",
    )
    report: bool = Field(default=True, description="Check the result and write a quality report. (ours)")
    peer_compat: bool = Field(default=False, description="Reproduce DrizzlePac's known defects. (ours)")
    dq_update: Annotated[Literal["none", "copy", "inplace"], v.Lower] = Field(
        default="none",
        description="Write cosmic rays into the DQ of no file, of copies, or of the inputs. (ours)",
    )

    @model_validator(mode="after")
    def _check_together(self) -> Settings:
        """Refuse values that exclude each other."""
        problems = find_contradictions(self)
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def __eq__(self, other: object) -> bool:
        """Whether all values are equal, wherever they come from."""
        return isinstance(other, Settings) and self.model_dump() == other.model_dump()

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @property
    def sources(self) -> Mapping[str, str]:
        """Where each value comes from that is not the default of `Settings`: file, table, argument."""
        return MappingProxyType(self._sources)

    def from_sources(self, sources: Mapping[str, str]) -> Settings:
        """Return the same values, remembering where they come from.

        Parameters
        ----------
        sources : mapping of str to str
            By parameter name, added to those that are known.
        """
        copy = self.model_copy()
        copy._sources = {**self._sources, **sources}  # noqa: SLF001  (a copy of our own)
        return copy

    def canonical_json(self) -> str:
        """Write everything that decides the products as one text, the same for equal settings."""
        return self.model_dump_json(exclude=set(WITHOUT_EFFECT_ON_PRODUCTS))


def find_contradictions(settings: Settings) -> list[str]:
    """List values that exclude each other, one sentence each, naming the parameters."""
    problems: list[str] = []
    for step in FRAME_STEPS:
        for first, second in (("outnx", "outny"), ("ra", "dec"), ("crpix1", "crpix2")):
            names = (f"{step}_{first}", f"{step}_{second}")
            given = [getattr(settings, name) is not None for name in names]
            if any(given) and not all(given):
                absent = names[given.index(False)]
                problems.append(f"{names[0]} and {names[1]} go together: {absent} is missing")
    for low, high in (("skylower", "skyupper"), ("combine_lthresh", "combine_hthresh")):
        lower, upper = getattr(settings, low), getattr(settings, high)
        if lower is not None and upper is not None and lower >= upper:
            problems.append(f"{low} = {lower:g} must be less than {high} = {upper:g}")
    for value, keyword in (("gain", "gnkeyword"), ("rdnoise", "rnkeyword"), ("exptime", "expkeyword")):
        if getattr(settings, value) is not None and getattr(settings, keyword):
            problems.append(f"give {value} or {keyword}, not both")
    if settings.updatewcs and settings.coeffs and not settings.wcskey and settings.dq_update == "inplace":
        problems.append("updatewcs works on copies of the inputs: choose dq_update = 'copy', not 'inplace'")
    return problems
