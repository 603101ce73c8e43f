"""`mosaic.compat.altwcs` beside `stwcs.wcsutil.altwcs` on the same files."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from astropy.io import fits

from mosaic.compat import altwcs
from mosaic.errors import ParameterError, StructureError
from tests.support.exposures import write_exposure

TERMS = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")


@pytest.fixture(scope="module")
def theirs() -> ModuleType:
    import stwcs.wcsutil.altwcs as module  # noqa: PLC0415

    return module


@pytest.fixture
def exposure(tmp_path: Path) -> Path:
    return write_exposure(tmp_path / "j94f05bgq_flt.fits")


def _headers(path: Path) -> list[fits.Header]:
    with fits.open(path) as hdul:
        return [hdul["SCI", version].header.copy() for version in (1, 2)]


def test_names_and_arguments_are_those_of_stwcs(theirs: ModuleType) -> None:
    assert set(altwcs.__all__) == set(theirs.__all__)
    for name in set(altwcs.__all__) - {"ArchiveMode"}:
        wanted = inspect.signature(getattr(theirs, name)).parameters
        found = inspect.signature(getattr(altwcs, name)).parameters
        assert list(found) == list(wanted), name
        assert [found[k].default for k in found] == [wanted[k].default for k in wanted], name
    assert {m.name: m.value for m in altwcs.ArchiveMode} == {m.name: m.value for m in theirs.ArchiveMode}


@pytest.mark.filterwarnings("ignore")
def test_files_after_a_history_of_calls_are_those_of_stwcs(
    theirs: ModuleType, exposure: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copy(exposure, tmp_path / "other_flt.fits"))
    for module, path in ((altwcs, exposure), (theirs, other)):
        assert module.archive_wcs(str(path), "SCI", wcsname="FIRST")[1] == "FIRST"
        with fits.open(path, mode="update") as hdul:
            for version in (1, 2):
                hdul["SCI", version].header["CRVAL1"] += 1e-3
                hdul["SCI", version].header["WCSNAME"] = "MOVED"
        module.archive_wcs(str(path), [("SCI", 1), ("SCI", 2)], wcskey="K", wcsname="SECOND")
        module.restoreWCS(str(path), "SCI", wcsname="FIRST")
        module.deleteWCS(str(path), "SCI", wcskey="K")
    for mine, his in zip(_headers(exposure), _headers(other), strict=True):
        for key in ("", *(k for k in altwcs.wcskeys(mine) if k.strip())):
            for term in TERMS:
                assert mine[f"{term}{key}"] == pytest.approx(his[f"{term}{key}"], rel=1e-12), (term, key)
        assert altwcs.wcskeys(mine) == theirs.wcskeys(his)
        assert altwcs.wcsnames(mine) == theirs.wcsnames(his)
        assert altwcs.available_wcskeys(mine) == theirs.available_wcskeys(his)
        assert altwcs.next_wcskey(mine) == theirs.next_wcskey(his)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("from_key", "to_key"), [(" ", None), ("A", None), ("A", " "), (" ", "C")])
def test_a_wcs_is_taken_out_under_any_key(
    theirs: ModuleType, exposure: Path, from_key: str, to_key: str | None
) -> None:
    assert altwcs.archive_wcs(exposure, "SCI", wcskey="A", wcsname="FIRST") == ("A", "FIRST")
    with fits.open(exposure) as hdul:
        mine = altwcs.wcs_from_key(hdul, ("SCI", 2), from_key, to_key)
        his = theirs.wcs_from_key(hdul, ("SCI", 2), from_key, to_key)
    end = (from_key if to_key is None else to_key).strip()
    for term in (*TERMS, "WCSNAME"):
        assert mine[f"{term}{end}"] == (
            pytest.approx(his[f"{term}{end}"], rel=1e-12) if term in TERMS else his[f"{term}{end}"]
        )


def test_a_pc_matrix_becomes_a_cd_matrix(theirs: ModuleType) -> None:
    header = fits.Header({"CDELT1A": 2.0, "CDELT2A": 3.0, "PC1_1A": 0.5, "PC2_1A": 0.25})
    assert dict(altwcs.pc2cd(header.copy(), "A")) == dict(theirs.pc2cd(header.copy(), "A"))


def test_what_is_not_there_is_named_and_the_file_stays(exposure: Path) -> None:
    before = exposure.read_bytes()
    with pytest.raises(ParameterError, match="no WCS called 'NOPE'"):
        altwcs.restoreWCS(exposure, "SCI", wcsname="NOPE")
    with pytest.raises(ParameterError, match="give wcskey or wcsname"):
        altwcs.deleteWCS(exposure, "SCI")
    with pytest.raises(StructureError, match=r"no extension \('SCI', 7\)"):
        altwcs.archive_wcs(exposure, ("SCI", 7))
    with pytest.raises(ParameterError, match="ext is missing"):
        altwcs.wcsnames(exposure)
    with pytest.raises(ParameterError, match="to_key = 'ab'"):
        altwcs.wcs_from_key(exposure, 1, " ", "ab")
    assert exposure.read_bytes() == before
