"""What is compared: sets of exposures, and the parameters they are combined with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ExposureSet:
    """Exposures that several cases share."""

    name: str
    simulated: Mapping[str, Any] | None = None
    """Arguments of `mosaic.simulate.simulate`; None for real exposures."""
    real: tuple[str, ...] = ()
    """Patterns below the folder of real data."""
    flat_of: str = ""
    """Another set: this one is a copy of it with an uneven flat field named in PFLTFILE."""
    keywords: Mapping[str, str] = field(default_factory=dict)
    """Primary keywords to set before the distortion model is derived."""
    references: Mapping[str, str] = field(default_factory=dict)
    """Environment names of reference folders, relative to the real data; not empty: derive the model."""


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison: a set, parameters for both programs, and the classes of section 17 to hold it to."""

    name: str
    exposures: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    classes: str = "B"
    """B: the interpolated map of the reference in both; C: our exact map against the reference's
    interpolated one; E: the exact map in both."""
    n_exposures: int | None = None
    """Use only the first few exposures of the set."""
    omitted: tuple[int, ...] = ()
    """Rows of the checklist that section 17 says not to compare for such a case."""
    note: str = ""


SMALL_ACS = "acs_small"

SETS = {
    item.name: item
    for item in (
        ExposureSet(SMALL_ACS, {"instrument": "acs/wfc", "chip_shape": (320, 512), "seed": 11}),
        ExposureSet("uvis_small", {"instrument": "wfc3/uvis", "chip_shape": (320, 512), "seed": 12}),
        ExposureSet("ir_small", {"instrument": "wfc3/ir", "chip_shape": (260, 250), "seed": 13}),
        ExposureSet("stis_ccd_small", {"instrument": "stis/ccd", "chip_shape": (320, 400), "seed": 17}),
        ExposureSet("stis_mama_small", {"instrument": "stis/nuv-mama", "chip_shape": (320, 400), "seed": 18}),
        ExposureSet("nicmos", {"instrument": "nicmos/nic2", "seed": 19}),
        ExposureSet("acs_full", {"instrument": "acs/wfc", "seed": 14}),
        ExposureSet("uvis_full", {"instrument": "wfc3/uvis", "seed": 15}),
        ExposureSet("ir_full", {"instrument": "wfc3/ir", "seed": 16}),
        ExposureSet("acs_small_flat", flat_of=SMALL_ACS),
        ExposureSet("ngc4151", real=("nicmos_ngc4151/*_mos.fits*",)),
        ExposureSet("zwicky", real=("wfc3_uvis_sn_zwicky/*_flc.fits",)),
        ExposureSet(
            "hrc",
            real=("acs_hrc_47tuc/*_flt.fits*",),
            keywords={"IDCTAB": "jref$rebuilthrc_idc.fits"},
            references={"jref": "refs"},
        ),
    )
}


def _sweep() -> tuple[Case, ...]:
    """One parameter at a time on the small set."""
    frame = {"final_wcs": True}
    turned = {
        **frame,
        "final_scale": 0.04,
        "final_rot": 25.0,
        "final_pixfrac": 0.8,
    }
    changes: dict[str, dict[str, Any]] = {
        "turbo": {"final_kernel": "turbo"},
        "point": {"final_kernel": "point"},
        "gaussian": {"final_kernel": "gaussian"},
        "lanczos3": {"final_kernel": "lanczos3"},
        "lanczos2": {"final_kernel": "lanczos2"},
        "square-0.7": {"final_pixfrac": 0.7},
        "turbo-0.7": {"final_kernel": "turbo", "final_pixfrac": 0.7},
        "gaussian-0.7": {"final_kernel": "gaussian", "final_pixfrac": 0.7},
        "lanczos3-0.7": {"final_kernel": "lanczos3", "final_pixfrac": 0.7},
        "scale": {**frame, "final_scale": 0.033, "final_pixfrac": 0.7},
        "rot-0": {**frame, "final_rot": 0.0},
        "scale-rot": turned,
        "point-scale-rot": {**turned, "final_kernel": "point"},
        "turbo-scale-rot": {**turned, "final_kernel": "turbo"},
        "size": {**frame, "final_scale": 0.06, "final_outnx": 501, "final_outny": 400},
        "sep-frame": {"driz_sep_wcs": True, "driz_sep_scale": 0.06},
        "sep-square": {"driz_sep_kernel": "square", "driz_sep_pixfrac": 0.8},
        "median": {"combine_type": "median"},
        "median-nhigh": {"combine_type": "median", "combine_nhigh": 1},
        "mean": {"combine_type": "mean"},
        "minimum": {"combine_type": "minimum"},
        "sum": {"combine_type": "sum"},
        "imedian": {"combine_type": "imedian"},
        "no-new-masks": {"median_newmasks": False},
        "minmed-grow-2": {"combine_grow": 2, "combine_nsigma": "5 4"},
        "blot-poly3": {"blot_interp": "poly3"},
        "blot-linear": {"blot_interp": "linear"},
        "blot-nearest": {"blot_interp": "nearest"},
        "cr-grow-cte": {"driz_cr_grow": 3, "driz_cr_ctegrow": 8, "driz_cr_snr": "4.0 2.5"},
        "wht-err": {"final_wht_type": "ERR"},
        "globalmin": {"skymethod": "globalmin", "skystat": "mode"},
        "mean-sky": {"skystat": "mean", "skyclip": 3, "skylower": -50.0, "skyupper": 500.0},
        "match": {"skymethod": "match"},
        "globalmin-match": {"skymethod": "globalmin+match"},
        "no-sky": {"skysub": False},
        "no-static": {"static": False},
        "counts": {"final_units": "counts"},
        "build": {"build": True},
        "bits": {"final_bits": "64,32,16", "driz_sep_bits": "64,32", "sky_bits": "64"},
        "fill": {"final_fillval": -1.0},
        "no-cr": {"driz_cr": False, "blot": False, "median": False, "driz_separate": False},
    }
    omitted = {"imedian": (11, 12, 13, 14, 15, 16, 18, 19, 20, 21)}
    cases = [
        Case(f"sweep/{name}", SMALL_ACS, parameters, omitted=omitted.get(name, ()))
        for name, parameters in changes.items()
    ]
    cases.append(Case("sweep/wht-ivm", "acs_small_flat", {"final_wht_type": "IVM"}))
    cases.append(Case("sweep/two-exposures", SMALL_ACS, n_exposures=2))
    cases.append(Case("sweep/one-exposure", SMALL_ACS, n_exposures=1))
    return tuple(cases)


SMALL = (
    Case("acs-small", SMALL_ACS, classes="BE"),
    Case("uvis-small", "uvis_small", classes="BE"),
    Case("ir-small", "ir_small", classes="BE"),
    Case("stis-ccd-small", "stis_ccd_small", classes="BE"),
    Case("stis-mama-small", "stis_mama_small", classes="BE"),
    Case("nicmos", "nicmos", classes="BE"),
)
REAL = (
    Case("real-uvis", "zwicky", classes="BCE", note="three dithered WFC3/UVIS sub-array exposures"),
    Case("real-nicmos", "ngc4151", classes="BC", note="one NICMOS mosaic without distortion"),
    Case("real-hrc", "hrc", classes="BC", note="one ACS/HRC exposure; its SIP derived by updatewcs"),
)
FULL = (
    Case("acs-full", "acs_full", classes="BC", note="four ACS/WFC exposures of full size"),
    Case("uvis-full", "uvis_full", classes="BC"),
    Case("ir-full", "ir_full", classes="BC"),
)
SWEEP = _sweep()
SELECTIONS = {
    "quick": SMALL + REAL + SWEEP,
    "small": SMALL + REAL,
    "sweep": SWEEP,
    "full": FULL,
    "all": SMALL + REAL + FULL + SWEEP,
}
