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
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    parent = list(range(n_exposures))

    def lowest_of(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for overlap in overlaps:
        old, new = sorted((lowest_of(overlap.first), lowest_of(overlap.second)), reverse=True)
        parent[old] = new
    members: dict[int, list[int]] = {}
    for i in range(n_exposures):
        members.setdefault(lowest_of(i), []).append(i)
    return list(members.values())


@dataclass(frozen=True, slots=True)
class _Links:
    """What an exposure knows of its difference to others."""

    others: NDArray[np.int64]
    """Places of the others, ascending."""
    weight: DoubleArray
    """Weight of each difference."""
    difference: DoubleArray
    """Its level less that of the other."""

    def joined(self, more: _Links) -> _Links:
        """Both together: weighted means where both know a difference."""
        others = np.union1d(self.others, more.others)
        weight, sums = np.zeros(others.size), np.zeros(others.size)
        own, added = np.searchsorted(others, self.others), np.searchsorted(others, more.others)
        weight[own] = self.weight
        sums[own] = self.weight * self.difference
        weight[added] += more.weight
        sums[added] += more.weight * more.difference
        return _Links(others, weight, sums / weight)

    def without(self, other: int) -> _Links:
        """All but the link to one."""
        is_kept = self.others != other
        return _Links(self.others[is_kept], self.weight[is_kept], self.difference[is_kept])


def _first_links(members: Sequence[int], overlaps: Sequence[Overlap], *, peer: bool) -> dict[int, _Links]:
    """Links of the exposures of a group as their overlaps give them, by place in the group."""
    place = {exposure: k for k, exposure in enumerate(members)}
    found: dict[int, list[tuple[int, float, float]]] = {k: [] for k in range(len(members))}
    for overlap in overlaps:
        if overlap.first in place:
            i, j, weight = place[overlap.first], place[overlap.second], overlap.weight(peer=peer)
            found[i].append((j, weight, overlap.difference))
            found[j].append((i, weight, -overlap.difference))
    links = {}
    for k, entries in found.items():
        entries.sort()
        others, weights, differences = zip(*entries, strict=True) if entries else ((), (), ())
        links[k] = _Links(np.array(others, np.int64), np.array(weights, float), np.array(differences, float))
    return links


def solve_offsets(members: Sequence[int], overlaps: Sequence[Overlap], *, peer: bool = False) -> DoubleArray:
    """Levels of a group of connected exposures that match best and add up to zero.

    The exposure with the fewest links is eliminated first, so that time and memory follow the overlaps there
    are, not the square of the number of exposures.

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
    links = _first_links(members, overlaps, peer=peer)
    queue = [(link.others.size, k) for k, link in links.items()]
    heapify(queue)
    eliminated: list[tuple[int, _Links]] = []
    while queue:
        n_links, k = heappop(queue)
        if k not in links or links[k].others.size != n_links:
            continue  # an entry from before its links changed
        gone = links.pop(k)
        eliminated.append((k, gone))
        share = gone.weight / gone.weight.sum() if n_links else gone.weight
        for at, other in enumerate(gone.others.tolist()):
            # Level of the other less those of its fellows, as the one that goes tells it.
            through = _Links(
                gone.others, share[at] * gone.weight, gone.difference - gone.difference[at]
            ).without(other)
            rest = links[other].without(k)
            links[other] = rest.joined(through) if through.others.size else rest
            heappush(queue, (links[other].others.size, other))
    offsets = np.zeros(len(members))
    for k, link in reversed(eliminated):
        if link.others.size:
            offsets[k] = (link.weight * (offsets[link.others] + link.difference)).sum() / link.weight.sum()
    offsets -= offsets.sum() / len(members)
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
