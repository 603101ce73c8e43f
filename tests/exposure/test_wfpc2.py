"""WFPC2: facts of the four chips, flags in a file of their own, the shadow of the pyramid."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from mosaic.errors import InstrumentError, MetadataError, StructureError
from mosaic.exposure.catalogue import read_catalogue
from mosaic.exposure.model import Exposure
from mosaic.exposure.reader import is_lit, read_dq, read_rows, read_science
from mosaic.exposure.weights import input_weight
from mosaic.types import ShapeYX, Window
from tests.support.exposures import default_settings, write_exposure
from tests.support.wfpc2 import Wfpc2Recipe, pixels, write_geis, write_pair, write_waivered

# WFPC2 Instrument Handbook v10, table 4.4: electrons per DN and read noise in electrons.
GAINS = {7: (7.12, 7.12, 6.90, 7.10), 15: (13.99, 14.50, 13.95, 13.95)}
NOISES = {7: (5.24, 5.51, 5.22, 5.19), 15: (7.02, 7.84, 6.99, 8.32)}
WHOLE = Window(0, 24, 0, 30)
# Along y and along x, as DrizzlePac 3.11 evaluates its edge functions.
EDGES = (
    (52.20921, 0.009072887, -9.941337e-6, 42.62779, 0.009122855, -1.106709e-5),
    (21.77283, 0.01842164, -1.398300e-5, 47.68184, 0.00265608, -1.468158e-5),
    (44.18944, 0.0138938, -1.412296e-5, 30.23626, 0.008156041, -1.491324e-5),
    (44.56632, 0.003509023, -1.278723e-5, 40.91462, 0.01273679, -1.063462e-5),
)


def _read(path: Path, **settings: Any) -> Exposure:
    (exposure,) = read_catalogue(
        [str(path)], default_settings(**settings), "stop", path.parent / "s"
    ).exposures
    return exposure


@pytest.mark.parametrize("setting", [7, 15])
def test_every_chip_has_the_gain_and_noise_of_the_handbook(tmp_path: Path, setting: int) -> None:
    exposure = _read(write_pair(tmp_path, primary={"ATODGAIN": float(setting)}))
    assert tuple(chip.gain for chip in exposure.chips) == GAINS[setting]
    assert tuple(chip.read_noise_e for chip in exposure.chips) == NOISES[setting]
    assert tuple(chip.to_electrons for chip in exposure.chips) == GAINS[setting]
    assert [chip.detector for chip in exposure.chips] == ["PC", "WF2", "WF3", "WF4"]
    assert [chip.ccdchip for chip in exposure.chips] == [1, 2, 3, 4]
    assert exposure.filters == "F555W"
    for chip in exposure.chips:
        assert (chip.native_unit, chip.is_rate, chip.cte_direction) == ("COUNTS", False, -1)
        assert (chip.err, chip.dark_e) == (None, 0.5)


def test_chips_are_known_by_detector_not_by_extension(tmp_path: Path) -> None:
    exposure = _read(write_pair(tmp_path, detectors=(3, 1)))
    assert [chip.read_noise_e for chip in exposure.chips] == [5.22, 5.24]
    assert exposure.chips[0].idcscale_arcsec == pytest.approx(0.0996, rel=1e-6)
    assert exposure.chips[1].idcscale_arcsec == pytest.approx(0.0455, rel=1e-6)
    assert exposure.chips[0].static_group != exposure.chips[1].static_group


def test_another_gain_setting_is_refused_unless_the_values_are_given(tmp_path: Path) -> None:
    path = write_pair(tmp_path, primary={"ATODGAIN": 8.0})
    with pytest.raises(MetadataError, match=r"u1_c0m\[sci,1\]: .*ATODGAIN is 8, not 7 or 15"):
        _read(path)
    with pytest.raises(MetadataError, match="ATODGAIN is 8"):
        _read(path, gain="8.1")
    chip = _read(path, gain="8.1", rdnoise="6").chips[2]
    assert (chip.gain, chip.read_noise_e) == (8.1, 6.0)


def test_gain_or_noise_alone_may_be_overridden(tmp_path: Path) -> None:
    path = write_pair(tmp_path, primary={"MYGAIN": 7.5})
    chip = _read(path, gnkeyword="MYGAIN").chips[3]
    assert (chip.gain, chip.read_noise_e) == (7.5, 5.19)
    chip = _read(path, rdnoise="9").chips[3]
    assert (chip.gain, chip.read_noise_e) == (7.10, 9.0)


def test_an_unknown_detector_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InstrumentError, match="DETECTOR='5' is not supported"):
        _read(write_pair(tmp_path, science={"DETECTOR": 5}))


def test_dark_is_needed_for_ivm_only(tmp_path: Path) -> None:
    path = write_pair(tmp_path, primary={"DARKTIME": None})
    assert _read(path).chips[0].dark_e == 0.0
    with pytest.raises(MetadataError, match="DARKTIME absent, which IVM weights need"):
        _read(path, final_wht_type="IVM")


@pytest.mark.parametrize("write", [write_pair, write_geis, write_waivered])
def test_pixels_and_flags_come_from_two_files(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    path = write(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    exposure = _read(path)
    sci, flags = pixels(Wfpc2Recipe())
    for chip, plane, flag in zip(exposure.chips, sci, flags, strict=True):
        np.testing.assert_array_equal(read_science(chip, WHOLE), plane)
        np.testing.assert_array_equal(read_dq(chip, WHOLE), flag)
    assert Path(exposure.flag_path).name.replace("c1", "c0") == path.name
    assert {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


def test_compressed_flags_are_found(tmp_path: Path) -> None:
    path = write_pair(tmp_path)
    flags = tmp_path / "u1_c1m.fits"
    with flags.open("rb") as plain, gzip.open(tmp_path / "u1_c1m.fits.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    flags.unlink()
    exposure = _read(path)
    assert exposure.flag_path.endswith("u1_c1m.fits.gz")
    np.testing.assert_array_equal(read_dq(exposure.chips[3], WHOLE), pixels(Wfpc2Recipe())[1][3])


def test_a_single_file_holds_its_own_flags(tmp_path: Path) -> None:
    def edit(hdul: fits.HDUList) -> None:
        for number, hdu in enumerate((hdu for hdu in hdul if hdu.name == "SCI"), start=1):
            hdu.header["DETECTOR"] = number

    path = write_exposure(
        tmp_path / "u1_flt.fits", instrument="WFPC2", detector="PC", bunit="COUNTS", n_chips=4, edit=edit,
        primary={"ATODGAIN": 7.0},
    )  # fmt: skip
    exposure = _read(path)
    assert exposure.flag_path == ""
    assert [chip.detector for chip in exposure.chips] == ["PC", "WF2", "WF3", "WF4"]
    assert all(chip.dq is not None and chip.dq.path == str(path) for chip in exposure.chips)


def test_the_missing_file_of_flags_is_named(tmp_path: Path) -> None:
    for path in (write_pair(tmp_path), write_geis(tmp_path)):
        wanted = str(path).replace("c0", "c1")
        Path(wanted).unlink()
        with pytest.raises(StructureError, match=f"data-quality file {wanted} is not there"):
            _read(path)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda sci, dq: dq.__delitem__(3), r"u1_c0m\[sci,3\]: .*\[SDQ,3\] of u1_c1m.fits, are missing"),
        (lambda sci, dq: setattr(dq[2], "data", dq[2].data[:-1]), r"SCI is 30 x 24 pixels, .* is 30 x 23"),
        (lambda sci, dq: dq[1].header.set("DETECTOR", 4), r"DETECTOR is 1, in \[SDQ,1\] .* it is 4"),
    ],
)
def test_flags_that_do_not_belong_are_refused(
    tmp_path: Path, edit: Callable[[fits.HDUList, fits.HDUList], None], words: str
) -> None:
    with pytest.raises(StructureError, match=words):
        _read(write_pair(tmp_path, edit=edit))


def test_the_fingerprint_covers_the_flags(tmp_path: Path) -> None:
    path = write_pair(tmp_path)
    before = _read(path).fingerprint
    assert _read(path).fingerprint == before
    with fits.open(tmp_path / "u1_c1m.fits", mode="update") as hdul:
        hdul[1].data[0, 0] ^= 8
    assert _read(path).fingerprint != before


@pytest.mark.parametrize("binning", [1, 2])
def test_the_shadow_is_the_polynomials_mask(tmp_path: Path, binning: int) -> None:
    """Brute force over detector pixels; the edges are those seen in the flags of real exposures."""
    shape = (800 // binning, 800 // binning)
    path = write_pair(tmp_path, shape_yx=shape, primary={"MODE": "FULL" if binning == 1 else "AREA"})
    for chip, coefficients in zip(_read(path).chips, EDGES, strict=True):
        lit = np.zeros((800, 800), dtype=bool)
        along = [
            np.array([int(min(max(n + 0.5 - (a + b * n + c * n * n), 0.0), 1.0)) for n in range(800)])
            for a, b, c in (coefficients[:3], coefficients[3:])
        ]
        lit = (along[0][:, None] * along[1][None, :]).astype(bool)
        wanted = lit.reshape(shape[0], binning, shape[1], binning).all(axis=(1, 3))
        np.testing.assert_array_equal(is_lit(chip, Window(0, shape[0], 0, shape[1])), wanted)
        window = Window(11, 40, 7, 52)
        np.testing.assert_array_equal(is_lit(chip, window), wanted[window.slices])


def test_the_shadow_moves_with_a_subarray(tmp_path: Path) -> None:
    whole = _read(write_pair(tmp_path, "u1", shape_yx=(120, 150))).chips[1]
    part = _read(write_pair(tmp_path, "u2", shape_yx=(50, 60), science={"LTV1": -20.0, "LTV2": -10.0})).chips[
        1
    ]
    np.testing.assert_array_equal(is_lit(part, Window(0, 50, 0, 60)), is_lit(whole, Window(10, 60, 20, 80)))


def test_other_detectors_have_no_shadow(tmp_path: Path) -> None:
    chip = _read(write_exposure(tmp_path / "a_flc.fits")).chips[0]
    assert is_lit(chip, Window(0, *chip.shape_yx[:1], 0, chip.shape_yx[1])).all()


def test_error_weights_without_errors_are_exposure_times(tmp_path: Path) -> None:
    chip = _read(write_pair(tmp_path)).chips[0]
    mask = np.arange(24 * 30).reshape(24, 30) % 3 > 0
    np.testing.assert_array_equal(input_weight(chip, WHOLE, mask, "ERR", scale_ratio=0.5), 100.0 * mask)
    # DrizzlePac 3.11 gives every image weight 1 here.
    np.testing.assert_array_equal(
        input_weight(chip, WHOLE, mask, "ERR", scale_ratio=0.5, peer_compat=True), 1.0 * mask
    )


def test_the_flat_field_corrects_and_so_counts_inverted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    flats = {number: rng.uniform(0.5, 2.0, (24, 30)).astype(np.float32) for number in (1, 2, 3, 4)}
    hdus = [fits.ImageHDU(flat, name="SCI", ver=n) for n, flat in flats.items()]
    for number, hdu in enumerate(hdus, start=1):
        hdu.header["DETECTOR"] = number
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "my_flat.fits")
    monkeypatch.setenv("uref", str(tmp_path))
    path = write_pair(tmp_path, detectors=(3, 1), primary={"FLATFILE": "uref$my_flat.fits"})
    chips = _read(path, final_wht_type="IVM").chips
    for chip, number, gain, noise in zip(chips, (3, 1), (6.9, 7.12), (5.22, 5.24), strict=True):
        response = 1.0 / flats[number].astype(np.float64)
        wanted = response**2 / (0.5 + 4.0 * gain * response + noise**2) * 100.0**2
        weight = input_weight(chip, WHOLE, np.ones((24, 30), dtype=bool), "IVM", sky=4.0)
        np.testing.assert_allclose(weight, wanted, rtol=2e-6)


def test_a_flat_field_in_groups_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive names flat fields as GEIS images: ``uref$m3c1004hu.r4h``."""
    write_geis(tmp_path, "flat", seed=9)
    for end in "hd":
        (tmp_path / f"flat.c0{end}").rename(tmp_path / f"flat.r4{end}")
    monkeypatch.setenv("uref", str(tmp_path))
    exposure = _read(write_pair(tmp_path, primary={"FLATFILE": "uref$flat.r4h"}), final_wht_type="IVM")
    for chip, plane in zip(exposure.chips, pixels(Wfpc2Recipe(seed=9))[0], strict=True):
        assert chip.flat is not None
        np.testing.assert_array_equal(read_rows(chip.flat, WHOLE), plane)


def test_a_dgeofile_that_is_not_applied_is_mentioned(tmp_path: Path) -> None:
    path = write_pair(tmp_path, primary={"DGEOFILE": "uref$s8f1222cu_dxy.fits"})
    catalogue = read_catalogue([str(path)], default_settings())
    assert any("DGEOFILE uref$s8f1222cu_dxy.fits" in note for note in catalogue.notes)
    path = write_pair(tmp_path, primary={"DGEOFILE": "uref$a_dxy.fits", "NPOLFILE": "uref$a_npl.fits"})
    assert not any("DGEOFILE" in note for note in read_catalogue([str(path)], default_settings()).notes)


def test_a_correction_of_rows_alone_is_read(tmp_path: Path) -> None:
    """The 34th-row table of updatewcs: D2IMDIS2 only, one row of 800 columns of the detector's y."""

    def edit(sci: fits.HDUList, _dq: fits.HDUList) -> None:
        table = fits.ImageHDU(np.linspace(-0.02, 0.03, 30, dtype=np.float32)[None, :], name="D2IMARR", ver=1)
        table.header.update({"CRPIX1": 0.0, "CRPIX2": 0.0, "CRVAL1": 1.0, "CRVAL2": 1.0})
        table.header.update({"CDELT1": 1.0, "CDELT2": 1.0})
        sci.append(table)
        header = sci[1].header
        header["D2IMDIS2"] = "Lookup"
        for record in ("EXTVER: 1", "NAXES: 2", "AXIS.1: 1", "AXIS.2: 2"):
            header.append(("D2IM2", record))

    path = write_pair(tmp_path, edit=edit)
    chip = _read(path).chips[0]
    x, y = np.array([0.0, 7.25, 29.0]), np.array([3.0, 11.5, 0.0])
    with fits.open(path) as hdul:
        oracle = WCS(hdul[1].header, hdul).all_pix2world(np.stack([x, y], axis=1), 0)
        linear = WCS(hdul[1].header).wcs_pix2world(np.stack([x, y], axis=1), 0)
    ra, dec = chip.wcs.pixel_to_sky(x, y)
    np.testing.assert_allclose(np.stack([ra, dec], axis=1), oracle, rtol=0, atol=1e-12)
    assert np.abs(oracle - linear).max() > 1e-8


def test_shapes_are_those_of_the_files(tmp_path: Path) -> None:
    assert {chip.shape_yx for chip in _read(write_pair(tmp_path)).chips} == {ShapeYX(24, 30)}
