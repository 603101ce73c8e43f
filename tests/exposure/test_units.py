"""The unit of a product: native counts are those of each chip; labels say what the values are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from astropy.units import Unit

from mosaic.exposure.catalogue import read_catalogue
from mosaic.exposure.model import Chip
from mosaic.exposure.units import product_unit, separate_bunit
from tests.support.exposures import default_settings, write_exposure


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Chip:
    path = write_exposure(tmp_path_factory.mktemp("units") / "a_flc.fits")
    return read_catalogue([str(path)], default_settings()).exposures[0].chips[0]


def _count_chip(template: Chip, ccdchip: int, gain: float, instrument: str = "WFPC2") -> Chip:
    return replace(template, instrument=instrument, ccdchip=ccdchip, gain=gain, native_unit="COUNTS")


def _two_gains(template: Chip) -> list[Chip]:
    """Two exposures of a camera whose two chips have their own gains."""
    return [_count_chip(template, ccdchip, gain) for _ in (1, 2) for ccdchip, gain in ((3, 6.9), (4, 7.1))]


def test_native_counts_are_those_of_each_chip(template: Chip) -> None:
    unit = product_unit(_two_gains(template), "native", peer_compat=False)
    assert (unit.quantity, unit.final_divisor, unit.notes) == ("COUNTS", 1.0, ())
    assert unit.divisors == (6.9, 7.1, 6.9, 7.1)
    assert (unit.bunit("cps"), unit.bunit("counts")) == ("COUNTS/S", "COUNTS")


def test_a_chip_read_with_several_gains_is_in_counts_of_its_first_exposure(template: Chip) -> None:
    chips = [_count_chip(template, 1, gain, "STIS") for gain in (1.0, 4.08, 4.08)]
    unit = product_unit(chips, "native", peer_compat=False)
    assert unit.divisors == (1.0, 1.0, 1.0)
    assert len(unit.notes) == 1
    assert "has gain 4.08" in unit.notes[0]


@pytest.mark.parametrize("other", ["electrons", "another instrument"])
def test_counts_without_a_common_unit_become_electrons(template: Chip, other: str) -> None:
    counts = _count_chip(template, 1, 4.08, "STIS")
    second = template if other == "electrons" else _count_chip(template, 1, 5.4, "NICMOS")
    unit = product_unit([counts, second], "native", peer_compat=False)
    assert (unit.bunit("cps"), unit.divisors) == ("ELECTRONS/S", (1.0, 1.0))
    assert "no common unit" in unit.notes[0]


def test_electrons_stay_electrons(template: Chip) -> None:
    for proc_unit in ("native", "electrons"):
        unit = product_unit([template], proc_unit, peer_compat=False)
        assert (unit.bunit("cps"), unit.bunit("counts")) == ("ELECTRONS/S", "ELECTRONS")
        assert (unit.divisors, unit.notes) == ((1.0,), ())
    unit = product_unit(_two_gains(template), "electrons", peer_compat=False)
    assert (unit.bunit("cps"), set(unit.divisors)) == ("ELECTRONS/S", {1.0})


# Labels of DrizzlePac 3.11, read from its products (spec 11.3) and its adrizzle.run_driz_chip.
@pytest.mark.parametrize(
    ("instrument", "proc_unit", "labels"),
    [
        ("STIS", "native", ("counts", "counts")),
        ("WFPC2", "native", ("counts", "counts")),
        ("NICMOS", "native", ("counts/s", "counts")),
        ("STIS", "electrons", ("COUNTS/S", "COUNTS")),
    ],
)
def test_peer_labels_and_gain_of_the_last_chip(
    template: Chip, instrument: str, proc_unit: str, labels: tuple[str, str]
) -> None:
    chips = [_count_chip(template, 3, 6.9, instrument), _count_chip(template, 4, 7.1, instrument)]
    unit = product_unit(chips, proc_unit, peer_compat=True)
    assert (unit.bunit("cps"), unit.bunit("counts")) == labels
    assert (unit.divisors, unit.final_divisor) == ((1.0, 1.0), 7.1 if proc_unit == "native" else 1.0)


def test_separate_drizzles_are_electrons_per_second(template: Chip) -> None:
    counts = _count_chip(template, 1, 7.0)
    assert separate_bunit(counts, peer_compat=False) == separate_bunit(template, peer_compat=False)
    assert separate_bunit(counts, peer_compat=False) == "ELECTRONS/S"
    assert separate_bunit(counts, peer_compat=True) == "COUNTS/S"
    assert separate_bunit(template, peer_compat=True) == "ELECTRONS/S"


@pytest.mark.parametrize(
    ("proc_unit", "final_units", "unit"),
    [
        ("native", "cps", "count/s"), ("native", "counts", "count"),
        ("electrons", "cps", "electron/s"), ("electrons", "counts", "electron"),
    ],
)  # fmt: skip
def test_stores_name_the_unit_as_astropy_does(
    template: Chip, proc_unit: str, final_units: str, unit: str
) -> None:
    found = product_unit([_count_chip(template, 1, 7.0)], proc_unit, peer_compat=False).unit(final_units)
    assert found == unit
    assert Unit(found).is_equivalent(unit)
