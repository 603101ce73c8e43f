"""Headerlets byte by byte, and what applying one does to an exposure."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from mosaic.errors import MissingFileError, ParameterError, StructureError
from mosaic.solutions import alternates
from mosaic.solutions.apply import (
    Selector,
    apply_as_alternate,
    apply_as_primary,
    archive_as_headerlet,
    attach,
    delete_headerlets,
    restore_all,
    restore_headerlet,
)
from mosaic.solutions.editing import edited, open_solutions, write_file
from mosaic.solutions.headerlets import (
    Headerlet,
    HeaderletText,
    create_headerlet,
    from_extension,
    headerlet_extensions,
    headerlet_from_bytes,
    read_headerlet,
)

X, Y = np.array([0.0, 96.0, 31.5, 50.0]), np.array([0.0, 3.0, 59.0, 30.0])


def _sky(hdul: fits.HDUList, extver: int) -> np.ndarray:
    return np.array(WCS(hdul["SCI", extver].header, hdul).all_pix2world(X, Y, 0))


@pytest.fixture
def tweaked(exposure: Path, tmp_path: Path) -> tuple[Headerlet, list[np.ndarray]]:
    """Headerlet of another pointing and distortion table, and where astropy puts pixels then."""
    with fits.open(exposure) as hdul:
        for extver in (1, 2):
            header = hdul["SCI", extver].header
            header["CRVAL1"] += 1.2345678901e-4
            header["CD1_2"] *= 1.0001
            header["WCSNAME"] = "TWEAK"
            header["CRDER1"], header["NMATCH"] = 1e-6, 33
        hdul["D2IMARR", 3].data += np.float32(0.25)
        hdul.writeto(tmp_path / "tweaked.fits", output_verify="ignore")
    with open_solutions(tmp_path / "tweaked.fits") as hdul:
        made = create_headerlet(hdul, "FIT1", text=HeaderletText(author="me", history="long " * 30))
        headerlet = headerlet_from_bytes(made.tobytes(), "FIT1")
    with fits.open(tmp_path / "tweaked.fits") as hdul:
        return headerlet, [_sky(hdul, 1), _sky(hdul, 2)]


def test_a_headerlet_has_the_keywords_and_extensions_of_stwcs(tweaked: tuple[Headerlet, object]) -> None:
    hdul = tweaked[0].hdul
    primary = hdul[0].header
    # As stwcs 1.7.7 wrote them for a file with these names.
    names = ("DESTIM", "HDRNAME", "WCSNAME", "SIPNAME", "AUTHOR", "NMATCH", "RMS_RA")
    assert [primary[name] for name in names] == [
        "j94f05bgq", "FIT1", "TWEAK", "j94f05bgq_11d1433lj", "me", 33, 1e-6,
    ]  # fmt: skip
    assert primary["DISTNAME"] == "j94f05bgq_11d1433lj-02c1450oj-02c1450tj"
    assert [(hdu.name, hdu.ver) for hdu in hdul[1:]] == [
        ("SIPWCS", 1), ("WCSDVARR", 1), ("WCSDVARR", 2), ("D2IMARR", 1), ("D2IMARR", 2),
        ("SIPWCS", 2), ("WCSDVARR", 3), ("WCSDVARR", 4), ("D2IMARR", 3), ("D2IMARR", 4),
    ]  # fmt: skip
    assert (hdul[6].header["TG_ENAME"], hdul[6].header["TG_EVER"]) == ("SCI", 2)
    assert len(primary["HISTORY"]) == 3


@pytest.mark.parametrize("compress", [False, True])
def test_the_extension_holds_the_file_byte_for_byte(
    exposure: Path, tmp_path: Path, tweaked: tuple[Headerlet, object], *, compress: bool
) -> None:
    raw = tweaked[0].tobytes()
    with edited(exposure, tmp_path / "out.fits") as hdul:
        attach(hdul, tweaked[0], compress=compress)
    whole = (tmp_path / "out.fits").read_bytes()
    with fits.open(tmp_path / "out.fits") as hdul:
        place = hdul[-1].fileinfo()
        header = hdul[-1].header
        assert (header["XTENSION"], header["BITPIX"], header["NAXIS"]) == ("HDRLET", 8, 1)
        assert (header["PCOUNT"], header["GCOUNT"], header["EXTVER"]) == (0, 1, 1)
        assert header["NAXIS1"] % 2880 == 0
        assert header["COMPRESS"] is compress
        offsets = [header[f"XIND{n}"] for n in range(1, 11)]
        assert from_extension(hdul, len(hdul) - 1).tobytes() == raw
    if not compress:
        assert whole[place["datLoc"] : place["datLoc"] + len(raw)] == raw
        assert place["datLoc"] + len(raw) == len(whole)
    assert all(raw[at : at + 8] == b"XTENSION" for at in offsets)


def test_applied_as_primary_pixels_map_as_in_the_exposure_it_was_made_of(
    exposure: Path, tmp_path: Path, tweaked: tuple[Headerlet, list[np.ndarray]]
) -> None:
    before = exposure.read_bytes()
    with edited(exposure, tmp_path / "out.fits") as hdul:
        apply_as_primary(hdul, tweaked[0])
    assert exposure.read_bytes() == before
    with fits.open(tmp_path / "out.fits") as hdul, fits.open(exposure) as old:
        for extver, expected in zip((1, 2), tweaked[1], strict=True):
            np.testing.assert_allclose(_sky(hdul, extver), expected, rtol=0.0, atol=1e-12)
            header = hdul["SCI", extver].header
            assert (header["WCSNAME"], header["HDRNAME"], header["CRDER1"]) == ("TWEAK", "FIT1", 1e-6)
            assert (header["WCSNAMEA"], header["CRVAL1A"]) == (
                "IDC_test", old["SCI", extver].header["CRVAL1"],
            )  # fmt: skip
            assert header["IDCV2REF"] == old["SCI", extver].header["IDCV2REF"]
            for name in ("SCI", "ERR", "DQ"):
                np.testing.assert_array_equal(hdul[name, extver].data, old[name, extver].data)
        there = [hdul[i].header["HDRNAME"] for i in headerlet_extensions(hdul)]
        assert there == ["IDC_test", "FIT1"]
        assert [hdul[i].header["EXTVER"] for i in headerlet_extensions(hdul)] == [1, 2]
        table = hdul["WCSCORR"].data
        assert list(zip(table["WCS_ID"], table["EXTVER"], strict=True))[:4] == [
            ("IDC_test", 1), ("IDC_test", 2), ("TWEAK", 1), ("TWEAK", 2),
        ]  # fmt: skip
        assert table["CRVAL1"][2] == hdul["SCI", 1].header["CRVAL1"]
        assert hdul["WCSCORR"].header["TROWS"] == 4
        assert hdul[0].header["NEXTEND"] == len(hdul) - 1


def test_restored_from_the_archive_the_first_solution_is_back(
    exposure: Path, tmp_path: Path, tweaked: tuple[Headerlet, object]
) -> None:
    with edited(exposure, tmp_path / "out.fits") as hdul:
        apply_as_primary(hdul, tweaked[0])
    with edited(tmp_path / "out.fits", tmp_path / "back.fits") as hdul:
        restore_headerlet(hdul, Selector(hdrname="idc_test"))
    with fits.open(tmp_path / "back.fits") as hdul, fits.open(exposure) as old:
        for extver in (1, 2):
            np.testing.assert_array_equal(_sky(hdul, extver), _sky(old, extver))
        for table in old[7:]:
            np.testing.assert_array_equal(hdul[table.name, table.ver].data, table.data)


def test_another_distortion_needs_force_and_keeps_all_solutions(
    exposure: Path, tmp_path: Path, tweaked: tuple[Headerlet, list[np.ndarray]]
) -> None:
    headerlet = tweaked[0]
    headerlet.hdul[0].header["DISTNAME"] = "j94f05bgq_other-x-y"
    with edited(exposure, tmp_path / "two.fits") as hdul:
        headers = [hdul["SCI", v].header for v in (1, 2)]
        alternates.archive(headers, name="FIRST")
    with open_solutions(tmp_path / "two.fits") as hdul, pytest.raises(ParameterError, match="force"):
        apply_as_primary(hdul, headerlet)
    with open_solutions(tmp_path / "two.fits") as hdul, pytest.raises(ParameterError, match="distortion"):
        apply_as_alternate(hdul, headerlet)
    with edited(tmp_path / "two.fits", tmp_path / "out.fits") as hdul:
        apply_as_primary(hdul, headerlet, force=True)
    with fits.open(tmp_path / "out.fits") as hdul:
        assert [hdul[i].header["HDRNAME"] for i in headerlet_extensions(hdul)] == [
            "IDC_test",
            "FIRST",
            "FIT1",
        ]
        assert "WCSNAMEA" not in hdul["SCI", 1].header
        np.testing.assert_allclose(_sky(hdul, 2), tweaked[1][1], rtol=0.0, atol=1e-12)
    with edited(tmp_path / "out.fits", tmp_path / "all.fits") as hdul:
        restore_all(hdul, "j94f05bgq_11d1433lj-02c1450oj-02c1450tj", "FIRST", archive=False)
    with fits.open(tmp_path / "all.fits") as hdul, fits.open(exposure) as old:
        header = hdul["SCI", 2].header
        assert (header["WCSNAME"], header["WCSNAMEA"]) == ("FIRST", "IDC_test")
        np.testing.assert_array_equal(_sky(hdul, 2), _sky(old, 2))


def test_applied_as_alternate(exposure: Path, tmp_path: Path, tweaked: tuple[Headerlet, object]) -> None:
    with edited(exposure, tmp_path / "out.fits") as hdul:
        assert apply_as_alternate(hdul, tweaked[0], key="C") == "C"
        with pytest.raises(ParameterError, match=r"key C is taken \(TWEAK\)"):
            apply_as_alternate(hdul, tweaked[0], key="C")
    with fits.open(tmp_path / "out.fits") as hdul, fits.open(exposure) as old:
        header = hdul["SCI", 2].header
        source = tweaked[0].hdul["SIPWCS", 2].header
        assert all(header[f"{k}C"] == source[k] for k in ("CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CRPIX1"))
        assert (header["WCSNAMEC"], header["HDRNAMEC"], header["NMATCHC"]) == ("TWEAK", "FIT1", 33)
        np.testing.assert_array_equal(_sky(hdul, 2), _sky(old, 2))


def test_attach_archive_and_delete(exposure: Path, tweaked: tuple[Headerlet, object]) -> None:
    with open_solutions(exposure) as hdul:
        attach(hdul, tweaked[0])
        with pytest.raises(ParameterError, match="attached already"):
            attach(hdul, tweaked[0])
        archive_as_headerlet(hdul, "KEPT")
        archive_as_headerlet(hdul, "KEPT2")
        with pytest.raises(ParameterError, match="1 FIT1, 2 KEPT, 3 KEPT2"):
            delete_headerlets(hdul, Selector(hdrname="nope"))
        with pytest.raises(ParameterError, match="exactly one"):
            delete_headerlets(hdul, Selector(hdrname="FIT1", number=1))
        distname = tweaked[0].distname
        with pytest.raises(ParameterError, match=r"several headerlets fit \(1, 2, 3\)"):
            Selector(distname=distname).index(hdul)
        assert delete_headerlets(hdul, Selector(number=2)) == ["KEPT"]
        assert [hdul[i].header["EXTVER"] for i in headerlet_extensions(hdul)] == [1, 2]
        assert delete_headerlets(hdul, Selector(distname=distname), keep_first=True) == ["KEPT2"]
        tweaked[0].hdul[0].header["DESTIM"] = "other"
        with pytest.raises(ParameterError, match="'FIT1' is for 'other', this is 'j94f05bgq'"):
            apply_as_primary(hdul, tweaked[0])


def test_what_is_no_headerlet_is_named(exposure: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="cannot be read"):
        read_headerlet(tmp_path / "nope.fits")
    with pytest.raises(StructureError, match="DESTIM, HDRNAME absent"):
        read_headerlet(exposure)
    with pytest.raises(StructureError, match="tar archive"):
        headerlet_from_bytes(b"\0" * 257 + b"ustar" + b"\0" * 250, "old")
    with pytest.raises(StructureError, match="is not FITS"):
        headerlet_from_bytes(b"nothing", "bad")
    buffer = io.BytesIO()
    primary = fits.PrimaryHDU()
    primary.header.update({"DESTIM": "a", "HDRNAME": "b", "UPWCSVER": "c"})
    primary.writeto(buffer)
    with pytest.raises(StructureError, match="no SIPWCS"):
        headerlet_from_bytes(buffer.getvalue(), "empty")
    with pytest.raises(StructureError, match="cannot be uncompressed"):
        headerlet_from_bytes(b"\x1f\x8b broken", "zipped")
    with open_solutions(exposure) as hdul:
        raw = create_headerlet(hdul, "x").tobytes()
    for end in (len(raw) - 2880, len(raw) - 5760, 3000):
        with pytest.raises(StructureError):
            headerlet_from_bytes(raw[:end], "cut")


def test_a_missing_table_is_named(exposure: Path) -> None:
    with open_solutions(exposure) as hdul:
        del hdul["WCSDVARR", 4]
        with pytest.raises(StructureError, match="WCSDVARR,4, which is not there"):
            create_headerlet(hdul, "x")


def test_a_written_headerlet_reads_back(tmp_path: Path, tweaked: tuple[Headerlet, object]) -> None:
    write_file(tweaked[0].hdul, tmp_path / "a_hlet.fits")
    assert (tmp_path / "a_hlet.fits").read_bytes() == tweaked[0].tobytes()
    assert read_headerlet(tmp_path / "a_hlet.fits").targets == [("SCI", 1, 1), ("SCI", 2, 6)]
