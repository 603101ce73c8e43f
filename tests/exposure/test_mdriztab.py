"""The row of an MDRIZTAB is chosen and read as DrizzlePac does; every fault of a table is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from mosaic.errors import ExposureError, MetadataError, MissingFileError, StructureError, TruncatedFileError
from mosaic.exposure.catalogue import read_catalogue
from mosaic.exposure.mdriztab import TableParameters, filter_names, read_mdriztab
from mosaic.exposure.model import Exposure
from tests.support.exposures import default_settings, write_exposure
from tests.support.mdriztab import write_mdriztab


def _exposure(folder: Path, **primary: Any) -> Exposure:
    cards = {"MDRIZTAB": "jref$t_mdz.fits", "FILTER1": "F606W", "FILTER2": "CLEAR2S", **primary}
    path = write_exposure(folder / "a_flc.fits", n_chips=1, shape_yx=(8, 9), primary=cards)
    return read_catalogue([str(path)], default_settings()).exposures[0]


def _read(folder: Path, n_exposures: int = 4, **options: Any) -> TableParameters:
    return read_mdriztab(_exposure(folder), n_exposures, **options)


ROWS = [
    ("ANY", 1), ("F606W,CLEAR2S", 2), ("F814W,CLEAR2S", 1), ("F606W,CLEAR2S", 6), ("F606W,CLEAR2S", 4),
    ("ANY", 3),
]  # fmt: skip


@pytest.mark.parametrize(
    ("n_exposures", "row"),
    # The last row of the filter, in the order of the table, that wants no more exposures than there are.
    [(2, 2), (3, 2), (4, 5), (5, 5), (6, 5), (60, 5)],
)
def test_the_last_row_that_wants_no_more_exposures_is_chosen(
    tmp_path: Path, n_exposures: int, row: int
) -> None:
    write_mdriztab(tmp_path / "t_mdz.fits", ROWS)
    assert _read(tmp_path, n_exposures).row == row


def test_rows_for_any_filter_serve_when_the_filter_has_none(tmp_path: Path) -> None:
    write_mdriztab(
        tmp_path / "t_mdz.fits", [("F814W,CLEAR2S", 1), ("any", 1), ("F435W,CLEAR2S", 1), ("ANY", 2)]
    )
    assert [_read(tmp_path, n).row for n in (1, 2, 9)] == [2, 4, 4]


def test_too_few_exposures_take_the_nearest_row_of_the_filter_and_row_1_as_the_peer_does(
    tmp_path: Path,
) -> None:
    write_mdriztab(
        tmp_path / "t_mdz.fits", [("F814W,CLEAR2S", 1), ("F606W,CLEAR2S", 6), ("F606W,CLEAR2S", 4)]
    )
    assert _read(tmp_path, 2).row == 3
    assert _read(tmp_path, 2, peer_compat=True).row == 1


def test_a_filter_without_any_row_is_named(tmp_path: Path) -> None:
    write_mdriztab(tmp_path / "t_mdz.fits", [("F814W,CLEAR2S", 1)])
    with pytest.raises(
        MetadataError, match=r"a: MDRIZTAB t_mdz.fits has no row for F606W,CLEAR2S nor for ANY"
    ):
        _read(tmp_path)
    assert _read(tmp_path, peer_compat=True).row == 1


@pytest.mark.parametrize(
    ("primary", "names"),
    [
        ({"INSTRUME": "ACS", "FILTER1": "F606W", "FILTER2": "CLEAR2S", "FILTER": "X"}, "F606W,CLEAR2S"),
        ({"INSTRUME": "ACS", "FILTER1": " ", "FILTER2": "F220W"}, "F220W"),
        ({"INSTRUME": "WFPC2", "FILTNAM1": "F555W", "FILTNAM2": ""}, "F555W"),
        ({"INSTRUME": "STIS", "OPT_ELEM": "MIRVIS", "FILTER": "Clear"}, "MIRVIS,Clear"),
        ({"INSTRUME": "WFC3", "FILTER": "F160W"}, "F160W"),
        ({"INSTRUME": "NICMOS", "FILTER": "F222M", "FILTER2": "BLANK"}, "F222M,BLANK"),
    ],
)
def test_filter_names_are_joined_as_in_the_table(primary: dict[str, str], names: str) -> None:
    assert filter_names(fits.Header(primary)) == names


def test_columns_become_parameters(tmp_path: Path) -> None:
    write_mdriztab(
        tmp_path / "t_mdz.fits",
        [("ANY", 1)],
        subsky=("L", [False]),
        crbitval=("J", [8192]),
        readnoise=("12A", ["5.5"]),
        bits=("J", [336]),
        final_rot=("E", [np.nan]),
        final_pixfrac=("E", [0.7]),
        driz_cr_snr=("12A", ["3.5 3.0 "]),
        final_outnx=("J", [-2147483647]),
        ra=("E", [5.5]),
        REFIMAGE=("12A", [""]),
        coeffs=("12A", ["header"]),
        shiftfile=("12A", ["x"]),
        staticfile=("12A", ["x"]),
        mdriztab=("L", [True]),
        novelty=("J", [1]),
    )
    found = _read(tmp_path).parameters
    assert found == {
        "skysub": False, "crbit": 8192, "rdnoise": "5.5", "driz_sep_bits": "336", "final_bits": "336",
        "final_rot": None, "final_pixfrac": float(np.float32(0.7)), "driz_cr_snr": "3.5 3.0",
        "final_outnx": None, "driz_sep_ra": 5.5, "final_ra": 5.5,
        "driz_sep_refimage": "", "final_refimage": "",
        "coeffs": True, "novelty": 1,
    }  # fmt: skip
    assert isinstance(found["skysub"], bool)


@pytest.mark.parametrize(("text", "value"), [("", False), ("INDEF", False), ("header", True)])
def test_coeffs_is_false_when_it_is_blank(tmp_path: Path, text: str, value: bool) -> None:  # noqa: FBT001
    write_mdriztab(tmp_path / "t_mdz.fits", [("ANY", 1)], coeffs=("12A", [text]))
    assert _read(tmp_path).parameters == {"coeffs": value}


@pytest.mark.parametrize("form", ["D", "I", "2E", "K"])
def test_a_column_of_another_format_is_named(tmp_path: Path, form: str) -> None:
    values = [[1, 2]] if form == "2E" else [1]
    write_mdriztab(tmp_path / "t_mdz.fits", [("ANY", 1)], final_scale=(form, values))
    with pytest.raises(StructureError, match=f"column final_scale has format {form}"):
        _read(tmp_path)


def test_the_table_is_found_by_its_environment_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "refs").mkdir()
    write_mdriztab(tmp_path / "refs/t_mdz.fits", [("ANY", 1)])
    with pytest.raises(
        MissingFileError, match=r"a: MDRIZTAB jref\$t_mdz.fits not found; set the environment"
    ):
        _read(tmp_path)
    for value in (f"{tmp_path}/refs", f"{tmp_path}/refs/"):
        monkeypatch.setenv("jref", value)
        assert _read(tmp_path).path == str(tmp_path / "refs/t_mdz.fits")


@pytest.mark.parametrize("value", ["", "N/A", None])
def test_an_exposure_without_table_is_named(tmp_path: Path, value: str | None) -> None:
    def edit(hdul: fits.HDUList) -> None:
        if value is not None:
            hdul[0].header["MDRIZTAB"] = value

    path = write_exposure(tmp_path / "a_flc.fits", n_chips=1, edit=edit)
    (exposure,) = read_catalogue([str(path)], default_settings()).exposures
    with pytest.raises(MetadataError, match="a: MDRIZTAB is absent, blank or N/A"):
        read_mdriztab(exposure, 1)


def test_a_file_that_is_no_table_is_named(tmp_path: Path) -> None:
    cases: list[tuple[bytes | fits.HDUList, type[ExposureError], str]] = [
        (b"nothing of the kind", TruncatedFileError, "unreadable"),
        (fits.HDUList([fits.PrimaryHDU()]), StructureError, "has no table"),
        (fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((2, 2)))]), StructureError, "no rows with"),
    ]
    for content, kind, text in cases:
        path = tmp_path / "t_mdz.fits"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content.writeto(path, overwrite=True)
        with pytest.raises(kind, match=text):
            _read(tmp_path)
    write_mdriztab(tmp_path / "t_mdz.fits", [])
    with pytest.raises(StructureError, match="no rows with the columns"):
        _read(tmp_path)
