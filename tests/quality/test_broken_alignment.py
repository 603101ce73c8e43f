"""Every check of the alignment fires on a run that is broken in its way, and names the exposure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table, vstack

from mosaic.simulate import SimulatedSet
from tests.support.broken import (
    Checks,
    assert_complaints,
    checks_of,
    edited,
    expose,
    expose_once,
    moved,
    sources_where,
)

PIXEL_DEG = 0.05 / 3600
SHIFTED, TURNED, LOST, EDGE = "jsim0107q", "jsim0108q", "jsim0109q", "jsim010aq"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("alignment")


@pytest.fixture(scope="module")
def good(folder: Path) -> SimulatedSet:
    return expose(folder / "good", exposures=6)


def _other_sky(folder: Path, good: SimulatedSet, program: str, change: object) -> Path:
    sources = sources_where(good, folder / f"{program}.ecsv", change)  # type: ignore[arg-type]
    return expose_once(folder / program, good, program, sources=str(sources))


def _scattered(table: Table, random: np.random.Generator) -> Table:
    """Every star a quarter of a pixel off, in its own direction."""
    for column in ("ra", "dec"):
        table[column] += random.normal(0.0, 0.25 * PIXEL_DEG, len(table))
    return table


def _flowing(table: Table, _random: np.random.Generator) -> Table:
    """Stars follow a wave over the field, as with the distortion of another detector."""
    x, y = (table[c] - np.mean(table[c]) for c in ("ra", "dec"))
    table["ra"] += 0.3 * PIXEL_DEG * np.sin(2.0 * np.pi * y * 3600 / 25)
    table["dec"] += 0.3 * PIXEL_DEG * np.cos(2.0 * np.pi * x * 3600 / 25)
    return table


def _halved(table: Table, _random: np.random.Generator) -> Table:
    """Stars on one half of the field only."""
    return table[table["ra"] > np.median(table["ra"])]


def _doubled(table: Table, _random: np.random.Generator) -> Table:
    """Every star twice: the telescope moved during the exposure."""
    second = table.copy()
    second["ra"] += 5.5 * PIXEL_DEG
    second["rate_e_s"] *= 0.95
    return vstack([table, second], metadata_conflicts="silent")


def _clumped(table: Table, _random: np.random.Generator) -> Table:
    """Stars in four tight groups, as peaks along the spikes of bright ones."""
    corners = [(float(np.percentile(table["ra"], a)), float(np.percentile(table["dec"], b)))
               for a in (14, 86) for b in (14, 86)]  # fmt: skip
    table = table[table["type"] == "star"][:28]
    for row in range(len(table)):
        ra, dec = corners[row % 4]
        column, line = divmod(row // 4, 3)
        table["ra"][row] = ra + (line - 1) * 11.2 * PIXEL_DEG
        table["dec"][row] = dec + (column - 1) * 11.2 * PIXEL_DEG
        table["rate_e_s"][row] = 300.0
    return table


@pytest.fixture(scope="module")
def subtle(folder: Path, good: SimulatedSet) -> Checks:
    """Six good exposures, one shifted, one turned, one of scattered and one of doubled stars."""
    files = [
        *good.files,
        edited(good.files[0], folder / "a", moved(0.5, 0.0), rootname=SHIFTED),
        edited(good.files[1], folder / "a", moved(0.0, 0.0, 0.08), rootname=TURNED),
        _other_sky(folder, good, "sca", _scattered),
        _other_sky(folder, good, "dbl", _doubled),
    ]
    return checks_of(folder / "subtle", files, combine_type="median")


@pytest.fixture(scope="module")
def gross(folder: Path, good: SimulatedSet) -> Checks:
    """Six good exposures, two with wrong pointings, one of a distorted and one of half a sky."""
    files = [
        *good.files,
        edited(good.files[0], folder / "b", moved(25.0, 10.0), rootname=LOST),
        edited(good.files[1], folder / "b", moved(7.7, 0.0), rootname=EDGE),
        _other_sky(folder, good, "flo", _flowing),
        _other_sky(folder, good, "hal", _halved),
    ]
    return checks_of(folder / "gross", files, combine_type="median")


SUBTLE = {
    "alignment": ("bad", SHIFTED),
    "visit_shift": ("bad", ""),
    "shift_significance": ("look", SHIFTED),
    "rotation": ("bad", TURNED),
    "geometry": ("look", TURNED),
    "residual_slopes": ("bad", TURNED),
    "residual_rms": ("bad", "jsca0101q"),
    "match_peak": ("bad", "jdbl0101q"),
    "rejection_alignment": ("bad", ""),
    "pointing": ("look", "jdbl01"),
}
GROSS = {
    "unmatched": ("bad", LOST),
    "matches": ("bad", LOST),
    "clip_edge": ("bad", EDGE),
    "alignment": ("bad", EDGE),
    "residual_flow": ("look", "jflo0101q"),
    "match_coverage": ("look", "jhal0101q"),
}


@pytest.mark.parametrize("name", SUBTLE)
def test_subtle_fault_is_found(subtle: Checks, name: str) -> None:
    verdict, culprit = SUBTLE[name]
    assert subtle[name].verdict == verdict
    assert any(culprit in line for line in subtle[name].details) or not culprit


@pytest.mark.parametrize("name", GROSS)
def test_gross_fault_is_found(gross: Checks, name: str) -> None:
    verdict, culprit = GROSS[name]
    assert gross[name].verdict == verdict
    assert any(culprit in line for line in gross[name].details)


@pytest.mark.parametrize("name", ["match_peak", "rotation", "geometry", "residual_slopes", "residual_rms"])
def test_good_exposures_are_not_blamed(subtle: Checks, good: SimulatedSet, name: str) -> None:
    roots = [path.name.removesuffix("_flc.fits") for path in good.files]
    blamed = [line for line in subtle[name].details if any(root in line for root in roots)]
    if name == "rotation":
        # Every exposure is listed there, with its error.
        blamed = [line for line in blamed if abs(float(line.split()[1])) > 0.02]
    assert not blamed


def test_matches_in_groups_are_found(folder: Path, good: SimulatedSet) -> None:
    sources = sources_where(good, folder / "clumps.ecsv", _clumped)
    made = expose(folder / "clumps", sources=str(sources))
    checks = checks_of(folder / "clumped", made.files)
    # So few stars are left that their number is told as well.
    assert_complaints(checks, {"match_clumps": "look"}, ["matches", "source_density"])


def test_too_few_and_too_many_sources_are_found(folder: Path) -> None:
    few = expose(folder / "few", n_stars=8, n_galaxies=2)
    assert_complaints(checks_of(folder / "sparse", few.files), {"source_density": "look", "matches": "look"})
    many = expose(folder / "many", n_stars=600, n_galaxies=2)
    assert_complaints(checks_of(folder / "crowded", many.files), {"source_density": "look"})


def test_undersampled_and_undithered_exposures_are_found(folder: Path) -> None:
    field = {"instrument": "wfc3/ir", "chip_shape": (192, 192), "n_stars": 40, "n_galaxies": 2}
    first = expose(folder / "ir", exposures=1, program="p1x", **field)
    files = list(first.files)
    for number in (2, 3, 4):
        again = expose(
            folder / f"ir{number}", exposures=1, program=f"p{number}x", seed=number,
            sources=str(first.sources), **field,
        )  # fmt: skip
        files += again.files
    checks = checks_of(folder / "undithered", files, driz_cr_scale="2.5 2")
    expected = {"dither": "look", "sampling_bias": "look", "pointing": "look"}
    assert_complaints(checks, expected, ["matches", "source_density"])


def test_misaligned_rejection_is_found(folder: Path, good: SimulatedSet) -> None:
    culprit = edited(good.files[0], folder / "c", moved(1.6, 1.1), rootname=SHIFTED)
    checks = checks_of(folder / "misaligned", [*good.files, culprit])
    expected = {"star_cores": "bad", "flag_pattern": "bad", "rejection_alignment": "bad"}
    follows = ["alignment", "visit_shift", "shift_significance", "residual_rms", "residual_flow"]
    assert_complaints(checks, expected, [*follows, "target_imprint", "star_roundness"])
