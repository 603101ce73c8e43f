"""The sets of exposures of the comparison: simulated, derived from those (`tests.parity.recipes`), real."""

from __future__ import annotations

from typing import Any

from tests.parity.cases import ExposureSet

ACS_SMALL = "acs_small"
TINY = "tiny"
_AT: dict[str, Any] = {"target_ra_deg": 0.2, "target_dec_deg": 2.2}
_TINY: dict[str, Any] = {"instrument": "acs/wfc", "chip_shape": (96, 128), "seed": 21, "sky_e": 60.0, **_AT}
_IR: dict[str, Any] = {"instrument": "wfc3/ir", "chip_shape": (90, 100), "seed": 23, **_AT}

_SIMULATED = (
    ExposureSet(ACS_SMALL, {"instrument": "acs/wfc", "chip_shape": (320, 512), "seed": 11}),
    ExposureSet("uvis_small", {"instrument": "wfc3/uvis", "chip_shape": (320, 512), "seed": 12}),
    ExposureSet("ir_small", {"instrument": "wfc3/ir", "chip_shape": (260, 250), "seed": 13}),
    ExposureSet("acs_full", {"instrument": "acs/wfc", "seed": 14}),
    ExposureSet("uvis_full", {"instrument": "wfc3/uvis", "seed": 15}),
    ExposureSet("ir_full", {"instrument": "wfc3/ir", "seed": 16}),
    ExposureSet("stis_ccd_small", {"instrument": "stis/ccd", "chip_shape": (320, 400), "seed": 17}),
    ExposureSet("stis_mama_small", {"instrument": "stis/nuv-mama", "chip_shape": (320, 400), "seed": 18}),
    ExposureSet("nicmos", {"instrument": "nicmos/nic2", "seed": 19}),
    ExposureSet(TINY, {**_TINY, "program": "tny"}),
    ExposureSet("tiny_uvis", {**_TINY, "instrument": "wfc3/uvis", "seed": 22, "program": "tnu"}),
    ExposureSet("tiny_ir", {**_IR, "program": "tni"}),
    ExposureSet(
        "tiny_hrc",
        {"instrument": "acs/hrc", "chip_shape": (120, 110), "seed": 24, "program": "tnh", **_AT},
    ),
    ExposureSet(
        "tiny_sbc",
        {"instrument": "acs/sbc", "chip_shape": (120, 110), "seed": 25, "program": "tns", **_AT},
    ),
    ExposureSet("roll", {**_TINY, "roll_deg": 37.0, "seed": 26, "program": "rol"}),
    ExposureSet("ra_zero", {**_TINY, "target_ra_deg": 0.0, "seed": 27, "program": "raz"}),
    ExposureSet("many34", {**_TINY, "chip_shape": (40, 48), "exposures": 17, "seed": 28, "program": "m34"}),
    ExposureSet("many66", {**_TINY, "chip_shape": (40, 48), "exposures": 33, "seed": 29, "program": "m66"}),
    ExposureSet("field", {**_IR, "pattern": "mosaic:2x2", "exposures": 2, "seed": 30, "program": "fld"}),
    ExposureSet(
        "islands",
        {**_IR, "pattern": "mosaic:2x1", "exposures": 2, "sky_scatter": 0.4, "seed": 31, "program": "isl"},
    ),
)

_COUNTING = {
    "stis_ccd": "stis/ccd",
    "stis_nuv": "stis/nuv-mama",
    "stis_fuv": "stis/fuv-mama",
    "nic1": "nicmos/nic1",
    "nic2": "nicmos/nic2",
    "nic3": "nicmos/nic3",
    "wfpc2": "wfpc2",
}
"""Sets of detectors that give counts, by name."""
_OTHERS = tuple(
    ExposureSet(
        f"tiny_{name}",
        {"instrument": instrument, "chip_shape": (100, 100), "seed": 40 + k, "program": f"o{k:02d}", **_AT},
    )
    for k, (name, instrument) in enumerate(_COUNTING.items())
)

_DERIVED = (
    ExposureSet("acs_small_flat", base=(ACS_SMALL,), recipe="flat"),
    ExposureSet("tiny_flat", base=(TINY,), recipe="flat"),
    ExposureSet("tiny_uvis_flat", base=("tiny_uvis",), recipe="flat"),
    ExposureSet("tiny_ir_flat", base=("tiny_ir",), recipe="flat"),
    ExposureSet("tiny_ivm", base=(TINY,), recipe="inverse_variance"),
    ExposureSet("tiny_ir_ivm", base=("tiny_ir",), recipe="inverse_variance"),
    ExposureSet(
        "tiny_subarray", base=(TINY,), recipe="subarray", options={"x0": 25, "y0": 14, "nx": 80, "ny": 61}
    ),
    ExposureSet(
        "tiny_subarray_flat",
        base=("tiny_flat",),
        recipe="subarray",
        options={"x0": 25, "y0": 14, "nx": 80, "ny": 61},
    ),
    ExposureSet("tiny_nan", base=(TINY,), recipe="not_a_number"),
    ExposureSet("tiny_masked_chip", base=(TINY,), recipe="masked_chip", options={"exposure": 1, "extver": 2}),
    ExposureSet(
        "ir_one_pixel", base=("tiny_ir",), recipe="shifted", options={"exposure": 1, "dx": -101.4, "dy": 0.0}
    ),
    ExposureSet(
        "tiny_apart", base=(TINY,), recipe="shifted", options={"exposure": 3, "dx": 420.0, "dy": 40.0}
    ),
    ExposureSet("pole", base=(TINY,), recipe="carried", options={"ra": 40.0, "dec": 89.9995}),
    ExposureSet("near_pole", base=(TINY,), recipe="carried", options={"ra": 320.0, "dec": -88.7}),
    ExposureSet("far_ra", base=(TINY,), recipe="carried", options={"ra": 359.7, "dec": 61.0}),
    ExposureSet("tiny_bits", base=(TINY,), recipe="flagged", options={"bits": 4096 | 8192, "share": 0.01}),
    ExposureSet("tiny_reference", base=(TINY,), recipe="reference_image"),
    ExposureSet(
        "tiny_uneven_sky",
        base=(TINY,),
        recipe="raised_sky",
        options={"levels": (0.0, 40.0, 15.0, 90.0)},
    ),
    ExposureSet(
        "apart_uneven_sky",
        base=("islands",),
        recipe="shifted",
        options={"exposure": 3, "dx": 900.0, "dy": 0.0},
    ),
    ExposureSet("tiny_pipeline", base=(TINY,), recipe="pipeline_input", needs_references=True),
    ExposureSet("acs_uvis", base=(TINY, "tiny_uvis")),
    ExposureSet("uvis_ir", base=("tiny_uvis", "tiny_ir")),
    ExposureSet("acs_wfpc2", base=(TINY, "tiny_wfpc2")),
)

_REAL = (
    ExposureSet("zwicky", real=("wfc3_uvis_sn_zwicky/*_flc.fits",)),
    ExposureSet(
        "hrc",
        real=("acs_hrc_47tuc/*_flt.fits*",),
        keywords={"IDCTAB": "jref$rebuilthrc_idc.fits"},
        references={"jref": "refs"},
    ),
    ExposureSet("ngc4151", real=("nicmos_ngc4151/*.fits*",)),
    ExposureSet("omega_cen_counts", base=("omega_cen",), recipe="set_unit", options={"bunit": "COUNTS"}),
    ExposureSet("omega_cen", real=("wfpc2_omega_cen/*_c?m.fits*",), references={"uref": "refs"}),
)

SETS = {item.name: item for item in (*_SIMULATED, *_OTHERS, *_DERIVED, *_REAL)}
"""All sets by name."""
