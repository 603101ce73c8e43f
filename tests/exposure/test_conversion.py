"""GEIS and waivered FITS become multi-extension files with the same pixels and keywords."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mosaic.errors import ExposureError, MissingFileError, ParameterError, StructureError, TruncatedFileError
from mosaic.exposure.conversion import is_geis, read_geis
from mosaic.exposure.staging import named_plainly, open_plain
from tests.support.wfpc2 import Wfpc2Recipe, chip_cards, pixels, write_geis, write_pair, write_waivered


def _check(hdul: fits.HDUList, *, flags: bool = False) -> None:
    """Pixels bit for bit, double precision exactly, single precision to its own resolution."""
    recipe = Wfpc2Recipe()
    planes = pixels(recipe)[1 if flags else 0]
    assert [hdu.name for hdu in hdul[1:]] == ["SDQ" if flags else "SCI"] * 4
    assert hdul[0].header["ATODGAIN"] == 7.0
    for extver, (hdu, plane) in enumerate(zip(hdul[1:], planes, strict=True), start=1):
        assert hdu.header["EXTVER"] == extver
        np.testing.assert_array_equal(hdu.data, plane)
        for name, value in chip_cards(recipe, extver).items():
            if isinstance(value, np.float32):
                assert np.float32(hdu.header[name]) == value
            elif isinstance(value, bool):
                assert hdu.header[name] in {value, "T"}
            else:
                assert hdu.header[name] == value


@pytest.mark.parametrize("line_ends", [True, False])
@pytest.mark.parametrize("order", [">", "<"])
def test_geis_groups_become_extensions_whatever_the_byte_order(
    tmp_path: Path, order: str, *, line_ends: bool
) -> None:
    path = write_geis(tmp_path, order=order, line_ends=line_ends)
    for name, flags in ((path, False), (path.with_suffix(".c1h"), True)):
        hdul, staged = open_plain(str(name), tmp_path / "staged")
        with hdul:
            _check(hdul, flags=flags)
        assert Path(staged).parent == tmp_path / "staged"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["staged", "u1.c0d", "u1.c0h", "u1.c1d", "u1.c1h"]


def test_waivered_planes_become_extensions(tmp_path: Path) -> None:
    path = write_waivered(tmp_path)
    before = path.read_bytes()
    for name, flags in ((path, False), (tmp_path / "u1_c1f.fits", True)):
        hdul, staged = open_plain(str(name), tmp_path / "staged")
        with hdul:
            _check(hdul, flags=flags)
        assert Path(staged).parent == tmp_path / "staged"
    assert path.read_bytes() == before


def test_a_conversion_is_made_once_and_anew_when_the_pixels_change(tmp_path: Path) -> None:
    path = write_geis(tmp_path)
    first = open_plain(str(path), tmp_path / "staged")
    stamp = Path(first[1]).stat().st_mtime_ns
    again = open_plain(str(path), tmp_path / "staged")
    assert (again[1], Path(again[1]).stat().st_mtime_ns) == (first[1], stamp)
    write_geis(tmp_path, seed=6)
    changed = open_plain(str(path), tmp_path / "staged")
    assert changed[1] != first[1]
    for hdul, _ in (first, again, changed):
        hdul.close()


def test_multi_extension_files_are_read_where_they_are(tmp_path: Path) -> None:
    path = write_pair(tmp_path)
    hdul, readable = open_plain(str(path), None)
    hdul.close()
    assert readable == str(path)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("u1.c0h", "u1_c0h.fits"),
        ("u1_c0f.fits", "u1_c0h.fits"),
        ("u1_c1f.fits.gz", "u1_c1h.fits"),
        ("u1_c0m.fits", "u1_c0m.fits"),
        ("a_flf.fits", "a_flf.fits"),
    ],
)
def test_copies_have_the_names_of_multi_extension_files(name: str, plain: str) -> None:
    assert named_plainly(name) == plain


@pytest.mark.parametrize(
    ("name", "answer"), [("u1.c0h", True), ("U1.C0H", True), ("u1.fits", False), ("u1.hhh", False)]
)
def test_geis_is_told_by_its_suffix(name: str, *, answer: bool) -> None:
    assert is_geis(name) is answer


def _edit_text(old: str, new: str) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        text = path.read_text(encoding="ascii")
        assert old in text
        path.write_text(text.replace(old, new), encoding="ascii")

    return edit


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (lambda p: p.with_suffix(".c0d").unlink(), MissingFileError, r"data file u1\.c0d is not there"),
        (
            lambda p: p.with_suffix(".c0d").write_bytes(p.with_suffix(".c0d").read_bytes()[:-9]),
            TruncatedFileError,
            "4 groups take",
        ),
        (lambda p: p.write_bytes(b"\xff\xfe"), StructureError, "not text"),
        (lambda p: p.write_text("X       = 1\n", encoding="ascii"), TruncatedFileError, "no END"),
        (lambda p: p.write_text("!?      = 1\n", encoding="ascii"), StructureError, r"has the line '!\?"),
        (_edit_text("REAL*4  '           ", "COMPLEX*8'          "), StructureError, "DATATYPE is 'COMPLEX"),
        (_edit_text("GCOUNT  ", "GCOUNTX "), StructureError, "not a GEIS header"),
        (_edit_text(f"NAXIS   = {2:20d}", f"NAXIS   = {1:20d}"), StructureError, "NAXIS"),
        (lambda p: p.unlink(), MissingFileError, "cannot be opened"),
    ],
)  # fmt: skip
def test_a_spoilt_geis_image_is_named(
    tmp_path: Path, spoil: Callable[[Path], object], kind: type[ExposureError], words: str
) -> None:
    path = write_geis(tmp_path)
    spoil(path)
    with pytest.raises(kind, match=words):
        read_geis(str(path))


def test_waivered_rows_must_match_planes(tmp_path: Path) -> None:
    path = write_waivered(tmp_path)
    with fits.open(path) as hdul:
        hdul[0].data = hdul[0].data[:3]
        hdul.writeto(tmp_path / "u2_c0f.fits")
    with pytest.raises(StructureError, match="3 planes and 4 rows"):
        open_plain(str(tmp_path / "u2_c0f.fits"), tmp_path / "staged")


def test_there_must_be_a_place_for_copies(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="no staging folder"):
        open_plain(str(write_geis(tmp_path)), None)
