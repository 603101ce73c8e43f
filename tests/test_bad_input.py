"""Law 9: bad input is named in one line, and with on_error="skip" it is as if it had never been listed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from astropy.io import fits

from mosaic import errors, pipeline
from mosaic.options import RunOptions
from mosaic.parameters import load_settings
from mosaic.simulate import simulate

GIB = 1 << 30


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    made = simulate(
        tmp_path_factory.mktemp("originals"),
        instrument="acs/wfc",
        exposures=3,
        pattern="line",
        chip_shape=(60, 100),
        n_stars=10,
        n_galaxies=0,
        seed=5,
        workers=1,
    )
    return list(made.files)


@pytest.fixture
def inputs(originals: list[Path], tmp_path: Path) -> list[Path]:
    return [Path(shutil.copy(path, tmp_path / path.name)) for path in originals]


def run(inputs: list[Path], on_error: str = "stop", **parameters: object) -> pipeline.Result:
    options = RunOptions.resolve(scheduler="serial", memory=2 * GIB, on_error=on_error)
    folder = inputs[0].parent / "out"
    folder.mkdir(exist_ok=True)
    return pipeline.drizzle(
        [str(path) for path in inputs],
        str(folder / "m"),
        options=options,
        **({"runfile": ""} | parameters),
    )


def _truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _edit(change: Callable[[fits.HDUList], None]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        with fits.open(path) as hdul:
            hdul.readall()
            change(hdul)
            hdul.writeto(path, overwrite=True, output_verify="ignore")

    return spoil


def _remove_sci(hdul: fits.HDUList) -> None:
    for index in reversed([i for i, hdu in enumerate(hdul) if hdu.name == "SCI"]):
        del hdul[index]


def _other_dq_shape(hdul: fits.HDUList) -> None:
    hdul["DQ", 1].data = hdul["DQ", 1].data[:-7]


def _no_exposure_time(hdul: fits.HDUList) -> None:
    hdul[0].header["EXPTIME"] = 0.0
    for hdu in hdul[1:]:
        hdu.header.pop("EXPTIME", None)


def _flag_everything(hdul: fits.HDUList) -> None:
    for version in (1, 2):
        hdul["DQ", version].data[:] = 1


def _all_nan(hdul: fits.HDUList) -> None:
    for version in (1, 2):
        hdul["SCI", version].data[:] = np.nan


def _no_wcs(hdul: fits.HDUList) -> None:
    for key in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CTYPE1", "CTYPE2"):
        del hdul["SCI", 2].header[key]


def _other_instrument(hdul: fits.HDUList) -> None:
    hdul[0].header["INSTRUME"] = "FOS"


def _other_unit(hdul: fits.HDUList) -> None:
    hdul["SCI", 1].header["BUNIT"] = "ERGS/CM2"


def _mixed_units(hdul: fits.HDUList) -> None:
    hdul["SCI", 2].header["BUNIT"] = "ELECTRONS/S"


SPOILED = [
    pytest.param(Path.unlink, errors.MissingFileError, "no such file|does not exist|not found", id="missing"),
    pytest.param(
        _truncate, errors.TruncatedFileError, "unreadable after byte|ends|truncated", id="truncated"
    ),
    pytest.param(_edit(_remove_sci), errors.StructureError, "SCI", id="no-sci"),
    pytest.param(_edit(_other_dq_shape), errors.StructureError, "DQ", id="dq-shape"),
    pytest.param(_edit(_no_exposure_time), errors.MetadataError, "EXPTIME", id="exptime-0"),
    pytest.param(_edit(_flag_everything), errors.PixelError, "no usable pixel", id="all-flagged"),
    pytest.param(_edit(_all_nan), errors.PixelError, "no usable pixel", id="all-nan"),
    pytest.param(_edit(_no_wcs), errors.WcsError, "CTYPE|CRVAL|CRPIX", id="no-wcs"),
    pytest.param(_edit(_other_instrument), errors.InstrumentError, "FOS", id="instrument"),
    pytest.param(_edit(_other_unit), errors.MetadataError, "BUNIT", id="unit"),
    pytest.param(_edit(_mixed_units), errors.MetadataError, "BUNIT|unit", id="mixed-units"),
]


@pytest.mark.parametrize(("spoil", "kind", "text"), SPOILED)
def test_a_bad_exposure_stops_the_run_in_one_line(
    inputs: list[Path], spoil: Callable[[Path], None], kind: type[errors.ExposureError], text: str
) -> None:
    spoil(inputs[1])
    with pytest.raises(kind, match=text) as caught:
        run(inputs)
    assert "\n" not in str(caught.value)
    assert inputs[1].name.split("_")[0] in str(caught.value)


@pytest.mark.parametrize(("spoil", "kind", "text"), SPOILED)
def test_a_skipped_exposure_leaves_no_trace(
    inputs: list[Path], spoil: Callable[[Path], None], kind: type[errors.ExposureError], text: str
) -> None:
    spoil(inputs[1])
    kept = run(inputs, on_error="skip")
    assert [type(error) for error in kept.rejected] == [kind]
    skipped = _mosaic(kept)
    never_listed = _mosaic(run([inputs[0], inputs[2]], on_error="skip"))
    for name, values in never_listed.items():
        np.testing.assert_array_equal(values, skipped[name], err_msg=name)


def _mosaic(result: pipeline.Result) -> dict[str, np.ndarray]:
    folder = result.job_folder / "mosaic.zarr"
    found = {
        name: np.asarray(zarr.open_array(str(folder / name), mode="r")[:]) for name in ("sci", "wht", "ctx")
    }
    shutil.rmtree(result.job_folder)
    return found


def test_nan_pixels_are_absent_pixels(inputs: list[Path]) -> None:
    where = (slice(20, 23), slice(40, 44))
    flagged = [Path(shutil.copy(path, path.with_name("f" + path.name))) for path in inputs]
    _edit(lambda hdul: hdul["SCI", 1].data.__setitem__(where, np.nan))(inputs[0])
    with_nan = _mosaic(run(inputs, static=False, skysub=False, driz_cr=False, median=False, blot=False))
    _edit(lambda hdul: hdul["DQ", 1].data.__setitem__(where, 1))(flagged[0])
    masked = _mosaic(run(flagged, static=False, skysub=False, driz_cr=False, median=False, blot=False))
    covered = with_nan["wht"] > 0
    assert np.isfinite(with_nan["sci"][covered]).all()
    np.testing.assert_array_equal(with_nan["wht"], masked["wht"])
    np.testing.assert_array_equal(with_nan["sci"][covered], masked["sci"][covered])


def test_an_unknown_parameter_is_named_with_its_neighbours() -> None:
    with pytest.raises(errors.ParameterError, match="final_pixfrac"):
        load_settings(None, (), final_pixfrc=0.8)


@pytest.mark.parametrize(
    "wrong", [{"final_pixfrac": -1}, {"final_kernel": "round"}, {"final_scale": 0}, {"driz_cr_grow": 0}]
)
def test_an_impossible_value_is_refused_before_anything_runs(
    inputs: list[Path], wrong: dict[str, object]
) -> None:
    with pytest.raises(errors.ParameterError, match=next(iter(wrong))):
        run(inputs, **wrong)


def test_an_output_folder_that_cannot_be_written_is_named(inputs: list[Path]) -> None:
    blocker = inputs[0].parent / "file"
    blocker.write_text("not a folder")
    options = RunOptions.resolve(scheduler="serial", memory=2 * GIB)
    with pytest.raises(errors.OutputError, match="cannot write"):
        pipeline.drizzle([str(p) for p in inputs], str(blocker / "m"), options=options, runfile="")


def test_a_budget_that_is_too_small_names_the_smallest_that_does(inputs: list[Path]) -> None:
    options = RunOptions.resolve(scheduler="serial", memory=100 << 20)
    with pytest.raises(errors.BudgetError, match=r"needs at least \d+ MiB"):
        pipeline.plan([str(p) for p in inputs], str(inputs[0].parent / "m"), options=options, runfile="")


def test_inputs_are_not_touched(inputs: list[Path]) -> None:
    before = [path.read_bytes() for path in inputs]
    run(inputs)
    assert [path.read_bytes() for path in inputs] == before
