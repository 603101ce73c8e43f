"""Sky values and sky masks that users give: every row of the table of what becomes of them, and bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from mosaic.errors import MetadataError, MissingFileError, ParameterError, StructureError
from mosaic.exposure.catalogue import Catalogue, read_catalogue
from mosaic.exposure.model import SkyLevel
from mosaic.exposure.reader import read_rows
from mosaic.exposure.sky_masks import parse_mask_line
from mosaic.exposure.user_sky import read_sky_list
from mosaic.types import Window
from tests.support.exposures import default_settings, write_exposure


def _set_sky(hdul: fits.HDUList) -> None:
    hdul["SCI", 2].header["MDRIZSKY"] = 7.5
    for extver in (1, 2):
        hdul["SCI", extver].header["MYSKY"] = 40.0 + extver


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    """Two exposures of two chips; MDRIZSKY in the second chip of the second one only."""
    first = write_exposure(tmp_path / "aaa_flc.fits", expstart=55000.0)
    second = write_exposure(tmp_path / "bbb_flc.fits", expstart=55001.0, edit=_set_sky)
    return [str(first), str(second)]


def _read(inputs: list[str], on_error: Any = "stop", **changes: Any) -> Catalogue:
    return read_catalogue(inputs, default_settings(**changes), on_error)


def _levels(catalogue: Catalogue) -> list[SkyLevel | None]:
    return [chip.user_sky for exposure in catalogue.exposures for chip in exposure.chips]


def _write(folder: Path, text: str, name: str = "sky.txt") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_skyfile_gives_one_value_for_all_chips_or_one_for_each(inputs: list[str], tmp_path: Path) -> None:
    text = f"# my values\n\naaa_flc.fits 31.5   # the dark one\n{inputs[1]}  12 -0.25\n"
    catalogue = _read(inputs, skyfile=_write(tmp_path, text))
    assert _levels(catalogue) == [SkyLevel(v, v, v) for v in (31.5, 31.5, 12.0, -0.25)]
    assert catalogue.notes == ()


@pytest.mark.parametrize(
    ("comment", "is_applied"),
    [
        ("# applied = yes", True),
        ("# Sky was applied: True", True),
        ("#applied=T", True),
        ("# applied: n", False),
        ("# not yet", False),
    ],
)
def test_values_that_were_applied_are_background_only(
    inputs: list[str], tmp_path: Path, comment: str, *, is_applied: bool
) -> None:
    text = f"{comment}\naaa_flc.fits 3\nbbb_flc.fits 4\n"
    levels = _levels(_read(inputs, skyfile=_write(tmp_path, text)))
    expected = [SkyLevel(None if is_applied else v, v, v) for v in (3.0, 3.0, 4.0, 4.0)]
    assert levels == expected


def test_an_exposure_without_entry_is_an_error_or_set_aside(inputs: list[str], tmp_path: Path) -> None:
    path = _write(tmp_path, "aaa_flc.fits 3\nccc_flc.fits 4\n")
    with pytest.raises(MetadataError, match=r"^bbb: skyfile='.*sky.txt' has no entry for bbb_flc.fits; add"):
        _read(inputs, skyfile=path)
    catalogue = _read(inputs, "skip", skyfile=path)
    assert [e.rootname for e in catalogue.exposures] == ["aaa"]
    assert [e.exposure for e in catalogue.rejected] == ["bbb"]
    assert catalogue.notes == ("skyfile: ccc_flc.fits is none of the inputs",)


def test_the_peer_takes_the_header_where_an_entry_is_missing(inputs: list[str], tmp_path: Path) -> None:
    # DrizzlePac 3.11 with a skyfile that lacks an exposure: MDRIZSKY of the header is subtracted where there
    # is one, else nothing; the header is not touched.
    path = _write(tmp_path, "aaa_flc.fits 3\n")
    catalogue = _read(inputs, skyfile=path, peer_compat=True)
    assert _levels(catalogue)[2:] == [SkyLevel(None, 0.0, None), SkyLevel(7.5, 7.5, None)]
    assert catalogue.notes == ("skyfile: no entry for bbb_flc.fits; the MDRIZSKY of its headers is used",)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("aaa_flc.fits\n", "line 1: aaa_flc.fits has no value"),
        ("\naaa_flc.fits 3 much\n", "line 2: 'much' is not a finite number"),
        ("aaa_flc.fits nan\n", "line 1: 'nan' is not a finite number"),
        ("aaa_flc.fits 3\nfolder/aaa_flc.fits 4\n", "line 2: folder/aaa_flc.fits is listed twice"),
        ("# applied = perhaps\n", "line 1: 'applied' is followed by 'perhaps'; write yes or no"),
    ],
)
def test_lines_that_make_no_sense_are_named(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        read_sky_list(_write(tmp_path, text), "skyfile")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_list_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ParameterError, match=r"skyfile='.*list.txt': the file cannot be read"):
        read_sky_list(str(path), "skyfile")


def test_a_wrong_number_of_values_is_an_error(inputs: list[str], tmp_path: Path) -> None:
    path = _write(tmp_path, "aaa_flc.fits 1 2 3\nbbb_flc.fits 1\n")
    with pytest.raises(MetadataError, match=r"^aaa: .* gives 3 values, the file has 2 SCI extensions"):
        _read(inputs, skyfile=path)


def test_values_belong_to_the_extension_of_their_number(inputs: list[str], tmp_path: Path) -> None:
    path = _write(tmp_path, "aaa_flc.fits 1 2\nbbb_flc.fits 3 4\n")
    levels = _levels(_read(inputs, skyfile=path, group="sci,2"))
    assert [level.subtracted for level in levels if level is not None] == [2.0, 4.0]
    first = _levels(_read(inputs, skyfile=path, group="sci,1"))
    assert [level.subtracted for level in first if level is not None] == [1.0, 3.0]


def test_keyword_of_skyuser_is_background_only(inputs: list[str]) -> None:
    catalogue = _read(inputs[1:], skysub=False, skyuser="mysky")
    assert _levels(catalogue) == [SkyLevel(None, 41.0, 41.0), SkyLevel(None, 42.0, 42.0)]
    with pytest.raises(MetadataError, match=r"^aaa\[sci,1\]: skyuser='MYSKY': the keyword is absent or not"):
        _read(inputs, skysub=False, skyuser="MYSKY")
    with pytest.raises(MetadataError, match=r"^aaa\[sci,1\]: skyuser='BUNIT'"):
        _read(inputs, skysub=False, skyuser="BUNIT")
    # The peer adds MDRIZSKY = 0 before it looks.
    with pytest.raises(MetadataError, match="MDRIZSKY"):
        _read(inputs, skysub=False, skyuser="MDRIZSKY")
    peer = _read(inputs, skysub=False, skyuser="MDRIZSKY", peer_compat=True)
    assert [level.background for level in _levels(peer) if level is not None] == [0.0, 0.0, 0.0, 7.5]


@pytest.mark.parametrize("peer", [False, True])
def test_file_of_skyuser_is_subtracted_by_the_peer_only(
    inputs: list[str], tmp_path: Path, *, peer: bool
) -> None:
    path = _write(tmp_path, "aaa_flc.fits 3\nbbb_flc.fits 4 5\n")
    levels = _levels(_read(inputs, skysub=False, skyuser=f"@{path}", peer_compat=peer))
    assert levels == [SkyLevel(v if peer else None, v, v) for v in (3.0, 3.0, 4.0, 5.0)]


def test_file_of_skyuser_without_entry(inputs: list[str], tmp_path: Path) -> None:
    path = _write(tmp_path, "aaa_flc.fits 3\n")
    with pytest.raises(MetadataError, match=r"skyuser='.*' has no entry for bbb_flc.fits"):
        _read(inputs, skysub=False, skyuser=f"@{path}")
    peer = _levels(_read(inputs, skysub=False, skyuser=f"@{path}", peer_compat=True))
    assert peer[2:] == [SkyLevel(None, 0.0, 0.0), SkyLevel(7.5, 7.5, 7.5)]


def test_parameters_without_use_are_told(inputs: list[str], tmp_path: Path) -> None:
    path = _write(tmp_path, "aaa_flc.fits 3\nbbb_flc.fits 4\n")
    assert _read(inputs, skyuser="MYSKY").notes == ("skyuser='MYSKY' is not used: skysub is on",)
    off = _read(inputs, skysub=False, skyfile=path, skymask_cat="masks.cat")
    assert _levels(off) == [None] * 4
    assert off.notes == (
        f"skyfile={path!r} is not used: skysub is off",
        "skymask_cat='masks.cat' is not used: skysub is off",
    )
    given = _read(inputs, skyfile=path, skymask_cat="masks.cat")
    assert given.notes == ("skymask_cat='masks.cat' is not used: skyfile gives the sky",)


def test_values_and_masks_are_part_of_the_identity_of_an_exposure(inputs: list[str], tmp_path: Path) -> None:
    def prints(**changes: Any) -> list[str]:
        return [exposure.fingerprint for exposure in _read(inputs, **changes).exposures]

    plain = prints()
    path = _write(tmp_path, "aaa_flc.fits 3\nbbb_flc.fits 4\n")
    listed = prints(skyfile=path)
    _write(tmp_path, "aaa_flc.fits 3\nbbb_flc.fits 4.5\n")
    changed = prints(skyfile=path)
    assert len({plain[0], listed[0]}) == len({plain[1], listed[1], changed[1]}) - 1 == 2
    assert listed[0] == changed[0]
    _mask(tmp_path / "m.fits")
    catalogue = _write(tmp_path, "aaa_flc.fits,m.fits\n", "masks.cat")
    masked = prints(skymask_cat=catalogue)
    assert masked[0] != plain[0]
    assert masked[1] == plain[1]
    _mask(tmp_path / "m.fits", extra=True)
    assert prints(skymask_cat=catalogue)[0] not in {masked[0], plain[0]}


def _mask(path: Path, shape: tuple[int, int] = (60, 97), *, extra: bool = False) -> np.ndarray:
    values = np.zeros(shape, dtype=np.int16)
    values[:, 40:] = 1
    hdul = fits.HDUList(
        [fits.PrimaryHDU(values), fits.ImageHDU(values[::-1] * np.int16(3), name="MASK", ver=2)]
    )
    if extra:
        hdul.append(fits.ImageHDU(values))
    hdul.writeto(path, overwrite=True)
    return values


def _masked_chips(catalogue: Catalogue) -> list[str]:
    return [chip.name for e in catalogue.exposures for chip in e.chips if chip.sky_mask is not None]


def test_masks_go_to_extensions_in_their_order(inputs: list[str], tmp_path: Path) -> None:
    values = _mask(tmp_path / "m.fits")
    text = (
        "# masks\naaa_flc.fits, None, m.fits['mask',2]\nbbb_flc.fits{4,('sci',1)},m.fits,,\nzzz.fits,m.fits\n"
    )
    catalogue = _read(inputs, skymask_cat=_write(tmp_path, text))
    assert _masked_chips(catalogue) == ["aaa[sci,2]", "bbb[sci,2]"]
    assert catalogue.notes == ("skymask_cat: zzz.fits is none of the inputs",)
    blocks = [e.chips[1].sky_mask for e in catalogue.exposures]
    whole = Window(0, 60, 0, 97)
    for block, expected in zip(blocks, (values[::-1] * 3, values), strict=True):
        assert block is not None
        np.testing.assert_array_equal(read_rows(block, whole), expected)


def test_the_peer_masks_extensions_from_the_first_on(inputs: list[str], tmp_path: Path) -> None:
    # DrizzlePac 3.11 run with the line "image[sci,2],mask": the mask was applied to sci,1.
    _mask(tmp_path / "m.fits")
    path = _write(tmp_path, "aaa_flc.fits[sci,2],m.fits\n")
    assert _masked_chips(_read(inputs, skymask_cat=path)) == ["aaa[sci,2]"]
    assert _masked_chips(_read(inputs, skymask_cat=path, peer_compat=True)) == ["aaa[sci,1]"]


def test_a_compressed_mask_is_staged(inputs: list[str], tmp_path: Path) -> None:
    values = _mask(tmp_path / "m.fits.gz")
    settings = default_settings(skymask_cat=_write(tmp_path, "aaa_flc.fits,m.fits.gz\n"))
    catalogue = read_catalogue(inputs, settings, "stop", tmp_path / "staged")
    block = catalogue.exposures[0].chips[0].sky_mask
    assert block is not None
    np.testing.assert_array_equal(read_rows(block, Window(0, 60, 0, 97)), values)


@pytest.mark.parametrize(
    ("line", "extensions", "masks"),
    [
        ("a.fits", (("SCI", None),), ()),
        ("'a,1.fits'[4], \"None\"", (4,), (("None", 0),)),
        (
            "x/a.fits{1,2,('sci',3)},m1.fits,,m3.fits[0]",
            (1, 2, ("SCI", 3)),
            (("m1.fits", 0), None, ("m3.fits", 0)),
        ),
        ("a.fits{'sci'},none,m.fits[sci,2]", (("SCI", None),), (None, ("m.fits", ("SCI", 2)))),
        ("a.fits['sci'],m.fits[mask]", (("SCI", 1),), (("m.fits", ("MASK", 1)),)),
        ("a.fits{(sci,*)},m.fits{1,4}", (("SCI", None),), (("m.fits", 1), ("m.fits", 4))),
    ],
)
def test_grammar_of_the_mask_catalogue(
    line: str, extensions: tuple[Any, ...], masks: tuple[Any, ...]
) -> None:
    found = parse_mask_line(line, "here")
    assert found.image in {"a.fits", "a,1.fits"}
    assert found.extensions == extensions
    assert found.masks == masks


@pytest.mark.parametrize(
    ("line", "match"),
    [
        (",m.fits", "names no image"),
        ("a.fits[1,m.fits", "is not understood"),
        ("a.fits],m.fits", "is not understood"),
        ("a.fits[[1]],m.fits", "is not understood"),
        ("a.fits,[1]", "belongs to no file"),
        ("a.fits[],m.fits", "must name one extension"),
        ("a.fits[1,4],m.fits", "must name one extension; use curly"),
        ("a.fits[?],m.fits", "names no extension"),
        ("a.fits,m.fits{'mask'}", "a mask must name one version"),
    ],
)
def test_lines_of_the_mask_catalogue_that_make_no_sense(line: str, match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        parse_mask_line(line, "here")


@pytest.mark.parametrize(
    ("line", "error", "match"),
    [
        (
            "aaa_flc.fits,small.fits",
            StructureError,
            r"^aaa\[sci,1\]: sky mask .* is 50 x 60 pixels, SCI is 97 x 60",
        ),
        (
            "aaa_flc.fits,none.fits",
            MissingFileError,
            r"^aaa\[sci,1\]: sky mask .*none.fits: cannot be opened",
        ),
        ("aaa_flc.fits,m.fits[7]", StructureError, r"sky mask .* has no extension 7"),
        ("aaa_flc.fits,m.fits[mask,1]", StructureError, "has no extension"),
        ("aaa_flc.fits,m.fits,m.fits,m.fits", StructureError, "gives 3 masks for 2 SCI extensions"),
        ("aaa_flc.fits[err,1],m.fits", StructureError, "which is no SCI extension in use"),
        ("aaa_flc.fits[2],m.fits", StructureError, "names its extension 2, which is no SCI"),
        ("aaa_flc.fits,m.fits\naaa_flc.fits,m.fits", ParameterError, "aaa_flc.fits has two lines"),
    ],
)
def test_masks_that_do_not_fit_are_named(
    inputs: list[str], tmp_path: Path, line: str, error: type[Exception], match: str
) -> None:
    _mask(tmp_path / "m.fits")
    _mask(tmp_path / "small.fits", (60, 50))
    path = _write(tmp_path, line)
    with pytest.raises(error, match=match):
        _read(inputs, skymask_cat=path)
    if error is not ParameterError:
        assert [e.exposure for e in _read(inputs, "skip", skymask_cat=path).rejected] == ["aaa"]


def test_a_mask_catalogue_that_cannot_be_read_is_named(inputs: list[str], tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"skymask_cat='.*nowhere' *: the file cannot be read"):
        _read(inputs, skymask_cat=str(tmp_path / "nowhere"))
