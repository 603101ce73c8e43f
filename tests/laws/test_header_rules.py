"""Header rules are part of the job, and the headers of all files of a run say what they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from astropy.io import fits

from mosaic import pipeline
from mosaic.errors import ParameterError, PlanMismatchError
from mosaic.graph.plan import Plan
from mosaic.options import RunOptions
from mosaic.pipeline import Result

RULES = "!VERSION = 1.1\n!INSTRUMENT = ACS\nROOTNAME\nEXPTIME TEXPTIME sum\nTARGNAME TARGNAME multi\n"


def plan_of(exposures: list[str], output: Path, **parameters: object) -> Plan:
    options = RunOptions.resolve(scheduler="serial", memory=2 << 30, tile=128)
    return pipeline.plan(exposures, str(output), options=options, **parameters).plan


def test_the_text_of_the_rules_is_in_the_identity_of_the_job(exposures: list[str], tmp_path: Path) -> None:
    rules = tmp_path / "my.rules"
    rules.write_text(RULES, encoding="utf-8")
    first = plan_of(exposures, tmp_path / "m", rules_file=str(rules))
    assert plan_of(exposures, tmp_path / "m", rules_file=str(rules)).digest == first.digest
    rules.write_text(RULES + "FILTER1\n", encoding="utf-8")
    assert plan_of(exposures, tmp_path / "m", rules_file=str(rules)).digest != first.digest
    first.write(tmp_path)
    read = Plan.read(tmp_path)
    assert (read.digest, read.header_rules) == (first.digest, ((str(rules), RULES, ""),))


def test_rules_of_the_working_directory_count_only_for_parity(
    exposures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    without = [plan_of(exposures, tmp_path / "m", peer_compat=on).digest for on in (False, True)]
    Path("local.rules").write_text(RULES, encoding="utf-8")
    with_rules = [plan_of(exposures, tmp_path / "m", peer_compat=on) for on in (False, True)]
    assert with_rules[0].digest == without[0]
    assert with_rules[0].header_rules == ()
    assert with_rules[1].digest != without[1]
    assert with_rules[1].header_rules[0][1:] == (RULES, "ACS")


def test_faulty_rules_stop_a_run_before_it_starts(exposures: list[str], tmp_path: Path) -> None:
    rules = tmp_path / "my.rules"
    rules.write_text(RULES + "FILTER1 FILTER1 median\n", encoding="utf-8")
    with pytest.raises(ParameterError, match=r"my\.rules line 6: unknown function 'median'"):
        plan_of(exposures, tmp_path / "m", rules_file=str(rules))


def test_every_file_of_a_run_says_what_it_is(
    run: Callable[..., Result], exposures: list[str], tmp_path: Path
) -> None:
    rules = tmp_path / "my.rules"
    rules.write_text(RULES, encoding="utf-8")
    two = exposures[:2]
    result = run(inputs=two, folder=tmp_path, clean=False, build=False, rules_file=str(rules))
    files = {path.name: path for path in result.products}
    roots = [fits.getval(path, "ROOTNAME") for path in two]
    times = [fits.getval(path, "EXPTIME") for path in two]
    table = fits.getdata(files["m_drc_sci.fits"], "HDRTAB")
    assert table.names == ["ROOTNAME"]
    assert list(table["ROOTNAME"]) == [roots[0], roots[0], roots[1], roots[1]]
    median = fits.getheader(files["m_med.fits"])
    assert (median["ROOTNAME"], median["EXPTIME"], median["NDRIZIM"]) == ("m", sum(times), 4)
    blot = fits.getheader(files[f"{roots[1].lower()}_sci2_blt.fits"])
    assert (blot["ROOTNAME"], blot["EXPTIME"], blot["CTYPE1"]) == (roots[1], times[1], "RA---TAN-SIP")
    single = fits.getheader(files[f"{roots[1].lower()}_single_sci.fits"])
    assert (single["EXPTIME"], single["NDRIZIM"], single["CTYPE1"]) == (times[1], 2, "RA---TAN")
    for name, path in files.items():
        header = fits.getheader(path)
        assert header["FILENAME"] == name
        assert "NEXTEND" not in header
    rules.write_text(RULES + "FILTER1\n", encoding="utf-8")
    with pytest.raises(PlanMismatchError, match="other inputs or parameters"):
        run(inputs=two, folder=tmp_path, clean=False, build=False, rules_file=str(rules))
