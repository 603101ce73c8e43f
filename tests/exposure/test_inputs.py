"""What the user types becomes a list of files, each once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mosaic.errors import MissingFileError, ParameterError, StructureError
from mosaic.exposure.association import read_association
from mosaic.exposure.inputs import expand_inputs, root_name


def _touch(folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).write_bytes(b"")
    return [str(folder / name) for name in names]


def _paths(*entries: str) -> list[str]:
    return [file.path for file in expand_inputs(entries).files]


@pytest.mark.parametrize(
    ("name", "root"),
    [
        ("j8bt06nyq_flt.fits", "j8bt06nyq"), ("/a/J8BT06NYQ_FLC.FITS", "j8bt06nyq"),
        ("x_c0m.fits", "x_c0m"),
        ("x_flc.fits.gz", "x"), ("x_flc.fits.fz", "x"), ("plain.fits", "plain"), ("a_crj_flt.fits", "a"),
    ],
)  # fmt: skip
def test_root_is_the_name_before_the_first_known_suffix(name: str, root: str) -> None:
    assert root_name(name) == root


def test_globs_comma_lists_and_directories_are_expanded(tmp_path: Path) -> None:
    a, b, c = _touch(tmp_path, "a_flc.fits", "b_flc.fits", "c_flt.fits")
    _touch(tmp_path, "notes.txt", "d_raw.fits", "b_flt.fits")
    assert _paths(str(tmp_path / "[ab]_flc.fits")) == [a, b]
    assert _paths(f"{b},{a}") == [b, a]
    assert _paths(str(tmp_path)) == [a, b, c]


def test_relative_names_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (a,) = _touch(tmp_path, "a_flc.fits")
    monkeypatch.chdir(tmp_path)
    assert _paths("a_flc.fits") == [a]


def test_environment_prefixes_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (a,) = _touch(tmp_path, "a_flc.fits")
    monkeypatch.setenv("mydata", str(tmp_path))
    assert _paths("mydata$a_flc.fits") == [a]
    assert _paths("$mydata/a_flc.fits") == [a]


def test_lists_keep_their_order_and_carry_inverse_variance_maps(tmp_path: Path) -> None:
    a, b = _touch(tmp_path, "a_flc.fits", "b_flc.fits")
    listing = tmp_path / "list.txt"
    listing.write_text(f"# exposures\n{b}  b_ivm.fits\n\na_flc.fits None\n", encoding="utf-8")
    files = expand_inputs([f"@{listing}"]).files
    assert [file.path for file in files] == [b, a]
    assert [Path(file.ivm_path).name for file in files] == ["b_ivm.fits", ""]


def test_a_list_with_three_columns_or_no_file_is_refused(tmp_path: Path) -> None:
    listing = tmp_path / "list.txt"
    listing.write_text("a b c\n", encoding="utf-8")
    with pytest.raises(ParameterError, match="has 3 columns"):
        expand_inputs([f"@{listing}"])
    with pytest.raises(ParameterError, match="cannot be read"):
        expand_inputs([f"@{tmp_path / 'absent.txt'}"])


def test_a_file_named_twice_is_used_once_with_a_note(tmp_path: Path) -> None:
    (a,) = _touch(tmp_path, "a_flc.fits")
    link = tmp_path / "link_flc.fits"
    link.symlink_to(a)
    expanded = expand_inputs([a, str(tmp_path / "a*"), str(link)])
    assert [file.path for file in expanded.files] == [a]
    assert expanded.notes == (
        "a_flc.fits is listed more than once; it is used once",
        "link_flc.fits is listed more than once; it is used once",
    )


def test_two_files_with_one_root_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    flc, flt, other = _touch(tmp_path, "a_flc.fits", "a_flt.fits", "sub/a_flc.fits")
    with pytest.raises(ParameterError, match="root name 'a'; give only flc or only flt"):
        expand_inputs([flc, flt])
    with pytest.raises(ParameterError, match="root name 'a'; remove or rename one"):
        expand_inputs([flc, other])


def test_what_matches_nothing_is_named(tmp_path: Path) -> None:
    expanded = expand_inputs([str(tmp_path / "z*.fits"), str(tmp_path / "absent.fits"), str(tmp_path)])
    assert [type(error) for error in expanded.rejected] == [MissingFileError] * 3
    assert "z*.fits: the pattern matches no file; correct the name" in str(expanded.rejected[0])
    assert "absent.fits: the file does not exist" in str(expanded.rejected[1])
    assert "holds no *_flc.fits or *_flt.fits" in str(expanded.rejected[2])


@pytest.mark.parametrize("entries", [[], [""], [" "]])
def test_nothing_given_is_refused(entries: list[str]) -> None:
    with pytest.raises(ParameterError, match="no input given"):
        expand_inputs(entries)


def _association(path: Path, rows: list[tuple[str, str, bool]], **primary: str) -> str:
    columns = [
        fits.Column("MEMNAME", "14A", array=np.array([row[0] for row in rows])),
        fits.Column("MEMTYPE", "14A", array=np.array([row[1] for row in rows])),
        fits.Column("MEMPRSNT", "L", array=np.array([row[2] for row in rows])),
    ]
    hdul = fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)])
    hdul[0].header.update(primary)
    hdul.writeto(path)
    return str(path)


def test_association_members_are_present_exposures_in_table_order(tmp_path: Path) -> None:
    b, a = _touch(tmp_path, "b_flc.fits", "a_flt.fits")
    rows = [("B", "EXP-DTH", True), ("A", "EXP-RPT", True), ("C", "EXP-DTH", False), ("P", "PROD-DTH", True)]
    assert _paths(_association(tmp_path / "x_asn.fits", rows)) == [b, a]


def test_an_association_member_without_file_is_named(tmp_path: Path) -> None:
    path = _association(tmp_path / "x_asn.fits", [("B", "EXP-DTH", True)])
    (error,) = expand_inputs([path]).rejected
    assert "b_flt.fits: member of x_asn.fits does not exist" in str(error)


def test_a_member_with_flt_and_flc_is_refused_unless_it_was_checked(tmp_path: Path) -> None:
    flt, _ = _touch(tmp_path, "b_flt.fits", "b_flc.fits")
    rows = [("B", "EXP-DTH", True)]
    with pytest.raises(ParameterError, match=r"b exist as flt and as flc; .*'b_flc.fits' or 'b_flt.fits'"):
        expand_inputs([_association(tmp_path / "x_asn.fits", rows)])
    assert read_association(_association(tmp_path / "y_asn.fits", rows, DUPCHECK="COMPLETE")).files == (flt,)


def test_a_table_that_is_no_association_is_named(tmp_path: Path) -> None:
    fits.PrimaryHDU().writeto(tmp_path / "x_asn.fits")
    (error,) = expand_inputs([str(tmp_path / "x_asn.fits")]).rejected
    assert isinstance(error, StructureError)
    (tmp_path / "y_asn.fits").write_bytes(b"not fits")
    (error,) = expand_inputs([str(tmp_path / "y_asn.fits")]).rejected
    assert "association table unreadable" in str(error)


@pytest.mark.parametrize(
    ("types", "product"),
    [
        (("PROD-RPT", "PROD-DTH", "PROD-CRJ"), "p1"),
        (("PROD-RPT", "PROD-CRJ"), "p0"),
        (("PROD-CRJ",), "p0"),
        ((), "x"),
    ],
)
def test_the_product_of_an_association_names_the_output(
    tmp_path: Path, types: tuple[str, ...], product: str
) -> None:
    _touch(tmp_path, "b_flc.fits", "c_flc.fits")
    rows = [("B", "EXP-DTH", True)] + [(f"P{index}", kind, True) for index, kind in enumerate(types)]
    path = _association(tmp_path / "X_asn.fits", rows)
    assert expand_inputs([path]).product == product
    assert expand_inputs([path, str(tmp_path / "c_flc.fits")]).product == ""


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        (("b", "b.fits", "b_crj.fits", "b_flt.fits"), "b"),
        (("b.fits", "b_crj.fits", "b_flt.fits"), "b.fits"),
        (("b_crj.fits", "b_flt.fits"), "b_crj.fits"),
        (("b_flt.fits", "b_sfl.fits", "b_cal.fits", "b_raw.fits"), "b_flt.fits"),
        (("B_flt.fits", "b_flt.fits"), "B_flt.fits"),
        (("b_raw.fits", "b.c0h", "b_c0h.fits"), "b_raw.fits"),
        (("b.c0h", "b_c0h.fits"), "b.c0h"),
        (("b_c0f.fits", "b_c0m.fits"), "b_c0f.fits"),
        (("b_c0m.fits", "b_c1m.fits"), "b_c0m.fits"),
        (("b_flc.fits.gz",), "b_flc.fits.gz"),
    ],
)
def test_a_member_is_the_first_file_in_the_order_of_suffixes(
    tmp_path: Path, there: tuple[str, ...], chosen: str
) -> None:
    _touch(tmp_path, *there)
    path = _association(tmp_path / "x_asn.fits", [("B", "EXP-DTH", True)])
    assert _paths(path) == [str(tmp_path / chosen)]


def test_a_list_behind_names_and_maps_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (a,) = _touch(tmp_path / "data", "a_flc.fits")
    (tmp_path / "data/list.txt").write_text("a_flc.fits a_ivm.fits\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    _touch(tmp_path / "data", "a_ivm.fits")
    (file,) = expand_inputs(["@data/list.txt"]).files
    assert (file.path, file.ivm_path) == (a, str(tmp_path / "data/a_ivm.fits"))


def test_a_comma_in_a_file_name_is_part_of_it(tmp_path: Path) -> None:
    (a,) = _touch(tmp_path, "a,b_flc.fits")
    assert _paths(a) == [a]


def test_urls_are_inputs_of_every_form(tmp_path: Path) -> None:
    import fsspec  # noqa: PLC0415

    (a,) = _touch(tmp_path, "a_flc.fits")
    assert _paths(f"file://{a}") == [a]
    store = fsspec.filesystem("memory")
    base = f"memory://{tmp_path.name}"
    table = Path(_association(tmp_path / "x_asn.fits", [("B", "EXP-DTH", True), ("PP", "PROD-DTH", True)]))
    store.pipe(f"{base}/x_asn.fits", table.read_bytes())
    for name in ("b_flc.fits", "c_flc.fits", "c_flt.fits", "d_flt.fits"):
        store.pipe(f"{base}/{name}", b"x")
    store.pipe(f"{base}/list.txt", f"{base}/b_flc.fits\nd_flt.fits\n".encode())
    b, c, d = (f"memory:///{tmp_path.name}/{name}" for name in ("b_flc.fits", "c_flc.fits", "d_flt.fits"))

    def same(*entries: str) -> list[str]:
        return [
            path.replace("memory:///", "memory://").replace("memory://", "memory:///")
            for path in _paths(*entries)
        ]

    assert same(f"{base}/?_flc.fits") == [b, c]
    assert same(f"{base}/b_flc.fits,{base}/d_flt.fits") == [b, d]
    assert same(f"{base}") == [b, c, d]
    assert same(f"@{base}/list.txt") == [b, d]
    assert same(f"{base}/x_asn.fits") == [b]
    assert expand_inputs([f"{base}/x_asn.fits"]).product == "pp"
    for wrong in (f"{base}/z_flc.fits", "nosuchscheme://a/b.fits"):
        (error,) = expand_inputs([wrong]).rejected
        assert wrong in str(error)
    store.rm(base, recursive=True)
