"""Usable exposures are described from their headers; every other input is named in one line."""

from __future__ import annotations

import gzip
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from mosaic.errors import (
    ExposureError,
    InstrumentError,
    MetadataError,
    MissingFileError,
    ParameterError,
    PixelError,
    StructureError,
    TruncatedFileError,
    WcsError,
)
from mosaic.exposure.catalogue import read_catalogue
from mosaic.exposure.model import Exposure
from mosaic.exposure.reader import read_dq, read_err, read_science
from mosaic.types import ShapeYX, Window
from tests.support.exposures import default_settings, write_exposure


def _read(path: Path, **settings: object) -> Exposure:
    return read_catalogue([str(path)], default_settings(**settings)).exposures[0]


def test_an_exposure_is_described_as_its_headers_say(tmp_path: Path) -> None:
    path = write_exposure(tmp_path / "abc01_flc.fits")
    exposure = _read(path)
    assert (exposure.rootname, exposure.filename, exposure.path) == ("abc01", "abc01_flc.fits", str(path))
    assert (exposure.instrument, exposure.detector, exposure.filters) == ("ACS", "WFC", "F606W")
    assert (exposure.expstart_mjd, exposure.exptime_s) == (55000.25, 120.0)
    first, second = exposure.chips
    assert (first.extver, first.hdu_index, first.ccdchip, first.name) == (1, 1, 2, "abc01[sci,1]")
    assert first.shape_yx == ShapeYX(60, 97)
    assert (first.native_unit, first.is_rate, first.gain, first.to_electrons) == (
        "ELECTRONS",
        False,
        1.0,
        1.0,
    )
    # Amplifiers with a zero entry are unused: means of (1.9, 2.1) and of (4, 6).
    assert (first.atod_gain, first.read_noise_e) == (2.0, 5.0)
    assert (first.dark_e, second.dark_e) == (0.5, 1.0)
    assert (first.cte_direction, second.cte_direction) == (-1, 1)
    assert first.idcscale_arcsec == 0.05
    assert first.mdrizsky is None
    assert first.static_group == "ACS_WFC_2_60x97"
    assert pickle.loads(pickle.dumps(exposure)) == exposure


def test_exposures_are_sorted_by_start_then_root_whatever_the_order_given(tmp_path: Path) -> None:
    names = [("b", 2.0), ("a", 2.0), ("c", 1.0)]
    paths = [str(write_exposure(tmp_path / f"{n}_flc.fits", expstart=55000.0 + t)) for n, t in names]
    for order in (paths, paths[::-1]):
        found = read_catalogue(order, default_settings()).exposures
        assert [exposure.rootname for exposure in found] == ["c", "a", "b"]


def test_the_fingerprint_changes_with_the_file(tmp_path: Path) -> None:
    path = write_exposure(tmp_path / "a_flc.fits")
    before = _read(path).fingerprint
    assert _read(path).fingerprint == before
    with fits.open(path, mode="update") as hdul:
        hdul[4].header["EXPNAME"] = "other"
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert _read(path).fingerprint != before


@pytest.mark.parametrize(
    ("instrument", "detector", "bunit", "unit", "direction", "to_electrons"),
    [
        ("ACS", "HRC", "ELECTRONS", "ELECTRONS", -1, 1.0),
        ("ACS", "SBC", "COUNTS", "ELECTRONS", 0, 1.0),
        ("WFC3", "UVIS", "electrons", "ELECTRONS", 1, 1.0),
        ("WFC3", "IR", "ELECTRONS/S", "ELECTRONS/S", 0, 120.0),
        ("WFC3", "IR", "ELECTRONS", "ELECTRONS", 0, 1.0),
    ],
)
def test_every_supported_detector_has_its_facts(
    tmp_path: Path, instrument: str, detector: str, bunit: str, unit: str, direction: int, to_electrons: float
) -> None:
    path = write_exposure(
        tmp_path / "a_flt.fits", instrument=instrument, detector=detector, bunit=bunit, n_chips=1,
        primary={"CCDAMP": "C"},
    )  # fmt: skip
    (chip,) = _read(path).chips
    assert (chip.native_unit, chip.is_rate) == (unit, unit.endswith("/S"))
    assert (chip.cte_direction, chip.to_electrons) == (direction, to_electrons)
    assert chip.read_noise_e == (0.0 if detector == "SBC" else 5.0)
    assert chip.atod_gain == (1.0 if detector == "SBC" else 2.0)


@pytest.mark.parametrize(
    ("amplifier", "direction"), [("A", 1), ("B", 1), ("C", -1), ("D", -1), ("ABCD", 0), ("", 0)]
)
def test_hrc_trails_follow_the_amplifier(tmp_path: Path, amplifier: str, direction: int) -> None:
    path = write_exposure(tmp_path / "a_flt.fits", detector="HRC", n_chips=1, primary={"CCDAMP": amplifier})
    assert _read(path).chips[0].cte_direction == direction


def test_user_values_override_the_headers(tmp_path: Path) -> None:
    path = write_exposure(tmp_path / "a_flc.fits", primary={"MYTIME": 77.0, "MYNOISE": 3.0})
    exposure = _read(path, gain="1.5,2.5,0", rnkeyword="mynoise", exptime=100)
    assert (exposure.exptime_s, exposure.chips[1].exptime_s) == (100.0, 100.0)
    assert (exposure.chips[0].atod_gain, exposure.chips[0].read_noise_e) == (2.0, 3.0)
    assert _read(path, expkeyword="MYTIME").exptime_s == 77.0
    with pytest.raises(ParameterError, match=r"gain=2\.0 and gnkeyword=ATODGNA are both given"):
        _read(path, gain="2", gnkeyword="ATODGNA")
    with pytest.raises(ParameterError, match=r"rdnoise='x' is not a number"):
        _read(path, rdnoise="x")
    with pytest.raises(MetadataError, match="gain unknown: NOKEY absent"):
        _read(path, gnkeyword="ATODGNA,NOKEY")


@pytest.mark.parametrize(
    ("group", "extvers"), [("", [1, 2]), ("4", [2]), ("sci,2", [2]), ("1,4", [1, 2]), (1, [1])]
)
def test_group_selects_chips(tmp_path: Path, group: object, extvers: list[int]) -> None:
    exposure = _read(write_exposure(tmp_path / "a_flc.fits"), group=group)
    assert [chip.extver for chip in exposure.chips] == extvers


@pytest.mark.parametrize("group", ["2", "99", "err,1", "sci,3"])
def test_a_group_that_is_no_science_extension_is_refused(tmp_path: Path, group: object) -> None:
    path = write_exposure(tmp_path / "a_flc.fits")
    with pytest.raises(ParameterError, match="group="):
        _read(path, group=group)


def test_without_coefficients_the_chips_are_linear(tmp_path: Path) -> None:
    path = write_exposure(tmp_path / "a_flc.fits")
    assert _read(path).chips[0].wcs.has_distortion
    assert not _read(path, coeffs=False).chips[0].wcs.has_distortion


def test_a_subarray_has_its_origin_in_the_static_group(tmp_path: Path) -> None:
    def edit(hdul: fits.HDUList) -> None:
        hdul[1].header["LTV1"], hdul[1].header["LTV2"] = -1024.0, -100.0

    chip = _read(write_exposure(tmp_path / "a_flc.fits", n_chips=1, edit=edit)).chips[0]
    assert chip.flat_origin_yx == (100, 1024)
    assert chip.static_group == "ACS_WFC_1_60x97_100_1024"


def test_constant_and_absent_companions_are_understood(tmp_path: Path) -> None:
    def edit(hdul: fits.HDUList) -> None:
        del hdul["ERR", 2]
        hdul["ERR", 1].data = None
        hdul["ERR", 1].header["PIXVALUE"], hdul["ERR", 1].header["NPIX1"], hdul["ERR", 1].header["NPIX2"] = (
            3.0,
            97,
            60,
        )
        hdul["DQ", 1].data = None

    chips = _read(write_exposure(tmp_path / "a_flc.fits", edit=edit)).chips
    window = Window(2, 5, 1, 4)
    np.testing.assert_array_equal(read_err(chips[0], window), np.full((3, 3), 3.0))
    assert chips[1].err is None
    assert chips[0].dq is None
    assert not read_dq(chips[0], window).any()


def test_absent_pixels_are_legal(tmp_path: Path) -> None:
    def edit(hdul: fits.HDUList) -> None:
        hdul["SCI", 1].data[3:6, :] = np.nan

    chip = _read(write_exposure(tmp_path / "a_flc.fits", edit=edit)).chips[0]
    assert np.isnan(read_science(chip, Window(3, 4, 0, 97))).all()


@pytest.mark.parametrize("kind", [".gz", ".fz", ""])
def test_compressed_inputs_give_the_same_pixels_from_a_staged_copy(tmp_path: Path, kind: str) -> None:
    plain = write_exposure(tmp_path / "a_flc.fits", primary={"NOTE": "kept"})
    expected = _read(plain)
    packed = tmp_path / "packed" / f"a_flc.fits{kind}"
    packed.parent.mkdir()
    if kind == ".gz":
        packed.write_bytes(gzip.compress(plain.read_bytes()))
    else:
        with fits.open(plain) as hdul:
            hdus = [hdul[0].copy()] + [
                fits.CompImageHDU(hdu.data, hdu.header, compression_type="GZIP_2", quantize_level=0.0)
                if hdu.name in {"SCI", "ERR", "DQ"} else hdu.copy()
                for hdu in hdul[1:]
            ]  # fmt: skip
            fits.HDUList(hdus).writeto(packed)
    staging = tmp_path / "staging"
    found = read_catalogue([str(packed)], default_settings(), staging_dir=staging).exposures[0]
    assert found.rootname == "a"
    assert found.path == str(packed)
    window = Window(5, 55, 10, 90)
    for chip, reference in zip(found.chips, expected.chips, strict=True):
        np.testing.assert_array_equal(read_science(chip, window), read_science(reference, window))
        np.testing.assert_array_equal(read_dq(chip, window), read_dq(reference, window))
        assert chip.wcs == reference.wcs
    (copy,) = staging.iterdir()
    before = copy.stat().st_mtime_ns
    again = read_catalogue([str(packed)], default_settings(), staging_dir=staging).exposures[0]
    assert again == found
    assert copy.stat().st_mtime_ns == before


def test_a_compressed_input_needs_a_staging_folder(tmp_path: Path) -> None:
    packed = tmp_path / "a_flc.fits.gz"
    packed.write_bytes(gzip.compress(write_exposure(tmp_path / "a_flc.fits").read_bytes()))
    with pytest.raises(ParameterError, match="no staging folder"):
        read_catalogue([str(packed)], default_settings())


Case = tuple[Any, type[ExposureError], str]


def _header(index: int, **cards: object) -> Callable[[fits.HDUList], None]:
    def edit(hdul: fits.HDUList) -> None:
        for key, value in cards.items():
            hdul[index].header[key] = value

    return edit


def _without(name: str, *extvers: int) -> Callable[[fits.HDUList], None]:
    def edit(hdul: fits.HDUList) -> None:
        for extver in extvers:
            del hdul[name, extver]

    return edit


def _data(name: str, extver: int, shape: tuple[int, ...] | None) -> Callable[[fits.HDUList], None]:
    def edit(hdul: fits.HDUList) -> None:
        hdu = hdul[name, extver]
        hdu.data = None if shape is None else np.zeros(shape, dtype=hdu.data.dtype)

    return edit


def _no_good_pixel(hdul: fits.HDUList) -> None:
    for index in (1, 4):
        hdul[index].header["NGOODPIX"] = 0


_NO_NOISE = dict.fromkeys(("READNSEA", "READNSEB", "READNSEC", "READNSED"), "")

HEADER_CASES: dict[str, Case] = {
    "exptime 0": ({"exptime": 0.0}, MetadataError, "bad: EXPTIME is 0 s; correct it"),
    "exptime negative": ({"exptime": -3.0}, MetadataError, "EXPTIME is -3 s"),
    "exptime text": ({"primary": {"EXPTIME": "none"}}, MetadataError, "EXPTIME absent or not a number"),
    "bunit": ({"edit": _header(4, BUNIT="FURLONG")}, MetadataError, r"bad\[sci,2\]: BUNIT is 'FURLONG'"),
    "bunit per year": ({"bunit": "ELECTRONS/YR"}, MetadataError, "BUNIT is 'ELECTRONS/YR'"),
    "bunit raw": ({"bunit": "COUNTS"}, MetadataError, "ACS/WFC needs ELECTRONS or ELECTRONS/S"),
    "mixed": (
        {"edit": _header(4, BUNIT="ELECTRONS/S")},
        MetadataError,
        "mixed units: .* ELECTRONS, ELECTRONS/S",
    ),
    "no sci": ({"edit": _without("SCI", 1, 2)}, StructureError, "there is no SCI extension"),
    "one dq": ({"edit": _without("DQ", 2)}, StructureError, r"bad\[sci,2\]: DQ,2 is missing"),
    "dq size": (
        {"edit": _data("DQ", 2, (60, 96))},
        StructureError,
        "SCI is 97 x 60 pixels, DQ is 96 x 60 pixels",
    ),
    "err size": (
        {"edit": _data("ERR", 2, (60, 96))},
        StructureError,
        "SCI is 97 x 60 pixels, ERR is 96 x 60",
    ),
    "wcs": ({"edit": _header(4, CRVAL1="nan")}, WcsError, r"bad\[sci,2\]: WCS not finite: CRVAL1"),
    "instrument": ({"instrument": "FOC"}, InstrumentError, "INSTRUME='FOC', DETECTOR='WFC' is not supported"),
    "noise": ({"primary": _NO_NOISE}, MetadataError, "rd noise unknown: READNSEA"),
    "goodpix": ({"edit": _no_good_pixel}, PixelError, "no good pixel"),
    "cube": ({"edit": _data("SCI", 1, (2, 60, 97))}, StructureError, "SCI has NAXIS=3"),
    "empty sci": ({"edit": _data("SCI", 1, None)}, StructureError, "SCI has no pixels"),
}


def _byte_cases(path: Path) -> dict[str, Case]:
    whole = path.read_bytes()
    with fits.open(path) as hdul:
        places = [hdu.fileinfo() for hdu in hdul]
    return {
        "cut in pixels": (whole[: places[6]["datLoc"] + 500], TruncatedFileError, r"\[DQ,2\] ends at byte"),
        "cut in early pixels": (
            whole[: places[1]["datLoc"] + 500],
            TruncatedFileError,
            r"\[SCI,1\] ends at byte",
        ),
        "cut in header": (whole[: places[4]["hdrLoc"] + 1000], TruncatedFileError, "bad_flc.fits: "),
        "cut in primary": (whole[:1000], TruncatedFileError, "not readable as FITS"),
        "empty": (b"", TruncatedFileError, "the file has 0 bytes"),
        "text": (b"hello world, no FITS here", StructureError, "not a FITS file"),
        "bad gzip": (gzip.compress(whole)[:5000], TruncatedFileError, "cannot be uncompressed"),
    }


def _broken(tmp_path: Path, kind: str) -> tuple[str, type[ExposureError], str]:
    """Name a broken input, the class of its error, and words that its message must have."""
    path = tmp_path / "bad_flc.fits"
    if kind == "absent":
        return str(tmp_path / "none_flc.fits"), MissingFileError, "the file does not exist"
    if kind == "glob":
        return str(tmp_path / "none*_flc.fits"), MissingFileError, "the pattern matches no file"
    if kind in HEADER_CASES:
        changes, error, message = HEADER_CASES[kind]
        write_exposure(path, **changes)
        return str(path), error, message
    content, error, message = _byte_cases(write_exposure(path))[kind]
    path.write_bytes(content)
    return str(path), error, message


KINDS = [
    *HEADER_CASES, "cut in pixels", "cut in early pixels", "cut in header", "cut in primary", "empty", "text",
    "bad gzip", "absent", "glob",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_input_stops_the_run_with_one_line(tmp_path: Path, kind: str) -> None:
    path, error, message = _broken(tmp_path, kind)
    with pytest.raises(error, match=message) as caught:
        read_catalogue([path], default_settings(), staging_dir=tmp_path / "staging")
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_skipped_input_leaves_the_rest_as_if_it_had_never_been_listed(tmp_path: Path, kind: str) -> None:
    good = [str(write_exposure(tmp_path / f"{name}_flc.fits")) for name in ("g1", "g2")]
    path, error, _ = _broken(tmp_path, kind)
    mixed = read_catalogue([good[0], path, good[1]], default_settings(), "skip", tmp_path / "staging")
    assert mixed.exposures == read_catalogue(good, default_settings()).exposures
    assert [type(rejected) for rejected in mixed.rejected] == [error]


@pytest.mark.parametrize("flag", [True, "T", "F", "", False], ids=repr)
def test_exposures_of_a_moving_target_stack_in_the_frame_of_the_first(tmp_path: Path, flag: object) -> None:
    paths = [
        str(
            write_exposure(
                tmp_path / f"{name}_flc.fits", expstart=start, crval=crval, primary={"MTFLAG": flag}
            )
        )
        for name, start, crval in (("b", 55001.0, (10.0, 5.0)), ("a", 55002.0, (10.1, 5.1)))
    ]
    first, second = read_catalogue(paths, default_settings()).exposures
    is_followed = flag in {True, "T"}
    assert (second.chips[1].wcs == first.chips[1].wcs) == is_followed
    assert first.chips[0].wcs != first.chips[1].wcs


def test_a_moving_target_with_other_chips_is_set_aside(tmp_path: Path) -> None:
    moving = {"MTFLAG": True}
    first = str(write_exposure(tmp_path / "a_flc.fits", primary=moving))
    other = str(write_exposure(tmp_path / "b_flc.fits", shape_yx=(50, 97), primary=moving))
    with pytest.raises(StructureError, match=r"b: moving target \(MTFLAG\)"):
        read_catalogue([first, other], default_settings())
    catalogue = read_catalogue([first, other], default_settings(), "skip")
    assert [exposure.rootname for exposure in catalogue.exposures] == ["a"]
    assert len(catalogue.rejected) == 1


def test_an_absent_unit_is_taken_from_the_detector_with_a_note(tmp_path: Path) -> None:
    path = write_exposure(tmp_path / "a_flt.fits", instrument="WFC3", detector="IR", n_chips=1, bunit="")
    catalogue = read_catalogue([str(path)], default_settings())
    assert catalogue.exposures[0].chips[0].native_unit == "ELECTRONS/S"
    assert catalogue.notes == ("a[sci,1]: BUNIT absent, taken as ELECTRONS/S",)


def test_a_roll_angle_that_is_absent_is_no_error(tmp_path: Path) -> None:
    path = write_exposure(tmp_path / "a_flc.fits", primary={"PA_V3": ""})
    assert _read(path).chips[0].wcs.pa_v3 is None


def test_inputs_are_not_touched(tmp_path: Path) -> None:
    path = write_exposure(tmp_path / "a_flc.fits")
    path.chmod(0o444)
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    _read(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_an_inverse_variance_list_is_attached_by_extension(tmp_path: Path) -> None:
    path = write_exposure(tmp_path / "a_flc.fits")
    maps = [fits.ImageHDU(np.full((60, 97), float(v), np.float32), name="IVM", ver=v) for v in (2, 1)]
    fits.HDUList([fits.PrimaryHDU(), *maps]).writeto(tmp_path / "a_ivm.fits")
    listing = tmp_path / "list.txt"
    listing.write_text(f"{path} {tmp_path / 'a_ivm.fits'}\n", encoding="utf-8")
    chips = read_catalogue([f"@{listing}"], default_settings()).exposures[0].chips
    with fits.open(tmp_path / "a_ivm.fits") as hdul:
        assert [chip.ivm.offset for chip in chips] == [hdul["IVM", v].fileinfo()["datLoc"] for v in (1, 2)]
    shutil.copy(path, tmp_path / "wrong.fits")
    listing.write_text(f"{path} {tmp_path / 'wrong.fits'}\n", encoding="utf-8")
    with pytest.raises(StructureError, match="has no extension IVM,1"):
        read_catalogue([f"@{listing}"], default_settings())
    listing.write_text(f"{path} {tmp_path / 'absent.fits'}\n", encoding="utf-8")
    with pytest.raises(MissingFileError, match="inverse-variance map"):
        read_catalogue([f"@{listing}"], default_settings())
