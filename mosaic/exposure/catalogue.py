"""The list of usable exposures, from headers alone.

Every problem of an input is found here and named in one line with exposure, chip, value and
remedy. Each file is opened once and no science pixel is read; the place of the pixels is recorded
so that nothing parses headers again.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, Protocol, overload

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from mosaic.errors import (
    ExposureError,
    MetadataError,
    ParameterError,
    PixelError,
    StructureError,
)
from mosaic.exposure import blocks
from mosaic.exposure.alternate_wcs import resolve_key
from mosaic.exposure.flag_file import Surroundings, header_digest, read_flag_file
from mosaic.exposure.imsets import Part, find_parts
from mosaic.exposure.inputs import ExpandedInputs, InputFile, expand_inputs, root_name
from mosaic.exposure.instruments import (
    HeaderPair,
    InstrumentFacts,
    Overrides,
    instrument_facts,
)
from mosaic.exposure.instruments.facts import InstrumentSettings, mean_value, resolve_overrides
from mosaic.exposure.instruments.traits import InputTraits, input_traits
from mosaic.exposure.model import Chip, DataBlock, Exposure
from mosaic.exposure.remarks import header_remarks
from mosaic.exposure.sky_masks import give_sky_masks
from mosaic.exposure.staging import open_plain
from mosaic.exposure.support_file import supply_pa_v3
from mosaic.exposure.user_sky import SkySettings, give_user_sky, keyword_sky
from mosaic.geometry.wcs import ChipWcs, header_number
from mosaic.types import ShapeYX

_NO_CHIP: Final = -1
"""Number of no chip."""
_REMOVE: Final = "remove it from the list"
_RESTORE: Final = "fetch the file again or remove it from the list"


class CatalogueSettings(InstrumentSettings, SkySettings, Protocol):
    """The settings that the catalogue reads."""

    @property
    def group(self) -> object:
        """Extensions to use; blank: all SCI."""

    @property
    def coeffs(self) -> bool:
        """Whether distortion is applied."""

    @property
    def wcskey(self) -> str:
        """Alternate WCS to use; blank: the primary one."""

    @property
    def final_wht_type(self) -> str:
        """EXP, ERR or IVM."""

    @property
    def peer_compat(self) -> bool:
        """Whether exposures keep the order in which they are given, as DrizzlePac has it."""


@dataclass(frozen=True, slots=True)
class FileContent:
    """What one file amounts to."""

    exposures: tuple[Exposure, ...]
    """Usable exposures."""
    rejected: tuple[ExposureError, ...]
    """Why other exposures in it are not."""
    notes: tuple[str, ...]
    """Assumptions made, one line each."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the inputs amount to."""

    exposures: tuple[Exposure, ...]
    """Usable exposures, sorted by (EXPSTART, root name), or as given with `peer_compat`."""
    rejected: tuple[ExposureError, ...]
    """Why the other inputs were set aside."""
    notes: tuple[str, ...] = ()
    """What was assumed or merged, one line each."""


def read_catalogue(
    inputs: Sequence[str] | ExpandedInputs,
    settings: CatalogueSettings,
    on_error: Literal["stop", "skip"] = "stop",
    staging_dir: Path | None = None,
) -> Catalogue:
    """Read the headers of all inputs.

    Parameters
    ----------
    inputs : sequence of str, or ExpandedInputs
        Files, globs, comma lists, @lists, directories, association tables; or what they were expanded to.
    settings : CatalogueSettings
        Parameters; only instrument values, `group`, `coeffs`, `wcskey`, `final_wht_type` and those that
        name files or keywords of the sky are used.
    on_error : {"stop", "skip"}
        "skip": unusable inputs are returned in `rejected`, as if they had never been listed.
    staging_dir : Path, optional
        Where compressed inputs are uncompressed.

    Raises
    ------
    ExposureError
        The first problem found, with on_error="stop".
    ParameterError
        When the list or a parameter is impossible.
    """
    expanded = inputs if isinstance(inputs, ExpandedInputs) else expand_inputs(inputs)
    rejected = list(expanded.rejected)
    if rejected and on_error == "stop":
        raise rejected[0]
    overrides = resolve_overrides(settings)
    exposures: list[Exposure] = []
    notes = list(expanded.notes)
    for file in expanded.files:
        try:
            content = read_file(file, settings, overrides, staging_dir)
        except ExposureError as error:
            content = FileContent((), (error,), ())
        if content.rejected and on_error == "stop":
            raise content.rejected[0]
        exposures += content.exposures
        rejected += content.rejected
        notes += content.notes
    _refuse_same_names(exposures)
    if not settings.peer_compat:
        exposures.sort(key=lambda exposure: (exposure.expstart_mjd, exposure.rootname))
    followed, misfits = _follow_moving_target(exposures)
    if misfits and on_error == "stop":
        raise misfits[0]
    grouped = bool(str(settings.group or "").strip())
    given, without_sky, sky_notes = give_user_sky(followed, settings, on_error=on_error, grouped=grouped)
    masked, without_mask, mask_notes = give_sky_masks(
        given, settings, on_error=on_error, staging_dir=staging_dir
    )
    set_aside = (*rejected, *misfits, *without_sky, *without_mask)
    return Catalogue(tuple(masked), set_aside, (*notes, *sky_notes, *mask_notes))


def read_file(
    file: InputFile, settings: CatalogueSettings, overrides: Overrides, staging_dir: Path | None
) -> FileContent:
    """Describe the exposures of one file.

    Raises
    ------
    ExposureError
        When none of it can be used.
    """
    name = root_name(file.path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        hdul, readable = open_plain(file.prepared_path or file.path, staging_dir)
        with hdul:
            try:
                flags = read_flag_file(hdul[0].header, file.path, name, staging_dir)
                around = Surroundings(flags, staging_dir)
                return _describe(hdul, file, readable, name, settings, overrides, around)
            except fits.VerifyError as error:
                problem = f"a header card is unreadable ({' '.join(str(error).split())})"
                raise MetadataError(name, problem, _RESTORE) from error


def _describe(
    hdul: fits.HDUList,
    file: InputFile,
    readable: str,
    name: str,
    settings: CatalogueSettings,
    overrides: Overrides,
    around: Surroundings,
) -> FileContent:
    blocks.require_complete(hdul, readable, file.path)
    found = find_parts(hdul, name, Path(file.path).name, settings.group)
    exposures: list[Exposure] = []
    rejected = list(found.rejected)
    notes = [*found.notes, *supply_pa_v3(hdul, file.path, name)]
    if not file.prepared_path:
        notes += header_remarks(hdul[0].header, name)
    digest = header_digest(hdul, readable, file.path) + (around.flags.digest if around.flags else "")
    for part in found.parts:
        try:
            exposure, part_notes = _describe_part(
                hdul, part, file, readable, digest, settings, overrides, around
            )
        except ExposureError as error:
            if not part.is_imset:
                raise
            rejected.append(error)
            continue
        exposures.append(exposure)
        notes += part_notes
    return FileContent(tuple(exposures), tuple(rejected), tuple(notes))


def _describe_part(
    hdul: fits.HDUList,
    part: Part,
    file: InputFile,
    readable: str,
    digest: str,
    settings: CatalogueSettings,
    overrides: Overrides,
    around: Surroundings,
) -> tuple[Exposure, list[str]]:
    name, primary, first = part.rootname, hdul[0].header, part.science[0]
    _require_good_pixels(hdul, part.all_science, name)
    chips: list[Chip] = []
    notes: list[str] = []
    if part.is_imset and file.ivm_path:
        raise ParameterError(
            f"{file.ivm_path}: a file of several exposures takes no inverse-variance map; split {file.path}"
        )
    for index in part.science:
        extver = int(header_number(hdul[index].header, "EXTVER") or 1)
        shown = 1 if part.is_imset else extver
        headers = HeaderPair(name, f"sci,{shown}", primary, hdul[index].header, extver)
        traits = input_traits(headers.instrument)
        facts = instrument_facts(headers, overrides)
        exptime = _exposure_time(headers, overrides, traits)
        chip = _chip(hdul, index, file, readable, headers, facts, exptime, settings, around)
        chips.append(replace(chip, extver=shown))
        notes += facts.notes
    units = {chip.native_unit for chip in chips}
    if len(units) > 1:
        raise MetadataError(
            name, f"mixed units: its chips are in {', '.join(sorted(units))}", f"correct BUNIT or {_REMOVE}"
        )
    exposure = Exposure(
        path=file.path,
        rootname=name,
        filename=part.filename,
        instrument=chips[0].instrument,
        detector=chips[0].detector,
        filters=",".join(
            str(primary[key]).strip() for key in traits.filter_keywords if str(primary.get(key, "")).strip()
        ),
        expstart_mjd=_mjd(hdul, first, "EXPSTART", traits),
        expend_mjd=_mjd(hdul, first, "EXPEND", traits),
        exptime_s=chips[0].exptime_s,
        fingerprint=digest,
        chips=tuple(chips),
        is_moving_target=_is_true(primary.get("MTFLAG")),
        is_imset=part.is_imset,
        flag_path=around.flags.path if around.flags else "",
    )
    return exposure, notes


def _follow_moving_target(exposures: Sequence[Exposure]) -> tuple[list[Exposure], list[ExposureError]]:
    """Give later exposures of a moving target the WCS of the first: they stack in the detector frame."""
    placed: list[Exposure] = []
    misfits: list[ExposureError] = []
    reference: dict[tuple[str, str, int, ShapeYX], ChipWcs] = {}
    for exposure in exposures:
        if not exposure.is_moving_target:
            placed.append(exposure)
            continue
        keys = [(chip.instrument, chip.detector, chip.extver, chip.shape_yx) for chip in exposure.chips]
        if not reference:
            reference = {key: chip.wcs for key, chip in zip(keys, exposure.chips, strict=True)}
        if not all(key in reference for key in keys):
            problem = "moving target (MTFLAG), but its chips differ from those of the first exposure"
            misfits.append(StructureError(exposure.rootname, problem, f"drizzle it on its own or {_REMOVE}"))
            continue
        chips = tuple(
            replace(chip, wcs=reference[key]) for key, chip in zip(keys, exposure.chips, strict=True)
        )
        placed.append(replace(exposure, chips=chips))
    return placed, misfits


def _is_true(value: object) -> bool:
    """FITS logical, or a word with a T in it."""
    return value if isinstance(value, bool) else "T" in str(value or "").upper()


def _chip(
    hdul: fits.HDUList,
    index: int,
    file: InputFile,
    readable: str,
    headers: HeaderPair,
    facts: InstrumentFacts,
    exptime_s: float,
    settings: CatalogueSettings,
    around: Surroundings,
) -> Chip:
    header, extver = headers.science, headers.extver
    sci = blocks.science_block(hdul, index, readable, headers)
    err = blocks.companion_block(hdul, "ERR", sci, readable, headers)
    if around.flags is None:
        dq = blocks.companion_block(hdul, "DQ", sci, readable, headers)
    else:
        dq = around.flags.block(headers, sci.shape_yx)
    wcs = ChipWcs.from_hdulist(
        hdul,
        index,
        exposure=headers.exposure,
        chip=headers.chip,
        shape_yx=sci.shape_yx,
        key=resolve_key(header, settings.wcskey, headers.exposure, headers.chip),
    )
    wcs = wcs if settings.coeffs else wcs.without_distortion()
    origin = _detector_origin(header, facts)
    ivm = blocks.ivm_block(file.ivm_path, extver, sci.shape_yx, headers) if file.ivm_path else None
    flats = _Flats()
    if str(settings.final_wht_type).strip().upper() == "IVM" and ivm is None:
        # DrizzlePac takes the flat field of the same EXTVER, which for a subarray may be another chip.
        wanted = replace(facts, ccdchip=_NO_CHIP) if settings.peer_compat else facts
        flats = _flats(headers, wanted, origin, sci.shape_yx, Path(file.path).parent, around.staging_dir)
    if settings.peer_compat:
        group = _peer_static_group(headers, facts, index, sci.shape_yx)
    else:
        group = _static_group(headers, facts, sci.shape_yx, origin)
    return Chip(
        rootname=headers.exposure,
        path=file.path,
        extver=extver,
        file_extver=extver,
        hdu_index=index,
        ccdchip=facts.ccdchip,
        instrument=headers.instrument,
        detector=headers.detector,
        shape_yx=sci.shape_yx,
        sci=sci,
        err=err,
        dq=dq,
        ivm=ivm,
        flat=flats.flat,
        flat_origin_yx=origin,
        wcs=wcs,
        idcscale_arcsec=_natural_scale(wcs, peer_compat=settings.peer_compat),
        exptime_s=exptime_s,
        is_rate=facts.is_rate,
        native_unit=facts.native_unit,
        gain=facts.gain,
        read_noise_e=facts.read_noise_e,
        dark_e=facts.dark_e or 0.0,
        cte_direction=facts.cte_direction,
        mdrizsky=header_number(header, "MDRIZSKY"),
        static_group=group,
        atod_gain=facts.atod_gain,
        flat_is_inverse=facts.flat_is_inverse,
        sky_gain=1.0 if settings.peer_compat else facts.gain,
        binning=facts.binning,
        shadow_edge=facts.shadow_edge,
        low_flat=flats.low_flat,
        full_shape_yx=facts.full_shape_yx,
        user_sky=keyword_sky(headers, settings),
        binning_yx=facts.binning_yx,
        is_undivided=settings.peer_compat and not facts.is_rate and "BUNIT" not in header,
    )


@dataclass(frozen=True, slots=True)
class _Flats:
    """Flat fields of a chip."""

    flat: DataBlock | None = None
    low_flat: DataBlock | None = None


def _flats(
    headers: HeaderPair,
    facts: InstrumentFacts,
    origin_yx: tuple[int, int],
    shape_yx: ShapeYX,
    folder: Path,
    staging_dir: Path | None,
) -> _Flats:
    """Flat fields for IVM weights, which need the dark besides."""
    if facts.dark_e is None:
        remedy = "add it, give inverse-variance maps, or choose another final_wht_type"
        problem = f"{facts.dark_keyword} absent, which IVM weights need"
        raise MetadataError(headers.exposure, problem, remedy, headers.chip)
    flat = blocks.flat_block(headers, facts, origin_yx, shape_yx, folder, staging_dir)
    return _Flats(flat, blocks.low_flat_block(headers, facts, folder))


def _detector_origin(header: fits.Header, facts: InstrumentFacts) -> tuple[int, int]:
    """Row and column on the detector of the first pixel, from LTM and LTV (image = LTM * detector + LTV)."""
    first = []
    for axis, binning in ((2, facts.binning_yx[0]), (1, facts.binning_yx[1])):
        offset = header_number(header, f"LTV{axis}") or 0.0
        first.append(-int(offset) if binning == 1 else round((0.5 - offset) * binning - 0.5))
    return first[0], first[1]


def _static_group(
    headers: HeaderPair, facts: InstrumentFacts, shape_yx: ShapeYX, origin: tuple[int, int]
) -> str:
    """Key of the chips that share a static mask: the same pixels of the same detector."""
    group = f"{headers.instrument}_{headers.detector}_{facts.ccdchip}_{shape_yx.ny}x{shape_yx.nx}"
    return group if origin == (0, 0) else f"{group}_{origin[0]}_{origin[1]}"


def _peer_static_group(headers: HeaderPair, facts: InstrumentFacts, index: int, shape_yx: ShapeYX) -> str:
    """Key of DrizzlePac's static masks: shape and one number, which chips of two detectors may share."""
    number = headers.extver
    if (headers.instrument, headers.detector) == ("WFC3", "IR"):
        number = index
    elif headers.instrument in {"STIS", "NICMOS"}:
        number = facts.ccdchip
    return f"{shape_yx.ny}x{shape_yx.nx}_{number}"


def _natural_scale(wcs: ChipWcs, *, peer_compat: bool) -> float:
    """Natural pixel scale, arcsec: IDCSCALE, else from the pixel area, which conserves flux.

    DrizzlePac takes the scale along x of a chip without distortion, wrong by the ratio of the scales along
    x and y (0.9 per cent in flux for camera 2 of NICMOS).
    """
    if peer_compat and not np.any(wcs.sip_a) and not np.any(wcs.sip_b):
        return math.hypot(wcs.cd[0][0], wcs.cd[1][0]) * 3600.0
    return wcs.natural_scale_arcsec


def _refuse_same_names(exposures: Sequence[Exposure]) -> None:
    """Refuse two exposures of one root name: an imset and a file that was split off."""
    by_root: dict[str, Exposure] = {}
    for exposure in exposures:
        other = by_root.setdefault(exposure.rootname, exposure)
        if other is not exposure:
            raise ParameterError(
                f"{other.path} and {exposure.path} both hold exposure {exposure.rootname!r}; remove one"
            )


def _exposure_time(headers: HeaderPair, overrides: Overrides, traits: InputTraits) -> float:
    if overrides.exptime is not None or overrides.exptime_keywords:
        exptime = mean_value(headers, overrides.exptime, overrides.exptime_keywords, (), "exptime")
    else:
        found = header_number(headers.primary, "EXPTIME")
        if traits.is_timed_by_chip:
            found = _or_else(header_number(headers.science, "EXPTIME"), found)
        if found is None:
            raise MetadataError(headers.exposure, "EXPTIME absent or not a number", f"add it or {_REMOVE}")
        exptime = found
    if not exptime > 0.0:
        raise MetadataError(headers.exposure, f"EXPTIME is {exptime:g} s", f"correct it or {_REMOVE}")
    return exptime


def _require_good_pixels(hdul: fits.HDUList, science: Sequence[int], name: str) -> None:
    """Refuse an exposure whose headers say that no pixel is good (NGOODPIX, when all chips have it)."""
    counts = [header_number(hdul[index].header, "NGOODPIX") for index in science]
    if all(count is not None for count in counts) and not any(counts):
        raise PixelError(name, "no good pixel (NGOODPIX is 0 in every SCI extension)", _REMOVE)


def _mjd(hdul: fits.HDUList, index: int, keyword: str, traits: InputTraits) -> float:
    places = (index, 0) if traits.is_timed_by_chip else (0, index)
    first, second = (header_number(hdul[place].header, keyword) for place in places)
    return _or_else(_or_else(first, second), 0.0)


@overload
def _or_else(value: float | None, other: float) -> float: ...
@overload
def _or_else(value: float | None, other: float | None) -> float | None: ...
def _or_else(value: float | None, other: float | None) -> float | None:
    return other if value is None else value
