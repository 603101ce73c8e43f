"""What products must be, whatever the data: conservation, units, errors, footprints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mosaic import pipeline
from mosaic.graph.plan import Plan
from mosaic.graph.store import read_mask
from mosaic.options import RunOptions
from mosaic.pipeline import Result
from mosaic.simulate import simulate
from mosaic.types import Window
from tests.laws.conftest import planes

Run = Callable[..., Result]


def _good(result: Result, name: str, dq: np.ndarray) -> np.ndarray:
    """Pixels of a chip that the final drizzle used without static mask: no flag, no cosmic ray."""
    whole = Window(0, dq.shape[0], 0, dq.shape[1])
    return (dq == 0) & ~read_mask(str(result.job_folder), f"cosmic_rays/{name}", whole)


@pytest.mark.parametrize("kernel", ["square", "point"])
def test_the_weighted_flux_of_the_inputs_is_in_the_mosaic(
    run: Run, exposures: list[str], kernel: str
) -> None:
    # With padding no drop leaves the frame, so sum(wht * sci) is the sum over inputs of weight * rate.
    result = run(frame_padding="edges", final_kernel=kernel, final_pixfrac=0.9, skysub=False, static=False)
    found = planes(result)
    covered = found["wht"] > 0
    total = float((found["wht"][covered].astype(np.float64) * found["sci"][covered]).sum())
    weight, flux = 0.0, 0.0
    for path in exposures:
        with fits.open(path) as hdul:
            exptime = hdul[0].header["EXPTIME"]
            for extver in (1, 2):
                name = f"{hdul[0].header['ROOTNAME'].lower()}_{extver}"
                good = _good(result, name, hdul["DQ", extver].data)
                flux += float(hdul["SCI", extver].data[good].astype(np.float64).sum())
                weight += exptime * int(good.sum())
    # Single precision of the stored planes, summed over some 1e5 pixels.
    assert float(found["wht"].astype(np.float64).sum()) == pytest.approx(weight, rel=1e-7)
    assert total == pytest.approx(flux, rel=1e-6)


def test_the_error_of_a_single_drop_is_that_of_its_pixel(run: Run, exposures: list[str]) -> None:
    result = run(inputs=exposures[:1], final_kernel="point", build=True)
    with fits.open(result.products[0]) as product, fits.open(exposures[0]) as hdul:
        exptime = hdul[0].header["EXPTIME"]
        once = product["WHT"].data == np.float32(exptime)
        errors = np.concatenate([hdul["ERR", n].data.ravel() for n in (1, 2)]).astype(np.float32)
        known = np.sort(errors / np.float32(exptime))
        err = product["ERR"].data[once]
        nearest = known[np.clip(np.searchsorted(known, err), 1, known.size - 1)]
        before = known[np.clip(np.searchsorted(known, err) - 1, 0, known.size - 1)]
        gap = np.minimum(np.abs(nearest - err), np.abs(before - err))
        assert once.sum() > 10_000
        np.testing.assert_array_less(gap, 1e-6 * err)
        assert product["ERR"].header["BUNIT"] == "ELECTRONS/S"


def test_counts_are_rates_times_the_exposure_time(run: Run) -> None:
    rates, counts = run(build=True), run(build=True, final_units="counts")
    with fits.open(rates.products[0]) as one, fits.open(counts.products[0]) as two:
        exptime = one[0].header["EXPTIME"]
        np.testing.assert_allclose(two["SCI"].data, one["SCI"].data * exptime, rtol=3e-7)
        np.testing.assert_allclose(two["ERR"].data, one["ERR"].data * exptime, rtol=3e-7)
        np.testing.assert_array_equal(two["WHT"].data, one["WHT"].data)
        assert (one["SCI"].header["BUNIT"], two["SCI"].header["BUNIT"]) == ("ELECTRONS/S", "ELECTRONS")


def test_simple_files_hold_the_pixels_of_the_built_one(run: Run) -> None:
    built, simple = run(build=True), run(build=False)
    names = {path.name.rsplit("_", 1)[1].removesuffix(".fits"): path for path in simple.products}
    assert sorted(names) == ["ctx", "err", "sci", "wht"]
    with fits.open(built.products[0]) as hdul:
        for kind, path in names.items():
            np.testing.assert_array_equal(fits.getdata(path), hdul[kind.upper()].data)


@pytest.mark.parametrize(
    ("parameters", "untouched"),
    [({}, np.nan), ({"final_maskval": -5}, -5.0), ({"final_fillval": 7}, 7.0)],
)
def test_pixels_without_weight_hold_what_was_asked_for(
    run: Run, parameters: dict[str, object], untouched: float
) -> None:
    found = planes(run(**parameters))
    empty = found["wht"] == 0
    assert (found["ctx"][0][~empty] != 0).all()
    assert (found["ctx"][0][empty] == 0).all()
    is_value = np.isnan(found["sci"]) if np.isnan(untouched) else found["sci"] == untouched
    assert is_value[empty].mean() > 0.5
    assert not is_value[~empty].any()
    if "final_fillval" in parameters:
        assert is_value[empty].all()


def test_cost_follows_the_footprint(tmp_path: Path) -> None:
    files: list[str] = []
    for k, ra in enumerate((150.0, 150.12)):
        made = simulate(
            tmp_path / str(k),
            instrument="acs/wfc",
            exposures=2,
            chip_shape=(90, 130),
            n_stars=5,
            n_galaxies=0,
            seed=k,
            program=f"p{k}x",
            target_ra_deg=ra,
            target_dec_deg=2.0,
            workers=1,
        )
        files += [str(path) for path in made.files]
    options = RunOptions.resolve(scheduler="serial", memory=2 << 30, tile=128)
    result = pipeline.drizzle(files, str(tmp_path / "m"), options=options, runfile="")
    plan = Plan.read(result.job_folder)
    layer = plan.final
    assert layer.n_tiles > 60
    assert len(layer.chips_of_tile) <= 24
    for name in ("mosaic.zarr/sci", "mosaic.zarr/wht", "median.zarr/median"):
        chunks = [path for path in (result.job_folder / name / "c").rglob("*") if path.is_file()]
        assert len(chunks) <= 24
    # No tile has to do with both pointings.
    for chips in layer.chips_of_tile.values():
        assert len({Path(plan.chips[chip].path).parent for chip in chips}) == 1


def test_separate_drizzles_hold_the_fill_value_where_nothing_weighs(run: Run) -> None:
    result = run(clean=False, driz_sep_fillval=-99)
    singles = sorted(path for path in result.products if path.name.endswith("_single_sci.fits"))
    assert len(singles) == 3
    for path in singles:
        sci = fits.getdata(path)
        wht = fits.getdata(path.with_name(path.name.replace("_sci", "_wht")))
        assert (wht == 0).sum() > 100
        np.testing.assert_array_equal(sci == -99, wht == 0)
