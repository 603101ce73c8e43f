"""Cases whose exposures are out of the ordinary: places on the sky, many chips, damage, other detectors.

The cases of instruments and of matched skies are complete only where this version has them: it refuses the
others by name, and the table then says so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.parity.cases import Case, rows_hit
from tests.parity.sets import TINY

FINAL_ROWS = (13, 14, 15, 16, 17, 18, 19, 20, 21)
NO_REJECTION = {"driz_cr": False, "blot": False, "median": False, "driz_separate": False}
NAN_SKY = "D-18: one NaN leaves the chip without sky"
NAN_POISON = "D-18: NaN of no weight spoils the pixels it falls on"
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
    return [
        Case("chips/34", "many34"),
        Case("chips/34-built", "many34", {"build": True, "combine_type": "median"}),
        Case("chips/66", "many66"),
        Case("chips/66-turbo", "many66", {"final_kernel": "turbo", "final_pixfrac": 0.6}),
        Case("chips/subarray", "tiny_subarray"),
        Case(
            "chips/subarray-scaled",
            "tiny_subarray",
            {"final_wcs": True, "final_scale": 0.04, "final_pixfrac": 0.8},
        ),
        Case("chips/subarray-ivm", "tiny_subarray_flat", {"final_wht_type": "IVM"}),
        Case("chips/all-masked", "tiny_masked_chip"),
        Case("chips/all-masked-ignored", "tiny_masked_chip", {"final_bits": None, "driz_sep_bits": None}),
        Case(
            "chips/nan",
            "tiny_nan",
            defects={**rows_hit(NAN_SKY, *range(5, 13)), **rows_hit(NAN_SKY, *FINAL_ROWS, 22, 23)},
        ),
        Case(
            "chips/nan-no-sky",
            "tiny_nan",
            {"skysub": False},
            defects=rows_hit(NAN_POISON, 5, 6, *range(9, 13), *FINAL_ROWS),
        ),
        Case(
            "chips/nan-no-rejection",
            "tiny_nan",
            {"skysub": False, **NO_REJECTION},
            defects=rows_hit(NAN_POISON, 5, 6, *FINAL_ROWS),
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
        22,
        23,
    )
    return [
        Case("mixed/acs-uvis", "acs_uvis", mended=merged),
        Case("mixed/acs-uvis-scaled", "acs_uvis", scaled, mended=merged),
        Case(
            "mixed/acs-wfpc2",
            "acs_wfpc2",
            {**scaled, **NO_REJECTION},
            mended=rows_hit("D-23: units of the last file for all", 7, *FINAL_ROWS, 22, 23),
        ),
        Case(
            "mixed/uvis-ir",
            "uvis_ir",
            {**scaled, "driz_sep_wcs": True, "driz_sep_scale": 0.08},
            mended=rows_hit("by decision: exposures in the order of time, not of the list", 22, 23),
        ),
    ]


def _sky() -> list[Case]:
    decided = (
        "by decision: true outlines, overlaps weighed by inverse variance, unconnected groups apart "
        "(nearer to the true sky: tests/laws/test_sky.py)"
    )
    mended = rows_hit(decided, 8, 9, 10, 11, 12, 13, 14, *FINAL_ROWS, 21, 22, 23)
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
            defects=rows_hit("D-13: matching one exposure leaves its old sky", 8, 9, *FINAL_ROWS, 22, 23),
        ),
    ]
    return [case if "match" not in case.name else replace(case, mended=mended) for case in cases]


def _instruments() -> list[Case]:
    units = "D-7, D-9, D-15: the reference mixes counts and electrons"
    mended = rows_hit(units, 7, 8, 9, 10, 11, 12, *FINAL_ROWS, 22, 23)
    cases = []
    for name in ("stis_ccd", "stis_nuv", "stis_fuv", "nic1", "nic2", "nic3", "wfpc2"):
        for label, parameters in (
            ("", {}),
            ("-plain", NO_REJECTION),
            ("-electrons", {**NO_REJECTION, "proc_unit": "electrons"}),
            ("-scaled", {**NO_REJECTION, "final_wcs": True, "final_rot": 20.0, "final_pixfrac": 0.8}),
        ):
            cases.append(Case(f"instruments/{name}{label}", f"tiny_{name}", parameters, mended=mended))
    cases += [
        Case(
            "instruments/wfpc2-real",
            "omega_cen",
            defects={0: "D-17: asks on the terminal about DGEOFILE"},
            mended=mended,
            note="one WFPC2 exposure of the archive, four chips; its distortion derived by updatewcs",
        ),
    ]
    return cases


SPECIAL = (*_places(), *_chips(), *_mixed(), *_sky(), *_instruments())
"""All of them."""
