"""All parameters of an alignment: TweakReg's names, meanings and defaults, and some of our own.

Covers the models and reading them from files, assignments and keywords. Does not cover what is done with
them.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from mosaic import values as v
from mosaic.configfile import flatten_config, read_config
from mosaic.errors import ParameterError
from mosaic.parameters import describe_problems, join_problems, split_assignments


def _column(value: object) -> object:
    """Columns may come as numbers; a list stands for several columns."""
    if isinstance(value, list | tuple):
        return ",".join(str(part) for part in value)
    return "" if value is None else str(value).strip()


Column: TypeAlias = Annotated[str, BeforeValidator(_column)]
FitGeometry: TypeAlias = Annotated[Literal["shift", "rscale", "general"], v.Lower]
FluxUnits: TypeAlias = Annotated[Literal["counts", "cps", "mag"], v.Lower]
XYUnits: TypeAlias = Annotated[Literal["pixels", "degrees"], v.Lower]
Model = TypeVar("Model", bound=BaseModel)
TASKS: Final = {"find": "imagefindpars", "reference": "refimagefindpars", "align": "tweakreg"}
_IGNORED: Final = frozenset({"updatewcs", "interactive", "verbose", "editpars", "configobj", "runfile"})
"""Parameters of the peer about its terminal, and the distortion update, which is `mosaic drizzle`'s."""


class FindSettings(BaseModel):
    """How sources are found on a chip (imagefindpars, refimagefindpars)."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    computesig: bool = Field(default=True, description="Measure the noise of the background, else skysigma.")
    skysigma: v.NotNegative = Field(default=0.0, description="Noise of the background, native units.")
    sigma_method: Annotated[Literal["mad", "peer"], v.Lower] = Field(
        default="mad", description="mad: from the median deviation; peer: sqrt(2 |mode|), as DrizzlePac."
    )
    conv_width: v.Positive = Field(
        default=3.5, description="FWHM of the kernel, pixels; about twice the FWHM of a star."
    )
    threshold: v.Positive = Field(default=4.0, description="Detection threshold, units of the noise.")
    nsigma: v.Positive = Field(default=1.5, description="Half size of the kernel, units of its sigma.")
    ratio: v.Fraction = Field(default=1.0, description="Minor to major axis of the kernel.")
    theta: v.Number = Field(default=0.0, description="Angle of its major axis from +x, degrees.")
    peakmin: v.FloatOrNone = Field(default=None, description="Smallest peak (exclusive), native units.")
    peakmax: v.FloatOrNone = Field(default=None, description="Largest peak (exclusive), native units.")
    fluxmin: v.FloatOrNone = Field(default=None, description="Smallest sum of the box (exclusive).")
    fluxmax: v.FloatOrNone = Field(default=None, description="Largest sum of the box (exclusive).")
    use_sharp_round: bool = Field(default=False, description="Apply the limits of shape.")
    sharplo: v.Number = Field(default=0.2, description="Smallest sharpness.")
    sharphi: v.Number = Field(default=1.0, description="Largest sharpness.")
    roundlo: v.Number = Field(default=-1.0, description="Smallest roundness, both kinds.")
    roundhi: v.Number = Field(default=1.0, description="Largest roundness, both kinds.")
    dqbits: v.Bits = Field(default=None, description="Good data-quality bits; blank: ignore flags.")


class AlignSettings(FindSettings):
    """Every TweakReg parameter by its name, and our own; the finding parameters are those of the inputs."""

    refimage: v.Text = Field(default="", description="Image whose WCS and sources are the reference.")
    expand_refcat: bool = Field(
        default=False, description="Add unmatched sources of aligned images to the reference."
    )
    enforce_user_order: bool = Field(
        default=True, description="Align in the order given; false: by overlap with the reference."
    )
    exclusions: v.Text = Field(default="", description="File of DS9 regions or masks per image and chip.")
    writecat: bool = Field(default=True, description="Write catalogue and match files.")
    clean: bool = Field(default=False, description="Leave no catalogue and match files.")
    updatehdr: bool = Field(default=False, description="Write the new WCS into the inputs.")
    wcsname: v.Text = Field(default="TWEAK", description="Name of the new WCS.")
    reusename: bool = Field(default=False, description="Allow a name that a file has already.")
    headerlet: bool = Field(default=False, description="Write a headerlet of every updated image.")
    attach: bool = Field(default=True, description="Attach it to the image too.")
    hdrfile: v.Text = Field(default="", description="Stem of headerlet files.")
    hdrname: v.Text = Field(default="", description="HDRNAME; blank: wcsname.")
    clobber: bool = Field(default=False, description="Overwrite headerlet files.")
    author: v.Text = Field(default="", description="AUTHOR of headerlets.")
    descrip: v.Text = Field(default="", description="DESCRIP of headerlets.")
    catalog: v.Text = Field(default="", description="Astrometric catalogue named in headerlets.")
    history: v.Text = Field(default="", description="Text file with the HISTORY of headerlets.")
    shiftfile: bool = Field(default=False, description="Write a shift file.")
    outshifts: v.Text = Field(default="shifts.txt", description="Its name.")
    outwcs: v.Text = Field(default="shifts_wcs.fits", description="File of the reference WCS it cites.")
    catfile: v.Text = Field(default="", description="Table of catalogues per image; blank: find sources.")
    xcol: Column = Field(default="1", description="Column of x or RA in user catalogues.")
    ycol: Column = Field(default="2", description="Column of y or Dec.")
    fluxcol: Column = Field(default="", description="Column of the flux; blank: none.")
    maxflux: v.FloatOrNone = Field(default=None, description="Largest flux; with mag: the bright limit.")
    minflux: v.FloatOrNone = Field(default=None, description="Smallest flux; with mag: the faint limit.")
    fluxunits: FluxUnits = Field(default="counts", description="counts, cps or mag.")
    xyunits: XYUnits = Field(default="pixels", description="pixels (1-based) or degrees.")
    nbright: v.SideOrNone = Field(default=None, description="Keep this many of the brightest per chip.")
    refcat: v.Text = Field(default="", description="Reference catalogue: ECSV, FITS or text.")
    refxcol: Column = Field(default="1", description="Column of RA or x in refcat.")
    refycol: Column = Field(default="2", description="Column of Dec or y.")
    refxyunits: XYUnits = Field(default="degrees", description="degrees or pixels of the frame.")
    rfluxcol: Column = Field(default="", description="Column of the flux; blank: none.")
    rmaxflux: v.FloatOrNone = Field(default=None, description="As maxflux.")
    rminflux: v.FloatOrNone = Field(default=None, description="As minflux.")
    rfluxunits: FluxUnits = Field(default="mag", description="As fluxunits.")
    refnbright: v.SideOrNone = Field(default=None, description="Keep this many of the brightest.")
    minobj: v.Side = Field(default=15, description="Fewest matches of a fit.")
    searchrad: v.Positive = Field(default=1.0, description="Search radius of the first offset.")
    searchunits: Annotated[Literal["arcseconds", "pixels"], v.Lower] = Field(
        default="arcseconds", description="Its unit: arcseconds or pixels of the frame."
    )
    use2dhist: bool = Field(default=True, description="Find the first offset by a 2-D histogram.")
    see2dplot: bool = Field(default=True, description="Draw the histogram.")
    separation: v.NotNegative = Field(default=0.5, description="Closest sources of one list, frame pixels.")
    tolerance: v.Positive = Field(default=1.0, description="Match radius, frame pixels.")
    xoffset: v.Number = Field(default=0.0, description="First offset when use2dhist is false, pixels.")
    yoffset: v.Number = Field(default=0.0, description="Likewise in y.")
    fitgeometry: FitGeometry = Field(default="rscale", description="shift, rscale or general.")
    residplot: Annotated[Literal["no plot", "vector", "residuals", "both"], v.Lower] = Field(
        default="both", description="Plots of residuals: No plot, vector, residuals or both."
    )
    ylimit: v.PositiveOrNone = Field(default=None, description="Limit of their axes, pixels.")
    labelsize: v.Side = Field(default=8, description="Their font size.")
    nclip: Annotated[v.Count, BeforeValidator(lambda value: 0 if v.is_blank(value) else value)] = Field(
        default=3, description="Clipping iterations; blank or 0: none."
    )
    sigma: v.Positive = Field(default=3.0, description="Clipping threshold, rms per axis.")
    solve: Annotated[Literal["sequential", "global"], v.Lower] = Field(
        default="sequential",
        description="sequential: each image to the reference; global: all pairs at once.",
    )
    method: Annotated[Literal["sources", "correlation"], v.Lower] = Field(
        default="sources",
        description="sources: match sources; correlation: compare the light, for fields without stars.",
    )
    correlation_block: v.Side = Field(
        default=4, description="Side of the blocks of pixels whose medians are correlated."
    )
    cleaned: v.Text = Field(
        default="",
        description="Folder of copies without cosmic rays (ROOT_crclean.fits) that are searched instead.",
    )
    reject_fixed: bool = Field(
        default=True, description="Leave out what stays on its detector pixel while the telescope moves."
    )
    max_peak_ratio: v.Fraction = Field(
        default=0.7,
        description="Refuse an offset whose second-highest peak is above this share of the first.",
    )


@dataclass(frozen=True, slots=True)
class AlignParameters:
    """Parameters of an alignment, complete."""

    align: AlignSettings
    """Everything about the inputs."""
    reference: FindSettings
    """How sources are found on `refimage`."""
    inputs: tuple[str, ...]
    """Inputs that the parameter file names."""
    notes: tuple[str, ...]
    """What was ignored, one line each."""


def load_align_settings(
    config: Path | Mapping[str, object] | None = None,
    assignments: Sequence[str] = (),
    *,
    imagefindcfg: object = None,
    refimagefindcfg: object = None,
    keywords: Mapping[str, object] | None = None,
    defaults: Mapping[str, object] | None = None,
) -> AlignParameters:
    """Take parameters from a file, then ``NAME=VALUE`` texts, then keywords; later ones win.

    Parameters
    ----------
    config : path or mapping, optional
        TOML or DrizzlePac ``.cfg`` file, or what one holds.
    assignments : sequence of str
        Texts of the form ``NAME=VALUE``.
    imagefindcfg, refimagefindcfg : None, path or mapping
        Finding parameters of the inputs and of `refimage`.
    keywords : mapping, optional
        Values by name.
    defaults : mapping, optional
        Finding parameters used where nothing else is said.

    Raises
    ------
    ParameterError
        Naming every unknown name (with the near ones), every name given twice and every impossible value.
    """
    problems: list[str] = []
    raw, inputs = _read_layer(config, TASKS["align"], problems)
    direct = split_assignments(assignments, problems) | dict(keywords or {})
    find, _ = _read_layer(imagefindcfg, TASKS["find"], problems)
    problems += [f"{name} is given twice: in imagefindcfg and by keyword" for name in find if name in direct]
    refind, _ = _read_layer(refimagefindcfg, TASKS["reference"], problems)
    raw = {**raw, **find, **direct}
    notes = tuple(
        f"{name} = {raw[name]} has no effect here"
        for name in sorted(_IGNORED & raw.keys())
        if str(raw[name]).lower() in {"true", "yes"} and name in {"updatewcs", "interactive"}
    )
    raw = {name: value for name, value in raw.items() if name not in _IGNORED}
    align = _validated(AlignSettings, {**(defaults or {}), **raw}, "", problems)
    reference = _validated(FindSettings, {**(defaults or {}), **refind}, "refimagefindcfg: ", problems)
    if problems or align is None or reference is None:
        raise ParameterError(join_problems(problems))
    return AlignParameters(align, reference, inputs, notes)


AlignChoice: TypeAlias = AlignParameters | Mapping[str, object] | bool | None
"""An alignment as part of a run: parameters, or values by name; True: the defaults; None, False: without."""


def resolve_align(choice: AlignChoice) -> AlignParameters | None:
    """Parameters of an alignment that is part of a run.

    Parameters
    ----------
    choice : AlignChoice
        What was asked for.

    Raises
    ------
    ParameterError
        As `load_align_settings`, and when the headers of the inputs are to be updated.
    """
    if choice is None or choice is False:
        return None
    if not isinstance(choice, AlignParameters):
        choice = load_align_settings(keywords=choice if isinstance(choice, Mapping) else {})
    if choice.align.updatehdr:
        raise ParameterError(
            "updatehdr: an alignment within a run leaves its inputs alone; set headerlet for files that can "
            "be applied to them, or run mosaic align --update first"
        )
    return choice


def _read_layer(source: object, task: str, problems: list[str]) -> tuple[dict[str, object], tuple[str, ...]]:
    """Flat values of a file or mapping."""
    if source is None or source == "":
        return {}, ()
    if isinstance(source, Mapping):
        file = flatten_config(source, Path(task), task=task)
    elif isinstance(source, str | os.PathLike):
        file = read_config(Path(source), task)
    else:
        raise ParameterError(f"parameters of {task} are {type(source).__name__}: give a path or a mapping")
    problems.extend(file.problems)
    return dict(file.parameters), file.inputs


def _validated(
    model: type[Model], raw: Mapping[str, object], place: str, problems: list[str]
) -> Model | None:
    """Make a model of raw values, or add what is wrong to the problems."""
    for name in raw.keys() - model.model_fields.keys():
        near = difflib.get_close_matches(name.lower(), model.model_fields, n=3, cutoff=0.6)
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        problems.append(f"{place}unknown parameter {name}{hint}")
    try:
        return model.model_validate({name: raw[name] for name in raw if name in model.model_fields})
    except ValidationError as error:
        problems.extend(place + text for text in describe_problems(error))
    return None
