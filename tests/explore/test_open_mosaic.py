"""A lazy mosaic has the bits of the batch run, computes what it is asked for, and shares what it can."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
import xarray as xr
import zarr
from astropy.wcs import WCS

import mosaic
from mosaic.errors import MosaicError, OutputError, ParameterError
from mosaic.options import RunOptions
from mosaic.pipeline import Result
from mosaic.simulate import simulate

TILE = 128
OPTIONS = RunOptions.resolve(memory=2 << 30, tile=TILE, cores=2)


@pytest.fixture(scope="module")
def exposures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Four dithered exposures of two chips."""
    made = simulate(
        tmp_path_factory.mktemp("explore"),
        instrument="acs/wfc",
        exposures=4,
        chip_shape=(150, 260),
        n_stars=60,
        n_galaxies=0,
        seed=12,
        workers=1,
    )
    return [str(path) for path in made.files]


@pytest.fixture(scope="module")
def batch(exposures: list[str], tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The mosaic made at once."""
    return _drizzle(exposures, tmp_path_factory.mktemp("batch"))


def _drizzle(exposures: list[str], folder: Path, **parameters: object) -> Result:
    chosen: dict[str, object] = {"final_err": True, "runfile": ""} | parameters
    return mosaic.drizzle(exposures, str(folder / "m"), options=OPTIONS, **chosen)


@pytest.fixture
def lazy(exposures: list[str]) -> Iterator[xr.Dataset]:
    """The same mosaic, opened and not made."""
    dataset = mosaic.open_mosaic(exposures, options=OPTIONS)
    yield dataset
    dataset.close()


def _stored(result: Result, name: str) -> np.ndarray:
    return np.asarray(zarr.open_array(str(result.job_folder / "mosaic.zarr" / name), mode="r")[:])


def _assert_same_bits(one: np.ndarray, two: np.ndarray) -> None:
    assert one.shape == two.shape
    assert one.dtype == two.dtype
    assert np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(two).tobytes()


def _done(dataset: xr.Dataset, phase: str) -> set[str]:
    return {path.stem for path in (Path(dataset.attrs["job"]) / "ledger" / phase).glob("*.json")}


def test_opening_computes_nothing(lazy: xr.Dataset) -> None:
    assert not (Path(lazy.attrs["job"]) / "ledger").exists()
    assert all(array.chunks is not None for array in lazy.values())
    assert lazy["sci"].attrs["units"] == "electron/s"


def test_a_cutout_has_the_bits_of_the_batch_run_and_costs_its_tiles(lazy: xr.Dataset, batch: Result) -> None:
    sky = lazy.mosaic.wcs.pixel_to_world(70, 80)
    cut = lazy.mosaic.cutout(sky, (50, 60))
    assert dict(cut.sizes) == {"y": 50, "x": 60, "plane": 1}
    rows, columns = (slice(int(cut[axis][0]), int(cut[axis][-1]) + 1) for axis in "yx")
    for name in ("sci", "wht"):
        _assert_same_bits(cut[name].values, _stored(batch, name)[rows, columns])
    _assert_same_bits(cut["err"].values, np.sqrt(_stored(batch, "var")[rows, columns]))
    side = lazy["sci"].chunks[0][0]
    touched = {
        (y // side, x // side) for y in (rows.start, rows.stop - 1) for x in (columns.start, columns.stop - 1)
    }
    assert len(_done(lazy, "final")) == len(touched) < sum(1 for _ in batch.job_folder.glob("ledger/final/*"))


def test_the_whole_is_the_batch_run_under_any_scheduler(exposures: list[str], batch: Result) -> None:
    for scheduler in ("threads", "synchronous"):
        with mosaic.open_mosaic(exposures, options=OPTIONS) as dataset:
            loaded = dataset[["sci", "wht", "ctx"]].compute(scheduler=scheduler)
            for name in ("sci", "wht"):
                _assert_same_bits(loaded[name].values, _stored(batch, name))
            _assert_same_bits(loaded["ctx"].values, _stored(batch, "ctx"))


def test_exposures_are_counted_by_their_bits(lazy: xr.Dataset) -> None:
    loaded = lazy[["n_exposures", "ctx", "wht"]].compute()
    plane = loaded["ctx"].values[0]
    by_hand = sum(((plane >> 2 * k & 3) != 0).astype(int) for k in range(4))
    np.testing.assert_array_equal(loaded["n_exposures"].values, by_hand)
    assert by_hand.max() == 4
    np.testing.assert_array_equal(by_hand > 0, loaded["wht"].values > 0)


def test_a_task_is_done_once(lazy: xr.Dataset) -> None:
    lazy["sci"].compute()
    records = {path: path.stat().st_mtime_ns for path in Path(lazy.attrs["job"]).glob("ledger/*/*.json")}
    lazy[["sci", "wht", "err"]].compute()
    assert {path: path.stat().st_mtime_ns for path in records} == records


def test_batch_and_lazy_continue_each_other(exposures: list[str], batch: Result, tmp_path: Path) -> None:
    with mosaic.open_mosaic(exposures, str(tmp_path / "m"), options=OPTIONS) as dataset:
        dataset["sci"][:20, :20].compute()
        done = _done(dataset, "median")
        with pytest.raises(OutputError, match="in use by another run"):
            _drizzle(exposures, tmp_path)
    assert done
    before = {name: (tmp_path / f"m.mosaic/ledger/median/{name}.json").stat().st_mtime_ns for name in done}
    result = _drizzle(exposures, tmp_path)
    assert {
        name: (result.job_folder / f"ledger/median/{name}.json").stat().st_mtime_ns for name in done
    } == before
    _assert_same_bits(_stored(result, "sci"), _stored(batch, "sci"))
    with mosaic.open_mosaic(exposures, str(tmp_path / "m"), options=OPTIONS) as dataset:
        written = [path.stat().st_mtime_ns for path in result.job_folder.glob("ledger/final/*")]
        _assert_same_bits(dataset["sci"].values, _stored(batch, "sci"))
        assert [path.stat().st_mtime_ns for path in result.job_folder.glob("ledger/final/*")] == written


def test_a_damaged_tile_is_computed_anew(exposures: list[str], batch: Result, tmp_path: Path) -> None:
    result = _drizzle(exposures, tmp_path)
    chunk = next(path for path in sorted(result.job_folder.glob("mosaic.zarr/sci/c/*/*")) if path.is_file())
    chunk.unlink()
    with mosaic.open_mosaic(exposures, str(tmp_path / "m"), options=OPTIONS) as dataset:
        _assert_same_bits(dataset["sci"].values, _stored(batch, "sci"))


def test_the_frame_of_a_cutout_is_that_of_the_whole(lazy: xr.Dataset) -> None:
    whole: WCS = lazy.mosaic.wcs
    cut = lazy.isel(y=slice(31, 90), x=slice(17, 60))
    x, y = np.array([0.0, 12.25]), np.array([3.0, 40.5])
    shifted = cut.mosaic.wcs.pixel_to_world(x, y)
    assert shifted.separation(whole.pixel_to_world(x + 17, y + 31)).max() < 1e-9 * u.arcsec


def test_sizes_are_pixels_or_angles(lazy: xr.Dataset) -> None:
    sky = lazy.mosaic.wcs.pixel_to_world(100.2, 90.0)
    scale = lazy.mosaic.grid.scale_arcsec
    for size in (31, 31 * u.pixel, 31 * scale * u.arcsec, (31, 31), 31 * scale / 60 * u.arcmin):
        cut = lazy.mosaic.cutout(sky, size)
        assert (cut.sizes["y"], cut.sizes["x"]) == (31, 31)
        assert (int(cut["x"][15]), int(cut["y"][15])) == (100, 90)


def test_a_cutout_that_hangs_over_is_cut_and_one_outside_is_refused(lazy: xr.Dataset) -> None:
    corner = lazy.mosaic.wcs.pixel_to_world(0, 0)
    assert lazy.mosaic.cutout(corner, 21).sizes["x"] == 11
    with pytest.raises(ParameterError, match="lies outside the mosaic"):
        lazy.mosaic.cutout(lazy.mosaic.wcs.pixel_to_world(-500, 0), 21)
    with pytest.raises(ParameterError, match="90 degrees or more"):
        lazy.mosaic.cutout(corner.directional_offset_by(0 * u.deg, 179 * u.deg), 21)
    with pytest.raises(ParameterError, match="must be positive"):
        lazy.mosaic.cutout(corner, -3)
    with pytest.raises(ParameterError, match="neither an angle nor"):
        lazy.mosaic.cutout(corner, 3 * u.s)


def test_footprints_hold_the_covered_pixels(lazy: xr.Dataset) -> None:
    table = lazy.mosaic.footprints()
    assert len(table) == 8
    assert set(table["chip"]) == {1, 2}
    x, y = lazy.mosaic.wcs.world_to_pixel(table["corners"])
    np.testing.assert_allclose(x, table["x"], atol=1e-6)
    np.testing.assert_allclose(y, table["y"], atol=1e-6)
    covered = np.nonzero(lazy["wht"].values > 0)
    # A corner of the distorted outline may lie a pixel inside of the outermost covered one.
    assert table["x"].min() - 1 <= covered[1].min()
    assert covered[1].max() <= table["x"].max() + 1
    assert table["y"].min() - 1 <= covered[0].min()
    assert covered[0].max() <= table["y"].max() + 1


def test_a_scan_shares_all_but_the_final_drizzle(
    lazy: xr.Dataset, exposures: list[str], tmp_path: Path
) -> None:
    cut = lazy.mosaic.cutout(lazy.mosaic.wcs.pixel_to_world(120, 120), 60)
    found = cut.mosaic.scan(final_scale=[0.04, 0.06], final_pixfrac=[0.7, 1.0])
    assert [dataset.attrs["parameters"] for dataset in found] == [
        {"final_scale": scale, "final_pixfrac": pixfrac} for scale in (0.04, 0.06) for pixfrac in (0.7, 1.0)
    ]
    loaded = [dataset.compute() for dataset in found]
    medians = {path: path.stat().st_mtime_ns for path in Path(lazy.attrs["job"]).glob("ledger/*/*.json")}
    cut.compute()
    assert not any(
        "median" in str(p) and p not in medians for p in Path(lazy.attrs["job"]).glob("ledger/*/*.json")
    )
    side = cut.mosaic.grid.scale_arcsec * 60
    for dataset in loaded:
        grid = dataset.mosaic.grid
        assert abs(grid.shape_yx.nx * grid.scale_arcsec - side) <= grid.scale_arcsec
        assert np.isfinite(dataset["sci"].values).all()
    frame = found[0].mosaic.grid
    result = _drizzle(
        exposures,
        tmp_path,
        final_pixfrac=0.7,
        final_scale=0.04,
        final_rot=frame.orientat_deg,
        final_ra=frame.crval_deg[0],
        final_dec=frame.crval_deg[1],
        final_outnx=frame.shape_yx.nx,
        final_outny=frame.shape_yx.ny,
    )
    _assert_same_bits(loaded[0]["sci"].values, _stored(result, "sci"))
    for dataset in found:
        dataset.close()


def test_only_the_final_drizzle_can_be_scanned(lazy: xr.Dataset) -> None:
    for names in ({"combine_type": ["median"]}, {"final_ra": [1.0]}, {}):
        with pytest.raises(ParameterError, match="cannot scan"):
            lazy.mosaic.scan(**names)


def test_a_preview_has_the_flux_of_the_mosaic(lazy: xr.Dataset) -> None:
    small = lazy.mosaic.preview(4).compute()
    ratio = lazy.mosaic.grid.shape_yx.nx / small.sizes["x"]
    assert 3.5 < ratio < 4.5
    assert not (Path(lazy.attrs["job"]) / "ledger").exists()
    level = float(np.nanmedian(small["sci"].values)) / 16
    assert abs(level) < 0.02  # the sky is taken off
    with pytest.raises(ParameterError, match="must be 2 or more"):
        lazy.mosaic.preview(1)


def test_a_preview_with_rejection_is_the_mosaic_binned(lazy: xr.Dataset) -> None:
    # Cosmic rays are gone: what lies above the mosaic's own block means is their light in the quick preview.
    quick, clean = (lazy.mosaic.preview(4, reject=reject).compute() for reject in (False, True))
    assert _done(lazy, "cosmic_rays")
    assert not _done(lazy, "final")
    sci = lazy["sci"].values
    ground = 16 * float(np.nanmedian(sci))
    bright = [np.nanpercentile(preview["sci"].values, 90) - ground for preview in (quick, clean)]
    assert bright[1] < 0.7 * bright[0]
    assert abs(np.nanmedian(clean["sci"].values) - ground) < abs(np.nanmedian(quick["sci"].values) - ground)


def test_colours_follow_the_filters(lazy: xr.Dataset) -> None:
    cut = lazy.isel(y=slice(40, 120), x=slice(60, 150)).compute()
    faint = cut.assign(sci=cut["sci"] * np.float32(0.2))
    picture = cut.mosaic.rgb(faint, faint)
    assert picture.dims == ("y", "x", "band")
    assert picture.dtype == np.uint8
    brightest = np.unravel_index(int(np.nanargmax(cut["sci"].values)), cut["sci"].shape)
    red, green, blue = (int(picture.values[(*brightest, band)]) for band in range(3))
    assert red > green == blue
    with pytest.raises(ParameterError, match="different frames"):
        cut.mosaic.rgb(faint.isel(x=slice(1, None)), faint)


def test_planes_can_be_drawn(lazy: xr.Dataset) -> None:
    cut = lazy.isel(y=slice(40, 120), x=slice(60, 150))
    for name in ("sci", "wht", "err", "n_exposures"):
        figure = cut.mosaic.plot(name)
        assert len(figure.axes[0].images) == 1
    with pytest.raises(ParameterError, match="no plane 'ctx' to draw; there are sci, "):
        cut.mosaic.plot("ctx")


def test_a_stored_mosaic_has_the_same_accessor(batch: Result) -> None:
    stored = xr.open_zarr(batch.job_folder / "mosaic.zarr", consolidated=False)
    cut = stored.mosaic.cutout(stored.mosaic.wcs.pixel_to_world(70, 80), 20)
    assert cut.sizes["x"] == 20
    with pytest.raises(ParameterError, match="is not open for computing"):
        cut.mosaic.scan(final_pixfrac=[0.5])
    with pytest.raises(ParameterError, match="no frame on the sky"):
        xr.Dataset().mosaic.grid  # noqa: B018


def test_bad_input_is_told_at_once(exposures: list[str]) -> None:
    with pytest.raises(ParameterError, match="final_pixfrac"):
        mosaic.open_mosaic(exposures, final_pixfrak=0.5)
    with pytest.raises(ParameterError, match="makes no mosaic"):
        mosaic.open_mosaic(exposures, driz_combine=False)
    with pytest.raises(MosaicError, match="nowhere"):
        mosaic.open_mosaic("/nowhere/at_all_flt.fits")


def test_the_unit_is_that_of_the_values(tmp_path: Path) -> None:
    made = simulate(
        tmp_path / "in", instrument="wfpc2", exposures=1, chip_shape=(64, 64), n_stars=0, n_galaxies=0,
        sky_e=700.0, cosmic_rays=False, defects=False, seed=3, workers=1,
    )  # fmt: skip
    levels = {}
    for proc_unit in ("native", "electrons"):
        with mosaic.open_mosaic(
            [str(made.files[0])], options=OPTIONS, skysub=False, final_bits="", proc_unit=proc_unit
        ) as dataset:
            levels[proc_unit] = float(np.nanmedian(dataset["sci"].values))
            assert (
                dataset["sci"].attrs["units"] == {"native": "count/s", "electrons": "electron/s"}[proc_unit]
            )
            stored = zarr.open_array(f"{dataset.attrs['job']}/mosaic.zarr/sci", mode="r")
            assert stored.attrs["units"] == dataset["sci"].attrs["units"]
    # Gains of the four chips are 6.9 to 7.12.
    assert levels["electrons"] / levels["native"] == pytest.approx(7.0, abs=0.15)


def test_exposures_are_aligned_before_they_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = simulate(
        tmp_path / "inputs",
        exposures=3,
        chip_shape=(150, 260),
        n_stars=90,
        star_rate_range=(20.0, 400.0),
        n_galaxies=0,
        cosmic_rays=False,
        pointing_rms_arcsec=0.2,
        seed=4,
    )
    exposures = [str(path) for path in made.files]
    choice = {"threshold": 15.0, "searchrad": 1.5, "minobj": 8, "see2dplot": False, "residplot": "No plot"}
    batch = _drizzle(exposures, tmp_path, align=choice)
    with mosaic.open_mosaic(exposures, options=OPTIONS, align=choice) as lazy:
        _assert_same_bits(lazy["sci"].to_numpy(), _stored(batch, "sci"))
        monkeypatch.setattr(
            "mosaic.alignment.injob.read_exposures", lambda *_, **__: pytest.fail("measured again")
        )
        # What differs in the final drizzle alone takes the solution over; so does a run in the same folder.
        for other in lazy.mosaic.scan(final_pixfrac=[0.8]):
            other.close()
        with mosaic.open_mosaic(exposures, str(tmp_path / "m"), options=OPTIONS, align=choice) as again:
            _assert_same_bits(again["sci"].to_numpy(), _stored(batch, "sci"))
    monkeypatch.undo()
    with pytest.raises(MosaicError, match="too_few_sources"):
        mosaic.open_mosaic(exposures, options=OPTIONS, align=choice | {"minobj": 5000})
