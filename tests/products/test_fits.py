from __future__ import annotations

import errno
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray

from mosaic.errors import OutputError, StoreError
from mosaic.headers.hdrtab import build_table
from mosaic.headers.product import ProductHeaders
from mosaic.products import partial as partial_module
from mosaic.products.fits import MemoryPlane, Plane, write_image, write_products
from mosaic.products.naming import ProductKind, ProductNames
from mosaic.products.partial import PartialFile

NY, NX = 37, 23


def header(**cards: Any) -> fits.Header:
    return fits.Header(list(cards.items()))


def make_headers(*, with_error: bool = False, build: bool = True) -> ProductHeaders:
    images = {}
    for kind in ("SCI", "WHT", "CTX", "ERR"):
        images[kind] = header(EXTNAME=kind, EXTVER=1, BUNIT="x") if build else header(FILETYPE=kind)
    return ProductHeaders(
        primary=header(TELESCOP="HST", NEXTEND=4),
        sci=images["SCI"],
        wht=images["WHT"],
        ctx=images["CTX"],
        err=images["ERR"] if with_error else None,
        hdrtab=build_table({"ROOTNAME": ["ja", "jb"]}, {}),
    )


def make_images(n_planes: int = 2) -> dict[ProductKind, NDArray[Any]]:
    rng = np.random.default_rng(11)
    sci = rng.normal(size=(NY, NX)).astype(np.float32)
    sci[3, 4] = np.nan
    limits = np.iinfo(np.int32)
    return {
        "sci": sci,
        "wht": rng.random((NY, NX)).astype(np.float32),
        "ctx": rng.integers(limits.min, limits.max, (n_planes, NY, NX), dtype=np.int32, endpoint=True),
        "err": rng.random((NY, NX)).astype(np.float32),
    }


def planes_of(images: dict[ProductKind, NDArray[Any]]) -> dict[ProductKind, Plane]:
    return {kind: MemoryPlane(image) for kind, image in images.items()}


class BrokenPlane(MemoryPlane):
    """A plane whose source fails in its second half."""

    def rows(self, plane: int, y0: int, y1: int) -> NDArray[Any]:
        if y1 > NY // 2:
            raise StoreError("chunk 7 differs from the ledger")
        return super().rows(plane, y0, y1)


class CountingPlane:
    """A plane too large to be made at once: every value is its row number."""

    def __init__(self, ny: int, nx: int) -> None:
        self.shape: tuple[int, ...] = (ny, nx)
        self.dtype = np.dtype(np.float32)
        self.n_calls = 0

    def rows(self, plane: int, y0: int, y1: int) -> NDArray[Any]:
        self.n_calls += 1
        rows = np.empty((y1 - y0, self.shape[1]), np.float32)
        rows[:] = np.arange(y0, y1, dtype=np.float32)[:, np.newaxis]
        return rows


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("checksum", [False, True])
def test_image_reads_back_to_the_same_bits(tmp_path: Path, dtype: type, *, checksum: bool) -> None:
    values = (np.random.default_rng(5).normal(0.0, 40.0, (NY, NX)) % 100).astype(dtype)
    path = write_image(tmp_path / "a.fits", header(OBJECT="m51"), MemoryPlane(values), checksum=checksum)
    with fits.open(path, checksum=checksum) as hdus:
        hdus.verify("exception")
        np.testing.assert_array_equal(hdus[0].data, values)
        assert hdus[0].header["OBJECT"] == "m51"
        assert ("CHECKSUM" in hdus[0].header) == checksum
    assert path.stat().st_size % 2880 == 0


@pytest.mark.parametrize("with_error", [True, False])
@pytest.mark.parametrize("checksum", [False, True])
def test_built_product_holds_all_images_and_the_table(
    tmp_path: Path, *, with_error: bool, checksum: bool
) -> None:
    names = ProductNames(tmp_path / "new" / "folder", "m51", "_drc")
    images = make_images()
    if not with_error:
        del images["err"]
    written = write_products(
        names, make_headers(with_error=with_error), planes_of(images), build=True, checksum=checksum
    )
    assert written == [tmp_path / "new" / "folder" / "m51_drc.fits"]
    with fits.open(written[0], checksum=checksum) as hdus:
        hdus.verify("exception")
        order = ["PRIMARY", "SCI", "WHT", "CTX", *(["ERR"] if with_error else []), "HDRTAB"]
        assert [hdu.name for hdu in hdus] == order
        assert hdus[0].header["EXTEND"] is True
        for kind, image in images.items():
            np.testing.assert_array_equal(hdus[kind].data, image)
        assert list(hdus["HDRTAB"].data["ROOTNAME"]) == ["ja", "jb"]


def test_built_product_without_context_has_an_empty_context_extension(tmp_path: Path) -> None:
    names = ProductNames(tmp_path, "m51", "_drz")
    images = make_images()
    planes = {kind: plane for kind, plane in planes_of(images).items() if kind in {"sci", "wht"}}
    (path,) = write_products(names, make_headers(), planes, build=True, checksum=True)
    with fits.open(path, checksum=True) as hdus:
        hdus.verify("exception")
        assert hdus["CTX"].header["NAXIS"] == 0
        assert hdus["CTX"].data is None


def test_context_of_one_plane_is_a_plain_image(tmp_path: Path) -> None:
    names = ProductNames(tmp_path, "m51", "_drz")
    images = make_images(n_planes=1)
    del images["err"]
    (path,) = write_products(names, make_headers(), planes_of(images), build=True)
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(hdus["CTX"].data, images["ctx"][0])


def test_simple_products_are_one_file_each_and_the_table_follows_science(tmp_path: Path) -> None:
    names = ProductNames(tmp_path, "m51", "_drz")
    images = make_images()
    written = write_products(
        names, make_headers(with_error=True, build=False), planes_of(images), build=False, checksum=True
    )
    assert [path.name for path in written] == [
        f"m51_drz_{kind}.fits" for kind in ("sci", "wht", "ctx", "err")
    ]
    for path, kind in zip(written, ("sci", "wht", "ctx", "err"), strict=True):
        with fits.open(path, checksum=True) as hdus:
            hdus.verify("exception")
            np.testing.assert_array_equal(hdus[0].data, images[kind])
            assert [hdu.name for hdu in hdus[1:]] == (["HDRTAB"] if kind == "sci" else [])
            assert hdus[0].header["EXTEND"] is (kind == "sci")


def test_simple_products_without_context_have_no_context_file(tmp_path: Path) -> None:
    names = ProductNames(tmp_path, "m51", "_drz")
    planes = planes_of({kind: image for kind, image in make_images().items() if kind in {"sci", "wht"}})
    write_products(names, make_headers(build=False), planes, build=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m51_drz_sci.fits", "m51_drz_wht.fits"]


@pytest.mark.parametrize("band_rows", [1, 5, NY, 1000])
def test_bands_do_not_change_one_byte(tmp_path: Path, band_rows: int) -> None:
    names = ProductNames(tmp_path, "m51", "_drz")
    images = make_images()
    arguments = (names, make_headers(with_error=True), planes_of(images))
    (path,) = write_products(*arguments, build=True, checksum=True)
    whole = path.read_bytes()
    write_products(*arguments, build=True, checksum=True, band_rows=band_rows)
    # Only the times in the comments of the table's checksums may differ.
    table_at = whole.index(b"XTENSION= 'BINTABLE'")
    assert path.read_bytes()[:table_at] == whole[:table_at]


@pytest.mark.parametrize(("band_rows", "expected"), [(None, 4), (10, 4), (4, 11)])
def test_no_band_reaches_into_two_blocks(tmp_path: Path, band_rows: int | None, expected: int) -> None:
    class Blocked(MemoryPlane):
        block_rows = 10

        def rows(self, plane: int, y0: int, y1: int) -> NDArray[Any]:
            asked.append((y0, y1))
            return super().rows(plane, y0, y1)

    asked: list[tuple[int, int]] = []
    image = make_images()["sci"]
    path = write_image(tmp_path / "a.fits", fits.Header(), Blocked(image), band_rows=band_rows)
    assert len(asked) == expected
    assert all(y0 // 10 == (y1 - 1) // 10 for y0, y1 in asked)
    assert [y0 for y0, _y1 in asked[1:]] == [y1 for _y0, y1 in asked[:-1]]
    np.testing.assert_array_equal(fits.getdata(path), image)


def test_cards_about_storage_in_the_given_header_are_ignored(tmp_path: Path) -> None:
    given = header(SIMPLE=True, BITPIX=16, NAXIS=3, NAXIS1=5, NAXIS3=9, BZERO=32768.0, BSCALE=2.0, KEPT=1)
    image = np.ones((NY, NX), np.float32)
    path = write_image(tmp_path / "a.fits", given, MemoryPlane(image))
    with fits.open(path) as hdus:
        hdus.verify("exception")
        assert (hdus[0].shape, hdus[0].header["KEPT"]) == ((NY, NX), 1)
        np.testing.assert_array_equal(hdus[0].data, image)


def test_memory_is_one_band_however_large_the_image(tmp_path: Path) -> None:
    plane = CountingPlane(4000, 3001)  # 48 MB
    tracemalloc.start()
    path = write_image(tmp_path / "big.fits", fits.Header(), plane, checksum=True, band_rows=100)
    _size, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A band is 1.2 MB; it is held once as given and once as stored, plus headers.
    assert peak < 6e6
    assert plane.n_calls == 40
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(hdus[0].data[:, 17], np.arange(4000, dtype=np.float32))


def test_existing_product_is_replaced_only_by_a_complete_one(tmp_path: Path) -> None:
    names = ProductNames(tmp_path, "m51", "_drz")
    old = tmp_path / "m51_drz.fits"
    old.write_bytes(b"the previous mosaic")
    planes = planes_of(make_images())
    planes["wht"] = BrokenPlane(np.ones((NY, NX), np.float32))
    with pytest.raises(StoreError, match="chunk 7"):
        write_products(names, make_headers(with_error=True), planes, build=True, band_rows=4)
    assert old.read_bytes() == b"the previous mosaic"
    assert [path.name for path in tmp_path.iterdir()] == ["m51_drz.fits"]


def test_no_simple_product_appears_when_one_of_them_fails(tmp_path: Path) -> None:
    names = ProductNames(tmp_path, "m51", "_drz")
    planes = planes_of(make_images())
    planes["ctx"] = BrokenPlane(np.ones((NY, NX), np.int32))
    with pytest.raises(StoreError, match="chunk 7"):
        write_products(names, make_headers(with_error=True, build=False), planes, build=False, band_rows=4)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    PartialFile(path).temporary.write_bytes(b"x" * 99999)
    write_image(path, fits.Header(), MemoryPlane(np.zeros((NY, NX), np.float32)))
    with fits.open(path) as hdus:
        hdus.verify("exception")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_an_output_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    n_written = 0

    class FullDisk:
        """A file on a disk that takes 5000 bytes."""

        def __init__(self, file: Any) -> None:
            self._file = file

        def write(self, data: bytes) -> int:
            nonlocal n_written
            n_written += len(data)
            if n_written > 5000:
                raise OSError(code, "no room")
            return int(self._file.write(data))

        def close(self) -> None:
            self._file.close()

    real_open = Path.open

    def open_on_full_disk(path: Path, mode: str) -> Any:
        file = real_open(path, mode)
        return FullDisk(file) if path.name.endswith(".partial") else file

    monkeypatch.setattr(Path, "open", open_on_full_disk)
    plane = MemoryPlane(np.zeros((NY, NX), np.float64))
    with pytest.raises(OutputError, match=r"a\.fits: cannot be written \(no room\).*make room"):
        write_image(tmp_path / "a.fits", fits.Header(), plane, band_rows=3)
    assert list(tmp_path.iterdir()) == []


def test_product_larger_than_the_free_space_is_refused_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 2**20})
    monkeypatch.setattr(partial_module.shutil, "disk_usage", lambda _path: usage)
    plane = CountingPlane(1000, 1001)
    with pytest.raises(OutputError, match=r"needs 5 MiB but .* has 1 MiB free; make room"):
        write_image(tmp_path / "later" / "a.fits", fits.Header(), plane)
    assert plane.n_calls == 0
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_a_file_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file", encoding="ascii")
    with pytest.raises(OutputError, match="a file is where a folder should be"):
        write_image(tmp_path / "taken" / "a.fits", fits.Header(), MemoryPlane(np.zeros((3, 4), np.float32)))


def test_unwritable_folder_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, mode: str) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OutputError, match=r"Permission denied\); .* is not writable; change its"):
        write_image(tmp_path / "a.fits", fits.Header(), MemoryPlane(np.zeros((3, 4), np.float32)))


def test_damage_on_disk_is_noticed_before_the_product_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_close = PartialFile.close

    def close_and_truncate(partial: PartialFile) -> None:
        real_close(partial)
        with partial.temporary.open("r+b") as file:
            file.truncate(2880)

    monkeypatch.setattr(PartialFile, "close", close_and_truncate)
    with pytest.raises(OutputError, match=r"2880 bytes on disk, .* written; check the disk"):
        write_image(tmp_path / "a.fits", fits.Header(), MemoryPlane(np.zeros((NY, NX), np.float32)))
    assert list(tmp_path.iterdir()) == []


def test_a_header_that_is_read_back_otherwise_is_a_fault_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = PartialFile.close

    def close_and_spoil(self: PartialFile) -> None:
        self.overwrite(800, b"X")
        close(self)

    monkeypatch.setattr(PartialFile, "close", close_and_spoil)
    with pytest.raises(OutputError, match="other headers are read back than were written; check the disk"):
        write_image(tmp_path / "a.fits", fits.Header([("A", 1)] * 20), MemoryPlane(np.ones((3, 4))))
    assert list(tmp_path.iterdir()) == []


def test_rows_of_the_wrong_shape_or_type_are_refused(tmp_path: Path) -> None:
    class WrongType(MemoryPlane):
        def rows(self, plane: int, y0: int, y1: int) -> NDArray[Any]:
            return super().rows(plane, y0, y1).astype(np.float64)

    with pytest.raises(ValueError, match=r"rows 0:37 of a\.fits\.* came as \(37, 23\) float64"):
        write_image(tmp_path / "a.fits", fits.Header(), WrongType(np.zeros((NY, NX), np.float32)))
    with pytest.raises(ValueError, match="2 or 3 axes, not 1"):
        write_image(tmp_path / "a.fits", fits.Header(), MemoryPlane(np.zeros(NX, np.float32)))


def test_image_without_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is a err image but no header"):
        write_products(
            ProductNames(tmp_path, "m", "_drz"), make_headers(), planes_of(make_images()), build=True
        )
