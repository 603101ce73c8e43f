"""Comparison of numbers, arrays, headers and tables: what differs, by how much, and is it allowed.

Pure functions on arrays and headers. Does not know where files come from (`tests.parity.runs`) nor which
tolerance belongs to which quantity (`tests.parity.checklist`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far two arrays lie apart where both are compared."""

    n: int
    n_differ: int
    median: float
    p999: float
    p9999: float
    rms: float
    max: float

    def __str__(self) -> str:
        if self.n == 0:
            return "no pixel compared"
        if self.n_differ == 0:
            return f"equal ({self.n} px)"
        return (
            f"{self.n_differ}/{self.n} px differ; 99.9 % {self.p999:.2g}, 99.99 % {self.p9999:.2g}, "
            f"rms {self.rms:.2g}, max {self.max:.2g}"
        )


def robust_sigma(values: Array, n_iterations: int = 10) -> float:
    """Scatter of the blank sky: 1.4826 x the median absolute deviation, clipped at 3 sigma."""
    kept = np.asarray(values, dtype=np.float64).ravel()
    kept = kept[np.isfinite(kept)]
    sigma = 0.0
    for _ in range(n_iterations):
        if kept.size == 0:
            return 0.0
        centre = np.median(kept)
        distance = np.abs(kept - centre)
        sigma = 1.4826 * float(np.median(distance))
        inside = distance <= 3.0 * sigma
        if inside.all():
            break
        kept = kept[inside]
    return sigma


def deviation(ours: Array, theirs: Array, where: Array | None = None) -> Deviation:
    """Absolute differences where `where` is true; a NaN in only one of the two counts as infinite."""
    a, b = (np.asarray(x, dtype=np.float64) for x in (ours, theirs))
    if where is not None:
        a, b = a[where], b[where]
    difference = np.abs(a - b).ravel()
    both_nan = np.isnan(a.ravel()) & np.isnan(b.ravel())
    difference[both_nan] = 0.0
    difference[np.isnan(difference)] = np.inf
    if difference.size == 0:
        return Deviation(0, 0, 0.0, 0.0, 0.0, 0.0, 0.0)
    median, p999, p9999 = (float(q) for q in np.quantile(difference, [0.5, 0.999, 0.9999], method="lower"))
    return Deviation(
        difference.size,
        int(np.count_nonzero(difference)),
        median,
        p999,
        p9999,
        float(np.sqrt(np.mean(difference**2))),
        float(difference.max()),
    )


def exceeds(ours: Array, theirs: Array, *, relative: float, absolute: Any = 0.0) -> NDArray[np.bool_]:
    """Where ``|ours - theirs| > relative |theirs| + absolute``; NaN equals NaN only."""
    a, b = (np.asarray(x, dtype=np.float64) for x in (ours, theirs))
    with np.errstate(invalid="ignore"):
        apart = np.abs(a - b) > relative * np.abs(b) + absolute
    return np.asarray(apart | (np.isnan(a) != np.isnan(b)))


def relative_deviation(ours: Array, theirs: Array, where: Array) -> Array:
    """``|ours / theirs - 1|`` where `where` is true (`theirs` must not be 0 there)."""
    a, b = (np.asarray(x, dtype=np.float64)[where] for x in (ours, theirs))
    return np.abs(a / b - 1.0)


def local_maximum(values: Array, radius: int) -> Array:
    """Largest absolute value within `radius` pixels in all eight directions; NaN counts as 0."""
    found = np.nan_to_num(np.abs(np.asarray(values, dtype=np.float32)))
    for _ in range(radius):
        rows = found.copy()
        np.maximum(rows[1:], found[:-1], out=rows[1:])
        np.maximum(rows[:-1], found[1:], out=rows[:-1])
        found = rows.copy()
        np.maximum(found[:, 1:], rows[:, :-1], out=found[:, 1:])
        np.maximum(found[:, :-1], rows[:, 1:], out=found[:, :-1])
    return found


def _same(ours: Any, theirs: Any, relative: float) -> bool:
    if isinstance(ours, str) and isinstance(theirs, str):
        return ours.strip() == theirs.strip()
    if isinstance(ours, bool | np.bool_) or isinstance(theirs, bool | np.bool_):
        return bool(ours) == bool(theirs) and isinstance(ours, str) == isinstance(theirs, str)
    if isinstance(ours, int | float) and isinstance(theirs, int | float):
        if np.isnan(ours) or np.isnan(theirs):
            return bool(np.isnan(ours) and np.isnan(theirs))
        return abs(ours - theirs) <= relative * abs(theirs)
    return bool(ours == theirs)


def header_differences(
    ours: Any,
    theirs: Any,
    *,
    ignored: Iterable[str] = (),
    keywords: Sequence[str] | None = None,
    measured: Sequence[str] = (),
) -> list[str]:
    """Keywords whose value differs or that only one header has, as ``KEY: ours != theirs``.

    Numbers may differ by one part in 1e-12, measured ones by 1e-6. COMMENT, HISTORY and blank
    cards are never compared.
    """
    skipped = {"COMMENT", "HISTORY", "", *ignored}
    names = keywords if keywords is not None else sorted((set(ours) | set(theirs)) - skipped)
    found = []
    for name in names:
        if name in skipped:
            continue
        a, b = (header.get(name, "absent") for header in (ours, theirs))
        if not _same(a, b, 1e-6 if name in measured else 1e-12):
            found.append(f"{name}: {a!r} != {b!r}")
    return found


def table_differences(ours: Any, theirs: Any, *, ignored: Iterable[str] = ()) -> list[str]:
    """Columns of two FITS tables that differ in presence, order of rows or values."""
    found = []
    a_names, b_names = (list(table.names) for table in (ours, theirs))
    if len(ours) != len(theirs):
        found.append(f"rows: {len(ours)} != {len(theirs)}")
    found += [f"{name}: only ours" for name in a_names if name not in b_names]
    found += [f"{name}: only theirs" for name in b_names if name not in a_names]
    if found or a_names != b_names:
        found = found or ["order of columns"]
    skipped = set(ignored)
    for name in a_names:
        if name in skipped or name not in b_names:
            continue
        pairs = zip(ours[name].tolist(), theirs[name].tolist(), strict=False)
        wrong = [(a, b) for a, b in pairs if not _same(a, b, 1e-6)]
        if wrong:
            found.append(f"{name}: {wrong[0][0]!r} != {wrong[0][1]!r}")
    return found


def summarise(differences: Sequence[str], shown: int = 4) -> str:
    """Join the first few differences for a table cell."""
    if not differences:
        return "equal"
    more = f" (+{len(differences) - shown} more)" if len(differences) > shown else ""
    return f"{len(differences)}: " + "; ".join(differences[:shown]) + more
