"""Cases whose exposures are out of the ordinary: places on the sky, many chips, damage, other detectors.

The cases of instruments and of matched skies are complete only where this version has them: it refuses the
others by name, and the table then says so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.parity.bounds import Excuse, rows_hit
from tests.parity.cases import Case
from tests.parity.rows import MINIMUM_REASON
from tests.parity.sets import TINY

MINIMUM_AT_BORDERS = rows_hit(MINIMUM_REASON, 11, limits=(0.1, 0.5)) | rows_hit(
    MINIMUM_REASON, 12, limits=(0.2,)
)
"""For chips of 40 x 48 pixels, of which many lie beside a border or a masked pixel."""
FINAL_ROWS = (13, 14, 15, 16, 17, 18, 19, 20, 21)
NO_REJECTION = {"driz_cr": False, "blot": False, "median": False, "driz_separate": False}
IN_ITS_UNIT = "by decision: PHOTFLAM is that of the unit of the product"
LOST_TERMS = "headerlets of the reference lose the terms of fifth order, and digits"
OF_HEADERLETS = (
    "NEXTEND", "[AB]_?_?", "CD?_?", "CRVAL?", "CPDIS?", "D2IMDIS?", "IDC*", "VAFACTOR", "WCSTYPE", "CCDCHIP",
)  # fmt: skip
NAN_SKY = "D-18: one NaN leaves the chip without sky"
NAN_POISON = "D-18: NaN of no weight spoils the pixels it falls on"
NAN_MEDIAN = "D-18: a NaN of the median reaches 36 px of every blot, and all of them are flagged"
ONE_INSTRUMENT = (
    "MDRIZSKY", "FILTER*", "NLINFILE", "NSAMP", "SAMP_SEQ", "CBLKSIZ", "CFLTFILE", "COMPTYP", "FW*",
    "JWROTYPE", "LOSTPIX", "PHOTTAB", "SPOTTAB", "STATFLAG", "WFCMPRSD",
)  # fmt: skip
"""Columns of HDRTAB that only one instrument has: the reference writes 'nan' for the other, ours nothing."""
MATCH: dict[str, Any] = {"skymethod": "match"}
BOTH: dict[str, Any] = {"skymethod": "globalmin+match"}


def _places() -> list[Case]:
    scaled = {"final_wcs": True, "final_scale": 0.04, "final_rot": 33.0, "final_pixfrac": 0.8}
    return [
        Case("places/ra-zero", "ra_zero"),
        Case("places/ra-zero-scaled", "ra_zero", scaled),
        Case("places/pole", "pole"),
        Case("places/pole-scaled", "pole", scaled),
        Case("places/near-south-pole", "near_pole"),
        Case("places/far-ra", "far_ra"),
        Case("places/rolls", "roll"),
        Case("places/one-pixel-overlap", "ir_one_pixel", n_exposures=2),
        Case("places/exposure-apart", "tiny_apart"),
        Case(
            "places/exposure-outside-frame",
            "tiny_apart",
            {"final_wcs": True, "final_ra": 0.2, "final_dec": 2.2, "final_outnx": 120, "final_outny": 110},
        ),
        Case("places/field-2x2", "field"),
        Case(
            "places/field-corner",
            "field",
            {"final_wcs": True, "final_ra": 0.2, "final_dec": 2.2, "final_outnx": 30, "final_outny": 30},
        ),
    ]


def _chips() -> list[Case]:
    spoilt = {
        **rows_hit(NAN_POISON, 9, 10, 11, 15, 16, 18, 19, 20, 21),
        **rows_hit(NAN_MEDIAN, 12, 13, 14, limits=(0.1,)),
    }
    without_sky = {
        **rows_hit(NAN_SKY, 23),
        # The exposure is not touched by its sky: 1.3 of the mean of all chips, 15 sigma.
        **rows_hit(NAN_SKY, 7, limits=(1.5,)),
        **rows_hit(NAN_SKY, 9, limits=(1.0, 20.0)),
        **rows_hit(NAN_SKY, 11, limits=(0.3, 0.5)),
        **rows_hit(NAN_SKY, 12, 13, 14, limits=(1.0,)),
        **rows_hit(NAN_SKY, 15, limits=(0.3, 0.5)),
        **rows_hit(NAN_SKY, 16, 18, limits=(0.5,)),
        **rows_hit(NAN_SKY, 21, limits=(0.1,)),
    }
    return [
        Case("chips/34", "many34", mended=MINIMUM_AT_BORDERS),
        Case("chips/34-built", "many34", {"build": True, "combine_type": "median"}),
        Case("chips/66", "many66", mended=MINIMUM_AT_BORDERS),
        Case(
            "chips/66-turbo",
            "many66",
            {"final_kernel": "turbo", "final_pixfrac": 0.6},
            mended=MINIMUM_AT_BORDERS,
        ),
        Case("chips/subarray", "tiny_subarray"),
        Case(
            "chips/subarray-scaled",
            "tiny_subarray",
            {"final_wcs": True, "final_scale": 0.04, "final_pixfrac": 0.8},
        ),
        Case("chips/subarray-ivm", "tiny_subarray_flat", {"final_wht_type": "IVM"}),
        Case("chips/all-masked", "tiny_masked_chip"),
        Case("chips/all-masked-ignored", "tiny_masked_chip", {"final_bits": None, "driz_sep_bits": None}),
        Case("chips/nan", "tiny_nan", defects=spoilt, mended=spoilt | without_sky),
        Case("chips/nan-no-sky", "tiny_nan", {"skysub": False}, defects=spoilt),
        Case(
            "chips/nan-no-rejection",
            "tiny_nan",
            {"skysub": False, **NO_REJECTION},
            mended=rows_hit(NAN_POISON, 15, 16, 18, 19, 21),
        ),
    ]


def _mixed() -> list[Case]:
    scaled = {"final_wcs": True, "final_scale": 0.05, "final_rot": 0.0}
    merged = rows_hit(
        "D-3: static masks of two detectors of one shape are merged",
        5,
        *range(7, 15),
        *FINAL_ROWS,
        21,
    ) | rows_hit("by decision: nothing is written for what an instrument has not", 23, names=ONE_INSTRUMENT)
    return [
        Case("mixed/acs-uvis", "acs_uvis", mended=merged),
        Case("mixed/acs-uvis-scaled", "acs_uvis", scaled, mended=merged),
        Case("mixed/acs-wfpc2", "acs_wfpc2", {**scaled, **NO_REJECTION}, "B", is_by_name=True),
        Case(
            "mixed/wfpc2-acs",
            "acs_wfpc2",
            {**scaled, **NO_REJECTION},
            defects={
                0: Excuse("D-23: WFPC2 leaves its keyword of the gain to ACS, which ends", error="ValueError")
            },
        ),
        Case("mixed/uvis-ir", "uvis_ir", {**scaled, "driz_sep_wcs": True, "driz_sep_scale": 0.08}),
        Case(
            "mixed/uvis-ir-as-listed",
            "uvis_ir",
            {**scaled, "driz_sep_wcs": True, "driz_sep_scale": 0.08},
            classes="B",
            is_by_name=True,
            note="not in the order of time",
        ),
    ]


def _sky() -> list[Case]:
    decided = (
        "by decision: true outlines, overlaps weighed by inverse variance, unconnected groups apart "
        "(nearer to the true sky: tests/laws/test_sky.py)"
    )
    # The mode of a histogram scatters by some tenths of a sigma, and each program has other pixels in it.
    mended = {
        **rows_hit(decided, 10, 11, 12, *FINAL_ROWS, 22, 23),
        **rows_hit(decided, 8, limits=(0.1,)),
        **rows_hit(decided, 9, limits=(0.05, 1.0)),
    }
    # Levels that differ move every pixel of an exposure, and the flux of the empty sky that is left.
    level = "D-13: matching one exposure leaves its old sky"
    old_sky = {
        **rows_hit(level, 8, *FINAL_ROWS, 22, 23),
        **rows_hit(level, 9, 15, limits=(1.0, 20.0)),
        **rows_hit(level, 21, limits=(1.0,)),
    }
    apart = {
        **mended,
        **rows_hit(decided, 8, limits=(0.2,)),
        **rows_hit(decided, 9, 11, 15, limits=(1.0, 2.0)),
        **rows_hit(decided, 21, limits=(0.5,)),
    }
    own = {
        "sky/match-one-exposure": old_sky,
        "sky/globalmin-match-two-groups": apart,
        "sky/globalmin-match-field": {**mended, **rows_hit(decided, 21, limits=(0.05,))},
    }
    cases = [
        Case("sky/match", "tiny_uneven_sky", MATCH),
        Case("sky/match-mode", "tiny_uneven_sky", {**MATCH, "skystat": "mode"}),
        Case("sky/match-mean", "tiny_uneven_sky", {**MATCH, "skystat": "mean"}),
        Case("sky/globalmin-match", "tiny_uneven_sky", BOTH),
        Case("sky/globalmin", "tiny_uneven_sky", {"skymethod": "globalmin"}),
        Case("sky/match-ir", "tiny_ir", MATCH),
        Case("sky/match-field", "field", MATCH),
        Case("sky/globalmin-match-field", "field", BOTH),
        Case("sky/match-two-groups", "apart_uneven_sky", MATCH),
        Case("sky/globalmin-match-two-groups", "apart_uneven_sky", BOTH),
        Case("sky/match-ra-zero", "ra_zero", MATCH),
        Case("sky/match-uvis", "tiny_uvis", MATCH),
        Case(
            "sky/match-one-exposure",
            TINY,
            MATCH,
            n_exposures=1,
            defects=old_sky,
        ),
    ]
    return [
        replace(case, mended=own.get(case.name, mended)) if "match" in case.name else case for case in cases
    ]


def _instruments() -> list[Case]:
    units = "D-7, D-9, D-15: the reference mixes counts and electrons"
    mended = rows_hit(units, 7, 8, 9, 10, 11, 12, *FINAL_ROWS, 22, 23)
    # With the gain of counts on electrons (D-9) the reference finds other cosmic rays, and all else follows.
    found = {
        **mended,
        **rows_hit(units, 13, 14, limits=(0.2,)),
        **rows_hit(units, 15, limits=(0.2, 0.5)),
        **rows_hit(units, 16, 18, limits=(0.4,)),
        **rows_hit(units, 21, limits=(0.1,)),
    }
    # 100 s: the values of the reference are those of the whole exposure, though it calls them a rate.
    undivided = rows_hit("D-31: an image without BUNIT is taken for a rate", 9, 15, 20, 21, factor=1e-2)
    cases = []
    for name in ("stis_ccd", "stis_nuv", "stis_fuv", "nic1", "nic2", "nic3", "wfpc2"):
        for label, parameters in (
            ("", {}),
            ("-plain", NO_REJECTION),
            ("-electrons", {**NO_REJECTION, "proc_unit": "electrons"}),
            ("-scaled", {**NO_REJECTION, "final_wcs": True, "final_rot": 20.0, "final_pixfrac": 0.8}),
        ):
            hit = mended if "driz_cr" in parameters else found
            if label == "-electrons":
                hit = hit | rows_hit(IN_ITS_UNIT, 23, names=("MDRIZSKY", "PHOTFLAM", "PHOTFNU"))
            cases.append(Case(f"instruments/{name}{label}", f"tiny_{name}", parameters, mended=hit))
    cases += [
        Case(
            "instruments/wfpc2-real",
            "omega_cen",
            mended=undivided | rows_hit(units, 7, 22, 23),
            note="one WFPC2 exposure of the archive, no BUNIT in it; its distortion derived by updatewcs",
        ),
        Case(
            "instruments/wfpc2-real-bunit",
            "omega_cen_counts",
            mended=mended,
            note="the same with BUNIT = COUNTS: what the product is then in both programs",
        ),
    ]
    return cases


def _scripts() -> list[Case]:
    return [
        Case("scripts/one-call", TINY, classes="B", script="one-call"),
        Case("scripts/two-calls", TINY, classes="B", script="two-calls"),
        Case("scripts/cfg", TINY, classes="B", script="cfg"),
        Case("scripts/cfg-command", TINY, classes="B", script="cfg-command"),
        Case(
            "pipeline/association",
            "tiny_pipeline",
            classes="B",
            script="pipeline",
            output="pipeline",
            defects={
                **rows_hit("by decision: the table of sky cells is not at hand", 23, names=("SKYCELL",)),
                **rows_hit(LOST_TERMS, 24, names=OF_HEADERLETS),
            },
            note="runastrodriz: WCS from reference files, verification, product, headerlets",
        ),
    ]


SPECIAL = (*_places(), *_chips(), *_mixed(), *_sky(), *_instruments(), *_scripts())
"""All of them."""
