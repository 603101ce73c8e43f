"""Writing a simulated set: exposures, association tables and tables of truth.

Every file goes to a temporary name and is renamed when complete. Does not cover header contents (`cards`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

from mosaic.simulate.cards import (
    ExposureFacts,
    companion_header,
    lookup_header,
    primary_header,
    science_header,
)
from mosaic.simulate.detectors import DetectorFacts
from mosaic.simulate.noise import Exposed
from mosaic.simulate.params import SimulateParams
from mosaic.simulate.pointing import Pointing, TangentWcs, chip_wcs
from mosaic.simulate.scene import Scene
from mosaic.types import FloatArray, IntArray


def write_exposure(
    folder: Path, facts: ExposureFacts, wcs: Sequence[TangentWcs], chips: Sequence[Exposed]
) -> Path:
    """Write one exposure with its extensions in the archive's order and return its path."""
    if "flag_suffix" in facts.detector.table:
        return _write_pair(folder, facts, wcs, chips)
    hdus: list[fits.ImageHDU] = []
    for optics, chip_sky, exposed in zip(facts.detector.chips, wcs, chips, strict=True):
        unit = str(facts.detector.table["bunit"])
        hdus.append(fits.ImageHDU(exposed.sci, science_header(facts, optics, chip_sky, exposed)))
        hdus.append(fits.ImageHDU(exposed.err, companion_header(facts, optics, chip_sky, "ERR", unit)))
        dq = _named_flags(exposed.dq, facts.detector.table.get("dq_bits", {}))
        hdus.append(fits.ImageHDU(dq, companion_header(facts, optics, chip_sky, "DQ", "UNITLESS")))
        if facts.detector.is_rate:
            samples = np.full(optics.shape_yx, 10, dtype=np.int16)
            times = np.full(optics.shape_yx, facts.exptime_s, dtype=np.float32)
            hdus.append(fits.ImageHDU(samples, companion_header(facts, optics, chip_sky, "SAMP", "UNITLESS")))
            hdus.append(fits.ImageHDU(times, companion_header(facts, optics, chip_sky, "TIME", "SECONDS")))
    hdus += _lookup_hdus(facts.detector)
    path = folder / facts.filename
    _write(path, fits.HDUList([fits.PrimaryHDU(header=primary_header(facts, len(hdus))), *hdus]))
    return path


def _write_pair(
    folder: Path, facts: ExposureFacts, wcs: Sequence[TangentWcs], chips: Sequence[Exposed]
) -> Path:
    """Write an exposure whose flags are in a file of their own (WFPC2) and return the path of its pixels."""
    table = facts.detector.table
    path = folder / facts.filename
    flags_path = folder / facts.filename.replace(table["suffix"], table["flag_suffix"])
    together = list(zip(facts.detector.chips, wcs, chips, strict=True))
    pixels = [
        fits.ImageHDU(chip.sci, science_header(facts, optics, sky, chip)) for optics, sky, chip in together
    ]
    flags = [
        fits.ImageHDU(
            _named_flags(chip.dq, table["dq_bits"]), companion_header(facts, optics, sky, "SDQ", "UNITLESS")
        )
        for optics, sky, chip in together
    ]
    for target, kind, hdus in ((flags_path, "SDQ", flags), (path, "SCI", pixels)):
        primary = fits.PrimaryHDU(header=primary_header(facts, len(hdus)))
        primary.header["FILETYPE"] = kind
        primary.header["FILENAME"] = target.name
        _write(target, fits.HDUList([primary, *hdus]))
    return path


def _named_flags(dq: IntArray, bits: Mapping[str, int]) -> NDArray[np.int16]:
    """Flags by the detector's own bits; those without an entry keep theirs."""
    own = {int(name): bit for name, bit in bits.items()}
    named = dq & ~np.int32(sum(own))
    for ours, theirs in own.items():
        named |= np.where(dq & ours, np.int32(theirs), np.int32(0))
    return named.astype(np.int16)


def _lookup_hdus(detector: DetectorFacts) -> list[fits.ImageHDU]:
    hdus = []
    for name, kind in (("D2IMARR", "d2im"), ("WCSDVARR", "npol")):
        for optics in detector.chips:
            tables = getattr(optics, kind)
            if tables is None:
                continue
            for axis in (0, 1):
                header = lookup_header(name, 2 * (optics.extver - 1) + axis + 1, axis, tables.step_px)
                hdus.append(fits.ImageHDU(tables.values[axis].astype(np.float32), header))
    return hdus


def _write(path: Path, hdus: fits.HDUList) -> None:
    temporary = path.with_name(f".{path.name}.part")
    hdus.writeto(temporary, overwrite=True)
    temporary.replace(path)


def write_association(folder: Path, name: str, rootnames: Sequence[str]) -> Path:
    """Write the association table of one field and return its path."""
    members = [root.upper() for root in rootnames] + [name.upper()]
    kinds = ["EXP-DTH"] * len(rootnames) + ["PROD-DTH"]
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("MEMNAME", "14A", array=np.array(members)),
            fits.Column("MEMTYPE", "14A", array=np.array(kinds)),
            fits.Column("MEMPRSNT", "L", array=np.ones(len(members), dtype=bool)),
        ],
        name="ASN",
    )
    primary = fits.PrimaryHDU()
    primary.header["ASN_ID"] = name.upper()
    primary.header["ASN_TAB"] = f"{name}_asn.fits"
    path = folder / f"{name}_asn.fits"
    _write(path, fits.HDUList([primary, table]))
    return path


def write_cosmic_rays(folder: Path, rootname: str, charges: Sequence[FloatArray]) -> Path:
    """Write where cosmic rays struck: per EXTVER n the arrays ``index_n`` and ``electrons_n``."""
    arrays: dict[str, np.ndarray] = {}
    for extver, charge in enumerate(charges, start=1):
        index = np.flatnonzero(charge)
        arrays[f"index_{extver}"] = index.astype(np.int32)
        arrays[f"electrons_{extver}"] = charge.ravel()[index]
        arrays[f"shape_yx_{extver}"] = np.array(charge.shape)
    path = folder / f"cosmic_rays_{rootname}.npz"
    temporary = path.with_name(f".{path.stem}.part.npz")
    np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
    temporary.replace(path)
    return path


def read_cosmic_rays(path: Path | str) -> dict[int, FloatArray]:
    """Charge of cosmic rays by EXTVER, electrons per pixel before flat-fielding, float32 images."""
    charges: dict[int, FloatArray] = {}
    with np.load(path) as arrays:
        for name in arrays.files:
            if name.startswith("index_"):
                extver = int(name.removeprefix("index_"))
                charge = np.zeros(tuple(arrays[f"shape_yx_{extver}"]), dtype=np.float32)
                charge.ravel()[arrays[name]] = arrays[f"electrons_{extver}"]
                charges[extver] = charge
    return charges


def _write_table(path: Path, table: Table) -> Path:
    temporary = path.with_name(f".{path.name}.part")
    table.write(temporary, format="ascii.ecsv", overwrite=True)
    temporary.replace(path)
    return path


def write_sources(folder: Path, scene: Scene, facts: DetectorFacts, exptime_s: float) -> Path:
    """Write the source list; its meta data hold what photometry needs (PSF, scale, full well)."""
    table = Table(
        {
            "id": np.arange(1, len(scene.kind) + 1),
            "type": list(scene.kind),
            "ra": scene.ra_deg,
            "dec": scene.dec_deg,
            "rate_e_s": scene.rate_e_s,
            "mag_ab": facts.bandpass.ab_magnitude(scene.rate_e_s),
            "half_light_arcsec": scene.half_light_arcsec,
            "axis_ratio": scene.axis_ratio,
            "pa_deg": scene.pa_deg,
        }
    )
    table.meta.update(
        {
            "psf_fraction": list(facts.psf.fraction),
            "psf_sigma_arcsec": list(facts.psf.sigma_arcsec),
            "idcscale_arcsec": facts.idcscale_arcsec,
            "full_well_e": float(facts.table["full_well_e"]),
            "exptime_s": exptime_s,
            "instrument": f"{facts.instrument}/{facts.detector}",
            "filter": facts.bandpass.name,
        }
    )
    return _write_table(folder / "sources.ecsv", table)


def write_pointings(
    folder: Path, params: SimulateParams, facts: DetectorFacts, pointings: Sequence[Pointing]
) -> Path:
    """Write true and recorded attitude of every exposure (CRVAL and CD of the first chip)."""
    target = (params.target_ra_deg, params.target_dec_deg)
    rows = []
    for pointing in pointings:
        true, said = (
            chip_wcs(facts.chips[0], facts, pointing, target, is_true=is_true) for is_true in (True, False)
        )
        rows.append(
            {
                "rootname": pointing.rootname,
                "shift_east_arcsec": pointing.shift_arcsec[0],
                "shift_north_arcsec": pointing.shift_arcsec[1],
                "roll_error_deg": pointing.roll_error_deg,
                "pa_v3_deg": pointing.pa_v3_deg,
                "postarg1_arcsec": pointing.postarg_xy_arcsec[0],
                "postarg2_arcsec": pointing.postarg_xy_arcsec[1],
                "vafactor": pointing.vafactor,
                "crval1_true": true.crval_deg[0],
                "crval2_true": true.crval_deg[1],
                "orientat_true": true.orientat_deg,
                "crval1_header": said.crval_deg[0],
                "crval2_header": said.crval_deg[1],
                "orientat_header": said.orientat_deg,
            }
        )
    return _write_table(folder / "pointing.ecsv", Table(rows))


def write_sky(folder: Path, sky_e: Mapping[str, float], facts: DetectorFacts, exptime_s: float) -> Path:
    """Write the true sky per nominal pixel: electrons and, unless gains differ by chip, the file's unit."""
    values = np.array(list(sky_e.values()))
    table = Table({"rootname": list(sky_e), "sky_e": values})
    gains = {facts.electrons_per_count(optics) for optics in facts.chips}
    if len(gains) == 1:
        table["sky_native"] = values / (exptime_s if facts.is_rate else 1.0) / gains.pop()
    table.meta["bunit"] = str(facts.table["bunit"])
    return _write_table(folder / "sky.ecsv", table)


def write_parameters(folder: Path, params: SimulateParams) -> Path:
    """Write the choices of the set as JSON."""
    path = folder / "simulation.json"
    temporary = path.with_name(f".{path.name}.part")
    chosen = {name: value for name, value in asdict(params).items() if name != "workers"}
    temporary.write_text(json.dumps(chosen, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path
