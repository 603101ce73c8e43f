from __future__ import annotations

import gzip
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from mosaic.errors import OutputError, StructureError, TruncatedFileError
from mosaic.exposure.model import Chip, DataBlock, Exposure
from mosaic.products.dq_update import DqBits, write_dq_update
from mosaic.types import BoolArray, ShapeYX, Window

NY, NX = 31, 43
BITS = DqBits(crbit=4096, resetbits=4096 | 8192)


def make_flags(seed: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Flags with every bit in use, the sign bit included."""
    return np.random.default_rng(seed).integers(-(2**15), 2**15, (NY, NX)).astype(np.int16)


def make_masks() -> dict[int, BoolArray]:
    rng = np.random.default_rng(77)
    return {extver: rng.random((NY, NX)) < 0.1 for extver in (1, 2)}


MASKS = make_masks()


def mask_rows(chip: Chip, window: Window) -> BoolArray:
    return MASKS[chip.extver][window.slices]


def write_input(
    path: Path, *, checksum: bool = False, edit: Callable[[fits.HDUList], None] | None = None
) -> Path:
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header["ROOTNAME"] = "ja"
    for extver in (1, 2):
        sci = np.random.default_rng(extver).normal(50.0, 5.0, (NY, NX)).astype(np.float32)
        hdus.append(fits.ImageHDU(sci, name="SCI", ver=extver))
        hdus.append(fits.ImageHDU(sci**0.5, name="ERR", ver=extver))
        hdus.append(fits.ImageHDU(make_flags(extver), name="DQ", ver=extver))
    columns = [fits.Column("A", "K", array=np.arange(5))]
    hdus.append(fits.BinTableHDU.from_columns(columns, name="WCSCORR"))
    if edit is not None:
        edit(hdus)
    hdus.writeto(path, checksum=checksum)
    return path


def block(path: Path, hdus: fits.HDUList, name: str, extver: int) -> DataBlock:
    hdu = hdus[name, extver]
    offset = hdu.fileinfo()["datLoc"]
    bzero = float(hdu._orig_bzero)
    return DataBlock(str(path), offset, ShapeYX(NY, NX), hdu._orig_bitpix, 1.0, bzero)


def describe(path: Path, *, dq_path: Path | None = None, named: Path | None = None) -> Exposure:
    chips = []
    with fits.open(path) as hdus, fits.open(dq_path or path) as dq_hdus:
        for extver in (1, 2):
            described: dict[str, Any] = dict.fromkeys(Chip.__dataclass_fields__)
            described |= {
                "rootname": "ja",
                "path": str(path),
                "extver": extver,
                "hdu_index": hdus.index_of(("SCI", extver)),
                "shape_yx": ShapeYX(NY, NX),
                "sci": block(path, hdus, "SCI", extver),
                "dq": block(dq_path or path, dq_hdus, "DQ", extver),
            }
            chips.append(Chip(**described))
    shown = named or path
    fields: dict[str, Any] = dict.fromkeys(Exposure.__dataclass_fields__)
    fields |= {"path": str(shown), "rootname": "ja", "filename": shown.name, "chips": tuple(chips)}
    return Exposure(**fields)


def expected_flags(extver: int, bits: DqBits = BITS) -> np.ndarray[Any, np.dtype[np.uint16]]:
    flags = make_flags(extver).view(np.uint16).astype(int) & ~bits.resetbits
    return np.where(MASKS[extver], flags | bits.crbit, flags).astype(np.uint16)


def read_flags(path: Path, extver: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    with fits.open(path) as hdus:
        data = hdus["DQ", extver].data
        return cast("Any", data.astype(np.int64) & 0xFFFF).astype(np.uint16)


def test_copy_has_the_new_flags_and_otherwise_the_same_bytes(tmp_path: Path) -> None:
    path = write_input(tmp_path / "ja_flc.fits")
    exposure = describe(path)
    before = path.read_bytes()
    (copy,) = write_dq_update(exposure, mask_rows, BITS, mode="copy", folder=tmp_path / "out")
    assert copy == tmp_path / "out" / "ja_flc.fits"
    assert path.read_bytes() == before
    after = bytearray(copy.read_bytes())
    assert len(after) == len(before)
    for chip in exposure.chips:
        assert chip.dq is not None
        np.testing.assert_array_equal(read_flags(copy, chip.extver), expected_flags(chip.extver))
        end = chip.dq.offset + NY * NX * 2
        after[chip.dq.offset : end] = before[chip.dq.offset : end]
    assert bytes(after) == before


@pytest.mark.parametrize("crbit", [0, 1, 4096, 32768])
@pytest.mark.parametrize("resetbits", [0, 4096, 65535])
@pytest.mark.parametrize("is_unsigned", [False, True])
def test_all_sixteen_bits_can_be_set_and_cleared(
    tmp_path: Path, crbit: int, resetbits: int, *, is_unsigned: bool
) -> None:
    def store_unsigned(hdus: fits.HDUList) -> None:
        for extver in (1, 2):
            hdus["DQ", extver].data = make_flags(extver).view(np.uint16)

    path = write_input(tmp_path / "ja_flc.fits", edit=store_unsigned if is_unsigned else None)
    exposure = describe(path)
    assert exposure.chips[0].dq is not None
    assert exposure.chips[0].dq.bzero == (32768.0 if is_unsigned else 0.0)
    bits = DqBits(crbit, resetbits)
    (copy,) = write_dq_update(exposure, mask_rows, bits, mode="copy", folder=tmp_path / "out")
    for extver in (1, 2):
        np.testing.assert_array_equal(read_flags(copy, extver), expected_flags(extver, bits))


def test_wider_flags_keep_their_upper_bits(tmp_path: Path) -> None:
    upper = 1 << 20

    def store_wide(hdus: fits.HDUList) -> None:
        for extver in (1, 2):
            hdus["DQ", extver].data = make_flags(extver).view(np.uint16).astype(np.int32) | upper

    path = write_input(tmp_path / "ja_flc.fits", edit=store_wide)
    (copy,) = write_dq_update(describe(path), mask_rows, BITS, mode="copy", folder=tmp_path / "out")
    with fits.open(copy) as hdus:
        np.testing.assert_array_equal(hdus["DQ", 2].data, expected_flags(2).astype(np.int32) | upper)


@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("has_sky", [False, True])
def test_sky_is_written_for_the_chips_it_is_given_for(
    tmp_path: Path, *, checksum: bool, has_sky: bool
) -> None:
    def add_sky(hdus: fits.HDUList) -> None:
        for extver in (1, 2):
            hdus["SCI", extver].header["MDRIZSKY"] = (1.0, "an older sky")

    path = write_input(tmp_path / "ja_flc.fits", checksum=checksum, edit=add_sky if has_sky else None)
    sky = {4: 2.589824914932251}
    (copy,) = write_dq_update(describe(path), mask_rows, BITS, mode="copy", folder=tmp_path / "o", sky=sky)
    with fits.open(path) as old, fits.open(copy, checksum=checksum) as new:
        new.verify("exception")
        assert new["SCI", 2].header["MDRIZSKY"] == 2.589824914932251
        assert new["SCI", 1].header.get("MDRIZSKY") == (1.0 if has_sky else None)
        if has_sky:
            assert new["SCI", 2].header.comments["MDRIZSKY"] == "an older sky"
        for before, after in zip(old, new, strict=True):
            kept = [key for key in before.header if key not in {"MDRIZSKY", "CHECKSUM", "DATASUM"}]
            assert [before.header[key] for key in kept] == [after.header[key] for key in kept]
            if before.name != "DQ" and before.data is not None:
                np.testing.assert_array_equal(before.data, after.data)


def test_header_without_room_grows_by_one_block(tmp_path: Path) -> None:
    def fill_header(hdus: fits.HDUList) -> None:
        header = hdus["SCI", 1].header
        while (len(header) + 1) % 36:
            header.append((f"KEY{len(header)}", len(header)), end=True)

    path = write_input(tmp_path / "ja_flc.fits", edit=fill_header)
    sky = {1: 3.0, 4: 4.0}
    (copy,) = write_dq_update(describe(path), mask_rows, BITS, mode="copy", folder=tmp_path / "o", sky=sky)
    assert copy.stat().st_size == path.stat().st_size + 2880
    with fits.open(copy) as hdus:
        hdus.verify("exception")
        assert [hdus["SCI", extver].header["MDRIZSKY"] for extver in (1, 2)] == [3.0, 4.0]
        np.testing.assert_array_equal(hdus["SCI", 2].data, fits.getdata(path, ("SCI", 2)))
    np.testing.assert_array_equal(read_flags(copy, 2), expected_flags(2))


def test_file_is_replaced_in_place_and_keeps_its_permissions(tmp_path: Path) -> None:
    path = write_input(tmp_path / "ja_flc.fits")
    path.chmod(0o640)
    assert write_dq_update(describe(path), mask_rows, BITS, mode="inplace") == [path]
    np.testing.assert_array_equal(read_flags(path, 1), expected_flags(1))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_on_the_way_leaves_the_input_untouched(tmp_path: Path) -> None:
    path = write_input(tmp_path / "ja_flc.fits")
    before = path.read_bytes()

    def fail_at_second_chip(chip: Chip, window: Window) -> BoolArray:
        if chip.extver == 2:
            raise OSError("mask store is gone")
        return mask_rows(chip, window)

    with pytest.raises(OSError, match="mask store is gone"):
        write_dq_update(describe(path), fail_at_second_chip, BITS, mode="inplace")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_flags_in_a_file_of_their_own_are_updated_there(tmp_path: Path) -> None:
    path = write_input(tmp_path / "u4_c0m.fits")
    dq_path = write_input(tmp_path / "u4_c1m.fits")
    exposure = describe(path, dq_path=dq_path)
    written = write_dq_update(exposure, mask_rows, BITS, mode="copy", folder=tmp_path / "o", sky={1: 5.0})
    assert [file.name for file in written] == ["u4_c0m.fits", "u4_c1m.fits"]
    np.testing.assert_array_equal(read_flags(written[0], 1), make_flags(1).view(np.uint16))
    np.testing.assert_array_equal(read_flags(written[1], 1), expected_flags(1))
    assert fits.getval(written[0], "MDRIZSKY", ("SCI", 1)) == 5.0


def test_compressed_input_gives_an_uncompressed_copy_and_is_never_replaced(tmp_path: Path) -> None:
    staged = write_input(tmp_path / "staged.fits")
    named = tmp_path / "ja_flc.fits.gz"
    named.write_bytes(gzip.compress(staged.read_bytes()))
    exposure = describe(staged, named=named)
    (copy,) = write_dq_update(exposure, mask_rows, BITS, mode="copy", folder=tmp_path / "o")
    assert copy.name == "ja_flc.fits"
    np.testing.assert_array_equal(read_flags(copy, 1), expected_flags(1))
    with pytest.raises(OutputError, match="compressed, converted and remote inputs cannot be updated"):
        write_dq_update(exposure, mask_rows, BITS, mode="inplace")


def test_copy_never_replaces_its_input(tmp_path: Path) -> None:
    path = write_input(tmp_path / "ja_flc.fits")
    with pytest.raises(OutputError, match="would replace its input"):
        write_dq_update(describe(path), mask_rows, BITS, mode="copy", folder=tmp_path)
    with pytest.raises(ValueError, match="'copy' needs a folder"):
        write_dq_update(describe(path), mask_rows, BITS, mode="copy")


@pytest.mark.parametrize(("offset", "problem"), [(-1, "has no DQ pixels"), (5, "has no DQ array at byte 5")])
def test_flags_that_are_not_there_are_an_error(tmp_path: Path, offset: int, problem: str) -> None:
    exposure = describe(write_input(tmp_path / "ja_flc.fits"))
    chip = exposure.chips[1]
    assert chip.dq is not None
    moved = replace(chip, dq=replace(chip.dq, offset=offset))
    with pytest.raises(StructureError, match=problem):
        write_dq_update(
            replace(exposure, chips=(exposure.chips[0], moved)),
            mask_rows,
            BITS,
            mode="copy",
            folder=tmp_path / "o",
        )


def test_a_file_cut_short_since_it_was_catalogued_is_an_error(tmp_path: Path) -> None:
    path = write_input(tmp_path / "ja_flc.fits")
    exposure = describe(path)
    last = exposure.chips[1].dq
    assert last is not None
    with path.open("r+b") as file:
        file.truncate(last.offset + 100)
    with (
        pytest.warns(AstropyUserWarning, match="truncated"),
        pytest.raises(TruncatedFileError, match=r"ja_flc\.fits: the file ends at byte \d+ instead of"),
    ):
        write_dq_update(exposure, mask_rows, BITS, mode="copy", folder=tmp_path / "o")
    assert not list((tmp_path / "o").iterdir())


@pytest.mark.parametrize("bits", [{"crbit": 65536}, {"crbit": 1, "resetbits": -1}])
def test_bits_outside_sixteen_are_refused(bits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be between 0 and 65535"):
        DqBits(**bits)
