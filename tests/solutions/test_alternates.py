"""Alternate WCS: names, keys and clashes, and that a restored one maps pixels as it did."""

from __future__ import annotations

import string
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS

from mosaic.errors import MissingFileError, OutputError, ParameterError, StructureError, TruncatedFileError
from mosaic.solutions import alternates
from mosaic.solutions.alternates import ArchiveMode
from mosaic.solutions.apply import archive_as_headerlet
from mosaic.solutions.choose import use_solution
from mosaic.solutions.editing import edit_targets, edited, open_solutions, write_file
from mosaic.solutions.listing import list_solutions
from mosaic.solutions.wcscorr import record_solutions


def _headers(hdul: fits.HDUList) -> list[fits.Header]:
    return [hdul["SCI", 1].header, hdul["SCI", 2].header]


def test_an_archived_wcs_is_the_primary_to_astropy(exposure: Path) -> None:
    with open_solutions(exposure) as hdul:
        headers = _headers(hdul)
        expected = WCS(headers[1], hdul).wcs_pix2world([[5.0, 7.0], [90.0, 50.0]], 1)
        assert alternates.archive(headers, key="K", name="KEPT") == ("K", "KEPT")
        headers[1]["CRVAL1"] += 0.01
        found = WCS(headers[1], hdul, key="K").wcs_pix2world([[5.0, 7.0], [90.0, 50.0]], 1)
        np.testing.assert_array_equal(found, expected)


def test_pc_and_cdelt_become_a_cd_matrix(exposure: Path) -> None:
    with open_solutions(exposure) as hdul:
        header = hdul["SCI", 1].header
        cd = [header.pop(f"CD{i}_{j}") for i in (1, 2) for j in (1, 2)]
        header.update({f"PC{i}_{j}": cd[2 * i + j - 3] / 1e-5 for i in (1, 2) for j in (1, 2)})
        header["CDELT1"] = header["CDELT2"] = 1e-5
        alternates.archive([header], key="A")
        kept = [header[f"CD{i}_{j}A"] for i in (1, 2) for j in (1, 2)]
        np.testing.assert_allclose(kept, cd, rtol=1e-15)


def test_clashes(exposure: Path) -> None:
    with open_solutions(exposure) as hdul:
        headers = _headers(hdul)
        assert alternates.archive(headers) == ("A", "IDC_test")
        assert alternates.archive(headers) == ("A", "IDC_test")  # the same WCS under the same name
        for header in headers:
            header["CRVAL1"] += 0.1
        with pytest.raises(ParameterError, match="A is called 'IDC_test' already"):
            alternates.archive(headers)
        assert alternates.archive(headers, mode=ArchiveMode.QUIET_ABORT) is None
        assert alternates.archive(headers, mode=ArchiveMode.AUTO_RENAME) == ("B", "IDC_test-1")
        with pytest.raises(ParameterError, match=r"alternate WCS A \(IDC_test\) already"):
            alternates.archive(headers, key="A", name="new")
        assert alternates.archive(headers, mode=ArchiveMode.OVERWRITE_KEY) == ("A", "IDC_test")
        assert headers[1]["CRVAL1A"] == headers[1]["CRVAL1"]
        with pytest.raises(ParameterError, match="A to Z"):
            alternates.archive(headers, key="a")


def test_opus_is_never_overwritten_nor_deleted(exposure: Path) -> None:
    with open_solutions(exposure) as hdul:
        headers = _headers(hdul)
        alternates.archive(headers, key="O", name="OPUS")
        before = headers[0]["CRVAL1O"]
        headers[0]["CRVAL1"] += 1.0
        assert alternates.archive(headers, key="O", mode=ArchiveMode.OVERWRITE_KEY) is None
        assert alternates.archive(headers, name="opus", mode=ArchiveMode.OVERWRITE_KEY) is None
        assert headers[0]["CRVAL1O"] == before
        with pytest.raises(ParameterError, match="cannot be deleted"):
            alternates.delete(headers, "O")


def test_25_keys_and_no_more(exposure: Path) -> None:
    with open_solutions(exposure) as hdul:
        headers = _headers(hdul)
        keys = []
        for number in range(25):
            headers[0]["CRVAL1"] += 1e-3
            kept = alternates.archive(headers, name=f"n{number}")
            assert kept is not None
            keys.append(kept[0])
        assert keys == [key for key in string.ascii_uppercase if key != "O"]
        with pytest.raises(ParameterError, match="all 25 keys"):
            alternates.archive(headers, name="one more")


@pytest.mark.parametrize(
    ("name", "taken", "expected"),
    [("IDC", ["X"], "IDC"), ("IDC", ["idc"], "IDC-1"), ("IDC", ["IDC", "IDC-1"], "IDC-2"),
     ("IDC-1", ["IDC-1"], "IDC-2")],
)  # fmt: skip
def test_unique_names(name: str, taken: list[str], expected: str) -> None:
    assert alternates.unique_name(name, taken) == expected


@pytest.mark.parametrize(
    ("name", "words"),
    [("IDC_x", "undistorted not aligned"),
     ("OPUS", "pipeline default not aligned"), ("TWEAK", "user-defined"),
     ("IDC_x-GSC240", "undistorted a priori solution based on GSC240"),
     ("IDC_x-FIT_REL_GAIADR2", "undistorted a posteriori solution relatively aligned to GAIADR2"),
     ("IDC_x-FIT_SVM_NONE", "undistorted a posteriori solution aligned by visit to NONE")],
)  # fmt: skip
def test_names_of_the_archive_in_words(name: str, words: str) -> None:
    assert alternates.describe_name(name) == words


def test_use_restores_and_keeps_the_present_one(exposure: Path, tmp_path: Path) -> None:
    with edited(exposure, tmp_path / "a.fits") as hdul:
        headers = _headers(hdul)
        alternates.archive(headers)
        for header in headers:
            header["CRVAL2"] -= 1e-4
            header["WCSNAME"], header["CRDER1"], header["NMATCH"] = "FIT", 1e-7, 12
        hdul["ERR", 1].header.update({"CRVAL1": 1.0, "CRVAL2": 2.0, "WCSNAME": "FIT"})
    with edited(tmp_path / "a.fits", tmp_path / "b.fits") as hdul:
        assert use_solution(hdul, name="idc_TEST") == "IDC_test"
    with fits.open(tmp_path / "b.fits") as hdul, fits.open(exposure) as old:
        for extver in (1, 2):
            header = hdul["SCI", extver].header
            assert (header["WCSNAMEB"], header["NMATCHB"], header["CRDER1B"]) == ("FIT", 12, 1e-7)
            assert "NMATCH" not in header
            assert "CRDER1" not in header
            first = WCS(header, hdul).all_pix2world([[3.0, 4.0]], 0)
            np.testing.assert_array_equal(
                first, WCS(old["SCI", extver].header, old).all_pix2world([[3.0, 4.0]], 0)
            )
            orientat = np.degrees(np.arctan2(header["CD1_2"], header["CD2_2"]))
            assert header["ORIENTAT"] == pytest.approx(orientat, abs=1e-12)
        assert hdul["ERR", 1].header["CRVAL2"] == hdul["SCI", 1].header["CRVAL2"]
        assert hdul["ERR", 1].header["WCSNAME"] == "IDC_test"
        assert "CRVAL1" not in hdul["ERR", 2].header
    with open_solutions(tmp_path / "b.fits") as hdul:
        with pytest.raises(ParameterError, match=r"primary \(IDC_test\), A \(IDC_test\), B \(FIT\)"):
            use_solution(hdul, name="nope")
        with pytest.raises(ParameterError, match="no WCS with key 'Q'"):
            use_solution(hdul, key="Q")


def test_the_list_has_every_solution(exposure: Path, tmp_path: Path) -> None:
    with edited(exposure, tmp_path / "a.fits") as hdul:
        headers = _headers(hdul)
        alternates.archive(headers)
        for header in headers:
            header["CRDER1"], header["CRDER2"], header["NMATCH"] = 1e-6, 2e-6, 7
        archive_as_headerlet(hdul, "KEPT", wcskey="A")
    found = list_solutions(tmp_path / "a.fits")
    assert [(s.source, s.key, s.wcsname, s.hdrname, s.n_chips) for s in found] == [
        ("primary", "", "IDC_test", "", 2),
        ("alternate", "A", "IDC_test", "", 2),
        ("headerlet", "1", "IDC_test", "KEPT", 2),
    ]
    assert found[0].rms_mas == pytest.approx((3.6, 7.2))
    assert (found[0].nmatch, found[1].nmatch, found[1].rms_mas) == (7, None, None)
    assert found[2].crval_deg == (headers[0]["CRVAL1"], headers[0]["CRVAL2"])


def test_where_edits_go(exposure: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="either"):
        edit_targets([exposure], None, in_place=False)
    with pytest.raises(ParameterError, match="either"):
        edit_targets([exposure], "x.fits", in_place=True)
    with pytest.raises(ParameterError, match="replace its input"):
        edit_targets([exposure], tmp_path, in_place=False)
    with pytest.raises(ParameterError, match="one name for 2 files"):
        edit_targets([exposure, "b.fits"], "x.fits", in_place=False)
    assert edit_targets([exposure], "out/", in_place=False) == [Path("out") / exposure.name]


def test_a_failed_edit_leaves_nothing(exposure: Path, tmp_path: Path) -> None:
    before = exposure.read_bytes()

    def fail() -> None:
        with edited(exposure, exposure) as hdul:
            hdul["SCI", 1].header["CRVAL1"] = 0.0
            raise ParameterError("stop")

    with pytest.raises(ParameterError, match="stop"):
        fail()
    assert exposure.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [exposure.name]
    with pytest.raises(MissingFileError, match="does not exist"), edited(tmp_path / "no.fits", exposure):
        pass
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(OutputError), edited(exposure, tmp_path / "folder" / "x.fits"):
        pass
    (tmp_path / "a.fits.gz").write_bytes(b"")
    with pytest.raises(StructureError, match="compressed"), edited(tmp_path / "a.fits.gz", exposure):
        pass


def test_the_file_is_byte_for_byte_what_astropy_writes(exposure: Path, tmp_path: Path) -> None:
    with open_solutions(exposure) as hdul:
        headers = _headers(hdul)
        for n in range(9):
            # Enough cards for another block, in one extension only.
            alternates.archive(headers[:1], key=string.ascii_uppercase[n], name=f"KEPT_{n}")
        hdul["DQ", 2].data[3, 4] = 64
        hdul.append(fits.ImageHDU(np.arange(12.0).reshape(3, 4), name="NEW"))
        record_solutions(hdul)
        hdul[0].header.set("NEXTEND", len(hdul) - 1, "number of extensions")
        write_file(hdul, tmp_path / "ours.fits")
        hdul.writeto(tmp_path / "theirs.fits", output_verify="ignore")
    assert (tmp_path / "ours.fits").read_bytes() == (tmp_path / "theirs.fits").read_bytes()
    assert fits.getval(tmp_path / "ours.fits", "WCSNAMEI", ("SCI", 1)) == "KEPT_8"


def test_headers_may_shrink_too(exposure: Path, tmp_path: Path) -> None:
    with open_solutions(exposure) as hdul:
        for name in [name for name in hdul["SCI", 1].header if name.startswith(("A_", "B_"))]:
            del hdul["SCI", 1].header[name]
        write_file(hdul, tmp_path / "ours.fits")
        hdul.writeto(tmp_path / "theirs.fits", output_verify="ignore")
    assert (tmp_path / "ours.fits").read_bytes() == (tmp_path / "theirs.fits").read_bytes()


def test_a_file_without_its_padding_and_one_cut_short(exposure: Path, tmp_path: Path) -> None:
    whole = exposure.read_bytes()
    with fits.open(exposure) as hdul:
        n_padding = hdul[-1].fileinfo()["datSpan"] - hdul[-1].size
    assert n_padding > 100
    source, target = tmp_path / "cut.fits", tmp_path / "out.fits"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        source.write_bytes(whole[:-100])
        with open_solutions(source) as hdul:
            write_file(hdul, target)
        assert target.read_bytes() == whole
        target.unlink()
        source.write_bytes(whole[: -n_padding - 1])
        with pytest.raises(TruncatedFileError, match="ends before the data of"), edited(source, target):
            pass
    assert not target.exists()


def test_checksums_stay_true(exposure: Path, tmp_path: Path) -> None:
    with fits.open(exposure) as hdul:
        hdul.writeto(tmp_path / "sums.fits", checksum=True)
    with edited(tmp_path / "sums.fits", tmp_path / "out.fits") as hdul:
        alternates.archive(_headers(hdul))
    with fits.open(tmp_path / "out.fits", checksum=True) as hdul:
        assert all(hdu.verify_checksum() == 1 and hdu.verify_datasum() == 1 for hdu in hdul)
        assert "WCSNAMEA" in hdul["SCI", 2].header
        sums = hdul["SCI", 1].header["DATASUM"]
    with open_solutions(tmp_path / "sums.fits") as hdul:
        # CHECKSUM without DATASUM, and data that were changed.
        del hdul["SCI", 1].header["DATASUM"]
        hdul["SCI", 2].data[1, 1] += 5.0
        write_file(hdul, tmp_path / "again.fits")
    with fits.open(tmp_path / "again.fits", checksum=True) as hdul:
        assert all(hdu.verify_checksum() == 1 and hdu.verify_datasum() == 1 for hdu in hdul)
        assert hdul["SCI", 1].header["DATASUM"] == sums


def test_damaged_pixels_do_not_become_whole(exposure: Path, tmp_path: Path) -> None:
    with fits.open(exposure) as hdul:
        hdul.writeto(tmp_path / "sums.fits", checksum=True)
    with fits.open(tmp_path / "sums.fits") as hdul:
        place = hdul["SCI", 1].fileinfo()
    data = bytearray((tmp_path / "sums.fits").read_bytes())
    data[place["datLoc"] + 77] ^= 1
    (tmp_path / "sums.fits").write_bytes(data)
    with edited(tmp_path / "sums.fits", tmp_path / "out.fits") as hdul:
        alternates.archive(_headers(hdul))
    with fits.open(tmp_path / "out.fits") as hdul:
        assert hdul["SCI", 1].verify_datasum() == 0
