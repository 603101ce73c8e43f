"""Sky levels matched over overlaps (``match``, ``globalmin+match``).

For two exposures i, j with the sky brightness S_i, S_j over what they have in common, levels d are sought
that make S_i - d_i = S_j - d_j, by weighted least squares over all pairs; in every group of connected
exposures they add up to zero (the solution of smallest norm) and are then moved so that the lowest is 0.
Exposures are eliminated one by one: what each tells two others of their difference joins what these know
themselves (the star-mesh transform of a network), always as a weighted mean, so that an overlap of few pixels
keeps its digits beside one of a whole chip. Does not cover where overlaps lie (`mosaic.geometry.outline`) nor
single chips (`mosaic.steps.sky`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mosaic.exposure.model import Chip, Exposure, SkyLevel
from mosaic.steps.sky import SkySolution, brightness_factor, level_of, no_pixels_warning
from mosaic.types import DoubleArray

PairSky = Mapping[tuple[int, int], tuple[float, int]]
"""Sky (native units) and number of pixels behind it of chip a where chip b overlaps, by (a, b)."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """What two exposures measure where they overlap."""

    first: int
    """Index of an exposure."""
    second: int
    """Index of a later one."""
    difference: float
    """Sky brightness of the first less that of the second."""
    n_first: int
    """Pixels of the first."""
    n_second: int
    """Pixels of the second."""

    def weight(self, *, peer: bool) -> float:
        """Weight of the squared residual.

        The inverse of the variance of the difference but for a common factor, n1 n2 / (n1 + n2).
        DrizzlePac multiplies residuals by the mean number of pixels before they are squared, so that large
        overlaps count more than they should.
        """
        if peer:
            return (0.5 * (self.n_first + self.n_second)) ** 2
        return self.n_first * self.n_second / (self.n_first + self.n_second)


def gather_overlaps(
    exposures: Sequence[Exposure], pair_sky: PairSky, *, single_precision: bool = False
) -> list[Overlap]:
    """Combine what pairs of chips measure to one difference for each pair of exposures.

    Parameters
    ----------
    exposures : Sequence[Exposure]
        All exposures.
    pair_sky : PairSky
        Measurements by chip indices.
    single_precision : bool
        Sums in float32, as they are in DrizzlePac for the median.
    """
    number: type[Any] = np.float32 if single_precision else np.float64
    chips = [(k, chip) for k, exposure in enumerate(exposures) for chip in exposure.chips]
    sums: dict[tuple[int, int], list[Any]] = {}
    for a, b in sorted(pair_sky):
        i, j = chips[a][0], chips[b][0]
        value, n = pair_sky[a, b]
        level = number(value) * number(brightness_factor(chips[a][1]))
        parts = sums.setdefault((min(i, j), max(i, j)), [number(0.0), 0, number(0.0), 0])
        side = 0 if i < j else 2
        parts[side] += level * number(n)
        parts[side + 1] += n
    return [
        Overlap(i, j, float(first / number(n)) - float(second / number(m)), n, m)
        for (i, j), (first, n, second, m) in sorted(sums.items())
        if n > 0 and m > 0
    ]


def find_groups(n_exposures: int, overlaps: Sequence[Overlap]) -> list[list[int]]:
    """Exposures that are connected by overlaps, single ones included; ascending."""
    group = list(range(n_exposures))
    for overlap in overlaps:
        old, new = sorted((group[overlap.first], group[overlap.second]), reverse=True)
        if old != new:
            group = [new if label == old else label for label in group]
    return [[i for i in range(n_exposures) if group[i] == label] for label in sorted(set(group))]


def solve_offsets(members: Sequence[int], overlaps: Sequence[Overlap], *, peer: bool = False) -> DoubleArray:
    """Levels of a group of connected exposures that match best and add up to zero.

    Parameters
    ----------
    members : Sequence[int]
        Exposures of the group.
    overlaps : Sequence[Overlap]
        Their overlaps; others are not used.
    peer : bool
        DrizzlePac's weights.

    Returns
    -------
    ndarray of float64, shape (len(members),)
        Brightness.
    """
    place = {exposure: k for k, exposure in enumerate(members)}
    n = len(members)
    weight, difference = np.zeros((n, n)), np.zeros((n, n))
    for overlap in overlaps:
        if overlap.first in place:
            i, j = place[overlap.first], place[overlap.second]
            weight[i, j] = weight[j, i] = overlap.weight(peer=peer)
            difference[i, j], difference[j, i] = overlap.difference, -overlap.difference
    for k in range(n - 1, 0, -1):
        near = np.flatnonzero(weight[:k, k])
        block = np.ix_(near, near)
        to_others, known = weight[near, k], difference[near, k]
        through = np.outer(to_others, to_others / to_others.sum())
        direct = weight[block]
        difference[block] = (direct * difference[block] + through * (known[:, None] - known)) / (
            direct + through
        )
        weight[block] = direct + through
        weight[near, near] = 0.0
    offsets = np.zeros(n)
    for k in range(1, n):
        to_others = weight[:k, k]
        offsets[k] = (to_others * (offsets[:k] - difference[:k, k])).sum() / to_others.sum()
    offsets -= offsets.sum() / n
    return offsets


def match_sky(
    exposures: Sequence[Exposure],
    overlaps: Sequence[Overlap],
    measured: Mapping[str, float | None] | None,
    *,
    peer: bool = False,
) -> SkySolution:
    """Levels of all chips from the overlaps of their exposures.

    Parameters
    ----------
    exposures : Sequence[Exposure]
        All exposures, two or more.
    overlaps : Sequence[Overlap]
        What pairs of them measure.
    measured : Mapping or None
        Sky of each chip by name (``globalmin+match``: what is left after matching is levelled too); None for
        ``match``.
    peer : bool
        DrizzlePac's rules: its weights; groups that do not overlap share one zero point, which their own
        levels know nothing of; an exposure without overlap keeps the MDRIZSKY of its header (``match``).

    Returns
    -------
    SkySolution
        By default every group is solved as if the others were not there.
    """
    groups = find_groups(len(exposures), overlaps)
    delta = np.zeros(len(exposures))
    for members in groups:
        delta[members] = solve_offsets(members, overlaps, peer=peer)
    connected = [i for members in groups if len(members) > 1 for i in members]
    for members in [connected] if peer else groups:
        delta[members] -= min(0.0, float(delta[members].min(initial=0.0)))
    warnings = _group_warnings(exposures, groups, peer=peer)
    if measured is not None:
        base, missing = _base_levels(exposures, groups, delta, measured, peer=peer)
        delta = delta + base
        warnings += missing
    levels = {
        chip.name: level_of(float(delta[i]) / brightness_factor(chip))
        for i, exposure in enumerate(exposures)
        for chip in exposure.chips
    }
    if peer and measured is None:
        alone = set(range(len(exposures))) - set(connected)
        levels |= {chip.name: untouched_level(chip) for i in sorted(alone) for chip in exposures[i].chips}
    return SkySolution(levels, tuple(warnings))


def untouched_level(chip: Chip) -> SkyLevel:
    """DrizzlePac's level of a chip that it could not match: whatever the header holds is subtracted."""
    known = chip.mdrizsky or 0.0
    return SkyLevel(subtracted=known, background=known, recorded=None)


def _base_levels(
    exposures: Sequence[Exposure],
    groups: Sequence[Sequence[int]],
    delta: DoubleArray,
    measured: Mapping[str, float | None],
    *,
    peer: bool,
) -> tuple[DoubleArray, list[str]]:
    """Lowest brightness that is left in each group (``peer``: in all), by exposure, and warnings."""
    base = np.zeros(len(exposures))
    warnings: list[str] = []
    for members in [range(len(exposures))] if peer else groups:
        left = [
            brightness_factor(chip) * value - float(delta[i])
            for i in members
            for chip in exposures[i].chips
            if (value := measured[chip.name]) is not None
        ]
        if left:
            base[list(members)] = min(left)
        else:
            warnings += [no_pixels_warning(exposures[i].rootname, "its matched part only") for i in members]
    return base, warnings


def _group_warnings(
    exposures: Sequence[Exposure], groups: Sequence[Sequence[int]], *, peer: bool
) -> list[str]:
    """One line on exposures without overlap, one on groups that share none."""
    warnings = []
    alone = [exposures[members[0]].rootname for members in groups if len(members) == 1]
    if alone:
        names = ", ".join(alone)
        warnings.append(f"sky matching: {len(alone)} exposures overlap no other and are not matched: {names}")
    n_groups = sum(len(members) > 1 for members in groups)
    if n_groups > 1:
        first = "; ".join(exposures[members[0]].rootname for members in groups if len(members) > 1)
        how = "their zero points are unrelated" if peer else "each is matched and levelled on its own"
        warnings.append(f"sky matching: {n_groups} groups do not overlap, {how} (first of each: {first})")
    return warnings
