"""Every condition at which DrizzlePac fails, or fails in silence, ends in one line that says what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from mosaic import errors, pipeline
from mosaic.options import RunOptions
from mosaic.simulate import simulate

OPTIONS = RunOptions.resolve(scheduler="serial", memory=2 << 30)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("originals")
    made = simulate(
        folder,
        instrument="acs/wfc",
        exposures=2,
        chip_shape=(40, 70),
        n_stars=5,
        n_galaxies=0,
        seed=4,
        workers=1,
    )
    return list(made.files)


@pytest.fixture
def inputs(originals: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.chdir(tmp_path)
    return [Path(shutil.copy(path, tmp_path / path.name)) for path in originals]


def _plan(inputs: list[Path], **parameters: Any) -> pipeline.PlanReport:
    return pipeline.plan(
        [str(path) for path in inputs], "m", options=OPTIONS, **({"runfile": ""} | parameters)
    )


def _run(inputs: list[Path], **parameters: Any) -> pipeline.Result:
    named = [str(path) for path in inputs]
    return pipeline.drizzle(named, "m", options=OPTIONS, **({"runfile": ""} | parameters))


PARAMETERS: list[tuple[dict[str, Any], str]] = [
    ({"final_pixfrc": 1}, r"unknown parameter final_pixfrc \(did you mean final_pixfrac"),
    ({"final_kernel": "round"}, "final_kernel = 'round': input should be 'square'"),
    ({"blot_interp": "poly4"}, "blot_interp = 'poly4': input should be 'nearest'"),
    ({"combine_type": "avg"}, "combine_type = 'avg': input should be 'minmed'"),
    ({"final_outnx": 9}, "final_outny is missing"),
    ({"final_ra": 9.0}, "final_dec is missing"),
    ({"driz_sep_crpix2": 9}, "driz_sep_crpix1 is missing"),
    ({"gain": 2, "gnkeyword": "ATODGNA"}, "give gain or gnkeyword, not both"),
    ({"rdnoise": 2, "rnkeyword": "READNSEA"}, "give rdnoise or rnkeyword, not both"),
    ({"exptime": 2, "expkeyword": "EXPTIME"}, "give exptime or expkeyword, not both"),
    ({"exptime": 0}, "exptime = 0: at least one number must differ from zero"),
    ({"exptime": -4}, "exptime = -4: it cannot be negative"),
    ({"driz_cr_grow": 0}, "driz_cr_grow = 0: input should be greater than or equal to 1"),
    ({"stepsize": -1}, "stepsize = -1: input should be greater than or equal to 0"),
    ({"crbit": 65536}, "crbit = 65536: input should be less than or equal to 65535"),
    ({"final_refimage": "nowhere.fits"}, "'nowhere.fits' does not exist; correct final_refimage"),
    ({"driz_sep_refimage": "no_wcs.fits"}, "reference image 'no_wcs.fits' has no extension with CRVAL1"),
    ({"final_refimage": "text.fits"}, "reference image 'text.fits' cannot be used"),
    ({"rules_file": "nowhere.rules"}, r"rules file nowhere\.rules cannot be read .*; check rules_file"),
    ({"group": "2"}, r"group='2': '2' is not a SCI extension of j\w+ \(those are 1, 4\)"),
    ({"group": "sci,7"}, r"group='sci,7': 'sci,7' is not a SCI extension"),
    ({"final_scale": 1e-9}, r"frame of final .* \d+ x \d+ pixels .* more than 1048576.*check final_scale"),
    ({"driz_sep_outnx": 2_000_000, "driz_sep_outny": 9}, "frame of driz_sep would have 2000000 x 9 pixels"),
]  # fmt: skip


@pytest.mark.parametrize(("parameters", "text"), PARAMETERS)
def test_a_parameter_that_cannot_be_is_named_before_anything_runs(
    inputs: list[Path], parameters: dict[str, Any], text: str
) -> None:
    fits.PrimaryHDU(np.zeros((3, 4))).writeto("no_wcs.fits")
    Path("text.fits").write_text("not fits")
    with pytest.raises(errors.ParameterError, match=text) as caught:
        _plan(inputs, **parameters)
    assert "\n" not in str(caught.value)
    assert not list(Path().glob("*.mosaic"))


KEYWORDS: list[tuple[dict[str, Any], str]] = [
    ({"gnkeyword": "NOPE"}, r"\[sci,1\]: gain unknown: NOPE absent; give the value as a parameter \(gain="),
    ({"rnkeyword": "NOPE,READNSEA"}, r"rd noise unknown: NOPE absent; give the value .*\(rdnoise="),
    ({"expkeyword": "NOPE"}, r"exptime unknown: NOPE absent; give the value as a parameter \(exptime="),
    ({"wcskey": "Q"}, r"wcskey='Q': there is no such alternate WCS \(those are: "),
    ({"mdriztab": True}, "MDRIZTAB is absent, blank or N/A"),
]


@pytest.mark.parametrize(("parameters", "text"), KEYWORDS)
def test_a_parameter_that_an_exposure_cannot_serve_names_both(
    inputs: list[Path], parameters: dict[str, Any], text: str
) -> None:
    for path in inputs:
        fits.setval(path, "MDRIZTAB", value="N/A")
    with pytest.raises(errors.MetadataError, match=text) as caught:
        _plan(inputs, **parameters)
    assert caught.value.exposure == inputs[0].name.split("_")[0]


@pytest.mark.parametrize(
    ("named", "kind", "text"),
    [
        ([], errors.ParameterError, "no input given; name files"),
        ("", errors.ParameterError, "no input given; name files"),
        ("z*.fits", errors.MissingFileError, r"z\*\.fits: the pattern matches no file; correct the name"),
        ("@none", errors.ParameterError, "@none: the list cannot be read"),
        ("z_asn.fits", errors.MissingFileError, "z_asn.fits: the file does not exist"),
    ],
)
def test_an_input_that_is_not_there_is_named(named: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        pipeline.plan(named, "m", options=OPTIONS, runfile="")


def _without(name: str) -> Callable[[fits.HDUList], None]:
    def edit(hdul: fits.HDUList) -> None:
        for hdu in hdul:
            hdu.header.remove(name, ignore_missing=True)

    return edit


def _edit_all(inputs: list[Path], edit: Callable[[fits.HDUList], None]) -> None:
    for path in inputs:
        with fits.open(path, mode="update") as hdul:
            edit(hdul)


def test_headers_that_are_not_needed_are_not_asked_for(inputs: list[Path]) -> None:
    expected = [fits.getdata(path) for path in _run(inputs).products]
    shutil.rmtree("m.mosaic")
    for name in ("NGOODPIX", "MEANDARK"):
        _edit_all(inputs, _without(name))
    for path, wanted in zip(_run(inputs).products, expected, strict=True):
        np.testing.assert_array_equal(fits.getdata(path), wanted)
    with pytest.raises(errors.MetadataError, match="MEANDARK absent, which IVM weights need; add it"):
        _plan(inputs, final_wht_type="IVM")


def test_without_roll_angle_the_orientation_is_that_of_the_first_chip(inputs: list[Path]) -> None:
    def place_in_focal_plane(hdul: fits.HDUList) -> None:
        for hdu in hdul:
            if hdu.name == "SCI":
                hdu.header.update({"IDCV2REF": 257.152, "IDCV3REF": 302.662, "IDCTHETA": 0.0})

    _edit_all(inputs, place_in_focal_plane)
    _edit_all(inputs, _without("PA_V3"))
    result = _run(inputs)
    assert any("PA_V3 absent, the frame is oriented by the CD matrix" in w for w in result.warnings)
    first, product = fits.getheader(inputs[0], ("SCI", 1)), fits.getheader(result.products[0])
    assert product["ORIENTAT"] == pytest.approx(
        np.degrees(np.arctan2(first["CD1_2"], first["CD2_2"])), abs=1e-9
    )


@pytest.mark.parametrize("has_count", [True, False])
def test_an_exposure_without_good_pixel_is_named_with_and_without_ngoodpix(
    inputs: list[Path], *, has_count: bool
) -> None:
    def edit(hdul: fits.HDUList) -> None:
        for version in (1, 2):
            hdul["DQ", version].data[:] = 16
            hdul["SCI", version].header["NGOODPIX"] = 0
        if not has_count:
            _without("NGOODPIX")(hdul)

    _edit_all(inputs[1:], edit)
    with pytest.raises(errors.PixelError, match=r"no good pixel|no usable pixel"):
        _run(inputs)


def test_an_old_distortion_file_is_a_remark_and_no_question(inputs: list[Path]) -> None:
    def edit(hdul: fits.HDUList) -> None:
        hdul[0].header["DGEOFILE"] = "jref$x_dxy.fits"
        hdul[0].header.remove("NPOLFILE", ignore_missing=True)

    _edit_all(inputs[:1], edit)
    report = _plan(inputs)
    assert len(report.plan.exposures) == 2
    warnings = _run(inputs).warnings
    assert [w for w in warnings if "DGEOFILE" in w] == [w for w in warnings if "without NPOLFILE" in w]
    assert sum("DGEOFILE jref$x_dxy.fits without NPOLFILE" in w for w in warnings) == 1


def test_dropping_all_values_switches_the_rejection_off_and_the_product_is_made(inputs: list[Path]) -> None:
    result = _run(inputs, combine_type="median", combine_nlow=1, combine_nhigh=1)
    assert any("drops all values of 2 exposures" in warning for warning in result.warnings)
    assert np.isfinite(fits.getdata(result.products[0])).any()


def test_exposures_on_opposite_sides_of_the_sky_are_refused(inputs: list[Path]) -> None:
    def edit(hdul: fits.HDUList) -> None:
        for version in (1, 2):
            header = hdul["SCI", version].header
            header["CRVAL1"] = (header["CRVAL1"] + 180.0) % 360.0
            header["CRVAL2"] *= -1.0

    _edit_all(inputs[1:], edit)
    with pytest.raises((errors.ParameterError, errors.WcsError)):
        _plan(inputs)
