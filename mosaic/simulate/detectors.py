"""Facts of each detector, read from the package's tables, and their scaling to smaller chips.

Covers geometry, noise and photometry numbers. Does not cover pointing (`pointing`) or headers (`cards`).

Focal plane: with ``(u, v)`` the distorted offset from the reference pixel, pixels, the offset in the
V2, V3 plane is ``R(theta) P C (u, v)`` arcsec, where C is the linear part of the detector's polynomial,
P its parity and ``R(t) = [[cos t, sin t], [-sin t, cos t]]``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from mosaic.errors import ParameterError
from mosaic.simulate.optics import ChipOptics, LookupTables
from mosaic.types import DoubleArray, ShapeYX

DETECTORS: dict[str, str] = {
    "acs/wfc": "acs_wfc.toml",
    "acs/hrc": "acs_hrc.toml",
    "acs/sbc": "acs_sbc.toml",
    "wfc3/uvis": "wfc3_uvis.toml",
    "wfc3/ir": "wfc3_ir.toml",
    "wfpc2": "wfpc2.toml",
    "stis/ccd": "stis_ccd.toml",
    "stis/nuv-mama": "stis_nuv.toml",
    "stis/fuv-mama": "stis_fuv.toml",
    "nicmos/nic1": "nicmos_nic1.toml",
    "nicmos/nic2": "nicmos_nic2.toml",
    "nicmos/nic3": "nicmos_nic3.toml",
}
"""Name of each simulated detector and its table."""

SIP_ORDER = 5
_TABLE_STEP_PX = 64.0
_TABLE_SEED = 20_020_301


@dataclass(frozen=True, slots=True)
class Bandpass:
    """Photometry of one filter."""

    name: str
    """Filter name."""
    wheel: Mapping[str, str]
    """Header keywords of the filter wheel and their values."""
    photflam: float
    """erg cm-2 s-1 A-1 per electron per second."""
    photplam_a: float
    """Pivot wavelength, angstrom."""
    photbw_a: float
    """RMS width, angstrom."""

    def ab_magnitude(self, rate_e_s: DoubleArray) -> DoubleArray:
        """AB magnitude of a rate in electrons per second."""
        zero_point = -2.5 * np.log10(self.photflam) - 5.0 * np.log10(self.photplam_a) - 2.408
        return np.asarray(zero_point - 2.5 * np.log10(rate_e_s), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Psf:
    """Point-spread function: a sum of circular Gaussians on the sky."""

    fraction: tuple[float, ...]
    """Share of the flux of each Gaussian; they sum to 1."""
    sigma_arcsec: tuple[float, ...]
    """Standard deviation of each Gaussian, arcsec."""

    def scaled(self, factor: float) -> Psf:
        """The same profile, wider by a factor."""
        return Psf(self.fraction, tuple(factor * sigma for sigma in self.sigma_arcsec))


@dataclass(frozen=True, slots=True)
class DetectorFacts:
    """Everything a simulated exposure takes from its detector."""

    instrument: str
    """INSTRUME."""
    detector: str
    """DETECTOR (CAMERA for NICMOS)."""
    table: Mapping[str, Any]
    """The remaining numbers, as the table names them."""
    chips: tuple[ChipOptics, ...]
    """Chips in the order of their extensions."""
    psf: Psf
    """Point-spread function."""
    bandpass: Bandpass
    """Filter in use."""

    @property
    def idcscale_arcsec(self) -> float:
        """Nominal pixel scale (of the wide-field chips, for WFPC2)."""
        return float(self.table["idcscale_arcsec"])

    @property
    def is_rate(self) -> bool:
        """Whether files hold a rate."""
        return str(self.table["bunit"]).endswith("/S")

    @property
    def aperture_v2v3_arcsec(self) -> DoubleArray:
        """Point of the focal plane that looks at the target: the middle of the chips."""
        return np.asarray(np.mean([chip.v2v3_arcsec for chip in self.chips], axis=0), dtype=np.float64)

    @property
    def axes(self) -> DoubleArray:
        """Directions of the detector's x and y in the V2, V3 plane, the columns of a 2 x 2 matrix."""
        return _axes(self.table, float(self.table["idctheta_deg"]))

    def electrons_per_count(self, optics: ChipOptics) -> float:
        """Electrons of one unit of the file before division by time: the gain where files are in DN."""
        if not self.table.get("is_in_dn", False):
            return 1.0
        return float(self.table["gain"][self.table["chip_amps"][optics.extver - 1][0]])


def read_table(name: str) -> dict[str, Any]:
    """Read one of the package's TOML tables."""
    text = (resources.files("mosaic.simulate") / "data" / name).read_text(encoding="utf-8")
    return tomllib.loads(text)


def _axes(table: Mapping[str, Any], idctheta_deg: float) -> DoubleArray:
    theta = np.radians(idctheta_deg)
    turn = np.array([[np.cos(theta), np.sin(theta)], [-np.sin(theta), np.cos(theta)]])
    return np.asarray(turn @ np.diag(np.asarray(table["parity"], dtype=np.float64)))


def _coefficients(named: Mapping[str, float], fx: float, fy: float, own: float) -> DoubleArray:
    """SIP coefficients on a chip smaller by `fx` and `fy`: the displacement shrinks by `own`."""
    array = np.zeros((SIP_ORDER + 1, SIP_ORDER + 1))
    for powers, value in named.items():
        p, q = (int(text) for text in powers.split("_"))
        array[p, q] = value * fx**p * fy**q / own
    return array


def _lookup(rms_px: float, shape_yx: ShapeYX, key: tuple[int, ...]) -> DoubleArray:
    """Two tables (dx, dy) of fine distortion with a node every 64 pixels, smoothed white noise."""
    n_node = [int(np.ceil(n / _TABLE_STEP_PX)) + 1 for n in shape_yx]
    generator = np.random.default_rng(np.random.SeedSequence(_TABLE_SEED, spawn_key=key))
    white = generator.standard_normal((2, n_node[0] + 1, n_node[1] + 1))
    smooth = white[:, 1:, 1:] + 0.5 * (white[:, :-1, 1:] + white[:, 1:, :-1])
    return np.asarray(np.clip(smooth / np.sqrt(1.5), -2.5, 2.5) * rms_px, dtype=np.float32).astype(np.float64)


def _chip(table: Mapping[str, Any], extver: int, shape_yx: ShapeYX) -> ChipOptics:
    facts = table["chips"][extver - 1]
    full = ShapeYX(*table["shape_yx"])
    fx, fy = full.nx / shape_yx.nx, full.ny / shape_yx.ny
    theta = float(facts.get("idctheta_deg", table["idctheta_deg"]))
    focal = _axes(table, theta) @ np.reshape(facts["idc_linear"], (2, 2))
    anchor = np.asarray(table["chips"][0]["v2v3_arcsec"], dtype=np.float64)
    separation = np.linalg.solve(focal, np.asarray(facts["v2v3_arcsec"]) - anchor)
    kinds = table["lookup_tables"]

    def tables(kind: str, number: int) -> LookupTables | None:
        if kind not in kinds:
            return None
        values = _lookup(float(table[f"{kind}_rms_px"]), shape_yx, (number, extver, len(table["detector"])))
        return LookupTables(values, _TABLE_STEP_PX)

    return ChipOptics(
        extver=extver,
        ccdchip=int(facts["ccdchip"]),
        shape_yx=shape_yx,
        crpix_xy=(facts["crpix_xy"][0] / fx, facts["crpix_xy"][1] / fy),
        v2v3_arcsec=anchor + focal @ (separation / np.array([fx, fy])),
        focal=focal,
        idc_linear=tuple(facts["idc_linear"]),
        idcscale_arcsec=float(facts.get("idcscale_arcsec", table["idcscale_arcsec"])),
        idctheta_deg=theta,
        sip_a=_coefficients(facts["sip_a"], fx, fy, fx),
        sip_b=_coefficients(facts["sip_b"], fx, fy, fy),
        npol=tables("npol", 1),
        d2im=tables("d2im", 2),
    )


@cache
def detector_facts(
    instrument: str, filter_name: str | None, chip_shape: ShapeYX | None, ccd_gain: float | None = None
) -> DetectorFacts:
    """Facts of a detector on chips of the given shape, read with the given gain setting.

    Raises
    ------
    ParameterError
        When the filter or the gain setting is not in the detector's table, or chips that lie at right angles
        to each other are not square.
    """
    table = read_table(DETECTORS[instrument.lower()])
    if ccd_gain is not None and ccd_gain != table["ccdgain"]:
        if f"gain_{ccd_gain:g}" not in table:
            raise ParameterError(f"ccd_gain={ccd_gain:g} of {instrument} is not simulated")
        table |= table[f"gain_{ccd_gain:g}"]
    shape_yx = ShapeYX(*table["shape_yx"]) if chip_shape is None else ShapeYX(*chip_shape)
    if shape_yx.ny != shape_yx.nx and any("idctheta_deg" in chip for chip in table["chips"]):
        raise ParameterError(f"chip_shape {tuple(shape_yx)}: chips of {instrument} must be square")
    name = str(table["default_filter"]) if filter_name is None else filter_name.upper()
    if name not in table["filters"]:
        raise ParameterError(f"filter {name!r} of {instrument} is not one of {', '.join(table['filters'])}")
    filt = table["filters"][name]
    return DetectorFacts(
        instrument=table["instrument"],
        detector=table["detector"],
        table=table,
        chips=tuple(_chip(table, extver, shape_yx) for extver in range(1, len(table["chips"]) + 1)),
        psf=Psf(tuple(table["psf"]["fraction"]), tuple(table["psf"]["sigma_arcsec"])),
        bandpass=Bandpass(name, filt["wheel"], filt["photflam"], filt["photplam"], filt["photbw"]),
    )
