"""The cases: kernels and frames, weights, rejection, options. Special exposures: `tests.parity.special`.

The design of the kernels covers every kernel with every pixfrac, and every pair of kernel, pixfrac, scale
and rotation at least once (`test_cases` counts them). What concerns only the drizzle leaves the cosmic-ray
steps out: then our defaults must give what the reference gives, to the last row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.parity.bounds import Excuse, rows_hit
from tests.parity.cases import Case
from tests.parity.sets import ACS_SMALL, TINY
from tests.parity.special import FINAL_ROWS, MINIMUM_AT_BORDERS, NO_REJECTION, SPECIAL

KERNELS = ("square", "turbo", "point", "gaussian", "lanczos3", "lanczos2")
PIXFRACS = (1.0, 0.8, 0.5, 0.0)
SCALES = (0.6, 1.0, 1.7)
ROTATIONS = (0.0, 33.0, 123.0)
NATURAL_ARCSEC = 0.05
"""Pixel scale of the set of the kernel design."""
DISPLACED = {
    **rows_hit("D-8: sinc is displaced by a pixel and reads foreign memory", 12, 13, 14, limits=(1.0,)),
    **rows_hit("D-8: what follows from the flags of sinc", 15, limits=(0.5, 0.5)),
    **rows_hit("D-8: what follows from the flags of sinc", 16, 18, 19, 20, limits=(0.7,)),
    **rows_hit("D-8: what follows from the flags of sinc", 21, limits=(0.5,)),
}
"""What it reads is not in the image: nothing bounds its blot, and a unit test says what ours must be."""
FIRST_COLUMN = "D-14: i-types fill only the first column of each row"


def kernel_design() -> list[tuple[str, float, float, float]]:
    """Kernel, pixfrac, scale over natural scale and rotation of each case of the design."""
    design = [
        (kernel, pixfrac, SCALES[(k + p) % 3], ROTATIONS[(k // 3 + 2 * p + k * (p // 3)) % 3])
        for k, kernel in enumerate(KERNELS)
        for p, pixfrac in enumerate(PIXFRACS)
    ]
    for s, scale in enumerate(SCALES):
        design.append((KERNELS[s], 1.0, scale, ROTATIONS[(s + 1) % 3]))
        design.append((KERNELS[3 + s], 0.5, scale, ROTATIONS[(2 * s) % 3]))
    design.append(("point", 0.8, 1.0, 33.0))
    return list(dict.fromkeys(design))


def _kernel_case(kernel: str, pixfrac: float, scale: float, rotation: float) -> Case:
    parameters = {
        **NO_REJECTION,
        "final_kernel": kernel,
        "final_pixfrac": pixfrac,
        "final_wcs": True,
        "final_scale": round(scale * NATURAL_ARCSEC, 6),
        "final_rot": rotation,
    }
    return Case(f"kernels/{kernel}-p{pixfrac:g}-s{scale:g}-r{rotation:g}", TINY, parameters, classes="DE")


def _kernels() -> list[Case]:
    parameters = {**NO_REJECTION, "final_pixfrac": 0.9}
    others = ("uvis", "ir", "hrc", "sbc")
    return [
        *(_kernel_case(*point) for point in kernel_design()),
        *(Case(f"kernels/{name}-square-p0.9", f"tiny_{name}", parameters, "DE") for name in others),
    ]


def _named(
    group: str, exposures: str, changes: Mapping[str, Mapping[str, Any]], classes: str = "BD"
) -> list[Case]:
    return [Case(f"{group}/{name}", exposures, parameters, classes) for name, parameters in changes.items()]


def _separate() -> list[Case]:
    """The separate drizzle with every kernel, and frames of its own."""
    changes: dict[str, dict[str, Any]] = {
        f"{kernel}-p{pixfrac:g}": {"driz_sep_kernel": kernel, "driz_sep_pixfrac": pixfrac}
        for kernel, pixfrac in zip(KERNELS, (0.8, 0.5, 1.0, 1.0, 1.0, 0.8), strict=True)
    }
    changes |= {
        "scale": {"driz_sep_wcs": True, "driz_sep_scale": 0.06},
        "rot-scale": {"driz_sep_wcs": True, "driz_sep_scale": 0.04, "driz_sep_rot": 33.0},
        "both-frames": {
            "driz_sep_wcs": True,
            "driz_sep_rot": 0.0,
            "final_wcs": True,
            "final_scale": 0.04,
            "final_rot": 0.0,
        },
        "bits": {"driz_sep_bits": "64,32", "final_bits": "64,32,16", "sky_bits": "64"},
        "bits-inverted": {"driz_sep_bits": "~4,8", "final_bits": "~4"},
        "ignore-dq": {"driz_sep_bits": None, "final_bits": None, "sky_bits": None},
        "fill": {"driz_sep_fillval": 0.0},
        "weight-2": {"driz_sep_wt_scl": 2.0, "final_wt_scl": 3.0},
    }
    return _named("separate", TINY, changes)


def _median() -> list[Case]:
    combine: dict[str, dict[str, Any]] = {}
    for kind in ("median", "mean", "minimum"):
        combine[kind] = {"combine_type": kind}
        combine[f"{kind}-nlow1"] = {"combine_type": kind, "combine_nlow": 1}
        combine[f"{kind}-nhigh1"] = {"combine_type": kind, "combine_nhigh": 1}
        combine[f"{kind}-nlow1-nhigh2"] = {"combine_type": kind, "combine_nlow": 1, "combine_nhigh": 2}
        combine[f"{kind}-thresholds"] = {
            "combine_type": kind,
            "combine_lthresh": -0.05,
            "combine_hthresh": 0.2,
        }
    combine |= {
        "sum": {"combine_type": "sum"},
        "minmed": {},
        "minmed-nsigma": {"combine_nsigma": "2.5 1.5"},
        "minmed-grow0": {"combine_grow": 0},
        "minmed-grow3": {"combine_grow": 3, "combine_nsigma": "5 4"},
        "minmed-thresholds-ignored": {"combine_nlow": 1, "combine_lthresh": 0.0, "combine_hthresh": 0.2},
        "maskpt": {"combine_maskpt": 0.8},
        "maskpt-0": {"combine_maskpt": 0.0},
        "no-new-masks": {"median_newmasks": False},
        "no-new-masks-median": {"median_newmasks": False, "combine_type": "median", "combine_nhigh": 1},
        "bufsize": {"combine_bufsize": 0.01},
    }
    cases = _named("combine", TINY, combine)
    for kind in ("imedian", "imean", "iminmed"):
        hit = rows_hit(FIRST_COLUMN, 11, 12, *FINAL_ROWS)
        cases.append(Case(f"combine/{kind}", TINY, {"combine_type": kind}, mended=hit))
    dropped = {"combine_type": "median", "combine_nlow": 2, "combine_nhigh": 2}
    reason = "D-12: the median is given up, and the next step fails for want of it"
    cases.append(
        Case("combine/all-dropped", TINY, dropped, defects={0: Excuse(reason, error="final_med.fits")})
    )
    cases += [
        Case(f"combine/two-exposures-{kind}", TINY, {"combine_type": kind}, n_exposures=2)
        for kind in ("minmed", "median", "mean")
    ]
    cases.append(Case("combine/five-of-many-minmed", "many34", n_exposures=5, mended=MINIMUM_AT_BORDERS))
    return cases


def _rejection() -> list[Case]:
    changes: dict[str, dict[str, Any]] = {
        "poly3": {"blot_interp": "poly3"},
        "linear": {"blot_interp": "linear"},
        "nearest": {"blot_interp": "nearest"},
        "no-sky-added": {"blot_addsky": False, "blot_skyval": 12.5},
        "snr": {"driz_cr_snr": "5.0 2.0"},
        "scale": {"driz_cr_scale": "2.0 0.5"},
        "grow2": {"driz_cr_grow": 2},
        "grow3": {"driz_cr_grow": 3},
        "ctegrow5": {"driz_cr_ctegrow": 5},
        "grow3-ctegrow5": {"driz_cr_grow": 3, "driz_cr_ctegrow": 5, "driz_cr_snr": "4.0 2.5"},
        "off": {"driz_cr": False},
        "no-rejection": NO_REJECTION,
        "crbit-8192": {"crbit": 8192, "resetbits": "8192"},
        "crbit-16384": {"crbit": 16384},
    }
    cases = _named("rejection", TINY, changes)
    cases += [
        Case(
            "rejection/sinc",
            TINY,
            {"blot_interp": "sinc"},
            defects=DISPLACED,
        ),
        Case(
            "rejection/lan3",
            TINY,
            {"blot_interp": "lan3"},
            defects=rows_hit("D-8: the weights of lan3 are not normalised", 12, *FINAL_ROWS),
        ),
        Case(
            "rejection/lan5",
            TINY,
            {"blot_interp": "lan5"},
            defects=rows_hit("D-8: lan5 uses the box of lan3", *FINAL_ROWS)
            | rows_hit("D-8: lan5 uses the box of lan3", 12, limits=(0.1,)),
        ),
        Case(
            "rejection/crbit-32768",
            TINY,
            {"crbit": 32768},
            defects={0: Excuse("D-25: bit 15 overflows the signed type", error="out of bounds for int16")},
        ),
        Case("rejection/hrc-ctegrow", "tiny_hrc", {"driz_cr_ctegrow": 4}),
        Case("rejection/ir", "tiny_ir", {"driz_cr_grow": 3}),
        Case("rejection/uvis-ctegrow", "tiny_uvis", {"driz_cr_ctegrow": 6}),
        Case("rejection/resetbits-0", "tiny_bits", {"resetbits": "0"}),
        Case("rejection/resetbits-both", "tiny_bits", {"resetbits": "4096,8192"}),
        Case("rejection/final-bits-of-cr", "tiny_bits", {"resetbits": "0", "final_bits": "4096"}),
    ]
    return cases


def _drizzled(
    name: str, exposures: str, parameters: Mapping[str, Any], classes: str = "D", **others: Any
) -> Case:
    """Case without the cosmic-ray steps."""
    return Case(name, exposures, {**NO_REJECTION, **parameters}, classes, **others)


def _weights() -> list[Case]:
    scaled = {"final_wcs": True, "final_scale": 0.04, "final_pixfrac": 0.8}
    rate_err = "D-6: ERR of rates is divided by the time once more"
    return [
        _drizzled("weights/exp", TINY, {**scaled}),
        _drizzled("weights/exp-factor", TINY, {"final_wt_scl": 2.5}),
        _drizzled("weights/err", TINY, {"final_wht_type": "ERR"}),
        _drizzled("weights/err-scaled", TINY, {"final_wht_type": "ERR", **scaled}),
        _drizzled("weights/ivm-flat", "tiny_flat", {"final_wht_type": "IVM"}),
        _drizzled("weights/ivm-flat-scaled", "tiny_flat", {"final_wht_type": "IVM", **scaled}),
        _drizzled("weights/ivm-flat-turbo", "tiny_flat", {"final_wht_type": "IVM", "final_kernel": "turbo"}),
        _drizzled("weights/ivm-flat-no-sky", "tiny_flat", {"final_wht_type": "IVM", "skysub": False}),
        _drizzled(
            "weights/ivm-no-flat",
            TINY,
            {"final_wht_type": "IVM"},
            defects={
                0: Excuse("D-7: a flat field named N/A ends the run", error="Could not open GEIS input")
            },
        ),
        _drizzled("weights/ivm-uvis", "tiny_uvis_flat", {"final_wht_type": "IVM"}),
        _drizzled(
            "weights/ivm-ir",
            "tiny_ir_flat",
            {"final_wht_type": "IVM"},
            classes="BD",
            mended=rows_hit("D-7: units of the sky of rates", 15, 17, 19, 20, 21),
        ),
        _drizzled("weights/ivm-user", "tiny_ivm", {"final_wht_type": "IVM"}, listing="ivm.lst"),
        _drizzled(
            "weights/ivm-user-scaled", "tiny_ivm", {"final_wht_type": "IVM", **scaled}, listing="ivm.lst"
        ),
        _drizzled("weights/ivm-user-ir", "tiny_ir_ivm", {"final_wht_type": "IVM"}, listing="ivm.lst"),
        _drizzled("weights/exp-with-user-ivm", "tiny_ivm", {}, listing="ivm.lst"),
        _drizzled(
            "weights/err-ir",
            "tiny_ir",
            {"final_wht_type": "ERR"},
            classes="BD",
            # The time of the exposures, squared, is in the weight of the reference.
            mended=rows_hit(rate_err, 15, 19, 20, 21) | rows_hit(rate_err, 17, factor=499.234**-2),
        ),
        _drizzled(
            "weights/expsq",
            TINY,
            {"final_wt_scl": "expsq"},
            defects={
                # All exposures are of 500 s.
                **rows_hit("D-5: expsq weighs as exptime", 16, factor=500.0),
                **rows_hit("D-5: expsq weighs as exptime", 22, names=("D???WTSC",)),
            },
        ),
    ]


def _frames() -> list[Case]:
    changes: dict[str, dict[str, Any]] = {
        "scale": {"final_scale": 0.033},
        "rot": {"final_rot": -71.0},
        "scale-rot": {"final_scale": 0.071, "final_rot": 200.0},
        "size": {"final_outnx": 141, "final_outny": 90},
        "size-odd-even": {"final_outnx": 120, "final_outny": 121, "final_scale": 0.06},
        "radec": {"final_ra": 0.2004, "final_dec": 2.1998},
        "radec-size": {"final_ra": 0.2004, "final_dec": 2.1998, "final_outnx": 60, "final_outny": 50},
        "radec-size-scale-rot": {
            "final_ra": 0.1998,
            "final_dec": 2.2002,
            "final_outnx": 77,
            "final_outny": 66,
            "final_scale": 0.04,
            "final_rot": 33.0,
        },
        "crpix": {"final_crpix1": 10.0, "final_crpix2": 20.5},
        "crpix-radec-size": {
            "final_crpix1": 40.25,
            "final_crpix2": 20.5,
            "final_ra": 0.2,
            "final_dec": 2.2,
            "final_outnx": 80,
            "final_outny": 70,
        },
        "smaller-than-input": {"final_outnx": 24, "final_outny": 17},
        "one-pixel": {"final_outnx": 1, "final_outny": 1},
        "large": {"final_outnx": 500, "final_outny": 420},
        "coarse": {"final_scale": 0.31},
        "outside": {"final_ra": 0.2, "final_dec": 2.2031, "final_outnx": 90, "final_outny": 80},
    }
    cases = [
        Case(f"frames/{name}", TINY, {**NO_REJECTION, "final_wcs": True, **parameters}, "D")
        for name, parameters in changes.items()
    ]
    for name, text in (("file", "{folder}/reference.fits"), ("file-ext", "{folder}/reference.fits[sci,2]")):
        parameters = {**NO_REJECTION, "final_wcs": True, "final_refimage": text}
        cases.append(Case(f"frames/refimage-{name}", "tiny_reference", parameters, "D"))
        cases.append(
            Case(f"frames/refimage-{name}-scale", "tiny_reference", {**parameters, "final_scale": 0.05}, "D")
        )
    separate = {"driz_sep_wcs": True, "driz_sep_refimage": "{folder}/reference.fits[1]"}
    cases.append(Case("frames/refimage-separate", "tiny_reference", separate))
    return cases


def _options() -> list[Case]:
    changes: dict[str, dict[str, Any]] = {
        "counts": {"final_units": "counts"},
        "counts-fill": {"final_units": "counts", "final_fillval": -1.0},
        "fillval": {"final_fillval": -1.0},
        "fillval-0": {"final_fillval": 0.0},
        "maskval": {"final_maskval": 7.5},
        "fillval-maskval": {"final_fillval": 3.0, "final_maskval": -2.0},
        "build": {"build": True},
        "build-no-context": {"build": True, "context": False},
        "no-context": {"context": False},
        "group-sci-1": {"group": "sci,1"},
        "group-1-4": {"group": "1,4"},
        "static-off": {"static": False},
        "static-sig": {"static_sig": 2.5},
        "static-not-for-sky": {"use_static": False},
        "sky-mode": {"skystat": "mode"},
        "sky-mean-limits": {"skystat": "mean", "skyclip": 3, "skylower": -50.0, "skyupper": 500.0},
        "sky-mode-width": {"skystat": "mode", "skywidth": 0.3, "skylsigma": 3.0, "skyusigma": 2.5},
        "stepsize-7": {"stepsize": 7},
        "stepsize-50": {"stepsize": 50},
        "exptime": {"exptime": "100"},
        "proc-electrons": {"proc_unit": "electrons"},
    }
    full: dict[str, dict[str, Any]] = {
        "group-1": {"group": "1"},
        "no-sky": {"skysub": False},
        "sky-globalmin": {"skymethod": "globalmin"},
        "stepsize-1": {"stepsize": 1},
        "rdnoise": {"rdnoise": "8.5"},
        "static-off-rejection": {"static": False},
    }
    cases = _named("options", TINY, {name: {**NO_REJECTION, **given} for name, given in changes.items()}, "D")
    cases += _named("options", TINY, full)
    reason = "the median takes the exposure time of a chip outside the group: 1 s (not on the D-list)"
    hit = rows_hit(reason, 11, 12, *FINAL_ROWS)
    cases.append(Case("options/group-4", TINY, {"group": "4"}, defects=hit))
    cases.append(Case("options/stepsize-0", TINY, classes="E"))
    cases.append(Case("options/one-exposure", TINY, n_exposures=1))
    cases.append(Case("options/two-exposures", TINY, n_exposures=2))
    cases.append(Case("options/three-exposures", TINY, n_exposures=3))
    return cases


MAIN = (
    Case("acs-small", ACS_SMALL, classes="BDE"),
    Case("uvis-small", "uvis_small", classes="BDE"),
    Case("ir-small", "ir_small", classes="BDE"),
    Case("real-uvis", "zwicky", classes="BCDE", note="three dithered WFC3/UVIS sub-array exposures"),
    Case("real-hrc", "hrc", classes="BCDE", note="one ACS/HRC exposure; its SIP derived by updatewcs"),
    Case("real-nicmos", "ngc4151", classes="BC", note="one NICMOS mosaic without distortion"),
    Case("stis-ccd-small", "stis_ccd_small", classes="BE"),
    Case("stis-mama-small", "stis_mama_small", classes="BE"),
    Case("nicmos", "nicmos", classes="BE"),
    Case("tiny-acs", TINY, classes="BCDE"),
    Case("tiny-uvis", "tiny_uvis", classes="BCDE"),
    Case("tiny-ir", "tiny_ir", classes="BCDE"),
    Case("tiny-hrc", "tiny_hrc", classes="BCDE"),
    Case("tiny-sbc", "tiny_sbc", classes="BCDE"),
)
FULL = (
    Case("acs-full", "acs_full", classes="BCD", note="four ACS/WFC exposures of full size"),
    Case("uvis-full", "uvis_full", classes="BCD"),
    Case("ir-full", "ir_full", classes="BCD"),
)
GROUPS = (
    *_kernels(),
    *_separate(),
    *_median(),
    *_rejection(),
    *_weights(),
    *_frames(),
    *_options(),
    *SPECIAL,
)
ALL = (*MAIN, *FULL, *GROUPS)
SELECTIONS: dict[str, tuple[Case, ...]] = {
    "main": MAIN,
    "full": FULL,
    "quick": (*MAIN, *GROUPS),
    "all": ALL,
    **{name: tuple(c for c in GROUPS if c.group == name) for name in dict.fromkeys(c.group for c in GROUPS)},
}
"""What can be selected by one word."""
