"""Making a simulated set: plan, invent the scene, expose every exposure, write files and truth.

Every exposure is a pure function of the choices and its number, so threads change nothing.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mosaic.simulate import files
from mosaic.simulate.cards import ExposureFacts, association_name
from mosaic.simulate.cosmic import cosmic_ray_charge
from mosaic.simulate.detectors import DetectorFacts, detector_facts
from mosaic.simulate.noise import Defects, Exposed, expose, make_defects, no_defects, read_noise_e
from mosaic.simulate.optics import ChipOptics
from mosaic.simulate.params import SimulateParams
from mosaic.simulate.pointing import Pointing, chip_wcs, plan_pointings
from mosaic.simulate.randomness import generator
from mosaic.simulate.scene import GaussianList, Scene, gaussians, make_scene, render_rates
from mosaic.types import FloatArray, ShapeYX

_MAX_WORKERS = 4


@dataclass(frozen=True, slots=True)
class SimulatedSet:
    """Files of a simulated set."""

    files: tuple[Path, ...]
    """Exposures in the order they were taken."""
    associations: tuple[Path, ...]
    """Association tables, one per field."""
    sources: Path
    """Source list (ECSV): id, type, ra, dec, rate_e_s, mag_ab, shapes."""
    pointing: Path
    """True and recorded attitude per exposure (ECSV)."""
    sky: Path
    """True sky per exposure (ECSV)."""
    cosmic_rays: tuple[Path, ...]
    """Where cosmic rays struck, one file per exposure (NPZ, see `files.read_cosmic_rays`)."""
    parameters: Path
    """Choices of the set (JSON)."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """Exposures in the order they were taken."""
        return self.files


@dataclass(frozen=True, slots=True)
class _Common:
    """What all exposures of a set share."""

    folder: Path
    params: SimulateParams
    facts: DetectorFacts
    exptime_s: float
    scene: Scene
    parts: GaussianList
    areas: tuple[FloatArray, ...]
    defects: tuple[Defects, ...]


def simulate(outdir: Path | str, **choices: object) -> SimulatedSet:
    """Write calibrated exposures of an invented sky and tables of its truth.

    Parameters
    ----------
    outdir : Path or str
        Folder to write to; made if absent. Files of the same name are replaced.
    **choices : object
        Fields of `SimulateParams`: instrument, exposures, pattern, exptime_s, n_stars, …

    Returns
    -------
    SimulatedSet
        Paths of everything written.

    Raises
    ------
    ParameterError
        When a name is unknown or a value impossible.
    """
    params = SimulateParams.from_names(choices)
    shape = None if params.chip_shape is None else ShapeYX(*params.chip_shape)
    facts = detector_facts(params.instrument.lower(), params.filter_name, shape, params.ccd_gain)
    facts = replace(facts, psf=facts.psf.scaled(params.psf_scale))
    exptime_s = float(facts.table["exptime_s"]) if params.exptime_s is None else params.exptime_s
    pointings = plan_pointings(params, facts, exptime_s)
    folder = Path(outdir)
    folder.mkdir(parents=True, exist_ok=True)
    scene = make_scene(params, facts, pointings)
    workers = params.workers or min(_MAX_WORKERS, os.cpu_count() or 1)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        common = _Common(
            folder=folder,
            params=params,
            facts=facts,
            exptime_s=exptime_s,
            scene=scene,
            parts=gaussians(scene, facts.psf),
            areas=tuple(pool.map(lambda chip: chip.pixel_area(), facts.chips)),
            defects=tuple(_chip_defects(params, facts, chip) for chip in facts.chips),
        )
        written = list(pool.map(lambda pointing: _expose_and_write(common, pointing), pointings))
    return _write_truth(common, pointings, written)


def _chip_defects(params: SimulateParams, facts: DetectorFacts, optics: ChipOptics) -> Defects:
    if not params.defects:
        return no_defects(optics, facts)
    return make_defects(optics, facts, generator(params.seed, "defects", optics.extver))


def true_sky_e(params: SimulateParams, facts: DetectorFacts, exptime_s: float, index: int) -> float:
    """Sky of one exposure, electrons per nominal pixel."""
    mean = params.sky_e if params.sky_e is not None else float(facts.table["sky_e_s"]) * exptime_s
    return mean * (1.0 + params.sky_scatter * (2.0 * generator(params.seed, "sky", index).random() - 1.0))


def _expose_and_write(common: _Common, pointing: Pointing) -> tuple[Path, Path]:
    params, facts = common.params, common.facts
    target = (params.target_ra_deg, params.target_dec_deg)
    n_steps = params.exposures
    exposed = [_expose_chip(common, pointing, number) for number in range(len(facts.chips))]
    said = [chip_wcs(chip, facts, pointing, target, is_true=False) for chip in facts.chips]
    about = ExposureFacts(params, facts, pointing, common.exptime_s, n_steps)
    path = files.write_exposure(common.folder, about, said, exposed)
    rays = files.write_cosmic_rays(common.folder, pointing.rootname, [chip.cosmic_e for chip in exposed])
    return path, rays


def _expose_chip(common: _Common, pointing: Pointing, number: int) -> Exposed:
    params, facts, exptime_s = common.params, common.facts, common.exptime_s
    optics = facts.chips[number]
    target = (params.target_ra_deg, params.target_dec_deg)
    wcs = chip_wcs(optics, facts, pointing, target, is_true=True)
    photons_e = render_rates(common.scene, common.parts, optics, wcs)
    photons_e *= exptime_s
    fraction = (
        params.cosmic_ray_fraction
        if params.cosmic_ray_fraction is not None
        else float(facts.table["cosmic_fraction_500s"])
    )
    cosmic_e = cosmic_ray_charge(
        optics.shape_yx,
        fraction * exptime_s / 500.0 if params.cosmic_rays else 0.0,
        generator(params.seed, "cosmic", pointing.index, optics.extver),
    )
    random = generator(params.seed, "counts", pointing.index, optics.extver) if params.noise else None
    return expose(
        photons_e,
        common.areas[number] * np.float32(pointing.vafactor**2),
        true_sky_e(params, facts, exptime_s, pointing.index)
        * (optics.idcscale_arcsec / facts.idcscale_arcsec) ** 2,
        exptime_s,
        read_noise_e(optics, facts),
        facts,
        common.defects[number],
        cosmic_e,
        random,
        facts.electrons_per_count(optics),
    )


def _write_truth(
    common: _Common, pointings: tuple[Pointing, ...], written: list[tuple[Path, Path]]
) -> SimulatedSet:
    params, facts, folder = common.params, common.facts, common.folder
    fields = sorted({pointing.field for pointing in pointings})
    sky = {p.rootname: true_sky_e(params, facts, common.exptime_s, p.index) for p in pointings}
    return SimulatedSet(
        files=tuple(path for path, _ in written),
        associations=tuple(
            files.write_association(
                folder,
                association_name(facts, params, field),
                [pointing.rootname for pointing in pointings if pointing.field == field],
            )
            for field in fields
        ),
        sources=files.write_sources(folder, common.scene, facts, common.exptime_s),
        pointing=files.write_pointings(folder, params, facts, pointings),
        sky=files.write_sky(folder, sky, facts, common.exptime_s),
        cosmic_rays=tuple(rays for _, rays in written),
        parameters=files.write_parameters(folder, params),
    )
