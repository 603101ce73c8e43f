"""STIS and NICMOS: what headers mean, several exposures in a file, flat fields of IVM weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from mosaic.errors import InstrumentError, MetadataError, ParameterError, StructureError
from mosaic.exposure.catalogue import Catalogue, read_catalogue
from mosaic.exposure.reader import read_dq, read_science
from mosaic.exposure.weights import input_weight
from mosaic.types import Window
from tests.support.exposures import default_settings, write_exposure

T = 120.0
STIS = {"OPT_ELEM": "MIRVIS", "FILTER": "Clear", "OBSTYPE": "IMAGING", "ATODGAIN": 4.016, "READNSE": 8.0}
NICMOS = {"CAMERA": 2, "FILTER": "F160W", "FILTER1": "", "UNITCORR": "PERFORM", "ADCGAIN": 5.0}


def write_stis(path: Path, detector: str = "CCD", **changes: Any) -> Path:
    primary = STIS | changes.pop("primary", {})
    return write_exposure(
        path, instrument="STIS", detector=detector, n_chips=1, bunit="COUNTS", primary=primary, **changes
    )


def write_nicmos(path: Path, bunit: str = "COUNTS/S", **changes: Any) -> Path:
    primary = NICMOS | changes.pop("primary", {})
    return write_exposure(path, instrument="NICMOS", n_chips=1, bunit=bunit, primary=primary, **changes)


def read(*paths: Path, on_error: Any = "stop", **settings: Any) -> Catalogue:
    return read_catalogue([str(path) for path in paths], default_settings(**settings), on_error)


# Gains, noises and dark rates of the instrument handbooks; the CCD is read at the top.
@pytest.mark.parametrize(
    ("detector", "gain", "noise", "dark_rate", "cte"),
    [
        ("CCD", 4.016, 8.0, 0.009, 1),
        ("NUV-MAMA", 1.0, 0.0, 0.0013, 0),
        ("FUV-MAMA", 1.0, 0.0, 7e-6, 0),
    ],
)
def test_stis_facts(
    tmp_path: Path, detector: str, gain: float, noise: float, dark_rate: float, cte: int
) -> None:
    exposure = read(write_stis(tmp_path / "o1_flt.fits", detector)).exposures[0]
    (chip,) = exposure.chips
    assert (chip.native_unit, chip.is_rate, chip.gain, chip.to_electrons) == ("COUNTS", False, gain, gain)
    assert (chip.read_noise_e, chip.cte_direction, chip.ccdchip) == (noise, cte, 1)
    assert chip.dark_e == pytest.approx(dark_rate * T)
    assert (exposure.detector, exposure.filters) == (detector, "MIRVIS,Clear")


@pytest.mark.parametrize(
    ("camera", "gain", "noise", "dark_rate"),
    [(1, 5.4, 26.0, 0.08), (2, 5.4, 26.0, 0.08), (3, 6.5, 29.0, 0.15)],
)
def test_nicmos_facts(tmp_path: Path, camera: int, gain: float, noise: float, dark_rate: float) -> None:
    exposure = read(write_nicmos(tmp_path / "n1_cal.fits", primary={"CAMERA": camera})).exposures[0]
    (chip,) = exposure.chips
    assert (chip.native_unit, chip.is_rate, chip.gain) == ("COUNTS/S", True, gain)
    assert chip.to_electrons == pytest.approx(gain * T)
    assert (chip.read_noise_e, chip.cte_direction, chip.ccdchip) == (noise, 0, camera)
    assert chip.dark_e == pytest.approx(dark_rate * T)
    assert (exposure.detector, exposure.filters) == (str(camera), "F160W")


@pytest.mark.parametrize(
    ("bunit", "unitcorr", "unit", "n_notes"),
    [
        ("COUNTS/S", "PERFORM", "COUNTS/S", 0),
        ("DN/S", "OMIT", "COUNTS/S", 0),
        ("COUNTS", "OMIT", "COUNTS", 0),
        ("COUNTS", "PERFORM", "COUNTS", 1),
        ("", "PERFORM", "COUNTS/S", 1),
        ("", "", "COUNTS/S", 1),
        ("", "OMIT", "COUNTS", 1),
    ],
)
def test_nicmos_rate_is_told_by_bunit_then_by_unitcorr(
    tmp_path: Path, bunit: str, unitcorr: str, unit: str, n_notes: int
) -> None:
    path = write_nicmos(tmp_path / "n1_cal.fits", bunit, primary={"UNITCORR": unitcorr}, distorted=False)
    catalogue = read(path)
    assert catalogue.exposures[0].chips[0].native_unit == unit
    assert len(catalogue.notes) == n_notes


def test_users_gain_and_noise_go_before_those_of_the_instrument(tmp_path: Path) -> None:
    paths = [
        write_stis(tmp_path / "o1_flt.fits"),
        write_stis(tmp_path / "o2_flt.fits", "NUV-MAMA"),
        write_nicmos(tmp_path / "n1_cal.fits"),
    ]
    for exposure in read(*paths, gain="3.5", rdnoise="7").exposures:
        assert (exposure.chips[0].gain, exposure.chips[0].read_noise_e) == (3.5, 7.0)
    found = {e.instrument: e.chips[0] for e in read(*paths[::2], gain="3.5", peer_compat=True).exposures}
    # DrizzlePac has the gain of NICMOS hard-wired, and takes the dark rate of STIS for the dark.
    assert (found["STIS"].gain, found["STIS"].dark_e) == (3.5, 0.009)
    assert found["NICMOS"].gain == 5.4


def test_stis_without_gain_is_refused_by_name(tmp_path: Path) -> None:
    def drop(hdul: fits.HDUList) -> None:
        del hdul[0].header["ATODGAIN"]

    with pytest.raises(MetadataError, match=r"o1\[sci,1\]: gain unknown: ATODGAIN absent"):
        read(write_stis(tmp_path / "o1_flt.fits", edit=drop))


def test_stis_time_is_that_of_the_science_header(tmp_path: Path) -> None:
    def times(hdul: fits.HDUList) -> None:
        hdul["SCI"].header.update(EXPTIME=33.0, EXPSTART=55010.0, EXPEND=55010.5)

    exposure = read(write_stis(tmp_path / "o1_flt.fits", edit=times)).exposures[0]
    assert (exposure.exptime_s, exposure.expstart_mjd, exposure.expend_mjd) == (33.0, 55010.0, 55010.5)
    nicmos = read(write_nicmos(tmp_path / "n1_cal.fits", edit=times)).exposures[0]
    assert (nicmos.exptime_s, nicmos.expstart_mjd) == (T, 55000.25)


def test_spectra_are_set_aside(tmp_path: Path) -> None:
    image = write_stis(tmp_path / "o1_flt.fits")
    spectrum = write_stis(tmp_path / "o2_flt.fits", primary={"OBSTYPE": "SPECTROSCOPIC"})
    with pytest.raises(InstrumentError, match="o2: STIS spectrum"):
        read(image, spectrum)
    catalogue = read(image, spectrum, on_error="skip")
    assert [e.rootname for e in catalogue.exposures] == ["o1"]
    assert [e.exposure for e in catalogue.rejected] == ["o2"]


def write_imsets(folder: Path, names: tuple[str, ...] = ("O1A", "O1B", "O1C"), edit: Any = None) -> Path:
    """Put single STIS exposures, which stay beside it, into one file."""
    folder.mkdir(exist_ok=True)
    together = fits.HDUList()
    for number, name in enumerate(names, 1):
        path = write_stis(
            folder / f"s{number}_flt.fits",
            seed=number,
            expstart=55000.0 + number,
            crval=(150.0 + number / 1e4, 2.2),
        )
        with fits.open(path) as hdul:
            if number == 1:
                together.append(hdul[0].copy())
            for kind in ("SCI", "ERR", "DQ"):
                hdu = hdul[kind].copy()
                hdu.ver = number
                if kind == "SCI":
                    hdu.header.update(
                        EXPTIME=10.0 * number, EXPSTART=55000.0 + number, EXPEND=55000.5 + number
                    )
                    hdu.header["EXPNAME"] = name
                    for key in [k for k in hdu.header if k.startswith(("CPDIS", "DP", "D2IM"))]:
                        del hdu.header[key]
                together.append(hdu)
    if edit is not None:
        edit(together)
    path = folder / "o10_flt.fits"
    together.writeto(path, overwrite=True, output_verify="ignore")
    return path


def test_every_imset_is_an_exposure(tmp_path: Path) -> None:
    path = write_imsets(tmp_path)
    before = sorted(p.name for p in tmp_path.iterdir())
    exposures = read(path).exposures
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert [e.rootname for e in exposures] == ["o1a", "o1b", "o1c"]
    assert [e.filename for e in exposures] == ["O1A_flt.fits", "O1B_flt.fits", "O1C_flt.fits"]
    assert [e.exptime_s for e in exposures] == [10.0, 20.0, 30.0]
    assert [e.expstart_mjd for e in exposures] == [55001.0, 55002.0, 55003.0]
    for number, exposure in enumerate(exposures, 1):
        (chip,) = exposure.chips
        assert (chip.name, chip.file_extver) == (f"{exposure.rootname}[sci,1]", number)
        assert chip.wcs.crval_deg[0] == pytest.approx(150.0 + number / 1e4, abs=1e-12)
        whole = Window(0, chip.shape_yx.ny, 0, chip.shape_yx.nx)
        with fits.open(tmp_path / f"s{number}_flt.fits") as single:
            np.testing.assert_array_equal(read_science(chip, whole), single["SCI"].data)
            np.testing.assert_array_equal(read_dq(chip, whole), single["DQ"].data)


@pytest.mark.parametrize("kind", ["ERR", "DQ"])
def test_incomplete_imsets_are_named(tmp_path: Path, kind: str) -> None:
    def drop(hdul: fits.HDUList) -> None:
        del hdul[kind, 2]

    path = write_imsets(tmp_path, edit=drop)
    with pytest.raises(StructureError, match=f"o1b: imset 2 of o10 is incomplete: {kind} missing"):
        read(path)
    catalogue = read(path, on_error="skip")
    assert [e.rootname for e in catalogue.exposures] == ["o1a", "o1c"]
    assert [e.exposure for e in catalogue.rejected] == ["o1b"]


def test_a_bad_imset_leaves_the_others(tmp_path: Path) -> None:
    def spoil(hdul: fits.HDUList) -> None:
        hdul["SCI", 3].header["EXPTIME"] = 0.0

    path = write_imsets(tmp_path, edit=spoil)
    with pytest.raises(MetadataError, match="o1c: EXPTIME is 0 s"):
        read(path)
    assert [e.rootname for e in read(path, on_error="skip").exposures] == ["o1a", "o1b"]


def test_imsets_that_share_a_name_are_told_apart(tmp_path: Path) -> None:
    catalogue = read(write_imsets(tmp_path, ("O1A", "O1A", "")))
    assert [e.rootname for e in catalogue.exposures] == ["o1a_1", "o1a_2", "o10_3"]
    assert len([note for note in catalogue.notes if "is called" in note]) == 3


def test_an_imset_and_its_split_file_are_refused_together(tmp_path: Path) -> None:
    path = write_imsets(tmp_path)
    (tmp_path / "s2_flt.fits").rename(tmp_path / "o1b_flt.fits")
    with pytest.raises(ParameterError, match="both hold exposure 'o1b'"):
        read(path, tmp_path / "o1b_flt.fits")


def test_group_and_ivm_of_imsets(tmp_path: Path) -> None:
    path = write_imsets(tmp_path)
    assert len(read(path, group="sci,1").exposures) == 3
    with pytest.raises(ParameterError, match=r"group='sci,2': each imset of o10 is an exposure"):
        read(path, group="sci,2")
    listing = tmp_path / "list.txt"
    listing.write_text(f"{path} {tmp_path / 'ivm.fits'}\n")
    with pytest.raises(ParameterError, match="takes no inverse-variance map"):
        read_catalogue([f"@{listing}"], default_settings())


def test_nicmos_is_its_first_imset_and_group_is_ignored(tmp_path: Path) -> None:
    def add(hdul: fits.HDUList) -> None:
        for kind in ("SCI", "ERR", "DQ"):
            hdu = hdul[kind, 1].copy()
            hdu.ver = 2
            hdul.append(hdu)

    path = write_nicmos(tmp_path / "n1_ima.fits", edit=add, distorted=False)
    catalogue = read(path, group="sci,2")
    assert [chip.extver for chip in catalogue.exposures[0].chips] == [1]
    assert any("group='sci,2' is ignored" in note for note in catalogue.notes)
    assert any("the first of 2 imsets is used" in note for note in catalogue.notes)


def test_pa_v3_comes_from_the_support_file(tmp_path: Path) -> None:
    def drop(hdul: fits.HDUList) -> None:
        del hdul[0].header["PA_V3"]

    path = write_stis(tmp_path / "o1_flt.fits", edit=drop)
    catalogue = read(path)
    assert catalogue.exposures[0].chips[0].wcs.pa_v3 is None
    assert catalogue.notes == ("o1: PA_V3 absent, the frame is oriented by the CD matrix",)
    fits.PrimaryHDU(header=fits.Header([("PA_V3", 77.25)])).writeto(tmp_path / "o1_spt.fits")
    catalogue = read(path)
    assert catalogue.exposures[0].chips[0].wcs.pa_v3 == 77.25
    assert catalogue.notes == ()
    # The exposure itself is left alone.
    assert "PA_V3" not in fits.getheader(path)


def test_natural_scale_of_plain_pixels_is_that_of_their_area(tmp_path: Path) -> None:
    path = write_nicmos(tmp_path / "n1_cal.fits", distorted=False)
    header = fits.getheader(path, "SCI")
    cd = np.array([[header[f"CD{i}_{j}"] for j in (1, 2)] for i in (1, 2)])
    area = 3600.0 * np.sqrt(abs(np.linalg.det(cd)))
    along_x = 3600.0 * np.hypot(cd[0, 0], cd[1, 0])
    assert abs(area / along_x - 1.0) > 1e-3
    assert read(path).exposures[0].chips[0].idcscale_arcsec == pytest.approx(area, rel=1e-12)
    peer = read(path, peer_compat=True).exposures[0].chips[0].idcscale_arcsec
    assert peer == pytest.approx(along_x, rel=1e-12)


def _write_flat(path: Path, values: np.ndarray) -> str:
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(values.astype(np.float32), name="SCI", ver=1)]
    # A flat field's ERR is no flat field, though DrizzlePac takes it for STIS.
    hdus.append(fits.ImageHDU(np.full(values.shape, 9.0, dtype=np.float32), name="ERR", ver=1))
    fits.HDUList(hdus).writeto(path)
    return path.name


@pytest.mark.parametrize("origin_yx", [(0, 0), (964, 927), (301, 402)])
def test_stis_flat_is_the_product_of_both_and_the_coarse_one_is_stretched(
    tmp_path: Path, origin_yx: tuple[int, int]
) -> None:
    # A plane is what bilinear stretching reproduces exactly, to the very edge: closed form.
    middles = (np.arange(64) + 0.5) * 16 - 0.5
    low = 1.0 + 1e-4 * middles[None, :] - 2e-4 * middles[:, None]
    pixel = np.random.default_rng(4).uniform(0.8, 1.2, (1024, 1024))

    def place(hdul: fits.HDUList) -> None:
        hdul["SCI"].header.update(LTV1=-float(origin_yx[1]), LTV2=-float(origin_yx[0]))

    files = {
        "PFLTFILE": _write_flat(tmp_path / "p.fits", pixel),
        "LFLTFILE": "oref$" + _write_flat(tmp_path / "l.fits", low),
    }
    path = write_stis(tmp_path / "o1_flt.fits", primary=files, edit=place)
    chip = read(path, final_wht_type="IVM").exposures[0].chips[0]
    window = Window(3, 58, 5, 90)
    weight = input_weight(chip, window, np.ones((55, 85), dtype=bool), "IVM", sky=2.5, scale_ratio=0.8)
    y, x = np.mgrid[3:58, 5:90]
    y, x = y + origin_yx[0], x + origin_yx[1]
    flat = pixel.astype(np.float32)[y, x] * (1.0 + 1e-4 * x - 2e-4 * y)
    expected = flat**2 / (0.009 * T + 2.5 * 4.016 * flat + 8.0**2) * T**2 / 0.8**4
    np.testing.assert_allclose(weight, expected, rtol=3e-6)


@pytest.mark.parametrize(("by", "bx", "origin"), [(2, 2, (0, 0)), (4, 1, (512, 300)), (1, 2, (7, 128))])
def test_the_flat_of_a_binned_exposure_is_the_mean_over_its_pixels(
    tmp_path: Path, by: int, bx: int, origin: tuple[int, int]
) -> None:
    pixel = np.random.default_rng(4).uniform(0.8, 1.2, (1024, 1024))

    def place(hdul: fits.HDUList) -> None:
        # Image = LTM * detector + LTV, pixels counted from 1 at their centres.
        for axis, start, b in ((1, origin[1], bx), (2, origin[0], by)):
            hdul["SCI"].header[f"LTM{axis}_{axis}"] = 1.0 / b
            hdul["SCI"].header[f"LTV{axis}"] = 0.5 - (start + 0.5) / b

    files = {"PFLTFILE": _write_flat(tmp_path / "p.fits", pixel), "BINAXIS1": bx, "BINAXIS2": by}
    path = write_stis(tmp_path / "o1_flt.fits", primary=files, edit=place)
    chip = read(path, final_wht_type="IVM").exposures[0].chips[0]
    assert chip.flat_origin_yx == origin
    window = Window(3, 58, 5, 90)
    weight = input_weight(chip, window, np.ones((55, 85), dtype=bool), "IVM", sky=2.5)
    y0, x0 = origin[0] + 3 * by, origin[1] + 5 * bx
    part = pixel.astype(np.float32)[y0 : y0 + 55 * by, x0 : x0 + 85 * bx].astype(float)
    flat = part.reshape(55, by, 85, bx).mean(axis=(1, 3))
    dark = 0.009 * T * by * bx
    expected = flat**2 / (dark + 2.5 * 4.016 * flat + 8.0**2) * T**2
    np.testing.assert_allclose(weight, expected, rtol=3e-6)


@pytest.mark.parametrize("side", [512, 2048])
def test_a_coarser_or_finer_flat_is_repeated_or_averaged(tmp_path: Path, side: int) -> None:
    values = np.random.default_rng(4).uniform(0.8, 1.2, (side, side)).astype(np.float32)
    name = _write_flat(tmp_path / "p.fits", values)
    path = write_stis(tmp_path / "o1_flt.fits", primary={"PFLTFILE": name})
    chip = read(path, final_wht_type="IVM").exposures[0].chips[0]
    weight = input_weight(chip, Window(3, 58, 5, 90), np.ones((55, 85), dtype=bool), "IVM", sky=2.5)
    if side < 1024:
        full = np.kron(values, np.ones((2, 2)))
    else:
        full = values.astype(float).reshape(1024, 2, 1024, 2).mean(axis=(1, 3))
    flat = full[3:58, 5:90]
    expected = flat**2 / (0.009 * T + 2.5 * 4.016 * flat + 8.0**2) * T**2
    np.testing.assert_allclose(weight, expected, rtol=3e-6)


def test_a_flat_or_binning_that_is_no_multiple_is_refused(tmp_path: Path) -> None:
    name = _write_flat(tmp_path / "p.fits", np.ones((700, 1024)))
    path = write_stis(tmp_path / "o1_flt.fits", primary={"PFLTFILE": name})
    with pytest.raises(StructureError, match=r"1024 x 700 pixels, the detector 1024 x 1024.*no multiple"):
        read(path, final_wht_type="IVM")
    path = write_stis(tmp_path / "o2_flt.fits", primary={"BINAXIS2": 3})
    with pytest.raises(MetadataError, match="BINAXIS2 is 3, which does not divide 1024"):
        read(path)


def test_nicmos_flat_is_inverted(tmp_path: Path) -> None:
    values = np.random.default_rng(5).uniform(0.5, 2.0, (60, 97))
    name = _write_flat(tmp_path / "f.fits", values)
    path = write_nicmos(tmp_path / "n1_cal.fits", primary={"FLATFILE": name})
    chip = read(path, final_wht_type="IVM").exposures[0].chips[0]
    weight = input_weight(chip, Window(0, 60, 0, 97), np.ones((60, 97), dtype=bool), "IVM", sky=0.5)
    flat = 1.0 / values.astype(np.float32)
    expected = flat**2 / (0.08 * T + 0.5 * 5.4 * T * flat + 26.0**2) * T**2
    np.testing.assert_allclose(weight, expected, rtol=3e-6)


def test_inverse_variance_is_that_of_the_unit_of_the_product(tmp_path: Path) -> None:
    path = write_stis(tmp_path / "o1_flt.fits")
    chip = read(path).exposures[0].chips[0]
    window, mask = Window(0, 20, 0, 30), np.ones((20, 30), dtype=bool)
    err = fits.getdata(path, "ERR")[:20, :30].astype(float)
    counts = input_weight(chip, window, mask, "ERR", unit_e=chip.gain)
    electrons = input_weight(chip, window, mask, "ERR")
    np.testing.assert_allclose(counts, (T / err) ** 2, rtol=1e-6)
    np.testing.assert_allclose(electrons, (T / (4.016 * err)) ** 2, rtol=1e-6)


def test_users_map_belongs_to_the_counts_of_the_file(tmp_path: Path) -> None:
    path = write_stis(tmp_path / "o1_flt.fits")
    values = np.random.default_rng(6).uniform(0.01, 0.02, (60, 97)).astype(np.float32)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(values, name="IVM", ver=1)]).writeto(tmp_path / "ivm.fits")
    (tmp_path / "list.txt").write_text(f"{path} {tmp_path / 'ivm.fits'}\n")
    settings = default_settings(final_wht_type="IVM")
    chip = read_catalogue([f"@{tmp_path / 'list.txt'}"], settings).exposures[0].chips[0]
    window, mask = Window(0, 60, 0, 97), np.ones((60, 97), dtype=bool)
    np.testing.assert_allclose(
        input_weight(chip, window, mask, "IVM", unit_e=chip.gain), values * T**2, rtol=1e-6
    )
    np.testing.assert_allclose(input_weight(chip, window, mask, "IVM"), values * T**2 / 4.016**2, rtol=1e-6)
