from __future__ import annotations

from pathlib import Path

import pytest
from astropy.io import fits

from mosaic import pipeline
from mosaic.errors import ParameterError
from mosaic.options import RunOptions
from mosaic.products.empty import write_empty_product
from tests.support.products import write_input


def test_headers_of_the_first_readable_input_without_pixels(tmp_path: Path) -> None:
    # DrizzlePac 3.11: <output>_drz.fits for every suffix; SCI, WHT, CTX with the header of (SCI,1).
    path = write_input(tmp_path, "ja", instrument="ACS", exptime=0.0)
    (tmp_path / "junk.fits").write_bytes(b"junk")
    inputs = [str(tmp_path / "none.fits"), str(tmp_path / "junk.fits"), str(path)]
    written = write_empty_product(inputs, str(tmp_path / "m51"), ["ja: EXPTIME is 0"])
    assert written == tmp_path / "m51_drz.fits"
    with fits.open(written) as hdus:
        assert [(hdu.name, hdu.data) for hdu in hdus] == [
            ("PRIMARY", None),
            ("SCI", None),
            ("WHT", None),
            ("CTX", None),
        ]
        header = hdus[0].header
        expected = {
            "NEXTEND": 3,
            "FILENAME": "m51_drz.fits",
            "ROOTNAME": "m51",
            "ASN_MTYP": "PROD-DTH",
            "PRODSTAT": "EMPTY",
            "FILTER1": "F606W",
        }
        assert {key: header[key] for key in expected} == expected
        assert list(header["HISTORY"])[-1] == "ja: EXPTIME is 0"
        assert {hdu.header["PHOTFLAM"] for hdu in hdus[1:]} == {1.0e-19}


def test_without_a_readable_input_there_is_no_product(tmp_path: Path) -> None:
    assert write_empty_product([str(tmp_path / "none.fits")], str(tmp_path / "m51"), []) is None
    assert not list(tmp_path.iterdir())


def test_a_product_of_an_earlier_run_is_left_alone(tmp_path: Path) -> None:
    path = write_input(tmp_path, "ja", instrument="ACS", exptime=0.0)
    (tmp_path / "m51_drz.fits").write_bytes(b"precious")
    assert write_empty_product([str(path)], str(tmp_path / "m51"), []) is None
    assert (tmp_path / "m51_drz.fits").read_bytes() == b"precious"


@pytest.mark.parametrize("output", ["", "final", "final.fits", "final_drz.fits", "./"])
def test_name_of_the_empty_product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    path = write_input(tmp_path, "ja", instrument="ACS", exptime=0.0)
    monkeypatch.chdir(tmp_path)
    assert write_empty_product([str(path)], output, []) == Path("final_drz.fits")


def test_a_run_that_sets_everything_aside_leaves_it_and_fails(tmp_path: Path) -> None:
    path = write_input(tmp_path, "ja", instrument="ACS", exptime=0.0)
    options = RunOptions.resolve(scheduler="serial", memory=1 << 30, on_error="skip")
    with pytest.raises(ParameterError, match=r"no exposure is left to drizzle: .*ja"):
        pipeline.drizzle([str(path)], str(tmp_path / "m51"), options=options, runfile="")
    assert fits.getval(tmp_path / "m51_drz.fits", "PRODSTAT") == "EMPTY"
