"""Several instruments in one run, and WFPC2 alone: fluxes are true, and no fact leaks between files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mosaic.exposure.catalogue import read_catalogue
from mosaic.pipeline import Result
from mosaic.simulate import SimulatedSet, simulate
from mosaic.simulate.photometry import StarSelection, compare_with_truth
from tests.support.exposures import default_settings

Run = Callable[..., Result]
QUIET = {"cosmic_rays": False, "defects": False, "noise": False, "n_galaxies": 0, "workers": 1}


@pytest.fixture(scope="module")
def wfpc2(tmp_path_factory: pytest.TempPathFactory) -> SimulatedSet:
    """Two exposures of four small chips; every chip has its own gain, sky scatters from one to the next."""
    return simulate(
        tmp_path_factory.mktemp("wfpc2"), instrument="wfpc2", chip_shape=(170, 170), exposures=2, n_stars=200,
        star_rate_range=(30.0, 60.0), program="mxw", seed=21, **QUIET,
    )  # fmt: skip


@pytest.fixture(scope="module")
def acs(wfpc2: SimulatedSet, tmp_path_factory: pytest.TempPathFactory) -> SimulatedSet:
    """Two exposures of ACS/WFC of the same sky."""
    return simulate(
        tmp_path_factory.mktemp("acs"), instrument="acs/wfc", chip_shape=(150, 300), exposures=2,
        program="mxa", seed=22, sources=str(wfpc2.sources), **QUIET,
    )  # fmt: skip


@pytest.fixture(scope="module")
def uvis(wfpc2: SimulatedSet, tmp_path_factory: pytest.TempPathFactory) -> SimulatedSet:
    """Two exposures of WFC3/UVIS of the same sky."""
    return simulate(
        tmp_path_factory.mktemp("uvis"), instrument="wfc3/uvis", chip_shape=(150, 300), exposures=2,
        program="mxu", seed=23, sources=str(wfpc2.sources), **QUIET,
    )  # fmt: skip


def _run(run: Run, folder: Path, *sets: SimulatedSet, **parameters: object) -> fits.HDUList:
    folder.mkdir(exist_ok=True)
    chosen = {"build": True, "clean": True, "median": False, "blot": False, "driz_cr": False} | parameters
    result = run([str(path) for made in sets for path in made.files], folder=folder, **chosen)
    (product,) = result.products
    return fits.open(product, memmap=False)


def _flux_ratio(product: fits.HDUList, made: SimulatedSet) -> tuple[int, float, float]:
    planes = (product["SCI"].data, product["WHT"].data, product["SCI"].header)
    report = compare_with_truth(planes, made.sources, StarSelection(radius_px=12.0, min_rate_e_s=1.0))
    return report.n_stars, report.median_flux_ratio, report.flux_ratio_rms


def test_a_wfpc2_product_has_the_true_fluxes(run: Run, wfpc2: SimulatedSet, tmp_path: Path) -> None:
    with _run(run, tmp_path / "w", wfpc2, proc_unit="electrons", final_bits="1024") as product:
        assert Path(str(product.filename())).name == "m_drw.fits"
        assert product["SCI"].header["BUNIT"] == "ELECTRONS/S"
        n_stars, ratio, scatter = _flux_ratio(product, wfpc2)
    assert n_stars > 10
    # The correction assumes one pixel size for all chips: a few tenths of a percent.
    assert ratio == pytest.approx(1.0, abs=0.01)
    assert scatter < 0.02


@pytest.mark.parametrize("peer_compat", [False, True])
def test_the_sky_of_every_chip_is_its_own(run: Run, tmp_path: Path, *, peer_compat: bool) -> None:
    """Nothing is left of an empty sky, although gains differ; DrizzlePac's least of all DN leaves 3 %."""
    empty = simulate(
        tmp_path / "set", instrument="wfpc2", chip_shape=(80, 80), exposures=1, n_stars=0, seed=4, **QUIET
    )
    with _run(run, tmp_path / "s", empty, proc_unit="electrons", peer_compat=peer_compat) as product:
        left = np.nanmax(np.abs(product["SCI"].data[product["WHT"].data > 0]))
    sky = 0.08 * (0.0455 / 0.0996) ** 2
    if peer_compat:
        assert left > (1.0 - 6.90 / 7.12) * 0.75 * sky
    else:
        # Scatter of the sky between exposures: a fifth; single precision of pixels of some electrons.
        assert left < 1e-5 * sky


def test_ignored_flags_still_leave_the_shadow_masked(run: Run, wfpc2: SimulatedSet, tmp_path: Path) -> None:
    """The square kernel conserves weight: the exposure time of the pixels in the shadow is missing."""
    weights = []
    for bits in ("~0", "None"):
        with _run(
            run, tmp_path / f"b{bits[1]}", wfpc2, final_bits=bits, static=False, skysub=False
        ) as product:
            weights.append(float(product["WHT"].data.sum(dtype=np.float64)))
    # Detector pixels in the shadow (DrizzlePac's edges, rounded up): first lit row and column of each chip.
    first_lit = ((54, 44), (23, 49), (46, 31), (46, 42))
    dark = sum(170 * 170 - (170 - row) * (170 - column) for row, column in first_lit)
    assert weights[0] - weights[1] == pytest.approx(2 * 300.0 * dark, rel=5e-3)


@pytest.mark.parametrize("other", ["wfpc2", "uvis"])
def test_stars_of_a_mixed_run_have_the_true_fluxes(
    run: Run, acs: SimulatedSet, other: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    second: SimulatedSet = request.getfixturevalue(other)
    with _run(run, tmp_path / "m", second, acs, proc_unit="electrons", final_scale=0.05) as product:
        assert product["SCI"].header["BUNIT"] == "ELECTRONS/S"
        n_stars, ratio, scatter = _flux_ratio(product, acs)
        ctx = product["CTX"].data
    assert n_stars > 3
    assert ratio == pytest.approx(1.0, abs=0.01)
    assert scatter < 0.02
    n_chips = 12 if other == "wfpc2" else 8
    assert np.bitwise_or.reduce(ctx.ravel()) == (1 << n_chips) - 1


def test_native_counts_have_no_common_unit(
    run: Run, acs: SimulatedSet, wfpc2: SimulatedSet, tmp_path: Path
) -> None:
    """`proc_unit="native"` stays in electrons where instruments differ: the same pixels."""
    with (
        _run(run, tmp_path / "n", acs, wfpc2, final_scale=0.05) as native,
        _run(run, tmp_path / "e", acs, wfpc2, final_scale=0.05, proc_unit="electrons") as electrons,
    ):
        assert native["SCI"].header["BUNIT"] == "ELECTRONS/S"
        np.testing.assert_array_equal(native["SCI"].data, electrons["SCI"].data)


def test_the_first_exposure_names_the_product(
    run: Run, acs: SimulatedSet, wfpc2: SimulatedSet, tmp_path: Path
) -> None:
    """Root names decide between exposures of the same start: j before u."""
    with _run(run, tmp_path / "f", wfpc2, acs, final_scale=0.1) as product:
        assert Path(str(product.filename())).name == "m_drc.fits"


def test_facts_of_a_file_are_those_it_has_alone(
    acs: SimulatedSet, uvis: SimulatedSet, wfpc2: SimulatedSet
) -> None:
    """In whatever company and order; static masks never mix instruments or detectors."""
    alone = {
        exposure.rootname: exposure
        for made in (acs, uvis, wfpc2)
        for path in made.files
        for exposure in read_catalogue([str(path)], default_settings()).exposures
    }
    names = [str(path) for made in (wfpc2, acs, uvis) for path in made.files]
    for order in (names, names[::-1]):
        together = read_catalogue(order, default_settings()).exposures
        assert {exposure.rootname: exposure for exposure in together} == alone
    groups: dict[str, set[tuple[str, str, int]]] = {}
    for exposure in alone.values():
        for chip in exposure.chips:
            groups.setdefault(chip.static_group, set()).add((chip.instrument, chip.detector, chip.ccdchip))
    assert all(len(kinds) == 1 for kinds in groups.values())
    assert len(groups) == 2 + 2 + 4


def test_a_mixed_run_rejects_cosmic_rays_in_electrons(
    run: Run, acs: SimulatedSet, wfpc2: SimulatedSet, tmp_path: Path
) -> None:
    """A hit of the same electrons in a chip of either instrument is found, and no star is taken for one."""
    files = [str(path) for made in (acs, wfpc2) for path in made.files]
    hit: dict[str, tuple[int, int]] = {}
    copies = []
    for number, name in enumerate(files):
        copy = tmp_path / Path(name).name
        with fits.open(name) as hdul:
            gain = 6.90 if hdul[0].header["INSTRUME"] == "WFPC2" else 1.0
            # WF3 (extension 3) and the upper chip of ACS (extension 2) cover the middle of the field.
            extver = 3 if gain > 1.0 else 2
            row, column = 80 + 3 * number, 100 + 5 * number
            hdul["SCI", extver].data[row, column] += np.float32(4000.0 / gain)
            hit[copy.name] = (row, column)
            hdul.writeto(copy)
        flags = Path(name.replace("_c0m", "_c1m"))
        if flags.name != copy.name:
            (tmp_path / flags.name).write_bytes(flags.read_bytes())
        copies.append(str(copy))
    run(
        copies, folder=tmp_path / "job", dq_update="copy", clean=True, driz_sep_bits="1024", final_bits="1024"
    )
    for name, (row, column) in hit.items():
        flagged = tmp_path / "job" / "m_inputs" / name.replace("_c0m", "_c1m")
        with fits.open(flagged) as hdul:
            index = ("SDQ", 3) if "_c0m" in name else ("DQ", 2)
            assert hdul[index].data[row, column] & 4096
