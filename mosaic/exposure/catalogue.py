"""The list of usable exposures, from headers alone.

Every problem of an input is found here and named in one line with exposure, chip, value and
remedy. Each file is opened once and no science pixel is read; the place of the pixels is recorded
so that nothing parses headers again.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, Protocol

from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from mosaic.errors import (
    ExposureError,
    MetadataError,
    ParameterError,
    PixelError,
    StructureError,
    TruncatedFileError,
)
from mosaic.exposure import blocks
from mosaic.exposure.inputs import InputFile, expand_inputs, root_name
from mosaic.exposure.instruments import HeaderPair, InstrumentFacts, Overrides, instrument_facts
from mosaic.exposure.instruments.facts import InstrumentSettings, mean_value, resolve_overrides
from mosaic.exposure.model import Chip, DataBlock, Exposure
from mosaic.exposure.sky_masks import give_sky_masks
from mosaic.exposure.staging import plain_path
from mosaic.exposure.storage import is_remote, open_stream, size_and_tag
from mosaic.exposure.user_sky import SkySettings, give_user_sky, keyword_sky
from mosaic.geometry.wcs import ChipWcs, header_number
from mosaic.types import ShapeYX

_REMOVE: Final = "remove it from the list"
_RESTORE: Final = "fetch the file again or remove it from the list"
_FILTER_KEYS: Final = ("FILTER", "FILTER1", "FILTER2")


class CatalogueSettings(InstrumentSettings, SkySettings, Protocol):
    """The settings that the catalogue reads."""

    @property
    def group(self) -> object:
        """Extensions to use; blank: all SCI."""

    @property
    def coeffs(self) -> bool:
        """Whether distortion is applied."""

    @property
    def final_wht_type(self) -> str:
        """EXP, ERR or IVM."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the inputs amount to."""

    exposures: tuple[Exposure, ...]
    """Usable exposures, sorted by (EXPSTART, root name)."""
    rejected: tuple[ExposureError, ...]
    """Why the other inputs were set aside."""
    notes: tuple[str, ...] = ()
    """What was assumed or merged, one line each."""


def read_catalogue(
    inputs: Sequence[str],
    settings: CatalogueSettings,
    on_error: Literal["stop", "skip"] = "stop",
    staging_dir: Path | None = None,
) -> Catalogue:
    """Read the headers of all inputs.

    Parameters
    ----------
    inputs : sequence of str
        Files, globs, comma lists, @lists, directories, association tables.
    settings : CatalogueSettings
        Parameters; only instrument values, `group`, `coeffs`, `final_wht_type` and those that name files or
        keywords of the sky are used.
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
    expanded = expand_inputs(inputs)
    rejected = list(expanded.rejected)
    if rejected and on_error == "stop":
        raise rejected[0]
    overrides = resolve_overrides(settings)
    exposures: list[Exposure] = []
    notes = list(expanded.notes)
    for file in expanded.files:
        try:
            exposure, found_notes = read_exposure(file, settings, overrides, staging_dir)
        except ExposureError as error:
            if on_error == "stop":
                raise
            rejected.append(error)
            continue
        exposures.append(exposure)
        notes += found_notes
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


def read_exposure(
    file: InputFile, settings: CatalogueSettings, overrides: Overrides, staging_dir: Path | None
) -> tuple[Exposure, list[str]]:
    """Describe one file; the notes are assumptions made."""
    name = root_name(file.path)
    readable = plain_path(file.path, staging_dir)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        hdul = _open(readable, file.path)
        if any(isinstance(hdu, fits.CompImageHDU) for hdu in hdul):
            hdul.close()
            readable = plain_path(readable, staging_dir, has_tiles=True)
            hdul = _open(readable, file.path)
        with hdul:
            try:
                return _describe(hdul, file, readable, name, settings, overrides)
            except fits.VerifyError as error:
                problem = f"a header card is unreadable ({' '.join(str(error).split())})"
                raise MetadataError(name, problem, _RESTORE) from error


def _open(readable: str, path: str) -> fits.HDUList:
    source = open_stream(readable) if is_remote(readable) else readable
    try:
        return fits.open(source, mode="readonly", memmap=False, lazy_load_hdus=False)
    except OSError as error:
        problem = f"not readable as FITS ({' '.join(str(error).split())})"
        raise TruncatedFileError(path, problem, _RESTORE) from error


def _describe(
    hdul: fits.HDUList,
    file: InputFile,
    readable: str,
    name: str,
    settings: CatalogueSettings,
    overrides: Overrides,
) -> tuple[Exposure, list[str]]:
    blocks.require_complete(hdul, readable, file.path)
    science = [index for index, hdu in enumerate(hdul) if hdu.name == "SCI"]
    if not science:
        raise StructureError(name, "there is no SCI extension", f"give calibrated exposures or {_REMOVE}")
    primary = hdul[0].header
    chosen = _grouped(hdul, science, settings.group, name)
    _require_good_pixels(hdul, science, name)
    chips: list[Chip] = []
    notes: list[str] = []
    for index in chosen:
        extver = int(header_number(hdul[index].header, "EXTVER") or 1)
        headers = HeaderPair(name, f"sci,{extver}", primary, hdul[index].header, extver)
        facts = instrument_facts(headers, overrides)
        exptime = _exposure_time(headers, overrides)
        chips.append(_chip(hdul, index, file, readable, headers, facts, exptime, settings))
        notes += facts.notes
    units = {chip.native_unit for chip in chips}
    if len(units) > 1:
        raise MetadataError(
            name, f"mixed units: its chips are in {', '.join(sorted(units))}", f"correct BUNIT or {_REMOVE}"
        )
    exposure = Exposure(
        path=file.path,
        rootname=name,
        filename=Path(file.path).name,
        instrument=chips[0].instrument,
        detector=chips[0].detector,
        filters=",".join(
            str(primary[key]).strip() for key in _FILTER_KEYS if str(primary.get(key, "")).strip()
        ),
        expstart_mjd=_mjd(hdul, chosen[0], "EXPSTART"),
        expend_mjd=_mjd(hdul, chosen[0], "EXPEND"),
        exptime_s=chips[0].exptime_s,
        fingerprint=_fingerprint(hdul, readable, file.path),
        chips=tuple(chips),
        is_moving_target=_is_true(primary.get("MTFLAG")),
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
) -> Chip:
    header, extver = headers.science, headers.extver
    sci = blocks.science_block(hdul, index, readable, headers)
    err = blocks.companion_block(hdul, "ERR", sci, readable, headers)
    dq = blocks.companion_block(hdul, "DQ", sci, readable, headers)
    wcs = ChipWcs.from_hdulist(
        hdul, index, exposure=headers.exposure, chip=headers.chip, shape_yx=sci.shape_yx
    )
    wcs = wcs if settings.coeffs else wcs.without_distortion()
    origin = (-int(header_number(header, "LTV2") or 0.0), -int(header_number(header, "LTV1") or 0.0))
    ivm = blocks.ivm_block(file.ivm_path, extver, sci.shape_yx, headers) if file.ivm_path else None
    wants_ivm = str(settings.final_wht_type).strip().upper() == "IVM"
    flat: DataBlock | None = None
    if wants_ivm and ivm is None:
        flat = blocks.flat_block(headers, facts, origin, sci.shape_yx, Path(file.path).parent)
        if facts.dark_e is None:
            remedy = "add it, give inverse-variance maps, or choose another final_wht_type"
            raise MetadataError(
                headers.exposure, "MEANDARK absent, which IVM weights need", remedy, headers.chip
            )
    group = f"{headers.instrument}_{headers.detector}_{facts.ccdchip}_{sci.shape_yx.ny}x{sci.shape_yx.nx}"
    if origin != (0, 0):
        group += f"_{origin[0]}_{origin[1]}"
    return Chip(
        rootname=headers.exposure,
        path=file.path,
        extver=extver,
        hdu_index=index,
        ccdchip=facts.ccdchip,
        instrument=headers.instrument,
        detector=headers.detector,
        shape_yx=sci.shape_yx,
        sci=sci,
        err=err,
        dq=dq,
        ivm=ivm,
        flat=flat,
        flat_origin_yx=origin,
        wcs=wcs,
        idcscale_arcsec=wcs.natural_scale_arcsec,
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
        user_sky=keyword_sky(headers, settings),
    )


def _grouped(hdul: fits.HDUList, science: Sequence[int], group: object, name: str) -> list[int]:
    """SCI extensions that the parameter `group` selects, in file order."""
    text = "" if group is None else str(group).strip()
    if text.lower() in {"", "none", "indef"}:
        return list(science)
    chosen: set[int] = set()
    for token in re.findall(r"[A-Za-z]+\s*,\s*\d+|[^,\s]+", text):
        if token.isdigit():
            index = int(token)
        else:
            word, _, version = token.partition(",")
            if word.strip().upper() != "SCI" or not version.strip().isdigit():
                raise ParameterError(f"group={text!r}: {token!r} is neither an extension number nor 'sci,n'")
            matches = [i for i in science if int(hdul[i].header.get("EXTVER", 1)) == int(version)]
            index = matches[0] if matches else -1
        if index not in science:
            there = ", ".join(str(i) for i in science)
            raise ParameterError(
                f"group={text!r}: {token!r} is not a SCI extension of {name} (those are {there})"
            )
        chosen.add(index)
    return sorted(chosen)


def _exposure_time(headers: HeaderPair, overrides: Overrides) -> float:
    if overrides.exptime is not None or overrides.exptime_keywords:
        exptime = mean_value(headers, overrides.exptime, overrides.exptime_keywords, (), "exptime")
    else:
        found = header_number(headers.primary, "EXPTIME")
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


def _mjd(hdul: fits.HDUList, index: int, keyword: str) -> float:
    value = header_number(hdul[0].header, keyword)
    if value is None:
        value = header_number(hdul[index].header, keyword)
    return 0.0 if value is None else value


def _fingerprint(hdul: fits.HDUList, readable: str, path: str) -> str:
    """Digest of all header bytes, file size and modification time."""
    digest = hashlib.sha256()
    with open_stream(readable) as stream:
        for hdu in hdul:
            place = hdu.fileinfo()
            stream.seek(place["hdrLoc"])
            digest.update(stream.read(place["datLoc"] - place["hdrLoc"]))
    size, tag = size_and_tag(path)
    digest.update(f"{size}:{tag}".encode())
    return digest.hexdigest()
