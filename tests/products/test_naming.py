from __future__ import annotations

from pathlib import Path

import pytest

from mosaic.errors import ParameterError
from mosaic.products.naming import ExposureNames, ProductNames, exposure_root, resolve_product_names
from mosaic.types import ShapeYX


def resolve(output: str, first: str = "ja_flt.fits", instrument: str = "ACS", n: int = 2) -> ProductNames:
    return resolve_product_names(output, first, instrument=instrument, n_exposures=n)


# Names that DrizzlePac 3.11 gives for the same `output`: (output, first input, instrument) -> sci name.
PEER = [
    ("foo", "ja_flt.fits", "ACS", "foo_drz_sci.fits"),
    ("foo", "ja_flc.fits", "ACS", "foo_drc_sci.fits"),
    ("foo.fits", "ja_flt.fits", "ACS", "foo_sci.fits"),
    ("foo_drc", "ja_flc.fits", "ACS", "foo_drc_sci.fits"),
    ("foo_drz.fits", "ja_flc.fits", "ACS", "foo_drz_sci.fits"),
    ("t", "u4_c0m.fits", "WFPC2", "t_drw_sci.fits"),
    ("final_drz_x", "ja_flt.fits", "ACS", "final_drz_x_sci.fits"),
]


@pytest.mark.parametrize(("output", "first", "instrument", "name"), PEER)
def test_simple_products_are_named_as_drizzlepac_names_them(
    output: str, first: str, instrument: str, name: str
) -> None:
    assert resolve(output, first, instrument).simple("sci") == name


@pytest.mark.parametrize(
    ("output", "first", "instrument", "built", "rootname", "median"),
    [
        ("m51", "ja_flc.fits", "ACS", "m51_drc.fits", "m51", "m51_med.fits"),
        ("m51.fits", "ja_flc.fits", "ACS", "m51.fits", "m51", "m51_med.fits"),
        ("t", "u4_c0m.fits", "WFPC2", "t_drw.fits", "t", "t_drw_med.fits"),
        ("a_drz", "ja_flt.fits.gz", "ACS", "a_drz.fits", "a", "a_med.fits"),
    ],
)
def test_rootname_has_no_product_suffix(
    output: str, first: str, instrument: str, built: str, rootname: str, median: str
) -> None:
    names = resolve(output, first, instrument)
    assert (names.built, names.rootname, names.median) == (built, rootname, median)


def test_folder_is_kept_apart_from_the_name() -> None:
    names = resolve("my_drz_data/run_1/m51")
    assert names.folder == Path("my_drz_data/run_1")
    assert names.stem == "m51_drz"
    assert names.path(names.built) == Path("my_drz_data/run_1/m51_drz.fits")
    assert names.simple("err") == "m51_drz_err.fits"


@pytest.mark.parametrize(
    ("output", "n_exposures", "association", "stem"),
    [
        ("", 1, "", "ja_drz"),
        ("", 3, "", "final_drz"),
        ("", 3, "j8bt06010", "j8bt06010_drz"),
        ("out/", 3, "", "final_drz"),
    ],
)
def test_without_output_the_name_follows_the_inputs(
    output: str, n_exposures: int, association: str, stem: str
) -> None:
    names = resolve_product_names(
        output, "x/ja_flt.fits", instrument="ACS", n_exposures=n_exposures, association=association
    )
    assert names.stem == stem
    assert names.folder == Path(output)


@pytest.mark.parametrize("output", ["_drz", "_drc.fits"])
def test_a_name_without_root_is_refused(output: str) -> None:
    with pytest.raises(ParameterError, match="leaves no name"):
        resolve(output)


@pytest.mark.parametrize(
    ("root", "group", "name"),
    [
        ("final", "", "_2048x4096_1_staticMask.fits"),
        ("T_x", "", "t_2048x4096_1_staticMask.fits"),
        ("a_b_c", "ACS_WFC", "a_b_acs_wfc_2048x4096_1_staticMask.fits"),
    ],
)
def test_static_mask_is_named_after_the_visit(root: str, group: str, name: str) -> None:
    names = ProductNames(Path("some_folder"), root, "_drz")
    assert names.static_mask(ShapeYX(2048, 4096), 1, group) == name


def test_intermediates_of_an_exposure() -> None:
    names = ExposureNames("ja")
    assert names.single_sci == "ja_single_sci.fits"
    assert names.single_wht == "ja_single_wht.fits"
    assert names.cleaned == "ja_crclean.fits"
    assert names.blot(2) == "ja_sci2_blt.fits"
    assert names.cosmic_ray_mask(1) == "ja_sci1_crmask.fits"
    assert names.weight_map(1, "single") == "ja_sci1_single_mask.fits"
    assert names.weight_map(1, "final") == "ja_sci1_final_mask.fits"
    assert names.sky_mask(1) == "ja_skymatch_mask_sci1.fits"
    assert names.dq_mask(3) == "ja_sci3_dqmask.fits"


@pytest.mark.parametrize(
    ("filename", "root"),
    [
        ("/d/j8bt06nyq_flt.fits.gz", "j8bt06nyq"),
        ("IB4606C5Q_FLC.fits", "IB4606C5Q"),
        ("u40x010hm_c0m.fits", "u40x010hm"),
        ("plain.fits", "plain"),
    ],
)
def test_root_of_an_exposure_has_no_calibration_suffix(filename: str, root: str) -> None:
    assert exposure_root(filename) == root
