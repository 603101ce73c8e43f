"""Figures of DrizzlePac on a few tiny cases, small enough to keep beside the tests.

``python -m tests.parity record`` runs DrizzlePac on the cases below and writes `RECORD`; the test of the
same name simulates the exposures again, runs mosaic and compares. Kept of every image: a few hundred pixels
(evenly spread, and the brightest), of masks all pixels, of headers the frame and the totals.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from tests.parity.cases import Case
from tests.parity.compare import Array, local_maximum, robust_sigma
from tests.parity.facts import FRAME, TOTAL_KEYWORDS
from tests.parity.groups import ALL
from tests.parity.planes import comparable
from tests.parity.programs import Workshop
from tests.parity.rows import map_rounding
from tests.parity.runs import Run, exposure_root, read

RECORD = Path(__file__).with_name("data") / "recorded.npz"
NAMES = (
    "tiny-acs",
    "tiny-uvis",
    "tiny-ir",
    "kernels/turbo-p0.8-s1.7-r123",
    "kernels/gaussian-p0.5-s1.7-r123",
    "kernels/point-p0.5-s1-r33",
    "combine/median-nlow1-nhigh2",
    "rejection/grow3-ctegrow5",
    "rejection/poly3",
    "weights/ivm-flat",
    "weights/err-scaled",
    "frames/radec-size-scale-rot",
    "places/ra-zero",
    "places/pole",
    "chips/subarray",
)
"""Cases that are recorded."""
_EVEN, _BRIGHT = 120, 30
_GOLDEN = 0.6180339887498949


def recorded_cases() -> list[Case]:
    """Return the cases in the order of their names."""
    known = {case.name: case for case in ALL}
    return [known[name] for name in NAMES]


def write_record(shop: Workshop) -> Path:
    """Run DrizzlePac on the cases and write what is kept of its results."""
    arrays: dict[str, Array] = {}
    for case in recorded_cases():
        run = shop.drizzlepac(case)[0]
        facts, planes = describe(run)
        keep = dict(_compared_blots(run, case))
        arrays[f"{case.name}|facts"] = np.array(json.dumps(facts))
        for name, plane in planes:
            if name.endswith(("crmask", "static")):
                arrays[f"{case.name}|{name}|bits"] = np.packbits(plane == 0)
                continue
            where = sample(plane, keep.get(name))
            arrays[f"{case.name}|{name}|where"] = where.astype(np.int32)
            arrays[f"{case.name}|{name}|values"] = plane.ravel()[where]
            if name.endswith("blt"):
                arrays[f"{case.name}|{name}|near"] = local_maximum(plane, 3).ravel()[where]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_bytes(buffer.getvalue())
    return RECORD


def sample(plane: Array, keep: Array | None = None) -> Array:
    """Flat positions of pixels spread evenly over an image (golden ratio) and of the brightest.

    Where `keep` is given, only pixels at which it is true.
    """
    even = (np.arange(_EVEN) * _GOLDEN % 1.0 * plane.size).astype(np.int64)
    bright = np.argsort(np.nan_to_num(np.abs(plane.ravel())), kind="stable")[-_BRIGHT:]
    where = np.unique(np.concatenate([even, bright]))
    return where if keep is None else where[keep.ravel()[where]]


def _compared_blots(run: Run, case: Case) -> Iterator[tuple[str, Array]]:
    """Where the blots of the first and the last chip may be compared."""
    if run.median is not None:
        for path, extver, index in (run.chips[0], run.chips[-1]):
            yield f"{path.name} {extver} blt", comparable(run, path, index, case.parameters)


def describe(run: Run) -> tuple[dict[str, Any], list[tuple[str, Array]]]:
    """Return what is kept of a run besides pixels, and its images by name."""
    sci, wht = run.plane("sci"), run.plane("wht")
    header, primary = run.header("sci"), run.primary()
    path, _, index = run.chips[0]
    is_rate = "/S" in str(fits.getval(path, "BUNIT", index)).upper()
    facts = {
        "frame": {name: header[name] for name in FRAME},
        "totals": {name: primary[name] for name in TOTAL_KEYWORDS if name in primary},
        "sky": run.sky,
        "sigma": robust_sigma(sci[wht > 0]),
        "map_px": map_rounding(header),
        "electron": 1.0 / float(fits.getval(path, "EXPTIME")) if is_rate else 1.0,
        "n_nan": int(np.count_nonzero(np.isnan(sci))),
        "n_empty": int(np.count_nonzero(wht == 0)),
        "sum_sci": float(np.sum(sci[wht > 0], dtype=np.float64)),
        "sum_wht": float(np.sum(wht, dtype=np.float64)),
        "inputs": fingerprint(run),
    }
    return facts, [("sci", sci), ("wht", wht), ("ctx", run.plane("ctx")), *_intermediates(run)]


def fingerprint(run: Run) -> list[float]:
    """Sum of every science image before the run: whether the simulator still makes the same exposures."""
    return [float(np.sum(read(path, index), dtype=np.float64)) for path, _, index in run.chips]


def _intermediates(run: Run) -> Iterator[tuple[str, Array]]:
    """Intermediates of the first and the last chip, the median and the static masks."""
    for path, extver, _ in (run.chips[0], run.chips[-1]):
        root = exposure_root(path)
        for kind, name in (
            ("single_sci", f"{root}_single_sci"),
            ("single_wht", f"{root}_single_wht"),
            ("blt", f"{root}_sci{extver}_blt"),
            ("crmask", f"{root}_sci{extver}_crmask"),
        ):
            found = run.intermediate(f"{name}.fits")
            if found is not None:
                yield f"{path.name} {extver} {kind}", read(found)
        updated = run.updated / path.name
        with fits.open(updated, memmap=False) as hdul:
            yield f"{path.name} {extver} dq", hdul["DQ", extver].data.astype(np.int32)
    if run.median is not None:
        yield "median", read(run.median)
    for name, found in run.static_masks().items():
        yield f"{name} static", read(found)
