"""Detectors read in counts: units of products, gains, and several exposures in one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mosaic.pipeline import Result
from mosaic.simulate import simulate
from tests.laws.conftest import assert_same_bits, planes

Run = Callable[..., Result]
GAIN = 4.016


@pytest.fixture(scope="module")
def stis(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three small STIS/CCD exposures."""
    folder = tmp_path_factory.mktemp("stis")
    made = simulate(folder, instrument="stis/ccd", exposures=3, chip_shape=(110, 130), seed=4, workers=1)
    return [str(path) for path in made.files]


def _science(result: Result) -> tuple[np.ndarray, np.ndarray, str]:
    with fits.open(result.products[0]) as product:
        return product["SCI"].data, product["WHT"].data, product["SCI"].header["BUNIT"]


def test_native_counts_times_the_gain_are_electrons(run: Run, stis: list[str]) -> None:
    native, weight, unit = _science(run(stis, build=True))
    electrons, same_weight, other_unit = _science(run(stis, build=True, proc_unit="electrons"))
    assert (unit, other_unit) == ("COUNTS/S", "ELECTRONS/S")
    np.testing.assert_array_equal(weight, same_weight)
    # The products differ by a few roundings to single precision; sky subtraction cancels most digits.
    np.testing.assert_allclose(native * GAIN, electrons, rtol=2e-6, atol=2e-6)


def test_flux_density_does_not_depend_on_the_unit(run: Run, stis: list[str], tmp_path: Path) -> None:
    """Value times PHOTFLAM is the same whatever the unit, also where exposures have several gains."""
    changed = list(stis)
    changed[2] = str(tmp_path / Path(stis[2]).name)
    with fits.open(stis[2]) as hdul:
        hdul[0].header["ATODGAIN"] = GAIN / 2
        place = hdul[0] if "PHOTFLAM" in hdul[0].header else hdul["SCI"]
        place.header["PHOTFLAM"] /= 2.0
        hdul["SCI"].data *= 2
        hdul["ERR"].data *= 2
        hdul.writeto(changed[2])
    own = fits.getval(stis[0], "PHOTFLAM", 0 if "PHOTFLAM" in fits.getheader(stis[0]) else 1)
    for files in (stis, changed):
        for unit, expected in (("native", own), ("electrons", own / GAIN)):
            with fits.open(run(files, build=True, proc_unit=unit).products[0]) as product:
                found = product[0].header.get("PHOTFLAM", product["SCI"].header.get("PHOTFLAM"))
                assert found == pytest.approx(expected, rel=1e-9)
    with fits.open(run(stis, build=True, proc_unit="electrons", peer_compat=True).products[0]) as product:
        found = product[0].header.get("PHOTFLAM", product["SCI"].header.get("PHOTFLAM"))
        assert found == pytest.approx(own, rel=1e-9)


def test_native_product_is_that_of_the_files_own_counts(run: Run, stis: list[str]) -> None:
    # One pixel of one exposure, as it is in the file: point kernel on the pixel's own grid.
    result = run(stis[:1], build=True, final_kernel="point", skysub=False, static=False, final_units="counts")
    with fits.open(result.products[0]) as product, fits.open(stis[0]) as hdul:
        exptime = hdul["SCI"].header["EXPTIME"]
        assert product["SCI"].header["BUNIT"] == "COUNTS"
        assert product[0].header["EXPTIME"] == exptime
        once = product["WHT"].data == np.float32(exptime)
        values = np.sort(hdul["SCI"].data.astype(np.float64).ravel())
        found = product["SCI"].data[once]
        at = np.clip(np.searchsorted(values, found), 1, values.size - 1)
        gap = np.minimum(np.abs(values[at] - found), np.abs(values[at - 1] - found))
        assert once.sum() > 5000
        np.testing.assert_array_less(gap, 1e-6 * np.abs(found) + 1e-4)


def test_peer_products_have_the_same_values_and_its_labels(run: Run, stis: list[str]) -> None:
    settings = {"build": True, "driz_cr": False, "blot": False, "median": False}
    ours = _science(run(stis, **settings))
    peer = _science(run(stis, peer_compat=True, **settings))
    np.testing.assert_allclose(peer[0], ours[0], rtol=2e-6, atol=1e-6)
    assert (ours[2], peer[2]) == ("COUNTS/S", "counts")


def test_separate_drizzles_say_that_they_are_electrons(run: Run, stis: list[str]) -> None:
    result = run(stis, clean=False)
    single = next(path for path in result.products if path.name.endswith("_single_sci.fits"))
    assert fits.getheader(single)["BUNIT"] == "ELECTRONS/S"
    blot = next(path for path in result.products if path.name.endswith("_blt.fits"))
    assert fits.getheader(blot)["BUNIT"] == "COUNTS"


def test_a_change_of_gain_changes_nothing_but_the_unit(run: Run, stis: list[str], tmp_path: Path) -> None:
    # The second exposure read with half the gain: twice the counts for the same electrons.
    changed = list(stis)
    changed[1] = str(tmp_path / Path(stis[1]).name)
    with fits.open(stis[1]) as hdul:
        hdul[0].header["ATODGAIN"] = GAIN / 2
        hdul["SCI"].data *= 2
        hdul["ERR"].data *= 2
        hdul.writeto(changed[1])
    # Electrons of 2 x and g / 2 agree to the last bit; so do the masks.
    before, after = run(stis), run(changed)
    assert any("has gain 2.008" in note for note in after.warnings)
    found = planes(after)
    for name, values in planes(before).items():
        if name in {"sci", "var"}:
            np.testing.assert_allclose(found[name], values, rtol=3e-6, atol=2e-6)
        else:
            np.testing.assert_array_equal(found[name], values)


def _together(paths: list[str], target: Path) -> str:
    """Write single exposures as the imsets of one file."""
    hdus = fits.HDUList()
    for number, path in enumerate(paths, 1):
        with fits.open(path) as hdul:
            if number == 1:
                hdus.append(hdul[0].copy())
            for kind in ("SCI", "ERR", "DQ"):
                hdu = hdul[kind].copy()
                hdu.ver = number
                hdus.append(hdu)
    hdus.writeto(target)
    return str(target)


def test_imsets_of_one_file_make_the_product_of_separate_files(
    run: Run, stis: list[str], tmp_path: Path
) -> None:
    together = _together(stis, tmp_path / "osim01010_flt.fits")
    before = Path(together).read_bytes()
    whole = run([together], build=True, clean=False, driz_cr_corr=True, dq_update="copy")
    apart = run(stis, build=True, clean=False)
    assert_same_bits(whole, apart)
    assert Path(together).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["osim01010_flt.fits"]
    with fits.open(whole.products[0]) as one, fits.open(apart.products[0]) as two:
        for keyword in ("EXPTIME", "EXPSTART", "EXPEND", "NDRIZIM", "D002DATA", "D003DEXP", "TEXPTIME"):
            assert one[0].header[keyword] == two[0].header[keyword], keyword
        assert list(one["HDRTAB"].data["EXTVER"]) == [1, 1, 1]
    names = {path.name: path for path in whole.products}
    # The updated copy is one file with the flags of every imset; the cleaned copies are single exposures.
    with fits.open(names["osim01010_flt.fits"]) as copy:
        for number, path in enumerate(stis, 1):
            root = Path(path).name.split("_")[0]
            hit = fits.getdata(names[f"{root}_sci1_crmask.fits"]) == 0
            flags = fits.getdata(path, "DQ")
            assert hit.sum() > 50
            np.testing.assert_array_equal(copy["DQ", number].data, np.where(hit, flags | 4096, flags))
            assert copy["SCI", number].header["MDRIZSKY"] > 0
            with fits.open(names[f"{root}_crclean.fits"]) as cleaned:
                assert [(hdu.name, hdu.ver) for hdu in cleaned[1:]] == [("SCI", 1), ("ERR", 1), ("DQ", 1)]
                np.testing.assert_array_equal(cleaned["ERR"].data, fits.getdata(path, "ERR"))


def test_the_weighted_counts_of_nicmos_are_in_the_mosaic(run: Run, tmp_path: Path) -> None:
    made = simulate(tmp_path, instrument="nicmos/nic3", exposures=2, chip_shape=(90, 110), seed=6, workers=1)
    paths = [str(path) for path in made.files]
    settings = {"skysub": False, "static": False, "median": False, "blot": False, "driz_cr": False}
    found = planes_without_masks(run(paths, frame_padding="edges", final_pixfrac=0.9, **settings))
    covered = found["wht"] > 0
    total = float((found["wht"][covered].astype(np.float64) * found["sci"][covered]).sum())
    expected = 0.0
    for path in paths:
        with fits.open(path) as hdul:
            good = hdul["DQ"].data == 0
            expected += hdul[0].header["EXPTIME"] * float(hdul["SCI"].data[good].astype(np.float64).sum())
    # Every drop lands in the padded frame: sum(wht * sci) is the sum of weight times value of the inputs.
    assert total == pytest.approx(expected, rel=1e-6)


def planes_without_masks(result: Result) -> dict[str, np.ndarray]:
    """SCI and WHT of the products."""
    named = {path.name.rsplit("_", 1)[1].removesuffix(".fits"): path for path in result.products}
    return {name: fits.getdata(named[name]) for name in ("sci", "wht")}
