"""Tools that change files: what changes, what does not, and that nothing is half-written."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from mosaic.cli.app import app
from mosaic.compat import photeq, pixreplace, resetbits, updatenpol
from mosaic.errors import MetadataError, MissingFileError, OutputError, ParameterError, StructureError
from mosaic.tools.photeq import PhotometryKeywords, equalise
from mosaic.tools.pixreplace import replace_pixels
from mosaic.tools.resetbits import reset_bits
from mosaic.tools.rewrite import editing
from mosaic.tools.updatenpol import assign_references
from tests.support.exposures import write_exposure

FLAMS = {1: 7.0e-20, 2: 8.4e-20}


def calibrated(hdul: fits.HDUList) -> None:
    for version, flam in FLAMS.items():
        header = hdul["SCI", version].header
        header["PHOTFLAM"], header["PHOTFNU"], header["MDRIZSKY"] = flam, flam * 1e12, 12.5
    hdul["SCI", 1].data[3, 4] = np.nan
    for hdu in hdul:
        hdu.add_checksum()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [write_exposure(tmp_path / f"jaaa0{k}aaq_flt.fits", edit=calibrated, seed=k) for k in (1, 2)]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def unequal(first: Path, second: Path) -> list[int]:
    """Indices of HDUs whose bytes differ."""
    different = []
    with fits.open(first) as a, fits.open(second) as b:
        places = [
            [(h.fileinfo()["hdrLoc"], h.fileinfo()["datLoc"] + h.fileinfo()["datSpan"]) for h in f]
            for f in (a, b)
        ]
    contents = first.read_bytes(), second.read_bytes()
    assert len(places[0]) == len(places[1])
    for index, (one, two) in enumerate(zip(*places, strict=True)):
        if contents[0][slice(*one)] != contents[1][slice(*two)]:
            different.append(index)
    return different


def require_true_checksums(path: Path) -> None:
    """Astropy warns when one is wrong, and warnings are errors here."""
    with fits.open(path, checksum=True) as hdul:
        for hdu in hdul:
            assert hdu.verify_datasum() == 1
            assert hdu.verify_checksum() == 1


def test_bits_are_cleared_in_every_file_and_nothing_else_changes(files: list[Path], tmp_path: Path) -> None:
    before = [fits.getdata(path, ("DQ", 2)) for path in files]
    originals = [tmp_path / f"copy{k}" for k in range(2)]
    for path, copy in zip(files, originals, strict=True):
        copy.write_bytes(path.read_bytes())
    changes = reset_bits(",".join(map(str, files)), "4096,16")
    assert len(changes) == 4
    for path, flags, copy in zip(files, before, originals, strict=True):
        np.testing.assert_array_equal(fits.getdata(path, ("DQ", 2)), flags & ~(4096 + 16))
        assert unequal(copy, path) == [3, 6]
        require_true_checksums(path)
    assert changes[1].n_pixels == np.count_nonzero(before[0] & (4096 + 16))


@pytest.mark.parametrize(("extver", "expected"), [(2, [6]), ("1,2", [3, 6]), ([1], [3]), (None, [3, 6])])
def test_versions_are_chosen_for_each_file(
    files: list[Path], tmp_path: Path, extver: object, expected: list[int]
) -> None:
    (tmp_path / "out").mkdir()
    before = [digest(path) for path in files]
    reset_bits([str(path) for path in files], 4, extver, output=tmp_path / "out")  # type: ignore[arg-type]
    for path in files:
        assert unequal(path, tmp_path / "out" / path.name) == expected
    assert [digest(path) for path in files] == before


def test_bit_15_and_unsigned_storage(tmp_path: Path) -> None:
    for dtype in (np.int16, np.uint16):
        flags = np.array([[0x8000 | 4096, 0x8000, 4096]], dtype=np.uint16).astype(dtype)
        path = tmp_path / f"{np.dtype(dtype).name}.fits"
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(flags, name="DQ", ver=1)]).writeto(path)
        reset_bits(str(path), "32768")
        found = fits.getdata(path, 1)
        assert found.dtype.newbyteorder("=") == dtype
        np.testing.assert_array_equal(found.astype(np.uint16), [[4096, 0, 4096]])


def test_wrong_bits_and_versions_are_refused(files: list[Path]) -> None:
    before = digest(files[0])
    with pytest.raises(ParameterError, match="names no bit"):
        resetbits.reset_dq_bits(str(files[0]), "")
    with pytest.raises(ParameterError, match="extver='one'"):
        resetbits.reset_dq_bits(str(files[0]), 4096, extver="one")
    with pytest.raises(StructureError, match=r"no extension \[dq,3\]"):
        resetbits.reset_dq_bits(str(files[0]), 4096, extver=[1, 3])
    with pytest.raises(StructureError, match="not integers"):
        resetbits.reset_dq_bits(str(files[0]), 4096, extname="sci")
    with pytest.raises(MissingFileError, match="does not exist"):
        resetbits.reset_dq_bits(str(files[0].with_name("none_flt.fits")), 4096)
    assert digest(files[0]) == before


def test_an_error_leaves_the_file_and_no_other(files: list[Path], tmp_path: Path) -> None:
    before, names = digest(files[0]), sorted(tmp_path.iterdir())

    def interrupt() -> None:
        with editing(files[0]) as edit:
            edit.hdul["DQ", 1].data[:] = 0
            edit.mark(3)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        interrupt()
    assert digest(files[0]) == before
    assert sorted(tmp_path.iterdir()) == names
    with pytest.raises(OutputError, match="compressed"), editing(files[0], tmp_path / "x.fits.gz"):
        pass


def test_nan_is_replaced_where_it_is(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    sci = fits.getdata(files[0], ("SCI", 1))
    pixreplace.replace(str(files[0]), newvalue=-9.0)
    found = fits.getdata(files[0], ("SCI", 1))
    assert found[3, 4] == -9.0
    np.testing.assert_array_equal(np.delete(found.ravel(), 3 * 97 + 4), np.delete(sci.ravel(), 3 * 97 + 4))
    assert "[SCI,1] value of nan to -9.0: 1 pixels" in capsys.readouterr().out
    require_true_checksums(files[0])


def test_a_value_is_replaced_in_the_extensions_named(files: list[Path], tmp_path: Path) -> None:
    flags = fits.getdata(files[0], ("DQ", 1))
    done = replace_pixels(str(files[0]), 4096, 3, [3, "dq,2"], output=tmp_path / "new.fits")
    assert [item.extension for item in done] == ["DQ,1", "DQ,2"]
    assert done[0].n_pixels == np.count_nonzero(flags == 4096)
    np.testing.assert_array_equal(fits.getdata(tmp_path / "new.fits", 3), np.where(flags == 4096, 3, flags))
    np.testing.assert_array_equal(fits.getdata(files[0], 3), flags)
    with pytest.raises(ParameterError, match=r"cannot be 0\.5"):
        replace_pixels(str(files[0]), 4096, 0.5, 3)
    with pytest.raises(StructureError, match=r"no extension \[sci,9\]"):
        replace_pixels(str(files[0]), math.nan, 0.0, "sci,9")


def test_equalising_conserves_flux(files: list[Path]) -> None:
    before = [
        [fits.getdata(path, (name, v)).astype(float) for name in ("SCI", "ERR")]
        for path in files
        for v in (1, 2)
    ]
    photeq.photeq([str(path) for path in files], readonly=False, logfile=None)
    rows = [(path, v) for path in files for v in (1, 2)]
    for (path, version), (sci, err) in zip(rows, before, strict=True):
        with fits.open(path) as hdul:
            header = hdul["SCI", version].header
            assert header["PHOTFLAM"] == FLAMS[1]
            # One rounding to float32.
            for name, old in (("SCI", sci), ("ERR", err)):
                new = hdul[name, version].data.astype(float) * header["PHOTFLAM"]
                np.testing.assert_allclose(new, old * FLAMS[version], rtol=6.0e-8)
            ratio = FLAMS[version] / FLAMS[1]
            assert header["MDRIZSKY"] == pytest.approx(12.5 * ratio, rel=1e-14)
            assert header["PHOTFNU"] == pytest.approx(FLAMS[version] * 1e12 / ratio, rel=1e-14)
            assert ("photeq" in str(header.get("HISTORY", ""))) is (version == 2)
        require_true_checksums(path)


def test_equalised_file_is_that_of_drizzlepac(tmp_path: Path) -> None:
    """Recorded: drizzlepac 3.11 photeq.photeq(readonly=False) on this exposure, pixel sums in float64.

    It multiplies in float32, which moves single pixels by one unit in the last place.
    """

    def edit(hdul: fits.HDUList) -> None:
        calibrated(hdul)
        hdul["SCI", 1].data[3, 4] = 0.0

    path = write_exposure(tmp_path / "jaaa0aaaq_flt.fits", edit=edit)
    pixel = float(fits.getdata(path, ("SCI", 2))[1, 0])
    photeq.photeq(str(path), readonly=False, logfile=None)
    with fits.open(path) as hdul:
        assert hdul["SCI", 2].data[1, 0] == pytest.approx(pixel * 1.2, rel=1e-7)
        # Printed by fitsdiff for DrizzlePac's file at column 2, row 1: 61.69053, ours 61.690525.
        assert hdul["SCI", 2].data[0, 1] == pytest.approx(61.69053, abs=7.7e-6)
        assert hdul["ERR", 2].data[0, 1] == pytest.approx(9.803989, abs=1.5e-6)


def test_reference_may_be_an_extension_a_number_or_the_primary(tmp_path: Path) -> None:
    path = write_exposure(tmp_path / "jaaa01aaq_flt.fits", edit=calibrated, primary={"PHOTFLAM": 1.4e-19})
    ratios = [item.ratio for item in equalise(str(path))]
    assert ratios == [FLAMS[1] / 1.4e-19, FLAMS[2] / 1.4e-19]
    assert [i.ratio for i in equalise(str(path), ref_phot_ext="sci,2")] == [FLAMS[1] / FLAMS[2], 1.0]
    assert [i.ratio for i in equalise(str(path), ref_phot=7e-20)] == [1.0, FLAMS[2] / 7e-20]
    own = PhotometryKeywords(search_primary=False)
    assert [i.ratio for i in equalise(str(path), own)] == [1.0, FLAMS[2] / FLAMS[1]]
    equalise(str(path), ref_phot=7e-20, readonly=False)
    assert fits.getheader(path)["PHOTFLAM"] == 7e-20
    with pytest.raises(MetadataError, match="no PHOTZERO in any file"):
        equalise(str(path), PhotometryKeywords(phot_kwd="PHOTZERO"))


def test_extension_without_keyword_takes_the_ratio_of_the_primary(tmp_path: Path) -> None:
    path = write_exposure(tmp_path / "jaaa01aaq_flt.fits", primary={"PHOTFLAM": 1.4e-19})
    assert [item.ratio for item in equalise(str(path), ref_phot=7e-20)] == [2.0, 2.0]


def test_looking_changes_nothing(files: list[Path], tmp_path: Path) -> None:
    before = [digest(path) for path in files]
    photeq.photeq([str(path) for path in files], logfile=str(tmp_path / "photeq.log"))
    assert [digest(path) for path in files] == before
    assert "pixels would be times 1.2" in (tmp_path / "photeq.log").read_text()


def reference(path: Path, detector: str, filters: tuple[str, str], useafter: str) -> None:
    header = fits.Header(
        {"DETECTOR": detector, "FILTER1": filters[0], "FILTER2": filters[1], "USEAFTER": useafter}
    )
    fits.PrimaryHDU(header=header).writeto(path)


def test_latest_reference_of_detector_filters_and_date_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "refs"
    folder.mkdir()
    reference(folder / "a_npl.fits", "WFC", ("F606W", "CLEAR2L"), "Mar 01 2002 00:00:00")
    reference(folder / "b_npl.fits", "WFC", ("F606W", "ANY"), "Jan 01 2009 00:00:00")
    reference(folder / "c_npl.fits", "WFC", ("F606W", "CLEAR2L"), "Jan 01 2019 00:00:00")
    reference(folder / "d_npl.fits", "HRC", ("F606W", "CLEAR2L"), "Jan 01 2009 00:00:00")
    reference(folder / "e_npl.fits", "WFC", ("F814W", "CLEAR2L"), "Jan 01 2009 00:00:00")
    reference(folder / "a_d2i.fits", "WFC", ("", ""), "Mar 01 2002 00:00:00")
    primary = {"FILTER2": "CLEAR2L", "DATE-OBS": "2010-05-06", "DGEOFILE": "N/A"}
    path = write_exposure(tmp_path / "jaaa01aaq_flt.fits", primary=primary)
    before = digest(path)
    (planned,) = assign_references(str(path), folder, "jref$", dry_run=True)
    assert digest(path) == before
    (done,) = assign_references(str(path), folder, "jref$")
    assert done == planned
    header = fits.getheader(path)
    assert (header["NPOLFILE"], header["D2IMFILE"]) == ("jref$b_npl.fits", "jref$a_d2i.fits")
    place = list(header).index("DGEOFILE")
    assert list(header)[place + 1 : place + 3] == ["NPOLFILE", "D2IMFILE"]
    other = write_exposure(tmp_path / "jaaa02aaq_flt.fits", primary={"DETECTOR": "SBC"})
    with pytest.raises(MissingFileError, match="DETECTOR SBC"):
        assign_references([str(path), str(other)], folder, "jref$")


@pytest.mark.parametrize("local", [False, True])
def test_references_are_named_with_their_folder_or_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, local: bool
) -> None:
    folder = tmp_path / "refs"
    folder.mkdir()
    reference(folder / "a_npl.fits", "WFC", ("F606W", "ANY"), "Mar 01 2002 00:00:00")
    (tmp_path / "data").mkdir()
    path = write_exposure(tmp_path / "data" / "jaaa01aaq_flt.fits")
    with pytest.raises(ParameterError, match="environment variable xref"):
        updatenpol.update(str(path), "xref$")
    monkeypatch.setenv("xref", str(folder))
    updatenpol.update(str(path), "xref$", local=local, wcsupdate=False)
    assert fits.getheader(path)["NPOLFILE"] == ("a_npl.fits" if local else "xref$a_npl.fits")
    assert "D2IMFILE" not in fits.getheader(path)
    assert (path.parent / "a_npl.fits").is_file() is local
    with pytest.raises(ParameterError, match="interactive"):
        updatenpol.update(str(path), "xref$", interactive=True)


def test_command_line_changes_files_only_on_request(files: list[Path]) -> None:
    run = CliRunner().invoke
    before = digest(files[0])
    for command in ("resetbits", "pixreplace", "updatenpol", "trails"):
        result = run(app, [command, str(files[0])])
        assert result.exit_code == 2
        assert "--in-place" in result.stderr
    result = run(app, ["photeq", str(files[0])])
    assert "times 1.2\nnothing was written" in result.output
    assert digest(files[0]) == before
    result = run(app, ["resetbits", str(files[0]), "--bits", "4096", "--extver", "1", "--in-place"])
    assert result.exit_code == 0, result.output
    assert "[dq,1]:" in result.output
    assert digest(files[0]) != before
    result = run(app, ["pixreplace", str(files[0]), "--ext", "sci,1", "--in-place"])
    assert "[SCI,1]: 1 pixels replaced" in result.output
    result = run(app, ["photeq", str(files[0]), str(files[1]), "-o", str(files[0].parent / "one.fits")])
    assert "must be a folder" in result.stderr


def test_an_output_that_is_its_input_is_refused(files: list[Path], tmp_path: Path) -> None:
    before = [digest(path) for path in files]
    for output in (tmp_path, files[0]):
        with pytest.raises(ParameterError, match="would replace its input"):
            reset_bits([str(files[0])], "1", output=output)
    (tmp_path / "link").symlink_to(tmp_path)
    shown = CliRunner().invoke(app, ["pixreplace", str(files[1]), "-o", str(tmp_path / "link")])
    assert shown.exit_code == 2
    assert [digest(path) for path in files] == before


@pytest.mark.parametrize(
    "command", ["pixtosky", "skytopix", "pixtopix", "tweakback", "mapreg", "blendheaders"]
)
def test_brackets_and_colons_of_help_are_shown(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], terminal_width=200).stdout
    assert "[sci,1]" in shown
    assert "\u24c2" not in shown
