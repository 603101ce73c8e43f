"""The ledger keeps what it was given, whole, and says what is missing."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from mosaic.errors import OutputError, StoreError
from mosaic.graph.ledger import Ledger
from mosaic.graph.progress import TaskRecord


def _record(task: str, crc: str = "00ff00ff") -> TaskRecord:
    return TaskRecord("final", task, 1.25, 10, 20, 30, {"sci": crc}, {"n": 3, "sky": None})


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write(_record("t000001"))
    assert ledger.read("final", "t000001") == _record("t000001")
    assert ledger.read("final", "t000002") is None
    assert ledger.read_phase("sky") == {}


def test_a_later_record_replaces_the_earlier_one_as_a_whole(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write(_record("t1"))
    ledger.write(_record("t1", "12345678"))
    assert list(ledger.read_phase("final").values()) == [_record("t1", "12345678")]
    assert [path.name for path in (tmp_path / "ledger" / "final").iterdir()] == ["t1.json"]


def test_a_half_written_record_is_no_record(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write(_record("t1"))
    (tmp_path / "ledger" / "final" / ".t2.99.tmp").write_text('{"phase": "fi')
    assert list(ledger.read_phase("final")) == ["t1"]


def test_missing_tasks_are_counted_and_named(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write(_record("t1"))
    assert list(ledger.require("final", ["t1"])) == ["t1"]
    with pytest.raises(StoreError, match=r"lacks 2 of the final tasks \(first: t0\)"):
        ledger.require("final", ["t0", "t1", "t2"])


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write(_record("t1"))
    (tmp_path / "ledger" / "final" / "t1.json").write_text("{}")
    with pytest.raises(StoreError, match=r"t1\.json is damaged"):
        ledger.read("final", "t1")


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: Path, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(OutputError, match=r"disk full while writing .*t1\.json: free some space"):
        Ledger(tmp_path).write(_record("t1"))
    assert list((tmp_path / "ledger" / "final").iterdir()) == []


def test_few_records_are_read_without_the_others(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "this")
    ledger.write_all([_record("t1"), _record("t2")])
    ledger.write_all([])
    (tmp_path / "ledger" / "final" / "t3.json").write_text("damaged")
    assert ledger.require_few("final", ["t2", "t1"]) == [_record("t2"), _record("t1")]
    with pytest.raises(StoreError, match=r"lacks .*t4\.json; run the same command again"):
        ledger.require_few("final", ["t1", "t4"])
    with pytest.raises(StoreError, match=r"t1\.json is of another job"):
        Ledger(tmp_path, "other").require_few("final", ["t1"])
