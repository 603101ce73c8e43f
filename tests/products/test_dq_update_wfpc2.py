"""Cosmic rays of a WFPC2 exposure go into its file of flags, its sky into its file of pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mosaic.errors import OutputError
from mosaic.exposure.catalogue import read_catalogue
from mosaic.exposure.model import Chip, Exposure
from mosaic.products.dq_update import DqBits, write_dq_update
from mosaic.types import BoolArray, Window
from tests.support.exposures import default_settings
from tests.support.wfpc2 import Wfpc2Recipe, pixels, write_geis, write_pair, write_waivered

BITS = DqBits(crbit=4096, resetbits=8)
SKY = {1: 1.5, 2: 2.5, 3: 3.5, 4: 4.5}
SHAPE = Wfpc2Recipe().shape_yx


def _exposure(path: Path) -> Exposure:
    (exposure,) = read_catalogue([str(path)], default_settings(), "stop", path.parent / "s").exposures
    return exposure


def _hits(extver: int) -> BoolArray:
    return np.random.default_rng(extver).random(SHAPE) < 0.1


def _mask_rows(chip: Chip, window: Window) -> BoolArray:
    return _hits(chip.extver)[window.slices]


def _check(pixel_file: Path, flag_file: Path) -> None:
    sci, flags = pixels(Wfpc2Recipe())
    with fits.open(pixel_file) as file, fits.open(flag_file) as other:
        for extver in (1, 2, 3, 4):
            np.testing.assert_array_equal(file["SCI", extver].data, sci[extver - 1])
            assert file["SCI", extver].header["MDRIZSKY"] == SKY[extver]
            wanted = np.where(_hits(extver), (flags[extver - 1] & ~8) | 4096, flags[extver - 1] & ~8)
            np.testing.assert_array_equal(other["SDQ", extver].data, wanted)
            assert "MDRIZSKY" not in other["SDQ", extver].header


@pytest.mark.parametrize(
    ("write", "names"),
    [
        (write_pair, ["u1_c0m.fits", "u1_c1m.fits"]),
        (write_geis, ["u1_c0h.fits", "u1_c1h.fits"]),
        (write_waivered, ["u1_c0h.fits", "u1_c1h.fits"]),
    ],
)
def test_copies_of_both_files_are_written(
    tmp_path: Path, write: Callable[[Path], Path], names: list[str]
) -> None:
    path = write(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    folder = tmp_path / "out"
    written = write_dq_update(_exposure(path), _mask_rows, BITS, mode="copy", folder=folder, sky=SKY)
    assert written == [folder / name for name in names]
    _check(*written)
    assert {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


def test_both_files_are_updated_in_place_when_asked(tmp_path: Path) -> None:
    path = write_pair(tmp_path)
    written = write_dq_update(_exposure(path), _mask_rows, BITS, mode="inplace", sky=SKY)
    assert written == [path, tmp_path / "u1_c1m.fits"]
    _check(*written)


@pytest.mark.parametrize("write", [write_geis, write_waivered])
def test_converted_inputs_are_never_replaced(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    path = write(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(OutputError, match="converted and remote inputs cannot be updated in place"):
        write_dq_update(_exposure(path), _mask_rows, BITS, mode="inplace")
    assert {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before
