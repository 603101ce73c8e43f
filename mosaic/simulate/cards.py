"""Headers of simulated exposures: the package's keyword tables filled with the facts of an exposure.

Covers PRIMARY, SCI, ERR, DQ and the look-up extensions. Does not cover pixels (`files`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from astropy.io import fits

from mosaic.simulate.detectors import DetectorFacts, read_table
from mosaic.simulate.noise import DQ_BAD_PIXEL, DQ_SATURATED, DQ_SHADOW, Exposed, good_pixels
from mosaic.simulate.optics import ChipOptics
from mosaic.simulate.params import SimulateParams
from mosaic.simulate.pointing import Pointing, TangentWcs, base36
from mosaic.simulate.randomness import generator

Value: TypeAlias = str | int | float | bool
SDQFLAGS = 31743
_PLACEHOLDER = "@"
_MJD_ZERO = dt.datetime(1858, 11, 17, tzinfo=dt.UTC)
_FOLDERS = {"ACS": "jref$", "WFC3": "iref$", "WFPC2": "uref$", "STIS": "oref$", "NICMOS": "nref$"}
_SPEED_OF_LIGHT_A = 2.99792458e18


@dataclass(frozen=True, slots=True)
class ExposureFacts:
    """What all headers of one file share."""

    params: SimulateParams
    """Choices of the set."""
    detector: DetectorFacts
    """Detector."""
    pointing: Pointing
    """Attitude."""
    exptime_s: float
    """Exposure time."""
    n_steps: int
    """Exposures of the field."""

    @property
    def filename(self) -> str:
        """Base name of the file."""
        return f"{self.pointing.rootname}_{self.detector.table['suffix']}.fits"

    @property
    def asn_id(self) -> str:
        """Name of the association of the field."""
        return association_name(self.detector, self.params, self.pointing.field)

    @property
    def model_name(self) -> str:
        """Root of the names of distortion reference files."""
        return f"sim00001{self.detector.table['root_letter']}"


def association_name(detector: DetectorFacts, params: SimulateParams, field: int) -> str:
    """Nine-letter name of the association of a field."""
    return f"{detector.table['root_letter']}{params.program}{base36(field + 1)}010"


@cache
def _keyword_table(name: str) -> Mapping[str, Any]:
    return read_table(name)


def _fill(header: fits.Header, sections: list[dict[str, Any]], values: Mapping[str, Value]) -> None:
    for section in sections:
        if section["section"]:
            header.append(fits.Card("", ""), end=True)
            header.append(fits.Card("", f"      / {section['section']}"), end=True)
            header.append(fits.Card("", ""), end=True)
        for keyword, constant in section.items():
            if keyword == "section":
                continue
            if keyword == "WCS":
                header.extend(values["WCS"], end=True)
                continue
            value = values[keyword] if constant == _PLACEHOLDER else values.get(keyword, constant)
            header.append(fits.Card(keyword, value), end=True)


def date_and_time(mjd: float) -> tuple[str, str]:
    """DATE-OBS and TIME-OBS of a modified Julian date."""
    moment = _MJD_ZERO + dt.timedelta(days=mjd)
    return moment.strftime("%Y-%m-%d"), moment.strftime("%H:%M:%S")


def primary_header(facts: ExposureFacts, n_extensions: int) -> fits.Header:
    """PRIMARY header of an exposure."""
    header = fits.Header()
    header.append(fits.Card("SIMPLE", True))
    header.append(fits.Card("BITPIX", 16))
    header.append(fits.Card("NAXIS", 0))
    header.append(fits.Card("EXTEND", True))
    values = _primary_values(facts)
    values["NEXTEND"] = n_extensions
    _fill(header, _keyword_table(facts.detector.table["keywords"])["primary"], values)
    return header


def _primary_values(facts: ExposureFacts) -> dict[str, Value]:
    pointing, table = facts.pointing, facts.detector.table
    date, time = date_and_time(pointing.expstart_mjd)
    has = {kind: kind in table["lookup_tables"] for kind in ("npol", "d2im")}
    name = facts.model_name
    folder = _FOLDERS[facts.detector.instrument]
    parts = [name if has[kind] else "NOMODEL" for kind in ("npol", "d2im")]
    random = generator(facts.params.seed, "header", pointing.index)
    values: dict[str, Value] = {
        "DATE": date,
        "FILENAME": facts.filename,
        "ROOTNAME": pointing.rootname,
        "TARGNAME": facts.params.target_name,
        "RA_TARG": facts.params.target_ra_deg,
        "DEC_TARG": facts.params.target_dec_deg,
        "LINENUM": f"{pointing.field + 1:02d}.{pointing.step + 1:03d}",
        **_exposure_values(facts),
        "TDATEOBS": date,
        "TTIMEOBS": time,
        "TEXPSTRT": round(pointing.expstart_mjd, 8),
        "TEXPEND": round(pointing.expstart_mjd + facts.exptime_s / 86400.0, 8),
        "TEXPTIME": facts.exptime_s,
        "DARKTIME": round(facts.exptime_s + 3.247, 6),
        "PA_V3": round(pointing.pa_v3_deg, 6),
        "POSTARG1": round(pointing.postarg_xy_arcsec[0], 6),
        "POSTARG2": round(pointing.postarg_xy_arcsec[1], 6),
        "PROCTIME": round(pointing.expstart_mjd + 1.5, 8),
        "DETECTOR": facts.detector.detector,
        "CAMERA": facts.detector.chips[0].ccdchip,
        "PRIMECAM": facts.detector.chips[0].ccdchip,
        **_size_values(facts.detector.chips[0]),
        **_photometry_values(facts, facts.detector.chips[0]),
        "IDCTAB": f"{folder}{name}_idc.fits",
        "NPOLFILE": f"{folder}{name}_npl.fits" if has["npol"] else "N/A",
        "D2IMFILE": f"{folder}{name}_d2i.fits" if has["d2im"] else "N/A",
        "DISTNAME": f"{pointing.rootname}_{name}-{parts[0]}-{parts[1]}",
        "SIPNAME": f"{pointing.rootname}_{name}",
        "PATTERN1": f"{facts.detector.instrument}-{facts.detector.detector}-DITHER",
        "P1_SHAPE": "LINE" if facts.params.pattern == "line" else "PARALLELOGRAM",
        "P1_NPTS": facts.n_steps,
        "PATTSTEP": pointing.step + 1,
        "SHUTRPOS": "AB"[pointing.index % 2],
        "CCDGAIN": float(table["ccdgain"]),
        "ATODGAIN": float(table["ccdgain"]),
        "UEXPODUR": round(facts.exptime_s),
        "SHUTTER": "AB"[pointing.index % 2],
        "ASN_ID": facts.asn_id.upper(),
        "ASN_TAB": f"{facts.asn_id}_asn.fits",
        "SAMP_SEQ": "SPARS50",
        "NSAMP": 11,
    }
    for amp in "ABCD":
        values[f"ATODGN{amp}"] = float(table["gain"][amp])
        values[f"READNSE{amp}"] = float(table["read_noise_e"][amp])
        values[f"BIASLEV{amp}"] = round(2500.0 + 30.0 * "ABCD".index(amp) + float(random.normal()), 4)
    return values | dict(facts.detector.bandpass.wheel) | dict(table["primary"])


def _exposure_values(facts: ExposureFacts) -> dict[str, Value]:
    """Keywords of the time and circumstances of an exposure."""
    pointing = facts.pointing
    date, time = date_and_time(pointing.expstart_mjd)
    return {
        "SUNANGLE": round(95.0 + 0.01 * pointing.index, 6),
        "MOONANGL": round(70.0 - 0.02 * pointing.index, 6),
        "SUN_ALT": round(40.0 - 3.5 * (pointing.index % 12), 6),
        "DATE-OBS": date,
        "TIME-OBS": time,
        "EXPSTART": round(pointing.expstart_mjd, 8),
        "EXPEND": round(pointing.expstart_mjd + facts.exptime_s / 86400.0, 8),
        "EXPTIME": facts.exptime_s,
    }


def _size_values(optics: ChipOptics) -> dict[str, Value]:
    ny, nx = optics.shape_yx
    return {"CENTERA1": nx // 2 + 25, "CENTERA2": ny // 2 + 11, "SIZAXIS1": nx, "SIZAXIS2": ny}


def _photometry_values(facts: ExposureFacts, optics: ChipOptics) -> dict[str, Value]:
    """Photometry keywords, per unit of the file and second."""
    bandpass, detector = facts.detector.bandpass, facts.detector
    photflam = bandpass.photflam * detector.electrons_per_count(optics)
    return {
        "PHOTMODE": f"{detector.instrument} {detector.detector}{optics.ccdchip} {bandpass.name} "
        f"MJD#{facts.pointing.expstart_mjd:.4f}",
        "PHOTFLAM": photflam * (1.0 + 1e-4 * optics.extver),
        "PHOTFNU": photflam * bandpass.photplam_a**2 / _SPEED_OF_LIGHT_A * 1e23,
        "PHOTPLAM": bandpass.photplam_a,
        "PHOTBW": bandpass.photbw_a,
    }


def wcs_cards(facts: ExposureFacts, optics: ChipOptics, wcs: TangentWcs, *, is_full: bool) -> list[fits.Card]:
    """Cards of the world coordinate system: with all distortion (`is_full`, for SCI) or linear."""
    suffix = "-SIP" if is_full else ""
    cards: list[tuple[str, Value]] = [
        ("WCSAXES", 2),
        ("CRPIX1", optics.crpix_xy[0]),
        ("CRPIX2", optics.crpix_xy[1]),
        ("CRVAL1", wcs.crval_deg[0]),
        ("CRVAL2", wcs.crval_deg[1]),
        ("CUNIT1", "deg"),
        ("CUNIT2", "deg"),
        ("CTYPE1", f"RA---TAN{suffix}"),
        ("CTYPE2", f"DEC--TAN{suffix}"),
        ("CD1_1", float(wcs.cd[0, 0])),
        ("CD1_2", float(wcs.cd[0, 1])),
        ("CD2_1", float(wcs.cd[1, 0])),
        ("CD2_2", float(wcs.cd[1, 1])),
        ("LTV1", 0.0),
        ("LTV2", 0.0),
        ("LTM1_1", 1.0),
        ("LTM2_2", 1.0),
        ("PA_APER", round(wcs.orientat_deg, 6)),
        ("VAFACTOR", facts.pointing.vafactor),
        ("WCSNAME", f"IDC_{facts.model_name}"),
        ("MJDREF", 0.0),
        ("RADESYS", "ICRS"),
    ]
    if is_full:
        cards += [
            ("ORIENTAT", wcs.orientat_deg),
            ("RA_APER", facts.params.target_ra_deg),
            ("DEC_APER", facts.params.target_dec_deg),
            *_idc_cards(facts, optics),
            *_sip_cards(optics),
            *_lookup_cards(facts, optics),
            *_alternate_cards(optics, wcs),
        ]
    return [fits.Card(keyword, value) for keyword, value in cards]


def _idc_cards(facts: ExposureFacts, optics: ChipOptics) -> list[tuple[str, Value]]:
    cx11, cx10, cy11, cy10 = optics.idc_linear
    return [
        ("OCX10", cx10),
        ("OCX11", cx11),
        ("OCY10", cy10),
        ("OCY11", cy11),
        ("IDCSCALE", optics.idcscale_arcsec),
        ("IDCTHETA", optics.idctheta_deg),
        ("IDCXREF", optics.crpix_xy[0]),
        ("IDCYREF", optics.crpix_xy[1]),
        ("IDCV2REF", float(optics.v2v3_arcsec[0])),
        ("IDCV3REF", float(optics.v2v3_arcsec[1])),
        ("IDCTAB", f"{_FOLDERS[facts.detector.instrument]}{facts.model_name}_idc.fits"),
    ]


def _sip_cards(optics: ChipOptics) -> list[tuple[str, Value]]:
    used = np.argwhere((optics.sip_a != 0.0) | (optics.sip_b != 0.0))
    order = int(used.sum(axis=1).max())
    cards: list[tuple[str, Value]] = [("A_ORDER", order), ("B_ORDER", order)]
    for p, q in used.tolist():
        cards.append((f"A_{p}_{q}", float(optics.sip_a[p, q])))
        cards.append((f"B_{p}_{q}", float(optics.sip_b[p, q])))
    return cards


def _lookup_cards(facts: ExposureFacts, optics: ChipOptics) -> list[tuple[str, Value]]:
    cards: list[tuple[str, Value]] = []
    for tables, kind, record, error, ext, suffix in (
        (optics.d2im, "D2IMDIS", "D2IM", "D2IMERR", "D2IMEXT", "d2i"),
        (optics.npol, "CPDIS", "DP", "CPERR", "NPOLEXT", "npl"),
    ):
        if tables is None:
            continue
        for axis in (1, 2):
            cards += [
                (f"{error}{axis}", float(np.abs(tables.values[axis - 1]).max())),
                (f"{kind}{axis}", "Lookup"),
                (f"{record}{axis}", f"EXTVER: {2 * (optics.extver - 1) + axis:.1f}"),
                (f"{record}{axis}", "NAXES: 2.0"),
                (f"{record}{axis}", "AXIS.1: 1.0"),
                (f"{record}{axis}", "AXIS.2: 2.0"),
            ]
        cards.append((ext, f"{facts.model_name}_{suffix}.fits"))
    return cards


def _alternate_cards(optics: ChipOptics, wcs: TangentWcs) -> list[tuple[str, Value]]:
    """WCS ``O``: the pipeline's linear WCS."""
    return [
        ("WCSNAMEO", "OPUS"),
        ("WCSAXESO", 2),
        ("CRPIX1O", optics.crpix_xy[0]),
        ("CRPIX2O", optics.crpix_xy[1]),
        ("CUNIT1O", "deg"),
        ("CUNIT2O", "deg"),
        ("CTYPE1O", "RA---TAN"),
        ("CTYPE2O", "DEC--TAN"),
        ("CRVAL1O", wcs.crval_deg[0]),
        ("CRVAL2O", wcs.crval_deg[1]),
        ("RADESYSO", "ICRS"),
        ("CD1_1O", float(f"{wcs.cd[0, 0]:.6g}")),
        ("CD1_2O", float(f"{wcs.cd[0, 1]:.6g}")),
        ("CD2_1O", float(f"{wcs.cd[1, 0]:.6g}")),
        ("CD2_2O", float(f"{wcs.cd[1, 1]:.6g}")),
    ]


def _extension_start(facts: ExposureFacts, name: str, extver: int) -> fits.Header:
    header = fits.Header()
    header["INHERIT"] = True
    header["EXTNAME"] = name
    header["EXTVER"] = extver
    header["DATE"] = date_and_time(facts.pointing.expstart_mjd)[0]
    return header


def science_header(
    facts: ExposureFacts, optics: ChipOptics, wcs: TangentWcs, exposed: Exposed
) -> fits.Header:
    """SCI header of a chip."""
    table = facts.detector.table
    good = good_pixels(exposed.dq, SDQFLAGS)
    sci = exposed.sci[good].astype(np.float64) if good.any() else np.zeros(1)
    snr = sci / np.maximum(exposed.err[good], 1e-12) if good.any() else np.zeros(1)
    dark = float(table["dark_e_s"]) * facts.exptime_s / facts.detector.electrons_per_count(optics)
    values: dict[str, Value] = {
        "ROOTNAME": facts.pointing.rootname,
        "EXPNAME": facts.pointing.rootname,
        "BUNIT": table["bunit"],
        "CCDCHIP": optics.ccdchip,
        **_size_values(optics),
        **_photometry_values(facts, optics),
        **_exposure_values(facts),
        "DETECTOR": optics.ccdchip,
        "SAMPTIME": facts.exptime_s,
        "ROUTTIME": round(facts.pointing.expstart_mjd + facts.exptime_s / 86400.0, 8),
        "NGOODPIX": int(good.sum()),
        "GOODMIN": float(sci.min()),
        "GOODMAX": float(sci.max()),
        "GOODMEAN": float(sci.mean()),
        "SNRMIN": float(snr.min()),
        "SNRMAX": float(snr.max()),
        "SNRMEAN": float(snr.mean()),
        **_flag_counts(exposed),
        "DATAMEAN": float(sci.mean()),
        "DEZERO": round(314.0 + 0.1 * optics.extver, 4),
        "BIASEVEN": round(314.0 + 0.1 * optics.extver, 4),
        "BIASODD": round(314.0 + 0.1 * optics.extver, 4),
        "MEANDARK": round(dark, 6),
        "MEANBLEV": round(0.1 * facts.pointing.index - 0.2 * optics.extver, 4),
        "WCS": wcs_cards(facts, optics, wcs, is_full=True),  # type: ignore[dict-item]
    }
    header = _extension_start(facts, "SCI", optics.extver)
    _fill(header, _keyword_table(table["keywords"])["sci"], values)
    return header


def _flag_counts(exposed: Exposed) -> dict[str, Value]:
    """WFPC2's counts of pixels by flag."""
    bits = {"CALIBDEF": DQ_SHADOW, "STATICD": DQ_BAD_PIXEL, "ATODSAT": DQ_SATURATED}
    counts: dict[str, Value] = {name: int(((exposed.dq & bit) > 0).sum()) for name, bit in bits.items()}
    return counts | {"GPIXELS": int((exposed.dq == 0).sum())}


def companion_header(
    facts: ExposureFacts, optics: ChipOptics, wcs: TangentWcs, name: str, unit: str
) -> fits.Header:
    """Header of an extension that goes with SCI: ERR, DQ, SAMP, TIME or SDQ."""
    header = _extension_start(facts, name, optics.extver)
    header["ROOTNAME"] = facts.pointing.rootname
    header["EXPNAME"] = facts.pointing.rootname
    header["BUNIT"] = unit
    if name == "SDQ":
        header["DETECTOR"] = optics.ccdchip
    header.extend(wcs_cards(facts, optics, wcs, is_full=False), end=True)
    return header


def lookup_header(name: str, extver: int, axis: int, step_px: float) -> fits.Header:
    """Header of a WCSDVARR or D2IMARR extension."""
    header = fits.Header()
    header["EXTNAME"] = name
    header["EXTVER"] = extver
    header["CCDCHIP"] = ("DX", "DY")[axis]
    for number in (1, 2):
        header[f"CDELT{number}"] = step_px
        header[f"CRPIX{number}"] = 1.0
        header[f"CRVAL{number}"] = 1.0
    return header
