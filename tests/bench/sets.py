"""Which exposures are used: full frames, and small stand-ins that only try the harness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.parity.cases import ExposureSet
from tests.parity.sets import SETS

QUICK = "_quick"
_ACS = {"instrument": "acs/wfc"}
AREAS = {"1x1": 16, "2x1": 8, "2x2": 4, "4x2": 2, "4x4": 1}
"""Fields of a mosaic -> exposures of each; always 16 in all."""
COUNTS = (4, 8, 16, 32, 64)
QUICK_COUNTS = (4, 8, 16)
GROWTH_CHIP = (1024, 2048)
AREA_CHIP = (512, 1024)


def _full() -> Mapping[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {
        "acs_mosaic": {**_ACS, "pattern": "mosaic:2x2", "exposures": 4, "seed": 21},
        "ir_8": {"instrument": "wfc3/ir", "exposures": 8, "seed": 22},
        "growth": {**_ACS, "exposures": COUNTS[-1], "chip_shape": GROWTH_CHIP, "seed": 23},
    }
    for fields, n in AREAS.items():
        choices = {"pattern": f"mosaic:{fields}", "exposures": n, "chip_shape": AREA_CHIP, "seed": 24}
        found[f"area_{fields}"] = {**_ACS, **choices}
    return found


def _small(name: str, choices: Mapping[str, Any]) -> dict[str, Any]:
    shape = (260, 250) if choices["instrument"] == "wfc3/ir" else (160, 256)
    small = {**choices, "chip_shape": shape}
    return small | ({"exposures": QUICK_COUNTS[-1]} if name == "growth" else {})


KNOWN: Mapping[str, ExposureSet] = {
    **SETS,
    "acs_full_quick": SETS["acs_small"],
    **{name: ExposureSet(name, choices) for name, choices in _full().items()},
    **{name + QUICK: ExposureSet(name + QUICK, _small(name, choices)) for name, choices in _full().items()},
}
"""All sets by name; those of the comparison with DrizzlePac are shared with it."""
